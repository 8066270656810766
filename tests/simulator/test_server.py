"""The simulator over HTTP on loopback."""

import asyncio
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from pushloss_pipeline.simulator.scenario import Scenario, SimulatedApp
from pushloss_pipeline.simulator.server import (
    SimulatorHandle,
    application,
    running,
    serve,
)
from pushloss_pipeline.simulator.simulation import Simulation

Sender = Callable[..., httpx.Response]
SenderTo = Callable[[str, httpx.Client], Sender]

CONTROLS = [
    ("GET", "health"),
    ("GET", "served"),
    ("GET", "refusals"),
    ("PUT", "now"),
    ("PUT", "script"),
    ("DELETE", "script"),
]


def test_a_day_is_answered_over_http(send: Sender) -> None:
    """A good call is HTTP 200, JSON in UTF-8, OK."""
    response = send()

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json()["ActionStatus"] == "OK"


def test_what_was_served_is_what_was_said(
    send: Sender, simulator: SimulatorHandle, shop: SimulatedApp, day: date
) -> None:
    """The log of an answer, the truth, and the body hold the same rows."""
    body = send().json()
    (entry,) = simulator.served()
    told = [
        (element["ErrCode"], element["ErrCount"], element["ErrInfo"])
        for name in body
        if name.endswith("Loss")
        for element in body[name]
    ]

    assert told == [
        (row["err_code"], row["err_count"], row["err_info"]) for row in entry["rows"]
    ]
    assert entry["rows"] == [
        asdict(row) for row in simulator.truth(shop.sdk_app_id, day)
    ]


def test_served_calls_are_listed_in_order(
    send: Sender, simulator: SimulatorHandle, client: httpx.Client, day: date
) -> None:
    """The control endpoint lists each call with what it asked and got."""
    send(day=day)
    send(day=day - timedelta(days=30))
    first, second = client.get(f"{simulator.url}/simulator/served").json()

    assert (first["sequence"], first["error_code"]) == (1, 0)
    assert (second["sequence"], second["error_code"]) == (2, 90100)
    assert second["day"] == "2026-02-09"
    assert second["end_time"] - second["start_time"] == 86400
    assert second["rows"] == []
    assert first["arrived_at"] <= second["arrived_at"]


def test_a_connection_is_kept_alive(send: Sender) -> None:
    """Two calls of one client use one connection."""
    peers = {
        send().extensions["network_stream"].get_extra_info("client_addr")
        for _ in range(2)
    }

    assert len(peers) == 1


def test_a_refusal_is_http_200(send: Sender, shop: SimulatedApp) -> None:
    """A refused call is HTTP 200 with FAIL in the body."""
    stranger = SimulatedApp(shop.sdk_app_id, "administrator", "ef" * 32, "stranger")
    response = send(app=stranger)

    assert response.status_code == 200
    assert response.json()["ErrorCode"] == 70009


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_is_answered(
    simulator: SimulatorHandle, client: httpx.Client, method: str
) -> None:
    """Another method answers 60009, still as HTTP 200."""
    url = f"{simulator.url}/v4/timpush/normal_push_loss"
    response = client.request(method, url)

    assert (response.status_code, response.json()["ErrorCode"]) == (200, 60009)


def test_an_unknown_api_is_refused(
    simulator: SimulatorHandle, client: httpx.Client
) -> None:
    """Another path of the API answers 60009."""
    response = client.post(f"{simulator.url}/v4/timpush/other")

    assert response.json()["ErrorCode"] == 60009


def test_a_second_call_within_a_second_is_refused(
    scenario: Scenario,
    chat: SimulatedApp,
    client: httpx.Client,
    send_to: SenderTo,
    now: datetime,
) -> None:
    """One app's second call is over the frequency, another app's first is not."""
    with running(scenario, now=now, calls_per_second=0.001) as handle:
        send = send_to(handle.url, client)
        codes = [r.json()["ErrorCode"] for r in (send(), send(), send(app=chat))]
        refusals = client.get(f"{handle.url}/simulator/refusals").json()

    assert codes == [0, 60011, 0]
    assert refusals == {"1400000777": 1}
    assert handle.refused_count(1400000777) == 1


def test_a_call_a_second_later_is_answered(
    scenario: Scenario, client: httpx.Client, send_to: SenderTo, now: datetime
) -> None:
    """After a refusal and a second's wait the app is answered again."""
    with running(scenario, now=now, calls_per_second=1.0) as handle:
        send = send_to(handle.url, client)
        send()
        time.sleep(1.05)

        assert send().json()["ErrorCode"] == 0


def test_a_scripted_answer_waits_for_the_limit(
    scenario: Scenario, client: httpx.Client, send_to: SenderTo, now: datetime
) -> None:
    """A call over the frequency leaves the script alone."""
    with running(scenario, now=now, calls_per_second=0.001) as handle:
        send = send_to(handle.url, client)
        send()
        handle.script([{"error_code": 91000}])
        refused = send().json()["ErrorCode"]

    assert refused == 60011


def test_the_clock_can_be_driven(
    send: Sender, simulator: SimulatorHandle, client: httpx.Client, day: date
) -> None:
    """Moving the simulated instant lets counts grow, and days be forgotten."""
    url = f"{simulator.url}/simulator/now"
    early = send().json()["PostSendDeliveredLoss"]
    client.put(url, json={"now": "2026-03-18T10:00:00+08:00"})
    late = send().json()["PostSendDeliveredLoss"]
    client.put(url, json={"now": "2026-03-19T10:00:00+08:00"})
    gone = send().json()["ErrorCode"]

    assert sum(e["ErrCount"] for e in late) > sum(e["ErrCount"] for e in early)
    assert gone == 90100


def test_the_clock_goes_back_to_its_start(
    simulator: SimulatorHandle, client: httpx.Client, now: datetime
) -> None:
    """Null gives the instant that the simulator was started with."""
    url = f"{simulator.url}/simulator/now"
    moved = client.put(url, json={"now": "2026-05-01T00:00:00"}).json()["now"]
    back = client.put(url, json={"now": None}).json()["now"]

    assert moved == "2026-05-01T00:00:00+08:00"
    assert back == now.isoformat()


def test_a_clock_can_be_a_callable(
    scenario: Scenario, shop: SimulatedApp, day: date, now: datetime
) -> None:
    """A simulation follows the clock that it is given."""
    instants = iter([now, now + timedelta(days=3)])
    simulation = Simulation(scenario, now=lambda: next(instants))
    early, late = (simulation.truth(shop.sdk_app_id, day) for _ in range(2))

    assert sum(r.err_count for r in early) < sum(r.err_count for r in late)


def test_without_a_clock_time_is_real(scenario: Scenario) -> None:
    """A simulation that is given no clock lives now."""
    before = datetime.now(UTC)

    assert before <= Simulation(scenario).now <= datetime.now(UTC)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"now": "soon"}', b'{"now": 5}'], ids=str
)
def test_a_wrong_instant_is_refused(
    simulator: SimulatorHandle, client: httpx.Client, body: bytes
) -> None:
    """What is no instant answers 400 and moves nothing."""
    response = client.put(f"{simulator.url}/simulator/now", content=body)

    assert response.status_code == 400


def test_an_error_code_can_be_scripted(
    send: Sender, simulator: SimulatorHandle
) -> None:
    """A scripted code is told once, then the truth again."""
    simulator.script([{"error_code": 91000, "error_info": "try again"}])
    scripted, normal = send().json(), send().json()

    assert scripted == {
        "ActionStatus": "FAIL",
        "ErrorCode": 91000,
        "ErrorInfo": "try again",
    }
    assert normal["ErrorCode"] == 0


def test_an_http_fault_can_be_scripted(
    send: Sender, simulator: SimulatorHandle
) -> None:
    """A scripted status comes with its headers and body, and is logged."""
    simulator.script(
        [{"http_status": 503, "headers": {"Retry-After": "2"}, "body": "busy"}]
    )
    response = send()
    (entry,) = simulator.served()

    assert (response.status_code, response.text) == (503, "busy")
    assert response.headers["retry-after"] == "2"
    assert (entry["http_status"], entry["error_code"]) == (503, None)


def test_a_content_type_can_be_scripted(
    send: Sender, simulator: SimulatorHandle
) -> None:
    """A scripted header takes the place of the usual one."""
    simulator.script([{"body": "<p>", "headers": {"Content-Type": "text/html"}}])

    assert send().headers["content-type"] == "text/html"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [({"body": "<html>"}, b"<html>"), ({"body_base64": "//4="}, b"\xff\xfe")],
    ids=["text", "base64"],
)
def test_a_raw_body_can_be_scripted(
    send: Sender, simulator: SimulatorHandle, rule: dict[str, str], expected: bytes
) -> None:
    """A scripted body is sent byte for byte."""
    simulator.script([rule])

    assert send().content == expected


def test_an_empty_answer_can_be_scripted(
    send: Sender, simulator: SimulatorHandle
) -> None:
    """A scripted empty answer is OK with four empty arrays."""
    simulator.script([{"empty": True}])
    body = send().json()

    assert body["ActionStatus"] == "OK"
    assert [body[name] for name in body if name.endswith("Loss")] == [[], [], [], []]


def test_a_connection_can_be_cut(
    send: Sender,
    simulator: SimulatorHandle,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A cut connection is a transport error, logged as a call, without noise."""
    simulator.script([{"close": True}])
    with pytest.raises(httpx.TransportError):
        send()

    assert [entry["http_status"] for entry in simulator.served()] == [None]
    assert send().status_code == 200
    assert [r for r in caplog.records if r.name.startswith("uvicorn")] == []


def test_a_delay_can_be_scripted(send: Sender, simulator: SimulatorHandle) -> None:
    """A long delay runs into the client's timeout, and does not hold up the end."""
    simulator.script([{"delay_seconds": 3600}])

    with pytest.raises(httpx.ReadTimeout):
        send(timeout=0.2)


def test_a_delayed_answer_is_the_truth(
    send: Sender, simulator: SimulatorHandle
) -> None:
    """A delay alone changes nothing else."""
    simulator.script([{"delay_seconds": 0.01}])

    assert send().json() == send().json()


def test_a_script_is_set_and_cleared_over_http(
    send: Sender, simulator: SimulatorHandle, client: httpx.Client
) -> None:
    """A script put over HTTP holds until it is deleted."""
    url = f"{simulator.url}/simulator/script"
    client.put(url, json=[{"error_code": 60008, "times": None}])
    scripted = [send().json()["ErrorCode"] for _ in range(3)]
    client.delete(url)

    assert scripted == [60008, 60008, 60008]
    assert send().json()["ErrorCode"] == 0


def test_a_script_is_cleared_by_hand(send: Sender, simulator: SimulatorHandle) -> None:
    """The handle forgets a script too."""
    simulator.script([{"error_code": 60008, "times": None}])
    simulator.clear_script()

    assert send().json()["ErrorCode"] == 0


@pytest.mark.parametrize("content", [b"no json", b"{}", b'[{"oops": 1}]'], ids=str)
def test_a_wrong_script_is_refused(
    simulator: SimulatorHandle, client: httpx.Client, content: bytes
) -> None:
    """A script that cannot be understood answers 400 and says why."""
    response = client.put(f"{simulator.url}/simulator/script", content=content)

    assert response.status_code == 400
    assert response.json()["error"]


def test_health_is_told(simulator: SimulatorHandle, client: httpx.Client) -> None:
    """A running simulator says that it is ready."""
    assert client.get(f"{simulator.url}/simulator/health").json() == {"ready": True}


@pytest.mark.parametrize(("method", "name"), CONTROLS)
@pytest.mark.parametrize("host", ["203.0.113.9", "testclient"])
def test_control_is_for_loopback_only(
    scenario: Scenario, method: str, name: str, host: str
) -> None:
    """A client from elsewhere may call the API, but steer nothing."""
    app = application(Simulation(scenario), asyncio.Event())
    transport = httpx.ASGITransport(app, client=(host, 4711))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, f"http://simulator/simulator/{name}")

    assert asyncio.run(ask()).status_code == 403


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("e.example", 403)])
def test_control_is_not_for_pages_of_other_sites(
    simulator: SimulatorHandle, host: str, status: int
) -> None:
    """A browser that was told that a site's name is loopback steers nothing."""
    answer = httpx.get(f"{simulator.url}/simulator/served", headers={"Host": host})

    assert status == answer.status_code


def test_envelopes_are_selected_at_the_start(
    scenario: Scenario, client: httpx.Client, send_to: SenderTo, now: datetime
) -> None:
    """A simulator can be started with another envelope."""
    with running(scenario, now=now, envelope="results_list") as handle:
        body = send_to(handle.url, client)().json()

    assert set(body) == {"ActionStatus", "ErrorCode", "ErrorInfo", "Results"}


def test_signatures_are_judged_by_their_clock(
    scenario: Scenario, client: httpx.Client, send_to: SenderTo, now: datetime
) -> None:
    """With the signature clock two days ahead today's signature is expired."""
    with running(
        scenario, now=now, signature_clock=lambda: time.time() + 2 * 86400
    ) as handle:
        code = send_to(handle.url, client)().json()["ErrorCode"]

    assert code == 70001


def test_no_signature_is_kept_or_shown(
    send: Sender,
    simulator: SimulatorHandle,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither the log of served calls nor any output holds a signature."""
    for name in ("uvicorn.access", "uvicorn.error"):
        caplog.set_level(logging.DEBUG, logger=name)
    response = send()
    usersig = response.request.url.params["usersig"]
    simulator.script([{"close": True}])
    with pytest.raises(httpx.TransportError):
        send()
    output = "".join(capfd.readouterr()) + caplog.text

    assert usersig not in str(simulator.served())
    assert "usersig" not in output
    assert usersig not in output
    assert "usersig" not in str(simulator.served())


SERVE = """
import datetime
from pushloss_pipeline.simulator.scenario import demo_scenario
from pushloss_pipeline.simulator.server import serve

scenario = demo_scenario(datetime.date(2026, 3, 12))
serve(scenario, now="2026-03-12T10:00:00", on_ready=lambda url: print(url, flush=True))
print("returned")
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_returns_from_a_signal(stop: signal.Signals) -> None:
    """The blocking server tells its URL, answers, and ends cleanly when told to."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        health = httpx.get(f"{url}/simulator/health").json()
        process.send_signal(stop)
        output, errors = process.communicate(timeout=20)

    assert health == {"ready": True}
    assert (output, errors, process.returncode) == ("returned\n", "", 0)


def test_a_taken_port_is_an_error(
    simulator: SimulatorHandle, scenario: Scenario
) -> None:
    """Serving on a port in use fails at once."""
    with pytest.raises(OSError, match="in use"):
        serve(scenario, port=httpx.URL(simulator.url).port or 0)
