"""The analysts' file: built in a private work file, published by atomic rename.

Readers open `warehouse.duckdb`, which nobody ever writes to: it is replaced
whole. All of it is derived from the record, so deleting any file here costs
only the time to build it again.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from filelock import FileLock, Timeout

from pushloss_pipeline.adapters.delta import (
    DataFile,
    Snapshot,
    require_known_version,
)
from pushloss_pipeline.adapters.disk import force_to_disk, make_open_folder, with_advice
from pushloss_pipeline.adapters.lake import Lake
from pushloss_pipeline.adapters.sql_files import (
    Statement,
    fingerprint,
    quoted,
    read_statement,
    read_statements,
)
from pushloss_pipeline.domain.errors import StoreError, UsageError
from pushloss_pipeline.domain.tables import (
    APPS,
    ERROR_CODES,
    KNOWN_CODES,
    PUBLISHED_TABLES,
    PUSH_LOSS,
    PUSH_LOSS_DAYS,
    PUSH_LOSS_HISTORY,
    PUSH_LOSS_MATURITY,
    SCHEMA_VERSION,
    TIMESTAMP,
    Table,
)
from pushloss_pipeline.domain.window import (
    MEASURED_DAYS,
    SETTLED_SHARE,
    SETTLING_DAYS,
    DayBounds,
)

PUBLISH_SECONDS = 300.0
"""Longest wait for another process that publishes."""

STORAGE_VERSION = "v1.0.0"
"""So that every DuckDB since 1.0 reads the file, old drivers included."""

_log = logging.getLogger(__name__)

_SQL_TYPES = {
    pa.int64(): "bigint",
    pa.int32(): "integer",
    pa.string(): "varchar",
    pa.date32(): "date",
    pa.bool_(): "boolean",
    pa.float64(): "double",
    TIMESTAMP: "timestamptz",
}
_ONE_QUERY = ([duckdb.StatementType.SELECT], [duckdb.StatementType.EXPLAIN])
_NOT_IN_ENTRIES = ("ended_at", "expires_at", "is_young")


@dataclass(frozen=True, slots=True)
class Published:
    """What a call of `publish` did."""

    changed_days: int
    """App days that were replaced in the file."""
    is_new_file: bool
    """False where the published file stood and was up to date already."""
    push_loss_rows: int


@dataclass(frozen=True, slots=True)
class Rows:
    """A query's answer: exact Python values, row by row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def as_dicts(self) -> list[dict[str, Any]]:
        """Each row by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Warehouse:
    """`warehouse.duckdb` of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "warehouse.duckdb"
        self._work = folder / "work.duckdb"
        self._lock_path = folder / "publish.lock"

    def publish(
        self,
        lake: Lake,
        *,
        apps: Sequence[Mapping[str, Any]],
        codes: Sequence[Mapping[str, Any]],
        bounds: Callable[[date], DayBounds],
        now: datetime,
    ) -> Published:
        """Bring the file up to date with the record; on return it is.

        `apps` are rows of the table `apps` (those configured), `codes` those of
        the catalogue (KNOWN_CODES). One process publishes at a time; who comes
        second waits and then mostly finds nothing left to do.
        """
        try:
            make_open_folder(self.path.parent)
            with FileLock(self._lock_path, timeout=PUBLISH_SECONDS, mode=0o600):
                given = {
                    "configured_apps": pa.Table.from_pylist(apps, schema=APPS.schema),
                    "known_codes": pa.Table.from_pylist(codes, schema=KNOWN_CODES),
                }
                try:
                    return self._publish(lake, given, bounds, now)
                except duckdb.Error as problem:
                    _log.warning("work file is built anew: %s", problem)
                self._discard_work()
                return self._publish(lake, given, bounds, now)
        except Timeout:
            raise StoreError(
                f"another process publishes for more than {PUBLISH_SECONDS:.0f} s; "
                f"find it with `fuser {self._lock_path}`"
            ) from None
        except (OSError, duckdb.Error) as problem:
            told = with_advice(str(problem), self.path.parent)
            raise StoreError(f"cannot publish {self.path}: {told}") from problem

    def forget_work(self) -> None:
        """Drop the work file: the next publish makes everything anew."""
        with FileLock(self._lock_path, timeout=PUBLISH_SECONDS, mode=0o600):
            self._discard_work()

    def leftovers(self) -> list[Path]:
        """Files that a killed publish, or a reader who wrote, has left beside it."""
        names = (".duckdb.tmp", ".duckdb.wal")
        found = (self.path.with_suffix(name) for name in names)
        return [path for path in found if path.is_file()]

    def remove_leftovers(self) -> None:
        """Remove them while nobody publishes."""
        with FileLock(self._lock_path, timeout=PUBLISH_SECONDS, mode=0o600):
            for path in self.leftovers():
                path.unlink()

    def query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> Rows:
        """Run one read-only statement; it can reach nothing but the file."""
        (rows,) = self.query_all([statement], parameters)
        return rows

    def query_all(
        self, statements: Sequence[str], parameters: Mapping[str, Any] | None = None
    ) -> list[Rows]:
        """Run several, all on the same state of the file.

        Each takes those of the parameters that it names.
        """
        with self._reading() as connection:
            return [_rows(connection, each, parameters) for each in statements]

    def schema_version(self) -> int | None:
        """Of the published file; 1 where it carries none, None where it cannot tell."""
        told = self._publication()
        return None if told is None else int(told.get("schema_version", 1))

    def _publication(self) -> Mapping[str, Any] | None:
        """What the published file says of itself; None where it cannot tell."""
        try:
            rows = self.query("from internal.publication").as_dicts()
        except StoreError:
            return None  # missing or unreadable: it is built anew
        except UsageError:
            return {}
        return rows[0] if len(rows) == 1 else None

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if not self.path.exists():
            raise StoreError(f"no warehouse at {self.path} yet; run `pushloss load`")
        # Not opened itself: within one process, DuckDB would go on showing the
        # file that another connection has opened before.
        connection = duckdb.connect(config={"python_enable_replacements": "false"})
        try:
            try:
                connection.execute(
                    f"attach {quoted(str(self.path))} as warehouse (read_only)"
                )
            except duckdb.Error as problem:
                raise StoreError(f"cannot read {self.path}: {problem}") from None
            connection.execute("use warehouse")
            connection.execute("set timezone = 'UTC'")
            # Else rows too many for the memory go to a file in the current folder.
            connection.execute("set temp_directory = ''")
            connection.execute("set enable_external_access = false")
            connection.execute("set lock_configuration = true")
            yield connection
        finally:
            connection.close()

    def _publish(
        self,
        lake: Lake,
        given: Mapping[str, pa.Table],
        bounds: Callable[[date], DayBounds],
        now: datetime,
    ) -> Published:
        record = lake.revisions()
        require_known_version(record.schema_version, "the record")
        told = self._publication() or {}
        require_known_version(int(told.get("schema_version", 1)), self.path)
        # Its end writes the checkpoint: the file is whole then, without a WAL.
        with self._working(_making(record)) as work:
            changed = _stage_changes(work, record)
            self._require_known_days(work)
            _stage_bounds(work, bounds)
            for name, table in given.items():
                work.register(name, table)
            _apply(work, record, changed=changed, now=now)
            rows = _scalar(work, "select count(*) from push_loss")
            edition = _scalar(work, "select edition from internal.publication")
        is_due = edition != told.get("edition")
        if is_due:
            self._replace_published()
        return Published(changed, is_due, rows)

    def _require_known_days(self, work: duckdb.DuckDBPyConnection) -> None:
        """Refuse to take days from the readers: a record only grows.

        Where it does not tell of them, it is not the one that was published.
        """
        if _scalar(work, "select count(*) from taken_files"):
            return
        try:
            shown = self.query(
                "select sdk_app_id, loss_date from push_loss_days where revision > 0"
            )
        except (StoreError, UsageError):
            return  # missing or broken: it is made anew
        told = "select sdk_app_id, loss_date from changed_days"
        lost = set(shown.rows) - set(work.execute(told).fetchall())
        if lost:
            days = [day for _, day in lost]
            raise StoreError(
                f"the record tells nothing of {len(lost)} app days from {min(days)} to"
                f" {max(days)} that {self.path} shows: lake/ is gone or not all there."
                " Is its disk mounted? `pushloss doctor` mends what can be derived; all"
                " else: restore lake/ as docs/operations.md says, or delete"
                f" {self.path.name} to begin anew"
            )

    @contextmanager
    def _working(self, making: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """The work file, built anew where it is missing or of other making."""
        if self._work.exists():
            with _opened(self._work) as work:
                if _made_by(work) == making:
                    yield work
                    return
            self._discard_work()
        with _opened(self._work) as work:
            _create_objects(work, making)
            yield work

    def _discard_work(self) -> None:
        self._work.unlink(missing_ok=True)
        self._work.with_suffix(".duckdb.wal").unlink(missing_ok=True)

    def _replace_published(self) -> None:
        temporary = self.path.with_suffix(".duckdb.tmp")
        temporary.unlink(missing_ok=True)
        shutil.copyfile(self._work, temporary)
        force_to_disk(temporary)
        temporary.chmod(0o444)
        # A reader with write access may have left a log; it must never be
        # replayed into the new file.
        self.path.with_suffix(".duckdb.wal").unlink(missing_ok=True)
        temporary.rename(self.path)
        force_to_disk(self.path.parent)


def _rows(
    connection: duckdb.DuckDBPyConnection,
    statement: str,
    parameters: Mapping[str, Any] | None,
) -> Rows:
    try:
        parsed = connection.extract_statements(statement)
        if [each.type for each in parsed] not in _ONE_QUERY:
            raise UsageError(
                "one query is needed, such as: select … or from …; this holds "
                + (", ".join(each.type.name.lower() for each in parsed) or "none")
            )
        if parameters:
            parameters = {name: parameters[name] for name in parsed[0].named_parameters}
        return _answer(connection, statement, parameters)
    except duckdb.Error as problem:
        raise UsageError(str(problem)) from None


def _answer(
    connection: duckdb.DuckDBPyConnection,
    statement: str,
    parameters: Mapping[str, Any] | None,
) -> Rows:
    def ask() -> Rows:
        cursor = connection.execute(statement, parameters)
        columns = tuple(name for name, *_ in cursor.description or ())
        return Rows(columns, tuple(cursor.fetchall()))

    # DuckDB hears Ctrl-C between two tasks only, and one of them may never end.
    with ThreadPoolExecutor(max_workers=1) as beside:
        asked = beside.submit(ask)
        try:
            return asked.result()
        except BaseException:
            connection.interrupt()
            raise


@contextmanager
def _opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(
        path, config={"storage_compatibility_version": STORAGE_VERSION}
    )
    try:
        path.chmod(0o600)
        connection.execute("set timezone = 'UTC'")
        connection.execute("create schema if not exists internal")
        connection.execute("set search_path = 'main,internal'")
        yield connection
    finally:
        connection.close()


def _making(record: Snapshot) -> str:
    """What a work file is built by and from; of any other, it is built anew."""
    declared = hashlib.sha256(repr(PUBLISHED_TABLES).encode()).hexdigest()
    return f"{fingerprint()}-{declared}-{record.identity}-{SCHEMA_VERSION}"


def _made_by(work: duckdb.DuckDBPyConnection) -> str | None:
    try:
        making: str | None = _scalar(work, "select making from internal.publication")
    except duckdb.CatalogException:
        return None  # killed before it was built
    return making


def _create_objects(work: duckdb.DuckDBPyConnection, making: str) -> None:
    work.execute("begin")
    work.execute(
        "create table internal.publication"
        " (making varchar, edition varchar, schema_version integer)"
    )
    work.execute(
        "insert into internal.publication values ($1, uuid()::varchar, $2)",
        [making, SCHEMA_VERSION],
    )
    work.execute("create table internal.taken_files (path varchar)")
    work.execute(
        "create table internal.day_entries as"
        " select *, ''::varchar as entry_key"
        f" from ({_empty_select(PUSH_LOSS_DAYS, without=_NOT_IN_ENTRIES)})"
    )
    work.execute(
        "create table internal.day_answers (sdk_app_id bigint, loss_date date,"
        " entry_key varchar, state varchar, revision integer, fetched_at timestamptz)"
    )
    for table in PUBLISHED_TABLES:
        _create_table(work, table)
    for statement in read_statements("dimensions"):
        work.execute(f"insert into {statement.name} {statement.text}")
    for statement in read_statements("views"):
        work.execute(f"create view {statement.name} as {statement.text}")
    for statement in read_statements("macros"):
        parameters = statement.labels["Parameters"]
        work.execute(
            f"create macro {statement.name}({parameters}) as table {statement.text}"
        )
    work.execute("commit")


def _create_table(work: duckdb.DuckDBPyConnection, table: Table) -> None:
    columns = ", ".join(
        f"{column.name} {_sql_type(column.type)}"
        f"{'' if column.nullable else ' not null'}"
        for column in table.columns
    )
    work.execute(f"create table {table.name} ({columns})")
    work.execute(f"comment on table {table.name} is {quoted(table.doc)}")
    for column in table.columns:
        work.execute(
            f"comment on column {table.name}.{column.name} is {quoted(column.doc)}"
        )


def _empty_select(table: Table, *, without: Sequence[str]) -> str:
    columns = ", ".join(
        f"null::{_sql_type(column.type)} as {column.name}"
        for column in table.columns
        if column.name not in without
    )
    return f"select {columns} where false"


def _sql_type(arrow_type: pa.DataType) -> str:
    if pa.types.is_list(arrow_type):
        return f"{_SQL_TYPES[arrow_type.value_type]}[]"
    return _SQL_TYPES[arrow_type]


def _stage_changes(work: duckdb.DuckDBPyConnection, record: Snapshot) -> int:
    """List the days that changed, and show no more of the record than holds them."""
    known = work.execute("select path from taken_files").fetchall()
    taken = {path for (path,) in known}
    new = [file for file in _entry_files(record) if file.path not in taken]
    work.register("push_loss_revisions", record.rows(new))
    _stage(work, "changed_days", read_statement("staging", "changed_days").text)
    days = work.execute("select distinct loss_date from changed_days").fetchall()
    found = {day for (day,) in days}
    touched = [file for file in record.files if file.may_tell_of(found)]
    work.register("push_loss_revisions", record.rows(touched))
    return int(_scalar(work, "select count(*) from changed_days"))


def _entry_files(record: Snapshot) -> list[DataFile]:
    return [file for file in record.files if not file.has_losses_only]


def _stage_bounds(
    work: duckdb.DuckDBPyConnection, bounds: Callable[[date], DayBounds]
) -> None:
    days = work.execute(
        "select loss_date from changed_days union select loss_date from day_entries"
    ).fetchall()
    told = [bounds(day) for (day,) in days]
    work.register(
        "day_bounds",
        pa.table(
            {
                "loss_date": pa.array([day for (day,) in days], pa.date32()),
                "ended_at": pa.array([b.ended_at for b in told], TIMESTAMP),
                "expires_at": pa.array([b.expires_at for b in told], TIMESTAMP),
            }
        ),
    )


def _apply(
    work: duckdb.DuckDBPyConnection,
    record: Snapshot,
    *,
    changed: int,
    now: datetime,
) -> None:
    """Replace what changed in one transaction; where anything did, it is an edition."""
    paths = pa.array([file.path for file in _entry_files(record)], pa.string())
    work.register("record_files", pa.table({"path": paths}))
    work.execute("begin")
    if changed:
        _replace_changed(work, read_statement("tables", PUSH_LOSS_HISTORY.name))
        _replace_changed(work, read_statement("tables", PUSH_LOSS.name))
        _replace_changed(work, read_statement("staging", "day_entries"))
        _replace_changed(work, read_statement("staging", "day_answers"))
    _stage(work, "asked_ages", read_statement("staging", "asked_ages").text)
    settling = {
        "settled_share": SETTLED_SHARE,
        "measured_days": MEASURED_DAYS,
        "settling_days": SETTLING_DAYS,
    }
    # In this order: the days are made from those before them.
    differences = [
        _replace_table(work, APPS),
        _rename_apps(work, PUSH_LOSS),
        _rename_apps(work, PUSH_LOSS_HISTORY),
        _replace_table(work, ERROR_CODES),
        _replace_table(work, PUSH_LOSS_MATURITY),
        _replace_table(work, PUSH_LOSS_DAYS, {"now": now, **settling}),
    ]
    if changed or any(differences):
        work.execute("update internal.publication set edition = uuid()::varchar")
    _replace_whole(work, "taken_files", "from record_files")
    work.execute("commit")


def _replace_changed(work: duckdb.DuckDBPyConnection, statement: Statement) -> None:
    work.execute(
        f"delete from {statement.name} where (sdk_app_id, loss_date) in"
        " (select (sdk_app_id, loss_date) from changed_days)"
    )
    work.execute(f"insert into {statement.name} {statement.text}")


def _replace_table(
    work: duckdb.DuckDBPyConnection,
    table: Table,
    parameters: Mapping[str, Any] | None = None,
) -> bool:
    statement = read_statement("tables", table.name)
    return _replace_whole(work, table.name, statement.text, parameters)


def _rename_apps(work: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Call each app by today's name; the record keeps the name it had."""
    renamed = _scalar(
        work,
        f"update {table.name} set app = apps.app from apps"
        f" where {table.name}.sdk_app_id = apps.sdk_app_id"
        f" and {table.name}.app <> apps.app",
    )
    return bool(renamed)


def _replace_whole(
    work: duckdb.DuckDBPyConnection,
    name: str,
    select: str,
    parameters: Mapping[str, Any] | None = None,
) -> bool:
    """Let a small table hold what the select gives; only rows that differ are touched.

    Replaced whole each day, it would swell, and DuckDB would misjudge its size.
    """
    _stage(work, f"new_{name}", select, parameters)
    _stage(work, f"come_{name}", f"from new_{name} except all from {name}")
    if _scalar(
        work,
        f"select not exists (from come_{name})"
        f" and (select count(*) from {name}) = (select count(*) from new_{name})",
    ):
        return False
    _stage(work, f"gone_{name}", f"from {name} except all from new_{name}")
    columns = [column for column, *_ in work.execute(f"describe {name}").fetchall()]
    same = " and ".join(f"{name}.{c} is not distinct from gone.{c}" for c in columns)
    work.execute(f"delete from {name} using gone_{name} as gone where {same}")
    work.execute(f"insert into {name} from come_{name}")
    return True


def _stage(
    work: duckdb.DuckDBPyConnection,
    name: str,
    select: str,
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Keep a select's rows for the length of this connection."""
    work.execute(f"create temp table {name} as {select}", parameters or None)


def _scalar(work: duckdb.DuckDBPyConnection, question: str) -> Any:
    row = work.execute(question).fetchone()
    return row[0] if row else None
