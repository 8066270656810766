"""Three simulated apps in a folder of their own, and the command as people run it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pushloss_pipeline.cli import main
from pushloss_pipeline.simulator.scenario import Scenario, many_apps
from pushloss_pipeline.simulator.server import SimulatorHandle, running
from tests.dagster_store import quicken

APPS = many_apps(3, seed=7)
LOOPBACK = "0100007F"
"""127.0.0.1 as /proc/net/tcp writes it."""
UTC8 = timezone(timedelta(hours=8))
CALLS_PER_SECOND = 50.0


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@dataclass
class Shop:
    """A configured folder beside a running simulator."""

    simulator: SimulatorHandle
    folder: Path
    environment: dict[str, str]
    earlier_calls: int

    def calls(self) -> list[dict[str, Any]]:
        """Give the calls that this test's commands have made, in order."""
        return self.simulator.served(after=self.earlier_calls)

    @property
    def config(self) -> Path:
        """The configuration file, to be read and changed."""
        return self.folder / "pushloss.toml"

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pushloss_pipeline", *arguments],
            env={**os.environ, **self.environment},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: "subprocess.Popen[str]") -> Ran:
        """Wait for a started command; it never outlives its test."""
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"did not end: {out} {err}") from None
        return Ran(process.returncode, out, err)

    def wait_for_calls(self, count: int) -> None:
        """Return when the simulator has answered so many calls."""
        deadline = time.monotonic() + 60
        while self.simulator.served_count < self.earlier_calls + count:
            assert time.monotonic() < deadline, "the calls did not come"
            time.sleep(0.02)


def listening(pid: int) -> set[str]:
    """Addresses at which a process waits for connections, as the kernel has them."""
    process = Path(f"/proc/{pid}")
    links = [os.readlink(entry) for entry in (process / "fd").iterdir()]
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in own:
                found.add(local.split(":")[0])
    return found


def configuration(url: str, *, calls_per_second: float = CALLS_PER_SECOND) -> str:
    """Give the three apps' configuration."""
    start = datetime.now(UTC8).date() - timedelta(days=60)
    tables = "".join(
        f'\n[apps.{app.name}]\nsdk_app_id = {app.sdk_app_id}\nendpoint = "{url}"\n'
        f'identifier = "{app.identifier}"\nsecret_key_env = "KEY_{app.name.upper()}"\n'
        for app in APPS
    )
    return (
        f'start_date = "{start}"\ncalls_per_second = {calls_per_second}\n'
        f'data_dir = "data"\n{tables}'
    )


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorHandle]:
    """One simulator for all tests of a process; each test clears its script."""
    scenario = Scenario(seed=7, apps=APPS)
    with running(scenario, calls_per_second=2 * CALLS_PER_SECOND) as handle:
        yield handle


@pytest.fixture
def shop(simulator: SimulatorHandle, tmp_path: Path) -> Iterator[Shop]:
    """A fresh folder, configured for the simulator."""
    quicken()
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (tmp_path / "pushloss.toml").write_text(configuration(simulator.url))
    environment = {
        "PUSHLOSS_CONFIG": str(tmp_path / "pushloss.toml"),
        "DAGSTER_HOME": str(home),
        **{f"KEY_{app.name.upper()}": app.secret_key for app in APPS},
    }
    yield Shop(simulator, tmp_path, environment, simulator.served_count)
    simulator.clear_script()
    simulator.set_now(None)


@pytest.fixture
def pushloss(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run the command in this process, with the shop's environment."""
    for name, value in shop.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["pushloss", *arguments])
        capsys.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        else:
            code = 0
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def week() -> tuple[date, ...]:
    """The seven complete days that the API still tells, oldest first."""
    today = datetime.now(UTC).astimezone(UTC8).date()
    return tuple(today - timedelta(days=age) for age in range(7, 0, -1))
