"""Attacks on file handles: silent connections, silent TLS handshakes, and clients that read nothing.

Others ask for /readyz meanwhile, each time on a new connection, and must be served.
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
import trustme
from attack import Attack, Figure
from processes import free_port, running, wait_until
from served import environment

HOST = "127.0.0.1"
HANDLES, SILENT, ASKED = 300, 320, 50
UNREAD = 100
MEBIBYTE = 2**20


def silent() -> list[Figure]:
    """More silent connections than there are file handles."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), HANDLES) as (port, _):
        return served_beside(port, None)


def silent_handshakes() -> list[Figure]:
    """More silent TLS handshakes than there are file handles."""
    with tempfile.TemporaryDirectory() as folder:
        trusted, files = certificate(Path(folder))
        with server(Path(folder), HANDLES, trusted, **files) as (port, _):
            return served_beside(port, trusted)


def served_beside(port: int, trusted: ssl.SSLContext | None) -> list[Figure]:
    """What others get while the silent ones stay."""
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
    """Clients that ask for a large page as often as they are let, and read nothing."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), 4096, MAX_UNSENT_BYTES=str(32 * MEBIBYTE), ANSWER_SECONDS="2") as (port, pid),
        ExitStack() as stack,
    ):
        for _ in range(UNREAD):
            ask_and_never_read(stack, port)
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
    """Requests for 200 KB each, until the server takes no more."""
    one = stack.enter_context(socket.socket())
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect((HOST, port))
    one.settimeout(0.05)
    with suppress(OSError):
        for _ in range(30):
            one.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.001)


def connections_of(pid: int) -> int:
    """How many sockets a process holds, without those that it listens on and uses itself."""
    found = 0
    for link in list(Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(OSError):
            found += str(link.readlink()).startswith("socket:")
    return found - 3  # one listens, two wake the event loop


def one_address() -> list[Figure]:
    """3,000 connections from one address, which is not of the loopback, beside one from there."""
    address = own_address()
    if not address:
        return [Figure("this machine has no address beside the loopback", "–", "–", True)]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), 6_000, HOST="0.0.0.0") as (port, _),
        ExitStack() as stack,
    ):
        many = [stack.enter_context(socket.create_connection((address, port), timeout=20)) for _ in range(3_000)]
        time.sleep(1)
        kept = sum(is_open(one) for one in many)
        other = ready_in(port, None)
    return [
        Figure("connections kept of 3,000 from one address", str(kept), "2,500", kept == 2_500),
        Figure("another address is served within, s", f"{other}", "≤ 1", other is not None and other <= 1),
    ]


def own_address() -> str:
    """An address of this machine that is not of the loopback; "" if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("198.51.100.1", 9))  # sends nothing
            return str(one.getsockname()[0])
        except OSError:
            return ""


def is_open(one: socket.socket) -> bool:
    """Has the server left this connection open?"""
    one.setblocking(False)
    try:
        return bool(one.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def ready_in(port: int, trusted: ssl.SSLContext | None) -> float | None:
    """Seconds until /readyz has answered 200 on a new connection; None if it did not."""
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


def certificate(folder: Path) -> tuple[ssl.SSLContext, dict[str, str]]:
    """A context that trusts the server, and the server's settings."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    files = {"TLS_CERT": str(folder / "server.pem"), "TLS_KEY": str(folder / "server.pem")}
    return ssl.create_default_context(cafile=folder / "ca.pem"), files


@contextmanager
def server(
    folder: Path, handles: int, trusted: ssl.SSLContext | None = None, **settings: str
) -> Iterator[tuple[int, int]]:
    """A server that may have so many file handles: its port and its process."""
    port, log = free_port(), folder / "serve.log"
    program = Path(sys.executable).with_name("ringbook")
    command = ["sh", "-c", f"ulimit -n {handles} && exec {program} serve --port {port}"]
    its = environment(f"sqlite:///{folder}/attacked.db", LOG_LEVEL="warning", **settings)
    with running(command, log, environment=its) as process:
        wait_until(lambda: connected(port, trusted), OSError, process, log)
        yield port, process.pid


def connected(port: int, trusted: ssl.SSLContext | None) -> None:
    """OSError while the server is not ready."""
    if ready_in(port, trusted) is None:
        raise ConnectionError


ATTACKS = (
    Attack("silent connections", silent),
    Attack("silent TLS handshakes", silent_handshakes),
    Attack("clients that read nothing", unread),
    Attack("many connections from one address", one_address),
)
