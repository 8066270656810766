"""Sentences beside charts and lists: the main fact of each."""

from collections import Counter
from collections.abc import Sequence

from pushloss_pipeline.domain.words import (
    counted,
    day_name,
    listed,
    number,
    platform_name,
    sentence_case,
    span_name,
)
from pushloss_pipeline.report.incidents import Incident, find_incidents
from pushloss_pipeline.report.model import AppReport, CodeEvent, DayFigures, Residual
from pushloss_pipeline.report.words import code_in_sentence, percent, stage_name

BASELINE_DAYS = 29
"""A day is held against 4 same weekdays: with fewer known days none is usual."""


def tell_incidents(part: AppReport) -> str:
    """How many counts left their usual range, or why none is told."""
    incidents = find_incidents(part)
    if incidents:
        verb = "count left its" if len(incidents) == 1 else "counts left their"
        return f"{len(incidents)} {verb} usual range:"
    known = sum(day.lost_count is not None for day in part.days)
    if known < BASELINE_DAYS:
        return (
            "What is usual cannot be told yet: a day is held against the same weekday "
            f"of at least 4 weeks before, and {counted(known, 'day')} "
            f"{'is' if known == 1 else 'are'} known."
        )
    return "No count left its usual range."


def tell_incident(incident: Incident, *, with_app: bool) -> str:
    """APNs 403 at shop: 41,203 where 120 are usual."""
    subject = _incident_subject(incident)
    if with_app:
        subject = f"{subject} at {incident.app}"
    verb = "is" if incident.expected_count == 1 else "are"
    usual = number(incident.expected_count) if incident.expected_count else "none"
    return f"{subject}: {number(incident.lost_count)} where {usual} {verb} usual"


def _incident_subject(incident: Incident) -> str:
    code = incident.code
    if code.err_code:
        return code_in_sentence(code)
    if code.platform:
        return f"All of {platform_name(code.platform)}"
    if code.stage:
        return f"All losses {stage_name(code.stage).lower()}"
    return "All losses"


def tell_trend(part: AppReport) -> str:
    """The main fact of the chart of days."""
    known = [day for day in part.days if day.lost_count is not None]
    if not known:
        return "No day is known."
    highest = max(known, key=_lost)
    lowest = min(known, key=_lost)
    unknown = len(part.days) - len(known)
    gaps = f" {counted(unknown, 'day')} not known." if unknown else ""
    return (
        f"Lost messages per day and stage, "
        f"{span_name(part.days[0].loss_date, part.days[-1].loss_date)}: most on "
        f"{day_name(highest.loss_date)} ({number(_lost(highest))}), fewest on "
        f"{day_name(lowest.loss_date)} ({number(_lost(lowest))}).{gaps}"
    )


def _lost(day: DayFigures) -> int:
    return day.lost_count or 0


def tell_platforms(part: AppReport) -> str:
    """The main fact of the heat map."""
    totals: Counter[str] = Counter()
    for cell in part.platform_days:
        totals[cell.platform] += cell.lost_count
    if not totals:
        return "No platform lost anything on a known day."
    whole = sum(totals.values())
    if not whole:
        return "No platform lost anything on a known day."
    first, lost_count = totals.most_common(1)[0]
    peak = max(part.platform_days, key=lambda cell: cell.lost_count)
    return (
        f"{platform_name(first)} lost most over all these days, "
        f"{percent(lost_count / whole)}. The highest single day is "
        f"{platform_name(peak.platform)} on {day_name(peak.loss_date)} with "
        f"{number(peak.lost_count)}."
    )


def tell_events(events: Sequence[CodeEvent]) -> str:
    """How many codes came, came back or went."""
    if not events:
        return "No code is new, came back or vanished."
    kinds = Counter(event.event for event in events)
    told = [
        f"{counted(kinds[event], 'code')} {words}"
        if not position
        else f"{kinds[event]} {words}"
        for position, (event, words) in enumerate(
            (event, words)
            for event, words in (
                ("first_seen", "met for the first time"),
                ("returned", "back after a time without"),
                ("vanished", "gone"),
            )
            if kinds[event]
        )
    ]
    return f"{sentence_case(listed(told))}."


def tell_residual(residual: Residual) -> str:
    """What of a stage no platform explains."""
    stage = stage_name(residual.stage)
    overall = number(residual.overall_count)
    platforms = number(residual.platform_count)
    rest = residual.residual_count
    if rest == 0:
        return f"{stage}: all {overall} overall losses are put down to a platform."
    if rest < 0:
        return (
            f"{stage}: platforms tell of {platforms}, {number(-rest)} more than the "
            f"{overall} overall."
        )
    verb = "is" if rest == 1 else "are"
    return (
        f"{stage}: of {overall} overall losses, platforms tell of {platforms}; "
        f"{number(rest)} ({percent(rest / residual.overall_count)}) {verb} put down "
        "to none."
    )
