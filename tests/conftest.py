"""The worlds that tests of the whole walk live in."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # tests of the domain need no part of a world
    from pushloss_pipeline.simulator.scenario import SimulatedApp
    from tests.world import World, WorldBuilder


def pytest_configure() -> None:
    """Let Ctrl-C be heard, also where the suite is started in the background.

    A shell starts such processes with SIGINT ignored, and all theirs with them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
