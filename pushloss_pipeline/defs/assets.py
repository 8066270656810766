"""The assets. Asking and judging are one step, so a bad day holds no good day back."""

import warnings
from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from pushloss_pipeline.adapters.sql_files import read_statements
from pushloss_pipeline.defs.checks import check_specs
from pushloss_pipeline.defs.ledger import (
    LOSSES,
    NEWEST_DAY,
    RESPONSES,
    Ledger,
    Result,
    failing_in_words,
    report_metadata,
    warehouse_metadata,
)
from pushloss_pipeline.defs.partitions import days_of
from pushloss_pipeline.defs.resources import PushLoss
from pushloss_pipeline.domain.tables import (
    PUBLISHED_TABLES,
    PUSH_LOSS,
    PUSH_LOSS_RESPONSES,
    Table,
)
from pushloss_pipeline.reporting import write_report
from pushloss_pipeline.steps import load_days, publish, replay_days

GROUP = "push_loss"
OWNERS = ["team:push"]
TAGS = {"domain": "push", "source": "tencent_cloud_chat"}
POOL = "push_loss_api"


class LoadConfig(dg.Config):
    """What to leave out of a run; nothing by default."""

    apps: list[str] = Field(
        default_factory=list,
        description="Only these apps, by their names in pushloss.toml: `[shop]`, or "
        "`[shop, chat]`. None named: all. A day turns green once all are done.",
    )
    only_missing: bool = Field(
        default=False,
        description="Leave days alone that are loaded or empty; ask for the others.",
    )
    empty_again: bool = Field(
        default=False,
        description="With only_missing: ask again for days that are empty, but may "
        "not have been ready when they were asked for.",
    )


def load_asset(
    daily: dg.DailyPartitionsDefinition,
    *,
    freshness: dg.FreshnessPolicy,
    pool: str | None,
) -> dg.AssetsDefinition:
    """`push_loss_responses` and `push_loss`; alone, `push_loss` replays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # backfill policies
        policy = dg.BackfillPolicy.single_run()

        @dg.multi_asset(
            name="load_push_loss",
            specs=[
                _spec(
                    RESPONSES,
                    PUSH_LOSS_RESPONSES,
                    "Materialized alone, it stores answers and judges none.",
                    kinds={"python", "deltalake"},
                ),
                _spec(
                    LOSSES,
                    PUSH_LOSS,
                    "Materialized alone, it is rebuilt from stored answers; nothing "
                    "is asked. Past days keep moving: a day is replaced whole when "
                    "its answer changed.",
                    kinds={"python", "deltalake", "duckdb"},
                    deps=[RESPONSES],
                    freshness=freshness,
                ),
            ],
            partitions_def=daily,
            backfill_policy=policy,
            can_subset=True,
            check_specs=check_specs(LOSSES, daily),
            group_name=GROUP,
            pool=pool,
        )
        def load_push_loss(
            context: dg.AssetExecutionContext,
            config: LoadConfig,
            pushloss: dg.ResourceParam[PushLoss],
        ) -> Iterator[Result]:
            """Ask the API for the run's days, or rebuild them from stored answers."""
            with failing_in_words():
                ledger = Ledger(
                    context,
                    pushloss.parts,
                    days=days_of(context),
                    names=pushloss.parts.settings.select(tuple(config.apps)),
                    listener=pushloss.listener,
                )
                with ledger.settled():
                    _walk(context, config, ledger)
                yield from ledger.results()

    return load_push_loss


def _walk(
    context: dg.AssetExecutionContext, config: LoadConfig, ledger: Ledger
) -> None:
    parts, names, days = ledger.parts, ledger.names, ledger.days
    if RESPONSES not in context.selected_asset_keys:
        replay_days(parts, names, days, on_outcome=ledger.add)
        return
    load_days(
        parts,
        names,
        days,
        build=LOSSES in context.selected_asset_keys,
        only_missing=config.only_missing,
        empty_again=config.empty_again,
        on_outcome=ledger.add,
    )


@dg.asset(
    deps=[LOSSES],
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"duckdb"},
    description="`warehouse.duckdb`, brought up to date with the record and swapped "
    "in by atomic rename: the file that analysts open. A load publishes by itself; "
    "materialize this one after a change of views or configuration.",
)
def warehouse(
    context: dg.AssetExecutionContext, pushloss: dg.ResourceParam[PushLoss]
) -> dg.MaterializeResult[None]:
    """Publish what the record holds; the load has mostly done so already."""
    with failing_in_words():
        published = publish(pushloss.parts)
    return dg.MaterializeResult(
        metadata={
            **warehouse_metadata(pushloss.parts, published),
            "tables and views": dg.MetadataValue.md(_contents()),
        }
    )


def _contents() -> str:
    """What the file holds, as a table for people."""
    told = [(table.name, table.doc, table.grain) for table in PUBLISHED_TABLES]
    told += [
        (statement.name, statement.about, statement.labels["Grain"])
        for kind in ("views", "macros")
        for statement in read_statements(kind)
    ]
    rows = "".join(f"| `{name}` | {about} | {grain} |\n" for name, about, grain in told)
    return f"| name | what it tells | grain |\n|---|---|---|\n{rows}"


@dg.asset(
    deps=[warehouse],
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"html", "altair"},
    description="One page for analysts and on-call people: how much is lost, where, "
    "why, what changed and whose move it is. It is drawn from the views of "
    "`warehouse.duckdb` after each load, needs no server, and asks for nothing "
    "outside itself: send it, print it, open it on a phone.",
)
def push_loss_report(
    context: dg.AssetExecutionContext, pushloss: dg.ResourceParam[PushLoss]
) -> dg.MaterializeResult[None]:
    """Write the report of what is published."""
    with failing_in_words():
        written = write_report(pushloss.parts)
    return dg.MaterializeResult(metadata=report_metadata(written))


def newest_day(freshness: dg.FreshnessPolicy) -> dg.AssetSpec:
    """Tells of yesterday alone: after a load of older days `push_loss` is fresh, too.

    No step makes it. A load materializes it where the newest complete day is done
    for every configured app.
    """
    return dg.AssetSpec(
        NEWEST_DAY,
        deps=[LOSSES],
        description="Yesterday is in, for every configured app: a load says so here, "
        "or it is late two hours after `schedule_time`. (`push_loss` counts as fresh "
        "after a load of any day, an old one too.)",
        group_name=GROUP,
        owners=OWNERS,
        tags=TAGS,
        freshness_policy=freshness,
    )


def _spec(
    key: dg.AssetKey,
    table: Table,
    use: str,
    *,
    kinds: set[str],
    deps: list[dg.AssetKey] | None = None,
    freshness: dg.FreshnessPolicy | None = None,
) -> dg.AssetSpec:
    """A table as an asset, told by its declaration."""
    columns = [
        dg.TableColumn(
            column.name,
            str(column.type),
            description=column.doc,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table.columns
    ]
    return dg.AssetSpec(
        key,
        deps=deps or [],
        description=f"{table.doc} One partition is one day of all apps. {use}",
        kinds=kinds,
        owners=OWNERS,
        tags=TAGS,
        freshness_policy=freshness,
        metadata={
            "dagster/table_name": table.name,
            "dagster/column_schema": dg.TableSchema(columns),
            "grain": table.grain,
        },
        skippable=True,
    )
