"""When Dagster's UI calls the data late: yesterday is not in by the deadline."""

from datetime import datetime, timedelta

import dagster as dg

from pushloss_pipeline.domain.window import GRACE
from pushloss_pipeline.settings import Settings

_DAY = timedelta(days=1)


def freshness_policy(settings: Settings) -> dg.FreshnessPolicy:
    """Something has come in since midnight, `GRACE` after `schedule_time` at latest."""
    at = settings.schedule_time
    deadline = timedelta(hours=at.hour, minutes=at.minute) + GRACE
    clock = datetime.min + deadline
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"{clock.minute} {clock.hour} * * *",
        lower_bound_delta=min(deadline, _DAY),  # a deadline after midnight: all day
        timezone=settings.timezone.key,
    )
