"""What the steps ask, keep, refuse and tell."""

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from deltalake import DeltaTable

from pushloss_pipeline import asking as asking_module
from pushloss_pipeline import steps as steps_module
from pushloss_pipeline.domain.errors import (
    ConfigurationError,
    StoreError,
    UsageError,
)
from pushloss_pipeline.domain.model import Outcome
from pushloss_pipeline.domain.verdict import State
from pushloss_pipeline.domain.window import day_window
from pushloss_pipeline.overview import day_figures, unfinished_days
from pushloss_pipeline.simulator.scenario import many_apps
from pushloss_pipeline.steps import (
    DayOutcome,
    accept_day,
    days_between,
    load_days,
    probe,
    publish,
    replay_days,
    require_a_key,
    require_same_days,
    undo_acceptance,
)
from tests.builders import a_body, an_answer
from tests.world import THREE_APPS, World, WorldBuilder, fault, secret_variable

DAY = date(2026, 3, 11)
FIRST, SECOND, THIRD = (app.name for app in THREE_APPS)
STATES = "select app, loss_date, state, revision from push_loss_days order by all"


def told(outcomes: Sequence[DayOutcome]) -> list[tuple[str, date, State | None]]:
    """App, day and state of the outcomes that need somebody."""
    return sorted((o.app, o.loss_date, o.state) for o in outcomes if not o.is_done)


def test_days_between(world: World) -> None:
    """Both ends belong to the days."""
    first = DAY - timedelta(days=2)

    assert (first, first + timedelta(days=1), DAY) == days_between(
        world.parts, first, DAY
    )
    assert (DAY,) == days_between(world.parts, DAY, DAY)


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        (date(2026, 3, 12), date(2026, 3, 12), "is not over .* newest .* 2026-03-11"),
        (date(2026, 3, 1), date(2026, 4, 1), "2026-04-01 is not over"),
        (date(2025, 12, 31), DAY, "before start_date 2026-01-01 of .*pushloss.toml"),
        (DAY, date(2026, 3, 10), "2026-03-11 is after 2026-03-10"),
        (date.max, date.max, "9999-12-31 is not over"),
        (date.min, date.min, "0001-01-01 is before start_date"),
    ],
    ids=[
        *("not over", "in the future", "before the start", "reversed"),
        *("the last day of all", "the first day of all"),
    ],
)
def test_days_refused(world: World, first: date, last: date, reason: str) -> None:
    """Days that cannot be asked for are refused before any call."""
    with pytest.raises(UsageError, match=reason):
        days_between(world.parts, first, last)

    assert [] == world.new_calls()


def test_day_is_over_at_midnight(world: World) -> None:
    """A day may be asked for from its last instant on."""
    world.now = datetime(2026, 3, 12, 15, 59, 59, tzinfo=UTC)
    with pytest.raises(UsageError, match="not over"):
        days_between(world.parts, date(2026, 3, 12), date(2026, 3, 12))
    world.later(seconds=1)

    assert days_between(world.parts, date(2026, 3, 12), date(2026, 3, 12))


def test_one_bad_day(world: World) -> None:
    """One app that fails on one day is told; the rest loads, that day's too."""
    bad = DAY - timedelta(days=2)
    world.simulator.script([fault(world, SECOND, day=str(bad), error_code=90100)])

    outcomes = world.load()

    assert [(SECOND, bad, State.REFUSED)] == told(outcomes)
    assert 20 == len(world.rows("select distinct app, loss_date from push_loss"))
    assert 21 == len(world.rows(STATES))
    (outcome,) = (o for o in outcomes if not o.is_done)
    assert "refused: 90100" in outcome.problem


def test_only_missing(world: World) -> None:
    """With only_missing just the days that are not done are asked for."""
    bad = DAY - timedelta(days=2)
    world.simulator.script([fault(world, SECOND, day=str(bad), error_code=90100)])
    world.load(days=world.days[1:])
    world.new_calls()

    outcomes = world.load(only_missing=True)

    asked = {(world.number_of(SECOND), bad)}
    asked |= {(app.sdk_app_id, world.days[0]) for app in world.apps}
    assert asked == set(world.new_calls())
    assert 4 == len(outcomes)
    assert [] == told(outcomes)
    assert world.truth() == world.loaded()
    assert () == world.load(only_missing=True)


def test_only_missing_leaves_empty_days_alone(world: World) -> None:
    """A day that is empty is done; one that is held is not."""
    world.simulator.script(
        [
            fault(world, FIRST, empty=True),
            fault(world, SECOND, body=a_body({"1": 1}).decode()),
            fault(world, SECOND, empty=True),
        ]
    )
    world.load([FIRST, SECOND], [DAY])
    world.load([SECOND], [DAY])
    world.new_calls()
    world.load([FIRST, SECOND], [DAY], only_missing=True)

    assert [(world.number_of(SECOND), DAY)] == world.new_calls()


def test_days_of_an_app_come_in_order(world: World) -> None:
    """One app's days are asked for one after the other, as given."""
    world.load()
    calls = world.new_calls()

    for app in world.apps:
        assert list(world.days) == [
            day for number, day in calls if number == app.sdk_app_id
        ]


def test_retries_are_counted_and_kept(world: World) -> None:
    """Every attempt is a call and an answer in the record; only the last one counts."""
    world.load([FIRST], [DAY])
    before = world.everything()
    world.simulator.script([{"error_code": 60008}, {"http_status": 502}])

    (outcome,) = world.load([FIRST], [DAY])

    assert (State.LOADED, 3, False) == (
        outcome.state,
        outcome.calls,
        outcome.is_new_revision,
    )
    assert [1, 1, 2, 3] == [a.attempt for a in world.answers(FIRST, DAY)]
    assert before == world.everything()


FAULTS = {
    "network": ({"close": True, "times": 5}, State.FAILED, 5),
    "server": ({"http_status": 503, "times": 5}, State.FAILED, 5),
    "empty body": ({"body": "", "times": 5}, State.FAILED, 5),
    "HTTP 500 with code 0": (
        {"http_status": 500, "body": a_body({}).decode(), "times": 5},
        State.FAILED,
        5,
    ),
    "busy": ({"error_code": 60008, "times": 5}, State.FAILED, 5),
    "unknown code": ({"error_code": 4711}, State.FAILED, 1),
    "configuration": ({"error_code": 70020}, State.REFUSED, 1),
    "no JSON": ({"body": "<html>", "times": 5}, State.REFUSED, 5),
    "unreadable": ({"body": a_body({}, ReadyToSendLoss=7).decode()}, State.REFUSED, 1),
}


@pytest.mark.parametrize(("rule", "state", "calls"), FAULTS.values(), ids=FAULTS.keys())
def test_fault(world: World, rule: dict[str, Any], state: State, calls: int) -> None:
    """Whatever is wrong with an answer, it is kept, and told with what to do."""
    world.simulator.script([rule])
    (outcome,) = world.load([FIRST], [DAY])

    assert (state, calls, 0) == (outcome.state, outcome.calls, outcome.revision)
    assert outcome.problem.startswith(f"{state.value}: ")
    assert outcome.advice
    assert calls == len(world.answers(FIRST, DAY))
    assert [(FIRST, DAY, state.value, 0)] == world.rows(STATES)

    (mended,) = world.load([FIRST], [DAY], only_missing=True)
    assert (State.LOADED, 1) == (mended.state, mended.revision)


def test_rows_stand_through_faults(world: World) -> None:
    """A day keeps its rows while its newest answers are refused."""
    world.load([FIRST], [DAY])
    rows = world.loaded()
    world.simulator.script([{"error_code": 90100}])
    (outcome,) = world.load([FIRST], [DAY])

    assert (State.REFUSED, 1, len(rows)) == (
        outcome.state,
        outcome.revision,
        outcome.row_count,
    )
    assert rows == world.loaded()


def test_answers_are_stored_before_they_are_judged(world: World) -> None:
    """What came is in the record though nothing of it could be judged."""
    (world.data / "lake").mkdir(parents=True)
    (world.data / "lake" / "push_loss_revisions").write_text("not a table")

    with pytest.raises(StoreError, match="push_loss_revisions"):
        load_days(world.parts, [FIRST], [DAY])

    assert 1 == len(world.answers(FIRST, DAY))
    (world.data / "lake" / "push_loss_revisions").unlink()
    world.new_calls()
    (outcome,) = replay_days(world.parts, [FIRST], [DAY])
    assert (State.LOADED, []) == (outcome.state, world.new_calls())


def test_answers_left_behind_are_judged_first(world: World) -> None:
    """What a killed walk stored and did not judge is a revision of its own later."""
    load_days(world.parts, [FIRST], [DAY], build=False)
    world.later(hours=8)

    (outcome,) = world.load([FIRST], [DAY])

    assert (2, True) == (outcome.revision, outcome.is_new_revision)
    assert [(1,), (2,)] == world.rows(
        "select distinct revision from push_loss_history order by revision"
    )


def test_without_build(world: World) -> None:
    """Without build the answers are stored, and no table changes."""
    outcomes = load_days(world.parts, world.names, world.days, build=False)
    publish(world.parts)

    assert {State.LOADED} == {outcome.state for outcome in outcomes}
    assert [] == world.rows(STATES)
    assert 1 == len(world.answers(FIRST, DAY))


def test_outcomes_are_told_as_they_come(world: World) -> None:
    """The listener hears each outcome once, in the thread that asked."""
    heard: list[DayOutcome] = []
    threads = set()

    def listen(outcome: DayOutcome) -> None:
        heard.append(outcome)
        threads.add(threading.current_thread())

    world.simulator.script([fault(world, FIRST, error_code=70020)])
    outcomes = world.load(on_outcome=listen)

    assert list(outcomes) == heard
    assert {threading.current_thread()} == threads


def test_refused_app_is_left_alone(world: World) -> None:
    """After a refusal of the app its later days are not asked for, but told."""
    world.simulator.script([fault(world, SECOND, error_code=70020, times=None)])

    outcomes = world.load()

    calls = [
        day for number, day in world.new_calls() if number == world.number_of(SECOND)
    ]
    assert [world.days[0]] == calls
    bad = told(outcomes)
    assert (SECOND, world.days[0], State.REFUSED) == bad[0]
    assert [(SECOND, day, None) for day in world.days[1:]] == bad[1:]
    assert {f"not asked: {SECOND} was refused on {world.days[0]} (70020)"} == {
        outcome.problem for outcome in outcomes if outcome.state is None
    }
    assert 14 == sum(outcome.is_done for outcome in outcomes)


def test_unasked_days_keep_their_state(world: World) -> None:
    """A day that was not asked for tells what stands for it."""
    world.load([FIRST])
    world.simulator.script([{"error_code": 70020, "times": None}])

    outcomes = world.load([FIRST])

    assert [State.REFUSED] + [State.LOADED] * 6 == [o.state for o in outcomes]
    assert {1} == {outcome.revision for outcome in outcomes}
    assert not any(outcome.is_done for outcome in outcomes)
    assert world.truth([FIRST]) == world.loaded()


def test_refusal_of_one_day_stops_nothing(world: World) -> None:
    """A refusal that is about the day lets the app's next days be asked for."""
    world.simulator.script([{"error_code": 90100}])

    outcomes = world.load([FIRST])

    assert 7 == len(world.new_calls())
    assert [(FIRST, world.days[0], State.REFUSED)] == told(outcomes)


def test_daily_cap(world: World) -> None:
    """An app over its daily cap is asked again only tomorrow, by any process."""
    world.simulator.script([fault(world, FIRST, error_code=60028)])
    first = world.load([FIRST, SECOND])
    assert 8 == len(world.new_calls())
    assert 7 == len(told(first))

    world.now = datetime(2026, 3, 12, 15, 59, 59, tzinfo=UTC)
    second = world.load([FIRST, SECOND], only_missing=True)
    assert [] == world.new_calls()
    assert 7 == len(second)
    assert all("daily cap" in outcome.problem for outcome in second)

    world.later(seconds=1)
    world.load([FIRST], only_missing=True)
    assert 8 == len(world.days) + 1 == len({*world.new_calls()}) + 1


def test_missing_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app without its key is told with the variable to set; all others load."""
    monkeypatch.delenv(secret_variable(THREE_APPS[1]))

    outcomes = world.load()

    assert [(SECOND, day, None) for day in world.days] == told(outcomes)
    assert {secret_variable(THREE_APPS[1])} == {
        word
        for outcome in outcomes
        for word in outcome.problem.split()
        if word.startswith("PUSHLOSS_SECRET")
    }
    assert 14 == len(world.new_calls())
    assert world.truth([FIRST, THIRD]) == world.loaded()


@pytest.mark.parametrize("value", [None, "", " "])
def test_all_keys_missing(
    world: World, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Without any key nothing is asked: the configuration is wrong."""
    for app in THREE_APPS:
        monkeypatch.delenv(secret_variable(app))
        if value is not None:
            monkeypatch.setenv(secret_variable(app), value)

    with pytest.raises(ConfigurationError, match="PUSHLOSS_SECRET_APP_0000"):
        load_days(world.parts, world.names, world.days)

    assert [] == world.new_calls()


def test_require_a_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key of many will do; none at all will not."""
    monkeypatch.delenv(secret_variable(THREE_APPS[0]))

    require_a_key(world.settings, world.names)
    with pytest.raises(ConfigurationError, match=FIRST):
        require_a_key(world.settings, [FIRST])


def test_absurd_counts(world: World) -> None:
    """Counts that add up to more than a BIGINT keep nothing from being published."""
    absurd = a_body({"1": 2**63 - 1}).decode()
    numbers = [world.number_of(name) for name in (FIRST, SECOND)]
    world.simulator.script(
        [{"sdk_app_id": number, "body": absurd, "times": None} for number in numbers]
    )
    for _ in range(3):
        world.load([FIRST, SECOND])
        world.later(days=1)

    assert 2**63 - 1 == max(world.rows("select err_count from push_loss"))[0]
    assert 2**63 - 1 == day_figures(world.parts, DAY)["post_send_delivered_count"]
    assert [(2**63 - 1,)] == world.rows(
        "select max(final_count) from push_loss_maturity"
    )


def test_forgotten_days_are_never_asked(world: World) -> None:
    """A forgotten day is rebuilt from its answer, or expired, without a call."""
    loaded, failed, never = world.days[:3]
    world.simulator.script([fault(world, FIRST, day=str(failed), error_code=90100)])
    world.load([FIRST], [loaded, failed])
    rows = world.loaded()
    world.later(days=20)
    world.new_calls()

    outcomes = world.load([FIRST], [loaded, failed, never])

    assert [] == world.new_calls()
    assert [State.LOADED, State.EXPIRED, State.EXPIRED] == [
        outcome.state for outcome in sorted(outcomes, key=lambda o: o.loss_date)
    ]
    assert rows == world.loaded()
    assert {"nothing can bring it back"} == {
        outcome.advice.split("; ")[-1] for outcome in outcomes if not outcome.is_done
    }
    assert sorted(told(outcomes)) == sorted(told(world.load([FIRST], [failed, never])))


def test_forgotten_and_fresh_days(world: World) -> None:
    """A range may reach back over the days that the API still tells."""
    old = world.days[0] - timedelta(days=1)

    outcomes = world.load([FIRST], [old, *world.days])

    assert [(FIRST, old, State.EXPIRED)] == told(outcomes)
    assert list(world.days) == [day for _, day in world.new_calls()]
    assert world.truth([FIRST]) == world.loaded()


def test_forgotten_day_is_judged_at_last(world: World) -> None:
    """A stored answer that nobody has judged is judged when its day is loaded again."""
    load_days(world.parts, [FIRST], [DAY], build=False)
    rows = world.truth([FIRST], [DAY])
    world.later(days=20)

    (outcome,) = world.load([FIRST], [DAY])

    assert (State.LOADED, True) == (outcome.state, outcome.is_new_revision)
    assert rows == world.loaded()


@pytest.mark.parametrize("body", [{"1": 1}, {}], ids=["rows", "empty"])
def test_forgotten_day_that_failed_last(world: World, body: dict[str, int]) -> None:
    """A forgotten day whose last call failed is what its last good answer made it."""
    world.simulator.script(
        [{"body": a_body(body).decode()}, {"error_code": 60008, "times": 5}]
    )
    world.load([FIRST], [DAY])
    world.load([FIRST], [DAY])
    world.later(days=20)

    (outcome,) = world.load([FIRST], [DAY], only_missing=True)

    assert (State.LOADED if body else State.EMPTY, "") == (
        outcome.state,
        outcome.problem,
    )
    assert () == world.load([FIRST], [DAY], only_missing=True)


def test_expiry_without_a_load(world: World) -> None:
    """A day that failed is shown as expired once the API has forgotten it."""
    world.simulator.script([{"error_code": 90100}])
    world.load([FIRST], [DAY])
    world.later(days=20)
    publish(world.parts)

    assert [(FIRST, DAY, "expired", 0)] == world.rows(STATES)


@pytest.mark.parametrize("is_loaded", [True, False], ids=["loaded", "never asked"])
def test_nothing_to_accept(world: World, is_loaded: bool) -> None:
    """A day that is not held cannot be accepted, and says what it is."""
    if is_loaded:
        world.load([FIRST], [DAY])

    with pytest.raises(UsageError, match="loaded" if is_loaded else "never asked for"):
        accept_day(world.parts, FIRST, DAY)

    assert Outcome.ACCEPTED not in {a.outcome for a in world.answers(FIRST, DAY)}


@pytest.mark.parametrize("is_loaded", [True, False], ids=["loaded", "never asked"])
def test_nothing_to_take_back(world: World, is_loaded: bool) -> None:
    """Only an acceptance can be taken back; any other day says what it is."""
    if is_loaded:
        world.load([FIRST], [DAY])

    with pytest.raises(UsageError, match="loaded" if is_loaded else "never asked for"):
        undo_acceptance(world.parts, FIRST, DAY)

    assert Outcome.RESTORED not in {a.outcome for a in world.answers(FIRST, DAY)}


def test_rows_whose_answer_is_lost_cannot_come_back(world: World) -> None:
    """Where the answer is no longer stored, that is said and nothing changes."""
    world.load([FIRST], [DAY])
    files = {*(world.data / "lake" / "push_loss_responses").rglob("*.parquet")}
    world.simulator.script([{"empty": True}])
    world.load([FIRST], [DAY])
    accept_day(world.parts, FIRST, DAY)
    table = DeltaTable(str(world.data / "lake" / "push_loss_responses"))
    for path in files:
        path.unlink()
    table.repair()

    with pytest.raises(UsageError, match="no longer stored"):
        undo_acceptance(world.parts, FIRST, DAY)


def test_taken_back_too_late(world: World) -> None:
    """A day that has rows again keeps them, and says so."""
    rows, nothing = a_body({"1": 5}).decode(), a_body({}).decode()
    world.simulator.script([{"body": rows}, {"body": nothing}, {"body": rows}])
    world.load([FIRST], [DAY])
    world.load([FIRST], [DAY])
    accept_day(world.parts, FIRST, DAY)
    load_days(world.parts, [FIRST], [DAY], build=False)  # stored, not judged yet

    with pytest.raises(UsageError, match="meanwhile"):
        undo_acceptance(world.parts, FIRST, DAY)

    publish(world.parts)
    assert [(FIRST, DAY, "loaded", 3)] == world.rows(STATES)


@pytest.mark.parametrize(("count", "revision"), [(5, 1), (6, 2)], ids=["same", "other"])
def test_accepted_too_late(world: World, count: int, revision: int) -> None:
    """An acceptance that comes after a new answer changes nothing, and says so."""
    rows, nothing = a_body({"1": 5}).decode(), a_body({}).decode()
    again = a_body({"1": count}).decode()
    world.simulator.script([{"body": rows}, {"body": nothing}, {"body": again}])
    world.load([FIRST], [DAY])
    world.load([FIRST], [DAY])
    load_days(world.parts, [FIRST], [DAY], build=False)  # stored, not judged yet

    with pytest.raises(UsageError, match="meanwhile"):
        accept_day(world.parts, FIRST, DAY)

    publish(world.parts)
    assert [(FIRST, DAY, "loaded", revision)] == world.rows(STATES)


def test_empty_days_are_asked_again_where_told_so(world: World) -> None:
    """With `only_missing` an empty day is done, unless it may not have been ready."""
    world.simulator.script([{"empty": True, "times": None}])
    world.load([FIRST])
    world.new_calls()
    world.load([FIRST], only_missing=True)
    unasked = world.new_calls()
    world.simulator.script([])

    (outcome,) = world.load([FIRST], only_missing=True, empty_again=True)

    assert [] == unasked
    assert [(world.number_of(FIRST), DAY)] == world.new_calls()
    assert (State.LOADED, 2) == (outcome.state, outcome.revision)
    assert {SECOND: world.days} == {
        name: days
        for name, days in unfinished_days(world.parts).items()
        if name == SECOND
    }


def test_probe(world: World) -> None:
    """A probe makes one call for the newest complete day and stores nothing."""
    probed = probe(world.parts, FIRST)

    assert (FIRST, "", "", False) == (
        probed.app,
        probed.problem,
        probed.advice,
        probed.is_configuration,
    )
    assert [(world.number_of(FIRST), DAY)] == world.new_calls()
    assert not (world.data / "lake").exists()


@pytest.mark.parametrize(
    ("rule", "word", "is_configuration"),
    [
        ({"error_code": 70020}, "70020", True),
        ({"error_code": 60010}, "60010", True),
        ({"error_code": 60008, "times": 5}, "60008", False),
        ({"body": "<html>", "times": 5}, "not valid JSON", False),
        ({"close": True, "times": 5}, "connection", False),
    ],
    ids=["app", "permission", "busy", "no JSON", "network"],
)
def test_failed_probe(
    world: World, rule: dict[str, Any], word: str, is_configuration: bool
) -> None:
    """A failed probe says what is wrong, what to do, and whose fault it is."""
    world.simulator.script([rule])
    probed = probe(world.parts, FIRST)

    assert word in probed.problem
    assert probed.advice
    assert is_configuration == probed.is_configuration


def test_probe_without_a_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe without a key names the variable and calls nobody."""
    monkeypatch.delenv(secret_variable(THREE_APPS[0]))
    probed = probe(world.parts, FIRST)

    assert "PUSHLOSS_SECRET_APP_0000" in probed.problem
    assert probed.is_configuration
    assert [] == world.new_calls()


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_apps(world_of: WorldBuilder, count: int) -> None:
    """A day of many apps loads, with at least 32 calls at once in flight."""
    world = world_of(many_apps(count, seed=3))
    body, delay = a_body({"1": 5}).decode(), 0.25
    world.simulator.script([{"body": body, "delay_seconds": delay, "times": None}])

    outcomes = world.load(days=[DAY])

    assert count == len({outcome.app for outcome in outcomes if outcome.is_done})
    assert [(count, 2 * count)] == world.rows(
        "select count(distinct sdk_app_id), count(*) from push_loss"
    )
    starts = [call["arrived_at"] for call in world.simulator.served()]
    assert 32 <= max(
        sum(start <= moment < start + delay for start in starts) for moment in starts
    )


@pytest.mark.parametrize("at_once", [1, 2, 200])
def test_size_of_batches(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """However answers are batched, the tables are the same."""
    monkeypatch.setattr(asking_module, "GATHER_DAYS", at_once)
    monkeypatch.setattr(steps_module, "REPLAY_DAYS", at_once)

    outcomes = world.load(days=world.days[:2])
    replayed = replay_days(world.parts, world.names, world.days[:2])

    assert 6 == len(outcomes) == len(replayed)
    assert world.truth(days=world.days[:2]) == world.loaded()


def test_slow_answers_are_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has arrived is recorded while others are still on their way."""
    monkeypatch.setattr(asking_module, "GATHER_SECONDS", 0.01)
    world.simulator.script([fault(world, SECOND, delay_seconds=1.0)])
    order: list[str] = []
    world.load(
        [FIRST, SECOND], [DAY], on_outcome=lambda outcome: order.append(outcome.app)
    )

    assert [FIRST, SECOND] == order
    assert world.truth([FIRST, SECOND], [DAY]) == world.loaded()


def test_interrupted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C keeps all that has arrived; only_missing loads the rest."""
    monkeypatch.setattr(asking_module, "GATHER_SECONDS", 60.0)
    world.simulator.script([fault(world, SECOND, delay_seconds=30.0, times=None)])

    def interrupt() -> None:
        while len(world.simulator.served()) < 8:
            threading.Event().wait(0.02)
        threading.Event().wait(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        load_days(world.parts, [FIRST, SECOND], world.days)
    thread.join()
    publish(world.parts)

    assert world.truth([FIRST]) == world.loaded()
    world.simulator.clear_script()
    world.new_calls()
    world.load([FIRST, SECOND], only_missing=True)
    assert {world.number_of(SECOND)} == {number for number, _ in world.new_calls()}
    assert world.truth([FIRST, SECOND]) == world.loaded()


def test_interrupted_while_recording(world: World) -> None:
    """A walk that is cancelled while it records stores each answer once."""

    def listen(outcome: DayOutcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_days(world.parts, [FIRST], [DAY], on_outcome=listen)
    publish(world.parts)

    assert 1 == len(world.answers(FIRST, DAY))
    assert world.truth([FIRST], [DAY]) == world.loaded()


def test_unsafe_address(world: World) -> None:
    """Nothing is sent to an app whose address is not safe; all others load."""
    unsafe = world.settings.apps[FIRST].model_copy(
        update={"endpoint": "http://plain.example"}
    )
    parts = world.parts
    settings = parts.settings.model_copy(
        update={"apps": {**parts.settings.apps, FIRST: unsafe}}
    )
    parts = replace(parts, settings=settings)
    outcomes = load_days(parts, [FIRST, SECOND], world.days)

    assert [(FIRST, day, None) for day in world.days] == told(outcomes)
    assert 7 == len(world.new_calls())


def test_store_that_breaks_on_the_way(world: World) -> None:
    """A record that cannot be written ends the walk as what it is, not as a group."""
    (world.data / "lake").mkdir(parents=True)
    (world.data / "lake" / "push_loss_responses").write_text("not a table")

    with pytest.raises(StoreError, match="push_loss_responses"):
        load_days(world.parts, world.names, world.days)


def test_tidying_goes_with_publishing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing keeps the number of files of the record low."""
    monkeypatch.setattr("pushloss_pipeline.adapters.lake.MANY_FILES", 3)
    for _ in range(4):
        world.load([FIRST], [DAY])
        world.later(hours=7)
    world.load([FIRST], [DAY])

    responses = DeltaTable(str(world.data / "lake" / "push_loss_responses"))
    assert len(responses.file_uris()) < 3
    assert 5 == len(world.answers(FIRST, DAY))
    assert world.truth([FIRST], [DAY]) == world.loaded()


@pytest.mark.parametrize(
    ("zone", "is_the_same"),
    [
        ("Europe/London", True),
        ("Europe/Jersey", True),
        ("Africa/Abidjan", False),  # London's winter all year
        ("Europe/Paris", False),
    ],
)
def test_zones_are_told_apart_in_any_season(
    world: World, zone: str, is_the_same: bool
) -> None:
    """A zone that agrees in winter only is noticed by the days of a summer."""
    london = ZoneInfo("Europe/London")
    answers = []
    for number, day in enumerate([date(2025, 7, 1), date(2025, 12, 1)]):
        window = day_window(day, london)
        cut = {"window_start": window.start, "window_end": window.end}
        answers.append(an_answer(number, loss_date=day, **cut))
    with world.parts.lake.writing():
        world.parts.lake.append_answers(answers, now=world.now)
    world.reconfigure("start_date", f'timezone = "{zone}"\nstart_date')

    if is_the_same:
        require_same_days(world.parts)
    else:
        with pytest.raises(ConfigurationError, match="cuts 2025-"):
            require_same_days(world.parts)
