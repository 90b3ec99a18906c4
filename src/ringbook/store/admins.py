"""Admins, and where they are logged in.

insert, set_password, remove          one admin each
any_, all_                            whether there is one, and who they are
password_of                           what a password is compared with
open_session, by_token, touch         a session in the dashboard
end_session, end_sessions, sweep      and its end
"""

from .db import Row, Tx


def insert(tx: Tx, email: str, password_hash: str, now: int) -> bool:
    """Add an admin; False when there is one with this e-mail."""
    return bool(
        tx.run(
            "INSERT INTO admins (email, password_hash, created_at) VALUES (:email, :password_hash, :now)"
            " ON CONFLICT (email) DO NOTHING",
            email=email,
            password_hash=password_hash,
            now=now,
        )
    )


def set_password(tx: Tx, email: str, password_hash: str) -> bool:
    """Replace the password; False when there is no such admin."""
    return bool(
        tx.run(
            "UPDATE admins SET password_hash = :password_hash WHERE email = :email",
            email=email,
            password_hash=password_hash,
        )
    )


def remove(tx: Tx, email: str) -> bool:
    """Remove an admin, whose sessions end with it; False when there is no such admin."""
    return bool(tx.run("DELETE FROM admins WHERE email = :email", email=email))


def any_(tx: Tx) -> bool:
    """Is there an admin?"""
    return bool(tx.tuples("SELECT 1 FROM admins LIMIT 1"))


def all_(tx: Tx) -> list[Row]:
    """email, created_at and last_used_at (the latest of the open sessions, else None) of every admin, by e-mail."""
    return tx.all(
        "SELECT a.email, a.created_at, MAX(s.last_used_at) AS last_used_at FROM admins AS a"
        " LEFT JOIN admin_sessions AS s ON s.email = a.email GROUP BY a.email, a.created_at ORDER BY a.email"
    )


def password_of(tx: Tx, email: str) -> str | None:
    """The hash of an admin's password; None when there is no such admin."""
    row = tx.one("SELECT password_hash FROM admins WHERE email = :email", email=email)
    return row["password_hash"] if row else None


def open_session(tx: Tx, token_hash: bytes, email: str, now: int, expires_at: int) -> None:
    """Somebody is logged in."""
    tx.run(
        "INSERT INTO admin_sessions (token_hash, email, created_at, last_used_at, expires_at)"
        " VALUES (:token_hash, :email, :now, :now, :expires_at)",
        token_hash=token_hash,
        email=email,
        now=now,
        expires_at=expires_at,
    )


def by_token(tx: Tx, token_hash: bytes, now: int) -> Row | None:
    """email, created_at, last_used_at and expires_at of a session that is not over."""
    return tx.one(
        "SELECT email, created_at, last_used_at, expires_at FROM admin_sessions"
        " WHERE token_hash = :token_hash AND expires_at > :now",
        token_hash=token_hash,
        now=now,
    )


def touch(tx: Tx, token_hash: bytes, now: int, expires_at: int) -> None:
    """Note that a session was used."""
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
    """End an admin's sessions, all or all but one; how many that were."""
    return tx.run("DELETE FROM admin_sessions WHERE email = :email AND token_hash <> :keep", email=email, keep=keep)


def sweep(tx: Tx, now: int, limit: int) -> int:
    """Forget up to `limit` sessions that are over; how many that were."""
    return tx.run(
        "DELETE FROM admin_sessions WHERE token_hash IN"
        " (SELECT token_hash FROM admin_sessions WHERE expires_at <= :now LIMIT :limit)",
        now=now,
        limit=limit,
    )
