"""A second opinion on the published file: the record's own selects, row for row.

`sql/lake/` reads the record as any other engine would; nothing of how the file is
built is used here. The name of an app is left out: the file may tell today's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from pushloss_pipeline.adapters.delta import Snapshot
from pushloss_pipeline.adapters.sql_files import quoted, read_statement
from pushloss_pipeline.domain.errors import StoreError

NAMED_DAYS = 5
"""Differing days that are told by name."""

_KEY = "sdk_app_id, loss_date"
_LOSS = "stage, scope, platform_id, platform, err_code, err_info, err_count"
_COLUMNS = {
    "push_loss": f"{_KEY}, {_LOSS}, revision, fetched_at",
    "push_loss_history": f"{_KEY}, {_LOSS}, revision, fetched_at, recorded_at,"
    " superseded_at",
    "push_loss_days": f"{_KEY}, revision, row_count, overall_count, state",
}
_ONLY_ON_ONE_SIDE = """
    (from recorded except all from published)
    union all (from published except all from recorded)
"""
# With time alone, a day that could not be loaded becomes what it was before.
_OTHER_STATES = """
    from recorded full join published using (sdk_app_id, loss_date)
    select loss_date
    where (recorded.revision, recorded.row_count, recorded.overall_count)
        is distinct from
        (published.revision, published.row_count, published.overall_count)
    or published.state is distinct from recorded.state
        and not coalesce(
            recorded.state in ('failed', 'refused')
            and published.state = case
                when recorded.revision = 0 then 'expired'
                when recorded.row_count = 0 then 'empty'
                else 'loaded'
            end, false)
"""


def differences(
    path: Path,
    record: Snapshot,
    *,
    on_month: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """In words, which rows of the published file are not those of the record."""
    found: dict[str, list[tuple[date, int]]] = {name: [] for name in _COLUMNS}
    try:
        with _both(path) as connection:
            _require_whole(path, connection)
            months = sorted(_months_of(record) | _published_months(connection))
            for done, month in enumerate(months, 1):
                files = [f for f in record.files if f.partition["month"] == month]
                connection.register("push_loss_revisions", record.rows(files))
                for name in _COLUMNS:
                    found[name] += _differing_days(connection, name, month)
                on_month(done, len(months))
    except (duckdb.Error, pa.ArrowException, OSError) as problem:
        raise StoreError(f"cannot compare {path}: {problem}") from None
    return [_in_words(name, days) for name, days in found.items() if days]


@contextmanager
def _both(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"attach {quoted(str(path))} as published (read_only)")
        connection.execute("set timezone = 'UTC'")
        yield connection


def _require_whole(path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Raise StoreError where the file ends within a block: it may hold no table's rows.

    A DuckDB file is three headers of 4096 bytes and whole blocks.
    """
    row = connection.execute(
        "select block_size from pragma_database_size()"
        " where database_name = 'published'"
    ).fetchone()
    if row and (path.stat().st_size - 3 * 4096) % row[0]:
        raise StoreError(f"{path} is cut short")


def _months_of(record: Snapshot) -> set[str]:
    return {file.partition["month"] for file in record.files}


def _published_months(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        " union ".join(
            f"select strftime(loss_date, '%Y-%m') from published.{name}"
            for name in _COLUMNS
        )
    ).fetchall()
    return {month for (month,) in rows}


def _differing_days(
    connection: duckdb.DuckDBPyConnection, name: str, month: str
) -> list[tuple[date, int]]:
    """Days of a month, each with the number of rows that only one side has."""
    columns = _COLUMNS[name]
    differing = _OTHER_STATES if name == "push_loss_days" else _ONLY_ON_ONE_SIDE
    rows: list[tuple[date, int]] = connection.execute(
        f"""
        with recorded as (
            select {columns} from ({read_statement("lake", name).text})
        ), published as (
            select {columns} from published.{name}
            where loss_date >= $first and loss_date < $first + interval 1 month
        )
        select loss_date, count(*) from ({differing})
        group by loss_date order by loss_date
        """,
        {"first": date.fromisoformat(f"{month}-01")},
    ).fetchall()
    return rows


def _in_words(name: str, days: list[tuple[date, int]]) -> str:
    count = sum(rows for _, rows in days)
    named = ", ".join(str(day) for day, _ in days[:NAMED_DAYS])
    more = f" and {len(days) - NAMED_DAYS} more days" if len(days) > NAMED_DAYS else ""
    return f"{name} and the record differ in {count} rows of {named}{more}"
