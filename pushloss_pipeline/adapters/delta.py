"""Delta as a store: tables made as declared, read by file, committed once for sure."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
import pyarrow.parquet as pq
from deltalake import (
    CommitProperties,
    DeltaTable,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from tenacity import (
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from pushloss_pipeline.adapters.delta_log import DeltaLog, LogFault
from pushloss_pipeline.adapters.disk import make_open_folder, with_advice
from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.domain.tables import SCHEMA_VERSION, Table

REMOVED_KEPT_HOURS = 7 * 24
"""How long a merged file stays for readers that have listed it."""
STATISTICS_STEP = timedelta(milliseconds=1)
"""Delta cuts the statistics of timestamps to milliseconds."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Before anything that is recorded."""

VERSION_KEY = "pushloss.schemaVersion"
"""Table property; a table without it is of version 1."""

_TABLE_CONFIGURATION = {
    VERSION_KEY: str(SCHEMA_VERSION),
    "delta.appendOnly": "true",
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 7 days",
    "delta.setTransactionRetentionDuration": "interval 30 days",
}

_UNFIT = re.compile(r"[][^|?\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")
"""What Delta mistakes in a local path, whatever its spelling, or DuckDB (`?`)."""

_log = logging.getLogger(__name__)

_again_after_a_conflict = retry(
    retry=retry_if_exception_type(CommitFailedError),
    stop=stop_after_attempt(10),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)
"""Another writer was quicker; what it did is looked at before the next try."""


def _add_declared_columns(table: DeltaTable, declared: Table) -> None:
    """Add the columns that the declaration has and the table lacks, as NULL."""
    known = set(table.schema().to_arrow().names)
    fields = Schema.from_arrow(declared.schema).fields
    if lacking := [field for field in fields if field.name not in known]:
        table.alter.add_columns(lacking)


UPGRADES: tuple[tuple[int, Callable[[DeltaTable, Table], None]], ...] = (
    (2, _add_declared_columns),
)
"""What makes a table of the version before one of this version.

Each step may be done again: killed in it, the next writer does it once more.
"""


def require_known_version(found: int, where: object) -> None:
    """Refuse to write what a newer package has made."""
    if found > SCHEMA_VERSION:
        raise StoreError(
            f"{where} is of schema version {found}, this package knows"
            f" {SCHEMA_VERSION}; update pushloss_pipeline; nothing was written"
        )


@dataclass(frozen=True, slots=True)
class DataFile:
    """One immutable file of a table, and what its rows can hold."""

    path: str
    """Within the table."""
    partition: Mapping[str, str]
    size_bytes: int
    row_count: int | None
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


@dataclass(frozen=True, slots=True)
class Ailment:
    """Why a file cannot be read to its end."""

    what: str
    is_lasting: bool = True
    """The file is lost or broken; False: the system could not read it now."""


class Snapshot:
    """One version of a table: what is committed later does not show in it."""

    def __init__(self, table: DeltaTable, declared: Table, folder: str) -> None:
        self.identity = str(table.metadata().id)
        """Another one where the table was deleted and made anew."""
        self.version = table.version()
        """Rises with every commit."""
        self.schema_version = _schema_version(table)
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

    def distinct(
        self, files: Iterable[DataFile], columns: list[str]
    ) -> list[dict[str, Any]]:
        """Each combination of values that some of its files hold, in no order."""
        with _told_as_store_error("read the record"):
            table = self.rows(files).to_table(columns=columns)
            rows: list[dict[str, Any]] = (
                table.group_by(columns).aggregate([]).to_pylist()
            )
        return rows

    def what_ails(self, file: DataFile) -> Ailment | None:
        """Why one of its files cannot be read to its end; None where it can."""
        try:
            info = self._filesystem.get_file_info(file.path)
            if info.type is pafs.FileType.NotFound:
                return Ailment("is missing")
            if info.size != file.size_bytes:
                return Ailment(f"has {info.size} bytes in place of {file.size_bytes}")
            with self._filesystem.open_input_file(file.path) as source:
                batches = pq.ParquetFile(source).iter_batches()
                rows = sum(batch.num_rows for batch in batches)
        except (OSError, MemoryError) as problem:
            # Arrow tells of broken content by an OSError, too: one without a number.
            is_broken = isinstance(problem, OSError) and problem.errno is None
            return _unreadable(problem, is_lasting=is_broken)
        except (ValueError, pa.ArrowException) as problem:
            return _unreadable(problem, is_lasting=True)
        if file.row_count not in (None, rows):
            return Ailment(f"has {rows} rows in place of {file.row_count}")
        return None

    def still_ailing(self, files: Iterable[DataFile]) -> list[tuple[DataFile, Ailment]]:
        """Those of these files, as far as they are part of this version, that ail."""
        paths = {file.path for file in files}
        looked_at = [file for file in self.files if file.path in paths]
        return [(f, ailment) for f in looked_at if (ailment := self.what_ails(f))]


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
        self.is_local = "://" not in root
        self._declared = declared
        self._folder = f"{root.rstrip('/')}/{declared.name}"
        self._log = DeltaLog(Path(self._folder))
        self._partition_by = partition_by
        self._writer = writer

    def snapshot(self) -> Snapshot:
        """The table as it is now."""
        return Snapshot(self._open(), self._declared, self._folder)

    def append(self, rows: pa.Table) -> None:
        """Commit rows in one piece; on return they are there to stay."""
        table = self._open_to_write()
        batch_id = uuid.uuid4().hex
        with _told_as_store_error(f"write the record {self._folder}"):
            _commit(table, rows, batch_id, self._writer)
            if self.is_local:
                self._log.force(self._log.version_of(batch_id, table.version()))

    def is_there(self) -> bool:
        """Whether it was ever made."""
        uri = self._uri()
        with _told_as_store_error(f"open the record {self._folder}"):
            return DeltaTable.is_deltatable(uri)

    def require_known_version(self) -> None:
        """Raise StoreError where a newer package has made it."""
        if table := self._opened_if_it_can_be():
            found = _schema_version(table)
            require_known_version(found, f"the record {self._folder}")

    def prepare(self) -> None:
        """Upgrade the table where it is there and older than this package.

        Call it in the writers' turn. Raises StoreError where it is newer.
        """
        if table := self._opened_if_it_can_be():
            self._make_writable(table)

    def _opened_if_it_can_be(self) -> DeltaTable | None:
        try:
            return self._open() if self.is_there() else None
        except StoreError as problem:
            # Whoever needs this table is told; the other one can still be written.
            _log.warning("table %s is not looked at: %s", self.name, problem)
            return None

    def merge(self, partition: Mapping[str, str]) -> None:
        """Make one file of a partition's small ones; `sweep` removes these later."""
        with self._tidied() as table:
            table.optimize.compact(
                partition_filters=[(k, "=", v) for k, v in partition.items()],
                max_concurrent_tasks=2,
                writer_properties=self._writer,
            )

    def sweep(self, *, shorten_log: bool) -> None:
        """Remove files that were merged a week ago; the log's old entries, too."""
        with self._tidied() as table:
            table.vacuum(retention_hours=REMOVED_KEPT_HOURS, dry_run=False)
            if shorten_log:
                table.create_checkpoint()
        if shorten_log:
            with _told_as_store_error(f"write the record {self._folder}"):
                # what it takes away, the checkpoint holds: that is on the disk now
                self._force(table.version())
                table.cleanup_metadata()

    @contextmanager
    def _tidied(self) -> Iterator[DeltaTable]:
        """The table to be tidied; what was committed is on the disk afterwards."""
        table = self._open_to_write()
        before = table.version()
        with _told_as_store_error(f"tidy the record {self._folder}"):
            try:
                yield table
            except CommitFailedError as problem:
                # Another machine got there first; the next time will do.
                _log.warning("record not tidied table=%s: %s", self.name, problem)
            self._force_since(table, before)

    def log_faults(self) -> list[LogFault]:
        """What is wrong with the log; nothing is told of one in an object store."""
        return self._log.faults() if self.is_local else []

    def mend_log(self, faults: Sequence[LogFault]) -> None:
        """Set aside what is wrong with the log; call it in the writers' turn."""
        self._log.mend(faults)

    def drop(self, files: Iterable[DataFile]) -> None:
        """Take files that are lost or broken out of a local table.

        Call it in the writers' turn. What is left of a file stays beside it.
        """
        table = self._open_to_write()
        before = table.version()
        with _told_as_store_error(f"write the record {self._folder}"):
            for file in files:
                path = Path(self._folder) / file.path
                if path.exists():
                    path.rename(path.with_name(f"{path.name}.broken"))
            table.repair()
            self._force_since(table, before)

    def told_version(self) -> int | None:
        """Its schema version, nothing mended; None where it cannot be opened."""
        try:
            return _schema_version(DeltaTable(self._uri()))
        except (DeltaError, OSError) as problem:
            _log.info("version of table %s is not known: %s", self.name, problem)
            return None

    def _open_to_write(self) -> DeltaTable:
        table = self._open()
        self._make_writable(table)
        return table

    def _make_writable(self, table: DeltaTable) -> None:
        """Upgrade an older table; raise StoreError where it is newer."""
        require_known_version(_schema_version(table), f"the record {self._folder}")
        if _schema_version(table) < SCHEMA_VERSION:
            with _told_as_store_error(f"write the record {self._folder}"):
                self._upgrade(table)

    @_again_after_a_conflict
    def _upgrade(self, table: DeltaTable) -> None:
        """Columns first, the version last: killed between, it is done again."""
        table.update_incremental()
        for version, step in UPGRADES:
            if _schema_version(table) < version:
                _log.info("table %s becomes schema version %d", self.name, version)
                before = table.version()
                step(table, self._declared)
                self._force_since(table, before)
                before = table.version()
                table.alter.set_table_properties(
                    {VERSION_KEY: str(version)}, raise_if_not_exists=False
                )
                self._force_since(table, before)

    def _open(self) -> DeltaTable:
        uri = self._uri()
        with _told_as_store_error(f"open the record {self._folder}"):
            try:
                return DeltaTable(uri)
            except TableNotFoundError:
                self._create(uri)
            except DeltaError:
                if not self.is_local:
                    raise
                self._log.set_torn_commit_aside()
            return DeltaTable(uri)

    def _uri(self) -> str:
        """In full, so that Delta takes no part of a name for a code or a pattern."""
        if not self.is_local:
            return self._folder
        path = Path(self._folder).absolute()
        if found := _UNFIT.search(str(path)):
            raise StoreError(
                f"the tables cannot lie in {path}: choose a data_dir without"
                f" {found[0]!r} in its path"
            )
        return path.as_uri()

    def _create(self, uri: str) -> None:
        if self.is_local:
            path = Path(self._folder)
            make_open_folder(path.parents[1])  # others open the published file in it
            path.mkdir(parents=True, exist_ok=True)
        try:
            DeltaTable.create(
                uri,
                self._declared.schema,
                mode="ignore",
                partition_by=self._partition_by,
                name=self.name,
                description=self._declared.doc,
                configuration=_TABLE_CONFIGURATION,
                raise_if_key_not_exists=False,  # the version's key is our own
            )
        except DeltaError:
            if not DeltaTable.is_deltatable(uri):  # nobody else was quicker
                raise
        self._force(0)

    def _force_since(self, table: DeltaTable, before: int) -> None:
        for version in range(before + 1, table.version() + 1):
            self._force(version)

    def _force(self, version: int) -> None:
        if self.is_local:
            self._log.force(version)


@contextmanager
def _told_as_store_error(doing: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as problem:
        raise StoreError(f"cannot {doing}: {with_advice(str(problem))}") from problem


@_again_after_a_conflict
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


def _unreadable(problem: Exception, *, is_lasting: bool) -> Ailment:
    reason = str(problem).partition("\n")[0] or type(problem).__name__
    return Ailment(f"cannot be read: {reason}", is_lasting)


def _schema_version(table: DeltaTable) -> int:
    return int(table.metadata().configuration.get(VERSION_KEY) or 1)


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
            row_count=file["num_records"],
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
