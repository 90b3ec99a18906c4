"""What no request of ours may do, for both kinds of client: `outbound.requests` and `push.connections`.

UNUSABLE, LOOPBACKS     addresses that are refused, and spellings of this machine
BROKEN_ANSWERS          what is no answer
Names                   the system's resolver, which answers as a test says
unvisited()             a port to which no connection may come
dripping(…)             an answer that comes byte by byte and never ends
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from verify.gateway import Gateway

UNUSABLE = [
    "",
    "//127.0.0.1/",
    "ftp://example.org/",
    "file:///etc/passwd",
    "https://",
    "https://example.org:0/",
    "https://example.org:99999/",
    "https://[::1/",
    "https://exa mple.org/",
    "https://user:password@example.org/",
]
LOOPBACKS = ["127.0.0.1", "127.1", "0.0.0.0", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::]"]
HEAD = b"HTTP/1.1 200 OK\r\n"
BROKEN_ANSWERS = [b"", b"hello\r\n\r\n", HEAD + b"Content-Length: 10\r\n\r\nshort", b"HTTP/1.1 abc OK\r\n\r\n"]
BEGINNINGS = [b"", HEAD, HEAD + b"Content-Length: 99999\r\n\r\n"]


class Names:
    """The system's resolver; which addresses it answers, and the names that it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in self.addresses]


@contextmanager
def unvisited() -> Iterator[int]:
    """A port of this machine; the test fails when a connection to it was opened."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield int(server.getsockname()[1])
        with pytest.raises(BlockingIOError):
            server.accept()


@contextmanager
def dripping(gateway: Gateway, beginning: bytes) -> Iterator[None]:
    """The gateway's answer begins so and then comes byte by byte, until the context ends."""
    done = threading.Event()

    def drip(write: Callable[[bytes], Any]) -> None:
        write(beginning)
        while not done.wait(0.02):
            write(b"a")

    gateway.raw = drip
    try:
        yield
    finally:
        done.set()
