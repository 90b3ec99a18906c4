"""Pages of all users of an application for the dashboard.

SORTS                  the orders in which users are walked through
walk                   ids in such an order, from one user on
keys_of                what users are sorted by, of given users
verified, with_book, with_device    which of given users have a verified number, contacts, a push subscription
by_external            the users with this external id

A page looks at some hundreds of users at a time, so that each statement is short on every database, on a cluster too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .db import Row, Rows, Tx
from .users import seen


@dataclass(frozen=True, slots=True)
class Sort:
    """An order of users: the column, then the id. Users without a value are left out, and walked through at the end."""

    column: str
    descending: bool = False
    nullable: bool = False


SORTS = {
    "newest": Sort("created_at", descending=True),
    "oldest": Sort("created_at"),
    "name": Sort("full_name_folded", nullable=True),
    "-name": Sort("full_name_folded", descending=True, nullable=True),
    "id": Sort("id"),
}


def walk(tx: Tx, app_id: int, sort: str, after: int, since: int, limit: int) -> list[int]:
    """Ids of up to `limit` users who signed up at `since` or later, after the user with the id `after` (0: the first).

    When that user is gone meanwhile, from the beginning.
    """
    how = SORTS[sort]
    last = tx.tuples(
        f"SELECT {how.column}, created_at FROM users WHERE id = :after AND app_id = :app_id",
        after=after,
        app_id=app_id,
    )
    if last and last[0][0] is None:  # among those without a value
        return _without(tx, app_id, how, after, since, limit)
    found = _with(tx, app_id, how, last[0][0] if last else None, after, since, limit)
    if how.nullable and len(found) < limit:
        found += _without(tx, app_id, how, 0, since, limit - len(found))
    return found


def _with(tx: Tx, app_id: int, how: Sort, value: int | str | None, after: int, since: int, limit: int) -> list[int]:
    sign, order = ("<", "DESC") if how.descending else (">", "ASC")
    later = f" AND (u.{how.column}, u.id) {sign} (:value, :after)" if value is not None else ""
    # "+" keeps SQLite, which has no statistics, from reading the users by the time of their sign-up and sorting them.
    since_column = "u.created_at" if how.column == "created_at" else "+u.created_at"
    rows = tx.tuples(
        f"SELECT u.id FROM users AS u WHERE u.app_id = :app_id AND u.{how.column} IS NOT NULL{later}"
        f" AND {since_column} >= :since ORDER BY u.{how.column} {order}, u.id {order} LIMIT :limit",
        app_id=app_id,
        since=since,
        limit=limit,
        **({"value": value, "after": after} if later else {}),
    )
    return [row[0] for row in rows]


def _without(tx: Tx, app_id: int, how: Sort, after: int, since: int, limit: int) -> list[int]:
    rows = tx.tuples(
        f"SELECT u.id FROM users AS u WHERE u.app_id = :app_id AND u.{how.column} IS NULL AND u.id > :after"
        " AND +u.created_at >= :since ORDER BY u.id LIMIT :limit",
        app_id=app_id,
        after=after,
        since=since,
        limit=limit,
    )
    return [row[0] for row in rows]


def keys_of(tx: Tx, app_id: int, user_ids: Sequence[int]) -> list[Row]:
    """id, created_at, full_name_folded and last_request_at (None: never) of these users, in any order."""
    rows = tx.all(
        "SELECT u.id, u.created_at, u.full_name_folded FROM users AS u WHERE u.id IN :ids AND +u.app_id = :app_id",
        ids=Rows.of("id", user_ids),
        app_id=app_id,
    )
    last = seen(tx, [row["id"] for row in rows])
    return [row | {"last_request_at": last.get(row["id"])} for row in rows]


def verified(tx: Tx, user_ids: Sequence[int]) -> set[int]:
    """Those who have a verified number."""
    return _among(tx, "SELECT user_id FROM numbers WHERE verified_at IS NOT NULL AND user_id IN :ids", user_ids)


def with_book(tx: Tx, user_ids: Sequence[int]) -> set[int]:
    """Those who have contacts."""
    return _among(tx, "SELECT owner_id FROM books WHERE size > 0 AND owner_id IN :ids", user_ids)


def with_device(tx: Tx, user_ids: Sequence[int]) -> set[int]:
    """Those who have a push subscription."""
    return _among(tx, "SELECT user_id FROM subscriptions WHERE user_id IN :ids", user_ids)


def _among(tx: Tx, sql: str, user_ids: Sequence[int]) -> set[int]:
    return {row[0] for row in tx.tuples(sql, ids=Rows.of("id", user_ids))} if user_ids else set()


def by_external(tx: Tx, app_id: int, text: str, limit: int) -> list[int]:
    """Ids of up to `limit` users with this external id."""
    rows = tx.tuples(
        "SELECT id FROM users WHERE app_id = :app_id AND external_id = :text ORDER BY id LIMIT :limit",
        app_id=app_id,
        text=text,
        limit=limit,
    )
    return [row[0] for row in rows]


def contacts_of(tx: Tx, user_ids: Sequence[int]) -> dict[int, int]:
    """How many contacts these users have, by id; without those who have none."""
    rows = tx.tuples("SELECT owner_id, contacts FROM totals WHERE owner_id IN :ids", ids=Rows.of("id", user_ids))
    return dict(rows)
