"""The weekly job: tidies the record, examines and mends it, forgets old runs."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage

from pushloss_pipeline.adapters.masking import discreet, masked
from pushloss_pipeline.defs.ledger import LOSSES, RESPONSES
from pushloss_pipeline.defs.resources import PushLoss
from pushloss_pipeline.defs.runs import MAINTENANCE_JOB, is_ours
from pushloss_pipeline.domain.errors import PushLossError
from pushloss_pipeline.settings import Settings
from pushloss_pipeline.upkeep import Finding, examine, tidy

SUNDAY_AT_FOUR = "0 4 * * 0"
RUNS_KEPT = timedelta(days=90)
"""How long Dagster keeps what only a person who looks into a run would miss."""
AT_ONCE = 500
"""Events that are looked up by one query."""


@dg.op(description="Merges small files, then looks at everything and mends it.")
@discreet()
def look_after_the_record(
    context: dg.OpExecutionContext, pushloss: dg.ResourceParam[PushLoss]
) -> None:
    """Fail, once, where something is left that only a person can mend."""
    parts = pushloss.parts
    try:
        context.log.info(str(tidy(parts)))
    except PushLossError as problem:
        context.log.warning(f"not tidied: {problem}")  # the examination tells why
    findings = list(examine(parts, repair=True))
    forgotten = forget_old_runs(context.instance, now=parts.clock())
    for finding in findings:
        context.log.info(_in_words(finding))
    metadata: dict[str, Any] = {
        "findings": dg.MetadataValue.md("\n".join(map(_in_words, findings))),
        "mended": sum(bool(f.wrong) and f.is_mended for f in findings),
        "old runs deleted": forgotten,
    }
    context.add_output_metadata(metadata)
    if left := [finding for finding in findings if not finding.is_mended]:
        raise dg.Failure(
            description="\n".join(map(_in_words, left)),
            metadata=metadata,
            allow_retries=False,
        )


@dg.job(
    name=MAINTENANCE_JOB,
    description="Keeps the record small, sound and the same as the published file: "
    "what `pushloss doctor` does, and more thorough tidying. Asks the API nothing.",
)
def maintenance_job() -> None:
    """One step."""
    look_after_the_record()


def weekly_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """When nobody loads and nobody looks."""
    return dg.ScheduleDefinition(
        name=f"{MAINTENANCE_JOB}_schedule",
        job=maintenance_job,
        cron_schedule=SUNDAY_AT_FOUR,
        execution_timezone=settings.timezone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Merges the record's small files, and runs the doctor.",
    )


def forget_old_runs(instance: dg.DagsterInstance, *, now: datetime) -> int:
    """Delete old runs of ours that no day's colour hangs on; how many.

    Each daily run is the last green one of some day, or a later red one: deleted,
    that day would lose its colour. Of these only the log of steps goes, which is half
    of what a run takes; the events of assets and checks are kept elsewhere, and stay.
    """
    needed = _runs_of_coloured_days(instance)
    forgotten = 0
    old = dg.RunsFilter(created_before=now - RUNS_KEPT)
    for record in instance.get_run_records(filters=old):
        run = record.dagster_run
        if not (run.is_finished and is_ours(run)):
            continue
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        if run.run_id not in needed:
            instance.delete_run(run.run_id)
            forgotten += 1
        _delete_log_of_steps(instance, run.run_id)
    return forgotten


def _runs_of_coloured_days(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold any day's newest materialization, or a newer failed attempt."""
    found: set[str] = set()
    events = instance.event_log_storage
    for asset in (RESPONSES, LOSSES):
        attempts = events.get_latest_asset_partition_materialization_attempts_without_materializations  # noqa: E501
        found.update(run_id for run_id, _ in attempts(asset).values())
        newest = events.get_latest_storage_id_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        ids = sorted(newest.values())
        for start in range(0, len(ids), AT_ONCE):
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(
                    asset_key=asset, storage_ids=ids[start : start + AT_ONCE]
                ),
                limit=AT_ONCE,
            ).records
            found.update(record.run_id for record in records)
    return found


def _delete_log_of_steps(instance: dg.DagsterInstance, run_id: str) -> None:
    """SQLite keeps it in a file for each run; other stores keep all in one place."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for ending in ("", "-wal", "-shm"):
            Path(f"{storage.path_for_shard(run_id)}{ending}").unlink(missing_ok=True)


def _in_words(finding: Finding) -> str:
    mark = "✓" if finding.is_mended else "✗"
    told = f": {finding.told}" if finding.told else ""
    lines: Sequence[str] = (
        *finding.wrong,
        *(f"mended: {text}" for text in finding.done),
        *(f"→ {text}" for text in finding.advice),
    )
    lines = [f"- {mark} {finding.looked_at}{told}", *(f"  - {t}" for t in lines)]
    return masked("\n".join(lines))
