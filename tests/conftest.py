"""The worlds that tests of the whole walk live in."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # tests of the domain need no part of a world
    from playwright.sync_api import Browser

    from pushloss_pipeline.simulator.scenario import SimulatedApp
    from tests.world import World, WorldBuilder


def pytest_configure() -> None:
    """Let Ctrl-C be heard, also where the suite is started in the background.

    A shell starts such processes with SIGINT ignored, and all theirs with them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


LONG = frozenset(
    {
        "test_quarter",
        "test_backfill",
        "test_processes",
        "test_upkeep",
        "test_crashes",
        "test_disks",
        "test_sensors",
        "test_steps",
        "test_load",
        "test_warehouse",
        "test_faults",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, so that no core waits for one in the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; of one file only, since it holds the event loop of the process."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.fail("no browser found: install Debian's package `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def world_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorldBuilder]:
    """Builds a world of some apps, with their keys in the environment."""
    from tests.world import a_world, secret_variable

    with ExitStack() as stack:

        def build(apps: Sequence[SimulatedApp]) -> World:
            for app in apps:
                monkeypatch.setenv(secret_variable(app), app.secret_key)
            return stack.enter_context(a_world(tmp_path, apps))

        yield build


@pytest.fixture
def world(world_of: WorldBuilder) -> World:
    """A world of three apps, before anything was asked."""
    from tests.world import THREE_APPS

    return world_of(THREE_APPS)
