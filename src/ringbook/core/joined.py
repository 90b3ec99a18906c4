"""Somebody has gained a number: written down at once, in the transaction that gave it, and told later.

    contact_joined(tx, …)    write the fact down, if it is one that is told

What it costs is the same however many people hold the number. Who is told of a fact, and in what words, stands in
`announcing.py`.
"""

from ..model import App
from ..store import joined as store
from ..store.db import Tx
from . import stats

DAY = 86_400
MOST_A_DAY = 3  # by one user; whoever changes numbers more often than that is not met by more people


def contact_joined(tx: Tx, app: App, user_id: int, number: int, *, verified: bool, now: int) -> None:
    """The user answers to this number from now on, or has just proven it.

    Nothing is written while the application's setting is off: switching it on announces nobody who is there already.
    Guests and imported users are never announced, and a number that nobody has proven only where it counts. A user is
    announced at most MOST_A_DAY times in 24 hours; what is more is dropped.
    """
    if not app.settings.contact_joined_enabled or (app.verified_only and not verified):
        return
    if not store.may_be_announced(tx, user_id):
        return
    tx.lock(f"joined {user_id}")  # two changes at once count one after the other
    if verified and store.verify(tx, user_id, number):
        return
    if store.lately(tx, user_id, now - DAY) < MOST_A_DAY:
        store.put(tx, app.id, user_id, number, verified=verified, now=now)
        stats.after(tx, app.id, "joined", now)
