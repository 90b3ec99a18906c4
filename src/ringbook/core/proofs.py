"""Which account a proof opens.

    by_phone      the account with a proven number, or a new one
    by_email      the account that Firebase knows by this id, or a new one
    by_provider   the account that an identity provider knows by this id, or a new one

Nobody enters an account by proving what somebody else typed into it. Only an account that was imported is entered so,
since it comes from where its owner was known.
"""

from .. import errors
from ..config import Limits
from ..model import App
from ..store import proofs
from ..store.db import Database, Row, Tx
from ..store.users import fold
from ..verify.cidp import Identity
from ..verify.firebase import Proof
from . import limits as rates
from . import numbers, users
from .profile import Fields, columns


def by_phone(db: Database, limits: Limits, app: App, typed: str, address: str, now: int) -> int:
    """The id of the user with this proven number. Two at once for one number get the same user.

    An account that nobody has used for `reassigned_after_days` is not entered, since numbers are handed on to other
    people: it loses number, sessions and subscriptions, and a new one is made.
    """
    number = numbers.read(app, typed)
    with db.write() as tx:
        tx.alone(f"number {app.id} {number}")
        user_id = _opened_by(app, proofs.holders(tx, app.id, number), now)
        if user_id is None:
            user_id = _made(tx, limits, app, {"phone": typed}, address, now)
        numbers.take_over(tx, app, user_id, number, now)
    return user_id


def _opened_by(app: App, holders: list[Row], now: int) -> int | None:
    """Which of a number's holders, the last used first, its proof opens."""
    days = app.settings.reassigned_after_days
    for holder in holders:
        forgotten = days and now - holder["used_at"] > days * rates.DAY
        if holder["verified_at"] is not None and not forgotten:
            return int(holder["user_id"])
    imported = [holder for holder in holders if holder["imported_at"] is not None and holder["verified_at"] is None]
    return int(imported[0]["user_id"]) if imported else None


def by_email(db: Database, limits: Limits, app: App, proof: Proof, address: str, now: int) -> int:
    """The id of the user whom Firebase knows by the proof's subject.

    A verified e-mail is taken from the account into which somebody else had typed it. One that Firebase has not
    verified opens nothing and takes nothing.
    """
    if not proof.email:
        raise errors.Invalid("the Firebase token holds no verified e-mail", field="access_token")
    with db.write() as tx:
        tx.alone(f"firebase {app.id} {proof.subject}")
        known = proofs.by_uid(tx, app.id, "firebase_uid", proof.subject)
        if known is not None:
            return known
        other = proofs.by_email(tx, app.id, fold(proof.email))
        if other and other["imported_at"] is not None and other["firebase_uid"] is None:
            user_id = int(other["id"])
        else:
            if other:
                proofs.drop_email(tx, other["id"], now)
            user_id = _made(tx, limits, app, {"email": proof.email}, address, now)
        proofs.set_uid(tx, user_id, "firebase_uid", proof.subject)
    return user_id


def by_provider(db: Database, limits: Limits, app: App, identity: Identity, address: str, now: int) -> int:
    """The id of the user whom the application's identity provider knows by this uid.

    What else the provider says fills the profile of a new account; what somebody has already is left out.
    """
    said: Fields = {
        "login": identity.login,
        "full_name": identity.full_name,
        "email": identity.email,
        "phone": identity.phone,
    }
    with db.write() as tx:
        tx.alone(f"provider {app.id} {identity.uid}")
        known = proofs.by_uid(tx, app.id, "cidp_uid", identity.uid)
        if known is not None:
            return known
        user_id = _made(tx, limits, app, users.untaken(tx, app, said), address, now)
        proofs.set_uid(tx, user_id, "cidp_uid", identity.uid)
    return user_id


def _made(tx: Tx, limits: Limits, app: App, said: Fields, address: str, now: int) -> int:
    """A new account without a password."""
    if not app.settings.session_creates_user:
        raise errors.NotFound("User not found")
    rates.charge(tx, rates.accounts(limits, address), 1, now)
    return users.add(tx, app, columns(said), now).id
