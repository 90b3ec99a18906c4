"""The trace of pushes: kind, outcome and advice, and never a text, a name, a number or a token."""

import msgspec
import pytest
from core.joining import ANN, BOB, LIMITS, NOW, Play

from ringbook import errors
from ringbook.core import delivery, events, preferences, push_trace
from ringbook.core.delivery import LEASE_SECONDS, Attempt
from ringbook.core.push_trace import (
    ADVICE,
    BACKEND_HAS_IT,
    NO_WORKER,
    OBSTACLES,
    Obstacle,
    advice,
    of_push,
    of_user,
    state,
)
from ringbook.push.transport import Cause, Outcome, Receipt


@pytest.fixture
def play(db):
    """Bob holds Ann's number and has a device; Ann joins."""
    play = Play(db)
    play.bob = play.person("bob", BOB).id
    play.holds(play.bob, (ANN, "Ann of the secret name"))
    play.device(play.bob, "fcm-token-secret")
    play.ann = play.person("ann", ANN).id
    return play


def settle(play: Play, outcome: Outcome, reason: str = "") -> None:
    """Send all due pushes once."""
    attempts = [
        Attempt(due=due, receipt=Receipt(outcome, reason), began_at=play.now)
        for due in delivery.claim(play.db, play.now, 10)
    ]
    assert attempts
    delivery.record(play.db, attempts, play.now)


def one(play: Play) -> push_trace.Push:
    (found,) = of_user(play.db, play.bob, play.now, 20).pushes
    assert of_push(play.db, found.id, play.now) == found
    return found


# ── what the recipient has chosen ────────────────────────────────────────────────────────────────────────────────────

QUIET = {"quiet": ("22:00", "10:00"), "time_zone": "Europe/Berlin"}  # it is 09:00 there


def chooses(play: Play, **chosen: object) -> None:
    preferences.change(play.db, play.caller(play.bob), chosen, now=play.now)


def test_a_push_that_waits_for_quiet_hours_says_until_when(play):
    chooses(play, **QUIET)
    play.tell()
    found = one(play)
    waits = "it waits for the end of the recipient's quiet hours, at 10:00 of Europe/Berlin on 2027-01-15"
    assert waits in found.advice and found.outcome == "waiting"
    assert of_user(play.db, play.bob, play.now, 5).hints == [
        "quiet hours are on: pushes about contacts who join wait from 22:00 to 10:00 of Europe/Berlin;"
        " they wait now, until 10:00 of Europe/Berlin on 2027-01-15"
    ]
    with play.db.write() as tx:
        tx.run("UPDATE preferences SET time_zone = 'Mars/Olympus'")
    assert "at 09:00 of UTC on 2027-01-15" in one(play).advice


def test_a_push_in_a_digest_says_when_it_leaves(play):
    chooses(play, digest=0)
    play.tell()
    found = one(play)
    assert found.why == "contacts joined: a digest"
    assert found.advice == (
        "nothing: it is a digest of who joins in 24 hours, and leaves at 08:00 of UTC on 2027-01-16"
    )
    assert of_user(play.db, play.ann, play.now, 5).announced[0].pushes == {"in digests": 1}


def test_who_wants_no_pushes_is_named_as_the_reason(play):
    play.tell()
    chooses(play, notify=False)
    assert delivery.claim(play.db, play.now, 10) == []
    found = one(play)
    assert found.cause == "notify off" and found.advice == ADVICE["gone"][Cause.NOTIFY_OFF]
    assert OBSTACLES[Obstacle.NOTIFY_OFF] in of_user(play.db, play.bob, play.now, 5).hints


# ── a user ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_joined_push_is_told_with_its_reason_and_its_way(play):
    play.tell()
    found = one(play)
    assert (found.why, found.channel, found.environment) == (f"contact joined: user {play.ann}", "gcm", "production")
    assert (found.outcome, found.attempts, found.reason) == ("waiting", 0, None)
    assert found.created_at == found.next_attempt_at == "2027-01-15T08:00:00Z"
    assert found.settled_at is None and NO_WORKER in found.advice
    settle(play, Outcome.LATER, "FCM is in trouble (503)")
    play.now += 1
    found = one(play)
    assert (found.outcome, found.attempts, found.reason) == ("waiting", 1, "FCM is in trouble (503)")
    assert found.next_attempt_at > "2027-01-15T08:00:01Z" and "by itself" in found.advice
    play.now += 60
    settle(play, Outcome.ACCEPTED)
    found = one(play)
    assert (found.outcome, found.attempts, found.settled_at) == ("accepted", 2, "2027-01-15T08:01:01Z")
    assert found.next_attempt_at is None and "the provider has it" in found.advice


def test_an_attempt_that_nobody_has_recorded_is_told_from_a_wait(play):
    play.tell()
    delivery.claim(play.db, play.now, 10)
    assert "under way" in one(play).advice
    play.now += LEASE_SECONDS
    assert NO_WORKER in one(play).advice


def test_an_event_and_a_webhook_say_what_they_are(play):
    play.set(webhook_url="https://backend.example.com/", webhook_secret="secret")
    play.tell()
    event_id = events.send(
        play.db,
        LIMITS,
        play.caller(play.ann),
        events.Event(payload={"message": "hi"}, to=events.Recipients(ids=[play.bob])),
        play.now,
    )
    joined, event = reversed(of_user(play.db, play.bob, play.now, 20).pushes)
    assert joined.why == f"contact joined: user {play.ann}"
    assert event.why == f"event {event_id}, sent by user {play.ann}"
    (webhook,) = of_user(play.db, play.ann, play.now, 20).pushes
    assert (webhook.why, webhook.channel) == (f"webhook: user {play.ann} has joined", "webhook")
    settle(play, Outcome.ACCEPTED)
    assert of_push(play.db, webhook.id, play.now).advice == BACKEND_HAS_IT


def test_what_was_told_of_a_user_is_counted_by_outcome(play):
    (fact,) = of_user(play.db, play.ann, play.now, 20).announced
    assert (fact.verified, fact.pushes) == (False, {}) and NO_WORKER in fact.result
    play.tell()
    settle(play, Outcome.REFUSED, "fcm_service_account is not set")
    (fact,) = of_user(play.db, play.ann, play.now, 20).announced
    assert (fact.result, fact.pushes, fact.created_at) == ("told", {"parked": 1}, "2027-01-15T08:00:00Z")


def test_a_fact_that_was_not_told_says_why(play):
    play.set(contact_joined_enabled="false")
    play.tell()
    (fact,) = of_user(play.db, play.ann, play.now, 20).announced
    assert (fact.result, fact.pushes) == ("contact_joined_enabled was switched off", {})


def test_the_latest_come_first_and_no_more_than_were_asked_for(play):
    for _ in range(3):
        event = events.Event(payload={"message": "hi"}, to=events.Recipients(ids=[play.bob]))
        events.send(play.db, LIMITS, play.caller(play.ann), event, play.now)
    ids = [push.id for push in of_user(play.db, play.bob, play.now, 20).pushes]
    assert len(ids) == 3 and ids == sorted(ids, reverse=True)
    assert [push.id for push in of_user(play.db, play.bob, play.now, 2).pushes] == ids[:2]


@pytest.mark.parametrize(
    "devices, settings, obstacle",
    [
        ([], {}, Obstacle.NO_SUBSCRIPTION),
        ([("gcm", "development")], {}, Obstacle.ONLY_DEVELOPMENT),
        ([("apns_voip", "production")], {}, Obstacle.ONLY_VOIP),
        ([("gcm", "production")], {"contact_joined_enabled": "false"}, Obstacle.JOINED_OFF),
        ([("gcm", "production")], {"events": "off"}, Obstacle.EVENTS_OFF),
        ([("gcm", "production")], {"push_console": "true"}, Obstacle.PRINTED),
    ],
)
def test_what_stands_in_the_way_is_named_and_nothing_else(db, devices, settings, obstacle):
    play = Play(db)
    user = play.person("cat").id
    for channel, environment in devices:
        play.device(user, "0f" * 32, channel=channel, environment=environment)
    play.set(**settings)
    found = of_user(db, user, NOW, 20)
    assert found.hints == [OBSTACLES[obstacle]]
    assert found.subscriptions == {" ".join(device): 1 for device in devices}


def test_nothing_is_in_the_way_of_whoever_is_told_also_in_development(play):
    play.set(contact_joined_development="true")
    user = play.person("cat").id
    play.device(user, "fcm-token-of-cat", environment="development")
    assert of_user(play.db, user, NOW, 20).hints == of_user(play.db, play.bob, NOW, 20).hints == []


def test_no_text_name_number_or_token_is_told(play):
    play.tell()
    settle(play, Outcome.REFUSED, "mend this")
    said = b"".join(msgspec.json.encode(of_user(play.db, user, play.now, 20)) for user in (play.ann, play.bob))
    said += msgspec.json.encode(state(play.db, play.now))
    for secret in (b"secret", b"joined.", b"2025550101", b"7700900123"):
        assert secret not in said


def test_who_or_what_is_not_there_is_not_found(play):
    with pytest.raises(errors.NotFound, match="no user 999"):
        of_user(play.db, 999, NOW, 20)
    with pytest.raises(errors.NotFound, match="no push 999; .*RINGBOOK_PUSHES_KEPT_DAYS"):
        of_push(play.db, 999, NOW)


# ── what to do ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "outcome, cause, words",
    [
        ("accepted", Cause.ACCEPTED, "the provider has it"),
        ("accepted", Cause.PRINTED, "ringbook app set 5 push_console false"),
        ("gone", Cause.SUBSCRIPTION_ENDED, "the app ended it"),
        ("gone", Cause.CONTACT_REMOVED, "removed the contact"),
        ("gone", Cause.TOKEN_GONE, "registers anew"),
        ("expired", Cause.NOT_SENT_IN_TIME, NO_WORKER),
        ("expired", Cause.PROVIDER_UNAVAILABLE, "ringbook check"),
        ("parked", Cause.PAYLOAD_TOO_LARGE, "send less"),
        ("parked", Cause.NOT_SET_UP, "ringbook push retry --app 5 7"),
        ("parked", None, "ringbook push retry --app 5 7"),
    ],
)
def test_each_outcome_and_cause_has_its_advice(outcome, cause, words):
    assert words in advice(settled(outcome, cause), NOW)


def settled(outcome: str, cause: Cause | None, subscription_id: int = 3) -> dict:
    """The row of a push. No advice depends on its reason."""
    row = {"id": 7, "app_id": 5, "outcome": outcome, "reason": "payload too large (push_console)", "due_at": NOW}
    return row | {"subscription_id": subscription_id, "cause": cause and cause.value}


def test_every_outcome_has_advice_for_any_cause():
    assert set(ADVICE) == {delivery.ACCEPTED, delivery.GONE, delivery.EXPIRED, delivery.PARKED}
    for outcome in ADVICE:
        assert all(advice(settled(outcome, cause), NOW) for cause in (None, *Cause))


def test_a_webhook_that_was_printed_is_told_from_one_that_the_backend_has():
    assert advice(settled("accepted", Cause.ACCEPTED, delivery.WEBHOOK), NOW) == BACKEND_HAS_IT
    assert "push_console false" in advice(settled("accepted", Cause.PRINTED, delivery.WEBHOOK), NOW)


# ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_queue_is_counted_by_application_and_channel(play):
    play.tell()
    play.device(play.bob, "0f" * 32, platform="ios", channel="apns")
    event = events.Event(payload={"message": "hi"}, to=events.Recipients(ids=[play.bob]))
    events.send(play.db, LIMITS, play.caller(play.ann), event, play.now + 20)
    (apns, gcm) = state(play.db, play.now + 30).waiting
    assert (apns.channel, apns.waiting, apns.due, apns.late_seconds) == ("apns", 1, 1, 10)
    assert (gcm.channel, gcm.waiting, gcm.due, gcm.late_seconds) == ("gcm", 2, 2, 30)
    play.now += 30
    delivery.claim(play.db, play.now, 10)
    assert [(lane.waiting, lane.due, lane.late_seconds) for lane in state(play.db, play.now).waiting] == [
        (1, 0, 0),
        (2, 0, 0),
    ]


def test_what_is_parked_is_counted_by_reason(play):
    play.tell()
    settle(play, Outcome.REFUSED, "apns_key is not set")
    play.now += 5
    for _ in range(2):
        event = events.Event(payload={"message": "hi"}, to=events.Recipients(ids=[play.bob]))
        events.send(play.db, LIMITS, play.caller(play.ann), event, play.now)
    settle(play, Outcome.REFUSED, "payload too large")
    found = state(play.db, play.now)
    assert found.waiting == []
    assert [(one.channel, one.count, one.reason, one.last_at) for one in found.parked] == [
        ("gcm", 2, "payload too large", "2027-01-15T08:00:05Z"),
        ("gcm", 1, "apns_key is not set", "2027-01-15T08:00:00Z"),
    ]
