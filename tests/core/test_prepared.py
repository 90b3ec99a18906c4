"""An upload of what a book holds already takes a short way: it ends as the long way does. On both databases."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed import add_number, contacts

from ringbook import errors, phone
from ringbook.config import Limits
from ringbook.core import applications, discovery, prepared, users
from ringbook.model import App, Caller, Entry, Reason, Report
from ringbook.store import db as store
from ringbook.store import reports

NOW = 1_800_000_000
FREE = Limits(permits=0, app_permits_per_day=10**9)
SHORT, LONG = {"FEW": -1, "TIMES": 10**9}, {"FEW": 10**9, "TIMES": 0}
BEFORE, LOCKED = {"LOCKED": 0}, {"LOCKED": 2_000}  # when a book is read


@pytest.fixture
def app(db: store.Database) -> App:
    return applications.change(db, applications.create(db, "test", NOW).id, "default_region", "GB")


@pytest.fixture
def pair(db: store.Database, app: App) -> tuple[Caller, Caller]:
    fields: tuple[users.Fields, ...] = ({"login": "one", "password": "correct-horse"}, {"login": "two"})
    made = [users.sign_up(db, Limits(), app, {"password": "correct-horse"} | one, "192.0.2.1", NOW) for one in fields]
    one, two = (Caller(app=app, user_id=user.id, is_guest=False, address="192.0.2.1") for user in made)
    return one, two


@pytest.fixture
def owner(pair: tuple[Caller, Caller]) -> Caller:
    return pair[0]


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, int]], None]:
    def take(limits: dict[str, int]) -> None:
        for name, value in limits.items():
            monkeypatch.setattr(prepared, name, value)

    return take


def upload(db: store.Database, who: Caller, *entries: Entry | None, **options: Any) -> Report:
    return discovery.upload(db, FREE, who, list(entries), now=NOW, **options)


def stored(db: store.Database, who: Caller) -> list[Any]:
    """What is stored of a user's books. Each contact has the keyed value of an entry that would give it."""
    with db.read() as tx:
        rows = {
            row[:2]: row[2]
            for row in tx.tuples("SELECT book, number, entry FROM contacts WHERE owner_id = :id", id=who.user_id)
        }
        found = [(book, one) for owner_id, book, one in contacts(tx) if owner_id == who.user_id]
        for book, one in found:
            entry = Entry(one.typed or phone.digits(one.number), one.name)
            value = rows[book, db.seal.number(who.app.id, one.number)]
            assert [value] == [*db.seal.entries(phone.reading("GB"), who.app.id, who.user_id, book, [entry])]
        sums = "SELECT contacts, bytes FROM totals WHERE owner_id = :id"
        books = "SELECT book, device, size, next_seq FROM books WHERE owner_id = :id ORDER BY book"
        return [*found, *tx.tuples(sums, id=who.user_id), *tx.tuples(books, id=who.user_id)]


phones = st.sampled_from(
    ["12025550101", "+1 202 555 0101", "12025550102", "07700 900123", "+447700900123", "447700900123", "99912345678"]
    + ["9991234567", "12", "x", "1\0x", "\ud800"]
)
names = st.sampled_from(["Ann", "Ann ", "", None, "None", "n" * 256])
entries = st.none() | st.builds(Entry, phones, names, st.booleans())
uploads = st.tuples(st.lists(entries, max_size=10), st.booleans(), st.sampled_from(["", "", "phone"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(uploads, st.booleans(), st.sampled_from([None, -1, -2]), st.sampled_from([BEFORE, LOCKED])),
        max_size=8,
    )
)
def test_any_history_ends_as_it_does_when_every_entry_is_read_and_sealed(db, pair, way, history):
    """`at`: the books are known as they were before this upload, or before the one before it."""
    short, long = pair
    for who in pair:
        for device in ("", "phone"):
            upload(db, who, force=True, device=device)
    seen: list[Any] = [[]]
    for (sent, force, device), again, at, read in history:
        for _ in range(1 + again):
            with db.read() as tx:
                seen.append(reports.of_owner(tx, short.user_id))
            way(SHORT | read)
            report = upload(db, short, *sent, force=force, device=device, known=at and seen[at])
            way(LONG)
            assert report == upload(db, long, *sent, force=force, device=device)
    assert stored(db, short) == stored(db, long)
    assert discovery.retrieve(db, short) == discovery.retrieve(db, long)


def book(count: int, name: str = "x") -> list[Entry]:
    return [Entry(f"1202555{n:04d}", f"{name} {n}") for n in range(count)]


@pytest.mark.parametrize("read", [BEFORE, LOCKED])
def test_what_changes_between_the_glance_and_the_lock_is_seen(db, owner, way, monkeypatch, read):
    way(read)
    upload(db, owner, *book(100))
    pause(
        monkeypatch,
        lambda: upload(db, owner, *book(100, "other")[:50], *book(120)[110:], Entry("12025550099", None, True)),
    )
    assert upload(db, owner, *book(100)) == Report(1, 99, 0, {})
    assert sorted(discovery.retrieve(db, owner)) == sorted((one.phone, one.name) for one in book(100) + book(120)[110:])


@pytest.mark.parametrize("read", [BEFORE, LOCKED])
@pytest.mark.parametrize("device", ["", "phone"])
def test_a_book_that_is_made_or_emptied_between_the_glance_and_the_lock_is_seen(
    db, owner, way, monkeypatch, device, read
):
    way(read)
    upload(db, owner, Entry("12025550101", "Ann"), device="tablet")
    pause(monkeypatch, lambda: upload(db, owner, *book(10), device=device))
    assert upload(db, owner, *book(100), device=device) == Report(90, 10, 0, {})
    pause(monkeypatch, lambda: upload(db, owner, force=True, device=device))
    assert upload(db, owner, *book(100), device=device) == Report(100, 0, 0, {})

    def empty_and_fill() -> None:
        upload(db, owner, force=True, device=device)
        upload(db, owner, *book(100, "other"), device=device)

    pause(monkeypatch, empty_and_fill)
    assert upload(db, owner, *book(100), device=device) == Report(0, 100, 0, {})
    assert discovery.retrieve(db, owner, device) == [(one.phone, one.name) for one in book(100)]
    assert discovery.retrieve(db, owner, "tablet") == [("12025550101", "Ann")]


def pause(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Do something after the next upload has looked at its book, and before it locks it."""
    glanced = prepared.glanced

    def interrupted(*given: Any, **options: Any) -> prepared.Seen | None:
        monkeypatch.setattr(prepared, "glanced", glanced)
        seen = glanced(*given, **options)
        meanwhile()
        return seen

    monkeypatch.setattr(prepared, "glanced", interrupted)


@pytest.mark.parametrize("read", [BEFORE, LOCKED])
def test_many_uploads_to_one_book_at_once_end_as_one_of_their_orders_would(db, owner, way, read):
    way(read)
    upload(db, owner, *book(100))

    def work(n: int) -> None:
        for turn in range(6):
            upload(db, owner, *book(100, f"{n} {turn % 2}"), force=turn % 3 == 0)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {name.rsplit(" ", 1)[0] for _, name in discovery.retrieve(db, owner)}
    assert len(names) == 1 and len(discovery.retrieve(db, owner)) == 100
    stored(db, owner)


def test_after_a_change_in_how_numbers_are_read_every_entry_is_read_again(db, owner, monkeypatch):
    upload(db, owner, *book(100))
    sealed = counted(monkeypatch)
    upload(db, owner, *book(100))
    assert sealed == [0]
    monkeypatch.setattr(phone, "reading", lambda _region: "another way")
    assert upload(db, owner, *book(100)).updated == 100
    assert upload(db, owner, *book(100)).updated == 100
    assert sealed == [0, 100, 0]


def test_an_upload_with_another_region_reads_every_entry_again(db, owner):
    """A process knows a change of the setting some seconds later."""
    before = msgspec.structs.replace(owner.app.settings, default_region="")
    late = msgspec.structs.replace(owner, app=msgspec.structs.replace(owner.app, settings=before))
    national = [Entry(f"07700 900{n:03d}", "x") for n in range(100)]
    assert upload(db, late, *national).created == 100
    assert upload(db, owner, *national, force=True) == Report(100, 0, 100, {})
    stored(db, owner)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each upload reads and seals."""
    found: list[int] = []
    check = prepared.check

    def counting(given: list[Entry], region: str) -> Any:
        found.append(len(given))
        return check(given, region)

    monkeypatch.setattr(prepared, "check", counting)
    return found


def test_an_entry_that_is_known_and_named_again_is_read_so_that_the_last_name_wins(db, owner, monkeypatch):
    upload(db, owner, *book(100))
    sealed = counted(monkeypatch)
    first, other = Entry("12025550000", "x 0"), Entry("+1 202 555 0000", "Ann")
    assert upload(db, owner, *book(100), other) == Report(0, 101, 0, {})
    assert discovery.retrieve(db, owner)[0] == ("+1 202 555 0000", "Ann")
    assert upload(db, owner, first, *book(100)[1:], other, first) == Report(0, 102, 0, {})
    assert discovery.retrieve(db, owner)[0] == ("12025550000", "x 0")
    assert upload(db, owner, *book(100), first) == Report(0, 101, 0, {})
    assert upload(db, owner, *book(100)[::-1], Entry("+12025550000", None, True)) == Report(0, 100, 1, {})
    assert sealed == [1, 2, 2, 3, 2, 1, 2]
    assert len(discovery.retrieve(db, owner)) == 99
    stored(db, owner)


@pytest.mark.parametrize("read", [BEFORE, LOCKED])
@pytest.mark.parametrize("device", ["", "phone"])
def test_an_upload_whose_entries_are_all_rejected_changes_nothing(db, owner, way, device, read):
    way(read)
    upload(db, owner, *book(100), device=device)
    with db.read() as tx:
        before = tx.all("SELECT * FROM books WHERE owner_id = :id", id=owner.user_id)
    for force in (False, True):
        nothing = {at: [Reason.FIELDS] for at in range(100)}
        report = discovery.upload(
            db, FREE, owner, [Entry("x", "y")] * 100, device=device, force=force, digest=b"d" * 16, now=NOW + 9
        )
        assert report == Report(0, 0, 0, nothing)
    with db.read() as tx:
        assert tx.all("SELECT * FROM books WHERE owner_id = :id", id=owner.user_id) == before


def test_an_entry_without_a_name_is_rejected_also_where_the_contact_is_called_none(db, owner):
    upload(db, owner, *[Entry(one.phone, "None") for one in book(100)])
    nameless = [Entry(one.phone) for one in book(100)]
    assert upload(db, owner, *nameless) == Report(0, 0, 0, {at: [Reason.FIELDS] for at in range(100)})


def test_a_few_changes_of_a_large_book_do_not_read_it(db, owner, monkeypatch):
    upload(db, owner, *book(2_000))
    monkeypatch.setattr(prepared.books, "entries", None)
    assert upload(db, owner, *book(100, "other")).updated == 100
    assert upload(db, owner, *book(10)).updated == 10


@pytest.mark.parametrize("device", ["", "phone"])
@pytest.mark.parametrize("read", [discovery.retrieve, partial(discovery.registered, now=NOW)])
def test_a_damaged_book_that_was_read_is_repaired_by_the_next_upload(db, pair, device, read):
    owner, other = pair
    with db.write() as tx:
        add_number(tx, owner.app.id, other.user_id, 12025550001)
    upload(db, owner, *book(100), device=device)
    upload(db, owner, *book(100), device="tablet")
    with db.write() as tx:
        tx.run("UPDATE contacts SET sealed = :other", other=b"x" * 32)
    with pytest.raises(errors.Unreadable):
        read(db, owner, device)
    assert upload(db, owner, *book(100), device=device) == Report(0, 100, 0, {})
    assert len(discovery.retrieve(db, owner, device)) == 100
    with pytest.raises(errors.Unreadable):
        discovery.retrieve(db, owner, "tablet")
