"""The true counts: what the simulated vendor tells of a window at one instant.

Days are cut at UTC+8 midnights. A window that is not exactly one day adds up the days
it overlaps, each in proportion to the overlap and rounded down per platform and code.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Literal

from pushloss_pipeline.simulator.catalogue import (
    LOSS_CODES,
    PLATFORM_SHARES,
    READY,
    LossCode,
    Stage,
)
from pushloss_pipeline.simulator.scenario import (
    Incident,
    Scenario,
    SimulatedApp,
    chance,
)

UTC8 = timezone(timedelta(hours=8))
DAY_SECONDS = 86_400

_EPOCH_DAY = date(2026, 1, 1)
_LATE_TEXT_DAYS = 3
_READY_SETTLING = (0.60, 1.0)
_POST_SETTLING = {
    0: (0.80, 1.0),
    1: (0.75, 1.0),
    2: (0.60, 2.0),
    3: (0.55, 3.0),
    4: (0.70, 2.0),
    5: (0.55, 3.0),
    6: (0.55, 3.0),
    7: (0.35, 7.0),
    8: (0.55, 3.0),
}
"""Per platform: share known at the day's end, days after it until all is known."""
_STRANGE_SETTLING = (0.60, 2.0)

Scope = Literal["overall", "platform"]


@dataclass(frozen=True, slots=True)
class LossCount:
    """One element of the four arrays of an answer."""

    stage: Stage
    scope: Scope
    platform_id: int | None
    err_code: str
    err_info: str
    err_count: int


@dataclass(slots=True)
class _Tally:
    """A running sum that remembers the most frequent text."""

    err_count: int = 0
    err_info: str = ""
    most_frequent_count: int = 0

    def add(self, err_count: int, err_info: str) -> None:
        self.err_count += err_count
        if err_count > self.most_frequent_count:
            self.most_frequent_count, self.err_info = err_count, err_info


def day_start(day: date) -> int:
    """Return the unix second at which this day begins in UTC+8."""
    return int(datetime.combine(day, time(), tzinfo=UTC8).timestamp())


def day_of(unix_seconds: float) -> date:
    """Return the UTC+8 day that holds this instant."""
    return datetime.fromtimestamp(unix_seconds, UTC).astimezone(UTC8).date()


def day_truth(
    scenario: Scenario, sdk_app_id: int, day: date, *, at: datetime
) -> tuple[LossCount, ...]:
    """Tell an app's day as it is known at an instant; KeyError for an unknown app."""
    start_time = day_start(day)
    return window_truth(scenario, sdk_app_id, start_time, start_time + DAY_SECONDS, at)


def window_truth(
    scenario: Scenario, sdk_app_id: int, start_time: int, end_time: int, at: datetime
) -> tuple[LossCount, ...]:
    """Tell [start_time, end_time) as one aggregate, overall rows first.

    Overall is the sum of the platforms and a little more: the vendor counts some
    losses that it can put down to no platform.
    """
    app = scenario.find_app(sdk_app_id)
    if app is None:
        raise KeyError(f"the scenario has no app {sdk_app_id}")
    platforms: dict[tuple[Stage, int | None, str], _Tally] = {}
    for told in _told_in_window(scenario, app, start_time, end_time, at.timestamp()):
        key = (told.stage, told.platform_id, told.err_code)
        platforms.setdefault(key, _Tally()).add(told.err_count, told.err_info)
    overall = _add_up(scenario.seed, app, platforms)
    return (
        *_ranked(
            LossCount(s, "overall", None, code, tally.err_info, tally.err_count)
            for (s, code), tally in overall.items()
        ),
        *_ranked(
            LossCount(s, "platform", p, code, tally.err_info, tally.err_count)
            for (s, p, code), tally in platforms.items()
        ),
    )


def _add_up(
    seed: int, app: SimulatedApp, platforms: dict[tuple[Stage, int | None, str], _Tally]
) -> dict[tuple[Stage, str], _Tally]:
    overall: dict[tuple[Stage, str], _Tally] = {}
    for (stage, _, err_code), tally in platforms.items():
        whole = overall.setdefault((stage, err_code), _Tally())
        whole.add(tally.err_count, tally.err_info)
    for (stage, err_code), whole in overall.items():
        residual_share = 0.04 * chance(seed, app.sdk_app_id, stage, err_code, "rest")
        whole.err_count += int(whole.err_count * residual_share)
    return overall


def _ranked(rows: Iterable[LossCount]) -> list[LossCount]:
    return sorted(
        (row for row in rows if row.err_count > 0),
        key=lambda row: (row.stage != READY, -row.err_count, row.err_code),
    )


def _told_in_window(
    scenario: Scenario, app: SimulatedApp, start_time: int, end_time: int, at: float
) -> Iterator[LossCount]:
    day = day_of(start_time)
    while day_start(day) < end_time:
        day_begin = day_start(day)
        day_end = day_begin + DAY_SECONDS
        overlap = min(end_time, day_end) - max(start_time, day_begin)
        for code, final_count in final_counts(scenario, app, day):
            told_count = int(final_count * share_told(code, day_begin, at))
            yield LossCount(
                code.stage,
                "platform",
                code.platform_id,
                code.err_code,
                _text_told(code, day_end, at),
                told_count * overlap // DAY_SECONDS,
            )
        day += timedelta(days=1)


def share_told(code: LossCode, day_begin: int, at: float) -> float:
    """Tell which part of a code's final count is known at an instant: 0 to exactly 1.

    It never falls, but for codes that the vendor withdraws, which end at 0.
    """
    day_end = day_begin + DAY_SECONDS
    days_after = (at - day_end) / DAY_SECONDS
    if days_after < code.appears_after_days and code.appears_after_days > 0:
        return 0.0
    if code.vanishes_after_days is not None and days_after >= code.vanishes_after_days:
        return 0.0
    known_at_end, settling_days = (
        _READY_SETTLING
        if code.stage == READY
        else _POST_SETTLING.get(code.platform_id, _STRANGE_SETTLING)
    )
    elapsed = _clamped((at - day_begin) / DAY_SECONDS)
    settled = 1 - (1 - _clamped(days_after / settling_days)) ** 3
    return elapsed * (known_at_end + (1 - known_at_end) * settled)


def _clamped(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _text_told(code: LossCode, day_end: int, at: float) -> str:
    if code.late_err_info is None or at < day_end + _LATE_TEXT_DAYS * DAY_SECONDS:
        return code.err_info
    return code.late_err_info


def final_counts(
    scenario: Scenario, app: SimulatedApp, day: date
) -> tuple[tuple[LossCode, int], ...]:
    """Give each code of an app's day with the count it ends at, incidents included."""
    incidents = (i for i in scenario.incidents if i.covers(app.sdk_app_id, day))
    return _final_counts(scenario.seed, app, day, tuple(incidents))


@lru_cache(maxsize=1024)  # a day is asked for again and again
def _final_counts(
    seed: int, app: SimulatedApp, day: date, incidents: tuple[Incident, ...]
) -> tuple[tuple[LossCode, int], ...]:
    return tuple(
        (code, _final_count(seed, app, day, code, messages))
        for code, messages in _expected(seed, app, day, incidents)
    )


def _expected(
    seed: int, app: SimulatedApp, day: date, incidents: tuple[Incident, ...]
) -> Iterator[tuple[LossCode, float]]:
    """Each code of the day, and of how many messages it takes its part."""
    messages = _messages_of_day(seed, app, day)
    left = {(i.stage, i.platform_id, i.err_code): i for i in incidents}
    for code in LOSS_CODES:
        incident = left.pop((code.stage, code.platform_id, code.err_code), None)
        if incident is None:
            yield code, messages
        else:
            yield _told_during(incident, code), messages * incident.factor
    for incident in left.values():
        yield _unusual_code(incident), messages * incident.factor


def _told_during(incident: Incident, code: LossCode) -> LossCode:
    if not incident.err_info:
        return code
    return replace(code, err_info=incident.err_info, late_err_info=None)


def _unusual_code(incident: Incident) -> LossCode:
    return LossCode(
        incident.stage,
        incident.platform_id,
        incident.err_code,
        per_10k=1.0,
        err_info=incident.err_info or incident.kind,
    )


def _messages_of_day(seed: int, app: SimulatedApp, day: date) -> float:
    weekday_factor = app.weekend_factor if day.weekday() >= 5 else 1.0
    yearly_growth = 0.4 * (chance(seed, app.sdk_app_id, "trend") - 0.25)
    trend = math.exp(yearly_growth * (day - _EPOCH_DAY).days / 365)
    noise = 0.96 + 0.08 * chance(seed, app.sdk_app_id, day, "messages")
    return app.daily_messages * weekday_factor * trend * noise


def _final_count(
    seed: int, app: SimulatedApp, day: date, code: LossCode, messages: float
) -> int:
    lasting = (seed, app.sdk_app_id, code.platform_id)
    mix = 0.7 + 0.6 * chance(*lasting, "mix")
    habit = 0.6 + 0.8 * chance(*lasting, code.stage, code.err_code)
    noise = 0.9 + 0.2 * chance(*lasting, code.stage, code.err_code, day)
    share = PLATFORM_SHARES.get(code.platform_id, 0.01)
    expected = messages * share * mix * code.per_10k / 10_000 * habit * noise
    # Rounded by lot, so that a rare code is met on some days only.
    return int(expected + chance(*lasting, code.stage, code.err_code, day, "lot"))
