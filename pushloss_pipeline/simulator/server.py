"""The simulator over HTTP, on loopback unless told otherwise."""

import asyncio
import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pushloss_pipeline.simulator.faults import AWAY_SECONDS, Act, Fault, Step
from pushloss_pipeline.simulator.respond import (
    NOT_AN_API,
    Answer,
    Call,
    Envelope,
    render,
)
from pushloss_pipeline.simulator.scenario import Scenario
from pushloss_pipeline.simulator.simulation import Clock, Reply, Simulation
from pushloss_pipeline.simulator.truth import LossCount

PATH = "/v4/timpush/normal_push_loss"

_LINE_KEY = "pushloss_simulator.line"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_START_SECONDS = 10

Handler = Callable[[Request], Awaitable[Response]]
Pause = Callable[[float], Awaitable[None]]


def serve(
    scenario: Scenario,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    now: Clock | datetime | str | None = None,
    signature_clock: Callable[[], float] = time.time,
    calls_per_second: float | None = 1.0,
    envelope: Envelope = "top",
    faults: Sequence[Fault] = (),
    on_ready: Callable[[str], object] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then return; `on_ready` is told the URL.

    OSError where the port is taken.
    """
    simulation = Simulation(
        scenario,
        now=now,
        signature_clock=signature_clock,
        calls_per_second=calls_per_second,
        envelope=envelope,
        faults=faults,
    )
    listener = _listen(host, port)
    _Server(simulation, listener, on_ready or (lambda url: None)).run([listener])


@contextmanager
def running(
    scenario: Scenario,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    now: Clock | datetime | str | None = None,
    signature_clock: Callable[[], float] = time.time,
    calls_per_second: float | None = 1.0,
    envelope: Envelope = "top",
    faults: Sequence[Fault] = (),
) -> Iterator["SimulatorHandle"]:
    """Serve from a thread of its own for the length of a `with` block."""
    simulation = Simulation(
        scenario,
        now=now,
        signature_clock=signature_clock,
        calls_per_second=calls_per_second,
        envelope=envelope,
        faults=faults,
    )
    listener = _listen(host, port)
    url = _url_of(*listener.getsockname()[:2])
    is_ready = threading.Event()
    server = _Server(simulation, listener, lambda url: is_ready.set())
    thread = threading.Thread(target=server.run, args=([listener],), name="simulator")
    thread.start()
    try:
        if not is_ready.wait(_START_SECONDS):
            raise RuntimeError("the simulator did not start; look for its error above")
        yield SimulatorHandle(url, simulation)
    finally:
        server.should_exit = True
        thread.join()


class SimulatorHandle:
    """A running simulator, as a test holds it."""

    def __init__(self, url: str, simulation: Simulation) -> None:
        self.url = url
        self._simulation = simulation

    def served(self, *, after: int = 0) -> list[dict[str, Any]]:
        """List the calls served so far, or after so many, in order of arrival."""
        return self._simulation.served(after=after)

    @property
    def served_count(self) -> int:
        """How many calls were served so far."""
        return self._simulation.served_count

    def refused_count(self, sdk_app_id: int) -> int:
        """Count the app's calls refused for coming too fast."""
        return self._simulation.limit.refused_counts[sdk_app_id]

    def truth(
        self, sdk_app_id: int, day: date, at: datetime | None = None
    ) -> tuple[LossCount, ...]:
        """Tell an app's day as known at an instant, or at the simulated now."""
        return self._simulation.truth(sdk_app_id, day, at)

    def set_now(self, now: Clock | datetime | str | None) -> None:
        """Move the simulated instant; None goes back to the clock of the start."""
        self._simulation.set_now(now)

    def rotate_key(self, sdk_app_id: int, secret_key: str) -> None:
        """Let an app's calls be signed with another key; the old one opens nothing."""
        self._simulation.rotate_key(sdk_app_id, secret_key)

    def script(self, rules: Sequence[object]) -> None:
        """Replace the scripted answers; ScriptError where a rule is wrong."""
        self._simulation.script(rules)

    def clear_script(self) -> None:
        """Forget all scripted answers."""
        self._simulation.clear_script()


def application(simulation: Simulation, pause: Pause) -> Starlette:
    """Build the ASGI application of one simulation; `pause` waits out its delays."""
    endpoints = _Endpoints(simulation, pause)
    return Starlette(
        routes=[
            Route(PATH, endpoints.push_loss, methods=_METHODS),
            Route("/v4/{rest:path}", endpoints.no_such_api, methods=_METHODS),
            _control("health", endpoints.health, "GET"),
            _control("served", endpoints.served, "GET"),
            _control("refusals", endpoints.refusals, "GET"),
            _control("now", endpoints.put_now, "PUT"),
            _control("script", endpoints.put_script, "PUT"),
            _control("script", endpoints.delete_script, "DELETE"),
        ]
    )


def _control(name: str, handler: Handler, method: str) -> Route:
    async def for_loopback(request: Request) -> Response:
        caller = request.client.host if request.client else ""
        # A page of another site may reach loopback by a name of its own.
        named = request.url.hostname or ""
        if not (_is_loopback(caller) and _is_loopback(named)):
            return JSONResponse({"error": "for loopback only"}, status_code=403)
        return await handler(request)

    return Route(f"/simulator/{name}", for_loopback, methods=[method])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Endpoints:
    """The handlers; each reads a request, asks the simulation, writes a response."""

    def __init__(self, simulation: Simulation, pause: Pause) -> None:
        self._simulation = simulation
        self._pause = pause

    async def push_loss(self, request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response()
        call = Call(request.method, request.query_params, body, _address_of(request))
        # No await from here to the log: arrivals and their log have one order.
        reply = self._simulation.answer(call, arrived_at=time.monotonic())
        if reply.delay_seconds:
            await self._pause(reply.delay_seconds)
        if reply.steps is not None:
            return _Steps(reply.steps)
        return _response_of(reply)

    async def no_such_api(self, request: Request) -> Response:
        return _response_of(Reply(render(Answer(*NOT_AN_API))))

    async def health(self, request: Request) -> Response:
        return JSONResponse({"ready": True})

    async def served(self, request: Request) -> Response:
        return JSONResponse(self._simulation.served())

    async def refusals(self, request: Request) -> Response:
        counts = self._simulation.limit.refused_counts
        return JSONResponse({str(app): count for app, count in counts.items()})

    async def put_now(self, request: Request) -> Response:
        try:
            instant = (await request.json())["now"]
            self._simulation.set_now(instant)
        except (ValueError, TypeError, KeyError, AttributeError):
            return _bad_control('the body is {"now": "<ISO 8601>"}, or null')
        return JSONResponse({"now": self._simulation.now.isoformat()})

    async def put_script(self, request: Request) -> Response:
        try:
            self._simulation.script(await request.json())
        except ValueError as exc:
            return _bad_control(str(exc))
        return Response(status_code=204)

    async def delete_script(self, request: Request) -> Response:
        self._simulation.clear_script()
        return Response(status_code=204)


def _bad_control(error: str) -> Response:
    return JSONResponse({"error": error}, status_code=400)


def _address_of(request: Request) -> str:
    raw: bytes = request.scope["raw_path"] + b"?" + request.scope["query_string"]
    return raw.decode("latin-1")


def _response_of(reply: Reply) -> Response:
    headers = {"content-type": "application/json"}
    headers.update((name.lower(), text) for name, text in reply.headers)
    return Response(reply.body, reply.http_status, headers)


class _Steps(Response):
    """A fault told on the bare connection, for as long as the caller listens."""

    def __init__(self, steps: Iterable[Step]) -> None:
        super().__init__()
        self._steps = steps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line: _Line = scope[_LINE_KEY]
        telling = asyncio.create_task(line.tell(self._steps))
        while (await receive())["type"] != "http.disconnect":
            continue
        telling.cancel()


class _Line:
    """A connection below HTTP, for what ASGI has no word for."""

    def __init__(self, protocol: H11Protocol, server: "_Server") -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._server = server

    async def tell(self, steps: Iterable[Step]) -> None:
        for step in steps:
            match step:
                case bytes():
                    self._transport.write(step)
                    await self._protocol.flow.drain()
                    await asyncio.sleep(0)
                case Act.RESET:
                    self._reset()
                case Act.GO_AWAY:
                    self._server.go_away()
                case float():
                    await self._server.pause(step)
            if self._transport.is_closing():
                return
        self._transport.close()

    def _reset(self) -> None:
        linger_not = struct.pack("ii", 1, 0)
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        self._transport.abort()


def _protocol_of(server: "_Server") -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """HTTP/1.1 that lets a response speak below it."""

        def connection_made(  # type: ignore[override]
            self, transport: asyncio.Transport
        ) -> None:
            super().connection_made(transport)
            # uvicorn's own switch gives way once anyone gives its access logger a
            # handler.
            self.access_log = False
            self.app = cast(
                Any, _with_line(cast(ASGIApp, self.app), _Line(self, server))
            )

    return Protocol


def _with_line(app: ASGIApp, line: _Line) -> ASGIApp:
    async def lined(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, _LINE_KEY: line}, receive, send)

    return lined


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready, and returns from a signal."""

    def __init__(
        self,
        simulation: Simulation,
        listener: socket.socket,
        on_ready: Callable[[str], object],
    ) -> None:
        self._stopping = asyncio.Event()
        self._address = listener.getsockname()[:2]
        self._coming_back: asyncio.Task[None] | None = None
        self._on_ready = on_ready
        super().__init__(
            uvicorn.Config(
                application(simulation, self.pause),
                http=_protocol_of(self),
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                # An access log would carry the signatures: they travel in the URL.
                access_log=False,
                timeout_graceful_shutdown=2,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready(_url_of(*self._address))

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than the server runs."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def go_away(self) -> None:
        """Drop all connections, and let nobody in for a while."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            cast(H11Protocol, connection).transport.abort()
        self._coming_back = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        await self.pause(AWAY_SECONDS)
        if not self._stopping.is_set():
            await super().startup([_listen(*self._address)])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not kept for later: uvicorn would raise the signal again after its shutdown.
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port))
    # asyncio does so for its own sockets only; without it an answer lasts 40 ms more.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url_of(host: str, port: int) -> str:
    return f"http://{host}:{port}"
