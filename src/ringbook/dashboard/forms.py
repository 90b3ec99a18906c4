"""Settings of an application as controls of a form. What each accepts, `core/settings.py` says; nothing is said twice.

controls(app, …)   the controls of some settings, with their values and what is wrong with them
version(call, keys)   what a form carries, so that it does not undo what somebody else has changed meanwhile
save(call, keys)   take them over from a form, all or none; what is wrong with each, {} when nothing is
"""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .. import errors
from ..core import applications, settings
from ..model import App, AppSettings
from .endpoint import Call

# How the settings of `settings.CARDS` are called. Those of push providers stand in forms of their own.
LABELS = {
    "session_creates_user": "An unknown login makes a new user",
    "users_v1_list": "Users may list all users, the V1 way",
    "default_region": "Default region",
    "profiles": "Who sees a user's phone and e-mail",
    "require_verified_number": "Verified numbers only",
    "reassigned_after_days": "Days until a silent number is reassigned",
    "firebase_project_id": "Firebase project id",
    "cidp_url": "Address of your identity provider",
    "cidp_request": "Parameters of the request",
    "cidp_response": "Where the answer holds what",
    "sms_gateway": "Gateway",
    "sms_regions": "Countries that codes are sent to",
    "sms_daily_cap": "Codes a day at most",
    "sms_text": "Text of the message",
    "sms_gateway_url": "Gateway address",
    "sms_gateway_method": "Method",
    "sms_gateway_headers": "Headers",
    "sms_gateway_body": "Body",
    "sms_twilio_account_sid": "Twilio account SID",
    "sms_twilio_auth_token": "Twilio auth token",
    "sms_twilio_from": "Twilio sender",
    "contact_joined_enabled": "Tell users when one of their contacts joins",
    "contact_joined_template": "Push notification template",
    "contact_joined_development": "Also to development subscriptions",
    "contact_joined_fcm_notification": "System notification on Android",
    "events": "Users send pushes to each other",
    "push_console": "Print pushes instead of sending them",
}
AREAS = {"contact_joined_template", "cidp_request", "cidp_response", "sms_gateway_headers", "sms_gateway_body"}
CHOICES = {
    "known": "those who hold the number in a book",
    "open": "everybody",
    "auto": "from the first verified number on",
    "on": "on",
    "off": "off",
    "console": "console (for development)",
    "http": "HTTP gateway",
    "twilio": "Twilio",
    "": "none",
}


@dataclass(frozen=True, slots=True)
class Control:
    """A setting in a form. kind: check, choice, number, area, secret or text."""

    key: str
    kind: str
    label: str
    help: str
    value: Any
    error: str = ""
    options: tuple[tuple[str, str], ...] = ()
    is_set: bool = False  # a secret: is there one?


def controls(
    app: App, keys: Sequence[str], given: Mapping[str, str] | None = None, wrong: Mapping[str, str] | None = None
) -> list[Control]:
    """The controls of these settings.

    given, wrong   what was sent and not taken over, and why
    """
    return [_control(app, key, given, (wrong or {}).get(key, "")) for key in keys]


def _control(app: App, key: str, given: Mapping[str, str] | None, error: str) -> Control:
    field = msgspec.structs.fields(AppSettings)[AppSettings.__struct_fields__.index(key)]
    plain, meta = typing.get_args(field.type)
    kind, options = _kind(key, plain, meta)
    present = getattr(app.settings, key)
    value = present if given is None else given.get(key, "")
    if kind == "check":
        value = value in (True, "on")
    elif kind == "secret":
        value = ""  # it is never shown again
    is_set = kind == "secret" and present != field.default
    return Control(key, kind, label(key), _sentence(meta.description), value, error, options, is_set)


def label(key: str) -> str:
    """How a setting is called."""
    return LABELS[key]


def _kind(key: str, plain: Any, meta: msgspec.Meta) -> tuple[str, tuple[tuple[str, str], ...]]:
    if choices := typing.get_args(plain):
        if set(choices) == {"on", "off"}:
            return "check", ()
        return "choice", tuple((one, CHOICES.get(one, one)) for one in choices)
    if plain is bool:
        return "check", ()
    if plain is int:
        return "number", ()
    if (meta.extra or {}).get("secret"):
        return "secret", ()
    return ("area" if key in AREAS else "text"), ()


def _sentence(text: str) -> str:
    """A meaning as a sentence; what is only for the command line is left out."""
    text = text.replace(", @FILE", "").removeprefix("http: ").removeprefix("twilio: ")
    return text[:1].upper() + text[1:] + "."


def version(call: Call, keys: Sequence[str]) -> str:
    """A sign of what these settings are; it tells nothing of their values."""
    assert call.login
    values = [getattr(call.app.settings, key) for key in keys]
    return call.login.signature(f"settings {msgspec.json.encode([call.app.id, values]).decode()}")


def save(call: Call, keys: Sequence[str]) -> dict[str, str]:
    """Take these settings over from the form, all or none: what is wrong with each, {} when nothing is.

    A box that is not ticked is not in a form: it means off. A secret that is left empty stays as it is. Where somebody
    else has changed one since the page was made, what would be changed is shown beside what it is now.
    """
    given = {one.key: _given(call, one) for one in controls(call.app, keys)}
    values = {key: value for key, value in given.items() if value is not None}
    is_late = call.text("seen") not in ("", version(call, keys))
    wrong = {}
    for key, value in values.items():
        try:
            wished = settings.read(key, value)
        except errors.Invalid as refused:
            wrong[key] = refused.reason
        else:
            if is_late and wished != getattr(call.app.settings, key):
                wrong[key] = _meanwhile(call.app, key)
    if not wrong:
        try:
            applications.change_all(call.db, call.app.id, values, by=call.by)
        except errors.Invalid as refused:
            wrong[refused.field] = refused.reason
    return wrong


def _meanwhile(app: App, key: str) -> str:
    (one,) = controls(app, [key])
    now = (
        ""
        if one.kind == "secret"
        else f": it is `{('off', 'on')[one.value] if one.kind == 'check' else one.value}` now"
    )
    return f"Somebody has changed these settings since this page was loaded{now}. Save again to replace it."


def _given(call: Call, control: Control) -> str | None:
    """What a form says of a setting; None when it leaves it as it is."""
    if control.kind == "check":
        return "on" if call.text(control.key) else "off"
    if control.kind == "secret" and call.text(f"{control.key}_remove"):
        return _default(control.key)
    text = call.text(control.key)
    if control.key not in call.form or (control.kind == "secret" and not text.strip()):
        return None
    return text if control.kind == "area" else text.strip()


def _default(key: str) -> str:
    return str(msgspec.structs.fields(AppSettings)[AppSettings.__struct_fields__.index(key)].default)
