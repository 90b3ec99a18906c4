"""vCards 2.1, 3.0 and 4.0, as phones and programs write them rather than as the standards have it.

    read(raw)           the contacts of a file: one for each number of each card
    lines_of(raw)       its lines, unfolded, each with the number of its first one
    property_of(line)   a line as a property

Of a card only names and numbers are looked at, so nothing else in it can make it unreadable. It is read as bytes: lines
are folded inside characters, and each property may have an encoding of its own.
Sources: vCard 2.1 (versit, 1996), RFC 2426 (3.0), RFC 6350 (4.0); what differs from them is said where it is met.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import Unreadable
from .model import Contact
from .reading import Problem, Reading, decoded, deduplicated, without_extension

NO_CARD = "the file holds no vCard: export the contacts again, as vCard (.vcf) or CSV"
CUT_SHORT = "the card has no end: the file may have been cut short here"
OUTSIDE = "these lines belong to no card"
EMPTY = "the card holds nothing that can be read"

NAMES = ("FN", "N", "ORG", "NICKNAME")
PROPERTY = re.compile(rb"\s*(?:[\w-]+\.)*([\w-]+)\s*(?=[;:])")
PARAMETER = re.compile(rb';((?:[^";:]|"[^"]*")*)')
# What a line that goes on in encoded text cannot begin with, unless its last `=` was a mistake.
STARTS_PROPERTY = re.compile(rb"(?i)\s*(?:item\d+\.)?(?:BEGIN|END|VERSION|FN|N|TEL|ORG|EMAIL)[;:]")
IS_QUOTED_PRINTABLE = re.compile(rb"(?i);(?:ENCODING=)?QUOTED-PRINTABLE[;:]")
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Property:
    """A line of a card: its name in capitals, its parameters, and its value as it was written."""

    name: str
    quoted_printable: bool
    charset: str
    value: bytes

    def text(self) -> str:
        return decoded(quopri.decodestring(self.value) if self.quoted_printable else self.value, self.charset)

    def parts(self) -> list[str]:
        """What stands between semicolons, unless they are escaped or encoded."""
        if self.quoted_printable:
            return [decoded(quopri.decodestring(part), self.charset) for part in self.value.split(b";")]
        return split(self.text(), ";")


@dataclass(slots=True)
class Card:
    """A card that is being read."""

    line: int
    properties: int = 0
    names: dict[str, str] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)
    nested: int = 0  # how deep in cards within it

    def contacts(self) -> Iterator[Contact]:
        name = next((self.names[kind] for kind in NAMES if self.names.get(kind)), "")
        for number in self.numbers:
            yield Contact(name or number, number)


def read_vcards(raw: bytes) -> Reading:
    """The contacts of all cards; Unreadable if there is none, or none that can be read.

    A card that cannot be read, or whose end is missing, becomes a Problem and takes no other with it.
    """
    reader = CardReader()
    for number, line in unfolded_lines(raw):
        reader.add_line(number, parsed_property(line))
    reader.finish_card(cut=True)
    if not reader.cards:
        first = reader.problems[:1]
        raise Unreadable(NO_CARD + "".join(f" (line {problem.line}: {problem.reason})" for problem in first))
    contacts = deduplicated(contact for card in reader.cards for contact in card.contacts())
    return Reading(contacts, tuple(reader.problems))


@dataclass(slots=True)
class CardReader:
    """A file that is being read: the cards that have ended, and the one that is open."""

    cards: list[Card] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    card: Card | None = None
    outside: bool = False  # in a run of lines that belong to no card
    agent: bool = False  # right after a line that the card of an assistant follows

    def add_line(self, number: int, found: Property | None) -> None:
        """One more line; None is one that is no property, such as a part of a picture."""
        mark = (found.name, found.value.strip().upper()) if found else ("", b"")
        if mark == ("BEGIN", b"VCARD"):
            self._begin(number)
        elif not self.card:
            if not self.outside:
                self.problems.append(Problem(number, OUTSIDE))
            self.outside = True
        elif mark == ("END", b"VCARD"):
            if self.card.nested:
                self.card.nested -= 1
            else:
                self.finish_card(cut=False)
        elif found:
            # In 2.1 the card of an assistant stands within, right after AGENT or on its line.
            self.agent = mark == ("AGENT", b"")
            self.card.nested += mark == ("AGENT", b"BEGIN:VCARD")
            if not self.card.nested:
                _add_property(self.card, found)

    def _begin(self, number: int) -> None:
        if self.card and self.agent:
            self.card.nested += 1
        else:
            self.finish_card(cut=True)
            self.card, self.outside = Card(number), False
        self.agent = False

    def finish_card(self, *, cut: bool) -> None:
        """The open card has ended, if there is one; `cut`: its end is missing."""
        card, self.card = self.card, None
        if card and card.properties:
            self.cards.append(card)
        if card and (cut or not card.properties):
            self.problems.append(Problem(card.line, CUT_SHORT if card.properties else EMPTY))


def _add_property(card: Card, found: Property) -> None:
    """Take a name or a number from a line; a second name of one kind is a translation."""
    card.properties += 1
    if found.name == "TEL":
        number = _single_spaced(without_extension(_unescaped(found.text())))
        if number:
            card.numbers.append(number)
    elif found.name in NAMES and not card.names.get(found.name):
        card.names[found.name] = _name_from(found)


def _name_from(found: Property) -> str:
    if found.name == "N":  # family, given, additional, prefixes, suffixes
        family, given, additional, prefix, suffix = (*found.parts(), "", "", "", "", "")[:5]
        parts = (prefix, given, additional, family, suffix)
        return _single_spaced(" ".join(_unescaped(" ".join(split(part, ","))) for part in parts))
    if found.name == "ORG":  # an organisation, and its parts
        return ", ".join(part for part in (_single_spaced(_unescaped(part)) for part in found.parts()) if part)
    text = split(found.text(), ",")[0] if found.name == "NICKNAME" else found.text()
    return _single_spaced(_unescaped(text))


def split(text: str, sign: str) -> list[str]:
    """A text at a sign, except where a backslash stands before it."""
    return re.findall(rf"(?:^|{sign})((?:\\.|[^\\{sign}]|\\$)*)", text, re.DOTALL)


def _unescaped(text: str) -> str:
    """Without backslashes: old programs also escape colons, and 2.1 knows fewer escapes."""
    return ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], text)


def _single_spaced(text: str) -> str:
    """In one line, single blanks."""
    return " ".join(text.split())


# ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def parsed_property(line: bytes) -> Property | None:
    """A line as a property; None if it is none."""
    found = PROPERTY.match(line)
    if not found:
        return None
    at, charset, quoted_printable = found.end(), "", False
    while parameter := PARAMETER.match(line, at):
        at = parameter.end()
        key, _, value = parameter[1].decode("latin-1").strip().upper().rpartition("=")
        value = value.strip(' "')
        if key == "CHARSET":
            charset = value
        elif key in ("", "ENCODING") and value == "QUOTED-PRINTABLE":
            quoted_printable = True
    if line[at : at + 1] != b":":  # a quote that is never closed
        at = line.find(b":", found.end())
        if at < 0:
            return None
    return Property(found[1].decode("latin-1").upper(), quoted_printable, charset, line[at + 1 :])


def unfolded_lines(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, unfolded, each with the number of its first one, from 1."""
    lines = re.split(rb"\r\r\n|\r\n|\n|\r", raw)
    at = 0
    while at < len(lines):
        number, pieces = at + 1, [lines[at]]
        at += 1
        if not pieces[0].strip():
            continue
        quoted_printable = IS_QUOTED_PRINTABLE.search(pieces[0])
        while (
            at < len(lines)
            and (piece := _continuation(pieces, lines[at], quoted_printable=bool(quoted_printable))) is not None
        ):
            pieces.append(piece)
            at += 1
        yield number, b"".join(pieces)


def _continuation(pieces: list[bytes], line: bytes, *, quoted_printable: bool) -> bytes | None:
    """What a line adds to the one before it, None if nothing; a soft line break before it is taken away."""
    folded = line[:1] in (b" ", b"\t")
    if quoted_printable and pieces[-1].rstrip().endswith(b"=") and not STARTS_PROPERTY.match(line):
        pieces[-1] = pieces[-1].rstrip()[:-1]
        # Samsung's phones fold on top of that, inside characters; elsewhere the blank belongs to the text.
        return line[1:] if folded and line[1:2] == b"=" else line
    return line[1:] if folded else None
