"""Processes that load, tidy and mend, and die at a named step or at any moment.

A step is named by a function of the product, and the product knows nothing of it: the
process watches its own calls, and kills itself when it gets there.
"""

import ctypes
import importlib
import inspect
import json
import os
import platform
import random
import signal
import struct
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from functools import reduce
from itertools import count
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import duckdb

from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.domain.model import AppDay
from pushloss_pipeline.parts import open_parts
from pushloss_pipeline.reporting import write_report
from pushloss_pipeline.settings import read_settings
from pushloss_pipeline.simulator.scenario import SimulatedApp
from pushloss_pipeline.steps import DayOutcome, Parts, load_days, publish
from pushloss_pipeline.upkeep import examine, tidy
from tests.world import Rows, World, secret_variable

ACKNOWLEDGED, ERRORS = "acknowledged", "errors"
"""Files beside the data: what processes were told, and what they could not do."""
ENDS_SECONDS = 120
"""A process that takes longer hangs."""
READ_PAUSE = 0.05
LIVES = (0.1, 2.0)
"""Seconds after which a process is killed: from its first steps to its third load."""
STOP, SEEN = "stop", "seen"
"""Files that end the reader, and that it leaves."""
REVISIONS = "select app, loss_date, revision from push_loss_days"
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

_SYSTEM_CALLS = {
    "x86_64": {"seccomp": (317,), "linkat": (265,), "rename": (82, 264, 316)},
    "aarch64": {"seccomp": (277,), "linkat": (37,), "rename": (38, 276)},
}


@dataclass(frozen=True)
class Point:
    """Where something happens to a process."""

    step: str
    """In words."""
    function: str
    """Of which module, and its name in it: `package.module:Class.function`."""
    event: str = "call"
    """Or `return`."""
    times: int = 1
    within: str = ""
    """Counted only while this function runs."""
    system_call: str = ""
    """It happens at the first of these from there on."""
    is_common: bool = False
    """Tried by the normal suite."""

    def reach(self, act: Callable[[], None]) -> None:
        """Do this once when this process gets there, in whatever thread begins now."""
        code = _code_of(self.function)
        outer = _code_of(self.within) if self.within else None
        left = self.times

        def watch(frame: FrameType, event: str, argument: object) -> None:
            nonlocal left
            if frame.f_code is not code or event != self.event:
                return
            if outer is None or _is_within(frame, outer):
                left -= 1
                if left == 0:
                    act()

        threading.setprofile(watch)
        sys.setprofile(watch)

    def die(self) -> None:
        """Let this process, and all of its group, be killed there."""
        if self.system_call:
            self.reach(lambda: _die_at(self.system_call))
        else:
            self.reach(lambda: os.killpg(0, signal.SIGKILL))

    @property
    def death(self) -> int:
        """How the process ends there: no handler hears of it either way."""
        return -signal.SIGSYS if self.system_call else -signal.SIGKILL


def _code_of(function: str) -> CodeType:
    module, _, name = function.partition(":")
    found: Any = reduce(getattr, name.split("."), importlib.import_module(module))
    code: CodeType = inspect.unwrap(found).__code__
    return code


def _is_within(frame: FrameType | None, outer: CodeType) -> bool:
    while frame is not None and frame.f_code is not outer:
        frame = frame.f_back
    return frame is not None


def _die_at(name: str) -> None:
    """Let the kernel kill this process, threads and all, at its next call of a kind.

    A filter of seccomp(2): what Delta does between two system calls, in threads of its
    own, no watcher in Python could tell apart.
    """
    numbers = _SYSTEM_CALLS[platform.machine()]
    load, jump_if_equal, end = 0x20, 0x15, 0x06
    allow, kill = 0x7FFF0000, 0x80000000
    wanted = numbers[name]
    steps = [
        (load, 0, 0, 0),
        *((jump_if_equal, len(wanted) - n, 0, each) for n, each in enumerate(wanted)),
        (end, 0, 0, allow),
        (end, 0, 0, kill),
    ]
    text = b"".join(struct.pack("HBBI", *step) for step in steps)
    instructions = ctypes.create_string_buffer(text)
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(instructions))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_filter, for_all_threads = 38, 1, 1
    (seccomp,) = numbers["seccomp"]
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.syscall(
        seccomp, set_filter, for_all_threads, program
    ):
        raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")


@dataclass(frozen=True)
class Acknowledged:
    """An app's day that a process was told of."""

    app: str
    day: str
    revision: int
    row_count: int
    calls: int
    """Whose answers are in the record."""
    is_published: bool = False


class Memory:
    """What a process was told, kept where no kill reaches it."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(folder / ACKNOWLEDGED, flags, 0o600)
        self._told: list[dict[str, Any]] = []

    def hear(self, outcome: DayOutcome) -> None:
        """An outcome of a load."""
        assert outcome.is_done, outcome
        told = Acknowledged(
            outcome.app,
            str(outcome.loss_date),
            outcome.revision,
            outcome.row_count,
            outcome.calls,
        )
        self._told.append(asdict(told))
        self._keep([asdict(told)])

    def published(self) -> None:
        """All that was told before is in the published file."""
        told, self._told = self._told, []
        self._keep([{**each, "calls": 0, "is_published": True} for each in told])

    def _keep(self, lines: Sequence[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        os.write(self._file, text.encode())
        os.fsync(self._file)


def acknowledged(folder: Path) -> list[Acknowledged]:
    """What the processes of this folder were told so far."""
    path = folder / ACKNOWLEDGED
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [Acknowledged(**json.loads(line)) for line in lines if line.endswith("\n")]


@dataclass(frozen=True)
class Errand:
    """What a process is to do."""

    folder: Path
    apps: Sequence[SimulatedApp]
    days: tuple[date, ...]
    now: datetime
    job: str = "load"
    point: Point | None = None
    is_endless: bool = False


def run(errand: Errand) -> None:
    """Do it, in a process group of its own, as it is done from the command line."""
    os.setsid()
    for app in errand.apps:
        os.environ[secret_variable(app)] = app.secret_key
    ticks = count()
    parts = open_parts(
        read_settings(errand.folder / "pushloss.toml"),
        clock=lambda: errand.now + timedelta(milliseconds=next(ticks)),
    )
    if errand.point:
        errand.point.die()
    try:
        memory = Memory(errand.folder)
        JOBS[errand.job](parts, errand.days, memory)
        while errand.is_endless:
            JOBS[errand.job](parts, errand.days, memory)
    except BaseException:
        with (errand.folder / ERRORS).open("a") as file:
            traceback.print_exc(file=file)
        raise


def _load(parts: Parts, days: tuple[date, ...], memory: Memory) -> None:
    load_days(parts, parts.settings.select(), days, on_outcome=memory.hear)
    publish(parts)
    memory.published()


def _doctor(parts: Parts, days: tuple[date, ...], memory: Memory) -> None:
    left = [each for each in examine(parts, repair=True) if not each.is_mended]
    assert not left, left


def _tidy_and_doctor(parts: Parts, days: tuple[date, ...], memory: Memory) -> None:
    tidy(parts)
    _doctor(parts, days, memory)


JOBS: dict[str, Callable[[Parts, tuple[date, ...], Memory], object]] = {
    "load": _load,
    "tidy": lambda parts, days, memory: tidy(parts),
    "tidy and doctor": _tidy_and_doctor,
    "report": lambda parts, days, memory: write_report(parts),
    "doctor": _doctor,
}


def start(
    context: ForkServerContext, world: World, days: tuple[date, ...], **how: Any
) -> BaseProcess:
    """Start a process of a world's folder, at its time."""
    errand = Errand(world.folder, tuple(world.apps), days, world.now, **how)
    process = context.Process(target=run, args=(errand,))
    process.start()
    return process


@dataclass
class Seen:
    """What a reader saw who opened the published file again and again."""

    opens: int = 0
    half_days: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    went_back: list[str] = field(default_factory=list)
    """Days whose revision was a lower one than before."""
    held_snapshot_changed: bool = False


def watch(folder: Path, path: Path) -> None:
    """Open the published file again and again; keep what was seen once told to stop."""
    seen = Seen()
    known: dict[object, int] = {}
    while not path.exists():
        time.sleep(READ_PAUSE)
    with duckdb.connect() as held:
        held.execute(f"attach '{path}' as w (read_only)")
        before = held.execute("from w.push_loss_history order by all").fetchall()
        while not (folder / STOP).exists():
            _look(path, seen, known)
            time.sleep(READ_PAUSE)
        after = held.execute("from w.push_loss_history order by all").fetchall()
    seen.held_snapshot_changed = before != after
    (folder / SEEN).write_text(json.dumps(asdict(seen)))


def _look(path: Path, seen: Seen, known: dict[object, int]) -> None:
    try:
        revisions, half = read_all(path, REVISIONS, HALF_DAYS)
    except duckdb.Error as problem:
        seen.errors.append(str(problem))
        return
    seen.opens += 1
    seen.half_days += map(str, half)
    for app, day, revision in revisions:
        if revision < known.get((app, day), 0):
            seen.went_back.append(f"{app} {day} {revision}")
        known[app, day] = revision
    if known.keys() - {(app, day) for app, day, _ in revisions}:
        seen.went_back.append("a day is gone")


def kill_at_random(
    context: ForkServerContext,
    world: World,
    days: tuple[date, ...],
    *,
    jobs: Sequence[str],
    kills: int,
) -> tuple[Counter[str], Seen]:
    """Kill processes that do these jobs side by side; which, and what a reader saw."""
    chance = random.Random()
    path = Warehouse(world.data).path
    reader = context.Process(target=watch, args=(world.folder, path))
    reader.start()
    killed: Counter[str] = Counter()
    running = [(job, _start_endless(context, world, days, job)) for job in jobs]
    doomed = [time.monotonic() + chance.uniform(*LIVES) for _ in jobs]
    try:
        while killed.total() < kills:
            slot = min(range(len(jobs)), key=lambda n: doomed[n])
            time.sleep(max(0.0, doomed[slot] - time.monotonic()))
            job, process = running[slot]
            assert _kill(process), f"it ended by itself: {errors(world.folder)}"
            killed[job] += 1
            world.later(minutes=1)  # other counts: there is always something to write
            running[slot] = (job, _start_endless(context, world, days, job))
            doomed[slot] = time.monotonic() + chance.uniform(*LIVES)
    finally:
        for _, process in running:
            _kill(process)
        (world.folder / STOP).touch()
        ended(reader)
    return killed, Seen(**json.loads((world.folder / SEEN).read_text()))


def _start_endless(
    context: ForkServerContext, world: World, days: tuple[date, ...], job: str
) -> BaseProcess:
    return start(context, world, days, job=job, is_endless=True)


def _kill(process: BaseProcess) -> bool:
    """Kill a process and all of its group; whether it was still alive."""
    assert process.pid is not None
    if process.exitcode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has no group of its own yet
            process.kill()
    return ended(process) == -signal.SIGKILL


def ended(process: BaseProcess) -> int | None:
    """How a process ended; none outlives its test."""
    process.join(ENDS_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode


def errors(folder: Path) -> str:
    """What the processes of a folder could not do."""
    path = folder / ERRORS
    return path.read_text() if path.exists() else ""


def read(path: Path, statement: str) -> Rows:
    """What a new session of the published file sees."""
    (rows,) = read_all(path, statement)
    return rows


def read_all(path: Path, *statements: str) -> list[Rows]:
    """The same of several questions."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{path}' as w (read_only)")
        connection.execute("use w")
        return [connection.execute(each).fetchall() for each in statements]


def lost(world: World) -> list[Acknowledged]:
    """What somebody was told of, and is in the record or the published file no more."""
    told = acknowledged(world.folder)
    ids = {app.name: app.sdk_app_id for app in world.apps}
    keys = {AppDay(ids[each.app], date.fromisoformat(each.day)) for each in told}
    lake = world.parts.lake
    entries, answers = lake.entries(keys), lake.answers(keys)
    recorded = {
        (entry.sdk_app_id, str(entry.loss_date), entry.revision, entry.row_count)
        for key in keys
        for entry in entries.get(key, [])
        if entry.is_revision
    }
    calls: dict[tuple[int, str], int] = defaultdict(int)
    for each in told:
        calls[ids[each.app], each.day] += each.calls
    stored = {(k.sdk_app_id, str(k.loss_date)): len(answers.get(k, [])) for k in keys}
    shown = set(_shown(world)) if any(each.is_published for each in told) else set()
    return [
        each
        for each in told
        for app in [ids[each.app]]
        if (app, each.day, each.revision, each.row_count) not in recorded
        or stored[app, each.day] < calls[app, each.day]
        or (
            each.is_published
            and (app, each.day, each.revision, each.row_count) not in shown
        )
    ]


def _shown(world: World) -> Rows:
    return read(
        Warehouse(world.data).path,
        "select sdk_app_id, loss_date::varchar, revision, count(*)"
        " from push_loss_history group by all",
    )
