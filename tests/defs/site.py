"""A place to run in: a simulator, a configuration, a Dagster instance, their folder."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

import dagster as dg
import pytest

from pushloss_pipeline.adapters.warehouse import Rows
from pushloss_pipeline.definitions import build_definitions
from pushloss_pipeline.domain.window import askable_days
from pushloss_pipeline.parts import OpenParts, open_parts
from pushloss_pipeline.settings import Settings, read_settings
from pushloss_pipeline.simulator.scenario import DEMO_APPS, SimulatedApp, demo_scenario
from pushloss_pipeline.simulator.server import SimulatorHandle, running
from pushloss_pipeline.steps import Parts

SHOP, CHAT = DEMO_APPS
RESPONSES = dg.AssetKey("push_loss_responses")
LOSSES = dg.AssetKey("push_loss")
BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it wrote."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Site:
    """Everything of one test, in one folder."""

    folder: Path
    simulator: SimulatorHandle
    settings: Settings

    @property
    def home(self) -> Path:
        """DAGSTER_HOME."""
        return self.folder / "home"

    def days(self, count: int = 3) -> tuple[date, ...]:
        """The newest complete days: those that a midnight would not take away."""
        zone, span = self.settings.timezone, self.settings.retention_days
        return askable_days(zone, span, datetime.now(UTC))[-count:]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The Dagster instance of this place."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance

    def run(
        self,
        days: Sequence[date],
        *,
        select: Sequence[str] = ("push_loss_responses", "push_loss"),
        tags: Mapping[str, str] | None = None,
        later: timedelta = timedelta(),
        open_parts: OpenParts | None = None,
        **config: Any,
    ) -> dg.ExecuteInProcessResult:
        """Materialize these assets over these days as one run, now or later."""
        definitions = build_definitions(
            self.settings, open_parts=open_parts or partial(_parts_later, later)
        )
        job = definitions.resolve_implicit_global_asset_job_def()
        with self.instance() as instance:
            return job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                asset_selection=[dg.AssetKey(name) for name in select],
                tags=tags if tags is not None else range_of(days),
                run_config={
                    "ops": {"load_push_loss": {"config": config}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
            )

    def partitions(self, key: dg.AssetKey, days: Sequence[date]) -> list[str | None]:
        """The colour of each day: MATERIALIZED, FAILED, IN_PROGRESS or None."""
        daily = build_definitions(self.settings).resolve_asset_graph().get(key)
        with self.instance() as instance:
            statuses = instance.get_status_by_partition(
                key, [day.isoformat() for day in days], daily.partitions_def
            )
        if statuses is None:
            return [None for _ in days]
        colours = [statuses[day.isoformat()] for day in days]
        return [colour.value if colour else None for colour in colours]

    def materialized(
        self, key: dg.AssetKey, day: date | None = None
    ) -> list[dict[str, Any]]:
        """The metadata of each materialization (of a day), newest first."""
        with self.instance() as instance:
            found = instance.fetch_materializations(_of(key, day), limit=100)
        return [
            _values(record.asset_materialization.metadata)
            for record in found.records
            if record.asset_materialization is not None
        ]

    def observed(self, key: dg.AssetKey, day: date) -> list[dict[str, Any]]:
        """The metadata of each observation of a day, newest first."""
        with self.instance() as instance:
            found = instance.fetch_observations(_of(key, day), limit=100)
        return [
            _values(record.event_log_entry.asset_observation.metadata)
            for record in found.records
            if record.event_log_entry.asset_observation is not None
        ]

    def start(
        self,
        *command: str,
        cwd: Path | None = None,
        output: int | IO[str] = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start an installed command, in a process group that it leads."""
        return subprocess.Popen(
            [BIN / command[0], *command[1:]],
            cwd=cwd or self.folder,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )

    def call(self, *command: str, cwd: Path | None = None) -> Ended:
        """Run one of the installed commands to its end."""
        with self.start(*command, cwd=cwd) as process:
            out, err = process.communicate()
            return Ended(process.returncode, out, err)

    def evaluations(self, run_id: str) -> list[dg.AssetCheckEvaluation]:
        """Every check evaluation of a run, in order."""
        with self.instance() as instance:
            events = instance.all_logs(
                run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
            )
        return [
            event.dagster_event.asset_check_evaluation_data
            for event in events
            if event.dagster_event is not None
        ]

    def refuse(self, day: date, app: SimulatedApp = SHOP) -> None:
        """Let the API say no to every call for an app's day, beyond retrying."""
        self.answer(day, app, error_code=60002, error_info="not this one")

    def answer(self, day: date, app: SimulatedApp = SHOP, **outcome: Any) -> None:
        """Script the answer to every call for an app's day; it is the only rule."""
        condition = {"sdk_app_id": app.sdk_app_id, "day": day.isoformat()}
        self.simulator.script([{**condition, "times": None, **outcome}])

    def asked(self) -> list[tuple[int, str]]:
        """Apps and days of all calls that came, in order of app and day."""
        calls = self.simulator.served()
        return sorted((call["sdk_app_id"], call["day"]) for call in calls)

    def query(self, statement: str) -> Rows:
        """Ask the published file."""
        return open_parts(self.settings).warehouse.query(statement)

    def loaded(self) -> list[tuple[str, date]]:
        """Apps and days that have rows in the published file."""
        rows = self.query("select distinct app, loss_date from push_loss order by all")
        return [(app, day) for app, day in rows.rows]


@contextmanager
def a_site(
    folder: Path, *, calls_per_second: float = 200.0, retention_days: int = 7
) -> Iterator[Site]:
    """Start a simulator, write a configuration for it, make a DAGSTER_HOME."""
    with (
        running(demo_scenario(date.today()), calls_per_second=None) as simulator,
        pytest.MonkeyPatch.context() as patch,
    ):
        path = folder / "pushloss.toml"
        path.write_text(_configuration(simulator.url, calls_per_second, retention_days))
        home = folder / "home"
        home.mkdir()
        instance = (REPOSITORY / "dagster.yaml").read_text()
        assert ".dagster_home" in instance
        (home / "dagster.yaml").write_text(instance.replace(".dagster_home", str(home)))
        environment = {
            "PUSHLOSS_CONFIG": str(path),
            "DAGSTER_HOME": str(home),
            **{f"SITE_KEY_{app.name}": app.secret_key for app in DEMO_APPS},
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("PUSHLOSS_DATA_DIR", raising=False)
        yield Site(folder, simulator, read_settings(path))


def wait_until(holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Look again and again until it holds; an error after so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come to hold within {seconds} s")
        time.sleep(0.1)


def range_of(days: Sequence[date]) -> dict[str, str]:
    """The tags that a backfill or the schedule gives its run."""
    return {
        "dagster/asset_partition_range_start": min(days).isoformat(),
        "dagster/asset_partition_range_end": max(days).isoformat(),
    }


def _parts_later(later: timedelta, settings: Settings) -> Parts:
    parts = open_parts(settings)
    return replace(parts, clock=lambda: parts.clock() + later)


def _of(key: dg.AssetKey, day: date | None) -> dg.AssetRecordsFilter:
    days = [day.isoformat()] if day else None
    return dg.AssetRecordsFilter(asset_key=key, asset_partitions=days)


def failure_of(run: dg.ExecuteInProcessResult) -> dg.Failure:
    """What the one failed step of a run said."""
    (event,) = [event for event in run.all_events if event.is_step_failure]
    told = event.step_failure_data.user_failure_data
    assert told is not None
    return dg.Failure(told.description, told.metadata)


def sampled(evaluation: dg.AssetCheckEvaluation) -> list[Mapping[str, Any]]:
    """The bad rows that a failed check shows."""
    value = evaluation.metadata["sample"]
    assert isinstance(value, dg.TableMetadataValue)
    return [record.data for record in value.records]


def _values(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


def _configuration(url: str, calls_per_second: float, retention_days: int) -> str:
    # A schedule that is on must not tick while a test is running.
    tick = datetime.now(UTC) + timedelta(hours=18)
    start = date.today() - timedelta(days=90)
    lines = [
        f'start_date = "{start}"',
        f"calls_per_second = {calls_per_second}",
        f"retention_days = {retention_days}",
        f'schedule_time = "{tick:%H:%M}"',
    ]
    for app in DEMO_APPS:
        lines += [
            f"[apps.{app.name}]",
            f"sdk_app_id = {app.sdk_app_id}",
            f'endpoint = "{url}"',
            f'identifier = "{app.identifier}"',
            f'secret_key_env = "SITE_KEY_{app.name}"',
        ]
    return "\n".join(lines) + "\n"
