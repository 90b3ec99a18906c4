"""The changes that an upload makes to a book."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringbook.core.diff import GAP, SealedEntry, check, diff
from ringbook.model import Entry, Reason, SealedContact

ANN, BOB, CAT, DAN, EVE = (12025550100 + n for n in range(5))


# For the diff a keyed number is any number, and a sealed text any bytes.


def put(number: int, name: str = "x") -> SealedEntry:
    return number, name.encode()


def gone(number: int) -> SealedEntry:
    return number, None


def contact(number: int, name: str, seq: int) -> SealedContact:
    return SealedContact(number, name.encode(), seq)


def book_of(*numbers: int) -> dict[int, SealedContact]:
    return {number: contact(number, "x", (n + 1) * GAP) for n, number in enumerate(numbers)}


def after(book: dict[int, SealedContact], entries: list[SealedEntry], *, force: bool = False) -> list[int]:
    """The book's numbers in order, after the change."""
    next_seq = max((contact.seq for contact in book.values()), default=0) + GAP
    changes = diff(book, entries, force=force, next_seq=next_seq)
    written = {number: contact for number, contact in book.items() if number not in changes.drop}
    written |= {contact.number: contact for contact in changes.put}
    assert len({contact.seq for contact in written.values()}) == len(written)
    assert all(contact.seq < changes.next_seq for contact in written.values())
    return sorted(written, key=lambda number: written[number].seq)


def counts(book: dict[int, SealedContact], entries: list[SealedEntry], *, force: bool = False) -> tuple[int, int, int]:
    changes = diff(book, entries, force=force)
    return changes.created, changes.updated, changes.deleted


def test_a_number_twice_is_created_then_updated_and_the_last_name_wins():
    changes = diff({}, [put(ANN, "Ann"), put(BOB), put(ANN, "Annie")], force=False)
    assert (changes.created, changes.updated, changes.deleted) == (2, 1, 0)
    assert changes.put[0] == contact(ANN, "Annie", GAP)


def test_an_unchanged_contact_counts_as_updated_but_is_not_written():
    changes = diff(book_of(ANN), [put(ANN)], force=False)
    assert (changes.updated, changes.put) == (1, [])


def test_the_growth_of_texts_counts_sealed_bytes():
    book = {ANN: contact(ANN, "Ann", GAP), BOB: contact(BOB, "Bobby", 2 * GAP)}
    assert diff(book, [put(ANN, "Ann")], force=False).text_bytes == 0
    assert diff(book, [put(ANN, "Annie")], force=False).text_bytes == 2
    assert diff(book, [put(CAT, "Cat")], force=False).text_bytes == 3
    assert diff(book, [gone(BOB)], force=False).text_bytes == -5
    assert diff(book, [put(CAT, "x")], force=True).text_bytes == 1 - 3 - 5


def test_created_and_destroyed_in_one_upload_counts_both_and_writes_nothing():
    changes = diff({}, [put(ANN), gone(ANN)], force=False)
    assert (changes.created, changes.deleted, changes.put, changes.drop) == (1, 1, [], [])


def test_destroyed_and_created_in_one_upload_keeps_its_place():
    assert after(book_of(ANN, BOB), [gone(ANN), put(ANN, "again")]) == [ANN, BOB]


def test_destroying_an_unknown_number_counts_nothing():
    assert counts(book_of(ANN), [gone(BOB)]) == (0, 0, 0)


def test_force_removes_what_the_phone_no_longer_has():
    changes = diff(book_of(ANN, BOB), [put(ANN)], force=True)
    assert (changes.created, changes.updated, changes.deleted, changes.drop) == (0, 1, 1, [BOB])


def test_force_counts_a_destroyed_contact_once():
    assert counts(book_of(ANN, BOB), [gone(ANN), put(CAT)], force=True) == (1, 0, 2)


def test_force_takes_the_order_of_the_upload():
    assert after(book_of(ANN, BOB, CAT), [put(CAT), put(DAN), put(ANN)], force=True) == [CAT, DAN, ANN]


def test_force_moves_only_what_is_out_of_order():
    changes = diff(book_of(ANN, BOB, CAT, DAN), [put(DAN), put(ANN), put(BOB), put(CAT)], force=True)
    assert [contact.number for contact in changes.put] == [DAN]


def test_force_numbers_the_book_anew_when_a_gap_is_used_up():
    book = {ANN: contact(ANN, "x", 1), BOB: contact(BOB, "x", 2)}
    assert after(book, [put(ANN), put(CAT), put(BOB)], force=True) == [ANN, CAT, BOB]


entries = st.lists(st.tuples(st.integers(1, 8), st.sampled_from([b"a", b"b", None])), max_size=12)


@settings(max_examples=300)
@given(st.lists(st.tuples(entries, st.booleans()), max_size=6))
def test_any_sequence_of_uploads_leaves_what_a_ten_line_model_says(uploads):
    book: dict[int, SealedContact] = {}
    model: dict[int, bytes] = {}  # dictionaries keep the order in which names were first put in
    next_seq = GAP
    for accepted, force in uploads:
        changes = diff(book, accepted, force=force, next_seq=next_seq)
        next_seq = changes.next_seq
        book = {n: c for n, c in book.items() if n not in changes.drop} | {c.number: c for c in changes.put}
        assert len(changes.new) == len([n for n in book if n in changes.new])

        before, named = dict(model), {}
        for entry in accepted:
            named[entry[0]] = entry[1]
        model = {} if force else {n: before[n] for n in before if named.get(n, b"") is not None}
        model |= {n: name for n, name in named.items() if name is not None}
        assert {n: c.sealed for n, c in book.items()} == model
        assert sorted(book, key=lambda n: book[n].seq) == list(model)


@given(entries, st.booleans())
def test_the_same_upload_twice_changes_nothing(accepted, force):
    first = diff({}, accepted, force=force)
    book = {contact.number: contact for contact in first.put}
    again = diff(book, accepted, force=force, next_seq=first.next_seq)
    assert (again.put, again.drop, again.new) == ([], [], [])


@pytest.mark.parametrize(
    ("entry", "reasons"),
    [
        (None, [Reason.FIELDS]),
        (Entry("12025550142", None), [Reason.FIELDS]),
        (Entry("12025550142", ""), [Reason.NAME_LENGTH]),
        (Entry("12025550142", "n" * 256), [Reason.NAME_LENGTH]),
        (Entry("123", ""), [Reason.PHONE_LENGTH, Reason.NAME_LENGTH]),
        (Entry("call me", "Ann"), [Reason.FIELDS]),
        (Entry("12", None, destroy=True), [Reason.PHONE_LENGTH]),
        (Entry(" " * 60 + "12025550142", "Ann"), [Reason.FIELDS]),
        (Entry("1" * 65, "Ann"), [Reason.PHONE_LENGTH]),
    ],
)
def test_what_an_entry_is_rejected_for(entry, reasons):
    assert check([entry], "") == ([], {0: reasons})


def test_a_name_of_255_characters_is_taken_whatever_its_bytes():
    accepted, rejected = check([Entry("12025550142", "🙂" * 255)], "")
    assert (len(accepted), rejected) == (1, {})


def test_the_spelling_is_kept_where_it_differs_from_the_digits():
    accepted, _ = check([Entry("12025550142", "a"), Entry("+1 202 555 0142", "b")], "")
    assert [(entry.number, entry.typed) for entry in accepted] == [
        (12025550142, None),
        (12025550142, "+1 202 555 0142"),
    ]
