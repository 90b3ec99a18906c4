"""Whose number is it.

    read, alone      a proven number as we keep it; one at a time
    take_over        a proven number goes to an account, and leaves everybody else's; tell says so in the log
    holders, give    who has a number, and an admin gives it to somebody else
    check_unproven   a number that was only typed cannot take the place of a proven one

Whoever proves a number has it; whoever only typed it loses it, and keeps the account.
"""

from collections.abc import Sequence

from .. import errors, phone
from ..logs import log
from ..model import App
from ..store import applications, proofs, sessions, subscriptions, users
from ..store.db import Database, Tx
from . import privacy
from .profile import columns


def read(app: App, typed: str) -> int:
    """A proven number; Invalid when it is none that people have."""
    try:
        return phone.read(typed, app.settings.default_region)
    except (phone.Unreadable, phone.WrongLength):
        raise errors.Invalid("is not a phone number of 10 to 15 digits", field="phone") from None


def alone(tx: Tx, app: App, number: int) -> None:
    """Nobody else proves this number, or is given it, until the transaction ends."""
    tx.alone(f"number {app.id} {number}")


def take_over(tx: Tx, app: App, user_id: int, number: int, now: int) -> list[int]:
    """The number is this user's, proven, and no other is; whoever answered to it before does no longer.

    Somebody who had proven it, too, also loses sessions and subscriptions: the phone is in other hands now.
    Returns the ids of those who had it.
    """
    others = [holder for holder in proofs.holders(tx, app.id, number) if holder["user_id"] != user_id]
    for holder in others:
        proofs.release(tx, holder["user_id"], now)
        if holder["verified_at"] is not None:
            sessions.end_others(tx, holder["user_id"], b"")
            subscriptions.delete_all(tx, holder["user_id"])
    proofs.verify(tx, app.id, user_id, number, now)
    applications.set_verified(tx, app.id, now)
    return [holder["user_id"] for holder in others]


def tell(app: App, typed: str, user_id: int, former: Sequence[int]) -> None:
    """Log who has lost a number to whom, after the commit: by it an admin finds the account to give it back to."""
    for loser in former:
        masked = phone.masked(read(app, typed))
        log.info("number passed on", app=app.id, number=masked, user=user_id, former=loser)


def holders(db: Database, app: App, typed: str) -> list[int]:
    """The ids of the users who answer to a number."""
    with db.read() as tx:
        return [holder["user_id"] for holder in proofs.holders(tx, app.id, read(app, typed))]


def give(db: Database, app: App, user_id: int, typed: str, now: int) -> list[int]:
    """An admin gives a number to an account, such as a recycled one back to the account that had it.

    It then counts as proven: the admin stands in for the proof, so that the account is found, and whoever proves the
    number next enters it instead of taking the number away. The profile shows the number as it was typed, and the
    account answers to no other. Returns the ids of those who had it: they have lost it as to a proof.
    Raises NotFound, Forbidden for a guest, Invalid for what is no number.
    """
    number, shown = read(app, typed), columns({"phone": typed})
    with db.write() as tx:
        alone(tx, app, number)
        user = users.by_id(tx, app.id, user_id)
        if not user:
            raise errors.NotFound(f"there is no user {user_id} in application {app.id}")
        if user.is_guest:
            raise errors.Forbidden(f"user {user_id} is a guest, who can have no number")
        users.change(tx, app.id, user_id, shown, now)
        former = take_over(tx, app, user_id, number, now)
    tell(app, typed, user_id, former)
    return former


def check_unproven(tx: Tx, app: App, user_id: int, typed: str | None) -> None:
    """Raise Invalid if this would replace a proven number; another spelling of the same one is fine."""
    proven = proofs.verified_of(tx, user_id)
    if proven is not None and privacy.number(typed, app.settings.default_region) != proven:
        raise errors.Invalid("was proven and changes only with a proof of the new one", field="phone")
