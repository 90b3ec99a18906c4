"""Sessions of apps: opening, sign-in, use, and end.

    open_application, open_user, open_guest    open a session (`POST /session`)
    sign_in, sign_out                          change the user of a session; the token stays
    open_verified, sign_in_verified            the same for a user whom a proof of identity has named (`core/proofs.py`)
    current                                    the session of a token; extends it
    current_with_user, current_with_reports    the same, with what is read in the same statement
    current_with_user_in_loop, …_reports_…     for the event loop, without a thread
    of_user                                    a user's sessions
    end, end_by_id, end_others, end_all        end sessions before they expire
    check_signature                            checks the HMAC that QuickBlox SDKs and old ConnectyCube SDKs send
    sweep                                      deletes expired sessions, and erases guests whose day is over

A session expires 2 hours after its last use, a guest's session 24 hours after the sign-up. A user has at most
`max_user_sessions`: a new session ends the one that was unused for the longest time.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import lru_cache, partial

from .. import errors, metrics
from ..config import Limits
from ..model import GUEST_SECONDS, App, Session, User
from ..store import proofs, reports
from ..store import sessions as store
from ..store import users as user_store
from ..store.db import Database, Row, Tx
from ..times import DAY
from . import audit, charging, known, numbers, passwords, rate_limits, stats, users
from .audit import Actor
from .profile import Fields

LIFE_SECONDS = 2 * 3600
TOUCH_SECONDS = 60
TOKEN_LENGTH = 40
WINDOW_SECONDS = 3600
UNAUTHORIZED = "Unauthorized"
DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, its token, and its user (None for a session of the application)."""

    session: Session
    token: str
    user: User | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a sign-in: a login or an e-mail, or both, and the password."""

    login: str
    email: str
    password: str


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def open_application(db: Database, limits: Limits, app: App, address: str, *, ts: int, nonce: int, now: int) -> Opened:
    """Open a session without a user, for signing up and signing in."""
    with db.write() as tx:
        rate_limits.charge_session(tx, limits, address, now)
        session, token = _insert(tx, app, None, ts=ts, nonce=nonce, now=now)
    return Opened(session, token)


def open_user(
    db: Database, limits: Limits, app: App, given: Credentials, address: str, *, ts: int, nonce: int, now: int
) -> Opened:
    """Open a user's session. An unknown login creates a user if the setting `session_creates_user` is on."""
    _charge_guess(db, limits, app, given, address, now)
    account = _user_with_password(db, app, given, now) or _created(db, limits, app, given, address, now)
    with db.write() as tx:
        numbers.lock_user(tx, account["id"])  # a concurrent change of the password ends this session or is seen below
        session, token = _insert(tx, app, account["id"], ts=ts, nonce=nonce, now=now)
        _end_oldest(tx, limits, account["id"], token)
        user = _signed_in(tx, limits, app, account, given, address, now)
    return Opened(session, token, user)


def _created(db: Database, limits: Limits, app: App, given: Credentials, address: str, now: int) -> Row:
    """Create a user. Of several concurrent requests of an app, the first creates the user, and the others sign in."""
    if not app.settings.session_creates_user:
        raise errors.NotFound("User not found")
    try:
        fields: Fields = {"login": given.login, "email": given.email, "password": given.password}
        user = users.sign_up(db, limits, app, fields, address, now)
    except errors.Conflict:
        account = _user_with_password(db, app, given, now)
        if account is None:
            raise
        return account
    return {"id": user.id}


def open_guest(
    db: Database, limits: Limits, app: App, full_name: str, address: str, *, ts: int, nonce: int, now: int
) -> Opened:
    """Create a guest and open the guest's session. Both end after a day."""
    guest = users.guest(db, limits, app, full_name, address, now)
    with db.write() as tx:
        session, token = _insert(tx, app, guest.id, ts=ts, nonce=nonce, now=now, guest_until=now + GUEST_SECONDS)
    return Opened(session, token, guest)


def open_verified(
    db: Database, app: App, user_id: int, *, ts: int, nonce: int, now: int, limits: Limits = DEFAULTS
) -> Opened:
    """Open a session of the user whom a proof of identity has named."""
    with db.write() as tx:
        user = _identified(tx, app, user_id, now)
        session, token = _insert(tx, app, user_id, ts=ts, nonce=nonce, now=now)
        _end_oldest(tx, limits, user_id, token)
    return Opened(session, token, user)


def sign_in_verified(
    db: Database, app: App, token: str, user_id: int, now: int, *, limits: Limits = DEFAULTS
) -> Opened:
    """Make the user whom a proof of identity has named the user of this token's session."""
    with db.write() as tx:
        user = _identified(tx, app, user_id, now)
        session = _become(tx, limits, token, user_id, now)
    return Opened(session, token, user)


def _identified(tx: Tx, app: App, user_id: int, now: int) -> User:
    """The user whom a proof has named, locked and marked as seen.

    Raises Unavailable when the user was just erased: the client tries again, and the same proof creates a new account.
    """
    numbers.lock_user(tx, user_id)  # it cannot be erased until the transaction ends
    try:
        return _marked_seen(tx, app, user_id, now)
    except errors.Unauthorized:
        raise errors.Unavailable("The account has just been erased. Try again.") from None


def sign_in(db: Database, limits: Limits, app: App, token: str, given: Credentials, address: str, now: int) -> Opened:
    """Make the user the user of this token's session. An unknown login is refused like a wrong password."""
    _charge_guess(db, limits, app, given, address, now)
    account = _user_with_password(db, app, given, now)
    if account is None:
        passwords.matches(None, given.password)  # takes as long as for a known login
        raise errors.Unauthorized(UNAUTHORIZED)
    with db.write() as tx:
        numbers.lock_user(tx, account["id"])
        session = _become(tx, limits, token, account["id"], now)
        user = _signed_in(tx, limits, app, account, given, address, now)
    return Opened(session, token, user)


def _become(tx: Tx, limits: Limits, token: str, user_id: int, now: int) -> Session:
    before = store.by_token(tx, digest(token), now)
    if not before:
        raise errors.SessionGone
    row = store.set_user(tx, digest(token), before["app_id"], user_id, now, now + LIFE_SECONDS)
    if not row:
        raise errors.SessionGone
    users.note_last_use(tx, [before])
    _end_oldest(tx, limits, user_id, token)
    return Session(**row)


def _end_oldest(tx: Tx, limits: Limits, user_id: int, token: str) -> None:
    """End the sessions beyond the user's limit. The session of this token stays."""
    if store.drop_oldest(tx, user_id, digest(token), limits.max_user_sessions):
        tx.on_commit(partial(metrics.limit_reached, "max_user_sessions"))


def has_password(db: Database, app: App, login: str, email: str) -> bool:
    """Whether a user with this login or e-mail has a password."""
    with db.read() as tx:
        account = user_store.find_for_sign_in(tx, app.id, login, email)
    return bool(account and account["password_hash"])


def sign_out(db: Database, limits: Limits, token: str, address: str, now: int) -> None:
    """Make the session of this token a session without a user.

    It is charged like a new session of the application. When the address has reached that limit, the session ends
    instead, because a limit must not keep a user signed in.
    """
    with db.write() as tx:
        before = store.by_token(tx, digest(token), now)
        if before:
            users.note_last_use(tx, [before | {"last_used_at": now}])
        try:
            if before and before["user_id"]:
                rate_limits.charge_session(tx, limits, address, now)
            if before:
                store.set_user(tx, digest(token), before["app_id"], None, now, now + LIFE_SECONDS)
        except errors.TooMany as refused:
            metrics.limit_reached(refused.limit)
            store.end(tx, digest(token))


def _insert(
    tx: Tx, app: App, user_id: int | None, *, ts: int, nonce: int, now: int, guest_until: int | None = None
) -> tuple[Session, str]:
    token = secrets.token_hex(TOKEN_LENGTH // 2)
    row = store.insert(
        tx,
        digest(token),
        app_id=app.id,
        user_id=user_id,
        nonce=nonce,
        ts=ts,
        now=now,
        expires_at=guest_until or now + LIFE_SECONDS,
        guest_until=guest_until,
    )
    stats.after(tx, app.id, "sessions", now)
    return Session(**row), token


def digest(token: str) -> bytes:
    """The stored form of a token. One SHA-256 is enough, because tokens are random.

    It is remembered for the next request of the app: to hash takes a thirtieth of the time of a small request.
    """
    return _remembered(token) if len(token) == TOKEN_LENGTH else _hashed(token)


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


_remembered = lru_cache(maxsize=1024)(_hashed)


# ── checking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _charge_guess(db: Database, limits: Limits, app: App, given: Credentials, address: str, now: int) -> None:
    """Charge a guess of a password before any user is read. `_signed_in` refunds it, but not the work of comparing.

    It is charged first so that concurrent requests cannot guess more often than the limits allow. The bucket is named
    by the given login and e-mail, whether such a user exists or not.
    """
    with db.write() as tx:
        account = users.bucket_name(given.login, given.email)
        work = rate_limits.password_checks(limits, app.id, account, address)
        charged = [*_guesses(tx, limits, app, given, address, now), *work]
        charging.charge_all(tx, [charging.Charge(bucket, 1) for bucket in charged], now)


def _guesses(tx: Tx, limits: Limits, app: App, given: Credentials, address: str, now: int) -> list[charging.Bucket]:
    account = users.bucket_name(given.login, given.email)
    is_known = known.is_known(tx, rate_limits.account_name(app.id, account), address, now)
    return rate_limits.log_in(limits, app.id, account, address, is_known=is_known)


def _user_with_password(db: Database, app: App, given: Credentials, now: int) -> Row | None:
    """The user with this login and password; None when no user has the login. Raises Unauthorized."""
    with db.read() as tx:
        account = user_store.find_for_sign_in(tx, app.id, given.login, given.email)
    if not account:
        return None
    if not passwords.matches(account["password_hash"], given.password):
        raise errors.Unauthorized(UNAUTHORIZED)
    users.spend_one_time(db, account, now)
    return account


def _signed_in(tx: Tx, limits: Limits, app: App, account: Row, given: Credentials, address: str, now: int) -> User:
    """Refund the guess and mark the user as seen. Raises Unauthorized if the password has just been replaced."""
    for bucket in _guesses(tx, limits, app, given, address, now):
        charging.refund(tx, bucket, 1, now)
    stored = user_store.secrets(tx, app.id, account["id"])
    if not stored or stored["password_hash"] != account.get("password_hash", stored["password_hash"]):
        raise errors.Unauthorized(UNAUTHORIZED)
    user = _marked_seen(tx, app, account["id"], now)
    if now - user.created_at >= DAY:  # strangers who make accounts store nothing
        # Links to a new password are asked for by e-mail, also by users who sign in by login.
        emails = [users.bucket_name("", user.email)] if user.email else []
        for name in dict.fromkeys([users.bucket_name(given.login, given.email), *emails]):
            known.remember(tx, rate_limits.account_name(app.id, name), address, now)
    return user


def _marked_seen(tx: Tx, app: App, user_id: int, now: int) -> User:
    """The user, marked as seen. Raises Unauthorized when the user was erased."""
    proofs.end_import(tx, user_id)
    user_store.mark_seen(tx, {user_id: now})
    user = user_store.by_id(tx, app.id, user_id)
    if not user:
        raise errors.Unauthorized(UNAUTHORIZED)
    return user


def check_signature(
    db: Database,
    limits: Limits,
    app: App,
    message: str,
    signature: str,
    timestamp: int | None,
    address: str,
    *,
    once: bool,
    now: int,
) -> None:
    """Refuse a signature that is wrong, too old, or (`once`) was used before.

    message     all other parameters as `name=value`, sorted by name and joined with &
    signature   the HMAC of the message with the application's secret, in hex: SHA-1 (40 digits) or SHA-256 (64)
    once        the signature is accepted once. It is stored for two hours, and charged as a new session; TooMany
    """
    algorithm = "sha256" if len(signature) == 64 else "sha1"
    right = hmac.new(app.auth_secret.encode(), message.encode("utf-8", "surrogatepass"), algorithm).hexdigest()
    if not hmac.compare_digest(right.encode(), signature.lower().encode("utf-8", "surrogatepass")):
        raise errors.Invalid("Unexpected signature")
    if timestamp is None or abs(now - timestamp) > WINDOW_SECONDS:
        raise errors.Invalid("Bad timestamp")
    if once:
        with db.write() as tx:
            rate_limits.charge_session(tx, limits, address, now)
            if not store.remember_signature(tx, app.id, signature.lower(), timestamp + WINDOW_SECONDS + 1):
                raise errors.Invalid("Unexpected signature")


# ── use and end ──────────────────────────────────────────────────────────────────────────────────────────────────────


def current(db: Database, token: str, now: int) -> Session | None:
    """The session of this token; None when it is unknown or has expired. Its use is stored at most once a minute."""
    with db.read() as tx:
        row = store.by_token(tx, digest(token), now)
    return _used(db, token, row, now) if row else None


def current_with_user(
    db: Database, token: str, now: int, user_id: int | None = None
) -> tuple[Session | None, User | None]:
    """The session of this token as `current` gives it, and the user with this id in its application, if there is one.

    user_id   None: the session's own user, whom a session of the application does not have
    """
    with db.read() as tx:
        row, user = store.by_token_with_user(tx, digest(token), now, user_id)
    return (_used(db, token, row, now) if row else None), user


async def current_with_user_in_loop(
    db: Database, token: str, now: int, user_id: int | None = None
) -> tuple[Session, User | None, int | None] | None:
    """The same for the event loop. None where a thread must look: no such session, or its use must be stored.

    The third value is for `privacy.visible_if_held`, where an id was given.
    """
    found = await store.by_token_with_user_in_loop(db, digest(token), now, user_id)
    if not found or _is_used_anew(found[0], now):
        return None
    row, user, held = found
    return Session(**row), user, held


def current_with_reports(db: Database, token: str, now: int) -> tuple[Session | None, reports.Books]:
    """The session of this token as `current` gives it, and the reports of its user's books (`core/reports.py`)."""
    with db.read() as tx:
        row, books = store.by_token_with_reports(tx, digest(token), now)
    return (_used(db, token, row, now) if row else None), books


async def current_with_reports_in_loop(db: Database, token: str, now: int) -> tuple[Session, reports.Books] | None:
    """The same for the event loop. None as in `current_with_user_in_loop`."""
    found = await store.by_token_with_reports_in_loop(db, digest(token), now)
    return (Session(**found[0]), found[1]) if found and not _is_used_anew(found[0], now) else None


def _is_used_anew(row: Row, now: int) -> bool:
    """Is the use to be stored?"""
    return bool(now - row["last_used_at"] >= TOUCH_SECONDS)


def _used(db: Database, token: str, row: Row, now: int) -> Session:
    """The session in a row. Stores its use unless that happened within the last minute."""
    if _is_used_anew(row, now):
        row |= {"last_used_at": now, "expires_at": row["guest_until"] or now + LIFE_SECONDS}
        with db.write() as tx:
            store.touch(tx, digest(token), now, row["expires_at"])
    return Session(**row)


def of_user(db: Database, user_id: int, now: int) -> list[Session]:
    """A user's sessions, the last used first."""
    with db.read() as tx:
        return [Session(**row) for row in store.of_user(tx, user_id, now)]


def end(db: Database, token: str) -> None:
    """End the session of this token."""
    with db.write() as tx:
        users.note_last_use(tx, store.end(tx, digest(token)))


def end_by_id(db: Database, user_id: int, session_id: int, *, by: Actor | None = None) -> None:
    """End one of the user's sessions; NotFound when it is not one of them."""
    with db.write() as tx:
        ended = store.end_by_id(tx, user_id, session_id)
        if not ended:
            raise errors.NotFound("Not found")
        users.note_last_use(tx, ended)
        audit.of_user(tx, by, "sessions ended", user_id, f"session {session_id}")


def end_others(db: Database, user_id: int, keep: str) -> None:
    """End all of the user's sessions except the one of the token `keep`."""
    with db.write() as tx:
        users.note_last_use(tx, store.end_others(tx, user_id, digest(keep)))


def end_all(db: Database, user_id: int, *, by: Actor) -> int:
    """End all sessions of a user on behalf of an admin. Returns how many."""
    with db.write() as tx:
        ended = store.end_others(tx, user_id, b"")
        users.note_last_use(tx, ended)
        audit.of_user(tx, by, "sessions ended", user_id, f"sessions: {len(ended)}")
    return len(ended)


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Delete up to `batch` expired sessions, and erase as many guests whose day is over. Returns how many."""
    with db.write() as tx:
        ended = store.sweep(tx, now, batch)
        users.note_last_use(tx, ended)
        signatures = store.sweep_signatures(tx, now, batch)
    return len(ended) + signatures + users.erase_guests(db, now, batch)
