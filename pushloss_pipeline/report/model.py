"""What a report tells, as plain values; all counts are messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

DONE_STATES = ("loaded", "empty")


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One day; counts are None while no accepted answer tells them."""

    loss_date: date
    state: str
    """State of `push_loss_days`, or `never asked`; of all apps together the worst."""
    is_young: bool
    is_askable: bool
    """The API still tells of it."""
    ready_to_send_count: int | None
    post_send_delivered_count: int | None
    missing_app_count: int = 0
    """Apps whose counts of the day are not known; the others' are told."""
    problem: str = ""
    """What is wrong, in words; names the app where the page tells of all of them."""

    @property
    def is_whole(self) -> bool:
        """The counts are all there; a held or failed day keeps those it had."""
        return self.lost_count is not None and not self.missing_app_count

    @property
    def lost_count(self) -> int | None:
        """Both stages, scope overall."""
        if self.ready_to_send_count is None or self.post_send_delivered_count is None:
            return None
        return self.ready_to_send_count + self.post_send_delivered_count


@dataclass(frozen=True, slots=True)
class Code:
    """A code with its meaning; platform and meaning are empty for a residual."""

    stage: str
    platform: str
    err_code: str
    meaning: str
    category: str
    owner: str
    action: str


@dataclass(frozen=True, slots=True)
class CodeChange:
    """A cell of the change between two periods; all cells add up to the change.

    The cell of a residual (overall minus platforms) has an empty platform.
    """

    code: Code
    before_count: int
    after_count: int

    @property
    def change_count(self) -> int:
        """What this cell adds to the change."""
        return self.after_count - self.before_count


@dataclass(frozen=True, slots=True)
class Change:
    """The last days against as many before, over days known on both sides."""

    first_day: date
    last_day: date
    compared_days: int
    """App days that are known on both sides; 0: nothing to compare."""
    wanted_days: int
    """App days that would be compared were all known."""
    before_count: int
    after_count: int
    cells: tuple[CodeChange, ...]
    """Greatest absolute change first."""

    @property
    def change_count(self) -> int:
        """Exactly the sum of the cells."""
        return self.after_count - self.before_count


@dataclass(frozen=True, slots=True)
class TopCode:
    """What a code lost in the last days, scope platform."""

    code: Code
    lost_count: int
    share: float
    """Of the losses of all platforms."""
    cumulative_share: float
    """Of this and all greater ones."""
    before_count: int
    """In as many days before."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Part of the losses of the last days: of a category, an owner, a platform."""

    name: str
    lost_count: int
    share: float
    before_count: int


@dataclass(frozen=True, slots=True)
class PlatformDay:
    """What one platform lost on one day, scope platform, both stages."""

    loss_date: date
    platform: str
    lost_count: int


@dataclass(frozen=True, slots=True)
class CodeEvent:
    """A code that came, came back or went: first_seen, returned or vanished."""

    loss_date: date
    event: str
    app: str
    code: Code
    lost_count: int
    """On that day; of a vanished code on the last day it was met."""


@dataclass(frozen=True, slots=True)
class Residual:
    """Overall losses that no platform explains, of the last days, by stage."""

    stage: str
    overall_count: int
    platform_count: int

    @property
    def residual_count(self) -> int:
        """Overall minus platforms; below zero where platforms tell more."""
        return self.overall_count - self.platform_count


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A count out of its weekday's usual range, at the level that explains it."""

    loss_date: date
    app: str
    level: str
    """app, stage, platform or code."""
    code: Code
    """Fields below the level are empty."""
    direction: str
    """rise or drop."""
    lost_count: int
    expected_count: int
    score: float
    """Distance from the median, in robust standard deviations of the square root."""
    is_young: bool

    @property
    def excess_count(self) -> int:
        """More (or less) than usual."""
        return self.lost_count - self.expected_count


@dataclass(frozen=True, slots=True)
class UnknownCode:
    """A code that the catalogue does not hold."""

    stage: str
    platform: str
    err_code: str
    err_info: str
    lost_count: int
    last_date: date


@dataclass(frozen=True, slots=True)
class AppReport:
    """All that is told of one app, or of all of them together (`app` None)."""

    app: str | None
    days: tuple[DayFigures, ...]
    """Oldest first, without gaps; the last is the newest complete day, or the newest
    that an app was asked for which is no longer configured."""
    change: Change
    top_codes: tuple[TopCode, ...]
    categories: tuple[Portion, ...]
    owners: tuple[Portion, ...]
    platform_days: tuple[PlatformDay, ...]
    events: tuple[CodeEvent, ...]
    residuals: tuple[Residual, ...]
    anomalies: tuple[Anomaly, ...]
    unknown_codes: tuple[UnknownCode, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report: first all apps together, then one by one."""

    written_at: datetime
    """In the zone of the days."""
    timezone: str
    period_days: int
    """The last days that totals, codes and shares are of."""
    apps: Sequence[AppReport]
    left_out: Sequence[str] = ()
    """Apps without a part of their own: there are more than a page holds."""
