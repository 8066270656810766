"""Jobs and the schedules that ask."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

import dagster as dg

from pushloss_pipeline.adapters.masking import discreet
from pushloss_pipeline.domain.errors import PushLossError
from pushloss_pipeline.domain.window import askable_days, is_expired
from pushloss_pipeline.overview import missed_days, unfinished_days
from pushloss_pipeline.steps import Parts

LOAD_JOB = "daily_push_loss"
REPLAY_JOB = "replay_push_loss"
TOO_LATE = timedelta(days=1)
"""A daily tick this old is skipped: the next one asks for the same days."""
AGAIN_AFTER = timedelta(hours=4)
"""How long after the daily run, and once more after that, what is missing is asked."""
DAY_ENDS = time(23, 50)
"""When it is asked instead, where the daily run is so late."""


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run of all days from first to last."""
    return {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }


def load_config(**options: Any) -> dict[str, Any]:
    """Run configuration of a load with these options of `LoadConfig`."""
    return {"ops": {"load_push_loss": {"config": options}}}


load_job = dg.define_asset_job(
    LOAD_JOB,
    selection=dg.AssetSelection.assets(
        "push_loss_responses", "push_loss", "warehouse", "push_loss_report"
    ),
    description="Asks the API for the days of the run, publishes them and reports.",
)
replay_job = dg.define_asset_job(
    REPLAY_JOB,
    selection=dg.AssetSelection.assets("push_loss", "warehouse", "push_loss_report"),
    description="Rebuilds the days of the run from stored answers; no call.",
)


def daily_schedule(parts: Parts) -> dg.ScheduleDefinition:
    """Every day: yesterday and all earlier days that the API still tells."""
    settings = parts.settings
    at = settings.schedule_time

    @dg.schedule(
        name="daily_push_loss_schedule",
        job=load_job,
        cron_schedule=_cron(at),
        execution_timezone=settings.timezone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Past days keep moving, so each run asks again for every day "
        "that the API still tells, the oldest first. The numbers of yesterday settle "
        "at about 10:00. Days that nobody asked for in time become expired, in a run "
        "of their own.",
    )
    @discreet()
    def daily_push_loss_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> list[dg.RunRequest] | dg.SkipReason:
        tick, now = context.scheduled_execution_time, parts.clock()
        if now - tick > TOO_LATE:
            return dg.SkipReason(f"the tick of {tick:%Y-%m-%d} is more than a day old")
        zone, retention = settings.timezone, settings.retention_days
        days = [
            day
            for day in askable_days(zone, retention, tick)
            if day >= settings.start_date and not is_expired(day, zone, retention, now)
        ]
        if not days:
            return dg.SkipReason("no day since start_date is over yet")
        first, last = days[0].isoformat(), days[-1].isoformat()
        asking = dg.RunRequest(run_key=last, tags=range_tags(first, last))
        try:
            return [asking, *_giving_up(parts, tick)]
        except PushLossError as problem:
            # The published file is derived; what it is asked here can wait a day.
            context.log.warning(f"missed days are not looked for: {problem}")
            return [asking]

    return daily_push_loss_schedule


def _giving_up(parts: Parts, tick: datetime) -> Iterator[dg.RunRequest]:
    """Runs that record as expired what was missed, apps with the same days in one."""
    apps: dict[tuple[date, date], list[str]] = defaultdict(list)
    for name, days in missed_days(parts).items():
        apps[days[0], days[-1]].append(name)
    for (first, last), names in apps.items():
        yield dg.RunRequest(
            run_key=f"missed {first} {last} on {tick:%Y-%m-%d}",
            tags=range_tags(first.isoformat(), last.isoformat()),
            run_config=load_config(apps=names, only_missing=True),
        )


def ask_again_schedule(parts: Parts) -> dg.ScheduleDefinition:
    """Later in the day: what is not in, and what may not have been ready."""
    settings = parts.settings

    @dg.schedule(
        name="ask_again_schedule",
        job=load_job,
        cron_schedule=[_cron(at) for at in _later_times(settings.schedule_time)],
        execution_timezone=settings.timezone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks again for days that failed, were refused or are held, and "
        "for a yesterday without rows, which may not have been ready. Nothing runs "
        "where every day is in.",
    )
    @discreet()
    def again(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        tick, now = context.scheduled_execution_time, parts.clock()
        if (
            now - tick >= AGAIN_AFTER
            or now.astimezone(tick.tzinfo).date() > tick.date()
        ):
            return dg.SkipReason("too late: the next tick asks")
        unfinished = unfinished_days(parts)
        if not unfinished:
            return dg.SkipReason("every day is in")
        days = [day for some in unfinished.values() for day in some]
        return dg.RunRequest(
            run_key=f"again {tick:%Y-%m-%d %H:%M}",
            tags=range_tags(min(days).isoformat(), max(days).isoformat()),
            run_config=load_config(
                apps=list(unfinished), only_missing=True, empty_again=True
            ),
        )

    return again


def _later_times(at: time) -> list[time]:
    """Twice more, but not on another day."""
    daily = datetime.combine(date.min, at)
    later = [daily + AGAIN_AFTER, daily + 2 * AGAIN_AFTER]
    return [moment.time() for moment in later if moment.date() == daily.date()] or [
        DAY_ENDS
    ]


def _cron(at: time) -> str:
    return f"{at.minute} {at.hour} * * *"
