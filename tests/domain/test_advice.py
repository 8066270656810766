"""What a person is told to do about a day."""

import pytest

from pushloss_pipeline.domain.advice import what_to_do
from pushloss_pipeline.domain.codes import _CODES
from pushloss_pipeline.domain.verdict import State
from tests.builders import DAY

TROUBLED = (State.REFUSED, State.FAILED)


def advice(state: State | None, error_code: int | None = None) -> str:
    """What to do about the shop's day."""
    return what_to_do(app="shop", day=DAY, state=state, error_code=error_code)


@pytest.mark.parametrize("state", [State.LOADED, State.EMPTY])
def test_nothing_to_do(state: State) -> None:
    """A day that is done needs nobody."""
    assert "" == advice(state)


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (None, "pushloss load 2026-03-11 2026-03-11 --app shop"),
        (State.HELD, "pushloss accept 2026-03-11 --app shop"),
    ],
    ids=["never asked", "held"],
)
def test_command(state: State | None, command: str) -> None:
    """A day that one command would mend comes with the command."""
    assert f"`{command}`" in advice(state)


def test_expired() -> None:
    """Nothing is promised about a day that the API has forgotten."""
    assert "nothing can bring it back" in advice(State.EXPIRED)


@pytest.mark.parametrize("state", TROUBLED)
@pytest.mark.parametrize(
    "error_code",
    [None, 0, 12345, *(code for codes in _CODES.values() for code in codes)],
)
def test_every_code(state: State, error_code: int | None) -> None:
    """There is something to do about every code, listed or not."""
    assert advice(state, error_code)


@pytest.mark.parametrize(
    ("error_code", "word"),
    [
        (70009, "secret key"),
        (60010, "IP allow list"),
        (60026, "region"),
        (60028, "cap"),
    ],
)
def test_own_advice(error_code: int, word: str) -> None:
    """A code that points at one thing names it."""
    assert word in advice(State.REFUSED, error_code)


def test_unreadable() -> None:
    """An answer that nobody can read is for the vendor."""
    assert "report it to the vendor" in advice(State.REFUSED)
    assert "`pushloss load 2026-03-11 2026-03-11 --app shop`" in advice(State.FAILED)
