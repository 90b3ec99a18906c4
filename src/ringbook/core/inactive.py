"""Users who have not been there for a long time: their address books go, their accounts stay.

    sweep(db, now, before)    a batch of books

A user has not been there when there was no sign-in and no session since then; a session that is open, or that has ended
and was not swept yet, counts as long as it was last used.
"""

from ..store import books, buckets, inactive
from ..store.db import Database


def sweep(db: Database, now: int, before: int, batch: int = 500) -> int:
    """Drop the books of up to `batch` users who were last there before then; how many users that were.

    With a book go the hashes of what was removed from it: uploading it again costs permits.
    """
    with db.read() as tx:
        gone = inactive.users(tx, now, before, batch)
    return sum(_dropped(db, user_id, now, before) for user_id in gone)


def _dropped(db: Database, user_id: int, now: int, before: int) -> bool:
    """Each user is a transaction; who has come back meanwhile keeps the books."""
    with db.write() as tx:
        books.lock_all(tx, user_id)
        if not inactive.is_idle(tx, user_id, now, before):
            return False
        books.delete_books(tx, user_id)
        books.delete_all(tx, user_id)
        buckets.forget_owner(tx, user_id)
    return True
