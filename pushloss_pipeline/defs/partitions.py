"""Days: the only partition dimension; apps are rows, not partitions."""

from datetime import date

import dagster as dg

from pushloss_pipeline.domain.errors import UsageError
from pushloss_pipeline.settings import Settings


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Complete days since `start_date`, in the configured zone."""
    return dg.DailyPartitionsDefinition(
        start_date=settings.start_date.isoformat(),
        timezone=settings.timezone.key,
        end_offset=0,
    )


def days_of(context: dg.AssetExecutionContext) -> list[date]:
    """The days of this run, in any kind of run: one, a range, a backfill."""
    if not (context.has_partition_key or context.has_partition_key_range):
        raise UsageError("this run has no days; launch it for a day or a range of days")
    return [date.fromisoformat(key) for key in sorted(context.partition_keys)]
