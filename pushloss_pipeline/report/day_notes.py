"""The state of the data: which days are not what they should be, and what to do."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pushloss_pipeline.report.model import DONE_STATES, AppReport, DayFigures, Report
from pushloss_pipeline.report.words import counted, days_in_words, state_name

NEEDS_A_PERSON = ("failed", "refused", "held")

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


def is_whole(day: DayFigures) -> bool:
    """Whether the counts are all there; a held day keeps those it had."""
    return day.lost_count is not None and day.state in (*DONE_STATES, "held")


def needs_person(day: DayFigures, part: AppReport) -> bool:
    """Whether somebody can still do something about the day."""
    return day.state == "held" or (day.state in NEEDS_A_PERSON and day.is_askable)


def tell_days(part: AppReport) -> str:
    """How many days are known."""
    known = sum(map(is_whole, part.days))
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
    reasons: dict[tuple[str, str, bool], list[date]] = {}
    for day in part.days:
        if day.state not in DONE_STATES:
            reason = (day.state, day.problem, day.is_askable)
            reasons.setdefault(reason, []).append(day.loss_date)
    notes = [
        _day_note(
            state, problem, days, app=_app_meant(part, report, days), askable=askable
        )
        for (state, problem, askable), days in sorted(
            reasons.items(), key=lambda item: (_state_rank(item[0][0]), item[1])
        )
    ]
    young = [d.loss_date for d in part.days if d.is_young and d.lost_count is not None]
    if young:
        notes.append(
            DayNote(
                "Still rising",
                days_in_words(young),
                "",
                "receipts come in for days, so these counts will grow",
                "",
                needs_person=False,
            )
        )
    return tuple(notes)


def _app_meant(part: AppReport, report: Report, days: Sequence[date]) -> str | None:
    """The part's app; of all together the one whose days they are, if it is one."""
    if part.app is not None:
        return part.app
    apps = {
        one.app
        for one in report.apps
        for day in one.days
        if one.app and day.loss_date in days and day.state not in DONE_STATES
    }
    return apps.pop() if len(apps) == 1 and not report.left_out else None


def _day_note(
    state: str, problem: str, days: Sequence[date], *, app: str | None, askable: bool
) -> DayNote:
    option = f" --app {shlex.quote(app)}" if app else ""
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
    if command == load and not askable:
        hint, command = "too old to ask: the API has forgotten it", ""
    return DayNote(
        state_name(state),
        days_in_words(days),
        # The state stands in front already.
        _without_state(problem, state),
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
