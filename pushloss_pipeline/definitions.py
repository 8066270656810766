"""What Dagster loads: collects, decides nothing."""

import warnings

import dagster as dg

from pushloss_pipeline.defs.assets import (
    POOL,
    load_asset,
    newest_day,
    push_loss_report,
    warehouse,
)
from pushloss_pipeline.defs.freshness import freshness_policy
from pushloss_pipeline.defs.partitions import daily_partitions
from pushloss_pipeline.defs.resources import RESOURCE, pushloss_resource
from pushloss_pipeline.defs.schedules import (
    ask_again_schedule,
    daily_schedule,
    load_job,
    replay_job,
)
from pushloss_pipeline.parts import OpenParts, open_parts
from pushloss_pipeline.settings import Settings, read_settings
from pushloss_pipeline.steps import Listener


def build_definitions(
    settings: Settings,
    *,
    listener: Listener | None = None,
    pool: str | None = POOL,
    open_parts: OpenParts = open_parts,
) -> dg.Definitions:
    """All definitions for one configuration; `listener` hears of every outcome."""
    daily = daily_partitions(settings)
    freshness = freshness_policy(settings)
    parts = open_parts(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code references
        assets = dg.with_source_code_references(
            [
                load_asset(daily, freshness=freshness, pool=pool),
                warehouse,
                push_loss_report,
            ]
        )
    return dg.Definitions(
        assets=[*assets, newest_day(freshness)],
        jobs=[load_job, replay_job],
        schedules=[daily_schedule(parts), ask_again_schedule(parts)],
        resources={RESOURCE: pushloss_resource(settings, open_parts, listener)},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Definitions of the configuration that the environment names."""
    return build_definitions(read_settings())
