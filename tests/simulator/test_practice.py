"""A simulator that goes wrong on purpose, for whoever practises."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import httpx
import pytest

from pushloss_pipeline.simulator.faults import (
    FAULTS,
    UnknownFault,
    find_fault,
    find_faults,
)
from pushloss_pipeline.simulator.scenario import Scenario, SimulatedApp
from pushloss_pipeline.simulator.server import SimulatorHandle, running

Sender = Callable[..., httpx.Response]


@pytest.fixture
def practice(scenario: Scenario, now: date) -> Iterator[SimulatorHandle]:
    """A simulator with two faults to practise."""
    faults = find_faults("http_502, error_code_60010")
    with running(scenario, now=now, calls_per_second=None, faults=faults) as handle:
        yield handle


def told(response: httpx.Response) -> int:
    """The status of a bad one, the code of a good one."""
    return response.json()["ErrorCode"] if response.is_success else response.status_code


def test_each_app_day_meets_the_next_fault(
    practice: SimulatorHandle,
    client: httpx.Client,
    send_to: Callable[..., Sender],
    chat: SimulatedApp,
    day: date,
) -> None:
    """First calls meet the faults in turn, the list begins anew, second calls pass."""
    send = send_to(practice.url, client)
    eve = day - timedelta(days=1)
    seen = [told(send(app=chat, day=eve)), told(send(day=day)), told(send(day=eve))]

    assert [502, 60010, 502] == seen
    assert [0, 0] == [told(send(app=chat, day=eve)), told(send(day=day))]
    assert ["http_502", "error_code_60010", "http_502", None, None] == [
        call["fault"] for call in practice.served()
    ]


def test_a_script_goes_before_practice(
    practice: SimulatorHandle, client: httpx.Client, send_to: Callable[..., Sender]
) -> None:
    """What a script says is told first, and uses up no fault."""
    practice.script([{"error_code": 91000}])
    send = send_to(practice.url, client)

    assert [91000, 502, 0] == [told(send()) for _ in range(3)]


def test_a_fault_changes_no_refusal(send: Sender, simulator: SimulatorHandle) -> None:
    """A fault of the report leaves an answer without a report as it is."""
    simulator.set_now("2026-06-01")
    simulator.script([{"fault": "numbers_as_text"}])

    assert 90100 == told(send())


def test_the_catalogue_has_plain_names() -> None:
    """Each fault is found by its name, once; a list keeps its order."""
    names = [fault.name for fault in FAULTS]

    assert len(names) == len(set(names))
    assert FAULTS == find_faults("all") == tuple(map(find_fault, names))
    assert FAULTS[1::-1] == find_faults(f"{names[1]}, {names[0]}")


@pytest.mark.parametrize(
    "name", ["", "http_999", "error_code_", "error_code_x", "list"]
)
def test_an_unknown_fault_is_refused(name: str) -> None:
    """The message lists the names that there are."""
    with pytest.raises(UnknownFault, match=r"http_502, .*error_code_60011"):
        find_fault(name)
