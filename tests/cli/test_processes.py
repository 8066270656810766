"""Commands as processes: two at once, the simulator, the demo."""

import json
import signal
import subprocess
import sys
import urllib.request
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from deltalake import DeltaTable

from tests.cli.conftest import LOOPBACK, listening

PERIOD = timedelta(seconds=0.25)


def test_two_loads_at_once_obey_one_limit_together(shop, pushloss, week):
    """Neither is refused for its frequency, both end well, no row is doubled."""
    text = shop.config.read_text().replace(
        "calls_per_second = 50.0", "calls_per_second = 4.0"
    )
    shop.config.write_text(text)

    both = [shop.start("load", str(week[-3]), str(week[-1])) for _ in range(2)]
    ended = [shop.finish(process) for process in both]

    starts = DeltaTable(shop.folder / "data" / "lake" / "push_loss_responses")
    calls = starts.to_pyarrow_table(columns=["sdk_app_id", "requested_at"]).to_pylist()
    doubled = pushloss(
        "sql",
        "select count(*) from push_loss group by sdk_app_id, loss_date, stage,"
        " scope, platform_id, err_code having count(*) > 1",
        "--format",
        "csv",
    )
    assert [0, 0] == [ran.code for ran in ended], [ran.err for ran in ended]
    assert 18 == len(calls)
    for app in {call["sdk_app_id"] for call in calls}:
        at = sorted(c["requested_at"] for c in calls if c["sdk_app_id"] == app)
        assert all(later - earlier >= PERIOD for earlier, later in pairwise(at))
    assert "count_star()\n" == doubled.out


def test_simulate_answers_until_it_is_interrupted(shop):
    """The command prints its address, serves there, and ends well on Ctrl-C."""
    process = shop.start("simulate", "--port", "0")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/simulator/health") as answer:
            health = json.load(answer)
        addresses = listening(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        ran = shop.finish(process)

    assert {"ready": True} == health
    assert {LOOPBACK} == addresses
    assert 0 == ran.code and "Traceback" not in ran.err


def test_simulate_says_when_its_port_is_taken(shop):
    """A port in use is a usage error with a way out."""
    port = shop.simulator.url.rsplit(":", 1)[1]

    ran = shop.finish(shop.start("simulate", "--port", port))

    assert 2 == ran.code and "--port 0" in ran.err


def test_the_demo_is_repeatable_and_keeps_to_itself(tmp_path: Path):
    """Twice in a row it loads the week, and writes in its own folder only."""
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-m", "pushloss_pipeline.demo"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == ran.returncode, ran.stderr
        assert "14 app days done (14 loaded)" in ran.stdout
        assert "data/demo/warehouse.duckdb" in ran.stdout

    assert ["demo"] == [path.name for path in (tmp_path / "data").iterdir()]
    assert ["data"] == [path.name for path in tmp_path.iterdir()]
