"""The alarms of now are what the published file gives reason for, and no more."""

import os
import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pushloss_pipeline.alarming import (
    Lookout,
    alarms_now,
    channel_of,
    in_messages,
    report_address,
)
from pushloss_pipeline.domain.alarms import CodeAlarm, DayAlarm, Kind
from pushloss_pipeline.domain.errors import ConfigurationError
from pushloss_pipeline.steps import publish
from tests.builders import a_body
from tests.world import (
    NOW,
    THREE_APPS,
    World,
    WorldBuilder,
    a_world,
    secret_variable,
)

Told = list[tuple[str, str, date]]


def told(world: World, *kinds: Kind) -> Told:
    """Kind, app and day of what is told of days; of these kinds, or of all."""
    return [
        (alarm.kind, alarm.day.app, alarm.day.loss_date)
        for alarm in alarms_now(world.parts)
        if isinstance(alarm, DayAlarm) and (not kinds or alarm.kind in kinds)
    ]


def script(world: World, name: str, days: Sequence[date], **outcome: Any) -> None:
    """Let the API answer so for these days of an app."""
    number = world.number_of(name)
    world.simulator.script(
        [
            {"sdk_app_id": number, "day": str(day), "times": None, **outcome}
            for day in days
        ]
    )


def test_before_the_first_load_there_is_nothing_to_tell(world: World) -> None:
    """No file, no alarm."""
    assert [] == alarms_now(world.parts)


def test_a_good_week_is_quiet(world: World) -> None:
    """All days loaded: nothing, also when the API has forgotten them."""
    world.load()

    assert [] == alarms_now(world.parts)
    world.later(hours=12)
    assert [] == told(world)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ({"error_code": 60002, "error_info": "no"}, Kind.REFUSED),
        ({"body": "<html>"}, Kind.REFUSED),
        ({"http_status": 503}, Kind.FAILED),
        ({"close": True}, Kind.FAILED),
    ],
    ids=["code", "unreadable", "trouble", "network"],
)
def test_a_bad_day_is_told_by_its_state(
    world: World, outcome: dict[str, Any], kind: Kind
) -> None:
    """The newest day, still long to be asked for, is told once: by its state."""
    script(world, "app_0001", world.days[-1:], **outcome)
    world.load()

    assert [(kind, "app_0001", world.days[-1])] == told(world)


def test_a_held_day_is_told_until_it_is_decided(world: World) -> None:
    """Rows stand, and the API now tells of none: somebody must decide."""
    world.load()
    script(world, "app_0001", world.days[:1], empty=True)
    world.load(["app_0001"], world.days[:1])

    held = [(Kind.HELD, "app_0001", world.days[0])]
    assert held == told(world)
    world.simulator.clear_script()
    world.load(["app_0001"], world.days[:1])
    assert [] == told(world)


def test_days_that_are_never_asked_run_out(world: World) -> None:
    """From an app's first day on, whatever nobody asked for is told in time."""
    first, *_ = world.days
    world.load(days=[first])
    world.later(days=4)
    days = {n: first + timedelta(days=n) for n in range(1, 8)}

    assert [
        *((Kind.EXPIRED, days[n]) for n in (1, 2, 3)),
        (Kind.EXPIRES_TOMORROW, days[4]),
        *((Kind.EXPIRES_SOON, days[n]) for n in (5, 6)),
    ] == [(kind, day) for kind, app, day in told(world) if app == "app_0002"]


def test_days_before_the_first_answer_are_nobodys(world: World) -> None:
    """An app that was configured yesterday is not late with last week."""
    world.load(days=world.days[-1:])

    assert [] == told(world)


def test_a_short_retention_calls_nobody_at_midnight(world: World) -> None:
    """A day that is just over is in danger only once the daily load should be done."""
    world.reconfigure("data_dir", "retention_days = 2\ndata_dir")
    world.load()
    world.later(hours=14.5)  # 00:30
    yesterday = world.days[-1]
    assert [] == told(world)

    world.later(hours=12)
    assert [(Kind.EXPIRES_SOON, name, yesterday) for name in world.names] == (
        told(world)
    )


def test_a_renamed_app_is_told_nothing_again(world: World) -> None:
    """The same trouble has the same key under the new name."""
    script(world, "app_0001", world.days[-1:], error_code=60002)
    world.load()
    (before,) = alarms_now(world.parts)
    world.reconfigure("[apps.app_0001]", "[apps.store]")
    publish(world.parts)

    assert [(Kind.REFUSED, "store", world.days[-1])] == told(world)
    assert [before.key] == [alarm.key for alarm in alarms_now(world.parts)]


def test_a_file_that_is_as_it_was_is_not_asked_again(world: World) -> None:
    """What is remembered of it grows old with the clock; a new file is asked."""
    script(world, "app_0001", world.days[-1:], http_status=503)
    world.load()
    path, lookout = world.data / "warehouse.duckdb", Lookout(world.parts)
    seen, was = lookout.alarms(), path.stat()
    path.chmod(0o600)
    path.write_bytes(b"no warehouse")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert [Kind.FAILED] == [alarm.kind for alarm in seen]
    assert seen == lookout.alarms()

    world.simulator.clear_script()
    world.load()
    assert [] == lookout.alarms()


def test_an_ancient_day_asked_by_hand_is_no_first_day(world: World) -> None:
    """Days that were over before anybody asked are not lost for good."""
    ancient = world.days[0] - timedelta(days=15)
    world.load(days=[ancient])
    assert [] == told(world)

    world.load(days=world.days[-1:])
    assert [] == told(world)
    assert [(world.days[-1],)] * 3 == world.rows("select first_date from apps")


def test_a_first_day_that_was_lost_stays_the_first(world: World) -> None:
    """What was asked for in time and failed is told, also when it is forgotten."""
    script(world, "app_0001", world.days[:2], http_status=503)
    world.load(["app_0001"], world.days[:2])
    days = list(world.days)
    world.later(days=2)

    assert [(Kind.EXPIRED, "app_0001", day) for day in days[:2]] == (
        told(world, Kind.EXPIRED)
    )
    publish(world.parts)
    assert [(Kind.EXPIRED, "app_0001", day) for day in days[:2]] == (
        told(world, Kind.EXPIRED)
    )


def test_what_is_long_lost_is_no_news(world: World) -> None:
    """A lost day is told for 30 days."""
    script(world, "app_0001", world.days[:1], http_status=503)
    world.load()
    lost = (Kind.EXPIRED, "app_0001", world.days[0])
    world.later(days=23)
    assert lost in told(world)

    world.later(days=1)
    assert lost not in told(world)


def test_an_app_that_is_not_configured_is_not_told(world: World) -> None:
    """Nobody is called about an app that was removed."""
    script(world, "app_0001", world.days[-1:], error_code=60002)
    world.load()
    text = (world.folder / "pushloss.toml").read_text()
    before, _, after = text.partition("[apps.app_0001]")
    rest = after[after.index("[apps.") :]
    (world.folder / "pushloss.toml").write_text(before + rest)
    world.load(["app_0000"], world.days[-1:])

    assert [] == told(world)


@pytest.fixture(scope="module")
def six_weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of one app with six quiet weeks.

    It is asked every fourth day, so that each day was asked once it had settled.
    """
    (app,) = THREE_APPS[:1]
    folder = tmp_path_factory.mktemp("six_weeks")
    with pytest.MonkeyPatch.context() as patch, a_world(folder, [app]) as world:
        patch.setenv(secret_variable(app), app.secret_key)
        for days in range(37, 0, -4):
            world.now = NOW - timedelta(days=days)
            script(world, app.name, world.days, body=a_body({"410": 1000}).decode())
            world.load()
        return world.data


@pytest.fixture
def app(world_of: WorldBuilder, six_weeks: Path) -> World:
    """One app with six quiet weeks, the last day of which is still to be loaded."""
    world = world_of(THREE_APPS[:1])
    shutil.copytree(six_weeks, world.data)
    return world


def of_codes(world: World) -> list[tuple[Kind, date, str, str, int]]:
    """Kind, day, platform, code and count of what is told of codes."""
    return [
        (alarm.kind, alarm.loss_date, alarm.platform, alarm.err_code, alarm.lost_count)
        for alarm in alarms_now(world.parts)
        if isinstance(alarm, CodeAlarm)
    ]


def test_a_new_code_is_told_and_not_as_an_anomaly_too(app: World) -> None:
    """What is new and large is one alarm, with its meaning and whose move it is."""
    day = app.days[-1]
    body = a_body({"410": 1000, "403": 5000}).decode()
    script(app, "app_0000", [day], body=body)
    app.load(days=[day])

    assert [(Kind.NEW_CODE, day, "apns", "403", 5000)] == of_codes(app)
    (message,) = in_messages(app.parts, alarms_now(app.parts))
    assert "Whose move: console admin" in message.body


def test_an_unusual_count_is_told_against_the_expected(app: World) -> None:
    """A rise of a known code is an anomaly of its day."""
    day = app.days[-1]
    script(app, "app_0000", [day], body=a_body({"410": 9000}).decode())
    app.load(days=[day])

    assert [(Kind.ANOMALY, day, "apns", "410", 9000)] == [
        (kind, told_day, "apns", "410", count)
        for kind, told_day, _, _, count in of_codes(app)
    ]
    (message,) = in_messages(app.parts, alarms_now(app.parts))
    assert "rose to 9,000, about 1,000 expected" in message.body


def test_a_small_new_code_is_left_to_the_report(app: World) -> None:
    """Where a new code loses a few messages, nobody is called."""
    day = app.days[-1]
    body = a_body({"410": 1000, "403": 40}).decode()
    script(app, "app_0000", [day], body=body)
    app.load(days=[day])

    assert [] == of_codes(app)


def test_the_report_is_where_people_open_it(world: World) -> None:
    """The configured address, or else the file."""
    page = world.data / "report" / "index.html"
    assert page.absolute().as_uri() == report_address(world.parts)

    world.reconfigure("data_dir", 'report_url = "https://a.example/push/"\ndata_dir')
    assert "https://a.example/push/" == report_address(world.parts)


def test_without_a_channel_it_is_said_what_to_set(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the key of the file, then the variable; several URLs are fine."""
    with pytest.raises(ConfigurationError, match="set alarm_url_env in"):
        channel_of(world.parts)

    world.reconfigure("data_dir", 'alarm_url_env = "ALARMS"\ndata_dir')
    monkeypatch.setenv("ALARMS", "  ")
    with pytest.raises(ConfigurationError, match="the variable ALARMS is not set"):
        channel_of(world.parts)

    monkeypatch.setenv("ALARMS", " json://localhost\n xml://localhost ")
    assert ("json", "xml") == channel_of(world.parts).services
