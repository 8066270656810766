"""The state of the data: which days are not what they should be, and what to do."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from pushloss_pipeline.domain.words import counted, days_in_words
from pushloss_pipeline.report.model import DONE_STATES, AppReport, DayFigures, Report
from pushloss_pipeline.report.words import state_name

NEEDS_A_PERSON = ("failed", "refused", "held")
NAMED_APPS = 5

_STATE_ORDER = (*NEEDS_A_PERSON, "expired", "never asked")


@dataclass(frozen=True, slots=True)
class DayNote:
    """Days that are not what they should be, for one reason."""

    title: str
    days: str
    problem: str
    hint: str
    command: str
    needs_person: bool


def needs_person(day: DayFigures) -> bool:
    """Whether somebody can still do something about the day."""
    return day.state == "held" or (day.state in NEEDS_A_PERSON and day.is_askable)


def tell_days(part: AppReport) -> str:
    """How many days are known."""
    if not part.days:
        return "No day was asked for yet."
    known = sum(day.is_whole for day in part.days)
    of_all = "" if part.app else " for all apps"
    if known == len(part.days):
        return "The day is known." if known == 1 else f"All {known} days are known."
    if not any(day.lost_count is not None for day in part.days):
        return f"None of the {counted(len(part.days), 'day')} is known."
    verb = "is" if known == 1 else "are"
    return f"{known} of {counted(len(part.days), 'day')} {verb} known{of_all}."


def note_days(part: AppReport, report: Report) -> tuple[DayNote, ...]:
    """Days that are not what they should be, those that need a person first."""
    if all(day.state == "never asked" for day in part.days):
        return ()  # the headline says it all
    notes = [
        _day_note(reason, days, apps)
        for reason, days, apps in sorted(
            _reasons(part, report), key=lambda each: (_state_rank(each[0].state), each)
        )
    ]
    young = [day for day in part.days if day.is_young and day.lost_count is not None]
    rising = [day.loss_date for day in young if day.is_askable]
    early = [day.loss_date for day in young if not day.is_askable]
    notes += _young_note(
        "Still rising", rising, "receipts come in for days, so these counts will grow"
    )
    notes += _young_note(
        "Asked too early",
        early,
        "nobody asked again before the API forgot them, so these counts stay too low",
    )
    return tuple(notes)


def _young_note(title: str, days: Sequence[date], hint: str) -> Iterator[DayNote]:
    if days:
        yield DayNote(title, days_in_words(days), "", hint, "", needs_person=False)


class _Reason(NamedTuple):
    state: str
    problem: str
    is_askable: bool


def _reasons(
    part: AppReport, report: Report
) -> Iterator[tuple[_Reason, tuple[date, ...], tuple[str, ...]]]:
    """Why days are not well, which, and of which apps; of all together one by one.

    One app's held day must not hide that another's is missing.
    """
    singles = [one for one in report.apps if one.app is not None]
    is_split = part.app is None and bool(singles) and not report.left_out
    apps: dict[tuple[_Reason, tuple[date, ...]], list[str]] = {}
    for one in singles if is_split else [part]:
        days: dict[_Reason, list[date]] = {}
        for day in one.days:
            if day.state not in DONE_STATES:
                reason = _Reason(day.state, day.problem, day.is_askable)
                days.setdefault(reason, []).append(day.loss_date)
        for reason, some in days.items():
            named = apps.setdefault((reason, tuple(some)), [])
            if one.app is not None:
                named.append(one.app)
    for (reason, found), names in apps.items():
        problem = reason.problem
        if is_split:
            problem = f"{_listed(names)}: {problem}"
        yield reason._replace(problem=problem), found, tuple(names)


def _listed(apps: Sequence[str]) -> str:
    if len(apps) <= NAMED_APPS:
        return ", ".join(apps)
    return f"{', '.join(apps[:NAMED_APPS])} and {len(apps) - NAMED_APPS} more"


def _day_note(reason: _Reason, days: Sequence[date], apps: Sequence[str]) -> DayNote:
    state = reason.state
    option = f" --app {shlex.quote(apps[0])}" if len(apps) == 1 else ""
    load = f"pushloss load {days[0]} {days[-1]}{option} --missing"
    hint, command = {
        "held": (
            "an answer without rows came, the rows stay; to apply it",
            f"pushloss accept {days[-1]}{option or ' --app NAME'}",
        ),
        "refused": ("mend it, then ask again", load),
        "failed": ("ask again", load),
        "never asked": ("ask", load),
        "expired": ("the API has forgotten it", ""),
    }.get(state, ("", ""))
    if command == load and not reason.is_askable:
        hint, command = "too old to ask: the API has forgotten it", ""
    return DayNote(
        state_name(state),
        days_in_words(days),
        # The state stands in front already.
        _without_state(reason.problem, state),
        hint,
        command,
        needs_person=state in NEEDS_A_PERSON and bool(command),
    )


def _without_state(problem: str, state: str) -> str:
    """The problems without the state, which stands in front already."""
    told = (
        one.removeprefix(state).replace(f": {state}", ": ", 1).strip(": ")
        for one in problem.split("; ")
    )
    return "; ".join(" ".join(one.split()) for one in told)


def _state_rank(state: str) -> int:
    return _STATE_ORDER.index(state) if state in _STATE_ORDER else len(_STATE_ORDER)
