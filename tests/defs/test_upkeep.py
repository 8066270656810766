"""The weekly job tidies, examines and mends; it fails only where a person is needed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pushloss_pipeline.definitions import build_definitions
from pushloss_pipeline.defs.upkeep import RUNS_KEPT, forget_old_runs
from tests.defs.site import LOSSES, RESPONSES, Site, failure_of

GREEN = "MATERIALIZED"


def maintain(site: Site) -> dg.ExecuteInProcessResult:
    """Run the weekly job."""
    job = build_definitions(site.settings).resolve_job_def("weekly_maintenance")
    with site.instance() as instance:
        return job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


def told(run: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    """The metadata of the one step."""
    (event,) = run.filter_events(lambda event: event.is_successful_output)
    output = event.step_output_data
    return {name: value.value for name, value in output.metadata.items()}


def test_a_sound_record(site: Site) -> None:
    """Everything is looked at, small files are merged, nothing is asked."""
    days = site.days(2)
    site.run(days)
    site.run(days)
    asked = site.asked()

    run = maintain(site)

    assert run.success
    assert told(run)["mended"] == 0
    assert told(run)["findings"].count("- ✓") == 10
    assert site.asked() == asked
    assert len(site.loaded()) == 4


def test_what_is_broken_is_mended(site: Site) -> None:
    """A lost file is told and mended, and the job is green."""
    site.run(site.days(1))
    for path in (site.folder / "data" / "lake" / "push_loss_revisions").rglob(
        "*.parq*"
    ):
        path.unlink()

    run = maintain(site)

    assert run.success
    assert told(run)["mended"] == 2
    assert "is missing" in told(run)["findings"]
    assert len(site.loaded()) == 2


def test_what_only_a_person_can_mend(site: Site) -> None:
    """Lost answers fail the job, once, with what to do."""
    site.run(site.days(1))
    for path in (site.folder / "data" / "lake" / "push_loss_responses").rglob(
        "*.parq*"
    ):
        path.unlink()

    run = maintain(site)

    assert not run.success
    failure = failure_of(run)
    assert f"→ pushloss load {site.days(1)[0]}" in str(failure.description)
    assert not any(event.is_step_up_for_retry for event in run.all_events)


def test_another_zone_fails_a_load_in_words(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run says how the days were cut, and what to do; no day is asked for."""
    days = site.days(2)
    site.run(days)
    asked = site.asked()
    path = site.folder / "pushloss.toml"
    path.write_text('timezone = "America/New_York"\n' + path.read_text())
    moved = Site(site.folder, site.simulator, type(site.settings)(config_path=path))

    run = moved.run(days[:1])

    assert "timezone America/New_York" in str(failure_of(run).description)
    assert "set timezone back" in str(failure_of(run).description)
    assert site.asked() == asked


def test_old_runs_are_forgotten_and_days_keep_their_colours(site: Site) -> None:
    """A day's last green run and a later red one stay; all others go after a while."""
    days = site.days(3)
    first = site.run(days)  # the last green of the day that is red now
    again = site.run(days[2:])
    site.refuse(days[0])
    failed = site.run(days)  # red of one day, green of two
    site.refuse(days[2])
    spent = site.run(days[2:])
    site.simulator.clear_script()
    good = site.run(days[2:])
    weekly = maintain(site)
    theirs = [run_of_another_project(site) for _ in range(2)]
    steps = site.home / "storage" / "history" / "runs"

    with site.instance() as instance:
        assert forget_old_runs(instance, now=datetime.now(UTC)) == 0
        later = datetime.now(UTC) + RUNS_KEPT + timedelta(days=1)
        assert forget_old_runs(instance, now=later) == 3
        assert forget_old_runs(instance, now=later) == 0
        left = {run.run_id for run in instance.get_runs()}
        told = {run.run_id: len(instance.all_logs(run.run_id)) for run in theirs}
        instance.wipe_asset_cached_status([RESPONSES, LOSSES])

    gone = {run.run_id for run in (again, spent, weekly)}
    assert gone.isdisjoint(left)
    assert {run.run_id for run in (first, failed, good, *theirs)} == left
    assert all(told.values())
    assert sorted(told) == sorted(path.stem for path in logs_of_steps(steps))
    for key in (RESPONSES, LOSSES):
        assert site.partitions(key, days) == ["FAILED", GREEN, GREEN]
    assert len(site.materialized(LOSSES, days[1])) == 2
    assert site.run(days[:1]).success


def run_of_another_project(site: Site) -> dg.ExecuteInProcessResult:
    """A run in the same instance: one asset is made, the next one fails."""

    @dg.asset
    def theirs() -> None:
        """Made."""

    @dg.asset(deps=[theirs])
    def theirs_too() -> None:
        """Not made."""
        raise dg.Failure("it is their own", allow_retries=False)

    job = dg.Definitions(
        assets=[theirs, theirs_too]
    ).resolve_implicit_global_asset_job_def()
    with site.instance() as instance:
        return job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


def logs_of_steps(folder: Path) -> list[Path]:
    """SQLite's files of single runs."""
    return [path for path in folder.glob("*.db") if path.name != "index.db"]
