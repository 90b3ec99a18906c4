"""Sign-in with a proof of identity: finds or creates the account of a phone number, an e-mail or a provider's id.

    by_phone      the account with this verified number, or a new one
    by_email      the account with this Firebase id, or a new one
    by_provider   the account with this id of an identity provider, or a new one

A proof does not open an account into which another user has typed the value. Values of an import are trusted without a
proof, because the former system knew their owner, until somebody signs in by one of them. The other values of that
account are then trusted no longer, because their owner in the former system may only have typed them.
"""

from collections.abc import Callable

from .. import errors
from ..config import Limits
from ..model import App
from ..store import proofs
from ..store.db import Database, Row, Tx
from ..store.users import fold
from ..times import DAY
from ..verify.cidp import Identity
from ..verify.firebase import Proof
from . import numbers, rate_limits, users
from .profile import Fields, columns


def by_phone(db: Database, limits: Limits, app: App, typed: str, address: str, now: int) -> int:
    """The id of the user with this verified number. Two concurrent sign-ins with one number get the same user.

    Numbers are reassigned to other people, so an account that was not used for `reassigned_after_days` is not opened:
    it loses number, sessions and subscriptions, and a new account is made. An imported account that was never used
    here is opened, however old the import is.
    """
    number = numbers.read(app, typed)

    def sign_in(tx: Tx) -> tuple[int, list[int]]:
        found = numbers.lock(tx, app, number)
        user_id = _account_of(app, found, now)
        if user_id is None:
            user_id = _new_account(tx, limits, app, {"phone": typed}, address, now)
        return user_id, numbers.take_over(tx, app, user_id, number, found, now)

    user_id, former = numbers.retried(db, sign_in)
    numbers.log_transfer(app, typed, user_id, former)
    return user_id


def _account_of(app: App, holders: list[Row], now: int) -> int | None:
    """The holder whose account the proof opens: one who has verified the number, else an imported one.

    holders   the last used first
    """
    fresh = [holder for holder in holders if not _may_be_reassigned(app, holder, now)]
    verified = [holder for holder in fresh if holder["verified_at"] is not None]
    found = verified or [holder for holder in fresh if holder["imported"]]
    return int(found[0]["user_id"]) if found else None


def _may_be_reassigned(app: App, holder: Row, now: int) -> bool:
    """Whether the number may have been reassigned. The day when it was verified, or given back, counts as a use."""
    days = app.settings.reassigned_after_days
    last = max(holder["used_at"], holder["verified_at"] or 0)
    return bool(days) and not holder["unused"] and now - last > days * DAY


def by_email(db: Database, limits: Limits, app: App, proof: Proof, address: str, now: int) -> int:
    """The id of the user with the Firebase id of this proof.

    A verified e-mail is removed from an account into which another user has typed it. An e-mail that Firebase has not
    verified is refused.
    """
    if not proof.email:
        raise errors.Invalid("the Firebase token holds no verified e-mail", field="token")

    def sign_in(tx: Tx) -> int:
        tx.lock(f"firebase {app.id} {proof.subject}")
        known = proofs.by_uid(tx, app.id, "firebase_uid", proof.subject)
        if known is not None:
            return known
        other = _locked(tx, lambda: proofs.by_email(tx, app.id, fold(proof.email)))
        if other and other["as_imported"] and other["firebase_uid"] is None:
            user_id = int(other["id"])
            proofs.end_import_trust(tx, user_id, verified=False)
        else:
            if other:
                proofs.drop_email(tx, other["id"], now)
            user_id = _new_account(tx, limits, app, {"email": proof.email}, address, now)
        proofs.set_uid(tx, user_id, "firebase_uid", proof.subject)
        rate_limits.carry_permits(tx, app, user_id, "firebase_uid", proof.subject, now)
        return user_id

    return numbers.retried(db, sign_in)


def _locked(tx: Tx, look: Callable[[], Row | None]) -> Row | None:
    """The user that `look` returns, locked. Raises RetryTransaction when `look` returns another user after that."""
    seen = look()
    if not seen:
        return None
    numbers.lock_user(tx, seen["id"])
    proofs.wait_for_imports(tx, [seen["id"]])
    now = look()
    if not now or now["id"] != seen["id"]:
        raise numbers.RetryTransaction
    return now


def by_provider(db: Database, limits: Limits, app: App, identity: Identity, address: str, now: int) -> int:
    """The id of the user with this uid of the application's identity provider.

    The first sign-in opens the imported account that has the uid as its external_id, if there is exactly one. Otherwise
    it makes an account with the provider's profile values, without those that another user has.
    """
    fields: Fields = {
        "login": identity.login,
        "full_name": identity.full_name,
        "email": identity.email,
        "phone": identity.phone,
    }

    def sign_in(tx: Tx) -> int:
        tx.lock(f"provider {app.id} {identity.uid}")
        known = proofs.by_uid(tx, app.id, "cidp_uid", identity.uid)
        if known is not None:
            return known
        imported = _locked(tx, lambda: proofs.by_external_id(tx, app.id, identity.uid))
        if imported:
            user_id = int(imported["id"])
            proofs.end_import_trust(tx, user_id, verified=True)
        else:
            user_id = _new_account(tx, limits, app, users.untaken(tx, app, fields), address, now)
        proofs.set_uid(tx, user_id, "cidp_uid", identity.uid)
        rate_limits.carry_permits(tx, app, user_id, "cidp_uid", identity.uid, now)
        return user_id

    return numbers.retried(db, sign_in)


def _new_account(tx: Tx, limits: Limits, app: App, fields: Fields, address: str, now: int) -> int:
    """The id of a new account without a password."""
    if not app.settings.session_creates_user:
        raise errors.NotFound("User not found")
    users.charge_account(tx, limits, address, now)
    return users.add(tx, app, columns(fields), now).id
