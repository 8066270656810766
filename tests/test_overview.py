"""What is known of the days, and what is still to be done."""

from datetime import date, timedelta

from pushloss_pipeline.domain.verdict import State
from pushloss_pipeline.overview import (
    check_day,
    day_figures,
    day_statuses,
    missed_days,
)
from tests.builders import a_body
from tests.world import THREE_APPS, World, fault

DAY = date(2026, 3, 11)
FIRST, SECOND, THIRD = (app.name for app in THREE_APPS)


def test_day_statuses(world: World) -> None:
    """Told are all days of the API, and older ones that need somebody."""
    world.simulator.script(
        [fault(world, FIRST, day=str(world.days[0]), error_code=90100)]
    )
    world.load([FIRST, SECOND], world.days[:2])
    old = world.days[0]
    world.later(days=2)

    statuses = day_statuses(world.parts, [FIRST, SECOND])

    assert [FIRST] * 8 + [SECOND] * 7 == [status.app for status in statuses]
    assert [old, *world.days] == [s.loss_date for s in statuses if s.app == FIRST]
    assert [0, 1, 2, 3, 4, 5, 6, 7] == [s.days_left for s in statuses if s.app == FIRST]
    first = statuses[0]
    assert (State.REFUSED, 0, 0) == (first.state, first.revision, first.row_count)
    assert first.problem.startswith("refused: 90100")
    never = statuses[-1]
    assert (None, "", None) == (
        never.state,
        never.problem,
        never.fetched_at,
    )


def test_day_statuses_before_the_first_load(world: World) -> None:
    """Without a warehouse every day was never asked for."""
    statuses = day_statuses(world.parts, [FIRST])

    assert list(world.days) == [status.loss_date for status in statuses]
    assert {None} == {status.state for status in statuses}


def test_an_early_empty_day_is_told_as_such(world: World) -> None:
    """Yesterday without rows may not be ready; the day before has had its time."""
    world.simulator.script([{"empty": True, "times": None}])
    world.load([FIRST])

    *earlier, yesterday = day_statuses(world.parts, [FIRST])

    assert "perhaps not ready yet: it is asked again" == yesterday.problem
    assert {""} == {status.problem for status in earlier}


def test_status_begins_with_start_date(world: World) -> None:
    """Days that no command would load are not told as missing."""
    first = world.days[4]
    world.reconfigure('start_date = "2026-01-01"', f'start_date = "{first}"')

    assert [first, *world.days[5:]] == [
        status.loss_date for status in day_statuses(world.parts, [FIRST])
    ]


def test_missed_days(world: World) -> None:
    """Missed is what the API forgot unasked, from each app's first answer on."""
    world.load([FIRST], world.days[3:4])
    world.load([SECOND], world.days[5:6])
    world.load([FIRST], [date(2026, 2, 1)])  # forgotten: that makes none missed
    world.later(days=6)

    day = world.days[0] - timedelta(days=1)
    assert {FIRST: (day - timedelta(days=1), day)} == missed_days(world.parts)


def test_nothing_is_missed_before_the_first_load(world: World) -> None:
    """Without a warehouse no app has had an answer."""
    assert {} == missed_days(world.parts)


def test_day_figures(world: World) -> None:
    """A day's figures are those of all apps together, no loss counted twice."""
    world.load(days=[DAY])
    truth = [row for row in world.truth(days=[DAY]) if row[3] == "overall"]

    assert {
        "row_count": len(world.loaded()),
        "ready_to_send_count": sum(r[-1] for r in truth if r[2] == "ready_to_send"),
        "post_send_delivered_count": sum(
            r[-1] for r in truth if r[2] == "post_send_delivered"
        ),
        "residual_count": sum(
            row[-1] if row[3] == "overall" else -row[-1]
            for row in world.truth(days=[DAY])
        ),
        "young_app_count": len(world.names),
    } == day_figures(world.parts, DAY)
    assert {0} == set(day_figures(world.parts, date(2020, 1, 1)).values())


def test_checks_of_a_good_day(world: World) -> None:
    """A day that the simulator tells passes every check."""
    world.load(days=[DAY])
    results = check_day(world.parts, DAY)

    assert 11 == len(results)
    assert [] == [r.statement.name for r in results if not r.is_passed]


def test_checks_of_a_bad_day(world: World) -> None:
    """A day with an app missing and an odd answer fails those checks, and says how."""
    odd = a_body({"1": 1}, Novel=True).decode()
    world.simulator.script(
        [fault(world, FIRST, body=odd), fault(world, SECOND, error_code=90100)]
    )
    world.load(days=[DAY])
    failed = {
        r.statement.name: r for r in check_day(world.parts, DAY) if not r.is_passed
    }

    assert {"every_app_is_present": True, "answer_has_the_known_shape": False} == {
        name: result.is_fatal for name, result in failed.items()
    }
    assert [(SECOND, "refused", 90100)] == [
        row[:3] for row in failed["every_app_is_present"].bad_rows.rows
    ]
