"""When a fact is recorded that a user has joined. On both databases."""

from contextlib import suppress

import pytest
from asking import at_once
from core.joining import ANN, BOB, CLEO, DAY, LIMITS, Play

from ringbook import errors
from ringbook.core import imports, preferences, users
from ringbook.core.profile import columns


@pytest.fixture
def play(db):
    return Play(db)


def test_a_sign_up_with_a_number_is_a_fact(play):
    ann = play.person("ann", ANN)
    assert play.facts() == [(ann.id, 0)]


def test_a_sign_up_without_a_number_is_none(play):
    play.person("ann")
    assert play.facts() == []


def test_a_first_or_another_number_is_a_fact_and_the_same_in_another_spelling_is_none(play):
    ann = play.person("ann")
    play.changes(ann.id, phone=ANN)
    play.changes(ann.id, phone="+1 (202) 555-0101")
    play.changes(ann.id, full_name="Ann")
    assert play.facts() == [(ann.id, 0)]
    play.changes(ann.id, phone=CLEO)
    assert play.facts() == [(ann.id, 0)] * 2


def test_a_phone_sign_in_is_one_verified_fact_and_the_next_one_is_none(play):
    ann = play.verified(ANN)
    assert play.facts() == [(ann, 1)]
    assert play.verified(ANN) == ann
    assert play.facts() == [(ann, 1)]


def test_a_number_that_becomes_verified_is_a_fact(play):
    ann = play.person("ann", ANN)
    play.tell()
    play.set(require_verified_number="off")
    user_id = ann.id
    users.update(play.db, LIMITS, play.caller(user_id), user_id, {}, session=b"", now=play.now, verified_phone=ANN)
    assert play.facts() == [(ann.id, 1)]


def test_a_proof_right_after_the_sign_up_makes_one_fact_of_both(play):
    ann = play.person("ann", ANN)
    users.update(play.db, LIMITS, play.caller(ann.id), ann.id, {}, session=b"", now=play.now, verified_phone=ANN)
    assert play.facts() == [(ann.id, 1)]


def test_where_only_verified_numbers_count_a_typed_one_is_no_fact(play):
    play.set(require_verified_number="on")
    play.person("ann", ANN)
    assert play.facts() == []


def test_with_the_setting_off_there_are_no_facts_and_switching_it_on_makes_none(play):
    play.set(contact_joined_enabled="false")
    play.person("ann", ANN)
    bob = play.verified(BOB)
    play.set(contact_joined_enabled="true")
    assert play.verified(BOB) == bob
    assert play.facts() == []


def test_guests_are_not_announced(play):
    guest = users.guest(play.db, LIMITS, play.app, "Guest", "192.0.2.1", play.now)
    with pytest.raises(errors.Refused):
        play.changes(guest.id, phone=ANN)
    assert play.facts() == []


def test_imported_users_are_not_announced_now_or_at_their_first_sign_in(play, tmp_path):
    file = tmp_path / "users.csv"
    file.write_text(f"id,login,phone,verified\n700,ann,{ANN},1\n701,bob,{BOB},0\n")
    imports.import_users(play.db, play.app, imports.Lines(file), dry_run=False, progress=lambda *_: None, now=play.now)
    assert [play.verified(ANN), play.verified(BOB)] == [700, 701]
    play.changes(700, full_name="Ann")
    assert play.facts() == []


def test_a_user_is_announced_three_times_in_a_day_and_the_fourth_is_dropped(play):
    ann = play.person("ann", ANN)
    for phone in (BOB, CLEO, "+12025550104"):
        play.changes(ann.id, phone=phone)
        play.tell()
    assert len(play.rows("SELECT id FROM joined")) == 3
    play.now += DAY - 1
    play.changes(ann.id, phone="+12025550105")
    assert len(play.rows("SELECT id FROM joined")) == 3
    play.now += 1
    play.changes(ann.id, phone="+12025550106")
    assert len(play.rows("SELECT id FROM joined")) == 4


def test_a_clock_that_was_far_ahead_does_not_keep_a_user_from_being_announced(play):
    play.now += 300 * DAY
    ann = play.person("ann", ANN)
    for phone in (BOB, CLEO):
        play.changes(ann.id, phone=phone)
        play.tell()
    play.now -= 300 * DAY
    play.changes(ann.id, phone="+12025550105")
    assert len(play.rows("SELECT id FROM joined")) == 4


def test_many_changes_at_once_do_not_get_past_the_limit(play):
    ann = play.person("ann")
    phones = [f"+120255501{n:02}" for n in range(20, 28)]

    def change(phone):
        with suppress(errors.Unavailable):
            play.changes(ann.id, phone=phone)

    at_once([lambda phone=phone: change(phone) for phone in phones])
    assert 1 <= len(play.rows("SELECT id FROM joined")) <= 3


def test_a_fact_costs_the_same_however_many_hold_the_number(play):
    """A sign-up writes one row, however many holders there are."""
    for n in range(5):
        holder = play.person(f"holder{n}")
        play.holds(holder.id, (ANN, "Ann"))
        play.device(holder.id, f"fcm-token-{n:04}")
    play.person("ann", ANN)
    assert len(play.rows("SELECT id FROM joined")) == 1
    assert play.rows("SELECT id FROM pushes") == []


# ── when, and who is told ────────────────────────────────────────────────────────────────────────────────────────────


def due(play: Play) -> list[int]:
    """In how many seconds each waiting fact is due."""
    rows = play.rows("SELECT due_at FROM joined WHERE done_at IS NULL ORDER BY id")
    return [row["due_at"] - play.now for row in rows]


def test_a_fact_is_due_after_the_delay_in_which_an_app_can_ask_the_user(play):
    play.set(contact_joined_delay_seconds="120")
    play.person("ann", ANN)
    assert due(play) == [120]
    play.tell()
    assert len(play.facts()) == 1
    play.now += 120
    play.tell()
    assert play.facts() == []


def test_a_proof_within_the_delay_does_not_prolong_it(play):
    play.set(contact_joined_delay_seconds="120")
    ann = play.person("ann", ANN)
    play.now += 60
    play.changes_verified(ann.id, ANN)
    assert (play.facts(), due(play)) == ([(ann.id, 1)], [60])


def test_a_preference_with_the_sign_up_makes_no_second_fact(play):
    play.set(contact_joined_announce="nobody")
    chosen = preferences.checked(play.app, {"announce": "everyone"})
    with play.db.write() as tx:
        ann = users.add(tx, play.app, columns({"login": "ann", "phone": ANN}), play.now, chosen=chosen)
    assert play.facts() == [(ann.id, 0)]


@pytest.mark.parametrize(
    "before, after, again",
    [
        ("nobody", "everyone", True),
        ("nobody", "mutual", True),
        ("mutual", "everyone", True),
        ("everyone", "mutual", False),
        ("everyone", "nobody", False),
        ("mutual", "nobody", False),
    ],
)
def test_a_wider_preference_announces_the_present_number_again_where_no_fact_waits(play, before, after, again):
    ann = play.person("ann", ANN)
    play.prefers(ann.id, announce=before)
    play.tell()
    with play.db.write() as tx:
        tx.run("UPDATE joined SET done_at = :now WHERE done_at IS NULL", now=play.now)
    play.prefers(ann.id, announce=after)
    assert play.facts() == ([(ann.id, 0)] if again else [])
    play.prefers(ann.id, announce=after)
    assert len(play.facts()) == int(again)


def test_beyond_three_in_a_day_a_changed_preference_waits_until_it_may_be_announced(play):
    ann = play.person("ann", ANN)
    for hours in (1, 2):
        play.tell()
        play.prefers(ann.id, announce="nobody")
        play.now += 3_600
        play.prefers(ann.id, announce="everyone")
        assert due(play) == [0], hours
    play.tell()
    play.prefers(ann.id, announce="nobody")
    play.now += 3_600
    play.prefers(ann.id, announce="everyone")
    assert due(play) == [DAY - 3 * 3_600]  # a day after the sign-up
    for _ in range(3):  # what waits is there once
        play.prefers(ann.id, announce="nobody")
        play.prefers(ann.id, announce="everyone")
    assert len(play.facts()) == 1


def test_no_fact_comes_of_a_preference_where_the_user_would_not_be_announced_anyway(play):
    play.set(require_verified_number="on")
    ann = play.person("ann", ANN)
    guest = users.guest(play.db, LIMITS, play.app, "Guest", "192.0.2.1", play.now)
    for user_id in (ann.id, guest.id, play.person("nobody").id):
        play.prefers(user_id, announce="nobody")
        play.prefers(user_id, announce="everyone")
    assert play.facts() == []
    play.set(require_verified_number="off", contact_joined_enabled="off")
    play.prefers(ann.id, announce="nobody")
    play.prefers(ann.id, announce="everyone")
    assert play.facts() == []
