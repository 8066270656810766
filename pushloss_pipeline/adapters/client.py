"""Asks the API for a day: signed, paced, retried, bounded, and silent on secrets."""

import asyncio
import ipaddress
import logging
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from random import Random
from typing import Any, Self
from uuid import uuid4

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_result,
    stop_after_attempt,
    wait_exponential,
)

from pushloss_pipeline.adapters.pacing import Pacer
from pushloss_pipeline.adapters.usersig import UserSigs, struck_out
from pushloss_pipeline.domain.codes import Reaction, reaction_to
from pushloss_pipeline.domain.errors import ConfigurationError
from pushloss_pipeline.domain.model import Answer, App, DayWindow, Outcome
from pushloss_pipeline.domain.parse import Status, read_status

API_PATH = "/v4/timpush/normal_push_loss"
MAX_CONNECTIONS = 32
"""httpx compares all its connections with one another at each call: 32 cost 4 ms of
CPU a call, 64 cost 11 ms, and fewer would let apps wait for one another."""
MAX_TRIES = 5
MAX_BRIEF_RETRIES = 3
SLOW_DOWN_SECONDS = 1.0
BAD_SIGNATURES_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 120.0

_CUT_OFF = "connection cut off in the middle of the answer"

_log = logging.getLogger(__name__)
_backoff_ceiling = wait_exponential(multiplier=1, exp_base=2)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """What an attempt may take; the API allows itself 3 s a call."""

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    """Longest silence while sending or receiving."""
    attempt_seconds: float = 30.0
    """From the turn to the last byte, however steadily the bytes drip."""
    max_body_bytes: int = 16 * 1024 * 1024
    """After decompression."""


@dataclass(frozen=True, slots=True)
class _Received:
    """What one request brought, before the secrets are struck from it."""

    outcome: Outcome
    http_status: int | None = None
    body: bytes | None = field(default=None, repr=False)
    trouble: str | None = None
    retry_after_seconds: float = 0.0


class _Unreadable(Exception):
    """The bytes that came make no whole answer; the text is ours, and is stored."""


class PushLossClient:
    """Asks for the days of many apps at once; one per process will do."""

    def __init__(
        self,
        *,
        pacer: Pacer,
        usersigs: UserSigs,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Random | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._pacer = pacer
        self._usersigs = usersigs
        self._clock = clock
        self._sleep = sleep
        self._random = random or Random()
        self._timeouts = timeouts or Timeouts()
        self._http = _open_http(self._timeouts)
        # The pool would hold back the rest too, but goes through all that wait, and
        # all connections for each, at every call: slow with a thousand apps.
        self._free_connections = asyncio.Semaphore(MAX_CONNECTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, app: App, window: DayWindow) -> tuple[Answer, ...]:
        """Return every attempt in order, the last one final.

        Raises nothing for what network or API do; ConfigurationError for an
        address that would carry the signature in the clear, StoreError where
        the pacing file fails.
        """
        _refuse_unsafe_address(app)
        answers: list[Answer] = []
        patience = _Patience()
        usersig = ""

        async def attempt() -> float | None:
            nonlocal usersig
            if patience.must_sign_anew:
                usersig = self._usersigs.renew(app, spent=usersig)
            else:
                usersig = self._usersigs.current(app)
            turn = _Turn(self._pacer, app, clock=self._clock, timeouts=self._timeouts)
            request = self._request(app, window, usersig, turn)
            async with self._free_connections:
                received = await self._receive(request, turn)
            answer = _answer(
                received,
                app=app,
                window=window,
                attempt=len(answers) + 1,
                requested_at=turn.came_at,
                fetched_at=self._clock(),
                secrets=(usersig, app.secret_key),
            )
            answers.append(answer)
            _log_attempt(answer)
            return patience.least_pause(answer, received.retry_after_seconds)

        await AsyncRetrying(
            sleep=self._sleep,
            retry=retry_if_result(_is_worth_another_try),
            wait=self._pause_seconds,
            stop=stop_after_attempt(MAX_TRIES),
            retry_error_callback=_keep_the_last_answer,
        )(attempt)
        return tuple(answers)

    def _pause_seconds(self, state: RetryCallState) -> float:
        """Back off exponentially, in the upper half by chance, but as long as due."""
        assert state.outcome is not None
        least: float = state.outcome.result()
        ceiling = _backoff_ceiling(state)
        return max(least, self._random.uniform(ceiling / 2, ceiling))

    def _request(
        self, app: App, window: DayWindow, usersig: str, turn: "_Turn"
    ) -> httpx.Request:
        return self._http.build_request(
            "POST",
            app.base_url.rstrip("/") + API_PATH,
            params={
                "sdkappid": app.sdk_app_id,
                "identifier": app.identifier,
                "usersig": usersig,
                "random": self._random.randrange(2**32),
                "contenttype": "json",
            },
            json={
                "StartTime": int(window.start.timestamp()),
                "EndTime": int(window.end.timestamp()),
            },
            extensions={"trace": turn.take_before_sending},
        )

    async def _receive(self, request: httpx.Request, turn: "_Turn") -> _Received:
        """Send and read; whatever goes wrong comes back in our own words."""
        status: int | None = None
        try:
            async with turn.time_limit:
                response = await self._http.send(request, stream=True)
                status = response.status_code
                async with aclosing(response):
                    body = await _read_body(response, self._timeouts.max_body_bytes)
        except TimeoutError:
            seconds = self._timeouts.attempt_seconds
            return _no_answer(f"answer not complete within {seconds:g} s", status)
        except _Unreadable as problem:
            return _no_answer(str(problem), status)
        except (httpx.HTTPError, OSError) as fault:
            return _no_answer(_in_words(fault, status, self._timeouts), status)
        return _Received(
            Outcome.TOO_LARGE if body is None else Outcome.ANSWERED,
            http_status=status,
            body=body,
            trouble=_too_large(self._timeouts) if body is None else None,
            retry_after_seconds=_retry_after(response, now=self._clock()),
        )


class _Turn:
    """Takes an app's turn at the last moment, when a request is about to leave.

    Taken earlier, a TLS handshake would lie between the turn and the call's
    arrival, and the next call, on the open connection, would arrive too soon
    after it.
    """

    def __init__(
        self,
        pacer: Pacer,
        app: App,
        *,
        clock: Callable[[], datetime],
        timeouts: Timeouts,
    ) -> None:
        self._pacer = pacer
        self._app = app
        self._clock = clock
        self._timeouts = timeouts
        self.time_limit = asyncio.timeout(None)
        self.came_at = clock()
        """Start of the attempt, until the turn comes."""

    async def take_before_sending(self, event: str, info: Mapping[str, Any]) -> None:
        """Hook for httpx's `trace`; a proxy's CONNECT is no call of the app."""
        if event != "http11.send_request_headers.started":
            return
        if info["request"].method != b"POST":
            return
        await self._pacer.wait_turn(self._app.sdk_app_id)
        self.came_at = self._clock()
        now = asyncio.get_running_loop().time()
        self.time_limit.reschedule(now + self._timeouts.attempt_seconds)


@dataclass(slots=True)
class _Patience:
    """What one call has tried already, and whether another try may help."""

    brief_retries: int = 0
    has_signed_anew: bool = False
    must_sign_anew: bool = False

    def least_pause(self, answer: Answer, retry_after: float) -> float | None:
        """Seconds that must pass before another try; None where it cannot help."""
        self.must_sign_anew = False
        if answer.outcome is Outcome.TOO_LARGE:
            return None
        match reaction_to(answer.http_status, answer.error_code):
            case Reaction.RETRY:
                return retry_after
            case Reaction.SLOW_DOWN:
                return max(SLOW_DOWN_SECONDS, retry_after)
            case Reaction.RETRY_BRIEFLY if self.brief_retries < MAX_BRIEF_RETRIES:
                self.brief_retries += 1
                return retry_after
            case Reaction.SIGN_ANEW if not self.has_signed_anew:
                return self._sign_anew_after(retry_after)
            case Reaction.SIGN_ANEW_LATER if not self.has_signed_anew:
                return self._sign_anew_after(max(BAD_SIGNATURES_SECONDS, retry_after))
        return None

    def _sign_anew_after(self, seconds: float) -> float:
        self.has_signed_anew = self.must_sign_anew = True
        return seconds


def _is_worth_another_try(least_pause: float | None) -> bool:
    return least_pause is not None


def _log_attempt(answer: Answer) -> None:
    """Tell of an attempt by its numbers; texts of the server stay in the record."""
    _log.info(
        "asked app=%s day=%s attempt=%d outcome=%s http_status=%s error_code=%s",
        answer.app,
        answer.loss_date,
        answer.attempt,
        answer.outcome,
        answer.http_status,
        answer.error_code,
    )


def _keep_the_last_answer(_: RetryCallState) -> None:
    """Out of tries: no exception, the answers are all there."""


def _open_http(timeouts: Timeouts) -> httpx.AsyncClient:
    """Open a pool that follows no redirect, keeps no cookie and tells no URL."""
    for name in ("httpx", "httpcore"):
        # At INFO and DEBUG they log URLs and headers, and the signature with them.
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
    return httpx.AsyncClient(
        headers={"Accept-Encoding": "gzip"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        timeout=httpx.Timeout(
            timeouts.read_seconds, connect=timeouts.connect_seconds, pool=None
        ),
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
        ),
        # Plain http is for loopback only, where no proxy of the environment belongs.
        mounts={"http://": None},
    )


def _refuse_unsafe_address(app: App) -> None:
    try:
        url = httpx.URL(app.base_url)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.host and url.scheme == "https":
        return
    if url.scheme == "http" and _is_loopback(url.host):
        return
    raise ConfigurationError(
        f"app {app.name}: its endpoint is no https address, and plain http is for "
        "loopback only, since the signature travels in it; mend `region` or "
        "`endpoint` in pushloss.toml"
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _read_body(response: httpx.Response, limit: int) -> bytes | None:
    """Read and inflate at most `limit` bytes; None where there are more."""
    announced = response.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        return None
    match response.headers.get("content-encoding", "identity").strip().lower():
        case "identity" | "":
            return await _read_plain(response, limit)
        case "gzip" | "x-gzip":
            return await _read_gzip(response, limit)
    raise _Unreadable("answer in a compression that was not asked for")


async def _read_plain(response: httpx.Response, limit: int) -> bytes | None:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def _read_gzip(response: httpx.Response, limit: int) -> bytes | None:
    """Inflate in bounded steps: a small answer may hold gigabytes."""
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    body, has_begun = bytearray(), False
    async for chunk in response.aiter_raw():
        has_begun = True
        try:
            body += inflater.decompress(chunk, limit + 1 - len(body))
        except zlib.error:
            raise _Unreadable("answer's compression is damaged") from None
        if len(body) > limit:
            return None
    if has_begun and not inflater.eof:
        raise _Unreadable(_CUT_OFF)
    if inflater.unused_data:
        raise _Unreadable("answer's compression is damaged")
    return bytes(body)


def _no_answer(trouble: str, status: int | None) -> _Received:
    """Fault on the way; a status that came before it is told, but decides nothing."""
    seen = "" if status is None else f" (after HTTP {status})"
    return _Received(Outcome.NO_ANSWER, trouble=trouble + seen)


def _too_large(timeouts: Timeouts) -> str:
    return f"answer larger than {timeouts.max_body_bytes} bytes, dropped unread"


def _in_words(
    fault: httpx.HTTPError | OSError, status: int | None, timeouts: Timeouts
) -> str:
    """Describe a network fault without its own text, which may quote the URL."""
    match fault:
        case httpx.ConnectTimeout():
            return f"no connection within {timeouts.connect_seconds:g} s"
        case httpx.ReadTimeout():
            return f"no answer within {timeouts.read_seconds:g} s"
        case httpx.WriteTimeout():
            return f"request not taken within {timeouts.read_seconds:g} s"
        case httpx.ConnectError():
            return _connect_trouble(fault)
        case httpx.ProxyError():
            return "the proxy of the environment refused the connection"
        case httpx.ReadError() | httpx.RemoteProtocolError() if status is not None:
            return _CUT_OFF
        case httpx.ReadError() | httpx.WriteError():
            return "connection reset before an answer came"
        case httpx.RemoteProtocolError():
            return "connection closed, or no HTTP spoken, before an answer came"
    return f"network fault ({type(fault).__name__})"


def _connect_trouble(fault: BaseException) -> str:
    causes = tuple(_causes(fault))
    for kind, text in (
        (ssl.SSLCertVerificationError, "TLS certificate not trusted"),
        (ssl.SSLError, "TLS handshake failed"),
        (socket.gaierror, "host name not found"),
        (ConnectionRefusedError, "connection refused"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return text
    return "no connection"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _causes(member)
        error = error.__cause__ or error.__context__


def _retry_after(response: httpx.Response, *, now: datetime) -> float:
    """Read seconds or an HTTP date; 0 where there is neither."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal() and text.isascii():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - now).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _answer(
    received: _Received,
    *,
    app: App,
    window: DayWindow,
    attempt: int,
    requested_at: datetime,
    fetched_at: datetime,
    secrets: Sequence[str],
) -> Answer:
    """Judge nothing, but strike out what a server may have echoed of our request."""
    body = received.body
    if body is not None:
        body = struck_out(body, secrets=secrets)
    status = Status(None, None) if body is None else read_status(body)
    info = received.trouble or status.error_info
    if received.outcome is Outcome.ANSWERED and status.error_code is None and not info:
        info = f"HTTP {received.http_status}"
    return Answer(
        response_id=uuid4().hex,
        sdk_app_id=app.sdk_app_id,
        app=app.name,
        loss_date=window.day,
        window_start=window.start,
        window_end=window.end,
        attempt=attempt,
        requested_at=requested_at,
        fetched_at=fetched_at,
        outcome=received.outcome,
        http_status=received.http_status,
        error_code=status.error_code,
        error_info=info,
        body=body,
    )
