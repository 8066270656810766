"""A webhook on loopback: keeps what is posted, and can refuse, break or hang."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came, and how the next post is answered."""

    port: int = 0
    status: int = 200
    is_hanging: bool = False
    posts: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The address as apprise reads it; it gives up soon."""
        return f"json://127.0.0.1:{self.port}/?cto=1&rto=0.3"

    def taken(self) -> list[dict[str, Any]]:
        """All posts since the last time that somebody looked."""
        posts, self.posts = self.posts, []
        return posts

    def titles(self) -> list[str]:
        """The titles of these, without our name."""
        return [post["title"].removeprefix("[pushloss] ") for post in self.taken()]


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    """A receiver that takes everything, until it is told otherwise."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.is_hanging:
                receiver.released.wait(30)
            elif receiver.status == 200:
                receiver.posts.append(json.loads(body))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """A port of this machine that nobody listens at."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port
