"""Converts the server's JSON answers to values of `model`.

    Answer                      the status, headers and body of an answer
    json_of(answer)             the JSON of a successful answer; raises the refusal otherwise
    refusal(answer)             the exception for an unsuccessful answer
    printable(text)             a text that a terminal may show
    session, user, …            convert one JSON object to one value

An answer that does not have the documented form raises `BadAnswer`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from . import errors
from .model import (
    CodeSent,
    Contact,
    Joined,
    JoinedPage,
    JoinedSettings,
    NewlyRegistered,
    Registered,
    Session,
    Subscription,
    User,
    UserPage,
)

SUCCESS_STATUSES = (200, 201, 202)
OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories that change what a terminal does or shows
HARMLESS = "\u200c\u200d\u200e\u200f\u061c"  # joiners and marks that names in many scripts need
# The wire format has no error codes: the server's documented texts identify these two causes.
SESSION_EXPIRED = "Required session does not exist"
UNKNOWN_APPLICATION = "No application found"
ERROR_BY_STATUS: dict[int, type[errors.Refused]] = {
    400: errors.Malformed,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    422: errors.Invalid,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def json_of(answer: Answer) -> Any:
    """The JSON of a successful answer; None for an empty body. Raises the refusal otherwise."""
    if answer.status not in SUCCESS_STATUSES:
        raise refusal(answer)
    if not answer.body.strip():
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise errors.BadAnswer("the answer is not JSON: check that the address is one of a Ringbook server") from None


def refusal(answer: Answer) -> errors.RingbookError:
    """The exception for an unsuccessful answer. A 429 or 5xx may come from a proxy, so its body may have any form."""
    status, reasons_by_field = answer.status, reasons(answer.body)
    if status == 429:
        return errors.TooMany(status, reasons_by_field, wait_seconds(answer.headers))
    if status >= 500:
        return errors.ServerTrouble(status, reasons_by_field, wait_seconds(answer.headers))
    if not reasons_by_field or status not in ERROR_BY_STATUS:
        return errors.BadAnswer(f"the answer (status {status}) is not one of a Ringbook server: check the address")
    if status == 401 and SESSION_EXPIRED in reasons_by_field.get("base", ()):
        return errors.SessionExpired(status, reasons_by_field)
    if status == 422 and UNKNOWN_APPLICATION in reasons_by_field.get("base", ()):
        return errors.UnknownApplication(status, reasons_by_field)
    return ERROR_BY_STATUS[status](status, reasons_by_field)


def reasons(body: bytes) -> dict[str, list[str]]:
    """Read `{"errors": […]}` or `{"errors": {"field": […]}}`: texts by field; empty if the body has another form."""
    try:
        reasons_by_field = json.loads(body)["errors"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    if isinstance(reasons_by_field, list):
        reasons_by_field = {"base": reasons_by_field}
    if not isinstance(reasons_by_field, dict):
        return {}
    return {
        printable(field): list(printable_texts(messages))
        for field, messages in reasons_by_field.items()
        if isinstance(messages, list)
    }


def printable_texts(given: Any) -> tuple[str, ...]:
    """Each item of a list as a printable text."""
    return tuple(printable(str(text)) for text in given)


def printable(text: str) -> str:
    """The text with `?` for each character that a terminal would obey: escape sequences, line breaks, bidi overrides.

    Letters of all scripts, combining marks, emoji, blanks of any width and right-to-left text stay as they are.
    """
    return "".join("?" if unicodedata.category(char) in OBEYED and char not in HARMLESS else char for char in text)


def wait_seconds(headers: Mapping[str, str]) -> float | None:
    """The wait in seconds that `Retry-After` gives, as seconds or as a date; None if it is missing or invalid."""
    given = headers.get("retry-after", "").strip()
    if given.isdecimal():
        return float(given)
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


# ── one JSON object to one value ─────────────────────────────────────────────────────────────────────────────────────


def session(given: Any) -> Session:
    """Read `{"session": …}`. In a session without a user, QuickBlox servers send the user id 0."""
    item = given["session"]
    return Session(
        id=int(item["id"]),
        token=_valid_token(item["token"]),
        app_id=int(item["application_id"]),
        user_id=item["user_id"] or None,
        user=_user(item["user"]) if item.get("user") else None,
        created_at=_time_or_none(item.get("created_at")),
        updated_at=_time_or_none(item.get("updated_at")),
    )


def code_sent(given: Any) -> CodeSent:
    """Read `{"verification": …}`."""
    item = given["verification"]
    return CodeSent(str(item["request_id"]), _time(item["expires_at"]), _time(item["resend_at"]))


def user(given: Any) -> User:
    """Read `{"user": …}`."""
    return _user(given["user"])


def user_page(given: Any) -> UserPage:
    """Read a page of /users/v2, whose users are not wrapped in `{"user": …}`."""
    users = tuple(_user(item) for item in given["items"])
    return UserPage(users, total=int(given["total_entries"]), offset=int(given["skip"]), limit=int(given["limit"]))


def address_book(given: Any) -> list[Contact]:
    """Read a list of `{"name": …, "phone": …}`."""
    return [Contact(str(item["name"]), str(item["phone"])) for item in given]


def registered(given: Any, *, compact: bool) -> list[Registered]:
    """Read `{"items": [{"user": …}]}`."""
    return [_registered(item["user"], compact) for item in given["items"]]


def newly_registered(given: Any, *, compact: bool) -> NewlyRegistered:
    """Read `{"items": [{"user": …}], "next": …}`."""
    return NewlyRegistered(tuple(registered(given, compact=compact)), str(given["next"]))


def joined(given: Any) -> JoinedPage:
    """Read `{"items": […], "next": …, "unseen": …}`."""
    return JoinedPage(tuple(_joined(item) for item in given["items"]), str(given["next"]), int(given["unseen"]))


def unseen(given: Any) -> int:
    """Read `{"unseen": …}`."""
    return int(given["unseen"])


def joined_settings(given: Any) -> JoinedSettings:
    """Read the settings. Quiet hours are `{"from": …, "to": …}`."""
    quiet = given["quiet"]
    return JoinedSettings(
        announce=str(given["announce"]),
        discoverable=str(given["discoverable"]),
        notify=bool(given["notify"]),
        quiet=(str(quiet["from"]), str(quiet["to"])) if quiet else None,
        time_zone=given["time_zone"],
        digest=int(given["digest"]),
        locale=given["locale"],
    )


def subscriptions(given: Any) -> list[Subscription]:
    """Read a list of `{"subscription": …}`."""
    return [_subscription(item["subscription"]) for item in given]


def _registered(item: Any, compact: bool) -> Registered:
    profile = None if compact else _user(item)
    return Registered(int(item["id"]), str(item.get("address_book_name") or ""), item.get("phone"), profile)


def _joined(item: Any) -> Joined:
    user = item["user"]
    return Joined(
        id=int(item["id"]),
        user_id=int(user["id"]),
        name=item["address_book_name"],
        phone=user["phone"],
        full_name=user["full_name"],
        created_at=_time(item["created_at"]),
        seen=bool(item["seen"]),
    )


def _user(item: Any) -> User:
    given: dict[str, Any] = {name: item.get(name) for name in UNCHANGED_FIELDS}
    given |= {name: _time_or_none(item.get(name)) for name in TIME_FIELDS}
    tags = tuple(filter(None, (item.get("user_tags") or "").split(",")))
    return User(id=int(item["id"]), tags=tags, is_guest=bool(item.get("is_guest")), **given)


UNCHANGED_FIELDS = (
    *("login", "email", "full_name", "phone", "website", "avatar", "custom_data", "timezone"),
    *("external_id", "external_user_id", "facebook_id", "twitter_id"),
)
TIME_FIELDS = ("created_at", "updated_at", "last_request_at")


def _subscription(item: Any) -> Subscription:
    return Subscription(
        id=int(item["id"]),
        channel=str(item["notification_channel"]["name"]),
        device=str(item["device"]["udid"]),
        platform=str(item["device"]["platform"]["name"]),
        environment=str(item.get("environment") or "production"),
        bundle=item.get("bundle_identifier"),
    )


def _valid_token(token: str) -> str:
    """The token, if a header can hold it; raises ValueError otherwise."""
    if not (token.isascii() and token.isprintable()):
        raise ValueError("the token contains characters that a header cannot hold")
    return token


def _time_or_none(text: str | None) -> datetime | None:
    return _time(text) if text else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
