"""Days of a zone: where they begin and end, and how long they can be asked for."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushloss_pipeline.domain.model import DayWindow
from pushloss_pipeline.domain.window import (
    askable_days,
    day_window,
    expires_at,
    is_expired,
    is_over,
    last_complete_day,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
DAY = date(2025, 3, 12)
ONE_SECOND = timedelta(seconds=1)
DAY_ENDS = datetime(2025, 3, 12, 16, 0, tzinfo=UTC)


def test_vendors_window() -> None:
    """The vendor's sample window is one day of Shanghai."""
    window = day_window(DAY, SHANGHAI)

    assert DAY == window.day
    assert 1741708800 == window.start.timestamp()
    assert 1741795200 == window.end.timestamp()


def test_window_is_in_utc() -> None:
    """A window is told in UTC, whatever its zone."""
    assert DayWindow(
        day=DAY,
        start=datetime(2025, 3, 11, 16, 0, tzinfo=UTC),
        end=datetime(2025, 3, 12, 16, 0, tzinfo=UTC),
    ) == day_window(DAY, SHANGHAI)
    assert UTC is day_window(DAY, SHANGHAI).start.tzinfo
    assert UTC is day_window(DAY, SHANGHAI).end.tzinfo


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        pytest.param("UTC", date(2025, 3, 30), "2025-03-30T00:00", 24, id="utc"),
        pytest.param(
            "Europe/Berlin", date(2025, 3, 30), "2025-03-29T23:00", 23, id="spring"
        ),
        pytest.param(
            "Europe/Berlin", date(2025, 10, 26), "2025-10-25T22:00", 25, id="autumn"
        ),
        pytest.param(
            "Australia/Lord_Howe",
            date(2025, 4, 6),
            "2025-04-05T13:00",
            24.5,
            id="half_an_hour",
        ),
        pytest.param(
            "America/Sao_Paulo",
            date(2018, 11, 4),
            "2018-11-04T03:00",
            23,
            id="no_midnight",
        ),
        pytest.param(
            "America/Sao_Paulo",
            date(2018, 2, 17),
            "2018-02-17T02:00",
            25,
            id="last_hour_twice",
        ),
        pytest.param(
            "America/Havana",
            date(2025, 11, 2),
            "2025-11-02T04:00",
            25,
            id="midnight_twice",
        ),
        pytest.param(
            "Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00", 0, id="left_out"
        ),
    ],
)
def test_moved_clocks(zone: str, day: date, start: str, hours: float) -> None:
    """A day begins at its first instant and is as long as the clocks made it."""
    window = day_window(day, ZoneInfo(zone))

    assert datetime.fromisoformat(f"{start}+00:00") == window.start
    assert timedelta(hours=hours) == window.end - window.start


ZONES = st.sampled_from(
    [
        "Asia/Shanghai",
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/St_Johns",
        "America/Havana",
        "Asia/Beirut",
        "Pacific/Apia",
    ]
).map(ZoneInfo)
DAYS = st.dates(date(1970, 1, 10), date(2037, 12, 1))


@given(DAYS, ZONES)
def test_first_instant(day: date, zone: ZoneInfo) -> None:
    """At a window's start the date is reached, a second earlier it is not."""
    start = day_window(day, zone).start

    assert start.astimezone(zone).date() >= day
    assert (start - ONE_SECOND).astimezone(zone).date() < day


@given(DAYS, ZONES)
def test_windows_touch(day: date, zone: ZoneInfo) -> None:
    """Successive windows touch: no second belongs to two days or to none."""
    tomorrow = day + timedelta(days=1)

    assert day_window(day, zone).end == day_window(tomorrow, zone).start


@pytest.mark.parametrize(
    ("now", "over"),
    [
        pytest.param(DAY_ENDS - timedelta(days=3), False, id="future"),
        pytest.param(DAY_ENDS - ONE_SECOND, False, id="last_second"),
        pytest.param(DAY_ENDS, True, id="end"),
        pytest.param(
            DAY_ENDS.astimezone(timezone(timedelta(hours=-9))), True, id="other_zone"
        ),
    ],
)
def test_is_over(now: datetime, over: bool) -> None:
    """A day is over from its end on."""
    assert over == is_over(DAY, SHANGHAI, now)


def test_expires_at() -> None:
    """A day expires when today is more than the retention away from it."""
    assert datetime(2025, 3, 19, 16, 0, tzinfo=UTC) == expires_at(DAY, SHANGHAI, 7)


def test_expires_at_over_a_moved_clock() -> None:
    """Retention counts days of the zone, not spans of 24 hours."""
    berlin = ZoneInfo("Europe/Berlin")
    moment = expires_at(date(2025, 3, 28), berlin, 7)

    assert datetime(2025, 4, 5, tzinfo=berlin) == moment


@pytest.mark.parametrize(
    ("now", "expired"),
    [
        pytest.param(DAY_ENDS, False, id="fresh"),
        pytest.param(
            DAY_ENDS + timedelta(days=7) - ONE_SECOND, False, id="last_second"
        ),
        pytest.param(DAY_ENDS + timedelta(days=7), True, id="forgotten"),
    ],
)
def test_is_expired(now: datetime, expired: bool) -> None:
    """A day is expired from its expiry on."""
    assert expired == is_expired(DAY, SHANGHAI, 7, now)


@pytest.mark.parametrize(
    ("zone", "now", "day"),
    [
        pytest.param(
            "Asia/Shanghai", DAY_ENDS - ONE_SECOND, date(2025, 3, 11), id="before"
        ),
        pytest.param("Asia/Shanghai", DAY_ENDS, DAY, id="midnight"),
        pytest.param("UTC", DAY_ENDS, date(2025, 3, 11), id="other_zone"),
        pytest.param(
            "America/St_Johns",
            datetime(2010, 11, 7, 3, 0, tzinfo=UTC),
            date(2010, 11, 6),
            id="clock_set_back_over_midnight",
        ),
    ],
)
def test_last_complete_day(zone: str, now: datetime, day: date) -> None:
    """The last complete day is the newest that is over."""
    assert day == last_complete_day(ZoneInfo(zone), now)


def test_askable_days() -> None:
    """The days to ask for are the last complete ones, oldest first."""
    assert (date(2025, 3, 10), date(2025, 3, 11), DAY) == askable_days(
        SHANGHAI, 3, DAY_ENDS
    )


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),
    ZONES,
    st.integers(0, 10),
)
def test_askable_days_agree(now: datetime, zone: ZoneInfo, retention: int) -> None:
    """Exactly the days that are over and not expired are askable."""
    today = now.astimezone(zone).date()
    near = [today + timedelta(days=away) for away in range(-15, 3)]

    assert [
        day
        for day in near
        if is_over(day, zone, now) and not is_expired(day, zone, retention, now)
    ] == list(askable_days(zone, retention, now))


def test_naive_clock() -> None:
    """A time without a zone is refused rather than taken for local time."""
    with pytest.raises(TypeError, match="offset-naive"):
        askable_days(SHANGHAI, 7, datetime(2025, 3, 12, 16, 0))
