"""Whose number is it.

    read, whole      a proven number as we keep it; one that an admin names
    settled          a transaction that begins again when somebody else has got in between
    lock, lock_user  alone with a number and all whom it concerns; with a user
    take_over        a proven number goes to an account, and leaves everybody else's; tell says so in the log
    holders, give    who has a number, and an admin gives it to somebody else
    check_unproven   a number that was only typed cannot take the place of a proven one

Whoever proves a number has it; whoever only typed it loses it, and keeps the account.

Locks are taken in one order, so that nobody waits for each other: first the number, then the users whom it concerns,
by ascending id and in one pass, and only then is anything written.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from .. import errors, phone
from ..logs import log
from ..model import App
from ..store import applications, proofs, sessions, subscriptions, users
from ..store.db import Database, Row, Tx
from . import audit, joined, privacy
from . import limits as rates
from .audit import Actor
from .profile import columns

TRIES = 5
Result = TypeVar("Result")


class RetryTransaction(Exception):
    """While we waited for a lock, others came to be concerned: their locks can only be taken from the beginning."""


def whole(app: App, typed: str) -> int:
    """A number that can be dialled from anywhere, as we keep it; Invalid when it says no country."""
    number = phone.dialled(typed, app.settings.default_region)
    if number is None:
        raise errors.Invalid("must be a whole phone number, + and country code first", field="phone")
    return number


def read(app: App, typed: str) -> int:
    """A proven number; Invalid when it is none that people have."""
    try:
        return phone.read(typed, app.settings.default_region)
    except (phone.Unreadable, phone.WrongLength):
        raise errors.Invalid("is not a phone number of 10 to 15 digits", field="phone") from None


def settled(db: Database, work: Callable[[Tx], Result]) -> Result:
    """What this work gives, in a transaction of its own; from the beginning again when it raises RetryTransaction."""
    for _ in range(TRIES):
        try:
            with db.write() as tx:
                return work(tx)
        except RetryTransaction:
            continue
    raise errors.Busy


def lock(tx: Tx, app: App, number: int, user_id: int | None = None) -> list[Row]:
    """Nobody else proves this number, or is given it, and nobody else changes or erases those whom it concerns.

    These are the user, if one is named, and whoever answers to the number. Returns the latter as they are now
    (`store.proofs.holders`). Raises RetryTransaction.
    """
    tx.lock(f"number {app.id} {number}")
    concerned = {holder["user_id"] for holder in proofs.holders(tx, app.id, number)}
    for one in sorted(concerned | ({user_id} if user_id else set())):
        lock_user(tx, one)
    proofs.wait_for_imports(tx, sorted(concerned))
    found = proofs.holders(tx, app.id, number)
    if not {holder["user_id"] for holder in found} <= concerned | {user_id}:
        raise RetryTransaction
    return found


def lock_user(tx: Tx, user_id: int) -> None:
    """Nobody else changes or erases this user, or proves the user's number, until the transaction ends."""
    users.lock(tx, user_id)


def take_over(
    tx: Tx, app: App, user_id: int, number: int, found: Sequence[Row], now: int, *, renew: bool = False
) -> list[int]:
    """The number is this user's, proven, and no other is; whoever answered to it before does no longer.

    found   who answered to it, from `lock`
    renew   of a number that the user had proven already, the time of the proof is now

    Otherwise that time stays: who signs in again is not new (`privacy.pay`).
    Somebody who had proven it, too, also loses sessions and subscriptions: the phone is in other hands now. What an
    import said of the user beside is believed no longer. Returns the ids of those who had the number.
    """
    others = [holder for holder in found if holder["user_id"] != user_id]
    for holder in others:
        if holder["verified_at"] is not None:
            sessions.end_others(tx, holder["user_id"], b"")
            subscriptions.delete_all(tx, holder["user_id"])
        proofs.release(tx, holder["user_id"], now)
    proofs.verify(tx, app.id, user_id, number, now, renew=renew)
    rates.carry_permits(tx, app, user_id, "number", number, now)
    proofs.end_belief(tx, user_id, verified=False)
    applications.set_verified(tx, app.id, now)
    if not any(holder["user_id"] == user_id and holder["verified_at"] is not None for holder in found):
        joined.contact_joined(tx, app, user_id, number, verified=True, now=now)
    return [holder["user_id"] for holder in others]


def tell(app: App, typed: str, user_id: int, former: Sequence[int]) -> None:
    """Log who has lost a number to whom, after the commit: by it an admin finds the account to give it back to."""
    for loser in former:
        masked = phone.masked(read(app, typed))
        log.info("number passed on", app=app.id, number=masked, user=user_id, former=loser)


def holders(db: Database, app: App, typed: str) -> list[int]:
    """The ids of the users who answer to a number."""
    with db.read() as tx:
        return [holder["user_id"] for holder in proofs.holders(tx, app.id, whole(app, typed))]


def give(db: Database, app: App, user_id: int, typed: str, now: int, *, by: Actor | None = None) -> list[int]:
    """An admin gives a number to an account, such as a recycled one back to the account that had it.

    It then counts as proven: the admin stands in for the proof, so that the account is found, and whoever proves the
    number next enters it instead of taking the number away. The profile shows the number as it was typed, and the
    account answers to no other. Returns the ids of those who had it: they have lost it as to a proof.
    Raises NotFound, Forbidden for a guest, Invalid for what is no number.
    """
    number = whole(app, typed)

    def given(tx: Tx) -> list[int]:
        found = lock(tx, app, number, user_id)
        _check_receiver(tx, app, user_id)
        users.change(tx, app.id, user_id, columns({"phone": typed}), now)
        former = take_over(tx, app, user_id, number, found, now, renew=True)
        _record(tx, by, app, user_id, number, former)
        return former

    former = settled(db, given)
    tell(app, typed, user_id, former)
    return former


def _record(tx: Tx, by: Actor | None, app: App, user_id: int, number: int, former: Sequence[int]) -> None:
    detail = f"{phone.masked(number)}, which user {', '.join(map(str, former))} had" if former else phone.masked(number)
    audit.record(tx, by, "number given", app_id=app.id, subject=f"user {user_id}", detail=detail)


def _check_receiver(tx: Tx, app: App, user_id: int) -> None:
    user = users.by_id(tx, app.id, user_id)
    if not user:
        raise errors.NotFound(f"there is no user {user_id} in application {app.id}")
    if user.is_guest:
        raise errors.Forbidden(f"user {user_id} is a guest, who can have no number")


def check_unproven(tx: Tx, app: App, user_id: int, typed: str | None) -> None:
    """Raise Invalid if this would replace a proven number; another spelling of the same one is fine."""
    proven = proofs.verified_of(tx, user_id)
    if proven is not None and privacy.number(typed, app.settings.default_region) != proven:
        raise errors.Invalid("was proven and changes only with a proof of the new one", field="phone")
