"""Describes each call of the API: its request, and how to read the answer. Nothing is sent here.

    App, Request, Call      the application; an HTTP request; a request with the function that reads its answer
    create_session, get_session, delete_session, delete_other_sessions, send_code, log_in, log_out
    sign_up, get_user, find_user, get_users, update_user, delete_user
    upload_address_book, get_address_book, get_registered_users, registered_since
    joined, mark_seen, joined_settings, update_joined_settings
    create_subscription, create_web_subscription, get_subscriptions, delete_subscription
    send_push

`retries.py` decides what happens to a call that fails; `Client` and `AsyncClient` send it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from . import errors, wire
from .model import (
    CodeSent,
    Contact,
    JoinedPage,
    JoinedSettings,
    NewlyRegistered,
    Registered,
    Rejected,
    Removal,
    Report,
    Session,
    Subscription,
    User,
    UserPage,
)
from .proofs import Guest, Proof

T = TypeVar("T")
PAGE_SIZE = 100  # the most users that one page can have
Entry = Contact | Removal
FilterValue = str | int | Sequence[str] | Sequence[int]


@dataclass(frozen=True, slots=True)
class App:
    """An application; on the server, `ringbook app show ID --secrets` shows both values."""

    id: int
    auth_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. `query` holds the parameters in order; `body` is sent as JSON."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and the function that reads its answer.

    read            converts the JSON of a successful answer to the caller's result
    repeatable      sending the request twice has the same effect as sending it once
    needs_session   the session token is sent with the request
    """

    request: Request
    read: Callable[[Any], T]
    repeatable: bool = True
    needs_session: bool = True

    def result(self, answer: wire.Answer) -> T:
        """The caller's result. Raises the refusal, or BadAnswer if the answer does not have the documented form."""
        given = wire.json_of(answer)
        try:
            return self.read(given)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            raise errors.BadAnswer(
                f"the answer to {self.request.method} {self.request.path} is not in the documented form"
            ) from None


def _no_result(given: Any) -> None:
    return None


def _udid_query(device: str | None) -> tuple[tuple[str, str], ...]:
    return (("udid", device),) if device else ()


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def create_session(app: App, proof: Proof | None) -> Call[Session]:
    """A session of the user whom the proof identifies, or of the application. A second session does no harm, but a
    second guest session would create a second user."""
    body = {"application_id": app.id, "auth_key": app.auth_key, **(proof.to_json() if proof else {})}
    repeatable = not isinstance(proof, Guest)
    return Call(Request("POST", "/session", body=body), wire.session, repeatable=repeatable, needs_session=False)


def get_session() -> Call[Session]:
    return Call(Request("GET", "/session"), wire.session)


def delete_session() -> Call[None]:
    return Call(Request("DELETE", "/session"), _no_result, repeatable=False)


def delete_other_sessions() -> Call[None]:
    return Call(Request("DELETE", "/session/list"), _no_result)


def send_code(app: App, phone: str) -> Call[CodeSent]:
    """Send a one-time code to this number. Each message costs money, so the request is not repeated."""
    body = {"application_id": app.id, "auth_key": app.auth_key, "provider": "phone", "phone": {"number": phone}}
    return Call(Request("POST", "/session", body=body), wire.code_sent, repeatable=False, needs_session=False)


def log_in(proof: Proof) -> Call[User]:
    """Make this user the user of the current session."""
    given = proof.to_json()
    return Call(Request("POST", "/login", body={**given.pop("user", {}), **given}), wire.user)


def log_out() -> Call[None]:
    return Call(Request("DELETE", "/login"), _no_result)


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign_up(app: App, profile: Mapping[str, Any]) -> Call[User]:
    request = Request("POST", "/users", body={"user": _profile_json(profile)}, headers={"CB-AuthKey": app.auth_key})
    return Call(request, wire.user, repeatable=False, needs_session=False)


def get_user(user_id: int) -> Call[User]:
    return Call(Request("GET", f"/users/{user_id}"), wire.user)


USER_PATHS = {
    "login": "/users/by_login",
    "email": "/users/by_email",
    "phone": "/users/by_phone",
    "facebook_id": "/users/by_facebook_id",
    "twitter_id": "/users/by_twitter_id",
    "external_id": "/users/external/",
}


def find_user(**by: str | None) -> Call[User]:
    """Find a user by exactly one of the fields in `USER_PATHS`."""
    given = {name: value for name, value in by.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(USER_PATHS)}")
    ((name, value),) = given.items()
    if name == "external_id":
        return Call(Request("GET", USER_PATHS[name] + quote(value, safe="")), wire.user)
    return Call(Request("GET", USER_PATHS[name], ((name, value),)), wire.user)


def get_users(filters: Mapping[str, FilterValue], *, limit: int, offset: int, sort: str | None) -> Call[UserPage]:
    """`sort` is a field name; a leading `-` sorts in descending order."""
    query = [pair for name, value in filters.items() for pair in _filter_query(name, value)]
    if sort:
        query.append(("sort_desc" if sort.startswith("-") else "sort_asc", sort.lstrip("-")))
    query += [("limit", str(limit))] if limit != PAGE_SIZE else []
    query += [("offset", str(offset))] if offset else []
    return Call(Request("GET", "/users/v2", tuple(query)), wire.user_page)


def _filter_query(name: str, value: FilterValue) -> list[tuple[str, str]]:
    if isinstance(value, (str, int)):
        return [(name, str(value))]
    return [(f"{name}[]", str(one)) for one in value]


def update_user(user_id: int, profile: Mapping[str, Any], proof: Proof | None) -> Call[User]:
    """With a proof, the verified number becomes the user's. A change of password is not repeated: if the first request
    succeeded, the old password is no longer valid."""
    body = {"user": _profile_json(profile), **(proof.to_json() if proof else {})}
    return Call(Request("PUT", f"/users/{user_id}", body=body), wire.user, repeatable="password" not in profile)


def send_password_reset(email: str) -> Call[None]:
    """Sent by POST, because addresses stay in logs. Not repeated: a second mail would end the link of the first one."""
    return Call(Request("POST", "/users/password/reset", body={"email": email}), _no_result, repeatable=False)


def delete_user(user_id: int) -> Call[None]:
    return Call(Request("DELETE", f"/users/{user_id}"), _no_result, repeatable=False)


def _profile_json(given: Mapping[str, Any]) -> dict[str, Any]:
    """The profile as the wire format has it: `tags` are `tag_list`, joined by commas."""
    profile = dict(given)
    if "tags" in profile:
        profile["tag_list"] = ",".join(profile.pop("tags") or ())
    if "contact_joined" in profile:
        profile["contact_joined"] = _settings_json(profile["contact_joined"])
    return profile


def _settings_json(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as the wire format has them: quiet hours are `{"from": …, "to": …}`."""
    settings = dict(given)
    if settings.get("quiet"):
        settings["quiet"] = dict(zip(("from", "to"), settings["quiet"], strict=True))
    return settings


# ── address books ────────────────────────────────────────────────────────────────────────────────────────────────────


def upload_address_book(entries: Sequence[Entry], *, force: bool, device: str | None) -> Call[Report]:
    """Send all entries in one request. Sent twice it has the same effect; the second report counts them as updated."""
    body: dict[str, Any] = {"contacts": [_entry_json(entry) for entry in entries]}
    body |= {"force": 1} if force else {}
    body |= {"udid": device} if device else {}
    return Call(Request("POST", "/address_book", body=body), partial(_report, entries))


def get_address_book(device: str | None) -> Call[list[Contact]]:
    return Call(Request("GET", "/address_book", _udid_query(device)), wire.address_book)


def get_registered_users(*, compact: bool, device: str | None) -> Call[list[Registered]]:
    query = (("compact", "1" if compact else "0"), *_udid_query(device))
    return Call(Request("GET", "/address_book/registered_users", query), partial(wire.registered, compact=compact))


def registered_since(cursor: str, *, compact: bool, device: str | None) -> Call[NewlyRegistered]:
    query = (("since", cursor), ("compact", "1" if compact else "0"), *_udid_query(device))
    return Call(
        Request("GET", "/address_book/registered_users", query), partial(wire.newly_registered, compact=compact)
    )


def _entry_json(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, Removal):
        return {"phone": entry.phone, "destroy": 1}
    return {"name": entry.name, "phone": entry.phone}


def _report(entries: Sequence[Entry], given: Any) -> Report:
    """Read the report. The server identifies rejected entries by position; the result holds the entries themselves."""
    positions = dict(enumerate(entries))
    rejected = sorted(
        (int(position), wire.printable_texts(why)) for position, why in (given.get("rejected") or {}).items()
    )
    return Report(
        created=int(given["created"]),
        updated=int(given["updated"]),
        deleted=int(given["deleted"]),
        rejected=tuple(Rejected(positions[position], position, why) for position, why in rejected),
    )


# ── who joined ───────────────────────────────────────────────────────────────────────────────────────────────────────


def joined(*, limit: int, after: str | None, before: int | None) -> Call[JoinedPage]:
    query = [("limit", str(limit))] if limit != PAGE_SIZE else []
    query += [("after", after)] if after is not None else []
    query += [("before", str(before))] if before is not None else []
    return Call(Request("GET", "/contact_joined", tuple(query)), wire.joined)


def mark_seen(up_to: int) -> Call[int]:
    return Call(Request("POST", "/contact_joined/seen", body={"up_to": up_to}), wire.unseen)


def joined_settings() -> Call[JoinedSettings]:
    return Call(Request("GET", "/contact_joined/settings"), wire.joined_settings)


def update_joined_settings(changes: Mapping[str, Any]) -> Call[JoinedSettings]:
    return Call(Request("PUT", "/contact_joined/settings", body=_settings_json(changes)), wire.joined_settings)


# ── subscriptions and pushes ─────────────────────────────────────────────────────────────────────────────────────────


def create_subscription(
    channel: str, token: str, *, device: str, platform: str, environment: str, bundle: str | None
) -> Call[Subscription]:
    """Subscribe a device to pushes. A second request with the same token renews the subscription."""
    push_token = {"environment": environment, "client_identification_sequence": token}
    push_token |= {"bundle_identifier": bundle} if bundle else {}
    return _subscribe(channel, push_token, {"platform": platform, "udid": device})


def create_web_subscription(
    endpoint: str, *, auth: str, p256dh: str, device: str, environment: str
) -> Call[Subscription]:
    """Subscribe a browser to pushes, by the three values of its `PushSubscription`."""
    push_token = {"environment": environment, "web_endpoint": endpoint, "web_auth": auth, "web_p256dh": p256dh}
    return _subscribe("web", push_token, {"platform": "web", "udid": device})


def _subscribe(channel: str, push_token: dict[str, str], device: dict[str, str]) -> Call[Subscription]:
    body = {"notification_channel": channel, "push_token": push_token, "device": device}
    return Call(Request("POST", "/subscriptions", body=body), lambda given: wire.subscriptions(given)[0])


def get_subscriptions() -> Call[list[Subscription]]:
    return Call(Request("GET", "/subscriptions"), wire.subscriptions)


def delete_subscription(subscription_id: int) -> Call[None]:
    return Call(Request("DELETE", f"/subscriptions/{subscription_id}"), _no_result, repeatable=False)


def send_push(user_ids: Sequence[int], message: Mapping[str, Any], *, environment: str) -> Call[None]:
    """Send a push to other users. The request is not repeated."""
    text = base64.b64encode(json.dumps(message, separators=(",", ":")).encode()).decode("ascii")
    event: dict[str, Any] = {
        "notification_type": "push",
        "event_type": "one_shot",
        "environment": environment,
        "message": text,
    }
    event["user"] = {"ids": list(user_ids)}
    return Call(Request("POST", "/events", body={"event": event}), _no_result, repeatable=False)
