"""Records that a user has gained a number, in the transaction that gives it.

    contact_joined(tx, …)    records the fact, if it is one that is announced

The cost does not depend on how many people hold the number: `core/announcing.py` notifies the holders later.
"""

from ..model import App
from ..store import joined as store
from ..store.db import Tx
from . import stats, waking

DAY = 86_400
MOST_A_DAY = 3  # announcements of one user, so that changing numbers does not push to ever more people


def contact_joined(tx: Tx, app: App, user_id: int, number: int, *, verified: bool, now: int) -> None:
    """Record that the user has gained this number, or has just verified it.

    Nothing is recorded while `contact_joined_enabled` is off, so switching it on does not announce users who are there
    already. Guests and imported users are never announced, and unverified numbers only where they count. A user is
    announced at most MOST_A_DAY times in 24 hours; further facts are dropped.
    """
    if not app.settings.contact_joined_enabled or (app.verified_only and not verified):
        return
    if not store.may_be_announced(tx, user_id):
        return
    tx.lock(f"joined {user_id}")  # two changes of one user at once are counted one after the other
    if verified and store.verify(tx, app.id, user_id, number):
        return
    if store.lately(tx, user_id, now - DAY) < MOST_A_DAY:
        store.put(tx, app.id, user_id, number, verified=verified, now=now)
        waking.facts_added(tx)
        stats.after(tx, app.id, "joined", now)
