"""Ids in blocks: none twice, whatever threads, processes, rollbacks and restarts do."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from servers import SEAL

from ringbook import errors
from ringbook.store import db as databases
from ringbook.store.db import Database, ids

BLOCK = ids.SEQUENCES["user_ids"].block


class Undo(Exception):
    """Ends a transaction that must leave nothing."""


def drawn(db: Database, name: str = "user_ids") -> int:
    """One id, in a transaction of its own."""
    with db.write() as tx:
        return tx.next_id(name)


def stored(db: Database, name: str = "user_ids") -> int:
    """The largest id that may have been drawn."""
    with db.read() as tx:
        return tx.last_id(name)


def test_a_block_is_drawn_once_for_many_ids(db):
    assert [drawn(db) for _ in range(BLOCK)] == list(range(1, BLOCK + 1))
    assert stored(db) == BLOCK
    assert drawn(db) == BLOCK + 1
    assert stored(db) == 2 * BLOCK


def test_threads_draw_no_id_twice_and_waste_none(db):
    """On PostgreSQL several of them draw blocks at once; what is left of these comes later."""

    def five(_: int) -> list[int]:
        return [drawn(db) for _ in range(5)]

    with ThreadPoolExecutor(8) as threads:
        found = [one for some in threads.map(five, range(3 * BLOCK // 5)) for one in some]
    found += [drawn(db) for _ in range(stored(db) - len(found))]
    assert sorted(found) == list(range(1, len(found) + 1))


def test_several_ids_at_once_come_from_as_many_blocks_as_needed(db):
    with db.write() as tx:
        assert tx.next_ids("user_ids", 0) == []
        found = tx.next_ids("user_ids", 3) + tx.next_ids("user_ids", 5 * BLOCK) + tx.next_ids("user_ids", 2)
    assert len(set(found)) == len(found) == 5 * BLOCK + 5


def test_a_restart_wastes_at_most_one_block(database_url):
    for expected in (1, BLOCK + 1, 2 * BLOCK + 1):
        with closing(databases.connect(database_url, seal=SEAL)) as db:
            assert drawn(db) == expected


def test_the_ids_of_a_transaction_that_was_undone_are_given_to_nobody_else_at_once(db):
    """Ids that were drawn while it ran are no longer handed out: on SQLite the block was undone with it."""
    for _ in range(3):
        with pytest.raises(Undo), db.write() as tx:
            tx.next_ids("user_ids", BLOCK // 2)
            raise Undo
        assert drawn(db) <= stored(db)
    found = [drawn(db) for _ in range(3 * BLOCK)]
    assert len(set(found)) == len(found) and max(found) <= stored(db)


def test_two_processes_use_blocks_of_their_own(database_url):
    with (
        closing(databases.connect(database_url, seal=SEAL)) as one,
        closing(databases.connect(database_url, seal=SEAL)) as other,
    ):
        found = [drawn(db) for _ in range(BLOCK + 5) for db in (one, other)]
    assert len(set(found)) == len(found)


def test_a_forked_process_begins_with_a_block_of_its_own():
    blocks = ids.Blocks()
    blocks.add("user_ids", range(1, 101))
    assert blocks.take("user_ids", 2) == [1, 2]
    receiving, sending = multiprocessing.Pipe(duplex=False)
    if not (child := os.fork()):
        sending.send(blocks.take("user_ids", 1))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert receiving.recv() == []
    assert blocks.take("user_ids", 1) == [3]


def test_what_is_reserved_is_drawn_by_nobody_later(db, database_url):
    with closing(databases.connect(database_url, seal=SEAL)) as other:
        before = drawn(other)
        with db.write() as tx:
            tx.reserve_ids("user_ids", 5_000)
        assert drawn(db) == 5_001
        assert drawn(other) == before + 1  # of a block that was drawn earlier
        with other.write() as tx:
            assert tx.next_id("user_ids", fresh=True) > 5_000
    with db.write() as tx:
        tx.reserve_ids("user_ids", 10)
    assert drawn(db) > 5_000


@pytest.mark.parametrize("name", ["user_ids", "subscription_ids", "application_ids"])
def test_the_last_ids_are_given_and_then_there_are_none(db, name):
    with db.write() as tx:
        tx.reserve_ids(name, 2**31 - 3)
    assert [drawn(db, name) for _ in range(2)] == [2**31 - 2, 2**31 - 1]
    with pytest.raises(errors.Unavailable, match="There are no ids left"):
        drawn(db, name)


@pytest.mark.parametrize("name", ["session_ids", "event_ids"])
def test_ids_of_sessions_and_events_begin_again_below_two_to_the_31(db, name):
    with db.write() as tx:
        tx.reserve_ids(name, 2**31 - 1 - ids.SEQUENCES[name].block)
    found = [drawn(db, name) for _ in range(ids.SEQUENCES[name].block + 2)]
    assert found[-3:] == [2**31 - 1, 1, 2]


@pytest.mark.parametrize("name", ["push_ids", "joined_ids", "audit_ids"])
def test_internal_ids_use_63_bits(db, name):
    with db.write() as tx:
        tx.reserve_ids(name, 2**40)
    assert drawn(db, name) == 2**40 + 1


def test_every_sequence_has_a_row(db):
    with db.read() as tx:
        assert {name for (name,) in tx.tuples("SELECT name FROM sequences")} == set(ids.SEQUENCES)


def test_a_draw_needs_no_second_connection_of_the_pool(database_url):
    """All connections of the pool are in transactions that need ids: none may wait for another one to end."""
    with closing(databases.connect(database_url, pool=2, seal=SEAL)) as db, ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: drawn_many(db), range(8)))) == 8


def drawn_many(db: Database) -> int:
    with db.write() as tx:
        return tx.next_ids("user_ids", BLOCK)[0]
