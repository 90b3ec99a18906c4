"""Reads contacts from vCard 2.1, 3.0 and 4.0, including the deviations that phones and programs write.

    read_vcards(raw)        the contacts of a file: one for each number of each card
    unfolded_lines(raw)     the unfolded lines of a file, each with the number of its first line
    parsed_property(line)   a line as a property

Only names and numbers are read, so other properties cannot make a card unreadable. Cards are read as bytes, because
lines can be folded inside a character and each property can have its own encoding.
Sources: vCard 2.1 (versit, 1996), RFC 2426 (3.0), RFC 6350 (4.0). Comments mark the deviations from them.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import Unreadable
from .model import Contact
from .reading import Problem, Reading, decoded, deduplicated, without_extension

NO_CARD = "the file contains no vCard: export the contacts again, as vCard (.vcf) or CSV"
CUT_SHORT = "the card has no end: the file may be truncated here"
OUTSIDE = "these lines are outside a card"
EMPTY = "the card has no property that can be read"

NAMES = ("FN", "N", "ORG", "NICKNAME")
PROPERTY = re.compile(rb"\s*(?:[\w-]+\.)*([\w-]+)\s*(?=[;:])")
PARAMETER = re.compile(rb';((?:[^";:]|"[^"]*")*)')
# A line that begins like this starts a new property, even if the line before it ends with a soft line break (`=`).
STARTS_PROPERTY = re.compile(rb"(?i)\s*(?:item\d+\.)?(?:BEGIN|END|VERSION|FN|N|TEL|ORG|EMAIL)[;:]")
IS_QUOTED_PRINTABLE = re.compile(rb"(?i);(?:ENCODING=)?QUOTED-PRINTABLE[;:]")
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a card: the name in upper case, the parameters, and the undecoded value."""

    name: str
    quoted_printable: bool
    charset: str
    value: bytes

    def text(self) -> str:
        return decoded(quopri.decodestring(self.value) if self.quoted_printable else self.value, self.charset)

    def parts(self) -> list[str]:
        """The components of the value, which semicolons separate; escaped or encoded semicolons do not."""
        if self.quoted_printable:
            return [decoded(quopri.decodestring(part), self.charset) for part in self.value.split(b";")]
        return split(self.text(), ";")


@dataclass(slots=True)
class Card:
    """A card that is being read; `line` is its first line."""

    line: int
    properties: int = 0
    names: dict[str, str] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)
    nested: int = 0  # the number of open cards inside this one

    def contacts(self) -> Iterator[Contact]:
        name = next((self.names[kind] for kind in NAMES if self.names.get(kind)), "")
        for number in self.numbers:
            yield Contact(name or number, number)


def read_vcards(raw: bytes) -> Reading:
    """The contacts of all cards. Raises Unreadable if the file has no readable card.

    A card without a readable property or without an end becomes a Problem; the other cards are read all the same.
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
    """Reads a file line by line: the finished cards, the problems, and the open card."""

    cards: list[Card] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    card: Card | None = None
    outside_card: bool = False  # the last line was outside any card
    after_agent: bool = False  # the last line was `AGENT:`, which a nested card follows

    def add_line(self, number: int, prop: Property | None) -> None:
        """Add the next line. `prop` is None if the line is not a property, such as a part of a picture."""
        tag = (prop.name, prop.value.strip().upper()) if prop else ("", b"")
        if tag == ("BEGIN", b"VCARD"):
            self._begin(number)
        elif not self.card:
            if not self.outside_card:
                self.problems.append(Problem(number, OUTSIDE))
            self.outside_card = True
        elif tag == ("END", b"VCARD"):
            if self.card.nested:
                self.card.nested -= 1
            else:
                self.finish_card(cut=False)
        elif prop:
            # In vCard 2.1 an AGENT property holds a nested card, which begins on the same line or on the next one.
            self.after_agent = tag == ("AGENT", b"")
            self.card.nested += tag == ("AGENT", b"BEGIN:VCARD")
            if not self.card.nested:
                _add_property(self.card, prop)

    def _begin(self, number: int) -> None:
        if self.card and self.after_agent:
            self.card.nested += 1
        else:
            self.finish_card(cut=True)
            self.card, self.outside_card = Card(number), False
        self.after_agent = False

    def finish_card(self, *, cut: bool) -> None:
        """Finish the open card, if there is one. `cut`: its END line is missing."""
        card, self.card = self.card, None
        if card and card.properties:
            self.cards.append(card)
        if card and (cut or not card.properties):
            self.problems.append(Problem(card.line, CUT_SHORT if card.properties else EMPTY))


def _add_property(card: Card, prop: Property) -> None:
    """Add a name or number to the card. A second name of the same kind is a translation and is ignored."""
    card.properties += 1
    if prop.name == "TEL":
        number = _single_spaced(without_extension(_unescaped(prop.text())))
        if number:
            card.numbers.append(number)
    elif prop.name in NAMES and not card.names.get(prop.name):
        card.names[prop.name] = _name_from(prop)


def _name_from(prop: Property) -> str:
    if prop.name == "N":  # family name, given name, additional names, prefixes, suffixes
        family, given, additional, prefix, suffix = (*prop.parts(), "", "", "", "", "")[:5]
        parts = (prefix, given, additional, family, suffix)
        return _single_spaced(" ".join(_unescaped(" ".join(split(part, ","))) for part in parts))
    if prop.name == "ORG":  # the organisation and its units
        return ", ".join(part for part in (_single_spaced(_unescaped(part)) for part in prop.parts()) if part)
    text = split(prop.text(), ",")[0] if prop.name == "NICKNAME" else prop.text()
    return _single_spaced(_unescaped(text))


def split(text: str, separator: str) -> list[str]:
    """Split a text at a separator that has no backslash before it."""
    return re.findall(rf"(?:^|{separator})((?:\\.|[^\\{separator}]|\\$)*)", text, re.DOTALL)


def _unescaped(text: str) -> str:
    """Remove the escapes of any character: old programs also escape colons, which the standards do not."""
    return ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], text)


def _single_spaced(text: str) -> str:
    """The text on one line, with single spaces."""
    return " ".join(text.split())


# ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def parsed_property(line: bytes) -> Property | None:
    """The property on a line; None if the line is not a property."""
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
    if line[at : at + 1] != b":":  # a quotation mark that is not closed
        at = line.find(b":", found.end())
        if at < 0:
            return None
    return Property(found[1].decode("latin-1").upper(), quoted_printable, charset, line[at + 1 :])


def unfolded_lines(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """The unfolded lines that are not blank, each with the number of its first line, from 1."""
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
    """The text that `line` adds to the line before it; None if it adds none. Removes the soft line break before it."""
    folded = line[:1] in (b" ", b"\t")
    if quoted_printable and pieces[-1].rstrip().endswith(b"=") and not STARTS_PROPERTY.match(line):
        pieces[-1] = pieces[-1].rstrip()[:-1]
        # Samsung phones also fold encoded lines, inside characters; otherwise the space belongs to the text.
        return line[1:] if folded and line[1:2] == b"=" else line
    return line[1:] if folded else None
