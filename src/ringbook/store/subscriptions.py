"""Push subscriptions.

find, insert, renew            one per user, device, channel and environment
of_user, delete                a user's own
leave_elsewhere                a push token stands once per application and channel
drop_oldest                    beyond the limit
of_users, chosen               to send to
end_dead                       the provider says that a push token is dead
mark_answered, mark_silent     whether an endpoint that a browser named answers
any_of                         does anybody use a channel?
"""

from collections.abc import Sequence

from ..model import Subscription
from .db import Row, Rows, Tx, ids

COLUMNS = (
    "id, user_id, device, platform, channel, environment, bundle, token, web_auth, web_p256dh, answered_at,"
    " silent_since"
)
# Endpoints that users registered and that do not answer share a lane, so that they delay no others.
LANE = (
    "s.app_id || ':' || s.channel || CASE WHEN s.channel = 'web'"
    " AND (s.answered_at IS NULL OR s.silent_since IS NOT NULL) THEN '?' ELSE '' END"
)


def _subscription(row: Row) -> Subscription:
    return Subscription(**row)


def find(tx: Tx, user_id: int, device: str, channel: str, environment: str) -> Row | None:
    """The id and token_hash of the subscription that a registration renews."""
    return tx.one(
        "SELECT id, token_hash FROM subscriptions WHERE user_id = :user_id AND device = :device"
        " AND channel = :channel AND environment = :environment",
        user_id=user_id,
        device=device,
        channel=channel,
        environment=environment,
    )


def insert(tx: Tx, app_id: int, subscription: Subscription, token_hash: bytes, now: int) -> Subscription:
    """Add a subscription with a new id. Of two simultaneous registrations, the later one renews the first."""
    row = tx.one(
        "INSERT INTO subscriptions (user_id, id, app_id, device, platform, channel, environment, bundle, token,"
        " token_hash, web_auth, web_p256dh, created_at, updated_at)"
        " VALUES (:user_id, :id, :app_id, :device, :platform, :channel, :environment, :bundle, :token, :token_hash,"
        " :web_auth, :web_p256dh, :now, :now)"
        " ON CONFLICT (user_id, device, channel, environment) DO UPDATE SET platform = excluded.platform,"
        " bundle = excluded.bundle, token = excluded.token, token_hash = excluded.token_hash,"
        " answered_at = CASE WHEN subscriptions.token_hash = excluded.token_hash THEN subscriptions.answered_at END,"
        " silent_since = CASE WHEN subscriptions.token_hash = excluded.token_hash THEN subscriptions.silent_since END,"
        " web_auth = excluded.web_auth, web_p256dh = excluded.web_p256dh, updated_at = excluded.updated_at"
        f" RETURNING {COLUMNS}",
        id=tx.next_id("subscription_ids"),
        app_id=app_id,
        user_id=subscription.user_id,
        device=subscription.device,
        platform=subscription.platform,
        channel=subscription.channel,
        environment=subscription.environment,
        bundle=subscription.bundle,
        token=subscription.token,
        token_hash=token_hash,
        web_auth=subscription.web_auth,
        web_p256dh=subscription.web_p256dh,
        now=now,
    )
    assert row
    return _subscription(row)


def renew(tx: Tx, subscription: Subscription, token_hash: bytes, now: int) -> Subscription | None:
    """Give an existing subscription a new token; its id stays. None when it has just been deleted."""
    row = tx.one(
        "UPDATE subscriptions SET platform = :platform, bundle = :bundle, token = :token, token_hash = :token_hash,"
        " answered_at = CASE WHEN token_hash = :token_hash THEN answered_at END,"
        " silent_since = CASE WHEN token_hash = :token_hash THEN silent_since END,"
        " web_auth = :web_auth, web_p256dh = :web_p256dh, updated_at = :now"
        f" WHERE user_id = :user_id AND id = :id RETURNING {COLUMNS}",
        id=subscription.id,
        user_id=subscription.user_id,
        platform=subscription.platform,
        bundle=subscription.bundle,
        token=subscription.token,
        token_hash=token_hash,
        web_auth=subscription.web_auth,
        web_p256dh=subscription.web_p256dh,
        now=now,
    )
    return _subscription(row) if row else None


def of_user(tx: Tx, user_id: int) -> list[Subscription]:
    """A user's subscriptions, oldest first."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM subscriptions WHERE user_id = :user_id ORDER BY created_at, id", user_id=user_id
    )
    return [_subscription(row) for row in rows]


def delete(tx: Tx, user_id: int, subscription_id: int) -> bool:
    """Delete one of a user's subscriptions; False when there is none."""
    return bool(
        tx.run("DELETE FROM subscriptions WHERE user_id = :user_id AND id = :id", user_id=user_id, id=subscription_id)
    )


def delete_all(tx: Tx, user_id: int) -> None:
    """Delete all of a user's subscriptions."""
    tx.run("DELETE FROM subscriptions WHERE user_id = :user_id", user_id=user_id)


def leave_elsewhere(tx: Tx, app_id: int, channel: str, token_hash: bytes, user_id: int, kept: int) -> None:
    """Delete the other subscriptions with this push token: it belongs to the user who registered it last."""
    tx.run(
        "DELETE FROM subscriptions WHERE app_id = :app_id AND channel = :channel AND token_hash = :token_hash"
        " AND NOT (user_id = :user_id AND id = :kept)",
        app_id=app_id,
        channel=channel,
        token_hash=token_hash,
        user_id=user_id,
        kept=kept,
    )


def drop_oldest(tx: Tx, user_id: int, keep: int) -> None:
    """Delete all but the `keep` subscriptions that were renewed last."""
    tx.run(
        "DELETE FROM subscriptions WHERE user_id = :user_id AND id IN"
        " (SELECT id FROM subscriptions WHERE user_id = :user_id"
        " ORDER BY updated_at DESC, id DESC LIMIT 1000 OFFSET :keep)",
        user_id=user_id,
        keep=keep,
    )


def of_users(tx: Tx, app_id: int, user_ids: Sequence[int], environments: Sequence[str]) -> list[Row]:
    """These users' subscriptions in these environments: user_id, id, channel, environment and lane."""
    # The + keeps SQLite from reading all subscriptions of the application through the index on tokens.
    return tx.all(
        f"SELECT s.user_id, s.id, s.channel, s.environment, {LANE} AS lane FROM subscriptions AS s"
        " WHERE s.user_id IN :users AND +s.app_id = :app_id AND s.environment IN :environments"
        " ORDER BY s.user_id, s.created_at, s.id",
        users=Rows.of("user_id", ids.possible(user_ids)),
        environments=Rows.of("environment", environments),
        app_id=app_id,
    )


def chosen(tx: Tx, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Subscription]:
    """The subscriptions among these that still exist, by (user_id, id)."""
    columns = ", ".join(f"s.{column}" for column in COLUMNS.split(", "))
    rows = tx.all(
        f"SELECT {columns} FROM :keys AS k JOIN subscriptions AS s ON s.user_id = k.user_id AND s.id = k.id",
        keys=Rows({"user_id": int, "id": int}, keys),
    )
    return {(row["user_id"], row["id"]): _subscription(row) for row in rows}


def end_dead(tx: Tx, user_id: int, subscription_id: int, token: str, died_at: int) -> bool:
    """Delete a subscription whose token became invalid at a time; False when the app has renewed it since."""
    rows = tx.run(
        "DELETE FROM subscriptions WHERE user_id = :user_id AND id = :id AND token = :token AND updated_at <= :died_at",
        user_id=user_id,
        id=subscription_id,
        token=token,
        died_at=died_at,
    )
    return rows == 1


def mark_answered(tx: Tx, user_id: int, subscription_id: int, token: str, now: int) -> None:
    """Record that this endpoint answers."""
    tx.run(
        "UPDATE subscriptions SET answered_at = :now, silent_since = NULL"
        " WHERE user_id = :user_id AND id = :id AND token = :token",
        user_id=user_id,
        id=subscription_id,
        token=token,
        now=now,
    )


def mark_silent(tx: Tx, user_id: int, subscription_id: int, token: str, since: int) -> None:
    """Record that this endpoint has not answered since then, unless an earlier time is recorded."""
    tx.run(
        "UPDATE subscriptions SET silent_since = :since"
        " WHERE user_id = :user_id AND id = :id AND token = :token AND silent_since IS NULL",
        user_id=user_id,
        id=subscription_id,
        token=token,
        since=since,
    )


def any_of(tx: Tx, app_id: int, channel: str) -> bool:
    """Has an application any subscription to this channel?"""
    found = tx.tuples(
        "SELECT 1 FROM subscriptions WHERE app_id = :app_id AND channel = :channel LIMIT 1",
        app_id=app_id,
        channel=channel,
    )
    return bool(found)
