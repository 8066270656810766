"""The schedules: which days a tick asks for."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from pushloss_pipeline.definitions import build_definitions
from pushloss_pipeline.defs.schedules import (
    ask_again_schedule,
    daily_schedule,
    load_config,
)
from pushloss_pipeline.parts import open_parts
from tests.defs.site import Site
from tests.world import World

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
        return the_one(evaluated_tick(daily_schedule(parts), TICK))

    return evaluated


def evaluated_tick(
    schedule: dg.ScheduleDefinition, tick: datetime
) -> list[dg.RunRequest] | str:
    """The runs that a tick asks for, or why it asks for none."""
    context = dg.build_schedule_context(scheduled_execution_time=tick)
    evaluated = schedule.evaluate_tick(context)
    return evaluated.skip_message or list(evaluated.run_requests or ())


def the_one(evaluated: list[dg.RunRequest] | str) -> dg.RunRequest | str:
    """The only run that a tick asks for, or why it asks for none."""
    if isinstance(evaluated, str):
        return evaluated
    (request,) = evaluated
    return request


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


def test_a_day_forgotten_since_the_tick_is_left_out(evaluate: Evaluate) -> None:
    """A tick made up for after midnight asks only what the API still tells."""
    assert days_of(evaluate(delay=timedelta(hours=15)))[0] == "2026-03-04"


@pytest.fixture
def outage(world: World) -> World:
    """A world whose week is loaded, and where nothing ran for nine days since."""
    world.load()
    world.later(days=9)
    return world


def test_missed_days_have_a_run_of_their_own(outage: World) -> None:
    """Apps that missed the same days share one run, which records them as expired."""
    tick = outage.now.astimezone(ZONE)
    asking, giving_up = evaluated_tick(daily_schedule(outage.parts), tick)
    assert isinstance(asking, dg.RunRequest) and isinstance(giving_up, dg.RunRequest)

    assert days_of(asking) == ("2026-03-14", "2026-03-20")
    assert days_of(giving_up) == ("2026-03-12", "2026-03-13")
    assert giving_up.run_config == load_config(
        apps=list(outage.names), only_missing=True
    )


def test_days_given_up_are_not_missed_again(outage: World) -> None:
    """Once recorded as expired, a missed day asks for no further run."""
    outage.load(days=[date(2026, 3, 12), date(2026, 3, 13)])
    tick = outage.now.astimezone(ZONE)

    request = the_one(evaluated_tick(daily_schedule(outage.parts), tick))

    assert days_of(request) == ("2026-03-14", "2026-03-20")


def test_a_broken_file_keeps_no_day_from_being_asked(outage: World) -> None:
    """Missed days are looked for in the published file, which may be unreadable."""
    path = outage.data / "warehouse.duckdb"
    path.chmod(0o600)
    path.write_bytes(b"no database")
    tick = outage.now.astimezone(ZONE)

    request = the_one(evaluated_tick(daily_schedule(outage.parts), tick))

    assert days_of(request) == ("2026-03-14", "2026-03-20")


def asked_again(
    world: World, *, at: str = "14:30", delay: timedelta = timedelta()
) -> dg.RunRequest | str:
    """What a later tick of the world's day asks for."""
    tick = datetime.fromisoformat(f"2026-03-12T{at}+08:00")
    world.now = tick + delay
    return the_one(evaluated_tick(ask_again_schedule(world.parts), tick))


def test_it_asks_again_twice_a_day(site: Site) -> None:
    """Four and eight hours after the daily run, or late on the same day."""

    def crons(schedule_time: str) -> object:
        at = time.fromisoformat(schedule_time)
        settings = site.settings.model_copy(update={"schedule_time": at})
        return ask_again_schedule(open_parts(settings)).cron_schedule

    assert crons("10:30") == ["30 14 * * *", "30 18 * * *"]
    assert crons("17:00") == ["0 21 * * *"]
    assert crons("22:00") == ["50 23 * * *"]


def test_nothing_is_asked_again_where_all_is_in(world: World) -> None:
    """A tick without unfinished days is skipped."""
    world.load()

    assert asked_again(world) == "every day is in"


def test_what_is_unfinished_is_asked_again(world: World) -> None:
    """Refused days and an empty yesterday, of the apps that have them, in one run."""
    first, second, third = world.names
    refused = {"day": "2026-03-08", "error_code": 60002, "times": None}
    empty = {"empty": True, "times": None}
    world.simulator.script(
        [
            {"sdk_app_id": world.number_of(first), **refused},
            {"sdk_app_id": world.number_of(second), "day": "2026-03-11", **empty},
            {"sdk_app_id": world.number_of(third), "day": "2026-03-10", **empty},
        ]
    )
    world.load()

    request = asked_again(world)

    assert isinstance(request, dg.RunRequest)
    assert days_of(request) == ("2026-03-08", "2026-03-11")
    options = {"apps": [first, second], "only_missing": True, "empty_again": True}
    assert request.run_config == load_config(**options)


@pytest.mark.parametrize(
    ("at", "hours"), [("14:30", 4), ("23:50", 1)], ids=["hours", "the next day"]
)
def test_a_late_tick_leaves_it_to_the_next(world: World, at: str, hours: int) -> None:
    """What the next tick asks for anyway is not asked twice."""
    assert asked_again(world, at=at, delay=timedelta(hours=hours)) == (
        "too late: the next tick asks"
    )


def test_the_scheduled_run_is_valid(site: Site, evaluate: Evaluate) -> None:
    """The job runs as the tick asks, without any configuration."""
    request = evaluate()
    assert isinstance(request, dg.RunRequest)
    definitions = build_definitions(site.settings)
    job = definitions.resolve_job_def("daily_push_loss")

    assert request.run_key == "2026-03-09"
    assert dg.validate_run_config(job, dict(request.run_config)) is not None
