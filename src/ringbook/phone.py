"""What people type, as a number: the only file that knows the numbering library.

`read` makes a number of what was typed, `digits` gives its digits back, `masked` shows it in logs and errors.
`dialled` reads only what can be called from everywhere, `region_of` tells a number's country, `is_of_a_phone` its kind.
`is_region` checks the setting `default_region`, `looks_like_number` helps privacy, `library` names what is in use.

A number is a 64-bit integer: its digits as an integer, plus 10**15 for each leading zero.

What anybody types is read here first. The library, which is native code, is given a `+`, at most MOST_DIGITS digits
and the code of a region that it knows, and nothing else.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

MIN_DIGITS, MAX_DIGITS = 10, 15
MOST_DIGITS = 2 * MAX_DIGITS  # given to the library, which takes 3 us and more: nothing longer is a number
LONGEST_TYPED = 256  # characters that are looked at: people's formatting takes some 30
_PLAIN = re.compile(rf"\+?[0-9]{{1,{MOST_DIGITS}}}")
_ZERO = 10**15
# Kinds that nobody has as a phone of their own, and whose holder may be paid for what is sent to them.
_OTHER_KINDS = ("PREMIUM_RATE", "SHARED_COST", "TOLL_FREE", "PERSONAL_NUMBER", "PAGER", "UAN", "VOICEMAIL")
_FORMATTING = frozenset("-.()/")
# Dashes that Unicode does not file under "dash punctuation", and the mark that a Japanese keyboard offers as one.
_MORE_DASHES = frozenset("\u2053\u207b\u208b\u2212\u30fc")


class Unreadable(ValueError):
    """Something else than digits and formatting was typed."""


class WrongLength(ValueError):
    """The number has fewer than 10 or more than 15 digits."""


def read(typed: str, region: str = "") -> int:
    """The number that was meant by what somebody typed.

    region   two-letter code of the country whose national spellings are understood; without it digits match digits

    A `+` or `00` at the start makes it international. International numbers, and with a region all others, are read
    by the numbering library; what that calls not possible keeps the digits that were typed.
    Raises Unreadable or WrongLength; the latter for every text longer than LONGEST_TYPED, which is not looked at.
    """
    if len(typed) > LONGEST_TYPED:
        raise WrongLength(f"a number has {MIN_DIGITS} to {MAX_DIGITS} digits")
    found = _digits_meant(typed, region)
    if not MIN_DIGITS <= len(found) <= MAX_DIGITS:
        raise WrongLength(f"a number has {MIN_DIGITS} to {MAX_DIGITS} digits")
    value = int(found)
    # The common case pays nothing for the rare one.
    return value if found[0] != "0" else value + _ZERO * (len(found) - len(found.lstrip("0")))


def digits(number: int) -> str:
    """The digits of a number made by `read`, leading zeros included."""
    zeros, value = divmod(number, _ZERO)
    return "0" * zeros + str(value or "")


def masked(number: int) -> str:
    """A number as logs and errors may show it: `…23`."""
    return "…" + digits(number)[-2:]


def dialled(typed: str, region: str = "") -> int | None:
    """The number that was typed, if it says its country and that country has such numbers; else None.

    A `+` or `00` says the country, and `region` does for what has neither. Never another number than `read` gives.
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
    """The two-letter code of the country of an international number, "" when there is none.

    Where countries share a calling code, a number that none of them has given out counts as the largest one's.
    """
    parsed = _parsed(f"+{digits(number)}", "")
    if parsed is None:
        return ""
    region = _library.region_code_for_number(parsed) or _library.region_code_for_country_code(parsed.country_code)
    return str(region) if is_region(region) else ""


def is_of_a_phone(number: int) -> bool:
    """Is an international number a phone's, or of a kind that is not known? False for premium rate and the like."""
    parsed = _parsed(f"+{digits(number)}", "")
    if parsed is None:
        return True
    kind = _library.number_type(parsed)
    return all(kind != getattr(_library.PhoneNumberType, name) for name in _OTHER_KINDS)


def is_region(region: str) -> bool:
    """Is this the code of a country (ISO 3166, upper case) whose numbering plan is known?"""
    return bool(region in _library.SUPPORTED_REGIONS)


def looks_like_number(text: str) -> bool:
    """Would this text, a login for one, read as somebody's phone number?"""
    try:
        read(text)
    except (Unreadable, WrongLength):
        return False
    return True


def library() -> str:
    """The numbering library in use and the release of its metadata, in words."""
    metadata = getattr(_library, "__phonenumbers_version__", _library.__version__)
    return f"{_library.__name__} {_library.__version__}, metadata {metadata}"


def _digits_meant(typed: str, region: str) -> str:
    if typed[:1] == "+" and typed[1:2] != "0" and typed[1:].isdigit() and typed.isascii():
        return _numbering_plan(typed, "") or typed[1:]  # as most phones spell most numbers
    kept = typed if typed.isascii() and typed.isdigit() else _without_formatting(typed)
    international = kept[:1] == "+" or kept[:2] == "00"
    if "+" in kept:
        kept = kept.replace("+", "")
    if international:
        kept = _without_prefix(kept)
        return _numbering_plan(f"+{kept}", "") or kept
    return _numbering_plan(kept, region) or kept if region else kept


def _without_formatting(typed: str) -> str:
    return typed.translate(_FOLDS)


def _without_prefix(kept: str) -> str:
    # All of them, so that the digits of a number read as the same number again.
    zeros = len(kept) - len(kept.lstrip("0"))
    return kept[zeros - zeros % 2 :]


def _numbering_plan(text: str, region: str) -> str:
    """The digits of an international number, or "" if no country's numbers look so."""
    parsed = _parsed(text, region)
    if parsed is None or _library.is_possible_number_with_reason(parsed) != _library.ValidationResult.IS_POSSIBLE:
        return ""
    return str(_library.format_number(parsed, _library.PhoneNumberFormat.E164))[1:]


def _parsed(text: str, region: str) -> Any:
    """What the library reads, None for what is no number. Nothing else calls its parser."""
    if not _PLAIN.fullmatch(text):
        return None
    try:
        return _library.parse(text, region if is_region(region) else None)
    except _library.NumberParseException:
        return None


def _fold(character: str) -> str:
    """A digit as ASCII, a plus as one, formatting as nothing; Unreadable for anything else."""
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    # Full-width and small forms are written like their plain ones.
    plain = unicodedata.normalize("NFKC", character)
    if plain == "+":
        return plain
    if plain in _FORMATTING or character in _MORE_DASHES or character.isspace() or category in ("Cf", "Pd"):
        return ""
    raise Unreadable("a number is digits and formatting")


class _Folds(dict[int, str]):
    """`_fold` as a table for `str.translate`.

    It ends the translation at the first character that is neither a digit nor formatting, so that odd texts cost no
    more than others, and it remembers the others, of which Unicode has some 1,000.
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
        # The fallback keeps hundreds of patterns in the cache of `re`; with its 512 places it is ten times slower.
        re._MAXCACHE = 8192  # type: ignore[attr-defined]
        import phonenumbers

        return phonenumbers


_library = _load()
