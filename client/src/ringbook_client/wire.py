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

SUCCESS = (200, 201, 202)
GONE = "Required session does not exist"
KINDS: dict[int, type[errors.Refused]] = {
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


def opened(answer: Answer) -> Any:
    """The JSON of a success, None for an empty body."""
    if answer.status not in SUCCESS:
        raise refusal(answer)
    if not answer.body.strip():
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise errors.BadAnswer("the answer is no JSON: is this the address of a Ringbook server?") from None


def refusal(answer: Answer) -> errors.RingbookError:
    """Why the server said no. 429 and 5xx count as such whoever wrote the body: a proxy may have."""
    status, why = answer.status, reasons(answer.body)
    if status == 429:
        return errors.TooMany(status, why, wait_seconds(answer.headers))
    if status >= 500:
        return errors.ServerTrouble(status, why, wait_seconds(answer.headers))
    if not why or status not in KINDS:
        return errors.BadAnswer(f"status {status}, but not as a Ringbook server answers: is this its address?")
    if status == 401 and GONE in why.get("base", ()):
        return errors.SessionExpired(status, why)
    return KINDS[status](status, why)


def reasons(body: bytes) -> dict[str, list[str]]:
    """`{"errors": […]}` and `{"errors": {"field": […]}}` alike; empty if the body is neither."""
    try:
        why = json.loads(body)["errors"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    if isinstance(why, list):
        why = {"base": why}
    if not isinstance(why, dict):
        return {}
    return {plain(field): list(texts(told)) for field, told in why.items() if isinstance(told, list)}


def texts(given: Any) -> tuple[str, ...]:
    """A list of texts that people read."""
    return tuple(plain(str(text)) for text in given)


def plain(text: str) -> str:
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
    one = given["session"]
    return Session(
        id=int(one["id"]),
        token=_sendable(one["token"]),
        app_id=int(one["application_id"]),
        user_id=one["user_id"] or None,
        user=_user(one["user"]) if one.get("user") else None,
        created_at=_date(one.get("created_at")),
        updated_at=_date(one.get("updated_at")),
    )


def code_sent(given: Any) -> CodeSent:
    """`{"verification": …}`."""
    one = given["verification"]
    return CodeSent(str(one["request_id"]), _instant(one["expires_at"]), _instant(one["resend_at"]))


def user(given: Any) -> User:
    """`{"user": …}`."""
    return _user(given["user"])


def user_page(given: Any) -> UserPage:
    """A page of /users/v2: users that are not wrapped."""
    users = tuple(_user(one) for one in given["items"])
    return UserPage(users, total=int(given["total_entries"]), offset=int(given["skip"]), limit=int(given["limit"]))


def address_book(given: Any) -> list[Contact]:
    """A bare list of names and phones."""
    return [Contact(str(one["name"]), str(one["phone"])) for one in given]


def registered(given: Any, *, compact: bool) -> list[Registered]:
    """`{"items": [{"user": …}]}`."""
    return [_registered(one["user"], compact) for one in given["items"]]


def subscriptions(given: Any) -> list[Subscription]:
    """A bare list of `{"subscription": …}`."""
    return [_subscription(one["subscription"]) for one in given]


def _registered(one: Any, compact: bool) -> Registered:
    profile = None if compact else _user(one)
    return Registered(int(one["id"]), str(one.get("address_book_name") or ""), one.get("phone"), profile)


def _user(one: Any) -> User:
    given: dict[str, Any] = {name: one.get(name) for name in AS_THEY_ARE}
    given |= {name: _date(one.get(name)) for name in DATES}
    tags = tuple(filter(None, (one.get("user_tags") or "").split(",")))
    return User(id=int(one["id"]), tags=tags, is_guest=bool(one.get("is_guest")), **given)


AS_THEY_ARE = (
    *("login", "email", "full_name", "phone", "website", "avatar", "custom_data", "timezone"),
    *("external_id", "external_user_id", "facebook_id", "twitter_id"),
)
DATES = ("created_at", "updated_at", "last_request_at")


def _subscription(one: Any) -> Subscription:
    return Subscription(
        id=int(one["id"]),
        channel=str(one["notification_channel"]["name"]),
        device=str(one["device"]["udid"]),
        platform=str(one["device"]["platform"]["name"]),
        environment=str(one.get("environment") or "production"),
        bundle=one.get("bundle_identifier"),
    )


def _sendable(token: str) -> str:
    """A token that can go into a header."""
    if not (token.isascii() and token.isprintable()):
        raise ValueError("no token")
    return token


def _date(text: str | None) -> datetime | None:
    return _instant(text) if text else None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
