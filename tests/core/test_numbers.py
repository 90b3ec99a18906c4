"""Ownership of phone numbers, and numbers that an admin gives back. On both databases."""

from contextlib import closing

import pytest
import structlog
from sealed import subscription
from servers import SEAL, Databases

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, discovery, numbers, proofs, sessions, subscriptions, users
from ringbook.model import App, Caller, Entry
from ringbook.store import db as store
from ringbook.store import proofs as proof_store
from ringbook.store import subscriptions as subscription_store
from ringbook.store import users as user_store

NOW = 1_800_000_000
DAY = 86400
LIMITS = Limits()
ADDRESS = "192.0.2.1"
ANN, BOB = "+12025550101", "+447700900123"
LATER = NOW + 400 * DAY


@pytest.fixture
def app(db: store.Database) -> App:
    return applications.create(db, "test", NOW)


def sign_in_by_phone(db: store.Database, app: App, phone: str, now: int = NOW) -> int:
    """A user who verifies a number and signs in."""
    user_id = proofs.by_phone(db, LIMITS, app, phone, ADDRESS, now)
    sessions.open_verified(db, app, user_id, ts=now, nonce=0, now=now)
    return user_id


def typed(db: store.Database, app: App, login: str, phone: str) -> int:
    fields: users.Fields = {"login": login, "password": "correct-horse", "phone": phone}
    return users.sign_up(db, LIMITS, app, fields, ADDRESS, NOW).id


def phone_of(db: store.Database, app: App, user_id: int) -> str | None:
    with db.read() as tx:
        user = user_store.by_id(tx, app.id, user_id)
    assert user
    return user.phone


def recycled(db: store.Database, app: App) -> tuple[int, int]:
    """The account that had Ann's number, and the account that has it now."""
    old, new = sign_in_by_phone(db, app, ANN), sign_in_by_phone(db, app, ANN, LATER)
    assert old != new
    return old, new


def with_subscription(db: store.Database, app: App, user_id: int) -> None:
    with db.write() as tx:
        subscription_store.insert(tx, app.id, subscription(user_id, "not-a-real-token"), NOW)


def test_a_recycled_number_goes_back_to_the_old_account_and_counts_as_verified(db, app):
    old, new = recycled(db, app)
    assert numbers.give(db, app, old, "+1 (202) 555-0101", LATER) == [new]
    assert (phone_of(db, app, old), phone_of(db, app, new)) == ("+1 (202) 555-0101", None)
    with db.read() as tx:
        assert proof_store.verified_of(tx, old) == 12025550101
        assert proof_store.verified_of(tx, new) is None


def test_whoever_proves_it_next_enters_the_account_it_was_given_to(db, app):
    """However long the account was inactive: the day when the number was given counts as a use."""
    old, _ = recycled(db, app)
    numbers.give(db, app, old, ANN, LATER)
    assert sign_in_by_phone(db, app, ANN, LATER + 180 * DAY) == old
    numbers.give(db, app, old, ANN, LATER)
    assert sign_in_by_phone(db, app, ANN, LATER + 361 * DAY) != old


def test_the_account_it_was_given_to_is_found_and_the_other_is_not(db, app):
    old, new = recycled(db, app)
    friend = Caller(
        app=applications.get(db, app.id), user_id=sign_in_by_phone(db, app, BOB), is_guest=False, address=ADDRESS
    )
    discovery.upload(db, LIMITS, friend, [Entry(ANN, "Ann")], now=NOW)
    assert [found.user.id for found in discovery.registered(db, friend, now=NOW)] == [new]
    numbers.give(db, app, old, ANN, LATER)
    assert [found.user.id for found in discovery.registered(db, friend, now=NOW)] == [old]


def test_who_had_verified_it_loses_sessions_and_subscriptions_and_who_had_typed_it_does_not(db, app):
    old, new = recycled(db, app)
    other = typed(db, app, "other", ANN)
    opened = {
        one: sessions.open_verified(db, app, one, ts=LATER, nonce=0, now=LATER).token for one in (old, new, other)
    }
    for one in (old, new, other):
        with_subscription(db, app, one)
    assert sorted(numbers.give(db, app, old, ANN, LATER)) == sorted([new, other])
    left = {one for one, token in opened.items() if sessions.current(db, token, LATER)}
    assert left == {old, other}
    assert {one for one in (old, new, other) if subscriptions.of_user(db, one)} == {old, other}


def test_a_number_that_the_user_had_before_is_let_go(db, app):
    ann = sign_in_by_phone(db, app, ANN)
    assert numbers.give(db, app, ann, BOB, NOW) == []
    assert numbers.holders(db, app, ANN) == []
    assert numbers.holders(db, app, BOB) == [ann]


def test_given_twice_it_is_as_given_once(db, app):
    old, new = recycled(db, app)
    assert numbers.give(db, app, old, ANN, LATER) == [new]
    assert numbers.give(db, app, old, ANN, LATER) == []
    assert numbers.holders(db, app, ANN) == [old]


def test_guests_strangers_and_what_is_no_number_are_refused_and_change_nothing(db, app):
    ann = sign_in_by_phone(db, app, ANN)
    guest = users.guest(db, LIMITS, app, "Guest", ADDRESS, NOW).id
    elsewhere = applications.create(db, "elsewhere", NOW)
    for where, user_id, phone, refusal in [
        (app, guest, ANN, errors.Forbidden),
        (app, 999, ANN, errors.NotFound),
        (elsewhere, ann, BOB, errors.NotFound),
        (app, ann, "12", errors.Invalid),
        (app, ann, "", errors.Invalid),
    ]:
        with pytest.raises(refusal):
            numbers.give(db, where, user_id, phone, NOW)
    assert (numbers.holders(db, app, ANN), phone_of(db, app, ann)) == ([ann], ANN)


def test_the_log_names_who_lost_a_number_to_whom_and_masks_it(db, app):
    with structlog.testing.capture_logs() as lines:
        old, new = recycled(db, app)
        numbers.give(db, app, old, ANN, LATER)
    told = {"event": "number passed on", "log_level": "info", "app": app.id, "number": "…01"}
    assert lines == [told | {"user": new, "former": old}, told | {"user": old, "former": new}]


@pytest.mark.parametrize("times", [1, 100])
def test_who_comes_to_have_the_number_while_we_wait_is_looked_at_too(databases: Databases, monkeypatch, times):
    """PostgreSQL, where another user types the number between reading and locking it; on SQLite it cannot."""
    wait, left = proof_store.wait_for_imports, list(range(times))
    with databases.fresh("postgresql") as url, closing(store.connect(url, seal=SEAL)) as db:
        app = applications.create(db, "test", NOW)
        ann = sign_in_by_phone(db, app, BOB)

        def waited(tx: store.Tx, user_ids: list[int]) -> None:
            wait(tx, user_ids)
            if left:
                typed(db, app, f"squatter{left.pop()}", ANN)

        monkeypatch.setattr(numbers.proofs, "wait_for_imports", waited)
        if times == 1:
            former = numbers.give(db, app, ann, ANN, NOW)
            assert (len(former), numbers.holders(db, app, ANN)) == (1, [ann])
        else:
            with pytest.raises(errors.Unavailable):
                numbers.give(db, app, ann, ANN, NOW)
            assert ann not in numbers.holders(db, app, ANN)
