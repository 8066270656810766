"""Clocks that are wrong, and a signature that ends in the middle of a backfill."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import inf
from pathlib import Path

import pytest

from pushloss_pipeline.adapters.usersig import UserSigs
from pushloss_pipeline.domain.window import day_window
from pushloss_pipeline.simulator.scenario import many_apps
from pushloss_pipeline.steps import DayOutcome
from tests.trust.reliability import tell
from tests.world import World, a_world, secret_variable

APPS = many_apps(2, seed=7)
NOON = datetime(2026, 3, 12, 4, tzinfo=UTC)
BEFORE_MIDNIGHT = datetime(2026, 3, 12, 15, tzinfo=UTC)
AFTER_MIDNIGHT = datetime(2026, 3, 12, 17, tzinfo=UTC)

EXACT = "exact"
EARLY = "counts of a day that is not over"
REFUSED = "refused, named"
NOT_ASKED = "not asked, named"


@dataclass(frozen=True)
class Wrong:
    """A clock that is wrong, and what is to come of the seven days that it asks."""

    by: timedelta
    server_now: datetime
    stated: Mapping[str, int]
    words: str = ""


CLOCKS = {
    "10 minutes ahead": Wrong(timedelta(minutes=10), NOON, {EXACT: 7}),
    "10 minutes behind": Wrong(timedelta(minutes=-10), NOON, {EXACT: 7}),
    "2 hours ahead, past midnight": Wrong(
        timedelta(hours=2), BEFORE_MIDNIGHT, {EXACT: 6, EARLY: 1}
    ),
    "2 hours behind, before midnight": Wrong(
        timedelta(hours=-2), AFTER_MIDNIGHT, {REFUSED: 1, EXACT: 6}, "only 7 days can"
    ),
    "25 hours behind": Wrong(
        timedelta(hours=-25), NOON, {REFUSED: 1, NOT_ASKED: 6}, "UserSig is expired"
    ),
}


@dataclass(frozen=True)
class Seen:
    """What came of it, and whether all is the truth once the clock is right."""

    days: Mapping[str, int]
    told: str
    advice: str
    is_mended: bool


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Seen]]:
    """What comes of each clock."""
    with pytest.MonkeyPatch.context() as environment:
        for app in APPS:
            environment.setenv(secret_variable(app), app.secret_key)
        yield {
            name: load_by(wrong, tmp_path_factory.mktemp("world"))
            for name, wrong in CLOCKS.items()
        }


def load_by(wrong: Wrong, folder: Path) -> Seen:
    """Load by a wrong clock; the next day by a right one."""
    ahead = [wrong.by.total_seconds()]
    with a_world(
        folder, APPS[:1], signature_clock=lambda: time.time() - ahead[0]
    ) as world:
        world.simulator.set_now(wrong.server_now)
        world.now = wrong.server_now + wrong.by
        outcomes = world.load()
        days = Counter(named(world, each, wrong.server_now) for each in outcomes)
        ahead[0] = 0.0
        world.now = wrong.server_now + timedelta(days=1)
        world.simulator.set_now(world.now)
        world.load()
        loaded = [row for row in world.loaded() if row[1] in world.days]
        red = [each for each in outcomes if not each.is_done]
        return Seen(
            days,
            red[0].problem if red else "",
            red[0].advice if red else "",
            is_mended=world.truth() == loaded,
        )


def named(world: World, outcome: DayOutcome, server_now: datetime) -> str:
    """What came of a day, as the server's clock has it."""
    if outcome.problem.startswith("not asked"):
        return NOT_ASKED
    if outcome.problem:
        return f"{outcome.state}, named"
    told = world.simulator.truth(APPS[0].sdk_app_id, outcome.loss_date, server_now)
    counts = [r[7] for r in world.loaded() if r[1] == outcome.loss_date]
    if sorted(counts) != sorted(row.err_count for row in told):
        return f"{outcome.state}, but not as told"
    return EXACT if is_over(outcome.loss_date, world, server_now) else EARLY


def is_over(day: date, world: World, server_now: datetime) -> bool:
    """Whether a day has ended by the server's clock."""
    return day_window(day, world.settings.timezone).end <= server_now


@pytest.mark.parametrize("name", CLOCKS)
def test_wrong_clock(seen: dict[str, Seen], name: str) -> None:
    """A wrong clock costs what it makes us ask in vain, is named, and is overcome."""
    assert CLOCKS[name].stated == seen[name].days
    assert CLOCKS[name].words in seen[name].told
    assert seen[name].is_mended


def test_clocks_are_told(seen: dict[str, Seen]) -> None:
    """docs/reliability.md says what came of each clock."""
    tell(
        "clocks",
        [
            {
                "our clock": name,
                "the seven days": ", ".join(
                    f"{n} {what}" for what, n in each.days.items()
                ),
                "what the operator reads": each.told and f"`{each.told}`",
                "what to do": each.advice,
            }
            for name, each in seen.items()
        ],
    )


LIFETIME = 2
"""Seconds that a signature is good for."""


def test_signature_ends_in_a_backfill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature that ends on the way is made anew once, and no day is lost.

    The server's clock stops before the second signature would end, however slow the
    machine: what is seen does not hang on it.
    """
    stops_at = [inf]
    for app in APPS:
        monkeypatch.setenv(secret_variable(app), app.secret_key)
    with a_world(
        tmp_path, APPS, signature_clock=lambda: min(time.time(), stops_at[0])
    ) as world:
        world.reconfigure("calls_per_second = 200.0", "calls_per_second = 2.0")
        world.usersigs = UserSigs(clock=lambda: 0.0, lifetime_seconds=LIFETIME)
        stops_at[0] = int(time.time()) + 2 * LIFETIME
        for asked in world.asked_apps:
            world.usersigs.current(asked)
        outcomes = world.load()
        served = Counter(
            (call["sdk_app_id"], call["error_code"])
            for call in world.simulator.served()
        )

        assert [] == [outcome for outcome in outcomes if not outcome.is_done]
        assert world.truth() == world.loaded()
        assert served == {
            (app.sdk_app_id, code): times
            for app in APPS
            for code, times in ((0, 7), (70001, 1))
        }
