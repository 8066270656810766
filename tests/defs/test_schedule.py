"""The daily schedule: which days a tick asks for."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from pushloss_pipeline.definitions import build_definitions
from pushloss_pipeline.defs.schedules import daily_schedule
from pushloss_pipeline.parts import open_parts
from tests.defs.site import Site

ZONE = ZoneInfo("Asia/Shanghai")
TICK = datetime(2026, 3, 10, 10, 30, tzinfo=ZONE)

Evaluate = Callable[..., dg.RunRequest | str]


@pytest.fixture
def evaluate(site: Site) -> Evaluate:
    """Evaluate a tick some time after it was due; a skip is its reason."""

    def evaluated(
        *, delay: timedelta = timedelta(), start_date: str = "2026-01-01"
    ) -> dg.RunRequest | str:
        start = datetime.fromisoformat(start_date).date()
        settings = site.settings.model_copy(update={"start_date": start})
        parts = replace(open_parts(settings), clock=lambda: TICK + delay)
        schedule = daily_schedule(parts)
        context = dg.build_schedule_context(scheduled_execution_time=TICK)
        tick = schedule.evaluate_tick(context)
        if tick.skip_message:
            return tick.skip_message
        (request,) = tick.run_requests or ()
        return request

    return evaluated


def days_of(request: dg.RunRequest | str) -> tuple[str, str]:
    """First and last day of a run that a tick asks for."""
    assert isinstance(request, dg.RunRequest)
    return (
        request.tags["dagster/asset_partition_range_start"],
        request.tags["dagster/asset_partition_range_end"],
    )


def test_it_is_on_and_ticks_at_the_configured_time(site: Site) -> None:
    """The schedule runs unless switched off, at schedule_time of the zone."""
    at = site.settings.schedule_time
    definitions = build_definitions(site.settings)
    schedule = definitions.resolve_schedule_def("daily_push_loss_schedule")

    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule == f"{at.minute} {at.hour} * * *"
    assert schedule.execution_timezone == "Asia/Shanghai"
    assert schedule.job_name == "daily_push_loss"


def test_a_tick_is_one_run_of_all_days_still_told(evaluate: Evaluate) -> None:
    """Yesterday and the six days before are asked for, as one run."""
    assert days_of(evaluate()) == ("2026-03-03", "2026-03-09")


def test_days_before_the_start_are_left_out(evaluate: Evaluate) -> None:
    """No day before start_date is asked for."""
    assert days_of(evaluate(start_date="2026-03-08")) == ("2026-03-08", "2026-03-09")


def test_before_the_start_there_is_nothing_to_do(evaluate: Evaluate) -> None:
    """A tick without any day since start_date is skipped."""
    assert evaluate(start_date="2026-03-10") == "no day since start_date is over yet"


def test_a_late_tick_is_made_up_for(evaluate: Evaluate) -> None:
    """Hours of downtime do not lose the day."""
    assert days_of(evaluate(delay=timedelta(hours=23)))[1] == "2026-03-09"


def test_a_missed_tick_is_skipped(evaluate: Evaluate) -> None:
    """A tick older than a day is left to the one after it, which asks the same."""
    reason = evaluate(delay=timedelta(hours=25))

    assert reason == "the tick of 2026-03-10 is more than a day old"


def test_the_scheduled_run_is_valid(site: Site, evaluate: Evaluate) -> None:
    """The job runs as the tick asks, without any configuration."""
    request = evaluate()
    assert isinstance(request, dg.RunRequest)
    definitions = build_definitions(site.settings)
    job = definitions.resolve_job_def("daily_push_loss")

    assert request.run_key == "2026-03-09"
    assert dg.validate_run_config(job, dict(request.run_config)) is not None
