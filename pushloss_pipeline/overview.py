"""What is known of the days and what is still to be done: all read, nothing written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pushloss_pipeline.adapters.sql_files import (
    Statement,
    read_statement,
    read_statements,
)
from pushloss_pipeline.adapters.warehouse import Rows
from pushloss_pipeline.domain.model import AppDay
from pushloss_pipeline.domain.verdict import DONE, State
from pushloss_pipeline.domain.window import askable_days, expires_at, is_expired
from pushloss_pipeline.steps import (
    DayOutcome,
    Parts,
    days_to_ask,
    is_unready,
    key_of,
    never_asked,
    outcome_of,
    problem_of,
)


@dataclass(frozen=True, slots=True)
class DayStatus:
    """What is known of one app's day, and how long the API will still tell more."""

    app: str
    loss_date: date
    state: State | None
    revision: int
    row_count: int
    fetched_at: datetime | None
    time_left: timedelta
    """Until the API forgets it; nothing where it has."""
    problem: str

    @property
    def days_left(self) -> int:
        """The same in days, begun ones included."""
        return -(-self.time_left // timedelta(days=1))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check of one day: passed where no row is bad."""

    statement: Statement
    bad_rows: Rows

    @property
    def is_passed(self) -> bool:
        """No bad row was found."""
        return not self.bad_rows.rows

    @property
    def is_fatal(self) -> bool:
        """A failure means wrong data, not only odd data."""
        return self.statement.is_fatal


def check_day(parts: Parts, day: date) -> tuple[CheckResult, ...]:
    """Run every check of `sql/checks/` on one day of the published file."""
    checks = read_statements("checks")
    found = parts.warehouse.query_all(
        [check.text for check in checks], {"day": day, "now": parts.clock()}
    )
    return tuple(map(CheckResult, checks, found))


def day_figures(parts: Parts, day: date) -> dict[str, int]:
    """Rows and losses per stage of one day, all apps together."""
    question = read_statement("queries", "day_figures")
    (figures,) = parts.warehouse.query(question.text, {"day": day}).as_dicts()
    return figures


def day_statuses(parts: Parts, names: Sequence[str]) -> tuple[DayStatus, ...]:
    """The days the API still tells, and all others that need a person; by app, day."""
    settings, now = parts.settings, parts.clock()
    known = _known_days(parts)
    window = _scheduled_days(parts)
    statuses = []
    for name in names:
        sdk_app_id = settings.apps[name].sdk_app_id
        troubled = {
            key.loss_date
            for key, row in known.items()
            if key.sdk_app_id == sdk_app_id and State(row["state"]) not in DONE
        }
        for day in sorted({*window, *troubled}):
            row = known.get(AppDay(sdk_app_id, day))
            statuses.append(_status(parts, name, day, row, now))
    return tuple(statuses)


def days_not_done(
    parts: Parts, names: Sequence[str], days: Sequence[date]
) -> tuple[DayOutcome, ...]:
    """Of these apps' days, those that are not done as the record stands now.

    One that was never asked for counts while the API tells of it: before that an
    app may not have been there, and what it missed is recorded as expired.
    """
    zone, retention = parts.settings.timezone, parts.settings.retention_days
    now = parts.clock()
    keys = {(name, day): key_of(parts, name, day) for day in days for name in names}
    standings = parts.lake.standings(keys.values())
    outcomes = [
        outcome_of(name, day, standing, is_new_revision=False, calls=0)
        if (standing := standings[key])
        else never_asked(name, day)
        for (name, day), key in keys.items()
        if standings[key] or not is_expired(day, zone, retention, now)
    ]
    return tuple(outcome for outcome in outcomes if not outcome.is_done)


def unfinished_days(parts: Parts) -> dict[str, tuple[date, ...]]:
    """Days by app that the API still tells and that are not in, or may be unready."""
    names, days = parts.settings.select(), _scheduled_days(parts)
    missing = days_to_ask(parts, names, days, empty_again=True)
    return {name: tuple(days) for name, days in missing.items() if days}


def missed_days(parts: Parts) -> dict[str, tuple[date, ...]]:
    """Days by app that nobody asked for before the API forgot them.

    Only those after its first answer: an app that is new has missed nothing.
    """
    if not parts.warehouse.path.exists():
        return {}
    question = read_statement("queries", "missed_days")
    window = askable_days(
        parts.settings.timezone, parts.settings.retention_days, parts.clock()
    )
    found = parts.warehouse.query(question.text, {"askable_first": window[0]})
    missed: dict[str, list[date]] = {}
    names = {app.sdk_app_id: name for name, app in parts.settings.apps.items()}
    for sdk_app_id, day in found.rows:
        if sdk_app_id in names and day >= parts.settings.start_date:
            missed.setdefault(names[sdk_app_id], []).append(day)
    return {name: tuple(days) for name, days in missed.items()}


def _scheduled_days(parts: Parts) -> tuple[date, ...]:
    settings = parts.settings
    window = askable_days(settings.timezone, settings.retention_days, parts.clock())
    return tuple(day for day in window if day >= settings.start_date)


def _known_days(parts: Parts) -> dict[AppDay, dict[str, Any]]:
    if not parts.warehouse.path.exists():
        return {}
    rows = parts.warehouse.query(
        "select sdk_app_id, loss_date, state, revision, row_count, fetched_at,"
        " error_code, error_info from push_loss_days"
    )
    return {AppDay(row["sdk_app_id"], row["loss_date"]): row for row in rows.as_dicts()}


def _status(
    parts: Parts, name: str, day: date, row: dict[str, Any] | None, now: datetime
) -> DayStatus:
    settings = parts.settings
    forgotten_at = expires_at(day, settings.timezone, settings.retention_days)
    time_left = max(timedelta(), forgotten_at - now)
    if row is None:
        return DayStatus(name, day, None, 0, 0, None, time_left, "")
    state = State(row["state"])
    problem = problem_of(state, row["error_code"], row["error_info"])
    if is_unready(parts, day, state, row["revision"]):
        problem = "perhaps not ready yet: it is asked again"
    return DayStatus(
        app=name,
        loss_date=day,
        state=state,
        revision=row["revision"],
        row_count=row["row_count"],
        fetched_at=row["fetched_at"],
        time_left=time_left,
        problem=problem,
    )
