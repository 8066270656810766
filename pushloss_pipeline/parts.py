"""The one place where the real parts are plugged together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from pushloss_pipeline.adapters.client import PushLossClient
from pushloss_pipeline.adapters.disk import keep_private
from pushloss_pipeline.adapters.lake import Lake
from pushloss_pipeline.adapters.pacing import Pacer
from pushloss_pipeline.adapters.usersig import UserSigs
from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.settings import Settings
from pushloss_pipeline.steps import Parts

OpenParts = Callable[[Settings], Parts]
"""How parts come about: `open_parts`, or the same with another clock."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def open_parts(settings: Settings, *, clock: Callable[[], datetime] = utc_now) -> Parts:
    """Real parts for this configuration; nothing is opened before it is used.

    From here on, what this process writes is its user's alone.
    """
    keep_private()
    folder = settings.local_dir
    usersigs = UserSigs()

    @asynccontextmanager
    async def open_client() -> AsyncIterator[PushLossClient]:
        pacer = Pacer(
            folder / "pacing.sqlite", calls_per_second=settings.calls_per_second
        )
        try:
            async with PushLossClient(
                pacer=pacer, usersigs=usersigs, clock=clock
            ) as client:
                yield client
        finally:
            pacer.close()

    return Parts(
        settings=settings,
        lake=Lake(settings.lake_root, lock_path=folder / "record.lock"),
        warehouse=Warehouse(folder),
        open_client=open_client,
        clock=clock,
    )
