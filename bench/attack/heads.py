"""Attacks with request heads: 48 MiB that never become a request; and the cost of the limits for normal requests.

The server runs with its defaults. During the attacks `/healthz` is requested on other connections.
"""

import http.client
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import machine
import served
from attack import Attack, Figure
from processes import free_port

MEBIBYTE = 2**20
FLOOD_BYTES = 48 * MEBIBYTE
PART_BYTES = 64 * 1024
MOST_SLOWER_SECONDS, MOST_GROWN = 0.1, 16 * MEBIBYTE
ASKED = 200
GETS, ROUNDS = 1_000, 25
HOST = "127.0.0.1"


def url() -> list[Figure]:
    """Send the 48 MiB as one URL."""
    return flood(b"GET /", b"a" * PART_BYTES)


def value() -> list[Figure]:
    """Send the 48 MiB as the value of one header."""
    return flood(b"GET / HTTP/1.1\r\nx: ", b"a" * PART_BYTES)


def headers() -> list[Figure]:
    """Send headers without end."""
    return flood(b"GET / HTTP/1.1\r\n", b"a: b\r\n" * (PART_BYTES // 6))


def trailers() -> list[Figure]:
    """Send trailers without end; the application may answer before the limit is reached."""
    start = b"POST /none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    return flood(start, b"a: b\r\n" * (PART_BYTES // 6), ("404", "431"))


def flood(start: bytes, part: bytes, answers: tuple[str, ...] = ("431",)) -> list[Figure]:
    """Send a head of 48 MiB for as long as the server reads it; `answers` are the expected statuses."""
    with server() as attacked:
        rest = max(seconds for seconds in asked(attacked.port, ASKED))
        before = now_resident(attacked.pid)
        during = Sampler(attacked)
        sent, status = send(attacked.port, start, part)
        time.sleep(0.5)
        slowest, highest = during.end()
    slower, grown = slowest - rest, highest - before
    return [
        Figure("answer", status, " or ".join(answers), status in answers),
        Figure("sent before the end, MiB", f"{sent / MEBIBYTE:.1f}", "–", True),
        Figure(
            "/healthz, slowest, slower by s",
            f"{slower:.3f}",
            f"≤ {MOST_SLOWER_SECONDS}",
            slower <= MOST_SLOWER_SECONDS,
        ),
        Figure("memory, higher by MiB", f"{grown / MEBIBYTE:.1f}", f"≤ {MOST_GROWN // MEBIBYTE}", grown <= MOST_GROWN),
    ]


def send(port: int, start: bytes, part: bytes) -> tuple[int, str]:
    """The number of bytes that the server read, and the status of its response."""
    sent = 0
    answer = b""
    with socket.create_connection((HOST, port), timeout=30) as one:
        with suppress(OSError):
            one.sendall(start)
            while sent < FLOOD_BYTES:
                one.sendall(part)
                sent += len(part)
        with suppress(OSError):
            answer = one.recv(65536)
    return sent, answer[9:12].decode() or "none"


class Sampler:
    """Requests /healthz and measures the server's memory until it is stopped."""

    def __init__(self, attacked: served.Served) -> None:
        self._attacked = attacked
        self._stop = threading.Event()
        self._slowest, self._highest = 0.0, 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._slowest = max(self._slowest, *asked(self._attacked.port, 1), 0)
            self._highest = max(self._highest, now_resident(self._attacked.pid))

    def end(self) -> tuple[float, int]:
        """End the thread; the slowest response in seconds, and the highest memory in bytes."""
        self._stop.set()
        self._thread.join()
        return self._slowest, self._highest


def asked(port: int, times: int) -> list[float]:
    """The seconds of so many GET /healthz, one after the other on one connection."""
    seconds = []
    with closing(http.client.HTTPConnection(HOST, port, timeout=60)) as connection:
        for _ in range(times):
            started = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            seconds.append(time.perf_counter() - started)
    return seconds


def now_resident(pid: int) -> int:
    """A process's memory, in bytes."""
    seen = machine.resident(pid)
    return seen[0] if seen else 0


@contextmanager
def server(**settings: str) -> Iterator[served.Served]:
    """A server on SQLite with its defaults, without a log line for each request."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/attacked.db"
        with served.serve(url, Path(folder), LOG_LEVEL="warning", **settings) as running:
            yield running


# ── what the bounds cost ─────────────────────────────────────────────────────────────────────────────────────────────

TOY = """
import asyncio, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from ringbook.config import Config
from ringbook.server import http

async def home(_request):
    return PlainTextResponse("ok")

app = Starlette(routes=[Route("/", home)])
given = {"interface": "asgi3", "lifespan": "off", "ws": "none", "log_config": None, "access_log": False}
if sys.argv[1] == "plain":
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", server_header=False, **given))
else:
    server = http.Server(http.ServerConfig(Config(), app, server_header=False, **given))
from ringbook.server.sockets import listen
server.run([listen("127.0.0.1", int(sys.argv[2]))])
"""


def cost() -> list[Figure]:
    """Processor time of a GET to a bare application, alternating between uvicorn's protocol and ours."""
    seen: dict[str, list[float]] = {"plain": [], "ours": []}
    opened: dict[str, list[float]] = {"plain": [], "ours": []}
    with toy("plain") as plain, toy("ours") as ours:
        sides = {"plain": plain, "ours": ours}
        for _ in range(ROUNDS):
            for name, (port, pid) in sides.items():
                seen[name].append(per_call(pid, GETS, lambda port=port: kept_alive(port)))
                opened[name].append(per_call(pid, GETS // 10, lambda port=port: one_each(port)))
    # The minimum is the cost of the work; other programs on the machine only add time.
    gets = {name: min(values) for name, values in seen.items()}
    connections = {name: min(values) for name, values in opened.items()}
    return [
        *(Figure(f"a GET, {name}, µs", f"{gets[name]:.1f}", "–", True) for name in sides),
        ratio("a GET, ours : plain", gets, 1.2),
        *(Figure(f"a connection with one GET, {name}, µs", f"{connections[name]:.0f}", "–", True) for name in sides),
        ratio("a connection with one GET, ours : plain", connections, 2),
    ]


def ratio(what: str, found: dict[str, float], most: float) -> Figure:
    """The cost of our protocol in relation to uvicorn's."""
    times = found["ours"] / found["plain"]
    return Figure(what, f"{times:.2f}", f"≤ {most}", times <= most)


def per_call(pid: int, count: int, call: Callable[[], int]) -> float:
    """Microseconds of the server's processor time for each request of `call`."""
    before = machine.cpu_seconds(pid)
    done = call()
    return (machine.cpu_seconds(pid) - before) / done * 1e6


def kept_alive(port: int) -> int:
    """Send requests one after the other on one connection."""
    with socket.create_connection((HOST, port)) as one:
        for _ in range(GETS):
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
            while not one.recv(4096).endswith(b"ok"):
                pass
    return GETS


def one_each(port: int) -> int:
    """Send each request on its own connection."""
    for _ in range(GETS // 10):
        with socket.create_connection((HOST, port)) as one:
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while one.recv(4096):
                pass
    return GETS // 10


@contextmanager
def toy(kind: str) -> Iterator[tuple[int, int]]:
    """A bare application: its port and its process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", TOY, kind, str(port)])
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                kept = asked(port, 1)
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        assert kept
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(20)


ATTACKS = (
    Attack("48 MiB as one URL", url),
    Attack("48 MiB as one header", value),
    Attack("48 MiB of `a: b` lines", headers),
    Attack("48 MiB of trailers", trailers),
    Attack("what the bounds cost", cost),
)
