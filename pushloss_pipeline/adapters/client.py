"""Asks the API for a day: signed, paced, retried, bounded, and silent on secrets."""

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
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

from pushloss_pipeline.adapters.masking import masked_bytes
from pushloss_pipeline.adapters.pacing import Pacer
from pushloss_pipeline.adapters.receiving import Received, Timeouts, receive
from pushloss_pipeline.adapters.usersig import UserSigs
from pushloss_pipeline.domain.codes import Reaction, reaction_to
from pushloss_pipeline.domain.errors import ConfigurationError, StoreError
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

_log = logging.getLogger(__name__)
_backoff_ceiling = wait_exponential(multiplier=1, exp_base=2)


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
                received = await receive(
                    request,
                    http=self._http,
                    time_limit=turn.time_limit,
                    timeouts=self._timeouts,
                    clock=self._clock,
                )
            answer = _answer(
                received,
                app=app,
                window=window,
                attempt=len(answers) + 1,
                requested_at=turn.came_at,
                fetched_at=self._clock(),
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
            extensions={"trace": turn.follow},
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
        self._is_taken = False

    async def follow(self, event: str, info: Mapping[str, Any]) -> None:
        """Hook for httpx's `trace`; a proxy's CONNECT is no call of the app."""
        match event:
            case "http11.send_request_headers.started":
                if info["request"].method == b"POST":
                    await self._take()
            case "http11.send_request_body.complete" if self._is_taken:
                await self._count_from_now()

    async def _count_from_now(self) -> None:
        try:
            await self._pacer.count_from_now(self._app.sdk_app_id)
        except StoreError as problem:
            # The call is out, and its answer is kept; the next turn tells of it again.
            _log.warning("turn of app=%s not counted anew: %s", self._app.name, problem)

    async def _take(self) -> None:
        await self._pacer.wait_turn(self._app.sdk_app_id)
        self.came_at = self._clock()
        now = asyncio.get_running_loop().time()
        self.time_limit.reschedule(now + self._timeouts.attempt_seconds)
        self._is_taken = True


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
        verify=_trusted(),
    )


@cache
def _trusted() -> ssl.SSLContext:
    """Read all the certificates once, not for each walk."""
    return httpx.create_ssl_context()


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


def _answer(
    received: Received,
    *,
    app: App,
    window: DayWindow,
    attempt: int,
    requested_at: datetime,
    fetched_at: datetime,
) -> Answer:
    """Judge nothing, but strike out what a server may have echoed of our request."""
    body = received.body
    if body is not None:
        body = masked_bytes(body)
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
