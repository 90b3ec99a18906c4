"""Which of a user's contacts are online: they have sent a request within the last five minutes.

    contacts(db, …)   those contacts
    count(db, …)      how many they are

A contact is only seen by a caller who finds the user by the own address books, and to whom the caller does not hide
either (`discoverable`, in both directions). So nobody learns how many users of the application are online.
"""

from ..config import Limits
from ..model import Caller, User
from ..store import books, users
from ..store.db import Database, Tx
from ..times import MINUTE
from . import discoverable, privacy, rate_limits

ONLINE_SECONDS = 5 * MINUTE


def contacts(db: Database, limits: Limits, caller: Caller, *, offset: int, limit: int, now: int) -> list[User]:
    """Up to `limit` contacts who are online, by their ids, as the caller may see them. Charged like a search."""
    with rate_limits.search(db, limits, caller, now), db.read(seconds=limits.search_seconds) as tx:
        ids = sorted(_ids(tx, caller, now))[offset : offset + limit]
        found = users.by_ids(tx, caller.app.id, ids) if ids else {}
        return privacy.visible(tx, caller, [found[user_id] for user_id in ids if user_id in found])


def count(db: Database, limits: Limits, caller: Caller, now: int) -> int:
    """How many contacts are online. Charged like a search."""
    with rate_limits.search(db, limits, caller, now), db.read(seconds=limits.search_seconds) as tx:
        return len(_ids(tx, caller, now))


def _ids(tx: Tx, caller: Caller, now: int) -> set[int]:
    # When a user was last seen is read only of those whom the caller may see, so that no answer depends on others.
    found = books.found_users(tx, caller.user_id, discoverable.rules(caller.app))
    seen_by = discoverable.may_find(tx, caller.app, caller.user_id, found)
    return users.seen_since(tx, sorted(seen_by), now - ONLINE_SECONDS) if seen_by else set()
