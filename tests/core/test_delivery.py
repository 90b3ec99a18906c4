"""The queue of pushes: claims, receipts, and what is kept of a settled push. On both databases."""

import base64
from threading import Barrier, Thread

import msgspec
import pytest
from core.joining import ADDRESS, ANN, BOB, CLEO, DAY, LIMITS, NOW, Play
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ringbook.core import applications, delivery, discovery, events, test_push, user_record, users
from ringbook.core.audit import Actor
from ringbook.core.delivery import LEASE_SECONDS, Again, Attempt, Due, Room, Settled, after
from ringbook.model import Entry
from ringbook.push.transport import Cause, Message, Outcome, Receipt

MESSAGE = Message(
    id=7,
    channel="gcm",
    environment="production",
    token="fcm-token-0001",
    payload={"message": "hi"},
    created_at=NOW,
    expires_at=NOW + DAY,
)
_NUMBERS = ec.derive_private_key(271, ec.SECP256R1()).public_key()
POINT = (
    base64.urlsafe_b64encode(_NUMBERS.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).decode().rstrip("=")
)
DUE = Due(user_id=1, app_id=1, subscription_id=3, attempts=1, message=MESSAGE)


@pytest.fixture
def play(db):
    """A user has joined, and one holder with one device is to be notified."""
    play = Play(db)
    holders(play, 1)
    return play


def holders(play: Play, count: int) -> list[int]:
    """Ann joins, and so many users with a device each hold her number."""
    found = []
    for n in range(count):
        user = play.person(f"holder{n}")
        play.holds(user.id, (ANN, "Ann"))
        play.device(user.id, f"fcm-token-{n:04}")
        found.append(user.id)
    play.person("ann", ANN)
    play.tell()
    return found


def claimed(play: Play) -> Due:
    (due,) = delivery.claim(play.db, play.now, 10)
    return due


def record(play: Play, due: Due, outcome: Outcome, reason: str = "", **values: int) -> None:
    """An attempt that was made now."""
    receipt = Receipt(outcome, reason, **values)
    delivery.record(play.db, [Attempt(due=due, receipt=receipt, began_at=play.now)], play.now)


def row(play: Play):
    (one,) = play.rows("SELECT * FROM pushes")
    return one


# ── what follows from a receipt ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "outcome, settled",
    [(Outcome.ACCEPTED, "accepted"), (Outcome.GONE, "gone"), (Outcome.REFUSED, "parked")],
)
def test_a_plain_answer_settles_or_parks(outcome, settled):
    assert after(DUE, Receipt(outcome, "why"), NOW, 1.0) == Settled(settled, Cause.OTHER, "why")


@pytest.mark.parametrize(
    "attempts, jitter, wait",
    [
        (1, 1.0, 4),
        (2, 1.0, 8),
        (3, 1.0, 16),
        (3, 0.5, 8),
        (3, 1.5, 24),
        (9, 1.0, 1024),
        (10, 1.0, 1800),
        (99, 1.0, 1800),
    ],
)
def test_the_wait_doubles_up_to_half_an_hour(attempts, jitter, wait):
    due = msgspec.structs.replace(DUE, attempts=attempts)
    assert after(due, Receipt(Outcome.LATER, "503"), NOW, jitter) == Again(NOW + wait, Cause.OTHER, "503")


def test_a_provider_that_says_how_long_is_heard_and_not_by_all_in_the_same_second():
    assert after(DUE, Receipt(Outcome.LATER, "429", wait_seconds=600), NOW, 0.5) == Again(NOW + 600, Cause.OTHER, "429")
    assert after(DUE, Receipt(Outcome.LATER, "429", wait_seconds=600), NOW, 1.5) == Again(NOW + 780, Cause.OTHER, "429")
    assert after(DUE, Receipt(Outcome.LATER, "429", wait_seconds=1), NOW, 1.0) == Again(NOW + 4, Cause.OTHER, "429")


def test_what_nobody_wants_any_more_is_not_tried_again():
    due = msgspec.structs.replace(DUE, message=msgspec.structs.replace(MESSAGE, expires_at=NOW + 4))
    assert after(due, Receipt(Outcome.LATER, "503"), NOW, 1.0) == Settled("expired", Cause.OTHER, "503")


@given(st.integers(1, 200), st.floats(0.5, 1.5), st.integers(0, 10**6) | st.none())
def test_a_push_is_never_due_again_at_once_and_never_after_its_end(attempts, jitter, wait):
    due = msgspec.structs.replace(DUE, attempts=attempts)
    what = after(due, Receipt(Outcome.LATER, "", wait_seconds=wait), NOW, jitter)
    assert isinstance(what, Settled) or NOW < what.at < MESSAGE.expires_at


@given(st.text())
def test_a_reason_can_be_stored_whatever_a_provider_says(reason):
    what = after(DUE, Receipt(Outcome.REFUSED, reason), NOW, 1.0)
    assert len(what.reason) <= 200 and "\x00" not in what.reason
    what.reason.encode()


# ── claiming ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claimed_push_is_nobody_elses_until_its_lease_is_over(play):
    due = claimed(play)
    assert (due.attempts, due.message.token, due.message.payload["message"]) == (
        1,
        "fcm-token-0000",
        "Your friend Ann joined.",
    )
    assert delivery.claim(play.db, play.now + LEASE_SECONDS - 1, 10) == []
    (again,) = delivery.claim(play.db, play.now + LEASE_SECONDS, 10)
    assert (again.message.id, again.attempts) == (due.message.id, 2)


def test_claims_at_once_never_share_a_push(db):
    play = Play(db)
    holders(play, 40)
    ready, found, trouble = Barrier(4), [], []

    def work():
        ready.wait()
        try:
            for _ in range(10):
                found.extend(delivery.claim(play.db, play.now, 3))
        except Exception as error:
            trouble.append(error)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    ids = [due.message.id for due in found]
    assert len(ids) == len(set(ids)) == 40


def test_a_busy_lane_is_left_alone(play):
    none = Room(0)
    assert delivery.claim(play.db, play.now, 10, {f"{play.app_id}:gcm": none}) == []
    assert delivery.claim(play.db, play.now, 10, {f"{play.app_id}:apns": none, f"{play.app_id}1:gcm": none}) != []


def test_a_renewed_token_is_the_one_that_is_used(play):
    user = row(play)["user_id"]
    play.device(user, "fcm-token-renewed", device="udid-fcm-token-0000")
    assert claimed(play).message.token == "fcm-token-renewed"


def test_a_push_whose_subscription_has_ended_is_over(play):
    with play.db.write() as tx:
        tx.run("DELETE FROM subscriptions")
    assert delivery.claim(play.db, play.now, 10) == []
    assert (row(play)["outcome"], row(play)["message"]) == ("gone", None)


def test_a_push_that_expired_is_not_sent(play):
    play.now += DAY
    assert delivery.claim(play.db, play.now, 10) == []
    assert (row(play)["outcome"], row(play)["message"]) == ("expired", None)


# ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome, settled", [(Outcome.ACCEPTED, "accepted"), (Outcome.GONE, "gone")])
def test_a_settled_push_keeps_outcome_and_reason_and_loses_its_text(play, outcome, settled):
    record(play, claimed(play), outcome, "why")
    kept = row(play)
    assert (kept["outcome"], kept["reason"], kept["message"], kept["settled_at"]) == (settled, "why", None, play.now)
    assert delivery.claim(play.db, play.now + DAY, 10) == []


def test_a_parked_push_keeps_what_it_needs_until_it_is_retried(play):
    record(play, claimed(play), Outcome.REFUSED, "no key")
    assert row(play)["outcome"] == "parked"
    assert row(play)["number"] is not None
    assert delivery.claim(play.db, play.now + 100, 10) == []
    play.now += 2 * DAY
    assert delivery.retry(play.db, play.app_id, None, play.now) == 1
    due = claimed(play)
    assert due.message.payload["message"] == "Your friend Ann joined."
    record(play, due, Outcome.ACCEPTED)
    assert (row(play)["outcome"], row(play)["number"]) == ("accepted", None)
    assert delivery.retry(play.db, play.app_id, None, play.now) == 0


def test_a_retried_push_for_whom_nobody_waits_any_more_loses_its_number(play):
    due = claimed(play)
    record(play, due, Outcome.REFUSED, "no key")
    play.device(play.person("other").id, "fcm-token-0000", device="another phone of the same token")
    assert delivery.retry(play.db, play.app_id, None, play.now) == 1
    assert delivery.claim(play.db, play.now, 10) == []
    assert (row(play)["outcome"], row(play)["reason"], row(play)["number"]) == ("gone", delivery.ENDED, None)


def test_what_is_claimed_when_the_token_is_somebody_elses_is_recorded_and_ends_nobody(play):
    due = claimed(play)
    play.device(play.person("other").id, "fcm-token-0000")
    record(play, due, Outcome.GONE, "UNREGISTERED")
    assert row(play)["outcome"] == "gone"
    assert len(play.rows("SELECT * FROM subscriptions")) == 1


def test_only_the_chosen_ones_of_the_application_are_retried(db):
    play = Play(db)
    holders(play, 3)
    ids = []
    for due in delivery.claim(play.db, play.now, 10):
        record(play, due, Outcome.REFUSED, "no key")
        ids.append(due.message.id)
    assert delivery.retry(play.db, play.app_id + 1, None, play.now) == 0
    assert delivery.retry(play.db, play.app_id, ids[:1], play.now) == 1
    assert claimed(play).message.id == ids[0]
    assert delivery.retry(play.db, play.app_id, None, play.now, batch=1) == 2


def test_a_late_receipt_does_not_open_what_somebody_else_is_sending(play):
    slow = claimed(play)
    play.now += LEASE_SECONDS
    claimed(play)
    record(play, slow, Outcome.LATER, "503")
    assert delivery.claim(play.db, play.now + 10, 10) == []


def test_a_late_acknowledgement_counts(play):
    slow = claimed(play)
    play.now += LEASE_SECONDS
    other = claimed(play)
    record(play, slow, Outcome.ACCEPTED)
    record(play, other, Outcome.LATER, "503")
    assert row(play)["outcome"] == "accepted"


@pytest.mark.parametrize("gone_at", [None, NOW, NOW + 60, 0, 1])
def test_a_dead_token_ends_its_subscription(play, gone_at):
    record(play, claimed(play), Outcome.GONE, "UNREGISTERED", **({} if gone_at is None else {"gone_at": gone_at}))
    assert play.rows("SELECT * FROM subscriptions") == []


@pytest.mark.parametrize("gone_at", [None, NOW - 60])
def test_a_token_that_was_renewed_since_keeps_its_subscription(play, gone_at):
    due = claimed(play)
    play.now += 5
    play.device(due.user_id, "fcm-token-0000", device="udid-fcm-token-0000")
    play.now -= 5
    record(play, due, Outcome.GONE, "UNREGISTERED", **({"gone_at": gone_at} if gone_at else {}))
    assert len(play.rows("SELECT * FROM subscriptions")) == 1


def test_a_token_that_was_registered_after_it_died_keeps_its_subscription(play):
    record(play, claimed(play), Outcome.GONE, "Unregistered", gone_at=NOW - 60)
    assert len(play.rows("SELECT * FROM subscriptions")) == 1


@pytest.mark.parametrize("first", [Outcome.REFUSED, Outcome.GONE, Outcome.LATER])
def test_of_two_attempts_at_once_the_later_one_counts_unless_the_provider_has_the_push(play, first):
    slow = claimed(play)
    play.now += LEASE_SECONDS
    other = claimed(play)
    record(play, slow, first, "late")
    assert row(play)["outcome"] is None
    record(play, other, Outcome.REFUSED, "no key")
    assert row(play)["outcome"] == "parked"
    record(play, slow, Outcome.ACCEPTED)
    assert (row(play)["outcome"], row(play)["message"]) == ("accepted", None)


@pytest.mark.parametrize("damaged", ["no json", "", "[]", '{"message": ', b"", b"not sealed", None])
def test_what_cannot_be_read_is_parked_and_holds_up_nobody(db, damaged):
    play = Play(db)
    bob = play.person("bob").id
    play.device(bob, "fcm-token-of-bob")
    for _ in range(2):
        test_push.send(db, play.app, bob, Actor("eve@example.com", ADDRESS, play.now))
    with db.write() as tx:
        (first, _) = tx.tuples("SELECT id FROM pushes ORDER BY id")
        sealed = damaged
        if isinstance(damaged, str):
            sealed = tx.seal.text(damaged, "pushes", "message", play.app_id, bob, first[0])
        tx.run("UPDATE pushes SET message = :sealed WHERE id = :id", sealed=sealed, id=first[0])
    assert len(delivery.claim(play.db, play.now, 10)) == 1
    assert [one["outcome"] for one in play.rows("SELECT outcome FROM pushes ORDER BY id")] == ["parked", None]


def test_erasing_the_recipient_ends_a_push_that_is_on_its_way(play):
    due = claimed(play)
    users.erase(play.db, due.user_id)
    record(play, due, Outcome.ACCEPTED)
    assert play.rows("SELECT * FROM pushes") == []


def test_two_workers_may_hear_of_the_same_dead_tokens_in_any_order(db):
    play = Play(db)
    people = holders(play, 12)
    for phone in (BOB, CLEO):
        for user_id in people:
            play.holds(user_id, (phone, "Somebody"))
        play.person(f"joiner of {phone}", phone)
    play.tell()
    gone = [
        Attempt(due=due, receipt=Receipt(Outcome.GONE, "UNREGISTERED"), began_at=play.now)
        for due in delivery.claim(play.db, play.now, 100)
    ]
    halves = [[one for n, one in enumerate(gone) if n // len(people) == part] for part in range(3)]
    halves[1].reverse()
    trouble = []

    def recorded(half):
        ready.wait()
        try:
            delivery.record(play.db, half, play.now)
        except Exception as error:
            trouble.append(error)

    ready = Barrier(len(halves))
    threads = [Thread(target=recorded, args=(half,)) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    assert play.rows("SELECT id FROM subscriptions") == []


def test_a_hundred_receipts_are_recorded_at_once(db):
    play = Play(db)
    holders(play, 30)
    attempts = [
        Attempt(due=due, receipt=Receipt(outcome, "why"), began_at=play.now)
        for due, outcome in zip(delivery.claim(play.db, play.now, 100), list(Outcome) * 8, strict=False)
    ]
    delivery.record(play.db, attempts, play.now)
    counted = play.rows("SELECT outcome, COUNT(*) AS n FROM pushes GROUP BY outcome")
    assert {one["outcome"]: one["n"] for one in counted} == {"accepted": 8, "gone": 8, "parked": 7, None: 7}


# ── looking after it ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_old_pushes_are_forgotten_and_waiting_ones_are_not(db):
    play = Play(db)
    holders(play, 3)
    first, second, _ = delivery.claim(play.db, play.now, 3)
    record(play, first, Outcome.ACCEPTED)
    record(play, second, Outcome.REFUSED, "no key")
    assert delivery.sweep(play.db, play.now) == 0
    assert delivery.sweep(play.db, play.now + 1, batch=1) == 1
    assert delivery.sweep(play.db, play.now + 1) == 1
    assert len(play.rows("SELECT * FROM pushes")) == 1


def test_the_queue_says_how_long_and_how_old_it_is(db):
    play = Play(db)
    assert delivery.waiting(play.db) == (0, None)
    holders(play, 3)
    assert delivery.waiting(play.db) == (3, play.now)
    assert delivery.waiting(play.db, most=2) == (2, play.now)


def test_texts_of_names_with_signs_survive_the_way_through_the_queue(db):
    play = Play(db)
    bob = play.person("bob")
    name = "Ann \U0001f9d7 %s \\ \" ' é"
    play.holds(bob.id, (ANN, name))
    play.device(bob.id, "fcm-token-of-bob")
    play.person("ann", ANN)
    play.tell()
    assert claimed(play).message.payload["message"] == f"Your friend {name} joined."
    assert row(play)["message"] is None


# ── texts are composed for the attempt ───────────────────────────────────────────────────────────────────────────────


def rename(play: Play, user_id: int, name: str, device: str = "") -> None:
    play.holds(user_id, (ANN, name), device=device)


def remove(play: Play, user_id: int) -> None:
    discovery.upload(play.db, LIMITS, play.caller(user_id), [Entry(ANN, None, destroy=True)], now=play.now)


def test_a_waiting_push_holds_neither_a_text_nor_a_number_in_clear(play):
    waiting = row(play)
    assert waiting["message"] is None
    assert waiting["number"] == play.db.seal.number(play.app_id, 12025550101)
    record(play, claimed(play), Outcome.ACCEPTED)
    assert row(play)["number"] is None


def test_a_renamed_contact_and_a_new_template_count_until_the_attempt(db):
    play = Play(db)
    (bob,) = holders(play, 1)
    rename(play, bob, "Annie")
    play.set(contact_joined_template="%s ist da", contact_joined_fcm_notification="on")
    due = claimed(play)
    assert due.message.payload == {
        "message": "Annie ist da",
        "user_id": due.sender_id,
        "type": "contact_joined",
        "android_fcm_notification": {"body": "Annie ist da"},
    }
    record(play, due, Outcome.LATER)
    rename(play, bob, "Ann Example")
    play.now += DAY // 2
    assert claimed(play).message.payload["message"] == "Ann Example ist da"


def test_a_contact_who_is_gone_is_not_named_any_more(db):
    play = Play(db)
    bob, cleo = holders(play, 2)
    remove(play, bob)
    due = claimed(play)
    assert due.user_id == cleo
    (withheld,) = play.rows("SELECT outcome, cause, number FROM pushes WHERE user_id = :bob", bob=bob)
    assert withheld == {"outcome": "gone", "cause": "contact removed", "number": None}


def test_the_name_comes_from_the_global_book_else_from_the_book_synced_last(db):
    play = Play(db)
    (bob,) = holders(play, 1)
    for seconds, device in enumerate(("old", "new")):
        play.now += seconds
        rename(play, bob, f"Ann of the {device} phone", device)
    assert play.pushes() == [(bob, "Your friend Ann joined.")]
    remove(play, bob)
    assert play.pushes() == [(bob, "Your friend Ann of the new phone joined.")]


def test_a_parked_joined_push_is_composed_anew_when_it_is_retried(db):
    play = Play(db)
    (bob,) = holders(play, 1)
    record(play, claimed(play), Outcome.REFUSED, "no key")
    assert row(play)["number"] is not None
    rename(play, bob, "Annie")
    assert "Your friend Annie joined." in user_record.everything(db, bob)["pushes"][0]["message"]
    assert delivery.retry(db, play.app_id, None, play.now) == 1
    assert claimed(play).message.payload["message"] == "Your friend Annie joined."


def test_a_contact_that_does_not_open_parks_its_own_push_only(db):
    play = Play(db)
    bob, cleo = holders(play, 2)
    with db.write() as tx:
        (other,) = tx.tuples("SELECT sealed FROM contacts WHERE owner_id = :cleo", cleo=cleo)
        tx.run("UPDATE contacts SET sealed = :sealed WHERE owner_id = :bob", sealed=other[0], bob=bob)
    assert claimed(play).user_id == cleo
    assert [one["cause"] for one in play.rows("SELECT cause FROM pushes WHERE user_id = :bob", bob=bob)] == [
        "unreadable"
    ]


def test_an_application_that_does_not_open_parks_its_own_pushes_only(db):
    plays = [Play(db), Play(db)]
    for play in plays:
        holders(play, 1)
    with db.write() as tx:
        tx.run("UPDATE applications SET auth_secret = :broken WHERE id = :id", broken=bytes(32), id=plays[0].app_id)
    applications._cache.clear()
    assert [one.app_id for one in delivery.claim(db, NOW, 10)] == [plays[1].app_id]
    assert [one["cause"] for one in plays[0].rows("SELECT cause FROM pushes WHERE cause IS NOT NULL")] == ["unreadable"]


def test_one_claim_composes_pushes_of_several_applications_each_with_its_own_template(db):
    plays = [Play(db), Play(db)]
    for play, template in zip(plays, ("first %s", "second %s"), strict=True):
        holders(play, 2)
        play.set(contact_joined_template=template)
    applications._cache.clear()
    due = delivery.claim(db, NOW, 10)
    assert sorted((one.app_id, one.message.payload["message"]) for one in due) == [
        (play.app_id, f"{word} Ann") for play, word in zip(plays, ("first", "second"), strict=True) for _ in range(2)
    ]


def test_texts_of_events_and_tests_are_sealed_for_their_push(db):
    play = Play(db)
    bob, cleo = (play.person(name).id for name in ("bob", "cleo"))
    for who in (bob, cleo):
        play.device(who, f"fcm-token-of-{who}")
        test_push.send(db, play.app, who, Actor("eve@example.com", ADDRESS, play.now))
        wished = events.Event(payload={"message": f"secret of {who}"}, to=events.Recipients(ids=[who]))
        events.send(db, LIMITS, play.caller(who), wished, play.now)
    rows = play.rows("SELECT message FROM pushes WHERE event_id IS NULL") + play.rows("SELECT message FROM events")
    assert len(rows) == 4
    assert not any(text in bytes(one["message"]) for one in rows for text in (b"message", b"secret", b"Annie"))
    with db.write() as tx:  # swapped
        for table, owner in (("pushes", "event_id IS NULL"), ("events", "1 = 1")):
            (a, first), (b, second) = tx.tuples(f"SELECT id, message FROM {table} WHERE {owner} ORDER BY id")
            for one, sealed in ((a, second), (b, first)):
                tx.run(f"UPDATE {table} SET message = :sealed WHERE id = :id", sealed=sealed, id=one)
    assert delivery.claim(db, play.now, 10) == []
    assert [one["cause"] for one in play.rows("SELECT cause FROM pushes")] == ["unreadable"] * 4


# ── whose turn it is ─────────────────────────────────────────────────────────────────────────────────────────────────


def web(play: Play, user_id: int, serial: int = 0) -> int:
    """Subscribe a browser of a user. Returns the id of the subscription."""
    keys = {"web_auth": "A" * 22, "web_p256dh": POINT}
    return play.device(
        user_id, f"https://push.example.org/{user_id}/{serial}", channel="web", platform="web", **keys
    ).id


def flood(play: Play, senders: int, pushes: int) -> list[int]:
    """Queue so many pushes for each of so many senders, one sender after the other. Returns the senders' ids."""
    target = play.person("target")
    play.device(target.id, "fcm-token-target")
    found = [play.person(f"sender{n}").id for n in range(senders)]
    for sender in found:
        for _ in range(pushes):
            tell(play, sender, target.id)
    return found


def tell(play: Play, sender: int, to: int) -> None:
    event = events.Event(payload={"message": "hi"}, to=events.Recipients(ids=[to]))
    events.send(play.db, LIMITS, play.caller(sender), event, play.now)


def senders_of(due: list[Due]) -> list[int]:
    return [one.sender_id for one in sorted(due, key=lambda one: one.message.id)]


def test_senders_take_turns_and_whoever_comes_last_goes_among_the_first(db):
    play = Play(db)
    one, two = flood(play, 2, 6)
    cat = play.person("cat")
    play.device(cat.id, "fcm-token-cat0")
    assert sorted(senders_of(delivery.claim(db, play.now, 4))) == [one, one, two, two]
    tell(play, cat.id, cat.id)
    assert sorted(senders_of(delivery.claim(db, play.now, 3))) == [one, two, cat.id]


def test_a_joined_push_takes_its_turn_beside_events_and_they_beside_it(db):
    play = Play(db)
    (sender,) = flood(play, 1, 6)
    found = holders(play, 6)
    due = delivery.claim(db, play.now, 6)
    assert sorted(one.joined for one in due) == [False] * 3 + [True] * 3
    assert {one.user_id for one in due if one.joined} <= set(found)
    assert {one.sender_id for one in due if not one.joined} == {sender}


def test_first_attempts_go_before_repeats_which_still_have_a_share(db):
    play = Play(db)
    flood(play, 1, 8)
    old = [one.message.id for one in delivery.claim(db, play.now, 4)]
    play.now += LEASE_SECONDS  # nobody has recorded what became of them
    due = delivery.claim(db, play.now, 4)
    assert [one.message.id in old for one in due] == [False, False, False, True]
    assert len(delivery.claim(db, play.now, 10)) == 4
    assert delivery.claim(db, play.now, 10) == []


def test_where_few_places_are_left_they_are_for_senders_with_few_in_flight(db):
    play = Play(db)
    one, two, three = flood(play, 3, 6)
    room = Room(10, [one], 2)
    assert sorted(senders_of(delivery.claim(db, play.now, 99, {f"{play.app_id}:gcm": room}))) == [
        two,
        two,
        three,
        three,
    ]


@pytest.mark.parametrize("most, claimed", [(2, 2), (4, 4), (99, 10)])
def test_every_lane_gets_a_share(db, most, claimed):
    play = Play(db)
    bob = play.person("bob")
    play.device(bob.id, "fcm-token-0001")
    play.device(bob.id, "ab" * 32, channel="apns", platform="ios")
    for _ in range(5):
        tell(play, bob.id, bob.id)
    lanes = [one.lane for one in delivery.claim(db, play.now, most)]
    assert len(lanes) == claimed and lanes.count(f"{play.app_id}:gcm") == claimed // 2


# ── endpoints that do not answer ─────────────────────────────────────────────────────────────────────────────────────


def attempted(play: Play, receipt: Receipt) -> Due:
    """Send one push to the only device, with this receipt."""
    (user,) = play.rows("SELECT user_id FROM subscriptions")
    tell(play, user["user_id"], user["user_id"])
    (due,) = delivery.claim(play.db, play.now, 1)
    delivery.record(play.db, [Attempt(due=due, receipt=receipt, began_at=play.now)], play.now)
    with play.db.write() as tx:
        tx.run("DELETE FROM pushes")
    return due


SILENT = Receipt(Outcome.LATER, "push.example.org does not answer (it took too long)", silent=True)
BUSY = Receipt(Outcome.LATER, "too many pushes (429)")
OURS = Receipt(Outcome.LATER, "the database could not be reached", silent=None)
TAKEN = Receipt(Outcome.ACCEPTED)


@pytest.mark.parametrize(
    "receipts, stays",
    [
        ([SILENT, SILENT], False),
        ([SILENT, OURS, SILENT], False),
        ([TAKEN, SILENT, SILENT], True),
        ([SILENT, TAKEN, SILENT], True),
        ([SILENT, BUSY, SILENT], True),
        ([OURS, OURS, OURS], True),
        ([SILENT], True),
    ],
)
def test_an_endpoint_that_has_never_answered_in_a_day_of_attempts_is_removed(db, receipts, stays):
    play = Play(db)
    web(play, play.person("bob").id)
    for receipt in receipts:
        attempted(play, receipt)
        play.now += DAY
    assert bool(play.rows("SELECT * FROM subscriptions")) is stays


def test_less_than_a_day_of_silence_removes_nobody(db):
    play = Play(db)
    web(play, play.person("bob").id)
    attempted(play, SILENT)
    play.now += DAY - 1
    attempted(play, SILENT)
    assert len(play.rows("SELECT * FROM subscriptions")) == 1


def test_no_token_is_at_fault_where_its_provider_does_not_answer(db):
    play = Play(db)
    play.device(play.person("bob").id, "fcm-token-0001")
    for _ in range(3):
        attempted(play, SILENT)
        play.now += DAY
    assert len(play.rows("SELECT * FROM subscriptions")) == 1


def test_the_push_and_what_else_waits_for_a_removed_endpoint_are_over(db):
    play = Play(db)
    bob = play.person("bob").id
    web(play, bob)
    attempted(play, SILENT)
    play.now += DAY
    for _ in range(2):
        tell(play, bob, bob)
    (due, _) = delivery.claim(play.db, play.now, 2)
    delivery.record(play.db, [Attempt(due=due, receipt=SILENT, began_at=play.now)], play.now)
    play.now += LEASE_SECONDS
    assert delivery.claim(play.db, play.now, 2) == []
    reasons = [(row["outcome"], row["reason"]) for row in play.rows("SELECT outcome, reason FROM pushes ORDER BY id")]
    assert sorted(reasons) == [("gone", delivery.ENDED), ("gone", delivery.NEVER_ANSWERED)]


def test_endpoints_that_answer_have_a_lane_of_their_own(db):
    play = Play(db)
    bob = play.person("bob").id
    web(play, bob)
    lanes = [attempted(play, receipt).lane for receipt in (BUSY, SILENT, TAKEN, TAKEN)]
    assert lanes == [f"{play.app_id}:web{sign}" for sign in ("?", "", "?", "")]
    with play.db.write() as tx:
        tx.run("DELETE FROM subscriptions")
    web(play, bob, serial=1)
    assert attempted(play, TAKEN).lane == f"{play.app_id}:web?"


def test_a_new_endpoint_of_the_same_browser_is_not_judged_by_the_old_one(db):
    play = Play(db)
    bob = play.person("bob").id
    keys = {"web_auth": "A" * 22, "web_p256dh": POINT, "channel": "web", "platform": "web", "device": "browser"}
    play.device(bob, "https://push.example.org/old", **keys)
    attempted(play, SILENT)
    play.now += DAY
    play.device(bob, "https://push.example.org/new", **keys)
    attempted(play, SILENT)
    assert len(play.rows("SELECT * FROM subscriptions WHERE silent_since = :now", now=play.now)) == 1


@pytest.mark.parametrize(
    "lane, places", [("1:web", 75), ("1:web?", 75), ("1:webhook", 100), ("1:gcm", 100), ("1:of-another-version", 100)]
)
def test_places_are_reserved_only_where_subscribers_name_the_host(lane, places):
    assert delivery.shared(lane, 100) == places
