"""What happens to a small world, in any order, a small model foretells."""

import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, ClassVar

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import pushloss_pipeline.asking as asking_module
from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.domain.errors import UsageError
from pushloss_pipeline.simulator.scenario import Scenario, many_apps
from pushloss_pipeline.simulator.server import SimulatorHandle, running
from pushloss_pipeline.steps import (
    accept_day,
    load_days,
    publish,
    replay_days,
    undo_acceptance,
)
from pushloss_pipeline.upkeep import examine, tidy
from tests.builders import a_body
from tests.trust.made_up import effort
from tests.trust.reliability import tell
from tests.world import World, another_world, secret_variable

APPS = many_apps(2, seed=7)
NAMES = tuple(app.name for app in APPS)
RETENTION = timedelta(days=8)
"""From a day's beginning on: the API tells of seven days beside today."""

Losses = tuple[tuple[str, int], ...]
"""Code and count."""
Event = Losses | str
"""The losses that an answer told, or what else befell the day."""


def foretold(events: Sequence[Event]) -> tuple[str | None, list[tuple[str, Losses]]]:
    """The state of a day after these events, and its revisions with their cause."""
    state: str | None = None
    revisions: list[tuple[str, Losses]] = []
    for event in events:
        stands = revisions[-1][1] if revisions else None
        if isinstance(event, tuple):
            if stands and not event:
                state = "held"
                continue
            state = "loaded" if event else "empty"
            revisions += [("answered", event)] if event != stands else []
        elif event in ("failed", "refused") and state != "held":
            state = event
        elif event == "expired" and (not revisions or state in ("failed", "refused")):
            state = "loaded" if stands else "expired" if stands is None else "empty"
        elif event == "accepted" and state == "held":
            state, revisions = "empty", [*revisions, (event, ())]
        elif event == "restored" and stands == () and len(revisions) > 1:
            lost = next(told for _, told in reversed(revisions) if told)
            state, revisions = "held", [*revisions, (event, lost)]
    return state, revisions


some_losses: st.SearchStrategy[Losses] = st.sampled_from(
    [(), (), (("1", 1),), (("1", 2),), (("1", 1), ("410", 3)), (("410", 3),)]
)
Reply = tuple[Event, dict[str, Any]]
"""What an answer does to its day, and the simulator's script for it."""
TROUBLE: list[Reply] = [
    ("failed", {"http_status": 503}),
    ("failed", {"close": True}),
    ("failed", {"error_code": 60008}),
    ("failed", {"error_code": 99999}),
    ("refused", {"error_code": 90001}),
    ("refused", {"body": "<html>"}),
]
STOP: Reply = ("refused", {"error_code": 70020})
"""After such an answer the app's other days are not asked."""
answers: st.SearchStrategy[Reply] = some_losses.map(
    lambda losses: (losses, {"body": a_body(dict(losses)).decode()})
)
replies = answers | st.sampled_from([*TROUBLE, STOP])
names = st.sampled_from([*NAMES, None])

KILLED_AT = {
    "Lake.append_answers": "before answers are stored",
    "Lake.append_entries": "before stored answers are judged",
    "Warehouse.publish": "before judged days are published",
    "Warehouse._replace_published": "before the published file is replaced",
}


points = st.sampled_from([*KILLED_AT])


def load_until_killed(
    folder: Path, now: datetime, name: str, days: Sequence[date], point: str
) -> None:
    """Load and publish in a process that dies where it would call `point`."""

    def die(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_qualname == point:
            os.kill(os.getpid(), signal.SIGKILL)

    for app in APPS:
        os.environ[secret_variable(app)] = app.secret_key
    asking_module.GATHER_SECONDS = 60.0  # all answers come in one batch
    world = World(folder, None, APPS, now=now)  # type: ignore[arg-type]
    threading.setprofile(die)
    sys.setprofile(die)
    load_days(world.parts, [name], days)
    publish(world.parts)


class SmallWorld(RuleBasedStateMachine):
    """Two apps and three days: what is done to them, and what must come of it."""

    simulator: ClassVar[SimulatorHandle]
    tally: ClassVar[Counter[str]]
    context: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.world = another_world(self.simulator, Path(self.folder.name), APPS)
        self.days = [self.world.days[position] for position in (0, 2, 6)]
        self.keys = [(name, day) for name in NAMES for day in self.days]
        self.events: dict[tuple[str, date], list[Event]] = {k: [] for k in self.keys}
        self.judged = dict.fromkeys(self.keys, 0)
        self.shown: dict[tuple[str, date], list[Event]] | None = None
        self.compared: tuple[int, int] | None = None
        self.tally["worlds"] += 1

    @initialize(data=st.data())
    def begin(self, data: Any) -> None:
        """All days are asked for once."""
        self.load(data, None, only_missing=False, publishes=True)

    def teardown(self) -> None:
        """In the end, a replay and a look at everything find nothing to mend."""
        try:
            self.replay(None)
            findings = list(examine(self.world.parts, repair=False))
            assert [] == [text for finding in findings for text in finding.wrong]
            self.compare()
        finally:
            self.folder.cleanup()

    @rule(
        data=st.data(), name=names, only_missing=st.booleans(), publishes=st.booleans()
    )
    def load(
        self,
        data: Any,
        name: str | None,
        only_missing: bool,
        publishes: bool,
        replies: st.SearchStrategy[Reply] = replies,
    ) -> None:
        """Days are asked for; what the API says of each is new."""
        done = ("loaded", "empty")
        keys = [
            key
            for key in self.keys_of(name)
            if not (only_missing and self.state(key) in done)
        ]
        said = self.script(data, keys, replies)
        load_days(
            self.world.parts, self.names(name), self.days, only_missing=only_missing
        )
        self.tally["loads"] += 1
        for key in keys:
            if key in said or self.is_forgotten(key):
                self.judge(key, *said.get(key, []))
            if self.is_forgotten(key) and self.state(key) in (
                None,
                "failed",
                "refused",
            ):
                self.judge(key, "expired")
                self.tally["days forgotten by the API"] += 1
        self.publish() if publishes else None

    @rule(data=st.data(), name=names)
    def load_what_is_told_or_not(self, data: Any, name: str | None) -> None:
        """An app is loaded while the API has rows of one day and none of another."""
        self.load(data, name, only_missing=False, publishes=False, replies=answers)

    @rule(data=st.data(), name=st.sampled_from(NAMES), point=points)
    def kill_a_load(self, data: Any, name: str, point: str) -> None:
        """A load is killed at some point on its way; what it has stored stays."""
        keys = [key for key in self.keys_of(name) if not self.is_forgotten(key)]
        if not keys:
            return
        said = self.script(data, keys, replies)
        process = self.context.Process(
            target=load_until_killed,
            args=(self.world.folder, self.world.now, name, [k[1] for k in keys], point),
        )
        process.start()
        process.join(120)
        assert process.exitcode in (0, -signal.SIGKILL)
        self.tally[f"loads killed {KILLED_AT[point]}"] += process.exitcode != 0
        self.world.later(seconds=10)
        if point != "Lake.append_answers":
            for key in keys:
                self.events[key] += said.get(key, [])
                if point != "Lake.append_entries":
                    self.judge(key)
        if process.exitcode == 0:
            self.take_as_published()

    @rule(name=names)
    def replay(self, name: str | None) -> None:
        """Days are rebuilt from their answers; what was judged stays as it is."""
        keys = self.keys_of(name)
        is_judged = all(self.judged[key] == len(self.events[key]) for key in keys)
        outcomes = replay_days(self.world.parts, self.names(name), self.days)
        self.tally["replays"] += 1
        for key in keys:
            self.judge(key)
        self.publish()

        assert not (is_judged and any(o.is_new_revision for o in outcomes))
        assert [self.state(key) for key in keys] == [
            outcome.state
            for key in keys
            for outcome in outcomes
            if key == (outcome.app, outcome.loss_date)
        ]

    @rule(data=st.data(), publishes=st.booleans())
    def accept(self, data: Any, publishes: bool) -> None:
        """A person accepts the empty answer of a day, where one is held."""
        held = [key for key in self.keys if self.state(key) == "held"]
        key = data.draw(st.sampled_from(held or self.keys))
        if held:
            self.judge(key, "accepted")
        if held and self.state(key) == "empty":
            accept_day(self.world.parts, *key)
            self.tally["empty answers accepted"] += 1
        else:
            with pytest.raises(UsageError):
                accept_day(self.world.parts, *key)
        self.publish() if publishes else None

    @rule(data=st.data(), publishes=st.booleans())
    def take_back(self, data: Any, publishes: bool) -> None:
        """A person takes an acceptance back, where it is the newest revision."""
        accepted = [key for key in self.keys if self.newest_cause(key) == "accepted"]
        key = data.draw(st.sampled_from(accepted or self.keys))
        if accepted:
            self.judge(key, "restored")
        if accepted and self.state(key) == "held":
            undo_acceptance(self.world.parts, *key)
            self.tally["acceptances taken back"] += 1
        else:
            with pytest.raises(UsageError):
                undo_acceptance(self.world.parts, *key)
        self.publish() if publishes else None

    @rule(hours=st.sampled_from([1, 12, 24, 72]))
    def time_goes_by(self, hours: int) -> None:
        """Days grow old, and the API forgets them."""
        self.world.later(hours=hours)

    @rule()
    def publish(self) -> None:
        """The published file is brought up to date."""
        publish(self.world.parts)
        self.take_as_published()
        self.tally["publications"] += 1

    @rule(lost=st.sampled_from(["work.duckdb", "warehouse.duckdb", "lake", None]))
    def lose_what_is_derived(self, lost: str | None) -> None:
        """A derived file or all revisions are lost, or the record is tidied."""
        if lost is None:
            tidy(self.world.parts)
            self.tally["tidyings"] += 1
            return
        self.tally["derived files lost"] += 1
        if lost == "lake":
            shutil.rmtree(self.world.data / lost / "push_loss_revisions", True)
            self.judged = dict.fromkeys(self.keys, 0)
            self.replay(None)
        else:
            (self.world.data / lost).unlink(missing_ok=True)
            self.publish()

    @invariant()
    def compare(self) -> None:
        """The published tables are what the model foretold when they were published."""
        if self.shown is None:
            return
        seen = id(self.shown), (self.world.data / "warehouse.duckdb").stat().st_ino
        if seen == self.compared:
            return
        self.compared = seen
        told = {key: foretold(events) for key, events in self.shown.items() if events}
        days, history, newest, stands, as_of = (
            list(rows.rows)
            for rows in Warehouse(self.world.data).query_all(
                [DAYS, HISTORY, NEWEST, STANDS, AS_OF],
                {"now": self.world.parts.clock()},
            )
        )

        assert days == sorted(
            (*key, state, len(revisions), 2 * len(losses), sum(n for _, n in losses))
            for key, (state, revisions) in told.items()
            for losses in [revisions[-1][1] if revisions else ()]
        )
        assert history == sorted(
            (*key, number, code, count, number == len(revisions))
            for key, (_, revisions) in told.items()
            for number, (_, losses) in enumerate(revisions, 1)
            for code, count in losses
        )
        assert [row for row in history if row[-1]] == newest
        assert stands == as_of

    def names(self, name: str | None) -> tuple[str, ...]:
        """This app, or all."""
        return (name,) if name else NAMES

    def keys_of(self, name: str | None) -> list[tuple[str, date]]:
        """The days of this app, or of all."""
        return [key for key in self.keys if key[0] in self.names(name)]

    def state(self, key: tuple[str, date]) -> str | None:
        """What the record should say of a day."""
        return foretold(self.events[key][: self.judged[key]])[0]

    def newest_cause(self, key: tuple[str, date]) -> str | None:
        """What the newest revision of a day came by."""
        _, revisions = foretold(self.events[key][: self.judged[key]])
        return revisions[-1][0] if revisions else None

    def is_forgotten(self, key: tuple[str, date]) -> bool:
        """Whether the API tells no more of a day; in UTC, it begins the day before."""
        begins = datetime.combine(key[1], datetime.min.time(), self.world.now.tzinfo)
        return self.world.now >= begins - timedelta(hours=8) + RETENTION

    def script(
        self,
        data: Any,
        keys: Sequence[tuple[str, date]],
        replies: st.SearchStrategy[Reply],
    ) -> dict[tuple[str, date], list[Event]]:
        """Let the API say something of each day that will be asked; what it says."""
        said: dict[tuple[str, date], list[Event]] = {}
        rules, stopped = [], set()
        for name, day in keys:
            if name not in stopped and not self.is_forgotten((name, day)):
                event, answer = data.draw(replies)
                number = self.world.number_of(name)
                rules.append({"sdk_app_id": number, "day": str(day), **answer})
                said[name, day] = [event]
                stopped |= {name} if answer is STOP[1] else set()
        self.world.simulator.script([{**each, "times": None} for each in rules])
        return said

    def judge(self, key: tuple[str, date], *events: Event) -> None:
        """All that befell a day is judged, these last."""
        self.events[key] += events
        self.judged[key] = len(self.events[key])

    def take_as_published(self) -> None:
        """What is judged is published; a day that failed and is forgotten, as such."""
        self.shown = {
            key: [
                *events[: self.judged[key]],
                *(["expired"] if self.is_forgotten(key) and self.judged[key] else []),
            ]
            for key, events in self.events.items()
        }


COUNTED = (
    *("worlds", "loads", "replays", "publications", "empty answers accepted"),
    *("acceptances taken back", "days forgotten by the API", "tidyings"),
    *("derived files lost", *(f"loads killed {when}" for when in KILLED_AT.values())),
    "differences from the model",
)
DAYS = """
    select app, loss_date, state, revision, row_count, overall_count
    from push_loss_days
    order by all
"""
HISTORY = """
    select app, loss_date, revision, err_code, err_count, superseded_at is null
    from push_loss_history
    where scope = 'overall'
    order by all
"""
NEWEST = """
    select app, loss_date, revision, err_code, err_count, true
    from push_loss
    where scope = 'overall'
    order by all
"""
STANDS = "from push_loss order by all"
AS_OF = "from push_loss_as_of($now) order by all"


@pytest.fixture(scope="module")
def tally() -> Counter[str]:
    """What was done in this file."""
    return Counter()


@pytest.fixture(scope="module")
def small_world(tally: Counter[str]) -> Iterator[type[SmallWorld]]:
    """Small worlds on one simulator, with processes to kill."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trust.test_states"])
    with (
        pytest.MonkeyPatch.context() as environment,
        running(Scenario(7, APPS), calls_per_second=None) as simulator,
    ):
        for app in APPS:
            environment.setenv(secret_variable(app), app.secret_key)
        SmallWorld.simulator, SmallWorld.tally = simulator, tally
        SmallWorld.context = context
        yield SmallWorld


class Told:
    """Says, over and over, what a test wants in place of what hypothesis draws."""

    def __init__(self, *replies: object) -> None:
        self._replies = itertools.cycle(replies)

    def draw(self, strategy: object) -> Any:
        """The next reply."""
        return next(self._replies)


def an_answer(*losses: tuple[str, int]) -> Reply:
    """An OK answer that tells these losses."""
    return losses, {"body": a_body(dict(losses)).decode()}


def test_everything_once(small_world: type[SmallWorld]) -> None:
    """A day is loaded, held, accepted, brought back, killed, replayed and forgotten."""
    first, second = NAMES
    world = small_world()
    held = first, world.days[0]
    try:
        world.begin(Told(an_answer(("1", 1), ("410", 2))))
        world.load(Told(an_answer(), an_answer(("1", 2)), *TROUBLE), None, False, True)
        world.compare()
        for decide in (world.accept, world.take_back, world.accept):
            decide(Told(held), publishes=True)
            world.compare()
        for number, point in enumerate(KILLED_AT):
            replies = Told(an_answer(("1", number)), TROUBLE[-1], an_answer())
            world.kill_a_load(replies, second, point)
            world.compare()
        world.load(Told(*TROUBLE, STOP), None, only_missing=True, publishes=True)
        world.compare()
        world.take_back(Told(held), publishes=False)
        world.time_goes_by(72)
        world.load(Told(an_answer()), None, only_missing=True, publishes=True)
        world.compare()
        for lost in ("work.duckdb", "warehouse.duckdb", "lake", None):
            world.lose_what_is_derived(lost)
            world.compare()
    finally:
        world.teardown()

    assert all(small_world.tally[what] for what in COUNTED[:-1])


@pytest.mark.parametrize("is_long", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_small_worlds(small_world: type[SmallWorld], is_long: bool) -> None:
    """Loads, kills, replays and people's decisions, in any order, end as foretold."""
    options = {"stateful_step_count": 12, "phases": [Phase.generate]}
    run_state_machine_as_test(
        small_world, settings=effort(2, 40, is_long=is_long, **options)
    )


def test_told(tally: Counter[str]) -> None:
    """docs/reliability.md tells what was done; it needs the whole file to be run."""
    assert tally["worlds"]
    tell(
        "states",
        [{"in all worlds": what, "times": tally[what]} for what in COUNTED],
        measured=["times"],
    )
