"""Registered contacts since a cursor, against the plain answer, in random histories. On both databases."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

import pytest
from core.joining import ANN, BOB, CLEO, DAY, LIMITS, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringbook import errors
from ringbook.core import discovered, discovery, inactive, users
from ringbook.core.discovered import Discovered
from ringbook.model import Entry
from ringbook.store import discovered as store

NUMBERS = [f"+1202555{100 + n:04}" for n in range(6)]
DEVICES = ["", "tablet"]
SEEDS = 12
State = frozenset[tuple[int, str | None]]  # registered contacts: user and phone


@pytest.fixture
def play(db):
    return Play(db)


@pytest.fixture
def bob(play):
    """A user who holds Ann and Cleo."""
    found = play.person("bob", BOB).id
    play.holds(found, (ANN, "Annie"), (CLEO, "Cleo"))
    return found


def since(play: Play, user_id: int, cursor: str = "0", device: str = "", *, compact: bool = True):
    return discovered.since(play.db, play.caller(user_id), device, cursor, compact=compact, now=play.now)


def ids(answer) -> list[int]:
    return [one.user_id for one in answer[0]]


def plain(play: Play, user_id: int, device: str = "") -> State:
    found = discovery.registered_phones(play.db, play.caller(user_id), device, now=play.now)
    return frozenset((one.user_id, one.phone) for one in found)


def stored(play: Play) -> list[tuple[int, int]]:
    return [(row["incarnation"], row["generation"]) for row in play.rows("SELECT * FROM discovered ORDER BY owner_id")]


# ── what is new ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_answer_has_all_and_the_next_ones_only_who_is_new(play, bob):
    ann = play.person("ann", ANN).id
    found, cursor = since(play, bob)
    assert found == discovery.registered_phones(play.db, play.caller(bob), now=play.now) and len(found) == 1
    assert since(play, bob, cursor) == ([], cursor)
    cleo = play.person("cleo", CLEO).id
    later = since(play, bob, cursor)
    assert ids(later) == [cleo]
    assert sorted(ids(since(play, bob))) == sorted([ann, cleo])
    assert since(play, bob, later[1]) == ([], later[1])


def test_an_answer_with_profiles_is_that_of_the_whole_list(play, bob):
    play.person("ann", ANN)
    assert since(play, bob, compact=False)[0] == discovery.registered(play.db, play.caller(bob), now=play.now)


def test_nothing_is_stored_while_nothing_changes_or_nobody_is_registered(play, bob):
    assert since(play, bob) == ([], "0") and stored(play) == []
    assert since(play, bob, device="unknown") == ([], "0")
    play.person("ann", ANN)
    since(play, bob)
    first = play.rows("SELECT * FROM discovered")
    since(play, bob), since(play, bob, "rubbish")
    assert play.rows("SELECT * FROM discovered") == first


def test_who_enters_the_book_is_new_and_who_left_it_and_comes_back(play, bob):
    ann = play.person("ann", ANN).id
    _, cursor = since(play, bob)
    remove(play, bob, ANN)
    assert ids(since(play, bob, cursor)) == []
    play.holds(bob, (ANN, "Annie"))
    assert ids(since(play, bob, cursor)) == [ann]


def test_a_contact_with_another_number_is_new(play, bob):
    ann = play.person("ann", ANN).id
    _, cursor = since(play, bob)
    play.changes(ann, phone=CLEO)
    assert ids(since(play, bob, cursor)) == [ann]


def test_a_contact_who_may_be_found_now_is_new(play, bob):
    ann = play.person("ann", ANN).id
    play.prefers(ann, discoverable="mutual")
    found, cursor = since(play, bob)
    assert found == []
    play.holds(ann, (BOB, "Bob"))
    assert ids(since(play, bob, cursor)) == [ann]


def test_a_renamed_contact_is_not_new(play, bob):
    play.person("ann", ANN)
    _, cursor = since(play, bob)
    play.holds(bob, (ANN, "Ann from work"))
    assert since(play, bob, cursor) == ([], cursor)


def test_each_device_follows_with_its_own_cursor(play, bob):
    ann, (_, early) = play.person("ann", ANN).id, since(play, bob)
    cleo, (_, late) = play.person("cleo", CLEO).id, since(play, bob)
    play.changes(ann, phone="")
    since(play, bob)
    play.changes(ann, phone=ANN)
    assert sorted(ids(since(play, bob, early))) == sorted([ann, cleo])
    assert ids(since(play, bob, late)) == [ann]


def test_books_of_devices_have_cursors_of_their_own_and_a_new_book_knows_none_of_before(play, bob):
    ann = play.person("ann", ANN).id
    play.holds(bob, (ANN, "Annie"), device="tablet")
    cursors = since(play, bob)[1], since(play, bob, device="tablet")[1]
    assert ids(since(play, bob, cursors[0], "tablet")) == [ann]
    remove(play, bob, ANN, device="tablet")
    assert since(play, bob, cursors[1], "tablet") == ([], "0")
    play.holds(bob, (ANN, "Annie"), device="tablet")
    assert ids(since(play, bob, cursors[1], "tablet")) == [ann]


def test_a_cursor_that_is_not_known_stands_for_the_beginning(play, bob):
    ann = play.person("ann", ANN).id
    incarnation, _, place = since(play, bob)[1].partition("-")
    larger, other = f"{incarnation}-{int(place, 16) + 1:x}", f"{int(incarnation, 16) ^ 1:x}-{place}"
    for cursor in ("", "0", "rubbish", larger, other):
        assert ids(since(play, bob, cursor)) == [ann], cursor


def test_a_row_that_does_not_open_is_replaced_and_knows_no_cursor_of_before(play, bob):
    ann, (_, cursor) = play.person("ann", ANN).id, since(play, bob)
    with play.db.write() as tx:
        tx.run("UPDATE discovered SET sealed = :rubbish", rubbish=bytes(48))
    found = since(play, bob, cursor)
    assert ids(found) == [ann] and found[1].partition("-")[0] != cursor.partition("-")[0]
    assert since(play, bob, found[1]) == ([], found[1])


def test_what_was_answered_is_erased_with_the_user_and_with_the_books(play, bob):
    play.person("ann", ANN)
    cleo = play.person("cleo", CLEO).id
    play.holds(cleo, (ANN, "Ann"))
    since(play, bob), since(play, cleo)
    users.erase(play.db, cleo)
    assert len(stored(play)) == 1
    play.now += 1_000 * DAY
    inactive.sweep(play.db, play.now, play.now - 30 * DAY)
    assert stored(play) == []


def remove(play: Play, user_id: int, phone: str, device: str = "") -> None:
    discovery.upload(play.db, LIMITS, play.caller(user_id), [Entry(phone, None, True)], device=device, now=play.now)


# ── two requests at once ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_that_another_one_overtakes_looks_again(play, bob, monkeypatch):
    ann = play.person("ann", ANN).id
    read, overtaken = discovery.among_contacts, []

    def slowly(tx, caller, device):
        found = read(tx, caller, device)
        if not overtaken:
            overtaken.append(True)
            play.person("cleo", CLEO)
            overtaken.append(since(play, bob))
        return found

    monkeypatch.setattr(discovery, "among_contacts", slowly)
    found = since(play, bob)
    assert len(ids(found)) == 2 and ann in ids(found) and found[1] == overtaken[1][1]


def test_a_request_that_is_overtaken_again_and_again_is_refused_as_busy(play, bob, monkeypatch):
    play.person("ann", ANN)
    monkeypatch.setattr(store, "put", lambda *_: False)
    with pytest.raises(errors.Busy):
        since(play, bob)


def test_nothing_is_stored_for_a_book_that_is_gone(play, bob):
    known = Discovered(book=7)
    with play.db.write() as tx:
        new = discovered.after(known, {1: 12025550101})
        assert not store.put(tx, play.app_id, bob, known, new)
        tx.run("DELETE FROM discovered")
    assert stored(play) == []


def test_several_devices_at_once_while_users_join_miss_nobody(play):
    """Each device follows its cursor; at the end it has what the plain answer has, and got nobody twice."""
    reader = play.person("reader").id
    numbers = [f"+1202555{100 + n:04}" for n in range(24)]
    play.holds(reader, *[(number, "x") for number in numbers])
    over = Event()

    def follow() -> list[int]:
        got: list[int] = []
        cursor, last = "0", False
        while True:
            with suppress(errors.Busy):
                found, cursor = since(play, reader, cursor)
                got += [one.user_id for one in found]
                if last:
                    return got
                last = over.is_set()

    with ThreadPoolExecutor(5) as threads:
        following = [threads.submit(follow) for _ in range(3)]
        joining = [threads.submit(lambda part: [play.person(n, n) for n in part], numbers[n::2]) for n in range(2)]
        try:
            joined = sorted(one.id for each in joining for one in each.result())
        finally:
            over.set()
        assert [sorted(one.result()) for one in following] == [joined] * 3


# ── random histories ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Reader:
    """An app on one device: what it has been given, its cursor, and how many states were answered by then."""

    device: str
    cursor: str = "0"
    got: dict[int, str | None] = field(default_factory=dict)


@dataclass
class World:
    """A user with readers, and others who come and go.

    states   by book: what was answered since the book's incarnation began, in order, with the cursors
    """

    play: Play
    chance: random.Random
    owner: int = 0
    others: list[int] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    states: dict[str, list[tuple[str, State]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.play.set(require_verified_number="off")
        self.owner = self.play.person("owner", NUMBERS[0]).id
        self.readers = [Reader(device) for device in DEVICES for _ in range(2)]
        self.states = {device: [] for device in DEVICES}

    def upload(self) -> None:
        """Contacts are added, renamed or removed; now and then the whole book is replaced, or emptied."""
        device = self.chance.choice(DEVICES)
        chosen = self.chance.sample(NUMBERS, self.chance.randint(0, 3))
        force = self.chance.random() < 0.3
        entries = [self.entry(number, force) for number in chosen]
        discovery.upload(
            self.play.db, LIMITS, self.play.caller(self.owner), entries, device=device, force=force, now=self.play.now
        )
        if device and not discovery.retrieve(self.play.db, self.play.caller(self.owner), device):
            self.states[device] = []

    def entry(self, number: str, force: bool) -> Entry:
        if not force and self.chance.random() < 0.4:
            return Entry(number, None, True)
        return Entry(number, self.chance.choice(["x", "y"]))

    def join(self) -> None:
        name = f"user{self.chance.randrange(10**9)}"
        if self.chance.random() < 0.3:
            number = self.chance.choice(NUMBERS)
            self.others.append(self.play.verified(number))
        else:
            self.others.append(self.play.person(name, self.chance.choice(NUMBERS)).id)

    def leave(self) -> None:
        if self.others:
            users.erase(self.play.db, self.others.pop(self.chance.randrange(len(self.others))))

    def change(self) -> None:
        """Another number, or a verified one."""
        if self.others:
            number = self.chance.choice(["", *NUMBERS])
            with suppress(errors.Invalid, errors.SessionGone):
                self.play.changes(self.chance.choice(self.others), phone=number)

    def prefer(self) -> None:
        """Another user says who finds them, or the application does for those who have not."""
        audience = self.chance.choice(["everyone", "mutual", "nobody"])
        if not self.others or self.chance.random() < 0.2:
            self.play.set(contact_joined_discoverable=audience)
            return
        with suppress(errors.SessionGone):
            self.play.prefers(self.chance.choice(self.others), discoverable=audience)

    def hold(self) -> None:
        """Another user adds or removes the reader's number."""
        if self.others:
            entry = Entry(NUMBERS[0], *self.chance.choice([("Owner", False), (None, True)]))
            other = self.play.caller(self.chance.choice(self.others))
            with suppress(errors.SessionGone):
                discovery.upload(self.play.db, LIMITS, other, [entry], now=self.play.now)

    def count(self) -> None:
        """From now on only verified numbers count, or all."""
        self.play.set(require_verified_number=self.chance.choice(["on", "off"]))

    def jump(self) -> None:
        """The clock is set, forward or back."""
        self.play.now += self.chance.choice([-2 * DAY, -1, 60, 3 * DAY])

    def restore(self) -> None:
        """The database was restored from a backup."""
        with self.play.db.write() as tx:
            store.forget_all(tx)
        self.states = {device: [] for device in DEVICES}

    def ask(self) -> None:
        """A reader asks; the answer may be lost. It has exactly who was missing at any time since the cursor."""
        reader = self.chance.choice(self.readers)
        now = plain(self.play, self.owner, reader.device)
        found, cursor = since(self.play, self.owner, reader.cursor, reader.device)
        states = self.states[reader.device]
        at = next((n for n, (known, _) in enumerate(states) if known == reader.cursor), None)
        before = [state for _, state in states[at:]] if at is not None else [frozenset()]
        answer = [(one.user_id, one.phone) for one in found]
        assert len(set(answer)) == len(answer)
        assert set(answer) == {one for one in now if any(one not in state for state in before)}
        if cursor != "0" and (not states or states[-1][0] != cursor):
            states.append((cursor, now))
        if self.chance.random() < 0.3:
            return
        reader.cursor = cursor
        reader.got.update(answer)
        assert now <= set(reader.got.items())

    def step(self) -> None:
        """Something happens."""
        usual = [self.ask] * 8 + [self.upload] * 3 + [self.join, self.prefer, self.hold] * 2
        usual += [self.leave, self.change, self.count, self.jump]
        self.chance.choice(usual * 3 + [self.restore])()


@settings(max_examples=SEEDS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_reader_gets_exactly_who_was_missing_at_any_time_since_its_cursor(db, seed):
    world = World(Play(db), random.Random(seed))
    for _ in range(80):
        world.step()


# ── what is stored ───────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.dictionaries(st.integers(1, 8), st.integers(1, 3), max_size=8), max_size=8))
def test_what_is_stored_is_the_latest_answer_and_grows_by_one_generation(answers):
    known = Discovered(book=0)
    for found in answers:
        new = discovered.after(known, found)
        assert {key: n for one in new.generations.values() for key, n in one.items()} == found
        assert new.generation - known.generation == (new is not known)
        assert all(new.generations.values()) and all(generation <= new.generation for generation in new.generations)
        assert discovered.after(new, found) is new
        known = new
