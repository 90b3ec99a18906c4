"""Admins and their sessions in the dashboard. There is one role: every admin may do everything.

    first, create, reset_password    return a new random password, which is stored only as a hash
    any_, all_, remove               say whether there is an admin; list the admins; delete one
    sign_in, session, sign_out       open, find and end a session
    change_password, end_sessions    change the admin's own password; end the admin's own sessions
    sweep                            deletes expired sessions

A session expires LIFE_SECONDS after its last use, and LONGEST_SECONDS after it was opened.
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
KNOWN_SECONDS = 30 * 86_400  # for so long after a log-in the address counts as the admin's own
FIRST = "admin@localhost"
NO_APP = 0  # in place of an application's id in the names of buckets
WRONG = "The e-mail or the password is wrong."


class Admin(Struct, frozen=True):
    """An admin. `seen_at` is None for an admin without a session."""

    email: str
    created_at: int
    seen_at: int | None


class Login(Struct, frozen=True, kw_only=True):
    """A session in the dashboard. Its token, of which only a hash is stored, signs the forms of its pages."""

    email: str
    token: str
    created_at: int
    expires_at: int

    def signature(self, of: str) -> str:
        """A signature of a text, which cannot be made without this session's token."""
        return hmac.new(self.token.encode(), of.encode(), "sha256").hexdigest()

    def is_signed(self, text: str, signature: str) -> bool:
        """Whether this is the signature of the text."""
        return hmac.compare_digest(self.signature(text).encode(), signature.encode("utf-8", "surrogatepass"))

    @property
    def csrf(self) -> str:
        """The CSRF token that each form of this session contains."""
        return self.signature("form")

    def is_csrf(self, given: str) -> bool:
        """Whether this is the CSRF token of this session."""
        return self.is_signed("form", given)


# ── admins ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def first(db: Database, now: int) -> tuple[str, str] | None:
    """Create the first admin. Returns e-mail and password; None when there is an admin already."""
    password = secrets.token_urlsafe(15)
    hash_ = passwords.hashed(password)
    with db.write() as tx:
        tx.lock("first admin")
        if store.any_(tx):
            return None
        store.insert(tx, FIRST, hash_, now)
    return FIRST, password


def any_(db: Database) -> bool:
    """Whether there is an admin."""
    with db.read() as tx:
        return store.any_(tx)


def all_(db: Database) -> list[Admin]:
    """Every admin, by e-mail."""
    with db.read() as tx:
        return [Admin(row["email"], row["created_at"], row["last_used_at"]) for row in store.all_(tx)]


def create(db: Database, email: str, now: int, *, by: Actor | None = None) -> str:
    """Create an admin. Returns the password. Raises Conflict when there is an admin with this e-mail."""
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
    """Give an admin a new password, end the admin's sessions, and empty the bucket of wrong passwords."""
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
    """Delete an admin and end the admin's sessions. Raises NotFound."""
    with db.write() as tx:
        _lock(tx, _folded(email))
        if not store.remove(tx, _folded(email)):
            raise errors.NotFound(f"there is no admin {email}; `ringbook admin list` shows those there are")
        audit.record(tx, by, "admin removed", subject=_folded(email))


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign_in(db: Database, limits: Limits, email: str, password: str, address: str, now: int) -> Login:
    """Open a session. Raises Unauthorized with the same text and after the same time for unknown e-mails, and TooMany.

    A guess is charged to the e-mail with the address before the password is compared. It is also charged to the e-mail
    alone, unless it comes from one of the admin's own addresses: others cannot lock the admin out there.
    """
    email = _folded(email)
    guesses = rate_limits.log_in(limits, NO_APP, f"admin {email}", address)
    if not _is_own_address(db, email, address, now):
        guesses.append(rate_limits.admin_log_ins(limits, email))
    with charging.charge_guess(db, guesses, now):
        stored = _check_password(db, limits, email, password, address, now)
    token = secrets.token_urlsafe(32)
    with db.write() as tx:
        _check_unchanged(tx, email, stored)
        store.open_session(tx, _digest(token), email, now, now + LIFE_SECONDS)
        audit.record(tx, Actor(email, address, now), "logged in")
    return Login(email=email, token=token, created_at=now, expires_at=now + LIFE_SECONDS)


def _is_own_address(db: Database, email: str, address: str, now: int) -> bool:
    """Whether this admin has logged in from this address (IPv6: its /64) lately.

    A loopback address never is an admin's own: behind a proxy that RINGBOOK_TRUSTED_PROXIES does not name, all requests
    come from it.
    """
    if networks.is_loopback(address):
        return False
    with db.read() as tx:
        known = audit_store.log_in_addresses(tx, email, now - KNOWN_SECONDS)
    return networks.network(address) in {networks.network(one) for one in known}


def _check_password(db: Database, limits: Limits, email: str, password: str, address: str, now: int) -> str | None:
    """The hash of the password. Raises Unauthorized when it is wrong."""
    with db.read() as tx:
        stored = store.password_of(tx, email)
    if not passwords.matches(stored, password):
        # An unknown e-mail is not recorded: it may be a password that was typed into the wrong field.
        _note_refused(db, limits, Actor(email if stored else "nobody known", address, now))
        raise errors.Unauthorized(WRONG)
    return stored


def _note_refused(db: Database, limits: Limits, by: Actor) -> None:
    """Record a refused log-in, up to a limit per hour, so that guesses do not fill the audit log."""
    try:
        with db.write() as tx:
            charging.charge(tx, rate_limits.audited_refusals(limits), 1, by.at)
            audit.record(tx, by, "log-in refused")
    except errors.TooMany as refused:
        metrics.limit_reached(refused.limit)


def _check_unchanged(tx: Tx, email: str, stored: str | None) -> None:
    """Refuse a password that was replaced after it was compared. Later changes wait until the transaction ends."""
    _lock(tx, email)
    if store.password_of(tx, email) != stored:
        raise errors.Unauthorized(WRONG)


def _lock(tx: Tx, email: str) -> None:
    tx.lock(f"admin {email}")


def session(db: Database, token: str, now: int, *, touch: bool = True) -> Login | None:
    """The session of this token; None when it is unknown or has expired.

    touch   extend the session; this is stored at most once a minute
    """
    with db.read() as tx:
        row = store.by_token(tx, _digest(token), now)
    if not row:
        return None
    expires_at = min(now + LIFE_SECONDS, row["created_at"] + LONGEST_SECONDS)
    if touch and now - row["last_used_at"] >= TOUCH_SECONDS:
        with suppress(errors.Unavailable):  # when the disk is full, pages can still be read
            with db.write() as tx:
                store.touch(tx, _digest(token), now, expires_at)
            row["expires_at"] = expires_at
    return Login(email=row["email"], token=token, created_at=row["created_at"], expires_at=row["expires_at"])


def sign_out(db: Database, login: Login, by: Actor) -> None:
    """End this session."""
    with db.write() as tx:
        store.end_session(tx, _digest(login.token))
        audit.record(tx, by, "logged out")


def end_sessions(db: Database, login: Login, by: Actor) -> None:
    """End all sessions of the admin, including this one."""
    with db.write() as tx:
        ended = store.end_sessions(tx, login.email)
        audit.record(tx, by, "sessions ended", subject=login.email, detail=f"{ended} of one's own")


def change_password(db: Database, limits: Limits, login: Login, old: str, new: str, by: Actor) -> None:
    """Replace the admin's own password, and end the other sessions.

    Raises Invalid with the field, TooMany, SessionGone.
    """
    passwords.check(new, min_characters=passwords.MIN_ADMIN_CHARACTERS, field="new")
    guesses = rate_limits.log_in(limits, NO_APP, f"admin {login.email}", by.address)
    with charging.charge_guess(db, guesses, by.at):
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
    """Delete up to `batch` expired sessions. Returns how many."""
    with db.write() as tx:
        return store.sweep(tx, now, batch)


def _folded(email: str) -> str:
    return email.strip().lower()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
