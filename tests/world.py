"""A small world: a simulator, a configuration for it, and the parts that ask it."""

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pushloss_pipeline.adapters.client import PushLossClient
from pushloss_pipeline.adapters.lake import Lake
from pushloss_pipeline.adapters.pacing import Pacer
from pushloss_pipeline.adapters.receiving import Timeouts
from pushloss_pipeline.adapters.usersig import UserSigs
from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.domain.model import Answer, App, AppDay
from pushloss_pipeline.domain.window import askable_days
from pushloss_pipeline.settings import Settings, read_settings
from pushloss_pipeline.simulator.scenario import Scenario, SimulatedApp, many_apps
from pushloss_pipeline.simulator.server import SimulatorHandle, running
from pushloss_pipeline.steps import DayOutcome, Parts, load_days, publish

NOW = datetime(2026, 3, 12, 2, 0, tzinfo=UTC)
"""10:00 on Thursday 12 March 2026 in UTC+8."""
THREE_APPS = many_apps(3, seed=7)
CALLS_PER_SECOND = 200.0
TABLES = ("push_loss", "push_loss_history", "push_loss_days", "apps", "platforms")

Row = tuple[Any, ...]
Rows = list[Row]


async def no_sleep(seconds: float) -> None:
    """Let the others run, and be back at once: a retry costs no test its time."""
    await asyncio.sleep(0)


@dataclass
class World:
    """Everything of one test, in one folder; its time is `now`."""

    folder: Path
    simulator: SimulatorHandle
    apps: Sequence[SimulatedApp]
    now: datetime = NOW
    usersigs: UserSigs = field(default_factory=UserSigs)
    timeouts: Timeouts = field(default_factory=Timeouts)
    sleep: Callable[[float], Awaitable[None]] = no_sleep
    _calls_seen: int = 0
    _ticks: int = field(default=0, repr=False)

    @property
    def settings(self) -> Settings:
        """The configuration, as it is in the file now."""
        return read_settings(self.folder / "pushloss.toml")

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.settings.local_dir

    @property
    def names(self) -> tuple[str, ...]:
        """All apps."""
        return tuple(app.name for app in self.apps)

    @property
    def asked_apps(self) -> list[App]:
        """The apps with their keys, as they are asked."""
        return [self.settings.app(name) for name in self.names]

    @property
    def days(self) -> tuple[date, ...]:
        """The days that the API tells now."""
        settings = self.settings
        return askable_days(settings.timezone, settings.retention_days, self.now)

    @property
    def parts(self) -> Parts:
        """Parts as a new process would plug them together, on this world's time."""
        settings = self.settings
        return Parts(
            settings=settings,
            lake=Lake(settings.lake_root, lock_path=self.data / "record.lock"),
            warehouse=Warehouse(self.data),
            open_client=self._open_client,
            clock=self._tick,
        )

    def number_of(self, name: str) -> int:
        """The SDKAppID of an app."""
        return next(app.sdk_app_id for app in self.apps if app.name == name)

    def load(
        self,
        names: Sequence[str] | None = None,
        days: Sequence[date] | None = None,
        **options: Any,
    ) -> tuple[DayOutcome, ...]:
        """Load these days (without them: all that the API tells) and publish."""
        parts = self.parts
        outcomes = load_days(
            parts,
            self.names if names is None else names,
            self.days if days is None else days,
            **options,
        )
        publish(parts)
        return outcomes

    def rows(self, statement: str, **parameters: Any) -> Rows:
        """What a query of the published file gives."""
        return list(Warehouse(self.data).query(statement, parameters).rows)

    def everything(self, *, without: Collection[str] = ()) -> dict[str, Rows]:
        """All that is published, in a stable order."""
        return {
            name: sorted(self.rows(f"from {name}"), key=repr)
            for name in TABLES
            if name not in without
        }

    def truth(
        self, names: Sequence[str] | None = None, days: Sequence[date] | None = None
    ) -> Rows:
        """What the simulator tells of these days now."""
        return sorted(
            (
                (
                    *(name, day, row.stage, row.scope, row.platform_id),
                    *(row.err_code, row.err_info, row.err_count),
                )
                for name in names or self.names
                for day in days or self.days
                for row in self.simulator.truth(self.number_of(name), day, self.now)
            ),
            key=repr,
        )

    def loaded(self) -> Rows:
        """What push_loss holds, in the shape of `truth`."""
        columns = "app, loss_date, stage, scope, platform_id, err_code, err_info"
        return sorted(
            self.rows(f"select {columns}, err_count from push_loss"), key=repr
        )

    def new_calls(self) -> list[tuple[int, date]]:
        """App and day of each call since the last time that somebody asked."""
        calls = self.simulator.served()[self._calls_seen :]
        self._calls_seen += len(calls)
        return [(c["sdk_app_id"], date.fromisoformat(c["day"])) for c in calls]

    def answers(self, name: str, day: date) -> list[Answer]:
        """The stored answers of an app's day."""
        app_day = AppDay(self.number_of(name), day)
        return self.parts.lake.answers([app_day]).get(app_day, [])

    def reconfigure(self, old: str, new: str) -> None:
        """Change a part of the configuration."""
        path = self.folder / "pushloss.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def later(self, **span: float) -> None:
        """Let time go by."""
        self.now += timedelta(**span)

    def _tick(self) -> datetime:
        self._ticks += 1
        return self.now + timedelta(milliseconds=self._ticks)

    @asynccontextmanager
    async def _open_client(self) -> AsyncIterator[PushLossClient]:
        pacer = Pacer(
            self.data / "pacing.sqlite", calls_per_second=self.settings.calls_per_second
        )
        try:
            async with PushLossClient(
                pacer=pacer,
                usersigs=self.usersigs,
                clock=self._tick,
                sleep=self.sleep,
                timeouts=self.timeouts,
            ) as client:
                yield client
        finally:
            pacer.close()


def fault(world: World, name: str | None = None, **rule: Any) -> dict[str, Any]:
    """A rule of the script, for one app or for all."""
    return rule if name is None else {"sdk_app_id": world.number_of(name), **rule}


def secret_variable(app: SimulatedApp) -> str:
    """Name of the variable that holds an app's key."""
    return f"PUSHLOSS_SECRET_{app.name.upper()}"


def configuration(
    url: str,
    apps: Sequence[SimulatedApp],
    *,
    start: date = date(2026, 1, 1),
    calls_per_second: float = CALLS_PER_SECOND,
) -> str:
    """A configuration of these apps, all of them asked at one address."""
    tables = [
        f'[apps.{app.name}]\nsdk_app_id = {app.sdk_app_id}\nendpoint = "{url}"\n'
        f'identifier = "{app.identifier}"\nsecret_key_env = "{secret_variable(app)}"\n'
        for app in apps
    ]
    head = f'data_dir = "data"\ncalls_per_second = {calls_per_second}\n'
    return f'{head}start_date = "{start}"\n\n' + "\n".join(tables)


@contextmanager
def a_world(
    folder: Path,
    apps: Sequence[SimulatedApp] = THREE_APPS,
    *,
    signature_clock: Callable[[], float] = time.time,
) -> Iterator[World]:
    """A world of these apps, on its own frozen time; keys are the caller's to set."""
    with running(
        Scenario(7, tuple(apps)), calls_per_second=None, signature_clock=signature_clock
    ) as simulator:
        world = World(folder, simulator, apps)
        simulator.set_now(lambda: world.now)
        (folder / "pushloss.toml").write_text(configuration(simulator.url, apps))
        yield world


WorldBuilder = Callable[[Sequence[SimulatedApp]], World]
