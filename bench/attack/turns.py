"""Attacks by one account with many connections, and by accounts of one address: others must get their turns.

Each attack runs against a new `ringbook serve` on SQLite, from a process of its own. The figures are those of one
connection of an honest user at another address, which takes turns between three requests: first at rest, then beside
the attack. The limits that would end an attack early are off.

* downloads     one account downloads its own book of 50,000 contacts on 60 connections (A2)
* crowd         20 accounts of one address do the same
* renames       one account renames 5,000 contacts on 60 connections (A3)
* small         one account asks for its session on 60 connections
* sign-ins      25 accounts sign in with the right password on 200 connections from one address (A7)
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from accounts import running
from attack import Attack, Figure
from served import NO_LIMITS, PASSWORD
from timed_http import SILENT_SECONDS

SECONDS, AT_REST = 8, 40
BOOK, RENAMED, CONNECTIONS, CROWD, SIGNERS, SIGN_INS = 50_000, 5_000, 60, 20, 25, 200
HOME, CAFE = "198.51.100.7", "203.0.113.9"  # of the honest user, and of the attacker
MOST_P95 = 0.5


class Client:
    """A connection that is kept alive, from an address."""

    def __init__(self, port: int, address: str) -> None:
        self._headers = {"X-Forwarded-For": address, "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._used = time.monotonic()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, float]:
        """The status, the body and the seconds of an answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if time.monotonic() - self._used > SILENT_SECONDS:  # the server closes such a connection soon
            self._connection.close()
        self._used = time.monotonic()
        began = time.perf_counter()
        try:
            self._connection.request(method, path, body, self._headers | named)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, b"", time.perf_counter() - began
        return answer.status, content, time.perf_counter() - began


def book(count: int, name: str = "C") -> bytes:
    """An upload of so many contacts."""
    contacts = [{"phone": f"+1{200 + n // 10_000}{n % 10_000:07}", "name": f"{name} {n}"} for n in range(count)]
    return json.dumps({"contacts": contacts}, separators=(",", ":")).encode()


class Side:
    """An account: its token and its address."""

    def __init__(self, port: int, keys: dict[str, Any], login: str, address: str) -> None:
        self.client, self.login = Client(port, address), login
        body = json.dumps(keys | {"user": {"login": login, "password": PASSWORD}}).encode()
        status, answer, _ = self.client.ask("POST", "/session", body)
        if status != 201:
            raise SystemExit(f"sign-in of {login}: {status} {answer[:200]!r}")
        self.token = json.loads(answer)["session"]["token"]

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, float]:
        return self.client.ask(method, path, body, CB_Token=self.token)


def attack(kind: str, most: float) -> list[Figure]:
    """Run an attack; the honest user's figures."""
    with running(**NO_LIMITS) as server:
        keys = {"application_id": server.app["application_id"], "auth_key": server.app["auth_key"]}
        port = server.port
        honest = Side(port, keys, "honest", HOME)
        honest.ask("POST", "/address_book", book(200))
        with attacking(kind, port, keys) as begin:
            at_rest = measured(honest, keys, lambda: None, rounds=AT_REST)
            beside = measured(honest, keys, begin)
            statuses = Counter(json.loads(begin.said()))
    figures = []
    for what, rest in at_rest.items():
        before, now = statistics.median(rest), statistics.median(beside[what])
        p95 = statistics.quantiles(beside[what], n=20)[-1]
        figures += [
            Figure(
                f"{what}: median at rest → beside, ms",
                f"{before * 1000:.1f} → {now * 1000:.1f}",
                f"× {most:g}",
                now <= most * before,
            ),
            Figure(f"{what}: p95 beside, ms", f"{p95 * 1000:.0f}", f"{MOST_P95 * 1000:.0f}", p95 <= MOST_P95),
        ]
    told = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    return [*figures, Figure("answers to the attack", told, "", bool(statuses))]


def measured(honest: Side, keys: dict[str, Any], until: Any, rounds: int = 10_000) -> dict[str, list[float]]:
    """The seconds of the honest user's requests, while the attack lasts or for so many rounds."""
    seconds: dict[str, list[float]] = {"session": [], "own book of 200": [], "small upload": [], "sign-in": []}
    sign_in = json.dumps(keys | {"user": {"login": "honest", "password": PASSWORD}}).encode()
    over = until()
    for number in range(rounds):
        if over and over():
            break
        small = json.dumps({"contacts": [{"phone": "+12025550123", "name": f"Name {number} {time.time()}"}]}).encode()
        asked: list[tuple[str, int, tuple[int, bytes, float]]] = [
            ("session", 200, honest.ask("GET", "/session")),
            ("own book of 200", 200, honest.ask("GET", "/address_book")),
            ("small upload", 200, honest.ask("POST", "/address_book", small)),
            ("sign-in", 201, honest.client.ask("POST", "/session", sign_in)),
        ]
        for what, right, (status, answer, took) in asked:
            if status != right:
                raise SystemExit(f"{what}: {status} {answer[:200]!r}")
            seconds[what].append(took)
        time.sleep(0.01)
    return seconds


class Begin:
    """Begins the attack when it is called, in a process that is ready."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self) -> Callable[[], bool]:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        time.sleep(1)
        return lambda: self._process.poll() is not None

    def said(self) -> str:
        assert self._process.stdout
        return self._process.stdout.read()


@contextmanager
def attacking(kind: str, port: int, keys: dict[str, Any]) -> Iterator[Begin]:
    """A process that has made its accounts and waits for the word."""
    command = [sys.executable, __file__, kind, str(port), json.dumps(keys)]
    here = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=here, **pipes) as process:
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the attack could not begin")
        try:
            yield Begin(process)
        finally:
            process.kill()


def main(kind: str, port: int, keys: dict[str, Any]) -> None:
    """The attack itself."""
    accounts = {"crowd": CROWD, "sign-ins": SIGNERS}.get(kind, 1)
    sides = [Side(port, keys, f"eve-{n}", CAFE) for n in range(accounts)]
    if kind in ("downloads", "crowd", "renames"):
        for side in sides:
            status, answer, _ = side.ask("POST", "/address_book", book(RENAMED if kind == "renames" else BOOK))
            if status != 200:
                raise SystemExit(f"upload: {status} {answer[:200]!r}")
    connections = SIGN_INS if kind == "sign-ins" else CONNECTIONS
    bodies = [book(RENAMED, f"R{n}") for n in range(2)]
    statuses: Counter[int] = Counter()
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + SECONDS

    def go_on(number: int) -> None:
        side = sides[number % len(sides)]
        client = Client(port, CAFE)
        sign_in = json.dumps(keys | {"user": {"login": side.login, "password": PASSWORD}}).encode()
        while time.monotonic() < until:
            number += 1
            if kind == "sign-ins":
                status = client.ask("POST", "/session", sign_in)[0]
            elif kind == "renames":
                status = client.ask("POST", "/address_book", bodies[number % 2], CB_Token=side.token)[0]
            else:
                path = "/session" if kind == "small" else "/address_book"
                status = client.ask("GET", path, CB_Token=side.token)[0]
            statuses[status] += 1

    threads = [threading.Thread(target=go_on, args=(n,), daemon=True) for n in range(connections)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        time.sleep(0.1)
    print(json.dumps(statuses), flush=True)
    with suppress(OSError):
        os._exit(0)


ATTACKS = (
    Attack("one account downloads its book of 50,000 on 60 connections", lambda: attack("downloads", 3)),
    Attack("20 accounts of one address download books of 50,000", lambda: attack("crowd", 5)),
    Attack("one account renames 5,000 contacts on 60 connections", lambda: attack("renames", 3)),
    Attack("one account asks for its session on 60 connections", lambda: attack("small", 3)),
    Attack("25 accounts sign in rightly on 200 connections", lambda: attack("sign-ins", 5)),
)

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
