"""The record of a user: it has everything that is stored about the user, and no secret of the server."""

import json
from typing import Any

import msgspec
import pytest
from core.joining import ANN as JOINER
from core.joining import BOB, Play
from sealed import entries, subscription

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, discovered, discovery, sessions, user_record, users
from ringbook.core.audit import Actor
from ringbook.core.sessions import Credentials
from ringbook.model import App, Caller, Entry
from ringbook.store import codes, subscriptions
from ringbook.store.db import Database

NOW = 1_800_000_000
LIMITS = Limits()
HERE, PASSWORD = "192.0.2.1", "correct-horse"
ANN = "+1 202 555 0101"
# What a row of the database may say that no export shows: hashes, and what only compares, counts or orders.
HIDDEN = {
    "password_hash",
    "password_mac",
    "one_time_until",
    "guest_until",
    "login_folded",
    "login_sealed",
    "login_keyed",
}
HIDDEN |= {"email_keyed", "full_name_folded", "user_tags", "app_id"}


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "Friends", NOW)


@pytest.fixture
def ann(db: Database, app: App) -> Caller:
    said: Any = {"login": "ann", "password": PASSWORD, "phone": ANN, "tag_list": ["VIP"], "website": "example.com"}
    user = users.sign_up(db, LIMITS, app, said, HERE, NOW)
    return Caller(app=app, user_id=user.id, is_guest=False, address=HERE)


def test_everything_that_hangs_on_an_account_is_in_its_export(db, app, ann):
    opened = sessions.open_user(db, LIMITS, app, Credentials("ann", "", PASSWORD), HERE, ts=NOW, nonce=0, now=NOW)
    entries = [Entry("+44 7700 900123", "Bob"), Entry("12025550102", "Carol"), Entry("+12025550103", "Dave")]
    discovery.upload(db, LIMITS, ann, entries, now=NOW)
    discovery.upload(db, LIMITS, ann, [Entry("12025550103", None, destroy=True)], now=NOW)
    discovery.upload(db, LIMITS, ann, entries[:1], device="phone-2", now=NOW)
    with db.write() as tx:
        subscriptions.insert(tx, app.id, subscription(ann.user_id, "push-token"), NOW)
        codes.put(
            tx,
            app.id,
            12025550101,
            request_id="asked-by-ann",
            typed=ANN,
            code_hash=b"h",
            now=NOW,
            expires_at=NOW + 600,
        )
        tx.run("UPDATE codes SET attempts = 2")
    assert user_record.everything(db, ann.user_id)["codes"] == []  # whoever only typed a number learns nothing of it
    with db.write() as tx:
        tx.run("UPDATE numbers SET verified_at = :now", now=NOW)
    told = user_record.everything(db, ann.user_id)
    assert told["application"] == {"id": app.id, "name": "Friends"}
    assert (told["user"]["login"], told["user"]["phone"]) == ("ann", ANN)
    assert (told["user"]["website"], told["user"]["has_password"]) == ("http://example.com", True)
    assert told["user"]["created_at"] == "2027-01-15T08:00:00Z"
    assert told["numbers"] == [{"number": "12025550101", "verified_at": "2027-01-15T08:00:00Z"}]
    assert told["tags"] == ["vip"]
    assert [one["id"] for one in told["sessions"]] == [opened.session.id]
    bob, carol = {"phone": "+44 7700 900123", "name": "Bob"}, {"phone": "12025550102", "name": "Carol"}
    assert [book["discovered"] for book in told["address_books"]] == [[], []]
    assert [(book["device"], book["contacts"]) for book in told["address_books"]] == [
        ("", [bob, carol]),
        ("phone-2", [bob]),
    ]
    assert told["removed_contacts"] == 1
    assert [one["token"] for one in told["subscriptions"]] == ["push-token"]
    assert [(one["number"], one["attempts"]) for one in told["codes"]] == [("12025550101", 2)]
    written = msgspec.json.encode(told).decode()
    assert opened.token not in written and "asked-by-ann" not in written and "$argon2" not in written


def test_every_column_of_an_account_is_exported_or_known_to_be_hidden(db, ann):
    with db.read() as tx:
        row = tx.one("SELECT * FROM users WHERE id = :id", id=ann.user_id)
    assert row
    assert set(row) - set(user_record.everything(db, ann.user_id)["user"]) == HIDDEN


def test_an_export_is_about_one_user_only(db, app, ann):
    said: Any = {"login": "bob", "password": PASSWORD, "phone": "+44 7700 900123", "full_name": "Bob Example"}
    bob = users.sign_up(db, LIMITS, app, said, HERE, NOW)
    other = Caller(app=app, user_id=bob.id, is_guest=False, address=HERE)
    discovery.upload(db, LIMITS, other, [Entry(ANN, "My Ann")], now=NOW)
    written = json.dumps(user_record.everything(db, ann.user_id))
    assert "Bob" not in written and "My Ann" not in written and "7700" not in written


def test_what_was_sent_to_a_user_and_told_about_them_is_exported(db):
    play = Play(db)
    bob = play.person("bob")
    play.holds(bob.id, (JOINER, "Annie"))
    play.device(bob.id, "fcm-token-of-bob")
    ann = play.person("ann", JOINER)
    waiting = user_record.everything(db, ann.id)["joined"]
    assert [(one["number"], one["done_at"]) for one in waiting] == [("12025550101", None)]
    play.tell()
    discovered.since(db, play.caller(bob.id), "", "0", compact=True, now=play.now)
    told = user_record.everything(db, bob.id)
    assert told["address_books"][0]["discovered"] == [{"user_id": ann.id, "phone": "12025550101"}]
    (push,) = told["pushes"]
    assert (push["about_user_id"], push["created_at"], push["outcome"]) == (ann.id, "2027-01-15T08:00:00Z", None)
    assert "Annie" in push["message"] and told["announced_contacts"] == 1
    (item,) = told["contact_joined"]
    assert item == {
        "id": 1,
        "user_id": ann.id,
        "phone": JOINER,
        "name": "Annie",
        "created_at": "2027-01-15T08:00:00Z",
        "seen": False,
    }
    assert "Annie" not in json.dumps(user_record.everything(db, ann.id))


def test_after_erasing_there_is_nothing_to_export(db, ann):
    users.erase(db, ann.user_id)
    with pytest.raises(errors.NotFound, match=f"no user {ann.user_id}"):
        user_record.everything(db, ann.user_id)


def test_connections_are_counted_and_holders_named_after_an_entry_in_the_log(db):
    play = Play(db)
    ann, bob = play.person("ann", JOINER).id, play.person("bob", BOB).id
    cleo = play.person("cleo").id
    play.holds(ann, (BOB, "Bob"), (JOINER, "myself"), ("+12025550199", "nobody"))
    play.holds(cleo, (JOINER, "Ann"))
    play.holds(cleo, (JOINER, "Ann"), (BOB, "Bob"), device="second")
    assert user_record.connected(db, play.app, ann) == user_record.Connected(holders=1, contacts=1)
    assert user_record.connected(db, play.app, cleo) == user_record.Connected(holders=0, contacts=2)
    assert user_record.connected(db, play.app, bob) == user_record.Connected(holders=2, contacts=0)
    user_record.note_holders(db, play.app, bob, Actor("op@example.com", HERE, NOW))
    assert [one.id for one in user_record.holders(db, play.app, bob)] == [ann, cleo]
    assert [one.subject for one in entries(db, action="holders revealed")] == [f"user {bob}"]
    play.set(require_verified_number="on")
    assert user_record.connected(db, play.app, cleo).contacts == 0
