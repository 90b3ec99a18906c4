"""The diagnosis "Why not found?": its steps, and the first step that says no."""

import msgspec
import pytest
from core.joining import ANN, BOB, CLEO, NOW, Play

from ringbook import errors
from ringbook.core import audit, delivery, diagnosis, numbers, preferences
from ringbook.core.audit import Actor
from ringbook.core.delivery import Attempt
from ringbook.core.diagnosis import Answer
from ringbook.core.findings import FINDINGS, Finding, Step
from ringbook.core.push_trace import NO_WORKER, OBSTACLES, Obstacle
from ringbook.push.transport import Outcome, Receipt
from ringbook.store import books, buckets
from ringbook.store.numbers import keyed_all

EVE = Actor("eve@example.com", "", NOW)
STEPS = [
    "as typed",
    "as read",
    "in an address book",
    "registered",
    "verified",
    "may be found",
    "found by the app",
    "announced",
    "notified",
    "device",
    "push",
]


@pytest.fixture
def play(db):
    """Bob looks for Ann."""
    play = Play(db)
    play.bob = play.person("bob", BOB).id
    return play


def asked(play: Play, typed: str = ANN, **more) -> Answer:
    return diagnosis.diagnose(play.db, play.bob, typed, play.now, **more)


def step(answer: Answer, what: str) -> Step:
    return next(one for one in answer.steps if one.what == what)


def first_no(answer: Answer) -> Step:
    return next(one for one in answer.steps if one.state == "no")


def settle(play: Play, outcome: Outcome, reason: str = "") -> None:
    due = delivery.claim(play.db, play.now, 10)
    attempts = [Attempt(due=one, receipt=Receipt(outcome, reason), began_at=play.now) for one in due]
    delivery.record(play.db, attempts, play.now)


def all_is_well(play: Play) -> None:
    play.holds(play.bob, (ANN, "Annie"))
    play.device(play.bob, "fcm-token-of-bob")
    play.ann = play.person("ann", ANN).id
    play.tell()
    settle(play, Outcome.ACCEPTED)


def test_where_all_is_well_every_step_says_yes(play):
    all_is_well(play)
    found = asked(play)
    assert [one.what for one in found.steps] == STEPS
    assert {one.state for one in found.steps} == {"yes"}
    assert found.found and found.verdict == f"found: the app of user {play.bob} is shown user {play.ann}"
    assert step(found, "as read").seen.startswith("12025550101 (US), without a default_region")
    assert f"lists user {play.ann}" in step(found, "found by the app").seen
    assert "notified of this number 2027-01-15 08:00 UTC" in step(found, "notified").seen
    assert "by gcm: accepted" in step(found, "push").seen


def test_what_cannot_be_read_ends_there(play):
    for typed, finding in (("12345", Finding.WRONG_LENGTH), ("ask Ann", Finding.NOT_DIGITS)):
        found = asked(play, typed)
        assert [one.what for one in found.steps] == ["as typed", "as read"]
        assert first_no(found).finding == finding.value
        assert not found.found and FINDINGS[finding].seen in found.verdict


def test_a_number_in_no_book_says_whether_there_are_books(play):
    play.person("ann", ANN)
    assert first_no(asked(play)).finding == Finding.NO_CONTACTS.value
    play.holds(play.bob, (CLEO, "Cleo"), device="phone-1")
    no = first_no(asked(play))
    assert no.what == "in an address book" and "the book of device phone-1: 1, 2027-01-15 08:00 UTC" in no.seen


def test_a_number_that_was_read_otherwise_is_recognised_by_its_end(play):
    ann = play.person("ann", "+44 7700 900101").id
    play.holds(play.bob, ("07700 900101", "Annie"))
    no = first_no(asked(play, "+44 7700 900101"))
    assert no.what == "in an address book" and "one of 11 digits, of no known country" in no.seen
    assert "07700900101" not in str(asked(play, "+44 7700 900101")) and no.finding == Finding.SIMILAR_IN_BOOK.value
    assert "07700900101" in first_no(asked(play, "+44 7700 900101", names=True)).seen
    no = first_no(asked(play, "07700 900101"))
    assert no.what == "registered"
    play.holds(play.bob, ("+44 7700 900101", "Annie"))
    play.holds(play.bob, ("+44 7700 900101", "Annie"), device="other")
    assert asked(play, "+44 7700 900101").found
    found = asked(play, "447700900101")
    assert found.found and f"user {ann}" in found.verdict


def test_a_contact_that_was_removed_lately_is_said_to_be(play):
    play.person("ann", ANN)
    play.holds(play.bob, (ANN, "Annie"), (CLEO, "Cleo"))
    with play.db.write() as tx:
        books.drop(tx, play.bob, 0, [tx.seal.number(play.app_id, 12025550101)])
    assert first_no(asked(play)).finding == Finding.NOT_IN_BOOK.value
    with play.db.write() as tx:
        buckets.remember_removed(tx, play.app_id, play.bob, keyed_all(tx, play.app_id, [12025550101]), NOW)
    assert first_no(asked(play)).finding == Finding.REMOVED.value


def test_nobody_registered_is_said_so(play):
    play.holds(play.bob, (ANN, "Annie"))
    assert first_no(asked(play)).finding == Finding.NOT_REGISTERED.value


def test_a_number_that_nobody_has_verified_counts_or_not_as_the_setting_says(play):
    play.holds(play.bob, (ANN, "Annie"))
    ann = play.person("ann", ANN).id
    assert step(asked(play), "verified").finding == Finding.UNVERIFIED_COUNTS.value
    play.set(require_verified_number="on")
    found = asked(play)
    assert not found.found and first_no(found).finding == Finding.NOT_VERIFIED.value
    numbers.give(play.db, play.app, ann, ANN, NOW)
    found = asked(play)
    assert found.found and f"by user {ann}; only verified numbers count" in step(found, "verified").seen


def test_who_hides_is_said_to_and_where_only_mutual_contacts_find_what_is_missing(play):
    all_is_well(play)
    chosen = preferences.change(play.db, play.caller(play.ann), {"discoverable": "nobody"}, now=play.now)
    no = first_no(asked(play))
    assert chosen.discoverable == "nobody" and no.finding == Finding.HIDES.value
    assert no.seen == f"user {play.ann} wants to be found by nobody"
    preferences.change(play.db, play.caller(play.ann), {"discoverable": "mutual"}, now=play.now)
    no = first_no(asked(play))
    assert no.finding == Finding.HIDES.value
    assert no.seen.endswith(f"of user {play.ann} too, and user {play.ann} has no number of user {play.bob}")
    play.holds(play.ann, (BOB, "Bob"))
    found = asked(play)
    assert found.found and step(found, "may be found").finding == Finding.MAY_BE_FOUND.value
    assert step(found, "may be found").seen.endswith(f"an address book of user {play.ann} too")


def test_who_wants_nobody_or_only_mutual_contacts_to_be_told_is_said_to(play):
    play.holds(play.bob, (ANN, "Annie"))
    play.ann = play.person("ann", ANN).id
    play.prefers(play.ann, announce="nobody")
    play.tell()
    announced = step(asked(play), "announced")
    assert (announced.finding, announced.seen) == (
        Finding.NOT_TOLD.value,
        f"user {play.ann} wants nobody to be told",
    )
    play.prefers(play.ann, announce="mutual")
    play.tell()
    assert f"and user {play.ann} has no number of user {play.bob}" in step(asked(play), "announced").seen
    play.holds(play.ann, (BOB, "Bob"))
    play.tell()
    announced = step(asked(play), "announced")
    assert announced.finding == Finding.ANNOUNCED.value
    assert "announced to mutual contacts, and to those whose numbers the user adds before 2027-02-14" in announced.seen
    assert step(asked(play), "notified").finding == Finding.NOTIFIED.value


def test_a_card_that_is_off_an_import_and_an_old_friend_are_not_announced(play):
    play.holds(play.bob, (ANN, "Annie"))
    play.set(contact_joined_enabled="off")
    ann = play.person("ann", ANN).id
    assert step(asked(play), "announced").finding == Finding.ANNOUNCING_OFF.value
    play.set(contact_joined_enabled="on")
    found = asked(play)
    assert step(found, "announced").finding == Finding.NO_ANNOUNCEMENT.value
    assert step(found, "notified").finding == Finding.NOT_NOTIFIED.value
    assert found.verdict.startswith("found: ") and "not notified" in found.verdict
    with play.db.write() as tx:
        tx.run("UPDATE users SET imported_at = 5 WHERE id = :id", id=ann)
    assert step(asked(play), "announced").finding == Finding.IMPORTED.value


def test_a_fact_that_waits_asks_for_a_worker(play):
    play.holds(play.bob, (ANN, "Annie"))
    play.person("ann", ANN)
    assert NO_WORKER in step(asked(play), "announced").seen


def test_a_device_that_gets_none_is_named(play):
    play.holds(play.bob, (ANN, "Annie"))
    play.person("ann", ANN)
    assert step(asked(play), "device").todo == OBSTACLES[Obstacle.NO_SUBSCRIPTION]
    play.device(play.bob, "fcm-token-of-bob", environment="development")
    device = step(asked(play), "device")
    assert device.state == "no" and device.seen == "1 gcm development"
    assert device.todo == OBSTACLES[Obstacle.ONLY_DEVELOPMENT]
    play.set(contact_joined_development="on")
    assert step(asked(play), "device").state == "yes"


def test_a_push_that_is_parked_says_what_to_do(play):
    play.holds(play.bob, (ANN, "Annie"))
    play.device(play.bob, "fcm-token-of-bob")
    play.person("ann", ANN)
    play.tell()
    assert step(asked(play), "push").finding == Finding.PUSH_WAITING.value
    settle(play, Outcome.REFUSED, "fcm_service_account is not set")
    push = step(asked(play), "push")
    assert (
        push.finding == Finding.PUSH_FAILED.value
        and "fcm_service_account is not set" in push.seen
        and "ringbook push retry" in push.todo
    )


def test_names_show_only_when_asked_for_and_that_is_written_down(play):
    all_is_well(play)
    assert "Annie" not in msgspec.json.encode(asked(play, by=EVE)).decode()
    (entry,) = audit.page(play.db, 10)  # whether a number is in somebody's book is something, too
    assert (entry.action, entry.subject, entry.detail) == ("number looked for", f"user {play.bob}", "…01")
    assert "as “Annie”" in step(asked(play, names=True, by=EVE), "in an address book").seen
    entry = audit.page(play.db, 10)[0]
    assert (entry.action, entry.subject, entry.detail) == ("contacts revealed", f"user {play.bob}", "…01")


def test_one_is_not_announced_to_oneself(play):
    play.holds(play.bob, (BOB, "Me"))
    found = asked(play, BOB)
    assert found.found and "(the same user)" in step(found, "registered").seen
    assert step(found, "announced").finding == Finding.NOBODY_TO_ANNOUNCE.value


def test_every_finding_has_its_sentence():
    assert set(FINDINGS) == set(Finding)
    assert [text.what for text in FINDINGS.values() if text.what not in STEPS] == []


def test_an_unknown_user_is_not_found(play):
    with pytest.raises(errors.NotFound, match="no user 999"):
        diagnosis.diagnose(play.db, 999, ANN, NOW)


def befriended(play: Play, **chosen: object) -> None:
    """Bob has a device and holds Ann's number, and chooses; then she joins."""
    play.holds(play.bob, (ANN, "Ann"))
    play.device(play.bob, "fcm-token-of-bob")
    preferences.change(play.db, play.caller(play.bob), chosen, now=play.now)
    play.person("ann", ANN)
    play.tell()


def test_quiet_hours_a_digest_and_no_pushes_are_explained(play):
    befriended(play, quiet=("22:00", "10:00"), time_zone="Europe/Berlin")
    assert "at 10:00 of Europe/Berlin on 2027-01-15" in step(asked(play), "push").todo
    preferences.change(play.db, play.caller(play.bob), {"notify": False}, now=play.now)
    device = step(asked(play), "device")
    assert (device.state, device.todo) == ("no", OBSTACLES[Obstacle.NOTIFY_OFF])


def test_a_contact_in_a_digest_has_the_push_of_the_digest(play):
    befriended(play, digest=0)
    push = step(asked(play), "push")
    assert push.finding == Finding.PUSH_WAITING.value
    assert "it is a digest of who joins in 24 hours, and leaves at 08:00 of UTC on 2027-01-16" in push.todo
