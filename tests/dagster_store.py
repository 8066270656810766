"""Dagster's SQLite store, real, but without the work it does anew at each event."""

from functools import cache
from typing import Any

from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sql import create_engine
from sqlalchemy import Engine, event


@cache
def quicken() -> None:
    """Let this process keep engines and migrations, and wait for no disk.

    For each event Dagster makes five engines, whose caches it so throws away, and for
    each run it reads all its migrations. What is stored, and when, stays the same.
    """
    engines: dict[str, Engine] = {}

    def kept(url: str, **options: Any) -> Engine:
        if url not in engines:
            engines[url] = create_engine(url, **options)
            event.listen(engines[url], "connect", _no_waiting)
        return engines[url]

    for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        vars(module)["create_engine"] = kept
    ScriptDirectory.from_config = cache(ScriptDirectory.from_config)  # type: ignore[method-assign]


def _no_waiting(connection: Any, _: object) -> None:
    connection.execute("pragma synchronous = off")
