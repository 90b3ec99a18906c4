"""Users who were last active before a given time and still have address books.

end_of_slice(tx, …)   how far a slice of the owners of books goes
users(tx, …)          those of a slice
is_idle(tx, …)        is this one of them?
"""

from .db import Tx
from .sweeps import LAST_ID

# The last use of a session is written to `seen` only when it ends, and the last upload is stored with the book. The
# statement begins at the books, and no subquery refers to a table outside: a cluster accepts nothing else
# (decisions/0003). {owner} and {user} narrow it to some users.
IDLE = (
    "SELECT b.owner_id FROM books AS b"
    " JOIN users AS u ON u.id = b.owner_id LEFT JOIN seen AS l ON l.user_id = b.owner_id"
    " WHERE COALESCE(l.last_request_at, u.imported_at, u.created_at) < :before AND u.created_at < :before{owner}"
    " AND b.owner_id NOT IN (SELECT s.user_id FROM sessions AS s WHERE s.user_id IS NOT NULL{user}"
    " AND (s.last_used_at >= :before OR s.expires_at > :now))"
    " GROUP BY b.owner_id HAVING MAX(b.synced_at) < :before"
)


def end_of_slice(tx: Tx, after: int, limit: int) -> int:
    """The last id of a slice of the owners of books that begins after an id and has about `limit` books."""
    found = tx.tuples(
        "SELECT owner_id FROM books WHERE owner_id > :after ORDER BY owner_id LIMIT 1 OFFSET :skipped",
        after=after,
        skipped=limit - 1,
    )
    return int(found[0][0]) if found else LAST_ID


def users(tx: Tx, now: int, before: int, after: int, last: int) -> list[int]:
    """Ids above `after` and up to `last` of users who were last active before a time."""
    owner, user = (f" AND {column} > :after AND {column} <= :last" for column in ("b.owner_id", "s.user_id"))
    sql = IDLE.format(owner=owner, user=user) + " ORDER BY b.owner_id"
    return [row[0] for row in tx.tuples(sql, now=now, before=before, after=after, last=last)]


def is_idle(tx: Tx, user_id: int, now: int, before: int) -> bool:
    """Was the user last active before a time?"""
    sql = IDLE.format(owner=" AND b.owner_id = :id", user=" AND s.user_id = :id")
    return bool(tx.tuples(sql, id=user_id, now=now, before=before))
