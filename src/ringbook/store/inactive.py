"""Users who were last active before a given time and still have address books.

end_of_slice(tx, …)   how far a slice of the owners of books goes
users(tx, …)          those of a slice
is_idle(tx, …)        is this one of them?
"""

from .db import Tx
from .sweeps import LAST_ID

# The last use of a session is written to the user only when it ends, and the last upload is stored with the book.
IDLE = (
    "COALESCE(u.last_request_at, u.imported_at, u.created_at) < :before AND u.created_at < :before"
    " AND EXISTS (SELECT 1 FROM books AS b WHERE b.owner_id = u.id)"
    " AND NOT EXISTS (SELECT 1 FROM books AS b WHERE b.owner_id = u.id AND b.synced_at >= :before)"
    " AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.user_id = u.id"
    " AND (s.last_used_at >= :before OR s.expires_at > :now))"
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
    rows = tx.tuples(
        f"SELECT u.id FROM users AS u WHERE u.id > :after AND u.id <= :last AND {IDLE} ORDER BY u.id",
        now=now,
        before=before,
        after=after,
        last=last,
    )
    return [row[0] for row in rows]


def is_idle(tx: Tx, user_id: int, now: int, before: int) -> bool:
    """Was the user last active before a time?"""
    return bool(tx.tuples(f"SELECT 1 FROM users AS u WHERE u.id = :id AND {IDLE}", id=user_id, now=now, before=before))
