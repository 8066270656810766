"""A loopback server that says what a script tells it to, and then worse things."""

import asyncio
import gzip
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    arrived_at: float

    @property
    def path(self) -> str:
        """Target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """Query, decoded."""
        return {key: values[0] for key, values in parse_qs(self.raw_query).items()}

    @property
    def raw_query(self) -> str:
        """Query as it was sent."""
        return urlsplit(self.target).query


Act = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]
Reply = bytes | Act


class ScriptedServer:
    """Gives each request the next reply; the last reply serves all that follow.

    A reply is the bytes of a whole answer, or a function that writes what it
    likes, after which the connection is closed.
    """

    def __init__(self, *replies: Reply) -> None:
        self._replies = replies
        self._handlers: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        self.connection_count = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connection_count += 1
        with suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            await self._converse(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            request = await _read_request(reader)
            self.requests.append(request)
            reply = self._replies[min(len(self.requests), len(self._replies)) - 1]
            if not isinstance(reply, bytes):
                await reply(request, writer)
                return
            writer.write(reply)
            await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    arrived_at = time.monotonic()
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, arrived_at)


def reply(
    body: bytes | Mapping[str, Any] = b"", *, status: int = 200, **headers: str
) -> bytes:
    """Spell out a whole answer; header names are written with underscores."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def ok() -> bytes:
    """Answer with a report of no losses."""
    return reply(
        {
            "ActionStatus": "OK",
            "ErrorCode": 0,
            "ErrorInfo": "",
            "ReadyToSendLoss": [],
            "PlatformReadyToSendLoss": [],
            "PostSendDeliveredLoss": [],
            "PlatformPostSendDeliveredLoss": [],
        }
    )


def error(code: int, info: str = "no", *, status: int = 200) -> bytes:
    """Answer with an error of the API."""
    body = {"ActionStatus": "FAIL", "ErrorCode": code, "ErrorInfo": info}
    return reply(body, status=status)


def zipped(content: bytes) -> bytes:
    """Answer in gzip."""
    return reply(gzip.compress(content), Content_Encoding="gzip")


def cut_off(whole: bytes, *, keep: int) -> Act:
    """Send all but the end of an answer, then hang up."""

    async def act(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(whole[:keep])

    return act


def silence(_: Request, writer: asyncio.StreamWriter) -> Awaitable[None]:
    """Never answer."""
    return asyncio.sleep(3600)


async def hang_up(_: Request, writer: asyncio.StreamWriter) -> None:
    """Close the connection without a byte."""


async def reset(_: Request, writer: asyncio.StreamWriter) -> None:
    """Drop the connection as a crashed host does."""
    linger_not = struct.pack("ii", 1, 0)
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
    writer.transport.abort()


async def talk_nonsense(_: Request, writer: asyncio.StreamWriter) -> None:
    """Answer in no protocol at all."""
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")


async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
    """Send an answer byte by byte, never silent for long, never done."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


def together(count: int) -> Act:
    """Answer no request before that many are there at the same time."""
    barrier = asyncio.Barrier(count)

    async def act(_: Request, writer: asyncio.StreamWriter) -> None:
        await barrier.wait()
        writer.write(ok())

    return act


async def echo_address(request: Request, writer: asyncio.StreamWriter) -> None:
    """Answer as careless servers do, by quoting the address that was asked."""
    info = f"no such page: {request.target} or {request.query['usersig']}"
    writer.write(error(60002, info, status=404))
