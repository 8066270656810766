"""The walk of a day: ask, record, judge, publish. All above only calls these."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from uuid import uuid4

from pushloss_pipeline.adapters.lake import Lake
from pushloss_pipeline.adapters.sql_files import catalogue
from pushloss_pipeline.adapters.warehouse import Published, Warehouse
from pushloss_pipeline.asking import Arrival, Attempts, OpenClient, Unasked, ask_apps
from pushloss_pipeline.domain.advice import what_to_do
from pushloss_pipeline.domain.errors import ConfigurationError, UsageError
from pushloss_pipeline.domain.model import Answer, App, AppDay, Outcome
from pushloss_pipeline.domain.verdict import (
    DONE,
    Standing,
    State,
    judge_all,
    may_be_unready,
    missing_entries,
)
from pushloss_pipeline.domain.window import (
    day_bounds,
    day_window,
    is_expired,
    last_complete_day,
)
from pushloss_pipeline.domain.words import in_one_line
from pushloss_pipeline.settings import Settings

DAILY_CAP_CODE = 60028
REPLAY_DAYS = 500
"""App days whose answers are held in memory at once."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the steps work with; plugged together in `parts.py`."""

    settings: Settings
    lake: Lake
    warehouse: Warehouse
    open_client: OpenClient
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class DayOutcome:
    """What became of one app's day in a walk; `problem` is empty where all is well."""

    app: str
    loss_date: date
    state: State | None
    """None: never asked for, now or before."""
    revision: int = 0
    row_count: int = 0
    is_new_revision: bool = False
    calls: int = 0
    problem: str = ""
    advice: str = ""

    @property
    def is_done(self) -> bool:
        """Nobody has to do anything about it."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class Probe:
    """What one call for an app showed."""

    app: str
    problem: str = ""
    advice: str = ""
    is_configuration: bool = False
    """A person must mend the configuration or the console, not wait."""


Listener = Callable[[DayOutcome], None]
"""Hears of every outcome as soon as it is recorded."""


def days_between(parts: Parts, first: date, last: date) -> tuple[date, ...]:
    """All days from first to last; refused where one is not over or too early."""
    settings, now = parts.settings, parts.clock()
    if first > last:
        raise UsageError(f"{first} is after {last}; give the earlier day first")
    if first < settings.start_date:
        raise UsageError(
            f"{first} is before start_date {settings.start_date} of "
            f"{settings.config_path}; set start_date earlier or ask for later days"
        )
    newest = last_complete_day(settings.timezone, now)
    if last > newest:
        raise UsageError(
            f"{last} is not over in {settings.timezone}; the newest complete day is "
            f"{newest}"
        )
    return tuple(first + timedelta(days=n) for n in range((last - first).days + 1))


def require_same_days(parts: Parts) -> None:
    """Refuse a zone that cuts days otherwise than the answers that are stored.

    A day's losses come as one sum: what was asked for cannot be cut anew.
    """
    zone = parts.settings.timezone
    for known in parts.lake.windows():
        cut = day_window(known.day, zone)
        if (cut.start, cut.end) != (known.start, known.end):
            raise ConfigurationError(
                f"timezone {zone.key} of {parts.settings.config_path} cuts {known.day}"
                f" from {cut.start:%Y-%m-%d %H:%M} to {cut.end:%Y-%m-%d %H:%M} UTC, but"
                f" it was asked for from {known.start:%Y-%m-%d %H:%M} to"
                f" {known.end:%Y-%m-%d %H:%M} UTC; daily sums cannot be cut anew: set"
                " timezone back, or choose another data_dir"
            )


def load_days(
    parts: Parts,
    names: Sequence[str],
    days: Sequence[date],
    *,
    build: bool = True,
    only_missing: bool = False,
    empty_again: bool = False,
    on_outcome: Listener = lambda outcome: None,
) -> tuple[DayOutcome, ...]:
    """Ask the API for these days of these apps and record what it says.

    A day that the API has forgotten is rebuilt from its stored answers or
    reported as expired. With `build` False answers are stored, not judged.
    With `only_missing`, days that are done already are left alone and have no
    outcome; `empty_again` asks among them those that may not have been ready.
    What goes wrong with one app or day is in its outcome.
    """
    require_same_days(parts)
    parts.lake.require_known_version()
    settings, now = parts.settings, parts.clock()
    forgotten = [
        day
        for day in days
        if is_expired(day, settings.timezone, settings.retention_days, now)
    ]
    wanted = (
        days_to_ask(parts, names, days, empty_again=empty_again)
        if only_missing
        else {name: list(days) for name in names}
    )
    outcomes: list[DayOutcome] = []
    for outcome in _reclaim(parts, wanted, forgotten):
        on_outcome(outcome)
        outcomes.append(outcome)
    askable = {
        name: [day for day in some_days if day not in forgotten]
        for name, some_days in wanted.items()
    }
    outcomes += _ask(parts, askable, build, on_outcome)
    return tuple(outcomes)


def replay_days(
    parts: Parts,
    names: Sequence[str],
    days: Sequence[date],
    *,
    on_outcome: Listener = lambda outcome: None,
) -> tuple[DayOutcome, ...]:
    """Rebuild these days from their stored answers; nothing is asked."""
    require_same_days(parts)
    outcomes: list[DayOutcome] = []
    for some in _chunks([(name, day) for name in names for day in days]):
        for outcome in _replay(parts, some):
            on_outcome(outcome)
            outcomes.append(outcome)
    return tuple(outcomes)


def accept_day(parts: Parts, name: str, day: date) -> DayOutcome:
    """Apply the held answer of a day: its rows give way to an empty revision."""
    require_same_days(parts)
    app_day = key_of(parts, name, day)
    standing = parts.lake.standings([app_day])[app_day]
    if standing is None or standing.state is not State.HELD:
        raise UsageError(f"nothing is held for {name} on {day}: {_known_as(standing)}")
    acceptance = _decision(parts, name, day, Outcome.ACCEPTED)
    (outcome,) = _record(parts, [(acceptance,)], build=True)
    if outcome.state is not State.EMPTY:
        raise UsageError(f"{name} on {day} was loaded anew meanwhile: nothing is held")
    return outcome


def undo_acceptance(parts: Parts, name: str, day: date) -> DayOutcome:
    """Take an acceptance back: the day's rows stand again, and it is held again."""
    require_same_days(parts)
    app_day = key_of(parts, name, day)
    entries = parts.lake.entries([app_day]).get(app_day, [])
    answers = {a.response_id: a for a in parts.lake.answers([app_day]).get(app_day, [])}
    revisions = [entry for entry in entries if entry.is_revision]
    newest = answers.get(revisions[-1].response_id) if revisions else None
    if newest is None or newest.outcome is not Outcome.ACCEPTED:
        known = _known_as(entries[-1] if entries else None)
        raise UsageError(f"nothing is accepted for {name} on {day}: {known}")
    lost = next(entry for entry in reversed(revisions) if entry.row_count)
    if lost.response_id not in answers:
        raise UsageError(
            f"the answer that had the rows of {name} on {day} is no longer stored"
            f" ({lost.response_id}): put push_loss_responses back from a backup"
        )
    restoration = replace(
        _decision(parts, name, day, Outcome.RESTORED),
        body=answers[lost.response_id].body,
        fetched_at=lost.fetched_at,
    )
    (outcome,) = _record(parts, [(restoration,)], build=True)
    if outcome.state is not State.HELD:
        raise UsageError(f"{name} on {day} was loaded anew meanwhile: it has rows")
    return outcome


def _known_as(standing: Standing | None) -> str:
    return f"the day is {standing.state}" if standing else "it was never asked for"


def publish(parts: Parts) -> Published:
    """Bring `warehouse.duckdb` up to date with the record, and tidy the record."""
    require_same_days(parts)
    settings = parts.settings
    published = parts.warehouse.publish(
        parts.lake,
        apps=[
            {
                "sdk_app_id": app.sdk_app_id,
                "app": name,
                "is_configured": True,
                "base_url": app.base_url,
            }
            for name, app in settings.apps.items()
        ],
        codes=[
            {**code.row, "is_users": is_users}
            for is_users, codes in ((False, catalogue()), (True, settings.own_codes()))
            for code in codes
        ],
        bounds=lambda day: day_bounds(day, settings.timezone, settings.retention_days),
        now=parts.clock(),
    )
    parts.lake.tidy(today=parts.clock().date())
    return published


def require_a_key(settings: Settings, names: Sequence[str]) -> None:
    """Raise the `ConfigurationError` of the first app where no app has its key."""
    problems = []
    for name in names:
        try:
            settings.app(name)
        except ConfigurationError as problem:
            problems.append(problem)
    if problems and len(problems) == len(names):
        raise problems[0]


def probe(parts: Parts, name: str) -> Probe:
    """Sign and ask for an app's newest complete day, storing nothing."""
    day = last_complete_day(parts.settings.timezone, parts.clock())
    try:
        app = parts.settings.app(name)
    except ConfigurationError as problem:
        return Probe(name, str(problem), "set it, then check again", True)
    window = day_window(day, parts.settings.timezone)

    async def ask() -> tuple[Answer, ...]:
        async with parts.open_client() as client:
            return await client.ask(app, window)

    (*_, last) = asyncio.run(ask())
    (standing,) = judge_all(None, [replace(last, recorded_at=last.fetched_at)])
    outcome = outcome_of(name, day, standing, is_new_revision=False, calls=1)
    is_refused = standing.state is State.REFUSED and standing.error_code is not None
    advice = outcome.advice
    if standing.state is State.FAILED:
        advice = "check region or endpoint and this machine's network, then check again"
    return Probe(name, outcome.problem, advice, is_refused)


def days_to_ask(
    parts: Parts, names: Sequence[str], days: Sequence[date], *, empty_again: bool
) -> dict[str, list[date]]:
    """Those of these days that are not in, by app; or not ready, with `empty_again`."""
    keys = [key_of(parts, name, day) for name in names for day in days]
    standings = parts.lake.standings(keys)

    def is_missing(name: str, day: date) -> bool:
        standing = standings[key_of(parts, name, day)]
        if standing is None or standing.state not in DONE:
            return True
        return empty_again and is_unready(parts, day, standing.state, standing.revision)

    return {name: [day for day in days if is_missing(name, day)] for name in names}


def is_unready(parts: Parts, day: date, state: State, revision: int) -> bool:
    """Whether the day may be empty only because it was asked so soon."""
    ended_at = day_window(day, parts.settings.timezone).end
    return may_be_unready(state, revision, ended_at=ended_at, now=parts.clock())


def key_of(parts: Parts, name: str, day: date) -> AppDay:
    """How the record calls the day of a configured app."""
    return AppDay(parts.settings.apps[name].sdk_app_id, day)


def _reclaim(
    parts: Parts, wanted: Mapping[str, Sequence[date]], forgotten: Collection[date]
) -> Iterator[DayOutcome]:
    """Rebuild forgotten days from stored answers; what has none has expired."""
    gone = [(name, d) for name, days in wanted.items() for d in days if d in forgotten]
    for some in _chunks(gone):
        lost: list[Attempts] = []
        for outcome in _replay(parts, some):
            if outcome.state in (None, State.FAILED, State.REFUSED):
                name, day = outcome.app, outcome.loss_date
                lost.append((_decision(parts, name, day, Outcome.EXPIRED),))
            else:
                yield outcome
        yield from _record(parts, lost, build=True)


def _decision(parts: Parts, name: str, day: date, outcome: Outcome) -> Answer:
    """What stands in the record in an answer's place."""
    now = parts.clock()
    window = day_window(day, parts.settings.timezone)
    info = "the API forgot it before an answer with its losses was kept"
    return Answer(
        response_id=uuid4().hex,
        sdk_app_id=parts.settings.apps[name].sdk_app_id,
        app=name,
        loss_date=day,
        window_start=window.start,
        window_end=window.end,
        attempt=1,
        requested_at=now,
        fetched_at=now,
        outcome=outcome,
        error_info=info if outcome is Outcome.EXPIRED else None,
    )


def _ask(
    parts: Parts,
    wanted: Mapping[str, Sequence[date]],
    build: bool,
    on_outcome: Listener,
) -> list[DayOutcome]:
    outcomes: list[DayOutcome] = []

    def tell(outcome: DayOutcome) -> None:
        outcomes.append(outcome)
        on_outcome(outcome)

    def keep(arrived: Sequence[Arrival]) -> list[DayOutcome]:
        told = _record(parts, [a for a in arrived if isinstance(a, tuple)], build)
        for unasked in arrived:
            if isinstance(unasked, Unasked):
                told += _unasked_days(parts, unasked)
        return told

    ready, unready = _with_keys(parts, {n: days for n, days in wanted.items() if days})
    for unasked in unready:
        for outcome in _unasked_days(parts, unasked):
            tell(outcome)
    windows = [
        (app, [day_window(day, parts.settings.timezone) for day in wanted[app.name]])
        for app in ready
    ]
    if windows:
        ask_apps(parts.open_client, windows, keep=keep, tell=tell)
    return outcomes


def _with_keys(
    parts: Parts, wanted: Mapping[str, Sequence[date]]
) -> tuple[list[App], list[Unasked]]:
    """Apps that can be asked now, and the others with the reason."""
    settings, now = parts.settings, parts.clock()
    require_a_key(settings, list(wanted))
    today = datetime.combine(
        now.astimezone(settings.timezone), time.min, settings.timezone
    )
    capped = parts.lake.apps_told(DAILY_CAP_CODE, since=today)
    ready: list[App] = []
    unready: list[Unasked] = []
    for name, days in wanted.items():
        try:
            app = settings.app(name)
        except ConfigurationError as problem:
            unready.append(Unasked(name, tuple(days), str(problem)))
            continue
        if app.sdk_app_id in capped:
            reason = f"the daily cap of the API is used up ({DAILY_CAP_CODE})"
            unready.append(Unasked(name, tuple(days), reason))
        else:
            ready.append(app)
    return ready, unready


def _unasked_days(parts: Parts, unasked: Unasked) -> list[DayOutcome]:
    name = unasked.app
    keys = {day: key_of(parts, name, day) for day in unasked.days}
    standings = parts.lake.standings(keys.values())
    return [
        DayOutcome(
            app=name,
            loss_date=day,
            state=standing.state if standing else None,
            revision=standing.revision if standing else 0,
            row_count=standing.row_count if standing else 0,
            problem=f"not asked: {unasked.reason}",
            advice=f"then run `pushloss load {day} {day} --app {name}`",
        )
        for day, key in keys.items()
        for standing in [standings[key]]
    ]


def _record(parts: Parts, batch: Sequence[Attempts], build: bool) -> list[DayOutcome]:
    """Store answers as received, then judge their days; one commit for each."""
    if not batch:
        return []
    answers = [answer for attempts in batch for answer in attempts]
    with parts.lake.writing():
        recorded = parts.lake.append_answers(answers, now=parts.clock())
        app_days = {answer.app_day for answer in answers}
        known = parts.lake.standings(app_days)
        unjudged = parts.lake.unjudged(known, recorded)
        entries = {key: judge_all(known[key], unjudged[key]) for key in app_days}
        if build:
            parts.lake.append_entries([e for key in entries for e in entries[key]])
    return [
        outcome_of(
            attempts[-1].app,
            attempts[-1].loss_date,
            (*filter(None, [known[key]]), *entries[key])[-1],
            is_new_revision=any(entry.is_revision for entry in entries[key]),
            calls=sum(answer.outcome in _CALLS for answer in attempts),
        )
        for attempts in batch
        for key in [attempts[-1].app_day]
    ]


_CALLS = frozenset({Outcome.ANSWERED, Outcome.NO_ANSWER, Outcome.TOO_LARGE})


def outcome_of(
    app: str, day: date, standing: Standing, *, is_new_revision: bool, calls: int
) -> DayOutcome:
    """What stands for a day, as the outcome of a walk."""
    problem = problem_of(standing.state, standing.error_code, standing.error_info)
    return DayOutcome(
        app=app,
        loss_date=day,
        state=standing.state,
        revision=standing.revision,
        row_count=standing.row_count,
        is_new_revision=is_new_revision,
        calls=calls,
        problem=problem,
        advice=what_to_do(
            app=app, day=day, state=standing.state, error_code=standing.error_code
        ),
    )


def problem_of(state: State, error_code: int | None, error_info: str | None) -> str:
    """What is wrong with a day, in a line; empty where it is done."""
    if state in DONE:
        return ""
    code = f"{error_code} " if error_code is not None else ""
    return in_one_line(f"{state.value}: {code}{error_info or ''}")


def _chunks(
    app_days: Sequence[tuple[str, date]],
) -> Iterator[list[tuple[str, date]]]:
    """Some days after others, all apps of a day together: as the record lies."""
    ordered = sorted(app_days, key=lambda app_day: (app_day[1], app_day[0]))
    for start in range(0, len(ordered), REPLAY_DAYS):
        yield ordered[start : start + REPLAY_DAYS]


def _replay(parts: Parts, app_days: Sequence[tuple[str, date]]) -> Iterator[DayOutcome]:
    keys = {(name, day): key_of(parts, name, day) for name, day in app_days}
    with parts.lake.writing():
        answers = parts.lake.answers(keys.values())
        recorded = parts.lake.entries(keys.values())
        now = parts.clock()
        added = {
            key: missing_entries(
                recorded.get(key, []), judge_all(None, answers.get(key, [])), now=now
            )
            for key in keys.values()
        }
        parts.lake.append_entries([e for key in added for e in added[key]])
    for (name, day), key in keys.items():
        entries = [*recorded.get(key, []), *added[key]]
        if entries:
            is_new = any(entry.is_revision for entry in added[key])
            yield outcome_of(name, day, entries[-1], is_new_revision=is_new, calls=0)
        else:
            yield never_asked(name, day)


def never_asked(name: str, day: date) -> DayOutcome:
    """The outcome of a day that the record knows nothing of."""
    advice = what_to_do(app=name, day=day, state=None, error_code=None)
    problem = "no answer is stored"
    return DayOutcome(name, day, None, problem=problem, advice=advice)
