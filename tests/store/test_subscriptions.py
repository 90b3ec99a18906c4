"""Push subscriptions in both databases. The rules are tested with `core/subscriptions.py`."""

from typing import Any

import msgspec
import pytest

from ringbook import errors
from ringbook.core import applications
from ringbook.model import Subscription
from ringbook.store import subscriptions as store
from ringbook.store import users
from ringbook.store.db import Database

NOW = 1_800_000_000
WISH = Subscription(
    id=0, user_id=0, device="phone", platform="android", channel="gcm", environment="production", bundle=None, token="t"
)


@pytest.fixture
def app_id(db: Database) -> int:
    return applications.create(db, "tests", NOW).id


@pytest.fixture
def ann(db: Database, app_id: int) -> int:
    return user(db, app_id)


def user(db: Database, app_id: int) -> int:
    with db.write() as tx:
        user_id = users.insert(tx, app_id, {}, NOW)
    assert user_id
    return user_id


def added(db: Database, app_id: int, user_id: int, *, now: int = NOW, **values: Any) -> Subscription:
    wished = msgspec.structs.replace(WISH, user_id=user_id, **values)
    with db.write() as tx:
        return store.insert(tx, app_id, wished, now)


def devices(db: Database, user_id: int) -> list[str]:
    with db.read() as tx:
        return [one.device for one in store.of_user(tx, user_id)]


def test_what_was_stored_is_found_and_comes_back_whole(db, app_id, ann):
    stored = added(db, app_id, ann, bundle="com.example", web_auth="a", web_p256dh="p")
    with db.read() as tx:
        token_key = store.token_key(tx, app_id, "t")
        assert store.find(tx, ann, "phone", "gcm", "production") == {"id": stored.id, "token_key": token_key}
        assert store.find(tx, ann, "phone", "gcm", "development") is None
        assert store.of_user(tx, ann) == [stored]


def test_tokens_and_secrets_of_browsers_are_sealed_for_their_row(db, app_id, ann):
    bob = user(db, app_id)
    browser = {"channel": "web", "web_p256dh": "p"}
    own = added(db, app_id, ann, token="https://push.example.net/ann", web_auth="secret", **browser)
    other = added(db, app_id, bob, token="https://push.example.net/bob", web_auth="other", **browser)
    with db.write() as tx:
        rows = tx.tuples("SELECT token, token_key, web_auth FROM subscriptions ORDER BY id")
        assert all(isinstance(value, bytes) for row in rows for value in row)
        stored = b" ".join(value for row in rows for value in row)
        assert not any(text in stored for text in (b"push.example", b"secret", b"other"))
        tx.run("UPDATE subscriptions SET token = :token WHERE user_id = :bob", token=rows[0][0], bob=bob)
    with db.read() as tx:
        found = store.chosen(tx, [(ann, own.id), (bob, other.id)])
        assert found[ann, own.id] == own
        assert isinstance(found[bob, other.id], errors.Unreadable)


def test_the_same_once_more_renews_it(db, app_id, ann):
    first = added(db, app_id, ann)
    assert added(db, app_id, ann, token="u", platform="ios") == msgspec.structs.replace(
        first, token="u", platform="ios"
    )


def test_renewing_keeps_the_id_and_is_nothing_for_what_is_gone(db, app_id, ann):
    first = added(db, app_id, ann)
    changed = msgspec.structs.replace(first, token="u", bundle="b")
    with db.write() as tx:
        assert store.renew(tx, app_id, changed, NOW + 1) == changed
        assert store.renew(tx, app_id, msgspec.structs.replace(first, id=first.id + 1), NOW) is None
        assert store.renew(tx, app_id, msgspec.structs.replace(first, user_id=ann + 1), NOW) is None


def test_ids_that_were_given_do_not_come_back(db, app_id, ann):
    first = added(db, app_id, ann)
    with db.write() as tx:
        assert store.delete(tx, ann, first.id)
        assert not store.delete(tx, ann, first.id)
    assert added(db, app_id, ann).id > first.id


def test_a_token_leaves_everywhere_else_within_its_application_and_channel(db, app_id, ann):
    bob = user(db, app_id)
    kept = added(db, app_id, bob)
    added(db, app_id, ann)
    added(db, app_id, ann, device="tablet")
    added(db, app_id, ann, channel="apns")
    added(db, app_id, ann, device="watch", token="other")
    with db.write() as tx:
        store.leave_elsewhere(tx, app_id + 1, "gcm", "t", bob, kept.id)
        assert len(store.of_user(tx, ann)) == 4
        store.leave_elsewhere(tx, app_id, "gcm", "t", bob, kept.id)
        assert {(one.channel, one.token) for one in store.of_user(tx, ann)} == {("apns", "t"), ("gcm", "other")}
        assert store.of_user(tx, bob) == [kept]


def test_the_longest_unrenewed_go_first(db, app_id, ann):
    for n in (3, 1, 2):
        added(db, app_id, ann, device=f"d{n}", token=f"t{n}", now=NOW + n)
    with db.write() as tx:
        store.drop_oldest(tx, ann, 3)
        assert len(store.of_user(tx, ann)) == 3
        store.drop_oldest(tx, ann, 1)
    assert devices(db, ann) == ["d3"]


def test_they_go_with_their_user_who_must_be_there(db, app_id, ann):
    added(db, app_id, ann)
    with db.write() as tx:
        users.delete(tx, ann)
    assert devices(db, ann) == []
    with pytest.raises(errors.SessionGone):
        added(db, app_id, ann)
