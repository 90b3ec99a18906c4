"""Reads phone numbers as people type them. The only file that uses the numbering library.

    read, dialled         the number that was typed; only a number that can be dialled from anywhere
    read_plain            the same as `read` for many texts at once, as far as they are plain
    digits, masked        the digits of a number; a number as logs and errors show it
    region_of             the country of a number
    is_of_a_phone         whether a number is of a phone, not of a premium service
    is_region             whether a country code is known, for the setting `default_region`
    looks_like_number     whether a text reads as a number
    library, reading      the name and version of the numbering library; of it together with the rules here

A number is a 64-bit integer: its digits as an integer, plus 10**15 for each leading zero.

The library is native code, so typed texts are checked here first: it gets only a `+`, at most MOST_DIGITS digits, and
the code of a region that it knows. It takes 2 us, so it is not asked about an international number in which it could
change nothing: the only thing that it changes is a national prefix that was typed after the country code, and by the
first digit of the national number one sees that there is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

MIN_DIGITS, MAX_DIGITS = 10, 15
MOST_DIGITS = 2 * MAX_DIGITS  # longer texts are not given to the library, which takes 3 us or more per call
RULES = 1  # raise it when `read` reads any text differently, or what an upload accepts changes
LONGEST_TYPED = 256  # longer texts are not read; a number with its formatting has some 30 characters
_PLAIN = re.compile(rf"\+?[0-9]{{1,{MOST_DIGITS}}}")
_INTERNATIONAL = re.compile(rf"\+[1-9][0-9]{{0,{MOST_DIGITS - 1}}}").fullmatch
_DIGITS_IN_LINES = re.compile(rb"[0-9+\n]*").fullmatch
_LEAST, _ZERO = 10**9, 10**15  # the least number of MIN_DIGITS digits, and the least of more than MAX_DIGITS
_AT_ONCE = 200  # texts that `read_plain` takes together: if one of them is unusual, it reads none of these
# By country code: the digits, besides 0, with which a national prefix may begin. Source: the metadata of libphonenumber
# in these releases, "national prefix for parsing" of the main region of each country code.
_PREFIXES_OF = ("9.0.41", "9.0.43")
_PREFIXES = {
    **{1: "1", 7: "8", 44: "1", 54: "123", 55: "9", 61: "1", 86: "1", 261: "2456789", 298: "1", 352: "1", 370: "8"},
    **{375: "8", 378: "89", 423: "1", 506: "1", 672: "1258", 692: "1", 993: "8"},
}
# Kinds of numbers that are not personal phones. Their holders may be paid for messages to them.
_OTHER_KINDS = ("PREMIUM_RATE", "SHARED_COST", "TOLL_FREE", "PERSONAL_NUMBER", "PAGER", "UAN", "VOICEMAIL")
_FORMATTING = frozenset("-.()/")
_DELETED = b"-.()/ "
# Dashes outside Unicode's category "dash punctuation", and the prolonged sound mark that Japanese keyboards type.
_MORE_DASHES = frozenset("\u2053\u207b\u208b\u2212\u30fc")


class Unreadable(ValueError):
    """The text has characters other than digits and formatting."""


class WrongLength(ValueError):
    """The number has fewer than 10 or more than 15 digits."""


def read(typed: str, region: str = "") -> int:
    """The number in a text.

    region   two-letter code of the country whose national numbers are understood; without it digits stay as typed

    A `+` or `00` at the start makes the number international. The numbering library reads international numbers, and
    with a region all others. A number that it calls not possible keeps its typed digits.
    Raises Unreadable or WrongLength; WrongLength also for a text longer than LONGEST_TYPED, which is not read.
    """
    if len(typed) > LONGEST_TYPED:
        raise WrongLength(f"a number has {MIN_DIGITS} to {MAX_DIGITS} digits")
    # The two most frequent spellings are read without the steps of the others.
    if typed[:1] == "+" and _INTERNATIONAL(typed):
        found = _international(typed)
    elif not region and typed.isdigit() and typed.isascii() and typed[:2] != "00":
        found = typed
    else:
        found = _digits_meant(typed, region)
    if not MIN_DIGITS <= len(found) <= MAX_DIGITS:
        raise WrongLength(f"a number has {MIN_DIGITS} to {MAX_DIGITS} digits")
    value = int(found)
    # Most numbers have no leading zeros, and take the short way.
    return value if found[0] != "0" else value + _ZERO * (len(found) - len(found.lstrip("0")))


def read_plain(typed: Sequence[str], region: str = "") -> list[int]:
    """What `read` gives for each text, or 0 where this is not found out quickly.

    A text is plain if it has only digits and the formatting of ASCII, no leading zeros, and, without a `+`, no region.
    """
    return list(chain.from_iterable(_plain(typed[at : at + _AT_ONCE], region) for at in range(0, len(typed), _AT_ONCE)))


def _plain(typed: Sequence[str], region: str) -> list[int]:
    """The same for a few texts. If one of them is unusual, none is read."""
    joined = "\n".join(typed)
    kept = joined.encode("utf-8", "surrogatepass").translate(None, _DELETED)
    numbers = kept.decode("ascii").split("\n") if _DIGITS_IN_LINES(kept) else []
    if len(numbers) != len(typed) or max(map(len, typed)) > LONGEST_TYPED:
        return [0] * len(typed)
    try:
        values = list(map(int, numbers))
    except ValueError:  # a text without digits, or with a + among them
        return [0] * len(typed)
    return [
        value
        if _LEAST <= value < _ZERO
        and (_is_as_typed(number[1:5]) if number[0] == "+" else number[0] != "0" and not region)
        else 0
        for value, number in zip(values, numbers, strict=True)
    ]


def digits(number: int) -> str:
    """The digits of a number made by `read`, leading zeros included."""
    if number < _ZERO:  # most numbers
        return str(number or "")
    zeros, value = divmod(number, _ZERO)
    return "0" * zeros + str(value or "")


def masked(number: int) -> str:
    """A number as logs and errors may show it: `…23`."""
    return "…" + digits(number)[-2:]


def dialled(typed: str, region: str = "") -> int | None:
    """The number in a text with a country, if that country has such numbers; else None.

    A number with `+` or `00` names its country; for others `region` is the country. The result never differs from that
    of `read`.
    """
    try:
        kept = _without_formatting(typed) if len(typed) <= LONGEST_TYPED else ""
    except Unreadable:
        return None
    bare = kept.replace("+", "")
    if kept[:1] == "+" or kept[:2] == "00":
        found = _numbering_plan(f"+{_without_prefix(bare)}", "")
    else:
        found = _numbering_plan(bare, region) if region else ""
    return int(found) if MIN_DIGITS <= len(found) <= MAX_DIGITS else None


def region_of(number: int) -> str:
    """The two-letter code of an international number's country; "" when there is none.

    When several countries share a calling code, a number that none of them has assigned counts as of the largest one.
    """
    parsed = _parsed(f"+{digits(number)}", "")
    if parsed is None:
        return ""
    region = _library.region_code_for_number(parsed) or _library.region_code_for_country_code(parsed.country_code)
    return str(region) if is_region(region) else ""


def is_of_a_phone(number: int) -> bool:
    """Whether an international number is of a phone or of an unknown kind. False for premium rate and similar kinds."""
    parsed = _parsed(f"+{digits(number)}", "")
    if parsed is None:
        return True
    kind = _library.number_type(parsed)
    return all(kind != getattr(_library.PhoneNumberType, name) for name in _OTHER_KINDS)


def is_region(region: str) -> bool:
    """Whether this is the code of a country (ISO 3166, upper case) whose numbering plan is known."""
    return bool(region in _library.SUPPORTED_REGIONS)


def looks_like_number(text: str) -> bool:
    """Whether a text, for one a login, reads as a phone number."""
    try:
        read(text)
    except (Unreadable, WrongLength):
        return False
    return True


def library() -> str:
    """The name and version of the numbering library, and the version of its metadata."""
    return f"{_library.__name__} {_library.__version__}, metadata {_metadata}"


@cache
def reading(region: str = "") -> str:
    """The way in which `read` reads with this region: while it is the same, the same text gives the same number."""
    return f"{RULES} {library()} {region}".rstrip()


def _digits_meant(typed: str, region: str) -> str:
    kept = typed if typed.removeprefix("+").isdigit() and typed.isascii() else _without_formatting(typed)
    if kept[:1] == "+" and _INTERNATIONAL(kept):
        return _international(kept)
    international = kept[:1] == "+" or kept[:2] == "00"
    if "+" in kept:
        kept = kept.replace("+", "")
    if international:
        kept = _without_prefix(kept)
        return _numbering_plan(f"+{kept}", "") or kept
    return _numbering_plan(kept, region) or kept if region else kept


def _international(typed: str) -> str:
    """The digits of a number that matches `_INTERNATIONAL`."""
    return typed[1:] if _is_as_typed(typed[1:5]) else _e164(_parse_or_none(typed, None)) or typed[1:]


@cache
def _is_as_typed(start: str) -> bool:
    """Whether the library would change no international number of at least 10 digits that begins with these four."""
    if _metadata not in _PREFIXES_OF or len(start) < 4 or start[0] == "0":
        return False
    for length in (1, 2, 3):
        if (code := int(start[:length])) in _library.COUNTRY_CODE_TO_REGION_CODE:
            return start[length] not in "0" + _PREFIXES.get(code, "")
    return True  # no country has it, so it stays as it is


def _without_formatting(typed: str) -> str:
    if typed.isascii():  # nearly all; the table below takes twice as long
        kept = typed.encode().translate(None, _DELETED).decode()
        if kept.removeprefix("+").isdigit():
            return kept
    return typed.translate(_FOLDS)


def _without_prefix(kept: str) -> str:
    # All pairs of zeros, so that the digits of a number read as the same number again.
    zeros = len(kept) - len(kept.lstrip("0"))
    return kept[zeros - zeros % 2 :]


def _numbering_plan(text: str, region: str) -> str:
    """The digits of a number in international form; "" if no country has such numbers."""
    return _e164(_parsed(text, region))


def _e164(parsed: Any) -> str:
    """The digits of a parsed number in international form; "" for None, and if no country has such numbers."""
    if parsed is None or _reason(parsed) != _IS_POSSIBLE:
        return ""
    found: str = _format(parsed, _E164)[1:]
    return found


def _parsed(text: str, region: str) -> Any:
    """The number as the library parses it; None for a text that is not one."""
    return _parse_or_none(text, region if region and is_region(region) else None) if _PLAIN.fullmatch(text) else None


def _parse_or_none(plain: str, region: str | None) -> Any:
    """The same for a text that matches `_PLAIN` and a region that is known. No other function calls the parser."""
    try:
        return _parse(plain, region)
    except _NoNumber:
        return None


def _fold(character: str) -> str:
    """A digit in ASCII, `+` for any plus sign, "" for formatting. Raises Unreadable for other characters."""
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    # Full-width and small forms become their plain forms.
    plain = unicodedata.normalize("NFKC", character)
    if plain == "+":
        return plain
    if plain in _FORMATTING or character in _MORE_DASHES or character.isspace() or category in ("Cf", "Pd"):
        return ""
    raise Unreadable("a number is digits and formatting")


class _Folds(dict[int, str]):
    """`_fold` as a table for `str.translate`.

    The translation ends at the first character that is neither a digit nor formatting, so that other texts take no
    longer. The results for digits and formatting are kept; Unicode has some 1,000 such characters.
    """

    def __missing__(self, code: int) -> str:
        self[code] = _fold(chr(code))
        return self[code]


_FOLDS = _Folds({code: _fold(chr(code)) for code in map(ord, "0123456789+-.()/ ")})


def _load() -> Any:
    try:
        import rphonenumbers  # type: ignore[import-untyped]

        return rphonenumbers
    except ImportError:
        # The fallback compiles hundreds of patterns. With the default cache of `re` (512) it is ten times slower.
        re._MAXCACHE = 8192  # type: ignore[attr-defined]
        import phonenumbers

        return phonenumbers


_library = _load()
_metadata: str = getattr(_library, "__phonenumbers_version__", _library.__version__)
_parse, _reason, _format = _library.parse, _library.is_possible_number_with_reason, _library.format_number
_NoNumber, _IS_POSSIBLE = _library.NumberParseException, _library.ValidationResult.IS_POSSIBLE
_E164 = _library.PhoneNumberFormat.E164
