"""Attacks with request bodies that use much memory: bodies without a token, and millions of empty objects.

Each attack runs against a new `ringbook serve` on SQLite. The figure is the memory of that process.
"""

import json
import socket
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import machine
from attack import Attack, Figure
from served import NO_LIMITS, PASSWORD, Served, ringbook, serve

MEBIBYTE = 2**20
BODY = 8 * MEBIBYTE
CONNECTIONS, MOST_WITHOUT_TOKEN = 150, 32
UPLOADS, MOST_OF_UPLOADS = 16, 128
EMPTY_OBJECTS = 2_790_000
SAMPLE_SECONDS = 0.01
PATIENCE_SECONDS = 60


class Highest:
    """The largest growth of a process's memory during a block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._highest = self._now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Highest":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def mebibytes(self) -> float:
        return (self._highest - self._before) / MEBIBYTE

    def _now(self) -> int:
        seen = machine.resident(self._pid)
        return seen[0] if seen else 0

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._highest = max(self._highest, self._now())


@contextmanager
def server(**settings: str) -> Iterator[tuple[Served, str]]:
    """A server on a new SQLite file, and the URL of its database."""
    with tempfile.TemporaryDirectory(prefix="ringbook-attack-") as name:
        url = f"sqlite:///{name}/attack.db"
        with serve(url, Path(name), **NO_LIMITS, **settings) as served:
            yield served, url


def posted(port: int, path: str, headers: str, body: bytes) -> str:
    """The status of a POST whose body is sent as fast as the server reads it, or the error if there is no status."""
    head = f"POST {path} HTTP/1.1\r\nHost: attack\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        with suppress(OSError):  # the server may close it while we send
            connection.sendall(head)
            connection.sendall(body)
        try:
            answer = connection.recv(4096)
        except OSError as error:
            return type(error).__name__
    return answer[9:12].decode() or "closed"


def at_once(count: int, send: Callable[[int], str]) -> Counter[str]:
    """The count of each status."""
    with ThreadPoolExecutor(count) as threads:
        return Counter(threads.map(send, range(count)))


def without_token() -> list[Figure]:
    """150 connections each send 8 MiB to the upload route, without a token and with a wrong one."""
    figures = []
    for what, headers in (("no token", ""), ("a wrong token", "CB-Token: wrong\r\n")):
        with server() as (served, _):
            warm(served)
            with Highest(served.pid) as highest:
                seen = at_once(CONNECTIONS, lambda _, h=headers: posted(served.port, "/address_book", h, b" " * BODY))
            figures.append(memory(f"{what}: memory, MiB more", highest, MOST_WITHOUT_TOKEN))
            figures.append(Figure(f"{what}: answers", told(seen), "401 each", seen == {"401": CONNECTIONS}))
    return figures


def empty_objects() -> list[Figure]:
    """16 uploads of 2.79 million empty objects at the same time, by one user and by 16."""
    body = b'{"contacts":[' + b",".join([b"{}"] * EMPTY_OBJECTS) + b"]}"
    figures = []
    for what, users in (("one user", 1), ("16 users", UPLOADS)):
        with server() as (served, url):
            tokens = signed_up(served, url, users)
            with Highest(served.pid) as highest:
                seen = at_once(
                    UPLOADS,
                    lambda n, t=tokens: posted(served.port, "/address_book", f"CB-Token: {t[n % len(t)]}\r\n", body),
                )
            figures.append(memory(f"{what}: memory, MiB more", highest, MOST_OF_UPLOADS))
            refused = set(seen) <= {"422", "429", "503"}
            figures.append(Figure(f"{what}: answers", told(seen), "422, 429, 503", refused))
    return figures


def memory(what: str, highest: Highest, most: int) -> Figure:
    return Figure(what, f"{highest.mebibytes:.1f}", f"{most}", highest.mebibytes <= most)


def told(seen: Counter[str]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(seen.items()))


def warm(served: Served) -> None:
    """Make a first request, so that the memory of lazily loaded modules is not counted."""
    for _ in range(20):
        posted(served.port, "/address_book", "CB-Token: wrong\r\n", b"{}")
    time.sleep(0.2)


def signed_up(served: Served, url: str, users: int) -> list[str]:
    """Sign up so many users; their tokens."""
    app = json.loads(ringbook(url, "app", "show", "1", "--secrets", "--json"))
    tokens = []
    for n in range(users):
        keys = {"application_id": app["application_id"], "auth_key": app["auth_key"]}
        body = keys | {"user": {"login": f"attacker-{n}", "password": PASSWORD}}
        request = urllib.request.Request(
            f"http://127.0.0.1:{served.port}/session", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            tokens.append(json.loads(answer.read())["session"]["token"])
    return tokens


ATTACKS = (
    Attack("150 bodies of 8 MiB", without_token),
    Attack("16 uploads of 2.79 million empty objects", empty_objects),
)
