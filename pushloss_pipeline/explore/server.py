"""Serves the notebook on loopback."""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from pushloss_pipeline.domain.errors import ConfigurationError, UsageError

NOTEBOOK = Path(__file__).with_name("notebook.py")


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
        application = notebook.with_app(path="", root=str(NOTEBOOK)).build()
        on_ready(f"http://127.0.0.1:{listener.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
        with suppress(KeyboardInterrupt):  # raised anew when all is closed
            server.run([listener])
