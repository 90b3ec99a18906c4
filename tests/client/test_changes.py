"""Differences between address books and the upload entries for them."""

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
    respelled,
    similar_phones,
    single_entries,
)

ANN, BOB, CAT = "+1 202 555 0101", "+44 7700 900102", "+44 7700 900103"
NATIONAL, INTERNATIONAL = "07700 900101", "+44 7700 900101"


def test_a_phone_that_occurs_twice_keeps_its_first_position_and_gets_its_last_name():
    book = names_by_phone([Contact("Ann", ANN), Contact("Bob", BOB), Contact("Anna", ANN)])
    assert list(book.items()) == [(ANN, "Anna"), (BOB, "Bob")]


def test_a_difference_has_added_renamed_and_removed_contacts():
    change = difference({ANN: "Ann", BOB: "Bob"}, {ANN: "Anna", CAT: "Cat"})
    assert change.added == (Contact("Cat", CAT),)
    assert change.renamed == (Contact("Anna", ANN),)
    assert change.removed == (Contact("Bob", BOB),)
    assert not difference({ANN: "Ann"}, {ANN: "Ann"})


@pytest.mark.parametrize("spelling", [NATIONAL, INTERNATIONAL, "00447700900101", "+44 (0)7700 900-101", "٠٧٧٠٠٩٠٠١٠١"])
def test_all_spellings_of_a_number_have_the_same_last_digits(spelling):
    assert last_digits(spelling) == "900101"


def test_numbers_of_argentina_have_the_same_last_digits_with_and_without_9_and_15():
    assert last_digits("+54 9 2966 412345") == last_digits("02966 15 412345")


def test_a_phone_with_too_few_digits_is_compared_whole():
    assert last_digits("call me") == "call me" and last_digits("123") == "123"


def test_changed_contacts_without_similar_phones_are_single_entries():
    before, now = {ANN: "Ann", BOB: "Bob"}, {ANN: "Anna", CAT: "Cat"}
    similar = similar_phones(before, now)
    assert single_entries(difference(before, now), similar) == [Removal(BOB), Contact("Anna", ANN), Contact("Cat", CAT)]
    assert list(grouped_entries(now, similar)) == []


def test_removing_one_spelling_uploads_the_other_again():
    before, now = {INTERNATIONAL: "Ann", NATIONAL: "Annie"}, {INTERNATIONAL: "Ann"}
    similar = similar_phones(before, now)
    assert single_entries(difference(before, now), similar) == []
    assert list(grouped_entries(now, similar, [NATIONAL])) == [
        [Removal(INTERNATIONAL), Removal(NATIONAL), Contact("Ann", INTERNATIONAL)]
    ]


def test_groups_without_a_change_are_not_uploaded():
    now = {INTERNATIONAL: "Ann", NATIONAL: "Annie", CAT: "Cat"}
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
def test_matches_finds_every_change_of_the_servers_book(book, fits):
    assert matches(book, {ANN: "Ann", BOB: "Bob"}, 2) is fits


def test_a_removed_and_an_added_spelling_with_one_name_are_a_respelled_number():
    change = difference({INTERNATIONAL: "Ann", BOB: "Bob"}, {NATIONAL: "Ann", CAT: "Bob"})
    assert respelled(change) == [(Contact("Ann", INTERNATIONAL), Contact("Ann", NATIONAL))]


PHONES = st.sampled_from([ANN, BOB, CAT, NATIONAL, INTERNATIONAL, "+1 212 555 0101", "123"])
BOOKS = st.dictionaries(PHONES, st.sampled_from(["Ann", "Bob", "Cat"]))


@given(BOOKS, BOOKS)
def test_the_entries_turn_one_book_into_the_other(before, now):
    """On a model server for which each spelling is another number; test_sync.py uses a real server."""
    similar, change = similar_phones(before, now), difference(before, now)
    changed_phones = [one.phone for one in (*change.added, *change.renamed, *change.removed)]
    book = dict(before)
    for entry in [
        *single_entries(change, similar),
        *(one for group in grouped_entries(now, similar, changed_phones) for one in group),
    ]:
        if isinstance(entry, Removal):
            book.pop(entry.phone, None)
        else:
            book[entry.phone] = entry.name
    assert book == now
