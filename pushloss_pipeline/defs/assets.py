"""The assets. Asking and judging are one step, so a bad day holds no good day back."""

import warnings
from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from pushloss_pipeline.defs.checks import check_specs
from pushloss_pipeline.defs.ledger import LOSSES, RESPONSES, Ledger, Result, failure_of
from pushloss_pipeline.defs.partitions import days_of
from pushloss_pipeline.defs.resources import PushLoss
from pushloss_pipeline.domain.errors import PushLossError
from pushloss_pipeline.domain.tables import PUSH_LOSS, PUSH_LOSS_RESPONSES
from pushloss_pipeline.steps import DayOutcome, load_days, publish, replay_days

GROUP = "push_loss"
POOL = "push_loss_api"


class LoadConfig(dg.Config):
    """Which apps to load (none named: all), and whether to leave done days alone."""

    apps: list[str] = Field(default_factory=list)
    only_missing: bool = False


def load_asset(
    daily: dg.DailyPartitionsDefinition, *, pool: str | None
) -> dg.AssetsDefinition:
    """`push_loss_responses` and `push_loss`; alone, `push_loss` replays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # backfill policies
        policy = dg.BackfillPolicy.single_run()

        @dg.multi_asset(
            name="load_push_loss",
            specs=[
                dg.AssetSpec(
                    RESPONSES,
                    description=PUSH_LOSS_RESPONSES.doc,
                    kinds={"python", "deltalake"},
                    skippable=True,
                ),
                dg.AssetSpec(
                    LOSSES,
                    deps=[RESPONSES],
                    description=PUSH_LOSS.doc,
                    kinds={"python", "deltalake", "duckdb"},
                    skippable=True,
                ),
            ],
            partitions_def=daily,
            backfill_policy=policy,
            can_subset=True,
            check_specs=check_specs(LOSSES.to_user_string(), daily),
            group_name=GROUP,
            pool=pool,
        )
        def load_push_loss(
            context: dg.AssetExecutionContext,
            config: LoadConfig,
            pushloss: dg.ResourceParam[PushLoss],
        ) -> Iterator[Result]:
            """Ask the API for the run's days, or rebuild them from stored answers."""
            yield from _load(context, config, pushloss)

    return load_push_loss


def _load(
    context: dg.AssetExecutionContext, config: LoadConfig, pushloss: PushLoss
) -> Iterator[Result]:
    parts, days = pushloss.parts, days_of(context)
    try:
        names = parts.settings.select(tuple(config.apps))
        ledger = Ledger(context, parts, days, names)

        def listen(outcome: DayOutcome) -> None:
            ledger.add(outcome)
            pushloss.listener(outcome)

        try:
            if RESPONSES in context.selected_asset_keys:
                load_days(
                    parts,
                    names,
                    days,
                    build=LOSSES in context.selected_asset_keys,
                    only_missing=config.only_missing,
                    on_outcome=listen,
                )
            else:
                replay_days(parts, names, days, on_outcome=listen)
            ledger.complete()
        finally:
            publish(parts)
            ledger.report()
        yield from ledger.results()
    except PushLossError as problem:
        raise failure_of(problem) from None


@dg.asset(
    deps=[LOSSES],
    group_name=GROUP,
    kinds={"duckdb"},
    description="`warehouse.duckdb`, brought up to date with the record and swapped "
    "in by atomic rename: the file that analysts open.",
)
def warehouse(
    context: dg.AssetExecutionContext, pushloss: dg.ResourceParam[PushLoss]
) -> dg.MaterializeResult[None]:
    """Publish what the record holds; the load has mostly done so already."""
    try:
        published = publish(pushloss.parts)
    except PushLossError as problem:
        raise failure_of(problem) from None
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": published.push_loss_rows,
            "changed_days": published.changed_days,
            "file": dg.MetadataValue.path(pushloss.parts.warehouse.path),
        }
    )
