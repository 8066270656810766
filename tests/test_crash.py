"""Loads that are killed, and loads that run side by side."""

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from pushloss_pipeline.domain.window import askable_days
from pushloss_pipeline.parts import open_parts
from pushloss_pipeline.settings import read_settings
from pushloss_pipeline.simulator.scenario import Scenario
from pushloss_pipeline.simulator.server import SimulatorHandle, running
from pushloss_pipeline.steps import load_days, publish, replay_days
from tests.world import THREE_APPS, Rows, configuration, secret_variable

ZONE = ZoneInfo("Asia/Shanghai")
ROUNDS = 10
CALLS_PER_SECOND = 20.0
HALF_DAYS = """
    select days.app, days.loss_date, days.row_count, count(losses.app) as loaded
    from push_loss_days as days
    left join push_loss as losses using (sdk_app_id, loss_date)
    group by all
    having count(losses.app) <> days.row_count
        or coalesce(
            sum(losses.err_count) filter (where losses.scope = 'overall'), 0
        ) <> any_value(days.overall_count)
"""


@dataclass
class Site:
    """A folder, its simulator at one frozen moment, and processes that load."""

    folder: Path
    simulator: SimulatorHandle
    now: datetime
    context: ForkServerContext

    @property
    def warehouse(self) -> Path:
        """The published file."""
        return self.folder / "data" / "warehouse.duckdb"

    @property
    def days(self) -> tuple[date, ...]:
        """The days that are loaded."""
        settings = read_settings(self.folder / "pushloss.toml")
        return askable_days(settings.timezone, settings.retention_days, self.now)

    def start(self) -> BaseProcess:
        """Start to load all days of all apps in a process of its own."""
        process = self.context.Process(target=load, args=(self.folder, self.days))
        process.start()
        return process

    def load(self) -> None:
        """Load all days of all apps, in a process of its own, to its end."""
        process = self.start()
        process.join(120)
        assert 0 == process.exitcode

    def rows(self, statement: str) -> Rows:
        """What a new session of the published file sees."""
        with duckdb.connect() as connection:
            connection.execute(f"attach '{self.warehouse}' as w (read_only)")
            connection.execute("use w")
            return connection.execute(statement).fetchall()

    def truth(self) -> Rows:
        """What the simulator tells at its moment."""
        return sorted(
            (app.name, day, row.stage, row.platform_id, row.err_code, row.err_count)
            for app in THREE_APPS
            for day in self.days
            for row in self.simulator.truth(app.sdk_app_id, day)
            if row.scope == "platform"
        )

    def loaded(self) -> Rows:
        """The same of the published file."""
        return sorted(
            self.rows(
                "select app, loss_date, stage, platform_id, err_code, err_count"
                " from push_loss where scope = 'platform'"
            )
        )


def load(folder: Path, days: tuple[date, ...]) -> None:
    """Load these days, as `pushloss load` does."""
    for app in THREE_APPS:
        os.environ[secret_variable(app)] = app.secret_key
    parts = open_parts(read_settings(folder / "pushloss.toml"))
    load_days(parts, parts.settings.select(), days)
    publish(parts)


@dataclass
class Reader:
    """Opens the published file again and again."""

    site: Site
    opened: int = 0
    problems: list[object] = field(default_factory=list)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read for the length of a `with` block."""
        stop = threading.Event()
        thread = threading.Thread(target=self._read_until, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _read_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            if self.site.warehouse.exists():
                try:
                    self.problems += self.site.rows(HALF_DAYS)
                except duckdb.Error as problem:
                    self.problems.append(problem)
                self.opened += 1
            stop.wait(0.05)


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Starts processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_crash"])
    return context


@pytest.fixture
def site(tmp_path: Path, context: ForkServerContext) -> Iterator[Site]:
    """A folder, its simulator, and the way to start processes."""
    # Noon, so that hours may go by without a day falling out of what the API tells.
    now = datetime.now(ZONE).replace(hour=12, minute=0)
    with running(
        Scenario(7, THREE_APPS), calls_per_second=CALLS_PER_SECOND
    ) as simulator:
        simulator.set_now(now)
        text = configuration(
            simulator.url,
            THREE_APPS,
            start=now.date() - timedelta(days=60),
            calls_per_second=CALLS_PER_SECOND,
        )
        (tmp_path / "pushloss.toml").write_text(text)
        yield Site(tmp_path, simulator, now, context)


def test_killed_at_any_moment(site: Site) -> None:
    """Whenever a load is killed, the next one finishes it; no half day is seen."""
    chance = random.Random()
    reader = Reader(site)
    with reader.reading():
        for round_ in range(ROUNDS):
            # Each round finds other counts: there is always something to write.
            site.simulator.set_now(site.now + timedelta(minutes=30 * round_))
            process = site.start()
            time.sleep(chance.uniform(0.05, 1.5))
            process.kill()
            process.join()
        site.load()

    assert site.truth() == site.loaded()
    assert [] == reader.problems
    assert reader.opened > 0
    assert [] == list(site.warehouse.parent.glob("*.tmp"))


def test_replay_after_kills(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of killed loads are judged by the next one, as a replay would."""
    for round_ in range(2):
        process = site.start()
        while len(site.simulator.served()) < 15 * (round_ + 1):
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
    site.load()
    before = site.rows("from push_loss_history order by all")
    parts = open_parts(read_settings(site.folder / "pushloss.toml"))

    outcomes = replay_days(parts, parts.settings.select(), site.days)

    assert not any(outcome.is_new_revision for outcome in outcomes)
    assert not publish(parts).is_new_file
    assert before == site.rows("from push_loss_history order by all")


def test_side_by_side(site: Site) -> None:
    """Several loads at once lose nothing, and together keep to the rate of calls."""
    processes = [site.start() for _ in range(3)]
    for process in processes:
        process.join(120)
    served = site.simulator.served()

    assert [0, 0, 0] == [process.exitcode for process in processes]
    assert 3 * 21 == len(served)
    assert {0} == {call["error_code"] for call in served}
    assert site.truth() == site.loaded()
    assert [(1,)] == site.rows("select distinct revision from push_loss_history")
