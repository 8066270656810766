"""Asks many apps at once, each app's days in order, and hands over what arrives.

What has arrived is handed over in batches, while the asking goes on.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from pushloss_pipeline.adapters.client import PushLossClient
from pushloss_pipeline.domain.codes import STOPS_APP, reaction_to
from pushloss_pipeline.domain.errors import ConfigurationError
from pushloss_pipeline.domain.model import Answer, App, DayWindow

GATHER_SECONDS = 2.0
"""Answers of this span are handed over together: a kill loses no more than these."""
GATHER_DAYS = 200
"""App days that are handed over together at most."""
ROOM_DAYS = 2 * GATHER_DAYS
"""App days that are asked or wait to be handed over; it bounds memory."""

Attempts = tuple[Answer, ...]
"""All attempts at one app's day, the last one final."""

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Unasked:
    """Days of an app that were not asked, and why."""

    app: str
    days: tuple[date, ...]
    reason: str


Arrival = Attempts | Unasked
OpenClient = Callable[[], AbstractAsyncContextManager[PushLossClient]]


def ask_apps(
    open_client: OpenClient,
    wanted: Sequence[tuple[App, Sequence[DayWindow]]],
    *,
    keep: Callable[[Sequence[Arrival]], Sequence[Told]],
    tell: Callable[[Told], None],
) -> None:
    """Ask for these days; what arrives goes to `keep`, what it returns to `tell`.

    `keep` runs beside the asking, in a thread of its own, one batch at a time
    and in order of arrival. Where the walk is cancelled it still gets what has
    arrived. `tell` runs in the calling thread.
    """
    try:
        asyncio.run(_Walk(keep, tell).ask_all(open_client, wanted))
    except BaseExceptionGroup as problems:
        raise _first(problems) from None


def _first(problems: BaseExceptionGroup[BaseException]) -> BaseException:
    first = problems.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class _Walk(Generic[Told]):
    def __init__(
        self,
        keep: Callable[[Sequence[Arrival]], Sequence[Told]],
        tell: Callable[[Told], None],
    ) -> None:
        self._keep = keep
        self._tell = tell
        self._arrivals: asyncio.Queue[Arrival | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(ROOM_DAYS)

    async def ask_all(
        self,
        open_client: OpenClient,
        wanted: Sequence[tuple[App, Sequence[DayWindow]]],
    ) -> None:
        async with open_client() as client, asyncio.TaskGroup() as group:
            group.create_task(self._hand_over_all())
            async with asyncio.TaskGroup() as asking:
                for app, windows in wanted:
                    asking.create_task(self._ask_app(client, app, windows))
            self._arrivals.put_nowait(None)

    async def _ask_app(
        self, client: PushLossClient, app: App, windows: Sequence[DayWindow]
    ) -> None:
        days = tuple(window.day for window in windows)
        for position, window in enumerate(windows):
            await self._room.acquire()
            try:
                answers = await client.ask(app, window)
            except ConfigurationError as problem:
                self._give_up(Unasked(app.name, days[position:], str(problem)))
                return
            self._arrivals.put_nowait(answers)
            last, later = answers[-1], days[position + 1 :]
            if reaction_to(last.http_status, last.error_code) in STOPS_APP and later:
                reason = f"{app.name} was refused on {window.day} ({last.error_code})"
                await self._room.acquire()
                self._give_up(Unasked(app.name, later, reason))
                return

    def _give_up(self, unasked: Unasked) -> None:
        self._arrivals.put_nowait(unasked)

    async def _hand_over_all(self) -> None:
        batch: list[Arrival] = []
        keeping: Future[Sequence[Told]] | None = None
        with ThreadPoolExecutor(max_workers=1) as keeper:
            try:
                is_open = True
                while is_open:
                    is_open = await self._gather(batch)
                    arrived, batch = batch, []
                    keeping = keeper.submit(self._keep, arrived)
                    self._tell_all(await asyncio.shield(asyncio.wrap_future(keeping)))
                    keeping = None
                    for _ in arrived:
                        self._room.release()
            except asyncio.CancelledError:
                # Not awaited: the walk ends, but keeps and tells what has arrived.
                if keeping is not None:
                    self._tell_all(keeping.result())
                self._tell_all(self._keep([*batch, *self._rest()]))
                raise

    def _tell_all(self, all_told: Sequence[Told]) -> None:
        for told in all_told:
            self._tell(told)

    async def _gather(self, batch: list[Arrival]) -> bool:
        """Add what arrives until it is time to hand it over; False: that was all."""
        arrived = await self._arrivals.get()
        try:
            async with asyncio.timeout(GATHER_SECONDS):
                while arrived is not None:
                    batch.append(arrived)
                    if len(batch) >= GATHER_DAYS:
                        return True
                    arrived = await self._arrivals.get()
        except TimeoutError:
            return True
        return False

    def _rest(self) -> list[Arrival]:
        rest = [self._arrivals.get_nowait() for _ in range(self._arrivals.qsize())]
        return [arrived for arrived in rest if arrived is not None]
