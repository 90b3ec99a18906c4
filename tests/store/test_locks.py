"""Locks that a transaction holds until it ends, and of which nothing stays behind."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from servers import SEAL, SERVED, Databases

from ringbook import errors
from ringbook.store.db import Database, connect


class Undo(Exception):
    """Ends a transaction that must leave nothing."""


@pytest.fixture(params=SERVED)
def postgres(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Database]:
    """A PostgreSQL database, where several transactions write at once."""
    with databases.fresh(request.param) as url, closing(connect(url, seal=SEAL)) as db:
        yield db


def left(db: Database) -> int:
    with db.read() as tx:
        return int(tx.tuples("SELECT count(*) FROM locks")[0][0])


def locked(db: Database, what: str) -> bool:
    with db.write() as tx:
        tx.lock(what)
    return True


def test_a_lock_leaves_nothing_behind(db):
    with db.write() as tx:
        for what in ("user 1", "number 1 447700900123", "user 1"):
            tx.lock(what)
    with pytest.raises(Undo), db.write() as tx:
        tx.lock("user 1")
        raise Undo
    assert locked(db, "user 1")
    assert left(db) == 0


def test_changes_under_a_lock_take_turns(db):
    """Each reads the count before it writes, so without the lock some would read the same."""

    def add(_: int) -> None:
        with db.write() as tx:
            tx.lock("counter")
            (value,) = tx.tuples("SELECT count(*) FROM nonces")[0]
            tx.run("INSERT INTO nonces (app_id, signature, expires_at) VALUES (1, :n, 0)", n=str(value))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(40)))
    with db.read() as tx:
        assert tx.tuples("SELECT count(*) FROM nonces") == [(40,)]


def test_who_holds_a_lock_keeps_out_only_those_who_want_the_same(postgres):
    with ThreadPoolExecutor(2) as threads:
        with postgres.write() as tx:
            tx.lock("user 1")
            assert threads.submit(locked, postgres, "user 2").result(5)
            waiting = threads.submit(locked, postgres, "user 1")
            while not blocked(postgres):
                assert not waiting.done()
        assert waiting.result(5)
    assert left(postgres) == 0


def blocked(db: Database) -> bool:
    """Does a transaction wait for another one, on any node?"""
    view = "citus_stat_activity" if db.nodes() else "pg_stat_activity"
    with db.read() as tx:
        sql = f"SELECT 1 FROM {view} WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(tx.tuples(sql))


def test_a_row_that_somebody_left_is_no_obstacle(postgres):
    with postgres.write() as tx:
        tx.run("INSERT INTO locks VALUES (:name)", name=postgres.seal.lookup("lock", 0, "user 1"))
    assert locked(postgres, "user 1")


def test_of_two_who_wait_for_each_other_one_is_refused(postgres):
    held = threading.Barrier(2)

    def both(first: str, second: str) -> str:
        try:
            with postgres.write() as tx:
                tx.lock(first)
                held.wait(10)
                tx.lock(second)
        except errors.Busy:
            return "busy"
        return "done"

    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(both, *pair) for pair in (("a", "b"), ("b", "a"))]
        assert sorted(one.result(20) for one in found) == ["busy", "done"]
    assert left(postgres) == 0
