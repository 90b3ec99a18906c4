"""Attacks on file handles: silent connections, silent TLS handshakes, and clients that read nothing.

Meanwhile other clients request /readyz, each time on a new connection, and must be served.
"""

import http.client
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import machine
from attack import Attack, Figure

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from connecting import certificate, few_handles, own_address
from servers import Server

HOST = "127.0.0.1"
HANDLES, SILENT, ASKED = 300, 320, 50
UNREAD = 100
MEBIBYTE = 2**20


def silent() -> list[Figure]:
    """Open more silent connections than the server has file handles."""
    with attacked(HANDLES) as server:
        return served_beside(server.port, None)


def silent_handshakes() -> list[Figure]:
    """Begin more silent TLS handshakes than the server has file handles."""
    with tempfile.TemporaryDirectory() as folder:
        files, trusted = certificate(Path(folder))
        with attacked(HANDLES, trusted, **files) as server:
            return served_beside(server.port, trusted)


def served_beside(port: int, trusted: ssl.SSLContext | None) -> list[Figure]:
    """The figures of other clients while the silent connections are open."""
    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(socket.create_connection((HOST, port), timeout=20))
        seconds = [ready_in(port, trusted) for _ in range(ASKED)]
    served = sum(one is not None for one in seconds)
    slowest = max((one for one in seconds if one is not None), default=float("nan"))
    return [
        Figure(
            f"others served beside {SILENT} connections with {HANDLES} handles",
            f"{served}",
            f"{ASKED}",
            served == ASKED,
        ),
        Figure("the slowest of them, s", f"{slowest:.3f}", "≤ 1", slowest <= 1),
    ]


def unread() -> list[Figure]:
    """Clients that request a large page as often as they can, and read nothing."""
    with (
        attacked(4096, max_unsent_bytes=str(32 * MEBIBYTE), answer_seconds="2") as server,
        ExitStack() as stack,
    ):
        pid = server.process.pid
        for _ in range(UNREAD):
            ask_and_never_read(stack, server.port)
        highest = 0
        began = time.monotonic()
        while time.monotonic() - began < 8:
            seen = machine.resident(pid)
            highest = max(highest, seen[0] if seen else 0)
            time.sleep(0.05)
        left = connections_of(pid)
    return [
        Figure(f"memory beside {UNREAD} such clients, MiB", f"{highest / MEBIBYTE:.0f}", "–", True),
        Figure("connections that are left after 8 s", str(left), "≤ 5", left <= 5),
    ]


def ask_and_never_read(stack: ExitStack, port: int) -> None:
    """Request 200 KB again and again, until the server reads no more requests."""
    one = stack.enter_context(socket.socket())
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect((HOST, port))
    one.settimeout(0.05)
    with suppress(OSError):
        for _ in range(30):
            one.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.001)


def connections_of(pid: int) -> int:
    """The number of client connections of a process."""
    found = 0
    for link in list(Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(OSError):
            found += str(link.readlink()).startswith("socket:")
    return found - 3  # one listens, two wake the event loop


def one_address() -> list[Figure]:
    """Open 3,000 connections from one address that is not on the loopback, and one from the loopback."""
    address = own_address()
    if not address:
        return [Figure("this machine has no address beside the loopback", "–", "–", True)]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        attacked(6_000, host="0.0.0.0") as server,
        ExitStack() as stack,
    ):
        many = [stack.enter_context(socket.create_connection((address, server.port), timeout=20)) for _ in range(3_000)]
        time.sleep(1)
        kept = sum(is_open(one) for one in many)
        other = ready_in(server.port, None)
    return [
        Figure("connections kept of 3,000 from one address", str(kept), "2,500", kept == 2_500),
        Figure("another address is served within, s", f"{other}", "≤ 1", other is not None and other <= 1),
    ]


def is_open(one: socket.socket) -> bool:
    """Is this connection still open?"""
    one.setblocking(False)
    try:
        return bool(one.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def ready_in(port: int, trusted: ssl.SSLContext | None) -> float | None:
    """Seconds until /readyz answers 200 on a new connection; None if it does not."""
    started = time.perf_counter()
    made = (
        http.client.HTTPSConnection(HOST, port, timeout=10, context=trusted)
        if trusted
        else http.client.HTTPConnection(HOST, port, timeout=10)
    )
    with closing(made) as connection:
        try:
            connection.request("GET", "/readyz")
            ok = connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return None
    return round(time.perf_counter() - started, 3) if ok else None


@contextmanager
def attacked(handles: int, trusted: ssl.SSLContext | None = None, **settings: str) -> Iterator[Server]:
    """A server with a database of its own that may have so many file handles."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/attacked.db"
        with few_handles(url, Path(folder), handles, trusted, log_level="warning", **settings) as server:
            yield server


ATTACKS = (
    Attack("silent connections", silent),
    Attack("silent TLS handshakes", silent_handshakes),
    Attack("clients that read nothing", unread),
    Attack("many connections from one address", one_address),
)
