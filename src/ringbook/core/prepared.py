"""Prepares the entries of an upload for a book.

    glanced(db, …)    a book before it is locked, with what it holds where most of it may be uploaded again
    locked(tx, …)     the same for a book that is locked
    prepared(…)       the entries that may change the book, ready to be sealed; those that it holds as they are; and the
                      reasons to reject the others

An app uploads the same contacts again and again. So the keyed entries of the whole book are read at once, and an entry
that the book holds already is not read, and mostly not looked at again. What was prepared holds as long as the book's
version stays the same.

Most of the work is done before the book is locked, because others wait for the lock; on SQLite, all who write. A few
known entries are compared in less time than it takes to look at the book twice.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import repeat
from typing import Any

from msgspec import Struct

from .. import phone
from ..model import GLOBAL_BOOK, Caller, Entry, Held, Reason
from ..seal import Seal, contact_texts
from ..store import books, reports
from ..store.db import Database, Row, Tx
from ..store.reports import Book
from .diff import check
from .entries import KNOWN, Entries

FEW = 64  # entries that are read in less time than a book is read
TIMES = 4  # a book that has more contacts than so many times the entries is not read as a whole
LOCKED = 2_000  # entries that are compared with the book while it is locked
AT_ONCE = 1_000  # entries that pass through all steps together


class Seen(Struct, frozen=True):
    """A book as it was at some moment.

    book       its number, or the number that it will probably get
    version    None where it was not read
    entries    the keyed entries of all contacts; None where they were not read. `prepared` takes the known ones out
    contacts   all contacts by keyed number; None where they were not read
    """

    book: int
    version: int | None = None
    entries: set[int] | None = None
    contacts: dict[int, Held] | None = None

    def holds_for(self, book: Row) -> bool:
        """Whether what was prepared holds for the book as it is now."""
        return self.book == book["book"] and (self.entries is None or self.version == book["version"])


class Prepared(Struct, frozen=True):
    """An upload as a book would apply it.

    entries    the accepted entries in their order, without those that are counted in `held`
    held       how many other entries the book holds as they are, each of another contact
    unknown    keyed entries, among them all others of the book
    rejected   the reasons to reject an entry, by its position from 0
    """

    entries: Entries
    held: int
    unknown: Collection[int]
    rejected: dict[int, list[Reason]]

    def named_again(self, contacts: Collection[Held]) -> set[int]:
        """The keyed entries that the book holds, and whose contacts `entries` name, too: their order counts.

        contacts   those of the book that `entries` name
        """
        return {held[1] for held in contacts if held[1] not in self.unknown} if self.held else set()


def glanced(
    db: Database, caller: Caller, device: str, entries: int, known: Sequence[Book] | None = None, *, whole: bool
) -> Seen | None:
    """The book of a device, for an upload of so many entries, while nothing is locked; None: `locked` is to read it.

    known   the user's books as they were a moment ago; None: they are read now
    whole   read all contacts of the book, where others would read their keyed entries
    """
    if not device and entries <= FEW:
        return Seen(GLOBAL_BOOK)
    if known is None:
        with db.read() as tx:
            known = reports.of_owner(tx, caller.user_id)
    book = next((book for book in known if book.device == device), None)
    if not book or not _is_read(book.size, entries):
        last = max((one.book for one in known), default=GLOBAL_BOOK)
        return Seen(book.book if book else last + 1 if device else GLOBAL_BOOK)
    if entries <= LOCKED:
        return None
    with db.read() as tx:
        return _read(tx, caller, book.book, book.version, whole=whole)


def locked(tx: Tx, caller: Caller, book: Row, entries: int, *, whole: bool) -> Seen:
    """The same for a book that is locked."""
    if not _is_read(book["size"], entries):
        return Seen(book["book"])
    return _read(tx, caller, book["book"], book["version"], whole=whole)


def _is_read(size: int, entries: int) -> bool:
    """Is what a book of this size holds worth reading for an upload of so many entries?"""
    return entries > FEW and 0 < size <= TIMES * entries


def _read(tx: Tx, caller: Caller, book: int, version: int, *, whole: bool) -> Seen:
    # The version was read before: contacts that have changed since do not hold for it.
    if not whole:
        return Seen(book, version, books.entries(tx, caller.user_id, book))
    contacts = books.whole_book(tx, caller.user_id, book)
    return Seen(book, version, {held[1] for held in contacts.values()}, contacts)


def prepared(
    seal: Seal,
    caller: Caller,
    book: Seen,
    entries: Sequence[Entry | None],
    *,
    whole: bool,
    again: Collection[int] = (),
) -> Prepared:
    """The upload as the book would apply it.

    whole   leave out no accepted entry, because their order counts
    again   keyed entries that are read although the book holds them (`Prepared.named_again`)
    """
    if not book.entries:
        return _new(seal, caller, book, entries)
    values = _values(seal, caller, book, entries)
    unknown = book.entries
    unknown.difference_update(again)
    new = [at for at, value in enumerate(values) if value not in unknown]
    if whole:
        held = 0
    else:
        count = len(unknown)
        unknown.difference_update(values)
        held = count - len(unknown)
        if held + len(new) < len(values):
            new, held = _with_repeated(values, new, unknown)
    found = Entries()
    refused = _add(found, seal, caller, [entries[at] for at in new], [values[at] for at in new])
    rejected = {new[at]: reasons for at, reasons in refused.items()}
    if whole:
        found = _merged(book, values, new, found, rejected)
    unknown.update(again)
    return Prepared(found, held, unknown, rejected)


def _values(seal: Seal, caller: Caller, book: Seen, entries: Sequence[Entry | None]) -> Sequence[int]:
    """The keyed values of the entries."""
    reading = phone.reading(caller.app.settings.default_region)
    return seal.entries(reading, caller.app.id, caller.user_id, book.book, entries)


def _new(seal: Seal, caller: Caller, book: Seen, entries: Sequence[Entry | None]) -> Prepared:
    """The upload where none of its entries is known to be in the book.

    Some entries at a time: then the values of one step are still in the processor's cache when the next one needs them.
    """
    found = Entries()
    rejected: dict[int, list[Reason]] = {}
    for start in range(0, len(entries), AT_ONCE):
        some = entries[start : start + AT_ONCE]
        refused = _add(found, seal, caller, some, _values(seal, caller, book, some))
        rejected |= {start + at: reasons for at, reasons in refused.items()}
    return Prepared(found, 0, (), rejected)


def _with_repeated(values: Sequence[int], new: Sequence[int], unknown: set[int]) -> tuple[list[int], int]:
    """The positions of the entries to read, with those that occur more than once; and how many others there are.

    The former are no longer known.
    """
    repeated = {value for value, times in Counter(values).items() if times > 1}
    fresh = set(new)
    unknown |= repeated
    read = [at for at, value in enumerate(values) if at in fresh or value in repeated]
    return read, len(values) - len(read)


def _merged(
    book: Seen,
    values: Sequence[int],
    new: Sequence[int],
    found: Entries,
    rejected: dict[int, list[Reason]],
) -> Entries:
    """All accepted entries in their order: those that the book holds, and those that are `new` and were found."""
    assert book.contacts is not None
    numbers = {held[1]: number for number, held in book.contacts.items()}
    merged: list[Any] = list(zip(map(numbers.get, values), values, repeat(KNOWN), strict=False))
    others = iter(found)
    for at in new:
        merged[at] = None if at in rejected else next(others)
    return Entries.of(entry for entry in merged if entry)


def _add(
    found: Entries, seal: Seal, caller: Caller, entries: Sequence[Entry | None], values: Sequence[int]
) -> dict[int, list[Reason]]:
    """Read entries, and add those that are accepted. Returns the reasons to reject the others, by position from 0."""
    accepted, rejected = check(entries, caller.app.settings.default_region)
    numbers = seal.numbers(caller.app.id, [one[0] for one in accepted])
    kept = [value for at, value in enumerate(values) if at not in rejected] if rejected else values
    found.add(numbers, kept, contact_texts(accepted))
    return rejected
