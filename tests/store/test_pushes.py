"""The queue in both databases: what an upgrade makes of it. Its rules are tested with `core/delivery.py`."""

from contextlib import closing

from store.test_migrations import empty  # noqa: F401  (a fixture)
from store.test_upgrades import brought_to

from ringbook.core import delivery
from ringbook.store import db as databases
from ringbook.store import migrations

BEFORE = "0005"
NOW = 1_800_000_000
APPLICATION = (
    "INSERT INTO applications (id, name, auth_key, auth_secret, hash_key, settings, created_at, vapid_public_key,"
    " vapid_private_key) VALUES (1, 'Friends', 'k', 's', :hash_key, '{}', 1, '', '')"
)
USERS = "INSERT INTO users (id, app_id, is_guest, created_at, updated_at) VALUES (:id, 1, 0, 1, 1)"
SUBSCRIPTION = (
    "INSERT INTO subscriptions (id, user_id, app_id, device, platform, channel, environment, token, token_hash,"
    " created_at, updated_at) VALUES (:id, 1, 1, :device, 'web', 'web', 'production', :device, :hash, 1, 1)"
)
PUSH = (
    "INSERT INTO pushes (user_id, app_id, subscription_id, event_id, about_user_id, channel, environment, message,"
    " created_at, due_at, expires_at, attempts, outcome, settled_at) VALUES (1, 1, :subscription, 1, 2, 'web',"
    " 'production', :message, 1, 1, :expires_at, :attempts, :outcome, :settled_at)"
)


def test_what_waited_before_an_upgrade_is_sent_after_it_and_who_answered_is_known(empty):  # noqa: F811
    brought_to(empty, BEFORE)
    with closing(databases.connect(empty, pool=2)) as db:
        with db.write() as tx:
            tx.run(APPLICATION, hash_key=b"k" * 32)
            for user_id in (1, 2):
                tx.run(USERS, id=user_id)
            for serial in (1, 2):
                tx.run(SUBSCRIPTION, id=serial, device=f"browser{serial}", hash=bytes([serial]) * 32)
            waiting = {"message": '{"message":"hi"}', "expires_at": NOW + 60, "outcome": None, "settled_at": None}
            tx.run(PUSH, subscription=1, attempts=0, **waiting)
            tx.run(PUSH, subscription=2, attempts=3, **waiting)
            tx.run(PUSH, subscription=2, attempts=1, message=None, expires_at=9, outcome="accepted", settled_at=7)
        migrations.migrate(empty)
        due = sorted(delivery.claim(db, NOW, 10), key=lambda one: one.subscription_id)
    assert [(one.lane, one.attempts, one.message.payload) for one in due] == [
        ("1:web", 1, {"message": "hi"}),
        ("1:web", 4, {"message": "hi"}),
    ]
    assert [one.answered_at for one in due] == [None, 7]
