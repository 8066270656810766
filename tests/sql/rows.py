"""Rows of the published tables, and a database in memory that holds them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from typing import Any

import duckdb
import pyarrow as pa

from pushloss_pipeline.adapters.sql_files import read_statement, read_statements
from pushloss_pipeline.adapters.warehouse import _create_table
from pushloss_pipeline.domain.tables import PUBLISHED_TABLES

DAY = date(2026, 3, 11)
"""A Wednesday."""
NOW = datetime(2026, 3, 12, 2, tzinfo=UTC)

Row = dict[str, Any]


def a_loss(**changed: Any) -> Row:
    """A row of push_loss."""
    return {
        "sdk_app_id": 1,
        "app": "shop",
        "loss_date": DAY,
        "stage": "ready_to_send",
        "scope": "overall",
        "platform_id": None,
        "platform": None,
        "err_code": "-1",
        "err_info": "certificate id not set",
        "err_count": 10,
        "revision": 1,
        "fetched_at": NOW,
        **changed,
    }


def of_platform(**changed: Any) -> Row:
    """A row of push_loss, scope platform."""
    apns = {"scope": "platform", "platform_id": 1, "platform": "apns"}
    return a_loss(**{**apns, **changed})


def a_day(**changed: Any) -> Row:
    """A row of push_loss_days."""
    return {
        "sdk_app_id": 1,
        "app": "shop",
        "loss_date": DAY,
        "state": "loaded",
        "revision": 1,
        "row_count": 2,
        "overall_count": 10,
        "fetched_at": NOW,
        "ended_at": datetime.combine(changed.get("loss_date", DAY), time(16), UTC),
        "expires_at": NOW,
        "is_young": False,
        "error_code": None,
        "error_info": None,
        "envelope": "top",
        "warnings": [],
        **changed,
    }


def an_app(**changed: Any) -> Row:
    """A row of apps."""
    return {
        "sdk_app_id": 1,
        "app": "shop",
        "is_configured": True,
        "base_url": "https://a.example",
        "first_date": None,
        **changed,
    }


def a_meaning(**changed: Any) -> Row:
    """A row of error_codes."""
    return {
        "stage": "ready_to_send",
        "platform": "apns",
        "err_code": "-1",
        "meaning": "No certificate",
        "category": "app_config",
        "owner": "console admin",
        "action": "Configure it",
        "source": None,
        "resolved_by": "code",
        **changed,
    }


@contextmanager
def holding(
    tables: Mapping[str, Sequence[Row]], *, with_views: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory: all tables, the platforms, and these rows.

    Apps have the first date that these days give them.
    """
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for table in PUBLISHED_TABLES:
            _create_table(connection, table)
        platforms = read_statement("dimensions", "platforms")
        connection.execute(f"insert into platforms {platforms.text}")
        for name, rows in tables.items():
            insert(connection, name, rows)
        connection.execute(
            "update apps set first_date = ("
            "select min(loss_date) from push_loss_days as days"
            " where days.sdk_app_id = apps.sdk_app_id"
            " and (state <> 'expired' or revision > 0))"
        )
        if with_views:
            _create_views(connection)
        yield connection


def _create_views(connection: duckdb.DuckDBPyConnection) -> None:
    for view in read_statements("views"):
        connection.execute(f"create view {view.name} as {view.text}")
    for macro in read_statements("macros"):
        named = f"{macro.name}({macro.labels['Parameters']})"
        connection.execute(f"create macro {named} as table {macro.text}")


def insert(
    connection: duckdb.DuckDBPyConnection, name: str, rows: Sequence[Row]
) -> None:
    """Add rows to a table."""
    (table,) = (each for each in PUBLISHED_TABLES if each.name == name)
    connection.register("new_rows", pa.Table.from_pylist(list(rows), table.schema))
    connection.execute(f"insert into {name} by name from new_rows")
    connection.unregister("new_rows")


def answer(
    connection: duckdb.DuckDBPyConnection,
    question: str,
    parameters: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Rows of a question, by column name."""
    result = connection.execute(question, parameters)
    names = [column for column, *_ in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
