"""The recipient is not disturbed: no pushes, quiet hours, digests and languages. On both databases."""

import json
from collections import Counter
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from core.joining import DAY, LIMITS, Play

from ringbook.core import announcing, delivery, discovery, preferences, users
from ringbook.model import Entry
from ringbook.push.transport import ACCEPTED, Cause, Outcome, Receipt
from ringbook.store import joined as store
from ringbook.store import pushes

BERLIN = ZoneInfo("Europe/Berlin")
NUMBERS = [f"+1202555{100 + n:04}" for n in range(12)]
NAMES = ["Annie", "Bob", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Joe", "Kim", "Leo"]
QUIET = ("22:00", "08:00")


def at(text: str) -> int:
    """UTC seconds of a time in Berlin."""
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp())


EVENING, MORNING = at("2027-01-15 23:00"), at("2027-01-16 08:00")


@pytest.fixture
def play(db):
    return Play(db, now=EVENING)


def holder(play: Play, login: str = "holder", **chosen: object) -> int:
    """A user who holds all numbers, has a device, and has chosen."""
    user = play.person(login)
    play.holds(user.id, *zip(NUMBERS, NAMES, strict=True))
    play.device(user.id, f"fcm-token-of-{login}")
    if chosen:
        choose(play, user.id, **chosen)
    return user.id


def choose(play: Play, user_id: int, **chosen: object) -> None:
    preferences.change(play.db, play.caller(user_id), chosen, now=play.now)


def sleeper(play: Play, login: str = "sleeper", **chosen: object) -> int:
    """The same in quiet hours until 08:00 of Berlin."""
    return holder(play, login, quiet=QUIET, time_zone="Europe/Berlin", **chosen)


def joins(play: Play, *which: int) -> list[int]:
    """People with these numbers sign up, one after the other. Returns their ids."""
    found = []
    for n in which:
        found.append(play.person(f"joiner{n}", NUMBERS[n]).id)
        play.tell()
    return found


def claimed(play: Play) -> list[tuple[int, str]]:
    """The recipients and texts of the pushes that are claimed now."""
    return [(due.user_id, due.message.payload["message"]) for due in delivery.claim(play.db, play.now, 100)]


def accepted(play: Play) -> list[tuple[int, str]]:
    """The same, and the provider has them."""
    due = delivery.claim(play.db, play.now, 100)
    attempts = [delivery.Attempt(due=one, receipt=ACCEPTED, began_at=play.now) for one in due]
    delivery.record(play.db, attempts, play.now)
    return [(one.user_id, one.message.payload["message"]) for one in due]


def queue(play: Play) -> list[tuple[int, int, str | None]]:
    """The pushes that wait: recipient, seconds until each is due, and what it waits for."""
    sql = "SELECT user_id, due_at, waits FROM pushes WHERE outcome IS NULL ORDER BY user_id, due_at"
    return [(row["user_id"], row["due_at"] - play.now, row["waits"]) for row in play.rows(sql)]


# ── notify ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_wants_no_pushes_gets_none_and_has_the_user_in_the_list(play):
    silent, other = holder(play, "silent", notify=False), holder(play, "other")
    joins(play, 0)
    assert play.pushes() == [(other, "Your friend Annie joined.")]
    assert {row["owner_id"] for row in play.rows("SELECT owner_id FROM announced")} == {silent, other}


def test_who_wants_no_pushes_any_more_does_not_get_those_that_wait(play):
    user = holder(play)
    joins(play, 0)
    choose(play, user, notify=False)
    assert claimed(play) == []
    (push,) = play.rows("SELECT outcome, cause, reason, number FROM pushes")
    assert push["outcome"] == "gone" and push["cause"] == "notify off" and push["number"] is None
    assert push["reason"] == "the recipient wants no pushes about contacts who join"


def test_other_pushes_reach_who_wants_none_about_contacts(play):
    user = holder(play, notify=False, quiet=QUIET, time_zone="Europe/Berlin")
    row = (user, play.rows("SELECT id FROM subscriptions")[0]["id"], "gcm", "production", '{"message": "Hi"}')
    with play.db.write() as tx:
        pushes.add(tx, play.app_id, user, [(*row, None, f"{play.app_id}:gcm")], now=play.now, expires_at=play.now + DAY)
    assert claimed(play) == [(user, "Hi")]


# ── quiet hours ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_push_waits_until_quiet_hours_are_over(play):
    asleep, awake = sleeper(play), holder(play, "awake")
    joins(play, 0)
    assert claimed(play) == [(awake, "Your friend Annie joined.")]
    assert queue(play)[0] == (asleep, MORNING - EVENING, "quiet")
    play.now = MORNING - 1
    assert not any(who == asleep for who, _ in claimed(play))
    play.now = MORNING
    assert (asleep, "Your friend Annie joined.") in claimed(play)


def test_the_application_has_quiet_hours_for_users_with_a_time_zone(play):
    play.set(contact_joined_quiet="22:00-07:00")
    people = [
        holder(play, "elsewhere", time_zone="Asia/Tokyo"),
        holder(play, "here", time_zone="Europe/Berlin"),
        holder(play, "own", time_zone="Europe/Berlin", quiet=QUIET),
        holder(play, "none", time_zone="Europe/Berlin", quiet=None),
        holder(play, "unknown"),
    ]
    joins(play, 0)
    waits = [(who, seconds // 3600) for who, seconds, _ in sorted(queue(play))]
    tokyo = 7 - 7  # it is 07:00 there, so the hours are over
    assert waits == [(people[0], tokyo), (people[1], 8), (people[2], 9), (people[3], 0), (people[4], 0)]


def test_a_push_is_not_lost_when_quiet_hours_end_after_its_life(play):
    play.now = at("2027-01-15 21:00")
    user = sleeper(play)
    joins(play, 0)
    with play.db.write() as tx:  # it was retried by hand meanwhile
        tx.run("UPDATE pushes SET expires_at = :until", until=at("2027-01-16 22:30"))
    play.now = at("2027-01-16 22:10")
    assert claimed(play) == []
    (push,) = play.rows("SELECT attempts, due_at, expires_at, waits FROM pushes")
    morning = at("2027-01-17 08:00")
    assert push == {"attempts": 0, "due_at": morning, "expires_at": morning + DAY, "waits": "quiet"}
    play.now = morning
    assert accepted(play) == [(user, "Your friend Annie joined.")]


def test_a_repeat_waits_for_the_end_of_quiet_hours_too(play):
    play.now = at("2027-01-15 21:59:50")
    user = sleeper(play)
    joins(play, 0)
    (due,) = delivery.claim(play.db, play.now, 10)
    later = Receipt(Outcome.LATER, "busy", wait_seconds=60, cause=Cause.RATE_LIMITED)
    delivery.record(play.db, [delivery.Attempt(due=due, receipt=later, began_at=play.now)], play.now)
    play.now += 120
    assert claimed(play) == []
    assert play.rows("SELECT attempts, waits FROM pushes") == [{"attempts": 1, "waits": "quiet"}]
    play.now = MORNING
    assert accepted(play) == [(user, "Your friend Annie joined.")]


def test_a_push_of_quiet_hours_that_are_changed_is_looked_at_again(play):
    user = sleeper(play)
    joins(play, 0)
    choose(play, user, quiet=None)
    assert accepted(play) == [(user, "Your friend Annie joined.")]


def test_a_change_of_something_else_ends_no_quiet_hours(play):
    user = sleeper(play)
    joins(play, 0)
    choose(play, user, locale="de", digest=3)
    assert queue(play) == [(user, MORNING - EVENING, "quiet")]


def test_a_push_that_waits_is_withheld_at_once_from_who_wants_none_any_more(play):
    user = sleeper(play, digest=1)
    joins(play, 0, 1)
    choose(play, user, notify=False)
    assert claimed(play) == [] and queue(play) == []
    assert play.rows("SELECT DISTINCT cause FROM pushes") == [{"cause": "notify off"}]


@pytest.mark.parametrize("zone", ["Mars/Olympus", ""])
def test_a_time_zone_that_the_system_no_longer_knows_is_none(play, zone):
    user = sleeper(play)
    with play.db.write() as tx:
        tx.run("UPDATE preferences SET time_zone = :zone, locale = '%s/…'", zone=zone)
    joins(play, 0)
    assert accepted(play) == [(user, "Your friend Annie joined.")]


# ── digests ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_the_first_few_the_next_come_together(play):
    user = holder(play)
    people = joins(play, *range(9))
    assert sorted(text for _, text in accepted(play)) == [f"Your friend {name} joined." for name in NAMES[:5]]
    assert queue(play) == [(user, DAY, "digest")]
    play.now += DAY - 1
    assert claimed(play) == []
    play.now += 1
    (due,) = delivery.claim(play.db, play.now, 10)
    assert due.joined and due.message.payload == {
        "message": "Fay, Gus and 2 others joined.",
        "user_ids": people[5:],
        "count": 4,
        "type": "contact_joined_digest",
    }


@pytest.mark.parametrize(
    "digest, count, texts",
    [
        (0, 1, ["Your friend Annie joined."]),
        (0, 2, ["Annie and 1 other joined."]),
        (0, 3, ["Annie, Bob and 1 other joined."]),
        (0, 5, ["Annie, Bob and 3 others joined."]),
        (1, 3, ["Your friend Annie joined.", "Bob and 1 other joined."]),
        (3, 3, [f"Your friend {name} joined." for name in NAMES[:3]]),
    ],
)
def test_texts_of_digests(play, digest, count, texts):
    user = holder(play, digest=digest)
    joins(play, *range(count))
    sent = sorted(accepted(play))  # pushes of several senders that are due at one time come in any order
    play.now += DAY
    sent += accepted(play)
    assert sent == [(user, text) for text in texts]
    assert queue(play) == []


def test_a_digest_names_whom_the_book_has_now_and_leaves_out_who_has_gone(play):
    user = holder(play, digest=0)
    people = joins(play, *range(6))
    play.holds(user, (NUMBERS[1], "Bobby"))
    discovery.upload(play.db, LIMITS, play.caller(user), [Entry(NUMBERS[0], None, True)], now=play.now)
    users.erase(play.db, people[2])
    choose(play, people[3], announce="nobody")
    play.changes(people[4], phone="+447700900123")
    play.now += DAY
    assert accepted(play) == [(user, "Bobby and 1 other joined.")]


def test_a_digest_of_whom_nobody_is_left_is_withheld(play):
    holder(play, digest=0)
    (person,) = joins(play, 0)
    choose(play, person, announce="nobody")
    play.now += DAY
    assert claimed(play) == []
    assert play.rows("SELECT outcome, cause FROM pushes") == [{"outcome": "gone", "cause": "contact removed"}]


def test_who_joins_after_a_digest_was_composed_belongs_to_the_next(play):
    user = holder(play, digest=0)
    joins(play, 0, 1)
    play.now += DAY
    assert claimed(play) == [(user, "Annie and 1 other joined.")]  # its receipt was not recorded: the worker died
    joins(play, 2, 3)
    play.now += delivery.LEASE_SECONDS
    assert accepted(play) == [(user, "Annie and 1 other joined.")]
    play.now += DAY
    assert accepted(play) == [(user, "Cleo and 1 other joined.")]


def test_who_wants_pushes_again_gets_a_digest_of_those_who_join_from_then_on(play):
    user = holder(play, digest=0)
    joins(play, 0)
    choose(play, user, notify=False)
    assert claimed(play) == []
    choose(play, user, notify=True)
    play.now += 60
    joins(play, 1)
    play.now += DAY
    assert claimed(play) == [(user, "Your friend Bob joined.")]


def test_a_clock_that_is_set_back_gives_no_two_digests_one_name(play):
    user = holder(play, digest=0)
    joins(play, 0)
    play.now += DAY
    assert accepted(play) == [(user, "Your friend Annie joined.")]
    play.now -= DAY
    joins(play, 1)
    play.now -= 10
    joins(play, 2)
    play.now += 2 * DAY
    assert accepted(play) == [(user, "Bob and 1 other joined.")]


def test_a_clock_that_was_far_ahead_delays_nothing(play):
    user = holder(play, digest=1)
    play.now += 1000 * DAY
    joins(play, 0)
    play.now -= 1000 * DAY
    joins(play, 1)
    assert (user, "Your friend Bob joined.") in accepted(play)


def test_a_digest_waits_for_the_end_of_quiet_hours_as_well(play):
    user = sleeper(play, digest=0)
    joins(play, 0, 1)
    play.now += DAY
    assert claimed(play) == []
    assert queue(play) == [(user, MORNING - EVENING, "quiet")]
    joins(play, 2)  # its 24 hours have just begun
    play.now = MORNING + DAY
    assert accepted(play) == [(user, "Annie and 1 other joined.")]


def test_each_device_gets_the_digest_once_also_one_that_came_later(play):
    user = holder(play, digest=0)
    joins(play, 0)
    play.device(user, "fcm-token-of-a-tablet")
    joins(play, 1, 2)
    play.now += DAY
    assert accepted(play) == [(user, "Annie, Bob and 1 other joined.")] * 2
    assert accepted(play) == []


def test_who_is_verified_later_is_in_the_digest_once(play):
    play.set(require_verified_number="off")
    user = holder(play, digest=0)
    (person,) = joins(play, 0)
    joins(play, 1)
    play.changes_verified(person, NUMBERS[0])
    play.tell()
    play.now += DAY
    assert accepted(play) == [(user, "Bob and 1 other joined.")]


def test_long_names_leave_room_and_ids_are_bounded(play):
    user = play.person("holder")
    many = [f"+1202555{2000 + n}" for n in range(60)]
    play.holds(user.id, *((number, "é" * 255) for number in many))
    play.device(user.id, "ab" * 32, channel="apns", platform="ios")
    choose(play, user.id, digest=0)
    for n, number in enumerate(many):
        play.person(f"joiner{n}", number)
    play.tell()
    play.now += DAY
    (due,) = delivery.claim(play.db, play.now, 10)
    payload = due.message.payload
    assert len(payload["user_ids"]) == 50 and payload["count"] == 60
    assert len(json.dumps(payload, ensure_ascii=False).encode()) < 2_000


# ── languages ────────────────────────────────────────────────────────────────────────────────────────────────────────

TEXTS = {
    "de": {"joined": "%s ist jetzt da.", "digest": {"one": "%s und %d weitere Person", "other": "%s und %d weitere"}},
    "pl": {"digest": {"one": "%s i %d osoba", "few": "%s i %d osoby", "many": "%s i %d osób"}},
    "ja": {"digest": {"other": "%sとほか%d人"}},
}


@pytest.mark.parametrize(
    "own, device, text",
    [
        ("de-AT", None, "Annie ist jetzt da."),
        (None, "de_CH", "Annie ist jetzt da."),
        ("de", "fr", "Annie ist jetzt da."),
        ("fr", "de", "Your friend Annie joined."),
        ("pl", None, "Your friend Annie joined."),
        (None, None, "Your friend Annie joined."),
    ],
)
def test_a_push_is_in_the_users_language_else_in_the_devices(play, own, device, text):
    play.set(contact_joined_templates=json.dumps(TEXTS))
    user = play.person("holder")
    play.holds(user.id, (NUMBERS[0], "Annie"))
    play.device(user.id, "fcm-token-of-holder", locale=device)
    choose(play, user.id, locale=own)
    joins(play, 0)
    assert claimed(play) == [(user.id, text)]


@pytest.mark.parametrize(
    "locale, count, text",
    [
        ("de", 3, "Annie, Bob und 1 weitere Person"),
        ("de-AT", 4, "Annie, Bob und 2 weitere"),
        ("pl", 3, "Annie, Bob i 1 osoba"),
        ("pl", 5, "Annie, Bob i 3 osoby"),
        ("pl", 7, "Annie, Bob i 5 osób"),
        ("ja", 4, "Annie、Bobとほか2人"),
        ("fr", 4, "Annie, Bob and 2 others joined."),
    ],
)
def test_digests_have_the_plural_of_their_language(play, locale, count, text):
    play.set(contact_joined_templates=json.dumps(TEXTS))
    user = holder(play, digest=0, locale=locale)
    joins(play, *range(count))
    play.now += DAY
    assert claimed(play) == [(user, text)]


# ── inside the database ──────────────────────────────────────────────────────────────────────────────────────────────


def test_statements_that_read_choices_add_what_the_others_add(play):
    """The fast statements against the slow ones, for holders who have chosen nothing."""
    for n in range(6):
        user = holder(play, f"holder{n}")
        if n % 2:
            play.device(user, f"{n:064x}", channel="apns", platform="ios")
    play.person("ann", NUMBERS[0])
    announcing.expand(play.db, play.now)
    columns = "user_id, subscription_id, about_user_id, channel, environment, number, due_at, expires_at, lane, turn"
    sql = f"SELECT {columns}, joined_id, digest, waits FROM pushes ORDER BY user_id, subscription_id"
    fast = play.rows(sql)
    fact = play.rows("SELECT id, app_id FROM joined")[0]
    holders = store.Holders(
        app_id=play.app_id,
        joined_id=fact["id"],
        number=12025550100,
        after=0,
        up_to=2**31 - 1,
        environments=["production"],
        without=["apns_voip"],
    )
    with play.db.write() as tx:
        tx.run("DELETE FROM pushes")
        lanes = store.devices(tx, holders, announced=True)
        about = fast[0]["about_user_id"]
        pushes.add_joined(tx, holders, about, lanes, now=play.now, life=DAY, choices=store.Choices([], []))
    assert play.rows(sql) == fast
    with play.db.write() as tx:
        tx.run("DELETE FROM pushes")
        everybody = store.Choices(sorted({(row["user_id"], play.now + 10) for row in fast}), [])
        assert store.devices_of(tx, holders, everybody.waiting) == lanes
        pushes.add_waiting(tx, holders, about, lanes, everybody.waiting, now=play.now, life=DAY)
        assert pushes.add_joined(tx, holders, about, lanes, now=play.now, life=DAY, choices=everybody) == 0
    later = {"due_at": play.now + 10, "expires_at": play.now + 10 + DAY, "turn": 0, "waits": "quiet"}
    assert play.rows(sql) == [row | later for row in fast]


def test_everybody_of_a_batch_gets_what_they_have_chosen(play):
    kinds = {
        "plain": {},
        "silent": {"notify": False},
        "asleep": {"quiet": QUIET, "time_zone": "Europe/Berlin"},
        "digest": {"digest": 0},
        "both": {"digest": 0, "quiet": QUIET, "time_zone": "Europe/Berlin"},
        "elsewhere": {"quiet": QUIET, "time_zone": "America/New_York"},
    }
    people = {holder(play, f"{kind}{n}", **chosen): kind for n in range(3) for kind, chosen in kinds.items()}
    joins(play, 0)
    waits = Counter((people[who], seconds, why) for who, seconds, why in queue(play))
    assert waits == {
        ("plain", 0, None): 3,
        ("asleep", MORNING - EVENING, "quiet"): 3,
        ("digest", DAY, "digest"): 3,
        ("both", DAY, "digest"): 3,
        ("elsewhere", 0, None): 3,
    }
    sent = accepted(play)
    for play.now in (MORNING, MORNING + DAY):
        sent += accepted(play)
    assert sorted(who for who, _ in sent) == sorted(who for who, kind in people.items() if kind != "silent")
