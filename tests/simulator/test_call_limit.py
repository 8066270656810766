"""The call frequency, with arrivals as arguments."""

import pytest

from pushloss_pipeline.simulator.limit import CallLimit


def admitted(calls_per_second: float | None, arrivals: list[float]) -> list[bool]:
    """Tell which arrivals of one app are let in."""
    limit = CallLimit(calls_per_second)
    return [limit.admit(1, arrived_at) for arrived_at in arrivals]


@pytest.mark.parametrize(
    ("calls_per_second", "arrivals", "expected"),
    [
        (1.0, [5.0, 5.5, 5.999, 6.0], [True, False, False, True]),
        (1.0, [5.9, 6.1, 6.9, 7.0], [True, False, True, False]),
        (2.0, [0.0, 0.1, 0.9, 1.0, 1.05], [True, True, False, True, False]),
        (0.5, [0.0, 1.5, 2.0], [True, False, True]),
        (0, [0.0, 0.0, 0.0], [True, True, True]),
        (None, [0.0, 0.0, 0.0], [True, True, True]),
    ],
    ids=["one", "sliding, no fixed seconds", "two", "half", "zero", "none"],
)
def test_so_many_calls_in_any_second(
    calls_per_second: float | None, arrivals: list[float], expected: list[bool]
) -> None:
    """Calls above the rate are refused, and a refused call costs nothing."""
    assert expected == admitted(calls_per_second, arrivals)


def test_apps_do_not_share_a_limit() -> None:
    """One app's calls leave another app's alone."""
    limit = CallLimit(1.0)

    assert limit.admit(1, 0.0)
    assert limit.admit(2, 0.0)


def test_refusals_are_counted() -> None:
    """Each refused call of an app is counted."""
    limit = CallLimit(1.0)
    for _ in range(3):
        limit.admit(1, 0.0)

    assert limit.refused_counts == {1: 2}
