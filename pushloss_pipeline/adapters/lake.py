"""The record: two append-only Delta tables, written atomically and fsynced.

Nothing here is ever updated or deleted. One commit holds a whole batch, so a
reader of any engine sees all of a day or nothing of it. Writers of one data
folder take turns (`Lake.writing`), which makes the order of the record the
order in which answers are judged.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import date, datetime, timedelta
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import WriterProperties
from filelock import FileLock, Timeout

from pushloss_pipeline.adapters.delta import (
    LONG_AGO,
    STATISTICS_STEP,
    DataFile,
    Snapshot,
    StoredTable,
)
from pushloss_pipeline.adapters.delta_log import LOCK_SECONDS
from pushloss_pipeline.adapters.disk import make_open_folder, with_advice
from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.domain.flatten import content_hash
from pushloss_pipeline.domain.model import (
    Answer,
    AppDay,
    DayWindow,
    LossRow,
    Outcome,
    Scope,
    Stage,
)
from pushloss_pipeline.domain.tables import PUSH_LOSS_RESPONSES, PUSH_LOSS_REVISIONS
from pushloss_pipeline.domain.verdict import Standing, State

MANY_FILES = 100
"""Files of one partition that are merged into one."""
MANY_FILES_OF_THE_PAST = 10
"""The same where the partition's month is over: hardly any will be added."""
SMALL_BYTES = 50_000_000
"""A file below this is worth merging."""
OTHERS_TURN_SECONDS = 0.1
"""Between two merges: whoever waits for its turn looks twice as often."""

WINDOW_MONTHS = 12
"""Months in which one file each is asked how days were cut: both halves of a year."""

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
_ANSWER_KEY = ["response_id", "sdk_app_id", "loss_date", "recorded_at"]
_LOSS_COLUMNS = [column.name for column in fields(LossRow)]


class Lake:
    """The record under one root: a local folder or an object-store URL."""

    def __init__(self, root: str, *, lock_path: Path) -> None:
        self._lock_path = lock_path
        self._is_prepared = False
        self.tables = self._responses, self._revisions = tuple(
            StoredTable(
                declared,
                root,
                partition_by=_PARTITIONS[declared.name],
                writer=_WRITERS[declared.name],
            )
            for declared in (PUSH_LOSS_RESPONSES, PUSH_LOSS_REVISIONS)
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Take turns with every other writer of this data folder."""
        lock = FileLock(self._lock_path, timeout=LOCK_SECONDS, mode=0o600)
        try:
            make_open_folder(self._lock_path.parent)
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"another process holds {self._lock_path} for more than "
                f"{LOCK_SECONDS:.0f} s; find it with `fuser {self._lock_path}`"
            ) from None
        except OSError as problem:
            told = with_advice(str(problem), self._lock_path.parent)
            raise StoreError(f"cannot write the record: {told}") from problem
        try:
            self._prepare()
            yield
        finally:
            lock.release()

    def _prepare(self) -> None:
        """Both tables, before anything is written to one; then each write looks."""
        if not self._is_prepared:
            for table in self.tables:
                table.prepare()
            self._is_prepared = True

    def append_answers(
        self, answers: Sequence[Answer], *, now: datetime
    ) -> tuple[Answer, ...]:
        """Append answers as received; returned with the time they were recorded.

        Call it inside `writing`. `recorded_at` rises strictly over the whole
        table, even when clocks go back: it is the order in which answers count.
        """
        if not answers:
            return ()
        start = max(now, self._newest_recorded_at() + STATISTICS_STEP)
        recorded = tuple(
            replace(answer, recorded_at=start + timedelta(microseconds=position))
            for position, answer in enumerate(answers)
        )
        self._responses.append(_answers_table(recorded))
        return recorded

    def append_entries(self, entries: Sequence[Standing]) -> None:
        """Append judged entries: markers with their rows, and states."""
        if entries:
            self._revisions.append(_entries_table(entries))

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
        since = min((_judged_until(s) for s in standings.values()), default=LONG_AGO)
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
        snapshot = self._revisions.snapshot()
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
        snapshot = self._responses.snapshot()
        told = snapshot.read(
            [file for file in snapshot.files if file.may_be_after(since)],
            (pc.field("error_code") == error_code) & (pc.field("recorded_at") >= since),
            columns=["sdk_app_id"],
        )
        return frozenset(row["sdk_app_id"] for row in told)

    def revisions(self) -> Snapshot:
        """The table `push_loss_revisions` as it is now."""
        return self._revisions.snapshot()

    def require_known_version(self) -> None:
        """Raise StoreError where a newer package has made the record."""
        for table in self.tables:
            table.require_known_version()

    def app_days(self) -> list[AppDay]:
        """Every app and day that the record tells of, by day."""
        found: set[AppDay] = set()
        for table in self.tables:
            snapshot = table.snapshot()
            files = [file for file in snapshot.files if not file.has_losses_only]
            rows = snapshot.distinct(files, ["sdk_app_id", "loss_date"])
            found.update(map(_app_day, rows))
        return sorted(found, key=lambda app_day: (app_day.loss_date, app_day))

    def windows(self) -> list[DayWindow]:
        """How days were cut that were asked for: some of each of the newest months."""
        if not self._responses.is_there():
            return []
        snapshot = self._responses.snapshot()
        newest = {
            file.partition["month"]: file
            for file in sorted(snapshot.files, key=lambda file: file.last_recorded_at)
        }
        files = [newest[month] for month in sorted(newest)[-WINDOW_MONTHS:]]
        rows = snapshot.distinct(files, ["loss_date", "window_start", "window_end"])
        found = (
            DayWindow(row["loss_date"], row["window_start"], row["window_end"])
            for row in rows
        )
        return sorted(found, key=lambda window: (window.day, window.start))

    def unsound_revisions(self, app_days: Collection[AppDay]) -> list[Standing]:
        """Revisions of these days whose rows are not those that their marker tells."""
        snapshot = self._revisions.snapshot()
        days = {app_day.loss_date for app_day in app_days}
        files = [file for file in snapshot.files if file.may_tell_of(days)]
        rows = _rows_of(snapshot, files, app_days, pc.field("row_kind") != "state")
        losses: dict[tuple[AppDay, str], list[dict[str, Any]]] = defaultdict(list)
        markers: dict[tuple[AppDay, str], dict[str, Any]] = {}
        for row in sorted(rows, key=lambda row: str(row["entry_key"])):
            if row["row_kind"] == "loss":
                losses[_app_day(row), row["entry_key"]].append(row)
            else:  # the greatest key of each sequence is the one that counts
                markers[_app_day(row), _sequence_of(row["entry_key"])] = row
        return [
            _standing(marker)
            for (app_day, _), marker in markers.items()
            if not _agree(marker, losses[app_day, marker["entry_key"]])
        ]

    def restate(self, entries: Sequence[Standing], *, now: datetime) -> None:
        """Append entries anew that the record holds without their true rows.

        They are the same revisions under keys that win over the ones before.
        """
        commit = f"restated-{now:%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex}"
        if entries:
            self._revisions.append(_entries_table(entries, commit=commit))

    def tidy(self, *, today: date) -> int:
        """Merge the small files of many commits; how many partitions were merged.

        Rows stay as they are. A merged file is removed once no reader can still
        hold it.
        """
        return self._merge(partial(_crowded_partitions, today=today))

    def tidy_thoroughly(self) -> int:
        """Merge whatever can be merged, and shorten the logs; rows stay as they are.

        How many partitions were merged.
        """
        return self._merge(_mergeable_partitions, shorten_logs=True)

    def _merge(
        self,
        choose: Callable[[Iterable[DataFile]], list[Mapping[str, str]]],
        *,
        shorten_logs: bool = False,
    ) -> int:
        """One turn for each partition: no load waits for the merging of all."""
        merged = 0
        for table in self.tables:
            partitions = choose(table.snapshot().files)
            for partition in partitions:
                with self.writing():
                    table.merge(partition)
                time.sleep(OTHERS_TURN_SECONDS)
            if partitions or shorten_logs:
                with self.writing():
                    table.sweep(shorten_log=shorten_logs)
            merged += len(partitions)
        return merged

    def _newest_recorded_at(self) -> datetime:
        files = self._responses.snapshot().files
        return max((file.last_recorded_at for file in files), default=LONG_AGO)

    def _answer_rows(
        self,
        app_days: Collection[AppDay],
        *,
        since: datetime = LONG_AGO,
        condition: pc.Expression | None = None,
        columns: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        days = {app_day.loss_date for app_day in app_days}
        snapshot = self._responses.snapshot()
        files = [
            file
            for file in snapshot.files
            if file.may_tell_of(days) and file.may_be_after(since)
        ]
        rows = _rows_of(snapshot, files, app_days, condition, columns)
        rows.sort(key=lambda row: row["recorded_at"])
        return rows


def _crowded_partitions(
    files: Iterable[DataFile], today: date
) -> list[Mapping[str, str]]:
    """Partitions with so many small files that merging them is worth a commit."""
    newest_past = _month(today - timedelta(days=62))
    return [
        dict(partition)
        for partition, count in _small_files(files).items()
        if count >= MANY_FILES
        or (count >= MANY_FILES_OF_THE_PAST and dict(partition)["month"] <= newest_past)
    ]


def _mergeable_partitions(files: Iterable[DataFile]) -> list[Mapping[str, str]]:
    return [dict(key) for key, count in _small_files(files).items() if count > 1]


def _small_files(
    files: Iterable[DataFile],
) -> Mapping[tuple[tuple[str, str], ...], int]:
    small: dict[tuple[tuple[str, str], ...], int] = defaultdict(int)
    for file in files:
        if file.size_bytes < SMALL_BYTES:
            small[tuple(sorted(file.partition.items()))] += 1
    return small


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
    rows = snapshot.read(files, filters, columns)
    return [row for row in rows if _app_day(row) in wanted]


def _app_day(row: Mapping[str, Any]) -> AppDay:
    return AppDay(row["sdk_app_id"], row["loss_date"])


def _judged_until(standing: Standing | None) -> datetime:
    return standing.recorded_at if standing else LONG_AGO


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
            "package_version": _package_version(),
        }
        for answer in sorted(answers, key=lambda a: (*a.app_day, _time_of(a)))
    ]
    return pa.Table.from_pylist(rows, schema=PUSH_LOSS_RESPONSES.schema)


@cache
def _package_version() -> str:
    try:
        return version("pushloss-pipeline")
    except PackageNotFoundError:
        return "unknown"  # a checkout that is not installed


def _answer(row: dict[str, Any]) -> Answer:
    told = {field.name: row[field.name] for field in fields(Answer)}
    return Answer(**{**told, "outcome": Outcome(row["outcome"])})


def _time_of(answer: Answer) -> datetime:
    assert answer.recorded_at is not None  # it is in the record
    return answer.recorded_at


def _entries_table(
    entries: Sequence[Standing], *, commit: str | None = None
) -> pa.Table:
    commit = commit or uuid.uuid4().hex
    ordered = sorted(entries, key=lambda entry: (*entry.app_day, entry.sequence))
    rows = [row for entry in ordered for row in _entry_rows(entry, commit)]
    return pa.Table.from_pylist(rows, schema=PUSH_LOSS_REVISIONS.schema)


def _entry_rows(entry: Standing, commit: str) -> Iterator[dict[str, Any]]:
    fetched = (entry.fetched_at - LONG_AGO) // timedelta(microseconds=1)
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
        sequence=int(_sequence_of(row["entry_key"])),
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


def _sequence_of(entry_key: str) -> str:
    return entry_key.split("-", 1)[0]


def _agree(marker: Mapping[str, Any], losses: Sequence[Mapping[str, Any]]) -> bool:
    if len(losses) != marker["row_count"]:
        return False
    try:
        rows = [
            LossRow(
                **{
                    **{name: row[name] for name in _LOSS_COLUMNS},
                    "stage": Stage(row["stage"]),
                    "scope": Scope(row["scope"]),
                }
            )
            for row in losses
        ]
    except ValueError:  # no stage or scope that was ever written
        return False
    overall = sum(row.err_count for row in rows if row.scope is Scope.OVERALL)
    told = (marker["content_hash"], marker["overall_count"])
    return told == (content_hash(rows), overall)
