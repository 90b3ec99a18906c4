"""Computes what an upload changes in an address book. Pure functions, without the database.

    check(entries, region)              the entries that are accepted, and the reasons to reject the others
    diff(book, entries, force=…)        the net change, and the counts of contacts created, updated and deleted
    append, place                       the positions of contacts in the book's order

The counts follow protocol §4.1: each entry counts as if the entries were applied one by one. The net change is written
once. Contacts are compared as they are stored: by keyed number and by the keyed value of the entry, which is equal when
name and spelling are. So nothing that a book holds needs to be opened, and only what is written is sealed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter, lt

from .. import phone
from ..model import SEQ_GAP as GAP
from ..model import Entry, Held, Placed, Reason
from ..seal import SEALED_BYTES
from .entries import Entries, KeyedEntry, NewContacts

NAME_CHARACTERS = 255
# A row of SQLite of more than 1,002 bytes gets a page of its own (SQLite, "Database File Format", 1.6).
LARGEST_AMONG_OTHERS, PAGE_BYTES = 944, 4096
TYPED_CHARACTERS = 64  # of a number with its formatting, which is stored as it was typed


# An entry that can be applied: its number; its name, or None to remove the contact; and the phone as it was typed, or
# None where that is exactly the number's digits.
Accepted = tuple[int, str | None, str | None]


@dataclass(slots=True)
class Changes:
    """The changes of a book, and the counts for the answer.

    put          new and changed contacts, not yet sealed, by keyed number
    move         keyed number and position of contacts that are only moved
    drop         the keyed numbers of removed contacts
    new          the keyed numbers of new contacts
    text_bytes   by how much the book's sealed texts grow, in bytes
    next_seq     the position after the book's last contact
    """

    created: int = 0
    updated: int = 0
    deleted: int = 0
    put: Sequence[Placed] = ()
    move: list[tuple[int, int]] = field(default_factory=list)
    drop: list[int] = field(default_factory=list)
    new: Sequence[int] = ()
    text_bytes: int = 0
    next_seq: int = GAP


def check(entries: Sequence[Entry | None], region: str) -> tuple[list[Accepted], dict[int, list[Reason]]]:
    """Read each entry. Returns the accepted ones, and by position from 0 the reasons to reject the others.

    entries   None stands for an element of the upload that was not an entry
    """
    accepted: list[Accepted] = []
    rejected: dict[int, list[Reason]] = {}
    plain = phone.read_plain([entry.phone if entry else "" for entry in entries], region)
    for position, (entry, number) in enumerate(zip(entries, plain, strict=True)):
        # The common entry is accepted without the steps of the others.
        if number and entry and (name := entry.name) and not entry.destroy and len(name) <= NAME_CHARACTERS:
            typed = entry.phone
            if len(typed) <= TYPED_CHARACTERS:
                accepted.append((number, name, None if typed == str(number) else typed))
                continue
        result = _read(entry, region) if entry else [Reason.FIELDS]
        if isinstance(result, tuple):
            accepted.append(result)
        else:
            rejected[position] = result
    return accepted, rejected


def _read(entry: Entry, region: str) -> Accepted | list[Reason]:
    typed, name, destroy = entry.phone, entry.name or "", bool(entry.destroy)
    if entry.name is None and not destroy:
        return [Reason.FIELDS]
    if len(typed) > TYPED_CHARACTERS:
        return [Reason.PHONE_LENGTH if typed.isdigit() else Reason.FIELDS]
    reasons = []
    number = 0
    try:
        number = phone.read(typed, region)
    except phone.Unreadable:
        return [Reason.FIELDS]
    except phone.WrongLength:
        reasons.append(Reason.PHONE_LENGTH)
    if not destroy and not 1 <= len(name) <= NAME_CHARACTERS:
        reasons.append(Reason.NAME_LENGTH)
    if reasons:
        return reasons
    return number, None if destroy else name, None if typed == phone.digits(number) else typed


def diff(book: dict[int, Held], entries: Entries, *, force: bool, next_seq: int = GAP) -> Changes:
    """The changes that the entries make to `book`, in order.

    book    by keyed number: the contacts that the entries name; with `force` all contacts of the book
    force   all other contacts are removed

    When a number occurs several times, its first position counts, and its last name and spelling. An unchanged contact
    counts as updated and is not written. A contact that is destroyed and created in one upload keeps its position.
    """
    changes = Changes(next_seq=next_seq)
    if not book and not force and entries.are_apart():
        return _add(entries, changes)
    final = _apply(book, entries, changes)
    kept = final
    if None in map(_text, final.values()):
        kept = {number: entry for number, entry in final.items() if entry[2] is not None}
        changes.drop = [number for number in final if number not in kept and number in book]
    if force:
        gone = [number for number in book if number not in final]
        changes.deleted += len(gone)
        changes.drop += gone
    changes.drop.sort()
    if changes.created:
        changes.new = [number for number in kept if number not in book]
    seqs = place(list(kept), book, changes) if force else append(changes)
    _compare(book, kept, seqs, changes)
    return changes


def _add(entries: Entries, changes: Changes) -> Changes:
    """Note that each entry is a new contact.

    It gives what the steps below give for a book that has none of these, in a fifth of the time.
    """
    changes.created = len(entries)
    changes.new = entries.numbers
    changes.put = NewContacts(entries, changes.next_seq)
    changes.next_seq += len(entries) * GAP
    sizes = [len(text) + SEALED_BYTES for text in entries.texts if text is not None]
    changes.text_bytes = sum(sizes if max(sizes, default=0) <= LARGEST_AMONG_OTHERS else map(stored_bytes, sizes))
    return changes


def _apply(book: dict[int, Held], entries: Entries, changes: Changes) -> dict[int, KeyedEntry]:
    """Apply the entries one by one and count them. Returns the last entry of each number, in the order of the first."""
    final: dict[int, KeyedEntry] = {}
    created = updated = deleted = 0
    for entry in entries:
        number = entry[0]
        in_book = final[number][2] is not None if number in final else number in book
        final[number] = entry
        if entry[2] is None:
            deleted += in_book
        elif in_book:
            updated += 1
        else:
            created += 1
    changes.created, changes.updated, changes.deleted = created, updated, deleted
    return final


def _compare(book: dict[int, Held], kept: dict[int, KeyedEntry], seqs: dict[int, int], changes: Changes) -> None:
    """Note what is to be written: contacts that are new or changed, contacts that only move, and the texts' growth.

    seqs   the positions of new contacts and of those that move
    """
    changed = [one for one in kept.values() if (held := book.get(one[0])) is None or held[1] != one[1]]
    put: list[Placed] = []
    for number, value, text in changed:
        assert text
        seq = seqs[number] if number in seqs else book[number][2]
        put.append((number, value, seq, text))
        more = stored_bytes(len(text) + SEALED_BYTES)
        changes.text_bytes += more - (stored_bytes(book[number][3]) if number in book else 0)
    changes.put = sorted(put, key=_number)
    changes.text_bytes -= sum(stored_bytes(book[number][3]) for number in changes.drop)
    if len(seqs) > len(changes.new):
        written = {contact[0] for contact in changes.put}
        changes.move = sorted(one for one in seqs.items() if one[0] not in written and one[1] != book[one[0]][2])


def stored_bytes(size: int) -> int:
    """What a sealed contact takes in the database: one that does not fit among others on a page gets a page more."""
    return size if size <= LARGEST_AMONG_OTHERS else size + PAGE_BYTES


_number, _text = itemgetter(0), itemgetter(2)


def append(changes: Changes) -> dict[int, int]:
    """The positions of new contacts: they come last."""
    first = changes.next_seq
    changes.next_seq += len(changes.new) * GAP
    return dict(zip(changes.new, range(first, changes.next_seq, GAP), strict=True))


def place(numbers: list[int], book: dict[int, Held], changes: Changes) -> dict[int, int]:
    """Increasing positions for `numbers` in this order: of those that get one. As few of the book as possible move."""
    seqs: dict[int, int] = {}
    still = _unmoved(numbers, book)
    low: int | None = None
    waiting: list[int] = []
    if len(still) < len(numbers):
        for number in numbers:
            if number not in still:
                waiting.append(number)
                continue
            if waiting and not _fill(seqs, waiting, low, still[number]):
                return _anew(numbers, changes)
            low, waiting = still[number], []
        _fill(seqs, waiting, low, None)
    last = numbers[-1] if numbers else 0
    changes.next_seq = (seqs.get(last) or still.get(last) or 0) + GAP
    return seqs


def _fill(seqs: dict[int, int], numbers: list[int], low: int | None, high: int | None) -> bool:
    """Give the numbers positions between two neighbours. False when there is no room."""
    places = _between(low, high, len(numbers))
    if places is None:
        return False
    seqs.update(zip(numbers, places, strict=True))
    return True


def _anew(numbers: list[int], changes: Changes) -> dict[int, int]:
    """Positions for the whole book, where a gap is used up."""
    changes.next_seq = (len(numbers) + 1) * GAP
    return {number: place * GAP for place, number in enumerate(numbers, 1)}


def _between(low: int | None, high: int | None, count: int) -> range | None:
    """`count` positions, evenly between two neighbours; None when there is no room."""
    if high is None:
        start = (low or 0) + GAP
        return range(start, start + count * GAP, GAP)
    if low is None:
        return range(high - count * GAP, high, GAP)
    step = (high - low) // (count + 1)
    return range(low + step, low + step * (count + 1), step) if step else None


def _unmoved(numbers: list[int], book: dict[int, Held]) -> dict[int, int]:
    """Positions of contacts of the book that may stay: the longest run that is in order already.

    Most uploads have the book's order. Otherwise it is found by patience sorting, in O(n log n).
    """
    known = [number for number in numbers if number in book]
    seqs = [book[number][2] for number in known]
    if all(map(lt, seqs, seqs[1:])):
        return dict(zip(known, seqs, strict=True))
    tails: list[int] = []
    tops: list[int] = []  # where in `known` the run of each length ends
    before: list[int] = []
    for place, seq in enumerate(seqs):
        at = bisect_left(tails, seq)
        before.append(tops[at - 1] if at else -1)
        tails[at : at + 1] = [seq]
        tops[at : at + 1] = [place]
    run = []
    last = tops[-1]
    while last >= 0:
        run.append(last)
        last = before[last]
    return {known[place]: seqs[place] for place in reversed(run)}
