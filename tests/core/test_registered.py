"""Registered contacts and users by id: the fast ways give what the slow, plain ones give. On both databases."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed import add_number

from ringbook import errors, phone
from ringbook.config import Limits
from ringbook.core import applications, discovered, discovery, kept_answers, numbers, preferences, proofs, users
from ringbook.core.import_lines import Line
from ringbook.core.imports import import_users
from ringbook.model import App, Caller, Entry, Registered, RegisteredPhone, User
from ringbook.preferences import AUDIENCES
from ringbook.store import books as book_store
from ringbook.store import numbers as number_store
from ringbook.store import profiles
from ringbook.store import users as user_store
from ringbook.store.db import Database, Tx

NOW = 1_800_000_000
HERE = "192.0.2.1"
FREE = Limits(permits=0, new_accounts_per_hour=0, address_permits_per_day=0, network_permits_per_day=0)
# Each number in several spellings. With the region GB, the last one reads like the first of its line.
SPELLINGS = [
    ["12025550101", "+12025550101", "+1 (202) 555-0101", "0012025550101"],
    ["447700900123", "+447700900123", "00 44 7700 900123", "07700 900 123"],
    ["0012345678901", "+0012345678901", "000012345678901"],
]
NOT_NUMBERS = [None, "office", "123"]
DEVICES = ["", "tablet"]


# ── the plain ways ───────────────────────────────────────────────────────────────────────────────────────────────────


def plain_user(tx: Tx, app_id: int, user_id: int) -> User:
    """A user, opened field by field as `core/` reads whole rows."""
    row = tx.one("SELECT * FROM users WHERE id = :id AND app_id = :app_id", id=user_id, app_id=app_id)
    assert row
    opened = profiles.opened(tx, row)
    last = tx.tuples("SELECT last_request_at FROM seen WHERE user_id = :id", id=user_id)
    values = {name: opened.get(name) for name in User.__struct_fields__}
    return User(**values | {"is_guest": bool(row["is_guest"]), "last_request_at": last[0][0] if last else None})


def plain_registered(tx: Tx, caller: Caller, book: list[tuple[str, str]]) -> list[Registered]:
    """Looks for each contact of a book among all numbers."""
    app_id, region = caller.app.id, caller.app.settings.default_region
    rows = tx.tuples("SELECT app_id, number, digits, user_id, verified_at FROM numbers ORDER BY user_id")
    answering = [(number_store.opened(tx, "numbers", *row[:3]), *row[3:]) for row in rows if row[0] == app_id]
    counting = [row for row in answering if row[2] or not caller.app.verified_only]
    own = {number for number, user_id, _ in counting if user_id == caller.user_id}
    found: dict[int, str] = {}
    for typed, name in book:
        for number, user_id, _ in counting:
            if number == phone.read(typed, region) and permits(tx, caller, user_id, own):
                found.setdefault(user_id, name)
    return [Registered(plain_user(tx, app_id, user_id), name) for user_id, name in found.items()]


def permits(tx: Tx, caller: Caller, user_id: int, own: set[int]) -> bool:
    """Does the user, who is in the caller's book, let the caller find the user? `own` are the caller's numbers."""
    audience = preferences.of(tx, caller.app, user_id).discoverable
    rows = tx.tuples("SELECT app_id, owner_id, book, number, sealed FROM contacts WHERE owner_id = :id", id=user_id)
    held = {tx.seal.open_contact(*row)[0] for row in rows}
    return user_id == caller.user_id or audience == "everyone" or (audience == "mutual" and bool(held & own))


def only_phones(found: list[Registered]) -> list[RegisteredPhone]:
    return [RegisteredPhone(one.user.id, one.user.phone, one.contact_name) for one in found]


def check_both(db: Database, caller: Caller, device: str) -> int:
    """Both forms are those of the plain way; how many users that are."""
    with db.read() as tx:
        plain = plain_registered(tx, caller, discovery.retrieve(db, caller, device))
    assert discovery.registered(db, caller, device, now=NOW) == plain
    assert discovery.registered_phones(db, caller, device, now=NOW) == only_phones(plain)
    return len(plain)


# ── random histories ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class World:
    """An application with users, to whom random things happen."""

    db: Database
    app: App
    owner: Caller
    ids: list[int] = field(default_factory=list)

    def caller(self, user_id: int) -> Caller:
        return Caller(app=self.app, user_id=user_id, is_guest=False, address=HERE)

    def live(self, history: list[tuple[str, int, dict[str, Any]]]) -> None:
        """One act after the other; some of them are refused."""
        for act, which, fields in history:
            if self.ids or act in ("sign up", "import", "sign in by phone"):
                with suppress(errors.Refused, phone.Unreadable, phone.WrongLength):
                    ACTS[act](self, which, self.numbered(which, fields))

    def numbered(self, which: int, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields with logins and e-mails that few others have."""
        return {
            name: value.format((len(self.ids) + which) % 10) if name in ("login", "email") else value
            for name, value in fields.items()
        }

    def sign_up(self, which: int, fields: dict[str, Any]) -> None:
        fields = {"login": f"user {len(self.ids)} {which}", "password": "correct-horse"} | fields
        self.ids.append(users.sign_up(self.db, FREE, self.app, fields, HERE, NOW + len(self.ids)).id)

    def note(self, user_id: int) -> None:
        if user_id not in self.ids:
            self.ids.append(user_id)

    def change(self, which: int, fields: dict[str, Any]) -> None:
        user_id = self.ids[which % len(self.ids)]
        users.update(self.db, FREE, self.caller(user_id), user_id, fields, session=b"", now=NOW + 50)

    def sign_in(self, which: int, fields: dict[str, Any]) -> None:
        self.note(proofs.by_phone(self.db, FREE, self.app, fields["phone"] or "", HERE, NOW + 60))

    def give(self, which: int, fields: dict[str, Any]) -> None:
        numbers.give(self.db, self.app, self.ids[which % len(self.ids)], fields["phone"] or "", NOW + 70)

    def second(self, which: int, fields: dict[str, Any]) -> None:
        with self.db.write() as tx:
            number = phone.read(fields["phone"] or "", self.app.settings.default_region)
            add_number(tx, self.app.id, self.ids[which % len(self.ids)], number, None)

    def bring(self, which: int, fields: dict[str, Any]) -> None:
        imported = {name: value for name, value in fields.items() if name in ("login", "email", "phone")}
        user_id = 1_000 * self.app.id + which
        import_users(self.db, self.app, [Line(2, {"id": str(user_id)} | imported)], now=NOW)
        with self.db.read() as tx:
            if user_store.by_id(tx, self.app.id, user_id):
                self.note(user_id)

    def erase(self, which: int, fields: dict[str, Any]) -> None:
        users.erase(self.db, self.ids.pop(which % len(self.ids)))

    def prefer(self, which: int, fields: dict[str, Any]) -> None:
        chosen = {"discoverable": AUDIENCES[which % 3]}
        preferences.change(self.db, self.caller(self.ids[which % len(self.ids)]), chosen, now=NOW)

    def hold(self, which: int, fields: dict[str, Any]) -> None:
        mine = [Entry(SPELLINGS[which % 3][0], "the owner, or another")]
        discovery.upload(self.db, FREE, self.caller(self.ids[which % len(self.ids)]), mine, now=NOW)

    def own(self, which: int, fields: dict[str, Any]) -> None:
        users.update(self.db, FREE, self.owner, self.owner.user_id, fields, session=b"", now=NOW)

    def seen(self, which: int, fields: dict[str, Any]) -> None:
        with self.db.write() as tx:
            user_store.mark_seen(tx, {self.ids[which % len(self.ids)]: NOW + 80 + which})


typed_phones = st.sampled_from([one for line in SPELLINGS for one in line] * 3 + NOT_NUMBERS)
profile_fields = st.fixed_dictionaries(
    {"phone": typed_phones},
    optional={
        "login": st.sampled_from(["ann {}", "ann{}@example.com", "+44 7700 90045{}", "tel:1202555019{}"]),
        "email": st.sampled_from(["ann{}@example.com", "BOB{}@example.com"]),
        "full_name": st.sampled_from(["Ann", "בוב 🏡", ""]),
        "external_user_id": st.integers(1, 30),
        "custom_data": st.just('{"a": 1}'),
        "tag_list": st.just(["vip"]),
    },
)
ACTS: dict[str, Callable[[World, int, dict[str, Any]], None]] = {
    "sign up": World.sign_up,
    "change": World.change,
    "sign in by phone": World.sign_in,
    "give": World.give,
    "second number": World.second,
    "import": World.bring,
    "erase": World.erase,
    "prefer": World.prefer,
    "hold": World.hold,
    "own number": World.own,
    "seen": World.seen,
}
acts = st.lists(st.tuples(st.sampled_from(list(ACTS)), st.integers(0, 9), profile_fields), max_size=10)
sign_ups = st.lists(st.tuples(st.just("sign up"), st.integers(0, 9), profile_fields), min_size=2, max_size=4)
histories = st.builds(list.__add__, sign_ups, acts)
# Each number under its own name, in one of its spellings, in any order.
books = st.permutations(range(len(SPELLINGS))).flatmap(
    lambda order: st.tuples(*(st.builds(Entry, st.sampled_from(SPELLINGS[n][:2]), st.just(f"name {n}")) for n in order))
)


def new_world(db: Database, region: str) -> World:
    app = applications.create(db, "test", NOW)
    app = applications.change(db, app.id, "default_region", region) if region else app
    app = applications.change(db, app.id, "require_verified_number", "off")
    made = users.sign_up(db, FREE, app, {"login": "the owner", "password": "correct-horse"}, HERE, NOW)
    return World(db, app, Caller(app=app, user_id=made.id, is_guest=False, address=HERE))


def with_setting(caller: Caller, **setting: str) -> Caller:
    wanted = msgspec.structs.replace(caller.app.settings, **setting)
    return msgspec.structs.replace(caller, app=msgspec.structs.replace(caller.app, settings=wanted))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, contacts=st.tuples(books, books), region=st.sampled_from(["", "GB"]))
def test_after_any_history_both_forms_are_those_of_the_plain_way(db, history, contacts, region):
    world = new_world(db, region)
    for device, book in zip(DEVICES, contacts, strict=True):
        discovery.upload(db, FREE, world.owner, book, device=device, now=NOW)
    world.live(history)
    for device in (*DEVICES, "unknown"):
        check_both(db, world.owner, device)
        check_both(db, with_setting(world.owner, require_verified_number="on"), device)
        check_both(db, with_setting(world.owner, contact_joined_discoverable="mutual"), device)
    check_spellings(db)


def check_spellings(db: Database) -> None:
    """No row of a number says that a profile has another phone than it has."""
    with db.read() as tx:
        for app_id, keyed, user_id, digits, spelling in tx.tuples(
            "SELECT app_id, number, user_id, digits, spelling FROM numbers"
        ):
            number = number_store.opened(tx, "numbers", app_id, keyed, digits)
            profile = plain_user(tx, app_id, user_id)
            assert number_store.spelled(number, spelling) in (None, profile.phone)


def test_a_usual_phone_is_shown_without_the_profile(db):
    """The fast way is used, also after a change, an import and a gift."""
    world = new_world(db, "")
    (digits, plus, formatted, _), (other, *_) = SPELLINGS[:2]
    discovery.upload(db, FREE, world.owner, [Entry(digits, "Ann"), Entry(other, "Bob")], now=NOW)
    world.sign_up(0, {"login": "ann", "phone": digits})
    import_users(db, world.app, [Line(2, {"id": "900", "login": "bob", "phone": f"+{other}"})], now=NOW)

    def spellings() -> set[int]:
        with db.read() as tx:
            return {row[0] for row in tx.tuples("SELECT spelling FROM numbers")}

    assert spellings() == {number_store.DIGITS, number_store.PLUS}
    world.change(0, {"phone": formatted})
    assert spellings() == {number_store.OTHER, number_store.PLUS}
    numbers.give(db, world.app, world.ids[0], plus, NOW)
    assert spellings() == {number_store.PLUS}
    assert check_both(db, world.owner, "") == 2


def test_a_phone_that_is_changed_without_its_number_is_read_in_the_profile(db):
    world = new_world(db, "")
    discovery.upload(db, FREE, world.owner, [Entry("12025550101", "Ann")], now=NOW)
    world.sign_up(0, {"login": "ann", "phone": "12025550101"})
    with db.write() as tx:
        user_store.change(tx, world.app.id, world.ids[0], {"phone": "office"}, NOW)
    assert [one.phone for one in discovery.registered_phones(db, world.owner, now=NOW)] == ["office"]


@pytest.mark.parametrize("typed", [one for line in SPELLINGS for one in line] + NOT_NUMBERS)
@pytest.mark.parametrize("number", [phone.read(line[0]) for line in SPELLINGS])
def test_a_spelling_gives_back_what_was_typed_or_says_that_it_cannot(number, typed):
    spelling = number_store.spelling(number, typed)
    assert number_store.spelled(number, spelling) == (typed if spelling else None)


def test_a_profile_that_does_not_open_costs_only_the_answers_that_show_it(db):
    world = new_world(db, "")
    discovery.upload(db, FREE, world.owner, [Entry("12025550101", "Ann")], now=NOW)
    world.sign_up(0, {"login": "ann", "phone": "12025550101", "email": "ann@example.com"})
    with db.write() as tx:
        tx.run("UPDATE users SET email = :other WHERE id = :id", other=b"x" * 32, id=world.ids[0])
    assert [one.phone for one in discovery.registered_phones(db, world.owner, now=NOW)] == ["12025550101"]
    with pytest.raises(errors.Unreadable):
        discovery.registered(db, world.owner, now=NOW)


# ── at the same time ─────────────────────────────────────────────────────────────────────────────────────────────────


class Busy(threading.Thread):
    """A thread whose failure is raised by `join`."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._failure = error

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if self._failure:
            raise self._failure


def respell_and_erase(world: World, user_id: int, spellings: list[str]) -> None:
    for turn in range(12):
        fields = {"phone": spellings[turn % 3]}
        users.update(world.db, FREE, world.caller(user_id), user_id, fields, session=b"", now=NOW + turn)
    users.erase(world.db, user_id)


def read_until(stop: threading.Event, world: World, spellings: dict[int, list[str]]) -> None:
    """Read both forms over and over. Each phone is one that the user has had, with the contact's name."""
    while not stop.is_set():
        for one in discovery.registered_phones(world.db, world.owner, now=NOW):
            assert one.phone in spellings[one.user_id]
            assert one.contact_name == spellings[one.user_id][0]
        for whole in discovery.registered(world.db, world.owner, now=NOW):
            assert whole.user.phone in spellings[whole.user.id]


def test_while_others_write_an_answer_holds_only_what_was_true_at_some_time(db):
    world = new_world(db, "")
    discovery.upload(db, FREE, world.owner, [Entry(line[0], line[0]) for line in SPELLINGS], now=NOW)
    for line in SPELLINGS:
        world.sign_up(0, {"phone": line[0]})
    spellings = dict(zip(world.ids, SPELLINGS, strict=True))
    stop = threading.Event()
    readers = [Busy(partial(read_until, stop, world, spellings)) for _ in range(2)]
    writers = [Busy(partial(respell_and_erase, world, user_id, spellings[user_id])) for user_id in world.ids[:2]]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert check_both(db, world.owner, "") == 1


FORMS: dict[str, Callable[[Database, Caller], list[str | None]]] = {
    "whole": lambda db, who: [one.user.phone for one in discovery.registered(db, who, now=NOW)],
    "compact": lambda db, who: [one.phone for one in discovery.registered_phones(db, who, now=NOW)],
    "whole since": lambda db, who: [
        one.user.phone if isinstance(one, Registered) else one.phone
        for one in discovered.since(db, who, "", "0", compact=False, now=NOW)[0]
    ],
    "compact since": lambda db, who: [
        one.user.phone if isinstance(one, Registered) else one.phone
        for one in discovered.since(db, who, "", "0", compact=True, now=NOW)[0]
    ],
    "kept": lambda db, who: [
        one["phone"] for one in msgspec.json.decode(kept_answers.registered(db, who, "", msgspec.json.encode, now=NOW))
    ],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("login", ["bob", "+1 (202) 555-0101"])
def test_a_contact_who_changes_the_number_meanwhile_is_shown_as_before(db, form, login, monkeypatch):
    """The caller does not hold the new phone. It must not be in the answer, whichever statement reads it."""
    world = new_world(db, "")
    kept_answers.keep(db, 2**20)
    discovery.upload(db, FREE, world.owner, [Entry("12025550101", "Bob")], now=NOW)
    world.sign_up(0, {"login": login, "phone": "+1 (202) 555-0101"})
    bob, found = world.ids[0], book_store.registered

    def changed_meanwhile(*given: Any) -> book_store.Lookup:
        looked = found(*given)
        fields = {"phone": "+1 (202) 555-0199", "login": login.replace("0101", "0199")}
        users.update(db, FREE, world.caller(bob), bob, fields, session=b"", now=NOW)
        return looked

    with monkeypatch.context() as patch:
        patch.setattr(book_store, "registered", changed_meanwhile)
        assert FORMS[form](db, world.owner) == ["+1 (202) 555-0101"]
    assert FORMS[form](db, world.owner) == []


# ── one user by id ───────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, book=books, profile=st.sampled_from(["open", "contacts"]))
def test_a_user_by_id_is_the_one_that_a_search_finds(db, history, book, profile):
    world = new_world(db, "")
    discovery.upload(db, FREE, world.owner, book, now=NOW)
    world.live(history)
    caller = with_setting(world.owner, profiles=profile)
    for user_id in {*world.ids, world.owner.user_id}:
        one = users.query(
            caller.app, FREE, [users.Filter("id", "in", (user_id,))], sort="id", descending=False, offset=0, limit=1
        )
        (found,), _ = users.search(db, FREE, caller, one, NOW + 90)
        assert users.find(db, FREE, caller, "id", user_id, NOW + 90) == found
    for unknown in (world.owner.user_id + 4_711, 2**31, 0):
        with pytest.raises(errors.NotFound):
            users.find(db, FREE, caller, "id", unknown, NOW)
