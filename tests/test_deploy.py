"""What a server is given: unit files, the image, the copy of the record."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from pushloss_pipeline.steps import publish, replay_days
from tests.defs.site import wait_until
from tests.trust.kills import HALF_DAYS
from tests.world import World

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
UNITS = sorted((ROOT / "deploy").glob("*.service"))
REVISIONS = "select * exclude superseded_at from push_loss_history"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def systemd_analyze(*arguments: str) -> str:
    """What systemd says; empty where it has nothing to complain about."""
    if shutil.which("systemd-analyze") is None:
        pytest.fail("no systemd-analyze found: install Debian's package `systemd`")
    command = ["systemd-analyze", "--no-pager", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stderr + (ended.stdout if ended.returncode else "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    """Each setting is known to systemd, and the command is one that is installed."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/pushloss/.venv/bin", str(BIN)))

    assert systemd_analyze("verify", "--man=no", str(copy)) == ""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_unit_is_locked_in(unit: Path) -> None:
    """systemd gives it a low exposure (2.5 of 10 at most) and an unprivileged user."""
    said = systemd_analyze("security", "--offline=true", "--threshold=25", str(unit))

    assert said == ""
    assert "User=pushloss\n" in unit.read_text()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_command_takes_the_units_options(unit: Path) -> None:
    """Every option of ExecStart is one that Dagster's command has."""
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    program, *words = line.split()
    command = [word for word in words[:1] if not word.startswith("--")]
    told = subprocess.run(
        [BIN / Path(program).name, *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert [] == [word for word in words if word.startswith("--") and word not in told]


def test_only_the_daemon_has_the_keys() -> None:
    """Loads run in the daemon; the UI's server needs no key and gets none."""
    with_keys = [unit.stem for unit in UNITS if "/secrets" in unit.read_text()]

    assert with_keys == ["pushloss-daemon"]


def test_servers_listen_on_this_machine_only() -> None:
    """The UI's server, `make dev`, and the container's port, which is published so."""
    makefile = (ROOT / "Makefile").read_text()
    served = [
        line
        for text in (*(unit.read_text() for unit in UNITS), makefile)
        for line in text.splitlines()
        if re.search(r"dagster-webserver --|dagster dev", line)
    ]

    assert 2 == len(served)
    assert all("--host 127.0.0.1" in line for line in served)
    assert ["127.0.0.1:3000:3000"] == re.findall(
        r"^docker run .* -p (\S+)", OPERATIONS, re.MULTILINE
    )


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_files_of_the_services_are_their_users_alone(unit: Path) -> None:
    """Also those that Dagster makes by itself."""
    assert "UMask=0077\n" in unit.read_text()


def test_the_image_is_made_of_what_is_there() -> None:
    """What the Dockerfile copies exists, and nothing else reaches the builder."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    sources = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert [] == [source for source in sources if not (ROOT / source).exists()]
    assert sources == {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored


def copied_under_the_lock(world: World, to: Path) -> None:
    """Take a copy as docs/operations.md says, in other folders."""
    (command,) = re.findall(r"sh -c '(flock .*?)'", OPERATIONS, re.DOTALL)
    folders = {"/var/lib/pushloss/data": world.data, "/var/backups/pushloss": to}
    for documented, folder in folders.items():
        assert documented in command
        command = command.replace(documented, str(folder))
    subprocess.run(["sh", "-c", command], check=True)
    (copy,) = to.glob("lake-*")
    copy.rename(to / "lake")


def copied_log_first(world: World, to: Path) -> None:
    """Take a copy without the lock, in the order of docs/operations.md."""
    order = ["push_loss_revisions/_delta_log", "push_loss_responses/_delta_log", ""]
    for part in order:
        wait_for_calls(world)
        shutil.copytree(
            world.data / "lake" / part,
            to / "lake" / part,
            dirs_exist_ok=True,
            ignore=None if part else shutil.ignore_patterns("_delta_log"),
        )


@pytest.mark.parametrize("copied", [copied_under_the_lock, copied_log_first])
def test_a_copy_taken_while_loads_run_can_be_restored(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copied: Callable[[World, Path], None],
) -> None:
    """Published again, it has whole days only, all of them as they were recorded."""
    days = world.days[-2:]
    world.load(days=days)
    copies = [tmp_path / f"copy-{number}" for number in range(3)]
    with loading(world, days):
        for copy in copies:
            copy.mkdir()
            wait_for_calls(world)
            copied(world, copy)  # while their answers are written
    known = set(world.rows(REVISIONS))
    sizes = []
    for copy in copies:
        monkeypatch.setenv("PUSHLOSS_DATA_DIR", str(copy))
        publish(world.parts)
        restored = set(world.rows(REVISIONS))
        sizes.append(len(restored))

        assert restored <= known
        assert world.rows(HALF_DAYS) == []
        assert all(o.is_done for o in replay_days(world.parts, world.names, days))
    assert sizes[0] < sizes[-1]


def wait_for_calls(world: World) -> None:
    """Return when the next load has asked for all of its days."""
    expected = len(world.simulator.served()) + 6
    wait_until(lambda: len(world.simulator.served()) >= expected)


@contextmanager
def loading(world: World, days: Sequence[date]) -> Iterator[None]:
    """Load these days again and again, in changing numbers, while a block runs."""
    is_over = threading.Event()

    def load() -> None:
        while not is_over.is_set():
            world.later(hours=2)
            world.load(days=days)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
