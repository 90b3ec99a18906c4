"""The changes that an upload makes to a book."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringbook.core import diff as module
from ringbook.core.diff import GAP, Changes, check
from ringbook.core.entries import KNOWN, Entries, KeyedEntry
from ringbook.model import Entry, Held, Placed, Reason
from ringbook.seal import SEALED_BYTES


def diff(book: dict[int, Held], entries: list[KeyedEntry], *, force: bool, next_seq: int = GAP) -> Changes:
    changes = module.diff(book, Entries.of(entries), force=force, next_seq=next_seq)
    changes.put, changes.new = list(changes.put), list(changes.new)
    return changes


ANN, BOB, CAT, DAN, EVE = (12025550100 + n for n in range(5))


# For the diff a keyed number is any number, a text any bytes, and the keyed value of an entry anything that
# differs from text to text.


def put(number: int, name: str = "x") -> KeyedEntry:
    return number, value(name.encode()), name.encode()


def gone(number: int) -> KeyedEntry:
    return number, 0, None


def value(text: bytes) -> int:
    return int.from_bytes(text[-7:], "big")


def contact(number: int, name: str, seq: int) -> Placed:
    return number, value(name.encode()), seq, name.encode()


def holding(*contacts: Placed) -> dict[int, Held]:
    return {number: (number, value, seq, len(text) + SEALED_BYTES) for number, value, seq, text in contacts}


def book_of(*numbers: int) -> dict[int, Held]:
    return holding(*(contact(number, "x", (n + 1) * GAP) for n, number in enumerate(numbers)))


def written(book: dict[int, Held], changes: Changes) -> dict[int, Held]:
    """The book with the changes."""
    moved = {number: (number, book[number][1], seq, book[number][3]) for number, seq in changes.move}
    return {number: one for number, one in (book | moved | holding(*changes.put)).items() if number not in changes.drop}


def after(book: dict[int, Held], entries: list[KeyedEntry], *, force: bool = False) -> list[int]:
    """The book's numbers in order, after the change."""
    next_seq = max((seq for _, _, seq, _ in book.values()), default=0) + GAP
    changes = diff(book, entries, force=force, next_seq=next_seq)
    seqs = {number: seq for number, _, seq, _ in written(book, changes).values()}
    assert len(set(seqs.values())) == len(seqs)
    assert all(seq < changes.next_seq for seq in seqs.values())
    return sorted(seqs, key=lambda number: seqs[number])


def counts(book: dict[int, Held], entries: list[KeyedEntry], *, force: bool = False) -> tuple[int, int, int]:
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
    book = holding(contact(ANN, "Ann", GAP), contact(BOB, "Bobby", 2 * GAP))
    assert diff(book, [put(ANN, "Ann")], force=False).text_bytes == 0
    assert diff(book, [put(ANN, "Annie")], force=False).text_bytes == 2
    assert diff(book, [put(CAT, "Cat")], force=False).text_bytes == 3 + SEALED_BYTES
    assert diff(book, [gone(BOB)], force=False).text_bytes == -5 - SEALED_BYTES
    assert diff(book, [put(CAT, "x")], force=True).text_bytes == 1 - 3 - 5 - SEALED_BYTES


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
    assert ([number for number, _ in changes.move], changes.put) == ([DAN], [])


def test_force_numbers_the_book_anew_when_a_gap_is_used_up():
    book = holding(contact(ANN, "x", 1), contact(BOB, "x", 2))
    assert after(book, [put(ANN), put(CAT), put(BOB)], force=True) == [ANN, CAT, BOB]


def entry(number: int, name: bytes | None) -> KeyedEntry:
    return (number, 0, None) if name is None else (number, value(name), name)


def stored_bytes(texts: dict[int, bytes]) -> int:
    return sum(len(text) + SEALED_BYTES for text in texts.values())


entries = st.lists(st.builds(entry, st.integers(1, 8), st.sampled_from([b"a", b"bb", None])), max_size=12)


@settings(max_examples=300)
@given(st.lists(st.tuples(entries, st.booleans()), max_size=6), st.booleans())
def test_any_sequence_of_uploads_leaves_what_a_ten_line_model_says(uploads, known):
    book: dict[int, Held] = {}
    texts: dict[int, bytes] = {}
    model: dict[int, bytes] = {}  # dictionaries keep the order in which names were first put in
    next_seq = GAP
    for accepted, force in uploads:
        before, named = dict(model), {one[0]: one[2] for one in accepted}
        sent = [(n, v, KNOWN if known and t and book.get(n, (0, 0))[1] == v else t) for n, v, t in accepted]
        changes = diff(book, sent, force=force, next_seq=next_seq)
        next_seq = changes.next_seq
        bytes_before = stored_bytes(texts)
        book = written(book, changes)
        texts = {n: text for n, text in texts.items() if n in book} | {n: text for n, _, _, text in changes.put}
        assert len(changes.new) == len([n for n in book if n in changes.new])
        assert changes.text_bytes == stored_bytes(texts) - bytes_before

        model = {} if force else {n: before[n] for n in before if named.get(n, b"") is not None}
        model |= {n: name for n, name in named.items() if name is not None}
        assert texts == model
        assert sorted(book, key=lambda n: book[n][2]) == list(model)


@given(entries, st.booleans())
def test_the_same_upload_twice_changes_nothing(accepted, force):
    first = diff({}, accepted, force=force)
    again = diff(holding(*first.put), accepted, force=force, next_seq=first.next_seq)
    assert (again.put, again.move, again.drop, again.new) == ([], [], [], [])


@given(st.lists(st.builds(entry, st.integers(1, 50), st.sampled_from([b"a", b"bb", b"c" * 2_000, None])), max_size=12))
def test_only_new_contacts_give_what_they_give_in_the_usual_steps(accepted):
    short = diff({}, accepted, force=False, next_seq=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entries, "are_apart", lambda _entries: False)
        assert short == diff({}, accepted, force=False, next_seq=7)


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8)))
def test_as_few_contacts_as_possible_move(order, gone):
    kept = [number for number in order if number not in gone]
    changes = diff(book_of(*range(1, 9)), [put(number) for number in kept], force=True)
    runs = [run for size in range(9) for run in combinations(kept, size) if list(run) == sorted(run)]
    assert len(changes.move) == len(kept) - max(map(len, runs))


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
    assert [(number, typed) for number, _, typed in accepted] == [
        (12025550142, None),
        (12025550142, "+1 202 555 0142"),
    ]
