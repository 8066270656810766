"""Killed at any moment: nothing acknowledged is lost, and the next run finishes."""

import multiprocessing
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import groupby
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.simulator.scenario import Scenario
from pushloss_pipeline.simulator.server import running
from pushloss_pipeline.steps import publish, replay_days
from pushloss_pipeline.upkeep import examine
from tests.adapters.test_schema_version import RECORD_V1, SHOP
from tests.trust.kills import (
    ACKNOWLEDGED,
    HALF_DAYS,
    JOBS,
    Point,
    acknowledged,
    ended,
    errors,
    kill_at_random,
    lost,
    read,
    start,
)
from tests.trust.reliability import Row, tell
from tests.world import (
    THREE_APPS,
    Rows,
    World,
    a_world,
    configuration,
    secret_variable,
)

APPS = THREE_APPS[:2]
DAYS = (date(2026, 3, 10), date(2026, 3, 11))

CLIENT = "pushloss_pipeline.adapters.client:PushLossClient"
PACER = "pushloss_pipeline.adapters.pacing:Pacer"
DELTA = "pushloss_pipeline.adapters.delta"
TABLE = f"{DELTA}:StoredTable"
LOG = "pushloss_pipeline.adapters.delta_log:DeltaLog"
LAKE = "pushloss_pipeline.adapters.lake:Lake"
WAREHOUSE = "pushloss_pipeline.adapters.warehouse"
FILE = f"{WAREHOUSE}:Warehouse"
TO_DISK = f"{WAREHOUSE}:force_to_disk"
SWAP = f"{FILE}._replace_published"
COMMITTING = f"{DELTA}:_commit"
ADDING = f"{DELTA}:_add_declared_columns"
CHANGING = f"{WAREHOUSE}:_replace_changed"
COMMIT = "linkat"
"""The system call that gives an entry of Delta's log its name."""

common = partial(Point, is_common=True)
"""A point of the normal suite."""

POINTS = {
    "first load": [
        Point("first table not committed", f"{TABLE}._create", system_call=COMMIT),
        Point("first table committed, not forced", f"{LOG}.force"),
        Point("one of two tables made", f"{TABLE}._create", times=2),
        Point("work file half made", f"{WAREHOUSE}:_create_table", "return", 3),
        Point("first file not renamed", "pathlib:Path.rename", within=SWAP),
    ],
    "load": [
        Point("answers come in", f"{CLIENT}.ask", "return", 3),
        Point("a call's turn is taken, its lock held", f"{PACER}._take", "return", 3),
        common("between answer and commit", f"{TABLE}.append"),
        common("answers written, not committed", COMMITTING, system_call=COMMIT),
        common("answers committed, not forced to the disk", f"{LOG}.force"),
        Point("answers kept, not judged", f"{LAKE}.append_answers", "return"),
        Point("judged, not written", f"{LAKE}.append_entries"),
        common("rows written, not committed", COMMITTING, times=2, system_call=COMMIT),
        Point("rows committed, not forced to the disk", f"{LOG}.force", times=2),
        Point("recorded, nobody told", "pushloss_pipeline.steps:_record", "return"),
        common("between commit and publish", f"{FILE}.publish"),
        Point("changed days listed", f"{WAREHOUSE}:_stage_changes", "return"),
        common("work file: one table changed", CHANGING, "return"),
        Point("work file: all changed", f"{WAREHOUSE}:_replace_whole", "return", 5),
        Point("work file committed, not closed", f"{WAREHOUSE}:_apply", "return"),
        Point("work file not copied", "shutil:copyfile", within=SWAP),
        common("copied, not forced to the disk", TO_DISK, within=SWAP),
        common("forced to the disk, not renamed", "pathlib:Path.rename", within=SWAP),
        common("renamed, folder not forced", TO_DISK, times=2, within=SWAP),
        Point("published, lock held", f"{FILE}._publish", "return"),
    ],
    "report": [
        Point(
            "page written, not in place",
            "pathlib:Path.replace",
            within="pushloss_pipeline.reporting:write_report",
        )
    ],
    "doctor": [
        Point("one of two entries set aside", f"{LOG}._set_aside", "return"),
        common("lost file still in the log", f"{TABLE}.drop", system_call=COMMIT),
        Point("lost file out of the log", f"{TABLE}.drop", "return"),
        Point("derived anew, not written", f"{LAKE}.append_entries"),
    ],
    "tidy": [
        Point("before the first merge", f"{TABLE}.merge"),
        common("merged, not committed", f"{TABLE}.merge", system_call=COMMIT),
        Point("merge committed, not forced to the disk", f"{TABLE}._force_since"),
        Point("between two merges", f"{TABLE}.merge", "return"),
        common("checkpoint without its name", f"{TABLE}.sweep", system_call="rename"),
        Point("checkpoint not forced", f"{TABLE}._force", within=f"{TABLE}.sweep"),
        Point("log not shortened", "deltalake.table:DeltaTable.cleanup_metadata"),
        Point("one of two logs shortened", f"{TABLE}.sweep", "return"),
    ],
    "upgrade": [
        Point("before the columns", f"{DELTA}:_add_declared_columns"),
        Point("columns not committed", ADDING, system_call=COMMIT),
        Point("columns, not forced to the disk", f"{TABLE}._force_since"),
        common("columns, no version", f"{TABLE}._force_since", "return"),
        Point("version, not forced to the disk", f"{TABLE}._force_since", times=2),
        Point("one of two tables upgraded", f"{TABLE}.prepare", "return"),
    ],
}
"""Where processes are killed; a function that is renamed, or not reached, is told."""
MEASURED = ["app days acknowledged"]
"""Answers of a slow machine come in more than one batch."""


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Starts processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trust.kills"])
    return context


@pytest.fixture(scope="module", autouse=True)
def _keys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for app in (*THREE_APPS, SHOP):
            patch.setenv(secret_variable(app), app.secret_key)
        yield


def next_counts(world: World) -> None:
    """Let time go by: there is always something to write."""
    world.later(minutes=30)


def by_day(rows: Rows) -> dict[object, Rows]:
    """Rows of `truth` by app and day."""
    return {key: list(some) for key, some in groupby(rows, key=lambda row: row[:2])}


@dataclass
class Killing:
    """Kills processes of a world, and says what came of it."""

    context: ForkServerContext
    world: World
    days: tuple[date, ...]

    @property
    def file(self) -> Path:
        """The published file."""
        return Warehouse(self.world.data).path

    def start(self, **how: Any) -> BaseProcess:
        """Start a process that loads the days."""
        return start(self.context, self.world, self.days, **how)

    def at(self, point: Point, doing: str) -> Row:
        """Kill a process there, let the next one do the same, and load at the end."""
        folder = self.world.folder
        job = doing if doing in JOBS else "load"
        known = len(acknowledged(folder))
        shown = by_day(self.world.loaded()) if self.file.exists() else {}
        died = ended(self.start(job=job, point=point))
        assert point.death == died, f"{point.step}: {errors(folder)}"
        told = acknowledged(folder)[known:]
        half_days = self._half_days(shown)
        # What a doctor is called for is lost until it is mended.
        gone = [] if job == "doctor" else lost(self.world)
        # Its answers are followed by other ones: both are to be judged, in their order.
        next_counts(self.world)
        ends = [ended(self.start(job=job))]
        if job != "load":
            ends.append(ended(self.start()))
        return {
            "doing": doing,
            "killed": point.step,
            "app days acknowledged": sum(not each.is_published for each in told),
            "of them lost": len({*gone, *lost(self.world)}),
            "half days seen": half_days + self._half_days({}),
            "next run": "fails" if any(ends) or errors(folder) else "ends well",
            "days are true": "yes" if self.is_true() else "no",
        }

    def is_true(self) -> bool:
        """The days are what the API tells."""
        truth, loaded = self.world.truth(days=self.days), self.world.loaded()
        return truth == [row for row in loaded if row[1] in self.days]

    def _half_days(self, shown: dict[object, Rows]) -> int:
        """Days that are neither what they were nor what they should become."""
        if not self.file.exists():
            return len(shown)
        found = by_day(self.world.loaded())
        truth = by_day(self.world.truth(days=self.days))
        asked = shown.keys() | truth.keys()
        torn = [
            day
            for day in found.keys() & asked
            if found[day] not in (shown.get(day), truth.get(day))
        ]
        return len(torn) + len(read(self.file, HALF_DAYS))


def examined(world: World) -> list[str]:
    """What an examination finds wrong."""
    found = examine(world.parts, repair=False)
    return [text for finding in found for text in finding.wrong]


@pytest.fixture
def killing(tmp_path: Path, context: ForkServerContext) -> Iterator[Killing]:
    """Kills in a world of two apps, before anything was asked."""
    with a_world(tmp_path, APPS) as world:
        yield Killing(context, world, DAYS)


@pytest.fixture
def killing_old(tmp_path: Path, context: ForkServerContext) -> Iterator[Killing]:
    """The same in a world whose record is of schema version 1."""
    folder = tmp_path / "old"
    folder.mkdir()
    with a_world(folder, [SHOP]) as world:
        yield Killing(context, world, DAYS[1:])


def begin(world: World) -> None:
    """Let nothing be there."""
    shutil.rmtree(world.data, ignore_errors=True)
    (world.folder / ACKNOWLEDGED).unlink(missing_ok=True)


def bring_old_record(world: World) -> None:
    """Let a record be there that an older package has written."""
    begin(world)
    world.data.mkdir()
    with tarfile.open(RECORD_V1) as archive:
        archive.extractall(world.data, filter="data")


def break_record(world: World) -> None:
    """Empty two entries of a log amid others, and lose a file."""
    folder = world.data / "lake" / "push_loss_revisions"
    files = DeltaTable(str(folder)).file_uris()
    Path(next(file for file in files if "row_kind=marker" in file)).unlink()
    for entry in sorted((folder / "_delta_log").glob("*.json"))[-3:-1]:
        entry.write_bytes(b"")


def killed_at_each(
    killing: Killing, killing_old: Killing, choose: Callable[[Point], bool]
) -> list[Row]:
    """What comes of killing at each of the chosen points."""
    prepared = {
        "first load": (killing, begin),
        "load": (killing, next_counts),
        "report": (killing, next_counts),
        "tidy": (killing, next_counts),
        "doctor": (killing, break_record),
        "upgrade": (killing_old, bring_old_record),
    }
    rows = []
    for doing, points in POINTS.items():
        some_killing, prepare = prepared[doing]
        for point in filter(choose, points):
            prepare(some_killing.world)
            rows.append(some_killing.at(point, doing))
    return rows


def assert_all_is_well(rows: Sequence[Row], *worlds: World) -> None:
    """Nothing lost, nothing half, nothing left to do, and a replay agrees."""
    for world in worlds:
        before = world.everything()
        outcomes = replay_days(world.parts, world.names, DAYS)
        assert not any(outcome.is_new_revision for outcome in outcomes)
        assert not publish(world.parts).is_new_file
        assert before == world.everything()
        assert [] == examined(world)
    for row in rows:
        assert (0, 0) == (row["of them lost"], row["half days seen"]), row
        assert ("ends well", "yes") == (row["next run"], row["days are true"]), row


def test_killed_at_named_steps(killing: Killing, killing_old: Killing) -> None:
    """Wherever it is killed, nothing told is lost, and the next run finishes."""
    rows = killed_at_each(killing, killing_old, lambda point: point.is_common)

    assert_all_is_well(rows, killing.world, killing_old.world)
    tell("kills", rows, measured=MEASURED)


@pytest.mark.slow
def test_killed_at_further_steps(killing: Killing, killing_old: Killing) -> None:
    """The same at every other step that is worth a name."""
    rows = killed_at_each(killing, killing_old, lambda point: not point.is_common)

    assert_all_is_well(rows, killing.world, killing_old.world)
    tell("kills-more", rows, measured=MEASURED)


def killed_at_random(killing: Killing, jobs: Sequence[str], kills: int) -> Row:
    """Kill side by side, then load once, and say what came of it all."""
    world = killing.world
    assert 0 == ended(killing.start())
    killed, seen = kill_at_random(
        killing.context, world, killing.days, jobs=jobs, kills=kills
    )
    gone = lost(world)
    last = ended(killing.start())
    told = [each for each in acknowledged(world.folder) if not each.is_published]

    assert seen.opens and told and killed.total() == kills
    assert (0, "") == (last, errors(world.folder))
    assert ([], [], []) == (seen.errors, seen.half_days, seen.went_back)
    assert not seen.held_snapshot_changed
    assert [] == gone + lost(world)
    assert_all_is_well([], world)
    assert killing.is_true()
    return {
        "processes side by side": ", ".join(
            f"{count} × {job}" for job, count in Counter(jobs).items()
        ),
        "kills": kills,
        "of them": ", ".join(f"{n} × {job}" for job, n in killed.items()),
        "app days acknowledged": len(told),
        "lost": len(gone),
        "reader's opens": seen.opens,
        "reader's errors": len(seen.errors),
        "half days seen": len(seen.half_days),
        "runs that needed a hand": len(errors(world.folder)),
    }


def test_killed_at_random(killing: Killing) -> None:
    """Three loads and a tidying, killed again and again, lose nothing together."""
    killed_at_random(killing, (*["load"] * 3, "tidy"), 30)


@pytest.mark.slow
def test_killed_at_random_for_minutes(killing: Killing) -> None:
    """The same hundreds of times, with a doctor who mends among them."""
    row = killed_at_random(killing, (*["load"] * 3, "tidy and doctor"), 600)

    tell(
        "kills-random",
        [row],
        measured=["of them", "app days acknowledged", "reader's opens"],
    )


def test_side_by_side(tmp_path: Path, context: ForkServerContext) -> None:
    """Several loads at once lose nothing, and together keep to the rate of calls."""
    rate = 50.0
    with running(Scenario(7, THREE_APPS), calls_per_second=rate) as simulator:
        world = World(tmp_path, simulator, THREE_APPS)
        simulator.set_now(world.now)
        text = configuration(simulator.url, THREE_APPS, calls_per_second=rate)
        (tmp_path / "pushloss.toml").write_text(text)
        processes = [start(context, world, world.days) for _ in range(3)]

        assert [0, 0, 0] == [ended(process) for process in processes]
        served = simulator.served()
        assert 3 * 21 == len(served)
        assert {0} == {call["error_code"] for call in served}
        assert world.truth() == world.loaded()
        assert [(1,)] == world.rows("select distinct revision from push_loss_history")
