"""The texts of joined pushes by language, as fields of a form: a panel for each language, which are tabs.

    panels(own, template, texts)   the panels: the application's own language first
    panel(…)                       one of them
    written(form, own)             the setting that the fields stand for
    added(…), removed(…)           the same with another language, or without one

The setting is one JSON text. A form has it as it was when the page was made, beside a field for each text, so that an
edit of one language leaves the others as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .. import errors, plurals, push_texts
from ..app_settings import SETTINGS
from ..push_texts import PushTexts

TEMPLATE, LANGUAGE, TEXTS = "contact_joined_template", "contact_joined_language", "contact_joined_templates"
NAMES = ("Annie", "Bob")
EXAMPLES = 3  # numbers that explain a form


@dataclass(frozen=True, slots=True)
class Form:
    """The field of one plural form of a digest."""

    name: str
    label: str
    text: str
    example: int
    placeholder: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What pushes in a language look like: about one user, and about several; `error` is what prevents it."""

    texts: Sequence[str]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """The fields of one language. The own language has its text in a setting of its own: `field` is that field."""

    code: str
    title: str
    is_own: bool
    field: str
    text: str
    forms: Sequence[Form]
    preview: Preview

    @property
    def id(self) -> str:
        """The id of its section."""
        return f"language-{self.code}"

    @property
    def preview_id(self) -> str:
        """The id of its preview."""
        return "preview" if self.is_own else f"preview-{self.code}"


def panels(own: str, template: str, texts: str) -> list[Panel]:
    """A panel for each language."""
    found = _read(texts)
    mine = next((language for language in found if language.lower() == own.lower()), own)
    others = [_panel(language, one.joined, one, is_own=False) for language, one in found.items() if language != mine]
    return [_panel(mine, template, found.get(mine, PushTexts()), is_own=True), *others]


def panel(form: Mapping[str, str], language: str) -> Panel | None:
    """The panel of one language, with what the form's fields have; None for a language that it has not."""
    own = form.get(LANGUAGE, "")
    shown = panels(own, form.get(TEMPLATE, ""), written(form, own))
    return next((one for one in shown if one.code == language or (one.is_own and not language)), None)


def _panel(language: str, text: str, texts: PushTexts, *, is_own: bool) -> Panel:
    field = TEMPLATE if is_own else f"joined.{language}"
    forms = [_form(language, form, texts.digest.get(form, "")) for form in _shown(language, texts.digest)]
    return Panel(language, _title(language), is_own, field, text, forms, _preview(language, text, forms))


def _title(language: str) -> str:
    name = plurals.name(language)
    return name if name == language else f"{name} ({language})"


def _shown(language: str, digest: Mapping[str, str]) -> list[str]:
    """The forms that the language needs, and others that are there."""
    return [form for form in plurals.FORMS if form in plurals.forms(language) or form in digest]


def _form(language: str, form: str, text: str) -> Form:
    numbers = [number for number in range(1, plurals.MOST) if plurals.form(language, number) == form]
    only = len(plurals.forms(language)) == 1
    shown = "" if only or not numbers else f", with {', '.join(map(str, numbers[:EXAMPLES]))}"
    if shown:
        shown += " … others" if len(numbers) > EXAMPLES else " other" if numbers == [1] else " others"
    built_in = push_texts.BUILT_IN.get(form, "") if language.partition("-")[0] == push_texts.BUILT_IN_LANGUAGE else ""
    return Form(f"digest.{language}.{form}", f"Digest{shown}", text, (numbers or [EXAMPLES])[0], built_in)


def _preview(language: str, text: str, forms: Sequence[Form]) -> Preview:
    try:
        shown = [push_texts.filled(push_texts.template(text, TEXTS), NAMES[0], 0)] if text else []
        for form in forms:
            if used := form.text or form.placeholder:
                push_texts.template(used, TEXTS, counts=True)
                shown.append(push_texts.filled(used, plurals.listed(language, NAMES), form.example))
    except errors.Invalid as refused:
        return Preview((), refused.reason)
    return Preview(shown)


# ── the setting ──────────────────────────────────────────────────────────────────────────────────────────────────────


def written(form: Mapping[str, str], own: str) -> str:
    """The setting that the fields of a form stand for. Fields that are not sent leave their texts as they are."""
    before = form.get(TEXTS, str(SETTINGS[TEXTS].default))
    found = _read(before)
    if not found and before.strip() != "{}":
        return before  # not what our page sends: it is refused with the reason
    for language in found:
        found[language] = _edited(form, language, found[language])
    for language in {name.split(".")[1] for name in form if name.startswith("digest.") and name.count(".") == 2}:
        if language not in found and (one := _edited(form, language, PushTexts())).digest:
            found[language] = one
    mine = [language for language in found if language.lower() == own.lower() and found[language] == PushTexts()]
    return _json({language: one for language, one in found.items() if language not in mine})


def _edited(form: Mapping[str, str], language: str, texts: PushTexts) -> PushTexts:
    joined = form.get(f"joined.{language}", texts.joined)
    digest = {form_: form.get(f"digest.{language}.{form_}", texts.digest.get(form_, "")) for form_ in plurals.FORMS}
    others = {name: text for name, text in texts.digest.items() if name not in plurals.FORMS}
    return PushTexts(joined.strip(), {name: text.strip() for name, text in digest.items() if text.strip()} | others)


def added(texts: str, language: str) -> str:
    """The setting with another language, whose texts are still missing."""
    found = _read(texts)
    if not any(one.lower() == language.lower() for one in found):
        found[language] = PushTexts()
    return _json(found)


def removed(texts: str, language: str) -> str:
    """The setting without a language."""
    return _json({one: texts_ for one, texts_ in _read(texts).items() if one != language})


def _read(texts: str) -> dict[str, PushTexts]:
    try:
        return push_texts.by_language.decode(texts)
    except msgspec.DecodeError:
        return {}


def _json(found: Mapping[str, PushTexts]) -> str:
    shown: dict[str, dict[str, Any]] = {}
    for language, texts in found.items():
        shown[language] = ({"joined": texts.joined} if texts.joined else {}) | (
            {"digest": texts.digest} if texts.digest else {}
        )
    return msgspec.json.encode(shown).decode()
