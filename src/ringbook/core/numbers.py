"""Ownership of phone numbers.

read, read_dialled      reads a verified number; reads a number that an admin enters
retried                 runs a transaction again when it raises RetryTransaction
lock, lock_user         locks a number and the users concerned; locks one user
take_over               gives a verified number to a user and takes it from all others; `log_transfer` logs that
holders, give           the users who have a number; gives a number to a user on behalf of an admin
check_verified_stays    refuses to replace a verified number by one that was only typed

The user who verifies a number has it. Users who only typed it lose it, and keep their accounts.

All transactions take locks in one order, so that they do not deadlock: first the number, then the users concerned in
one pass by ascending id. They write only after that.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from .. import errors, phone
from ..logs import log
from ..model import App
from ..store import applications, proofs, sessions, subscriptions, users
from ..store.db import Database, Row, Tx
from . import audit, joined, privacy, rate_limits
from .audit import Actor
from .profile import columns

TRIES = 5
Result = TypeVar("Result")


class RetryTransaction(Exception):
    """More users are concerned than were locked: the transaction must begin again to take locks in order."""


def read_dialled(app: App, typed: str) -> int:
    """The stored form of a number that can be dialled from anywhere. Raises Invalid when it has no country."""
    number = phone.dialled(typed, app.settings.default_region)
    if number is None:
        raise errors.Invalid("must be a whole phone number, + and country code first", field="phone")
    return number


def read(app: App, typed: str) -> int:
    """The stored form of a verified number. Raises Invalid when it is not a phone number."""
    try:
        return phone.read(typed, app.settings.default_region)
    except (phone.Unreadable, phone.WrongLength):
        raise errors.Invalid("is not a phone number of 10 to 15 digits", field="phone") from None


def retried(db: Database, work: Callable[[Tx], Result]) -> Result:
    """Run `work` in a transaction, again when it raises RetryTransaction. Returns its result; raises Busy."""
    for _ in range(TRIES):
        try:
            with db.write() as tx:
                return work(tx)
        except RetryTransaction:
            continue
    raise errors.Busy


def lock(tx: Tx, app: App, number: int, user_id: int | None = None) -> list[Row]:
    """Lock the number, the users who have it, and the user `user_id` until the transaction ends.

    Other transactions can then neither give the number to a user, nor change or erase these users. Returns the users
    who have the number now (`store.proofs.holders`). Raises RetryTransaction.
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
    """Lock a user until the transaction ends: others can neither change nor erase it, nor verify its number."""
    users.lock(tx, user_id)


def take_over(
    tx: Tx, app: App, user_id: int, number: int, found: Sequence[Row], now: int, *, renew: bool = False
) -> list[int]:
    """Give the user this number as the only one, verified, and take it from all others.

    found   the users who had the number, from `lock`
    renew   set the time of verification to now when the user had verified the number before. Otherwise that time stays,
            because a user who signs in again is not new (`privacy.pay`).

    Another user who had verified it also loses sessions and subscriptions, because the phone belongs to another person
    now. Other values that an import wrote for the user no longer open the account. Returns the ids of the other users.
    """
    others = [holder for holder in found if holder["user_id"] != user_id]
    for holder in others:
        if holder["verified_at"] is not None:
            sessions.end_others(tx, holder["user_id"], b"")
            subscriptions.delete_all(tx, holder["user_id"])
        proofs.release(tx, holder["user_id"], now)
    proofs.verify(tx, app.id, user_id, number, now, renew=renew)
    rate_limits.carry_permits(tx, app, user_id, "number", number, now)
    proofs.end_import_trust(tx, user_id, verified=False)
    applications.set_verified(tx, app.id, now)
    if not any(holder["user_id"] == user_id and holder["verified_at"] is not None for holder in found):
        joined.contact_joined(tx, app, user_id, number, verified=True, now=now)
    return [holder["user_id"] for holder in others]


def log_transfer(app: App, typed: str, user_id: int, former: Sequence[int]) -> None:
    """Log which users have lost a number to whom, after the commit. An admin needs it to give the number back."""
    for loser in former:
        masked = phone.masked(read(app, typed))
        log.info("number passed on", app=app.id, number=masked, user=user_id, former=loser)


def holders(db: Database, app: App, typed: str) -> list[int]:
    """The ids of the users who have a number."""
    with db.read() as tx:
        return [holder["user_id"] for holder in proofs.holders(tx, app.id, read_dialled(app, typed))]


def give(db: Database, app: App, user_id: int, typed: str, now: int, *, by: Actor | None = None) -> list[int]:
    """Give a number to a user on behalf of an admin, for example a recycled number back to its former user.

    It counts as verified: the user is found by it, and the next person who verifies the number signs in to this
    account instead of taking the number away. The profile shows the number as typed, and the user has no other number.
    Returns the ids of the users who have lost it. Raises NotFound, Forbidden for a guest, Invalid for a text that is
    not a number.
    """
    number = read_dialled(app, typed)

    def write(tx: Tx) -> list[int]:
        found = lock(tx, app, number, user_id)
        _check_receiver(tx, app, user_id)
        values = columns({"phone": typed})
        users.change(tx, app.id, user_id, values, now)
        users.set_number(tx, app.id, user_id, number, values["phone"])
        former = take_over(tx, app, user_id, number, found, now, renew=True)
        _record(tx, by, app, user_id, number, former)
        return former

    former = retried(db, write)
    log_transfer(app, typed, user_id, former)
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


def check_verified_stays(tx: Tx, app: App, user_id: int, typed: str | None) -> None:
    """Raise Invalid if `typed` would replace a verified number. Another spelling of the same number is accepted."""
    verified = proofs.verified_of(tx, user_id)
    if verified is not None and privacy.number(typed, app.settings.default_region) != verified:
        raise errors.Invalid("is verified and changes only with a proof of the new one", field="phone")
