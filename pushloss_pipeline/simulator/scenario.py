"""What a simulation is about: apps, a seed, incidents. Nothing here knows HTTP."""

import hashlib
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from pushloss_pipeline.simulator.catalogue import POST, READY, Stage


@dataclass(frozen=True, slots=True)
class SimulatedApp:
    """An application the simulator knows, with the key that its callers sign with."""

    sdk_app_id: int
    identifier: str
    """The one admin account."""
    secret_key: str = field(repr=False)
    name: str
    daily_messages: int = 200_000
    weekend_factor: float = 0.8
    """Messages of a Saturday or Sunday, where a working day is 1."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Days on which one code of one platform counts `factor` times its usual count.

    A code that the platform does not usually meet starts from 1 in 10,000 messages;
    factor 0 silences a code. `err_info`, where given, is the text of these days.
    """

    kind: str
    sdk_app_id: int
    first_day: date
    last_day: date
    platform_id: int
    err_code: str
    factor: float
    stage: Stage = POST
    err_info: str = ""

    def covers(self, sdk_app_id: int, day: date) -> bool:
        """Tell whether this incident changes the app's day."""
        return self.sdk_app_id == sdk_app_id and self.first_day <= day <= self.last_day


@dataclass(frozen=True)
class Scenario:
    """The simulated world; the same values always give the same truth.

    Of two incidents on the same code and day the last one counts.
    """

    seed: int
    apps: tuple[SimulatedApp, ...]
    incidents: tuple[Incident, ...] = ()

    def find_app(self, sdk_app_id: int) -> SimulatedApp | None:
        """Return the app of this number, None where there is none."""
        return self._apps_by_id.get(sdk_app_id)

    @cached_property
    def _apps_by_id(self) -> dict[int, SimulatedApp]:
        return {app.sdk_app_id: app for app in self.apps}


# Made up for the simulator: they open nothing anywhere else.
DEMO_APPS: tuple[SimulatedApp, ...] = (
    SimulatedApp(
        sdk_app_id=1400000001,
        identifier="administrator",
        secret_key="5ca1ab1e" * 8,
        name="shop",
        daily_messages=240_000,
        weekend_factor=1.3,
    ),
    SimulatedApp(
        sdk_app_id=1400000002,
        identifier="administrator",
        secret_key="decafbad" * 8,
        name="chat",
        daily_messages=900_000,
        weekend_factor=0.75,
    ),
)
"""The two apps of the demo; the keys are for the simulator only."""

_INCIDENT_WEEKS = 10


def demo_scenario(today: date, *, seed: int = 2026) -> Scenario:
    """Build the demo: two apps, and one incident in every week near `today`.

    Incidents hang on the calendar, not on `today`: a demo repeated tomorrow tells the
    same past. Any seven days hold at least a part of one.
    """
    this_monday = today - timedelta(days=today.weekday())
    mondays = (
        this_monday + timedelta(weeks=offset)
        for offset in range(-_INCIDENT_WEEKS, _INCIDENT_WEEKS + 1)
    )
    incidents = [each for monday in mondays for each in _incidents_of(monday)]
    return Scenario(seed, DEMO_APPS, tuple(incidents))


def _incidents_of(monday: date) -> tuple[Incident, ...]:
    shop, chat = (app.sdk_app_id for app in DEMO_APPS)
    first_day, last_day = monday + timedelta(days=1), monday + timedelta(days=2)
    week_number = monday.toordinal() // 7
    kind = week_number % 4
    if kind == 0:
        return (
            Incident(
                "expired APNs certificate",
                shop,
                first_day,
                last_day,
                1,
                "403",
                2500,
                err_info="ExpiredProviderToken",
            ),
            # Too small for an alarm, and in no catalogue: to be met as a new code.
            Incident(
                "trial of another channel",
                chat,
                monday + timedelta(days=2),
                monday + timedelta(days=9),
                6,
                "90210",
                3,
                err_info="channel closed",
            ),
        )
    if kind == 1:
        return (
            Incident("vivo quota used up", chat, first_day, last_day, 7, "10070", 120),
        )
    if kind == 2:
        return (
            Incident("tokens lost", chat, first_day, last_day, 3, "-2", 9, stage=READY),
        )
    return (Incident("FCM outage", shop, first_day, first_day, 4, "UNAVAILABLE", 300),)


def many_apps(count: int, seed: int) -> tuple[SimulatedApp, ...]:
    """Make `count` apps of differing size, named app_0000 and on."""
    return tuple(_numbered_app(number, seed) for number in range(count))


def _numbered_app(number: int, seed: int) -> SimulatedApp:
    return SimulatedApp(
        sdk_app_id=1400100000 + number,
        identifier="administrator",
        secret_key=hashlib.sha256(
            f"simulator only/{seed}/{number}".encode()
        ).hexdigest(),
        name=f"app_{number:04d}",
        daily_messages=int(20_000 * 50 ** chance(seed, "size", number)),
        weekend_factor=0.7 + 0.6 * chance(seed, "weekend", number),
    )


def chance(seed: int, *key: object) -> float:
    """Draw from [0, 1): the same for the same seed and key, in whatever order asked."""
    text = "/".join(str(part) for part in (seed, *key))
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
