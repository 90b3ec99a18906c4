"""The fields of a user's profile and their rules. Pure.

    Fields      the values that an app sends
    columns     checks the values and turns them into columns of `users`

Source: protocol.md §3.2. Where it names no limit, the limit is ours (`MOST_CHARACTERS`).
"""

import re
from collections.abc import Mapping
from typing import Any, TypedDict, cast

from .. import errors
from ..store.users import fold
from . import privacy

MOST_TAGS = 5
MIN_LOGIN_CHARACTERS = 3
DAY_MINUTES = 24 * 60
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# The most characters of each text. Except for the login's these are ours: protocol §3.2 names none.
MOST_CHARACTERS = {
    "login": 70,
    "email": 254,
    "full_name": 255,
    "phone": 64,
    "external_id": 255,
    "facebook_id": 255,
    "twitter_id": 255,
    "website": 2_000,
    "avatar": 2_000,
    "custom_data": 20_000,
}
TAG_CHARACTERS = 64


class Fields(TypedDict, total=False):
    """The values that an app sends. A field that is absent stays as it is; None or a blank text removes the value."""

    login: str | None
    email: str | None
    password: str | None
    old_password: str | None
    phone: str | None
    full_name: str | None
    external_id: str | None
    external_user_id: int | None
    facebook_id: str | None
    twitter_id: str | None
    website: str | None
    avatar: str | None
    custom_data: str | None
    timezone: int | None
    tag_list: list[str] | None


def columns(fields: Fields) -> dict[str, Any]:
    """The columns to write for these fields, trimmed, checked and folded. Passwords are left out.

    Raises Invalid with the field's name. Texts have at most `MOST_CHARACTERS`; a user has at most 5 tags of 64.
    Source: protocol §3.2.
    """
    said = cast(Mapping[str, Any], fields)
    values: dict[str, Any] = {name: _text(name, said[name]) for name in MOST_CHARACTERS if name in said}
    values |= _login(values) | _email(values) | _website(values) | _full_name(values)
    if "tag_list" in said:
        values["user_tags"] = _tags(said["tag_list"] or [])
    if "timezone" in said:
        values["timezone"] = _timezone(said["timezone"])
    if "external_user_id" in said:
        values["external_user_id"] = said["external_user_id"]
    return values


def _text(name: str, text: str | None) -> str | None:
    trimmed = (text or "").strip()
    if len(trimmed) > MOST_CHARACTERS[name]:
        raise errors.Invalid(f"is too long (maximum is {MOST_CHARACTERS[name]} characters)", field=name)
    return trimmed or None


def _login(values: Mapping[str, Any]) -> dict[str, Any]:
    if "login" not in values:
        return {}
    login = values["login"]
    if login is None:
        return {"login_folded": None, "login_private": 0}
    if len(login) < MIN_LOGIN_CHARACTERS:
        raise errors.Invalid(f"is too short (minimum is {MIN_LOGIN_CHARACTERS} characters)", field="login")
    return {"login_folded": fold(login), "login_private": int(privacy.is_private(login))}


def _email(values: Mapping[str, Any]) -> dict[str, Any]:
    if "email" not in values:
        return {}
    email = values["email"]
    if email is not None and not EMAIL.fullmatch(email):
        raise errors.Invalid("must be an e-mail address", field="email")
    return {"email_folded": email and fold(email)}


def _website(values: Mapping[str, Any]) -> dict[str, Any]:
    website = values.get("website")
    if not website:
        return {}
    scheme = SCHEME.match(website)
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise errors.Invalid("must be an http or https address", field="website")
    return {} if scheme else {"website": f"http://{website}"}


def _full_name(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"full_name_folded": values["full_name"] and fold(values["full_name"])} if "full_name" in values else {}


def _tags(tags: list[str]) -> str | None:
    """The tags as one text, divided by commas. Tags that differ only in case count as one."""
    each = {fold(tag): tag.strip() for tag in reversed(tags) if tag.strip()}
    if len(each) > MOST_TAGS:
        raise errors.Invalid(f"has more than {MOST_TAGS} tags", field="tag_list")
    if any("," in tag or len(tag) > TAG_CHARACTERS for tag in each.values()):
        raise errors.Invalid(f"has a tag with a comma or of more than {TAG_CHARACTERS} characters", field="tag_list")
    return ",".join(reversed(each.values())) or None


def _timezone(minutes: int | None) -> int | None:
    if minutes is not None and abs(minutes) > DAY_MINUTES:
        raise errors.Invalid("must be minutes, a day of them at most", field="timezone")
    return minutes
