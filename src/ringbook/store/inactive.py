"""Users who were last active before a given time and still have address books.

users(tx, …)      some of them
is_idle(tx, …)    is this one of them?
"""

from .db import Tx

# The last use of a session is written to the user only when it ends, and the last upload is stored with the book.
IDLE = (
    "COALESCE(u.last_request_at, u.imported_at, u.created_at) < :before AND u.created_at < :before"
    " AND EXISTS (SELECT 1 FROM books AS b WHERE b.owner_id = u.id)"
    " AND NOT EXISTS (SELECT 1 FROM books AS b WHERE b.owner_id = u.id AND b.synced_at >= :before)"
    " AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.user_id = u.id"
    " AND (s.last_used_at >= :before OR s.expires_at > :now))"
)


def users(tx: Tx, now: int, before: int, limit: int) -> list[int]:
    """Ids of up to `limit` users who were last active before a time."""
    rows = tx.tuples(
        f"SELECT u.id FROM users AS u WHERE {IDLE} ORDER BY u.id LIMIT :limit", now=now, before=before, limit=limit
    )
    return [row[0] for row in rows]


def is_idle(tx: Tx, user_id: int, now: int, before: int) -> bool:
    """Was the user last active before a time?"""
    return bool(tx.tuples(f"SELECT 1 FROM users AS u WHERE u.id = :id AND {IDLE}", id=user_id, now=now, before=before))
