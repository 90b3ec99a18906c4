"""A small server on the loopback that notes what it is asked, and answers as a test wants.

Gateway       where it is, what it was asked, what it answers: an SMS gateway, an identity provider, a source of keys
listening()   the server, as a context
serving()     any such server, as a context
"""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar


@dataclass(frozen=True)
class Asked:
    """One request; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Gateway:
    """A test may change what is answered at any time; `during` runs before the answer."""

    url: str
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    during: Callable[[], Any] = lambda: None
    raw: Callable[[Callable[[bytes], Any]], Any] | None = None  # writes the whole answer itself
    asked: list[Asked] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """What was asked for, queries included."""
        return [one.path for one in self.asked]


Kind = TypeVar("Kind", bound=Gateway)


@contextmanager
def listening(tls: ssl.SSLContext | None = None, *, kind: type[Kind] = Gateway) -> Iterator[Kind]:
    """The server, of a kind that may know more than `Gateway`; with `tls` it speaks that."""
    server = Listener(("127.0.0.1", 0), Answering)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.gateway = gateway = kind(f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}")
    with serving(server):
        yield gateway


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Any small server, in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Listener(ThreadingHTTPServer):
    """The server; that somebody hangs up or will not shake hands is what some tests want."""

    daemon_threads = True
    gateway: Gateway

    def handle_error(self, *_where: Any) -> None:
        pass


class Answering(BaseHTTPRequestHandler):
    """Notes every request, and answers what the gateway says at that moment."""

    server: Listener

    def answer(self) -> None:
        gateway = self.server.gateway
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        gateway.asked.append(Asked(self.command, self.path, headers, body))
        gateway.during()
        if gateway.raw:
            gateway.raw(self.connection.sendall)
            self.close_connection = True
            return
        self.send_response(gateway.status)
        for name, value in gateway.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(gateway.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(gateway.body)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def log_message(self, *_words: Any) -> None:
        """A test's output is for the test."""
