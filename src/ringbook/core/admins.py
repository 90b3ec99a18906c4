"""Admins and their sessions in the dashboard.

    first, create, reset_password             return a new random password, which is stored only as a hash
    any_, check, all_                         is there an admin, or this one; list the admins
    set_role, remove                          change or delete one
    sign_in, session, sign_out                open, find and end a session
    sessions_of, end_session, end_sessions    list the sessions of an admin, and end one or all of them
    change_password                           changes the admin's own password
    invite, invited, accept                   an owner invites by a link, which is used once
    invitations, withdraw                     list the open invitations; delete one
    sweep                                     deletes expired sessions and invitations

There are two roles. An owner may do everything. A viewer sees no phone and no e-mail of a user, has no page
"Why not found?", and changes, reveals and exports nothing.

A session expires LIFE_SECONDS after its last use, and LONGEST_SECONDS after it was opened.
"""

import hashlib
import hmac
import secrets
from contextlib import suppress
from typing import Literal, get_args

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
INVITED_SECONDS = 7 * 86_400
NOT_INVITED = "This invitation was used, withdrawn, or has expired."

Role = Literal["owner", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)
OWNER: Role = "owner"
VIEWER: Role = "viewer"
NO_ADMIN = "there is no admin {email}; `ringbook admin list` shows those there are"
LAST_OWNER = "There must be an owner: this admin is the only one."


class Admin(Struct, frozen=True):
    """An admin. `seen_at` is None for an admin without a session."""

    email: str
    created_at: int
    seen_at: int | None
    role: str = OWNER


class Session(Struct, frozen=True, kw_only=True):
    """An open session of an admin. `id` identifies it and does not open it."""

    id: str
    address: str
    browser: str
    created_at: int
    last_used_at: int


class Invitation(Struct, frozen=True, kw_only=True):
    """An open invitation. `id` identifies it and is not the link."""

    id: str
    email: str
    role: str
    expires_at: int


class Login(Struct, frozen=True, kw_only=True):
    """A session in the dashboard. Its token, of which only a hash is stored, signs the forms of its pages."""

    email: str
    token: str
    created_at: int
    expires_at: int
    role: str = OWNER

    @property
    def is_owner(self) -> bool:
        """Whether the admin may change something."""
        return self.role == OWNER

    @property
    def id(self) -> str:
        """The id of the session, as in `Session`."""
        return _digest(self.token).hex()

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
        store.insert(tx, FIRST, hash_, OWNER, now)
    return FIRST, password


def any_(db: Database) -> bool:
    """Whether there is an admin."""
    with db.read() as tx:
        return store.any_(tx)


def all_(db: Database) -> list[Admin]:
    """Every admin, by e-mail."""
    with db.read() as tx:
        rows = store.all_(tx)
    return [Admin(row["email"], row["created_at"], row["last_used_at"], row["role"]) for row in rows]


def create(db: Database, email: str, now: int, *, role: Role = OWNER, by: Actor | None = None) -> str:
    """Create an admin. Returns the password. Raises Conflict when there is an admin with this e-mail."""
    _check_email(email)
    password = secrets.token_urlsafe(15)
    hash_ = passwords.hashed(password)
    with db.write() as tx:
        _insert(tx, email, hash_, role, now, by)
    return password


def _insert(tx: Tx, email: str, hash_: str, role: str, now: int, by: Actor | None) -> None:
    if not store.insert(tx, _folded(email), hash_, role, now):
        raise errors.Conflict(f"{email} is an admin already", field="email")
    audit.record(tx, by, "admin created", subject=_folded(email), detail=role)


def _check_email(email: str) -> None:
    name, at, domain = email.strip().partition("@")
    if not (name and at and domain):
        raise errors.Invalid("must be an e-mail address", field="email")


def set_role(db: Database, email: str, role: Role, *, by: Actor | None = None) -> None:
    """Change what an admin may do, from the next request on. Raises NotFound, and Invalid for the only owner."""
    with db.write() as tx:
        former = _locked(tx, email)
        if role == former:
            return
        if role != OWNER:
            _keep_an_owner(tx, former)
        store.set_role(tx, _folded(email), role)
        audit.record(tx, by, "admin's role changed", subject=_folded(email), detail=f"{former} → {role}")


def check(db: Database, email: str) -> None:
    """Raise NotFound if there is no such admin."""
    with db.read() as tx:
        if not store.role_of(tx, _folded(email)):
            raise errors.NotFound(NO_ADMIN.format(email=email))


def _locked(tx: Tx, email: str) -> str:
    """Lock an admin, and the number of owners. Returns the role. Raises NotFound."""
    tx.lock("admins")
    _lock(tx, _folded(email))
    if not (role := store.role_of(tx, _folded(email))):
        raise errors.NotFound(NO_ADMIN.format(email=email))
    return role


def _keep_an_owner(tx: Tx, role: str) -> None:
    if role == OWNER and store.owners(tx) == 1:
        raise errors.Invalid(LAST_OWNER)


def reset_password(db: Database, email: str, *, by: Actor | None = None) -> str:
    """Give an admin a new password, end the admin's sessions, and empty the bucket of wrong passwords."""
    password = secrets.token_urlsafe(15)
    hash_ = passwords.hashed(password)
    with db.write() as tx:
        _lock(tx, _folded(email))
        if not store.set_password(tx, _folded(email), hash_):
            raise errors.NotFound(NO_ADMIN.format(email=email))
        store.end_sessions(tx, _folded(email))
        rate_limits.forget_admin_log_ins(tx, _folded(email))
        audit.record(tx, by, "admin's password reset", subject=_folded(email))
    return password


def remove(db: Database, email: str, *, keep_owner: bool = False, by: Actor | None = None) -> None:
    """Delete an admin and end the admin's sessions. Raises NotFound.

    keep_owner   raise Invalid for the only owner
    """
    with db.write() as tx:
        role = _locked(tx, email)
        if keep_owner:
            _keep_an_owner(tx, role)
        store.remove(tx, _folded(email))
        audit.record(tx, by, "admin removed", subject=_folded(email))


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign_in(
    db: Database, limits: Limits, email: str, password: str, address: str, now: int, *, browser: str = ""
) -> Login:
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
        return _opened(tx, token, email, Actor(email, address, now), browser)


def _opened(tx: Tx, token: str, email: str, by: Actor, browser: str) -> Login:
    """Open a session."""
    role, expires_at = store.role_of(tx, email), by.at + LIFE_SECONDS
    assert role
    store.open_session(tx, _digest(token), email, by.at, expires_at, address=by.address, browser=browser)
    audit.record(tx, by, "logged in", detail=browser)
    return Login(email=email, token=token, created_at=by.at, expires_at=expires_at, role=role)


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
    if not row or now >= row["created_at"] + LONGEST_SECONDS:
        return None
    expires_at = min(now + LIFE_SECONDS, row["created_at"] + LONGEST_SECONDS)
    if touch and now - row["last_used_at"] >= TOUCH_SECONDS:
        with suppress(errors.Unavailable):  # when the disk is full, pages can still be read
            with db.write() as tx:
                store.touch(tx, _digest(token), now, expires_at)
            row["expires_at"] = expires_at
    return Login(
        email=row["email"],
        token=token,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        role=row["role"],
    )


def sign_out(db: Database, login: Login, by: Actor) -> None:
    """End this session."""
    with db.write() as tx:
        store.end_session(tx, _digest(login.token))
        audit.record(tx, by, "logged out")


def sessions_of(db: Database, email: str, now: int) -> list[Session]:
    """The open sessions of an admin, the one used last first."""
    with db.read() as tx:
        rows = store.sessions_of(tx, _folded(email), now)
    return [Session(id=row.pop("token_hash").hex(), **row) for row in rows]


def end_session(db: Database, email: str, session_id: str, by: Actor) -> None:
    """End one session of an admin. Raises NotFound when it has ended already."""
    with db.write() as tx:
        found = [one["token_hash"] for one in store.sessions_of(tx, _folded(email), by.at)]
        ended = next((one for one in found if one.hex() == session_id), None)
        if not ended:
            raise errors.NotFound("This session has ended already.")
        store.end_session(tx, ended)
        audit.record(tx, by, "sessions ended", subject=_folded(email), detail="1 session")


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


# ── invitations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def invite(db: Database, email: str, role: Role, by: Actor) -> str:
    """Invite an admin. Returns the token of the link, of which only a hash is stored. Raises Invalid, Conflict."""
    _check_email(email)
    token = secrets.token_urlsafe(32)
    with db.write() as tx:
        if store.role_of(tx, _folded(email)):
            raise errors.Conflict("is an admin already", field="email")
        store.invite(tx, _digest(token), _folded(email), role, by.at, by.at + INVITED_SECONDS)
        audit.record(tx, by, "admin invited", subject=_folded(email), detail=role)
    return token


def invited(db: Database, token: str, now: int) -> Invitation:
    """The invitation of a link. Raises NotFound."""
    with db.read() as tx:
        row = store.invited(tx, _digest(token), now)
    if not row:
        raise errors.NotFound(NOT_INVITED)
    return Invitation(id=row["token_hash"].hex(), email=row["email"], role=row["role"], expires_at=now)


def accept(db: Database, token: str, password: str, address: str, now: int, *, browser: str = "") -> Login:
    """Make the invited admin, with a password of their choice, and open a session. The link is used up.

    Raises NotFound before the password is hashed, Invalid with the field, Conflict.
    """
    email = invited(db, token, now).email
    passwords.check(password, min_characters=passwords.MIN_ADMIN_CHARACTERS, field="new")
    hash_, session_token = passwords.hashed(password), secrets.token_urlsafe(32)
    by = Actor(email, address, now)
    with db.write() as tx:
        row = store.invited(tx, _digest(token), now)
        if not row or not store.withdraw(tx, _digest(token)):
            raise errors.NotFound(NOT_INVITED)
        _insert(tx, email, hash_, row["role"], now, by)
        return _opened(tx, session_token, email, by, browser)


def invitations(db: Database, now: int) -> list[Invitation]:
    """The invitations that nobody has accepted, by e-mail."""
    with db.read() as tx:
        rows = store.invitations(tx, now)
    names = ("email", "role", "expires_at")
    return [Invitation(id=row["token_hash"].hex(), **{name: row[name] for name in names}) for row in rows]


def withdraw(db: Database, invitation_id: str, by: Actor) -> None:
    """Delete an invitation: its link no longer works. Raises NotFound."""
    with db.write() as tx:
        row = store.withdraw(tx, _bytes(invitation_id))
        if not row:
            raise errors.NotFound(NOT_INVITED)
        audit.record(tx, by, "invitation withdrawn", subject=row["email"])


def _bytes(id_: str) -> bytes:
    try:
        return bytes.fromhex(id_)
    except ValueError:
        raise errors.NotFound(NOT_INVITED) from None


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Delete up to `batch` expired sessions, and as many expired invitations. Returns how many."""
    with db.write() as tx:
        return store.sweep(tx, now, batch) + store.sweep_invitations(tx, now, batch)


def _folded(email: str) -> str:
    return email.strip().lower()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
