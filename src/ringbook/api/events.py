"""Events over HTTP (protocol §6.1): a user sends a push to others."""

import base64
from typing import Any

import msgspec

from .. import errors
from ..core import events
from .endpoint import Answer, Call, Route
from .forms import within
from .shapes.events import EventIn, EventOut, EventRequest, OneEvent
from .shapes.fields import Name
from .wire import integer, iso, take

DEEPEST = 16
STANDARD = str.maketrans("-_", "+/", "\r\n")  # from the URL's alphabet, and out of lines, to one line of base64
AT_ONCE = "is not supported: an event is sent once and at once"
UNSUPPORTED = {
    "push_type": "is not supported: leave it out, and send `message` in the universal format, which every channel gets",
    "external_user": "is not supported: name recipients by their ids, in user[ids]",
    "date": AT_ONCE,
    "end_date": AT_ONCE,
    "period": AT_ONCE,
}
BY_ID = "is not supported: name recipients by their ids, in user[ids]"


def send(call: Call) -> Answer:
    """Send a push to other users

    To all subscriptions of the recipients in one environment, in the universal format. The answer has one event for
    each channel. `user[ids]` has at most 100 ids; recipients without a subscription are skipped. The answer is 422 if
    no recipient is left, and for tags, dates and formats of a single platform.
    """
    event = read(call.values.get("event"))
    sent = events.send(call.db, call.config.limits, call.caller, event, call.now)
    message = base64.b64encode(msgspec.json.encode(event.payload)).decode()
    return Answer([_out(call, event, message, channel, id) for channel, id in sent.items()], status=201)


def read(values: Any) -> events.Event:
    """The event in a request. Null and empty values count as missing: Flutter sends every field."""
    asked = take(EventIn, values, field="event")
    _only(asked.notification_type, "push", "notification_type")
    _only(asked.event_type, "one_shot", "event_type")
    for field, reason in UNSUPPORTED.items():
        if _has_content(values.get(field)):
            raise errors.Invalid(reason, field=field)
    for field, value in (values.get("user") or {}).items():
        if field != "ids" and _has_content(value):
            raise errors.Invalid(BY_ID, field=field)
    payload = payload_of(asked.message or "")
    ends = payload.get("expiration")
    return events.Event(
        payload=payload,
        user_ids=asked.user and asked.user.ids or [],
        environment=asked.environment or "production",
        expires_at=integer(ends, "expiration") if _has_content(ends) else None,
    )


def payload_of(message: str) -> dict[str, Any]:
    """The JSON object in a universal message: base64 in either alphabet, padded or not, in one line or several."""
    packed = message.translate(STANDARD).rstrip("=")
    try:
        payload = msgspec.json.decode(base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True))
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict) or not within(DEEPEST, payload):
        raise errors.Invalid("must be the base64 of a JSON object", field="message")
    return payload


def _only(value: str | None, supported: str, field: str) -> None:
    if value and value != supported:
        raise errors.Invalid(f"must be {supported}; this server supports nothing else", field=field)


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
        answer=list[OneEvent],
        refusals=(422, 429),
    )
]
