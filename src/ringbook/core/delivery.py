"""The rules of the queue of pushes. `worker/courier.py` claims pushes, sends them, and records the receipts.

    claim(db, now, …)        leases due pushes to one worker, lane by lane
    record(db, attempts)     records the receipts: a push is settled, tried again, or parked
    after(push, receipt, …)  the rule for one receipt
    retry, sweep             puts parked pushes back into the queue; deletes old pushes
    waiting                  the length and the age of the queue

A joined push has no text in the database. It is composed at each claim, from the recipient's address book as it is then
(`core/joined_texts.py`); the push is withheld when the recipient has removed the contact, or wants no pushes any more.
In the recipient's quiet hours it is given back until they are over, which does not count as an attempt.

A push is *settled* when it was accepted, has expired, was withheld, or its subscription has ended. Its text, or the
keyed number of a joined push, is deleted at once. A push is *parked* when a provider refused it for a reason that an
operator can mend. It keeps them until it is retried or deleted.

A lease lasts LEASE_SECONDS, longer than an attempt and its recording take. When a worker dies, its leases end and
another worker sends the pushes. A push that the provider accepted, and that was not recorded, is then sent twice.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from .. import errors, metrics
from ..model import Subscription
from ..preferences import Preferences
from ..push import providers
from ..push.transport import Cause, Message, Outcome, Receipt
from ..store import joined as lists
from ..store import pushes as store
from ..store import subscriptions
from ..store.db import Database, Row, Tx
from . import audit, joined_texts, preferences, quiet_hours, stats, waking, withholding
from .audit import Actor

LEASE_SECONDS = 30
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 4, 1_800
LEAST_JITTER, MOST_JITTER = 0.5, 1.5
ASKED_JITTER = 0.3  # the share of the jitter that is also applied to a wait that a provider asks for
LIFE_SECONDS = 86_400  # of a joined push, from the moment at which it is due
RETRY_LIFE_SECONDS = 86_400
BEFORE_PUSHES = 1_230_768_000  # 2009: an earlier time of death from a provider is ignored
WEBHOOK = 0  # the subscription id of webhooks
LONGEST_REASON = 200
ACCEPTED, GONE, EXPIRED, PARKED = store.ACCEPTED, "gone", "expired", store.PARKED
ENDED = "the app had ended this subscription"
NEVER_ANSWERED = "the endpoint has never answered"
NEVER_ANSWERED_SECONDS = 86_400  # of attempts without an answer, after which an endpoint is removed
REPEATS_SHARE = 4  # every fourth place is reserved for repeats
# Every fourth place of a lane whose hosts subscribers name is reserved for senders with few pushes in flight.
RESERVED_SHARE = 4
MOST_LANES = 50  # per claim
MOST_OF_STRANGERS = 200  # per claim: encrypting Web Push takes processor time, during which others wait
FIGURES: dict[str, stats.Name] = {
    ACCEPTED: "pushes accepted",
    GONE: "pushes gone",
    EXPIRED: "pushes expired",
    PARKED: "pushes parked",
}


class Due(Struct, frozen=True, kw_only=True):
    """A push that this worker has leased.

    attempts        includes this attempt
    joined          true for a joined push, false for an event
    lane            the lane in which it waited
    sender_id       the user who sent the event, or who has joined
    answered_at     of a browser's endpoint, see `model.Subscription`
    silent_since    of a browser's endpoint, see `model.Subscription`
    """

    user_id: int
    app_id: int
    subscription_id: int
    attempts: int
    message: Message
    joined: bool = False
    lane: str = ""
    sender_id: int = 0
    answered_at: int | None = None
    silent_since: int | None = None


class Room(Struct, frozen=True):
    """The pushes that may be claimed from one lane.

    places      how many
    crowding    senders with many pushes in flight: none of theirs is claimed while few places are left
    of_each     the most first attempts per other sender, and no repeats; 0 = no limit, repeats included
    """

    places: int
    crowding: Sequence[int] = ()
    of_each: int = 0


class Attempt(Struct, frozen=True, kw_only=True):
    """A push that was sent at `began_at`, and the receipt."""

    due: Due
    receipt: Receipt
    began_at: int


class Again(Struct, frozen=True):
    """The push is tried again at this time."""

    at: int
    cause: Cause
    reason: str


class Settled(Struct, frozen=True):
    """The push is settled or parked."""

    outcome: str
    cause: Cause
    reason: str


class Wait(Struct, frozen=True):
    """The push is given back until quiet hours are over."""

    until: int


UNREADABLE = Settled(PARKED, Cause.UNREADABLE, "the push cannot be read: please report it")
HIDES = Settled(GONE, Cause.CONTACT_HIDES, withholding.REASON)
WITHHELD = Settled(GONE, Cause.CONTACT_REMOVED, "the recipient no longer has this contact")
UNWANTED = Settled(GONE, Cause.NOTIFY_OFF, "the recipient wants no pushes about contacts who join")


# ── claiming ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def claim(db: Database, now: int, most: int, rooms: Mapping[str, Room] | None = None) -> list[Due]:
    """Lease up to `most` due pushes. Settles those that have expired or whose subscription has ended.

    rooms   the limits of lanes with pushes in flight; other lanes have none

    Each lane gets an equal share of `most`. In a lane, first attempts come before repeats, and senders take turns.
    """
    with db.write() as tx:
        rows = _claimed(tx, now, most, rooms or {})
        wanted = [(row["user_id"], row["subscription_id"]) for row in rows if row["subscription_id"] != WEBHOOK]
        with tx.prefer_indexes():
            reached = subscriptions.chosen(tx, sorted(wanted)) if wanted else {}
            chosen = _chosen(db, tx, rows)
            decided, locales = _looked_at(rows, reached, chosen, now)
            hidden = withholding.unwanted(db, tx, _of_one_contact(rows, decided))
            hiding = [row for row in rows if row["id"] in hidden]
            without = decided.keys() | hidden
            left = [row for row in rows if row["id"] not in without] if without else rows
            _close_digests(tx, [row for row in rows if not isinstance(decided.get(row["id"]), Wait)])
            left_out = withholding.left_out(db, tx, left)
            payloads = _payloads(db, tx, left, locales)
        due, alike = [], defaultdict[tuple[int, int, str], dict[str, Any]](dict)
        for row in left:
            subscription = reached.get((row["user_id"], row["subscription_id"]))
            what = _due(row, payloads[row["id"]], subscription, alike)
            if isinstance(what, Due):
                due.append(what)
            else:
                decided[row["id"]] = what
        over = _write(tx, rows, decided, now)
    withdrawn = withholding.withdraw(db, hiding, now) if hiding else set()
    withholding.withdraw_left_out(db, left_out, now)
    over += [(row, HIDES) for row in hiding if row["id"] in withdrawn]
    _count([(row["app_id"], row["channel"], False, settled) for row, settled in over], now)
    return due


def _of_one_contact(rows: Sequence[Row], decided: Mapping[int, object]) -> list[Row]:
    """The joined pushes among these that are about one contact, without those that were decided."""
    return [row for row in rows if row["number"] is not None and row["id"] not in decided]


def shared(lane: str, places: int) -> int:
    """How many places of a lane one sender may fill: all, but not in a lane whose hosts are named by subscribers."""
    return places - places // RESERVED_SHARE if _is_strangers(lane) else places


def _is_strangers(lane: str) -> bool:
    return _names_own_host(store.channel_of(lane))


def _names_own_host(channel: str) -> bool:
    return providers.channel(channel).names_own_host


def _claimed(tx: Tx, now: int, most: int, rooms: Mapping[str, Room]) -> list[Row]:
    store.lock_claims(tx)
    waiting = [lane for lane in store.lanes(tx) if lane not in rooms or rooms[lane].places > 0]
    random.shuffle(waiting)  # so that no lane is always last when there are more lanes than places
    waiting = waiting[:MOST_LANES]
    rows: list[Row] = []
    for position, lane in enumerate(waiting):
        share = -(-(most - len(rows)) // (len(waiting) - position))
        share = min(share, MOST_OF_STRANGERS) if _is_strangers(lane) else share
        room = rooms.get(lane, Room(shared(lane, most)))
        rows += _claimed_from(tx, lane, now, min(share, room.places), room)
    return rows


def _claimed_from(tx: Tx, lane: str, now: int, places: int, room: Room) -> list[Row]:
    until = now + LEASE_SECONDS
    if room.of_each:
        return store.claim_first_of_others(tx, lane, until, places, room.crowding, room.of_each)
    most_first = places - places // REPEATS_SHARE
    first = store.claim_first(tx, lane, until, most_first)
    again = store.claim_repeats(tx, lane, now, until, places - len(first))
    left = places - len(first) - len(again) if len(first) == most_first else 0
    return [*first, *again, *(store.claim_first(tx, lane, until, left) if left else [])]


def _chosen(db: Database, tx: Tx, rows: Sequence[Row]) -> dict[int, Preferences]:
    """The preferences of those recipients of joined pushes who have chosen any."""
    apps = {row["user_id"]: row["app_id"] for row in rows if joined_texts.is_joined(row)}
    found = preferences.rows_of(tx, sorted(apps)) if apps else {}
    readable = {app_id: joined_texts.application(db, tx, app_id) for app_id in {apps[user_id] for user_id in found}}
    return {
        user_id: preferences.effective(app, row) for user_id, row in found.items() if (app := readable[apps[user_id]])
    }


def _looked_at(
    rows: Sequence[Row],
    reached: Mapping[tuple[int, int], Subscription | errors.Unreadable],
    chosen: Mapping[int, Preferences],
    now: int,
) -> tuple[dict[int, Settled | Wait], dict[int, str]]:
    """Those of these pushes that are not sent now; and the languages of recipients, which the user or the device has.

    Both by the push's id.
    """
    decided: dict[int, Settled | Wait] = {}
    locales: dict[int, str] = {}
    for row in rows:
        user_id = row["user_id"]
        subscription = reached.get((user_id, row["subscription_id"]))
        wants = chosen.get(user_id)
        if what := _decided(row, subscription, wants, now):
            decided[row["id"]] = what
        elif wants and wants.locale:
            locales[row["id"]] = wants.locale
        elif isinstance(subscription, Subscription) and subscription.locale:
            locales[row["id"]] = subscription.locale
    return decided, locales


def _decided(
    row: Row, subscription: Subscription | errors.Unreadable | None, wants: Preferences | None, now: int
) -> Settled | Wait | None:
    """Why a push is not sent now; None when it is."""
    if row["expires_at"] <= now:
        return Settled(EXPIRED, Cause.NOT_SENT_IN_TIME, "not delivered in time")
    if not subscription and row["subscription_id"] != WEBHOOK:
        return Settled(GONE, Cause.SUBSCRIPTION_ENDED, ENDED)
    if not wants or not joined_texts.is_joined(row):
        return None
    if not wants.notify:
        return UNWANTED
    over = quiet_hours.of(wants, now)
    return Wait(over) if over else None


def _close_digests(tx: Tx, rows: Sequence[Row]) -> None:
    """Whoever joins from now on belongs to the next digest: nobody is added between the composing and the commit.

    rows   those that are sent or settled: a settled push tells nobody of whom would be added later
    """
    windows = {(row["user_id"], row["digest"]) for row in rows if row["digest"] is not None}
    if windows:
        lists.close_windows(tx, sorted(windows))


def _write(tx: Tx, rows: Sequence[Row], decided: Mapping[int, Settled | Wait], now: int) -> list[tuple[Row, Settled]]:
    """Store what was decided. Returns what is settled."""
    found = [(row, decided[row["id"]]) for row in rows if row["id"] in decided]
    waits = [_postponed(row, what) for row, what in found if isinstance(what, Wait)]
    over = [(row, what) for row, what in found if isinstance(what, Settled)]
    if waits:
        store.wait(tx, sorted(waits))
    if over:
        store.settle(tx, sorted(_written(row, what) for row, what in over), now)
    return over


def _postponed(row: Row, what: Wait) -> tuple[int, int, int, int, int]:
    return row["user_id"], row["id"], row["attempts"], what.until, what.until + LIFE_SECONDS


def _payloads(
    db: Database, tx: Tx, rows: Sequence[Row], locales: Mapping[int, str] | None = None
) -> dict[int, dict[str, Any] | Settled]:
    """The payload of each push, by its id, or why it is not sent."""
    ids = {row["event_id"] for row in rows if row["event_id"] is not None and row["message"] is None}
    texts = store.texts(tx, sorted(ids)) if ids else {}  # of events, which are stored once per event
    composed = joined_texts.compose(db, tx, rows, locales or {})
    found: dict[int, dict[str, Any] | Settled] = {}
    for row in rows:
        if not joined_texts.is_joined(row):
            found[row["id"]] = _decoded(store.message(tx, row) or texts.get(row["event_id"]))
        else:
            found[row["id"]] = composed.get(row["id"], WITHHELD) or UNREADABLE
    return found


def _decoded(text: str | None) -> dict[str, Any] | Settled:
    try:
        return msgspec.json.decode(text or "", type=dict[str, Any])
    except msgspec.DecodeError:
        return UNREADABLE


def _written(row: Row, what: Settled) -> tuple[int, int, int, str, str, str]:
    return row["user_id"], row["id"], row["attempts"], what.outcome, what.cause.value, what.reason


def _due(
    row: Row,
    payload: dict[str, Any] | Settled,
    subscription: Subscription | errors.Unreadable | None,
    alike: Mapping[tuple[int, int, str], dict[str, Any]],
) -> Due | Settled:
    """The push to send, or why it is not sent.

    alike   for all joined pushes of this claim about one user and for one channel, see `Message`; not for digests
    """
    if isinstance(payload, Settled):
        return payload
    if isinstance(subscription, errors.Unreadable):
        return UNREADABLE
    is_joined = row["number"] is not None
    return _sendable(
        row, payload, subscription, alike[row["app_id"], row["about_user_id"], row["channel"]] if is_joined else None
    )


def _sendable(
    row: Row, payload: dict[str, Any], subscription: Subscription | None, alike: dict[str, Any] | None
) -> Due:
    message = Message(
        id=row["id"],
        channel=row["channel"],
        environment=row["environment"],
        token=subscription.token if subscription else "",
        bundle=subscription.bundle if subscription else None,
        web_auth=subscription.web_auth if subscription else None,
        web_p256dh=subscription.web_p256dh if subscription else None,
        payload=payload,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        alike=alike,
    )
    return Due(
        user_id=row["user_id"],
        app_id=row["app_id"],
        subscription_id=row["subscription_id"],
        attempts=row["attempts"],
        message=message,
        joined=row["joined_id"] is not None and row["subscription_id"] != WEBHOOK,
        lane=row["lane"],
        sender_id=row["about_user_id"],
        answered_at=subscription.answered_at if subscription else None,
        silent_since=subscription.silent_since if subscription else None,
    )


# ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────────


def record(db: Database, attempts: Sequence[Attempt], now: int) -> None:
    """Record the receipts of attempts in one transaction. A dead push token ends its subscription."""
    attempts = [_judged(one) for one in attempts]
    decided = [(one, after(one.due, one.receipt, now, random.uniform(LEAST_JITTER, MOST_JITTER))) for one in attempts]
    again = [
        (one.due.user_id, one.due.message.id, one.due.attempts, what.at, what.cause.value, what.reason)
        for one, what in decided
        if isinstance(what, Again)
    ]
    settled = [
        (one.due.user_id, one.due.message.id, one.due.attempts, what.outcome, what.cause.value, what.reason)
        for one, what in decided
        if isinstance(what, Settled)
    ]
    with db.write() as tx:
        if settled:
            store.settle(tx, sorted(settled), now)
        if again:
            store.postpone(tx, sorted(again))
        for one in sorted(attempts, key=_place):  # one order for all workers, so that two of them do not deadlock
            _note(tx, one)
    _count([(one.due.app_id, one.due.message.channel, one.due.joined, what) for one, what in decided], now)


def _judged(attempt: Attempt) -> Attempt:
    receipt = judged(attempt)
    return attempt if receipt is attempt.receipt else msgspec.structs.replace(attempt, receipt=receipt)


def judged(attempt: Attempt) -> Receipt:
    """The receipt, or GONE for an endpoint that has not answered in a day of attempts.

    This applies to browsers' endpoints only: when FCM or APNs do not answer, the token is not the reason.
    """
    due, receipt = attempt.due, attempt.receipt
    if not _is_silent(attempt) or due.answered_at is not None or due.silent_since is None:
        return receipt
    if attempt.began_at - due.silent_since < NEVER_ANSWERED_SECONDS:
        return receipt
    return Receipt(Outcome.GONE, NEVER_ANSWERED, cause=Cause.NEVER_ANSWERED)


def _is_silent(attempt: Attempt) -> bool:
    return _names_own_host(attempt.due.message.channel) and attempt.receipt.silent is True


def _note(tx: Tx, attempt: Attempt) -> None:
    """Record what the attempt shows about the subscription, when it is new."""
    due, receipt = attempt.due, attempt.receipt
    place = (due.app_id, due.user_id, due.subscription_id, due.message.token)
    if receipt.outcome is Outcome.GONE:
        _end(tx, attempt)
    elif _is_silent(attempt):
        if due.silent_since is None:
            subscriptions.mark_silent(tx, *place, attempt.began_at)
    elif _names_own_host(due.message.channel) and receipt.silent is False and _is_news(due):
        subscriptions.mark_answered(tx, *place, attempt.began_at)


def _is_news(due: Due) -> bool:
    """Whether the subscription must be marked as answering."""
    return due.answered_at is None or due.silent_since is not None


def _count(results: Iterable[tuple[int, str, bool, Again | Settled]], now: int) -> None:
    """Count results: application, channel, whether it was a joined push, and what happens to the push."""
    counts = Counter(
        (app_id, channel, joined, what.outcome if isinstance(what, Settled) else "", what.cause)
        for app_id, channel, joined, what in results
    )
    for (app_id, channel, joined, outcome, cause), count in counts.items():
        metrics.pushed(channel, outcome or "again", cause.value, count)
        if outcome and cause is Cause.PRINTED:
            stats.add(app_id, "pushes printed", now, count)  # nobody has got it
        elif outcome:
            stats.add(app_id, FIGURES[outcome], now, count)
        if cause in (Cause.NOTIFY_OFF, Cause.CONTACT_HIDES):
            stats.add(app_id, "joined pushes withheld", now, count)
        if joined and outcome == ACCEPTED:
            printed = cause is Cause.PRINTED
            stats.add(app_id, "joined pushes printed" if printed else "joined pushes accepted", now, count)


def after(due: Due, receipt: Receipt, now: int, jitter: float) -> Again | Settled:
    """The rule for a receipt: what happens to the push.

    jitter   the factor of the wait, so that pushes that failed together are not repeated together
    """
    cause, reason = receipt.cause, "".join(filter(str.isprintable, receipt.reason))[:LONGEST_REASON]
    if receipt.outcome is Outcome.ACCEPTED:
        return Settled(ACCEPTED, cause, reason)
    if receipt.outcome is Outcome.GONE:
        return Settled(GONE, cause, reason)
    if receipt.outcome is Outcome.REFUSED:
        return Settled(PARKED, cause, reason)
    doubled = FIRST_WAIT_SECONDS * 2 ** min(due.attempts - 1, 20)
    ours = min(doubled, LONGEST_WAIT_SECONDS) * jitter
    asked = (receipt.wait_seconds or 1) * (1 + (jitter - LEAST_JITTER) * ASKED_JITTER)  # the provider asks for it
    wait = max(round(ours), math.ceil(asked))
    if now + wait >= due.message.expires_at:
        return Settled(EXPIRED, cause, reason)
    return Again(now + wait, cause, reason)


def _place(attempt: Attempt) -> tuple[int, int]:
    return attempt.due.user_id, attempt.due.subscription_id


def _end(tx: Tx, attempt: Attempt) -> None:
    """End the subscription, unless the app has registered its token anew after it died."""
    due = attempt.due
    said = attempt.receipt.gone_at
    died_at = min(said, attempt.began_at) if said and said > BEFORE_PUSHES else attempt.began_at
    subscriptions.end_dead(tx, due.app_id, due.user_id, due.subscription_id, due.message.token, died_at)


# ── upkeep ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def retry(
    db: Database,
    app_id: int,
    ids: Sequence[int] | None,
    now: int,
    batch: int = 1_000,
    *,
    channel: str = "",
    reason: str | None = None,
    by: Actor | None = None,
) -> int:
    """Put parked pushes of an application back into the queue: all, or those with these ids. Returns how many.

    channel, reason   only pushes of this channel, and only pushes that are shown with this reason
    """
    done = 0
    while True:
        with db.write() as tx:
            moved = store.retry(tx, app_id, ids, now, now + RETRY_LIFE_SECONDS, batch, channel=channel, reason=reason)
            waking.pushes_added(tx)
            if moved and not done:  # one audit entry, with the first batch
                count = f"{moved} and more" if moved == batch else moved
                audit.record(tx, by, "pushes retried", app_id=app_id, subject=channel, detail=f"pushes: {count}")
        done += moved
        if moved < batch:
            return done


def sweep(db: Database, before: int, batch: int = 500) -> int:
    """Delete up to `batch` pushes that were settled or parked before then, and old texts. Returns how many."""
    with db.write() as tx:
        return store.sweep(tx, before, batch) + store.sweep_texts(tx, before, batch)


def waiting(db: Database, most: int = 10_000) -> tuple[int, int | None]:
    """How many pushes wait, counted up to `most`, and since when the oldest is due."""
    with db.read() as tx:
        return store.waiting(tx, most)
