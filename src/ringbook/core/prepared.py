"""Prepares the entries of an upload for a book, before the book is locked.

    seen(tx, …)       a book as it is now, with what it holds where most of it may be uploaded again
    prepared(…)       the entries that may change the book, as it would store them; how many it holds as they are; and
                      the reasons to reject the others

An app uploads the same contacts again and again. So the keyed values of the whole book are read at once, and an entry
of which the book holds the keyed value already is neither read nor encrypted, and mostly not looked at again. What was
prepared holds as long as the book's version stays the same.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Any

from msgspec import Struct

from .. import phone
from ..model import GLOBAL_BOOK, Caller, Entry, Held, Reason
from ..seal import Seal
from ..store import books
from ..store.db import Database, Row, Tx
from .diff import KNOWN, SealedEntry, check

FEW = 64  # entries that are read and encrypted in less time than a book is read
TIMES = 4  # a book that has more contacts than so many times the entries is not read as a whole
NOTHING = Entry("")


class Seen(Struct, frozen=True):
    """A book as it was at some moment.

    book       its number, or the number that it will probably get
    version    None where it was not read
    numbers    the keyed number of each contact by its keyed entry; None where they were not read
    contacts   all contacts by keyed number; None where they were not read
    """

    book: int
    version: int | None = None
    numbers: dict[int, int] | None = None
    contacts: dict[int, Held] | None = None

    def holds_for(self, book: Row) -> bool:
        """Whether what was prepared holds for the book as it is now."""
        return self.book == book["book"] and (self.numbers is None or self.version == book["version"])


class Prepared(Struct, frozen=True):
    """An upload as a book would apply it.

    entries    the accepted entries in their order, without those that are counted in `held`
    held       how many other entries the book holds as they are. None of `entries` has the number of one of these
    rejected   the reasons to reject an entry, by its position from 0
    """

    entries: list[SealedEntry]
    held: int
    rejected: dict[int, list[Reason]]


def glanced(db: Database, caller: Caller, device: str, entries: int, *, whole: bool) -> Seen:
    """The book of a device, for an upload of so many entries; nothing is locked."""
    if not device and entries <= FEW:
        return Seen(GLOBAL_BOOK)
    with db.read() as tx:
        return seen(tx, caller, device, entries, whole=whole)


def seen(tx: Tx, caller: Caller, device: str, entries: int, *, whole: bool) -> Seen:
    """The book of a device as it is now, for an upload of so many entries.

    whole   read all of its contacts, where others would read their keyed entries
    """
    owner_id = caller.user_id
    book = books.glance(tx, owner_id, device)
    if not book:
        return Seen(max(books.numbers_of_books(tx, owner_id), default=GLOBAL_BOOK) + 1 if device else GLOBAL_BOOK)
    if entries <= FEW or not 0 < book["size"] <= TIMES * entries:
        return Seen(book["book"])
    # The version is read first: contacts that changed in between do not hold for it.
    if not whole:
        return Seen(book["book"], book["version"], books.numbers_by_entry(tx, owner_id, book["book"]))
    contacts = books.whole_book(tx, owner_id, book["book"])
    numbers = {held[1]: number for number, held in contacts.items()}
    return Seen(book["book"], book["version"], numbers, contacts)


def prepared(seal: Seal, caller: Caller, book: Seen, entries: Sequence[Entry | None], *, whole: bool) -> Prepared:
    """The upload as the book would apply it.

    whole   leave out no accepted entry, because their order counts
    """
    given = [entry or NOTHING for entry in entries]
    reading = phone.reading(caller.app.settings.default_region)
    values = seal.entries(reading, caller.app.id, caller.user_id, book.book, given)
    if not book.numbers:
        found, rejected = _sealed(seal, caller, book, given, values)
        return Prepared(found, 0, rejected)
    numbers = list(map(book.numbers.get, values))
    # An entry without a name has the keyed value of one with the name "None".
    new = [at for at, number in enumerate(numbers) if number is None or given[at].destroy or given[at].name is None]
    found, refused = _sealed(seal, caller, book, [given[at] for at in new], [values[at] for at in new])
    rejected = {new[at]: reasons for at, reasons in refused.items()}
    for at in new:
        numbers[at] = None
    held = len(given) - len(new)
    if not whole and _are_apart(numbers, held, found):
        return Prepared(found, held, rejected)
    return Prepared(_merged(numbers, values, new, found, rejected), 0, rejected)


def _are_apart(numbers: Sequence[int | None], held: int, found: Sequence[SealedEntry]) -> bool:
    """Whether each of the contacts that the book holds is named by one entry only.

    numbers   of these `held` contacts; None for the other entries, which are `found` or were rejected
    """
    known = set(numbers)
    known.discard(None)
    return len(known) == held and known.isdisjoint([entry[0] for entry in found])


def _merged(
    numbers: Sequence[int | None],
    values: Sequence[int],
    new: Sequence[int],
    found: Sequence[SealedEntry],
    rejected: dict[int, list[Reason]],
) -> list[SealedEntry]:
    """All accepted entries in their order."""
    merged: list[Any] = list(zip(numbers, values, repeat(KNOWN), strict=False))
    others = iter(found)
    for at in new:
        merged[at] = None if at in rejected else next(others)
    return [entry for entry in merged if entry] if rejected else merged


def _sealed(
    seal: Seal, caller: Caller, book: Seen, entries: Sequence[Entry], values: Sequence[int]
) -> tuple[list[SealedEntry], dict[int, list[Reason]]]:
    """The same for entries that are read and encrypted."""
    accepted, rejected = check(entries, caller.app.settings.default_region)
    sealed = seal.contacts(caller.app.id, caller.user_id, book.book, accepted)
    kept = [value for at, value in enumerate(values) if at not in rejected] if rejected else values
    return [(number, value, text) for (number, text), value in zip(sealed, kept, strict=True)], rejected
