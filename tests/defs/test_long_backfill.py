"""Sixty days at once, for an API that tells so many: in one run, or cut short."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.defs.services import (
    RUNS,
    TERMINATE,
    Webserver,
    daemon_of,
    launch_backfill,
    webserver_of,
)
from tests.defs.site import LOSSES, RESPONSES, Site, a_site, wait_until

POOL = "push_loss_api"
DAYS = 60
ANSWER = json.dumps(
    {
        "ActionStatus": "OK",
        "ErrorCode": 0,
        "ErrorInfo": "",
        "ReadyToSendLoss": [{"ErrCode": "-2", "ErrCount": 9, "ErrInfo": "no token"}],
        "PostSendDeliveredLoss": [],
        "PlatformReadyToSendLoss": [
            {"PushPlatform": 1, "ErrCode": "-2", "ErrCount": 9, "ErrInfo": "no token"}
        ],
        "PlatformPostSendDeliveredLoss": [],
    }
)
"""What the simulator is told to say of each day: its own memory is a week long."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A place whose API remembers more than two months."""
    with a_site(tmp_path, retention_days=DAYS + 2) as site:
        site.simulator.script([{"body": ANSWER, "times": None}])
        yield site


@pytest.mark.slow
def test_sixty_days_are_one_run(site: Site) -> None:
    """All are green, each with its figures; the log tells how far the run is."""
    days = site.days(DAYS)
    run = site.run(days)
    lines = progress(site, run.run_id)

    assert run.success
    assert site.partitions(LOSSES, days) == ["MATERIALIZED"] * DAYS
    assert site.materialized(LOSSES, days[0])[0]["losses ready to send"] == 18
    assert lines == [f"{position} of 60 days" for position in range(1, DAYS + 1)]


def test_a_cancelled_backfill_keeps_its_finished_days(site: Site) -> None:
    """Days that are done are green, the slot is free, and a new run does the rest."""
    days = site.days(12)
    held_up = {"day": str(days[8]), "body": ANSWER, "delay_seconds": 600}
    site.simulator.script([held_up, held_up, {"body": ANSWER, "times": None}])
    with ExitStack() as stack:
        webserver = stack.enter_context(webserver_of(site))
        backfill = launch_backfill(webserver, days)
        stack.enter_context(daemon_of(site))
        wait_until(lambda: is_told(site, "8 of 12 days"), seconds=180)
        assert slots(site) == 1
        (run,) = runs(webserver, backfill)
        webserver.ask(TERMINATE, run=run["runId"])
        wait_until(lambda: is_over(webserver, backfill), seconds=120)
        ended = runs(webserver, backfill)

    assert [run["status"] for run in ended] == ["CANCELED"]
    assert slots(site) == 0
    for key in (RESPONSES, LOSSES):
        assert site.partitions(key, days) == ["MATERIALIZED"] * 8 + [None] * 4
    assert len(site.loaded()) >= 16

    site.simulator.script([{"body": ANSWER, "times": None}])
    rest = site.run(days[8:])

    assert rest.success
    assert site.partitions(LOSSES, days) == ["MATERIALIZED"] * 12


def progress(site: Site, run_id: str) -> list[str]:
    """What a run's log says of how far it is."""
    told = [re.search(r"\d+ of \d+ days$", text) for text in messages(site, run_id)]
    return [found.group() for found in told if found]


def is_told(site: Site, text: str) -> bool:
    """Whether the log of any run holds this text."""
    with site.instance() as instance:
        run_ids = [run.run_id for run in instance.get_runs()]
    return any(text in line for run_id in run_ids for line in messages(site, run_id))


def messages(site: Site, run_id: str) -> list[str]:
    """The log of a run."""
    with site.instance() as instance:
        return [event.user_message for event in instance.all_logs(run_id)]


def runs(webserver: Webserver, backfill: str) -> list[dict[str, Any]]:
    """The runs of a backfill."""
    found: list[dict[str, Any]] = webserver.ask(RUNS, id=backfill)["runsOrError"][
        "results"
    ]
    return found


def is_over(webserver: Webserver, backfill: str) -> bool:
    """Whether no run of a backfill goes on."""
    over = {"CANCELED", "SUCCESS", "FAILURE"}
    return {run["status"] for run in runs(webserver, backfill)} <= over


def slots(site: Site) -> int:
    """Slots of the pool that are taken."""
    with site.instance() as instance:
        return instance.event_log_storage.get_concurrency_info(POOL).active_slot_count
