"""Applications and admins in both databases."""

import base64
import json
from typing import Any

import pytest
from sealed import add_number, with_number

from ringbook import errors
from ringbook.model import Contact
from ringbook.store import admins, books, sessions, users
from ringbook.store import applications as store
from ringbook.store.db import Database

NOW = 1_800_000_000


def added(db: Database, key: str) -> int:
    with db.write() as tx:
        return store.insert(
            tx,
            name=f"app {key}",
            auth_key=key,
            auth_secret="secret",
            hash_key=b"\0\xff",
            vapid=("public", "private"),
            settings="{}",
            now=NOW,
        )


def by_id(db: Database, app_id: int) -> dict[str, Any] | None:
    with db.read() as tx:
        return store.by_id(tx, app_id)


def test_an_application_comes_back_by_id_and_by_key_without_its_private_key(db):
    first, second = added(db, "k1"), added(db, "k2")
    with db.read() as tx:
        assert [row["id"] for row in store.all_(tx)] == [first, second] == [1, 2]
        row = store.by_auth_key(tx, "k2")
        assert row == store.by_id(tx, second)
        assert store.by_auth_key(tx, "k") is None
        assert store.by_id(tx, 3) is None
    assert row
    assert (row["name"], bytes(row["hash_key"]), row["vapid_public_key"]) == ("app k2", b"\0\xff", "public")
    assert "private" not in row.values()


def test_a_key_names_one_application(db):
    added(db, "k1")
    with pytest.raises(errors.Conflict):
        added(db, "k1")


def test_keys_and_settings_change(db):
    app_id = added(db, "k1")
    with db.write() as tx:
        assert store.set_keys(tx, app_id, "new", "newer") == 1
        assert store.set_keys(tx, 99, "none", "none") == 0
        store.set_settings(tx, app_id, '{"a":1}')
    row = by_id(db, app_id)
    assert row
    assert (row["auth_key"], row["auth_secret"], row["settings"]) == ("new", "newer", '{"a":1}')


SETTINGS = {
    "apns_key": "-----BEGIN PRIVATE KEY-----",
    "sms_gateway_url": "https://sms.example.com/?key=abc",
    "webhook_secret": "whsec_c2VjcmV0",
    "fcm_service_account": "",
    "default_region": "GB",
    "contact_joined_enabled": True,
}
SECRETS = ("secret", b"\0\xff".hex(), "private", "BEGIN", "sms.example", "abc", "whsec")


def test_secrets_are_sealed_for_their_application_and_their_key(db):
    mine, other = added(db, "k1"), added(db, "k2")
    with db.write() as tx:
        for app_id in (mine, other):
            store.set_settings(tx, app_id, json.dumps(SETTINGS))
    with db.read() as tx:
        row = store.by_id(tx, mine)
        assert row and json.loads(row["settings"]) == SETTINGS
        assert store.vapid_private_key(tx, mine) == "private"
        stored = tx.one("SELECT * FROM applications WHERE id = :id", id=mine)
    assert stored
    values = json.loads(stored.pop("settings"))
    assert {key for key, value in values.items() if value == SETTINGS[key]} == {
        "fcm_service_account",
        "default_region",
        "contact_joined_enabled",
    }
    texts = [bytes(value) for value in stored.values() if not isinstance(value, str | int | None)]
    texts += [value.encode() for value in stored.values() if isinstance(value, str)]
    texts += [base64.b64decode(values[key]) for key in ("apns_key", "sms_gateway_url", "webhook_secret")]
    assert len(texts) == 9
    assert not any(secret.encode() in text for secret in SECRETS for text in texts)
    values["apns_key"] = values["webhook_secret"]
    with db.write() as tx:
        tx.run("UPDATE applications SET settings = :settings WHERE id = :id", settings=json.dumps(values), id=mine)
        tx.run("UPDATE applications SET auth_secret = :sealed WHERE id = :id", sealed=stored["auth_secret"], id=other)
    for app_id, place in ((mine, "applications.settings"), (other, "applications.auth_secret")):
        with pytest.raises(errors.Unreadable) as refused:
            by_id(db, app_id)
        assert place in refused.value.why


@pytest.mark.parametrize("table", ["numbers", "contacts"])
def test_whether_it_holds_numbers(db, table):
    mine, other = added(db, "k1"), added(db, "k2")
    with db.write() as tx:
        user_id = users.insert(tx, other, {}, NOW)
        if table == "numbers":
            add_number(tx, other, user_id, 12025550101)
        else:
            books.lock_owner(tx, other, user_id)  # makes the book
            books.put(tx, other, user_id, 0, [with_number(other, user_id, 0, Contact(12025550101, "x", None, 0))])
        assert store.holds_numbers(tx, other)
        assert not store.holds_numbers(tx, mine)


def test_forgetting_one_leaves_the_others(db):
    mine, other = added(db, "k1"), added(db, "k2")
    for n, app_id in enumerate((mine, other)):
        with db.write() as tx:
            given: dict[str, Any] = {"nonce": 0, "ts": 0, "now": NOW, "expires_at": NOW, "guest_until": None}
            sessions.insert(tx, bytes([n]), app_id=app_id, user_id=None, **given)
            sessions.remember_signature(tx, app_id, "s", NOW)
    with db.write() as tx:
        store.forget(tx, mine)
        assert tx.tuples("SELECT app_id FROM sessions") == tx.tuples("SELECT app_id FROM nonces") == [(other,)]
    assert by_id(db, mine) is None
    assert by_id(db, other)


def test_an_application_with_users_is_not_forgotten(db):
    app_id = added(db, "k1")
    with db.write() as tx:
        users.insert(tx, app_id, {}, NOW)
    with pytest.raises(errors.Refused), db.write() as tx:
        store.forget(tx, app_id)
    assert by_id(db, app_id)


def test_some_users_are_the_oldest_and_its_own(db):
    mine, other = added(db, "k1"), added(db, "k2")
    with db.write() as tx:
        ids = [users.insert(tx, app_id, {}, NOW) for app_id in (mine, other, mine, mine)]
        assert store.some_users(tx, mine, 2) == [ids[0], ids[2]]
        assert store.some_users(tx, mine, 9) == [ids[0], ids[2], ids[3]]


def test_an_admin_is_added_once_and_gets_a_new_password(db):
    with db.write() as tx:
        assert admins.insert(tx, "ann@example.org", "hash", "owner", NOW)
        assert not admins.insert(tx, "ann@example.org", "other", "viewer", NOW)
        assert admins.set_password(tx, "ann@example.org", "new")
        assert not admins.set_password(tx, "bob@example.org", "new")
        assert [row["email"] for row in admins.all_(tx)] == ["ann@example.org"]
        assert admins.password_of(tx, "ann@example.org") == "new"
