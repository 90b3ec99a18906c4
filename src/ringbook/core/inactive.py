"""Deletes the address books of inactive users; their accounts stay.

    sweep(db, now, before)    deletes the books of one batch of users

A user is inactive when no upload, no sign-in and no use of a session happened after a given time. Open sessions, and
ended ones that were not swept yet, count with their last use.
"""

from ..store import app_totals, books, buckets, inactive, users
from ..store.db import Database


def sweep(db: Database, now: int, before: int, batch: int = 500) -> int:
    """Delete the books of up to `batch` users who are inactive since then. Returns how many users.

    The memory of removed numbers is deleted as well, so uploading the book again costs permits.
    """
    with db.read() as tx:
        gone = inactive.users(tx, now, before, batch)
    return sum(_dropped(db, user_id, now, before) for user_id in gone)


def _dropped(db: Database, user_id: int, now: int, before: int) -> bool:
    """One transaction per user. A user who has become active again keeps the books."""
    with db.write() as tx:
        books.lock_all(tx, user_id)
        if not inactive.is_idle(tx, user_id, now, before):
            return False
        app_id = users.app_of(tx, user_id)
        used, contacts = books.delete_books(tx, user_id)
        if app_id is not None:
            app_totals.change(tx, app_id, user_id, books=-used, contacts=-contacts)
        books.delete_all(tx, user_id)
        buckets.forget_owner(tx, user_id)
    return True
