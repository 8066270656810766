"""One self-contained HTML page from a report."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from pushloss_pipeline.domain import words as common_words
from pushloss_pipeline.domain.words import EN_DASH
from pushloss_pipeline.report import (
    charts,
    day_notes,
    facts,
    heat,
    incidents,
    story,
    words,
)
from pushloss_pipeline.report.model import AppReport, CodeChange, Report

SHOWN_ROWS = 10
"""Longer tables show the rest when asked."""
_MOVED_CELLS = 8
_FILTERS = {
    common_words: (
        "number",
        "platform_name",
        "short_day",
        "long_day",
        "sentence_case",
    ),
    words: (
        "signed",
        "percent",
        "stage_name",
        "category_name",
        "owner_name",
        "event_name",
        "code_name",
    ),
}

# What a script element may not hold, even inside a JSON text.
_UNSAFE_IN_SCRIPT = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class AppLine:
    """One app among all: its part's number on the page and its figures."""

    number: int
    app: str
    total: story.Total
    change_count: int | None
    before_count: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the page with all its sentences."""

    number: int
    report: AppReport
    name: str
    headline: story.Headline
    total: story.Total
    day_notes: tuple[day_notes.DayNote, ...]
    incidents: tuple[incidents.Incident, ...]
    marked_numbers: frozenset[int]
    moved: tuple[CodeChange, ...]
    moved_rest: tuple[int, int, int] | None
    """How many cells more, and their counts before and after."""
    apps_behind: tuple[str, ...]
    app_lines: tuple[AppLine, ...]
    heat: heat.HeatMap

    @property
    def is_known(self) -> bool:
        """Whether any day tells a count."""
        return any(day.lost_count is not None for day in self.report.days)


def render(report: Report) -> str:
    """The page as text; it asks for nothing outside itself."""
    style = _own_file("style.css")
    scripts = (_vega(), _own_file("page.js"))
    parts = [_part(number, part, report) for number, part in enumerate(report.apps)]
    page = _template().render(
        report=report,
        parts=parts,
        style=Markup(style),  # noqa: S704 - our own file
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - so are these
        data=_embedded(_data(report.apps)),
        policy=_policy(style, scripts),
    )
    return page.lstrip()  # what stands between the template's macros


def _policy(style: str, scripts: Sequence[str]) -> str:
    """What the page may do: run its own scripts, nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(_digest(script) for script in scripts)}",
            f"style-src {_digest(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(apps: Sequence[AppReport]) -> dict[str, Any]:
    return {
        "specs": charts.chart_specs(),
        "parts": [
            {"app": part.app, "charts": charts.chart_rows(part)} for part in apps
        ],
    }


def _embedded(data: dict[str, Any]) -> Markup:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(_UNSAFE_IN_SCRIPT))  # noqa: S704 - escaped here


@cache
def _vega() -> str:
    # A parser turns CR LF into LF, and the digest would no longer be the script's.
    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg] # has a default
    return bundle.replace("\r\n", "\n")


@cache
def _own_file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.globals |= {
        "shown_rows": SHOWN_ROWS,
        "bounds_in_words": _bounds_in_words,
        "first_action": _first_action,
        "span_name": common_words.span_name,
        "signed_percent": words.signed_percent,
        "counted": common_words.counted,
        "tell_days": day_notes.tell_days,
        "tell_events": facts.tell_events,
        "tell_incident": facts.tell_incident,
        "tell_incidents": facts.tell_incidents,
        "tell_platforms": facts.tell_platforms,
        "tell_residual": facts.tell_residual,
        "tell_trend": facts.tell_trend,
        "state_told": charts.state_told,
        "abs": abs,
    }
    for module, names in _FILTERS.items():
        environment.filters |= {name: getattr(module, name) for name in names}
    environment.filters["breakable"] = _breakable
    return environment.from_string(_own_file("page.html.j2"))


def _visible(value: object) -> object:
    """No text of others turns the direction of what stands beside it."""
    return common_words.visible(value) if type(value) is str else value


def _breakable(text: str) -> Markup:
    """A code in capitals may go on the next line after an underscore."""
    return escape(text).replace("_", Markup("_<wbr>"))


def _part(number: int, part: AppReport, report: Report) -> Part:
    found = incidents.find_incidents(part)
    moving = [cell for cell in part.change.cells if cell.change_count]
    moved, rest = moving[:_MOVED_CELLS], part.change.cells[_MOVED_CELLS:]
    if len(moving) <= _MOVED_CELLS:
        rest = tuple(cell for cell in part.change.cells if not cell.change_count)
    return Part(
        number=number,
        report=part,
        name=part.app or "All apps",
        headline=story.tell_headline(part, report),
        total=story.find_total(part, report),
        day_notes=day_notes.note_days(part, report),
        incidents=found,
        marked_numbers=frozenset(i.number for i in incidents.marked_incidents(found)),
        moved=tuple(moved),
        moved_rest=(
            len(rest),
            sum(cell.before_count for cell in rest),
            sum(cell.after_count for cell in rest),
        )
        if rest
        else None,
        apps_behind=tuple(story.app_behind(cell, part, report) for cell in moved),
        app_lines=tuple(_app_lines(report)) if part.app is None else (),
        heat=heat.heat_map(part),
    )


def _app_lines(report: Report) -> Iterator[AppLine]:
    for number, part in enumerate(report.apps):
        if part.app is not None:
            compared = part.change.compared_days > 0
            yield AppLine(
                number=number,
                app=part.app,
                total=story.find_total(part, report),
                change_count=part.change.change_count if compared else None,
                before_count=part.change.before_count,
            )


def _bounds_in_words(shades: heat.HeatMap) -> list[str]:
    """What each shade stands for: 0, 1-99, 100-199 …, 500 and more."""
    begins = (1, *shades.bounds)
    ends = (*(bound - 1 for bound in shades.bounds), None)
    return [
        "0",
        *(
            f"{common_words.number(begin)}+"
            if end is None
            else common_words.number(begin)
            if begin == end
            else f"{common_words.number(begin)}{EN_DASH}{common_words.number(end)}"
            for begin, end in zip(begins, ends, strict=True)
        ),
    ]


def _first_action(part: AppReport, owner: str) -> str:
    """What the owner's greatest code asks for."""
    for top in part.top_codes:
        if top.code.owner == owner and top.code.action:
            action = words.in_sentence(top.code.action)
            return f"{words.code_in_sentence(top.code)}: {action}"
    return ""
