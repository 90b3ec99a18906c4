"""What an upload changes in a book: pure functions, no database.

    check(entries, region)              which entries can be taken, and why the others cannot
    diff(book, accepted, force=…)       the net change, and the counts as if each entry were applied in turn
    place(changes…)                     where new and moved contacts stand in the book's order

Counts follow protocol §4.1: entries count one by one, created then updated then deleted; the net change is written
once.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec import Struct

from .. import phone
from ..model import SEQ_GAP as GAP
from ..model import Contact, Entry, Reason

NAME_CHARACTERS = 255
TYPED_CHARACTERS = 64  # a number with all its formatting; the spelling is stored


class Accepted(Struct, frozen=True, gc=False):
    """An entry that can be applied; `typed` is None where it is exactly the number's digits."""

    number: int
    name: str
    typed: str | None
    destroy: bool


@dataclass(slots=True)
class Changes:
    """What to write: `put` are new or changed contacts, `drop` are numbers; the counts are what is answered.

    text_bytes   by how much the names and spellings of the book grow, in bytes of UTF-8
    """

    created: int = 0
    updated: int = 0
    deleted: int = 0
    put: list[Contact] = field(default_factory=list)
    drop: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    text_bytes: int = 0
    next_seq: int = GAP


def check(entries: Sequence[Entry | None], region: str) -> tuple[list[Accepted], dict[int, list[Reason]]]:
    """Read each entry; None stands for one that was not even an entry. Positions count from 0."""
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


def diff(book: dict[int, Contact], accepted: Sequence[Accepted], *, force: bool, next_seq: int = GAP) -> Changes:
    """The change from `book` by the accepted entries, in order; with `force` nothing else stays.

    book   the contacts that the entries name, or with `force` all there are

    A number's first position holds, its last name and spelling win; an unchanged contact counts as updated but is not
    written. Destroyed and created again in one upload, it keeps its place.
    """
    changes = Changes(next_seq=next_seq)
    wanted = _apply(book, accepted, changes)
    if force:
        gone = [number for number in book if number not in wanted]
        changes.deleted += len(gone)
        wanted.update(dict.fromkeys(gone))
    changes.drop = sorted(number for number, entry in wanted.items() if entry is None and number in book)
    kept = {number: entry for number, entry in wanted.items() if entry}
    changes.new = [number for number in kept if number not in book]
    seqs = place(list(kept), book, changes) if force else append(list(kept), book, changes)
    for number, entry in kept.items():
        contact = Contact(number, entry.name, entry.typed, seqs[number])
        if book.get(number) != contact:
            changes.put.append(contact)
    changes.put.sort(key=lambda contact: contact.number)
    replaced = [book[contact.number] for contact in changes.put if contact.number in book]
    dropped = [book[number] for number in changes.drop]
    changes.text_bytes = text_bytes(changes.put) - text_bytes(replaced) - text_bytes(dropped)
    return changes


def text_bytes(contacts: Sequence[Contact]) -> int:
    """The names and spellings of these contacts, in bytes of UTF-8."""
    # One text of all is encoded several times faster than each by itself.
    return len("".join([contact.name + (contact.typed or "") for contact in contacts]).encode())


def _apply(book: dict[int, Contact], accepted: Sequence[Accepted], changes: Changes) -> dict[int, Accepted | None]:
    """Walk the entries, counting; return what each named number is in the end (None: not in the book)."""
    wanted: dict[int, Accepted | None] = {}
    for entry in accepted:
        known = wanted[entry.number] is not None if entry.number in wanted else entry.number in book
        if entry.destroy:
            changes.deleted += known
            wanted[entry.number] = None
        else:
            changes.updated += known
            changes.created += not known
            wanted[entry.number] = entry
    return wanted


def append(numbers: list[int], book: dict[int, Contact], changes: Changes) -> dict[int, int]:
    """Known contacts stay where they are, new ones come last."""
    seqs = {}
    for number in numbers:
        if number in book:
            seqs[number] = book[number].seq
        else:
            seqs[number] = changes.next_seq
            changes.next_seq += GAP
    return seqs


def place(numbers: list[int], book: dict[int, Contact], changes: Changes) -> dict[int, int]:
    """Give `numbers` increasing places, moving as few known contacts as can be."""
    seqs = {number: book[number].seq for number in _unmoved(numbers, book)}
    ends = [None, *(position for position, number in enumerate(numbers) if number in seqs), None]
    for left, right in pairwise(ends):
        between = numbers[0 if left is None else left + 1 : right]
        low = None if left is None else seqs[numbers[left]]
        high = None if right is None else seqs[numbers[right]]
        places = _between(low, high, len(between))
        if places is None:  # the gap is used up: number the whole book anew
            seqs = {number: (position + 1) * GAP for position, number in enumerate(numbers)}
            break
        seqs.update(zip(between, places, strict=True))
    changes.next_seq = max(seqs.values(), default=0) + GAP
    return seqs


def _between(low: int | None, high: int | None, count: int) -> range | None:
    """`count` places between two neighbours, evenly; None when there is no room."""
    if high is None:
        start = (low or 0) + GAP
        return range(start, start + count * GAP, GAP)
    if low is None:
        return range(high - count * GAP, high, GAP)
    step = (high - low) // (count + 1)
    return range(low + step, low + step * (count + 1), step) if step else None


def _unmoved(numbers: list[int], book: dict[int, Contact]) -> list[int]:
    """The longest run of known contacts that is already in order (patience sorting, O(n log n))."""
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
