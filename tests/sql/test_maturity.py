"""How final a day is at which age, and which days are young, by answers typed here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.adapters.warehouse import _create_objects
from pushloss_pipeline.domain.tables import TIMESTAMP
from pushloss_pipeline.domain.window import DayBounds, day_bounds
from tests.sql.rows import Row, a_day, an_app, answer

MON = date(2026, 3, 9)
READY, POST = "ready_to_send", "post_send_delivered"
SHOP, CHAT = 1, 2
UTC_ZONE = ZoneInfo("UTC")
FAR = datetime(2030, 1, 1, tzinfo=UTC)
MORNING = 10.5
"""Hours after the end of a day."""
SETTLING = {"settled_share": 0.98, "measured_days": 14, "settling_days": 3}
PLATFORMS = {1: "apns", 7: "vivo"}

Counts = Mapping[tuple[str, int | None], int]
Answers = Mapping[float, Counts | int | str]
"""Hours after the end of the day: what it lost (a number: overall, after sending), or
the state of an answer that was no good."""
Told = Mapping[tuple[int, date], Answers]


def in_zone(zone: ZoneInfo, retention_days: int = 7) -> Callable[[date], DayBounds]:
    """Ends of days there."""
    return lambda day: day_bounds(day, zone, retention_days)


IN_UTC = in_zone(UTC_ZONE)


def later(number: int, day: date = MON) -> date:
    """So many days after Monday."""
    return day + timedelta(days=number)


def every_morning(days: int, losses: Answers | int = 5, app: int = SHOP) -> Told:
    """Each day's own first answer, as a daily run brings it."""
    one = {MORNING: losses} if isinstance(losses, int) else losses
    return {(app, later(number)): one for number in range(days)}


def mornings(*counts: Counts | int | str | None) -> Answers:
    """A day's answers morning by morning; None: nothing new, or nobody asked."""
    return {
        MORNING + 24 * age: each for age, each in enumerate(counts) if each is not None
    }


@contextmanager
def recorded(
    told: Told, bounds: Callable[[date], DayBounds]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a work file in memory: these answers, and the ages that they tell of."""
    with duckdb.connect() as work:
        work.execute("set timezone = 'UTC'")
        work.execute("create schema internal; set search_path = 'main,internal'")
        _create_objects(work, "test")
        for (app, day), answers in told.items():
            _record(work, app, day, answers, bounds(day).ended_at)
        ends = [(day, *bounds(day)) for day in sorted({day for _, day in told})]
        types = (pa.date32(), TIMESTAMP, TIMESTAMP)
        columns = [
            pa.array(column, type_)
            for column, type_ in zip(zip(*ends, strict=True), types, strict=True)
        ]
        names = ["loss_date", "ended_at", "expires_at"]
        work.register("day_bounds", pa.table(columns, names=names))
        asked = read_statement("staging", "asked_ages").text
        work.execute(f"create table asked_ages as {asked}")
        yield work


def _record(
    work: duckdb.DuckDBPyConnection,
    app: int,
    day: date,
    answers: Answers,
    ended_at: datetime,
) -> None:
    """Add a day's answers as the record keeps them: those that changed something."""
    revision, stood = 0, None
    for number, (hours, given) in enumerate(answers.items(), 1):
        fetched_at = ended_at + timedelta(hours=hours)
        state = given if isinstance(given, str) else "loaded" if given else "empty"
        counts = {(POST, None): given} if isinstance(given, int) else given
        if not isinstance(given, str) and counts != stood:
            revision, stood = revision + 1, counts
            for (stage, platform_id), count in counts.items() if given else ():
                work.execute(
                    "insert into push_loss_history values"
                    " (?, 'app', ?, ?, ?, ?, ?, '1', '', ?, ?, ?, ?, null)",
                    [
                        *(app, day, stage, "platform" if platform_id else "overall"),
                        *(platform_id, PLATFORMS.get(platform_id or 0), count),
                        *(revision, fetched_at, fetched_at),
                    ],
                )
        entry = [app, day, f"{number:03}", state, revision, fetched_at]
        work.execute("insert into day_answers values (?, ?, ?, ?, ?, ?)", entry)


def maturity(told: Told, bounds: Callable[[date], DayBounds] = IN_UTC) -> list[Row]:
    """The rows of push_loss_maturity."""
    with recorded(told, bounds) as work:
        rows = read_statement("tables", "push_loss_maturity").text
        return answer(work, f"from ({rows}) order by all")


def shares(rows: Sequence[Row], **only: Any) -> dict[int, float]:
    """The share reached at each age, of one part."""
    return {
        row["age_days"]: row["share_reached"]
        for row in rows
        if all(row[name] == value for name, value in only.items())
    }


def test_late_counts() -> None:
    """A share is what stood at the end of an age, of what stood in the end."""
    told = every_morning(9) | {(SHOP, MON): mornings(50, 80, 90, 95, 98, 99, 100)}

    [*_, last] = rows = maturity(told)
    assert [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0] == list(shares(rows).values())
    assert {
        "stage": POST,
        "scope": "overall",
        "platform_id": None,
        "platform": None,
        "age_days": 6,
        "day_count": 1,
        "final_count": 100,
        "share_reached": 1.0,
        "share_low": 1.0,
        "share_median": 1.0,
        "share_high": 1.0,
    } == last


def test_an_answer_that_changed_nothing() -> None:
    """The first answers for other days tell that a day was asked."""
    told = every_morning(9) | {(SHOP, MON): mornings(50, None, None, 100)}

    assert [0.5, 0.5, 0.5, 1, 1, 1, 1] == list(shares(maturity(told)).values())


def test_an_outage() -> None:
    """An age at which nobody asked is not measured; two answers of one age are one."""
    told = dict(every_morning(9) | {(SHOP, MON): mornings(50, 60)})
    told[SHOP, MON] = {10.5: 50, 20.0: 60, 6 * 24 + 1: 80}
    del told[SHOP, later(2)], told[SHOP, later(3)]

    assert {0: 0.75, 1: 0.75, 4: 0.75, 5: 0.75, 6: 1.0} == shares(maturity(told))


def test_another_apps_asking() -> None:
    """Each app is asked for itself."""
    told = every_morning(9, app=CHAT) | {(SHOP, MON): mornings(50, *[None] * 5, 100)}

    assert {0: 0.5, 6: 1.0} == shares(maturity(told))


@pytest.mark.parametrize("losses", [0, "held"], ids=["empty", "held"])
def test_answers_without_rows(losses: int | str) -> None:
    """Days without losses tell that the app was asked, held answers too."""
    told = every_morning(9, {MORNING: losses}) | {(SHOP, MON): mornings(50)}

    assert dict.fromkeys(range(7), 1.0) == shares(maturity(told))


def test_an_app_without_losses() -> None:
    """Of nothing there is no share."""
    assert [] == maturity(every_morning(12, 0))


def test_an_empty_first_answer() -> None:
    """A day that was empty at first had reached nothing."""
    told = every_morning(9) | {(SHOP, MON): mornings(0, 50)}

    assert [0, 1, 1, 1, 1, 1, 1] == list(shares(maturity(told)).values())


@pytest.mark.parametrize("state", ["failed", "refused", "held"])
def test_a_bad_answer(state: str) -> None:
    """From an answer that was no good to the next good one nothing is known."""
    told = every_morning(9) | {(SHOP, MON): mornings(50, state, None, 100)}

    assert {0: 0.5, 3: 1, 4: 1, 5: 1, 6: 1} == shares(maturity(told))


def test_a_bad_last_answer() -> None:
    """Where the last answer was no good, the final count is not known."""
    told = every_morning(9) | {(SHOP, MON): mornings(50, *[None] * 5, "failed")}

    assert {} == shares(maturity(told))


def test_not_asked_at_the_last_age() -> None:
    """Without an answer at the last age the final count is not known."""
    told = dict(every_morning(10) | {(SHOP, MON): mornings(50)})
    del told[SHOP, later(6)]

    assert {} == shares(maturity(told))


@pytest.mark.parametrize(
    ("hours", "ages"), [(-0.001, 0), (0, 7)], ids=["told of", "forgotten"]
)
def test_not_yet_final(hours: float, ages: int) -> None:
    """A day is final once an answer came after the API forgot it."""
    told = every_morning(7) | {(SHOP, MON): mornings(50), (SHOP, later(7)): {hours: 5}}

    assert ages == len(maturity(told))


def test_decisions_are_no_answers() -> None:
    """What was written down after the API had forgotten a day asked nobody."""
    told = every_morning(9) | {(SHOP, MON): mornings(50), (SHOP, later(-30)): {}}
    told |= {(SHOP, later(-30)): {MORNING: 5, 24 * 30.0: "failed", 24 * 31.0: 5}}
    told = {key: each for key, each in told.items() if key != (SHOP, later(1))}

    assert [0, 2, 3, 4, 5, 6] == list(shares(maturity(told)))


def test_withdrawn_codes() -> None:
    """Where codes were withdrawn the share is over 1."""
    told = every_morning(9) | {(SHOP, MON): mornings(50, 40)}

    assert [1.25, 1, 1, 1, 1, 1, 1] == list(shares(maturity(told)).values())


def test_parts() -> None:
    """Stages, scopes and platforms are told apart; one not met yet has reached 0."""
    first = {(READY, None): 30, (POST, None): 50, (POST, 1): 45}
    final = {(READY, None): 30, (POST, None): 100, (POST, 1): 50, (POST, 7): 40}
    rows = maturity(every_morning(9) | {(SHOP, MON): mornings(first, final)})

    assert {
        (READY, "overall", None): 1.0,
        (POST, "overall", None): 0.5,
        (POST, "platform", "apns"): 0.9,
        (POST, "platform", "vivo"): 0.0,
    } == {
        (row["stage"], row["scope"], row["platform"]): row["share_reached"]
        for row in rows
        if row["age_days"] == 0
    }
    assert {1.0} == {row["share_reached"] for row in rows if row["age_days"] > 0}


@pytest.mark.parametrize(("final", "days"), [(19, 0), (20, 1)], ids=["19", "20"])
def test_small_counts(final: int, days: int) -> None:
    """A share of fewer than 20 messages says nothing."""
    told = every_morning(9) | {(SHOP, MON): mornings(2, final)}

    assert 7 * days == len(maturity(told))


def test_spread() -> None:
    """Messages make the share, app days its spread, of all apps together."""
    told = {
        (app, later(number)): mornings(
            100 * number, {(POST, None): 1000} if app == SHOP else 0, *[None] * 5
        )
        for app in (SHOP, CHAT)
        for number in range(11)
    } | {(app, later(n)): mornings(1) for app in (SHOP, CHAT) for n in range(11, 18)}
    told |= {(CHAT, later(3)): mornings(3000, 4000)}
    first = next(row for row in maturity(told) if row["age_days"] == 0)

    assert (12, 15_000) == (first["day_count"], first["final_count"])
    assert pytest.approx(8500 / 15_000) == first["share_reached"]
    spread = [first[f"share_{name}"] for name in ("low", "median", "high")]
    assert pytest.approx([0.11, 0.55, 0.89]) == spread


@pytest.mark.parametrize(
    "day", [date(2026, 3, 28), date(2026, 10, 24)], ids=["short", "long"]
)
@pytest.mark.parametrize("hour", [1.5, 10.5, 22.5])
def test_a_clock_that_moves(day: date, hour: float) -> None:
    """A week with a day of 23 or 25 hours has seven ages too."""
    berlin = ZoneInfo("Europe/Berlin")
    told: dict[tuple[int, date], Answers] = {}
    for number in range(9):
        midnight = datetime.combine(later(number + 1, day), time(), berlin)
        asked_at = (midnight + timedelta(hours=hour)).astimezone(UTC)
        since_end = asked_at - in_zone(berlin)(later(number, day)).ended_at
        told[SHOP, later(number, day)] = {since_end / timedelta(hours=1): 50}

    rows = maturity(told, in_zone(berlin))
    assert [(age, 2) for age in range(7)] == [
        (row["age_days"], row["day_count"]) for row in rows
    ]


def test_the_length_of_an_age() -> None:
    """An age ends where the next begins, 24 hours after the day's end the first."""
    told = every_morning(9) | {(SHOP, MON): {24 - 1e-6: 25, 24: 50}}

    assert [0.5, 1, 1, 1, 1, 1, 1] == list(shares(maturity(told)).values())


def test_another_retention() -> None:
    """There are as many ages as days that the API tells of."""
    told = every_morning(9, 30)

    for retention in (1, 2, 5):
        ages = shares(maturity(told, in_zone(UTC_ZONE, retention)))
        assert list(range(retention)) == list(ages)


def test_long_ago() -> None:
    """Only the newest 90 days are measured."""
    told = every_morning(108, 30)
    counts = {row["day_count"] for row in maturity(told)}

    assert {90} == counts


def a_share(stage: str, age_days: int, median: float, day_count: int = 14) -> Row:
    """A row of push_loss_maturity, scope overall."""
    return {
        "stage": stage,
        "scope": "overall",
        "age_days": age_days,
        "day_count": day_count,
        "final_count": 1000,
        **dict.fromkeys(("share_reached", "share_low", "share_high"), 0.5),
        "share_median": median,
    }


def measured(*post: float, ready: float = 1.0, day_count: int = 14) -> list[Row]:
    """Both stages at each age, these medians after sending."""
    return [
        row
        for age, median in enumerate(post)
        for row in (
            a_share(POST, age, median, day_count),
            a_share(READY, age, ready if age == 0 else 1.0),
        )
    ]


def young(
    told: Told,
    shares: Sequence[Row] = (),
    bounds: Callable[[date], DayBounds] = IN_UTC,
) -> list[bool]:
    """Whether each day is young, in order of the days, long after."""
    with recorded(told, bounds) as work:
        if shares:
            work.register("shares", pa.Table.from_pylist(list(shares)))
            work.execute("insert into push_loss_maturity by name from shares")
        work.register("told_apps", pa.Table.from_pylist([an_app()]))
        work.execute("insert into apps by name from told_apps")
        for key in told:
            _enter(work, *key)
        days = read_statement("tables", "push_loss_days").text
        rows = answer(
            work, f"from ({days}) order by loss_date", {"now": FAR, **SETTLING}
        )
        return [row["is_young"] for row in rows]


def _enter(work: duckdb.DuckDBPyConnection, app: int, day: date) -> None:
    """Add the newest entry of a day to day_entries."""
    newest = answer(
        work,
        "from day_answers where sdk_app_id = ? and loss_date = ?"
        " order by entry_key desc limit 1",
        [app, day],
    )
    entry = a_day(**newest[0])
    for name in ("ended_at", "expires_at", "is_young"):
        del entry[name]
    names, marks = ", ".join(entry), ", ".join("?" * len(entry))
    work.execute(
        f"insert into day_entries ({names}) values ({marks})", list(entry.values())
    )


SETTLED_AT: dict[str, tuple[Sequence[Row], int]] = {
    "nothing measured": ([], 3),
    "a share below": (measured(0.7, 0.9, 0.95, 0.97, 0.99, 1, 1), 4),
    "a share exactly": (measured(0.7, 0.98, 1, 1, 1, 1, 1), 1),
    "all of it at once": (measured(1, 1, 1, 1, 1, 1, 1), 0),
    "the other stage": (measured(1, 1, 1, 1, 1, 1, 1, ready=0.9), 1),
    "a fall after": (measured(0.7, 0.98, 0.97, 1.1, 0.9, 1, 1), 5),
    "too few days": (measured(0.7, 1, 1, 1, 1, 1, 1, day_count=13), 3),
    "too few at one age": (
        [a_share(POST, age, 1, 13 if age == 2 else 99) for age in range(7)],
        3,
    ),
    "an age without days": ([*measured(1, 1, 1, 1, 1, 1, 1)][:-3], 3),
    "one stage only": ([a_share(POST, age, 1) for age in range(7)], 0),
    "platforms do not count": (
        [
            *measured(0.7, 1, 1, 1, 1, 1, 1),
            {**a_share(POST, 5, 0), "scope": "platform"},
        ],
        1,
    ),
}


@pytest.mark.parametrize(("rows", "age"), SETTLED_AT.values(), ids=SETTLED_AT.keys())
def test_settled(rows: Sequence[Row], age: int) -> None:
    """Young are the days last asked before the first age from which on all is in."""
    flags = young(every_morning(9), rows)

    assert [False] * (9 - age) + [True] * age == flags


def test_an_outage_keeps_days_young() -> None:
    """A day that nobody asked again before the API forgot it stays young."""
    told = every_morning(3) | {(SHOP, later(20)): {MORNING: 5}}

    assert [True, True, True, True] == young(told)
    told |= {(SHOP, later(23)): {MORNING: 5}}
    assert [True, True, True, False, True] == young(told)


def test_a_gap_that_is_caught_up() -> None:
    """After a short outage the next run finds the days old enough."""
    told = {(SHOP, MON): mornings(5), (SHOP, later(4)): mornings(5)}

    assert [False, True] == young(told)


@pytest.mark.parametrize("state", ["failed", "refused", "held"])
def test_a_day_whose_last_answers_were_no_good(state: str) -> None:
    """What other days were told of meanwhile does not make it older."""
    told = every_morning(9) | {(SHOP, MON): mornings(50, state)}

    assert young(told)[0]
    assert not young(told | {(SHOP, MON): mornings(50, state, None, 60)})[0]


def test_a_day_without_a_good_answer() -> None:
    """What has no counts has none that could rise."""
    told = every_morning(2) | {(SHOP, MON): mornings("failed")}

    assert [False, True] == young(told)


def test_a_short_memory() -> None:
    """Where the API forgets sooner, a day asked at its last age is not young."""
    told = every_morning(3)

    assert [False, False, True] == young(told, bounds=in_zone(UTC_ZONE, 2))
    assert [False] * 3 == young(told, bounds=in_zone(UTC_ZONE, 1))
