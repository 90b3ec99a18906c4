"""Pushes between users: recipients, expiry, limits, and what a sender learns. On both databases."""

import json
import threading
from typing import Any

import msgspec
import pytest
from core.joining import DAY, LIMITS, NOW, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed import buckets

from ringbook import errors, metrics
from ringbook.config import Limits
from ringbook.core import delivery, events, rate_limits, users
from ringbook.core.delivery import Attempt, Due
from ringbook.core.events import LARGEST_BYTES, Event, Recipients, checked, chosen, expiry, send
from ringbook.model import User
from ringbook.push.transport import Outcome, Receipt
from ringbook.store import pushes

HEX = "0f" * 32


@pytest.fixture
def play(db):
    return Play(db)


@pytest.fixture
def ann(play):
    return play.person("ann")


def hello(*user_ids: int, **values: Any) -> Event:
    return msgspec.structs.replace(Event(payload={"message": "hi"}, to=Recipients(ids=list(user_ids))), **values)


def sent(play: Play, sender: User, event: Event, limits: Limits = LIMITS) -> int:
    return send(play.db, limits, play.caller(sender.id), event, play.now)


def queued(play: Play) -> list[tuple[int, str, str]]:
    """The recipients, channels and environments of the event pushes in the queue."""
    rows = play.rows("SELECT * FROM pushes WHERE event_id IS NOT NULL ORDER BY user_id, channel")
    return [(row["user_id"], row["channel"], row["environment"]) for row in rows]


def texts(play: Play) -> list[str]:
    """The texts that are stored for events."""
    ids = [row["id"] for row in play.rows("SELECT id FROM events ORDER BY id")]
    with play.db.read() as tx:
        found = pushes.texts(tx, ids) if ids else {}
    return [found[one] for one in ids]


def delivered(play: Play, outcome: Outcome = Outcome.ACCEPTED, most: int = 1_000) -> list[Due]:
    """Claim the due pushes, and record this receipt for each."""
    due = delivery.claim(play.db, play.now, most)
    attempts = [Attempt(due=one, receipt=Receipt(outcome), began_at=play.now) for one in due]
    delivery.record(play.db, attempts, play.now)
    return due


# ── what can be sent ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "field, event",
    [
        ("message", hello(1, payload={})),
        ("message", hello(1, payload={"message": ""})),
        ("message", hello(1, payload={"message": None, "ios_badge": 1, "android_fcm_notification": {}})),
        ("message", hello(1, payload={"message": 5})),
        ("message", hello(1, payload={"message": ["hi"], "own": 1})),
        ("message", hello(1, payload={"message": "x" * (LARGEST_BYTES - 13)})),
        ("message", hello(1, payload={"message": "🧗" * (LARGEST_BYTES // 4)})),
        ("message", hello(1, payload={"message": "Your friend Mum joined.", "type": "contact_joined", "user_id": 5})),
        ("message", hello(1, payload={"message": "Mum and 3 others joined.", "type": "contact_joined_digest"})),
        ("ids", hello()),
        ("ids", hello(*range(1, 102))),
        ("environment", hello(1, environment="staging")),
        ("channel", hello(1, channel="web")),
        ("message", hello(1, payload={"message": "x", "apns_payload": {"aps": {}, "type": "contact_joined"}})),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_field(field, event):
    with pytest.raises(errors.Invalid) as refused:
        checked(event)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "event",
    [
        hello(1),
        hello(1, payload={"call_id": 7}),
        hello(1, payload={"message": "hi", "type": "call"}),
        hello(1, payload={"message": None, "call_id": 7}),
        hello(1, payload={"message": "x" * (LARGEST_BYTES - 14)}),
        hello(*[*range(1, 101), *range(1, 101)]),
        hello(1, environment="development"),
    ],
)
def test_what_can_be_sent_is_stored_as_it_was_given(event):
    assert json.loads(checked(event)) == event.payload


@pytest.mark.parametrize(
    "given, until",
    [(None, NOW + DAY), (NOW + 1, NOW + 1), (NOW + 28 * DAY, NOW + 28 * DAY), (2**62, NOW + 28 * DAY)],
)
def test_an_event_lives_a_day_or_as_long_as_it_says_but_four_weeks_at_most(given, until):
    assert expiry(hello(1, expires_at=given), NOW) == until


@pytest.mark.parametrize("over", [NOW, NOW - 1, 0, -1, 3600])
def test_an_event_that_is_over_is_refused(over):
    with pytest.raises(errors.Invalid, match="Unix seconds") as refused:
        expiry(hello(1, expires_at=over), NOW)
    assert refused.value.field == "expiration"


# ── whom it reaches ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_device_of_every_recipient_gets_it_once(play, ann):
    bob, cat = play.person("bob"), play.person("cat")
    for user, tokens in ((bob, ("fcm-token-b1", "fcm-token-b2")), (cat, ("fcm-token-c1",))):
        for token in tokens:
            play.device(user.id, token)
    event_id = sent(play, ann, hello(bob.id, cat.id, bob.id))
    assert queued(play) == [(bob.id, "gcm", "production")] * 2 + [(cat.id, "gcm", "production")]
    rows = play.rows("SELECT * FROM pushes")
    assert {row["event_id"] for row in rows} == {event_id}
    assert {(row["about_user_id"], row["joined_id"]) for row in rows} == {(ann.id, None)}
    assert {(row["created_at"], row["due_at"], row["expires_at"]) for row in rows} == {(NOW, NOW, NOW + DAY)}
    assert {row["message"] for row in rows} == {None}
    assert texts(play) == ['{"message":"hi"}']


def test_one_event_serves_every_channel(play, ann):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    play.device(bob.id, HEX, platform="ios", channel="apns")
    event_id = sent(play, ann, hello(bob.id))
    rows = play.rows("SELECT channel, event_id FROM pushes ORDER BY channel")
    assert [(row["channel"], row["event_id"]) for row in rows] == [("apns", event_id), ("gcm", event_id)]
    assert texts(play) == ['{"message":"hi"}']


def test_only_the_environment_that_was_named_gets_it(play, ann):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    play.device(bob.id, "fcm-token-0002", environment="development")
    sent(play, ann, hello(bob.id, environment="development"))
    assert queued(play) == [(bob.id, "gcm", "development")]


def test_one_may_send_to_oneself(play, ann):
    play.device(ann.id, "fcm-token-0001")
    sent(play, ann, hello(ann.id))
    assert queued(play) == [(ann.id, "gcm", "production")]


def test_who_cannot_be_reached_is_passed_over(play, ann):
    bob, nobody = play.person("bob"), play.person("nobody")
    play.device(bob.id, "fcm-token-0001")
    other = Play(play.db)
    stranger = other.person("stranger")
    other.device(stranger.id, "fcm-token-0002")
    sent(play, ann, hello(bob.id, nobody.id, stranger.id, 2**31, 2**62, 0, -5))
    assert queued(play) == [(bob.id, "gcm", "production")]


@pytest.mark.parametrize("channel", ["apns", "apns_voip", "gcm"])
def test_an_event_for_one_channel_reaches_no_other(play, ann, channel):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    play.device(bob.id, HEX, platform="ios", channel="apns")
    play.device(bob.id, "1" + HEX, platform="ios", channel="apns_voip")
    sent(play, ann, hello(bob.id, channel=channel))
    assert queued(play) == [(bob.id, channel, "production")]


def test_an_event_for_a_channel_that_nobody_has_reaches_nobody(play, ann):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    sent(play, ann, hello(bob.id, channel="apns"))
    assert queued(play) == []


def test_an_event_that_reaches_nobody_counts_like_another(play, ann):
    nobody = play.person("nobody")
    one = Limits(events_per_minute=1)
    sent(play, ann, hello(nobody.id), one)
    with pytest.raises(errors.TooMany):
        sent(play, ann, hello(nobody.id), one)
    assert queued(play) == [] == texts(play)


@pytest.mark.parametrize("asked", [1, True, "1", "true"])
def test_what_rings_takes_the_voip_subscription_where_there_is_one(play, ann, asked):
    bob, cat, dan = play.person("bob"), play.person("cat"), play.person("dan")
    play.device(bob.id, HEX, platform="ios", channel="apns")
    play.device(bob.id, "1" + HEX, platform="ios", channel="apns_voip")
    play.device(cat.id, "2" + HEX, platform="ios", channel="apns")
    play.device(dan.id, "fcm-token-0001")
    sent(play, ann, hello(bob.id, cat.id, dan.id, payload={"message": "ring", "ios_voip": asked}))
    assert [(user, channel) for user, channel, _ in queued(play)] == [
        (bob.id, "apns_voip"),
        (cat.id, "apns"),
        (dan.id, "gcm"),
    ]


@pytest.mark.parametrize("asked", [0, False, "0", None, 2, [1]])
def test_what_does_not_ring_leaves_voip_subscriptions_alone(play, ann, asked):
    bob = play.person("bob")
    play.device(bob.id, HEX, platform="ios", channel="apns_voip")
    silent = hello(bob.id, payload={"message": "hi", "ios_voip": asked})
    sent(play, ann, silent)
    assert queued(play) == []
    play.device(bob.id, "1" + HEX, platform="ios", channel="apns")
    sent(play, ann, silent)
    assert queued(play) == [(bob.id, "apns", "production")]


CHANNELS = st.sampled_from(["apns", "apns_voip", "gcm", "web"])
REACHED = st.lists(st.builds(lambda u, c: {"user_id": u, "channel": c}, st.integers(1, 4), CHANNELS))


@given(reached=REACHED, rings=st.booleans())
def test_whoever_has_an_ordinary_subscription_is_reached_and_nobody_twice_on_ios(reached, rings):
    getting = chosen(reached, rings=rings)
    ordinary = {row["user_id"] for row in reached if row["channel"] != "apns_voip"}
    assert ordinary <= {row["user_id"] for row in getting}
    kinds = {(row["user_id"], row["channel"]) for row in getting}
    assert not any((user, "apns") in kinds and (user, "apns_voip") in kinds for user, _ in kinds)
    assert rings or not any(channel == "apns_voip" for _, channel in kinds)


# ── how often, and who may ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_sender_may_call_sixty_times_a_minute(play, ann):
    play.device(ann.id, "fcm-token-0001")
    for _ in range(60):
        sent(play, ann, hello(ann.id))
    with pytest.raises(errors.TooMany, match="Too many events") as refused:
        sent(play, ann, hello(ann.id))
    assert refused.value.wait_seconds == 1
    assert len(queued(play)) == 60
    play.now += 1
    sent(play, ann, hello(ann.id))


@pytest.fixture
def crowd(play):
    """Two users with three devices each: a request to both makes six pushes and is charged 2."""
    found = [play.person(f"crowd{n}").id for n in range(2)]
    for user_id in found:
        for n in range(3):
            play.device(user_id, f"fcm-token-{user_id}-{n}")
    return found


def test_a_call_beyond_the_limit_changes_nothing(play, ann, crowd):
    one = Limits(events_per_minute=1)
    sent(play, ann, hello(*crowd), one)
    for _ in range(2):
        with pytest.raises(errors.TooMany, match="Too many events"):
            sent(play, ann, hello(*crowd), one)
    assert len(queued(play)) == 6
    assert used(play, ann) == 1


def used(play: Play, sender: User) -> float:
    return used_of(play)[rate_limits.events(LIMITS, sender.id).name]


def used_of(play: Play) -> dict[str, float]:
    with play.db.read() as tx:
        return buckets(tx)


def test_without_a_limit_nothing_is_counted(play, ann):
    play.device(ann.id, "fcm-token-0001")
    for _ in range(70):
        sent(play, ann, hello(ann.id), Limits(events_per_minute=0))
    assert not [name for name in used_of(play) if name.startswith("events")]


def test_whoever_asks_too_often_learns_nothing(play, ann):
    bob, nobody = play.person("bob"), play.person("nobody")
    play.device(bob.id, "fcm-token-0001")
    one = Limits(events_per_minute=1)
    sent(play, ann, hello(bob.id), one)
    for user in (bob, nobody):
        with pytest.raises(errors.TooMany):
            sent(play, ann, hello(user.id), one)


def test_an_application_may_switch_events_off(play, ann):
    play.device(ann.id, "fcm-token-0001")
    play.set(events="off")
    with pytest.raises(errors.Forbidden, match="switched off"):
        sent(play, ann, hello(ann.id))
    assert queued(play) == []


def test_a_sender_who_was_erased_sends_nothing(play, ann):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    caller = play.caller(ann.id)
    users.erase(play.db, ann.id)
    with pytest.raises(errors.SessionGone):
        send(play.db, LIMITS, caller, hello(bob.id), play.now)
    assert queued(play) == []


def test_with_a_sender_go_the_events_that_wait_and_the_count_of_them(play, ann):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    sent(play, ann, hello(bob.id))
    sent(play, bob, hello(bob.id))
    users.erase(play.db, ann.id)
    assert {row["about_user_id"] for row in play.rows("SELECT about_user_id FROM pushes")} == {bob.id}
    assert [name for name in used_of(play) if name.startswith("events")] == [f"events:{bob.id}"]


def test_a_recipient_erased_at_the_same_moment_does_not_sign_the_sender_out(play, ann, monkeypatch):
    """The account is erased after it was read and before its push is written. On SQLite this cannot happen."""
    bob, cat = play.person("bob"), play.person("cat")
    play.device(bob.id, "fcm-token-0001")
    play.device(cat.id, "fcm-token-0002")
    choose = events.chosen
    leaving = threading.Thread(target=users.erase, args=(play.db, bob.id))

    def chosen_while_bob_leaves(reached: Any, **rings: bool) -> Any:
        if not leaving.ident:
            leaving.start()
            leaving.join(1)  # SQLite lets it wait for our transaction to end
        return choose(reached, **rings)

    monkeypatch.setattr(events, "chosen", chosen_while_bob_leaves)
    sent(play, ann, hello(bob.id, cat.id))
    leaving.join()
    assert queued(play) == [(cat.id, "gcm", "production")]
    assert used(play, ann) == 1


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 20)), max_size=14))
def test_two_senders_neither_see_nor_affect_each_other(people, turns):
    """Each gets the same answers among the other's requests as alone."""
    play, users_ = people

    def answers(wanted: tuple[bool, ...]) -> list[Any]:
        play.now += DAY  # by then every limit has come back
        heard = []
        for who, to, seconds in turns:
            play.now += seconds
            if who in wanted:
                heard.append((who, answered(play, users_[who], users_[to])))
        return heard

    together = answers((False, True))
    for one in (False, True):
        assert [said for said in together if said[0] is one] == answers((one,))


@pytest.fixture
def people(play):
    """Two users with a device, and one without."""
    found = [play.person(f"user{n}") for n in range(3)]
    for user in found[:2]:
        play.device(user.id, f"fcm-token-{user.id:04}")
    return play, found


def answered(play: Play, sender: User, to: User) -> Any:
    """The answer to an event, without its id."""
    try:
        return sent(play, sender, hello(to.id), Limits(events_per_minute=2)) > 0
    except errors.Refused as refused:
        return type(refused), refused.reason, getattr(refused, "wait_seconds", 0)


# ── what may wait ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sender_whose_pushes_wait_is_refused_until_they_are_delivered(play, ann, crowd):
    seven = msgspec.structs.replace(LIMITS, max_waiting_per_sender=7)
    sent(play, ann, hello(*crowd), seven)
    with pytest.raises(errors.TooMany, match="wait for delivery") as refused:
        sent(play, ann, hello(*crowd), seven)
    assert (refused.value.limit, refused.value.wait_seconds) == ("max_waiting_per_sender", 60)
    assert len(queued(play)) == 6
    assert used(play, ann) == 1
    delivered(play)
    sent(play, ann, hello(*crowd), seven)


def test_one_call_may_make_more_pushes_than_may_wait_when_none_waits(play, ann, crowd):
    five = msgspec.structs.replace(LIMITS, max_waiting_per_sender=5)
    sent(play, ann, hello(*crowd), five)
    with pytest.raises(errors.TooMany):
        sent(play, ann, hello(crowd[0]), five)
    sent(play, play.person("bob"), hello(*crowd), five)


def test_a_push_that_told_of_the_sender_counts_for_nobody(play, ann):
    """Only sent events count: a user whose join was announced to thousands can still send."""
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    play.holds(bob.id, ("+12025550101", "Cleo"))
    cleo = play.person("cleo", "+12025550101")
    play.tell()
    one = msgspec.structs.replace(LIMITS, max_waiting_per_sender=1, max_waiting_per_subscription=1)
    assert sent(play, cleo, hello(bob.id), one)
    assert len(queued(play)) == 1


def test_a_subscription_with_too_many_waiting_is_left_out_and_the_sender_is_not_told(play, ann):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    two = msgspec.structs.replace(LIMITS, max_waiting_per_subscription=2)
    for _ in range(2):
        sent(play, ann, hello(bob.id), two)
    before = left_out()
    sent(play, play.person("cat"), hello(bob.id), two)
    assert left_out() == before + 1
    assert len(queued(play)) == len(texts(play)) == 2


def test_another_device_of_the_same_recipient_still_gets_it(play, ann):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    one = msgspec.structs.replace(LIMITS, max_waiting_per_subscription=1)
    sent(play, ann, hello(bob.id), one)
    second = play.device(bob.id, "fcm-token-0002")
    sent(play, ann, hello(bob.id), one)
    rows = play.rows("SELECT subscription_id FROM pushes ORDER BY id")
    assert len(rows) == 2 and rows[1] == {"subscription_id": second.id}


def left_out() -> float:
    return metrics.LIMITS.labels("max_waiting_per_subscription")._value.get()


# ── how much in a minute and a day ───────────────────────────────────────────────────────────────────────────────────


def test_an_address_has_a_limit_of_its_own_whoever_sends(play, ann):
    two = msgspec.structs.replace(LIMITS, events_per_address_per_minute=2)
    play.device(ann.id, "fcm-token-0001")
    for sender in (ann, play.person("bob")):
        sent(play, sender, hello(ann.id), two)
    with pytest.raises(errors.TooMany, match="from this address") as refused:
        sent(play, play.person("cat"), hello(ann.id), two)
    assert refused.value.limit == "events_per_address_per_minute"


def test_a_day_of_pushes_counts_the_recipients_of_every_call_and_not_their_devices(play, ann, crowd):
    three = msgspec.structs.replace(LIMITS, pushes_per_sender_per_day=3)
    sent(play, ann, hello(*crowd), three)
    with pytest.raises(errors.TooMany, match="Too many pushes") as refused:
        sent(play, ann, hello(*crowd), three)
    assert refused.value.limit == "pushes_per_sender_per_day"
    assert len(queued(play)) == 3
    play.now += DAY // 3
    sent(play, ann, hello(*crowd), three)


def test_the_text_of_an_event_counts_towards_the_day(play, ann):
    ten = msgspec.structs.replace(LIMITS, pushes_per_sender_per_day=10)
    play.device(ann.id, "fcm-token-0001")
    play.device(ann.id, "ab" * 32, channel="apns", platform="ios")
    sent(play, ann, hello(ann.id, payload={"message": "x" * 1_100}), ten)
    assert used_of(play)[f"pushes:{ann.id}"] == 1 + 1_114 // 512


def test_one_call_never_costs_more_than_a_day_holds(play, ann, crowd):
    sent(play, ann, hello(*crowd), msgspec.structs.replace(LIMITS, pushes_per_sender_per_day=1))
    assert len(queued(play)) == 3


def test_every_recipient_is_reached_on_one_device_and_further_devices_have_a_day_of_their_own(play, ann, crowd):
    """An eighth of the pushes of a day. The sender is not told, and the metric counts the devices that are left out."""
    limits = msgspec.structs.replace(LIMITS, pushes_per_sender_per_day=24)
    before = metrics.LIMITS.labels("pushes_per_sender_per_day")._value.get()
    for _ in range(3):
        sent(play, ann, hello(*crowd), limits)
    assert len(queued(play)) == 3 * 2 + 3
    assert metrics.LIMITS.labels("pushes_per_sender_per_day")._value.get() == before + 9
    newest = {row["id"] for row in play.rows("SELECT MAX(id) AS id FROM subscriptions GROUP BY user_id")}
    rows = play.rows("SELECT event_id, subscription_id FROM pushes")
    assert {row["event_id"] for row in rows if row["subscription_id"] in newest} == {row["event_id"] for row in rows}


# ── the text, once ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_text_is_stored_once_and_goes_with_the_last_push(play, ann, crowd):
    sent(play, ann, hello(*crowd))
    assert len(texts(play)) == 1
    first = delivered(play, most=4)
    assert [one.message.payload for one in first] == [{"message": "hi"}] * 4
    assert len(texts(play)) == 1
    delivered(play)
    assert texts(play) == []


def test_a_parked_push_keeps_the_text_until_it_is_sent_or_forgotten(play, ann):
    play.device(ann.id, "fcm-token-0001")
    for _ in range(2):
        sent(play, ann, hello(ann.id))
    delivered(play, Outcome.REFUSED)
    assert len(texts(play)) == 2
    (first, _) = play.rows("SELECT id FROM pushes ORDER BY id")
    delivery.retry(play.db, play.app_id, [first["id"]], play.now)
    assert [one.message.payload for one in delivered(play)] == [{"message": "hi"}]
    assert len(texts(play)) == 1
    delivery.sweep(play.db, play.now + 1)
    assert texts(play) == [] == play.rows("SELECT * FROM pushes")


@pytest.mark.parametrize("whoever", ["sender", "recipients"])
def test_the_text_goes_with_the_sender_or_the_last_recipient(play, ann, crowd, whoever):
    sent(play, ann, hello(*crowd))
    for user_id in [ann.id] if whoever == "sender" else crowd:
        users.erase(play.db, user_id)
    assert texts(play) == [] == queued(play)


def test_a_text_that_nobody_waits_for_is_swept_and_others_are_not(play, ann):
    """What is left of a recipient who was erased while the event was being written."""
    play.device(ann.id, "fcm-token-0001")
    sent(play, ann, hello(ann.id))
    with play.db.write() as tx:
        pushes.keep_text(tx, 999, ann.id, "x", 1, play.now - 1)
    delivery.sweep(play.db, play.now)
    assert texts(play) == ['{"message":"hi"}']


# ── what a sender can look up, and what it tells ─────────────────────────────────────────────────────────────────────


def listed(play: Play, sender: User, limit: int = 10, offset: int = 0) -> list[int]:
    return [one.id for one in events.page(play.db, sender.id, play.now, limit=limit, offset=offset)[0]]


def test_a_user_s_own_events_are_listed_newest_first_for_a_day_or_until_they_expire(play, ann):
    bob = play.person("bob")
    first = sent(play, ann, hello(bob.id, expires_at=play.now + 30))
    long = sent(play, ann, hello(bob.id, expires_at=play.now + 3 * DAY))
    play.now += 10
    last = sent(play, ann, hello(bob.id))
    assert listed(play, ann) == [last, *sorted([first, long], reverse=True)]
    assert listed(play, ann, limit=1, offset=1) == listed(play, ann)[1:2]
    assert events.page(play.db, ann.id, play.now, limit=1, offset=0)[1] == 3
    assert listed(play, bob) == []
    play.now += DAY - 10
    assert listed(play, ann) == [last, long]
    play.now += 2 * DAY - 1
    assert listed(play, ann) == [long]
    assert events.sweep(play.db, play.now) == 2
    play.now += 1
    assert events.sweep(play.db, play.now) == 1
    assert play.rows("SELECT * FROM sent_events") == []


def test_an_event_is_kept_without_its_text_and_recipients(play, ann):
    event_id = sent(play, ann, hello(play.person("bob").id, channel="gcm", environment="development"))
    (row,) = play.rows("SELECT * FROM sent_events")
    assert row == {
        "id": event_id,
        "user_id": ann.id,
        "environment": "development",
        "channel": "gcm",
        "created_at": NOW,
        "expires_at": NOW + DAY,
        "kept_until": NOW + DAY,
    }


def test_deleting_an_event_stops_what_waits_and_forgets_its_text(play, ann):
    play.device(ann.id, "fcm-token-0001")
    waiting, parked, kept = (sent(play, ann, hello(ann.id, payload={"message": word})) for word in "abc")
    with play.db.write() as tx:
        tx.run("UPDATE pushes SET outcome = 'parked', turn = 0 WHERE event_id = :id", id=parked)
    for event_id in (waiting, parked):
        events.delete(play.db, ann.id, event_id, play.now)
    assert [row["event_id"] for row in play.rows("SELECT event_id FROM pushes")] == [kept]
    assert texts(play) == ['{"message":"c"}']
    assert listed(play, ann) == [kept]
    assert [one.message.payload for one in delivered(play)] == [{"message": "c"}]


def test_an_event_that_is_deleted_while_it_is_sent_is_not_recorded_again(play, ann):
    play.device(ann.id, "fcm-token-0001")
    event_id = sent(play, ann, hello(ann.id))
    (due,) = delivery.claim(play.db, play.now, 10)
    events.delete(play.db, ann.id, event_id, play.now)
    delivery.record(play.db, [Attempt(due=due, receipt=Receipt(Outcome.LATER), began_at=play.now)], play.now)
    assert play.rows("SELECT * FROM pushes") == [] == texts(play)


@pytest.mark.parametrize("look", [events.show, events.delete])
def test_another_user_s_event_is_unknown(play, ann, look):
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    event_id = sent(play, ann, hello(bob.id))
    for user_id, id_ in ((bob.id, event_id), (ann.id, event_id + 1)):
        with pytest.raises(errors.NotFound):
            look(play.db, user_id, id_, play.now)
    assert len(queued(play)) == 1


def test_with_a_sender_go_the_events(play, ann):
    sent(play, ann, hello(ann.id))
    users.erase(play.db, ann.id)
    assert play.rows("SELECT * FROM sent_events") == []


def test_the_charges_that_can_refuse_are_the_same_whatever_the_recipient_has(play, ann):
    """A device, several, another environment's, none, and a user who does not exist."""
    found = [play.person(f"user{n}").id for n in range(4)]
    play.device(found[0], "fcm-token-0001")
    for n in range(3):
        play.device(found[1], f"fcm-token-01-{n}")
    play.device(found[2], "fcm-token-0002", environment="development")
    charges = []
    for n, user_id in enumerate([*found, 2_000_000_000]):
        sender = play.person(f"sender{n}")
        sent(play, sender, hello(user_id, payload={"message": "x" * 2_000}))
        used = used_of(play)
        charges.append([used[f"{name}:{sender.id}"] for name in ("events", "pushes")])
    assert charges == charges[:1] * len(charges)
    assert charges[0] == [1, 1 + 2_014 // 512]
