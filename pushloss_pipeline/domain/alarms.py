"""What on-call people are told of, and what they have been told already."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from pushloss_pipeline.domain.verdict import State

SOON = timedelta(days=3)
TOMORROW = timedelta(days=1)
"""What is left of a day's time at the API when it is told of, the second time."""
REMEMBERED = timedelta(days=60)
"""How long it is known what was told."""


class Kind(StrEnum):
    """Why somebody is called; what calls for the quickest move comes first."""

    RUN_FAILED = "run_failed"
    REFUSED = "refused"
    EXPIRES_TOMORROW = "expires_tomorrow"
    EXPIRED = "expired"
    EXPIRES_SOON = "expires_soon"
    FAILED = "failed"
    HELD = "held"
    NEW_CODE = "new_code"
    ANOMALY = "anomaly"

    @property
    def is_failure(self) -> bool:
        """Data are missing or lost, not only odd or late."""
        return self in _FAILURES


_FAILURES = frozenset(
    {Kind.RUN_FAILED, Kind.REFUSED, Kind.EXPIRES_TOMORROW, Kind.EXPIRED}
)


@dataclass(frozen=True, slots=True)
class OpenDay:
    """An app's day that is neither loaded nor empty."""

    app: str
    loss_date: date
    state: State | None
    """None: never asked for."""
    expires_at: datetime
    """When the API forgets it."""
    has_losses: bool = False
    """An earlier answer stands: nothing is lost when the API forgets the day."""
    error_code: int | None = None
    error_info: str = ""


@dataclass(frozen=True, slots=True)
class DayAlarm:
    """Something is wrong with a day of an app."""

    kind: Kind
    day: OpenDay

    @property
    def key(self) -> str:
        """The same for the same trouble, however often it is found."""
        return f"{self.kind} {self.day.app} {self.day.loss_date}"


@dataclass(frozen=True, slots=True)
class CodeAlarm:
    """Losses of a day that are new or unusual; fields below the level are empty."""

    kind: Kind
    app: str
    loss_date: date
    stage: str
    platform: str
    err_code: str
    meaning: str
    owner: str
    action: str
    lost_count: int
    expected_count: int = 0
    is_drop: bool = False

    @property
    def code(self) -> tuple[str, date, str, str, str]:
        """What both kinds tell of."""
        return (self.app, self.loss_date, self.stage, self.platform, self.err_code)

    @property
    def key(self) -> str:
        """A later answer may move level and count of an anomaly, not its day."""
        day = f"{self.kind} {self.app} {self.loss_date}"
        if self.kind is Kind.ANOMALY:
            return day
        return f"{day} {self.stage} {self.platform} {self.err_code}"


@dataclass(frozen=True, slots=True)
class RunAlarm:
    """A run failed for a reason that no state of a day tells."""

    run_id: str
    job: str
    reason: str
    command: str = ""
    """What runs the same days again."""
    kind: Kind = field(default=Kind.RUN_FAILED, init=False)

    @property
    def key(self) -> str:
        """Each run fails once."""
        return f"{self.kind} {self.run_id}"


Alarm = DayAlarm | CodeAlarm | RunAlarm


def alarms_of_day(day: OpenDay, now: datetime) -> Iterator[DayAlarm]:
    """All that is to be told of a day that is not done."""
    left = day.expires_at - now
    is_forgotten = left <= timedelta()
    if day.state is State.HELD:
        yield DayAlarm(Kind.HELD, day)
    elif day.state in _TOLD_STATES and not is_forgotten:
        yield DayAlarm(_TOLD_STATES[day.state], day)
    if day.has_losses:
        return
    if is_forgotten or day.state is State.EXPIRED:
        yield DayAlarm(Kind.EXPIRED, day)
    elif left <= TOMORROW:
        yield DayAlarm(Kind.EXPIRES_TOMORROW, day)
    elif left <= SOON:
        yield DayAlarm(Kind.EXPIRES_SOON, day)


_TOLD_STATES: Mapping[State | None, Kind] = {
    State.REFUSED: Kind.REFUSED,
    State.FAILED: Kind.FAILED,
}


def one_of_each_cause(alarms: Sequence[CodeAlarm]) -> list[CodeAlarm]:
    """Without the anomalies that are nothing but a code told as new."""
    new = {alarm.code for alarm in alarms if alarm.kind is Kind.NEW_CODE}
    return [a for a in alarms if a.kind is Kind.NEW_CODE or a.code not in new]


@dataclass(frozen=True, slots=True)
class Memory:
    """What each service was told, and up to when failed runs were looked at."""

    told: Mapping[str, Mapping[str, date]] = field(default_factory=dict)
    """By service, then by key of the alarm: the day on which it was told."""
    runs_after: datetime | None = None

    def news(self, service: str, alarms: Sequence[Alarm]) -> list[Alarm]:
        """What the service was not told yet."""
        told = self.told.get(service, {})
        return [alarm for alarm in alarms if alarm.key not in told]

    def with_told(self, service: str, keys: Sequence[str], today: date) -> "Memory":
        """The same, and that the service knows of these now."""
        known = {**self.told.get(service, {}), **dict.fromkeys(keys, today)}
        return replace(self, told={**self.told, service: known})

    def as_text(self, today: date) -> str:
        """To be read back later; what is long past is left out."""
        kept = {
            service: {
                key: day.isoformat()
                for key, day in told.items()
                if today - day <= REMEMBERED
            }
            for service, told in self.told.items()
        }
        after = self.runs_after.isoformat() if self.runs_after else None
        return json.dumps({"told": kept, "runs_after": after}, ensure_ascii=False)


def read_memory(text: str | None) -> Memory:
    """What was written with `as_text`; an empty memory where it cannot be read."""
    try:
        read = json.loads(text or "{}")
        after = read.get("runs_after")
        return Memory(
            told={
                service: {key: date.fromisoformat(day) for key, day in told.items()}
                for service, told in read.get("told", {}).items()
            },
            runs_after=datetime.fromisoformat(after) if after else None,
        )
    except (ValueError, TypeError, AttributeError):
        return Memory()
