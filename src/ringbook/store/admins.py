"""Admins of the dashboard and their sessions. An e-mail is found by a keyed value, and stands sealed beside it.

insert, set_password, remove          one admin each
any_, all_                            whether there is one, and who they are
password_of                           what a password is compared with
open_session, by_token, touch         a session in the dashboard
end_session, end_sessions, sweep      and its end
"""

from ..seal import halves
from .db import Row, Tx


def keyed(tx: Tx, email: str) -> bytes:
    """The keyed value by which an admin's e-mail is found."""
    return tx.seal.lookup("admin", 0, email)


def opened(tx: Tx, row: Row) -> Row:
    """A row of the keyed e-mail and the sealed one, with the e-mail in place of both; errors.Unreadable."""
    email = tx.seal.open(row.pop("sealed"), "admins", "sealed", *halves(row["email"]))
    return row | {"email": email}


def insert(tx: Tx, email: str, password_hash: str, now: int) -> bool:
    """Add an admin; False when the e-mail is taken."""
    key = keyed(tx, email)
    return bool(
        tx.run(
            "INSERT INTO admins (email, sealed, password_hash, created_at)"
            " VALUES (:email, :sealed, :password_hash, :now) ON CONFLICT (email) DO NOTHING",
            email=key,
            sealed=tx.seal.text(email, "admins", "sealed", *halves(key)),
            password_hash=password_hash,
            now=now,
        )
    )


def set_password(tx: Tx, email: str, password_hash: str) -> bool:
    """Replace the password; False when there is no such admin."""
    return bool(
        tx.run(
            "UPDATE admins SET password_hash = :password_hash WHERE email = :email",
            email=keyed(tx, email),
            password_hash=password_hash,
        )
    )


def remove(tx: Tx, email: str) -> bool:
    """Delete an admin and the admin's sessions; False when there is no such admin."""
    return bool(tx.run("DELETE FROM admins WHERE email = :email", email=keyed(tx, email)))


def any_(tx: Tx) -> bool:
    """Is there an admin?"""
    return bool(tx.tuples("SELECT 1 FROM admins LIMIT 1"))


def all_(tx: Tx) -> list[Row]:
    """Every admin by e-mail: email, created_at and last_used_at (of the open session used last, else None)."""
    rows = tx.all(
        "SELECT a.email, a.sealed, a.created_at, MAX(s.last_used_at) AS last_used_at FROM admins AS a"
        " LEFT JOIN admin_sessions AS s ON s.email = a.email GROUP BY a.email, a.sealed, a.created_at"
    )
    return sorted((opened(tx, row) for row in rows), key=lambda row: str(row["email"]))


def password_of(tx: Tx, email: str) -> str | None:
    """The hash of an admin's password; None when there is no such admin."""
    row = tx.one("SELECT password_hash FROM admins WHERE email = :email", email=keyed(tx, email))
    return row["password_hash"] if row else None


def open_session(tx: Tx, token_hash: bytes, email: str, now: int, expires_at: int) -> None:
    """Add a session of an admin."""
    tx.run(
        "INSERT INTO admin_sessions (token_hash, email, created_at, last_used_at, expires_at)"
        " VALUES (:token_hash, :email, :now, :now, :expires_at)",
        token_hash=token_hash,
        email=keyed(tx, email),
        now=now,
        expires_at=expires_at,
    )


def by_token(tx: Tx, token_hash: bytes, now: int) -> Row | None:
    """A session that has not expired: email, created_at, last_used_at and expires_at."""
    row = tx.one(
        "SELECT a.email, a.sealed, s.created_at, s.last_used_at, s.expires_at FROM admin_sessions AS s"
        " JOIN admins AS a ON a.email = s.email WHERE s.token_hash = :token_hash AND s.expires_at > :now",
        token_hash=token_hash,
        now=now,
    )
    return opened(tx, row) if row else None


def touch(tx: Tx, token_hash: bytes, now: int, expires_at: int) -> None:
    """Record that a session was used."""
    tx.run(
        "UPDATE admin_sessions SET last_used_at = :now, expires_at = :expires_at WHERE token_hash = :token_hash",
        token_hash=token_hash,
        now=now,
        expires_at=expires_at,
    )


def end_session(tx: Tx, token_hash: bytes) -> None:
    """End one session."""
    tx.run("DELETE FROM admin_sessions WHERE token_hash = :token_hash", token_hash=token_hash)


def end_sessions(tx: Tx, email: str, keep: bytes = b"") -> int:
    """End the sessions of an admin, all or all but one; return how many."""
    return tx.run(
        "DELETE FROM admin_sessions WHERE email = :email AND token_hash <> :keep", email=keyed(tx, email), keep=keep
    )


def sweep(tx: Tx, now: int, limit: int) -> int:
    """Delete up to `limit` expired sessions; return how many."""
    return tx.run(
        "DELETE FROM admin_sessions WHERE token_hash IN"
        " (SELECT token_hash FROM admin_sessions WHERE expires_at <= :now LIMIT :limit)",
        now=now,
        limit=limit,
    )
