"""The sensor tells each trouble once, and a broken channel costs nothing but time."""

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import dagster as dg
import pytest

from pushloss_pipeline.definitions import build_definitions
from pushloss_pipeline.defs.sensors import RUNS_AT_ONCE, alarm_sensor
from pushloss_pipeline.parts import open_parts
from pushloss_pipeline.settings import Settings
from tests.defs.site import SHOP, Site, wait_until
from tests.receiver import Receiver, a_receiver, closed_port


@dataclass
class Watch:
    """A site whose alarms go to a webhook; the sensor's cursor, from look to look."""

    site: Site
    receiver: Receiver
    cursor: str | None = None
    later: timedelta = field(default_factory=timedelta)

    @property
    def settings(self) -> Settings:
        """The site's, with an alarm channel."""
        return self.site.settings.model_copy(update={"alarm_url_env": "ALARMS"})

    @cached_property
    def sensor(self) -> dg.SensorDefinition:
        """One for all looks, as in Dagster's code server."""
        return alarm_sensor(
            open_parts(self.settings, clock=lambda: datetime.now(UTC) + self.later)
        )

    def look(self) -> str:
        """Evaluate the sensor; what it says."""
        with (
            self.site.instance() as instance,
            dg.build_sensor_context(
                instance=instance, cursor=self.cursor, sensor_name=self.sensor.name
            ) as context,
        ):
            data = self.sensor.evaluate_tick(context)
        assert not data.run_requests
        self.cursor = data.cursor
        return data.skip_message or ""

    def told(self) -> list[str]:
        """The titles that a look sends."""
        self.look()
        return self.receiver.titles()


@pytest.fixture
def watch(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A site that is watched."""
    with a_receiver() as receiver:
        monkeypatch.setenv("ALARMS", receiver.url)
        yield Watch(site, receiver)


def test_it_is_on(site: Site) -> None:
    """The sensor runs unless switched off, every two minutes."""
    sensor = build_definitions(site.settings).resolve_sensor_def("push_loss_alarms")

    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 120


def test_it_says_why_it_tells_nothing(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing loaded, nothing new, or no channel: the tick says so."""
    assert watch.look() == "nothing is loaded yet"
    watch.site.run(watch.site.days(1))
    assert watch.look() == "nothing new to tell"

    monkeypatch.delenv("ALARMS")
    assert watch.look().startswith("no alarm channel: the variable ALARMS is not set")
    monkeypatch.setenv("ALARMS", "nowhere://5ca1ab1e")
    assert watch.look().startswith("ALARMS: apprise cannot read its URL")
    assert watch.receiver.taken() == []


def test_runs_are_told_where_the_days_cannot_be_asked(watch: Watch) -> None:
    """A broken file silences no failed run; the tick says what was not looked at."""
    (watch.site.folder / "data").mkdir(exist_ok=True)
    (watch.site.folder / "data" / "warehouse.duckdb").write_text("no warehouse")
    _kill_a_run(watch, "replay_push_loss", {"dagster/max_retries": "0"})

    said = watch.look()
    assert said.startswith("1 message sent through json; the days are not looked at: ")
    assert watch.receiver.titles() == ["replay_push_loss failed"]


def test_each_trouble_is_told_once(watch: Watch) -> None:
    """A second look is silent; another bad day is told alone."""
    days = watch.site.days(2)
    watch.site.refuse(days[0])
    watch.site.run(days)

    assert watch.told() == ["shop: the API refuses (60002)"]
    assert watch.look() == "nothing new to tell"

    watch.site.answer(days[1], SHOP, empty=True)
    watch.site.run(days[1:])
    assert watch.told() == ["shop: 1 day held, somebody must decide"]
    assert watch.told() == []


def test_the_last_line_is_the_report(watch: Watch) -> None:
    """Who reads it finds more behind the link."""
    watch.site.refuse(watch.site.days()[-1])
    watch.site.run(watch.site.days(1))
    watch.look()
    (post,) = watch.receiver.taken()
    page = watch.settings.local_dir / "report" / "index.html"

    assert post["type"] == "failure"
    assert post["message"].splitlines()[-1] == f"Report: {page.absolute().as_uri()}"


def test_time_that_runs_out_is_told(watch: Watch) -> None:
    """Days later nothing was loaded: what is in danger and what is lost."""
    watch.site.run(watch.site.days(1))
    watch.later = timedelta(days=7)
    told = watch.told()

    assert [title.rpartition(" ")[2] for title in told] == ["day", "forgotten"]
    watch.later = timedelta(days=8)
    assert [title.rpartition(" ")[2] for title in watch.told()] == [
        *("day", "good", "forgotten"),
    ]
    assert watch.told() == []


@pytest.mark.parametrize("trouble", ["error", "hanging", "closed"])
def test_what_could_not_be_sent_comes_when_the_channel_is_mended(
    watch: Watch, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick says that it is tried again; then the message comes, and once."""
    watch.receiver.status = 500
    watch.receiver.is_hanging = trouble == "hanging"
    if trouble == "closed":
        url = watch.receiver.url.replace(str(watch.receiver.port), str(closed_port()))
        monkeypatch.setenv("ALARMS", url)
    watch.site.refuse(watch.site.days()[-1])
    watch.site.run(watch.site.days(1))

    for _ in range(2):
        assert watch.look() == ("1 message could not be sent through json; tried again")
    watch.receiver.released.set()
    watch.receiver.is_hanging, watch.receiver.status = False, 200
    monkeypatch.setenv("ALARMS", watch.receiver.url)
    assert watch.told() == ["shop: the API refuses (60002)"]
    assert watch.told() == []


def test_each_service_hears_of_it_once(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is broken makes no other repeat itself."""
    broken = f"json://127.0.0.1:{closed_port()}/?cto=1"
    monkeypatch.setenv("ALARMS", f"{watch.receiver.url} {broken}")
    watch.site.refuse(watch.site.days()[-1])
    watch.site.run(watch.site.days(1))

    assert watch.look() == (
        "1 message sent through json;"
        " 1 message could not be sent through json 2; tried again"
    )
    assert watch.look() == "1 message could not be sent through json 2; tried again"
    assert len(watch.receiver.taken()) == 1


def test_a_broken_channel_fails_no_load(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load is green while nobody can be told of the trouble before it."""
    watch.receiver.status = 500
    watch.site.refuse(watch.site.days()[-1])
    watch.site.run(watch.site.days(1))
    assert "could not be sent" in watch.look()
    watch.site.simulator.clear_script()

    assert replace(watch.site, settings=watch.settings).run(watch.site.days(1)).success
    assert watch.look() == "nothing new to tell"


def test_a_run_that_failed_by_its_days_is_not_told_too(watch: Watch) -> None:
    """The app's refusal says it all."""
    watch.site.simulator.script(
        [{"sdk_app_id": SHOP.sdk_app_id, "error_code": 60010, "times": None}]
    )
    assert not watch.site.run(watch.site.days()).success

    assert "run" not in " ".join(watch.told())


def test_an_app_without_its_key_is_told(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No state of a day says that nobody asked: the run is told, for this app alone."""
    days = watch.site.days()
    monkeypatch.delenv("SITE_KEY_chat")
    watch.site.refuse(days[0], SHOP)
    run = watch.site.run(days)
    watch.look()
    failed, refused = watch.receiver.taken()

    assert refused["title"] == "[pushloss] shop: the API refuses (60002)"
    assert failed["title"] == "[pushloss] a run of assets failed"
    assert (
        "chat not asked: app chat: the variable SITE_KEY_chat is not set"
        in (failed["message"])
    )
    assert "shop" not in failed["message"].partition("\n→")[0]
    assert f"`pushloss load {days[0]} {days[-1]} --missing`" in failed["message"]
    assert run.run_id in failed["message"]
    assert watch.told() == []


def test_an_app_without_its_key_is_told_once_a_day(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many runs fail by it; a reminder comes each day until it is mended."""
    monkeypatch.delenv("SITE_KEY_chat")
    day = watch.site.days(1)
    told = []
    watch.look()  # runs from now on
    for hours in (0, 4, 8, 24):
        watch.site.run(day)
        watch.later = _until_morning(watch) + timedelta(hours=hours)
        told.append([title for title in watch.told() if "run" in title])

    assert told == [["a run of assets failed"], [], [], ["a run of assets failed"]]


def test_days_that_were_never_asked_for_fail_no_run(watch: Watch) -> None:
    """A replay over them is told nowhere: nobody can mend it."""
    run = watch.site.run(watch.site.days(1), select=["push_loss"])

    assert not run.success
    assert watch.told() == []


def test_a_failed_maintenance_is_told(watch: Watch) -> None:
    """It fails where a person must act; the doctor says how, and shows the mending."""
    _kill_a_run(watch, "weekly_maintenance", {"dagster/max_retries": "0"})
    watch.look()
    (post,) = watch.receiver.taken()

    assert post["title"] == "[pushloss] weekly_maintenance failed"
    assert "mend that, then `pushloss doctor`;" in post["message"]


def test_a_dead_service_starves_no_other(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More runs fail than a look reads: one service hears of all, one of none."""
    broken = f"json://127.0.0.1:{closed_port()}/?cto=1"
    monkeypatch.setenv("ALARMS", f"{watch.receiver.url} {broken}")
    _kill_runs(watch, "daily_push_loss", count=RUNS_AT_ONCE + 1)

    assert [watch.told(), watch.told(), watch.told()] == [
        ["50 runs failed"],
        ["daily_push_loss failed"],
        [],
    ]


def test_why_a_run_failed_is_read_once(watch: Watch) -> None:
    """While a service is away, no log is read again at each look."""
    watch.receiver.status = 500
    run_id = _kill_a_run(watch, "daily_push_loss", {"dagster/max_retries": "0"})
    watch.look()
    with watch.site.instance() as instance:
        instance.event_log_storage.delete_events(run_id)
    watch.receiver.status = 200
    watch.look()
    (post,) = watch.receiver.taken()

    assert "its process was killed" in post["message"]


def test_a_store_error_is_told_whole(watch: Watch) -> None:
    """A file that cannot be published is in no state of a day."""
    obstacle = watch.site.folder / "data" / "warehouse.duckdb.tmp"
    obstacle.mkdir(parents=True)
    watch.site.run(watch.site.days(1))
    watch.look()
    (post,) = watch.receiver.taken()

    assert "cannot publish" in post["message"]
    assert "Traceback" not in post["message"]


def test_a_killed_run_is_told(watch: Watch) -> None:
    """A process that is gone tells nothing itself; runs of others are not ours."""
    _kill_a_run(watch, "daily_push_loss", {"dagster/max_retries": "0"})
    _kill_a_run(watch, "somebody_elses", {"dagster/max_retries": "0"})
    watch.look()
    (post,) = watch.receiver.taken()

    assert post["title"] == "[pushloss] daily_push_loss failed"
    assert "its process was killed" in post["message"]


def test_a_run_that_is_tried_again_is_waited_for(watch: Watch) -> None:
    """Dagster's own retry may mend it; if it does not, that run is told."""
    _kill_a_run(watch, "daily_push_loss", {})

    assert watch.told() == []


def test_runs_of_long_ago_are_not_told(watch: Watch) -> None:
    """The first look goes back a day."""
    watch.later = timedelta(hours=25)
    _kill_a_run(watch, "daily_push_loss", {"dagster/max_retries": "0"})

    assert watch.told() == []


def _until_morning(watch: Watch) -> timedelta:
    """From now to tomorrow's 10:00 in the configured zone: hours later is that day."""
    now = datetime.now(watch.settings.timezone)
    morning = (now + timedelta(days=1)).replace(hour=10, minute=0, second=0)
    return morning - now


def _kill_a_run(watch: Watch, job_name: str, tags: dict[str, str]) -> str:
    (run_id,) = _kill_runs(watch, job_name, tags=tags)
    return run_id


def _kill_runs(
    watch: Watch, job_name: str, *, count: int = 1, tags: dict[str, str] | None = None
) -> list[str]:
    @dg.op
    def anything() -> None:
        """Is never run."""

    job = dg.GraphDefinition(name=job_name, node_defs=[anything]).to_job()
    tags = {"dagster/max_retries": "0"} if tags is None else tags
    with watch.site.instance() as instance:
        runs = [
            instance.create_run_for_job(
                job, status=dg.DagsterRunStatus.STARTED, tags=tags
            )
            for _ in range(count)
        ]
        for run in runs:
            instance.report_run_failed(run, message="its process was killed")
    return [run.run_id for run in runs]


def test_the_daemon_tells_it(watch: Watch) -> None:
    """Dagster's daemon evaluates the sensor by itself, with the file's settings."""
    config = watch.site.folder / "pushloss.toml"
    config.write_text(f'alarm_url_env = "ALARMS"\n{config.read_text()}')
    watch.site.refuse(watch.site.days()[-1])
    watch.site.run(watch.site.days(1))
    with (watch.site.folder / "daemon.log").open("w") as log:
        daemon = watch.site.start(
            "dagster-daemon", "run", "-m", "pushloss_pipeline.definitions", output=log
        )
        try:
            wait_until(lambda: bool(watch.receiver.posts))
        finally:
            os.killpg(daemon.pid, signal.SIGTERM)
            daemon.wait()

    assert watch.receiver.titles() == ["shop: the API refuses (60002)"]


def test_no_token_is_written(
    watch: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not into the log, the cursor, the tick or Dagster's files."""
    caplog.set_level(logging.DEBUG)
    secret = "5ca1ab1edecaf"
    address = f"json://{secret}:{secret}@127.0.0.1:{closed_port()}/{secret}?cto=1"
    monkeypatch.setenv("ALARMS", f"{address} {watch.receiver.url}&-token={secret}")
    watch.site.refuse(watch.site.days()[-1])
    watch.site.run(watch.site.days(1))
    said = watch.look()
    written = b"".join(
        path.read_bytes() for path in watch.site.folder.rglob("*") if path.is_file()
    )

    assert "1 message sent through json 2" in said
    assert secret not in said + str(watch.cursor) + caplog.text
    assert secret.encode() not in written
