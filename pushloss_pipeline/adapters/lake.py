"""The record: two append-only Delta tables, written atomically and fsynced.

Nothing here is ever updated or deleted. One commit holds a whole batch, so a
reader of any engine sees all of a day or nothing of it. Writers of one data
folder take turns (`Lake.writing`), which makes the order of the record the
order in which answers are judged.
"""

import json
import logging
import os
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.fs as pafs
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
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
MANY_FILES = 100
"""Files of one partition that are merged into one."""
MANY_FILES_OF_THE_PAST = 10
"""The same where the partition's month is over: hardly any will be added."""
SMALL_BYTES = 50_000_000
"""A file below this is worth merging."""
REMOVED_KEPT_HOURS = 7 * 24
"""How long a merged file stays for readers that have listed it."""

_STATISTICS_STEP = timedelta(milliseconds=1)
"""Delta cuts the statistics of timestamps to milliseconds."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_TABLE_CONFIGURATION = {
    "delta.appendOnly": "true",
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 7 days",
    "delta.setTransactionRetentionDuration": "interval 30 days",
}
_PARTITIONS = {
    PUSH_LOSS_RESPONSES.name: ["month"],
    # Markers and states apart from losses: what stands is read at every load,
    # and they are one row in a hundred.
    PUSH_LOSS_REVISIONS.name: ["month", "row_kind"],
}
_WRITERS = {
    # Bodies are large: small groups of rows let a reader skip most of them.
    PUSH_LOSS_RESPONSES.name: WriterProperties(
        compression="ZSTD", max_row_group_size=256
    ),
    PUSH_LOSS_REVISIONS.name: WriterProperties(
        compression="ZSTD", max_row_group_size=131072
    ),
}

_UNFIT = re.compile(r"[][^|\\]|%[0-9A-Fa-f]{2}")
"""What the Delta library mistakes in a local path, whatever its spelling."""
_ANSWER_KEY = ["response_id", "sdk_app_id", "loss_date", "recorded_at"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One immutable file of a table, and what its rows can hold."""

    path: str
    """Within the table."""
    partition: Mapping[str, str]
    size_bytes: int
    first_day: date
    last_day: date
    last_recorded_at: datetime
    """To the millisecond, rounded down."""

    @property
    def has_losses_only(self) -> bool:
        """No marker and no state is in it."""
        return self.partition.get("row_kind") == "loss"

    def may_tell_of(self, days: Collection[date]) -> bool:
        """Whether rows of one of these days can be in it."""
        return any(self.first_day <= day <= self.last_day for day in days)

    def may_be_after(self, moment: datetime) -> bool:
        """Whether rows recorded at this moment or later can be in it."""
        return self.last_recorded_at + _STATISTICS_STEP > moment


class Snapshot:
    """One version of a table: what is committed later does not show in it."""

    def __init__(self, table: DeltaTable, declared: Table, folder: str) -> None:
        self.identity = str(table.metadata().id)
        """Another one where the table was deleted and made anew."""
        self.files = tuple(_files_of(table))
        self._schema = declared.schema
        self._filesystem = _filesystem_at(folder)

    def rows(self, files: Iterable[DataFile]) -> pads.Dataset:
        """The rows of some of its files."""
        parquet = pads.ParquetFileFormat()
        fragments = [
            parquet.make_fragment(
                file.path, self._filesystem, _partition_expression(file.partition)
            )
            for file in files
        ]
        return pads.FileSystemDataset(
            fragments, self._schema, parquet, self._filesystem
        )


class Lake:
    """The record under one root: a local folder or an object-store URL."""

    def __init__(self, root: str, *, lock_path: Path) -> None:
        self._root = root.rstrip("/")
        self._lock_path = lock_path
        self._is_local = "://" not in root

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Take turns with every other writer of this data folder."""
        lock = FileLock(self._lock_path, timeout=LOCK_SECONDS, mode=0o600)
        try:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"another process holds {self._lock_path} for more than "
                f"{LOCK_SECONDS:.0f} s; find it with `fuser {self._lock_path}`"
            ) from None
        except OSError as problem:
            raise StoreError(f"cannot write the record: {problem}") from problem
        try:
            yield
        finally:
            lock.release()

    def append_answers(
        self, answers: Sequence[Answer], *, now: datetime
    ) -> tuple[Answer, ...]:
        """Append answers as received; returned with the time they were recorded.

        Call it inside `writing`. `recorded_at` rises strictly over the whole
        table, even when clocks go back: it is the order in which answers count.
        """
        if not answers:
            return ()
        start = max(now, self._newest_recorded_at() + _STATISTICS_STEP)
        recorded = tuple(
            replace(answer, recorded_at=start + timedelta(microseconds=position))
            for position, answer in enumerate(answers)
        )
        self._append(PUSH_LOSS_RESPONSES, _answers_table(recorded))
        return recorded

    def append_entries(self, entries: Sequence[Standing]) -> None:
        """Append judged entries: markers with their rows, and states."""
        if entries:
            self._append(PUSH_LOSS_REVISIONS, _entries_table(entries))

    def answers(self, app_days: Collection[AppDay]) -> dict[AppDay, list[Answer]]:
        """All answers of these days in recorded order, bodies included."""
        return _by_app_day(map(_answer, self._answer_rows(app_days)))

    def unjudged(
        self, standings: Mapping[AppDay, Standing | None], recorded: Sequence[Answer]
    ) -> dict[AppDay, list[Answer]]:
        """Answers of these days after what stands for each, in recorded order.

        `recorded` are those that were just appended; what else there is, a walk
        left behind that was killed before it could judge, or changed nothing.
        """
        since = min((_judged_until(s) for s in standings.values()), default=_LONG_AGO)
        at_hand = {answer.response_id for answer in recorded}
        left = [
            row["response_id"]
            for row in self._answer_rows(standings, since=since, columns=_ANSWER_KEY)
            if row["response_id"] not in at_hand
            and row["recorded_at"] > _judged_until(standings[_app_day(row)])
        ]
        if left:
            left_behind = pc.field("response_id").isin(left)
            rows = self._answer_rows(standings, since=since, condition=left_behind)
            recorded = sorted([*map(_answer, rows), *recorded], key=_time_of)
        return {key: [] for key in standings} | _by_app_day(recorded)

    def entries(self, app_days: Collection[AppDay]) -> dict[AppDay, list[Standing]]:
        """Markers and states of these days, oldest first, without their rows."""
        days = {app_day.loss_date for app_day in app_days}
        snapshot = self._snapshot(PUSH_LOSS_REVISIONS)
        files = [
            file
            for file in snapshot.files
            if not file.has_losses_only and file.may_tell_of(days)
        ]
        rows = _rows_of(snapshot, files, app_days, pc.field("row_kind") != "loss")
        rows.sort(key=lambda row: str(row["entry_key"]))
        found: dict[AppDay, list[Standing]] = defaultdict(list)
        for row in rows:
            found[_app_day(row)].append(_standing(row))
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
        snapshot = self._snapshot(PUSH_LOSS_RESPONSES)
        told = _read(
            snapshot,
            [
                f
                for f in snapshot.files
                if f.last_recorded_at + _STATISTICS_STEP > since
            ],
            (pc.field("error_code") == error_code) & (pc.field("recorded_at") >= since),
            columns=["sdk_app_id"],
        )
        return frozenset(row["sdk_app_id"] for row in told)

    def revisions(self) -> Snapshot:
        """The table `push_loss_revisions` as it is now."""
        return self._snapshot(PUSH_LOSS_REVISIONS)

    def tidy(self, *, today: date) -> int:
        """Merge the small files of many commits; how many partitions were merged.

        Rows stay as they are. A merged file is removed once no reader can still
        hold it.
        """
        crowded = {
            declared.name: _crowded_partitions(self._snapshot(declared).files, today)
            for declared in LAKE_TABLES
        }
        if not any(crowded.values()):
            return 0
        with self.writing():
            for declared in LAKE_TABLES:
                self._merge(declared, crowded[declared.name])
        return sum(map(len, crowded.values()))

    def _merge(self, declared: Table, partitions: Sequence[Mapping[str, str]]) -> None:
        table = self._open(declared)
        before = table.version()
        try:
            for partition in partitions:
                table.optimize.compact(
                    partition_filters=[(k, "=", v) for k, v in partition.items()],
                    max_concurrent_tasks=2,
                    writer_properties=_WRITERS[declared.name],
                )
            if partitions:
                table.vacuum(retention_hours=REMOVED_KEPT_HOURS, dry_run=False)
        except DeltaError as problem:
            # Another machine got there first; the next time will do.
            _log.warning("record not tidied table=%s: %s", declared.name, problem)
        with _told_as_store_error(f"write the record {self._folder(declared)}"):
            for version in range(before + 1, table.version() + 1):
                self._force_to_disk(declared, version)

    def _newest_recorded_at(self) -> datetime:
        files = self._snapshot(PUSH_LOSS_RESPONSES).files
        return max((file.last_recorded_at for file in files), default=_LONG_AGO)

    def _answer_rows(
        self,
        app_days: Collection[AppDay],
        *,
        since: datetime = _LONG_AGO,
        condition: pc.Expression | None = None,
        columns: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        days = {app_day.loss_date for app_day in app_days}
        snapshot = self._snapshot(PUSH_LOSS_RESPONSES)
        files = [
            file
            for file in snapshot.files
            if file.may_tell_of(days) and file.may_be_after(since)
        ]
        rows = _rows_of(snapshot, files, app_days, condition, columns)
        rows.sort(key=lambda row: row["recorded_at"])
        return rows

    def _snapshot(self, declared: Table) -> Snapshot:
        return Snapshot(self._open(declared), declared, self._folder(declared))

    def _folder(self, declared: Table) -> str:
        return f"{self._root}/{declared.name}"

    def _uri(self, declared: Table) -> str:
        """In full, so that Delta takes no part of a name for a code or a pattern."""
        folder = self._folder(declared)
        if not self._is_local:
            return folder
        path = Path(folder).absolute()
        if found := _UNFIT.search(str(path)):
            raise StoreError(
                f"Delta tables cannot lie in {path}: choose a data_dir without"
                f" {found[0]!r} in its path"
            )
        return path.as_uri()

    def _open(self, declared: Table) -> DeltaTable:
        uri = self._uri(declared)
        with _told_as_store_error(f"open the record {self._folder(declared)}"):
            try:
                return DeltaTable(uri)
            except TableNotFoundError:
                self._create(declared)
            except DeltaError:
                if not self._is_local:
                    raise
                _set_torn_commit_aside(Path(self._folder(declared)))
            return DeltaTable(uri)

    def _create(self, declared: Table) -> None:
        uri = self._uri(declared)
        if self._is_local:
            Path(self._folder(declared)).mkdir(parents=True, exist_ok=True)
        try:
            DeltaTable.create(
                uri,
                declared.schema,
                mode="ignore",
                partition_by=_PARTITIONS[declared.name],
                name=declared.name,
                description=declared.doc,
                configuration=_TABLE_CONFIGURATION,
            )
        except DeltaError:
            if not DeltaTable.is_deltatable(uri):  # nobody else was quicker
                raise
        self._force_to_disk(declared, 0)

    def _append(self, declared: Table, rows: pa.Table) -> None:
        table = self._open(declared)
        batch_id = uuid.uuid4().hex
        with _told_as_store_error(f"write the record {self._folder(declared)}"):
            _commit(table, rows, batch_id, _WRITERS[declared.name])
            if self._is_local:
                folder = Path(self._folder(declared))
                _sync_commit(folder, _version_of(folder, batch_id, table.version()))

    def _force_to_disk(self, declared: Table, version: int) -> None:
        if self._is_local:
            _sync_commit(Path(self._folder(declared)), version)


@contextmanager
def _told_as_store_error(doing: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as problem:
        raise StoreError(f"cannot {doing}: {problem}") from problem


@retry(
    retry=retry_if_exception_type(CommitFailedError),
    stop=stop_after_attempt(10),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)
def _commit(
    table: DeltaTable, rows: pa.Table, batch_id: str, writer: WriterProperties
) -> None:
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
        writer_properties=writer,
        commit_properties=CommitProperties(
            max_commit_retries=50, app_transactions=[transaction]
        ),
    )


def _version_of(folder: Path, batch_id: str, newest: int) -> int:
    """The version that this batch made; others may have committed since."""
    for version in range(newest, -1, -1):
        entry = _log_entry(folder, version)
        if entry.exists() and batch_id in entry.read_text():
            return version
    raise StoreError(f"the record {folder} has no commit of batch {batch_id}")


def _sync_commit(folder: Path, version: int) -> None:
    """Force a commit to the disk: delta-rs leaves that to chance."""
    entry = _log_entry(folder, version)
    folders = {entry.parent, folder, folder.parent}
    for checkpoint in entry.parent.glob(f"{entry.stem}.checkpoint*"):
        _sync(checkpoint)
        _sync(entry.parent / "_last_checkpoint")
    for line in entry.read_text().splitlines():
        if added := json.loads(line).get("add"):
            path = folder / unquote(added["path"])
            _sync(path)
            folders.update(path.parents[: len(Path(added["path"]).parts)])
    _sync(entry)
    for some_folder in folders:
        _sync(some_folder)


def _set_torn_commit_aside(folder: Path) -> None:
    """Make a table readable again whose newest commit a power cut has torn.

    Nobody was told of that commit: all others were forced to the disk. The walk
    that made it did not end, and is run again.
    """
    log = folder / "_delta_log"
    with FileLock(log / "mend.lock", timeout=LOCK_SECONDS):
        newest = max(log.glob("*.json"), default=None)
        if newest is not None and not _is_whole(newest):
            _log.warning("torn commit set aside: %s", newest)
            newest.rename(newest.with_suffix(".torn"))
            _sync(log)


def _is_whole(entry: Path) -> bool:
    try:
        return all(map(json.loads, entry.read_text().splitlines()))
    except ValueError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _log_entry(folder: Path, version: int) -> Path:
    return folder / "_delta_log" / f"{version:020d}.json"


def _files_of(table: DeltaTable) -> Iterator[DataFile]:
    """The files of this version with what their statistics say."""
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        yield DataFile(
            path=unquote(file["path"]),
            partition={
                name.removeprefix("partition."): value
                for name, value in file.items()
                if name.startswith("partition.")
            },
            size_bytes=file["size_bytes"],
            first_day=file.get("min.loss_date") or date.min,
            last_day=file.get("max.loss_date") or date.max,
            last_recorded_at=file.get("max.recorded_at") or _LONG_AGO,
        )


def _filesystem_at(folder: str) -> pafs.FileSystem:
    """Arrow's own for a local folder: it reads without a way through Python."""
    if "://" in folder:
        return pafs.PyFileSystem(DeltaStorageHandler(folder))
    return pafs.SubTreeFileSystem(folder, pafs.LocalFileSystem())


def _partition_expression(partition: Mapping[str, str]) -> pc.Expression:
    expression = pc.scalar(True)
    for name, value in partition.items():
        expression &= pc.field(name) == value
    return expression


def _crowded_partitions(
    files: Iterable[DataFile], today: date
) -> list[Mapping[str, str]]:
    """Partitions with so many small files that merging them is worth a commit."""
    small: dict[tuple[tuple[str, str], ...], int] = defaultdict(int)
    for file in files:
        if file.size_bytes < SMALL_BYTES:
            small[tuple(sorted(file.partition.items()))] += 1
    newest_past = _month(today - timedelta(days=62))
    return [
        dict(partition)
        for partition, count in small.items()
        if count >= MANY_FILES
        or (count >= MANY_FILES_OF_THE_PAST and dict(partition)["month"] <= newest_past)
    ]


def _rows_of(
    snapshot: Snapshot,
    files: Sequence[DataFile],
    app_days: Collection[AppDay],
    condition: pc.Expression | None,
    columns: list[str] | None = None,
) -> list[dict[str, Any]]:
    wanted = set(app_days)
    filters = pc.field("loss_date").isin(sorted({key.loss_date for key in wanted}))
    filters &= pc.field("sdk_app_id").isin(sorted({key.sdk_app_id for key in wanted}))
    if condition is not None:
        filters &= condition
    rows = _read(snapshot, files, filters, columns)
    return [row for row in rows if _app_day(row) in wanted]


def _read(
    snapshot: Snapshot,
    files: Sequence[DataFile],
    condition: pc.Expression,
    columns: list[str] | None,
) -> list[dict[str, Any]]:
    with _told_as_store_error("read the record"):
        table = snapshot.rows(files).to_table(columns=columns, filter=condition)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _app_day(row: Mapping[str, Any]) -> AppDay:
    return AppDay(row["sdk_app_id"], row["loss_date"])


def _judged_until(standing: Standing | None) -> datetime:
    return standing.recorded_at if standing else _LONG_AGO


def _by_app_day(answers: Iterable[Answer]) -> dict[AppDay, list[Answer]]:
    found: dict[AppDay, list[Answer]] = defaultdict(list)
    for answer in answers:
        found[answer.app_day].append(answer)
    return dict(found)


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
        for answer in sorted(answers, key=lambda a: (*a.app_day, _time_of(a)))
    ]
    return pa.Table.from_pylist(rows, schema=PUSH_LOSS_RESPONSES.schema)


def _answer(row: dict[str, Any]) -> Answer:
    fields = {name: value for name, value in row.items() if name != "month"}
    return Answer(**{**fields, "outcome": Outcome(row["outcome"])})


def _time_of(answer: Answer) -> datetime:
    assert answer.recorded_at is not None  # it is in the record
    return answer.recorded_at


def _entries_table(entries: Sequence[Standing]) -> pa.Table:
    commit = uuid.uuid4().hex
    ordered = sorted(entries, key=lambda entry: (*entry.app_day, entry.sequence))
    rows = [row for entry in ordered for row in _entry_rows(entry, commit)]
    return pa.Table.from_pylist(rows, schema=PUSH_LOSS_REVISIONS.schema)


def _entry_rows(entry: Standing, commit: str) -> Iterator[dict[str, Any]]:
    fetched = (entry.fetched_at - _LONG_AGO) // timedelta(microseconds=1)
    common = {
        # Two machines that judge one day at once write two entries of one
        # sequence: a revision wins over a state, the later answer over the
        # earlier one, and rows of the two never mix.
        "entry_key": (
            f"{entry.sequence:08d}-{entry.is_revision:d}-{fetched:017d}-{commit}"
        ),
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
