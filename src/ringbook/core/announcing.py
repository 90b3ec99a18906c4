"""Who is told that a contact has joined, and in what words.

    expand(db, now)          take the oldest fact a batch of holders further
    words(template, name)    the text of the push
    sweep(db, before)        forget facts that were told long ago

Everybody who holds the number gets one push on each of their devices, with the name from their own book; once for
ever, but once more when the number was not proven the first time and now is. A holder without a device counts as told.
The application's backend, if it asks for it, gets one request for each fact that somebody was told of.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .. import errors, times
from ..model import App
from ..store import joined as store
from ..store import proofs, pushes, subscriptions
from ..store.db import Database, Row, Tx
from . import applications, privacy, stats
from .delivery import WEBHOOK

BATCH = 500
AGAIN_SECONDS = 60  # a fact that could not be told lets the others go first
LIFE_SECONDS = 86_400  # a day later it is no news any more
WEBHOOK_CHANNEL = "webhook"
SILENT = {"apns_voip"}  # a VoIP push must ring (Apple, "Responding to VoIP notifications from PushKit")


class Overtaken(Exception):
    """Somebody whom the fact concerns went while it was being told: nothing of it is, this time."""


def expand(db: Database, now: int, batch: int = BATCH) -> int:
    """Tell up to `batch` holders of the oldest fact; how many were looked at, and one more when the fact is done.

    One transaction: holders are told, and the fact is known to be told to them, or neither. Raises Overtaken when the
    joiner or a holder was erased at this moment; what cannot be told for any other reason is put off and raised.
    """
    with db.read() as tx:
        oldest = store.oldest(tx, now)
    if not oldest:
        return 0
    try:
        return _told(db, applications.cached(db, oldest["app_id"]), oldest, now, batch)
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


def _told(db: Database, app: App, oldest: Row, now: int, batch: int) -> int:
    with db.write() as tx:
        tx.lock(f"joined {oldest['user_id']}")
        fact = store.waiting(tx, oldest["id"])
        return _told_further(tx, app, fact, now, batch) if fact else 1


def _told_further(tx: Tx, app: App, fact: Row, now: int, batch: int) -> int:
    mine = _answering(tx, app, fact)
    if reason := _void(app, mine):
        _sure(store.finish(tx, fact["id"], reason, now))
        return 1
    if mine and mine["verified_at"] is not None:  # proven since, perhaps while it is being told
        fact = {**fact, "verified": 1}
    holders = store.holders(tx, app.id, fact["number"], fact["told_up_to"], batch)
    if holders:
        _tell(tx, app, fact, [holder for holder in holders if holder != fact["user_id"]], now)
        _sure(store.move(tx, fact["id"], fact["told_up_to"], holders[-1]))
    if len(holders) < batch:
        _sure(store.finish(tx, fact["id"], "told", now))
    return len(holders) + 1


def _sure(written: bool) -> None:
    """The fact was still there when all was written; the joiner may have been erased meanwhile."""
    if not written:
        raise Overtaken


def _answering(tx: Tx, app: App, fact: Row) -> Row | None:
    """The joiner, if the number is still the joiner's."""
    found = proofs.holders(tx, app.id, fact["number"])
    return next((holder for holder in found if holder["user_id"] == fact["user_id"]), None)


def _void(app: App, mine: Row | None) -> str:
    """Why nobody is told of a fact any more; "" when they are."""
    if not app.settings.contact_joined_enabled:
        return "contact_joined_enabled was switched off"
    if not mine:
        return "the user no longer has this number"
    if app.verified_only and mine["verified_at"] is None:
        return "the number is not proven, and only proven ones count"
    return ""


def _tell(tx: Tx, app: App, fact: Row, holders: Sequence[int], now: int) -> None:
    names = store.names(tx, fact["number"], holders)
    hashed = privacy.hashed(app, fact["number"])
    told = store.announce(tx, list(names), hashed, verified=bool(fact["verified"]), now=now) if names else set()
    if not told:
        return
    stats.after(tx, app.id, "holders told", now, len(told))
    environments = ["production", *(["development"] if app.settings.contact_joined_development else [])]
    reached = subscriptions.of_users(tx, app.id, sorted(told), environments)
    rows = [_push(app, fact, one, names) for one in reached if one["channel"] not in SILENT]
    if app.settings.webhook_url:
        lane = pushes.lane(app.id, WEBHOOK_CHANNEL)
        rows.append((fact["user_id"], WEBHOOK, WEBHOOK_CHANNEL, "production", _encoded(_event(app, fact)), None, lane))
    if rows:
        pushes.add(tx, app.id, fact["user_id"], rows, joined_id=fact["id"], now=now, expires_at=now + LIFE_SECONDS)


def _push(app: App, fact: Row, reached: Row, names: Mapping[int, str]) -> pushes.NewPush:
    text = words(app.settings.contact_joined_template, names[reached["user_id"]])
    payload: dict[str, Any] = {"message": text, "user_id": fact["user_id"], "type": "contact_joined"}
    if app.settings.contact_joined_fcm_notification and reached["channel"] == "gcm":
        payload["android_fcm_notification"] = {"body": text}
    wanted = _encoded(payload), None, reached["lane"]
    return reached["user_id"], reached["id"], reached["channel"], reached["environment"], *wanted


def _event(app: App, fact: Row) -> dict[str, Any]:
    """What the application's backend is told; not the number, which it can ask for."""
    return {
        "id": f"joined-{fact['id']}",
        "type": "contact_joined",
        "application_id": app.id,
        "user_id": fact["user_id"],
        "verified": bool(fact["verified"]),
        "created_at": times.iso(fact["created_at"]),
    }


def _encoded(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def words(template: str, name: str) -> str:
    """The template with the name in place of `%s`, and `%%` as a per cent sign.

    Piece by piece, so that a name that holds such signs stays as it is.
    """
    return "%".join(piece.replace("%s", name) for piece in template.split("%%"))


def sweep(db: Database, before: int, batch: int = 500) -> int:
    """Forget up to `batch` facts that were done before then; how many that were."""
    with db.write() as tx:
        return store.forget(tx, before, batch)
