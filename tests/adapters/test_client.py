"""The client asks as documented, retries as it should, and keeps its secrets."""

import asyncio
import gzip
import logging
import traceback
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from math import inf
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest

from pushloss_pipeline.adapters.client import PushLossClient
from pushloss_pipeline.adapters.pacing import Pacer
from pushloss_pipeline.adapters.receiving import Timeouts
from pushloss_pipeline.adapters.usersig import UserSigs, _Signed
from pushloss_pipeline.domain.errors import ConfigurationError, StoreError
from pushloss_pipeline.domain.model import Answer, App, DayWindow, Outcome
from tests.adapters.scripted_server import (
    Reply,
    ScriptedServer,
    cut_off,
    drip,
    echo_address,
    error,
    hang_up,
    ok,
    reply,
    reset,
    silence,
    talk_nonsense,
    together,
    zipped,
)

NOW = datetime(2026, 3, 12, 1, 0, tzinfo=UTC)
WINDOW = DayWindow(
    day=date(2026, 3, 11),
    start=datetime(2026, 3, 10, 16, tzinfo=UTC),
    end=datetime(2026, 3, 11, 16, tzinfo=UTC),
)
KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
SHORT = Timeouts(
    connect_seconds=0.5, read_seconds=0.1, attempt_seconds=0.3, max_body_bytes=100_000
)
ARRIVAL_NOISE_SECONDS = 0.05
"""How late a busy machine lets the server look at what has arrived."""


@dataclass
class Bench:
    """A client on a fast pacer, whose sleeps are noted and not slept."""

    folder: Path
    timeouts: Timeouts = field(default_factory=Timeouts)
    calls_per_second: float = 1000.0
    usersigs: UserSigs = field(default_factory=UserSigs)
    sleeps: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        """Note a pause and return at once."""
        self.sleeps.append(seconds)

    async def ask(
        self, *apps: App, file_is_closed: bool = False
    ) -> list[tuple[Answer, ...]]:
        """Ask for the day of each app, all at once."""
        path = self.folder / "pacing.sqlite"
        pacer = Pacer(path, calls_per_second=self.calls_per_second)
        client = PushLossClient(
            pacer=pacer,
            usersigs=self.usersigs,
            clock=lambda: NOW,
            sleep=self.sleep,
            random=Random(7),
            timeouts=self.timeouts,
        )
        with closing(pacer):
            if file_is_closed:
                pacer.close()
            async with client:
                return await asyncio.gather(*(client.ask(app, WINDOW) for app in apps))


def an_app(base_url: str, *, number: int = 1) -> App:
    """An app that is asked for at this address."""
    return App(
        name=f"app{number}",
        sdk_app_id=1400000000 + number,
        base_url=base_url,
        identifier="administrator",
        secret_key=KEY,
    )


def ask(bench: Bench, *replies: Reply) -> tuple[tuple[Answer, ...], ScriptedServer]:
    """Ask a server with this script for one day of one app."""

    async def run() -> tuple[tuple[Answer, ...], ScriptedServer]:
        async with ScriptedServer(*replies) as server:
            (answers,) = await bench.ask(an_app(server.base_url))
        return answers, server

    return asyncio.run(run())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A client with real-life timeouts."""
    return Bench(tmp_path)


@pytest.fixture
def hasty(tmp_path: Path) -> Bench:
    """A client that waits for tenths of a second only."""
    return Bench(tmp_path, timeouts=SHORT)


def test_request(bench: Bench) -> None:
    """The request is the documented one."""
    _, server = ask(bench, ok())

    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v4/timpush/normal_push_loss")
    assert request.body == b'{"StartTime":1773158400,"EndTime":1773244800}'
    query = request.query
    assert query["usersig"] == bench.usersigs.current(an_app(server.base_url))
    assert 0 <= int(query["random"]) <= 4294967295
    assert query.keys() - {"usersig", "random"} == {
        "sdkappid",
        "identifier",
        "contenttype",
    }


def test_answer(bench: Bench) -> None:
    """An answer tells which day was asked when, and keeps the bytes as received."""
    (answer,), _ = ask(bench, ok())

    assert answer == Answer(
        response_id=answer.response_id,
        sdk_app_id=1400000001,
        app="app1",
        loss_date=WINDOW.day,
        window_start=WINDOW.start,
        window_end=WINDOW.end,
        attempt=1,
        requested_at=NOW,
        fetched_at=NOW,
        outcome=Outcome.ANSWERED,
        http_status=200,
        error_code=0,
        error_info="",
        body=ok().split(b"\r\n\r\n", 1)[1],
    )
    assert len(answer.response_id) == 32
    assert bench.sleeps == []


def test_random_is_fresh(bench: Bench) -> None:
    """Each call has a random number of its own."""
    _, server = ask(bench, reply(status=502))

    assert len({request.query["random"] for request in server.requests}) == 5


RETRIED = (
    60008, 60013, 60014, 70169, 70202, 70500, 90102, 90992, 90994, 90995,
)  # fmt: skip
OVER_THE_LIMIT = (60007, 60011, 60018, 60019)
BAD_SIGNATURE = (70001, 70052, 70002, 70003, 70005, 60004, 60005)
FINAL = (
    60028,
    70009, 70013, 70014, 70016, 70020, 60006, 60026, 60027, 70107, 90103,
    60002, 60003, 60009, 60012, 60015, 60025, 70402, 90001, 90100,
    60010, 70403, 90009, 60016, 60017, 60020, 60021, 70051, 80005, 90045,
    12345,
)  # fmt: skip


@pytest.mark.parametrize("code", RETRIED)
def test_passing_trouble_is_retried(bench: Bench, code: int) -> None:
    """A code that says "later" is asked five times, with growing pauses."""
    answers, _ = ask(bench, error(code, "busy"))

    assert [answer.attempt for answer in answers] == [1, 2, 3, 4, 5]
    assert {(answer.error_code, answer.error_info) for answer in answers} == {
        (code, "busy")
    }
    for least, slept in zip((0.5, 1, 2, 4), bench.sleeps, strict=True):
        assert least <= slept <= 2 * least


@pytest.mark.parametrize("code", OVER_THE_LIMIT)
def test_over_the_limit(bench: Bench, code: int) -> None:
    """Over the frequency limit, at least a second passes before the next try."""
    answers, _ = ask(bench, error(code))

    assert len(answers) == 5
    assert min(bench.sleeps) >= 1


def test_91000_is_retried_three_times(bench: Bench) -> None:
    """Code 91000 is asked once and thrice again, then its text stands."""
    answers, _ = ask(bench, error(91000, "see the service status"))

    assert [answer.error_info for answer in answers] == ["see the service status"] * 4


@pytest.mark.parametrize("code", FINAL)
def test_final_codes(bench: Bench, code: int) -> None:
    """A code that no repetition mends is asked once."""
    answers, server = ask(bench, error(code, "no"))

    assert [(answer.error_code, answer.error_info) for answer in answers] == [
        (code, "no")
    ]
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", BAD_SIGNATURE)
def test_bad_signature(bench: Bench, code: int) -> None:
    """A refused signature is renewed once; refused again, the call ends."""
    answers, _ = ask(bench, error(code))

    assert [answer.error_code for answer in answers] == [code, code]
    assert max(bench.sleeps) <= 1


def test_too_many_bad_signatures(bench: Bench) -> None:
    """After too many bad signatures a minute passes, and one more try."""
    answers, _ = ask(bench, error(70050))

    assert len(answers) == 2
    assert bench.sleeps == [60]


def test_signs_anew_once_in_all(bench: Bench) -> None:
    """Two ways of refusing a signature do not make two renewals."""
    answers, _ = ask(bench, error(70001), error(70050))

    assert [answer.error_code for answer in answers] == [70001, 70050]


def test_renewed_signature_is_sent(bench: Bench) -> None:
    """The try after a refused signature carries a new one."""

    async def run() -> list[str]:
        async with ScriptedServer(error(70001), ok()) as server:
            app = an_app(server.base_url)
            bench.usersigs._signed[app] = _Signed("spent", renew_at=inf)
            await bench.ask(app)
        return [request.query["usersig"] for request in server.requests]

    first, second = asyncio.run(run())

    assert first == "spent"
    assert second.startswith("eJ")


@pytest.mark.parametrize(
    ("answer", "info"),
    [
        pytest.param(reply(status=502), "HTTP 502", id="502"),
        pytest.param(reply(b"<html>busy</html>", status=429), "HTTP 429", id="429"),
        pytest.param(error(0, "down", status=500), "down", id="500 that says OK"),
        pytest.param(reply(b""), "HTTP 200", id="empty body"),
        pytest.param(reply(b"<html></html>"), "HTTP 200", id="no JSON"),
        pytest.param(reply(b'{"ActionStatus": "OK"}'), "HTTP 200", id="no code"),
    ],
)
def test_servers_in_trouble_are_retried(bench: Bench, answer: bytes, info: str) -> None:
    """A broken answer is kept with its status, and asked for five times."""
    answers, _ = ask(bench, answer)

    assert [one.error_info for one in answers] == [info] * 5
    assert {one.outcome for one in answers} == {Outcome.ANSWERED}
    assert {one.body for one in answers} == {answer.split(b"\r\n\r\n", 1)[1]}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(b"nobody here", status=404), id="404"),
        pytest.param(reply(status=307, Location="/elsewhere"), id="redirect"),
    ],
)
def test_other_statuses_are_final(bench: Bench, answer: bytes) -> None:
    """A status that no repetition mends is asked once; no redirect is followed."""
    answers, server = ask(bench, answer)

    assert len(answers) == len(server.requests) == 1


def test_recovery(bench: Bench) -> None:
    """When trouble passes, the good answer is the last one and ends the call."""
    answers, _ = ask(bench, reply(status=503), error(60011), hang_up, ok())

    assert [answer.http_status for answer in answers] == [503, 200, None, 200]
    assert [answer.error_code for answer in answers] == [None, 60011, None, 0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("7", 7, id="seconds"),
        pytest.param("86400", 120, id="at most two minutes"),
        pytest.param("Thu, 12 Mar 2026 01:00:30 GMT", 30, id="date"),
        pytest.param("Thu, 12 Mar 2037 01:00:30 GMT", 120, id="date far off"),
    ],
)
def test_retry_after(bench: Bench, text: str, seconds: float) -> None:
    """The server's wish for a pause is granted, within reason."""
    ask(bench, reply(status=429, Retry_After=text), ok())

    assert bench.sleeps == [seconds]


@pytest.mark.parametrize("text", ["soon", "-5", "", "Thu, 12 Mar 2020 01:00:30 GMT"])
def test_retry_after_that_says_nothing(bench: Bench, text: str) -> None:
    """A pause that cannot be read, or is over, leaves the usual one."""
    ask(bench, reply(status=429, Retry_After=text), ok())

    (slept,) = bench.sleeps
    assert 0.5 <= slept <= 1


@pytest.mark.parametrize(
    ("act", "info"),
    [
        pytest.param(hang_up, "connection closed, or no HTTP", id="hang-up"),
        pytest.param(reset, "connection reset before an answer came", id="reset"),
        pytest.param(talk_nonsense, "connection closed, or no HTTP", id="no HTTP"),
        pytest.param(silence, "no answer within 0.1 s", id="silence"),
        pytest.param(drip, "answer not complete within 0.3 s", id="slow drip"),
        pytest.param(
            cut_off(ok(), keep=len(ok()) - 5),
            "connection cut off in the middle of the answer (after HTTP 200)",
            id="cut off",
        ),
        pytest.param(
            zipped(b"x" * 1000)[:-8] + b"12345678",
            "answer's compression is damaged",
            id="damaged gzip",
        ),
        pytest.param(
            reply(gzip.compress(b"x" * 1000)[:-4], Content_Encoding="gzip"),
            "connection cut off in the middle of the answer",
            id="cut-off gzip",
        ),
        pytest.param(
            reply(gzip.compress(b"x") + b"more", Content_Encoding="gzip"),
            "answer's compression is damaged",
            id="gzip with more behind it",
        ),
        pytest.param(
            reply(b"x", Content_Encoding="br"),
            "answer in a compression that was not asked for",
            id="other compression",
        ),
    ],
)
def test_network_faults(hasty: Bench, act: Reply, info: str) -> None:
    """A fault on the way is told in plain words, and the call repeated."""
    answers, _ = ask(hasty, act)

    assert [answer.outcome for answer in answers] == [Outcome.NO_ANSWER] * 5
    assert {(answer.http_status, answer.body) for answer in answers} == {(None, None)}
    assert answers[0].error_info is not None
    assert answers[0].error_info.startswith(info)


@pytest.mark.parametrize(
    ("scheme", "host", "info"),
    [
        pytest.param("http", "127.0.0.1:9", "connection refused", id="refused"),
        pytest.param("https", "nowhere.invalid", "host name not found", id="name"),
    ],
)
def test_no_connection(bench: Bench, scheme: str, host: str, info: str) -> None:
    """An address where nobody answers is told in plain words."""
    (answers,) = asyncio.run(bench.ask(an_app(f"{scheme}://{host}")))

    assert [answer.error_info for answer in answers] == [info] * 5


def test_tls_is_spoken_and_verified(hasty: Bench) -> None:
    """Nothing is sent to an https address that does not speak TLS."""

    async def run() -> tuple[Answer, ...]:
        async with ScriptedServer(ok()) as server:
            (answers,) = await hasty.ask(
                an_app(server.base_url.replace("http", "https"))
            )
        assert server.requests == []
        return answers

    answers = asyncio.run(run())

    assert {answer.error_info for answer in answers} <= {
        "TLS handshake failed",
        "no connection within 0.5 s",
    }


def test_gzip_is_inflated(bench: Bench) -> None:
    """A compressed answer is kept as its plain bytes."""
    (answer,), server = ask(bench, zipped(b'{"ErrorCode": 60028, "a": 1}'))

    assert server.requests[0].headers["accept-encoding"] == "gzip"
    assert answer.body == b'{"ErrorCode": 60028, "a": 1}'
    assert answer.error_code == 60028


def test_the_largest_body(hasty: Bench) -> None:
    """A body of exactly the limit is kept, zipped or not."""
    body = b" " * SHORT.max_body_bytes
    kept = [ask(hasty, answer)[0][0].body for answer in (reply(body), zipped(body))]

    assert kept == [body, body]


def test_echoed_secrets_are_struck_out(bench: Bench) -> None:
    """A server that quotes our address puts no signature into the record."""
    (answer,), server = ask(bench, echo_address)

    signature = server.requests[0].query["usersig"]
    assert answer.error_code == 60002
    assert answer.error_info is not None
    assert "usersig=***&random=" in answer.error_info
    assert answer.error_info.endswith("or ***")
    assert answer.body is not None
    assert signature not in repr(answer) + answer.body.decode()
    assert quote(signature, safe="") not in repr(answer) + answer.body.decode()


def test_an_echoed_key_is_struck_out(bench: Bench) -> None:
    """Not even the key, should a server know it, enters the record."""
    (answer,), _ = ask(bench, error(60002, f"your key is {KEY}"))

    assert answer.error_info == "your key is ***"
    assert answer.body is not None
    assert KEY.encode() not in answer.body


def test_a_key_in_escapes_is_struck_out(bench: Bench) -> None:
    """A secret that JSON escapes hide is struck out, and the answer stays readable."""
    escaped = KEY.replace("5bd2", r"\u0035bd2")
    body = f'{{"ErrorCode": 60002, "ErrorInfo": "your key is {escaped}"}}'
    (answer,), _ = ask(bench, reply(body.encode()))

    assert answer.error_info == "your key is ***"


@pytest.mark.parametrize(
    "act",
    [ok(), echo_address, hang_up, silence, cut_off(ok(), keep=50), error(70001)],
    ids=["ok", "echo", "hang-up", "silence", "cut off", "bad signature"],
)
def test_nothing_tells_secrets(
    hasty: Bench, act: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever happens, no log line at any level and no answer holds a secret."""
    caplog.set_level(logging.DEBUG)
    answers, server = ask(hasty, act)

    signature = server.requests[0].query["usersig"]
    told = caplog.text + "".join(f"{answer!r} {answer.body!r}" for answer in answers)
    assert "asked app=app1" in told
    for secret in (signature, quote(signature, safe=""), "usersig=eJ", KEY):
        assert secret not in told


@pytest.mark.parametrize(
    "base_url",
    [
        "http://adminapisgp.im.qcloud.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1:8080",
        "ftp://127.0.0.1",
        "adminapisgp.im.qcloud.com",
        "https://",
        "http://[::1",
        "",
    ],
)
def test_plain_http_is_for_loopback(bench: Bench, base_url: str) -> None:
    """An address that would carry the signature in the clear is refused unasked."""
    with pytest.raises(ConfigurationError, match=r"app1.*pushloss\.toml") as caught:
        asyncio.run(bench.ask(an_app(base_url)))

    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_loopback_needs_no_proxy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A proxy of the environment is not asked for what lies on loopback."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")

    answers, _ = ask(bench, ok())

    assert [answer.error_code for answer in answers] == [0]


def test_https_goes_by_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For https the proxy of the environment serves; it sees no signature, and no
    turn is spent on asking it."""
    bench = Bench(tmp_path, calls_per_second=0.001)

    async def run() -> tuple[tuple[Answer, ...], ScriptedServer]:
        async with ScriptedServer(reply(status=407)) as proxy, asyncio.timeout(10):
            monkeypatch.setenv("HTTPS_PROXY", proxy.base_url)
            (answers,) = await bench.ask(an_app("https://adminapisgp.im.qcloud.com"))
        return answers, proxy

    answers, proxy = asyncio.run(run())

    assert {answer.error_info for answer in answers} == {
        "the proxy of the environment refused the connection"
    }
    assert {(request.method, request.raw_query) for request in proxy.requests} == {
        ("CONNECT", "")
    }


def test_cookies_are_not_kept(bench: Bench) -> None:
    """What a server sets as a cookie does not come back to it."""
    _, server = ask(bench, reply(status=503, Set_Cookie="a=b"), ok())

    assert "cookie" not in server.requests[1].headers


def test_connections_are_kept(bench: Bench) -> None:
    """The tries of a call share one connection."""
    _, server = ask(bench, error(60008))

    assert (len(server.requests), server.connection_count) == (5, 1)


def test_every_try_waits_its_turn(tmp_path: Path) -> None:
    """Tries arrive no closer together than calls may, renewals included."""
    bench = Bench(tmp_path, calls_per_second=4.0)
    _, server = ask(bench, reply(status=503), error(70001), error(60011), ok())

    arrivals = [request.arrived_at for request in server.requests]
    gaps = [after - before for before, after in pairwise(arrivals)]
    assert len(gaps) == 3
    assert min(gaps) >= 0.25 - ARRIVAL_NOISE_SECONDS


def test_many_apps_at_once(tmp_path: Path) -> None:
    """Thirty-two apps are in flight together."""
    bench = Bench(tmp_path, calls_per_second=1.0)

    async def run() -> list[tuple[Answer, ...]]:
        async with ScriptedServer(together(32)) as server:
            apps = [an_app(server.base_url, number=number) for number in range(32)]
            return await bench.ask(*apps)

    answers = asyncio.run(run())

    assert [(one.sdk_app_id, one.error_code) for (one,) in answers] == [
        (1400000000 + number, 0) for number in range(32)
    ]


def test_cancelling_passes_through(bench: Bench) -> None:
    """A call that is given up ends at once, and records nothing."""

    async def run() -> None:
        async with ScriptedServer(silence) as server:
            await asyncio.wait_for(bench.ask(an_app(server.base_url)), timeout=0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(run())


def test_a_broken_pacing_file_stops_the_call(bench: Bench) -> None:
    """Without a turn nothing is sent, and the error tells no secret."""

    async def run() -> ScriptedServer:
        async with ScriptedServer(ok()) as server:
            with pytest.raises(StoreError) as caught:
                await bench.ask(an_app(server.base_url), file_is_closed=True)
        assert "usersig" not in "".join(traceback.format_exception(caught.value))
        return server

    assert asyncio.run(run()).requests == []
