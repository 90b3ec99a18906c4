"""Admins: who may see and steer the server. There is one role: an admin may do everything.

    first, create, reset_password    each gives a new random password back, which is stored only as a hash
    any_, all_, remove               is there one, who they are, and one less
    sign_in, session, sign_out       a session in the dashboard, and proof of it
    change_password, end_sessions    one's own
    sweep                            sessions that are over

A session lives LIFE_SECONDS from its last use, and LONGEST_SECONDS at most.
"""

import hashlib
import hmac
import secrets
from contextlib import suppress

from msgspec import Struct

from .. import errors, metrics
from ..config import Limits
from ..store import admins as store
from ..store import audit as audit_store
from ..store.db import Database, Tx
from . import audit, charging, networks, passwords, rate_limits
from .audit import Actor

LIFE_SECONDS = 12 * 3600
LONGEST_SECONDS = 7 * 86_400
TOUCH_SECONDS = 60
KNOWN_SECONDS = 30 * 86_400  # for so long an address from which an admin has logged in is the admin's own
FIRST = "admin@localhost"
NO_APP = 0  # stands where an application's id would, in the names of buckets
WRONG = "The e-mail or the password is wrong."


class Admin(Struct, frozen=True):
    """Somebody who may log in; `seen_at` is None for whoever is logged in nowhere."""

    email: str
    created_at: int
    seen_at: int | None


class Login(Struct, frozen=True, kw_only=True):
    """A session in the dashboard. What its pages hold is proven by its token, which is nowhere stored."""

    email: str
    token: str
    created_at: int
    expires_at: int

    def signature(self, of: str) -> str:
        """What only somebody with this session's token can make of a text."""
        return hmac.new(self.token.encode(), of.encode(), "sha256").hexdigest()

    def is_signed(self, text: str, signature: str) -> bool:
        """Is it the signature of this text?"""
        return hmac.compare_digest(self.signature(text).encode(), signature.encode("utf-8", "surrogatepass"))

    @property
    def csrf(self) -> str:
        """What each form of this session carries."""
        return self.signature("form")

    def is_csrf(self, given: str) -> bool:
        """Does a form come from a page of this session?"""
        return self.is_signed("form", given)


# ── admins ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def first(db: Database, now: int) -> tuple[str, str] | None:
    """Make an admin unless there is one: e-mail and password; None when there is."""
    password = secrets.token_urlsafe(15)
    hash_ = passwords.hashed(password)
    with db.write() as tx:
        tx.lock("first admin")
        if store.any_(tx):
            return None
        store.insert(tx, FIRST, hash_, now)
    return FIRST, password


def any_(db: Database) -> bool:
    """Is there an admin?"""
    with db.read() as tx:
        return store.any_(tx)


def all_(db: Database) -> list[Admin]:
    """Every admin, by e-mail."""
    with db.read() as tx:
        return [Admin(row["email"], row["created_at"], row["last_used_at"]) for row in store.all_(tx)]


def create(db: Database, email: str, now: int, *, by: Actor | None = None) -> str:
    """Add an admin; Conflict when there is one with this e-mail."""
    name, at, domain = email.strip().partition("@")
    if not (name and at and domain):
        raise errors.Invalid("must be an e-mail address", field="email")
    password = secrets.token_urlsafe(15)
    hash_ = passwords.hashed(password)
    with db.write() as tx:
        if not store.insert(tx, _folded(email), hash_, now):
            raise errors.Conflict(f"{email} is an admin already", field="email")
        audit.record(tx, by, "admin created", subject=_folded(email))
    return password


def reset_password(db: Database, email: str, *, by: Actor | None = None) -> str:
    """Give an admin a new password, end the admin's sessions, and forget the wrong passwords that were tried."""
    password = secrets.token_urlsafe(15)
    hash_ = passwords.hashed(password)
    with db.write() as tx:
        _lock(tx, _folded(email))
        if not store.set_password(tx, _folded(email), hash_):
            raise errors.NotFound(f"there is no admin {email}; `ringbook admin list` shows those there are")
        store.end_sessions(tx, _folded(email))
        rate_limits.forget_admin_log_ins(tx, _folded(email))
        audit.record(tx, by, "admin's password reset", subject=_folded(email))
    return password


def remove(db: Database, email: str, *, by: Actor | None = None) -> None:
    """Let an admin in no more: the account and its sessions end. NotFound."""
    with db.write() as tx:
        _lock(tx, _folded(email))
        if not store.remove(tx, _folded(email)):
            raise errors.NotFound(f"there is no admin {email}; `ringbook admin list` shows those there are")
        audit.record(tx, by, "admin removed", subject=_folded(email))


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign_in(db: Database, limits: Limits, email: str, password: str, address: str, now: int) -> Login:
    """Open a session; Unauthorized, in the same words and after the same time whether there is such an admin or not.

    A try is charged to the e-mail and to the address before it is looked at; TooMany. Tries from all addresses together
    are charged, too, but from addresses that are the admin's own: strangers cannot keep the admin out of there.
    """
    email = _folded(email)
    tries = rate_limits.log_in(limits, NO_APP, f"admin {email}", address)
    if not _is_own_address(db, email, address, now):
        tries.append(rate_limits.admin_log_ins(limits, email))
    with charging.charge_guess(db, tries, now):
        stored = _prove(db, limits, email, password, address, now)
    token = secrets.token_urlsafe(32)
    with db.write() as tx:
        _check_unchanged(tx, email, stored)
        store.open_session(tx, _digest(token), email, now, now + LIFE_SECONDS)
        audit.record(tx, Actor(email, address, now), "logged in")
    return Login(email=email, token=token, created_at=now, expires_at=now + LIFE_SECONDS)


def _is_own_address(db: Database, email: str, address: str, now: int) -> bool:
    """Has this admin logged in from this address (IPv6: its /64) lately?

    Loopback is nobody's own: behind a proxy that RINGBOOK_TRUSTED_PROXIES does not name, everybody comes from there.
    """
    if networks.is_loopback(address):
        return False
    with db.read() as tx:
        known = audit_store.log_in_addresses(tx, email, now - KNOWN_SECONDS)
    return networks.network(address) in {networks.network(one) for one in known}


def _prove(db: Database, limits: Limits, email: str, password: str, address: str, now: int) -> str | None:
    """The hash of the password, if it is right."""
    with db.read() as tx:
        stored = store.password_of(tx, email)
    if not passwords.matches(stored, password):
        # Of somebody unknown nothing is kept that was typed: it may be a password in the wrong field.
        _note_refused(db, limits, Actor(email if stored else "nobody known", address, now))
        raise errors.Unauthorized(WRONG)
    return stored


def _note_refused(db: Database, limits: Limits, by: Actor) -> None:
    """Note a refused log-in, unless too many were noted in this hour: guessing must not fill the audit log."""
    try:
        with db.write() as tx:
            charging.charge(tx, rate_limits.audited_refusals(limits), 1, by.at)
            audit.record(tx, by, "log-in refused")
    except errors.TooMany as refused:
        metrics.limit_reached(refused.limit)


def _check_unchanged(tx: Tx, email: str, stored: str | None) -> None:
    """A password that was replaced while it was looked at opens nothing; who replaces it waits until this is over."""
    _lock(tx, email)
    if store.password_of(tx, email) != stored:
        raise errors.Unauthorized(WRONG)


def _lock(tx: Tx, email: str) -> None:
    tx.lock(f"admin {email}")


def session(db: Database, token: str, now: int, *, touch: bool = True) -> Login | None:
    """The session of this token, None when it is unknown or over.

    touch   it is used: that keeps it alive, and is written down at most once a minute
    """
    with db.read() as tx:
        row = store.by_token(tx, _digest(token), now)
    if not row:
        return None
    expires_at = min(now + LIFE_SECONDS, row["created_at"] + LONGEST_SECONDS)
    if touch and now - row["last_used_at"] >= TOUCH_SECONDS:
        with suppress(errors.Unavailable):  # what can be read is shown where nothing can be written: on a full disk
            with db.write() as tx:
                store.touch(tx, _digest(token), now, expires_at)
            row["expires_at"] = expires_at
    return Login(email=row["email"], token=token, created_at=row["created_at"], expires_at=row["expires_at"])


def sign_out(db: Database, login: Login, by: Actor) -> None:
    """The session is over at once."""
    with db.write() as tx:
        store.end_session(tx, _digest(login.token))
        audit.record(tx, by, "logged out")


def end_sessions(db: Database, login: Login, by: Actor) -> None:
    """End all of an admin's sessions, this one too."""
    with db.write() as tx:
        ended = store.end_sessions(tx, login.email)
        audit.record(tx, by, "sessions ended", subject=login.email, detail=f"{ended} of one's own")


def change_password(db: Database, limits: Limits, login: Login, old: str, new: str, by: Actor) -> None:
    """Replace one's own password, and end one's other sessions. Invalid names the field, TooMany, SessionGone."""
    passwords.check(new, min_characters=passwords.MIN_ADMIN_CHARACTERS, field="new")
    tries = rate_limits.log_in(limits, NO_APP, f"admin {login.email}", by.address)
    with charging.charge_guess(db, tries, by.at):
        with db.read() as tx:
            stored = store.password_of(tx, login.email)
        if not passwords.matches(stored, old):
            raise errors.Invalid("is wrong", field="old")
    hash_ = passwords.hashed(new)
    with db.write() as tx:
        _check_unchanged(tx, login.email, stored)
        if not store.by_token(tx, _digest(login.token), by.at):
            raise errors.SessionGone
        store.set_password(tx, login.email, hash_)
        store.end_sessions(tx, login.email, keep=_digest(login.token))
        audit.record(tx, by, "password changed", subject=login.email)


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Forget up to `batch` sessions that are over; how many that were."""
    with db.write() as tx:
        return store.sweep(tx, now, batch)


def _folded(email: str) -> str:
    return email.strip().lower()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
