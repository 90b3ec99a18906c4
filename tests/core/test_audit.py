"""The audit log: each change has an entry, and what is not recorded."""

import pytest
from core.joining import ANN, BOB, NOW, Play

from ringbook import errors
from ringbook.core import admins, applications, audit, delivery, numbers, sessions, user_record, users
from ringbook.core.audit import ACTIONS, Actor
from ringbook.push.transport import Outcome, Receipt

EVE = Actor("eve@example.com", "192.0.2.7", NOW)
SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


@pytest.fixture
def play(db):
    return Play(db)


def told(play: Play) -> list[tuple[str, str, str]]:
    """Action, subject and detail of all entries, oldest first."""
    return [(one.action, one.subject, one.detail) for one in reversed(audit.page(play.db, 100))]


def test_an_entry_says_who_when_and_from_where(play):
    applications.change(play.db, play.app_id, "contact_joined_enabled", "off", by=EVE)
    (entry,) = audit.page(play.db, 10)
    assert (entry.admin, entry.address, entry.at) == ("eve@example.com", "192.0.2.7", NOW)
    assert (entry.app_id, entry.action, entry.subject) == (play.app_id, "setting changed", "contact_joined_enabled")
    assert entry.detail == "true → false"


def test_what_an_admin_does_to_an_application_is_recorded(play):
    made = applications.create(play.db, "Second", NOW, by=EVE)
    with play.db.write() as tx:
        users.add(tx, made, {"login": "cat", "login_folded": "cat"}, NOW)
    applications.rotate_keys(play.db, made.id, by=EVE)
    applications.delete(play.db, made.id, by=EVE)
    assert told(play) == [
        ("application created", "", "Second"),
        ("keys rotated", "", ""),
        ("application deletion began", "", "Second"),
        ("application deleted", "", "Second, with 1 users"),
    ]
    assert {one.app_id for one in audit.page(play.db, 10)} == {made.id}


def test_what_an_admin_does_to_a_user_is_recorded(play):
    ann, bob = play.person("ann", ANN).id, play.person("bob", BOB).id
    with play.db.write() as tx:
        tx.run("UPDATE users SET password_hash = 'x' WHERE id = :id", id=ann)
    user_record.everything(play.db, ann, by=EVE)
    users.reset_password(play.db, ann, NOW, by=EVE)
    numbers.give(play.db, play.app, bob, ANN, NOW, by=EVE)
    opened = sessions.open_verified(play.db, play.app, ann, ts=0, nonce=0, now=NOW)
    sessions.end_by_id(play.db, ann, opened.session.id, by=EVE)
    assert sessions.end_all(play.db, ann, by=EVE) == 0
    users.erase(play.db, ann, by=EVE)
    assert told(play) == [
        ("user exported", f"user {ann}", ""),
        ("user's password reset", f"user {ann}", ""),
        ("number given", f"user {bob}", f"…01, which user {ann} had"),
        ("sessions ended", f"user {ann}", f"session {opened.session.id}"),
        ("sessions ended", f"user {ann}", "sessions: 0"),
        ("user erased", f"user {ann}", ""),
    ]


def test_what_is_done_to_admins_is_recorded_beside_all_applications(play):
    admins.create(play.db, "Sam@Example.com", NOW, by=EVE)
    admins.reset_password(play.db, "sam@example.com", by=EVE)
    assert told(play) == [
        ("admin created", "sam@example.com", "owner"),
        ("admin's password reset", "sam@example.com", ""),
    ]
    assert [one.app_id for one in audit.page(play.db, 10)] == [None, None]


def test_parked_pushes_are_retried_by_channel_and_reason_and_recorded(play):
    bob = play.person("bob", BOB).id
    play.holds(bob, (ANN, "Ann"))
    play.device(bob, "fcm-token-of-bob")
    play.device(bob, "0f" * 32, platform="ios", channel="apns")
    play.person("ann", ANN)
    play.tell()
    due = delivery.claim(play.db, NOW, 10)
    refused = [
        delivery.Attempt(due=one, receipt=Receipt(Outcome.REFUSED, f"no key, {one.message.channel}"), began_at=NOW)
        for one in due
    ]
    delivery.record(play.db, refused, NOW)
    assert delivery.retry(play.db, play.app_id, None, NOW, channel="gcm", reason="no key, apns", by=EVE) == 0
    assert told(play) == []
    assert delivery.retry(play.db, play.app_id, None, NOW, channel="gcm", reason="no key, gcm", by=EVE) == 1
    assert delivery.retry(play.db, play.app_id, None, NOW, by=EVE) == 1
    assert told(play) == [("pushes retried", "gcm", "pushes: 1"), ("pushes retried", "", "pushes: 1")]


def test_many_pushes_that_are_retried_make_one_entry(play):
    bob = play.person("bob", BOB).id
    for number in range(3):
        play.device(bob, f"fcm-token-{number}-of-bob")
    play.holds(bob, (ANN, "Ann"))
    play.person("ann", ANN)
    play.tell()
    with play.db.write() as tx:
        tx.run("UPDATE pushes SET outcome = 'parked', reason = 'x', settled_at = 1 WHERE user_id = :id", id=bob)
    assert delivery.retry(play.db, play.app_id, None, NOW, 2, by=EVE) == 3
    assert told(play) == [("pushes retried", "", "pushes: 2 and more")]


def test_what_changes_nothing_is_not_recorded(play):
    applications.change(play.db, play.app_id, "contact_joined_enabled", "on", by=EVE)
    with pytest.raises(errors.Invalid):
        applications.change(play.db, play.app_id, "default_region", "nowhere", by=EVE)
    with pytest.raises(errors.NotFound):
        user_record.everything(play.db, 999, by=EVE)
    assert not users.erase(play.db, 999, by=EVE)
    with pytest.raises(errors.NotFound):
        sessions.end_by_id(play.db, 999, 1, by=EVE)
    assert told(play) == []


def test_a_change_that_fails_takes_its_entry_back(play):
    with pytest.raises(ZeroDivisionError), play.db.write() as tx:
        audit.record(tx, EVE, "keys rotated", app_id=play.app_id)
        raise ZeroDivisionError
    assert told(play) == []


def test_what_people_do_of_themselves_is_not_recorded(play):
    ann = play.person("ann", ANN)
    users.leave(play.db, play.caller(ann.id), ann.id)
    applications.change(play.db, play.app_id, "events", "off")
    assert told(play) == []


@pytest.mark.parametrize(
    "key, value, detail",
    [
        ("default_region", "GB", "empty → “GB”"),
        ("sms_daily_cap", "5", "1000 → 5"),
        ("require_verified_number", "on", "“auto” → “on”"),
        ("contact_joined_template", "%s is here", "“Your friend %s joined.” → “%s is here”"),
        ("webhook_secret", SECRET, "set"),
        ("webhook_url", "https://example.com/?key=secret", "set"),
        ("web_push_contact", "mailto:secret@example.com", "set"),
        ("sms_twilio_from", "+12025550199", "set"),
        ("cidp_request", '{"key": "secret"}', "set"),
    ],
)
def test_a_setting_that_may_hold_a_secret_or_an_address_shows_no_value(play, key, value, detail):
    applications.change(play.db, play.app_id, key, value, by=EVE)
    assert told(play) == [("setting changed", key, detail)]


def test_a_secret_that_is_replaced_or_taken_away_says_so(play):
    for value in (SECRET, SECRET[:-4], ""):
        applications.change(play.db, play.app_id, "webhook_secret", value, by=EVE)
    assert [detail for _, _, detail in told(play)] == ["set", "replaced", "no longer set"]


def test_pages_go_back_entry_by_entry_and_by_what_is_asked_for(play):
    for at in range(5):
        audit.note(play.db, Actor("eve@example.com", "", NOW + at), "logged in")
    audit.note(play.db, Actor("sam@example.com", "", NOW + 9), "keys rotated", app_id=play.app_id)
    first = audit.page(play.db, 4)
    rest = audit.page(play.db, 4, before=first[-1].id)
    assert [one.at - NOW for one in first + rest] == [9, 4, 3, 2, 1, 0]
    assert [one.at - NOW for one in audit.page(play.db, 9, app_id=play.app_id)] == [9]
    assert [one.at - NOW for one in audit.page(play.db, 9, admin="sam@example.com")] == [9]
    assert len(audit.page(play.db, 9, action="logged in")) == 5
    assert audit.page(play.db, 9, admin="sam@example.com", action="logged in") == []


def test_old_entries_are_forgotten_batch_by_batch(play):
    for at in range(5):
        audit.note(play.db, Actor("eve@example.com", "", NOW + at), "logged in")
    assert audit.sweep(play.db, NOW + 3, batch=2) == 2
    assert audit.sweep(play.db, NOW + 3, batch=2) == 1
    assert [one.at - NOW for one in audit.page(play.db, 9)] == [4, 3]


def test_a_detail_is_one_line_of_bounded_length(play):
    audit.note(play.db, EVE, "logged in", detail="a\0b\nc" + "x" * 1000)
    (entry,) = audit.page(play.db, 1)
    assert entry.detail.startswith("a b cx") and len(entry.detail) == audit.LONGEST_DETAIL


def test_every_action_is_named_once_in_order():
    assert sorted(set(ACTIONS)) == list(ACTIONS)


def test_several_settings_change_together_or_not_at_all(play):
    applications.change_all(play.db, play.app_id, {"events": "off", "default_region": "gb"}, by=EVE)
    assert told(play) == [
        ("setting changed", "default_region", "empty → “GB”"),
        ("setting changed", "events", "“on” → “off”"),
    ]
    with pytest.raises(errors.Invalid) as refused:
        applications.change_all(play.db, play.app_id, {"events": "on", "sms_daily_cap": "many"}, by=EVE)
    assert refused.value.field == "sms_daily_cap"
    assert play.app.settings.events == "off" and len(told(play)) == 2
