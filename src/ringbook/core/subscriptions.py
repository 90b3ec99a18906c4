"""Push subscriptions: the push tokens of users' devices.

    subscribe      stores the subscriptions of a device, or renews their tokens
    of_user        the subscriptions of a user
    channels       the channels that an application's users subscribe to
    unsubscribe    deletes one subscription
    check          refuses a subscription that no provider could use

There is one subscription per user, device, channel and environment. A push token belongs to the user who registered it
last: when another user signs in on a phone, the former user's pushes must not appear there. Source: docs/wire.md §5.
"""

from collections.abc import Sequence

import msgspec

from .. import errors, preferences
from ..config import Config
from ..model import App, Subscription
from ..push import providers
from ..store import subscriptions as store
from ..store.db import Database, Row, Tx
from . import numbers

PLATFORMS = ("ios", "android", "web")
ENVIRONMENTS = ("development", "production")
LONGEST = 255


def subscribe(db: Database, config: Config, app: App, wished: Sequence[Subscription], now: int) -> list[Subscription]:
    """Store new subscriptions (their id is 0), all or none. Returns them with their ids."""
    for subscription in wished:
        check(subscription, config)
    wished = [_spelled(subscription) for subscription in wished]

    def stored(tx: Tx) -> list[Subscription]:
        _lock(tx, app.id, wished)
        kept = [_store(tx, app, subscription, now) for subscription in wished]
        store.drop_oldest(tx, wished[0].user_id, config.limits.max_subscriptions)
        return kept

    return numbers.retried(db, stored)


def _lock(tx: Tx, app_id: int, wished: Sequence[Subscription]) -> None:
    """Lock these push tokens and the tokens that they replace, until the transaction ends.

    All are locked in one order, so that two users who exchange their tokens do not deadlock. Raises RetryTransaction
    when a token to be replaced has changed before it was locked.
    """
    tokens = {store.token_key(tx, app_id, one.token) for one in wished} | _replaced(tx, wished)
    for token_key in sorted(tokens):
        tx.lock(f"push token {token_key.hex()}")
    if not _replaced(tx, wished) <= tokens:
        raise numbers.RetryTransaction


def _replaced(tx: Tx, wished: Sequence[Subscription]) -> set[bytes]:
    found = (_existing(tx, one) for one in wished)
    return {bytes(row["token_key"]) for row in found if row}


def _existing(tx: Tx, wished: Subscription) -> Row | None:
    return store.find(tx, wished.user_id, wished.device, wished.channel, wished.environment)


def _store(tx: Tx, app: App, wished: Subscription, now: int) -> Subscription:
    stored, existing = None, _existing(tx, wished)
    if existing:  # the row keeps its id: renewals must not use up ids
        stored = store.renew(tx, app.id, msgspec.structs.replace(wished, id=existing["id"]), now)
    stored = stored or store.insert(tx, app.id, wished, now)
    store.leave_elsewhere(tx, app.id, wished.channel, wished.token, stored.user_id, stored.id)
    return stored


def of_user(db: Database, user_id: int) -> list[Subscription]:
    """The subscriptions of a user, oldest first."""
    with db.read() as tx:
        return store.of_user(tx, user_id)


def channels(db: Database, app_id: int) -> set[str]:
    """The channels that an application's users subscribe to."""
    with db.read() as tx:
        return {channel for channel in providers.device_channels() if store.any_of(tx, app_id, channel)}


def unsubscribe(db: Database, user_id: int, subscription_id: int) -> None:
    """Delete one of the user's subscriptions; NotFound for another user's."""
    with db.write() as tx:
        if not store.delete(tx, user_id, subscription_id):
            raise errors.NotFound("Not found")


# ── checking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def check(wished: Subscription, config: Config) -> None:
    """Raise Invalid with the field when no provider could use this subscription."""
    device_channels = providers.device_channels()
    _one_of(wished.channel, list(device_channels), "channel")
    _one_of(wished.environment, ENVIRONMENTS, "environment")
    _one_of(wished.platform, PLATFORMS, "platform")
    if not wished.device:
        raise errors.Invalid("can't be blank", field="device")
    for field, value in (("device", wished.device), ("bundle", wished.bundle or "")):
        if len(value) > LONGEST:
            raise errors.Invalid(f"is longer than {LONGEST} characters", field=field)
    device_channels[wished.channel](wished, config)


def _spelled(wished: Subscription) -> Subscription:
    """The same with the locale as it is stored; Invalid."""
    if wished.locale is None:
        return wished
    return msgspec.structs.replace(wished, locale=preferences.locale(wished.locale, "locale"))


def _one_of(value: str, known: Sequence[str], field: str) -> None:
    if value not in known:
        raise errors.Invalid(f"must be one of {', '.join(known)}", field=field)
