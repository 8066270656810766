"""What each fault of network and API does to a day, over real HTTP.

Every fault has two apps: one meets it once, the other for ever, on the first of two
days. Then the faults are gone, and what is missing is asked for again.
"""

import asyncio
import gzip
import logging
import multiprocessing
import os
import re
import resource
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from io import StringIO
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import pytest

from pushloss_pipeline.adapters.client import MAX_BRIEF_RETRIES, MAX_TRIES
from pushloss_pipeline.adapters.receiving import Timeouts
from pushloss_pipeline.domain.codes import Reaction
from pushloss_pipeline.domain.model import Answer, AppDay, Outcome
from pushloss_pipeline.simulator.faults import (
    AWAY_SECONDS,
    FAULTS,
    Asked,
    Fault,
    find_fault,
)
from pushloss_pipeline.simulator.respond import Answer as Told
from pushloss_pipeline.simulator.respond import render
from pushloss_pipeline.simulator.scenario import SimulatedApp, many_apps
from pushloss_pipeline.simulator.server import SimulatorHandle
from pushloss_pipeline.simulator.truth import LossCount
from pushloss_pipeline.steps import DayOutcome, load_days, publish
from tests.domain.test_codes import REACTIONS
from tests.trust import planted
from tests.trust.reliability import tell
from tests.world import Row, World, a_world, no_sleep, secret_variable

TRUTH = "the truth"
FIRST, SECOND = date(2026, 3, 10), date(2026, 3, 11)
DAYS = (FIRST, SECOND)
HASTY = Timeouts(connect_seconds=1.0, read_seconds=0.8, attempt_seconds=1.2)
"""For faults that only time ends."""
UNKNOWN_CODES = (1, 60001, 91001)
CODES = (*(code for code in REACTIONS if code), *UNKNOWN_CODES)

EXACT = "exact"
RETRIED = "retried, exact"
WARNED = "exact, with a warning"
COUNTS = "counts exact, texts not"
EMPTY = "empty, with a warning"
FAILED = "failed, named"
REFUSED = "refused, named"
STOPPED = "app stopped, named"

KEPT, MASKED, NONE, DROPPED = "kept", "kept, masked", "none", "dropped"


@dataclass(frozen=True)
class Stated:
    """What is to come of a fault: outcome and calls, met once and for ever."""

    once: tuple[str, int]
    for_ever: tuple[str, int]
    answer: str
    words: str = ""
    """What stands in the text that the operator reads."""


def passing(words: str, answer: str = NONE) -> Stated:
    """Of trouble that may pass."""
    return Stated((RETRIED, 2), (FAILED, MAX_TRIES), answer, words)


def garbled(words: str) -> Stated:
    """Of a body that may be another one the next time."""
    return Stated((RETRIED, 2), (REFUSED, MAX_TRIES), KEPT, words)


def final(outcome: str, words: str = "", answer: str = KEPT) -> Stated:
    """Of what no repetition changes."""
    return Stated((outcome, 1), (outcome, 1), answer, words)


QUICK = {
    "hang_up": passing("connection closed, or no HTTP spoken"),
    "reset": passing("connection reset before an answer came"),
    "reset_in_body": passing("connection cut off in the middle of the answer"),
    "cut_body": passing("connection cut off in the middle of the answer"),
    "cut_chunks": passing("connection cut off in the middle of the answer"),
    "pieces": final(EXACT),
    "no_http": passing("connection closed, or no HTTP spoken"),
    "http_500": passing("HTTP 500", KEPT),
    "http_502": passing("HTTP 502", KEPT),
    "http_503": passing("HTTP 503", KEPT),
    "http_429": passing("HTTP 429", KEPT),
    "http_404": final(FAILED, "HTTP 404"),
    "redirect": final(FAILED, "HTTP 302"),
    "truth_in_500": passing("HTTP 500, although ErrorCode is 0", KEPT),
    "html_200": garbled("not valid JSON"),
    "content_type": final(EXACT),
    "empty_body": passing("the answer was empty", KEPT),
    "invalid_json": garbled("not valid JSON"),
    "half_json": garbled("not valid JSON"),
    "nesting": garbled("nested too deeply"),
    "nesting_closed": garbled("nested too deeply"),
    "endless_head": passing("connection closed, or no HTTP spoken"),
    "gzip": final(EXACT),
    "gzip_damaged": passing("answer's compression is damaged"),
    "gzip_cut": passing("connection cut off in the middle of the answer"),
    "brotli": passing("answer in a compression that was not asked for"),
    "gbk": garbled("not UTF-8 text"),
    "utf16": garbled("not UTF-8 text"),
    "byte_order_mark": final(EXACT),
    "duplicate_key": final(REFUSED, 'the key "ErrCount" stands twice'),
    "numbers_as_text": final(WARNED, "text_number"),
    "codes_as_numbers": final(EXACT),
    "negative_count": final(REFUSED, "ErrCount is -3, not a whole number"),
    "fractional_count": final(REFUSED, "ErrCount is 2.5, not a whole number"),
    "exponent_count": final(REFUSED, "ErrCount is Infinity, not a whole number"),
    "nan_count": final(REFUSED, "NaN is no number"),
    "null_count": final(REFUSED, "ErrCount is null, not a whole number"),
    "wide_count": final(REFUSED, "ErrCount is 9223372036854775808, not a whole number"),
    "long_count": final(REFUSED, "a number of 1000000 digits is too long"),
    "null_everywhere": garbled("ErrorCode is missing"),
    "null_arrays": final(EMPTY, "missing_array"),
    "null_texts": final(COUNTS, "missing_field"),
    "null_rows": final(REFUSED, "ErrCode is null"),
    "no_arrays": final(REFUSED, "all four absent"),
    "two_reports": final(REFUSED, "loss arrays in two places"),
    "half_character": final(REFUSED, "ErrCode holds half a surrogate pair"),
    "extra_fields": final(WARNED, "unknown_field"),
}
"""Faults that are over at once."""
ECHOES = {
    "echo_page": final(FAILED, "HTTP 404", MASKED),
    "echo_headers": final(FAILED, "HTTP 302"),
    "echo_info": final(REFUSED, "usersig=***", MASKED),
    "echo_encoded": final(REFUSED, "usersig%3D***", MASKED),
    "echo_twice": final(REFUSED, "usersig%253D***", MASKED),
    "echo_escaped": final(REFUSED, "usersig=***", MASKED),
    "echo_row": final(COUNTS, "", MASKED),
}
"""Faults that quote our signature."""
AWAY = {"refused": passing("connection refused")}
SLOW = {
    "silence": passing("no answer within 0.8 s"),
    "silence_in_body": passing("no answer within 0.8 s (after HTTP 200)"),
    "drip": passing("answer not complete within 1.2 s (after HTTP 200)"),
}
LARGE = {
    **dict.fromkeys(
        ("large_body", "large_stream", "endless", "gzip_bomb"),
        final(REFUSED, "answer larger than 4194304 bytes, dropped unread", DROPPED),
    ),
    "many_numbers": final(WARNED, "unknown_field"),
    "many_objects": final(WARNED, "unknown_field"),
    "many_nans": final(REFUSED, "NaN is no number"),
}
"""Faults that want memory; each is met in a process of its own."""

_AFTER = {
    Reaction.RETRY: ((RETRIED, 2), (FAILED, MAX_TRIES)),
    Reaction.SLOW_DOWN: ((RETRIED, 2), (FAILED, MAX_TRIES)),
    Reaction.RETRY_BRIEFLY: ((RETRIED, 2), (FAILED, 1 + MAX_BRIEF_RETRIES)),
    Reaction.STOP_UNTIL_TOMORROW: ((STOPPED, 1), (STOPPED, 1)),
    Reaction.SIGN_ANEW: ((RETRIED, 2), (STOPPED, 2)),
    Reaction.SIGN_ANEW_LATER: ((RETRIED, 2), (STOPPED, 2)),
    Reaction.CONFIGURATION: ((STOPPED, 1), (STOPPED, 1)),
    Reaction.REFUSED: ((REFUSED, 1), (REFUSED, 1)),
    Reaction.PERMISSION: ((STOPPED, 1), (STOPPED, 1)),
    Reaction.UNKNOWN: ((FAILED, 1), (FAILED, 1)),
}
BY_CODE = {
    f"error_code_{code}": Stated(
        *_AFTER[REACTIONS.get(code, Reaction.UNKNOWN)], KEPT, f": {code} simulated"
    )
    for code in CODES
}
CAPPED = {"error_code_60028"}
BOUNDS = {name: 160 if name.startswith("many_") else 16 for name in LARGE}
"""MiB that a load may take beside the usual: four times the largest body that is
read, and more where small values are larger in memory than on the way."""
STATED = {**QUICK, **ECHOES, **AWAY, **SLOW, **LARGE, **BY_CODE}


@dataclass(frozen=True)
class Case:
    """An app that meets a fault on its first day, once or for ever."""

    fault: str
    times: int | None
    app: SimulatedApp

    @property
    def key(self) -> tuple[str, date]:
        """How `push_loss` names the day."""
        return self.app.name, FIRST

    @property
    def rule(self) -> dict[str, Any]:
        """What makes the simulator do it."""
        where = {"sdk_app_id": self.app.sdk_app_id, "day": str(FIRST)}
        return {**where, "times": self.times, "fault": self.fault}


@dataclass(frozen=True)
class Seen:
    """What came of a case."""

    outcome: str
    calls: int
    answer: str
    told: str
    """What the operator reads: what is wrong, or the warnings."""
    advice: str


Rowset = set[Row]


@dataclass
class Met:
    """What came of many cases in one world, before and after the faults were gone."""

    seen: dict[tuple[str, int | None], Seen]
    truth_of_others: Rowset
    loaded_of_others: Rowset
    missing: set[tuple[int, date]]
    asked_again: set[tuple[int, date]]
    truth: Rowset
    loaded: Rowset


Load = Callable[[World, Sequence[str]], Sequence[DayOutcome]]


def two_apps_each(faults: Collection[str]) -> list[Case]:
    """One app to meet each fault once, and one to meet it for ever."""
    apps = iter(many_apps(2 * len(faults), seed=7))
    return [Case(name, times, next(apps)) for name in faults for times in (1, None)]


def load_in_time(world: World, names: Sequence[str]) -> Sequence[DayOutcome]:
    """Load both days; fail loudly where it takes longer than all tries may."""
    outcomes: list[DayOutcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.extend(world.load(names, DAYS)), daemon=True
    )
    thread.start()
    thread.join(longest_seconds(world.timeouts))
    assert not thread.is_alive(), "the load did not come to an end"
    return outcomes


def longest_seconds(timeouts: Timeouts) -> float:
    """What all tries of an app's two days may take, and the rest of a load."""
    attempt = timeouts.connect_seconds + timeouts.attempt_seconds
    return len(DAYS) * MAX_TRIES * attempt + 60


def meet(
    world: World,
    cases: Sequence[Case],
    load: Load = load_in_time,
    *,
    is_capped: bool = False,
) -> Met:
    """Let the faults happen, look, let them pass, ask for what is missing.

    Where the day's calls are used up, nothing is asked before the next day.
    """
    names = [case.app.name for case in cases]
    look = _Look(world, cases)
    world.simulator.script([case.rule for case in cases])
    outcomes = load(world, names)
    met = look.at_all(outcomes)
    world.simulator.clear_script()
    world.new_calls()
    if is_capped:
        world.load(names, DAYS, only_missing=True)
        assert [] == world.new_calls()
        world.later(days=1)
        look = _Look(world, cases)
    world.load(names, DAYS, only_missing=True)
    met.asked_again = set(world.new_calls())
    # What was taken with a warning is not missing: the next daily load asks for it.
    odd = [c for c in cases if met.seen[c.fault, c.times].outcome in (EMPTY, COUNTS)]
    if odd:
        world.load([case.app.name for case in odd], [FIRST])
    met.truth = look.truth_of((name, day) for name in names for day in DAYS)
    met.loaded = set(loaded_of(world, names))
    return met


def loaded_of(world: World, names: Collection[str]) -> list[Row]:
    """What push_loss holds of these apps."""
    return [row for row in world.loaded() if row[0] in names]


class _Look:
    """Compares what a world has loaded with what its simulator told."""

    def __init__(self, world: World, cases: Sequence[Case]) -> None:
        self._world = world
        self._cases = cases
        self._told = {
            (case.app.name, day): world.simulator.truth(case.app.sdk_app_id, day)
            for case in cases
            for day in DAYS
        }

    def truth_of(self, keys: Iterable[tuple[str, date]]) -> Rowset:
        """The rows of these days, as push_loss should have them."""
        return {
            (*key, row.stage, row.scope, row.platform_id, *_of_code(row))
            for key in keys
            for row in self._told[key]
        }

    def at_all(self, outcomes: Sequence[DayOutcome]) -> Met:
        """See what came of the cases, and of all that was no case."""
        self._outcomes = {(o.app, o.loss_date): o for o in outcomes}
        rows = self._world.rows(
            "select app, loss_date, state, warnings from push_loss_days"
        )
        self._days = {(app, day): (state, told) for app, day, state, told in rows}
        self._answers = self._world.parts.lake.answers(
            [AppDay(case.app.sdk_app_id, FIRST) for case in self._cases]
        )
        loaded = loaded_of(self._world, [case.app.name for case in self._cases])
        self._loaded: dict[tuple[str, date], Rowset] = {}
        for row in loaded:
            self._loaded.setdefault((row[0], row[1]), set()).add(row)
        others = [(c.app.name, SECOND) for c in self._cases if not self._is_stopped(c)]
        return Met(
            seen={(case.fault, case.times): self._at(case) for case in self._cases},
            truth_of_others=self.truth_of(others),
            loaded_of_others={r for k in others for r in self._loaded.get(k, ())},
            missing={
                (self._world.number_of(o.app), o.loss_date)
                for o in outcomes
                if not o.is_done
            },
            asked_again=set(),
            truth=set(),
            loaded=set(),
        )

    def _is_stopped(self, case: Case) -> bool:
        return self._outcomes[case.app.name, SECOND].problem.startswith("not asked")

    def _at(self, case: Case) -> Seen:
        outcome = self._outcomes[case.key]
        state, warnings = self._days[case.key]
        kinds = sorted({warning.split(":")[0] for warning in warnings})
        return Seen(
            outcome=self._named(case, state, bool(warnings), outcome.calls),
            calls=outcome.calls,
            answer=self._kept(case),
            told=outcome.problem or ", ".join(kinds),
            advice=outcome.advice,
        )

    def _named(self, case: Case, state: str, is_warned: bool, calls: int) -> str:
        truth, loaded = self.truth_of([case.key]), self._loaded.get(case.key, set())
        match state:
            case "loaded" if loaded == truth:
                return RETRIED if calls > 1 else WARNED if is_warned else EXACT
            case "loaded" if _without_texts(loaded) == _without_texts(truth):
                return COUNTS
            case "empty" if is_warned and not loaded:
                return EMPTY
            case "failed" | "refused" if not loaded and self._is_stopped(case):
                return STOPPED
            case "failed" | "refused" if not loaded:
                return {"failed": FAILED, "refused": REFUSED}[state]
        return f"{state} with {len(loaded)} rows"

    def _kept(self, case: Case) -> str:
        """What is stored of the answers that were faulty."""
        answers = self._answers[AppDay(case.app.sdk_app_id, FIRST)]
        (kept,) = {self._kept_of(case, answer) for answer in answers[: case.times]}
        return kept

    def _kept_of(self, case: Case, answer: Answer) -> str:
        match answer.outcome:
            case Outcome.NO_ANSWER if answer.body is None:
                return NONE
            case Outcome.TOO_LARGE if answer.body is None:
                return DROPPED
            case Outcome.ANSWERED if answer.body == self._sent(case):
                return KEPT
            case Outcome.ANSWERED if b"***" in (answer.body or b""):
                return MASKED
        return f"{answer.outcome} with another body"

    def _sent(self, case: Case) -> bytes:
        asked = Asked("/?usersig=none", render(Told(rows=self._told[case.key])))
        steps = islice(find_fault(case.fault).steps(asked), 1000)
        sent = b"".join(step for step in steps if isinstance(step, bytes))
        head, _, body = sent.partition(b"\r\n\r\n")
        return gzip.decompress(body) if b"encoding: gzip" in head else body


def _of_code(row: LossCount) -> tuple[str, str, int]:
    return row.err_code, row.err_info, row.err_count


def _without_texts(rows: Rowset) -> Rowset:
    return {(*row[:6], row[7]) for row in rows}


@pytest.fixture(scope="module")
def world_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Sequence[SimulatedApp]], World]]:
    """Builds worlds that all tests of this file share."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:

        def build(apps: Sequence[SimulatedApp]) -> World:
            for app in apps:
                environment.setenv(secret_variable(app), app.secret_key)
            return stack.enter_context(a_world(tmp_path_factory.mktemp("world"), apps))

        yield build


WorldOf = Callable[[Sequence[SimulatedApp]], World]


@dataclass
class Heard:
    """What came of many cases in a world, with all that was said meanwhile."""

    world: World
    cases: list[Case]
    met: Met
    pauses: list[float]
    log: str


@pytest.fixture(scope="module")
def quick(world_of: WorldOf) -> Heard:
    """Every fault and code that needs neither time nor memory, in one load."""
    return listen_to(
        two_apps_each([name for name in (*QUICK, *BY_CODE) if name not in CAPPED]),
        world_of,
    )


@pytest.fixture(scope="module")
def echo(world_of: WorldOf) -> Heard:
    """Everything that quotes our signature."""
    return listen_to(two_apps_each(ECHOES), world_of)


def listen_to(cases: list[Case], world_of: WorldOf) -> Heard:
    """Meet these faults, noting pauses and log lines."""
    world, pauses, log = world_of([case.app for case in cases]), [], StringIO()

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await no_sleep(seconds)

    world.sleep = noted
    with logged_to(log):
        met = meet(world, cases)
    return Heard(world, cases, met, pauses, log.getvalue())


class logged_to:  # noqa: N801  # reads as a verb
    """Gathers every log line at every level."""

    def __init__(self, text: StringIO) -> None:
        self._handler = logging.StreamHandler(text)

    def __enter__(self) -> None:
        self._level = logging.root.level
        logging.root.addHandler(self._handler)
        logging.root.setLevel(logging.DEBUG)

    def __exit__(self, *_: object) -> None:
        logging.root.removeHandler(self._handler)
        logging.root.setLevel(self._level)


@pytest.fixture(scope="module")
def away(world_of: WorldOf) -> Met:
    """The host that is away: for a second, or for longer than anybody asks."""
    once, for_ever = two_apps_each(AWAY)
    world = world_of([once.app, for_ever.app])

    async def patient(_: float) -> None:
        await asyncio.sleep(AWAY_SECONDS + 0.5)

    def load_hastily(world: World, names: Sequence[str]) -> Sequence[DayOutcome]:
        world.sleep = no_sleep
        outcomes = load_in_time(world, names)
        world.sleep = patient
        return outcomes

    world.sleep = patient
    met = meet(world, [once])
    later = meet(world, [for_ever], load_hastily)
    # The second day finds nobody either.
    return replace(
        met,
        seen=met.seen | later.seen,
        missing=met.missing | later.missing,
        asked_again=met.asked_again | later.asked_again,
        truth=met.truth | later.truth,
        loaded=met.loaded | later.loaded,
    )


@pytest.fixture(scope="module")
def slow(world_of: WorldOf) -> Met:
    """Faults that only the client's time limits end."""
    cases = two_apps_each(SLOW)
    world = world_of([case.app for case in cases])
    world.timeouts = HASTY
    return meet(world, cases)


@pytest.fixture(scope="module")
def capped(world_of: WorldOf) -> Met:
    """An app that has used up its calls of the day."""
    cases = two_apps_each(CAPPED)
    return meet(world_of([case.app for case in cases]), cases, is_capped=True)


@dataclass(frozen=True)
class Cost:
    """What a load took."""

    seconds: float
    mebibytes: float


@pytest.fixture(scope="module")
def large(world_of: WorldOf) -> tuple[Met, dict[str, Cost]]:
    """Faults that want memory, and what each load took; the truth for comparison."""
    *cases, one, other = two_apps_each([*LARGE, TRUTH])
    world = world_of([case.app for case in (*cases, one, other)])
    costs: dict[str, Cost] = {}

    def load_apart(world: World, _: Sequence[str]) -> Sequence[DayOutcome]:
        outcomes: list[DayOutcome] = []
        load_in_time(world, [one.app.name])
        _, costs[TRUTH] = apart(world, [other.app.name])
        for name in LARGE:
            names = [case.app.name for case in cases if case.fault == name]
            some, costs[name] = apart(world, names)
            outcomes += some
        publish(world.parts)
        return outcomes

    return meet(world, cases, load_apart), costs


def apart(world: World, names: Sequence[str]) -> tuple[Sequence[DayOutcome], Cost]:
    """Load both days in a process of its own, and see what it took."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trust.test_faults"])
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_load_and_tell, args=(theirs, world.folder, world.apps, names)
    )
    process.start()
    theirs.close()
    process.join(longest_seconds(world.timeouts))
    assert 0 == process.exitcode, "the load did not come to an end"
    outcomes, cost = ours.recv()
    return outcomes, cost


def _load_and_tell(
    line: Connection, folder: Path, apps: Sequence[SimulatedApp], names: Sequence[str]
) -> None:
    for app in apps:
        os.environ[secret_variable(app)] = app.secret_key
    world = World(folder, cast(SimulatorHandle, None), apps)
    before, begun_at = _peak_mebibytes(), time.monotonic()
    outcomes = load_days(world.parts, names, DAYS)
    seconds = time.monotonic() - begun_at
    line.send((outcomes, Cost(seconds, _peak_mebibytes() - before)))


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True)
class All:
    """What came of everything, world by world."""

    worlds: dict[str, Met]

    def seen(self, name: str) -> tuple[Seen, Seen]:
        """What came of a fault that was met once, and for ever."""
        (met,) = (met for met in self.worlds.values() if (name, 1) in met.seen)
        return met.seen[name, 1], met.seen[name, None]


WORLDS = ("quick", "echo", "away", "slow", "capped", "large")


@pytest.fixture(scope="module")
def met(
    quick: Heard,
    echo: Heard,
    away: Met,
    slow: Met,
    capped: Met,
    large: tuple[Met, dict[str, Cost]],
) -> All:
    """All of it."""
    mets = (quick.met, echo.met, away, slow, capped, large[0])
    return All(dict(zip(WORLDS, mets, strict=True)))


def test_every_fault_has_a_stated_outcome() -> None:
    """No fault of the catalogue is left out."""
    assert {each.name for each in FAULTS} == set(STATED) - set(BY_CODE)


@pytest.mark.parametrize("name", STATED)
def test_outcome(met: All, name: str) -> None:
    """A fault ends as stated, met once or for ever, and the operator reads its name."""
    stated, (once, for_ever) = STATED[name], met.seen(name)

    assert stated.once == (once.outcome, once.calls)
    assert stated.for_ever == (for_ever.outcome, for_ever.calls)
    assert stated.words in for_ever.told


@pytest.mark.parametrize("name", STATED)
def test_answer_is_kept(met: All, name: str) -> None:
    """A faulty answer is kept to the byte, but for secrets, or said to be dropped."""
    assert {STATED[name].answer} == {seen.answer for seen in met.seen(name)}


@pytest.mark.parametrize("name", WORLDS)
def test_other_days_are_exact(met: All, name: str) -> None:
    """Each app's next day, asked while faults went on all around, is the truth."""
    assert met.worlds[name].truth_of_others == met.worlds[name].loaded_of_others


@pytest.mark.parametrize("name", WORLDS)
def test_missing_days_are_asked_for_again(met: All, name: str) -> None:
    """Once the faults are gone, --missing asks for what failed and nothing else."""
    assert met.worlds[name].missing == met.worlds[name].asked_again


@pytest.mark.parametrize("name", WORLDS)
def test_all_is_exact_in_the_end(met: All, name: str) -> None:
    """Whatever went wrong, asking again brings the truth, and nothing else."""
    assert met.worlds[name].truth == met.worlds[name].loaded


def test_pauses_are_granted(quick: Heard) -> None:
    """Retry-After is waited for, and a minute after too many bad signatures."""
    assert quick.pauses.count(7) >= 1 + 3
    assert quick.pauses.count(60) == 2


def test_memory_is_bounded(large: tuple[Met, dict[str, Cost]]) -> None:
    """No body takes more memory than its bound, beside what a load takes anyway."""
    _, costs = large
    usual = costs[TRUTH].mebibytes

    assert [] == [
        name for name in LARGE if costs[name].mebibytes - usual > BOUNDS[name]
    ]
    tell(
        "fault_bounds",
        [
            {
                "fault": name,
                "MiB allowed": BOUNDS[name],
                "MiB": round(costs[name].mebibytes - usual),
                "seconds": f"{costs[name].seconds:.1f}",
            }
            for name in LARGE
        ],
        measured=("MiB", "seconds"),
    )


def test_faults_are_told(met: All) -> None:
    """docs/reliability.md says what came of each fault."""
    tell("faults", [fault_row(each, *met.seen(each.name)) for each in FAULTS])


def fault_row(fault: Fault, once: Seen, for_ever: Seen) -> dict[str, object]:
    """What the page says of a fault."""
    return {
        "fault": fault.name,
        "what the server does": fault.does,
        "met once": once.outcome,
        "met for ever": for_ever.outcome,
        "calls": f"{once.calls}, {for_ever.calls}",
        "answer": for_ever.answer,
        "what the operator reads": for_ever.told
        and f"`{without_chance(for_ever.told)}`",
    }


def test_codes_are_told(met: All) -> None:
    """docs/reliability.md says what came of each error code."""
    tell(
        "error_codes",
        [code_row(code, *met.seen(f"error_code_{code}")) for code in CODES],
    )


def code_row(code: int, once: Seen, for_ever: Seen) -> dict[str, object]:
    """What the page says of a code."""
    advice, _, _ = for_ever.advice.partition(" `pushloss load")
    return {
        "code": code,
        "class": REACTIONS.get(code, Reaction.UNKNOWN),
        "met once": once.outcome,
        "met for ever": for_ever.outcome,
        "calls": f"{once.calls}, {for_ever.calls}",
        "what to do, as the operator reads it": advice.rstrip(":"),
    }


def without_chance(told: str) -> str:
    """A text without the number that each call draws."""
    return re.sub(r"(random(?:=|%(?:25)*3D))\d+", r"\1…", told)


def test_no_secret_is_told(quick: Heard, echo: Heard) -> None:
    """Whatever a server does or quotes back, no file, log or outcome holds a secret."""
    for heard, cases in ((quick, quick.cases[-1:]), (echo, echo.cases[1::2])):
        apps = [heard.world.settings.app(case.app.name) for case in cases]
        secrets = [heard.world.usersigs.current(app) for app in apps]
        secrets += [app.secret_key for app in apps]

        assert "asked app=app_0000" in heard.log
        assert not planted.tells(heard.log + repr(heard.met.seen), secrets)
        assert [] == planted.places(heard.world.folder, secrets)
