"""Runs in processes of their own: by Dagster's command, and interrupted."""

import signal
from collections.abc import Sequence
from datetime import date

import dagster as dg

from tests.defs.site import LOSSES, RESPONSES, SHOP, Site, wait_until

POOL = "push_loss_api"


def materialize(days: Sequence[date]) -> list[str]:
    """Dagster's own command for a range of days."""
    return [
        *("dagster", "asset", "materialize", "-m", "pushloss_pipeline.definitions"),
        *("--select", "push_loss_responses,push_loss"),
        *("--partition-range", f"{days[0]}...{days[-1]}"),
    ]


def test_dagsters_command_loads_a_range(site: Site) -> None:
    """`dagster asset materialize` loads a range headless, and ends with 0."""
    days = site.days(2)
    ended = site.call(*materialize(days))

    assert ended.code == 0, ended.err
    assert len(site.loaded()) == 4
    assert site.partitions(LOSSES, days) == ["MATERIALIZED"] * 2


def test_dagsters_command_fails_on_a_bad_day(site: Site) -> None:
    """It ends with another code where a day is not done, and says which."""
    days = site.days(2)
    site.refuse(days[0])
    ended = site.call(*materialize(days))

    assert ended.code != 0
    assert f"shop {days[0]} refused: 60002" in ended.out + ended.err
    assert site.partitions(LOSSES, days) == ["FAILED", "MATERIALIZED"]


def test_an_interrupted_run_keeps_its_finished_days(site: Site) -> None:
    """Days that are done are green and published; the run is over, its slot free."""
    days = site.days()
    site.answer(days[2], SHOP, delay_seconds=60)
    with site.instance():
        pass  # Dagster's store, made once: two makers at a time trip over each other
    with site.start(*materialize(days)) as process:
        try:
            wait_until(lambda: is_told(site, f"day={days[1]}"))
            assert claimed_slots(site) == 1
        finally:
            process.send_signal(signal.SIGINT)
        process.communicate()

    assert process.returncode != 0
    for key in (RESPONSES, LOSSES):
        assert site.partitions(key, days) == ["MATERIALIZED", "MATERIALIZED", "FAILED"]
    assert {(app, day) for app in ("shop", "chat") for day in days[:2]} <= set(
        site.loaded()
    )
    assert statuses(site) == [dg.DagsterRunStatus.FAILURE]
    assert claimed_slots(site) == 0


def is_told(site: Site, text: str) -> bool:
    """Whether the log of any run holds this text."""
    with site.instance() as instance:
        return any(
            text in event.user_message
            for run in instance.get_runs()
            for event in instance.all_logs(run.run_id)
        )


def statuses(site: Site) -> list[dg.DagsterRunStatus]:
    """How all runs of the instance stand."""
    with site.instance() as instance:
        return [run.status for run in instance.get_runs()]


def claimed_slots(site: Site) -> int:
    """Slots of the pool that are taken."""
    with site.instance() as instance:
        return instance.event_log_storage.get_concurrency_info(POOL).active_slot_count
