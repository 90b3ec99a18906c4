"""What a sync tells the server, as plain calls: one law holds, and kin are told together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringbook_client import Contact, Removal
from ringbook_client.changes import (
    difference,
    grouped_entries,
    last_digits,
    matches,
    names_by_phone,
    similar_phones,
    single_entries,
)

ANN, BOB, CAT = "+1 202 555 0101", "+44 7700 900102", "+44 7700 900103"
HERE, ABROAD = "07700 900101", "+44 7700 900101"


def test_a_phone_that_stands_twice_has_its_last_name_and_its_first_place():
    book = names_by_phone([Contact("Ann", ANN), Contact("Bob", BOB), Contact("Anna", ANN)])
    assert list(book.items()) == [(ANN, "Anna"), (BOB, "Bob")]


def test_who_is_new_who_is_renamed_who_is_gone():
    change = difference({ANN: "Ann", BOB: "Bob"}, {ANN: "Anna", CAT: "Cat"})
    assert change.added == (Contact("Cat", CAT),)
    assert change.renamed == (Contact("Anna", ANN),)
    assert change.removed == (Contact("Bob", BOB),)
    assert not difference({ANN: "Ann"}, {ANN: "Ann"})


@pytest.mark.parametrize("spelling", [HERE, ABROAD, "00447700900101", "+44 (0)7700 900-101", "٠٧٧٠٠٩٠٠١٠١"])
def test_spellings_of_one_number_are_kin(spelling):
    assert last_digits(spelling) == "900101"


def test_numbers_of_argentina_are_kin_with_and_without_what_stands_in_the_middle():
    assert last_digits("+54 9 2966 412345") == last_digits("02966 15 412345")


def test_what_is_no_number_has_no_kin():
    assert last_digits("call me") == "call me" and last_digits("123") == "123"


def test_those_without_kin_are_told_alone():
    before, now = {ANN: "Ann", BOB: "Bob"}, {ANN: "Anna", CAT: "Cat"}
    similar = similar_phones(before, now)
    assert single_entries(difference(before, now), similar) == [Removal(BOB), Contact("Anna", ANN), Contact("Cat", CAT)]
    assert list(grouped_entries(now, similar)) == []


def test_a_spelling_that_goes_does_not_take_another_along():
    before, now = {ABROAD: "Ann", HERE: "Annie"}, {ABROAD: "Ann"}
    similar = similar_phones(before, now)
    assert single_entries(difference(before, now), similar) == []
    assert list(grouped_entries(now, similar, [HERE])) == [[Removal(ABROAD), Removal(HERE), Contact("Ann", ABROAD)]]


def test_families_in_which_nothing_changed_are_not_told():
    now = {ABROAD: "Ann", HERE: "Annie", CAT: "Cat"}
    assert list(grouped_entries(now, similar_phones(now), [CAT])) == []


@pytest.mark.parametrize(
    "book, fits",
    [
        ([Contact("Ann", ANN), Contact("Bob", BOB)], True),
        ([Contact("Bob", BOB), Contact("Ann", ANN)], True),
        ([Contact("Ann", ANN)], False),
        ([Contact("Ann", ANN), Contact("Bobby", BOB)], False),
        ([Contact("Ann", ANN), Contact("Cat", CAT)], False),
        ([Contact("Ann", ANN), Contact("Bob", BOB), Contact("Cat", CAT)], False),
    ],
)
def test_drift_shows(book, fits):
    assert matches(book, {ANN: "Ann", BOB: "Bob"}, 2) is fits


PHONES = st.sampled_from([ANN, BOB, CAT, HERE, ABROAD, "+1 212 555 0101", "123"])
BOOKS = st.dictionaries(PHONES, st.sampled_from(["Ann", "Bob", "Cat"]))


@given(BOOKS, BOOKS)
def test_what_is_told_turns_one_book_into_the_other(before, now):
    """Where each spelling is a number of its own; tests of sync.py ask a server that knows better."""
    similar, change = similar_phones(before, now), difference(before, now)
    changed_phones = [one.phone for one in (*change.added, *change.renamed, *change.removed)]
    book = dict(before)
    for entry in [
        *single_entries(change, similar),
        *(one for family in grouped_entries(now, similar, changed_phones) for one in family),
    ]:
        if isinstance(entry, Removal):
            book.pop(entry.phone, None)
        else:
            book[entry.phone] = entry.name
    assert book == now
