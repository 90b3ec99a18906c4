"""What reading a file of contacts comes to, and texts in whatever encoding they were written.

Reading, Problem         the contacts, and what could not be read
one_each(contacts)       each name with each number once
content(path)            what a file holds, as bytes in which ASCII is ASCII
decoded(raw, charset)    bytes as text, whatever they claim to be
dialled(value)           the number that a phone would dial, without an extension
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import Unreadable
from .model import Contact

ZIP_START = b"PK\x03\x04"
# Of these every byte is a letter: that bytes can be read so says nothing.
ONE_BYTE_CHARSET = re.compile(r"(?i)(us-?)?ascii|(iso[-_]?8859|latin|(windows|cp)[-_]?125).*")
# Codecs that are no encodings of people's texts; some of them take a time that grows with the square of the length.
UNSUITABLE_CODECS = {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
# Digits and what people put between them, then what is dialled or said once the call is answered.
EXTENSION = re.compile(r"(?i)([+\d\s().\-/\u00a0\u2010-\u2015]*\d[\s)]*)(?:[,;pwx]|ext|#).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be read: the line it begins at, from 1, and why. It quotes nothing."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The contacts of a file in its order, and what of it could not be read."""

    contacts: tuple[Contact, ...]
    problems: tuple[Problem, ...]


def deduplicated(contacts: Iterable[Contact]) -> tuple[Contact, ...]:
    """Each name with each number once, by its first spelling: programs write a number twice that has two labels."""
    found: dict[tuple[str, str], Contact] = {}
    for contact in contacts:
        found.setdefault((contact.name, "".join(re.findall(r"[^\s().\-/]", contact.phone))), contact)
    return tuple(found.values())


def file_content(path: Path) -> bytes:
    """What a file holds: UTF-16 as UTF-8, anything else as it is. Raises Unreadable for what is no text at all."""
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "there can be no such file"
        raise Unreadable(f"the file cannot be read: {reason}") from None
    if raw.startswith(ZIP_START):
        raise Unreadable("this is an archive or a spreadsheet (.zip, .xlsx): unpack it, or export it as vCard or CSV")
    text = _utf_16(raw)
    raw = raw.removeprefix(codecs.BOM_UTF8) if text is None else text.encode()
    if not raw.strip():
        raise Unreadable("the file is empty: export the contacts again")
    if b"\0" in raw:
        raise Unreadable("the file is no text: export the contacts as vCard (.vcf) or CSV")
    return raw


def _utf_16(raw: bytes) -> str | None:
    """The text of a file in UTF-16, with its mark or without; None for any other."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace")
    if raw[1:2] == raw[3:4] == b"\0":
        return raw.decode("utf-16-le", "replace")
    if raw[0:1] == raw[2:3] == b"\0":
        return raw.decode("utf-16-be", "replace")
    return None


def decoded(raw: bytes, charset: str = "") -> str:
    """Bytes as text: as they claim, as UTF-8 or as Western Windows, whichever fits first.

    Programs claim one-byte encodings and write UTF-8; text in those almost never happens to be UTF-8.
    """
    claimed = _known_codec(charset)
    guesses = ("utf-8", *claimed) if ONE_BYTE_CHARSET.fullmatch(charset) else (*claimed, "utf-8")
    for guess in (*guesses, "cp1252"):
        try:
            text = raw.decode(guess)
        except (LookupError, ValueError):
            continue
        return text.encode("utf-8", "replace").decode()  # some encodings can write half a character
    return raw.decode("latin-1")


def _known_codec(charset: str) -> tuple[str, ...]:
    """The encoding of this name; none if there is none."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return ()
    return () if name.replace("_", "-") in UNSUITABLE_CODECS else (name,)


def without_extension(value: str) -> str:
    """A number without `tel:`, parameters and extension; what is no number stays as it is.

    An extension is dialled inside a house: people are found by the number before it (RFC 3966, section 5.3).
    """
    value = value.strip()
    if value[:4].lower() == "tel:":
        value = value[4:].strip()
    found = EXTENSION.fullmatch(value)
    return found[1].strip() if found else value
