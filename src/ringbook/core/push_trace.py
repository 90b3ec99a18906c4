"""What became of pushes, in words, for whoever looks after them: never a text, a name, a number or a token.

of_user(db, user_id, now, last)   a user's latest pushes, what was told of the user, and what stands in the way
of_push(db, push_id, now)         one push
state(db, now)                    what waits and what is parked, by application
advice(row, now)                  what to do about a push, from `ADVICE`
"""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from .. import errors, times
from ..model import App, Subscription
from ..store import joined as facts
from ..store import pushes, subscriptions, user_record
from ..store.db import Database, Row, Tx
from . import applications
from .delivery import ACCEPTED, ENDED, EXPIRED, GONE, PARKED, WEBHOOK

WAITING = "waiting"
NO_WORKER = "is a worker running? `ringbook serve` without --no-worker is one, and so is `ringbook worker`"
# The first whose words are in the reason holds.
ADVICE: dict[str, list[tuple[str, str]]] = {
    ACCEPTED: [
        ("push_console", "to send pushes, not print them: `ringbook app set {app_id} push_console false`"),
        (
            "",
            "the provider has it; if nothing is seen: may the app notify, is the device online, does the app show it?",
        ),
    ],
    GONE: [
        (ENDED, "nothing: the app ended it, or somebody else signed in on the device, before the push went out"),
        ("", "nothing: the subscription has ended with its push token, and the app registers anew when it is opened"),
    ],
    EXPIRED: [
        ("not delivered in time", f"nobody sent it in time: {NO_WORKER}"),
        ("", "the provider could not be used until it expired: `ringbook check` asks it"),
    ],
    PARKED: [
        ("payload too large", "send less: no device of this channel takes as much, today or later"),
        ("", "mend what the reason says, see `ringbook check`, then `ringbook push retry --app {app_id} {id}`"),
    ],
}


class Push(Struct, frozen=True, kw_only=True):
    """One push. Times are ISO 8601, UTC."""

    id: int
    user_id: int
    application_id: int
    why: str
    channel: str
    environment: str
    created_at: str
    attempts: int
    outcome: str
    reason: str | None
    next_attempt_at: str | None
    settled_at: str | None
    expires_at: str
    advice: str


class Announcement(Struct, frozen=True, kw_only=True):
    """A number that the user has gained, and how many pushes came of it, by outcome."""

    created_at: str
    verified: bool
    result: str
    pushes: dict[str, int]


class User(Struct, frozen=True, kw_only=True):
    """What there is to say of a user."""

    user_id: int
    application_id: int
    subscriptions: dict[str, int]
    hints: list[str]
    pushes: list[Push]
    announced: list[Announcement]


class Lane(Struct, frozen=True, kw_only=True):
    """What waits of one application's channel; `late_seconds` is how long the first has been due."""

    application_id: int
    channel: str
    waiting: int
    due: int
    late_seconds: int


class Parked(Struct, frozen=True, kw_only=True):
    """What is parked of one application's channel, for one reason."""

    application_id: int
    channel: str
    count: int
    last_at: str
    reason: str


class State(Struct, frozen=True):
    """The queue."""

    waiting: list[Lane]
    parked: list[Parked]


def of_user(db: Database, user_id: int, now: int, last: int) -> User:
    """A user's latest pushes and announcements, up to `last` of each; NotFound."""
    with db.read() as tx:
        user = user_record.user(tx, user_id)
        if not user:
            raise errors.NotFound(f"there is no user {user_id}")
        subscribed = subscriptions.of_user(tx, user_id)
        rows, numbers = pushes.of_user(tx, user_id, last), user_record.numbers(tx, user_id)
        announced = _announcements(tx, user_id, last)
    app = applications.get(db, user["app_id"])
    return User(
        user_id=user_id,
        application_id=app.id,
        subscriptions=dict(Counter(f"{one.channel} {one.environment}" for one in subscribed)),
        hints=hints(app, subscribed, numbers),
        pushes=[push(row, now) for row in rows],
        announced=announced,
    )


def of_push(db: Database, push_id: int, now: int) -> Push:
    """One push; NotFound once it is forgotten."""
    with db.read() as tx:
        row = pushes.by_id(tx, push_id)
    if not row:
        kept = "a settled one is remembered for as many days as RINGBOOK_PUSHES_KEPT_DAYS says"
        raise errors.NotFound(f"there is no push {push_id}; {kept}")
    return push(row, now)


def state(db: Database, now: int) -> State:
    """What waits, and what is parked."""
    with db.read() as tx:
        waiting, parked = pushes.queue(tx, now), pushes.parked(tx)
    return State([_lane(row, now) for row in waiting], [_parked(row) for row in parked])


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def hints(app: App, subscribed: Sequence[Subscription], numbers: Sequence[Row]) -> list[str]:
    """What stands in the way of pushes to a user and about one, whether there were any or not.

    numbers   those that the user answers to, with verified_at
    """
    unproven = bool(numbers) and all(row["verified_at"] is None for row in numbers)
    ordinary = [one for one in subscribed if one.channel != "apns_voip"]
    told = app.settings.contact_joined_development or any(one.environment == "production" for one in ordinary)
    found = {
        "the user has no subscription: the app registers one with POST /subscriptions": not subscribed,
        "the user has only VoIP subscriptions, which get nothing but events that ring": subscribed and not ordinary,
        "the user has only development subscriptions, and contact_joined_development is off": ordinary and not told,
        "contact_joined_enabled is off: nobody is told who joins": not app.settings.contact_joined_enabled,
        "only proven numbers count here (require_verified_number), and the user's is not: it is told to nobody": (
            app.verified_only and unproven
        ),
        "events is off: users send each other nothing": app.settings.events == "off",
        "push_console is on: pushes are printed, not sent": app.settings.push_console,
    }
    return [hint for hint, holds in found.items() if holds]


def advice(row: Row, now: int) -> str:
    """What to do about a push."""
    if row["outcome"]:
        reason = row["reason"] or ""
        if row["subscription_id"] == WEBHOOK and row["outcome"] == ACCEPTED and "push_console" not in reason:
            return "nothing: your backend has it"
        words = next(words for part, words in ADVICE[row["outcome"]] if part in reason)
        return words.format(app_id=row["app_id"], id=row["id"])
    if row["due_at"] <= now:
        return f"it is due: {NO_WORKER}"
    if row["reason"]:
        return "nothing: it is tried again by itself until it expires"
    return "nothing: an attempt is under way; should its worker have died, another one takes over"


def _why(row: Row) -> str:
    who = f"user {row['about_user_id']}"
    if row["event_id"] is not None:
        return f"event {row['event_id']}, sent by {who}"
    if row["joined_id"] is None:
        return "a test, sent from the dashboard"
    return f"webhook: {who} has joined" if row["subscription_id"] == WEBHOOK else f"contact joined: {who}"


def push(row: Row, now: int) -> Push:
    """One push in words."""
    return Push(
        id=row["id"],
        user_id=row["user_id"],
        application_id=row["app_id"],
        why=_why(row),
        channel=row["channel"],
        environment=row["environment"],
        created_at=times.iso(row["created_at"]),
        attempts=row["attempts"],
        outcome=row["outcome"] or WAITING,
        reason=row["reason"] or None,
        next_attempt_at=None if row["outcome"] else times.iso(max(row["due_at"], now)),
        settled_at=times.iso(row["settled_at"]) if row["settled_at"] else None,
        expires_at=times.iso(row["expires_at"]),
        advice=advice(row, now),
    )


def _announcements(tx: Tx, user_id: int, last: int) -> list[Announcement]:
    found = facts.of_user(tx, user_id, last)
    counts: dict[int, dict[str, int]] = {}
    for row in pushes.told(tx, user_id, [fact["id"] for fact in found]) if found else []:
        counts.setdefault(row["joined_id"], {})[row["outcome"] or WAITING] = row["count"]
    return [
        Announcement(
            created_at=times.iso(fact["created_at"]),
            verified=bool(fact["verified"]),
            result=fact["result"] or f"waits to be told: {NO_WORKER}",
            pushes=counts.get(fact["id"], {}),
        )
        for fact in found
    ]


def _lane(row: Row, now: int) -> Lane:
    return Lane(
        application_id=row["app_id"],
        channel=row["channel"],
        waiting=row["waiting"],
        due=row["due"],
        late_seconds=max(now - row["first_due_at"], 0),
    )


def _parked(row: Row) -> Parked:
    return Parked(
        application_id=row["app_id"],
        channel=row["channel"],
        count=row["count"],
        last_at=times.iso(row["last_at"]),
        reason=row["reason"] or "",
    )
