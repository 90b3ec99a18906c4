"""Push subscriptions. Push tokens, browsers' endpoints and their `web_auth` are sealed. Keyed values find tokens.

token_key, sealed, opened      the keyed value of a push token; what is sealed
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

from .. import errors
from ..model import Subscription
from .db import Row, Rows, Tx, ids

COLUMNS = (
    "id, user_id, app_id, device, platform, channel, environment, bundle, token, web_auth, web_p256dh, locale,"
    " answered_at, silent_since"
)
# Endpoints that users registered and that do not answer share a lane, so that they delay no others.
LANE = (
    "s.app_id || ':' || s.channel || CASE WHEN s.channel = 'web'"
    " AND (s.answered_at IS NULL OR s.silent_since IS NOT NULL) THEN '?' ELSE '' END"
)


def token_key(tx: Tx, app_id: int, token: str) -> bytes:
    """The keyed value by which a push token is found in an application."""
    return tx.seal.lookup("push token", app_id, token)


def opened(tx: Tx, row: Row) -> Row:
    """A row with `token` and `web_auth` opened, without `app_id`; errors.Unreadable."""
    app_id = row.pop("app_id")
    owner = app_id, row["user_id"], row["device"], row["channel"], row["environment"]
    row["token"] = tx.seal.open(row["token"], "subscriptions", "token", *owner)
    if row["web_auth"] is not None:
        row["web_auth"] = tx.seal.open(row["web_auth"], "subscriptions", "web_auth", *owner)
    return row


def _sealed(tx: Tx, app_id: int, one: Subscription) -> dict[str, bytes | None]:
    owner = app_id, one.user_id, one.device, one.channel, one.environment
    return sealed(tx, owner, one.token, one.web_auth)


def sealed(tx: Tx, owner: tuple[int, int, str, str, str], token: str, web_auth: str | None) -> dict[str, bytes | None]:
    """The sealed and keyed columns of a subscription, bound to its owner.

    owner   app_id, user_id, device, channel and environment
    """
    return {
        "token": tx.seal.text(token, "subscriptions", "token", *owner),
        "token_key": token_key(tx, owner[0], token),
        "web_auth": None if web_auth is None else tx.seal.text(web_auth, "subscriptions", "web_auth", *owner),
    }


def _subscription(tx: Tx, row: Row) -> Subscription:
    return Subscription(**opened(tx, row))


def find(tx: Tx, user_id: int, device: str, channel: str, environment: str) -> Row | None:
    """The id and token_key of the subscription that a registration renews."""
    return tx.one(
        "SELECT id, token_key FROM subscriptions WHERE user_id = :user_id AND device = :device"
        " AND channel = :channel AND environment = :environment",
        user_id=user_id,
        device=device,
        channel=channel,
        environment=environment,
    )


def insert(tx: Tx, app_id: int, subscription: Subscription, now: int) -> Subscription:
    """Add a subscription with a new id. Of two simultaneous registrations, the later one renews the first."""
    row = tx.one(
        "INSERT INTO subscriptions (user_id, id, app_id, device, platform, channel, environment, bundle, token,"
        " token_key, web_auth, web_p256dh, locale, created_at, updated_at)"
        " VALUES (:user_id, :id, :app_id, :device, :platform, :channel, :environment, :bundle, :token, :token_key,"
        " :web_auth, :web_p256dh, :locale, :now, :now)"
        " ON CONFLICT (user_id, device, channel, environment) DO UPDATE SET platform = excluded.platform,"
        " bundle = excluded.bundle, token = excluded.token, token_key = excluded.token_key,"
        " answered_at = CASE WHEN subscriptions.token_key = excluded.token_key THEN subscriptions.answered_at END,"
        " silent_since = CASE WHEN subscriptions.token_key = excluded.token_key THEN subscriptions.silent_since END,"
        " web_auth = excluded.web_auth, web_p256dh = excluded.web_p256dh, updated_at = excluded.updated_at,"
        " locale = COALESCE(excluded.locale, subscriptions.locale)"
        f" RETURNING {COLUMNS}",
        id=tx.next_id("subscription_ids"),
        app_id=app_id,
        user_id=subscription.user_id,
        device=subscription.device,
        platform=subscription.platform,
        channel=subscription.channel,
        environment=subscription.environment,
        bundle=subscription.bundle,
        web_p256dh=subscription.web_p256dh,
        locale=subscription.locale,
        now=now,
        **_sealed(tx, app_id, subscription),
    )
    assert row
    return _subscription(tx, row)


def renew(tx: Tx, app_id: int, subscription: Subscription, now: int) -> Subscription | None:
    """Give an existing subscription a new token; its id stays. None when it has just been deleted."""
    row = tx.one(
        "UPDATE subscriptions SET platform = :platform, bundle = :bundle, token = :token, token_key = :token_key,"
        " answered_at = CASE WHEN token_key = :token_key THEN answered_at END,"
        " silent_since = CASE WHEN token_key = :token_key THEN silent_since END,"
        " web_auth = :web_auth, web_p256dh = :web_p256dh, locale = COALESCE(:locale, locale), updated_at = :now"
        f" WHERE user_id = :user_id AND id = :id RETURNING {COLUMNS}",
        id=subscription.id,
        user_id=subscription.user_id,
        platform=subscription.platform,
        bundle=subscription.bundle,
        web_p256dh=subscription.web_p256dh,
        locale=subscription.locale,
        now=now,
        **_sealed(tx, app_id, subscription),
    )
    return _subscription(tx, row) if row else None


def of_user(tx: Tx, user_id: int) -> list[Subscription]:
    """A user's subscriptions, oldest first."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM subscriptions WHERE user_id = :user_id ORDER BY created_at, id", user_id=user_id
    )
    return [_subscription(tx, row) for row in rows]


def delete(tx: Tx, user_id: int, subscription_id: int) -> bool:
    """Delete one of a user's subscriptions; False when there is none."""
    return bool(
        tx.run("DELETE FROM subscriptions WHERE user_id = :user_id AND id = :id", user_id=user_id, id=subscription_id)
    )


def delete_all(tx: Tx, user_id: int) -> None:
    """Delete all of a user's subscriptions."""
    tx.run("DELETE FROM subscriptions WHERE user_id = :user_id", user_id=user_id)


def leave_elsewhere(tx: Tx, app_id: int, channel: str, token: str, user_id: int, kept: int) -> None:
    """Delete the other subscriptions with this push token: it belongs to the user who registered it last.

    Most tokens have no other. A DELETE that finds none would still lock the whole table on a cluster.
    """
    key = token_key(tx, app_id, token)
    found = tx.tuples(
        "SELECT user_id, id FROM subscriptions WHERE app_id = :app_id AND channel = :channel"
        " AND token_key = :token_key AND NOT (user_id = :user_id AND id = :kept)",
        app_id=app_id,
        channel=channel,
        token_key=key,
        user_id=user_id,
        kept=kept,
    )
    for other, subscription_id in sorted(found):
        tx.run(
            "DELETE FROM subscriptions WHERE user_id = :user_id AND id = :id AND token_key = :token_key",
            user_id=other,
            id=subscription_id,
            token_key=key,
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


def chosen(tx: Tx, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Subscription | errors.Unreadable]:
    """The subscriptions among these that still exist, by (user_id, id).

    In place of one that does not open stands the error, so that the others can be sent to.
    """
    columns = ", ".join(f"s.{column}" for column in COLUMNS.split(", "))
    rows = tx.all(
        f"SELECT {columns} FROM :keys AS k JOIN subscriptions AS s ON s.user_id = k.user_id AND s.id = k.id",
        keys=Rows({"user_id": int, "id": int}, keys),
    )
    return {(row["user_id"], row["id"]): _if_readable(tx, row) for row in rows}


def _if_readable(tx: Tx, row: Row) -> Subscription | errors.Unreadable:
    try:
        return _subscription(tx, row)
    except errors.Unreadable as unreadable:
        return unreadable


def end_dead(tx: Tx, app_id: int, user_id: int, subscription_id: int, token: str, died_at: int) -> bool:
    """Delete a subscription whose token became invalid at a time; False when the app has renewed it since."""
    rows = tx.run(
        "DELETE FROM subscriptions"
        " WHERE user_id = :user_id AND id = :id AND token_key = :token_key AND updated_at <= :died_at",
        user_id=user_id,
        id=subscription_id,
        token_key=token_key(tx, app_id, token),
        died_at=died_at,
    )
    return rows == 1


def mark_answered(tx: Tx, app_id: int, user_id: int, subscription_id: int, token: str, now: int) -> None:
    """Record that this endpoint answers."""
    tx.run(
        "UPDATE subscriptions SET answered_at = :now, silent_since = NULL"
        " WHERE user_id = :user_id AND id = :id AND token_key = :token_key",
        user_id=user_id,
        id=subscription_id,
        token_key=token_key(tx, app_id, token),
        now=now,
    )


def mark_silent(tx: Tx, app_id: int, user_id: int, subscription_id: int, token: str, since: int) -> None:
    """Record that this endpoint has not answered since then, unless an earlier time is recorded."""
    tx.run(
        "UPDATE subscriptions SET silent_since = :since"
        " WHERE user_id = :user_id AND id = :id AND token_key = :token_key AND silent_since IS NULL",
        user_id=user_id,
        id=subscription_id,
        token_key=token_key(tx, app_id, token),
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
