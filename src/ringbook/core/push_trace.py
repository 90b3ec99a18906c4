"""What became of pushes, for operators and admins. Texts, names, numbers and push tokens are never shown.

of_user(db, user_id, now, last)   a user's latest pushes, the announcements of the user, and what prevents pushes
of_push(db, push_id, now)         one push
page(db, app_id, now, limit)      an application's latest pushes, by outcome and channel
state(db, now)                    the waiting and the parked pushes of all applications
queue, parked                     the same for one application, at a cost that does not grow with the table
obstacles(app, …)                 what prevents pushes to and about a user; `OBSTACLES` has the sentences
advice(row, now)                  what to do about a push, by its outcome and cause, from `ADVICE`
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Literal

from msgspec import Struct

from .. import errors, times
from ..model import App, Subscription
from ..preferences import Preferences, clock
from ..push import providers
from ..push.transport import Cause
from ..store import joined as facts
from ..store import pushes, subscriptions, user_record
from ..store.db import Database, Row, Tx
from . import applications, preferences, quiet_hours
from .delivery import ACCEPTED as ACCEPTED
from .delivery import EXPIRED, GONE, PARKED, WEBHOOK

WAITING = pushes.WAITING
IN_DIGESTS = "in digests"
PRINTED = Cause.PRINTED.value
OUTCOMES = (WAITING, ACCEPTED, PARKED, GONE, EXPIRED)
NO_WORKER = "is a worker running? `ringbook serve` without --no-worker is one, and so is `ringbook worker`"
NEWEST = 2**63 - 1  # an id that no push reaches
MOST_SEARCHED = 5_000  # pushes that one page looks through: the wanted ones may be rare
MOST_COUNTED = 2_000  # pushes of an application that `queue` and `parked` count
MOST_OF_STATE = 100_000  # waiting pushes, and parked pushes of an application, that `state` counts
Kind = Literal["joined", "event", "test", "webhook"]

# For each outcome by cause; None stands for every other cause, and for pushes settled before causes were stored.
ADVICE: Mapping[str, Mapping[Cause | None, str]] = {
    ACCEPTED: {
        Cause.PRINTED: "to send pushes, not print them: `ringbook app set {app_id} push_console false`",
        None: (
            "the provider has it; if nothing is seen: may the app notify, is the device online, does the app show it?"
        ),
    },
    GONE: {
        Cause.SUBSCRIPTION_ENDED: (
            "nothing: the app ended it, or somebody else signed in on the device, before the push went out"
        ),
        Cause.CONTACT_HIDES: (
            "nothing: the contact has changed who is told (announce, discoverable) before the push went out"
        ),
        Cause.CONTACT_REMOVED: "nothing: the recipient removed the contact before the push went out",
        Cause.NOTIFY_OFF: "nothing: the recipient has switched these pushes off (notify)",
        None: "nothing: the subscription has ended with its push token, and the app registers anew when it is opened",
    },
    EXPIRED: {
        Cause.NOT_SENT_IN_TIME: f"nobody sent it in time: {NO_WORKER}",
        None: "the provider could not be used until it expired: `ringbook check` asks it",
    },
    PARKED: {
        Cause.PAYLOAD_TOO_LARGE: "send less: no device of this channel takes as much, today or later",
        None: "mend what the reason says, see `ringbook check`, then `ringbook push retry --app {app_id} {id}`",
    },
}
BACKEND_HAS_IT = "nothing: your backend has it"


class Obstacle(Enum):
    """Something that prevents pushes to a user, or about one."""

    NO_SUBSCRIPTION = "no subscription"
    ONLY_VOIP = "only VoIP"
    ONLY_DEVELOPMENT = "only development"
    JOINED_OFF = "joined off"
    NOT_VERIFIED = "not verified"
    TELLS_NOBODY = "tells nobody"
    TELLS_MUTUAL = "tells mutual"
    NOTIFY_OFF = "notify off"
    EVENTS_OFF = "events off"
    PRINTED = "printed"


OBSTACLES = {
    Obstacle.NO_SUBSCRIPTION: "the user has no subscription: the app registers one with POST /subscriptions",
    Obstacle.ONLY_VOIP: "the user has only VoIP subscriptions, which get nothing but events that ring",
    Obstacle.ONLY_DEVELOPMENT: ("the user has only development subscriptions, and contact_joined_development is off"),
    Obstacle.JOINED_OFF: "contact_joined_enabled is off: nobody is notified when a contact joins",
    Obstacle.NOT_VERIFIED: (
        "only verified numbers count (require_verified_number), and the user's number is not verified:"
        " nobody is notified of it"
    ),
    Obstacle.TELLS_NOBODY: (
        "nobody is told that the user has joined: the user or the application wants that (announce, discoverable)"
    ),
    Obstacle.TELLS_MUTUAL: (
        "of those who have the user's number, only those are told whose number the user has in an address book, too"
        " (announce or discoverable is mutual)"
    ),
    Obstacle.NOTIFY_OFF: "notify is off: the user wants no pushes about contacts who join",
    Obstacle.EVENTS_OFF: "events is off: users cannot send pushes to each other",
    Obstacle.PRINTED: "push_console is on: pushes are printed, not sent",
}
# What prevents joined pushes to a user, whoever joins.
OF_RECIPIENT = (Obstacle.NO_SUBSCRIPTION, Obstacle.ONLY_VOIP, Obstacle.ONLY_DEVELOPMENT, Obstacle.NOTIFY_OFF)


class Push(Struct, frozen=True, kw_only=True):
    """One push. Times are ISO 8601, UTC.

    kind     joined: "your friend joined"; event: sent by a user; test: sent by an admin; webhook: to the backend
    why      the same in words
    cause    a value of `Cause`, for programs; None before the first attempt
    reason   the provider's words, or a sentence of ours
    """

    id: int
    user_id: int
    application_id: int
    kind: Kind
    why: str
    channel: str
    environment: str
    created_at: str
    attempts: int
    outcome: str
    cause: str | None
    reason: str | None
    next_attempt_at: str | None
    settled_at: str | None
    expires_at: str
    advice: str

    @property
    def shown(self) -> str:
        """The outcome, for people: a push that was printed was not delivered."""
        return PRINTED if self.outcome == ACCEPTED and self.cause == PRINTED else self.outcome


class Announcement(Struct, frozen=True, kw_only=True):
    """A number that the user has gained, and how many pushes were made of that, by outcome.

    Those who hear of it in a digest are counted as `in digests`, each once.
    """

    created_at: str
    verified: bool
    result: str
    pushes: dict[str, int]


class User(Struct, frozen=True, kw_only=True):
    """A user's subscriptions by channel and environment, pushes and announcements; `hints` are sentences."""

    user_id: int
    application_id: int
    subscriptions: dict[str, int]
    hints: list[str]
    pushes: list[Push]
    announced: list[Announcement]


class Page(Struct, frozen=True):
    """Pushes, the newest first; `older` is where the next page begins, None on the last one."""

    pushes: list[Push]
    older: int | None


class Lane(Struct, frozen=True, kw_only=True):
    """The waiting pushes of one application's channel; `late_seconds` is how long the first has been due."""

    application_id: int
    channel: str
    waiting: int
    due: int
    late_seconds: int


class Parked(Struct, frozen=True, kw_only=True):
    """The parked pushes of one application's channel with one reason."""

    application_id: int
    channel: str
    count: int
    last_at: str
    reason: str


class State(Struct, frozen=True):
    """The queue."""

    waiting: list[Lane]
    parked: list[Parked]


# ── pushes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_user(db: Database, user_id: int, now: int, last: int) -> User:
    """A user's latest pushes and announcements, up to `last` of each; NotFound."""
    with db.read() as tx:
        user = user_record.user(tx, user_id)
        if not user:
            raise errors.NotFound(f"there is no user {user_id}")
        subscribed = subscriptions.of_user(tx, user_id)
        rows, numbers = pushes.of_user(tx, user_id, last), user_record.numbers(tx, user_id)
        announced, zones = _announcements(tx, user_id, last, now), time_zones(tx, rows)
    app = applications.get(db, user["app_id"])
    with db.read() as tx:
        wants = preferences.of(tx, app, user_id)
    return User(
        user_id=user_id,
        application_id=app.id,
        subscriptions=dict(Counter(f"{one.channel} {one.environment}" for one in subscribed)),
        hints=[*(OBSTACLES[one] for one in obstacles(app, subscribed, numbers, wants)), *habits(wants, now)],
        pushes=[push(row, now, zones) for row in rows],
        announced=announced,
    )


def of_push(db: Database, push_id: int, now: int) -> Push:
    """One push; NotFound when it was deleted."""
    with db.read() as tx:
        row = pushes.by_id(tx, push_id)
        zones = time_zones(tx, [row]) if row else {}
    if not row:
        kept = "a settled one is kept for as many days as RINGBOOK_PUSHES_KEPT_DAYS says"
        raise errors.NotFound(f"there is no push {push_id}; {kept}")
    return push(row, now, zones)


def page(
    db: Database, app_id: int, now: int, limit: int, *, before: int = NEWEST, outcome: str = "", channel: str = ""
) -> Page:
    """Up to `limit` pushes older than the push `before`; fewer, or none, when the wanted ones are rare."""
    with db.read() as tx:
        rows, older = pushes.page(tx, app_id, before, outcome, channel, limit=limit, among=MOST_SEARCHED)
        zones = time_zones(tx, rows)
    return Page([push(row, now, zones) for row in rows], older)


def time_zones(tx: Tx, rows: Sequence[Row]) -> dict[int, str]:
    """The time zones of those recipients for whose quiet hours a push waits, by user id."""
    waiting = {row["user_id"] for row in rows if row["waits"] == pushes.QUIET}
    return {
        user_id: row["time_zone"]
        for user_id, row in preferences.rows_of(tx, sorted(waiting)).items()
        if row["time_zone"]
    }


def push(row: Row, now: int, zones: Mapping[int, str]) -> Push:
    """A row of `store.pushes` as a Push.

    zones   from `time_zones`
    """
    kind = _kind(row)
    return Push(
        id=row["id"],
        user_id=row["user_id"],
        application_id=row["app_id"],
        kind=kind,
        why=_why(row, kind),
        channel=row["channel"],
        environment=row["environment"],
        created_at=times.iso(row["created_at"]),
        attempts=row["attempts"],
        outcome=row["outcome"] or WAITING,
        cause=row["cause"],
        reason=row["reason"] or None,
        next_attempt_at=None if row["outcome"] else times.iso(max(row["due_at"], now)),
        settled_at=times.iso(row["settled_at"]) if row["settled_at"] else None,
        expires_at=times.iso(row["expires_at"]),
        advice=advice(row, now, zones.get(row["user_id"])),
    )


def _kind(row: Row) -> Kind:
    if row["event_id"] is not None:
        return "event"
    if row["joined_id"] is None:
        return "test"
    return "webhook" if row["subscription_id"] == WEBHOOK else "joined"


def _why(row: Row, kind: Kind) -> str:
    user = f"user {row['about_user_id']}"
    sentences: dict[Kind, str] = {
        "joined": f"contact joined: {user}" if row["digest"] is None else "contacts joined: a digest",
        "event": f"event {row['event_id']}, sent by {user}",
        "test": "a test, sent from the dashboard",
        "webhook": f"webhook: {user} has joined",
    }
    return sentences[kind]


def advice(row: Row, now: int, zone: str | None = None) -> str:
    """What to do about a push. zone: the recipient's time zone, for a push that waits for quiet hours."""
    if row["outcome"]:
        return _advice_settled(row)
    if row["due_at"] <= now:
        return f"it is due: {NO_WORKER}"
    if row["waits"] == pushes.QUIET:
        return f"nothing: it waits for the end of the recipient's quiet hours, at {_clock(row['due_at'], zone)}"
    if row["waits"] == pushes.DIGEST:
        return f"nothing: it is a digest of who joins in 24 hours, and leaves at {_clock(row['due_at'], None)}"
    if row["reason"]:
        return "nothing: it is tried again by itself until it expires"
    return "nothing: an attempt is under way; should its worker have died, another one takes over"


def _clock(at: int, zone: str | None) -> str:
    """A time as the clock shows it in a time zone; in UTC where there is none, or none that is known."""
    local, name = quiet_hours.local(at, zone)
    return f"{local:%H:%M} of {name} on {local:%Y-%m-%d}"


def habits(wants: Preferences, now: int) -> list[str]:
    """When joined pushes reach a user who has quiet hours."""
    if not wants.quiet or not wants.time_zone:
        return []
    hours = f"{clock(wants.quiet.start)} to {clock(wants.quiet.end)} of {wants.time_zone}"
    over = quiet_hours.of(wants, now)
    until = f"; they wait now, until {_clock(over, wants.time_zone)}" if over else ""
    return [f"quiet hours are on: pushes about contacts who join wait from {hours}{until}"]


def _advice_settled(row: Row) -> str:
    cause = next((one for one in Cause if one.value == row["cause"]), None)  # None also for causes of newer versions
    if row["subscription_id"] == WEBHOOK and row["outcome"] == ACCEPTED and cause is not Cause.PRINTED:
        return BACKEND_HAS_IT
    sentences = ADVICE[row["outcome"]]
    return sentences.get(cause, sentences[None]).format(app_id=row["app_id"], id=row["id"])


def result(fact: Row, now: int) -> str:
    """What has become of a fact that a user has joined."""
    if fact["result"]:
        return str(fact["result"])
    if fact["due_at"] <= now:
        return f"not announced yet: {NO_WORKER}"
    if fact["armed"] is None:
        return f"not announced yet: due {times.iso(fact['due_at'])}"
    return f"announced to mutual contacts, and to those whose numbers the user adds before {times.iso(fact['due_at'])}"


def _announcements(tx: Tx, user_id: int, last: int, now: int) -> list[Announcement]:
    found = facts.of_user(tx, user_id, last)
    counts: dict[int, dict[str, int]] = {}
    for row in pushes.told(tx, user_id, [fact["id"] for fact in found]) if found else []:
        counts.setdefault(row["joined_id"], {})[row["outcome"] or WAITING] = row["count"]
    for joined_id, count in facts.in_digests(tx, [fact["id"] for fact in found]) if found else []:
        counts.setdefault(joined_id, {})[IN_DIGESTS] = count
    return [
        Announcement(
            created_at=times.iso(fact["created_at"]),
            verified=bool(fact["verified"]),
            result=result(fact, now),
            pushes=counts.get(fact["id"], {}),
        )
        for fact in found
    ]


# ── obstacles ────────────────────────────────────────────────────────────────────────────────────────────────────────


def obstacles(
    app: App, subscribed: Sequence[Subscription], numbers: Sequence[Row], wants: Preferences | None
) -> list[Obstacle]:
    """What prevents pushes to a user and about one, whether there were any or not.

    numbers   the user's numbers, with verified_at
    wants     the user's preferences
    """
    settings = app.settings
    ordinary = [one for one in subscribed if not providers.channel(one.channel).rings_instead_of]
    reached = settings.contact_joined_development or any(one.environment == "production" for one in ordinary)
    unverified = bool(numbers) and all(row["verified_at"] is None for row in numbers)
    found = {
        Obstacle.NO_SUBSCRIPTION: not subscribed,
        Obstacle.ONLY_VOIP: subscribed and not ordinary,
        Obstacle.ONLY_DEVELOPMENT: ordinary and not reached,
        Obstacle.JOINED_OFF: not settings.contact_joined_enabled,
        Obstacle.NOT_VERIFIED: app.verified_only and unverified,
        Obstacle.TELLS_NOBODY: wants is not None and wants.told == "nobody",
        Obstacle.TELLS_MUTUAL: wants is not None and wants.told == "mutual",
        Obstacle.NOTIFY_OFF: wants is not None and not wants.notify,
        Obstacle.EVENTS_OFF: settings.events == "off",
        Obstacle.PRINTED: settings.push_console,
    }
    return [obstacle for obstacle, holds in found.items() if holds]


# ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────────────


def state(db: Database, now: int, most: int = MOST_OF_STATE) -> State:
    """The waiting pushes of all applications, among the first `most`, and the latest `most` parked ones of each."""
    with db.read() as tx:
        waiting = pushes.queue(tx, now, most)
    found = [one for app in applications.all_(db) for one in parked(db, app.id, most)]
    return State([_lane(row["app_id"], row, now) for row in waiting], found)


def queue(db: Database, app_id: int, now: int) -> list[Lane]:
    """An application's waiting pushes by channel, among the first MOST_COUNTED that wait."""
    with db.read() as tx:
        rows = pushes.queue_of(tx, app_id, now, MOST_COUNTED)
    return [_lane(app_id, row, now) for row in rows]


def parked(db: Database, app_id: int, most: int = MOST_COUNTED) -> list[Parked]:
    """An application's latest `most` parked pushes, by channel and reason."""
    with db.read() as tx:
        rows = pushes.parked_of(tx, app_id, most)
    return [_parked(app_id, row) for row in rows]


def _lane(app_id: int, row: Row, now: int) -> Lane:
    return Lane(
        application_id=app_id,
        channel=row["channel"],
        waiting=row["waiting"],
        due=int(row["due"]),
        late_seconds=max(now - row["first_due_at"], 0),
    )


def _parked(app_id: int, row: Row) -> Parked:
    return Parked(
        application_id=app_id,
        channel=row["channel"],
        count=row["count"],
        last_at=times.iso(row["last_at"]),
        reason=row["reason"] or "",
    )
