"""Announces users to the holders of their numbers: who gets the "your friend joined" push, and its text.

    expand(db, now)                      announces the oldest waiting fact to one batch of holders
    pushes_for(app, reached, text, …)    the pushes to subscriptions; also of a test push
    environments(app)                    the environments that joined pushes go to
    words(template, name)                the text of a push
    sweep(db, before)                    deletes facts that were announced long ago

A *fact* (`core/joined.py`) says that a user has gained a number. Each holder of the number is notified once: by one
push to each device, with the name from the holder's own address book. A holder is notified a second time when the
number was not verified the first time and is now. Holders without a device count as notified. The application's
backend gets one webhook request per fact that at least one holder is notified of.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from .. import errors, times
from ..model import App
from ..push import providers
from ..store import joined as store
from ..store import proofs, pushes, subscriptions
from ..store.db import Database, Row, Tx
from . import applications
from .delivery import WEBHOOK

BATCH = 500
AGAIN_SECONDS = 60  # the pause before a fact that failed is tried again, so that it does not hold up the others
LIFE_SECONDS = 86_400


class Overtaken(Exception):
    """The joined user, or a holder, was erased during the transaction: nothing of it is written."""


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
            return _announce_batch(tx, app, fact, now, batch) if fact else 1
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
    holders = store.holders(tx, app.id, fact["number"], fact["told_up_to"], batch)
    if holders:
        _notify(tx, app, fact, [holder for holder in holders if holder != fact["user_id"]], now)
        _check_written(store.move(tx, fact["id"], fact["told_up_to"], holders[-1]))
    if len(holders) < batch:
        _check_written(store.finish(tx, fact["id"], "told", now))
    return len(holders) + 1


def _check_written(written: bool) -> None:
    """Raises Overtaken when the fact was gone: the joined user was erased during the transaction."""
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


def _notify(tx: Tx, app: App, fact: Row, holders: Sequence[int], now: int) -> None:
    """Queue the pushes for those of the holders who were not notified of the number before."""
    number = fact["number"]
    names = store.names(tx, app.id, number, holders)
    new = store.announce(tx, app.id, list(names), number, verified=bool(fact["verified"]), now=now) if names else set()
    if not new:
        return
    reached = subscriptions.of_users(tx, app.id, sorted(new), environments(app))
    template = app.settings.contact_joined_template
    rows = pushes_for(app, reached, lambda user_id: words(template, names[user_id]), about=fact["user_id"])
    if app.settings.webhook_url:
        rows.append(_webhook(app, fact))
    if rows:
        pushes.add(tx, app.id, fact["user_id"], rows, joined_id=fact["id"], now=now, expires_at=now + LIFE_SECONDS)


def environments(app: App) -> list[str]:
    """The environments of the subscriptions that get joined pushes."""
    return ["production", *(["development"] if app.settings.contact_joined_development else [])]


def pushes_for(
    app: App, reached: Sequence[Row], text: Callable[[int], str], *, about: int, **more: Any
) -> list[pushes.NewPush]:
    """The joined pushes to those of these subscriptions that get any.

    reached   rows of `subscriptions.of_users`
    text      the text for a recipient, by the user's id
    about     the user who has joined
    more      keys that are added to each payload
    """
    rows: list[pushes.NewPush] = []
    for one in reached:
        channel = providers.channel(one["channel"])
        if channel.rings_instead_of:
            continue
        message = text(one["user_id"])
        payload: dict[str, Any] = {"message": message, "user_id": about, "type": "contact_joined", **more}
        if app.settings.contact_joined_fcm_notification and channel.own_notification:
            payload["android_fcm_notification"] = {"body": message}
        subscription = one["user_id"], one["id"], one["channel"], one["environment"]
        rows.append((*subscription, _encoded(payload), None, one["lane"]))
    return rows


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
    lane = pushes.lane(app.id, providers.WEBHOOK_CHANNEL)
    return fact["user_id"], WEBHOOK, providers.WEBHOOK_CHANNEL, "production", _encoded(event), None, lane


def _encoded(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def words(template: str, name: str) -> str:
    """The template with the name in place of `%s`, and a per cent sign in place of `%%`.

    The pieces between `%%` are replaced one by one, so that a name that contains such signs stays as it is.
    """
    return "%".join(piece.replace("%s", name) for piece in template.split("%%"))


def sweep(db: Database, before: int, batch: int = 500) -> int:
    """Delete up to `batch` facts that were finished before then. Returns how many."""
    with db.write() as tx:
        return store.forget(tx, before, batch)
