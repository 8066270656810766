"""No app is called more often than allowed, whatever the number of processes."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from pushloss_pipeline.adapters.pacing import Pacer
from pushloss_pipeline.domain.errors import StoreError

CLOCK_NOISE_SECONDS = 0.001

WORKER = """
import asyncio, sys, time
from pathlib import Path
from pushloss_pipeline.adapters.pacing import Pacer

async def work():
    pacer = Pacer(Path(sys.argv[1]), calls_per_second=float(sys.argv[2]))
    for _ in range(int(sys.argv[3])):
        await pacer.wait_turn(1400000001)
        print(time.time(), flush=True)
    pacer.close()

asyncio.run(work())
"""

HOLDER = """
import sys, time
from filelock import FileLock

lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(3600)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a script in a process of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def times(worker: subprocess.Popen[str]) -> list[float]:
    """Wait for a worker's end; when its calls started."""
    output, _ = worker.communicate(timeout=60)
    return [float(line) for line in output.splitlines()]


def smallest_gap(starts: Sequence[float]) -> float:
    """Seconds between the two starts that lie closest together."""
    return min(after - before for before, after in pairwise(sorted(starts)))


async def take_turns(pacer: Pacer, sdk_app_id: int, count: int) -> list[float]:
    """Wait for so many turns, one after the other; when each came."""
    starts = []
    for _ in range(count):
        await pacer.wait_turn(sdk_app_id)
        starts.append(time.monotonic())
    return starts


@pytest.mark.parametrize("calls_per_second", [4.0, 10.0, 100.0])
def test_spacing(tmp_path: Path, calls_per_second: float) -> None:
    """Turns of one app are evenly spaced, never in bursts."""
    pacer = Pacer(tmp_path / "pacing.sqlite", calls_per_second=calls_per_second)

    starts = asyncio.run(take_turns(pacer, 1, 5))
    pacer.close()

    assert smallest_gap(starts) >= 1 / calls_per_second - CLOCK_NOISE_SECONDS


def test_processes_share_the_rate(tmp_path: Path) -> None:
    """Three processes together keep the rate of one, and none goes without."""
    path = tmp_path / "pacing.sqlite"

    workers = [start(WORKER, path, 10.0, 8) for _ in range(3)]
    starts = [times(worker) for worker in workers]

    assert [len(own) for own in starts] == [8, 8, 8]
    together = [moment for own in starts for moment in own]
    assert smallest_gap(together) >= 0.1 - CLOCK_NOISE_SECONDS


def test_a_killed_process_blocks_nobody(tmp_path: Path) -> None:
    """A process killed in the middle of its calls leaves the others going."""
    path = tmp_path / "pacing.sqlite"
    victim, survivor = start(WORKER, path, 50.0, 10_000), start(WORKER, path, 50.0, 30)
    assert victim.stdout is not None

    before = [float(victim.stdout.readline()) for _ in range(3)]
    victim.send_signal(signal.SIGKILL)
    starts = times(survivor)
    victim.communicate(timeout=10)

    assert len(starts) == 30
    assert smallest_gap([*before, *starts]) >= 0.02 - CLOCK_NOISE_SECONDS


def test_a_process_killed_with_the_lock_blocks_nobody(tmp_path: Path) -> None:
    """The lock goes with the process that held it; until then others wait."""
    path = tmp_path / "pacing.sqlite"
    pacer = Pacer(path, calls_per_second=100.0)
    holder = start(HOLDER, f"{path}.lock")
    assert holder.stdout is not None
    holder.stdout.readline()

    async def wait_for_the_kill() -> bool:
        turn = asyncio.create_task(pacer.wait_turn(1))
        await asyncio.wait([turn], timeout=0.1)
        has_waited = not turn.done()
        holder.kill()
        await asyncio.wait_for(turn, timeout=10)
        return has_waited

    has_waited = asyncio.run(wait_for_the_kill())
    holder.communicate(timeout=10)
    pacer.close()

    assert has_waited


def test_apps_do_not_wait_for_one_another(tmp_path: Path) -> None:
    """Thirty-two apps get their first turns together, not one app a second."""
    pacer = Pacer(tmp_path / "pacing.sqlite", calls_per_second=1.0)

    async def all_at_once() -> None:
        await asyncio.gather(*(pacer.wait_turn(number) for number in range(32)))

    started = time.monotonic()
    asyncio.run(all_at_once())
    elapsed = time.monotonic() - started
    pacer.close()

    assert elapsed < 5


def test_waiting_leaves_the_loop_free(tmp_path: Path) -> None:
    """While calls wait for their turns, the event loop serves others."""
    pacer = Pacer(tmp_path / "pacing.sqlite", calls_per_second=2.0)

    async def count_beats() -> int:
        turns = asyncio.create_task(take_turns(pacer, 1, 2))
        beats = 0
        while not turns.done():
            await asyncio.sleep(0.005)
            beats += 1
        return beats

    beats = asyncio.run(count_beats())
    pacer.close()

    assert beats > 20


def test_waiting_can_be_cancelled(tmp_path: Path) -> None:
    """A wait of hours ends at once when its task is cancelled."""
    pacer = Pacer(tmp_path / "pacing.sqlite", calls_per_second=0.0001)

    async def give_up() -> None:
        await pacer.wait_turn(1)
        await asyncio.wait_for(pacer.wait_turn(1), timeout=0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    pacer.close()


def test_turns_outlive_the_process(tmp_path: Path) -> None:
    """A new process waits for the rest of the period that the last one began."""
    path = tmp_path / "pacing.sqlite"
    starts = []

    for _ in range(3):
        pacer = Pacer(path, calls_per_second=10.0)
        starts += asyncio.run(take_turns(pacer, 1, 1))
        pacer.close()

    assert smallest_gap(starts) >= 0.1 - CLOCK_NOISE_SECONDS


def test_the_file_does_not_grow(tmp_path: Path) -> None:
    """However many calls an app makes, only its last ones are kept."""
    path = tmp_path / "pacing.sqlite"
    pacer = Pacer(path, calls_per_second=1000.0)

    asyncio.run(take_turns(pacer, 7, 100))
    pacer.close()
    connection = sqlite3.connect(path)
    (count,) = connection.execute("select count(*) from app_7").fetchone()
    connection.close()

    assert count <= 2


def test_a_restarted_machine(tmp_path: Path) -> None:
    """Stamps from before a restart, later than the new clock, hold nobody up."""
    path = tmp_path / "pacing.sqlite"
    pacer = Pacer(path, calls_per_second=20.0)
    asyncio.run(take_turns(pacer, 1, 1))
    connection = sqlite3.connect(path)
    connection.execute("update app_1 set item_timestamp = item_timestamp + 86400000")
    connection.commit()
    connection.close()

    starts = asyncio.run(asyncio.wait_for(take_turns(pacer, 1, 2), timeout=5))
    pacer.close()

    assert smallest_gap(starts) >= 0.05 - CLOCK_NOISE_SECONDS


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A file that cannot be used is named, with what to do about it."""
    path = tmp_path / "pacing.sqlite"
    path.write_bytes(b"no database at all, but long enough to look at" * 100)

    with pytest.raises(StoreError, match=r"pacing\.sqlite.*may be deleted"):
        Pacer(path, calls_per_second=1.0)


def test_a_call_that_left_late_counts_from_then(tmp_path: Path) -> None:
    """A busy machine holds a call up after its turn: the next keeps away from it."""

    async def spacing() -> float:
        first, second = (Pacer(tmp_path / "p", calls_per_second=4.0) for _ in range(2))
        await first.wait_turn(1400000001)
        await asyncio.sleep(0.2)
        left_at = time.monotonic()
        await first.count_from_now(1400000001)
        await second.wait_turn(1400000001)
        return time.monotonic() - left_at

    assert asyncio.run(spacing()) >= 0.25 - CLOCK_NOISE_SECONDS
