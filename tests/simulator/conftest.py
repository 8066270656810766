"""A simulated app, calls to it, and a simulator on loopback."""

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import httpx
import pytest
from TLSSigAPIv2 import TLSSigAPIv2

from pushloss_pipeline.simulator.respond import Call
from pushloss_pipeline.simulator.scenario import Scenario, SimulatedApp
from pushloss_pipeline.simulator.server import SimulatorHandle, running
from pushloss_pipeline.simulator.truth import DAY_SECONDS, day_start

NOW = datetime(2026, 3, 12, 2, 0, tzinfo=UTC)
"""10:00 on Thursday 12 March 2026 in UTC+8."""
DAY = date(2026, 3, 11)

SHOP = SimulatedApp(1400000777, "administrator", "ab" * 32, "shop")
CHAT = SimulatedApp(1400000778, "administrator", "cd" * 32, "chat")

Sender = Callable[..., httpx.Response]


@pytest.fixture
def now() -> datetime:
    """The simulated instant: the morning after `day`."""
    return NOW


@pytest.fixture
def day() -> date:
    """The day before the simulated instant."""
    return DAY


@pytest.fixture
def shop() -> SimulatedApp:
    """The app that the calls are for, unless told otherwise."""
    return SHOP


@pytest.fixture
def chat() -> SimulatedApp:
    """A second app of the same scenario."""
    return CHAT


@pytest.fixture
def scenario() -> Scenario:
    """Two apps, no incidents."""
    return Scenario(7, (SHOP, CHAT))


@pytest.fixture
def official_usersig() -> str:
    """The shop's signature, by the vendor's own signer and the real clock."""
    return _signed_by_vendor(SHOP, SHOP.identifier)


@pytest.fixture
def pack() -> Callable[[dict[str, object]], str]:
    """Pack the fields of a signature as the vendor does."""

    def packed(fields: dict[str, object]) -> str:
        raw = base64.b64encode(zlib.compress(json.dumps(fields).encode())).decode()
        return raw.translate(str.maketrans("+/=", "*-_"))

    return packed


@pytest.fixture
def a_call() -> Callable[..., Call]:
    """Build the shop's good call for a day; query parameters can be changed."""

    def build(
        *,
        app: SimulatedApp = SHOP,
        day: date = DAY,
        body: bytes | None = None,
        method: str = "POST",
        without: str = "",
        **changed: str,
    ) -> Call:
        query = {**_query_of(app), **changed}
        query.pop(without, None)
        return Call(method, query, _body_of(day) if body is None else body)

    return build


@pytest.fixture
def simulator(scenario: Scenario) -> Iterator[SimulatorHandle]:
    """The simulator on loopback at the simulated instant, without a call limit."""
    with running(scenario, now=NOW, calls_per_second=None) as handle:
        yield handle


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A keep-alive HTTP client."""
    with httpx.Client() as client:
        yield client


@pytest.fixture
def send(simulator: SimulatorHandle, client: httpx.Client) -> Sender:
    """Send the shop's good call for a day to the simulator."""
    return sender_to(simulator.url, client)


@pytest.fixture
def send_to() -> Callable[[str, httpx.Client], Sender]:
    """Make a sender for a simulator other than the usual one."""
    return sender_to


def sender_to(url: str, client: httpx.Client) -> Sender:
    """Bind `send` to a URL and a client."""

    def send_call(
        *, app: SimulatedApp = SHOP, day: date = DAY, timeout: float = 10
    ) -> httpx.Response:
        return client.post(
            f"{url}/v4/timpush/normal_push_loss",
            params=_query_of(app),
            content=_body_of(day),
            timeout=timeout,
        )

    return send_call


def _query_of(app: SimulatedApp) -> dict[str, str]:
    return {
        "sdkappid": str(app.sdk_app_id),
        "identifier": app.identifier,
        "usersig": _signed_by_vendor(app, app.identifier),
        "random": "99999999",
        "contenttype": "json",
    }


def _body_of(day: date) -> bytes:
    start_time = day_start(day)
    fields = {"StartTime": start_time, "EndTime": start_time + DAY_SECONDS}
    return json.dumps(fields).encode()


def _signed_by_vendor(app: SimulatedApp, identifier: str) -> str:
    signer = TLSSigAPIv2(app.sdk_app_id, app.secret_key)
    return str(signer.gen_sig(identifier, 86400))
