"""Reports to render: typed by hand where words matter, from the simulator for looks."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from pushloss_pipeline.report.model import (
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
from pushloss_pipeline.simulator.catalogue import POST, READY
from pushloss_pipeline.simulator.scenario import (
    DEMO_APPS,
    Incident,
    Scenario,
    SimulatedApp,
    many_apps,
)
from pushloss_pipeline.simulator.truth import LossCount, day_truth

ZONE = ZoneInfo("Asia/Shanghai")
WRITTEN_AT = datetime(2026, 11, 23, 9, 12, tzinfo=ZONE)
LAST_DAY = date(2026, 11, 22)
PERIOD = 7
_ROOT = Path(__file__).parents[2]
_PLATFORMS = (
    "unknown",
    "apns",
    "xiaomi",
    "huawei",
    "fcm",
    "meizu",
    "oppo",
    "vivo",
    "honor",
)

Counts = Mapping[tuple[str, str, str], int]
"""One day of one app by stage, platform (empty: overall) and code."""


def a_code(
    platform: str = "apns",
    err_code: str = "403",
    *,
    stage: str = "post_send_delivered",
    meaning: str = "Certificate or provider token rejected.",
    category: str = "app_config",
    owner: str = "console admin",
    action: str = "Renew the .p12 or .p8 credentials.",
) -> Code:
    """A code that says whose move it is."""
    return Code(stage, platform, err_code, meaning, category, owner, action)


def a_change(*cells: CodeChange, compared: int = 7, wanted: int = 7) -> Change:
    """A change of these cells in the last week."""
    return Change(
        first_day=LAST_DAY - timedelta(days=PERIOD - 1),
        last_day=LAST_DAY,
        compared_days=compared,
        wanted_days=wanted,
        before_count=sum(cell.before_count for cell in cells),
        after_count=sum(cell.after_count for cell in cells),
        cells=tuple(sorted(cells, key=lambda c: -abs(c.change_count))),
    )


def some_days(
    count: int = 28, *, lost: int | None = 1000, young: int = 0, state: str = "loaded"
) -> tuple[DayFigures, ...]:
    """Days up to the last one, all alike."""
    first = LAST_DAY - timedelta(days=count - 1)
    return tuple(
        DayFigures(
            loss_date=first + timedelta(days=n),
            state=state,
            is_young=n >= count - young,
            is_askable=n >= count - 7,
            ready_to_send_count=None if lost is None else lost // 5,
            post_send_delivered_count=None if lost is None else lost - lost // 5,
        )
        for n in range(count)
    )


def a_part(app: str | None = None, **fields: object) -> AppReport:
    """A part in which nothing happened."""
    quiet = AppReport(
        app=app,
        days=some_days(),
        change=a_change(),
        top_codes=(),
        categories=(),
        owners=(),
        platform_days=(),
        events=(),
        residuals=(),
        anomalies=(),
        unknown_codes=(),
    )
    return replace(quiet, **fields)  # type: ignore[arg-type]


def a_report(*parts: AppReport, left_out: Sequence[str] = ()) -> Report:
    """A report of these parts; of all apps together, where none is given."""
    return Report(
        written_at=WRITTEN_AT,
        timezone="Asia/Shanghai",
        period_days=PERIOD,
        apps=parts or (a_part(),),
        left_out=left_out,
    )


def an_anomaly(day: date, code: Code | None = None, **fields: object) -> Anomaly:
    """A code that lost far more than usual."""
    anomaly = Anomaly(
        loss_date=day,
        app="shop",
        level="code",
        code=code or a_code(),
        direction="rise",
        lost_count=20_000,
        expected_count=10,
        score=40.0,
        is_young=False,
    )
    return replace(anomaly, **fields)  # type: ignore[arg-type]


def an_empty_report() -> Report:
    """A report before anything was loaded."""
    days = some_days(PERIOD, lost=None, state="never asked")
    nothing = a_change(compared=0)
    return a_report(
        a_part(days=days, change=nothing), a_part("shop", days=days, change=nothing)
    )


@cache
def a_real_report() -> Report:
    """Eight weeks of two apps: an expired certificate, a missing and a held day."""
    shop, chat = (app.sdk_app_id for app in DEMO_APPS)
    incidents = (
        _incident(chat, 9, 24, 2, 7, "10070", 120, "运营消息发送量超出限制"),
        _incident(shop, 10, 13, 1, 4, "UNAVAILABLE", 300, ""),
        _incident(shop, 11, 4, 2, 3, "80200003", 400, ""),
        _incident(
            shop, 11, 17, 2, 1, "403", 9000, "ExpiredProviderToken: <token> & co."
        ),
    )
    tokens_lost = Incident(
        "tokens lost", chat, date(2026, 10, 27), date(2026, 10, 28), 3, "-2", 9, READY
    )
    strange = Incident(
        "a new code", chat, date(2026, 11, 19), date(2026, 11, 19), 9, "77001", 4, POST
    )
    scenario = Scenario(2026, DEMO_APPS, (*incidents, tokens_lost, strange))
    states = {
        ("chat", date(2026, 11, 3)): ("never asked", ""),
        ("shop", date(2026, 11, 12)): ("held", ""),
        ("chat", date(2026, 10, 9)): ("failed", "60008 service timed out"),
    }
    return _build(scenario, states, days=56)


def _incident(
    app_id: int,
    month: int,
    day: int,
    days: int,
    platform_id: int,
    err_code: str,
    factor: float,
    err_info: str,
) -> Incident:
    first = date(2026, month, day)
    last = first + timedelta(days=days - 1)
    return Incident(
        "test", app_id, first, last, platform_id, err_code, factor, POST, err_info
    )


@cache
def a_large_report(apps: int = 20) -> Report:
    """As many apps as a page holds, eight weeks each."""
    scenario = Scenario(7, many_apps(apps, 7))
    report = _build(scenario, {}, days=56)
    return replace(report, left_out=("app_0100", "app_0101"))


def a_hostile_report() -> Report:
    """Every text is an attack, or far too long."""
    script = "<script>window.stolen=1</script><img src=x onerror=window.stolen=1>"
    closing = "</script><!--<script>\"'`&amp;\u2028\u2029${window.stolen=1}"
    long_name = "a" * 160
    code = Code(
        "post_send_delivered",
        f"platform_{script}",
        f"{closing}{'9' * 90}",
        script * 3,
        script,
        closing,
        f"javascript:window.stolen=1 {closing}",
    )
    days = some_days()
    days = (*days[:-1], replace(days[-1], state="failed", problem=script + closing))
    parts = [
        a_part(
            app,
            days=days,
            change=a_change(CodeChange(code, 10, 9000)),
            top_codes=(TopCode(code, 9000, 1.0, 1.0, 10),),
            categories=(Portion(script, 9000, 1.0, 10),),
            owners=(Portion(closing, 9000, 1.0, 10),),
            platform_days=tuple(
                PlatformDay(day.loss_date, script + long_name, 800) for day in days
            ),
            events=(CodeEvent(LAST_DAY, "first_seen", script, code, 9000),),
            residuals=(Residual("post_send_delivered", 100, 90),),
            anomalies=(
                replace(an_anomaly(LAST_DAY, code), app=script, lost_count=9000),
            ),
            unknown_codes=(
                UnknownCode(script, script, closing, script * 9, 9000, LAST_DAY),
            ),
        )
        for app in (None, script, closing, long_name, "店铺 应用 " * 12)
    ]
    return a_report(*parts, left_out=(script, long_name))


def _build(
    scenario: Scenario,
    states: Mapping[tuple[str, date], tuple[str, str]],
    *,
    days: int,
) -> Report:
    dates = [LAST_DAY - timedelta(days=n) for n in reversed(range(days))]
    facts = {app.name: _facts(scenario, app, dates, states) for app in scenario.apps}
    anomalies = _anomalies(scenario, facts)
    names = tuple(facts)
    return a_report(
        _part(None, names, dates, facts, states, anomalies),
        *(_part(name, (name,), dates, facts, states, anomalies) for name in names),
    )


Facts = Mapping[str, Mapping[date, Counts]]


def _facts(
    scenario: Scenario,
    app: SimulatedApp,
    dates: Iterable[date],
    states: Mapping[tuple[str, date], tuple[str, str]],
) -> Mapping[date, Counts]:
    """The app's known days; a held day keeps its rows, others have none."""
    return {
        day: {
            _key(row): row.err_count
            for row in day_truth(scenario, app.sdk_app_id, day, at=WRITTEN_AT)
        }
        for day in dates
        if states.get((app.name, day), ("loaded", ""))[0] in ("loaded", "held")
    }


def _key(row: LossCount) -> tuple[str, str, str]:
    if row.platform_id is None:
        return row.stage, "", row.err_code
    name = (
        _PLATFORMS[row.platform_id]
        if row.platform_id < len(_PLATFORMS)
        else f"platform_{row.platform_id}"
    )
    return row.stage, name, row.err_code


def _part(
    app: str | None,
    names: Sequence[str],
    dates: Sequence[date],
    facts: Facts,
    states: Mapping[tuple[str, date], tuple[str, str]],
    anomalies: Sequence[Anomaly],
) -> AppReport:
    after, before = dates[-PERIOD:], dates[-2 * PERIOD : -PERIOD]
    now, then = _summed(names, after, facts), _summed(names, before, facts)
    top = _top_codes(now, then)
    return AppReport(
        app=app,
        days=tuple(_day(names, day, facts, states) for day in dates),
        change=_change(names, after, facts),
        top_codes=top[:40],
        categories=_portions(top, "category"),
        owners=_portions(top, "owner"),
        platform_days=_platform_days(names, dates[-28:], facts),
        events=_events(names, dates, facts),
        residuals=tuple(_residual(stage, now) for stage in (READY, POST)),
        anomalies=tuple(a for a in anomalies if a.app in names),
        unknown_codes=_unknown_codes(top),
    )


def _summed(
    names: Iterable[str], days: Iterable[date], facts: Facts
) -> dict[tuple[str, str, str], int]:
    summed: dict[tuple[str, str, str], int] = defaultdict(int)
    wanted = list(days)
    for name in names:
        for day in wanted:
            for key, count in facts[name].get(day, {}).items():
                summed[key] += count
    return summed


def _day(
    names: Sequence[str],
    day: date,
    facts: Facts,
    states: Mapping[tuple[str, date], tuple[str, str]],
) -> DayFigures:
    wrong = [(name, *states[name, day]) for name in names if (name, day) in states]
    known = any(day in facts[name] for name in names)
    counts = _summed(names, [day], facts)

    def overall(stage: str) -> int | None:
        if not known:
            return None
        return sum(n for (s, p, _), n in counts.items() if s == stage and not p)

    return DayFigures(
        loss_date=day,
        state=wrong[0][1] if wrong else "loaded",
        is_young=(LAST_DAY - day).days < 3,
        is_askable=(LAST_DAY - day).days < 7,
        ready_to_send_count=overall(READY),
        post_send_delivered_count=overall(POST),
        problem="; ".join(
            f"{f'{name}: ' if len(names) > 1 else ''}{state} {problem}".strip()
            for name, state, problem in wrong
        ),
    )


def _change(names: Sequence[str], after: Sequence[date], facts: Facts) -> Change:
    week = timedelta(days=PERIOD)
    pairs = [
        (name, day)
        for name in names
        for day in after
        if day in facts[name] and day - week in facts[name]
    ]
    cells: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for name, day in pairs:
        for side, told in ((0, day - week), (1, day)):
            for (stage, platform, err_code), count in facts[name][told].items():
                cells[stage, platform, err_code if platform else ""][side] += count
    for stage in (READY, POST):
        # What is left of overall when the platforms are taken away.
        for side in (0, 1):
            cells[stage, "", ""][side] -= sum(
                counts[side] for (s, p, _), counts in cells.items() if s == stage and p
            )
    return a_change(
        *(CodeChange(_code(key), *counts) for key, counts in cells.items()),
        compared=len(pairs),
        wanted=len(names) * PERIOD,
    )


def _top_codes(now: Counts, then: Counts) -> tuple[TopCode, ...]:
    ranked = sorted(
        ((count, key) for key, count in now.items() if key[1] and count), reverse=True
    )
    whole = sum(count for count, _ in ranked)
    top, so_far = [], 0
    for count, key in ranked:
        so_far += count
        top.append(
            TopCode(_code(key), count, count / whole, so_far / whole, then.get(key, 0))
        )
    return tuple(top)


def _portions(top: Iterable[TopCode], field: str) -> tuple[Portion, ...]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for code in top:
        both = sums[getattr(code.code, field)]
        both[0] += code.lost_count
        both[1] += code.before_count
    whole = sum(lost for lost, _ in sums.values())
    return tuple(
        Portion(name, lost, lost / whole, before)
        for name, (lost, before) in sorted(sums.items(), key=lambda item: -item[1][0])
    )


def _platform_days(
    names: Sequence[str], dates: Iterable[date], facts: Facts
) -> tuple[PlatformDay, ...]:
    rows = []
    for day in dates:
        sums: dict[str, int] = defaultdict(int)
        for (_, platform, _), count in _summed(names, [day], facts).items():
            if platform:
                sums[platform] += count
        rows.extend(PlatformDay(day, name, count) for name, count in sums.items())
    return tuple(rows)


def _events(
    names: Iterable[str], dates: Sequence[date], facts: Facts
) -> tuple[CodeEvent, ...]:
    events = []
    for name in names:
        met: dict[tuple[str, str, str], list[date]] = defaultdict(list)
        for day, counts in facts[name].items():
            for key in counts:
                if key[1]:
                    met[key].append(day)
        for key, days in met.items():
            first, last = days[0], days[-1]
            if first > dates[-1] - timedelta(days=14):
                count = facts[name][first][key]
                events.append(CodeEvent(first, "first_seen", name, _code(key), count))
            if dates[-1] - timedelta(days=20) < last < dates[-1] - timedelta(days=4):
                count = facts[name][last][key]
                events.append(CodeEvent(last, "vanished", name, _code(key), count))
    return tuple(sorted(events, key=lambda event: event.loss_date, reverse=True))


def _residual(stage: str, now: Counts) -> Residual:
    return Residual(
        stage,
        sum(n for (s, p, _), n in now.items() if s == stage and not p),
        sum(n for (s, p, _), n in now.items() if s == stage and p),
    )


def _anomalies(scenario: Scenario, facts: Facts) -> tuple[Anomaly, ...]:
    """The incidents themselves: what is usual is what other days of the code tell."""
    names = {app.sdk_app_id: app.name for app in scenario.apps}
    anomalies = []
    for incident in scenario.incidents:
        name = names[incident.sdk_app_id]
        day = incident.first_day
        while day <= incident.last_day:
            key = _key(
                LossCount(
                    incident.stage,
                    "platform",
                    incident.platform_id,
                    incident.err_code,
                    "",
                    0,
                )
            )
            count = facts[name].get(day, {}).get(key, 0)
            usual = facts[name].get(day - timedelta(days=7), {}).get(key, 0)
            if count and usual:
                anomalies.append(
                    Anomaly(
                        day, name, "code", _code(key), "rise", count, usual, 9.0, False
                    )
                )
            day += timedelta(days=1)
    return tuple(anomalies)


def _unknown_codes(top: Iterable[TopCode]) -> tuple[UnknownCode, ...]:
    return tuple(
        UnknownCode(
            code.code.stage,
            code.code.platform,
            code.code.err_code,
            "未知错误：请联系 <厂商>",
            code.lost_count,
            LAST_DAY,
        )
        for code in top
        if not code.code.meaning
    )


def _code(key: tuple[str, str, str]) -> Code:
    stage, platform, err_code = key
    known = _catalogue() if platform else {}
    for place in (
        (stage, platform, err_code),
        ("", platform, err_code),
        (stage, "", err_code),
    ):
        if row := known.get(place):
            return Code(
                *key, row["meaning"], row["category"], row["owner"], row["action"]
            )
    return Code(*key, "", "", "", "")


@cache
def _catalogue() -> dict[tuple[str, str, str], dict[str, str]]:
    text = (_ROOT / "sql" / "dimensions" / "error_codes.csv").read_text("utf-8")
    return {
        (row["stage"], row["platform"], row["err_code"]): row
        for row in csv.DictReader(text.splitlines())
    }
