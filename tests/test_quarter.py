"""A quarter of daily running, on the simulator's own clock, with all that goes wrong.

Days are counted from FIRST_DAY, 0 to 89; the machine is off on those of OUTAGES.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from pushloss_pipeline.definitions import build_definitions
from pushloss_pipeline.defs.schedules import ask_again_schedule, daily_schedule
from pushloss_pipeline.defs.sensors import alarm_sensor
from pushloss_pipeline.simulator.scenario import (
    Incident,
    Scenario,
    SimulatedApp,
    many_apps,
)
from pushloss_pipeline.simulator.server import running
from pushloss_pipeline.steps import load_days, publish
from tests.receiver import Receiver, a_receiver
from tests.world import World, configuration, secret_variable

ZONE = ZoneInfo("Asia/Shanghai")
FIRST_DAY = date(2026, 3, 2)
DAYS = 90
START = date(2026, 1, 1)
APPS = many_apps(3, seed=11)
FIRST, SECOND, ADDED = APPS
OUTAGES = (range(10, 12), range(25, 30), range(50, 59))
LOST = range(49, 52)
EMPTY = 15
UNREADY = 22
ROTATED_ON = 35
ADDED_ON = 40
DOWN_ON = 80
UNUSUAL_ON = 70
NEW_CODE_ON = 75
EVENTFUL = {ROTATED_ON, ADDED_ON, 59}
"""Runs of these days go through Dagster, as all do in earnest."""


def day_of(number: int) -> date:
    """A day of the quarter."""
    return FIRST_DAY + timedelta(days=number)


def is_off(number: int) -> bool:
    """Whether the machine is off on this day."""
    return any(number in outage for outage in OUTAGES)


def at(number: int, clock: str) -> datetime:
    """A moment of a day of the quarter."""
    return datetime.combine(day_of(number), time.fromisoformat(clock), ZONE)


INCIDENTS = (
    Incident(
        *("a certificate that expired", FIRST.sdk_app_id),
        *(day_of(UNUSUAL_ON), day_of(UNUSUAL_ON), 1, "403", 200.0),
    ),
    Incident(
        *("a channel that was closed", SECOND.sdk_app_id),
        *(day_of(NEW_CODE_ON), day_of(NEW_CODE_ON), 6, "90210", 200.0),
        err_info="channel closed",
    ),
)

Event = Callable[[World], None]


def configure(world: World, apps: Sequence[SimulatedApp]) -> None:
    """Write the configuration of these apps, with an alarm channel."""
    text = configuration(world.simulator.url, apps, start=START)
    (world.folder / "pushloss.toml").write_text(
        f'alarm_url_env = "PUSHLOSS_ALARM_URL"\n{text}'
    )


def scripted(rule: Mapping[str, object]) -> Event:
    """The API answers like this from now on."""
    return lambda world: world.simulator.script([dict(rule)])


def as_usual(world: World) -> None:
    """The API tells the truth again."""
    world.simulator.clear_script()


def rotate_key(world: World) -> None:
    """Somebody makes a new key in the console, and tells nobody."""
    world.simulator.rotate_key(FIRST.sdk_app_id, ADDED.secret_key)


def set_new_key(world: World) -> None:
    """Somebody reads the alarm and exports the new key."""
    os.environ[secret_variable(FIRST)] = ADDED.secret_key


def add_app(world: World) -> None:
    """Another app is configured, its key forgotten."""
    configure(world, APPS)


def set_forgotten_key(world: World) -> None:
    """Somebody reads the alarm and exports the key of the added app."""
    os.environ[secret_variable(ADDED)] = ADDED.secret_key


def empty_answer(number: int, **times: object) -> Event:
    """The second app's day is answered without rows."""
    return scripted(
        {
            "sdk_app_id": SECOND.sdk_app_id,
            "day": str(day_of(number)),
            "empty": True,
            **times,
        }
    )


EVENTS: Mapping[tuple[int, str], Event] = {
    (EMPTY + 1, "10:30"): empty_answer(EMPTY, times=None),
    (UNREADY + 1, "10:30"): empty_answer(UNREADY, times=1),
    (ROTATED_ON, "10:30"): rotate_key,
    (ROTATED_ON, "14:30"): set_new_key,
    (ADDED_ON, "10:30"): add_app,
    (ADDED_ON, "14:30"): set_forgotten_key,
    (DOWN_ON, "10:30"): scripted({"http_status": 503, "times": None}),
    (DOWN_ON, "14:30"): as_usual,
}


@dataclass
class Quarter:
    """The pipeline as it is run: by the ticks of its schedules, and nobody else."""

    world: World
    instance: dg.DagsterInstance
    receiver: Receiver
    told: list[tuple[int, str, str]] = field(default_factory=list)
    """Day, time and title of each message that came."""
    _cursor: str | None = None

    def live(self) -> None:
        """Let the quarter go by."""
        for number in range(DAYS):
            if is_off(number):
                continue
            if is_off(number - 1):
                self.world.now = at(number, "08:00")
                self._look(number, "08:00")
            for clock in ("10:30", "14:30", "18:30"):
                self.world.now = at(number, clock)
                EVENTS.get((number, clock), lambda world: None)(self.world)
                if not self._tick(number, is_daily=clock == "10:30"):
                    break  # all is in: nothing is left for a later tick
                self._look(number, clock)

    def _look(self, number: int, clock: str) -> None:
        """Let the sensor look, which it does every two minutes in earnest."""
        sensor = alarm_sensor(self.world.parts)
        with dg.build_sensor_context(
            instance=self.instance, cursor=self._cursor, sensor_name=sensor.name
        ) as context:
            self._cursor = sensor.evaluate_tick(context).cursor
        self.told += [(number, clock, title) for title in self.receiver.titles()]

    def _tick(self, number: int, *, is_daily: bool) -> bool:
        schedule = daily_schedule if is_daily else ask_again_schedule
        context = dg.build_schedule_context(scheduled_execution_time=self.world.now)
        tick = schedule(self.world.parts).evaluate_tick(context)
        for request in tick.run_requests or ():
            (self._run if number in EVENTFUL else self._walk)(request)
        return bool(tick.run_requests)

    def _run(self, request: dg.RunRequest) -> None:
        """Execute a run as Dagster does."""
        world = self.world
        definitions = build_definitions(
            world.settings, pool=None, open_parts=lambda _: world.parts
        )
        definitions.resolve_job_def("daily_push_loss").execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            tags=request.tags,
            run_config={
                **request.run_config,
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )

    def _walk(self, request: dg.RunRequest) -> None:
        """Do what a run of a calm day does, without what Dagster notes of it."""
        config = request.run_config.get("ops", {}).get("load_push_loss", {})
        options = dict(config.get("config", {}))
        names = options.pop("apps", self.world.settings.select())
        first, last = (
            date.fromisoformat(request.tags[f"dagster/asset_partition_range_{end}"])
            for end in ("start", "end")
        )
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        load_days(self.world.parts, names, days, **options)
        publish(self.world.parts)


def last_asked(app: SimulatedApp, number: int) -> datetime | None:
    """When the API could last be asked for an app's day, and answered."""
    for asked_on in range(min(number + 7, DAYS - 1), number, -1):
        clock = answered_on(app, number, asked_on)
        if clock:
            return at(asked_on, clock)
    return None


def answered_on(app: SimulatedApp, number: int, asked_on: int) -> str:
    """At what time of a day the API told of an app's day; empty where it did not."""
    if asked_on < 0 or is_off(asked_on):
        return ""
    if asked_on == DOWN_ON:
        return "14:30"
    if app is FIRST and asked_on == ROTATED_ON:
        # Refused on the oldest day, the others were not asked; these are in already.
        return "14:30" if number in (ROTATED_ON - 7, ROTATED_ON - 1) else ""
    if app is ADDED and asked_on <= ADDED_ON:
        return "14:30" if asked_on == ADDED_ON else ""
    if app is SECOND and (number, asked_on) == (UNREADY, UNREADY + 1):
        return "14:30"
    return "10:30"


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarter]:
    """The quarter when it is over."""
    folder = tmp_path_factory.mktemp("quarter")
    with (
        pytest.MonkeyPatch.context() as environment,
        running(Scenario(11, APPS, INCIDENTS), calls_per_second=None) as simulator,
        a_receiver() as receiver,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        for app in (FIRST, SECOND):
            environment.setenv(secret_variable(app), app.secret_key)
        environment.delenv(secret_variable(ADDED), raising=False)
        world = World(folder, simulator, APPS)
        simulator.set_now(lambda: world.now)
        configure(world, APPS[:2])
        environment.setenv("PUSHLOSS_ALARM_URL", receiver.url.replace("0.3", "30"))
        lived = Quarter(world, instance, receiver)
        lived.live()
        yield lived


def test_every_day_that_could_be_had_is_told_as_it_was_last(quarter: Quarter) -> None:
    """Row for row, the table is what the API said when it was last asked for a day."""
    world = quarter.world
    expected = sorted(
        (
            (
                *(app.name, day_of(number), row.stage, row.scope, row.platform_id),
                *(row.err_code, row.err_info, row.err_count),
            )
            for app in APPS
            for number in range(-7, DAYS - 1)
            if (app, number) != (SECOND, EMPTY)
            for moment in [last_asked(app, number)]
            if moment is not None
            for row in world.simulator.truth(app.sdk_app_id, day_of(number), moment)
        ),
        key=repr,
    )

    assert expected == world.loaded()


def test_exactly_the_days_that_could_not_be_had_are_expired(quarter: Quarter) -> None:
    """Lost are the days of the long outage that no later run could ask for."""
    states = quarter.world.rows(
        "select app, loss_date, state from push_loss_days where state <> 'loaded'"
        " order by app, loss_date"
    )

    assert states == sorted(
        [
            *((app.name, day_of(number), "expired") for app in APPS for number in LOST),
            (SECOND.name, day_of(EMPTY), "empty"),
        ]
    )


def test_every_day_is_known_of_each_app(quarter: Quarter) -> None:
    """An app's days begin a week before it was first asked, without a hole."""
    spans = quarter.world.rows(
        "select app, min(loss_date), max(loss_date), count(*) from push_loss_days"
        " group by app order by app"
    )
    last = day_of(DAYS - 2)
    added = day_of(ADDED_ON - 7)

    assert spans == [
        *((app.name, day_of(-7), last, DAYS + 6) for app in (FIRST, SECOND)),
        (ADDED.name, added, last, (last - added).days + 1),
    ]


def test_every_alarm_comes_once(quarter: Quarter) -> None:
    """Each trouble is told when it is found, and nothing else ever is."""
    two, three = "app_0000 and app_0001", "app_0000, app_0001 and app_0002"

    assert quarter.told == [
        # off for five days: two of them are forgotten within three more
        (30, "08:00", f"{two}: 26 and 27 March not loaded, soon forgotten"),
        (ROTATED_ON, "10:30", "app_0000: the API refuses (70009)"),
        (ADDED_ON, "10:30", "daily_push_loss failed"),  # an app without its key
        # off for nine days
        (59, "08:00", f"{three}: 23 April not loaded, lost within a day"),
        (59, "08:00", f"{three}: 20–22 April lost for good"),
        (59, "08:00", f"{three}: 24 and 25 April not loaded, soon forgotten"),
        (UNUSUAL_ON + 1, "10:30", "app_0000: unusual losses on 11 May"),
        (NEW_CODE_ON + 1, "10:30", "app_0001: new: OPPO 90210 after sending"),
        (DOWN_ON, "10:30", f"{three}: no usable answer for 14–20 May"),
    ]
