"""Whose number is it.

    read             a proven number as we keep it
    take_over        a proven number goes to an account, and leaves everybody else's
    check_unproven   a number that was only typed cannot take the place of a proven one

Whoever proves a number has it; whoever only typed it loses it, and keeps the account.
"""

from .. import errors, phone
from ..model import App
from ..store import applications, proofs, sessions, subscriptions
from ..store.db import Tx
from . import privacy


def read(app: App, typed: str) -> int:
    """A proven number; Invalid when it is none that people have."""
    try:
        return phone.read(typed, app.settings.default_region)
    except (phone.Unreadable, phone.WrongLength):
        raise errors.Invalid("is not a phone number of 10 to 15 digits", field="phone") from None


def take_over(tx: Tx, app: App, user_id: int, number: int, now: int) -> None:
    """The number is this user's, proven; whoever answered to it before does no longer.

    Somebody who had proven it, too, also loses sessions and subscriptions: the phone is in other hands now.
    """
    for holder in proofs.holders(tx, app.id, number):
        if holder["user_id"] == user_id:
            continue
        proofs.release(tx, holder["user_id"], now)
        if holder["verified_at"] is not None:
            sessions.end_others(tx, holder["user_id"], b"")
            subscriptions.delete_all(tx, holder["user_id"])
    proofs.verify(tx, app.id, user_id, number, now)
    applications.set_verified(tx, app.id, now)


def check_unproven(tx: Tx, app: App, user_id: int, typed: str | None) -> None:
    """Raise Invalid if this would replace a proven number; another spelling of the same one is fine."""
    proven = proofs.verified_of(tx, user_id)
    if proven is not None and privacy.number(typed, app.settings.default_region) != proven:
        raise errors.Invalid("was proven and changes only with a proof of the new one", field="phone")
