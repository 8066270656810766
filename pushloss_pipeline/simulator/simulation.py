"""The simulator's memory: clock, call limit, script, and the log of what was served."""

import json
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from itertools import cycle
from operator import attrgetter
from typing import Any

from pushloss_pipeline.simulator.faults import Asked, Fault, Step
from pushloss_pipeline.simulator.limit import CallLimit
from pushloss_pipeline.simulator.respond import (
    OVER_FREQUENCY,
    Answer,
    Call,
    Envelope,
    Window,
    read_app,
    read_window,
    render,
    respond,
)
from pushloss_pipeline.simulator.scenario import Scenario
from pushloss_pipeline.simulator.script import Rule, Script, read_rules
from pushloss_pipeline.simulator.truth import UTC8, LossCount, day_truth

Clock = Callable[[], datetime]

_COLUMNS = tuple(field.name for field in fields(LossCount))
_CELLS = attrgetter(*_COLUMNS)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes over the wire for one call."""

    body: bytes = b""
    http_status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    delay_seconds: float = 0.0
    steps: Iterable[Step] | None = None
    """A fault's steps on the bare connection, in place of all the rest."""


def as_clock(now: Clock | datetime | str | None) -> Clock:
    """Make a clock: the real one of None, a frozen one of an instant or its ISO text.

    An instant without an offset is read in UTC+8.
    """
    if now is None:
        return _utc_now
    if callable(now):
        return now
    instant = datetime.fromisoformat(now) if isinstance(now, str) else now
    frozen = instant if instant.tzinfo else instant.replace(tzinfo=UTC8)
    return lambda: frozen


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Simulation:
    """One simulated API, answering from one thread; others may read and steer it."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        now: Clock | datetime | str | None = None,
        signature_clock: Callable[[], float] = time.time,
        calls_per_second: float | None = 1.0,
        envelope: Envelope = "top",
        faults: Sequence[Fault] = (),
    ) -> None:
        """With `faults`, each app day's first call meets the next of them in turn."""
        self.scenario = scenario
        self.limit = CallLimit(calls_per_second)
        self._first_clock = self._clock = as_clock(now)
        self._signature_clock = signature_clock
        self._envelope = envelope
        self._script = Script()
        self._faults_in_turn = cycle(faults)
        self._practised: set[tuple[int, date]] = set()
        # Packed: a thousand apps' answers of a week would fill the memory otherwise.
        self._served: list[bytes] = []

    @property
    def now(self) -> datetime:
        """The simulated instant."""
        return self._clock()

    def set_now(self, now: Clock | datetime | str | None) -> None:
        """Move the simulated instant; None goes back to the clock of the start."""
        self._clock = self._first_clock if now is None else as_clock(now)

    def script(self, rules: Sequence[object]) -> None:
        """Replace the scripted answers; ScriptError where a rule is wrong."""
        self._script = Script(read_rules(rules))

    def clear_script(self) -> None:
        """Forget all scripted answers."""
        self._script = Script()

    def rotate_key(self, sdk_app_id: int, secret_key: str) -> None:
        """Let an app's calls be signed with another key; the old one opens nothing."""
        apps = (
            replace(app, secret_key=secret_key) if app.sdk_app_id == sdk_app_id else app
            for app in self.scenario.apps
        )
        self.scenario = replace(self.scenario, apps=tuple(apps))

    def served(self, *, after: int = 0) -> list[dict[str, Any]]:
        """List the calls served so far, or after so many, in order of arrival."""
        return [_unpacked(entry) for entry in self._served[after:]]

    @property
    def served_count(self) -> int:
        """How many calls were served so far."""
        return len(self._served)

    def truth(
        self, sdk_app_id: int, day: date, at: datetime | None = None
    ) -> tuple[LossCount, ...]:
        """Tell an app's day as known at an instant, or at the simulated now."""
        return day_truth(self.scenario, sdk_app_id, day, at=at or self.now)

    def answer(self, call: Call, *, arrived_at: float) -> Reply:
        """Answer one call and log it: limit first, then the script, then the truth.

        A scripted answer is told without judging the call; a fault is put in front
        of what the call would have been told.
        """
        sdk_app_id, window = read_app(call.query), read_window(call.body)
        asked = window if isinstance(window, Window) else None
        if sdk_app_id is not None and not self.limit.admit(sdk_app_id, arrived_at):
            answer: Answer | None = Answer(*OVER_FREQUENCY)
            rule = Rule()
        else:
            rule = self._rule_for(sdk_app_id, asked)
            answer = self._answer_by(rule, call)
        reply = self._reply_by(rule, answer, call)
        self._log(sdk_app_id, asked, arrived_at, answer, reply, rule.fault)
        return reply

    def _rule_for(self, sdk_app_id: int | None, asked: Window | None) -> Rule:
        rule = self._script.take(sdk_app_id, asked.day if asked else None)
        if rule is not None or sdk_app_id is None or asked is None:
            return rule or Rule()
        if (sdk_app_id, asked.day) in self._practised:
            return Rule()
        self._practised.add((sdk_app_id, asked.day))
        return Rule(fault=next(self._faults_in_turn, None))

    def _answer_by(self, rule: Rule, call: Call) -> Answer | None:
        if rule.error_code is not None:
            return Answer(rule.error_code, rule.error_info)
        if rule.is_empty:
            return Answer()
        if rule.http_status is not None or rule.body is not None:
            return None
        return respond(
            call, self.scenario, now=self.now, signature_now=self._signature_clock()
        )

    def _reply_by(self, rule: Rule, answer: Answer | None, call: Call) -> Reply:
        body = rule.body or b"" if answer is None else render(answer, self._envelope)
        if rule.fault is not None:
            return Reply(steps=rule.fault.steps(Asked(call.address, body)))
        return Reply(
            body=body,
            http_status=rule.http_status or 200,
            headers=rule.headers,
            delay_seconds=rule.delay_seconds,
        )

    def _log(
        self,
        sdk_app_id: int | None,
        asked: Window | None,
        arrived_at: float,
        answer: Answer | None,
        reply: Reply,
        fault: Fault | None,
    ) -> None:
        if fault is not None:
            answer = None
        entry = {
            "sequence": len(self._served) + 1,
            "sdk_app_id": sdk_app_id,
            "day": asked.day.isoformat() if asked else None,
            "start_time": asked.start_time if asked else None,
            "end_time": asked.end_time if asked else None,
            "arrived_at": arrived_at,
            "fault": fault.name if fault else None,
            "error_code": answer.error_code if answer else None,
            "http_status": None if fault else reply.http_status,
            "rows": list(map(_CELLS, answer.rows)) if answer else [],
        }
        self._served.append(zlib.compress(json.dumps(entry).encode(), level=1))


def _unpacked(packed: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(zlib.decompress(packed))
    rows = [dict(zip(_COLUMNS, cells, strict=True)) for cells in entry["rows"]]
    return {**entry, "rows": rows}
