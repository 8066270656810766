"""Never more than the allowed calls per second and app, whatever the processes."""

import asyncio
import sqlite3
from math import ceil
from pathlib import Path
from time import monotonic_ns

from filelock import FileLock, Timeout
from pyrate_limiter import Rate, RateItem, SQLiteBucket, SQLiteQueries

from pushloss_pipeline.adapters.disk import make_open_folder, with_advice
from pushloss_pipeline.domain.errors import StoreError

NETWORK_MARGIN = 0.02
"""Share of the period added to it: the vendor counts arrivals, and packets jitter."""
HANDOVER_MARGIN_MS = 1.0
"""Added too: the time between stamping a turn and the caller's running on."""
LOCK_RETRY_SECONDS = 0.002
"""Pause before another try when some process holds the file: ten times a holding."""


class Pacer:
    """Hands out turns, evenly spaced per app, to all processes that share `path`.

    The limiter's own blocking calls are not used: they stamp a turn before they
    hold the lock, so that two starts may lie closer than the stamps say. Here a
    turn is stamped and stored under the lock, in a fraction of a millisecond and
    without waiting; whoever finds the lock taken or the time not come sleeps in
    the event loop. The lock is the kernel's and goes with a killed process; the
    table of an app holds its last stamp only.

    The clock is the machine's monotonic one, the same in all its processes, so
    that setting the time neither lets calls through nor stops them.
    """

    def __init__(self, path: Path, *, calls_per_second: float) -> None:
        self._path = path
        period_ms = 1000 / calls_per_second
        self._spacing_ms = ceil(period_ms * (1 + NETWORK_MARGIN) + HANDOVER_MARGIN_MS)
        self._allowed_delay_ms = period_ms * NETWORK_MARGIN / 2 + HANDOVER_MARGIN_MS
        self._buckets: dict[int, SQLiteBucket] = {}
        self._lock = FileLock(f"{path}.lock")
        try:
            make_open_folder(path.parent)
            with self._lock:
                self._connection = _open(path)
        except (OSError, sqlite3.Error) as problem:
            raise self._store_error(problem) from None

    async def wait_turn(self, sdk_app_id: int) -> None:
        """Return at the moment when a call of this app may start."""
        while (seconds := self._try_turn(sdk_app_id)) > 0:
            await asyncio.sleep(seconds)

    async def count_from_now(self, sdk_app_id: int) -> None:
        """Let the app's next turn be a period from now: its call has left only now.

        A busy machine may hold a call up between its turn and the network.
        """
        while not self._stamp(sdk_app_id):
            await asyncio.sleep(LOCK_RETRY_SECONDS)

    def close(self) -> None:
        """Close the file; turns already handed out stay counted."""
        with self._lock:
            self._connection.close()

    def _try_turn(self, sdk_app_id: int) -> float:
        """Take the turn and return 0, or return the seconds until the next try."""
        try:
            with self._lock.acquire(blocking=False):
                bucket = self._bucket(sdk_app_id)
                now_ns = monotonic_ns()
                wait_ms = self._take(bucket, now_ns // 1_000_000)
        except Timeout:
            return LOCK_RETRY_SECONDS
        except (OSError, sqlite3.Error) as problem:
            raise self._store_error(problem) from None
        if wait_ms == 0 and monotonic_ns() - now_ns > self._allowed_delay_ms * 1e6:
            # The disk or the scheduler held us up: a start now might lie too close
            # to the next process's, so this turn is let go.
            return self._spacing_ms / 1000
        return wait_ms / 1000

    def _stamp(self, sdk_app_id: int) -> bool:
        """Put now in the place of the app's last stamp; False: try again."""
        try:
            with self._lock.acquire(blocking=False):
                bucket = self._bucket(sdk_app_id)
                self._restamp(bucket, monotonic_ns() // 1_000_000)
        except Timeout:
            return False
        except (OSError, sqlite3.Error) as problem:
            raise self._store_error(problem) from None
        return True

    def _take(self, bucket: SQLiteBucket, now_ms: int) -> int:
        """Stamp a turn and return 0, or return the milliseconds until it is due."""
        item = RateItem("call", now_ms)
        bucket.leak(now_ms)
        if bucket.put(item):
            return 0
        wait_ms = bucket.waiting(item)
        assert isinstance(wait_ms, int)
        if wait_ms > self._spacing_ms + 1:
            # Stamped in the future: the machine was restarted, its clock began anew.
            self._restamp(bucket, now_ms)
            return self._spacing_ms
        return wait_ms

    def _restamp(self, bucket: SQLiteBucket, now_ms: int) -> None:
        """In one statement: killed at any moment, the app has a stamp."""
        moved = self._connection.execute(
            f"update {bucket.table} set item_timestamp = ?", [now_ms]
        )
        self._connection.commit()
        if moved.rowcount == 0:
            bucket.put(RateItem("call", now_ms))

    def _bucket(self, sdk_app_id: int) -> SQLiteBucket:
        """Return the app's own table: apps that share one would share its rate."""
        if sdk_app_id not in self._buckets:
            table = f"app_{sdk_app_id}"
            self._connection.execute(
                SQLiteQueries.CREATE_BUCKET_TABLE.format(table=table)
            )
            self._buckets[sdk_app_id] = SQLiteBucket(
                [Rate(1, self._spacing_ms)], self._connection, table, lock=self._lock
            )
        return self._buckets[sdk_app_id]

    def _store_error(self, problem: Exception) -> StoreError:
        told = with_advice(
            str(problem),
            self._path.parent,
            otherwise="mend the disk or the rights to the folder (a damaged file may be"
            " deleted, it only holds the last calls' times)",
        )
        return StoreError(f"pacing file {self._path}: {told}")


def _open(path: Path) -> sqlite3.Connection:
    """Open the file so that a commit costs no disk flush and survives a kill."""
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    return connection
