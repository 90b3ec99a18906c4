"""Events over HTTP (protocol §6.1): a user sends a push to others, and looks after what was sent."""

import base64
import unicodedata
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import msgspec

from .. import errors
from ..core import events
from ..core.events import Recipients
from ..model import SentEvent
from ..push import universal
from .endpoint import Answer, Call, Route
from .forms import within
from .shapes.events import (
    EventIn,
    EventOut,
    EventPage,
    EventRequest,
    EventStatusOut,
    ExternalIn,
    OneEvent,
    OneEventStatus,
    RecipientsIn,
    TagsIn,
)
from .shapes.fields import Name
from .user_search import OLD_PAGING, old_paging
from .wire import Dialect, integer, iso, keyword, named, take

DEEPEST = 16
STANDARD = str.maketrans("-_", "+/", "\r\n")  # from the URL's alphabet, and out of lines, to one line of base64
SHOWN = ("apns", "gcm")  # the channels in answers for every channel: the same whatever the recipients have
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
    one channel, also in its own format. An event has at most 100 recipients, named by ids, tags or external ids.
    Recipients who do not exist or have no subscription are skipped, and the answer is the same without any: the event,
    once for APNs and once for FCM, or once for the channel that is named. Dates are refused with 422.
    """
    event = read(call.values.get("event"))
    with named(NAMES):
        event_id = events.send(call.db, call.config.limits, call.caller, event, call.now)
    sent = SentEvent(
        id=event_id,
        user_id=call.user_id,
        environment=event.environment,
        channel=event.channel,
        created_at=call.now,
        expires_at=events.expiry(event, call.now),
    )
    message = event.written or _spelled(call, event)
    made = [_out(call, sent, channel, message) for channel in ([event.channel] if event.channel else SHOWN)]
    # QuickBlox answers an event for one platform without a list (protocol §6.1).
    alone = event.channel and call.dialect is Dialect.QUICKBLOX
    return Answer(made[0] if alone else made, status=201)


def page(call: Call) -> Answer:
    """List the events that you have sent

    The newest first. An event is kept until it expires, and at least for a day.
    """
    number, size = old_paging(call)
    sent, total = events.page(call.db, call.user_id, call.now, limit=size, offset=(number - 1) * size)
    return Answer(EventPage(number, size, total, [_alone(call, one) for one in sent]))


def show(call: Call) -> Answer:
    """Show an event that you have sent

    Without its message, which is kept only until it is delivered.
    """
    return Answer(_alone(call, events.show(call.db, call.user_id, call.path_id(), call.now)))


def status(call: Call) -> Answer:
    """Show the status of an event

    `accepted` until it expires, and `ended` from then on. It is the same whether or not a recipient exists or has a
    device.
    """
    sent = events.show(call.db, call.user_id, call.path_id(), call.now)
    is_over = sent.expires_at <= call.now
    out = EventStatusOut(id=sent.id, status="ended" if is_over else "accepted", expires_at=iso(sent.expires_at))
    return Answer(OneEventStatus(out))


def change(call: Call) -> Answer:
    """Change an event: always refused

    An event is sent at once, so there is nothing to change.
    """
    events.show(call.db, call.user_id, call.path_id(), call.now)
    raise errors.Invalid("An event is sent at once and cannot be changed: delete it, and send another one")


def delete(call: Call) -> Answer:
    """Delete an event

    Its pushes that wait are not sent any more. What a push provider has already may still arrive.
    """
    events.delete(call.db, call.user_id, call.path_id(), call.now)
    return Answer()


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


def _alone(call: Call, sent: SentEvent) -> OneEvent:
    """An event of its own, with the first of the channels that the answer to sending it has shown."""
    return _out(call, sent, sent.channel or SHOWN[0])


def _out(call: Call, sent: SentEvent, channel: str, message: str | None = None) -> OneEvent:
    return OneEvent(
        EventOut(
            id=sent.id,
            message=message,
            created_at=iso(sent.created_at),
            updated_at=iso(sent.created_at),
            active=sent.expires_at > call.now,
            application_id=call.app.id,
            user_id=sent.user_id,
            environment=sent.environment,
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
    ),
    Route(method="GET", path="/events", handler=page, query=OLD_PAGING, answer=EventPage, refusals=(422,)),
    Route(method="GET", path="/events/{id}", handler=show, answer=OneEvent, refusals=(404,)),
    Route(method="PUT", path="/events/{id}", handler=change, refusals=(404, 422)),
    Route(method="DELETE", path="/events/{id}", handler=delete, refusals=(404,)),
    Route(method="GET", path="/events/{id}/status", handler=status, answer=OneEventStatus, refusals=(404,)),
]
