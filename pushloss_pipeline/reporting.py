"""The report of a warehouse: asks it, and writes the page."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import uuid4

from pushloss_pipeline.adapters.disk import make_open_folder, with_advice
from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.domain.window import askable_days, last_complete_day
from pushloss_pipeline.report.model import (
    DONE_STATES,
    Anomaly,
    AppReport,
    Change,
    Code,
    CodeChange,
    CodeEvent,
    DayFigures,
    PlatformDay,
    Portion,
    Report,
    Residual,
    TopCode,
    UnknownCode,
)
from pushloss_pipeline.steps import Parts

PERIOD_DAYS = 7
"""Totals, codes and shares are of so many days, against as many before."""
MAP_DAYS = 28
"""The heat map, incidents and codes that came or went."""
TREND_DAYS = 56
OWN_PARTS = 20
"""Apps that have a part of their own; of more, those that lose most."""
TOP_CODES = 50

_QUESTIONS = (
    "days",
    "change",
    "compared",
    "codes",
    "categories",
    "owners",
    "platform_days",
    "events",
    "residuals",
    "anomalies",
    "unknown_codes",
)
_WORST_FIRST = ("refused", "failed", "held", "expired", "never asked", "loaded")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """Where the report lies, and its figures of all apps together."""

    path: Path
    lost_count: int
    residual_count: int
    anomaly_count: int
    headline: str


def write_report(parts: Parts, output: Path | None = None) -> WrittenReport:
    """Write the page of what is published; without `output` in the data folder.

    There everybody may read it; elsewhere it is as open as the process's umask says.
    """
    from pushloss_pipeline.report.page import render
    from pushloss_pipeline.report.story import tell_headline

    path = output or default_path(parts)
    report = gather(parts)
    page = render(report)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        if output is None:
            make_open_folder(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(page, encoding="utf-8")
            if output is None:
                temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise StoreError(
            f"cannot write the report to {path}:"
            f" {with_advice(str(problem.strerror), path.parent)}"
        ) from None
    together = report.apps[0]
    return WrittenReport(
        path=path,
        lost_count=sum(r.overall_count for r in together.residuals),
        residual_count=sum(r.residual_count for r in together.residuals),
        anomaly_count=len(together.anomalies),
        headline=tell_headline(together, report).sentence,
    )


def default_path(parts: Parts) -> Path:
    """Where each load leaves the report."""
    return parts.settings.local_dir / "report" / "index.html"


def gather(parts: Parts) -> Report:
    """Everything the page tells, all of it from the same state of the file."""
    settings, now = parts.settings, parts.clock()
    last = last_complete_day(settings.timezone, now)
    first = last - timedelta(days=PERIOD_DAYS - 1)
    askable = askable_days(settings.timezone, settings.retention_days, now)
    answers = parts.warehouse.query_all(
        [read_statement("queries", f"report_{name}").text for name in _QUESTIONS],
        {
            "last": last,
            "first": first,
            "before_first": first - timedelta(days=PERIOD_DAYS),
            "map_first": last - timedelta(days=MAP_DAYS - 1),
            "askable_first": max(settings.start_date, min(askable)),
            "trend_first": last - timedelta(days=TREND_DAYS - 1),
            "period_days": PERIOD_DAYS,
        },
    )
    found = _Found(
        {
            name: _by_app(rows.as_dicts())
            for name, rows in zip(_QUESTIONS, answers, strict=True)
        },
        first=first,
        last=last,
        askable=askable,
    )
    names = found.apps()
    return Report(
        written_at=now.astimezone(settings.timezone),
        timezone=settings.timezone.key,
        period_days=PERIOD_DAYS,
        apps=[found.part_of(name) for name in (None, *names[:OWN_PARTS])],
        left_out=names[OWN_PARTS:],
    )


def _by_app(rows: Iterable[Row]) -> dict[str | None, list[Row]]:
    by_app: dict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        by_app[row["app"]].append(row)
    return by_app


class _Found:
    """What the queries found, by query and app."""

    def __init__(
        self,
        rows: Mapping[str, Mapping[str | None, list[Row]]],
        *,
        first: date,
        last: date,
        askable: Collection[date],
    ) -> None:
        self._rows = rows
        self._first = first
        self._last = last
        self._askable = askable

    def apps(self) -> list[str]:
        """Every app that was asked of late, those that lose most first."""
        losses = {
            name: sum(row["overall_count"] for row in self._of("residuals", name))
            for name, days in self._rows["days"].items()
            if name is not None and days[-1]["loss_date"] >= self._first
        }
        return sorted(losses, key=lambda name: (-losses[name], name))

    def part_of(self, app: str | None) -> AppReport:
        """All that is told of one app, or of all together."""
        return AppReport(
            app=app,
            days=_days(
                self._of_each("days", app), self._askable, is_together=app is None
            ),
            change=self._change(app),
            top_codes=_top_codes(self._of("codes", app)),
            categories=_portions(self._of("categories", app)),
            owners=_portions(self._of("owners", app)),
            platform_days=tuple(
                PlatformDay(row["loss_date"], row["platform"], row["lost_count"])
                for row in self._of("platform_days", app)
            ),
            events=tuple(map(_event, self._of_each("events", app))),
            residuals=tuple(map(_residual, self._of("residuals", app))),
            anomalies=tuple(map(_anomaly, self._of_each("anomalies", app))),
            unknown_codes=tuple(map(_unknown_code, self._of("unknown_codes", app))),
        )

    def _of(self, name: str, app: str | None) -> list[Row]:
        return self._rows[name].get(app, [])

    def _of_each(self, name: str, app: str | None) -> list[Row]:
        """Rows of one app; for all together those of every app, in their order."""
        if app is not None:
            return self._of(name, app)
        every = [row for rows in self._rows[name].values() for row in rows]
        return sorted(every, key=lambda row: row["loss_date"], reverse=name != "days")

    def _change(self, app: str | None) -> Change:
        cells = tuple(
            CodeChange(_code(row), row["before_count"], row["after_count"])
            for row in self._of("change", app)
        )
        compared = self._rows["compared"]
        pairs = [
            row
            for name in (compared if app is None else [app])
            for row in compared.get(name, [])
        ]
        return Change(
            first_day=self._first,
            last_day=self._last,
            compared_days=sum(row["compared_days"] for row in pairs),
            wanted_days=sum(row["wanted_days"] for row in pairs),
            before_count=sum(cell.before_count for cell in cells),
            after_count=sum(cell.after_count for cell in cells),
            cells=cells,
        )


def _days(
    rows: Sequence[Row], askable: Collection[date], *, is_together: bool
) -> tuple[DayFigures, ...]:
    by_day: dict[date, list[Row]] = defaultdict(list)
    for row in rows:
        by_day[row["loss_date"]].append(row)
    return tuple(
        _day(day, some, is_together=is_together, is_askable=day in askable)
        for day, some in by_day.items()
    )


def _day(
    day: date, rows: Sequence[Row], *, is_together: bool, is_askable: bool
) -> DayFigures:
    """One day of one app, or of all of them: what is known, and the worst state."""
    known = [row for row in rows if row["ready_to_send_count"] is not None]
    return DayFigures(
        loss_date=day,
        state=_worst([row["state"] for row in rows]),
        is_young=any(row["is_young"] for row in rows),
        is_askable=is_askable,
        ready_to_send_count=sum(row["ready_to_send_count"] for row in known)
        if known
        else None,
        post_send_delivered_count=sum(row["post_send_delivered_count"] for row in known)
        if known
        else None,
        missing_app_count=len(rows) - len(known),
        problem="; ".join(
            f"{row['app']}: {_problem(row)}" if is_together else _problem(row)
            for row in rows
            if row["state"] not in DONE_STATES
        ),
    )


def _worst(states: Sequence[str]) -> str:
    return next((state for state in _WORST_FIRST if state in states), states[0])


def _problem(row: Row) -> str:
    told = (row["state"], row["error_code"], row["error_info"])
    return " ".join(str(part) for part in told if part not in (None, ""))


def _code(row: Row) -> Code:
    return Code(
        stage=row["stage"],
        platform=row["platform"],
        err_code=row["err_code"],
        meaning=row["meaning"],
        category=row["category"],
        owner=row["owner"],
        action=row["action"],
    )


def _top_codes(rows: Sequence[Row]) -> tuple[TopCode, ...]:
    total = sum(row["lost_count"] for row in rows) or 1
    reached = accumulate(row["lost_count"] for row in rows)
    return tuple(
        TopCode(
            code=_code(row),
            lost_count=row["lost_count"],
            share=row["lost_count"] / total,
            cumulative_share=so_far / total,
            before_count=row["before_count"],
        )
        for row, so_far in zip(rows, reached, strict=True)
        if row["lost_count"]
    )[:TOP_CODES]


def _portions(rows: Sequence[Row]) -> tuple[Portion, ...]:
    total = sum(row["lost_count"] for row in rows) or 1
    return tuple(
        Portion(
            row["name"],
            row["lost_count"],
            row["lost_count"] / total,
            row["before_count"],
        )
        for row in rows
    )


def _event(row: Row) -> CodeEvent:
    return CodeEvent(
        row["loss_date"], row["event"], row["app"], _code(row), row["lost_count"]
    )


def _residual(row: Row) -> Residual:
    return Residual(row["stage"], row["overall_count"], row["platform_count"])


def _anomaly(row: Row) -> Anomaly:
    return Anomaly(
        loss_date=row["loss_date"],
        app=row["app"],
        level=row["level"],
        code=_code(row),
        direction=row["direction"],
        lost_count=row["lost_count"],
        expected_count=row["expected_count"],
        score=row["score"],
        is_young=row["is_young"],
    )


def _unknown_code(row: Row) -> UnknownCode:
    return UnknownCode(
        stage=row["stage"],
        platform=row["platform"],
        err_code=row["err_code"],
        err_info=row["err_info"],
        lost_count=row["lost_count"],
        last_date=row["last_date"],
    )
