"""Attacks with searches for users: one user with many connections, and the most expensive query that is allowed.

There are 200,000 users. The figures describe one connection that reads profiles one after the other, first at rest and
then during the attack. The attack runs in its own process. The limit on searches is off, because it would end the
attack after 120 searches.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from attack import Attack, Figure
from databases import place
from keyed import migrate
from loading import load, token
from served import Served, ringbook, serve
from world import World

USERS, ATTACKER, VICTIM = 200_000, 1, 2
CONNECTIONS, SECONDS, READS = 16, 10, 400
PREFIX = f"full_name[start_with]={quote('ann example')}"
UNLIMITED = {"SEARCHES_PER_MINUTE": "0", "ADDRESS_SEARCHES_PER_MINUTE": "0"}


def excluded(field: str, count: int, prefix: str = "x") -> str:
    """A condition that excludes so many values that no user has."""
    return "&".join(f"{field}[nin][]={prefix}{n}" for n in range(count))


FLOOD = f"/users/v2?{PREFIX}&{excluded('login', 99)}"
REFUSED = f"/users/v2?{PREFIX}&{excluded('login', 1_000)}"
# As many conditions as are allowed, each of which looks at every user.
SLOWEST = f"/users/v2?{PREFIX}&" + "&".join(
    excluded(field, 10, "999") for field in ("login", "full_name", "email", "external_id", "twitter_id", "user_tags")
)


def attack(kind: str) -> list[Figure]:
    """Attack a server on one kind of database; the figures."""
    with crowded(kind) as served:
        at_rest = reads(served, READS)
        beside, statuses = flooded(served)
        slower = statistics.median(beside) / statistics.median(at_rest)
        refused, slowest = once(served, REFUSED), once(served, SLOWEST)
    return [
        Figure("GET /users/ID at rest, median ms", ms(statistics.median(at_rest)), "", True),
        Figure("GET /users/ID beside it, median ms", ms(statistics.median(beside)), "3 × at rest", slower <= 3),
        Figure("GET /users/ID beside it, p95 ms", ms(p95(beside)), "", True),
        Figure("answers to the searches", told(statuses), "some 200", statuses[200] > 0),
        Figure("a search that excludes 1,000 values", f"{refused[0]}, {ms(refused[1])} ms", "422", refused[0] == 422),
        Figure("the slowest search, ms", f"{slowest[0]}, {ms(slowest[1])}", "2,500", slowest[1] <= 2.5),
    ]


@contextmanager
def crowded(kind: str) -> Iterator[Served]:
    """A server with USERS users, two of them with sessions."""
    with tempfile.TemporaryDirectory() as name, place(kind, Path(name)) as where:
        url = where.empty()
        migrate(url)
        app = json.loads(ringbook(url, "app", "create", "bench", "--json"))
        load(url, World(USERS), app["application_id"], [], [ATTACKER, VICTIM], lambda *_: None)
        with serve(url, Path(name), "--no-worker", **UNLIMITED) as served:
            yield served


def reads(served: Served, count: int) -> list[float]:
    """The seconds of so many requests for a profile, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    taken = []
    for number in range(count):
        taken.append(asked(connection, f"/users/{1_000 + number}", VICTIM)[1])
    connection.close()
    return taken


def flooded(served: Served) -> tuple[list[float], Counter[int]]:
    """The same during CONNECTIONS connections that search without a pause, and the statuses of these."""
    command = [sys.executable, __file__, str(served.port)]
    here = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=here) as flood:
        time.sleep(2)
        beside = []
        while flood.poll() is None:
            beside += reads(served, 20)
        said, _ = flood.communicate(timeout=60)
    return beside, Counter({int(status): count for status, count in json.loads(said).items()})


def once(served: Served, path: str) -> tuple[int, float]:
    """The status and the seconds of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    found = asked(connection, path, ATTACKER)
    connection.close()
    return found


def asked(connection: http.client.HTTPConnection, path: str, user_id: int) -> tuple[int, float]:
    """Send one request on a connection; its status and seconds."""
    began = time.perf_counter()
    connection.request("GET", path, headers={"CB-Token": token(user_id)})
    answer = connection.getresponse()
    answer.read()
    return answer.status, time.perf_counter() - began


def flood(port: int) -> Counter[int]:
    """Search for SECONDS on CONNECTIONS connections; the statuses."""
    statuses: Counter[int] = Counter()
    until = time.monotonic() + SECONDS

    def searching() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < until:
            statuses[asked(connection, FLOOD, ATTACKER)[0]] += 1

    threads = [threading.Thread(target=searching) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


def ms(seconds: float) -> str:
    """Seconds as milliseconds."""
    return f"{seconds * 1000:,.1f}"


def told(statuses: Counter[int]) -> str:
    """The count of each status."""
    return ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))


ATTACKS = (
    Attack("16 connections of one user search among 200,000 (SQLite)", lambda: attack("sqlite")),
    Attack("16 connections of one user search among 200,000 (PostgreSQL)", lambda: attack("postgresql")),
)

if __name__ == "__main__":
    print(json.dumps(flood(int(sys.argv[1]))))
