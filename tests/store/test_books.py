"""Address books in both databases: every statement, its usual case and its edges."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sealed import add_number, contacts, with_number
from servers import SEAL

from ringbook import errors
from ringbook.core import applications
from ringbook.model import SEQ_GAP, Contact, Held
from ringbook.seal import SEALED_BYTES
from ringbook.store import books, buckets, users
from ringbook.store.db import Database, Tx
from ringbook.store.discoverable import Rules
from ringbook.store.numbers import keyed_all

NOW = 1_800_000_000
ANN, BOB, CAT, DAN = 12025550101, 12025550102, 12025550103, 12025550104
STEP = SEQ_GAP
EVERYONE = Rules(verified_only=False, default="everyone", choice=True)


@pytest.fixture
def app_id(db: Database) -> int:
    return applications.create(db, "tests", NOW).id


@pytest.fixture
def owner(db: Database, app_id: int) -> int:
    return user(db, app_id)


def user(db: Database, app_id: int, *numbers: int) -> int:
    with db.write() as tx:
        user_id = users.insert(tx, app_id, {}, NOW)
        assert user_id
        for number in numbers:
            add_number(tx, app_id, user_id, number)
    return user_id


def contact(number: int, seq: int, name: str = "x", typed: str | None = None) -> Contact:
    return Contact(number, name, typed, seq)


def put(db: Database, app_id: int, owner: int, book: int, *contacts: Contact) -> None:
    rows = [with_number(app_id, owner, book, one) for one in contacts]
    with db.write() as tx:
        tx.run(
            "INSERT INTO books (owner_id, book, app_id, device, size, next_seq, synced_at)"
            " VALUES (:owner, :book, :app_id, :device, 0, 0, 0) ON CONFLICT DO NOTHING",
            owner=owner,
            book=book,
            app_id=app_id,
            device=f"{book or ''}",
        )
        books.put(tx, app_id, owner, book, sorted(rows))


def whole(db: Database, owner: int, book: int = 0) -> dict[int, Contact]:
    with db.read() as tx:
        found = books.whole_book(tx, owner, book)
        there = {one.number: one for who, of, one in contacts(tx) if (who, of) == (owner, book)}
        (app_id,) = {row[0] for row in tx.tuples("SELECT app_id FROM users WHERE id = :id", id=owner)} or {1}
    assert found == {row[0]: row for row in (held(app_id, owner, book, one) for one in there.values())}
    return there


def held(app_id: int, owner: int, book: int, one: Contact) -> Held:
    number, entry, seq, text = with_number(app_id, owner, book, one)
    return number, entry, seq, len(text) + SEALED_BYTES


def keyed(app_id: int, *numbers: int) -> list[int]:
    return [SEAL.number(app_id, number) for number in numbers]


def device_book(db: Database, app_id: int, owner: int, book: int, device: str) -> None:
    with db.write() as tx:
        books.add_book(tx, app_id, owner, book, device, NOW)


def locked(tx: Tx, owner: int, device: str, now: int = NOW) -> dict[str, int] | None:
    """The book, without its version and its reports."""
    found = books.lock_book(tx, owner, device, now)
    return found and {name: found[name] for name in ("book", "size", "next_seq")}


# ── new and changed contacts ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [0, 1, 399, 401, 2_600])
def test_new_contacts_are_stored_alike_with_and_without_regard_to_those_that_are_there(db, app_id, count):
    many = [contact(12025550000 + n, n * STEP, f"Ann {'x' * (n % 40)}") for n in range(count)]
    one, other = user(db, app_id), user(db, app_id)
    put(db, app_id, one, 0, *many)
    put(db, app_id, other, 0)
    with db.write() as tx:
        books.add(tx, app_id, other, 0, sorted(with_number(app_id, other, 0, each) for each in many))
    assert list(whole(db, one).values()) == list(whole(db, other).values()) == many


def test_a_contact_that_is_there_is_changed_but_not_added(db, app_id, owner):
    put(db, app_id, owner, 0, contact(12025550101, STEP, "Ann"))
    put(db, app_id, owner, 0, contact(12025550101, 2 * STEP, "Annie"))
    rows = sorted(with_number(app_id, owner, 0, contact(12025550101 + n, STEP, "Bob")) for n in range(450))
    with pytest.raises(errors.Conflict), db.write() as tx:
        books.add(tx, app_id, owner, 0, rows)
    assert list(whole(db, owner).values()) == [contact(12025550101, 2 * STEP, "Annie")]


# ── the rows of books ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_global_book_is_made_once_and_read_ever_after(db, app_id, owner):
    with db.write() as tx:
        assert books.lock_book(tx, owner, "", NOW) is None
        books.lock_owner(tx, app_id, owner)
        assert tx.tuples("SELECT book, synced_at FROM books") == [(0, 0)]
        assert locked(tx, owner, "") == {"book": 0, "size": 0, "next_seq": STEP}
        books.set_book(tx, owner, 0, 3, 4 * STEP)
        books.lock_owner(tx, app_id, owner)
        assert tx.tuples("SELECT size, synced_at FROM books") == [(3, NOW)]
        assert locked(tx, owner, "", NOW + 2) == {"book": 0, "size": 3, "next_seq": 4 * STEP}
        assert tx.tuples("SELECT synced_at FROM books") == [(NOW + 2,)]


def test_a_book_that_was_never_synced_is_not_listed(db, app_id, owner):
    with db.write() as tx:
        books.lock_owner(tx, app_id, owner)
        books.add_book(tx, app_id, owner, 1, "phone", NOW)
        assert [row["device"] for row in books.of_owner(tx, owner)] == ["phone"]
        books.lock_book(tx, owner, "", NOW)
        assert [row["device"] for row in books.of_owner(tx, owner)] == ["", "phone"]


def test_devices_have_books_of_their_own_until_these_are_forgotten(db, app_id, owner):
    with db.write() as tx:
        books.lock_owner(tx, app_id, owner)
        added = books.add_book(tx, app_id, owner, 1, "phone", NOW)
        assert books.lock_book(tx, owner, "phone", NOW) == added
        assert locked(tx, owner, "phone") == {"book": 1, "size": 0, "next_seq": STEP}
        assert books.lock_book(tx, owner, "Phone", NOW) is None
        assert sorted(books.numbers_of_books(tx, owner)) == [0, 1]
        books.forget_book(tx, owner, 1)
        assert books.numbers_of_books(tx, owner) == [0]


def test_one_device_has_one_book_and_one_number_is_one_book(db, app_id, owner):
    device_book(db, app_id, owner, 1, "phone")
    for book, device in ((2, "phone"), (1, "tablet")):
        with pytest.raises(errors.Conflict):
            device_book(db, app_id, owner, book, device)


def test_nobody_who_is_gone_has_a_book(db, app_id):
    with pytest.raises(errors.SessionGone), db.write() as tx:
        books.lock_owner(tx, app_id, 4711)


def test_a_locked_book_is_waited_for(db, app_id, owner):
    """Two that read, think and write lose nothing."""
    with db.write() as tx:
        books.lock_owner(tx, app_id, owner)

    def add_one(_: int) -> None:
        with db.write() as tx:
            book = books.lock_book(tx, owner, "", NOW)
            assert book
            books.set_book(tx, owner, 0, book["size"] + 1, book["next_seq"] + STEP)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_one, range(40)))
    with db.write() as tx:
        assert locked(tx, owner, "") == {"book": 0, "size": 40, "next_seq": 41 * STEP}


def test_books_go_with_their_owner_and_so_do_contacts_when_asked(db, app_id, owner):
    other = user(db, app_id)
    for who in (owner, other):
        device_book(db, app_id, who, 1, "phone")
        put(db, app_id, who, 1, contact(ANN, STEP))
    with db.write() as tx:
        books.lock_all(tx, owner)
        assert users.delete(tx, owner)
        books.delete_all(tx, owner)
        assert tx.tuples("SELECT owner_id FROM books") == [(other,)]
    assert (whole(db, owner, 1), len(whole(db, other, 1))) == ({}, 1)


TOTALS = {"announce_until": 0}


def test_totals_are_added_to_and_go_with_the_books_or_the_owner(db, app_id, owner):
    other = user(db, app_id)
    with db.write() as tx:
        for who in (owner, other):
            assert books.add_to_totals(tx, app_id, who, 3, 100) == TOTALS | {"contacts": 3, "bytes": 100}
        assert books.add_to_totals(tx, app_id, owner, -1, -40) == TOTALS | {"contacts": 2, "bytes": 60}
        books.delete_books(tx, owner)
        assert tx.tuples("SELECT owner_id FROM totals") == [(other,)]
        users.delete(tx, other)
        assert tx.tuples("SELECT owner_id FROM totals") == []
    with pytest.raises(errors.SessionGone), db.write() as tx:
        books.add_to_totals(tx, app_id, other, 1, 1)


# ── contacts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_contacts_are_written_changed_and_dropped(db, app_id, owner):
    ann, bob = contact(ANN, STEP, "Ann", "+1 202-555-0101"), contact(BOB, 2 * STEP, "Bob 😀")
    put(db, app_id, owner, 0, ann, bob)
    assert whole(db, owner) == {ANN: ann, BOB: bob}
    changed = contact(ANN, 3 * STEP, "Annie")
    put(db, app_id, owner, 0, changed, contact(CAT, 4 * STEP))
    assert whole(db, owner) == {ANN: changed, BOB: bob, CAT: contact(CAT, 4 * STEP)}
    with db.write() as tx:
        books.drop(tx, owner, 0, keyed(app_id, BOB, CAT, DAN))
    assert whole(db, owner) == {ANN: changed}


def test_numbers_of_other_books_and_removed_ones_are_found_at_once_as_one_by_one(db, app_id, owner):
    other = user(db, app_id)
    for who, book, numbers in ((owner, 0, (ANN, BOB)), (owner, 1, (BOB, CAT)), (other, 1, (DAN,))):
        with db.write() as tx:
            books.lock_owner(tx, app_id, who)
        put(db, app_id, who, book, *(contact(number, STEP) for number in numbers))
    with db.write() as tx:
        buckets.remember_removed(tx, app_id, owner, keyed_all(tx, app_id, [ANN]), NOW - 10)
        buckets.remember_removed(tx, app_id, owner, keyed_all(tx, app_id, [CAT, DAN]), NOW)
        buckets.remember_removed(tx, app_id, other, keyed_all(tx, app_id, [BOB]), NOW)
    keyed = [SEAL.number(app_id, number) for number in (ANN, BOB, CAT, DAN)]
    with db.read() as tx:
        for who in (owner, other):
            for book in (0, 1, 2):
                for since in (NOW - 10, NOW, NOW + 1):
                    slow = books.elsewhere(tx, app_id, who, book, keyed)
                    slow |= buckets.removed_among(tx, who, keyed, since)
                    assert books.elsewhere_or_removed(tx, app_id, who, book, keyed, since) == slow


def test_contacts_and_removed_numbers_are_read_at_once_as_one_by_one(db, app_id, owner):
    other = user(db, app_id)
    for who, book, numbers in ((owner, 0, (ANN, BOB)), (other, 0, (CAT,)), (other, 1, (DAN,))):
        with db.write() as tx:
            books.lock_owner(tx, app_id, who)
            if book:
                books.add_book(tx, app_id, who, book, "phone", NOW)
        put(db, app_id, who, book, *(contact(number, STEP) for number in numbers))
    with db.write() as tx:
        buckets.remember_removed(tx, app_id, owner, keyed_all(tx, app_id, [BOB]), NOW - 10)
        buckets.remember_removed(tx, app_id, owner, keyed_all(tx, app_id, [CAT, 1]), NOW)
        buckets.remember_removed(tx, app_id, other, keyed_all(tx, app_id, [ANN]), NOW)
    keyed = [SEAL.number(app_id, number) for number in (ANN, BOB, CAT, DAN)]
    with db.read() as tx:
        for since in (NOW - 10, NOW, NOW + 1):
            found, removed = books.contacts_and_removed(tx, owner, 0, keyed, since)
            assert found == books.contacts_among(tx, owner, 0, keyed)
            assert removed == buckets.removed_among(tx, owner, keyed, since)
            for book in (0, 1):
                found, removed = books.contacts_and_removed(tx, other, book, keyed, since)
                assert (found, removed) == (books.contacts_among(tx, other, book, keyed), None)
        assert books.contacts_and_removed(tx, owner, 0, [], NOW) == ({}, set())


def test_numbers_with_leading_zeros_and_places_before_the_first_are_kept(db, app_id, owner):
    odd = contact(3 * 10**15 + 712345678, -5 * STEP)
    put(db, app_id, owner, 0, odd)
    assert whole(db, owner) == {odd.number: odd}


def test_nothing_to_write_is_no_error(db, app_id, owner):
    put(db, app_id, owner, 0)
    with db.write() as tx:
        books.drop(tx, owner, 0, [])
        assert books.contacts_among(tx, owner, 0, []) == {}
        assert books.elsewhere(tx, app_id, owner, 0, []) == set()
        assert books.holds(tx, owner, [], EVERYONE) == set()


def test_only_the_contacts_that_were_asked_for_are_read(db, app_id, owner):
    put(db, app_id, owner, 0, contact(ANN, STEP), contact(BOB, 2 * STEP))
    put(db, app_id, owner, 1, contact(CAT, STEP))
    put(db, app_id, user(db, app_id), 0, contact(DAN, STEP))
    with db.read() as tx:
        found = books.contacts_among(tx, owner, 0, keyed(app_id, BOB, CAT, DAN))
    assert list(found.values()) == [held(app_id, owner, 0, contact(BOB, 2 * STEP))]


def test_books_and_owners_do_not_mix(db, app_id, owner):
    other = user(db, app_id)
    for who, book in ((owner, 0), (owner, 1), (other, 0)):
        put(db, app_id, who, book, contact(ANN, STEP, f"{who} {book}"))
    with db.write() as tx:
        books.drop(tx, owner, 0, keyed(app_id, ANN))
    assert whole(db, owner) == {}
    assert [one.name for one in (whole(db, owner, 1) | whole(db, other)).values()] == [f"{other} 0"]


def test_what_other_books_hold(db, app_id, owner):
    put(db, app_id, owner, 1, contact(ANN, STEP))
    put(db, app_id, owner, 2, contact(ANN, STEP), contact(BOB, STEP))
    put(db, app_id, user(db, app_id), 3, contact(CAT, STEP))
    with db.read() as tx:
        assert books.elsewhere(tx, app_id, owner, 0, keyed(app_id, ANN, BOB, CAT)) == set(keyed(app_id, ANN, BOB))
        assert books.elsewhere(tx, app_id, owner, 2, keyed(app_id, ANN, BOB, CAT)) == set(keyed(app_id, ANN))


def test_fifty_thousand_contacts_at_once(db, app_id, owner):
    many = [contact(99900000000 + n, n * STEP) for n in range(50_000)]
    put(db, app_id, owner, 0, *many)
    with db.read() as tx:
        assert len(books.contacts_among(tx, owner, 0, keyed(app_id, *(one.number for one in many)))) == 50_000
    with db.write() as tx:
        books.drop(tx, owner, 0, keyed(app_id, *(one.number for one in many)))
    assert whole(db, owner) == {}


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_book_is_read_in_its_order_not_by_number(db, app_id, owner):
    device_book(db, app_id, owner, 1, "phone")
    put(db, app_id, owner, 1, contact(ANN, 3), contact(BOB, 1, "Bob", "Bob's"), contact(CAT, -2), contact(DAN, 2))
    with db.read() as tx:
        assert [number for number, _, _ in books.in_order(tx, owner, "phone")] == [CAT, BOB, DAN, ANN]
        assert books.in_order(tx, owner, "phone")[1] == (BOB, "Bob", "Bob's")
        assert books.in_order(tx, owner, "") == books.in_order(tx, owner, "tablet") == []


def test_who_of_a_book_is_registered(db, app_id, owner):
    bob, cat, twin = user(db, app_id, BOB), user(db, app_id, CAT), user(db, app_id, BOB)
    user(db, app_id, DAN)
    user(db, applications.create(db, "other", NOW).id, ANN)
    device_book(db, app_id, owner, 1, "phone")
    put(db, app_id, owner, 1, contact(ANN, 1), contact(CAT, 2, "Cat"), contact(BOB, 3, "Bob"))
    with db.read() as tx:
        found = books.registered(tx, app_id, owner, "phone", EVERYONE).found
        assert found == [(cat, "Cat", None, CAT), (bob, "Bob", None, BOB), (twin, "Bob", None, BOB)]
        assert books.registered(tx, app_id, owner, "", EVERYONE).found == []


def test_a_user_with_two_numbers_is_found_once_by_the_first(db, app_id, owner):
    both = user(db, app_id, ANN, BOB)
    device_book(db, app_id, owner, 1, "phone")
    put(db, app_id, owner, 1, contact(ANN, 2, "second"), contact(BOB, 1, "first"))
    with db.read() as tx:
        assert books.registered(tx, app_id, owner, "phone", EVERYONE).found == [(both, "first", None, BOB)]


def test_whom_an_owner_holds_in_any_book(db, app_id, owner):
    ann, bob, cat = user(db, app_id, ANN), user(db, app_id, BOB, DAN), user(db, app_id, CAT)
    put(db, app_id, owner, 0, contact(ANN, 1))
    put(db, app_id, owner, 7, contact(DAN, 1))
    put(db, app_id, user(db, app_id), 0, contact(CAT, 1))
    with db.read() as tx:
        assert books.holds(tx, owner, [ann, bob, cat, 4711], EVERYONE) == {ann, bob}
        assert books.holds(tx, owner, [cat], EVERYONE) == set()


def test_a_number_of_another_application_is_another_number(db, app_id, owner):
    stranger = user(db, applications.create(db, "other", NOW).id, ANN)
    put(db, app_id, owner, 0, contact(ANN, 1))
    with db.read() as tx:
        assert books.holds(tx, owner, [stranger], EVERYONE) == set()


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_contacts_are_written_and_dropped_by_several_statements(db, app_id, owner, monkeypatch, more):
    monkeypatch.setattr(books, "AT_ONCE", 4)
    numbers = [ANN + n for n in range(8 + more)]
    put(db, app_id, owner, 0, *(contact(number, (n + 1) * STEP) for n, number in enumerate(numbers)))
    assert sorted(whole(db, owner)) == numbers
    with db.write() as tx:
        books.drop(tx, owner, 0, keyed(app_id, *numbers[1:]))
    assert list(whole(db, owner)) == [ANN]
