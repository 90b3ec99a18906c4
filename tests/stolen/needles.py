"""What a thief would search a stolen database for, in every form in which a program may have written it.

Secrets          what must be nowhere: numbers, texts, codes and keys, each with its origin
forms(value)     the byte sequences that stand for a value, by the name of the form
Search(needles)  finds many needles in much data at once
"""

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

WINDOW = 4  # bytes that are looked up together
SHORTEST = WINDOW + 1  # a needle of so many bytes contains a window that begins at an even offset
CHUNK = 1 << 21
SHORTEST_TEXT = 8  # bytes; shorter texts occur in any large file
HALF = 12  # bytes of a hash
# Country codes of the numbers of the demo's people, the longer ones first.
COUNTRIES = ("353", "44", "49", "33", "46", "61", "1")


@dataclass(frozen=True, slots=True)
class Needle:
    """One form of one secret.

    alone   digits that are found only if no other digit stands beside them
    """

    content: bytes
    origin: str
    form: str
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a needle was found, with the bytes around it."""

    needle: Needle
    offset: int
    around: bytes


@dataclass
class Secrets:
    """The secrets of a world, as needles without repetition."""

    needles: dict[tuple[bytes, bool], Needle] = field(default_factory=dict)

    def text(self, value: str, origin: str) -> None:
        """A name, an address, a token or a message."""
        if len(value.encode()) >= SHORTEST_TEXT:
            self._add(forms_of_text(value), f"{origin} {value!r}")

    def number(self, digits: str, origin: str) -> None:
        """A phone number in international digits."""
        self._add(forms_of_number(digits), f"{origin} {digits}")
        self._add(
            {f"national, {form}": content for form, content in national(digits).items()}, f"{origin} {digits}", True
        )

    def guessable(self, value: str, app_id: int, origin: str) -> None:
        """A number, an e-mail or a login, of which a hash without a key is as good as the value itself."""
        for text in {value, value.casefold(), f"{app_id}:{value}", f"{app_id}:{value.casefold()}"}:
            self._add(hashes(text), f"{origin} {value!r}")

    def code(self, code: str, origin: str) -> None:
        """A few digits."""
        self._add(written(code), f"{origin} {code}", True)

    def key(self, value: bytes, origin: str) -> None:
        """Secret bytes."""
        self._add({"as bytes": value, **encodings(value)}, origin)

    def _add(self, found: dict[str, bytes], origin: str, alone: bool = False) -> None:
        for form, content in found.items():
            assert len(content) >= SHORTEST, (origin, form)
            self.needles.setdefault((content, alone), Needle(content, origin, form, alone))


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def written(text: str) -> dict[str, bytes]:
    """A text in the encodings of text."""
    encoded = text.encode("utf-8")
    return {"UTF-8": encoded, "UTF-16 LE": text.encode("utf-16-le"), "UTF-16 BE": text.encode("utf-16-be")}


def forms_of_text(text: str) -> dict[str, bytes]:
    """A text as typed, folded, in three encodings, escaped, and as base64 and hexadecimal digits."""
    folded = {f"folded, {form}": content for form, content in written(text.casefold()).items()}
    escaped = {
        "JSON-escaped": json.dumps(text)[1:-1].encode(),
        "percent-encoded": quote(text, safe="").encode(),
        "form-encoded": quote_plus(text).encode(),
    }
    return {**written(text), **folded, **escaped, **encodings(text.encode())}


def forms_of_number(digits: str) -> dict[str, bytes]:
    """A number as digits in every encoding of text, and as an integer in every order of bytes.

    An integer is searched for with one zero byte at its upper end: no database stores it in fewer bytes, and its
    significant bytes alone are so few that chance would find them.
    """
    number = int(digits)
    big = number.to_bytes((number.bit_length() + 7) // 8 + 1, "big")
    integers = {
        "integer, upper byte first": big,
        "integer, lower byte first": big[::-1],
        "integer, groups of 7 bits": variable_length(number),
        "integer, hexadecimal": big.hex().encode(),
        "integer, hexadecimal capitals": big.hex().upper().encode(),
    }
    return {**written(digits), **encodings(digits.encode()), **integers}


def national(digits: str) -> dict[str, bytes]:
    """The digits without the country code."""
    code = next((code for code in COUNTRIES if digits.startswith(code)), "")
    return written(digits.removeprefix(code))


def hashes(text: str) -> dict[str, bytes]:
    """The first half of a text's hash, which is what is left of one that was cut."""
    half = hashlib.sha256(text.encode()).digest()[:HALF]
    return {"SHA-256": half, "SHA-256, hexadecimal": half.hex().encode()}


def encodings(content: bytes) -> dict[str, bytes]:
    """Bytes as hexadecimal digits, and as base64 wherever they begin in the encoded text."""
    found = {"hexadecimal": content.hex().encode(), "hexadecimal capitals": content.hex().upper().encode()}
    for before in range(3):
        whole = base64.b64encode(bytes(before) + content)
        # Only the characters that no other byte has a part in.
        own = whole[-(-before * 8 // 6) : (before + len(content)) * 8 // 6]
        found[f"base64 after {before}"] = own
        found[f"base64url after {before}"] = own.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def variable_length(number: int) -> bytes:
    """An integer in groups of 7 bits, the upper ones first, as SQLite writes keys of rows."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(groups[::-1])


# ── the search ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Search:
    """Finds needles. Most are excluded by one look: the data is read once into a set of its windows of 4 bytes."""

    def __init__(self, needles: list[Needle]) -> None:
        self._needles = [(window(one.content, 0), window(one.content, 1), one) for one in needles]
        self._longest = max((len(one.content) for one in needles), default=0)

    def hits(self, content: bytes) -> Iterator[Hit]:
        """The first hit of each needle in each chunk."""
        for start in range(0, len(content), CHUNK):
            chunk = content[start : start + CHUNK + self._longest + 1]
            there = windows(chunk)
            for even, odd, needle in self._needles:
                if (even in there or odd in there) and (at := place(chunk, needle)) >= 0:
                    around = chunk[max(0, at - 60) : at + len(needle.content) + 60]
                    yield Hit(needle, start + at, around)


def window(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + WINDOW], sys.byteorder)


def windows(content: bytes) -> set[int]:
    """The windows that begin at even offsets."""
    found: set[int] = set()
    for start in (0, WINDOW // 2):
        length = (len(content) - start) // WINDOW * WINDOW
        found.update(memoryview(content)[start : start + length].cast("I"))
    return found


def place(content: bytes, needle: Needle) -> int:
    """Where the needle is, or -1."""
    at = content.find(needle.content)
    while needle.alone and at >= 0 and is_part_of_number(content, at, len(needle.content), needle.form):
        at = content.find(needle.content, at + 1)
    return at


def is_part_of_number(content: bytes, at: int, length: int, form: str) -> bool:
    """Whether the digits belong to a longer number: a digit stands right before or after them. A zero may lead."""
    step = 2 if "UTF-16" in form else 1
    skip = 1 if "BE" in form else 0
    before, after = at - step + skip, at + length + skip
    is_digit_before = 0 <= before < len(content) and content[before : before + 1] in b"123456789"
    return is_digit_before or content[after : after + 1].isdigit()
