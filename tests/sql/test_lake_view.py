"""The portable view over the Delta table says what the published table says."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable, QueryBuilder

from pushloss_pipeline.adapters.lake import Lake
from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.domain.model import Answer, Outcome
from pushloss_pipeline.domain.tables import PUSH_LOSS
from pushloss_pipeline.domain.verdict import Standing
from pushloss_pipeline.domain.window import DayBounds
from tests.builders import (
    NOTHING,
    A,
    B,
    a_decision,
    a_refusal,
    an_answer,
    folded,
    no_answer,
)

Rows = list[tuple[Any, ...]]
VIEW = read_statement("lake", "push_loss").text


def by_duckdb(table: DeltaTable) -> Rows:
    """The view's rows, by DuckDB over the list of files."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.from_parquet(
        table.file_uris(), hive_partitioning=True, union_by_name=True
    ).create_view("push_loss_revisions")
    return ordered(connection.execute(VIEW).fetchall())


def by_datafusion(table: DeltaTable) -> Rows:
    """The view's rows, by DataFusion over the Delta table."""
    query = QueryBuilder().register("push_loss_revisions", table).execute(VIEW)
    columns = query.read_all().columns if hasattr(query, "read_all") else None
    assert columns is not None
    return ordered(zip(*(column.to_pylist() for column in columns), strict=True))


def by_arrow(table: DeltaTable) -> Rows:
    """The view's rows, by DuckDB over Delta's own reader."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.register("push_loss_revisions", table.to_pyarrow_dataset())
    return ordered(connection.execute(VIEW).fetchall())


ENGINES = [by_duckdb, by_datafusion, by_arrow]


def ordered(rows: Any) -> Rows:
    """Rows in an order that does not hang on their engine."""
    return sorted(map(tuple, rows), key=repr)


def published(folder: Path, lake: Lake) -> Rows:
    """The rows of the table of the same name in the published file."""
    warehouse = Warehouse(folder)
    warehouse.publish(
        lake,
        apps=[],
        codes=[],
        bounds=lambda day: DayBounds(*[datetime(2100, 1, 1, tzinfo=UTC)] * 2),
        now=datetime(2026, 3, 12, tzinfo=UTC),
    )
    return ordered(warehouse.query("from push_loss").rows)


def of_day(day: date, *answers: Answer) -> list[Standing]:
    """Entries of another day."""
    return [
        replace(entry, loss_date=day, app="chat", sdk_app_id=9)
        for entry in folded(*answers)
    ]


CASES: dict[str, Sequence[list[Standing]]] = {
    "nothing": [],
    "one day": [folded(an_answer(1, A))],
    "second revision": [folded(an_answer(1, B), an_answer(2, A))],
    "second commit": [
        folded(an_answer(1, B)),
        folded(an_answer(1, B), an_answer(2, A))[1:],
    ],
    "empty revision": [
        folded(an_answer(1, A), an_answer(2, NOTHING), a_decision(3, Outcome.ACCEPTED))
    ],
    "failed day": [folded(an_answer(1, A), no_answer(2))],
    "never loaded": [folded(an_answer(1, a_refusal(70020)))],
    "two days": [
        folded(an_answer(1, A)),
        of_day(date(2026, 2, 28), an_answer(2, A), an_answer(3, B)),
    ],
    "two machines": [folded(an_answer(1, A)), folded(an_answer(2, B))],
    "two machines, late": [folded(an_answer(2, B)), folded(an_answer(1, A))],
    "two machines, one answer": [folded(an_answer(1, B)), folded(an_answer(1, B))],
    "two machines, one failed": [
        folded(an_answer(1, A)),
        folded(an_answer(2, a_refusal(70020))),
    ],
}


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)
@pytest.mark.parametrize("commits", CASES.values(), ids=CASES.keys())
def test_same_rows(
    tmp_path: Path,
    commits: Sequence[list[Standing]],
    engine: Callable[[DeltaTable], Rows],
) -> None:
    """Any engine gets the rows of the published table from the view."""
    lake = Lake(str(tmp_path / "lake"), lock_path=tmp_path / "record.lock")
    for entries in [folded(an_answer(7, A, loss_date=date(2026, 1, 1))), *commits]:
        lake.append_entries(entries)
    table = DeltaTable(str(tmp_path / "lake" / "push_loss_revisions"))

    assert published(tmp_path, lake) == engine(table)


def test_columns() -> None:
    """The view has the columns of the published table, in their order."""
    lines = VIEW[VIEW.rindex("select") :].splitlines()[1:]
    columns = [line.strip().rstrip(",") for line in lines if line.startswith("    ")]

    assert list(PUSH_LOSS.column_names) == columns
