"""Registered contacts that were found before, against those that are found now."""

import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from core import test_registered as worlds
from core.joining import ANN, BOB, CLEO, Play
from core.test_registered import DEVICES, FREE, NOW, Busy, new_world, with_setting
from hypothesis import HealthCheck, given, settings
from servers import SEAL, Databases

from ringbook.core import discovery, kept_answers, stats, users
from ringbook.core.kept_answers import Answers, Kept
from ringbook.model import Caller, Entry, RegisteredPhone
from ringbook.store import number_changes
from ringbook.store.db import Database, connect
from ringbook.store.discoverable import Rules
from ringbook.store.number_changes import State

MEBIBYTE = 1024 * 1024
RULES = Rules(verified_only=False, default="everyone", choice=True)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"require_verified_number": "on"},
    {"contact_joined_discoverable": "mutual"},
    {"contact_joined_discoverable": "nobody"},
    {"contact_joined_discoverable": "mutual", "contact_joined_choice": False},
]
STRANGERS = [f"+44770090{n:04}" for n in range(200, 600)]


def written(found: Sequence[RegisteredPhone]) -> bytes:
    return msgspec.json.encode([(one.user_id, one.phone, one.contact_name) for one in found])


def answer(db: Database, caller: Caller, device: str = "") -> bytes:
    return kept_answers.registered(db, caller, device, written, now=NOW)


def answer_of_now(db: Database, caller: Caller, device: str = "") -> bytes:
    return written(discovery.registered_phones(db, caller, device, now=NOW))


@dataclass
class Bob:
    """A user who holds Ann, a user, and Cleo, who is none. Bob has asked once."""

    play: Play
    user_id: int
    ann: int
    made: list[bytes] = field(default_factory=list)

    @property
    def caller(self) -> Caller:
        return self.play.caller(self.user_id)

    def __post_init__(self) -> None:
        self.form: Callable[[Sequence[RegisteredPhone]], bytes] = self._form  # always the same one
        self.asks()

    def asks(self) -> bytes:
        found = kept_answers.registered(self.play.db, self.caller, "", self.form, now=NOW)
        assert found == answer_of_now(self.play.db, self.caller)
        return found

    def uploads(self, *entries: Entry) -> None:
        discovery.upload(self.play.db, FREE, self.caller, entries, now=NOW)

    def removes(self, *phones: str) -> None:
        self.uploads(*(Entry(phone, "", True) for phone in phones))

    def ann_changes(self, **fields: Any) -> None:
        users.update(self.play.db, FREE, self.play.caller(self.ann), self.ann, fields, session=b"", now=NOW)

    def numbers_change(self, times: int) -> None:
        """So many changes of a number that Bob does not hold."""
        with self.play.db.write() as tx:
            for _ in range(times):
                tx.run("UPDATE numbers SET discoverable = discoverable WHERE user_id = :me", me=self.user_id)

    def _form(self, found: Sequence[RegisteredPhone]) -> bytes:
        self.made.append(written(found))
        return self.made[-1]


@pytest.fixture
def bob(databases: Databases) -> Iterator[Bob]:
    """Bob on SQLite, where answers are kept."""
    with databases.fresh("sqlite") as url, closing(connect(url, seal=SEAL)) as db:
        kept_answers.keep(db, MEBIBYTE)
        play = Play(db)
        user_id = play.person("bob", BOB).id
        play.holds(user_id, (ANN, "Annie"), (CLEO, "Cleo"))
        yield Bob(play, user_id, play.person("ann", ANN).id)


# ── an answer is right ───────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=worlds.histories,
    contacts=worlds.st.tuples(worlds.books, worlds.books),
    setting=worlds.st.sampled_from(SETTINGS),
)
def test_after_each_act_of_any_history_an_answer_is_that_of_now(db, history, contacts, setting):
    kept_answers.keep(db, MEBIBYTE)
    world = new_world(db, "")
    caller = with_setting(world.owner, **setting)  # always the same: an answer under other settings is not given again
    for device, book in zip(DEVICES, contacts, strict=True):
        discovery.upload(db, FREE, world.owner, book, device=device, now=NOW)
    for act in history:
        world.live([act])
        for device in (*DEVICES, "unknown"):
            assert answer(db, caller, device) == answer_of_now(db, caller, device)


CHANGES: dict[str, Callable[[Bob], Any]] = {
    "a contact joins": lambda bob: bob.play.person("cleo", CLEO),
    "a contact signs in by phone": lambda bob: bob.play.verified(CLEO),
    "a contact is erased": lambda bob: users.erase(bob.play.db, bob.ann),
    "a contact hides": lambda bob: bob.play.prefers(bob.ann, discoverable="nobody"),
    "a contact gets another number": lambda bob: bob.ann_changes(phone=STRANGERS[0]),
    "a contact's number is spelled otherwise": lambda bob: bob.ann_changes(phone=ANN[1:]),
    "a contact gets a phone that is no number": lambda bob: bob.ann_changes(phone="office"),
    "the book gets a contact": lambda bob: bob.uploads(Entry(BOB, "Me")),
    "a contact is renamed": lambda bob: bob.uploads(Entry(ANN, "Anna")),
    "a contact is removed": lambda bob: bob.removes(ANN),
    "the book is emptied and filled": lambda bob: (bob.removes(ANN, CLEO), bob.uploads(Entry(ANN, "Anna"))),
    "only verified numbers count": lambda bob: bob.play.set(require_verified_number="on"),
    "the application hides its users": lambda bob: bob.play.set(contact_joined_discoverable="nobody"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_after_a_change_the_answer_is_made_once_more(bob, change):
    before = bob.asks()
    change(bob)
    assert bob.asks() != before
    bob.asks()
    assert len(bob.made) == 2


def test_an_answer_is_given_again_while_others_sign_up_and_upload(bob):
    for turn, phone in enumerate(STRANGERS[:20]):
        other = bob.play.person(f"other {turn}", phone)
        bob.play.holds(other.id, (ANN, "my Ann"), (BOB, "my Bob"))
        bob.asks()
    assert len(bob.made) == 1


def test_an_answer_with_users_who_want_mutual_contacts_is_given_again_until_what_they_hold_changes(bob):
    bob.play.prefers(bob.ann, discoverable="mutual")
    assert [bob.asks(), bob.asks()] == [b"[]"] * 2
    assert len(bob.made) == 2
    bob.play.holds(bob.ann, (BOB, "my Bob"))
    assert b"Annie" in bob.asks() == bob.asks()
    assert len(bob.made) == 3
    discovery.upload(bob.play.db, FREE, bob.play.caller(bob.ann), [Entry(BOB, "", True)], now=NOW)
    assert bob.asks() == b"[]"
    assert len(bob.made) == 4


def test_changes_of_those_whom_nobody_finds_do_not_show_in_the_time_of_an_answer(bob):
    """An answer that is made anew takes longer, and would tell that a number of the book has a user."""
    hides = {"discoverable": "nobody"}
    cleo = users.sign_up(
        bob.play.db,
        FREE,
        bob.play.app,
        {"login": "cleo", "password": "correct-horse", "phone": CLEO, "preferences": hides},
        "",
        NOW,
    )
    changed = {"phone": CLEO[1:]}
    users.update(bob.play.db, FREE, bob.play.caller(cleo.id), cleo.id, changed, session=b"", now=NOW)
    bob.asks()
    users.erase(bob.play.db, cleo.id)
    bob.asks()
    assert len(bob.made) == 1


def test_somebody_whom_nobody_else_finds_gets_a_number_of_the_own_book(bob):
    bob.play.prefers(bob.user_id, discoverable="nobody")
    bob.uploads(Entry(STRANGERS[0], "my new number"))
    assert b"my new number" not in bob.asks()
    users.update(bob.play.db, FREE, bob.caller, bob.user_id, {"phone": STRANGERS[0]}, session=b"", now=NOW)
    assert b"my new number" in bob.asks()


def test_an_answer_with_a_phone_that_only_the_profile_says_is_made_each_time(bob):
    bob.ann_changes(phone="+1 (202) 555-0101")
    bob.asks()
    bob.asks()
    assert len(bob.made) == 3


@pytest.mark.parametrize("early", [True, False])
def test_a_change_while_an_answer_is_made_is_in_the_next_one(bob, monkeypatch, early):
    read = discovery.among_contacts

    def overtaken(tx, caller, device):
        monkeypatch.undo()
        if early:
            bob.play.person("cleo", CLEO)
        looked = read(tx, caller, device)
        if not early:
            bob.play.person("cleo", CLEO)
        return looked

    bob.uploads(Entry(STRANGERS[0], "new"))
    monkeypatch.setattr(discovery, "among_contacts", overtaken)
    kept_answers.registered(bob.play.db, bob.caller, "", bob.form, now=NOW)
    assert b"Cleo" in bob.asks()


def test_a_change_by_another_process_is_seen(bob):
    with closing(connect(f"sqlite:///{bob.play.db.file}", seal=SEAL)) as other:
        users.erase(other, bob.ann)
    assert bob.asks() == b"[]"


def test_an_answer_is_given_again_after_some_changes_but_not_after_many(bob):
    bob.numbers_change(number_changes.MOST - 1)
    bob.asks()
    assert len(bob.made) == 1
    bob.numbers_change(number_changes.MOST)
    bob.asks()
    assert len(bob.made) == 2


def test_only_the_latest_changes_are_stored_and_only_a_part_of_each_number(bob):
    bob.numbers_change(1_300)
    with bob.play.db.read() as tx:
        assert tx.tuples("SELECT COUNT(*), MAX(id) - MIN(id) FROM number_changes") == [(1_000, 999)]
        assert tx.tuples("SELECT COUNT(*) FROM number_changes WHERE part NOT BETWEEN 0 AND 1048575") == [(0,)]
    bob.asks()


@pytest.mark.parametrize("number", [0, 2**43 - 1, 2**43, 2**63 - 1])
def test_any_keyed_number_is_found_by_its_part(bob, number):
    with bob.play.db.write() as tx:
        tx.run(
            "UPDATE contacts SET number = :number WHERE owner_id = :me AND seq = (SELECT MIN(seq) FROM contacts)",
            number=number,
            me=bob.user_id,
        )
        since = number_changes.state(tx, bob.user_id, "")
        assert number_changes.unchanged(tx, bob.user_id, "", since, RULES) == since
        tx.run("UPDATE numbers SET number = :number WHERE user_id = :ann", number=number, ann=bob.ann)
        assert number_changes.unchanged(tx, bob.user_id, "", since, RULES) is None


def test_readers_do_not_disturb_each_other_while_the_book_and_the_numbers_change(bob):
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer(bob.play.db, bob.caller)

    readers = [Busy(ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(25):
            bob.play.prefers(bob.ann, discoverable=("nobody", "everyone")[turn % 2])
            assert (answer(bob.play.db, bob.caller) == b"[]") == (turn % 2 == 0)
            bob.uploads(Entry(ANN, f"Ann {turn}"))
            assert answer(bob.play.db, bob.caller) == answer_of_now(bob.play.db, bob.caller)
    finally:
        stop.set()
    for reader in readers:
        reader.join()


# ── counts and bounds ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_users_of_an_answer_that_is_given_again_are_counted(bob, monkeypatch):
    counted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(stats, "add", lambda *values: counted.append(values))
    kept_answers.registered(bob.play.db, bob.caller, "", bob.form, now=NOW)
    discovery.registered_phones(bob.play.db, bob.caller, now=NOW)
    assert len(bob.made) == 1
    assert counted == [(bob.play.app_id, "matches", NOW, 1)] * 2


def kept(size: int) -> Kept:
    """An answer that takes so many bytes of memory."""
    content = b"x" * (size - kept_answers.BESIDE_BYTES)
    return Kept(state=State(1, "", 1), rules=RULES, form=written, answer=content, users=1)


def test_an_answer_takes_no_more_memory_than_is_counted():
    answers = Answers(2**30)
    asked = 2**40
    tracemalloc.start()
    for owner in range(10**6, 10**6 + 2_000):
        ids = tuple(range(asked, asked + owner % 50))
        state = State(2**59 + owner, f"{2**62 + owner} 1800000000 2", 10**9 + owner)
        device = f"{owner:07}" + "\N{TELEPHONE RECEIVER}" * (discovery.DEVICE_CHARACTERS - 7)
        rules = Rules(verified_only=owner % 2 == 0, default="everyone", choice=True)
        one = Kept(state, rules, written, bytes(owner % 300), users=owner, asked=ids, agreed=ids[:])
        answers.put((owner, device), one)
        asked += 50
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken <= answers.bytes


def test_answers_take_no_more_memory_than_they_may():
    answers = Answers(100_000)
    for owner in range(1_000):
        answers.put((owner, ""), kept(2_000 + owner * 4))
        assert answers.bytes <= 100_000
    assert answers.of((500, "")) is None


def test_the_answer_that_was_not_asked_for_longest_makes_room():
    answers = Answers(40_000)
    for owner in range(20):
        answers.put((owner, ""), kept(2_000))
    assert answers.of((0, ""))
    answers.put((20, ""), kept(2_000))
    assert answers.of((0, "")) and answers.of((20, "")) and not answers.of((1, ""))


def test_an_answer_that_would_take_the_room_of_many_is_not_kept():
    answers = Answers(32_000)
    answers.put((1, ""), kept(2_000))
    answers.put((1, ""), kept(2_001))
    assert answers.of((1, "")) is None and answers.bytes == 0


def test_nothing_is_kept_without_memory_or_without_changes_of_numbers(db):
    kept_answers.keep(db, 0)
    assert not db.memory
    kept_answers.keep(db, MEBIBYTE)
    assert bool(db.memory) == bool(db.file)
