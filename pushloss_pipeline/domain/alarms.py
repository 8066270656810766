"""What on-call people are told of, and what they have been told already."""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from pushloss_pipeline.domain.verdict import State

SOON = timedelta(days=3)
TOMORROW = timedelta(days=1)
"""What is left of a day's time at the API when it is told of, the second time."""
RUNS_REMEMBERED = timedelta(days=7)
"""How long it is known which runs were told; of days and codes, while it holds."""


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

    sdk_app_id: int
    app: str
    loss_date: date
    state: State | None
    """None: never asked for."""
    due_at: datetime
    """Until then the daily load may still ask for it in time."""
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
        return f"{self.kind} {self.day.sdk_app_id} {self.day.loss_date}"


@dataclass(frozen=True, slots=True)
class CodeAlarm:
    """Losses of a day that are new or unusual; fields below the level are empty."""

    kind: Kind
    sdk_app_id: int
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
    def code(self) -> tuple[int, date, str, str, str]:
        """What both kinds tell of."""
        what = (self.stage, self.platform, self.err_code)
        return (self.sdk_app_id, self.loss_date, *what)

    @property
    def key(self) -> str:
        """A later answer may move level and count of an anomaly, not its day."""
        day = f"{self.kind} {self.sdk_app_id} {self.loss_date}"
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
    """What runs the same days again, or shows that it is mended."""
    lasting_cause: str = ""
    """What each run fails by until it is mended: told once a day, not run by run."""
    kind: Kind = field(default=Kind.RUN_FAILED, init=False)

    @property
    def key(self) -> str:
        """Each run fails once."""
        return f"{self.kind} {self.lasting_cause or self.run_id}"


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
    elif day.state is None and now < day.due_at:
        return
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
    """What each service was told, and up to when failed runs were looked at for it."""

    told: Mapping[str, Mapping[str, date]] = field(default_factory=dict)
    """By service, then by key of the alarm: the day on which it was told."""
    runs_after: Mapping[str, datetime] = field(default_factory=dict)
    """By service: it knows of all runs that failed before."""

    def news(self, service: str, alarms: Sequence[Alarm], today: date) -> list[Alarm]:
        """What the service was not told yet, or has to be reminded of."""
        told = self.told.get(service, {})
        new = (
            alarm
            for alarm in alarms
            if alarm.key not in told
            or (_is_reminded(alarm) and told[alarm.key] < today)
        )
        return list({alarm.key: alarm for alarm in new}.values())

    def with_told(self, service: str, keys: Sequence[str], today: date) -> "Memory":
        """The same, and that the service knows of these now."""
        known = {**self.told.get(service, {}), **dict.fromkeys(keys, today)}
        return replace(self, told={**self.told, service: known})

    def with_runs_after(self, service: str, moment: datetime) -> "Memory":
        """The same, and that the service need not hear of earlier runs."""
        return replace(self, runs_after={**self.runs_after, service: moment})

    def only(
        self, services: Collection[str], *, holding: Collection[Alarm], today: date
    ) -> "Memory":
        """Of these services, without days and codes of which nothing is wrong now.

        What was told today is kept, so that nothing that comes and goes is told twice
        a day.
        """
        keys = {alarm.key for alarm in holding}

        def is_kept(key: str, day: date) -> bool:
            if key.startswith(Kind.RUN_FAILED):
                return today - day <= RUNS_REMEMBERED
            return key in keys or day == today

        return Memory(
            told={
                service: {key: day for key, day in told.items() if is_kept(key, day)}
                for service, told in self.told.items()
                if service in services
            },
            runs_after={s: at for s, at in self.runs_after.items() if s in services},
        )

    def as_text(self) -> str:
        """To be read back later; small, as Dagster keeps it with every tick."""
        told = {
            service: {key: day.isoformat() for key, day in sorted(told.items())}
            for service, told in self.told.items()
        }
        after = {service: at.isoformat() for service, at in self.runs_after.items()}
        text = json.dumps({"told": told, "runs_after": after})
        return b64encode(zlib.compress(text.encode())).decode()


def _is_reminded(alarm: Alarm) -> bool:
    return isinstance(alarm, RunAlarm) and bool(alarm.lasting_cause)


def read_memory(text: str | None) -> Memory:
    """What was written with `as_text`; an empty memory where it cannot be read."""
    try:
        read = json.loads(zlib.decompress(b64decode(text or "")))
        return Memory(
            told={
                service: {key: date.fromisoformat(day) for key, day in told.items()}
                for service, told in read["told"].items()
            },
            runs_after={
                service: datetime.fromisoformat(at)
                for service, at in read["runs_after"].items()
            },
        )
    except (ValueError, TypeError, AttributeError, KeyError, zlib.error):
        return Memory()
