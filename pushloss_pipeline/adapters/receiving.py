"""Sends a request and reads what comes: bounded, in time, faults in our own words."""

import asyncio
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from pushloss_pipeline.domain.model import Outcome

MAX_RETRY_AFTER_SECONDS = 120.0

_CUT_OFF = "connection cut off in the middle of the answer"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """What an attempt may take; the API allows itself 3 s a call."""

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    """Longest silence while sending or receiving."""
    attempt_seconds: float = 30.0
    """From the turn to the last byte, however steadily the bytes drip."""
    max_body_bytes: int = 4 * 1024 * 1024
    """After decompression: thirty thousand rows, where an answer has hundreds. In
    memory the small values of a body may take up fifty times its size."""


@dataclass(frozen=True, slots=True)
class Received:
    """What one request brought, before the secrets are struck from it."""

    outcome: Outcome
    http_status: int | None = None
    body: bytes | None = field(default=None, repr=False)
    trouble: str | None = None
    retry_after_seconds: float = 0.0


class _Unreadable(Exception):
    """The bytes that came make no whole answer; the text is ours, and is stored."""


async def receive(
    request: httpx.Request,
    *,
    http: httpx.AsyncClient,
    time_limit: asyncio.Timeout,
    timeouts: Timeouts,
    clock: Callable[[], datetime],
) -> Received:
    """Send and read; whatever goes wrong on the way is told, not raised."""
    status: int | None = None
    try:
        async with time_limit:
            response = await http.send(request, stream=True)
            status = response.status_code
            async with aclosing(response):
                body = await _read_body(response, timeouts.max_body_bytes)
    except TimeoutError:
        seconds = timeouts.attempt_seconds
        return _no_answer(f"answer not complete within {seconds:g} s", status)
    except _Unreadable as problem:
        return _no_answer(str(problem), status)
    except (httpx.HTTPError, OSError) as fault:
        return _no_answer(_in_words(fault, status, timeouts), status)
    return Received(
        Outcome.TOO_LARGE if body is None else Outcome.ANSWERED,
        http_status=status,
        body=body,
        trouble=_too_large(timeouts) if body is None else None,
        retry_after_seconds=_retry_after(response, now=clock()),
    )


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


def _no_answer(trouble: str, status: int | None) -> Received:
    """Fault on the way; a status that came before it is told, but decides nothing."""
    seen = "" if status is None else f" (after HTTP {status})"
    return Received(Outcome.NO_ANSWER, trouble=trouble + seen)


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
