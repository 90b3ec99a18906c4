"""Entries of an upload side by side are what they are one by one."""

from hypothesis import given
from hypothesis import strategies as st

from ringbook.core.entries import Entries, KeyedEntry, NewContacts
from ringbook.model import SEQ_GAP

keyed = st.tuples(st.integers(0, 9), st.integers(-(2**63), 2**63 - 1), st.none() | st.binary(min_size=1, max_size=3))


@given(st.lists(keyed))
def test_entries_come_back_in_their_order(entries: list[KeyedEntry]) -> None:
    made = Entries.of(entries)
    assert (list(made), len(made)) == (entries, len(entries))
    made.add([7], [1], [None])
    assert list(made) == [*entries, (7, 1, None)]


@given(st.lists(keyed, max_size=5))
def test_entries_are_apart_if_each_makes_a_contact_of_its_own(entries: list[KeyedEntry]) -> None:
    numbers = {number for number, _, text in entries if text is not None}
    assert Entries.of(entries).are_apart() == (len(numbers) == len(entries))


@given(st.lists(st.integers(0, 2**63 - 1), unique=True), st.integers(1, 2**50), st.data())
def test_new_contacts_are_sorted_and_keep_the_places_of_their_entries(
    numbers: list[int], first: int, data: st.DataObject
) -> None:
    entries = [(number, -at, b"%d" % at) for at, number in enumerate(numbers)]
    found = NewContacts(Entries.of(entries), first)
    expected = sorted((n, value, first + at * SEQ_GAP, text) for at, (n, value, text) in enumerate(entries))
    assert list(found) == expected and len(found) == len(expected)
    part = data.draw(st.slices(len(expected)))
    assert found[part] == expected[part]
