"""push_loss_anomalies names each cause once, at its level, and quiet weeks nowhere."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.domain.tables import (
    APPS,
    ERROR_CODES,
    PUSH_LOSS,
    PUSH_LOSS_DAYS,
)
from pushloss_pipeline.simulator.scenario import Scenario, demo_scenario, many_apps
from pushloss_pipeline.simulator.truth import day_truth
from tests.sql.rows import (
    DAY,
    NOW,
    Row,
    a_day,
    a_loss,
    a_meaning,
    an_app,
    answer,
    holding,
    insert,
    of_platform,
)

VIEW = read_statement("views", "push_loss_anomalies").text
READY, POST = "ready_to_send", "post_send_delivered"
PLATFORMS = {1: "apns", 2: "xiaomi"}

Code = tuple[str, int, str]
"""Stage, platform_id, err_code."""
Losses = Mapping[Code, int]

RETIRED: Code = (POST, 1, "410")
BAD_TOKEN: Code = (POST, 1, "400")
USUAL: Losses = {
    (READY, 1, "-1"): 400,
    (READY, 2, "-1"): 400,
    RETIRED: 900,
    BAD_TOKEN: 400,
    (POST, 2, "16"): 1600,
    (POST, 2, "32"): 1600,
}
"""5,300 in all, of which 800 ready_to_send; 1,300 post_send_delivered on apns."""


def quiet(weeks: int = 8, losses: Losses = USUAL) -> dict[int, Losses]:
    """The same losses on the same weekday of each week before, by weeks back."""
    return dict.fromkeys(range(1, weeks + 1), losses)


def told(losses: Losses, **of_day: Any) -> list[Row]:
    """Rows of push_loss: these losses by platform, and overall."""
    overall: Counter[tuple[str, str]] = Counter()
    for (stage, _, code), count in losses.items():
        overall[stage, code] += count
    return [
        *(
            of_platform(
                stage=stage,
                platform_id=number,
                platform=PLATFORMS[number],
                err_code=code,
                err_count=count,
                **of_day,
            )
            for (stage, number, code), count in losses.items()
        ),
        *(
            a_loss(stage=stage, err_code=code, err_count=count, **of_day)
            for (stage, code), count in overall.items()
        ),
    ]


def tables(
    by_week: Mapping[int, Losses], *, young: Sequence[int] = (), **of_app: Any
) -> dict[str, list[Row]]:
    """Known days by weeks before DAY, with what was lost on them."""
    days, losses = [], []
    for weeks_back, lost in by_week.items():
        of_day = {**of_app, "loss_date": DAY - timedelta(weeks=weeks_back)}
        days.append(a_day(**of_day, is_young=weeks_back in young))
        losses += told(lost, **of_day)
    return {"push_loss": losses, "push_loss_days": days}


APPS_OF_DAYS = """
    insert into apps
    select distinct sdk_app_id, app, true, null, null from push_loss_days
"""


def alarms(*given: Mapping[str, Sequence[Row]]) -> list[Row]:
    """What the view tells of these rows."""
    with holding({}) as connection:
        for some in given:
            for name, rows in some.items():
                insert(connection, name, rows)
        connection.execute(APPS_OF_DAYS)
        return answer(connection, VIEW)


def in_short(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Level, path and direction of each alarm."""
    names = ("level", "stage", "platform", "err_code", "direction")
    return sorted((tuple(row[name] for name in names) for row in rows), key=repr)


def times(factor: float, part: Sequence[Any] = (), losses: Losses = USUAL) -> Losses:
    """These losses, so many times on the part of the tree that begins like this."""
    return {
        code: round(count * factor) if code[: len(part)] == tuple(part) else count
        for code, count in losses.items()
    }


def test_quiet_weeks() -> None:
    """Days like those before raise no alarm, nor do days that nothing is known of."""
    assert [] == alarms(tables({0: USUAL, **quiet()}))
    assert [] == alarms()


def test_a_burst_is_told_exactly() -> None:
    """A burst in one code is one alarm at that code, with its meaning and figures."""
    meant = {
        "meaning": "Token retired",
        "category": "token_invalid",
        "owner": "app team",
        "action": "Drop it",
    }
    (row,) = alarms(
        tables({0: {**USUAL, RETIRED: 8100}, **quiet()}),
        {
            "error_codes": [
                a_meaning(stage=READY, err_code="410"),
                a_meaning(stage=POST, platform="xiaomi", err_code="410"),
                a_meaning(stage=POST, err_code="410", **meant),
            ]
        },
    )

    # A step is 5 % of the usual root, 30: 1.5; the day's root is 90.
    assert [
        ("loss_date", DAY),
        ("sdk_app_id", 1),
        ("app", "shop"),
        ("level", "code"),
        ("stage", POST),
        ("platform_id", 1),
        ("platform", "apns"),
        ("err_code", "410"),
        *meant.items(),
        ("direction", "rise"),
        ("is_young", False),
        ("lost_count", 8100),
        ("expected_count", 900),
        ("excess_count", 7200),
        ("score", pytest.approx(40.0)),
    ] == [*row.items()]


def test_a_step_is_the_spread_of_the_weeks_before() -> None:
    """The spread is 1.4826 MAD, a little more for few weeks; one wild week is nothing.

    Roots 16, 18, 18, 20, 20, 22, 22 and 300: the median is 20, as is the fifth; they
    lie 4, 2, 2, 0, 0, 2, 2 and 280 from it: the MAD is 2.
    """
    roots = (16, 18, 18, 20, 20, 22, 22, 300)
    past = {n: {**USUAL, BAD_TOKEN: root**2} for n, root in enumerate(roots, 1)}
    (row,) = alarms(tables({0: {**USUAL, BAD_TOKEN: 60**2}, **past}))

    assert (400, 3200) == (row["expected_count"], row["excess_count"])
    assert pytest.approx(40 / (1.4826 * 2 * 8 / 7)) == row["score"]


@pytest.mark.parametrize(
    ("root", "codes"), [(36, []), (37, ["400"])], ids=["4.7 steps", "5.02 steps"]
)
def test_steps_of_a_restless_code(root: int, codes: Sequence[str]) -> None:
    """A code that is restless by habit needs a greater change: five of its steps."""
    roots = (16, 18, 18, 20, 20, 22, 22, 24)
    past = {n: {**USUAL, BAD_TOKEN: past**2} for n, past in enumerate(roots, 1)}
    rows = alarms(tables({0: {**USUAL, BAD_TOKEN: root**2}, **past}))

    assert codes == [row["err_code"] for row in rows if row["level"] == "code"]


def test_a_step_is_no_less_than_chance() -> None:
    """Where a code is hardly ever met, a step is half a root."""
    rare = {**USUAL, (POST, 2, "200001"): 4}
    burst = {**USUAL, (POST, 2, "200001"): 144}
    (row,) = alarms(tables({0: burst, **quiet(losses=rare)}))

    assert (4, 140, 20.0) == (row["expected_count"], row["excess_count"], row["score"])


@pytest.mark.parametrize("newer_days", [0, 27], ids=["newest day", "oldest day"])
def test_a_calm_weekday_of_a_restless_code(newer_days: int) -> None:
    """A step is no less than what the weekdays of a week spread on average."""
    given = tables({0: {**USUAL, RETIRED: 8100}, **quiet()})
    newest = DAY + timedelta(days=newer_days)
    given["push_loss_days"].append(
        a_day(sdk_app_id=2, loss_date=newest, state="failed", revision=0)
    )
    for week in range(9):
        day = DAY - timedelta(days=6, weeks=week)
        restless = {**USUAL, RETIRED: (30 + 8 * (-1) ** week) ** 2}
        given["push_loss"] += told(restless, loss_date=day)
        given["push_loss_days"].append(a_day(loss_date=day))
    (row,) = (row for row in alarms(given) if row["loss_date"] == DAY)

    # MAD 0 on the calm weekday, 8 on the other.
    assert pytest.approx(60 / ((0 + 1.4826 * 8 * 8 / 7) / 2)) == row["score"]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ((), ("app", None, None, None)),
        ((READY,), ("stage", READY, None, None)),
        ((POST,), ("stage", POST, None, None)),
        ((POST, 2), ("platform", POST, "xiaomi", None)),
        ((POST, 1), ("platform", POST, "apns", None)),
        ((POST, 2, "32"), ("code", POST, "xiaomi", "32")),
        ((POST, 1, "410"), ("code", POST, "apns", "410")),
    ],
    ids=["all", "small stage", "great stage", "platform", "uneven", "code", "main"],
)
@pytest.mark.parametrize(("factor", "direction"), [(4, "rise"), (0.2, "drop")])
def test_a_cause_is_named_once(
    part: Sequence[Any], named: Sequence[Any], factor: float, direction: str
) -> None:
    """What moves together is one alarm, at the highest level that moves alike."""
    rows = alarms(tables({0: times(factor, part), **quiet()}))

    assert [(*named, direction)] == in_short(rows)


def test_a_stage_that_is_nearly_all() -> None:
    """Where everything rises the app is named, however much one part weighs in it."""
    uneven = times(0.2, (READY,), times(5, (POST, 2, "16")))
    rows = alarms(tables({0: times(3, (), uneven), **quiet(losses=uneven)}))

    assert [("app", None, None, None, "rise")] == in_short(rows)


def test_a_rise_of_no_platform() -> None:
    """Losses that are put down to no platform are told of the stage."""
    given = tables({0: USUAL, **quiet()})
    given["push_loss"].append(a_loss(stage=READY, err_code="-3", err_count=9000))

    assert [("stage", READY, None, None, "rise")] == in_short(alarms(given))


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        ((7200, 2800), [("code", POST, "apns", c, "rise") for c in ("403", "413")]),
        ((6800, 3200), [("platform", POST, "apns", None, "rise")]),
    ],
    ids=["72 %", "68 %"],
)
def test_most_of_the_excess(counts: Sequence[int], named: Any) -> None:
    """A level gives way to a part of it that carries 70 % of the excess."""
    new = dict(zip([(POST, 1, "403"), (POST, 1, "413")], counts, strict=True))

    assert named == in_short(alarms(tables({0: {**USUAL, **new}, **quiet()})))


@pytest.mark.parametrize(
    ("count", "levels"),
    [(1000, ["code", "code"]), (1120, ["platform"])],
    ids=["46 %", "54 %"],
)
def test_parts_that_move_alike(count: int, levels: Sequence[str]) -> None:
    """A level is named where its lesser parts move half as much in proportion."""
    day = {**USUAL, RETIRED: 4500, BAD_TOKEN: count}
    rows = alarms(tables({0: day, **quiet()}))

    assert levels == [row["level"] for row in rows]


@pytest.mark.parametrize(
    ("count", "level"), [(15, "code"), (20, "platform")], ids=["tiny", "small"]
)
def test_parts_too_small_to_tell(count: int, level: str) -> None:
    """Parts that move alike by less than 1 % of the app's losses do not count."""
    losses = {**USUAL, (POST, 2, "16"): count}
    rows = alarms(tables({0: times(4, (POST, 2), losses), **quiet(losses=losses)}))

    assert [level] == [row["level"] for row in rows]


def test_two_codes() -> None:
    """Codes that move each its own way are told each, though their sum is quiet."""
    both = {**USUAL, (POST, 2, "16"): 400, BAD_TOKEN: 1600}

    assert [
        ("code", POST, "apns", "400", "rise"),
        ("code", POST, "xiaomi", "16", "drop"),
    ] == in_short(alarms(tables({0: both, **quiet()})))


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ((POST, 1), ("platform", POST, "apns", None, "rise")),
        ((READY,), ("stage", READY, None, None, "rise")),
    ],
    ids=["platform", "stage"],
)
def test_two_causes(part: Sequence[Any], named: Sequence[Any]) -> None:
    """A cause beside a far greater one is named at its own level."""
    day = {**times(4, part), (POST, 2, "32"): 50_000}

    assert [("code", POST, "xiaomi", "32", "rise"), named] == in_short(
        alarms(tables({0: day, **quiet()}))
    )


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ((), ("app", None, None, None, "rise")),
        ((POST,), ("stage", POST, None, None, "rise")),
        ((POST, 2), ("platform", POST, "xiaomi", None, "rise")),
    ],
    ids=["app", "stage", "platform"],
)
def test_a_drop_under_a_rise(part: Sequence[Any], named: Sequence[Any]) -> None:
    """An alarm hides what goes its way, not what goes the other way."""
    losses = {**USUAL, (POST, 2, "33"): 1600, (POST, 2, "34"): 1600}
    day = {**times(3, part, losses), (POST, 2, "32"): 100}
    rows = in_short(alarms(tables({0: day, **quiet(losses=losses)})))

    assert sorted([named, ("code", POST, "xiaomi", "32", "drop")], key=repr) == rows


def test_a_drop_is_no_part_of_a_rise() -> None:
    """What explains a rise is a rise, were a drop beside it ever so great."""
    new = dict.fromkeys([(POST, 2, "33"), (POST, 2, "34"), (POST, 2, "35")], 1500)
    day = {**USUAL, **new, (POST, 2, "32"): 0}

    assert [
        ("code", POST, "xiaomi", "32", "drop"),
        ("platform", POST, "xiaomi", None, "rise"),
    ] == in_short(alarms(tables({0: day, **quiet()})))


def test_a_vanished_code() -> None:
    """A code that is not met at all on a known day is a drop to 0."""
    gone = {code: count for code, count in USUAL.items() if code != RETIRED}
    (row,) = alarms(tables({0: gone, **quiet()}))

    assert ("code", "410", "drop") == (row["level"], row["err_code"], row["direction"])
    assert (0, 900, -900) == (
        row["lost_count"],
        row["expected_count"],
        row["excess_count"],
    )
    assert pytest.approx(-20.0) == row["score"]


def test_a_new_code() -> None:
    """A code never met before, of which nothing was expected, is a rise."""
    (row,) = alarms(tables({0: {**USUAL, (POST, 1, "403"): 625}, **quiet()}))

    assert ("403", "rise", 0, 625) == (
        row["err_code"],
        row["direction"],
        row["expected_count"],
        row["excess_count"],
    )
    assert (50.0, None) == (row["score"], row["meaning"])


def test_an_empty_day() -> None:
    """A known day without a single loss is one drop of the app."""
    (row,) = alarms(tables({0: {}, **quiet()}))

    assert ("app", "drop", 0, 5300) == (
        row["level"],
        row["direction"],
        row["lost_count"],
        row["expected_count"],
    )


def test_a_day_that_is_not_known() -> None:
    """A day without an accepted answer is no drop."""
    given = tables(quiet())
    given["push_loss_days"].append(a_day(state="failed", revision=0))

    assert [] == alarms(given)


def test_unknown_days_are_no_zeros() -> None:
    """Days without an accepted answer are left out of what is usual."""
    given = tables({0: USUAL, **quiet(4)})
    for weeks_back in range(5, 9):
        day = DAY - timedelta(weeks=weeks_back)
        given["push_loss_days"].append(
            a_day(loss_date=day, state="refused", revision=0)
        )

    assert [] == alarms(given)


def test_empty_days_are_zeros() -> None:
    """Days on which nothing was lost belong to what is usual."""
    past = {week: {} if week > 3 else USUAL for week in range(1, 9)}
    (row,) = [
        row for row in alarms(tables({0: USUAL, **past})) if row["loss_date"] == DAY
    ]

    assert ("app", "rise", 0) == (row["level"], row["direction"], row["expected_count"])


@pytest.mark.parametrize(("weeks", "count"), [(3, 0), (4, 1)])
def test_too_few_weeks(weeks: int, count: int) -> None:
    """With fewer than four weeks to compare with nothing is said."""
    assert count == len(alarms(tables({0: times(4), **quiet(weeks)})))


def test_a_young_day() -> None:
    """A young day is told of where it rises, not where it drops: counts still come."""
    rising = {**times(0.2), RETIRED: 8100}
    rows = alarms(tables({0: rising, **quiet()}, young=[0]))

    assert [("code", POST, "apns", "410", "rise")] == in_short(rows)
    assert rows[0]["is_young"]
    assert [] == alarms(tables({0: {}, **quiet()}, young=[0]))


def test_young_days_are_not_usual() -> None:
    """Young days are left out of what is usual."""
    past = {**quiet(4), **dict.fromkeys(range(5, 8), times(0.1))}

    assert [] == alarms(tables({0: USUAL, **past}, young=[5, 6, 7]))
    assert [] == alarms(tables({0: times(4), **quiet()}, young=range(1, 6)))


@pytest.mark.parametrize(("count", "named"), [(49, []), (50, ["403"])])
def test_small_numbers(count: int, named: Sequence[str]) -> None:
    """Fewer than 50 messages are no alarm, were they ever so unusual."""
    small = {RETIRED: 100}
    rows = alarms(
        tables({0: {**small, (POST, 1, "403"): count}, **quiet(losses=small)})
    )

    assert named == [row["err_code"] for row in rows]


@pytest.mark.parametrize(("count", "named"), [(529, []), (530, ["403"])])
def test_small_shares(count: int, named: Sequence[str]) -> None:
    """Less than 1 % of what the app usually loses is no alarm."""
    ten_times = times(10)
    rows = alarms(
        tables({0: {**ten_times, (POST, 1, "403"): count}, **quiet(losses=ten_times)})
    )

    assert named == [row["err_code"] for row in rows]


@pytest.mark.parametrize(
    ("part", "steps"),
    [((), 3.5), ((READY,), 4), ((POST, 2), 4.5), ((POST, 2, "16"), 5)],
    ids=["app", "stage", "platform", "code"],
)
def test_steps_to_an_alarm(part: Sequence[Any], steps: float) -> None:
    """Each level has its threshold, a step being 5 % of the root here."""
    over = times((1 + 0.05 * (steps + 0.05)) ** 2, part)
    under = times((1 + 0.05 * (steps - 0.05)) ** 2, part)

    assert 1 == len(alarms(tables({0: over, **quiet()})))
    assert [] == alarms(tables({0: under, **quiet()}))


def test_apps_do_not_mix() -> None:
    """An app is compared with itself, and its alarms hide nothing of another's."""
    chat = {"sdk_app_id": 2, "app": "chat"}
    tenfold = times(10)
    day = {**tenfold, RETIRED: 81_000}
    rows = alarms(
        tables({0: times(4), **quiet()}),
        tables({0: day, **quiet(losses=tenfold)}, **chat),
    )

    assert {"shop": "app", "chat": "code"} == {row["app"]: row["level"] for row in rows}
    assert 2 == len(rows)


def test_days_do_not_mix() -> None:
    """What explains one day explains no other."""
    past = {**quiet(9), 1: {**USUAL, (POST, 2, "32"): 80_000}}
    rows = alarms(tables({0: times(4, (POST, 2)), **past}))

    assert {DAY: "platform", DAY - timedelta(weeks=1): "code"} == {
        row["loss_date"]: row["level"] for row in rows
    }


def test_other_weekdays_are_not_compared() -> None:
    """A day is compared with its own weekday, however the others are."""
    given = tables({0: USUAL, **quiet()})
    for days_back in range(1, 60):
        day = DAY - timedelta(days=days_back)
        if days_back % 7:
            given["push_loss_days"].append(a_day(loss_date=day))
            given["push_loss"] += told(times(6), loss_date=day)

    assert [] == alarms(given)


@pytest.mark.parametrize(("weeks_back", "count"), [(3, 1), (4, 0)])
def test_the_newest_28_days_are_judged(weeks_back: int, count: int) -> None:
    """An alarm is told for 28 days, and for a day no longer than that."""
    past = {week + weeks_back: losses for week, losses in quiet().items()}
    given = tables({weeks_back: times(4), **past})
    given["push_loss_days"].append(a_day(state="failed", revision=0))

    assert count == len(alarms(given))


def simulated(
    scenario: Scenario, last_day: date, *, at: datetime
) -> list[tuple[Any, ...]]:
    """Alarms of a simulated world as it is told at an instant."""
    with duckdb.connect() as connection:
        days = [last_day - timedelta(days=back) for back in range(90)]
        for table, rows in (
            (PUSH_LOSS, simulated_losses(scenario, days, at)),
            (PUSH_LOSS_DAYS, simulated_days(scenario, days, at)),
            (APPS, (an_app(sdk_app_id=a.sdk_app_id) for a in scenario.apps)),
            (ERROR_CODES, iter(())),
        ):
            given = pa.Table.from_pylist(list(rows), schema=table.schema)
            connection.register(table.name, given)
        rows = answer(connection, VIEW)
    names = ("sdk_app_id", "loss_date", "level", "stage", "platform_id", "err_code")
    return sorted(tuple(row[name] for name in names) for row in rows)


def simulated_losses(
    scenario: Scenario, days: Sequence[date], at: datetime
) -> Iterator[Row]:
    """Rows of push_loss."""
    for app in scenario.apps:
        for day in days:
            for loss in day_truth(scenario, app.sdk_app_id, day, at=at):
                vendor = None if loss.scope == "overall" else f"p{loss.platform_id}"
                yield a_loss(
                    **asdict(loss),
                    sdk_app_id=app.sdk_app_id,
                    app=app.name,
                    loss_date=day,
                    platform=vendor,
                )


def simulated_days(
    scenario: Scenario, days: Sequence[date], at: datetime
) -> Iterator[Row]:
    """Rows of push_loss_days; young for three days."""
    for app in scenario.apps:
        for day in days:
            yield a_day(
                sdk_app_id=app.sdk_app_id,
                app=app.name,
                loss_date=day,
                is_young=day > at.date() - timedelta(days=4),
            )


LONG_AFTER = datetime(2030, 1, 1, tzinfo=UTC)
TOO_SMALL = "trial of another channel"
"""An incident of some thirty messages a day."""


@pytest.mark.parametrize("at", [NOW, LONG_AFTER], ids=["next morning", "long after"])
def test_quiet_simulated_weeks(at: datetime) -> None:
    """Weeks without incidents raise no alarm, when all is told nor while it comes."""
    assert [] == simulated(Scenario(7, many_apps(6, seed=7)), DAY, at=at)


def test_simulated_incidents() -> None:
    """Each day of each planted incident is one alarm, at its code; small ones none."""
    scenario = demo_scenario(DAY)
    first_judged = DAY - timedelta(days=27)
    planted = {
        (i.sdk_app_id, day, "code", i.stage, i.platform_id, i.err_code)
        for i in scenario.incidents
        for day in (i.first_day, i.last_day)
        if i.kind != TOO_SMALL and first_judged <= day <= DAY
    }

    assert 4 == len({node[5] for node in planted})
    assert sorted(planted) == simulated(scenario, DAY, at=LONG_AFTER)
