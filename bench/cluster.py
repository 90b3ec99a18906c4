"""Measure a Citus cluster beside one PostgreSQL server: processor time of all their processes, by operation.

    python bench/cluster.py --plain URL --cluster URL        writes bench/results/
    … --rounds 20 --people 50000                             more of them
    … --sign-ups 8                                           and sign-ups a second with so many clients

Both databases are empty and not migrated, on servers of this machine, with the same settings. The URL of the cluster
names every node with load_balance_hosts=random; a Python process keeps its connections, so each round opens them anew
and enters at another node. The sides take turns within a round. Wall-clock times are shown as ratios only.

Processor time is that of each server's processes, from /proc. The throughput of N nodes that is computed from it
assumes that the nodes share the work evenly: it is 1 / (processor time of all nodes / N).
"""

import argparse
import os
import secrets
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
import msgspec
import psycopg
from keyed import SEAL, migrate
from report import pipes
from world import Steps, World

from ringbook import __version__
from ringbook.config import Limits
from ringbook.core import applications, discovery, imports, sessions, users
from ringbook.core.import_lines import Line
from ringbook.core.profile import columns
from ringbook.model import Caller, Entry
from ringbook.store import cluster
from ringbook.store import db as databases
from ringbook.store import users as user_store
from ringbook.store.db import Database

RESULTS = Path(__file__).with_name("results")
NO_LIMITS = Limits(
    permits=0,
    address_permits_per_day=0,
    network_permits_per_day=0,
    app_permits_per_day=10**12,
    new_accounts_per_hour=0,
    new_sessions_per_hour=0,
    network_sessions_per_hour=0,
)
BOOK, WARM = 1_000, 3
PLAIN, CLUSTER = "plain", "cluster"
TICK = os.sysconf("SC_CLK_TCK")
SIGN_UP_SECONDS = 5
HEAD = ("operation", "CPU ms plain", "CPU ms cluster", "CPU ratio", "coordinator", "nodes", "wall ratio")


class Side:
    """One of the two databases, with the same people."""

    def __init__(self, url: str, people: int, shards: int) -> None:
        self.url = url
        self.servers = postmasters(url)
        if len(self.servers) > 1:
            from ringbook.store import migrations

            migrations.migrate(url)
            cluster.distribute(url, shards)
        migrate(url)
        self.now = int(time.time())
        self.world = World(people)
        with self.entered() as db:
            self.app = applications.create(db, "cluster", self.now)
            self._people(db, people)

    def entered(self) -> "closing[Database]":
        """The database with new connections, so at any node."""
        return closing(databases.connect(self.url, seal=SEAL, pool=1))

    def _people(self, db: Database, people: int) -> None:
        said = (
            {"id": n, "login": f"user{n}", "phone": str(self.world.number_of(n)), "verified": "true"}
            for n in range(1, people + 1)
        )
        lines = [Line(number, values) for number, values in enumerate(said, 1)]
        imports.import_users(db, self.app, lines, now=self.now)

    def analyzed(self) -> None:
        """Statistics are as autovacuum would make them."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ANALYZE")


# ── processor time ───────────────────────────────────────────────────────────────────────────────────────────────────


def postmasters(url: str) -> list[int]:
    """The first process of each server behind an address, the coordinator first."""
    one = databases.at_coordinator(url)
    with psycopg.connect(one) as connection:
        places = connection.execute(
            "SELECT nodename, nodeport FROM pg_dist_node WHERE isactive ORDER BY groupid"
            if connection.execute("SELECT to_regclass('pg_dist_node')").fetchone()[0]
            else "SELECT NULL, NULL"
        ).fetchall()
    return [postmaster(one, host, port) for host, port in places]


def postmaster(url: str, host: str | None, port: int | None) -> int:
    place = {} if host is None else {"host": host, "port": port}
    with psycopg.connect(url, **place) as connection:
        return parent(connection.info.backend_pid)


def parent(pid: int) -> int:
    return int(stat(pid)[1])


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def cpu_ms(server: int) -> float:
    """The processor time of a server's processes, also of those that have ended."""
    fields = stat(server)
    ended = sum(int(fields[place]) for place in (11, 12, 13, 14)) * 1000 / TICK
    return ended + sum(machine.cpu_seconds(pid) * 1000 for pid in children(server))


def children(server: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]


# ── operations ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Round:
    """One owner's book on one side."""

    side: Side
    db: Database
    owner: int
    book: list[Entry]
    session: str = ""

    @property
    def caller(self) -> Caller:
        return Caller(app=self.side.app, user_id=self.owner, is_guest=False, address="192.0.2.1")

    def upload(self) -> None:
        discovery.upload(self.db, NO_LIMITS, self.caller, self.book, now=self.side.now)

    def one_more(self) -> None:
        more = [Entry(phone="999777000001", name="One More")]
        discovery.upload(self.db, NO_LIMITS, self.caller, more, now=self.side.now)

    def registered(self) -> None:
        assert len(discovery.registered(self.db, self.caller, now=self.side.now)) >= BOOK / 10

    def registered_phones(self) -> None:
        assert len(discovery.registered_phones(self.db, self.caller, now=self.side.now)) >= BOOK / 10

    def retrieve(self) -> None:
        assert len(discovery.retrieve(self.db, self.caller)) == BOOK + 1

    def sign_up(self) -> None:
        fields = columns({"login": secrets.token_hex(8), "phone": str(9_990_000_000_000 + secrets.randbelow(10**9))})
        with self.db.write() as tx:
            users.add(tx, self.side.app, fields, self.side.now)

    def open_session(self) -> None:
        with self.db.write() as tx:
            _, self.session = sessions._insert(
                tx, self.side.app, self.owner, ts=self.side.now, nonce=1, now=self.side.now
            )

    def look_up_session(self) -> None:
        assert sessions.current(self.db, self.session, self.side.now)

    def user(self) -> None:
        with self.db.read() as tx:
            assert user_store.by_id(tx, self.side.app.id, self.owner)


OPERATIONS: dict[str, Callable[[Round], None]] = {
    "upload of 1,000 new contacts": Round.upload,
    "the same upload again": Round.upload,
    "upload of 1 new contact": Round.one_more,
    "registered users among 1,000, compact": Round.registered_phones,
    "registered users among 1,000, whole": Round.registered,
    "retrieve 1,000": Round.retrieve,
    "sign-up (users, numbers)": Round.sign_up,
    "open a session": Round.open_session,
    "look up a session": Round.look_up_session,
    "user by id": Round.user,
}


@dataclass
class Samples:
    """By operation and side: processor ms of each server, and wall-clock ms."""

    cpu: dict[tuple[str, str], list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    wall: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))


def measure(sides: dict[str, Side], rounds: int) -> Samples:
    """Every operation on both sides in turns; the first rounds are not counted."""
    samples = Samples()
    for number in range(rounds + WARM):
        order = sorted(sides.items(), reverse=bool(number % 2))
        with entered_all(order, number) as entered:
            for operation, work in OPERATIONS.items():
                for name, one in entered:
                    cpu, wall = cost(one.side, lambda work=work, one=one: work(one))
                    if number >= WARM:
                        samples.cpu[operation, name].append(cpu)
                        samples.wall[operation, name].append(wall)
    return samples


class entered_all:
    """A round on each side, with connections that have been used before."""

    def __init__(self, sides: Sequence[tuple[str, Side]], number: int) -> None:
        self._entered = [(name, side, side.entered()) for name, side in sides]
        self._number = number

    def __enter__(self) -> list[tuple[str, Round]]:
        return [(name, self._round(side, opened.__enter__())) for name, side, opened in self._entered]

    def __exit__(self, *_: object) -> None:
        for _, _, opened in self._entered:
            opened.__exit__(None, None, None)

    def _round(self, side: Side, db: Database) -> Round:
        warm = Round(side, db, 2 * self._number + 1, book_of(side, 2 * self._number + 1))
        for work in OPERATIONS.values():
            work(warm)
        return Round(side, db, 2 * self._number + 2, book_of(side, 2 * self._number + 2))


def book_of(side: Side, owner: int) -> list[Entry]:
    sent = msgspec.json.decode(Steps(side.world, side.world.book(owner, BOOK)).new.body)["contacts"]
    return [Entry(phone=one["phone"], name=one["name"]) for one in sent]


def cost(side: Side, work: Callable[[], None]) -> tuple[list[float], float]:
    before, started = [cpu_ms(server) for server in side.servers], time.perf_counter()
    work()
    wall = (time.perf_counter() - started) * 1000
    time.sleep(0.01)  # what the nodes do after the answer
    return [cpu_ms(server) - spent for server, spent in zip(side.servers, before, strict=True)], wall


def sign_ups(side: Side, clients: int) -> float:
    """Sign-ups a second of so many clients at once, each with connections of its own."""
    until = time.monotonic() + SIGN_UP_SECONDS

    def run(_: int) -> int:
        with side.entered() as db:
            one, count = Round(side, db, 1, []), 0
            while time.monotonic() < until:
                one.sign_up()
                count += 1
        return count

    with ThreadPoolExecutor(clients) as threads:
        return sum(threads.map(run, range(clients))) / SIGN_UP_SECONDS


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows(samples: Samples) -> Iterator[list[str]]:
    for operation in OPERATIONS:
        plain = statistics.median(sum(cpu) for cpu in samples.cpu[operation, PLAIN])
        spread = samples.cpu[operation, CLUSTER]
        total = statistics.median(sum(cpu) for cpu in spread)
        coordinator = statistics.median(cpu[0] for cpu in spread)
        pairs = zip(samples.wall[operation, CLUSTER], samples.wall[operation, PLAIN], strict=True)
        wall = statistics.median(a / b for a, b in pairs)
        yield [
            operation,
            f"{plain:.2f}",
            f"{total:.2f}",
            f"{total / plain:.2f}",
            f"{coordinator:.2f}",
            f"{statistics.median(sum(cpu[1:]) for cpu in spread):.2f}",
            f"{wall:.2f}",
        ]


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description="Measure a Citus cluster beside one PostgreSQL server.")
    parser.add_argument("--plain", required=True)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--sign-ups", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="write no file")
    given = parser.parse_args()
    sides = {PLAIN: Side(given.plain, given.people, 0), CLUSTER: Side(given.cluster, given.people, given.shards)}
    for side in sides.values():
        side.analyzed()
    samples = measure(sides, given.rounds)
    facts = head(sides, given)
    if given.sign_ups:
        for clients in (1, given.sign_ups):
            found = {name: sign_ups(side, clients) for name, side in sides.items()}
            facts[f"sign-ups a second, {clients} clients"] = ", ".join(f"{k} {v:.0f}" for k, v in found.items())
    text = f"# A cluster beside one PostgreSQL server, {time.strftime('%Y-%m-%d', time.gmtime())}\n\n"
    text += pipes(("", ""), list(map(list, facts.items()))) + "\n" + pipes(HEAD, list(rows(samples)))
    print(text)
    if not given.quick:
        nodes = len(sides[CLUSTER].servers) - 1
        file = RESULTS / f"cluster-{nodes}-nodes.md"
        file.write_text(text)
        print(f"written to bench/results/{file.name}", file=sys.stderr)
    return 0


def head(sides: dict[str, Side], given: Any) -> dict[str, str]:
    with psycopg.connect(databases.at_coordinator(given.cluster)) as connection:
        citus = str(connection.execute("SELECT citus_version()").fetchone()[0]).split(" on ")[0]
        server = connection.execute("SHOW server_version").fetchone()[0].split()[0]
    nodes = len(sides[CLUSTER].servers) - 1
    return {
        "measured": f"Ringbook {__version__}, in one process; {given.rounds} rounds, medians",
        "cluster": f"{citus}, a coordinator and {nodes} nodes, all of them entries, {given.shards} shards",
        "plain": f"PostgreSQL {server}",
        "tables": f"{given.people:,} users, each with a number",
        **machine.facts(("psycopg",)),
        "load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included",
    }


if __name__ == "__main__":
    sys.exit(main())
