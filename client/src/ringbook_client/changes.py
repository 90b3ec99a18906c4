"""Compares address books, and makes the upload entries that turn one into the other. All functions are pure.

    names_by_phone(contacts)            an address book: each spelling of a number once
    difference(before, after)           added, renamed and removed contacts
    respelled(change)                   contacts whose number only has another spelling
    without_respelled(change)           the other changes, and the respelled contacts
    last_digits(phone)                  equal for all spellings of one number
    similar_phones(*books)              the phones that may be spellings of one number
    single_entries, grouped_entries     the upload entries for a change
    matches(book, contacts, size)       whether the server holds what it should

The client compares spellings, the server compares numbers. `07700 900123` and `+44 7700 900123` may be one number or
two: that depends on the application's region. So contacts whose last digits agree are uploaded as one group, which
first removes all of them and then adds those that remain. The server then handles them as in a full upload: the last
spelling of a number wins, removing one spelling does not lose the contact under another one, and the counts in the
report tell how many numbers the group has.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .calls import Entry
from .model import Contact, Removal

Book = Mapping[str, str]  # names by phone, in order
NO_DIGIT = re.compile(r"[^0-9]+")
# Spellings differ in their prefix, and in Argentina also between the area code and the last six digits.
COMPARED_DIGITS = 6


def names_by_phone(contacts: Iterable[Contact]) -> dict[str, str]:
    """An address book. A phone that occurs twice keeps its first position and gets its last name."""
    return {contact.phone: contact.name for contact in contacts}


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes that turn one address book into another."""

    added: tuple[Contact, ...] = ()
    renamed: tuple[Contact, ...] = ()
    removed: tuple[Contact, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.renamed or self.removed)


def difference(before: Book, after: Book) -> Difference:
    """The contacts that are added, renamed (with the new name) and removed."""
    return Difference(
        added=tuple(Contact(name, phone) for phone, name in after.items() if phone not in before),
        renamed=tuple(Contact(name, phone) for phone, name in after.items() if before.get(phone, name) != name),
        removed=tuple(Contact(name, phone) for phone, name in before.items() if phone not in after),
    )


def respelled(change: Difference) -> list[tuple[Contact, Contact]]:
    """Pairs of a removed and an added contact with one name and the same last digits: one number in a new spelling."""
    removed = {(contact.name, last_digits(contact.phone)): contact for contact in change.removed}
    keys = {contact: (contact.name, last_digits(contact.phone)) for contact in change.added}
    return [(removed.pop(key), contact) for contact, key in keys.items() if key in removed]


def without_respelled(change: Difference) -> tuple[Difference, list[tuple[Contact, Contact]]]:
    """The change without the respelled contacts, and these: to people, a new spelling is one change and not two."""
    pairs = respelled(change)
    before, after = {one for one, _ in pairs}, {one for _, one in pairs}
    added = tuple(contact for contact in change.added if contact not in after)
    removed = tuple(contact for contact in change.removed if contact not in before)
    return Difference(added, change.renamed, removed), pairs


def last_digits(phone: str) -> str:
    """The last digits, which all spellings of a number have in common; the whole text if it has too few digits."""
    western = phone if phone.isascii() else "".join(str(unicodedata.digit(char, "")) for char in phone)
    digits = NO_DIGIT.sub("", western)
    return digits[-COMPARED_DIGITS:] if len(digits) >= COMPARED_DIGITS else phone


def similar_phones(*books: Book) -> dict[str, dict[str, None]]:
    """The phones of all books by their last digits, where several phones share them."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for phone in dict.fromkeys(phone for book in books for phone in book):
        groups[last_digits(phone)][phone] = None
    return {digits: phones for digits, phones in groups.items() if len(phones) > 1}


def single_entries(change: Difference, similar: Mapping[str, object]) -> list[Entry]:
    """The entries for changed contacts that are in no group of `similar`."""
    removals = [Removal(contact.phone) for contact in change.removed]
    entries: list[Entry] = [*removals, *change.renamed, *change.added]
    return [entry for entry in entries if last_digits(entry.phone) not in similar]


def grouped_entries(
    after: Book, similar: Mapping[str, Iterable[str]], changed_phones: Iterable[str] | None = None
) -> Iterator[list[Entry]]:
    """The entries for each group of `similar`: remove all its phones, then add those that `after` has.

    changed_phones   only groups with one of these phones; None: all groups
    """
    changed = similar if changed_phones is None else dict.fromkeys(map(last_digits, changed_phones))
    members: dict[str, list[Contact]] = {digits: [] for digits in changed if digits in similar}
    for phone, name in after.items():
        if (digits := last_digits(phone)) in members:
            members[digits].append(Contact(name, phone))
    for digits, contacts in members.items():
        yield [*(Removal(phone) for phone in similar[digits]), *contacts]


def matches(book: Iterable[Contact], contacts: Book, size: int) -> bool:
    """Whether the server's address book has `size` contacts, each of them one of `contacts`.

    Each contact of the server has another number. So if there are `size` of them, none is missing.
    """
    server_contacts = list(book)
    return len(server_contacts) == size and all(contacts.get(one.phone) == one.name for one in server_contacts)
