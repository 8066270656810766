"""The whole walk: what the API says is what analysts read, however it came there."""

import base64
import shutil
from datetime import date, timedelta

from pushloss_pipeline.domain.verdict import State
from pushloss_pipeline.steps import (
    accept_day,
    publish,
    replay_days,
    undo_acceptance,
)
from tests.builders import a_body
from tests.world import World

DAY = date(2026, 3, 11)
HISTORY = """
    select loss_date, revision, err_count, superseded_at is null as stands
    from push_loss_history
    where app = $app and scope = 'overall' and err_code = $code
    order by loss_date, revision
"""


def script(world: World, name: str, *bodies: bytes, day: date = DAY) -> None:
    """Let the API answer an app's day with these bodies, one after the other."""
    world.simulator.script(
        [
            {
                "sdk_app_id": world.number_of(name),
                "day": str(day),
                "body": body.decode(),
            }
            for body in bodies
        ]
    )


def forget_what_is_derived(world: World) -> None:
    """Delete everything but the answers as received."""
    shutil.rmtree(world.data / "lake" / "push_loss_revisions")
    for path in world.data.glob("*.duckdb*"):
        path.unlink()


def test_first_load(world: World) -> None:
    """Row for row, a week of three apps is what the API told."""
    outcomes = world.load()

    assert world.truth() == world.loaded()
    assert 21 == len(outcomes) == len(world.new_calls())
    assert all(o.is_done and o.is_new_revision and o.calls == 1 for o in outcomes)


def test_second_load(world: World) -> None:
    """A second load of the same answers changes nothing at all."""
    world.load()
    before = world.everything()
    inode = (world.data / "warehouse.duckdb").stat().st_ino

    outcomes = world.load()

    assert before == world.everything()
    assert inode == (world.data / "warehouse.duckdb").stat().st_ino
    assert not any(outcome.is_new_revision for outcome in outcomes)
    assert {1} == {outcome.revision for outcome in outcomes}


def test_late_counts(world: World) -> None:
    """Counts that grow late are new revisions, and the old ones stay as history."""
    world.load()
    first = world.loaded()
    world.later(hours=3)
    outcomes = world.load()

    assert first != world.loaded()
    assert world.truth() == world.loaded()
    revised = {(o.app, o.loss_date) for o in outcomes if o.is_new_revision}
    assert revised
    assert revised == set(
        world.rows("select distinct app, loss_date from push_loss where revision = 2")
    )
    assert first == sorted(
        world.rows(
            "select app, loss_date, stage, scope, platform_id, err_code, err_info,"
            " err_count from push_loss_history where revision = 1"
        ),
        key=repr,
    )


def test_vanished_code(world: World) -> None:
    """A code that the API withdraws is gone from the day, and kept in its history."""
    script(world, "app_0000", a_body({"1": 5, "2": 6}), a_body({"1": 5}))
    world.load(["app_0000"], [DAY])
    world.load(["app_0000"], [DAY])

    assert [("1",)] == world.rows("select distinct err_code from push_loss")
    assert [(DAY, 1, 6, False)] == world.rows(HISTORY, app="app_0000", code="2")
    assert [(DAY, 1, 5, False), (DAY, 2, 5, True)] == world.rows(
        HISTORY, app="app_0000", code="1"
    )


def test_replay_from_nothing(world: World) -> None:
    """All tables come back bit for bit from the answers alone, without a call."""
    script(world, "app_0001", a_body({"1": 5}), a_body({}), day=DAY)
    world.load()
    world.later(hours=5)
    world.load()
    accept_day(world.parts, "app_0001", DAY)
    world.later(hours=5)
    world.simulator.script([{"error_code": 60008, "times": 9}, {"error_code": 70020}])
    world.load(["app_0002"])
    before = world.everything()
    world.new_calls()
    forget_what_is_derived(world)

    outcomes = replay_days(world.parts, world.names, world.days)
    publish(world.parts)

    assert before == world.everything()
    assert [] == world.new_calls()
    assert 21 == len(outcomes)
    assert {State.LOADED, State.EMPTY, State.REFUSED, State.FAILED} >= {
        outcome.state for outcome in outcomes
    }


def test_replay_of_what_stands(world: World) -> None:
    """A replay of a good record adds nothing to it."""
    world.load()
    before = world.everything()

    outcomes = replay_days(world.parts, world.names, world.days)

    assert not publish(world.parts).is_new_file
    assert before == world.everything()
    assert not any(outcome.is_new_revision for outcome in outcomes)


def test_replay_of_days_that_were_never_asked(world: World) -> None:
    """A day without answers is told as such, with the command that would ask."""
    (outcome,) = replay_days(world.parts, ["app_0000"], [DAY])

    assert (None, "no answer is stored") == (outcome.state, outcome.problem)
    assert f"pushloss load {DAY} {DAY} --app app_0000" in outcome.advice


def test_hold_and_accept(world: World) -> None:
    """An empty answer for a day with rows takes them away only when it is accepted."""
    script(world, "app_0000", a_body({"1": 5}), a_body({}), a_body({}))
    world.load(["app_0000"], [DAY])
    (held,) = world.load(["app_0000"], [DAY])
    assert [(2,)] == world.rows("select count(*) from push_loss")

    accepted = accept_day(world.parts, "app_0000", DAY)
    publish(world.parts)

    assert (State.HELD, False) == (held.state, held.is_done)
    assert f"pushloss accept {DAY} --app app_0000" in held.advice
    assert (State.EMPTY, 2, "") == (accepted.state, accepted.revision, accepted.problem)
    assert [(0,)] == world.rows("select count(*) from push_loss")
    assert [("empty", 2, 0)] == world.rows(
        "select state, revision, row_count from push_loss_days"
    )


def test_an_acceptance_can_be_taken_back(world: World) -> None:
    """The rows stand again, the day waits for its decision, and a replay keeps it."""
    script(world, "app_0000", a_body({"1": 5}), a_body({"1": 6}), a_body({}))
    for _ in range(3):
        world.load(["app_0000"], [DAY])
    before = world.rows("from push_loss")
    accept_day(world.parts, "app_0000", DAY)

    outcome = undo_acceptance(world.parts, "app_0000", DAY)
    publish(world.parts)
    restored = world.everything()
    forget_what_is_derived(world)
    replay_days(world.parts, ["app_0000"], [DAY])
    publish(world.parts)

    assert (State.HELD, 4, 2) == (outcome.state, outcome.revision, outcome.row_count)
    assert restored == world.everything()
    (revision,) = {row[-2] for row in restored["push_loss"]}
    assert 4 == revision
    assert [(*row[:-2], row[-1]) for row in before] == [
        (*row[:-2], row[-1]) for row in restored["push_loss"]
    ]


def test_a_wrong_acceptance_leaves_no_trace_in_a_days_age(world: World) -> None:
    """Taken back, a day was last asked well when it was before the empty answer."""
    world.load(["app_0000"], [DAY])
    world.later(days=4)
    script(world, "app_0000", a_body({}))
    world.load(["app_0000"], [DAY])
    young = "select is_young from push_loss_days"
    before = world.rows(young)

    accept_day(world.parts, "app_0000", DAY)
    publish(world.parts)
    accepted = world.rows(young)
    undo_acceptance(world.parts, "app_0000", DAY)
    publish(world.parts)

    assert ([(True,)], [(False,)]) == (before, accepted)
    assert before == world.rows(young)


def test_replay_keeps_the_acceptance(world: World) -> None:
    """An acceptance is part of the record: a replay from nothing keeps it."""
    script(world, "app_0000", a_body({"1": 5}), a_body({}))
    world.load(["app_0000"], [DAY])
    world.load(["app_0000"], [DAY])
    accept_day(world.parts, "app_0000", DAY)
    publish(world.parts)
    before = world.everything()
    forget_what_is_derived(world)

    (outcome,) = replay_days(world.parts, ["app_0000"], [DAY])
    publish(world.parts)

    assert (State.EMPTY, 2) == (outcome.state, outcome.revision)
    assert before == world.everything()


def test_as_it_stood(world: World) -> None:
    """push_loss_as_of shows the table of each earlier day."""
    seen = []
    for _ in range(3):
        world.load(["app_0000"])
        publish(world.parts)
        seen.append(
            (world.parts.clock(), sorted(world.rows("from push_loss"), key=repr))
        )
        world.later(days=1)

    assert 3 == len({repr(rows) for _, rows in seen})
    for moment, rows in seen:
        assert rows == sorted(
            world.rows("from push_loss_as_of($moment)", moment=moment), key=repr
        )


def test_bodies_as_received(world: World) -> None:
    """The stored body is the body that was sent, byte for byte, whatever it is."""
    bodies = [bytes(range(256)), b"", b"\x1f\x8b no gzip", "数据".encode() * 999, b"{"]
    world.simulator.script(
        [
            {
                "day": str(day),
                "body_base64": base64.b64encode(body).decode(),
                "times": 5,
            }
            for day, body in zip(world.days, bodies, strict=False)
        ]
    )
    world.load(["app_0000"])

    for day, body in zip(world.days, bodies, strict=False):
        assert {body} == {answer.body for answer in world.answers("app_0000", day)}


def test_days_of_two_months(world: World) -> None:
    """A week across the end of a month is one week."""
    world.now -= timedelta(days=9)

    world.load()

    assert {2, 3} == {day.month for day in world.days}
    assert world.truth() == world.loaded()


def test_awkward_data_folder(world: World) -> None:
    """The data folder may have any name."""
    world.reconfigure('data_dir = "data"', 'data_dir = "it\'s 数据 100%"')
    world.load(["app_0000"], [DAY])

    assert "it's 数据 100%" == world.data.name
    assert world.truth(["app_0000"], [DAY]) == world.loaded()
    assert (world.data / "lake" / "push_loss_revisions" / "_delta_log").is_dir()
