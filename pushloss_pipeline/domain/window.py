"""Days of a zone as spans of time, and how long the API remembers them."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pushloss_pipeline.domain.model import DayWindow

SETTLING_DAYS = 3
"""Age at which a day's counts have settled, until that is measured."""
SETTLED_SHARE = 0.98
"""Of its final count: what still comes moves a day by less than 2 %.

The simulator's days reach 74, 94, 98 and 99 % of their losses after sending at
ages 0 to 3, so they settle at age 3 (97.8 % at age 2 is not enough).
"""
GRACE = timedelta(hours=2)
"""What the daily load may take, trouble and retries included."""
MEASURED_DAYS = 14
"""App days of an age that it takes to measure it."""

_ONE_DAY = timedelta(days=1)


class DayBounds(NamedTuple):
    """When a day was over, and until when the API tells of it."""

    ended_at: datetime
    expires_at: datetime


def day_window(day: date, zone: ZoneInfo) -> DayWindow:
    """The day from its first instant to that of the next, both in UTC.

    23 or 25 hours long where the clock is moved; empty for a day that the
    zone left out. Windows of successive days touch and never overlap.
    """
    return DayWindow(
        day=day,
        start=_first_instant(day, zone),
        end=_first_instant(day + _ONE_DAY, zone),
    )


def is_over(day: date, zone: ZoneInfo, now: datetime) -> bool:
    """Whether all of the day lies behind `now`."""
    return now >= day_window(day, zone).end


def expires_at(day: date, zone: ZoneInfo, retention_days: int) -> datetime:
    """When the API forgets the day: it answers for today and `retention_days` back."""
    return day_window(day + timedelta(days=retention_days), zone).end


def due_at(day: date, zone: ZoneInfo, schedule_time: time) -> datetime:
    """When the first daily load after the day is over at latest."""
    return datetime.combine(day + _ONE_DAY, schedule_time, zone).astimezone(UTC) + GRACE


def day_bounds(day: date, zone: ZoneInfo, retention_days: int) -> DayBounds:
    """Both moments of a day that matter after its end."""
    return DayBounds(
        ended_at=day_window(day, zone).end,
        expires_at=expires_at(day, zone, retention_days),
    )


def is_expired(day: date, zone: ZoneInfo, retention_days: int, now: datetime) -> bool:
    """Whether the API has forgotten the day."""
    return now >= expires_at(day, zone, retention_days)


def last_complete_day(zone: ZoneInfo, now: datetime) -> date:
    """The newest day that is over."""
    today = now.astimezone(zone).date()
    # A clock set back over midnight shows the date of a day that is over.
    return today if is_over(today, zone, now) else today - _ONE_DAY


def askable_days(
    zone: ZoneInfo, retention_days: int, now: datetime
) -> tuple[date, ...]:
    """The days that are over and not yet forgotten, oldest first."""
    last = last_complete_day(zone, now)
    return tuple(last - timedelta(days=age) for age in reversed(range(retention_days)))


def _first_instant(day: date, zone: ZoneInfo) -> datetime:
    # Where the clock skips midnight, zoneinfo reads it by the offset before
    # the change: the very instant of the change, at which the day begins.
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
