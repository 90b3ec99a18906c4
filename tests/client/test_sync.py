"""Syncing an address book: after any history, one undisturbed sync makes the server's book correct."""

import asyncio
import itertools
import json
import uuid
from collections.abc import Callable
from contextlib import suppress

import pytest
from asking import PASSWORD
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from ringbook_client import AsyncClient, Client, Contact, Login, Removal, errors, files, state, sync
from ringbook_client.retries import drive
from servers import application

# NATIONAL and INTERNATIONAL are one number in the region GB. ANN and SAME_END differ, but have the same last digits.
ANN, SAME_END = "+1 202 555 0101", "+1 212 555 0101"
NATIONAL, INTERNATIONAL, WRITTEN = "07700 900101", "+44 7700 900101", "+44 (0)7700 900-101"
BOB, CAT, DAN = "+44 7700 900102", "+44 7700 900103", "+44 7700 900104"
SHORT, WORDS = "123", "call me"
LONG = "x" * 256
NUMBERS = (ANN, SAME_END, NATIONAL, INTERNATIONAL, WRITTEN, BOB, CAT, DAN)


class Killed(BaseException):
    """The program was killed."""


class Phone:
    """A device with contacts, a state file, and its own address book on the server."""

    def __init__(self, client: Client, folder) -> None:
        self.client = client
        self.device = uuid.uuid4().hex
        self.state = folder / f"{self.device}.json"
        self.contacts: dict[str, str] = {}
        self.uploads = 0

    def contact_list(self) -> list[Contact]:
        return [Contact(name, phone) for phone, name in self.contacts.items()]

    def sync(self, at: Callable[[], None] = lambda: None, **options) -> sync.Synced:
        """One sync. `at` is called before and after each request and each write of the state file."""

        def perform(call):
            at()
            self.uploads += call.request.method == "POST"
            result = self.client.call(call)
            at()
            return result

        def write(path, text):
            at()
            real(path, text)
            at()

        real, files.write = files.write, write
        try:
            steps = sync.sync_steps(
                self.contact_list(),
                self.state,
                self.client.url,
                self.client.app,
                device=self.device,
                allow_empty=True,
                **options,
            )
            return drive(steps, perform)
        finally:
            files.write = real

    def book(self) -> dict[str, str]:
        return {one.phone: one.name for one in self.client.get_address_book(device=self.device)}

    def elsewhere(self, *entries, force=False) -> None:
        """Another program changes the same address book."""
        self.client.upload_address_book(entries, force=force, device=self.device)

    def assert_correct(self) -> None:
        """The book is what a full upload to an empty book gives. Of several spellings of a number, any may be in it."""
        self.client.upload_address_book(self.contact_list(), force=True, device="oracle")
        right = {one.phone: one.name for one in self.client.get_address_book(device="oracle")}
        book = self.book()
        assert len(book) == len(right)
        assert book.items() <= self.contacts.items()
        alone = (ANN, SAME_END, BOB, CAT, DAN)
        assert {phone for phone in book if phone in alone} == {phone for phone in right if phone in alone}

    def end(self) -> None:
        for device in (self.device, "oracle"):
            self.client.upload_address_book([], force=True, device=device)


@pytest.fixture(scope="module")
def client(server):
    """A user of an application whose region is GB, so that national numbers are British."""
    app = application(server.database_url, "sync", default_region="GB")
    login = Login(f"user-{uuid.uuid4().hex}", PASSWORD)
    with Client(server.url, app.application_id, app.auth_key, sign_in=lambda: login) as one:
        yield one


@pytest.fixture
def phone(client, tmp_path):
    one = Phone(client, tmp_path)
    yield one
    one.end()


def kill_at(moment: int) -> Callable[[], None]:
    """A callback that raises Killed at the given call."""
    moments = itertools.count()

    def at():
        if next(moments) == moment:
            raise Killed

    return at


# ── uploads ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_sync_uploads_all_the_second_the_changes_the_third_nothing(phone):
    phone.contacts = {ANN: "Ann", BOB: "Bob", CAT: "Cat"}
    first = phone.sync()
    assert (first.full, first.added, first.unchanged) == (state.FIRST_SYNC, 3, 0)
    phone.contacts = {ANN: "Anna", CAT: "Cat", DAN: "Dan"}
    second = phone.sync()
    assert (second.full, second.added, second.renamed, second.removed, second.unchanged) == ("", 1, 1, 1, 1)
    assert phone.book() == phone.contacts
    phone.uploads = 0
    third = phone.sync()
    assert (third.added, third.renamed, third.removed, third.unchanged, phone.uploads) == (0, 0, 0, 3, 0)


@pytest.mark.parametrize(
    "change",
    [
        [Contact("Eve", DAN)],
        [Removal(BOB)],
        [Contact("Robert", BOB)],
        [Contact("Robert", BOB), Removal(ANN), Contact("Eve", DAN)],
    ],
)
def test_a_change_by_another_program_leads_to_a_full_upload(phone, change):
    phone.contacts = {ANN: "Ann", BOB: "Bob", CAT: "Cat"}
    phone.sync()
    phone.elsewhere(*change)
    assert phone.sync().full == sync.DRIFT
    assert phone.book() == phone.contacts
    assert phone.sync().full == ""


def test_without_a_check_the_counts_of_an_upload_reveal_a_change_by_another_program(phone):
    phone.contacts = {ANN: "Ann", BOB: "Bob"}
    phone.sync()
    phone.elsewhere(Removal(BOB))
    assert phone.sync(check=False).full == ""
    phone.contacts = {ANN: "Ann"}
    assert phone.sync(check=False).full == sync.DRIFT
    assert phone.book() == phone.contacts


def test_two_spellings_of_one_number_are_one_contact_and_no_drift(phone):
    phone.contacts = {INTERNATIONAL: "Ann", NATIONAL: "Annie", BOB: "Bob"}
    phone.sync()
    assert phone.book() == {NATIONAL: "Annie", BOB: "Bob"}
    assert phone.sync().full == ""
    del phone.contacts[NATIONAL]
    assert phone.sync().full == ""
    assert phone.book() == {INTERNATIONAL: "Ann", BOB: "Bob"}
    phone.contacts[WRITTEN] = "Anna"
    assert phone.sync().full == ""
    assert phone.book() == {WRITTEN: "Anna", BOB: "Bob"}
    assert phone.sync().full == ""


def test_two_numbers_with_the_same_last_digits_are_two_contacts(phone):
    phone.contacts = {ANN: "Ann", SAME_END: "Al"}
    phone.sync()
    assert phone.book() == phone.contacts
    phone.elsewhere(Removal(SAME_END))
    assert phone.sync().full == sync.DRIFT
    assert phone.book() == phone.contacts


def test_rejected_contacts_are_reported_each_time_and_uploaded_once(phone):
    phone.contacts = {ANN: "Ann", SHORT: "Short", WORDS: "Words"}
    assert [one.entry.name for one in phone.sync().rejected] == ["Short", "Words"]
    phone.uploads = 0
    again = phone.sync()
    assert [one.position for one in again.rejected] == [1, 2] and phone.uploads == 0
    assert all("Short" not in reason for one in again.rejected for reason in one.reasons)


@pytest.mark.parametrize("number", [ANN, NATIONAL])
def test_a_rejected_new_name_removes_the_contact_as_a_full_upload_would(phone, number):
    phone.contacts = {number: "Ann", BOB: "Bob"}
    phone.sync()
    phone.contacts = {number: LONG, BOB: "Bob"}
    synced = phone.sync()
    assert (synced.full, synced.removed, len(synced.rejected)) == ("", 1, 1)
    assert phone.book() == {BOB: "Bob"}
    assert phone.sync().full == ""


def test_a_name_with_a_lone_surrogate_is_rejected(phone):
    phone.contacts = {ANN: "Ann \ud83d", BOB: "Bob"}
    assert [one.entry.phone for one in phone.sync().rejected] == [ANN]
    assert phone.sync().full == ""


def test_many_changes_are_uploaded_in_parts(phone, monkeypatch):
    monkeypatch.setattr("ringbook_client.sync.PART_SIZE", 4)
    progress_calls = []
    phone.contacts = {f"+1 {200 + n} 555 01{n:02}": f"n{n}" for n in range(30)} | {
        NATIONAL: "a",
        INTERNATIONAL: "b",
        WRITTEN: "c",
    }
    phone.contacts[BOB] = "Bob"
    phone.sync()
    phone.contacts = {number: name + "!" for number, name in phone.contacts.items()} | {BOB: "Bob"}
    synced = phone.sync(progress=lambda *at: progress_calls.append(at))
    assert (synced.full, synced.renamed) == ("", 33) and progress_calls[-1] == (30, 30)
    phone.assert_correct()


@pytest.mark.parametrize("known", [True, False])
def test_with_keep_no_contact_is_removed(client, phone, known):
    phone.contacts = {ANN: "Ann", BOB: "Bob"}
    phone.sync()
    if not known:
        phone.state.unlink()
    phone.contacts = {ANN: "Anna", CAT: "Cat"}
    plan = client.plan_sync(phone.contact_list(), phone.state, device=phone.device, keep=True)
    assert not plan.difference.removed
    synced = phone.sync(keep=True)
    assert (synced.added, synced.renamed, synced.removed, synced.unchanged) == (1, 1, 0, 1)
    assert phone.book() == {ANN: "Anna", BOB: "Bob", CAT: "Cat"}
    assert phone.sync().removed == 1 and phone.book() == phone.contacts


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_contacts_raise_empty_book_without_allow_empty(client, phone):
    phone.contacts = {ANN: "Ann"}
    phone.sync()
    with pytest.raises(errors.EmptyBook, match="allow_empty"):
        client.sync_address_book([], phone.state, device=phone.device)
    assert phone.book() == {ANN: "Ann"}
    assert client.sync_address_book([], phone.state, device=phone.device, allow_empty=True).removed == 1
    assert phone.book() == {}
    assert client.sync_address_book([], phone.state, device=phone.device, allow_empty=True).full == ""


def test_a_source_that_cannot_be_read_changes_nothing(client, phone):
    phone.contacts = {ANN: "Ann"}
    phone.sync()

    def source():
        yield Contact("Bob", BOB)
        raise errors.Unreadable("the disk went away")

    with pytest.raises(errors.Unreadable):
        client.sync_address_book(source(), phone.state, device=phone.device)
    assert phone.book() == {ANN: "Ann"} and phone.sync().full == ""


def test_when_every_contact_is_rejected_the_book_stays(phone):
    phone.contacts = {ANN: "Ann"}
    phone.sync()
    phone.contacts = {SHORT: "Short", WORDS: "Words"}
    phone.state.unlink()
    with pytest.raises(errors.NothingAccepted) as caught:
        phone.sync()
    assert len(caught.value.applied.rejected) == 2 and phone.book() == {ANN: "Ann"}


@pytest.mark.parametrize("options", [{}, {"check": False}])
@pytest.mark.parametrize(
    "broken",
    [{f"tel:{BOB}": "Bob", f"tel:{NATIONAL}": "Abe"}, {BOB: "", NATIONAL: ""}, {f"tel:{BOB}": "Bob", NATIONAL: ""}],
)
def test_an_app_that_damages_every_contact_does_not_empty_the_book(phone, broken, options):
    phone.contacts = {BOB: "Bob", NATIONAL: "Abe", INTERNATIONAL: "Abe"}
    phone.sync()
    before, phone.contacts = phone.book(), broken
    for _ in range(2):
        with pytest.raises(errors.NothingAccepted):
            phone.sync(**options)
    assert phone.book() == before


def test_after_a_refused_upload_the_next_sync_uploads_only_the_changes(client, phone, monkeypatch):
    phone.contacts = {ANN: "Ann"}
    phone.sync()
    phone.contacts = {ANN: "Ann", BOB: "Bob"}

    def refused(call):
        if call.request.method == "POST":
            raise errors.TooMany(429, {"base": ["Too many requests"]}, 3600)
        return real(call)

    real = client.call
    monkeypatch.setattr(client, "call", refused)
    with pytest.raises(errors.TooMany):
        phone.sync()
    monkeypatch.undo()
    assert phone.sync().full == "" and phone.book() == phone.contacts


def test_plan_sync_changes_nothing(client, phone):
    def planned(**options):
        return client.plan_sync(phone.contact_list(), phone.state, device=phone.device, **options)

    phone.contacts = {ANN: "Ann", BOB: "Bob", SAME_END: "Al"}
    plan = planned()
    assert plan.full == state.FIRST_SYNC and len(plan.difference.added) == 3
    assert phone.book() == {} and not phone.state.exists()
    phone.sync()
    phone.contacts = {ANN: "Anna", CAT: "Cat", SAME_END: "Al"}
    before, plan = phone.state.read_bytes(), planned()
    assert plan.full == "" and plan.difference.removed == (Contact("Bob", BOB),)
    phone.elsewhere(Contact("Eve", DAN))
    plan = planned()
    assert plan.full == sync.DRIFT
    assert {one.name for one in plan.difference.removed} == {"Bob", "Eve"}
    assert phone.state.read_bytes() == before
    assert planned(full=True).full == sync.FULL_REQUESTED


# ── the state file ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_owner_can_read_the_state_file(phone):
    phone.contacts = {ANN: "Ann"}
    phone.sync()
    assert phone.state.stat().st_mode & 0o777 == 0o600
    assert list(phone.state.parent.iterdir()) == [phone.state]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 2}', b"\xed\xa0\xbd"])
def test_an_unreadable_state_file_leads_to_a_full_upload(phone, text):
    phone.contacts = {ANN: "Ann"}
    phone.sync()
    phone.state.write_bytes(text)
    assert phone.sync().full in (state.UNREADABLE, state.OTHER_VERSION)
    assert phone.sync().full == ""


@pytest.mark.parametrize(
    "key, value", [("server", "http://elsewhere"), ("user", 2147483647), ("device", ""), ("app", 99)]
)
def test_a_state_file_of_another_book_is_not_used(phone, key, value):
    phone.contacts = {ANN: "Ann"}
    phone.sync()
    saved = json.loads(phone.state.read_text())
    saved["owner"][key] = value
    phone.state.write_text(json.dumps(saved))
    assert phone.sync(check=False).full == state.OTHER_BOOK


# ── interrupted syncs ────────────────────────────────────────────────────────────────────────────────────────────────

BEFORE = {ANN: "Ann", BOB: "Bob", INTERNATIONAL: "Abe", NATIONAL: "Abraham", SHORT: "Short"}
AFTER = {ANN: "Anna", CAT: "Cat", NATIONAL: "Abraham", SAME_END: "Al", WORDS: "Words"}
LATER = {ANN: "Ann", DAN: "Dan", INTERNATIONAL: "Abe"}


@pytest.mark.parametrize("first", [False, True], ids=["differences", "first"])
def test_a_sync_can_be_killed_at_any_moment(phone, first):
    for moment in itertools.count():
        phone.contacts = dict(BEFORE)
        phone.elsewhere(force=True)
        phone.state.unlink(missing_ok=True)
        if not first:
            phone.sync()
        phone.contacts = dict(AFTER)
        try:
            phone.sync(at=kill_at(moment))
        except Killed:
            phone.contacts = dict(LATER)
            phone.sync()
            phone.assert_correct()
            assert phone.sync().full == "", moment
        else:
            break
    assert moment > 10


@pytest.mark.parametrize("moment", range(4))
def test_without_a_check_the_next_sync_repairs_a_killed_one(phone, moment):
    phone.contacts = dict(BEFORE)
    phone.sync()
    phone.contacts = {**BEFORE, DAN: "Dan"}
    with pytest.raises(Killed):
        phone.sync(at=kill_at(4 + moment), check=False)
    phone.contacts = dict(BEFORE)
    phone.sync(check=False)
    phone.assert_correct()


class Life(RuleBasedStateMachine):
    """Random changes of the contacts, killed and disturbed syncs, and changes of the book by other programs."""

    make: Callable[[], Phone]

    def __init__(self) -> None:
        super().__init__()
        self.phone = type(self).make()
        self.synced = False

    numbers = st.sampled_from([*NUMBERS, SHORT, WORDS])
    names = st.sampled_from(["Ann", "Bob", "Cat", "", LONG])
    moments = st.integers(0, 16)

    @rule(number=numbers, name=names)
    def add_or_rename(self, number, name):
        self.phone.contacts[number] = name
        self.synced = False

    @rule(number=numbers)
    def remove(self, number):
        self.phone.contacts.pop(number, None)
        self.synced = False

    @rule(number=st.sampled_from(NUMBERS), name=st.sampled_from(["Ann", "Eve"]), force=st.booleans())
    def another_program_writes(self, number, name, force):
        self.phone.elsewhere(Contact(name, number), force=force)
        self.synced = False

    @rule(number=st.sampled_from(NUMBERS))
    def another_program_removes(self, number):
        self.phone.elsewhere(Removal(number))
        self.synced = False

    @rule(moment=moments)
    def a_sync_is_killed(self, moment):
        self.attempt(kill_at(moment))

    @rule(moment=moments, number=st.sampled_from(NUMBERS), removes=st.booleans())
    def a_sync_is_disturbed(self, moment, number, removes):
        moments = itertools.count()

        def at():
            if next(moments) == moment:
                self.phone.elsewhere(Removal(number) if removes else Contact("Eve", number))

        self.attempt(at)

    def attempt(self, at):
        self.synced = False
        with suppress(Killed, errors.NothingAccepted):
            self.phone.sync(at=at)

    @rule(text=st.sampled_from(["", "{}", None]))
    def the_state_is_lost(self, text):
        if text is None:
            self.phone.state.unlink(missing_ok=True)
        else:
            self.phone.state.write_text(text)

    @rule()
    def a_sync_ends(self):
        try:
            self.phone.sync()
        except errors.NothingAccepted:
            return
        self.synced = True

    @invariant()
    def the_book_is_correct_and_a_further_sync_uploads_nothing(self):
        if self.synced:
            self.phone.assert_correct()
            self.phone.uploads = 0
            assert self.phone.sync().full == "" and self.phone.uploads == 0
        self.synced = False

    def teardown(self):
        self.phone.end()


def test_after_any_history_one_undisturbed_sync_makes_the_book_correct(client, tmp_path):
    class History(Life):
        make = staticmethod(lambda: Phone(client, tmp_path))

    few = settings(max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(History, settings=few)


# ── the async client ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_async_client_syncs(client, phone):
    async def play():
        async with AsyncClient(client.url, client.app.id, client.app.auth_key) as one:
            one._store_token(client._token)
            book = [Contact("Ann", ANN), Contact("Bob", BOB)]
            plan = await one.plan_sync(book, phone.state, device=phone.device)
            assert len(plan.difference.added) == 2
            assert (await one.sync_address_book(book, phone.state, device=phone.device)).added == 2
            assert (await one.sync_address_book(book[:1], str(phone.state), device=phone.device)).removed == 1

    client.get_session()
    asyncio.run(play())
    assert phone.book() == {ANN: "Ann"}
