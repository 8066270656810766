"""Charts as Vega-Lite: one spec per kind, and the rows of each part to put into it.

Colours are custom properties of the page, so that its style sheet alone decides on
light, dark and print.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import altair as alt

from pushloss_pipeline.domain.words import counted, number, platform_name, short_day
from pushloss_pipeline.report.day_notes import needs_person
from pushloss_pipeline.report.facts import tell_incident
from pushloss_pipeline.report.heat import HEAT_STEPS, HeatMap, heat_map
from pushloss_pipeline.report.incidents import find_incidents, marked_incidents
from pushloss_pipeline.report.model import DONE_STATES, AppReport, DayFigures
from pushloss_pipeline.report.words import stage_name, state_name

STAGES = ("ready_to_send", "post_send_delivered")
FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", '
    '"Liberation Sans", Arial, "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", '
    '"Noto Sans CJK SC", sans-serif'
)
"""The page's own; Vega measures its texts with it."""

_LANE_PIXELS = 18
_ROW_PIXELS = 26
_MONDAYS = (
    "utcday(toDate(datum.value)) == 1 ? utcFormat(toDate(datum.value), '%-d %b') : ''"
)


@cache  # made and validated by Altair, it takes longer than the rest of the page
def chart_specs() -> dict[str, dict[str, Any]]:
    """The spec of each kind of chart, still without rows."""
    return {"trend": _finished(_trend()), "platforms": _finished(_platforms())}


def chart_rows(part: AppReport) -> dict[str, dict[str, Any]]:
    """What to put into the specs for a part; no chart where nothing is known."""
    if all(day.lost_count is None for day in part.days):
        return {}
    rows = {
        "days": [_day_row(day) for day in part.days],
        "stages": [row for day in part.days for row in _stage_rows(day)],
        "incidents": list(_incident_rows(part)),
    }
    charts: dict[str, dict[str, Any]] = {"trend": {"datasets": rows}}
    if part.platform_days:
        heat = heat_map(part)
        charts["platforms"] = {
            "height": _ROW_PIXELS * len(heat.platforms),
            "datasets": {"cells": list(_platform_rows(heat))},
        }
    return charts


def _finished(chart: alt.LayerChart | alt.Chart) -> dict[str, Any]:
    configured = (
        chart.configure(
            font=FONT,
            background="transparent",
            padding=0,
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding", resize=True),
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelFont=FONT,
            labelFontSize=12,
            labelColor="var(--ink-2)",
            domainColor="var(--rule-strong)",
            gridColor="var(--rule)",
            tickColor="var(--rule-strong)",
            labelPadding=6,
            aria=False,
        )
    )
    spec: dict[str, Any] = configured.to_dict()
    # An address that nobody asks, in a page that names none.
    del spec["$schema"]
    return spec


def _day_axis() -> alt.Axis:
    return alt.Axis(
        title=None,
        labelExpr=_MONDAYS,
        labelAngle=0,
        labelAlign="left",
        labelOverlap="greedy",
        labelSeparation=10,
        labelFlush=False,
        ticks=False,
    )


def _day(field: str = "day", **options: Any) -> alt.X:
    return alt.X(f"{field}:O", sort=None, axis=_day_axis(), **options)


def _trend() -> alt.LayerChart:
    bands = (
        alt.Chart(alt.NamedData("days"))
        .mark_rect(aria=False)
        .encode(
            x=_day(scale=alt.Scale(paddingInner=0.22, paddingOuter=0.1)),
            fill=alt.Fill(
                "ground:N",
                legend=None,
                scale=alt.Scale(
                    domain=["known", "unknown", "needs a person"],
                    range=["transparent", "var(--gap)", "var(--alert-wash)"],
                ),
            ),
            tooltip=_day_tooltip(),
        )
    )
    bars = (
        alt.Chart(alt.NamedData("stages"))
        .mark_bar(aria=False)
        .encode(
            x=_day(),
            y=alt.Y(
                "lost:Q",
                stack="zero",
                axis=alt.Axis(
                    title=None,
                    domain=False,
                    ticks=False,
                    tickCount=4,
                    labelExpr="format(datum.value, datum.value < 1000 ? ',' : '~s')",
                    labelPadding=8,
                ),
            ),
            order=alt.Order("rank:Q"),
            fill=alt.Fill(
                "stage:N",
                legend=None,
                scale=alt.Scale(
                    domain=list(STAGES), range=["var(--ready)", "var(--post)"]
                ),
            ),
            fillOpacity=alt.condition("datum.young", alt.value(0.5), alt.value(1)),
            tooltip=_day_tooltip(),
        )
    )
    incidents = alt.layer(*_incident_marks())
    chart: alt.LayerChart = (
        alt.layer(bands, bars, incidents)
        .resolve_scale(y="independent", fill="independent")
        .properties(width="container", height=240)
    )
    return chart


def _day_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("label:N", title="Day"),
        alt.Tooltip("total:N", title="Lost"),
        alt.Tooltip("ready:N", title=stage_name("ready_to_send")),
        alt.Tooltip("post:N", title=stage_name("post_send_delivered")),
        alt.Tooltip("state:N", title="State"),
    ]


def _incident_marks() -> Iterator[alt.Chart]:
    # Pixels over the plot's upper edge, one lane above the other.
    base = alt.Chart(alt.NamedData("incidents"))
    height = alt.Y("pixel:Q", scale=None, axis=None)
    tooltip = [alt.Tooltip("text:N", title="Incident")]
    yield base.mark_rule(
        aria=False, stroke="var(--alert-mark)", strokeWidth=2.5
    ).encode(
        x=_day("first", bandPosition=0),
        x2=alt.X2("last", bandPosition=1),
        y=height,
        tooltip=tooltip,
    )
    yield base.mark_text(
        aria=False,
        align="left",
        dx=2,
        dy=-8,
        fontSize=12,
        fontWeight="bold",
        fill="var(--alert)",
    ).encode(
        x=_day("first", bandPosition=0),
        y=height,
        text=alt.Text("number:N"),
        tooltip=tooltip,
    )


def _day_row(day: DayFigures) -> dict[str, Any]:
    ground = "known"
    if needs_person(day):
        ground = "needs a person"
    elif day.lost_count is None or day.state not in DONE_STATES:
        ground = "unknown"
    return {"day": day.loss_date.isoformat(), "ground": ground, **_told(day)}


def _told(day: DayFigures) -> dict[str, str]:
    return {
        "label": short_day(day.loss_date),
        "total": _count_told(day.lost_count),
        "ready": _count_told(day.ready_to_send_count),
        "post": _count_told(day.post_send_delivered_count),
        "state": state_told(day),
    }


def state_told(day: DayFigures) -> str:
    """A day's state, and whether its counts are too low: as yet, or for good."""
    told = state_name(day.state)
    if day.lost_count is not None and day.missing_app_count:
        told = f"{counted(day.missing_app_count, 'app')} not known"
    if not day.is_young or day.lost_count is None:
        return told
    return f"{told}, {'still rising' if day.is_askable else 'asked too early'}"


def _count_told(count: int | None) -> str:
    return "not known" if count is None else number(count)


def _stage_rows(day: DayFigures) -> Iterator[dict[str, Any]]:
    counts = (day.ready_to_send_count, day.post_send_delivered_count)
    for rank, (stage, count) in enumerate(zip(STAGES, counts, strict=True)):
        if count is not None:
            yield {
                "day": day.loss_date.isoformat(),
                "stage": stage,
                "rank": rank,
                "lost": count,
                "young": day.is_young,
                **_told(day),
            }


def _incident_rows(part: AppReport) -> Iterator[dict[str, Any]]:
    known = {day.loss_date for day in part.days}
    for incident in marked_incidents(find_incidents(part)):
        # An incident may have begun before the first day that the page shows.
        if incident.first_day in known and incident.last_day in known:
            yield {
                "first": incident.first_day.isoformat(),
                "last": incident.last_day.isoformat(),
                "number": str(incident.number),
                "pixel": -6 - incident.lane * _LANE_PIXELS,
                "text": tell_incident(incident, with_app=part.app is None),
            }


def _platform_rows(heat: HeatMap) -> Iterator[dict[str, Any]]:
    for platform in heat.platforms:
        for day in heat.days:
            count = heat.count(day, platform)
            yield {
                "day": day.loss_date.isoformat(),
                "platform": platform_name(platform),
                "shade": "unknown" if count is None else str(heat.shade(count)),
                "label": short_day(day.loss_date),
                "lost": _count_told(count),
                "state": state_told(day),
            }


def _platforms() -> alt.Chart:
    shades: Sequence[str] = [str(shade) for shade in range(HEAT_STEPS + 1)]
    chart: alt.Chart = (
        alt.Chart(alt.NamedData("cells"))
        .mark_rect(aria=False, stroke="var(--paper)", strokeWidth=1)
        .encode(
            x=_day(scale=alt.Scale(padding=0)),
            y=alt.Y(
                "platform:N",
                sort=None,
                axis=alt.Axis(title=None, domain=False, ticks=False, labelLimit=110),
            ),
            fill=alt.Fill(
                "shade:N",
                legend=None,
                scale=alt.Scale(
                    domain=[*shades, "unknown"],
                    range=[*(f"var(--heat-{shade})" for shade in shades), "var(--gap)"],
                ),
            ),
            tooltip=[
                alt.Tooltip("label:N", title="Day"),
                alt.Tooltip("platform:N", title="Platform"),
                alt.Tooltip("lost:N", title="Lost"),
                alt.Tooltip("state:N", title="State"),
            ],
        )
        .properties(width="container")
    )
    return chart
