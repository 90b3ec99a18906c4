"""Events over HTTP (protocol §6.1): a user sends a push to others."""

import base64
import unicodedata
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import msgspec

from .. import errors
from ..core import events
from ..core.events import Recipients
from ..push import universal
from .endpoint import Answer, Call, Route
from .forms import within
from .shapes.events import EventIn, EventOut, EventRequest, ExternalIn, OneEvent, RecipientsIn, TagsIn
from .shapes.fields import Name
from .wire import Dialect, integer, iso, keyword, named, take

DEEPEST = 16
STANDARD = str.maketrans("-_", "+/", "\r\n")  # from the URL's alphabet, and out of lines, to one line of base64
AT_ONCE = "is not supported: an event is sent once and at once"
UNSUPPORTED = {
    "date": AT_ONCE,
    "end_date": AT_ONCE,
    "period": AT_ONCE,
}
WAYS = "is not supported: name recipients in user[ids], user[tags][any|all|exclude] or external_user[ids]"
NAMED_BY = {"user": {"ids", "tags"}, "external_user": {"ids"}, "tags": {"any", "all", "exclude"}}
APNS_PREFIX = "payload="
LINES = "\t\n\r"  # the control characters of plain texts
NAMES = {"external_ids": "external_user", "channel": "push_type"}  # of fields in requests, by their names in core


def send(call: Call) -> Answer:
    """Send a push to other users

    To all subscriptions of the recipients in one environment, in the universal format, or with `push_type` to those of
    one channel, also in its own format. The answer has one event for each channel. An event has at most 100
    recipients, named by ids, tags or external ids; recipients without a subscription are skipped. The answer is 422 if
    no recipient is left, and for dates.
    """
    event = read(call.values.get("event"))
    with named(NAMES):
        sent = events.send(call.db, call.config.limits, call.caller, event, call.now)
    message = event.written or _spelled(call, event)
    made = [_out(call, event, message, channel, id) for channel, id in sent.items()]
    # QuickBlox answers an event for one platform without a list (protocol §6.1).
    alone = event.channel and call.dialect is Dialect.QUICKBLOX
    return Answer(made[0] if alone else made, status=201)


def read(values: Any) -> events.Event:
    """The event in a request. Null and empty values count as missing: Flutter sends every field."""
    if not isinstance(values, dict):
        raise errors.Invalid("must be an object", field="event")
    given = _with_content(values)
    _refuse_other_ways(given)
    asked = take(EventIn, given, field="event")
    _only(asked.notification_type, "push", "notification_type")
    _only(asked.event_type, "one_shot", "event_type")
    for field, reason in UNSUPPORTED.items():
        if _has_content(values.get(field)):
            raise errors.Invalid(reason, field=field)
    channel, message = keyword(asked.push_type), asked.message or ""
    payload = payload_for(channel, message)
    ends = payload.get("expiration")
    return events.Event(
        payload=payload,
        to=_recipients(asked),
        channel=channel,
        written=message if channel and plain_text(message) is None else "",
        environment=keyword(asked.environment) or "production",
        expires_at=integer(ends, "expiration") if _has_content(ends) else None,
    )


def _recipients(asked: EventIn) -> Recipients:
    user, external = asked.user or RecipientsIn(), asked.external_user or ExternalIn()
    tags = user.tags or TagsIn()
    return Recipients(
        ids=user.ids or [],
        external_ids=external.ids or [],
        any_tags=tags.any or [],
        all_tags=tags.all or [],
        no_tags=tags.exclude or [],
    )


def _refuse_other_ways(values: dict[str, Any]) -> None:
    """Raises Invalid for a way of naming recipients that this server does not know: it must not be ignored."""
    user = values.get("user")
    inside = {"user": user, "external_user": values.get("external_user")}
    inside["tags"] = user.get("tags") if isinstance(user, dict) else None
    for name, value in inside.items():
        for field in value if isinstance(value, dict) else ():
            if field not in NAMED_BY[name]:
                raise errors.Invalid(WAYS, field=field)


def payload_for(channel: str, message: str) -> dict[str, Any]:
    """The universal payload in a message: in the universal format, or in the format of the channel that is named.

    channel   `apns` and `apns_voip`: `payload=` and the base64 of JSON with `aps`; `gcm`: `data.KEY=` and the base64 of
              an URL-encoded text, any number of times with `&` between; "": only the universal format
    """
    if channel == "gcm" and message.startswith("data."):
        return _gcm_payload(message)
    if channel not in ("apns", "apns_voip"):
        return payload_of(message)
    packed = message.removeprefix(APNS_PREFIX)
    if packed != message and plain_text(packed) is not None:
        raise errors.Invalid("must hold the base64 of a JSON object after payload=", field="message")
    payload = payload_of(packed)
    return universal.of_apns(payload) if isinstance(payload.get("aps"), dict) else payload


def _gcm_payload(message: str) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for part in message.split("&"):
        name, equals, packed = part.partition("=")
        if not name.startswith("data.") or not equals:
            raise errors.Invalid("must be data.KEY= and a base64 text, with & between several", field="message")
        payload[name.removeprefix("data.")] = _url_text(packed)
    return payload


def _url_text(packed: str) -> str:
    try:
        return unquote_plus(_unpacked(packed).decode(), errors="strict")
    except ValueError:
        raise errors.Invalid("must hold the base64 of URL-encoded UTF-8 after each =", field="message") from None


def _unpacked(message: str) -> bytes:
    """The bytes in base64 of any spelling; ValueError."""
    packed = message.translate(STANDARD).rstrip("=")
    return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)


def payload_of(message: str) -> dict[str, Any]:
    """The universal payload in a message: the base64 of a JSON object or of a plain text.

    The base64 is in either alphabet, padded or not, in one line or several.
    """
    if (text := plain_text(message)) is not None:
        return {universal.MESSAGE: text}
    try:
        payload = msgspec.json.decode(_unpacked(message))
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict) or not within(DEEPEST, payload):
        raise errors.Invalid("must be the base64 of a JSON object or of a plain text", field="message")
    return payload


def plain_text(message: str) -> str | None:
    """The plain text in base64; None when it is blank, has control characters other than TAB and line ends, or is
    nothing of the kind.

    What begins like a JSON object is no plain text, so that an app learns of its faulty JSON.
    """
    try:
        text = _unpacked(message).decode()
    except ValueError:
        return None
    if not text.strip() or text.lstrip().startswith("{"):
        return None
    return None if any(unicodedata.category(letter) == "Cc" for letter in text if letter not in LINES) else text


def _spelled(call: Call, event: events.Event) -> str:
    """The message of an event as it is answered: bare base64 of JSON, which Flutter reads on each channel (§11.8).

    QuickBlox answers an event for one platform in the platform's format (its own test of events).
    """
    if not event.channel or call.dialect is not Dialect.QUICKBLOX:
        return base64.b64encode(msgspec.json.encode(event.payload)).decode()
    text = universal.text(event.payload)
    if event.channel == "gcm":
        return f"data.message={base64.b64encode(quote_plus(text).encode()).decode()}"
    return APNS_PREFIX + base64.b64encode(msgspec.json.encode({"aps": {"alert": text}})).decode()


def _only(value: str | None, supported: str, field: str) -> None:
    if value and keyword(value) != supported:
        raise errors.Invalid(f"must be {supported}; this server supports nothing else", field=field)


def _with_content(values: dict[str, Any]) -> dict[str, Any]:
    """The values without those that are null or empty, at any depth of objects."""
    kept = {name: value for name, value in values.items() if _has_content(value)}
    return {name: _with_content(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _has_content(value: Any) -> bool:
    """Is the value neither null nor empty, at any depth?"""
    if isinstance(value, dict | list):
        return any(_has_content(part) for part in (value.values() if isinstance(value, dict) else value))
    return value not in (None, "")


def _out(call: Call, event: events.Event, message: str, channel: str, event_id: int) -> OneEvent:
    return OneEvent(
        EventOut(
            id=event_id,
            message=message,
            created_at=iso(call.now),
            updated_at=iso(call.now),
            application_id=call.caller.app.id,
            user_id=call.user_id,
            environment=event.environment,
            notification_channel=Name(channel),
        )
    )


ROUTES = [
    Route(
        method="POST",
        path="/events",
        handler=send,
        status=201,
        request=EventRequest,
        answer=list[OneEvent] | OneEvent,
        refusals=(422, 429),
    )
]
