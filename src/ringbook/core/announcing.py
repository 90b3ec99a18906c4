"""Announces users to the holders of their numbers: who gets the "your friend joined" push.

    expand(db, now)                      announces the oldest waiting fact to one batch of holders
    getting(reached)                     the subscriptions that get joined pushes
    environments(app)                    the environments that joined pushes go to
    sweep(db, before)                    deletes facts that were announced long ago

The joined user decides who is told (`Preferences.told`), also while holders are notified: each batch looks at it anew,
and each push once more when it is sent (`core/withholding.py`). Where only mutual contacts are told, the fact waits
after the first round for MUTUAL_SECONDS, and uploads of the joined user make it due again.

A *fact* (`core/joined.py`) says that a user has gained a number. Each holder of the number is notified once: by one
push to each device. The push has no text in the queue: `core/joined_texts.py` composes it for the attempt. A holder is
notified a second time when the number was not verified the first time and is now. Holders without a device count as
notified. The application's backend gets one webhook request per fact that at least one holder is notified of.

A holder may have chosen to get no pushes, or none in quiet hours, or those of 24 hours together after the first few: a
*digest*. Their pushes are added with statements that read what they have chosen. The others, which are most batches,
are added without.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from .. import errors, times
from ..model import App
from ..push import providers
from ..store import joined as store
from ..store import proofs, pushes
from ..store.db import Database, Row, Tx
from . import applications, preferences, quiet_hours, stats, waking
from .delivery import LIFE_SECONDS, WEBHOOK
from .joined import MUTUAL_SECONDS

BATCH = 5_000  # holders, and pushes: SQLite's other writers wait for so many, a tenth of a second
FIRST_BATCH = 500  # of each fact, so that its first pushes are on their way soon
MUTUAL_BATCH = 500
WITHHELD = "the user wants nobody to be told"
AGAIN_SECONDS = 60  # the pause before a fact that failed is tried again, so that it does not hold up the others


class Overtaken(Exception):
    """Nothing of the transaction is written: the joined user, a holder or a device came or went during it."""


class Batch(Struct, frozen=True):
    """Holders of a number who are notified in one transaction.

    count     how many they are
    devices   how many of their devices get joined pushes, by lane
    is_last   nobody is left after them
    """

    count: int
    holders: store.Holders
    devices: dict[str, int]
    is_last: bool


def expand(db: Database, now: int, batch: int = BATCH) -> int:
    """Announce the oldest waiting fact to up to `batch` holders.

    Returns how many holders were read, plus one when the fact was looked at; 0 when no fact waits. The pushes and the
    progress of the fact are written in one transaction. Raises Overtaken when the joined user or a holder was erased
    at this moment. Any other error is raised after the fact was put off.
    """
    with db.read() as tx:
        oldest = store.oldest(tx, now)
    if not oldest:
        return 0
    try:
        app = applications.cached(db, oldest["app_id"])
        with db.write() as tx:
            tx.lock(f"joined {oldest['user_id']}")
            fact = store.waiting(tx, oldest["id"])
            with tx.prefer_indexes():  # the statistics of tables to which each batch adds thousands of rows are old
                return _announce_batch(tx, app, fact, now, batch) if fact else 1
    except errors.Unreadable:  # of the fact or of its application: the others need not wait for an operator
        with db.write() as tx:
            store.put_off(tx, oldest["id"], now + AGAIN_SECONDS)
        raise
    except (errors.Unavailable, Overtaken):
        raise
    except errors.SessionGone as gone:  # a holder
        raise Overtaken from gone
    except errors.NotFound:  # the application was deleted a moment ago, and its users with it
        return 0
    except Exception:
        with db.write() as tx:
            store.put_off(tx, oldest["id"], now + AGAIN_SECONDS)
        raise


def _announce_batch(tx: Tx, app: App, fact: Row, now: int, batch: int) -> int:
    joined = _joined_user(tx, app, fact)
    if result := _obsolete(app, joined):
        _check_written(store.finish(tx, fact["id"], result, now))
        return 1
    if joined and joined["verified_at"] is not None:  # verified since, perhaps between two batches
        fact = {**fact, "verified": 1}
    audience = preferences.of(tx, app, fact["user_id"]).told
    if audience == "nobody":
        _check_written(store.finish(tx, fact["id"], WITHHELD, now))
        return 1
    if fact["armed"] is not None and not fact["told_up_to"]:
        renewed = store.renew(tx, fact)
        if not renewed:
            raise Overtaken
        fact = renewed
    if audience == "mutual":
        return _announce_mutual(tx, app, fact, now, min(batch, MUTUAL_BATCH))
    if fact["armed"] is not None:
        _check_written(store.disarm(tx, fact))
        fact = {**fact, "armed": None}
    found = _next_batch(tx, app, fact, batch if fact["told_up_to"] else min(batch, FIRST_BATCH))
    if found.count:
        _notify(tx, app, fact, found, now)
        _check_written(store.move(tx, fact, found.holders.up_to))
        waking.pushes_added(tx)
    if found.is_last:
        _check_written(store.finish(tx, fact["id"], "told", now))
    return found.count + 1


def _announce_mutual(tx: Tx, app: App, fact: Row, now: int, batch: int) -> int:
    """The same for those holders alone of whom the joined user holds a number."""
    until = fact["created_at"] + MUTUAL_SECONDS
    if until <= now:
        _check_written(store.finish(tx, fact["id"], "told", now))
        return 1
    if fact["armed"] is None:  # before the contacts are read: see `arm`
        _check_written(store.arm(tx, fact, until))
        fact = {**fact, "armed": 0}
    found = store.mutual_holders(
        tx, app.id, fact["number"], fact["user_id"], fact["told_up_to"], batch, verified_only=app.verified_only
    )
    for run in _runs(tx, app, fact, found):
        _notify(tx, app, fact, _batch(tx, app, fact, len(run), run[0] - 1, run[-1]), now)
        waking.pushes_added(tx)
    if len(found) < batch:
        _check_written(store.await_uploads(tx, fact, until))
    else:
        _check_written(store.move(tx, fact, found[-1]))
    return len(found) + 1


def _runs(tx: Tx, app: App, fact: Row, mutual: Sequence[int]) -> list[Sequence[int]]:
    """These holders, in runs between whose first and last no other user holds the number.

    The statements that notify holders take all from one id to another. Most who hold a number are mutual contacts.
    """
    if not mutual:
        return []
    count, last = store.holders(tx, app.id, fact["number"], mutual[0] - 1, len(mutual))
    if (count, last) == (len(mutual), mutual[-1]) and _devices(tx, app, fact, mutual) <= BATCH or len(mutual) == 1:
        return [mutual]
    half = len(mutual) // 2
    return [*_runs(tx, app, fact, mutual[:half]), *_runs(tx, app, fact, mutual[half:])]


def _devices(tx: Tx, app: App, fact: Row, run: Sequence[int]) -> int:
    return sum(_batch(tx, app, fact, len(run), run[0] - 1, run[-1]).devices.values())


def _next_batch(tx: Tx, app: App, fact: Row, size: int) -> Batch:
    """The next up to `size` holders; fewer where their devices are so many that the transaction would be long."""
    while True:
        count, last = store.holders(tx, app.id, fact["number"], fact["told_up_to"], size)
        found = _batch(tx, app, fact, count, fact["told_up_to"], last, is_last=count < size)
        if count <= 1 or sum(found.devices.values()) <= BATCH:
            return found
        size = count // 2


def _batch(tx: Tx, app: App, fact: Row, count: int, after: int, up_to: int, *, is_last: bool = False) -> Batch:
    """The holders with ids above `after` and up to `up_to`, who are `count`."""
    holders = store.Holders(
        app_id=app.id,
        joined_id=fact["id"],
        number=fact["number"],
        after=after,
        up_to=up_to,
        environments=environments(app),
        without=providers.ringing(),
    )
    return Batch(count, holders, store.devices(tx, holders, announced=False) if count else {}, is_last=is_last)


def _check_written(written: bool) -> None:
    """Raises Overtaken when something has changed during the transaction: the fact, or the devices of a holder."""
    if not written:
        raise Overtaken


def _joined_user(tx: Tx, app: App, fact: Row) -> Row | None:
    """The user whom the fact is about, if the user still has the number."""
    found = proofs.holders(tx, app.id, fact["number"])
    return next((holder for holder in found if holder["user_id"] == fact["user_id"]), None)


def _obsolete(app: App, joined: Row | None) -> str:
    """Why a fact is not announced any more; "" when it is."""
    if not app.settings.contact_joined_enabled:
        return "contact_joined_enabled was switched off"
    if not joined:
        return "the user no longer has this number"
    if app.verified_only and joined["verified_at"] is None:
        return "the number is not verified, and only verified numbers count"
    return ""


def _notify(tx: Tx, app: App, fact: Row, batch: Batch, now: int) -> None:
    """Queue the pushes for those of the holders who were not notified of the number before."""
    chosen = store.have_chosen(tx, batch.holders.after, batch.holders.up_to)
    new = store.announce(
        tx,
        batch.holders,
        fact["user_id"],
        verified=bool(fact["verified"]),
        now=now,
        digest=app.settings.contact_joined_digest,
        chosen=chosen,
    )
    if not new:
        return
    devices = batch.devices
    if new != batch.count:  # some were notified before, or came just now, perhaps with a device in another lane
        devices = store.devices(tx, batch.holders, announced=True)
    if devices:
        by_default = preferences.quiet(app, None, None) is not None
        own = store.chosen_by(tx, batch.holders, quiet_by_default=by_default) if chosen else []
        choices = _choices(app, own, store.for_digest(tx, batch.holders), now)
        _add(tx, app, fact, batch.holders, devices, choices, now)
    if app.settings.webhook_url:
        until = now + LIFE_SECONDS
        pushes.add(tx, app.id, fact["user_id"], [_webhook(app, fact)], joined_id=fact["id"], now=now, expires_at=until)


def _add(
    tx: Tx,
    app: App,
    fact: Row,
    holders: store.Holders,
    devices: dict[str, int],
    choices: store.Choices | None,
    now: int,
) -> None:
    """Add the pushes. devices: of those who are notified, by lane. choices: None where nobody has any."""
    at_once = sum(devices.values())
    if choices:
        at_once -= _add_waiting(tx, fact, holders, choices.waiting, now)
        at_once -= _leave_out(tx, app, holders, choices.silent, now)
    added = pushes.add_joined(tx, holders, fact["user_id"], devices, now=now, life=LIFE_SECONDS, choices=choices)
    _check_written(added == at_once)


def _add_waiting(tx: Tx, fact: Row, holders: store.Holders, waiting: store.Listed, now: int) -> int:
    """Add the pushes that are due later; returns how many devices they go to."""
    if not waiting:
        return 0
    devices = store.devices_of(tx, holders, waiting)
    added = pushes.add_waiting(tx, holders, fact["user_id"], devices, waiting, now=now, life=LIFE_SECONDS)
    if added != sum(devices.values()):  # some have a push of the same digest already, or devices came or went
        _check_written(devices == store.devices_of(tx, holders, waiting))
    return sum(devices.values())


def _leave_out(tx: Tx, app: App, holders: store.Holders, silent: Sequence[int], now: int) -> int:
    """Count the devices of those who want no pushes; returns how many they are."""
    devices = sum(store.devices_of(tx, holders, [(user_id, None) for user_id in silent]).values()) if silent else 0
    if devices:
        stats.after(tx, app.id, "joined pushes withheld", now, devices)
    return devices


def _choices(app: App, chosen: Sequence[store.Chosen], for_digest: Sequence[int], now: int) -> store.Choices | None:
    """Who of these wants no pushes; and who gets them later, because of a digest or of quiet hours. None for nobody."""
    ends: dict[tuple[str, int | None, int | None], int | None] = {}
    waiting: dict[int, int | None] = dict.fromkeys(for_digest)
    silent = []
    for user_id, notify, zone, start, end in chosen:
        if not notify:
            silent.append(user_id)
            waiting.pop(user_id, None)
        elif zone:
            if (zone, start, end) not in ends:
                hours = preferences.quiet(app, start, end)
                ends[zone, start, end] = quiet_hours.ends(zone, hours, now) if hours else None
            if over := ends[zone, start, end]:
                waiting[user_id] = over
    return store.Choices(sorted(waiting.items()), silent) if waiting or silent else None


def environments(app: App) -> list[str]:
    """The environments of the subscriptions that get joined pushes."""
    return ["production", *(["development"] if app.settings.contact_joined_development else [])]


def getting(reached: Sequence[Row]) -> list[Row]:
    """Those of these rows of `subscriptions.of_users` that get joined pushes: not those for pushes that ring."""
    ringing = providers.ringing()
    return [row for row in reached if row["channel"] not in ringing]


def _webhook(app: App, fact: Row) -> pushes.NewPush:
    """The request to the application's backend. It has no number: the backend can ask for it by the user's id."""
    event = {
        "id": f"joined-{fact['id']}",
        "type": "contact_joined",
        "application_id": app.id,
        "user_id": fact["user_id"],
        "verified": bool(fact["verified"]),
        "created_at": times.iso(fact["created_at"]),
    }
    text = msgspec.json.encode(event).decode()
    lane = pushes.lane(app.id, providers.WEBHOOK_CHANNEL)
    return fact["user_id"], WEBHOOK, providers.WEBHOOK_CHANNEL, "production", text, None, lane


def sweep(db: Database, before: int, batch: int = 500) -> int:
    """Delete up to `batch` facts that were finished before then. Returns how many."""
    with db.write() as tx:
        return store.forget(tx, before, batch)
