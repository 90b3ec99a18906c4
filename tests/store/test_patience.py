"""Statements without an answer: a frozen PostgreSQL, a statement that takes too long, and a node that died."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

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
