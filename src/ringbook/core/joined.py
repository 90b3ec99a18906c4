"""Records that a user has gained a number, in the transaction that gives it; and who is told of it by the user's wish.

    contact_joined(tx, …)        records the fact, if it is one that is announced
    preference_changed(tx, …)    the user has changed who is told
    lock(tx, user_id)            held by all of them
    default_changed(tx, …)       the application has
    contacts_added(tx, …)        an upload may have made mutual contacts
    withdrawn(tx, …)             pushes about a user who wants mutual contacts to be told were withheld
    announced_again(tx, …)       records the user's present numbers once more, for those who were not notified

The cost does not depend on how many people hold the number: `core/announcing.py` notifies the holders later, and reads
then whom the user wants to be told (`Preferences.told`). A user who wants mutual contacts to be told can upload their
numbers up to MUTUAL_SECONDS after joining: the fact waits for so long, and each upload that adds contacts announces it
again.
"""

from ..model import App
from ..preferences import AUDIENCES, Preferences
from ..store import joined as store
from ..store import proofs
from ..store.db import Tx
from . import stats, waking

DAY = 86_400
MOST_A_DAY = 3  # announcements of one user, so that changing numbers does not push to ever more people
MUTUAL_SECONDS = 30 * DAY


def contact_joined(tx: Tx, app: App, user_id: int, number: int, *, verified: bool, now: int) -> None:
    """Record that the user has gained this number, or has just verified it.

    Nothing is recorded while `contact_joined_enabled` is off, so switching it on does not announce users who are there
    already. Guests and imported users are never announced, and unverified numbers only where they count. A user is
    announced at most MOST_A_DAY times in 24 hours; further facts are dropped. The fact is due after
    `contact_joined_delay_seconds`.
    """
    if not _may_be_announced(tx, app, user_id, verified=verified):
        return
    lock(tx, user_id)  # two changes of one user at once are counted one after the other
    if verified and store.verify(tx, app.id, user_id, number, now):
        return
    if len(store.lately(tx, user_id, now - DAY, MOST_A_DAY)) < MOST_A_DAY:
        due_at = now + app.settings.contact_joined_delay_seconds
        store.put(tx, app.id, user_id, number, verified=verified, now=now, due_at=due_at)
        waking.facts_added(tx)
        stats.after(tx, app.id, "joined", now)


def _may_be_announced(tx: Tx, app: App, user_id: int, *, verified: bool) -> bool:
    counts = app.settings.contact_joined_enabled and (verified or not app.verified_only)
    return counts and store.may_be_announced(tx, user_id)


def lock(tx: Tx, user_id: int) -> None:
    """Let nobody else record or announce a fact about the user until the transaction ends."""
    tx.lock(f"joined {user_id}")


def preference_changed(tx: Tx, app: App, user_id: int, before: Preferences, after: Preferences, now: int) -> None:
    """Announce the user to those whom the change permits to be told, and who were not notified before.

    The user must be locked. Nothing happens to pushes that wait: each looks at the preference when it is sent.
    """
    if before.told == after.told:
        return
    lock(tx, user_id)
    if store.look_again(tx, user_id, now):
        waking.facts_added(tx)
    if AUDIENCES.index(after.told) < AUDIENCES.index(before.told):
        announced_again(tx, app, user_id, now)


def default_changed(tx: Tx, app_id: int) -> None:
    """The application has changed who is told of users who have not chosen: facts that wait for contacts are due.

    Facts that are done stay so: who was not told before is not told because of a setting.
    """
    store.look_at_all_again(tx, app_id)
    waking.facts_added(tx)


def announced_again(tx: Tx, app: App, user_id: int, now: int) -> None:
    """Record the user's present numbers once more, where no fact about them waits. The lock must be held.

    Who was notified is not notified again. Beyond MOST_A_DAY in 24 hours, the announcement waits until it is allowed.
    """
    for number, verified in proofs.numbers_of(tx, user_id):
        if not _may_be_announced(tx, app, user_id, verified=verified) or store.is_open(tx, app.id, user_id, number):
            continue
        latest = store.lately(tx, user_id, now - DAY, MOST_A_DAY)
        due_at = latest[-1] + DAY if len(latest) == MOST_A_DAY else now
        store.put(tx, app.id, user_id, number, verified=verified, now=now, due_at=due_at)
        waking.facts_added(tx)


def withdrawn(tx: Tx, app: App, user_id: int, now: int) -> None:
    """Holders were not notified of a fact after all, but may become mutual contacts. The lock must be held."""
    store.restart(tx, user_id)
    store.look_again(tx, user_id, now)
    announced_again(tx, app, user_id, now)


def contacts_added(tx: Tx, user_id: int, now: int) -> None:
    """Let the facts that wait for contacts of the user be announced again, after an upload that added some."""
    if store.look_again(tx, user_id, now):
        waking.facts_added(tx)
