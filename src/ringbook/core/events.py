"""Events: pushes that users send to each other.

    send(db, limits, caller, event, now)    put into the queue, for everybody whom it reaches
    chosen(reached, …)                      which of the recipients' subscriptions get it
from . import charging, rate_limits

An event is a message in the universal format (docs/wire.md §6.2), to users of the sender's own application, sent once
and at once. A sender is told only through which channels it goes out, not to how many devices or whose; many cost more.

Limits: calls of a user and from an address, pushes of a user in a day, pushes of a user that wait: beyond them the call
is refused. A subscription at which too many events wait gets no more of them; the sender is not told, because that
would tell something about somebody else's device.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from .. import errors, metrics
from ..config import Limits
from ..model import Caller
from ..push import providers, universal
from ..store import pushes, subscriptions, users
from ..store.db import Database, Row, Tx
from . import charging, rate_limits
from .subscriptions import ENVIRONMENTS

MOST_RECIPIENTS = 100
LARGEST_BYTES = 4_096  # what APNs and Web Push take at most, too
PUSHES_OF_A_CALL = 100  # from there on each further hundred, begun, costs as much as a call
OURS = "contact_joined"  # the `type` of the pushes that this server sends by itself
DAY = 86_400
LIFE_SECONDS, LONGEST_LIFE_SECONDS = DAY, 28 * DAY  # FCM keeps no message longer ("Set the lifespan of a message")
TEXT_OF_A_PUSH = 512  # bytes of an event's text that take as much room as a push without one
WAIT_SECONDS = 60  # after which it makes sense to look whether pushes still wait
YES = (1, "1", "true")


class Event(Struct, frozen=True, kw_only=True):
    """A push to some users.

    payload       the universal payload
    environment   of the subscriptions that get it
    expires_at    from then on nobody wants it any more, UTC seconds; None = a day from now
    """

    payload: dict[str, Any]
    user_ids: Sequence[int]
    environment: str = "production"
    expires_at: int | None = None


def send(db: Database, limits: Limits, caller: Caller, event: Event, now: int) -> dict[str, int]:
    """Put an event into the queue for everybody whom it reaches; the event's id by channel.

    Recipients who are not there, belong to another application or have no subscription are passed over. Raises
    Unreached when nobody is left; that, too, counts against the sender's limit.
    """
    if caller.app.settings.events == "off":
        raise errors.Forbidden("Sending pushes is switched off in this application")
    message, expires_at = checked(event), expiry(event, now)
    try:
        sent = _queued(db, limits, caller, event, message, expires_at, now)
    except errors.SessionGone:  # an account was erased at this moment: a recipient's, or else the next try says so, too
        sent = _queued(db, limits, caller, event, message, expires_at, now)
    if not sent:
        raise errors.Unreached("No one can receive the message")
    return sent


def checked(event: Event) -> str:
    """The payload as it is stored; Invalid, naming the field, unless the event can be sent."""
    if event.environment not in ENVIRONMENTS:
        raise errors.Invalid(f"must be one of {', '.join(ENVIRONMENTS)}", field="environment")
    if not event.user_ids:
        raise errors.Invalid("can't be blank", field="ids")
    if len(set(event.user_ids)) > MOST_RECIPIENTS:
        raise errors.Invalid(f"has more than {MOST_RECIPIENTS} users", field="ids")
    if not isinstance(event.payload.get(universal.MESSAGE, ""), str | None):
        raise errors.Invalid("must hold a text as `message`", field="message")
    if not universal.text(event.payload) and not universal.custom(event.payload):
        raise errors.Invalid("has neither a text as `message` nor a key of the app's own", field="message")
    if event.payload.get("type") == OURS:
        raise errors.Invalid(f"must not have the `type` {OURS}: only this server's own pushes do", field="message")
    message = msgspec.json.encode(event.payload)
    if len(message) > LARGEST_BYTES:
        raise errors.Invalid(f"is longer than {LARGEST_BYTES} bytes", field="message")
    return message.decode()


def expiry(event: Event, now: int) -> int:
    """Until when it is worth delivering; Invalid when that is over already."""
    if event.expires_at is None:
        return now + LIFE_SECONDS
    if event.expires_at <= now:
        raise errors.Invalid("is over already; it is a time in Unix seconds", field="expiration")
    return min(event.expires_at, now + LONGEST_LIFE_SECONDS)


def _queued(
    db: Database, limits: Limits, caller: Caller, event: Event, message: str, expires_at: int, now: int
) -> dict[str, int]:
    """Count the call, then look whom it reaches: whoever asks too often learns nothing."""
    app_id, user_id = caller.app.id, caller.user_id
    with db.write() as tx:
        _charge_call(tx, limits, caller, now)
        waiting = _waiting(tx, limits, user_id)
        if not users.by_id(tx, app_id, user_id):
            raise errors.SessionGone
        reached = subscriptions.of_users(tx, app_id, sorted(set(event.user_ids)), [event.environment])
        getting = chosen(reached, rings=event.payload.get("ios_voip") in YES)
        ids = _ids(tx, getting)
        if not getting:
            return ids
        _check_waiting(limits, waiting + len(getting) if waiting else 0)
        _charge_pushes(tx, limits, caller, len(getting), len(message.encode()) * len(ids), now)
        _add(tx, limits, caller, getting, ids, message, expires_at, now)
    return ids


def _charge_call(tx: Tx, limits: Limits, caller: Caller, now: int) -> None:
    for bucket in _calls(limits, caller):
        charging.charge(tx, bucket, 1, now)


def _charge_pushes(tx: Tx, limits: Limits, caller: Caller, count: int, text_bytes: int, now: int) -> None:
    """Charge what the pushes of a call cost besides the call; no single call costs more than a bucket holds."""
    for bucket in _calls(limits, caller):
        charging.charge(tx, bucket, min(further(count), max(0, bucket.capacity - 1)), now)
    day = rate_limits.pushes_of_day(limits, caller.user_id)
    charging.charge(tx, day, min(count + text_bytes // TEXT_OF_A_PUSH, day.capacity), now)


def _calls(limits: Limits, caller: Caller) -> tuple[charging.Bucket, charging.Bucket]:
    """Always in this order: a call locks its user's bucket, then the address's, and so never waits for its own."""
    return rate_limits.events(limits, caller.user_id), rate_limits.events_from_address(limits, caller.address)


def _waiting(tx: Tx, limits: Limits, user_id: int) -> int:
    """How many pushes of a sender wait; TooMany when that is the limit."""
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
    ids: dict[str, int],
    message: str,
    expires_at: int,
    now: int,
) -> None:
    """Put the pushes into the queue, and the text once for each channel."""
    sent = _with_room(tx, limits, getting)
    for channel, event_id in ids.items():
        if count := sum(row["channel"] == channel for row in sent):
            pushes.keep_text(tx, event_id, caller.user_id, message, count, expires_at)
    rows: list[pushes.NewPush] = [
        (row["user_id"], row["id"], row["channel"], row["environment"], None, ids[row["channel"]], row["lane"])
        for row in sent
    ]
    if rows:
        pushes.add(tx, caller.app.id, caller.user_id, rows, now=now, expires_at=expires_at)


def _with_room(tx: Tx, limits: Limits, getting: Sequence[Row]) -> Sequence[Row]:
    """Those of the subscriptions at which fewer events wait than may; the others are counted as refusals."""
    most = limits.max_waiting_per_subscription
    if not most:
        return getting
    waiting = pushes.waiting_at(tx, sorted({row["user_id"] for row in getting}))
    sent = [row for row in getting if waiting.get((row["user_id"], row["id"]), 0) < most]
    if left_out := len(getting) - len(sent):
        tx.on_commit(lambda: metrics.limit_reached("max_waiting_per_subscription", left_out))
    return sent


def further(pushes_: int) -> int:
    """What so many pushes cost besides the call: each is a row that may stay for weeks."""
    return max(0, pushes_ - 1) // PUSHES_OF_A_CALL


def _ids(tx: Tx, getting: Sequence[Row]) -> dict[str, int]:
    return {channel: tx.next_id("event_ids") for channel in sorted({row["channel"] for row in getting})}


def chosen(reached: Sequence[Row], *, rings: bool) -> list[Row]:
    """The subscriptions that get an event: a VoIP one only what rings, then in place of its user's ordinary ones.

    Source: docs/wire.md §6.2, `ios_voip`; Apple, "Responding to VoIP Notifications from PushKit": each must ring.
    """
    ringing = {name: providers.channel(name).rings_instead_of for name in {row["channel"] for row in reached}}
    replaced = {(row["user_id"], ringing[row["channel"]]) for row in reached} if rings else set()
    fitting = [row for row in reached if rings or not ringing[row["channel"]]]
    return [row for row in fitting if (row["user_id"], row["channel"]) not in replaced]
