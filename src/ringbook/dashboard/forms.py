"""Form fields for the settings of an application, made from their declarations (`app_settings.py`).

controls(app, …)      the form fields of some settings, with their values and errors
shown_again(keys)     the settings whose texts a refused form shows again: no secrets
version(call, keys)   identifies the values that a form was made from, so that a late form is noticed
save(call, keys)      saves the settings of a form, all or none; the errors by setting
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .. import errors
from ..app_settings import SETTINGS, Setting
from ..core import applications, settings
from ..model import App
from .endpoint import Call


@dataclass(frozen=True, slots=True)
class Control:
    """The form field of a setting. kind: check, choice, number, area, secret or text."""

    key: str
    kind: str
    label: str
    help: str
    value: Any
    error: str = ""
    options: tuple[tuple[str, str], ...] = ()
    is_set: bool = False  # a secret: has it a value?


def controls(
    app: App, keys: Sequence[str], typed: Mapping[str, str] | None = None, wrong: Mapping[str, str] | None = None
) -> list[Control]:
    """The form fields of these settings.

    typed   what the admin entered, if it was refused
    wrong   the errors by setting
    """
    return [_control(app, SETTINGS[key], typed, (wrong or {}).get(key, "")) for key in keys]


def _control(app: App, declared: Setting, typed: Mapping[str, str] | None, error: str) -> Control:
    kind, stored = KINDS[declared.key], getattr(app.settings, declared.key)
    value = stored if typed is None else typed.get(declared.key, "")
    if kind == "check":
        value = value in (True, "on")
    elif kind == "secret":
        value = ""  # a stored secret is never shown
    return Control(
        key=declared.key,
        kind=kind,
        label=declared.label,
        help=sentence(declared.help),
        value=value,
        error=error,
        options=tuple((one, declared.choices.get(one, one)) for one in declared.values) if kind == "choice" else (),
        is_set=kind == "secret" and stored != declared.default,
    )


def kind_of(declared: Setting) -> str:
    """The kind of form field that a setting needs."""
    if declared.type is bool or set(declared.values) == {"on", "off"}:
        return "check"
    if declared.values:
        return "choice"
    if declared.type is int:
        return "number"
    if declared.secret:
        return "secret"
    return "area" if declared.multiline else "text"


KINDS = {key: kind_of(declared) for key, declared in SETTINGS.items()}


def shown_again(keys: Sequence[str]) -> list[str]:
    """The settings of a refused form whose texts are shown again: no secrets, and no files."""
    return [key for key in keys if not SETTINGS[key].secret and not SETTINGS[key].file]


def sentence(text: str) -> str:
    """A phrase as a sentence: with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + "."


def version(call: Call, keys: Sequence[str]) -> str:
    """A keyed hash of the current values of these settings; it reveals none of them."""
    assert call.login
    values = [getattr(call.app.settings, key) for key in keys]
    return call.login.signature(f"settings {msgspec.json.encode([call.app.id, values]).decode()}")


def save(call: Call, keys: Sequence[str], instead: Mapping[str, str] | None = None) -> dict[str, str]:
    """Save these settings from the form, all or none. Returns the errors by setting, {} if they were saved.

    instead   texts of settings that are composed of several fields

    A setting that the form does not contain stays as it is. Browsers do not send an unticked checkbox, so the page
    sends "off" before each one. A secret that is left empty stays as it is.
    If another admin has changed the settings since the page was loaded, the conflicting ones are errors.
    """
    form, app = call.texts() | dict(instead or {}), call.app
    values, wrong = settings.read_all(_entered(form, keys))
    if form.get("seen", "") not in ("", version(call, keys)):
        wrong |= {key: _conflict(app, key) for key, value in values.items() if value != getattr(app.settings, key)}
    if not wrong:
        try:
            applications.store_settings(call.db, app.id, values, by=call.by)
        except errors.Invalid as refused:
            wrong[refused.field] = refused.reason
    return wrong


def _conflict(app: App, key: str) -> str:
    (control,) = controls(app, [key])
    now = ""
    if control.kind != "secret":
        now = f": it is `{('off', 'on')[control.value] if control.kind == 'check' else control.value}` now"
    return f"Somebody has changed these settings since this page was loaded{now}. Save again to replace it."


def _entered(form: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    """The texts that the form holds, by setting; without those that it leaves as they are."""
    texts = {key: _text(form, SETTINGS[key]) for key in keys}
    return {key: text for key, text in texts.items() if text is not None}


def _text(form: Mapping[str, str], declared: Setting) -> str | None:
    """The text that the form holds for a setting; None if the setting stays as it is."""
    kind, text = KINDS[declared.key], form.get(declared.key)
    if kind == "secret" and form.get(f"{declared.key}_remove"):
        return str(declared.default)
    if text is None or (kind == "secret" and not text.strip()):
        return None
    return text if kind == "area" else text.strip()
