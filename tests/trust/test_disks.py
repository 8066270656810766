"""A disk that is full, read-only or gone: a clear error, and the old data whole.

The disks are small ones of a process of its own, which nobody else sees and which go
with it. Root may mount them, and so may whoever may have a namespace.
"""

import ctypes
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.reporting import write_report
from pushloss_pipeline.steps import load_days, publish
from pushloss_pipeline.upkeep import examine, tidy
from tests.trust.kills import Point
from tests.trust.reliability import Row, tell
from tests.world import THREE_APPS, World, a_world, secret_variable

APPS = THREE_APPS[:1]
DAYS = (date(2026, 3, 10), date(2026, 3, 11))
DISK_BYTES = 40_000_000
NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000
CAPABILITIES_VERSION = 0x20080522

TABLE = "pushloss_pipeline.adapters.delta:StoredTable"
COMMIT = "pushloss_pipeline.adapters.delta:_commit"
APPLY = "pushloss_pipeline.adapters.warehouse:_apply"
COPY = "shutil:copyfile"

JOBS: dict[str, Callable[[World], object]] = {
    "load": lambda world: load_days(world.parts, world.names, DAYS),
    "load and publish": lambda world: world.load(days=DAYS[1:]),
    "publish": lambda world: publish(world.parts),
    "tidy": lambda world: tidy(world.parts),
    "report": lambda world: write_report(world.parts),
}


@dataclass(frozen=True)
class Case:
    """What breaks, while what is done."""

    disk: str
    job: str
    point: Point | None = None
    """Where it breaks; None: before the job begins."""
    is_common: bool = False
    """Tried by the normal suite."""

    @property
    def gone(self) -> str:
        """What vanishes, within the data folder."""
        return self.disk.removeprefix("data/").removesuffix(" gone")


common = partial(Case, is_common=True)
WRITING_ANSWERS = Point("answers are written", f"{TABLE}.append")
COMMITTING = Point("answers are written", COMMIT)
COPYING = Point("the file is copied", COPY)
CASES = [
    Case("full", "load"),
    Case("full", "load", WRITING_ANSWERS),
    common("full", "load", Point("rows are written", f"{TABLE}.append", times=2)),
    Case("full", "publish", Point("the work file is changed", APPLY)),
    Case("full", "publish", Point("the work file is closed", APPLY, "return")),
    common("full", "publish", COPYING),
    common("full", "tidy", Point("files are merged", f"{TABLE}.merge")),
    Case("full", "tidy", Point("the log is shortened", f"{TABLE}.sweep")),
    Case("full", "report"),
    common("read-only", "load"),
    Case("read-only", "publish"),
    Case("read-only", "tidy"),
    Case("read-only", "report"),
    Case("another user's", "load"),
    Case("another user's", "publish"),
    common("another user's", "tidy"),
    Case("another user's", "report"),
    common("data/lake gone", "load and publish"),
    Case("data/lake/push_loss_revisions gone", "load and publish"),
    common("data/lake gone", "load and publish", COMMITTING),
    Case("data/lake gone", "load and publish", Point("the file is made", APPLY)),
    Case("data/ gone", "load and publish", COMMITTING),
    Case("data/ gone", "load and publish", COPYING),
]


def have_own_mounts() -> None:
    """Let this process mount what nobody else sees, and what goes with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_MOUNTS):
        if libc.unshare(NEW_MOUNTS | NEW_USER):
            raise OSError(
                ctypes.get_errno(),
                "a small disk is needed: run this as root with CAP_SYS_ADMIN, or where"
                " users may have namespaces (sysctl user.max_user_namespaces)",
            )
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mount("--make-rprivate", "/")


def mount(*arguments: str) -> None:
    """Mount something; it has to work."""
    subprocess.run(["mount", *arguments], check=True)


def have_no_privileges() -> None:
    """Let the modes of files bind this process, also where it is root's."""
    header = CAPABILITIES_VERSION.to_bytes(4, sys.byteorder) + bytes(4)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), "privileges cannot be dropped")


@contextmanager
def a_disk(folder: Path) -> Iterator[World]:
    """A world whose data lie on a small disk of their own."""
    with a_world(folder, APPS) as world:
        world.data.mkdir()
        size = f"size={DISK_BYTES}"
        mount("-t", "tmpfs", "-o", size, "none", str(world.data))
        try:
            yield world
        finally:
            subprocess.run(["umount", "--lazy", str(world.data)], check=True)


def fill(disk: Path) -> None:
    """Leave no room on a disk."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def said(
    world: World, job: str, point: Point | None, breaking: Callable[[], None]
) -> str:
    """What a job says whose disk breaks before it begins, or at this point."""
    if point:
        point.reach(breaking)
    else:
        breaking()
    try:
        JOBS[job](world)
    except StoreError as problem:
        return str(problem)
    finally:
        threading.setprofile(None)
        sys.setprofile(None)
    return "nothing"


def broken(world: World, case: Case, **acts: Callable[[], None]) -> Row:
    """Break the disk, see what is said and what is left, mend it, and load again."""
    name = APPS[0].name
    before = world.everything()
    answers = {day: len(world.answers(name, day)) for day in DAYS}
    world.later(minutes=30)
    if case.job == "publish":
        JOBS["load"](world)
    told = said(world, case.job, case.point, acts["breaking"])
    acts.get("bringing_back", lambda: None)()
    is_whole = before == world.everything()
    acts.get("mending", lambda: None)()
    is_kept = all(len(world.answers(name, day)) >= answers[day] for day in DAYS)
    world.load(days=DAYS)
    is_true = world.truth(days=DAYS) == world.loaded()
    return {
        "disk": case.disk,
        "doing": case.job,
        "when": case.point.step if case.point else "before it begins",
        "error says": told.rpartition("; ")[2],
        "old data": "whole" if is_whole and is_kept else "lost",
        "next load": "ends well" if is_true else "differs from the API",
    }


def on_full_disk(world: World, case: Case) -> Row:
    """There is no room."""
    return broken(
        world,
        case,
        breaking=lambda: fill(world.data),
        mending=lambda: (world.data / "filler").unlink(),
    )


def on_read_only_disk(world: World, case: Case) -> Row:
    """Nothing may be written at all."""
    path = str(world.data)
    return broken(
        world,
        case,
        breaking=lambda: mount("-o", "remount,ro", path),
        mending=lambda: mount("-o", "remount,rw", path),
    )


def without_rights(world: World, case: Case) -> Row:
    """This user may not write."""

    def give(mode: int) -> None:
        for path in (world.data, *world.data.rglob("*")):
            path.chmod(mode if path.is_dir() else mode & 0o666)

    return broken(
        world, case, breaking=lambda: give(0o555), mending=lambda: give(0o755)
    )


def on_vanished_disk(world: World, case: Case) -> Row:
    """A folder is away, as if its disk were not mounted, and comes back."""
    place, away = world.data / case.gone, world.folder / "away"

    def come_back() -> None:
        shutil.rmtree(place, ignore_errors=True)  # what a mount would hide
        away.rename(place)

    return broken(
        world,
        case,
        breaking=lambda: place.rename(away) and None,
        # Without the whole folder, there is nothing that could be whole.
        **{"mending" if case.gone else "bringing_back": come_back},
    )


KINDS: dict[str, Callable[[World, Case], Row]] = {
    "full": on_full_disk,
    "read-only": on_read_only_disk,
    "another user's": without_rights,
    "gone": on_vanished_disk,
}


def kind_of(case: Case) -> str:
    """How the disk fails."""
    return "gone" if case.disk.endswith("gone") else case.disk


def break_disks(folder: Path, kind: str, cases: list[Case]) -> list[Row]:
    """Let disks fail in one way, one time after the other."""
    if kind == "another user's":
        have_no_privileges()
        disk = a_world(folder, APPS)
    else:
        disk = a_world(folder, APPS) if kind == "gone" else a_disk(folder)
    with disk as world:
        world.load(days=DAYS)
        rows = [KINDS[kind](world, case) for case in cases]
        found = examine(world.parts, repair=False)
        wrong = [f for f in found if f.wrong and f.looked_at != "room on the disk"]
        assert not wrong, wrong
        return rows


def in_a_process(job: Callable[..., list[Row]], folder: Path, *what: Any) -> list[Row]:
    """What a job sees in a process that has mounts of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trust.kills"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(alone, job, folder, *what).result()


def alone(job: Callable[..., list[Row]], folder: Path, *what: Any) -> list[Row]:
    """Do it here, where nobody else is."""
    have_own_mounts()
    for app in APPS:
        os.environ[secret_variable(app)] = app.secret_key
    folder.mkdir()
    return job(folder, *what)


def rows_of(folder: Path, cases: list[Case]) -> list[Row]:
    """What comes of these cases; those of a kind are of one world."""
    rows = []
    for kind, some in groupby(cases, key=kind_of):
        rows += in_a_process(break_disks, folder / kind, kind, list(some))
    for row in rows:
        assert ("whole", "ends well") == (row["old data"], row["next load"]), row
        assert "nothing" != row["error says"], row
    return rows


def test_disks_that_fail(tmp_path: Path) -> None:
    """The error says what to do; what was there is whole; the next load ends well."""
    tell("disks", rows_of(tmp_path, [case for case in CASES if case.is_common]))


@pytest.mark.slow
def test_disks_that_fail_at_other_times(tmp_path: Path) -> None:
    """The same wherever else something is written."""
    tell("disks-more", rows_of(tmp_path, [c for c in CASES if not c.is_common]))


def load_with_full_store(folder: Path) -> list[Row]:
    """`pushloss load`, where Dagster keeps its runs on a full disk."""
    with a_disk(folder) as world:
        (world.data / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        fill(world.data)
        ran = subprocess.run(
            [sys.executable, "-m", "pushloss_pipeline", "load", *map(str, DAYS)],
            env={
                **os.environ,
                "PUSHLOSS_CONFIG": str(folder / "pushloss.toml"),
                "PUSHLOSS_DATA_DIR": str(folder / "other"),
                "DAGSTER_HOME": str(world.data),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return [{"code": ran.returncode, "said": ran.stderr}]


def test_full_disk_of_dagsters_store(tmp_path: Path) -> None:
    """The command says in one line what to do, without a traceback, and ends with 1."""
    (ran,) = in_a_process(load_with_full_store, tmp_path / "world")

    (line,) = str(ran["said"]).strip().splitlines()
    assert 1 == ran["code"]
    assert line.startswith("error: cannot write Dagster's store in ")
    assert line.endswith("; the disk is full: make room, then run it again")
