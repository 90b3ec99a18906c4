"""What has changed in somebody's contacts, and the uploads that tell a server so: pure functions.

    folded(contacts)               each number once, as it is typed
    difference(before, now)        who is new, has another name, or is gone
    singles, groups                the entries that turn the one book into the other
    matches(book, contacts, size)  is this what the server should hold?

The server knows numbers, a phone only spellings: `07700 900123` and `+44 7700 900123` may be one number or two, which
depends on the application. So contacts whose last digits agree, its kin, are told together, in one upload that first
removes and then adds them all: whichever of them are one number, the last one wins as in a full upload, nobody is
removed together with a spelling that went, and the counts say how many numbers they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .calls import Entry
from .model import Contact, Removal

Book = Mapping[str, str]  # name by phone, in order
NO_DIGIT = re.compile(r"[^0-9]+")
COMPARED_DIGITS = 6  # prefixes differ between spellings, and in Argentina what stands between area code and these


def names_by_phone(contacts: Iterable[Contact]) -> dict[str, str]:
    """Name by phone; the last name of a phone wins, and its first place."""
    return {one.phone: one.name for one in contacts}


@dataclass(frozen=True, slots=True)
class Difference:
    """What turns one book into another."""

    added: tuple[Contact, ...] = ()
    renamed: tuple[Contact, ...] = ()
    removed: tuple[Contact, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.renamed or self.removed)


def difference(before: Book, after: Book) -> Difference:
    """Who is new, who has another name (here the new one), and who is gone."""
    return Difference(
        added=tuple(Contact(name, phone) for phone, name in after.items() if phone not in before),
        renamed=tuple(Contact(name, phone) for phone, name in after.items() if before.get(phone, name) != name),
        removed=tuple(Contact(name, phone) for phone, name in before.items() if phone not in after),
    )


def last_digits(phone: str) -> str:
    """What two spellings of one number have in common. Without so many digits it is no number, and has no kin."""
    western = phone if phone.isascii() else "".join(str(unicodedata.digit(char, "")) for char in phone)
    digits = NO_DIGIT.sub("", western)
    return digits[-COMPARED_DIGITS:] if len(digits) >= COMPARED_DIGITS else phone


def similar_phones(*books: Book) -> dict[str, dict[str, None]]:
    """The phones of all books by what they have in common, where that are several."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for phone in dict.fromkeys(phone for book in books for phone in book):
        groups[last_digits(phone)][phone] = None
    return {key: phones for key, phones in groups.items() if len(phones) > 1}


def single_entries(change: Difference, similar: Mapping[str, object]) -> list[Entry]:
    """Entries for those who changed and have no kin."""
    removals = [Removal(one.phone) for one in change.removed if last_digits(one.phone) not in similar]
    return [*removals, *(one for one in (*change.renamed, *change.added) if last_digits(one.phone) not in similar)]


def grouped_entries(
    after: Book, similar: Mapping[str, Iterable[str]], changed_phones: Iterable[str] | None = None
) -> Iterator[list[Entry]]:
    """Entries for those who have kin, family by family, as they are now; `touched` are phones whose families count."""
    keys = (
        similar
        if changed_phones is None
        else dict.fromkeys(key for key in map(last_digits, changed_phones) if key in similar)
    )
    members: dict[str, list[Contact]] = {key: [] for key in keys}
    for phone, name in after.items():
        if (key := last_digits(phone)) in members:
            members[key].append(Contact(name, phone))
    for key, present in members.items():
        yield [*(Removal(phone) for phone in similar[key]), *present]


def matches(book: Iterable[Contact], contacts: Book, size: int) -> bool:
    """The server's book holds as many numbers as it should, and nothing that was not uploaded.

    Each of its contacts is another number, and one of ours: so if there are `size` of them, none is missing.
    """
    server_contacts = list(book)
    return len(server_contacts) == size and all(contacts.get(one.phone) == one.name for one in server_contacts)
