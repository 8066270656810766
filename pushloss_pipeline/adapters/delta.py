"""Delta as a store: tables made as declared, read by file, committed once for sure."""

import json
import logging
import re
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from filelock import FileLock
from tenacity import (
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from pushloss_pipeline.adapters.disk import force_to_disk
from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.domain.tables import Table

LOCK_SECONDS = 300.0
"""A writer holds its turn for well under a second; longer means it hangs."""
REMOVED_KEPT_HOURS = 7 * 24
"""How long a merged file stays for readers that have listed it."""
STATISTICS_STEP = timedelta(milliseconds=1)
"""Delta cuts the statistics of timestamps to milliseconds."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Before anything that is recorded."""

_TABLE_CONFIGURATION = {
    "delta.appendOnly": "true",
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 7 days",
    "delta.setTransactionRetentionDuration": "interval 30 days",
}

_UNFIT = re.compile(r"[][^|\\]|%[0-9A-Fa-f]{2}")
"""What the Delta library mistakes in a local path, whatever its spelling."""

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
        return self.last_recorded_at + STATISTICS_STEP > moment


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

    def read(
        self,
        files: Iterable[DataFile],
        condition: pc.Expression,
        columns: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of some of its files that meet a condition, in no order."""
        with _told_as_store_error("read the record"):
            table = self.rows(files).to_table(columns=columns, filter=condition)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


class StoredTable:
    """A declared table under a root, made when it is first opened.

    The root is a local folder, where every commit is forced to the disk, or an
    object-store URL.
    """

    def __init__(
        self,
        declared: Table,
        root: str,
        *,
        partition_by: list[str],
        writer: WriterProperties,
    ) -> None:
        self.name = declared.name
        self._declared = declared
        self._folder = f"{root.rstrip('/')}/{declared.name}"
        self._is_local = "://" not in root
        self._partition_by = partition_by
        self._writer = writer

    def snapshot(self) -> Snapshot:
        """The table as it is now."""
        return Snapshot(self._open(), self._declared, self._folder)

    def append(self, rows: pa.Table) -> None:
        """Commit rows in one piece; on return they are there to stay."""
        table = self._open()
        batch_id = uuid.uuid4().hex
        with _told_as_store_error(f"write the record {self._folder}"):
            _commit(table, rows, batch_id, self._writer)
            if self._is_local:
                folder = Path(self._folder)
                _force_commit(folder, _version_of(folder, batch_id, table.version()))

    def merge(self, partitions: Sequence[Mapping[str, str]]) -> None:
        """Make one file of each partition's small ones; later, these are removed."""
        table = self._open()
        before = table.version()
        try:
            for partition in partitions:
                table.optimize.compact(
                    partition_filters=[(k, "=", v) for k, v in partition.items()],
                    max_concurrent_tasks=2,
                    writer_properties=self._writer,
                )
            if partitions:
                table.vacuum(retention_hours=REMOVED_KEPT_HOURS, dry_run=False)
        except DeltaError as problem:
            # Another machine got there first; the next time will do.
            _log.warning("record not tidied table=%s: %s", self.name, problem)
        with _told_as_store_error(f"write the record {self._folder}"):
            for version in range(before + 1, table.version() + 1):
                self._force(version)

    def _open(self) -> DeltaTable:
        uri = self._uri()
        with _told_as_store_error(f"open the record {self._folder}"):
            try:
                return DeltaTable(uri)
            except TableNotFoundError:
                self._create(uri)
            except DeltaError:
                if not self._is_local:
                    raise
                _set_torn_commit_aside(Path(self._folder))
            return DeltaTable(uri)

    def _uri(self) -> str:
        """In full, so that Delta takes no part of a name for a code or a pattern."""
        if not self._is_local:
            return self._folder
        path = Path(self._folder).absolute()
        if found := _UNFIT.search(str(path)):
            raise StoreError(
                f"Delta tables cannot lie in {path}: choose a data_dir without"
                f" {found[0]!r} in its path"
            )
        return path.as_uri()

    def _create(self, uri: str) -> None:
        if self._is_local:
            Path(self._folder).mkdir(parents=True, exist_ok=True)
        try:
            DeltaTable.create(
                uri,
                self._declared.schema,
                mode="ignore",
                partition_by=self._partition_by,
                name=self.name,
                description=self._declared.doc,
                configuration=_TABLE_CONFIGURATION,
            )
        except DeltaError:
            if not DeltaTable.is_deltatable(uri):  # nobody else was quicker
                raise
        self._force(0)

    def _force(self, version: int) -> None:
        if self._is_local:
            _force_commit(Path(self._folder), version)


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


def _force_commit(folder: Path, version: int) -> None:
    """Force a commit to the disk: delta-rs leaves that to chance."""
    entry = _log_entry(folder, version)
    folders = {entry.parent, folder, folder.parent}
    for checkpoint in entry.parent.glob(f"{entry.stem}.checkpoint*"):
        force_to_disk(checkpoint)
        force_to_disk(entry.parent / "_last_checkpoint")
    for line in entry.read_text().splitlines():
        if added := json.loads(line).get("add"):
            path = folder / unquote(added["path"])
            force_to_disk(path)
            folders.update(path.parents[: len(Path(added["path"]).parts)])
    force_to_disk(entry)
    for some_folder in folders:
        force_to_disk(some_folder)


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
            force_to_disk(log)


def _is_whole(entry: Path) -> bool:
    try:
        return all(map(json.loads, entry.read_text().splitlines()))
    except ValueError:
        return False


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
            last_recorded_at=file.get("max.recorded_at") or LONG_AGO,
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
