"""The record: two append-only Delta tables, written atomically and fsynced.

Nothing here is ever updated or deleted. One commit holds a whole batch, so a
reader of any engine sees all of a day or nothing of it. Writers of one data
folder take turns (`Lake.writing`), which makes the order of the record the
order in which answers are judged.
"""

import json
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError
from filelock import FileLock, Timeout
from tenacity import (
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.domain.model import Answer, AppDay, Outcome
from pushloss_pipeline.domain.tables import (
    LAKE_TABLES,
    PUSH_LOSS_RESPONSES,
    PUSH_LOSS_REVISIONS,
    Table,
)
from pushloss_pipeline.domain.verdict import Standing, State

LOCK_SECONDS = 300.0
"""A writer holds its turn for well under a second; longer means it hangs."""

_TABLE_CONFIGURATION = {
    "delta.appendOnly": "true",
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 7 days",
    "delta.setTransactionRetentionDuration": "interval 30 days",
}
_WRITER = WriterProperties(compression="ZSTD", max_row_group_size=131072)


class Lake:
    """The record under one root: a local folder or an object-store URL."""

    def __init__(self, root: str, *, lock_path: Path) -> None:
        self._root = root.rstrip("/")
        self._lock_path = lock_path
        self._is_local = "://" not in root

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Take turns with every other writer of this data folder."""
        try:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._lock_path, timeout=LOCK_SECONDS, mode=0o600):
                yield
        except Timeout:
            raise StoreError(
                f"another process holds {self._lock_path} for more than "
                f"{LOCK_SECONDS:.0f} s; find it with `fuser {self._lock_path}`"
            ) from None
        except OSError as problem:
            raise StoreError(f"cannot write the record: {problem}") from problem

    def append_answers(
        self, answers: Sequence[Answer], *, now: datetime
    ) -> tuple[Answer, ...]:
        """Append answers as received; returned with the time they were recorded.

        Call it inside `writing`. `recorded_at` rises strictly over the whole
        table, even when clocks go back: it is the order in which answers count.
        """
        if not answers:
            return ()
        table = self._open(PUSH_LOSS_RESPONSES)
        start = max(now, _newest_recorded_at(table) + timedelta(milliseconds=1))
        recorded = tuple(
            replace(answer, recorded_at=start + timedelta(microseconds=position))
            for position, answer in enumerate(answers)
        )
        self._append(table, _answers_table(recorded))
        return recorded

    def append_entries(self, entries: Sequence[Standing]) -> None:
        """Append judged entries: markers with their rows, and states."""
        if entries:
            table = self._open(PUSH_LOSS_REVISIONS)
            self._append(table, _entries_table(entries))

    def answers(self, app_days: Collection[AppDay]) -> dict[AppDay, list[Answer]]:
        """All answers of these days in recorded order, bodies included."""
        return self._answers(app_days, pc.scalar(True))

    def answers_since(
        self, standings: dict[AppDay, Standing | None]
    ) -> dict[AppDay, list[Answer]]:
        """Answers of these days that were recorded after what stands for each."""
        if not standings:
            return {}
        known = [
            standing.recorded_at if standing else datetime.min.replace(tzinfo=UTC)
            for standing in standings.values()
        ]
        found = self._answers(standings.keys(), pc.field("recorded_at") > min(known))
        return {
            app_day: [
                answer
                for answer in found.get(app_day, [])
                if standing is None or _time_of(answer) > standing.recorded_at
            ]
            for app_day, standing in standings.items()
        }

    def entries(self, app_days: Collection[AppDay]) -> dict[AppDay, list[Standing]]:
        """Markers and states of these days, oldest first, without their rows."""
        rows = self._read(PUSH_LOSS_REVISIONS, app_days, pc.field("row_kind") != "loss")
        rows.sort(key=lambda row: str(row["entry_key"]))
        found: dict[AppDay, list[Standing]] = defaultdict(list)
        for row in rows:
            standing = _standing(row)
            found[standing.app_day].append(standing)
        return {app_day: _one_per_entry(found[app_day]) for app_day in found}

    def standings(self, app_days: Collection[AppDay]) -> dict[AppDay, Standing | None]:
        """What stands for each of these days; None where nothing is known."""
        entries = self.entries(app_days)
        return {
            app_day: entries[app_day][-1] if app_day in entries else None
            for app_day in app_days
        }

    def apps_told(self, error_code: int, *, since: datetime) -> frozenset[int]:
        """Apps that the API answered with this code since then."""
        told = self._dataset(PUSH_LOSS_RESPONSES).to_table(
            columns=["sdk_app_id"],
            filter=(pc.field("error_code") == error_code)
            & (pc.field("recorded_at") >= since),
        )
        return frozenset(told.column("sdk_app_id").to_pylist())

    def revisions(self, months: Iterable[str] | None = None) -> pads.Dataset:
        """The table `push_loss_revisions` as one snapshot, whole or of some months."""
        return self._dataset(PUSH_LOSS_REVISIONS, months)

    def create(self) -> None:
        """Create the tables that are not there yet."""
        for table in LAKE_TABLES:
            self._open(table)

    def _answers(
        self, app_days: Collection[AppDay], condition: pc.Expression
    ) -> dict[AppDay, list[Answer]]:
        rows = self._read(PUSH_LOSS_RESPONSES, app_days, condition)
        rows.sort(key=lambda row: row["recorded_at"])
        found: dict[AppDay, list[Answer]] = defaultdict(list)
        for row in rows:
            answer = _answer(row)
            found[answer.app_day].append(answer)
        return dict(found)

    def _read(
        self, table: Table, app_days: Collection[AppDay], condition: pc.Expression
    ) -> list[dict[str, Any]]:
        wanted = set(app_days)
        if not wanted:
            return []
        days = {app_day.loss_date for app_day in wanted}
        dataset = self._dataset(table, {_month(day) for day in days})
        rows = dataset.to_table(
            filter=condition
            & pc.field("loss_date").isin(sorted(days))
            & pc.field("sdk_app_id").isin(sorted({key.sdk_app_id for key in wanted}))
        ).to_pylist()
        return [
            row for row in rows if AppDay(row["sdk_app_id"], row["loss_date"]) in wanted
        ]

    def _dataset(
        self, table: Table, months: Iterable[str] | None = None
    ) -> pads.Dataset:
        partitions = None if months is None else [("month", "in", sorted(months))]
        return self._open(table).to_pyarrow_dataset(
            partitions=partitions, schema=table.schema
        )

    def _open(self, table: Table) -> DeltaTable:
        uri = f"{self._root}/{table.name}"
        try:
            if not DeltaTable.is_deltatable(uri):
                self._create(uri, table)
            return DeltaTable(uri)
        except (DeltaError, OSError) as problem:
            raise StoreError(f"cannot open the record {uri}: {problem}") from problem

    def _create(self, uri: str, table: Table) -> None:
        if self._is_local:
            Path(uri).mkdir(parents=True, exist_ok=True, mode=0o700)
        created = DeltaTable.create(
            uri,
            table.schema,
            mode="ignore",
            partition_by=["month"],
            name=table.name,
            description=table.doc,
            configuration=_TABLE_CONFIGURATION,
        )
        if self._is_local:
            _sync_commit(Path(uri), created.version())

    def _append(self, table: DeltaTable, rows: pa.Table) -> None:
        batch_id = uuid.uuid4().hex
        try:
            _commit(table, rows, batch_id)
            if self._is_local:
                root = Path(table.table_uri.removeprefix("file://"))
                _sync_commit(root, _version_of(root, batch_id, table.version()))
        except (DeltaError, OSError) as problem:
            raise StoreError(
                f"cannot write the record {table.table_uri}: {problem}"
            ) from problem


@retry(
    retry=retry_if_exception_type(CommitFailedError),
    stop=stop_after_attempt(10),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)
def _commit(table: DeltaTable, rows: pa.Table, batch_id: str) -> None:
    """Append once: a batch that was committed before its answer got lost is known."""
    table.update_incremental()
    if table.transaction_version(batch_id) is not None:
        return
    # Without the time, Delta would remember the batch for ever.
    transaction = Transaction(batch_id, 1, int(time.time() * 1000))
    write_deltalake(
        table,
        rows,
        mode="append",
        writer_properties=_WRITER,
        commit_properties=CommitProperties(
            max_commit_retries=50, app_transactions=[transaction]
        ),
    )


def _version_of(root: Path, batch_id: str, newest: int) -> int:
    """The version that this batch made; others may have committed since."""
    for version in range(newest, -1, -1):
        entry = _log_entry(root, version)
        if entry.exists() and batch_id in entry.read_text():
            return version
    raise StoreError(f"the record {root} has no commit of batch {batch_id}")


def _sync_commit(root: Path, version: int) -> None:
    """Force a commit to the disk: delta-rs leaves that to chance."""
    entry = _log_entry(root, version)
    folders = {entry.parent, root}
    for line in entry.read_text().splitlines():
        if added := json.loads(line).get("add"):
            path = root / added["path"]
            _sync(path)
            folders.add(path.parent)
    _sync(entry)
    for folder in folders:
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _log_entry(root: Path, version: int) -> Path:
    return root / "_delta_log" / f"{version:020d}.json"


def _newest_recorded_at(table: DeltaTable) -> datetime:
    """From the statistics of the files, which are cut to milliseconds."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if "max.recorded_at" not in actions.column_names:
        return datetime.min.replace(tzinfo=UTC)
    newest = pc.max(actions.column("max.recorded_at")).as_py()
    return newest or datetime.min.replace(tzinfo=UTC)


def _month(day: date) -> str:
    return f"{day:%Y-%m}"


def _answers_table(answers: Sequence[Answer]) -> pa.Table:
    rows = [
        {
            "response_id": answer.response_id,
            "sdk_app_id": answer.sdk_app_id,
            "app": answer.app,
            "loss_date": answer.loss_date,
            "month": _month(answer.loss_date),
            "window_start": answer.window_start,
            "window_end": answer.window_end,
            "attempt": answer.attempt,
            "requested_at": answer.requested_at,
            "fetched_at": answer.fetched_at,
            "recorded_at": answer.recorded_at,
            "outcome": answer.outcome.value,
            "http_status": answer.http_status,
            "error_code": answer.error_code,
            "error_info": answer.error_info,
            "body": answer.body,
        }
        for answer in answers
    ]
    return pa.Table.from_pylist(rows, schema=PUSH_LOSS_RESPONSES.schema)


def _answer(row: dict[str, Any]) -> Answer:
    fields = {name: value for name, value in row.items() if name != "month"}
    return Answer(**{**fields, "outcome": Outcome(row["outcome"])})


def _time_of(answer: Answer) -> datetime:
    assert answer.recorded_at is not None  # read back from the record
    return answer.recorded_at


def _entries_table(entries: Sequence[Standing]) -> pa.Table:
    commit = uuid.uuid4().hex
    ordered = sorted(entries, key=lambda entry: (*entry.app_day, entry.sequence))
    rows = [row for entry in ordered for row in _entry_rows(entry, commit)]
    return pa.Table.from_pylist(rows, schema=PUSH_LOSS_REVISIONS.schema)


def _entry_rows(entry: Standing, commit: str) -> Iterator[dict[str, Any]]:
    fetched = int(entry.fetched_at.timestamp() * 1_000_000)
    common = {
        # Two machines that judge one day at once write two entries of one
        # sequence: the later answer wins, and rows of the two never mix.
        "entry_key": f"{entry.sequence:08d}-{fetched:017d}-{commit}",
        "sdk_app_id": entry.sdk_app_id,
        "app": entry.app,
        "loss_date": entry.loss_date,
        "month": _month(entry.loss_date),
        "revision": entry.revision,
        "response_id": entry.response_id,
        "fetched_at": entry.fetched_at,
        "recorded_at": entry.recorded_at,
    }
    yield {
        **common,
        "row_kind": "marker" if entry.is_revision else "state",
        "state": entry.state.value,
        "row_count": entry.row_count,
        "overall_count": entry.overall_count,
        "content_hash": entry.content_hash,
        "envelope": entry.envelope,
        "warnings": list(entry.warnings),
        "error_code": entry.error_code,
        "error_info": entry.error_info,
    }
    for row in entry.rows:
        yield {
            **common,
            "row_kind": "loss",
            "stage": row.stage.value,
            "scope": row.scope.value,
            "platform_id": row.platform_id,
            "platform": row.platform,
            "err_code": row.err_code,
            "err_info": row.err_info,
            "err_count": row.err_count,
        }


def _standing(row: dict[str, Any]) -> Standing:
    return Standing(
        sdk_app_id=row["sdk_app_id"],
        app=row["app"],
        loss_date=row["loss_date"],
        sequence=int(row["entry_key"].split("-", 1)[0]),
        state=State(row["state"]),
        revision=row["revision"],
        row_count=row["row_count"],
        overall_count=row["overall_count"],
        content_hash=row["content_hash"],
        response_id=row["response_id"],
        fetched_at=row["fetched_at"],
        recorded_at=row["recorded_at"],
        envelope=row["envelope"],
        warnings=tuple(row["warnings"]),
        error_code=row["error_code"],
        error_info=row["error_info"],
        is_revision=row["row_kind"] == "marker",
    )


def _one_per_entry(standings: list[Standing]) -> list[Standing]:
    """The last of each sequence: `standings` is sorted by entry key."""
    return list({standing.sequence: standing for standing in standings}.values())
