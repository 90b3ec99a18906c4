"""The texts of joined pushes: how they are checked, which one a recipient gets, and how it is filled in.

    PushTexts               the texts of one language
    checked, template       check the texts of all languages; check one text
    by_language             decodes the texts of all languages
    read                    the stored texts by language
    joined, digest          the text for a recipient
    BUILT_IN                the text of a digest where an application has none

A text is looked for in the recipient's language (`de-AT`, then `de`), then in the application's. Source: RFC 4647 §3.4.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import Struct

from . import errors, plurals, preferences

MAX_TEMPLATE_CHARACTERS = 255
MAX_LANGUAGES = 50
MAX_NAME_CHARACTERS = 60  # of each name in a digest, so that a push stays within 4 KiB
PLACE = re.compile("%[%sd]")
BUILT_IN_LANGUAGE = "en"
BUILT_IN: Mapping[str, str] = {"one": "%s and %d other joined.", "other": "%s and %d others joined."}


class PushTexts(Struct, frozen=True, forbid_unknown_fields=True):
    """The texts of joined pushes in one language.

    joined   of one user who has joined; "" takes that of the next language
    digest   of several, by the plural form of those who are not named; {} takes that of the next language
    """

    joined: str = ""
    digest: dict[str, str] = {}


by_language = msgspec.json.Decoder(dict[str, PushTexts])


class Own(NamedTuple):
    """The application's texts: its language, the text in it, and the texts by language as they are stored."""

    language: str
    template: str
    templates: str


# ── checking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def template(text: str, key: str, *, counts: bool = False, before: str = "") -> str:
    """One line with at most one %s, the place of the name; %% is a per cent sign.

    counts   it may also have one %d, the place of the number
    before   the beginning of the refusal
    """
    places = PLACE.findall(text)
    single = PLACE.sub("", text) if counts else PLACE.sub(lambda found: found[0] if found[0] == "%d" else "", text)
    if places.count("%s") > 1:
        raise errors.Invalid(f"{before}may contain %s only once; it is replaced by the name", field=key)
    if places.count("%d") > 1 and counts:
        raise errors.Invalid(f"{before}may contain %d only once; it is replaced by the number", field=key)
    if "%" in single:
        allowed = "%s for the names or %d for the number" if counts else "%s for the name"
        raise errors.Invalid(f"{before}contains a single per cent sign: write %% instead, or {allowed}", field=key)
    if not text.strip() or len(text) > MAX_TEMPLATE_CHARACTERS:
        raise errors.Invalid(f"{before}must have 1 to {MAX_TEMPLATE_CHARACTERS} characters", field=key)
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise errors.Invalid(f"{before}must be one line, without control characters", field=key)
    return text


def checked(text: str, key: str) -> str:
    """A JSON object of PushTexts by language; a digest has each plural form that its language needs."""
    try:
        found = by_language.decode(text)
    except msgspec.DecodeError as error:
        raise errors.Invalid(f"must be a JSON object of texts by language ({error})", field=key) from None
    if len(found) > MAX_LANGUAGES:
        raise errors.Invalid(f"may have at most {MAX_LANGUAGES} languages", field=key)
    if len({language.lower() for language in found}) < len(found):
        raise errors.Invalid("has a language twice", field=key)
    for language, texts in found.items():
        _check(language, texts, key)
    return text


def _check(language: str, texts: PushTexts, key: str) -> None:
    if not preferences.LANGUAGE.fullmatch(language):
        raise errors.Invalid(f"{language[:40]} must be a language such as en or pt-BR", field=key)
    if not texts.joined and not texts.digest:
        raise errors.Invalid(f"{language}: there is no text", field=key)
    if texts.joined:
        template(texts.joined, key, before=f"{language}: the text ")
    if texts.digest:
        _check_forms(language, texts.digest, key)


def _check_forms(language: str, digest: Mapping[str, str], key: str) -> None:
    needed = plurals.forms(language)
    for form in needed:
        if form not in digest:
            raise errors.Invalid(f"{language}: the digest has no form {form}", field=key)
    for form, text in digest.items():
        if form not in plurals.FORMS:
            known = ", ".join(needed)
            raise errors.Invalid(f"{language}: {form[:40]} is not a plural form; write {known}", field=key)
        template(text, key, counts=True, before=f"{language}: the form {form} of the digest ")


# ── choosing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(64)
def read(stored: str) -> Mapping[str, PushTexts]:
    """The stored texts by language, in small letters; {} for what cannot be read."""
    try:
        found = by_language.decode(stored)
    except msgspec.DecodeError:
        return {}
    return {language.lower(): texts for language, texts in found.items()}


def _languages(*wanted: str | None) -> Iterator[str]:
    """The languages in which a text is looked for, in small letters."""
    for language in wanted:
        parts = (language or "").lower().replace("_", "-").split("-")
        for length in range(len(parts), 0, -1):
            yield "-".join(parts[:length])


def joined(own: Own, locale: str | None) -> str:
    """The template of a push about one user, for a recipient with this language."""
    texts = read(own.templates)
    found = (texts[language].joined for language in _languages(locale, own.language) if language in texts)
    return next(filter(None, found), own.template)


def digest(own: Own, locale: str | None, names: Sequence[str], others: int) -> str:
    """The text of a digest: some are named, and `others` are counted."""
    language, forms = _digest(own, locale)
    form = plurals.form(language, others) if language != BUILT_IN_LANGUAGE else ("one" if others == 1 else "other")
    found = forms.get(form) or forms.get(plurals.OTHER) or next(iter(forms.values()))
    named = [shortened(name) for name in names]
    return filled(found, plurals.listed(language, named) if language != BUILT_IN_LANGUAGE else ", ".join(named), others)


def _digest(own: Own, locale: str | None) -> tuple[str, Mapping[str, str]]:
    texts = read(own.templates)
    for language in _languages(locale, own.language):
        if language in texts and texts[language].digest:
            return language, texts[language].digest
    return BUILT_IN_LANGUAGE, BUILT_IN


def filled(text: str, names: str, count: int) -> str:
    """A template with names in place of `%s`, a number in place of `%d`, and a per cent sign in place of `%%`."""
    values = {"%s": names, "%d": str(count), "%%": "%"}
    return PLACE.sub(lambda place: values[place[0]], text)


def shortened(name: str) -> str:
    """A name that leaves room for others."""
    return name if len(name) <= MAX_NAME_CHARACTERS else f"{name[: MAX_NAME_CHARACTERS - 1]}…"
