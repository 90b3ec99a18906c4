"""Reads an application's settings from text and describes their changes.

    read(key, text)               the value of a setting, from its text; Invalid says what it accepts
    read_all(texts)               the values of several settings, and the errors by setting
    change_text(key, old, new)    a change in words, for the audit log

The settings are declared in `app_settings.py`.
"""

from collections.abc import Mapping
from typing import Any

from .. import errors
from ..app_settings import SETTINGS, Setting

BOOLEANS = {"on": True, "true": True, "1": True, "yes": True, "off": False, "false": False, "0": False, "no": False}
MAX_DIGITS = 9


def read(key: str, text: str) -> Any:
    """The value of a setting, from its text: checked by the declared check and the declared type."""
    declared = SETTINGS.get(key)
    if not declared:
        raise errors.Invalid(f"there is no setting {key}; there are {', '.join(SETTINGS)}", field=key)
    if not _is_utf8(text):
        raise errors.Invalid("must be text in UTF-8", field=key)
    return _typed(declared, declared.check(text, key) if declared.check else text)


def read_all(texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of several settings from their texts, and the errors by setting."""
    values, wrong = {}, {}
    for key, text in texts.items():
        try:
            values[key] = read(key, text)
        except errors.Invalid as refused:
            wrong[key] = refused.reason
    return values, wrong


def _typed(declared: Setting, text: str) -> Any:
    if declared.type is bool:
        if text.lower() not in BOOLEANS:
            raise errors.Invalid("must be true or false", field=declared.key)
        return BOOLEANS[text.lower()]
    if declared.type is int:
        if not (text.isascii() and text.isdigit()):
            raise errors.Invalid("must be a whole number, 0 or more", field=declared.key)
        if len(text) > MAX_DIGITS:
            raise errors.Invalid(f"must have at most {MAX_DIGITS} digits", field=declared.key)
        return int(text)
    if declared.values and text not in declared.values:
        raise errors.Invalid(f"must be {declared.accepts}", field=declared.key)
    return text


def change_text(key: str, old: Any, new: Any) -> str:
    """A change of a setting in words. The values of a text are shown only if its declaration says `quoted`."""
    declared = SETTINGS[key]
    if declared.type is str and not declared.quoted:
        if new == declared.default:
            return "as it is by default" if declared.default else "no longer set"
        return "replaced" if old != declared.default else "set"
    return f"{_quoted(old)} → {_quoted(new)}"


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"“{value}”" if value else "empty"
    return str(value)


def _is_utf8(text: str) -> bool:
    """Can the text be encoded? Python turns a byte of the command line that is not UTF-8 into half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
