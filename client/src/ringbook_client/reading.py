"""The parts that the vCard and CSV readers share: their result, files, encodings and phone numbers.

Reading, Problem              the contacts of a file; a part that could not be read
deduplicated(contacts)        each name with each number once
file_content(path)            the bytes of a text file, in an encoding that extends ASCII
decoded(raw, charset)         bytes as text; a wrong charset does no harm
without_extension(value)      a phone number without `tel:` and extension
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
# One-byte charsets can decode any bytes, so a successful decoding does not show that the charset is right.
ONE_BYTE_CHARSET = re.compile(r"(?i)(us-?)?ascii|(iso[-_]?8859|latin|(windows|cp)[-_]?125).*")
# Python codecs that are not text encodings; some take quadratic time.
UNSUITABLE_CODECS = {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
# A number with its separators, then an extension: a pause, `x`, `ext` or `#`, and the rest.
EXTENSION = re.compile(r"(?i)([+\d\s().\-/\u00a0\u2010-\u2015]*\d[\s)]*)(?:[,;pwx]|ext|#).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a file that could not be read: its first line, from 1, and the reason, which quotes nothing."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The contacts of a file, in file order, and the parts that could not be read."""

    contacts: tuple[Contact, ...]
    problems: tuple[Problem, ...]


def deduplicated(contacts: Iterable[Contact]) -> tuple[Contact, ...]:
    """Each name with each number once, in its first spelling. Programs write a number with two labels twice."""
    found: dict[tuple[str, str], Contact] = {}
    for contact in contacts:
        found.setdefault((contact.name, "".join(re.findall(r"[^\s().\-/]", contact.phone))), contact)
    return tuple(found.values())


def file_content(path: Path) -> bytes:
    """The bytes of a file; UTF-16 is converted to UTF-8. Raises Unreadable if the file is not text."""
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file can have this name"
        raise Unreadable(f"the file cannot be read: {reason}") from None
    if raw.startswith(ZIP_START):
        raise Unreadable("this is an archive or a spreadsheet (.zip, .xlsx): unpack it, or export it as vCard or CSV")
    text = _utf_16(raw)
    raw = raw.removeprefix(codecs.BOM_UTF8) if text is None else text.encode()
    if not raw.strip():
        raise Unreadable("the file is empty: export the contacts again")
    if b"\0" in raw:
        raise Unreadable("the file is not text: export the contacts as vCard (.vcf) or CSV")
    return raw


def _utf_16(raw: bytes) -> str | None:
    """The text of a UTF-16 file, with or without a byte order mark; None for any other file."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace")
    if raw[1:2] == raw[3:4] == b"\0":
        return raw.decode("utf-16-le", "replace")
    if raw[0:1] == raw[2:3] == b"\0":
        return raw.decode("utf-16-be", "replace")
    return None


def decoded(raw: bytes, charset: str = "") -> str:
    """Decode bytes with the given charset, UTF-8 or Windows-1252, whichever succeeds first.

    UTF-8 comes before a one-byte charset: many programs name one and write UTF-8, and text in a one-byte charset is
    almost never valid UTF-8.
    """
    claimed = _known_codec(charset)
    guesses = ("utf-8", *claimed) if ONE_BYTE_CHARSET.fullmatch(charset) else (*claimed, "utf-8")
    for guess in (*guesses, "cp1252"):
        try:
            text = raw.decode(guess)
        except (LookupError, ValueError):
            continue
        return text.encode("utf-8", "replace").decode()  # some codecs can return a lone surrogate
    return raw.decode("latin-1")


def _known_codec(charset: str) -> tuple[str, ...]:
    """The codec with this name, in a tuple; an empty tuple if there is none or it is not a text encoding."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return ()
    return () if name.replace("_", "-") in UNSUITABLE_CODECS else (name,)


def without_extension(value: str) -> str:
    """A phone number without `tel:`, parameters and extension. A value that is not a number stays as it is.

    An extension is valid only inside an organisation (RFC 3966, section 5.3), so users are found by the number before
    it.
    """
    value = value.strip()
    if value[:4].lower() == "tel:":
        value = value[4:].strip()
    found = EXTENSION.fullmatch(value)
    return found[1].strip() if found else value
