"""Eight processes load different days of twenty apps while four readers query."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median

import duckdb
import pytest

from pushloss_pipeline.domain.window import askable_days
from pushloss_pipeline.parts import open_parts
from pushloss_pipeline.settings import read_settings
from pushloss_pipeline.simulator.scenario import Scenario, many_apps
from pushloss_pipeline.simulator.server import SimulatorHandle, running
from pushloss_pipeline.simulator.truth import UTC8
from pushloss_pipeline.steps import load_days, publish
from tests.trust.kills import HALF_DAYS
from tests.trust.reliability import tell
from tests.world import Rows, configuration, secret_variable

pytestmark = pytest.mark.slow

APPS = many_apps(20, seed=7)
READERS = 4
LOOK_AGAIN_SECONDS = 0.25
ROUNDS = 4
RATES = (1.0, 20.0)
"""Calls per second and app: the vendor's rate, and one that leaves no pause."""
QUESTIONS = (
    "from push_loss_by_day",
    "from push_loss_week_on_week",
    "select count(*) from push_loss_history",
)


Share = tuple[Sequence[str], Sequence[date]]
"""Apps and days of one process."""


@dataclass(frozen=True)
class Loaded:
    """What one process did: seconds it took, app days it was told are done."""

    seconds: float
    done: tuple[tuple[str, date, int], ...]


@dataclass(frozen=True)
class Read:
    """What one reader saw: seconds of each look, half days, errors."""

    seconds: tuple[float, ...]
    half_days: Rows
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Site:
    """A folder, its simulator, and the way to start processes."""

    folder: Path
    simulator: SimulatorHandle
    now: datetime
    rate: float
    context: ForkServerContext

    @property
    def days(self) -> tuple[date, ...]:
        """The days that the API tells."""
        settings = read_settings(self.folder / "pushloss.toml")
        return askable_days(settings.timezone, settings.retention_days, self.now)

    def shares(self) -> list[Share]:
        """Apps and days of each of the eight: no app's day is in two shares."""
        names = [app.name for app in APPS]
        return [(names[n % 2 :: 2], self.days[n // 2 :: 4]) for n in range(8)]

    def rows(self, statement: str) -> Rows:
        """What a new session of the published file sees."""
        return look(self.folder, statement)


def look(folder: Path, *statements: str) -> Rows:
    """Open the published file as any reader does, and ask; the last answer."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{folder}/data/warehouse.duckdb' as w (read_only)")
        connection.execute("use w")
        return [connection.execute(each).fetchall() for each in statements][-1]


def load(
    folder: Path, names: Sequence[str], days: Sequence[date], told: "Queue[Loaded]"
) -> None:
    """Load these days, publish, and tell what was done."""
    for app in APPS:
        os.environ[secret_variable(app)] = app.secret_key
    begun = time.monotonic()
    parts = open_parts(read_settings(folder / "pushloss.toml"))
    outcomes = load_days(parts, names, days)
    publish(parts)
    seconds = time.monotonic() - begun
    done = tuple((o.app, o.loss_date, o.revision) for o in outcomes if o.is_done)
    told.put(Loaded(seconds, done))


def read(folder: Path, stop: Event, told: "Queue[Read]") -> None:
    """Open the published file and query it, again and again."""
    seconds: list[float] = []
    half_days: Rows = []
    errors: list[str] = []
    while not stop.is_set():
        begun = time.monotonic()
        try:
            half_days += look(folder, *QUESTIONS, HALF_DAYS)
        except duckdb.Error as problem:
            errors.append(str(problem))
        seconds.append(time.monotonic() - begun)
        stop.wait(LOOK_AGAIN_SECONDS)
    told.put(Read(tuple(seconds), half_days, tuple(errors)))


@dataclass(frozen=True)
class Crowd:
    """What all of them did and saw at one rate of calls."""

    site: Site
    rounds: tuple[tuple[Loaded, ...], ...]
    reads: tuple[Read, ...]
    truth: Rows
    loaded: Rows

    @property
    def arrivals(self) -> dict[int, list[float]]:
        """When the calls of each app came, in order."""
        arrivals: dict[int, list[float]] = {app.sdk_app_id: [] for app in APPS}
        for call in self.site.simulator.served():
            arrivals[call["sdk_app_id"]].append(call["arrived_at"])
        return arrivals

    @property
    def refused_count(self) -> int:
        """Calls that the simulator refused for coming too fast."""
        return sum(self.site.simulator.refused_count(app.sdk_app_id) for app in APPS)

    @property
    def lost(self) -> set[tuple[str, date, int]]:
        """App days that were told as done, and are not in the published history."""
        acknowledged = {day for told in self.rounds for one in told for day in one.done}
        return acknowledged - set(
            self.site.rows(
                "select distinct app, loss_date, revision from push_loss_history"
            )
        )


@pytest.fixture(scope="module")
def crowds(tmp_path_factory: pytest.TempPathFactory) -> list[Crowd]:
    """Rounds of eight loads and four readers, at each rate."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trust.test_many_at_once"])
    return [a_crowd(tmp_path_factory.mktemp("crowd"), rate, context) for rate in RATES]


def a_crowd(folder: Path, rate: float, context: ForkServerContext) -> Crowd:
    """Twenty apps, asked at this rate by eight at once; each round finds new counts."""
    now = datetime.now(UTC8).replace(hour=12, minute=0)
    with running(Scenario(7, APPS), calls_per_second=rate) as simulator:
        simulator.set_now(now)
        put_first("simulator")
        text = configuration(
            simulator.url,
            APPS,
            start=now.date() - timedelta(days=60),
            calls_per_second=rate,
        )
        (folder / "pushloss.toml").write_text(text)
        site = Site(folder, simulator, now, rate, context)
        load_all(site, site.shares()[:1])
        with reading(site) as reads:
            rounds = tuple(load_round(site, number) for number in range(ROUNDS))
        return Crowd(site, rounds, tuple(reads), truth_of(site), loaded_by(site))


def put_first(name: str) -> None:
    """Let a thread of ours run before all others: the API has a machine of its own.

    Where that is not allowed, it reads the times of arrival late, and refuses some.
    """
    for thread in threading.enumerate():
        if thread.name == name and thread.native_id and os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, thread.native_id, -20)


def load_round(site: Site, number: int) -> tuple[Loaded, ...]:
    """All eight at once, an hour of the simulator's time after the last round."""
    site.simulator.set_now(site.now + timedelta(hours=number))
    truth_of(site)  # drawn now, so that no call waits for another's
    return load_all(site, site.shares())


def load_all(site: Site, shares: Sequence[Share]) -> tuple[Loaded, ...]:
    """Each share by a process of its own, at once, to its end."""
    told: Queue[Loaded] = site.context.Queue()
    processes = [
        site.context.Process(target=load, args=(site.folder, *share, told))
        for share in shares
    ]
    for process in processes:
        process.start()
    loaded = tuple(told.get(timeout=240) for _ in processes)
    for process in processes:
        process.join(60)
        assert 0 == process.exitcode
    return loaded


@contextmanager
def reading(site: Site) -> Iterator[list[Read]]:
    """Four readers for the length of a `with` block; then what they saw."""
    stop, told = site.context.Event(), site.context.Queue()
    readers = [
        site.context.Process(target=read, args=(site.folder, stop, told))
        for _ in range(READERS)
    ]
    for reader in readers:
        reader.start()
    seen: list[Read] = []
    try:
        yield seen
    finally:
        stop.set()
        seen += [told.get(timeout=60) for _ in readers]
        for reader in readers:
            reader.join(60)


def truth_of(site: Site) -> Rows:
    """What the simulator tells at its moment."""
    return sorted(
        (
            (
                *(app.name, day, row.stage, row.scope, row.platform_id),
                *(row.err_code, row.err_count),
            )
            for app in APPS
            for day in site.days
            for row in site.simulator.truth(app.sdk_app_id, day)
        ),
        key=repr,
    )


def loaded_by(site: Site) -> Rows:
    """The same of the published file."""
    columns = "app, loss_date, stage, scope, platform_id, err_code, err_count"
    return sorted(site.rows(f"select {columns} from push_loss"), key=repr)


def test_nothing_that_was_acknowledged_is_lost(crowds: list[Crowd]) -> None:
    """Each day that a load called done is in the history, and all equal the truth."""
    for crowd in crowds:
        assert ROUNDS * 7 * len(APPS) == sum(
            len(one.done) for told in crowd.rounds for one in told
        )
        assert set() == crowd.lost
        assert crowd.truth == crowd.loaded


def test_no_reader_is_troubled(crowds: list[Crowd]) -> None:
    """No error, no half day; the page tells how long they took."""
    rows = []
    for crowd in crowds:
        looks = sorted(seconds for seen in crowd.reads for seconds in seen.seconds)
        loads = sorted(one.seconds for told in crowd.rounds for one in told)
        rows.append(
            {
                "calls per second and app": f"{crowd.site.rate:g}",
                "loads": len(loads),
                "app days acknowledged": sum(
                    len(one.done) for told in crowd.rounds for one in told
                ),
                "lost": len(crowd.lost),
                "half days seen": sum(len(seen.half_days) for seen in crowd.reads),
                "readers' errors": sum(len(seen.errors) for seen in crowd.reads),
                "readers' looks": len(looks),
                "look: median, greatest": f"{median(looks):.2f} s, {looks[-1]:.2f} s",
                "load: median, greatest": f"{median(loads):.1f} s, {loads[-1]:.1f} s",
            }
        )
    for crowd in crowds:
        assert [] == [error for seen in crowd.reads for error in seen.errors]
        assert [] == [day for seen in crowd.reads for day in seen.half_days]
        assert all(len(seen.seconds) > ROUNDS for seen in crowd.reads)
    tell(
        "load",
        rows,
        measured=(
            "readers' looks",
            "look: median, greatest",
            "load: median, greatest",
        ),
    )


def test_the_rate_of_calls_is_held(crowds: list[Crowd]) -> None:
    """Four processes at once ask for each app, and none is refused as too fast."""
    rows = []
    for crowd in crowds:
        calls = sum(map(len, crowd.arrivals.values()))
        gaps = [b - a for times in crowd.arrivals.values() for a, b in pairwise(times)]
        rows.append(
            {
                "calls per second and app": f"{crowd.site.rate:g}",
                "processes": len(crowd.site.shares()),
                "apps": len(APPS),
                "calls": calls,
                "refused as too fast": crowd.refused_count,
                "shortest time between two": f"{1000 * min(gaps):.0f} ms",
            }
        )

    for crowd in crowds:
        assert 0 == crowd.refused_count
    tell("rates", rows, measured=("shortest time between two",))
