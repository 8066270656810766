"""Runs of the command line: where they are recorded, and what a kill leaves."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from pushloss_pipeline.domain.errors import ConfigurationError, StoreError
from pushloss_pipeline.launch import Finished, open_instance, run_job
from tests.defs.site import (
    LOSSES,
    REPOSITORY,
    SHOP,
    Site,
    a_site,
    range_of,
    wait_until,
)

SUCCESS = dg.DagsterRunStatus.SUCCESS
FAILURE = dg.DagsterRunStatus.FAILURE
CANCELED = dg.DagsterRunStatus.CANCELED
STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A simulator, a configuration and a Dagster instance of the test's own."""
    with a_site(tmp_path) as site:
        yield site


def launch(site: Site, days: tuple[date, ...]) -> Finished:
    """Run the daily job as the command line does."""
    return run_job(
        site.settings,
        "daily_push_loss",
        days,
        apps=("shop", "chat"),
        only_missing=False,
        listener=lambda outcome: None,
    )


def runs(site: Site) -> list[dg.DagsterRun]:
    """All runs of the instance, newest first."""
    with site.instance() as instance:
        return list(instance.get_runs())


def load(days: tuple[date, ...]) -> tuple[str, ...]:
    """The command that loads these days."""
    return ("pushloss", "load", str(days[0]), str(days[-1]))


def test_an_instance_may_be_opened_for_the_first_time_by_many(site: Site) -> None:
    """Its store is made once, by one of them; the others wait for it."""
    ready = threading.Barrier(8)

    def opened(_: int) -> int:
        ready.wait()
        with open_instance(site.settings) as instance:
            return instance.get_runs_count()

    with ThreadPoolExecutor(8) as pool:
        assert [0] * 8 == list(pool.map(opened, range(8)))


def test_a_run_is_recorded_in_dagster_home(site: Site) -> None:
    """The run stands in the instance of DAGSTER_HOME, with its days green."""
    days = site.days(2)
    finished = launch(site, days)
    (run,) = runs(site)

    assert finished == Finished(run.run_id, "")
    assert (run.job_name, run.status) == ("daily_push_loss", SUCCESS)
    assert range_of(days).items() <= run.tags.items()
    assert site.partitions(LOSSES, days) == ["MATERIALIZED"] * 2


def test_the_problem_of_a_run_is_told(site: Site) -> None:
    """The caller learns which day of which app is not done."""
    (day,) = site.days(1)
    site.refuse(day)

    assert f"shop {day} refused: 60002" in launch(site, (day,)).problem


def test_a_home_that_is_missing_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DAGSTER_HOME that is no folder is a mistake of the configuration."""
    monkeypatch.setenv("DAGSTER_HOME", str(site.folder / "nowhere"))

    with pytest.raises(ConfigurationError, match="nowhere"):
        launch(site, site.days(1))


def test_dagster_keeps_off_the_terminal(site: Site) -> None:
    """What the command prints is its own; no log, no warning, on either stream."""
    (day,) = site.days(1)
    site.refuse(day)
    ended = site.call(*load((day,)))

    assert ended.code == 1
    assert [line.split()[0] for line in ended.out.splitlines()] == [
        "✗",
        "1",
        "warehouse:",
        "report:",
    ]
    assert ended.err.strip() == ""


def test_a_killed_run_is_closed_by_the_next(site: Site) -> None:
    """A run is left alone while its process lives, and failed once it was killed."""
    days = site.days(2)
    site.answer(days[1], SHOP, delay_seconds=60)
    with site.start(*load(days)) as process:
        try:
            wait_until(lambda: (SHOP.sdk_app_id, str(days[1])) in site.asked())
            assert launch(site, days[:1]).problem == ""
            assert [run.status for run in runs(site)] == [SUCCESS, STARTED]
        finally:
            process.kill()
        process.communicate()
    site.simulator.clear_script()

    assert launch(site, days).problem == ""
    assert [run.status for run in runs(site)] == [SUCCESS, SUCCESS, FAILURE]


def test_a_terminated_command_ends_its_run(site: Site) -> None:
    """A polite kill keeps finished days, and leaves no run behind."""
    days = site.days(2)
    site.answer(days[1], SHOP, delay_seconds=60)
    with site.start(*load(days)) as process:
        try:
            wait_until(lambda: is_recorded(site, days[0]))
        finally:
            process.terminate()
        out, err = process.communicate()

    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert site.partitions(LOSSES, days) == ["MATERIALIZED", None]
    assert [run.status for run in runs(site)] == [CANCELED]


def is_recorded(site: Site, day: date) -> bool:
    """Whether the run's log tells that all apps of a day are recorded."""
    with site.instance() as instance:
        return any(
            f"day={day}" in event.user_message
            for run in instance.get_runs()
            for event in instance.all_logs(run.run_id)
        )


def test_a_folder_that_cannot_be_written_is_told(site: Site) -> None:
    """No traceback: which folder, and what to do."""
    site.settings.local_dir.mkdir(exist_ok=True)
    (site.settings.local_dir / "dagster.lock").mkdir()

    with pytest.raises(StoreError, match=r"cannot write to .*the user that owns it"):
        launch(site, site.days(1))


def test_without_a_home_runs_are_kept_in_the_checkout(site: Site) -> None:
    """DAGSTER_HOME unset, the checkout's own dagster.yaml says where runs are kept."""
    checkout = site.folder / "checkout"
    for name in ("pushloss_pipeline", "sql"):
        shutil.copytree(REPOSITORY / name, checkout / name)
    shutil.copy(REPOSITORY / "dagster.yaml", checkout)
    elsewhere = site.folder / "elsewhere"
    elsewhere.mkdir()
    (day,) = site.days(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME")
        patch.setenv("PYTHONPATH", str(checkout))
        ended = site.call(*load((day,)), cwd=elsewhere)

    assert ended.code == 0, ended.err
    assert (checkout / ".dagster_home" / "storage" / "history" / "runs.db").is_file()
    assert list(elsewhere.iterdir()) == []
    assert runs(site) == []
