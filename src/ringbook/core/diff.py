"""Computes what an upload changes in an address book. Pure functions, without the database.

    check(entries, region)              the entries that are accepted, and the reasons to reject the others
    diff(book, entries, force=…)        the net change, and the counts of contacts created, updated and deleted
    append, place                       the positions of contacts in the book's order

The counts follow protocol §4.1: each entry counts as if the entries were applied one by one. The net change is written
once. Contacts are compared as they are stored: by keyed number and sealed text, which are equal when number, name and
spelling are. So nothing that a book holds needs to be opened.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec import Struct

from .. import phone
from ..model import SEQ_GAP as GAP
from ..model import Entry, Reason, SealedContact

NAME_CHARACTERS = 255
TYPED_CHARACTERS = 64  # of a number with its formatting, which is stored as it was typed


class Accepted(Struct, frozen=True, gc=False):
    """An entry that can be applied. `typed` is None when it is exactly the number's digits."""

    number: int
    name: str
    typed: str | None
    destroy: bool


# An accepted entry as it would be stored: the keyed number, and the sealed text; None removes the contact. It is a
# plain tuple, because an upload makes one for each contact.
SealedEntry = tuple[int, bytes | None]


@dataclass(slots=True)
class Changes:
    """The changes of a book, and the counts for the answer.

    put          new and changed contacts
    drop         the keyed numbers of removed contacts
    new          the keyed numbers of new contacts
    text_bytes   by how much the book's sealed texts grow, in bytes
    next_seq     the position after the book's last contact
    """

    created: int = 0
    updated: int = 0
    deleted: int = 0
    put: list[SealedContact] = field(default_factory=list)
    drop: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    text_bytes: int = 0
    next_seq: int = GAP


def check(entries: Sequence[Entry | None], region: str) -> tuple[list[Accepted], dict[int, list[Reason]]]:
    """Read each entry. Returns the accepted ones, and by position from 0 the reasons to reject the others.

    entries   None stands for an element of the upload that was not an entry
    """
    accepted: list[Accepted] = []
    rejected: dict[int, list[Reason]] = {}
    for position, entry in enumerate(entries):
        result = _read(entry, region) if entry else [Reason.FIELDS]
        if isinstance(result, Accepted):
            accepted.append(result)
        else:
            rejected[position] = result
    return accepted, rejected


def _read(entry: Entry, region: str) -> Accepted | list[Reason]:
    if entry.name is None and not entry.destroy:
        return [Reason.FIELDS]
    if len(entry.phone) > TYPED_CHARACTERS:
        return [Reason.PHONE_LENGTH if entry.phone.isdigit() else Reason.FIELDS]
    reasons = []
    number = 0
    try:
        number = phone.read(entry.phone, region)
    except phone.Unreadable:
        return [Reason.FIELDS]
    except phone.WrongLength:
        reasons.append(Reason.PHONE_LENGTH)
    name = entry.name or ""
    if not entry.destroy and not 1 <= len(name) <= NAME_CHARACTERS:
        reasons.append(Reason.NAME_LENGTH)
    if reasons:
        return reasons
    typed = None if entry.phone.isdigit() and entry.phone == phone.digits(number) else entry.phone
    return Accepted(number, name, typed, bool(entry.destroy))


def diff(
    book: dict[int, SealedContact], entries: Sequence[SealedEntry], *, force: bool, next_seq: int = GAP
) -> Changes:
    """The changes that the entries make to `book`, in order.

    book    by keyed number: the contacts that the entries name; with `force` all contacts of the book
    force   all other contacts are removed

    When a number occurs several times, its first position counts, and its last name and spelling. An unchanged contact
    counts as updated and is not written. A contact that is destroyed and created in one upload keeps its position.
    """
    changes = Changes(next_seq=next_seq)
    final = _apply(book, entries, changes)
    if force:
        gone = [number for number in book if number not in final]
        changes.deleted += len(gone)
        final.update(dict.fromkeys(gone))
    changes.drop = sorted(number for number, sealed in final.items() if sealed is None and number in book)
    kept = {number: sealed for number, sealed in final.items() if sealed is not None}
    changes.new = [number for number in kept if number not in book]
    seqs = place(list(kept), book, changes) if force else append(list(kept), book, changes)
    for number, sealed in kept.items():
        held, seq = book.get(number), seqs[number]
        if held is None or held.sealed != sealed or held.seq != seq:
            changes.put.append(SealedContact(number, sealed, seq))
            changes.text_bytes += len(sealed) - (len(held.sealed) if held else 0)
    changes.put.sort(key=lambda contact: contact.number)
    changes.text_bytes -= sum(len(book[number].sealed) for number in changes.drop)
    return changes


def _apply(book: dict[int, SealedContact], entries: Sequence[SealedEntry], changes: Changes) -> dict[int, bytes | None]:
    """Apply the entries one by one and count them. Returns the sealed text of each number; None if it is removed."""
    final: dict[int, bytes | None] = {}
    for number, sealed in entries:
        in_book = final[number] is not None if number in final else number in book
        final[number] = sealed
        if sealed is None:
            changes.deleted += in_book
        elif in_book:
            changes.updated += 1
        else:
            changes.created += 1
    return final


def append(numbers: list[int], book: dict[int, SealedContact], changes: Changes) -> dict[int, int]:
    """The positions of contacts: those in the book keep theirs, new ones come last."""
    seqs = {}
    for number in numbers:
        if number in book:
            seqs[number] = book[number].seq
        else:
            seqs[number] = changes.next_seq
            changes.next_seq += GAP
    return seqs


def place(numbers: list[int], book: dict[int, SealedContact], changes: Changes) -> dict[int, int]:
    """Increasing positions for `numbers` in this order. As few contacts of the book as possible are moved."""
    seqs = {number: book[number].seq for number in _unmoved(numbers, book)}
    ends = [None, *(position for position, number in enumerate(numbers) if number in seqs), None]
    for left, right in pairwise(ends):
        between = numbers[0 if left is None else left + 1 : right]
        low = None if left is None else seqs[numbers[left]]
        high = None if right is None else seqs[numbers[right]]
        places = _between(low, high, len(between))
        if places is None:  # there is no gap left: renumber the whole book
            seqs = {number: (position + 1) * GAP for position, number in enumerate(numbers)}
            break
        seqs.update(zip(between, places, strict=True))
    changes.next_seq = max(seqs.values(), default=0) + GAP
    return seqs


def _between(low: int | None, high: int | None, count: int) -> range | None:
    """`count` positions, evenly between two neighbours; None when there is no room."""
    if high is None:
        start = (low or 0) + GAP
        return range(start, start + count * GAP, GAP)
    if low is None:
        return range(high - count * GAP, high, GAP)
    step = (high - low) // (count + 1)
    return range(low + step, low + step * (count + 1), step) if step else None


def _unmoved(numbers: list[int], book: dict[int, SealedContact]) -> list[int]:
    """The longest subsequence of contacts of the book that is already in order (patience sorting, O(n log n))."""
    known = [number for number in numbers if number in book]
    tails: list[int] = []
    tops: list[int] = []
    before: dict[int, int | None] = {}
    for number in known:
        seq = book[number].seq
        at = bisect_left(tails, seq)
        before[number] = tops[at - 1] if at else None
        tails[at : at + 1] = [seq]
        tops[at : at + 1] = [number]
    run = []
    last = tops[-1] if tops else None
    while last is not None:
        run.append(last)
        last = before[last]
    return run[::-1]
