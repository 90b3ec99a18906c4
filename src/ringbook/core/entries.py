"""The accepted entries of an upload, and the new contacts that they make, without an object for each.

    KeyedEntry, KNOWN    one entry
    Entries              all of them in their order; Entries.of(…) from one after the other
    NewContacts          what a book stores of entries that are all new to it, sorted by keyed number

An upload may have 50,000 entries. Their values stand in lists side by side: making, sorting and freeing a tuple for
each took longer than sealing them. A tuple is made only when it is needed, and a few hundred at a time.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from ..model import SEQ_GAP, Placed

# An accepted entry as a book would store it: the keyed number, the keyed value of the entry, and what is to be sealed
# of the contact. This is None for an entry that removes the contact, and KNOWN where the book holds a contact of the
# same entry.
KeyedEntry = tuple[int, int, bytes | None]
KNOWN = b""


class Entries:
    """Accepted entries: the first, second and third values of each `KeyedEntry`."""

    __slots__ = ("numbers", "texts", "values")

    def __init__(self) -> None:
        # In arrays, a look at any of them is one access to memory instead of two.
        self.numbers = array("q")
        self.values = array("q")
        self.texts: list[bytes | None] = []

    @classmethod
    def of(cls, entries: Iterable[KeyedEntry]) -> "Entries":
        """These entries."""
        made = cls()
        if rows := list(entries):
            made.add(*zip(*rows, strict=True))
        return made

    def add(self, numbers: Iterable[int], values: Iterable[int], texts: Iterable[bytes | None]) -> None:
        """Add entries, of each its three values."""
        self.numbers.extend(numbers)
        self.values.extend(values)
        self.texts += texts

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[KeyedEntry]:
        return zip(self.numbers, self.values, self.texts, strict=True)

    def are_apart(self) -> bool:
        """Does each entry make a contact, and no two the same one?"""
        return None not in self.texts and len(set(self.numbers)) == len(self.numbers)


class NewContacts(Sequence[Placed]):
    """The contacts of entries that are apart and new to a book, sorted by keyed number."""

    __slots__ = ("_entries", "_first", "_order")

    def __init__(self, entries: Entries, first: int) -> None:
        """`first`: the place in the book of the first entry; the others follow."""
        self._entries = entries
        self._first = first
        self._order = sorted(range(len(entries)), key=entries.numbers.__getitem__)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, at: int) -> Placed: ...
    @overload
    def __getitem__(self, at: slice) -> list[Placed]: ...
    def __getitem__(self, at: int | slice) -> Placed | list[Placed]:
        if not isinstance(at, slice):
            return self._placed([self._order[at]])[0]
        return self._placed(self._order[at])

    def _placed(self, positions: Sequence[int]) -> list[Placed]:
        entries, first = self._entries, self._first
        numbers, values, texts = entries.numbers, entries.values, entries.texts
        return [(numbers[at], values[at], first + at * SEQ_GAP, texts[at] or b"") for at in positions]
