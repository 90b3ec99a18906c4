"""Statements without an answer: a frozen PostgreSQL, a statement that takes too long, and a node that died."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from urllib.parse import urlsplit

import psycopg
import pytest
from servers import SEAL, Databases, Stoppable, eventually, frozen

from ringbook import errors
from ringbook.store import sessions
from ringbook.store.db import Database, connect

SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active'"
    " AND pid <> pg_backend_pid()"
)


@pytest.fixture
def hasty(stoppable: Stoppable) -> Iterator[Database]:
    """A database that waits one second for the answer to a statement."""
    with closing(connect(stoppable.url, seal=SEAL, seconds=1)) as db:
        yield db


def backend(db: Database) -> int:
    with db.read() as tx:
        return int(tx.tuples("SELECT pg_backend_pid()")[0][0])


def given_up(db: Database) -> str:
    """Why a statement was given up."""
    with pytest.raises(errors.Unavailable) as refused, db.read() as tx:
        tx.tuples("SELECT 1")
    return refused.value.explained()


def test_a_statement_of_a_frozen_process_is_given_up_and_others_succeed_meanwhile(hasty: Database):
    with ExitStack() as until:
        with pytest.raises(errors.Unavailable) as refused, hasty.read() as tx:
            (pid,) = tx.tuples("SELECT pg_backend_pid()")[0]
            until.enter_context(frozen(pid))
            tx.tuples("SELECT 1")
        assert "RINGBOOK_DATABASE_SECONDS" in refused.value.explained()
        with hasty.write() as tx:
            assert sessions.remember_signature(tx, 1, "a signature", 2_000_000_000)


def test_while_the_whole_server_is_frozen_everything_is_refused_and_afterwards_it_succeeds(
    stoppable: Stoppable, hasty: Database
):
    assert backend(hasty)
    with stoppable.frozen():
        assert "RINGBOOK_DATABASE_SECONDS" in given_up(hasty)
        assert given_up(hasty)
        with pytest.raises(errors.Unavailable):
            hasty.probe()
    eventually(lambda: answers(hasty), "it never answers again")


def answers(db: Database) -> bool:
    with suppress(errors.Unavailable):
        return bool(backend(db))
    return False


def test_a_transaction_that_is_given_up_changes_nothing(hasty: Database):
    with pytest.raises(errors.Unavailable), hasty.write() as tx:
        assert sessions.remember_signature(tx, 1, "a signature", 2_000_000_000)
        tx.tuples("SELECT pg_sleep(600)")
    with hasty.write() as tx:
        assert sessions.remember_signature(tx, 1, "a signature", 2_000_000_000)


def test_a_statement_that_takes_too_long_ends_in_the_server_too(stoppable: Stoppable, hasty: Database):
    with pytest.raises(errors.Unavailable), hasty.read() as tx:
        tx.tuples("SELECT pg_sleep(600)")
    with psycopg.connect(stoppable.url, autocommit=True) as other:
        eventually(lambda: other.execute(SLEEPING).fetchone() == (0,), "the statement still runs")


def test_a_search_that_has_its_own_limit_keeps_its_own_refusal(hasty: Database):
    with pytest.raises(errors.TooSlow), hasty.read(seconds=0.1) as tx:
        tx.tuples("SELECT pg_sleep(600)")


def test_without_a_limit_a_statement_takes_its_time(stoppable: Stoppable):
    with closing(connect(stoppable.url, seal=SEAL)) as db, db.read() as tx:
        assert tx.tuples("SELECT 7 FROM pg_sleep(1.5)") == [(7,)]


def test_a_node_that_dies_within_a_transaction_makes_the_database_unavailable(databases: Databases):
    """On a cluster, Citus reports it with the code of an internal error."""
    dies = (
        "DO $$ BEGIN RAISE EXCEPTION 'failure on connection marked as essential: 192.0.2.1:5432'"
        " USING ERRCODE = 'XX000'; END $$"
    )
    with databases.fresh("plain") as url, closing(connect(url, seal=SEAL)) as db:
        with pytest.raises(errors.Unavailable) as refused, db.write() as tx:
            tx.run(dies)
        assert "node of the database cluster" in refused.value.explained()
        assert backend(db)


# ── a pooler answers twice ───────────────────────────────────────────────────────────────────────────────────────────

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"


def end_while_asked(direct: str) -> threading.Timer:
    """The server ends its connections to a database half a second from now. Until then it reads nothing from them."""
    with psycopg.connect(direct) as connection:
        own = connection.info.backend_pid
        pids = [pid for (pid,) in connection.execute(BACKENDS).fetchall() if pid != own]
    frozen_until = ExitStack()
    frozen_until.enter_context(frozen(*pids))

    def end() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        frozen_until.close()

    ending = threading.Timer(0.5, end)
    ending.start()
    return ending


@pytest.mark.parametrize("seconds", [0, 30])
@pytest.mark.parametrize("moment", ["begin", "commit"])
def test_behind_a_pooler_a_server_that_stops_is_a_database_that_is_away(
    databases: Databases, moment: str, seconds: int
):
    with databases.fresh("pgbouncer") as url, closing(connect(url, pool=1, seal=SEAL, seconds=seconds)) as db:
        direct = urlsplit(url)._replace(netloc=urlsplit(databases.postgresql.url).netloc).geturl()
        with db.write() as tx:
            assert sessions.remember_signature(tx, 1, "before", 2_000_000_000)
        ending = end_while_asked(direct) if moment == "begin" else None
        with pytest.raises(errors.Unavailable), db.write() as tx:
            assert sessions.remember_signature(tx, 1, "a signature", 2_000_000_000)
            ending = end_while_asked(direct)
        assert ending
        ending.join()
        eventually(lambda: answers(db), "it never answers again")
