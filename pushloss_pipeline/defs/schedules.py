"""Jobs and the daily schedule."""

from datetime import timedelta

import dagster as dg

from pushloss_pipeline.domain.window import askable_days
from pushloss_pipeline.steps import Parts

LOAD_JOB = "daily_push_loss"
REPLAY_JOB = "replay_push_loss"
TOO_LATE = timedelta(days=1)
"""A tick this old is skipped: the next one asks for the same days."""


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run of all days from first to last."""
    return {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }


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
        cron_schedule=f"{at.minute} {at.hour} * * *",
        execution_timezone=settings.timezone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Past days keep moving, so each run asks again for every day "
        "that the API still tells. The numbers of yesterday settle at about 10:00.",
    )
    def daily_push_loss_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time
        if parts.clock() - tick > TOO_LATE:
            return dg.SkipReason(f"the tick of {tick:%Y-%m-%d} is more than a day old")
        days = [
            day
            for day in askable_days(settings.timezone, settings.retention_days, tick)
            if day >= settings.start_date
        ]
        if not days:
            return dg.SkipReason("no day since start_date is over yet")
        first, last = days[0].isoformat(), days[-1].isoformat()
        return dg.RunRequest(run_key=last, tags=range_tags(first, last))

    return daily_push_loss_schedule
