"""Deletes the address books of inactive users; their accounts stay.

    sweep(db, now, before)    deletes the books of the inactive users of one slice

A user is inactive when no upload, no sign-in and no use of a session happened after a given time. Open sessions, and
ended ones that were not swept yet, count with their last use.
"""

from ..store import app_totals, books, buckets, inactive, sweeps, users
from ..store.db import Database

SWEEP = "inactive"


def sweep(db: Database, now: int, before: int, batch: int = 2_500, *, rest_seconds: int = 0) -> int:
    """Look at the owners of the next `batch` books, and delete the books of those who are inactive since then.

    rest_seconds   how long nothing happens after the last owner

    Returns how many users lost their books. The memory of removed numbers is deleted as well, so uploading the book
    again costs permits.
    """
    with db.read() as tx:
        if sweeps.is_resting(tx, SWEEP, now, rest_seconds):
            return 0
        after, _ = sweeps.place(tx, SWEEP)
        last = inactive.end_of_slice(tx, after, batch)
        gone = inactive.users(tx, now, before, after, last)
    with db.write() as tx:
        sweeps.move(tx, SWEEP, last, now)
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
