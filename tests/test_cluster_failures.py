"""A node of a cluster dies or freezes, or one is added, while clients work: what fails, and that nothing is lost.

`tests/nodes.py` says what these tests need; without it they are skipped. With `-s` they print what docs/how-to/grow.md
quotes.
"""

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from asking import PASSWORD, Person, ask, open_session, person
from clusters import Cluster
from crowd import Crowd, crowd, words
from nodes import SPARE, Node, can_fail, can_grow
from servers import SEAL, Server, eventually, migrate, name_in, serve

from ringbook.store import cluster
from ringbook.store.db import connect

AWAY = "503 The database cannot be reached just now. Try again."
SECONDS = 3  # RINGBOOK_DATABASE_SECONDS
PEOPLE, SESSIONS = 12, 6  # so many that some need a node and some do not


@pytest.fixture
def nodes() -> Cluster:
    return Cluster()


@pytest.fixture
def distributed(nodes: Cluster) -> Iterator[str]:
    """A distributed database, with every node as an entry."""
    with nodes.database() as url:
        migrate(url)
        yield url


@pytest.fixture
def server(distributed: str, tmp_path: Path) -> Iterator[Server]:
    with serve(distributed, tmp_path, database_seconds=str(SECONDS)) as running:
        yield running


@dataclass
class Readers:
    """Users with several sessions each, who read their address books."""

    sessions: list[Person]
    statuses: Counter[str] = field(default_factory=Counter)
    slowest: float = 0

    def read(self) -> Counter[str]:
        """Each session reads once; the responses of this time."""
        now: Counter[str] = Counter()
        for one in self.sessions:
            started = time.monotonic()
            answer = one.ask("GET", "/address_book")
            self.slowest = max(self.slowest, time.monotonic() - started)
            now["200" if answer.status == 200 else words(answer)] += 1
        self.statuses += now
        return now


def readers(server: Server) -> Readers:
    people = [person(server) for _ in range(PEOPLE)]
    return Readers([who.signed_in_again() for who in people for _ in range(SESSIONS)])


def signs_up(server: Server) -> str:
    login = f"user-{uuid.uuid4().hex}"
    answer = open_session(server, server.app, {"login": login, "password": PASSWORD})
    return "201" if answer.status == 201 else words(answer)


def is_ready(server: Server) -> bool:
    return ask(server, "GET", "/readyz").status == 200


def suffers(server: Server, people: Crowd, reading: Readers, node: Node) -> None:
    """While a node does not answer: what needs it is refused, the rest succeeds, and /readyz names it."""
    people.sees(AWAY)
    assert signs_up(server) == AWAY
    reading.read()
    reading.read()
    assert {"200"} < reading.statuses.keys() | {AWAY} == {"200", AWAY}
    assert reading.statuses[AWAY] or not node.has_rows
    not_ready = ask(server, "GET", "/readyz")
    assert (not_ready.status, node.name in not_ready.raw.decode()) == (503, True)


def recovers(server: Server, people: Crowd, reading: Readers) -> None:
    """Afterwards everything succeeds."""
    eventually(lambda: is_ready(server), "it is never ready again")
    eventually(lambda: reading.read().keys() == {"200"}, "some books are never read again")
    people.goes_on()
    eventually(lambda: signs_up(server) == "201", "nobody signs up again")


def loses_nothing(people: Crowd) -> None:
    """Nothing that was answered with success is lost, and nothing else than AWAY was answered instead."""
    assert people.counted().lost == 0, people.told
    assert people.meanwhile.keys() <= {AWAY}
    print(people.told)


@can_fail
@pytest.mark.parametrize("place", [1, 0], ids=["node", "coordinator"])
def test_a_node_that_is_killed_costs_what_needs_it_and_nothing_that_was_answered(nodes, server, place):
    node, reading = Node(nodes, place), readers(server)
    with crowd(server, 4) as people:
        with node.killed():
            suffers(server, people, reading, node)
        told(people, reading)
        recovers(server, people, reading)
    loses_nothing(people)


@can_fail
@pytest.mark.parametrize("place", [1, 0], ids=["node", "coordinator"])
def test_a_node_that_is_frozen_holds_no_request_for_longer_than_the_setting_says(nodes, server, place):
    node, reading = Node(nodes, place), readers(server)
    with crowd(server, 4) as people:
        with node.frozen():
            suffers(server, people, reading, node)
        told(people, reading)
        recovers(server, people, reading)
    loses_nothing(people)


def told(people: Crowd, reading: Readers) -> None:
    print(f"\nmeanwhile: uploads {dict(people.meanwhile)}")
    print(f"reads: {dict(reading.statuses)}, the slowest {reading.slowest:.2f} s")


@can_grow
def test_a_node_is_added_and_removed_under_load(nodes, distributed, server):
    host, _, port = SPARE.partition(":")
    spare = Cluster(nodes.url)
    spare.nodes = [*nodes.nodes, (host, int(port))]
    name, last = name_in(distributed), len(nodes.nodes)
    spare.run(last, f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
    try:
        spare.run(last, "CREATE EXTENSION citus", name)
        with crowd(server, 4) as people:
            started = time.monotonic()
            spare.run(0, f"SELECT citus_add_node('{host}', {port})", name)
            spare.run(0, "SELECT rebalance_table_shards(shard_transfer_mode => 'force_logical')", name)
            cluster.distribute(distributed)
            print(f"\nadded and rebalanced in {time.monotonic() - started:.0f} s")
            assert shards_at(distributed, port) > 0
            people.goes_on(100)
            spare.run(0, f"SELECT citus_drain_node('{host}', {port})", name)
            spare.run(0, f"SELECT citus_remove_node('{host}', {port})", name)
            people.goes_on()
            with closing(connect(distributed, pool=1, seal=SEAL)) as db:
                assert cluster.trouble(db) == ""
        loses_nothing(people)
        assert not people.meanwhile
    finally:
        spare.run(last, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def shards_at(url: str, port: str) -> int:
    with closing(connect(url, pool=1, seal=SEAL)) as db, db.read() as tx:
        return int(tx.tuples("SELECT count(*) FROM citus_shards WHERE nodeport = :port", port=int(port))[0][0])
