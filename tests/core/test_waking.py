"""The courier is woken when something was committed for it, and sees what other processes have written."""

import pytest
from core.joining import ANN, Play

from ringbook.core import announcing, delivery, test_push, waking
from ringbook.core.audit import Actor
from ringbook.core.waking import Work


@pytest.fixture
def play(db):
    return Play(db)


@pytest.fixture
def woken(db):
    found: list[Work] = []
    end = waking.on_work(db, found.append)
    yield found
    end()


def befriended(play: Play) -> int:
    bob = play.person("bob")
    play.holds(bob.id, (ANN, "Ann"))
    play.device(bob.id, "fcm-token-of-bob")
    return bob.id


def test_a_sign_up_wakes_and_so_do_the_pushes_about_it(play, woken):
    befriended(play)
    assert woken == []
    play.person("ann", ANN)
    assert woken == [Work.FACTS]
    assert waking.waiting(play.db, play.now) == [Work.FACTS]
    announcing.expand(play.db, play.now)
    assert woken == [Work.FACTS, Work.PUSHES]
    assert waking.waiting(play.db, play.now) == [Work.PUSHES]
    delivery.claim(play.db, play.now, 10)
    assert waking.waiting(play.db, play.now) == []
    assert waking.waiting(play.db, play.now + delivery.LEASE_SECONDS) == [Work.PUSHES]


def test_a_test_push_wakes(play, woken):
    bob = befriended(play)
    test_push.send(play.db, play.app, bob, Actor(admin="admin@example.org", address="192.0.2.1", at=play.now))
    assert woken == [Work.PUSHES]


def test_what_is_not_committed_wakes_nobody(play, woken):
    with pytest.raises(ArithmeticError), play.db.write() as tx:
        waking.facts_added(tx)
        raise ArithmeticError
    assert woken == []


def test_nobody_is_woken_after_the_end(play):
    found: list[Work] = []
    waking.on_work(play.db, found.append)()
    play.person("ann", ANN)
    assert found == []
