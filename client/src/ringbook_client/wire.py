"""How the server spells its answers: JSON → our nouns.

    Answer                      a status, headers and body, as they came
    opened(answer)              the JSON of a success; a refusal is raised
    refusal(answer)             why the server said no, as an exception
    session, user, contact, …   one JSON object → one value

What does not fit is a `BadAnswer`: nothing half-read goes further.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from . import errors
from .model import CodeSent, Contact, Registered, Session, Subscription, User, UserPage

SUCCESS_STATUSES = (200, 201, 202)
SESSION_EXPIRED = "Required session does not exist"
ERROR_BY_STATUS: dict[int, type[errors.Refused]] = {
    400: errors.Malformed,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    422: errors.Invalid,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def json_of(answer: Answer) -> Any:
    """The JSON of a success, None for an empty body."""
    if answer.status not in SUCCESS_STATUSES:
        raise refusal(answer)
    if not answer.body.strip():
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise errors.BadAnswer("the answer is no JSON: is this the address of a Ringbook server?") from None


def refusal(answer: Answer) -> errors.RingbookError:
    """Why the server said no. 429 and 5xx count as such whoever wrote the body: a proxy may have."""
    status, reasons_by_field = answer.status, reasons(answer.body)
    if status == 429:
        return errors.TooMany(status, reasons_by_field, wait_seconds(answer.headers))
    if status >= 500:
        return errors.ServerTrouble(status, reasons_by_field, wait_seconds(answer.headers))
    if not reasons_by_field or status not in ERROR_BY_STATUS:
        return errors.BadAnswer(f"status {status}, but not as a Ringbook server answers: is this its address?")
    if status == 401 and SESSION_EXPIRED in reasons_by_field.get("base", ()):
        return errors.SessionExpired(status, reasons_by_field)
    return ERROR_BY_STATUS[status](status, reasons_by_field)


def reasons(body: bytes) -> dict[str, list[str]]:
    """`{"errors": […]}` and `{"errors": {"field": […]}}` alike; empty if the body is neither."""
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
    """A list of texts that people read."""
    return tuple(printable(str(text)) for text in given)


def printable(text: str) -> str:
    """A text of the server's on one line, without what could move a terminal's cursor or change its colours."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def wait_seconds(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` says, as seconds or as a date."""
    given = headers.get("retry-after", "").strip()
    if given.isdecimal():
        return float(given)
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


# ── one object, one value ────────────────────────────────────────────────────────────────────────────────────────────


def session(given: Any) -> Session:
    """`{"session": …}`. QuickBlox says 0 where there is no user."""
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
    """`{"verification": …}`."""
    item = given["verification"]
    return CodeSent(str(item["request_id"]), _time(item["expires_at"]), _time(item["resend_at"]))


def user(given: Any) -> User:
    """`{"user": …}`."""
    return _user(given["user"])


def user_page(given: Any) -> UserPage:
    """A page of /users/v2: users that are not wrapped."""
    users = tuple(_user(item) for item in given["items"])
    return UserPage(users, total=int(given["total_entries"]), offset=int(given["skip"]), limit=int(given["limit"]))


def address_book(given: Any) -> list[Contact]:
    """A bare list of names and phones."""
    return [Contact(str(item["name"]), str(item["phone"])) for item in given]


def registered(given: Any, *, compact: bool) -> list[Registered]:
    """`{"items": [{"user": …}]}`."""
    return [_registered(item["user"], compact) for item in given["items"]]


def subscriptions(given: Any) -> list[Subscription]:
    """A bare list of `{"subscription": …}`."""
    return [_subscription(item["subscription"]) for item in given]


def _registered(item: Any, compact: bool) -> Registered:
    profile = None if compact else _user(item)
    return Registered(int(item["id"]), str(item.get("address_book_name") or ""), item.get("phone"), profile)


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
    """A token that can go into a header."""
    if not (token.isascii() and token.isprintable()):
        raise ValueError("no token")
    return token


def _time_or_none(text: str | None) -> datetime | None:
    return _time(text) if text else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
