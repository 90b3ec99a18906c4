"""What a small request costs over HTTP: processor time of the serving process, beside a bare JSON answer of Starlette.

    python bench/small_served.py                        both databases
    python bench/small_served.py --beside DIR …         also the servers of other checkouts, in the same rounds
    figures(kind, …)                                    the figures of one database, for a larger benchmark

`ringbook serve` runs with its default settings and its periodic jobs. The bare answer comes from a process of its own
with the same HTTP server. Each round sends so many requests of each kind on connections that stay open; the sides take
turns. Processor time is that of the whole serving process, so the client and PostgreSQL do not count.
"""

import argparse
import re
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import machine
from databases import KINDS, place
from journeys import World
from keyed import SEAL, migrate
from processes import free_port, running, wait_until
from raw import expect
from served import environment
from timed_http import SILENT_SECONDS

from ringbook import logs
from ringbook.store import db as databases

ROUNDS, REQUESTS, WARM_UP = 40, 200, 600
BARE, SESSION, SELF, OTHER = "bare answer", "GET /session", "GET /users/ID, oneself", "GET /users/ID, another user"
MUST, AIM = 3, 2  # times the bare answer
HERE = Path(__file__).resolve().parent.parent
Costs = dict[str, list[float]]


class Side:
    """A connection that stays open, and one request that is sent on it again and again."""

    def __init__(self, pid: int, port: int, path: str, token: str = "") -> None:
        self._pid = pid
        self._port = port
        self._socket = self._connected()
        self._used = time.monotonic()
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\nUser-Agent: bench\r\n"
        self._request = (head + (f"CB-Token: {token}\r\n" if token else "") + "\r\n").encode()

    def cost(self, requests: int) -> float:
        """The processor time of the server for one request in microseconds, on average over so many."""
        if time.monotonic() - self._used > SILENT_SECONDS:  # the server closes such a connection soon
            self._socket.close()
            self._socket = self._connected()
        self._ask()
        before = machine.cpu_seconds(self._pid)
        for _ in range(requests):
            self._ask()
        self._used = time.monotonic()
        return (machine.cpu_seconds(self._pid) - before) / requests * 1e6

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=60)

    def _ask(self) -> None:
        self._socket.sendall(self._request)
        answer = b""
        while not is_whole(answer):
            part = self._socket.recv(65536)
            expect(bool(part), True, "that the connection stays open")
            answer += part
        expect(answer[9:12], b"200", f"an answer {answer[:300]!r}; its status")


def is_whole(answer: bytes) -> bool:
    """Has the answer, whose head says how long it is, arrived to its end?"""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return length is not None and len(body) >= int(length[1])


def figures(kind: str, rounds: int = ROUNDS, beside: Sequence[Path] = ()) -> dict[str, Costs]:
    """Microseconds of each round, by server (its checkout, or BARE) and by request."""
    costs: dict[str, Costs] = defaultdict(lambda: defaultdict(list))
    with sides(kind, [HERE, *beside]) as open_sides:
        for _, _, side in open_sides:
            side.cost(WARM_UP)
        for number in range(rounds):
            first = number % len(open_sides)
            for server, request, side in open_sides[first:] + open_sides[:first]:
                side.cost(10)  # the caches of the processor are warm again
                costs[server][request].append(side.cost(REQUESTS))
    return costs


@contextmanager
def sides(kind: str, checkouts: Sequence[Path]) -> Iterator[list[tuple[str, str, Side]]]:
    """What is compared: (server, request, side), in a database that all servers share on PostgreSQL."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        where = stack.enter_context(place(kind, folder))
        found = [(BARE, BARE, stack.enter_context(closing(bare(stack, folder))))]
        for checkout in checkouts:
            url = where.empty()
            token, me, other = filled(url)
            pid, port = stack.enter_context(serving(checkout, url, folder))
            for request, path in [(SESSION, "/session"), (SELF, f"/users/{me}"), (OTHER, f"/users/{other}")]:
                side = stack.enter_context(closing(Side(pid, port, path, token)))
                found.append((str(checkout), request, side))
        yield found


def filled(url: str) -> tuple[str, int, int]:
    """A database with an application and two users: the token of the first one's session, and the ids of both."""
    migrate(url)
    with closing(databases.connect(url, seal=SEAL)) as db:
        world = World(db)
        client = world.client()
        token = world.session(client, "ann")
        world.session(client, "bob")
        ids = [
            client.get(f"/users/by_login?login={login}", headers={"CB-Token": token}).json()["user"]["id"]
            for login in ("ann", "bob")
        ]
    return token, *ids


@contextmanager
def serving(checkout: Path, url: str, folder: Path) -> Iterator[tuple[int, int]]:
    """`ringbook serve` of a checkout: its process and its port."""
    port, log = free_port(), folder / "serve.log"
    command = [checkout / ".venv" / "bin" / "ringbook", "serve", "--port", port]
    with running(command, log, environment=environment(url)) as process:
        wait_until(lambda: ready(port), OSError, process, log)
        yield process.pid, port


def ready(port: int) -> None:
    """Raises OSError unless the server answers."""
    urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).read()


def bare(stack: ExitStack, folder: Path) -> Side:
    """A connection to the process with the bare answer."""
    port, log = free_port(), folder / "bare.log"
    process = stack.enter_context(running([sys.executable, __file__, "--bare", port], log))
    wait_until(lambda: ready(port), OSError, process, log)
    return Side(process.pid, port, "/healthz")


def serve_bare(port: int) -> None:
    """Serves the smallest answer that Starlette gives, on the HTTP server of `ringbook serve`."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from ringbook.config import Config
    from ringbook.server import http, sockets

    async def alive(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    application = Starlette(routes=[Route("/healthz", alive)])
    http.Server(http.server_config(Config(), application)).run([sockets.listen("127.0.0.1", port)])


def print_table(kind: str, costs: dict[str, Costs]) -> bool:
    """Prints the medians; False when a request costs more than MUST allows."""
    unit = statistics.median(costs[BARE][BARE])
    print(f"\n{kind}, processor time of the server\n\n| server | request | µs | × bare | must | aim |")
    print("| :-- | :-- | --: | --: | --: | --: |")
    print(f"| | {BARE} | {unit:.0f} | 1.0 | | |")
    held = True
    for server, of_server in costs.items():
        for request, samples in of_server.items():
            if server == BARE:
                continue
            times = statistics.median(one / other for one, other in zip(samples, costs[BARE][BARE], strict=True))
            name = "" if server == str(HERE) else Path(server).name
            print(f"| {name} | {request} | {statistics.median(samples):.0f} | {times:.2f} | {MUST} | {AIM} |")
            held &= bool(name) or times <= MUST
    return held


def main() -> int:
    """Prints the figures; 1 when a request costs more than it must."""
    parser = argparse.ArgumentParser(description="Processor time of small requests over HTTP.")
    parser.add_argument("--bare", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--database", choices=KINDS, help="only this one")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="other checkouts with a .venv")
    given = parser.parse_args()
    if given.bare:
        serve_bare(given.bare)
        return 0
    logs.start("error")
    held = [
        print_table(kind, figures(kind, given.rounds, [one.resolve() for one in given.beside]))
        for kind in ([given.database] if given.database else KINDS)
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
