"""Events: pushes that users send to each other.

    send(db, limits, caller, event, now)    queues the pushes of an event
    page, show                              a user's own events
    delete                                  forgets an event, and stops the pushes that wait
    chosen(reached, …)                      the recipients' subscriptions that get an event
    sweep                                   forgets old events

An event is a message in the universal format (docs/wire.md §6.2) to users of the sender's application, on every channel
or on one. It is sent once, without a delay.

No answer reveals whether a recipient exists, is hidden or has a device (docs/decisions/0032): an event is kept for a
time that depends on the event alone, without its text, and its status says only whether this time is over. The limits
count recipients as the sender names them, not their devices. A subscription with too many waiting events gets no
further ones, and the sender is not told.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from .. import errors, metrics
from ..config import Limits
from ..model import Caller, SentEvent
from ..push import providers, universal
from ..store import events as store
from ..store import pushes, subscriptions, users
from ..store.db import Database, Row, Tx
from . import charging, joined_texts, rate_limits, recipients, waking
from .recipients import Recipients as Recipients
from .subscriptions import ENVIRONMENTS

LARGEST_BYTES = 4_096  # the limit of APNs and Web Push, too
OURS = {joined_texts.TYPE, joined_texts.TYPE_OF_DIGEST}  # the `type` of the pushes that this server sends by itself
DAY = 86_400
KEPT_SECONDS = DAY  # the shortest time for which a sender can look an event up
LIFE_SECONDS, LONGEST_LIFE_SECONDS = DAY, 28 * DAY  # FCM keeps no message longer ("Set the lifespan of a message")
TEXT_OF_A_PUSH = 512  # so many bytes of an event's text take as much room as a push without its text
WAIT_SECONDS = 60  # the wait that a sender with too many waiting pushes is told
YES = (1, "1", "true")


class Event(Struct, frozen=True, kw_only=True):
    """A push to some users.

    payload       the universal payload
    written       the message as the sender wrote it in the format of one channel; "" = universal
    channel       the only channel that it goes to; "" = every channel
    environment   the environment of the subscriptions that get it
    expires_at    after this time it is not delivered, UTC seconds; None = a day from now
    """

    payload: dict[str, Any]
    to: Recipients
    channel: str = ""
    written: str = ""
    environment: str = "production"
    expires_at: int | None = None


def send(db: Database, limits: Limits, caller: Caller, event: Event, now: int) -> int:
    """Queue the pushes of an event. Returns the event's id.

    The sender learns nothing about the recipients: unknown users, users of other applications and users without a
    subscription are skipped, and the answer and the charges are the same when nobody is left. Raises Invalid when the
    tags match too many users; such requests are charged as well.
    """
    if caller.app.settings.events == "off":
        raise errors.Forbidden("Sending pushes is switched off in this application")
    message, expires_at = checked(event), expiry(event, now)
    try:
        sent = _queued(db, limits, caller, event, message, expires_at, now)
    except errors.SessionGone:  # an account was erased meanwhile. If it was the sender's, the second try raises again
        sent = _queued(db, limits, caller, event, message, expires_at, now)
    if isinstance(sent, errors.Invalid):
        raise sent
    return sent


def checked(event: Event) -> str:
    """The payload as it is stored. Raises Invalid with the field when the event cannot be sent."""
    if event.environment not in ENVIRONMENTS:
        raise errors.Invalid(f"must be one of {', '.join(ENVIRONMENTS)}", field="environment")
    if event.channel and event.channel not in providers.own_formats():
        raise errors.Invalid(f"must be one of {', '.join(providers.own_formats())}", field="channel")
    recipients.check(event.to)
    if not isinstance(event.payload.get(universal.MESSAGE, ""), str | None):
        raise errors.Invalid("must hold a text as `message`", field="message")
    if not universal.text(event.payload) and not universal.of_app(event.payload):
        raise errors.Invalid("has neither a text as `message` nor a key of the app's own", field="message")
    for type_ in (event.payload.get("type"), universal.of_app(event.payload).get("type")):
        if isinstance(type_, str) and type_ in OURS:
            raise errors.Invalid(f"must not have the `type` {type_}: only this server's own pushes do", field="message")
    message = msgspec.json.encode(event.payload)
    if len(message) > LARGEST_BYTES:
        raise errors.Invalid(f"is longer than {LARGEST_BYTES} bytes", field="message")
    return message.decode()


def expiry(event: Event, now: int) -> int:
    """When the event expires. Raises Invalid when it has expired already."""
    if event.expires_at is None:
        return now + LIFE_SECONDS
    if event.expires_at <= now:
        raise errors.Invalid("is over already; it is a time in Unix seconds", field="expiration")
    return min(event.expires_at, now + LONGEST_LIFE_SECONDS)


def _queued(
    db: Database, limits: Limits, caller: Caller, event: Event, message: str, expires_at: int, now: int
) -> int | errors.Invalid:
    """Charge the request, then read the recipients and queue the pushes."""
    app_id, user_id = caller.app.id, caller.user_id
    with db.write() as tx:
        _charge_call(tx, limits, caller, now)
        waiting = _waiting(tx, limits, user_id)
        if not users.by_id(tx, app_id, user_id):
            raise errors.SessionGone
        user_ids = recipients.found(tx, app_id, event.to)
        if isinstance(user_ids, errors.Invalid):
            return user_ids
        count = recipients.charged(event.to, user_ids)
        _check_waiting(limits, waiting + count if waiting else 0)
        _charge_pushes(tx, limits, caller, count, len(message.encode()), now)
        event_id = tx.next_id("event_ids")
        store.add(
            tx,
            event_id,
            user_id,
            environment=event.environment,
            channel=event.channel,
            now=now,
            expires_at=expires_at,
            kept_until=max(expires_at, now + KEPT_SECONDS),
        )
        reached = subscriptions.of_users(tx, app_id, user_ids, [event.environment])
        getting = chosen(reached, rings=event.payload.get("ios_voip") in YES, channel=event.channel)
        _add(tx, limits, caller, getting, event_id, message, expires_at, now)
    return event_id


def _charge_call(tx: Tx, limits: Limits, caller: Caller, now: int) -> None:
    for bucket in _calls(limits, caller):
        charging.charge(tx, bucket, 1, now)


def _charge_pushes(tx: Tx, limits: Limits, caller: Caller, count: int, text_bytes: int, now: int) -> None:
    """Charge the recipients of a request, besides the request itself, at most up to the bucket's capacity.

    Their devices are not counted: the sender could tell from the charge how many there are.
    """
    day = rate_limits.pushes_of_day(limits, caller.user_id)
    charging.charge(tx, day, min(count + text_bytes // TEXT_OF_A_PUSH, day.capacity), now)


def _calls(limits: Limits, caller: Caller) -> tuple[charging.Bucket, charging.Bucket]:
    """The buckets of a request: the user's, then the address's. The fixed order avoids deadlocks."""
    return rate_limits.events(limits, caller.user_id), rate_limits.events_from_address(limits, caller.address)


def _waiting(tx: Tx, limits: Limits, user_id: int) -> int:
    """How many pushes of a sender wait. Raises TooMany when that is the limit."""
    most = limits.max_waiting_per_sender
    waiting = pushes.waiting_of(tx, user_id, most) if most else 0
    _check_waiting(limits, waiting + 1)
    return waiting


def _check_waiting(limits: Limits, waiting: int) -> None:
    if 0 < limits.max_waiting_per_sender < waiting:
        reason = "Too many pushes of this user wait for delivery"
        raise errors.TooMany(reason, wait_seconds=WAIT_SECONDS, limit="max_waiting_per_sender")


def _add(
    tx: Tx,
    limits: Limits,
    caller: Caller,
    getting: Sequence[Row],
    event_id: int,
    message: str,
    expires_at: int,
    now: int,
) -> None:
    """Queue the pushes, and store the text once for all of them."""
    rows: list[pushes.NewPush] = [
        (row["user_id"], row["id"], row["channel"], row["environment"], None, event_id, row["lane"])
        for row in _with_room(tx, limits, _within_day(tx, limits, caller, getting, now))
    ]
    if rows:
        pushes.keep_text(tx, event_id, caller.user_id, message, len(rows), expires_at)
        pushes.add(tx, caller.app.id, caller.user_id, rows, now=now, expires_at=expires_at)
        waking.pushes_added(tx)


def _within_day(tx: Tx, limits: Limits, caller: Caller, getting: Sequence[Row], now: int) -> Sequence[Row]:
    """The newest device of each recipient, and as many of the others as the sender's day has room for.

    The sender is not told of those that are left out: it would reveal how many devices somebody has.
    """
    newest = {row["user_id"]: row["id"] for row in sorted(getting, key=lambda row: int(row["id"]))}
    first = [row for row in getting if row["id"] == newest[row["user_id"]]]
    others = [row for row in getting if row["id"] != newest[row["user_id"]]]
    bucket = rate_limits.further_devices_of_day(limits, caller.user_id)
    if not others:
        return first
    granted = charging.charge_up_to(tx, bucket, len(others), now)
    if left_out := len(others) - granted:
        tx.on_commit(lambda: metrics.limit_reached("pushes_per_sender_per_day", left_out))
    return [*first, *others[:granted]]


def _with_room(tx: Tx, limits: Limits, getting: Sequence[Row]) -> Sequence[Row]:
    """The subscriptions with room for another waiting event. The others are counted as refusals."""
    most = limits.max_waiting_per_subscription
    if not most:
        return getting
    waiting = pushes.waiting_at(tx, sorted({row["user_id"] for row in getting}))
    sent = [row for row in getting if waiting.get((row["user_id"], row["id"]), 0) < most]
    if left_out := len(getting) - len(sent):
        tx.on_commit(lambda: metrics.limit_reached("max_waiting_per_subscription", left_out))
    return sent


# ── a user's own events ──────────────────────────────────────────────────────────────────────────────────────────────


def page(db: Database, user_id: int, now: int, *, limit: int, offset: int) -> tuple[list[SentEvent], int]:
    """Up to `limit` events that a user has sent and that are kept, newest first; and how many there are."""
    with db.read() as tx:
        return store.page(tx, user_id, now, limit=limit, offset=offset), store.count(tx, user_id, now)


def show(db: Database, user_id: int, event_id: int, now: int) -> SentEvent:
    """One of these; NotFound for another user's."""
    with db.read() as tx:
        found = store.by_id(tx, user_id, event_id, now)
    if not found:
        raise errors.NotFound("Not found")
    return found


def delete(db: Database, user_id: int, event_id: int, now: int) -> None:
    """Forget an event, and delete its pushes that wait; NotFound for another user's. What a provider has is sent."""
    with db.write() as tx:
        if not store.delete(tx, user_id, event_id, now):
            raise errors.NotFound("Not found")
        pushes.drop_of_event(tx, user_id, event_id)


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Delete up to `batch` events that are no longer kept. Returns how many."""
    with db.write() as tx:
        return store.sweep(tx, now, batch)


# ── which devices get it ─────────────────────────────────────────────────────────────────────────────────────────────


def chosen(reached: Sequence[Row], *, rings: bool, channel: str = "") -> list[Row]:
    """The subscriptions that get an event: those of the channel, when one is named. Else VoIP subscriptions get only
    events that ring, instead of the user's other APNs subscriptions.

    Source: docs/wire.md §6.2, `ios_voip`; Apple, "Responding to VoIP Notifications from PushKit": each must ring.
    """
    if channel:
        return [row for row in reached if row["channel"] == channel]
    ringing = {name: providers.channel(name).rings_instead_of for name in {row["channel"] for row in reached}}
    replaced = {(row["user_id"], ringing[row["channel"]]) for row in reached} if rings else set()
    fitting = [row for row in reached if rings or not ringing[row["channel"]]]
    return [row for row in fitting if (row["user_id"], row["channel"]) not in replaced]
