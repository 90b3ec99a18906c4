"""The periodic jobs run batch by batch, and a failure of one job does not stop the others."""

import threading

import pytest
from servers import ringbook

from ringbook.config import Config, Limits
from ringbook.core import sessions
from ringbook.store import db as store
from ringbook.worker import jobs


def test_a_part_is_called_until_a_batch_finds_nothing():
    batches = [500, 500, 3, 0, 9]
    jobs.turn(None, {"counted": lambda db, now: batches.pop(0)}, 0, threading.Event())
    assert batches == [9]


def test_a_part_that_fails_does_not_keep_the_others_from_their_turn():
    done = []

    def failing(db, now):
        raise OSError("away")

    def counted(db, now):
        done.append(now)
        return 0

    jobs.turn(None, {"failing": failing, "counted": counted}, 7, threading.Event())
    assert done == [7]


def test_a_stop_is_heard_between_two_batches():
    stop, batches = threading.Event(), []

    def endless(db, now):
        batches.append(1)
        stop.set()
        return 500

    jobs.turn(None, {"endless": endless}, 0, stop)
    assert batches == [1]


def test_a_turn_takes_expired_sessions_away(db: store.Database):
    from ringbook.core import applications

    app = applications.create(db, "Friends", 1_000)
    sessions.open_application(db, Limits(), app, "192.0.2.9", ts=0, nonce=0, now=1_000)
    latest = sessions.open_application(db, Limits(), app, "192.0.2.9", ts=0, nonce=0, now=9_000)
    jobs.turn(db, jobs.parts(Config()), 1_000 + sessions.LIFE_SECONDS + 1, threading.Event())
    with db.read() as tx:
        assert tx.all("SELECT id FROM sessions") == [{"id": latest.session.id}]


@pytest.mark.parametrize(
    "revision, said",
    [
        ("0006", "has schema 0006, made before the first release of Ringbook, and cannot be upgraded"),
        ("9999", "install the newer one"),
    ],
)
def test_a_worker_does_not_begin_on_a_schema_that_it_does_not_know(db, database_url, revision, said):
    with db.write() as tx:
        tx.run("UPDATE schema_state SET revision = :is, serves_from = :is", **{"is": revision})
    with pytest.raises(RuntimeError, match=f"ended with 1: ringbook: .*{said}"):
        ringbook("worker", database_url=database_url)
