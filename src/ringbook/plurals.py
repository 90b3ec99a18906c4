"""What CLDR says about a language: the plural forms of whole numbers, and how names are listed.

    FORMS                the names of all plural forms, in CLDR's order
    forms(language)      those that whole numbers from 1 to MOST need
    form(language, n)    the one of a number
    listed(language, …)  names, one after the other
    name(language)       what its speakers call it

A language that CLDR does not know is taken for its parent (`de-XX` for `de`), else for one with a single form. The
library is imported at the first call, and what it has read of a language is dropped: it takes 1.4 MB for each.

Source: Unicode CLDR, "Language plural rules"; UTS 35 part 2, "List patterns".
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

FORMS = ("zero", "one", "two", "few", "many", "other")
OTHER = FORMS[-1]
MOST = 1_000  # every form that a smaller number than a million needs is needed by one up to here
KEPT = 256  # languages


class Language(NamedTuple):
    """What is kept of a language."""

    form: Callable[[int], str]
    pattern: str
    name: str


def forms(language: str) -> tuple[str, ...]:
    """The forms that whole numbers need, in CLDR's order."""
    return _forms(language)


@lru_cache(KEPT)
def _forms(language: str) -> tuple[str, ...]:
    form = _of(language).form
    needed = {form(number) for number in range(1, MOST + 1)}
    return tuple(name for name in FORMS if name in needed)


def form(language: str, number: int) -> str:
    """The form of a number."""
    return _of(language).form(number)


def listed(language: str, names: Sequence[str]) -> str:
    """Names as the middle of a list, such as `Annie, Bob`."""
    before, _, rest = _of(language).pattern.partition("{0}")
    between, _, after = rest.partition("{1}")
    return before + between.join(names) + after


def name(language: str) -> str:
    """The language's own name for itself; the code where it is not known."""
    return _of(language).name


@lru_cache(KEPT)
def _of(language: str) -> Language:
    found = _locale(language)
    if not found:
        return Language(lambda _: OTHER, "{0}, {1}", language)
    pattern = found.list_patterns.get("standard", {}).get("middle", "{0}, {1}")
    known = Language(found.plural_form, str(pattern), str(found.get_display_name() or language))
    _forget()
    return known


def _locale(language: str) -> Any:
    """The library's locale, or that of the nearest parent."""
    from babel import Locale, UnknownLocaleError

    parts = language.split("-")
    for length in range(len(parts), 0, -1):
        try:
            return Locale.parse("-".join(parts[:length]), sep="-")
        except (ValueError, UnknownLocaleError):
            continue
    return None


def _forget() -> None:
    from babel import localedata

    localedata.clear_caches()
