"""The analysts' file: what is in it, when it is replaced, who can read it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pytest
from filelock import FileLock

from pushloss_pipeline.adapters import warehouse as warehouse_module
from pushloss_pipeline.adapters.lake import Lake
from pushloss_pipeline.adapters.warehouse import Published, Warehouse
from pushloss_pipeline.domain.errors import StoreError, UsageError
from pushloss_pipeline.domain.model import Answer, Outcome
from pushloss_pipeline.domain.tables import PUBLISHED_TABLES, Table
from pushloss_pipeline.domain.verdict import judge_all
from pushloss_pipeline.domain.window import DayBounds
from tests.builders import (
    CHAT_ID,
    DAY,
    NOTHING,
    SHOP_ID,
    START,
    A,
    B,
    a_body,
    a_decision,
    a_refusal,
    an_answer,
    no_answer,
)

SHOP = {
    "sdk_app_id": SHOP_ID,
    "app": "shop",
    "is_configured": True,
    "base_url": "https://a.example",
}
CHAT = {**SHOP, "sdk_app_id": CHAT_ID, "app": "chat"}
ROW = tuple[Any, ...]
PROMISED = {
    "push_loss": {
        "sdk_app_id": "BIGINT",
        "app": "VARCHAR",
        "loss_date": "DATE",
        "stage": "VARCHAR",
        "scope": "VARCHAR",
        "platform_id": "INTEGER",
        "platform": "VARCHAR",
        "err_code": "VARCHAR",
        "err_info": "VARCHAR",
        "err_count": "BIGINT",
        "revision": "INTEGER",
        "fetched_at": "TIMESTAMP WITH TIME ZONE",
    },
    "push_loss_days": {
        "sdk_app_id": "BIGINT",
        "app": "VARCHAR",
        "loss_date": "DATE",
        "state": "VARCHAR",
        "revision": "INTEGER",
        "row_count": "INTEGER",
        "overall_count": "BIGINT",
        "fetched_at": "TIMESTAMP WITH TIME ZONE",
        "ended_at": "TIMESTAMP WITH TIME ZONE",
        "expires_at": "TIMESTAMP WITH TIME ZONE",
        "is_young": "BOOLEAN",
        "error_code": "BIGINT",
        "error_info": "VARCHAR",
        "envelope": "VARCHAR",
        "warnings": "VARCHAR[]",
    },
    "push_loss_maturity": {
        "stage": "VARCHAR",
        "scope": "VARCHAR",
        "platform_id": "INTEGER",
        "platform": "VARCHAR",
        "age_days": "INTEGER",
        "day_count": "BIGINT",
        "final_count": "BIGINT",
        "share_reached": "DOUBLE",
        "share_low": "DOUBLE",
        "share_median": "DOUBLE",
        "share_high": "DOUBLE",
    },
    "apps": {
        "sdk_app_id": "BIGINT",
        "app": "VARCHAR",
        "is_configured": "BOOLEAN",
        "base_url": "VARCHAR",
        "first_date": "DATE",
    },
    "platforms": {
        "platform_id": "INTEGER",
        "platform": "VARCHAR",
        "vendor": "VARCHAR",
    },
}
PROMISED["push_loss_history"] = {
    **PROMISED["push_loss"],
    "recorded_at": "TIMESTAMP WITH TIME ZONE",
    "superseded_at": "TIMESTAMP WITH TIME ZONE",
}

PUBLISHER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pushloss_pipeline.adapters.lake import Lake
from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.domain.window import DayBounds
from tests.builders import an_answer, folded, a_body

folder, app = Path(sys.argv[1]), int(sys.argv[2])
lake = Lake(str(folder / "lake"), lock_path=folder / "record.lock")
for number in range(3):
    answer = an_answer(number, a_body({"1": number + 1}), sdk_app_id=app, app=str(app))
    with lake.writing():
        recorded = lake.append_answers([answer], now=datetime.now(UTC))
        known = lake.standings([answer.app_day])
        from pushloss_pipeline.domain.verdict import judge_all
        lake.append_entries(judge_all(known[answer.app_day], recorded))
    Warehouse(folder).publish(
        lake,
        apps=[],
        codes=[],
        bounds=lambda day: DayBounds(*[datetime(2100, 1, 1, tzinfo=UTC)] * 2),
        now=datetime.now(UTC),
    )
    rows = Warehouse(folder).query(
        "select revision from push_loss_days where sdk_app_id = $app", {"app": app}
    )
    assert rows.rows == ((number + 1,),), rows
"""


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class Place:
    """A folder with a record and its warehouse."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = Lake(str(folder / "lake"), lock_path=folder / "record.lock")
        self.warehouse = Warehouse(folder)
        self.work = folder / "work.duckdb"

    @property
    def path(self) -> Path:
        """The published file."""
        return self.warehouse.path

    def load(self, *answers: Answer) -> None:
        """Record answers at the times they name, and judge them."""
        for answer in answers:
            self.load_together(answer)

    def load_together(self, first: Answer, *others: Answer) -> None:
        """Record answers of several days at the time of the first, and judge them."""
        with self.lake.writing():
            assert first.recorded_at is not None
            recorded = self.lake.append_answers([first, *others], now=first.recorded_at)
            known = self.lake.standings([answer.app_day for answer in recorded])
            self.lake.append_entries(
                [
                    entry
                    for answer in recorded
                    for entry in judge_all(known[answer.app_day], [answer])
                ]
            )

    def publish(
        self,
        *,
        apps: Sequence[dict[str, Any]] = (SHOP,),
        codes: Sequence[dict[str, Any]] = (),
        now: datetime = START,
    ) -> Published:
        """Publish; the API forgets a day eight days after it."""
        return self.warehouse.publish(
            self.lake,
            apps=apps,
            codes=codes,
            bounds=lambda day: DayBounds(
                ended_at=_midnight(day) + timedelta(days=1),
                expires_at=_midnight(day) + timedelta(days=8),
            ),
            now=now,
        )

    def rows(self, statement: str, **parameters: Any) -> list[ROW]:
        """What a query of the published file gives."""
        return list(self.warehouse.query(statement, parameters).rows)

    def everything(self) -> dict[str, list[ROW]]:
        """All that is published, in a stable order."""
        return {
            table.name: sorted(self.rows(f"from {table.name}"), key=repr)
            for table in PUBLISHED_TABLES
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty folder."""
    return Place(tmp_path)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A published file without a loss, for tests that only read."""
    place = Place(tmp_path_factory.mktemp("standing"))
    place.publish()
    return place


def at(number: int) -> datetime:
    """When the `number`th answer was recorded."""
    return START + timedelta(minutes=number, milliseconds=5)


def fetched(number: int) -> datetime:
    """When the `number`th answer came."""
    return START + timedelta(minutes=number)


@pytest.mark.parametrize("name", PROMISED)
def test_columns(standing: Place, name: str) -> None:
    """Columns have the promised names, order and types."""
    described = standing.rows(f"describe {name}")

    assert PROMISED[name] == {row[0]: row[1] for row in described}
    assert list(PROMISED[name]) == [row[0] for row in described]


@pytest.mark.parametrize("table", PUBLISHED_TABLES, ids=lambda table: table.name)
def test_comments(standing: Place, table: Table) -> None:
    """Tables and columns carry what they mean."""
    assert [(table.doc,)] == standing.rows(
        "select comment from duckdb_tables() where table_name = $name", name=table.name
    )
    assert [(column.doc,) for column in table.columns] == standing.rows(
        "select comment from duckdb_columns() where table_name = $name"
        " order by column_index",
        name=table.name,
    )


def test_push_loss(place: Place) -> None:
    """The rows of the newest revision stand in push_loss."""
    place.load(an_answer(1, A), an_answer(2, B))
    place.publish()
    day = (SHOP_ID, "shop", DAY, "post_send_delivered")

    assert sorted(
        [
            (*day, "overall", None, None, "-1", "text of -1", 2, 2, fetched(2)),
            (*day, "overall", None, None, "410", "text of 410", 5, 2, fetched(2)),
            (*day, "platform", 1, "apns", "-1", "text of -1", 2, 2, fetched(2)),
            (*day, "platform", 1, "apns", "410", "text of 410", 5, 2, fetched(2)),
        ],
        key=repr,
    ) == sorted(place.rows("from push_loss"), key=repr)


HISTORY = """
    select err_code, err_count, revision, fetched_at, recorded_at, superseded_at
    from push_loss_history where scope = 'overall' order by revision, err_code
"""


def test_history(place: Place) -> None:
    """Each revision stands until the next one was recorded, also an empty one."""
    place.load(
        an_answer(1, NOTHING),
        an_answer(2, A),
        an_answer(3, NOTHING),
        a_decision(4, Outcome.ACCEPTED),
        an_answer(5, B),
    )
    place.publish()

    assert [
        ("410", 3, 2, fetched(2), at(2), at(4)),
        ("-1", 2, 4, fetched(5), at(5), None),
        ("410", 5, 4, fetched(5), at(5), None),
    ] == place.rows(HISTORY)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, []), (1, [3]), (2, [3]), (3, []), (4, [5, 2]), (9, [5, 2])],
    ids=["before", "first", "held", "accepted", "second", "later"],
)
def test_as_of(place: Place, number: int, expected: list[int]) -> None:
    """push_loss_as_of shows what push_loss showed at a moment, to the microsecond."""
    place.load(
        an_answer(1, A),
        an_answer(2, NOTHING),
        a_decision(3, Outcome.ACCEPTED),
        an_answer(4, B),
    )
    place.publish()
    counts = "select err_count from push_loss_as_of($at) where scope = 'overall'"
    just_before = at(number + 1) - timedelta(microseconds=1)

    for moment in (at(number), just_before):
        assert sorted(expected) == sorted(c for (c,) in place.rows(counts, at=moment))


def test_as_of_by_name(place: Place) -> None:
    """push_loss_as_of has the columns of push_loss, takes text and a named argument."""
    place.load(an_answer(1, A))
    place.publish()
    now = place.warehouse.query("from push_loss_as_of(ts := '2026-03-20 00:00:00+08')")

    assert tuple(PROMISED["push_loss"]) == now.columns
    assert sorted(place.rows("from push_loss"), key=repr) == sorted(now.rows, key=repr)


DAYS = """
    select state, revision, row_count, overall_count, fetched_at, error_code,
        error_info, envelope, warnings
    from push_loss_days
"""
STATES: dict[str, tuple[Sequence[Answer], ROW]] = {
    "loaded": (
        [an_answer(1, A)],
        ("loaded", 1, 2, 3, fetched(1), None, None, "top", []),
    ),
    "empty": (
        [an_answer(1, NOTHING)],
        ("empty", 1, 0, 0, fetched(1), None, None, "top", []),
    ),
    "failed": (
        [an_answer(1, A), no_answer(2)],
        ("failed", 1, 2, 3, fetched(2), None, "connection refused", None, []),
    ),
    "warned": (
        [an_answer(1, a_body({}, Novel=1))],
        ("empty", 1, 0, 0, fetched(1), None, None, "top", ["unknown_field: $.Novel"]),
    ),
    "accepted": (
        [an_answer(1, A), an_answer(2, NOTHING), a_decision(3, Outcome.ACCEPTED)],
        ("empty", 2, 0, 0, fetched(2), None, None, "top", []),
    ),
    "held": (
        [an_answer(1, A), an_answer(2, NOTHING)],
        (
            "held",
            1,
            2,
            3,
            fetched(2),
            None,
            "the API answered without rows, 2 rows are loaded (revision 1)",
            "top",
            [],
        ),
    ),
}


@pytest.mark.parametrize(("answers", "expected"), STATES.values(), ids=STATES.keys())
def test_days(place: Place, answers: Sequence[Answer], expected: ROW) -> None:
    """A day's row says what its newest answer brought, and what stands."""
    place.load(*answers)
    place.publish()

    assert [expected] == place.rows(DAYS)


EXPIRY: dict[str, tuple[Sequence[Answer], ROW, ROW]] = {
    "loaded": ([an_answer(1, A)], ("loaded", None), ("loaded", None)),
    "held": (
        [an_answer(1, A), an_answer(2, NOTHING)],
        ("held", "the API"),
        ("held", "the API"),
    ),
    "failed": ([no_answer(1)], ("failed", "connection"), ("expired", "connection")),
    "failed rows": (
        [an_answer(1, A), no_answer(2)],
        ("failed", "connection"),
        ("loaded", None),
    ),
    "refused empty": (
        [an_answer(1, NOTHING), an_answer(2, b"what?")],
        ("refused", "not valid"),
        ("empty", None),
    ),
}


@pytest.mark.parametrize(
    ("answers", "before", "after"), EXPIRY.values(), ids=EXPIRY.keys()
)
def test_expiry(
    place: Place, answers: Sequence[Answer], before: ROW, after: ROW
) -> None:
    """As time goes by, a day that failed becomes what was last known of it."""
    place.load(*answers)
    forgotten = datetime(2026, 3, 19, tzinfo=UTC)
    for now, (state, info) in (
        (forgotten - timedelta(microseconds=1), before),
        (forgotten, after),
    ):
        place.publish(now=now)
        ((found, expires_at, text),) = place.rows(
            "select state, expires_at, error_info from push_loss_days"
        )

        assert (state, forgotten) == (found, expires_at)
        assert (text or "").startswith(info or "") and bool(info) == bool(text)


def test_apps(place: Place) -> None:
    """Apps are those configured, and those that were, by their last name.

    Each has its first day.
    """
    place.load(
        an_answer(1, sdk_app_id=7, app="old name"),
        an_answer(2, sdk_app_id=7, app="new name", loss_date=DAY - timedelta(days=1)),
        an_answer(3),
    )
    place.publish(apps=[SHOP, CHAT])

    assert [
        (7, "new name", False, None, DAY - timedelta(days=1)),
        (SHOP_ID, "shop", True, "https://a.example", DAY),
        (CHAT_ID, "chat", True, "https://a.example", None),
    ] == place.rows("from apps order by sdk_app_id")


def test_an_app_that_came_to_nothing_is_not_missed(place: Place) -> None:
    """Removed without ever an accepted answer, an app leaves no gap."""
    place.load(an_answer(1), an_answer(2, a_refusal(70020), sdk_app_id=7, app="game"))
    place.publish(apps=[SHOP])

    assert [(7, None)] == place.rows(
        "select sdk_app_id, first_date from apps where not is_configured"
    )
    assert [] == place.rows("from push_loss_gaps")
    assert [(1, 0)] == place.rows(
        "select app_count, missing_app_count from push_loss_by_day"
    )


NAMED = ("push_loss", "push_loss_history", "push_loss_days", "push_loss_by_app")


def names(place: Place) -> set[str]:
    """What the apps are called in all tables, and in views over them."""
    return {
        name
        for table in (*NAMED, "push_loss_by_code", "push_loss_as_of('2030-01-01')")
        for (name,) in place.rows(f"select distinct app from {table}")
    }


def test_renamed_app(place: Place) -> None:
    """Today's name stands in every row, history too, without any load."""
    place.load(an_answer(1, A), an_answer(2, B))
    place.publish()
    assert {"shop"} == names(place)

    assert Published(0, True, 4) == place.publish(apps=[{**SHOP, "app": "store"}])
    assert {"store"} == names(place)
    assert Published(0, False, 4) == place.publish(apps=[{**SHOP, "app": "store"}])


def test_rows_of_a_renamed_app(place: Place) -> None:
    """Old and new rows bear one name; built from nothing, the file says the same."""
    place.load(an_answer(1, A), an_answer(2, A, loss_date=DAY - timedelta(days=1)))
    place.publish()
    place.load(an_answer(3, B, app="store"))
    place.publish(apps=[{**SHOP, "app": "store"}])
    before = place.everything()
    assert {"store"} == names(place)
    place.work.unlink()
    place.publish(apps=[{**SHOP, "app": "store"}])

    assert before == place.everything()


def test_removed_app(place: Place) -> None:
    """An app that was taken out keeps its rows and the last name it was loaded by."""
    day = DAY - timedelta(days=1)
    place.load(an_answer(1, A), an_answer(2, B, app="store", loss_date=day))
    place.publish(apps=[{**SHOP, "app": "store"}])
    rows = len(place.rows("from push_loss"))
    place.publish(apps=[CHAT])

    assert {"store"} == names(place)
    assert rows == len(place.rows("from push_loss"))


def daily(day: date, number: int) -> Iterator[Answer]:
    """What each of seven mornings brings of a day: most receipts come late."""
    for age in range(7):
        at = _midnight(day) + timedelta(days=1 + age, hours=10)
        counts = a_body({"1": 1000 if age > 3 else 100 + age})
        yield replace(
            an_answer(10 * number + age, counts, loss_date=day),
            fetched_at=at,
            recorded_at=at + timedelta(milliseconds=number),
        )


def test_maturity_and_young_days(place: Place) -> None:
    """What was known at each age is measured, and says which days are young.

    Day by day or at once, the same is published; time alone changes nothing.
    """
    days = [DAY + timedelta(days=number) for number in range(24)]
    answers = [answer for n, day in enumerate(days, 1) for answer in daily(day, n)]
    asked = [
        a for a in answers if a.fetched_at < _midnight(days[-1]) + timedelta(days=2)
    ]
    by_time = sorted(asked, key=lambda each: each.fetched_at)
    *mornings, last = (
        list(some) for _, some in groupby(by_time, lambda each: each.fetched_at)
    )
    for morning in mornings:
        place.load_together(*morning)
    place.publish()
    place.load_together(*last)
    place.publish()
    before = place.everything()

    assert [(17, 0.1), (17, 0.101), (17, 0.102), (17, 0.103), (17, 1.0)] == place.rows(
        "select day_count, share_median from push_loss_maturity"
        " where scope = 'overall' and age_days <= 4 order by age_days"
    )
    assert [(day,) for day in days[-4:]] == place.rows(
        "select loss_date from push_loss_days where is_young order by loss_date"
    )
    place.work.unlink()
    place.publish(now=START + timedelta(days=1000))
    assert before == place.everything()


def test_platforms(standing: Place) -> None:
    """Platforms are the vendor's nine."""
    assert [
        (0, "unknown"),
        (1, "apns"),
        (2, "xiaomi"),
        (3, "huawei"),
        (4, "fcm"),
        (5, "meizu"),
        (6, "oppo"),
        (7, "vivo"),
        (8, "honor"),
    ] == standing.rows(
        "select platform_id, platform from platforms order by platform_id"
    )


def test_unchanged_file_stays(place: Place) -> None:
    """Where nothing changed the published file is not touched."""
    place.load(an_answer(1, A))
    first = place.publish()
    before = os.stat(place.path)
    place.load(an_answer(2, A))
    second = place.publish(now=START + timedelta(hours=1))

    assert Published(1, True, 4 - 2) == first
    assert Published(0, False, 2) == second
    assert (before.st_ino, before.st_mtime_ns) == (
        os.stat(place.path).st_ino,
        os.stat(place.path).st_mtime_ns,
    )


def test_vanished_codes_vanish(place: Place) -> None:
    """A day is replaced whole: codes that are gone from the answer are gone here."""
    place.load(an_answer(1, B))
    place.publish()
    place.load(an_answer(2, A))
    place.publish()

    assert [("410",)] == place.rows("select distinct err_code from push_loss")


def test_other_apps_are_published(place: Place) -> None:
    """Another configuration of apps is news, also without a new answer."""
    place.publish(apps=[SHOP])

    assert Published(0, True, 0) == place.publish(apps=[SHOP, CHAT])
    assert Published(0, False, 0) == place.publish(apps=[CHAT, SHOP])
    assert Published(0, True, 0) == place.publish(
        apps=[{**SHOP, "base_url": "https://b.example"}, CHAT]
    )


def tear(path: Path, *, keep: int) -> None:
    """Keep a part of a file."""
    with path.open("r+b") as file:
        file.truncate(keep)


def scribble(path: Path) -> None:
    """Destroy all blocks of a database but leave its three headers."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * (size - 3 * 4096))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: tear(path, keep=0),
    "cut in its header": lambda path: tear(path, keep=5000),
    "cut": lambda path: tear(path, keep=300_000),
    "no database": lambda path: path.write_bytes(b"x" * 9999),
    "scribbled over": scribble,
    "of another making": lambda path: rebuild(path, "create table t (i integer)"),
    "without tables": lambda path: rebuild(path, "select 1"),
}


def rebuild(path: Path, statement: str) -> None:
    """Put another database in a file's place."""
    path.unlink()
    with duckdb.connect(path) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_work_file(place: Place, damage: Callable[[Path], object]) -> None:
    """A damaged work file is built anew, and says the same."""
    place.load(an_answer(1, A), an_answer(2, B), an_answer(3, sdk_app_id=7))
    place.publish()
    before = place.everything()
    damage(place.work)

    published = place.publish()

    assert Published(2, True, 6) == published
    assert before == place.everything()


def test_torn_log_of_the_work_file(place: Place) -> None:
    """A log that a killed publisher left is replayed or dropped."""
    place.load(an_answer(1, A))
    place.publish()
    before = place.everything()
    (place.folder / "work.duckdb.wal").write_bytes(b"torn")

    place.publish()

    assert before == place.everything()


def test_other_record(place: Place) -> None:
    """A record that was made anew is taken in from its start."""
    place.load(an_answer(1, A))
    place.publish()
    shutil.rmtree(place.folder / "lake")
    place.load(an_answer(2, B), an_answer(3, sdk_app_id=7))

    assert Published(2, True, 6) == place.publish()
    assert [("-1",), ("410",)] == place.rows(
        f"select distinct err_code from push_loss where sdk_app_id = {SHOP_ID}"
        " order by err_code"
    )


def test_lost_record(place: Place) -> None:
    """Days that only readers still have are not taken from them."""
    place.load(an_answer(1, A), an_answer(2, sdk_app_id=7))
    place.publish()
    before = place.everything()
    shutil.rmtree(place.folder / "lake")
    place.load(an_answer(3, B))

    for _ in range(2):
        with pytest.raises(
            StoreError, match=r"nothing of 1 app days .* is gone or not"
        ):
            place.publish()
    assert before == place.everything()
    place.path.unlink()
    assert Published(1, True, 4) == place.publish()


def test_tidied_record(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose files were merged brings no news."""
    monkeypatch.setattr("pushloss_pipeline.adapters.lake.MANY_FILES", 2)
    place.load(an_answer(1, A), an_answer(2, B))
    place.publish()
    assert place.lake.tidy(today=DAY)

    assert Published(0, False, 4) == place.publish()


def test_deleted_published_file(place: Place) -> None:
    """A published file that somebody deleted is back after the next publish."""
    place.load(an_answer(1, A))
    place.publish()
    before = place.everything()
    place.path.unlink()

    assert Published(0, True, 2) == place.publish()
    assert before == place.everything()


def test_published_file_that_was_put_back(place: Place) -> None:
    """An older copy in its place is replaced, though the record has nothing new."""
    place.load(an_answer(1, A))
    place.publish()
    older = shutil.copy(place.path, place.folder / "older")
    place.load(an_answer(2, B))
    place.publish()
    before = place.everything()
    os.replace(older, place.path)

    assert Published(0, True, 4) == place.publish()
    assert before == place.everything()
    assert Published(0, False, 4) == place.publish()


def test_stray_log_is_removed(place: Place) -> None:
    """What a reader with write access left beside the old file never meets the new."""
    place.load(an_answer(1, A))
    place.publish()
    wal = place.folder / "warehouse.duckdb.wal"
    wal.write_bytes(b"stray")
    place.load(an_answer(2, B))
    place.publish()

    assert not wal.exists()
    assert [(4,)] == place.rows("select count(*) from push_loss")


def test_published_file(place: Place) -> None:
    """The published file is for reading only, and for every DuckDB since 1.0."""
    place.publish()
    header = place.path.read_bytes()[:20]

    assert 0o444 == place.path.stat().st_mode & 0o777
    assert b"DUCK" == header[8:12]
    assert 64 == int.from_bytes(header[12:20], "little")
    assert ["warehouse.duckdb", "work.duckdb"] == sorted(
        path.name for path in place.folder.glob("*duckdb*")
    )


@pytest.fixture
def holder(place: Place) -> Iterator["subprocess.Popen[str]"]:
    """A process that opened the file and asks again at each line it gets."""
    place.load(an_answer(1, A))
    place.publish()
    script = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1], read_only=True)\n"
        "for line in sys.stdin:\n"
        "    rows = connection.execute('select sum(err_count) from push_loss')\n"
        "    print(rows.fetchone()[0], flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, place.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.communicate(timeout=60)


def asked(process: "subprocess.Popen[str]") -> int:
    """What a holder sees now."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_snapshot_of_a_reader(place: Place, holder: "subprocess.Popen[str]") -> None:
    """An open session keeps what it saw, a new one sees what is new."""
    assert 6 == asked(holder)
    for number in range(2, 5):
        place.load(an_answer(number, a_body({"1": number})))
        place.publish()

        assert 6 == asked(holder)
        assert [(2 * number,)] == place.rows("select sum(err_count) from push_loss")


def test_reader_in_the_same_process(place: Place) -> None:
    """A connection that this process holds does not hide the new file from a query."""
    place.load(an_answer(1, A))
    place.publish()
    with duckdb.connect(place.path, read_only=True) as held:
        place.load(an_answer(2, B))
        place.publish()

        assert [(2,)] == held.execute("select count(*) from push_loss").fetchall()
        assert [(4,)] == place.rows("select count(*) from push_loss")


def test_publishers_at_once(place: Place) -> None:
    """Each of several publishers finds its own commits published."""
    processes = [
        subprocess.Popen([sys.executable, "-c", PUBLISHER, place.folder, str(app)])
        for app in (7, 8, 9)
    ]

    assert [0, 0, 0] == [process.wait(timeout=120) for process in processes]
    assert [(7, 3), (8, 3), (9, 3)] == place.rows(
        "select sdk_app_id, max(revision) from push_loss_history group by 1 order by 1"
    )


def test_killed_before_the_rename(place: Place) -> None:
    """A publisher that died with its work done is finished by the next one."""
    place.load(an_answer(1, A))
    place.publish()
    place.load(an_answer(2, B))
    place.folder.chmod(0o700)
    (place.folder / "warehouse.duckdb.tmp").mkdir()
    with pytest.raises(StoreError, match="cannot publish"):
        place.publish()
    assert [(2,)] == place.rows("select count(*) from push_loss")
    (place.folder / "warehouse.duckdb.tmp").rmdir()

    assert Published(0, True, 4) == place.publish()
    assert [(4,)] == place.rows("select count(*) from push_loss")


def test_left_behind_copy(place: Place) -> None:
    """A half-written copy of a killed publisher is in nobody's way."""
    (place.folder / "warehouse.duckdb.tmp").write_bytes(b"half")

    assert place.publish().is_new_file
    assert [] == list(place.folder.glob("*.tmp"))


def test_taken_lock(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long for another publisher is told who to look for."""
    monkeypatch.setattr(warehouse_module, "PUBLISH_SECONDS", 0.01)
    with (
        FileLock(place.folder / "publish.lock"),
        pytest.raises(StoreError, match=r"fuser .*publish\.lock"),
    ):
        place.publish()


def test_no_folder(tmp_path: Path) -> None:
    """A data folder that is a file is told as such."""
    place = Place(tmp_path / "data")
    (tmp_path / "data").write_text("x")

    with pytest.raises(StoreError, match=re.escape(str(place.path))):
        place.publish()


def test_no_file_yet(place: Place) -> None:
    """Without a published file a query says how to get one."""
    with pytest.raises(StoreError, match="run `pushloss load`"):
        place.rows("select 1")


def test_no_database(place: Place) -> None:
    """A published file that is damaged is told as such."""
    place.path.write_text("no database at all")

    with pytest.raises(StoreError, match=re.escape(f"cannot read {place.path}")):
        place.rows("select 1")


FORBIDDEN = {
    "insert": "insert into platforms values (9, 'x', 'y')",
    "delete": "delete from push_loss",
    "create": "create table main.mine as select 1",
    "drop": "drop table push_loss",
    "attach": "attach '{folder}/other.duckdb'",
    "attach the file to write": "attach '{folder}/warehouse.duckdb' as w",
    "detach and attach": "attach '{folder}/work.duckdb' as w (read_only)",
    "read a text": "from read_text('{folder}/secret.txt')",
    "read a csv": "from read_csv('{folder}/secret.txt')",
    "read a file by name": "from '{folder}/secret.csv'",
    "list files": "from glob('{folder}/*')",
    "write a file": "copy (select 1) to '{folder}/out.csv'",
    "write parquet": "copy push_loss to '{folder}/out.parquet' (format parquet)",
    "export": "export database '{folder}/out'",
    "install": "install httpfs",
    "load": "load httpfs",
    "settings": "set enable_external_access = true",
    "settings of the lock": "set lock_configuration = false",
    "memory": "set memory_limit = '1TB'",
    "environment": "select getenv('HOME')",
    "variables of ours": "from parameters",
}


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_query_reaches_nothing_else(standing: Place, statement: str) -> None:
    """A query can change nothing, and reach nothing but the published tables."""
    (standing.folder / "secret.txt").write_text("secret")
    (standing.folder / "secret.csv").write_text("secret")
    before = sorted(standing.folder.rglob("*"))

    with pytest.raises(UsageError) as told:
        standing.rows(statement.format(folder=standing.folder))

    assert "secret\n" not in str(told.value)
    assert before == sorted(standing.folder.rglob("*"))
    assert [(9,)] == standing.rows("select count(*) from platforms")


def test_query_says_what_is_wrong(standing: Place) -> None:
    """A query that cannot be run is told in DuckDB's words."""
    with pytest.raises(UsageError, match="err_cuont"):
        standing.rows("select err_cuont from push_loss")


def test_parameters_are_bound(standing: Place) -> None:
    """Parameters are values, never a part of the statement."""
    text = "'; drop table push_loss; --"

    assert [(text, date(2026, 3, 11))] == standing.rows(
        "select $text, $day", text=text, day=DAY
    )


def test_query_in_utc(place: Place) -> None:
    """Moments come in UTC, whatever the zone of the machine."""
    place.load(an_answer(1, A))
    place.publish()

    ((moment, text),) = place.rows(
        "select distinct fetched_at, fetched_at::varchar from push_loss"
    )

    assert (fetched(1), timedelta(0)) == (moment, moment.utcoffset())
    assert "2026-03-12 02:01:00+00" == text


def test_as_dicts(standing: Place) -> None:
    """Rows come by the names of their columns too."""
    assert [{"a": 1, "b": None}] == standing.warehouse.query(
        "select 1 a, null b"
    ).as_dicts()


def test_awkward_folder(tmp_path: Path) -> None:
    """Any name of a folder will do."""
    place = Place(tmp_path / 'it\'s a "folder" 数据')
    place.load(an_answer(1, A))

    assert Published(1, True, 2) == place.publish()
    assert [(2,)] == place.rows("select count(*) from push_loss")


def test_many_days(place: Place) -> None:
    """Days of several months and apps are told apart, and only new ones are taken."""
    days = [date(2026, 1, 31), date(2026, 2, 1), date(2026, 3, 1)]
    place.load(*(an_answer(n, A, loss_date=day) for n, day in enumerate(days)))
    place.publish()
    place.load(replace(an_answer(9, B), loss_date=days[1]))

    assert Published(1, True, 8) == place.publish()
    assert [(days[0], 1), (days[1], 2), (days[2], 1)] == place.rows(
        "select loss_date, revision from push_loss_days order by loss_date"
    )
