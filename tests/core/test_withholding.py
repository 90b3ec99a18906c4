"""Pushes that wait when the joined user changes who is told. On both databases."""

import pytest
from core.joining import ANN, BOB, CLEO, DAY, LIMITS, Play

from ringbook.core import delivery, discovery, user_record, withholding
from ringbook.core.delivery import Attempt
from ringbook.model import Entry
from ringbook.push.transport import Cause, Outcome, Receipt


@pytest.fixture
def play(db):
    """Bob and Cleo have Ann's number, and Ann has joined. The pushes wait."""
    play = Play(db)
    play.bob, play.cleo = (holder(play, login, phone) for login, phone in (("bob", BOB), ("cleo", CLEO)))
    play.ann = play.person("ann", ANN).id
    play.tell()
    return play


def holder(play: Play, login: str, phone: str, devices: int = 1) -> int:
    user = play.person(login, phone)
    play.holds(user.id, (ANN, "Ann"))
    for n in range(devices):
        play.device(user.id, f"token-of-{login}-{n}")
    return user.id


def sent(play: Play, most: int = 10) -> list[int]:
    """Send what is due. Returns the recipients."""
    dues = delivery.claim(play.db, play.now, most)
    accepted = [Attempt(due=due, receipt=Receipt(Outcome.ACCEPTED), began_at=play.now) for due in dues]
    delivery.record(play.db, accepted, play.now)
    return sorted(due.user_id for due in dues)


def outcomes(play: Play) -> list[tuple[int, str | None, str | None]]:
    rows = play.rows("SELECT user_id, outcome, cause FROM pushes ORDER BY user_id, id")
    return [(row["user_id"], row["outcome"], row["cause"]) for row in rows]


def told(play: Play) -> list[int]:
    return [row["owner_id"] for row in play.rows("SELECT owner_id FROM announced ORDER BY owner_id")]


@pytest.mark.parametrize("kind", ["announce", "discoverable"])
def test_pushes_of_a_user_who_now_wants_nobody_to_be_told_do_not_leave(play, kind):
    play.prefers(play.ann, **{kind: "nobody"})
    assert sent(play) == []
    hides = ("gone", Cause.CONTACT_HIDES.value)
    assert outcomes(play) == [(play.bob, *hides), (play.cleo, *hides)]
    assert play.rows("SELECT DISTINCT number, digits, reason FROM pushes") == [
        {"number": None, "digits": None, "reason": withholding.REASON}
    ]
    assert told(play) == []


def test_they_leave_when_the_user_wants_it_again(play):
    play.prefers(play.ann, announce="nobody")
    assert sent(play) == []
    play.prefers(play.ann, announce="everyone")
    play.tell()
    assert sent(play) == [play.bob, play.cleo]


def test_who_changes_there_and_back_before_they_leave_changes_nothing(play):
    play.prefers(play.ann, announce="nobody")
    play.prefers(play.ann, announce="everyone")
    play.tell()
    assert sent(play) == [play.bob, play.cleo]


def test_of_a_user_who_now_wants_mutual_contacts_to_be_told_the_others_hear_when_they_are_such(play):
    play.holds(play.ann, (BOB, "Bob"))
    play.prefers(play.ann, announce="mutual")
    assert sent(play) == [play.bob]
    play.tell()
    assert (told(play), sent(play)) == ([play.bob], [])
    play.holds(play.ann, (CLEO, "Cleo"))
    play.tell()
    assert sent(play) == [play.cleo]


def test_mutual_contacts_who_are_none_any_more_are_not_told_and_told_when_they_are_again(play):
    dora = holder(play, "dora", "+12025550104")
    play.prefers(play.ann, announce="nobody")
    sent(play)
    play.prefers(play.ann, announce="mutual")
    play.holds(play.ann, ("+12025550104", "Dora"))
    play.tell()
    gone = [Entry("+12025550104", None, destroy=True)]
    discovery.upload(play.db, LIMITS, play.caller(play.ann), gone, now=play.now)
    assert sent(play) == []
    play.holds(play.ann, ("+12025550104", "Dora"))
    play.tell()
    assert sent(play) == [dora]


def test_whoever_got_it_on_one_device_is_not_told_again(db):
    play = Play(db)
    bob = holder(play, "bob", BOB, devices=3)
    ann = play.person("ann", ANN).id
    play.tell()
    assert sent(play, 1) == [bob]
    play.prefers(ann, announce="nobody")
    assert sent(play) == []
    assert told(play) == [bob]
    play.prefers(ann, announce="everyone")
    play.tell()
    assert sent(play) == []


def test_all_devices_of_a_holder_are_withheld_together(db):
    play = Play(db)
    bob = holder(play, "bob", BOB, devices=3)
    ann = play.person("ann", ANN).id
    play.tell()
    play.prefers(ann, announce="nobody")
    assert sent(play, 1) == []
    play.prefers(ann, announce="everyone")
    play.tell()
    assert sent(play) == [bob] * 3


def test_a_verified_user_who_hides_is_not_announced_as_a_typed_one_later(db):
    """Bob may have heard of the number before it was verified."""
    play = Play(db)
    play.set(require_verified_number="off")
    bob = holder(play, "bob", BOB)
    ann = play.person("ann", ANN).id
    play.tell()
    assert sent(play) == [bob]
    play.changes_verified(ann, ANN)
    play.tell()
    play.prefers(ann, announce="nobody")
    assert sent(play) == []
    play.changes_verified(ann, CLEO)
    play.person("impostor", ANN)
    play.tell()
    assert sent(play) == []


def test_a_wish_that_changes_between_the_claim_and_the_withholding_is_heard(play, monkeypatch):
    play.prefers(play.ann, announce="nobody")
    withdraw = withholding.withdraw

    def later(db, rows, now):
        play.prefers(play.ann, announce="everyone")
        return withdraw(db, rows, now)

    monkeypatch.setattr(withholding, "withdraw", later)
    assert sent(play) == []
    monkeypatch.undo()
    play.tell()
    assert sent(play) == [play.bob, play.cleo]
    assert told(play) == [play.bob, play.cleo]


def test_a_worker_that_dies_before_the_withholding_is_followed_by_another(play, monkeypatch):
    play.prefers(play.ann, announce="nobody")
    monkeypatch.setattr(withholding, "withdraw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        delivery.claim(play.db, play.now, 10)
    monkeypatch.undo()
    assert told(play) == [play.bob, play.cleo]
    play.now += delivery.LEASE_SECONDS
    assert sent(play) == []
    assert told(play) == []


def test_the_export_of_a_recipient_does_not_say_who_hides(play):
    play.prefers(play.ann, announce="nobody")
    assert sent(play) == []
    assert user_record.everything(play.db, play.bob)["pushes"] == []


# ── in digests ───────────────────────────────────────────────────────────────────────────────────────────────────────


def texts(play: Play) -> list[str]:
    """Send what is due. Returns the texts."""
    return [due.message.payload["message"] for due in delivery.claim(play.db, play.now, 10)]


@pytest.mark.parametrize("others", [False, True])
def test_who_hid_when_a_digest_left_is_announced_in_the_next_one_when_the_user_wants_it(db, others):
    play = Play(db)
    bob = play.person("bob", BOB).id
    play.holds(bob, (ANN, "Ann"), (CLEO, "Cleo"))
    play.device(bob, "token-of-bob-0")
    play.prefers(bob, digest=0)
    ann = play.person("ann", ANN).id
    if others:
        play.person("cleo", CLEO)
    play.tell()
    play.prefers(ann, announce="nobody")
    play.now += DAY
    assert texts(play) == (["Your friend Cleo joined."] if others else [])
    play.prefers(ann, announce="everyone")
    play.tell()
    play.now += DAY
    assert "Your friend Ann joined." in texts(play)


def test_who_was_in_a_digest_on_one_device_is_not_announced_again(db):
    play = Play(db)
    bob = holder(play, "bob", BOB, devices=2)
    play.prefers(bob, digest=0)
    ann = play.person("ann", ANN).id
    play.tell()
    play.now += DAY
    assert sent(play, most=1) == [bob]
    play.prefers(ann, announce="nobody")
    assert sent(play, most=1) == []
    play.prefers(ann, announce="everyone")
    play.tell()
    play.now += DAY
    assert sent(play) == []
    assert told(play) == [bob]
