"""Prepares the entries of an upload for a book, before the book is locked.

    seen(tx, …)       a book as it is now, with its contacts where most of them may be uploaded again
    prepared(…)       the entries as the book would store them, and the reasons to reject the others

An app uploads the same contacts again and again. So the whole book is read at once, and an entry of which it holds the
keyed value already is neither read nor encrypted. What was prepared holds as long as the book's version stays the same.
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
    version    None where its contacts were not read
    contacts   all contacts by keyed number; None where they were not read
    """

    book: int
    version: int | None = None
    contacts: dict[int, Held] | None = None

    def holds_for(self, book: Row) -> bool:
        """Whether what was prepared holds for the book as it is now."""
        return self.book == book["book"] and (self.contacts is None or self.version == book["version"])


def glanced(db: Database, caller: Caller, device: str, entries: int) -> Seen:
    """The book of a device, for an upload of so many entries; nothing is locked."""
    if not device and entries <= FEW:
        return Seen(GLOBAL_BOOK)
    with db.read() as tx:
        return seen(tx, caller, device, entries)


def seen(tx: Tx, caller: Caller, device: str, entries: int) -> Seen:
    """The book of a device as it is now, for an upload of so many entries."""
    book = books.glance(tx, caller.user_id, device)
    if not book:
        return Seen(max(books.numbers_of_books(tx, caller.user_id), default=GLOBAL_BOOK) + 1 if device else GLOBAL_BOOK)
    if entries <= FEW or not 0 < book["size"] <= TIMES * entries:
        return Seen(book["book"])
    # The version is read first: contacts that changed in between do not hold for it.
    return Seen(book["book"], book["version"], books.whole_book(tx, caller.user_id, book["book"]))


def prepared(
    seal: Seal, caller: Caller, book: Seen, entries: Sequence[Entry | None]
) -> tuple[list[SealedEntry], dict[int, list[Reason]]]:
    """The accepted entries in their order, and by position from 0 the reasons to reject the others."""
    given = [entry or NOTHING for entry in entries]
    reading = phone.reading(caller.app.settings.default_region)
    values = seal.entries(reading, caller.app.id, caller.user_id, book.book, given)
    if not book.contacts:
        return _sealed(seal, caller, book, given, values)
    known = {held[1]: number for number, held in book.contacts.items()}
    numbers = list(map(known.get, values))
    # An entry without a name has the keyed value of one with the name "None".
    new = [at for at, number in enumerate(numbers) if number is None or given[at].destroy or given[at].name is None]
    found, refused = _sealed(seal, caller, book, [given[at] for at in new], [values[at] for at in new])
    rejected = {new[at]: reasons for at, reasons in refused.items()}
    merged: list[Any] = list(zip(numbers, values, repeat(KNOWN), strict=False))
    others = iter(found)
    for at in new:
        merged[at] = None if at in rejected else next(others)
    return [entry for entry in merged if entry] if rejected else merged, rejected


def _sealed(
    seal: Seal, caller: Caller, book: Seen, entries: Sequence[Entry], values: Sequence[int]
) -> tuple[list[SealedEntry], dict[int, list[Reason]]]:
    """The same for entries that are read and encrypted."""
    accepted, rejected = check(entries, caller.app.settings.default_region)
    sealed = seal.contacts(caller.app.id, caller.user_id, book.book, accepted)
    kept = [value for at, value in enumerate(values) if at not in rejected] if rejected else values
    return [(number, value, text) for (number, text), value in zip(sealed, kept, strict=True)], rejected
