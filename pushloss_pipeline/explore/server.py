"""Serves the notebook on loopback."""

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pushloss_pipeline.domain.errors import ConfigurationError, UsageError

NOTEBOOK = Path(__file__).with_name("notebook.py")
_OWN = re.compile(r"(http://)?(127\.0\.0\.1|localhost)(:\d+)?")


def serve(port: int, *, on_ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `on_ready` hears the address. 0 picks a free port."""
    try:
        import marimo
    except ImportError:
        raise ConfigurationError(
            "the explorer needs marimo: pip install 'pushloss-pipeline[explore]'"
        ) from None
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()  # who calls before all is loaded waits for the answer
        except OSError as problem:
            raise UsageError(
                f"port {port} cannot be used: {problem.strerror}; try --port 0"
            ) from None
        notebook = marimo.create_asgi_app(quiet=True)
        application = _OwnPagesOnly(
            notebook.with_app(path="", root=str(NOTEBOOK)).build()
        )
        on_ready(f"http://127.0.0.1:{listener.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
        with suppress(KeyboardInterrupt):  # raised anew when all is closed
            server.run([listener])


class _OwnPagesOnly:
    """Turns away what pages of other sites ask: a browser lets them call loopback."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._application
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            told = [headers.get("host", ""), *headers.getlist("origin")]
            if not all(map(_OWN.fullmatch, told)):
                answer = PlainTextResponse("for this machine's pages only", 403)
        await answer(scope, receive, send)
