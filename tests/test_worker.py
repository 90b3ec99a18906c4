"""What is due gets done: batch by batch, and one part's trouble is not the others'."""

import threading

import pytest

from ringbook import worker
from ringbook.config import Limits
from ringbook.core import sessions
from ringbook.store import db as store


@pytest.fixture
def parts(monkeypatch):
    """No parts but those that the test puts in."""
    empty: dict[str, object] = {}
    monkeypatch.setattr(worker, "PARTS", empty)
    return empty


def test_a_part_is_called_until_a_batch_finds_nothing(parts):
    batches = [500, 500, 3, 0, 9]
    parts["counted"] = lambda db, now: batches.pop(0)
    worker.turn(None, 0, threading.Event())
    assert batches == [9]


def test_a_part_that_fails_does_not_keep_the_others_from_their_turn(parts):
    done = []

    def failing(db, now):
        raise OSError("away")

    def counted(db, now):
        done.append(now)
        return 0

    parts["failing"], parts["counted"] = failing, counted
    worker.turn(None, 7, threading.Event())
    assert done == [7]


def test_a_stop_is_heard_between_two_batches(parts):
    stop, batches = threading.Event(), []

    def endless(db, now):
        batches.append(1)
        stop.set()
        return 500

    parts["endless"] = endless
    worker.turn(None, 0, stop)
    assert batches == [1]


def test_a_turn_takes_expired_sessions_away(db: store.Database):
    from ringbook.core import applications

    app = applications.create(db, "Friends", 1_000)
    sessions.open_application(db, Limits(), app, "192.0.2.9", ts=0, nonce=0, now=1_000)
    latest = sessions.open_application(db, Limits(), app, "192.0.2.9", ts=0, nonce=0, now=9_000)
    worker.turn(db, 1_000 + sessions.LIFE_SECONDS + 1, threading.Event())
    with db.read() as tx:
        assert tx.all("SELECT id FROM sessions") == [{"id": latest.session.id}]
