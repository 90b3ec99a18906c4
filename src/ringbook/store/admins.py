"""Admins of the dashboard and their sessions. An e-mail is found by a keyed value, and stands sealed beside it.

Rows have MACs (`row_macs.py`). A row that was written without the key opens no session.

insert, set_password, set_role, remove    one admin each
any_, all_, owners                        whether there is one, who they are, and how many are owners
password_of, role_of                      what a password is compared with; what an admin may do
open_session, by_token, touch             a session in the dashboard
sessions_of                               the open sessions of an admin
end_session, end_sessions, sweep          and their end
invite, invited, invitations, withdraw    invitations
"""

from .. import errors
from ..seal import halves
from . import admin_answers, row_macs
from .db import Row, Tx

INVITATIONS = "admin_invitations"
CHANGED = (
    "this admin was changed in the database by something other than Ringbook: delete the admin, and create a new one"
)


def keyed(tx: Tx, email: str) -> bytes:
    """The keyed value by which an admin's e-mail is found."""
    return tx.seal.lookup("admin", 0, email)


def opened(tx: Tx, row: Row) -> Row:
    """A row of the keyed e-mail and the sealed one, with the e-mail in place of both; errors.Unreadable."""
    email = tx.seal.open(row.pop("sealed"), "admins", "sealed", *halves(row["email"]))
    return row | {"email": email}


def insert(tx: Tx, email: str, password_hash: str, role: str, now: int) -> bool:
    """Add an admin; False when the e-mail is taken."""
    key = keyed(tx, email)
    return bool(
        tx.run(
            "INSERT INTO admins (email, sealed, password_hash, role, created_at, mac)"
            " VALUES (:email, :sealed, :password_hash, :role, :now, :mac) ON CONFLICT (email) DO NOTHING",
            email=key,
            sealed=tx.seal.text(email, "admins", "sealed", *halves(key)),
            password_hash=password_hash,
            role=role,
            now=now,
            mac=row_macs.of_admin(row_macs.key(tx), email, role, password_hash),
        )
    )


def set_password(tx: Tx, email: str, password_hash: str) -> bool:
    """Replace the password; False when there is no such admin. Invalid when the row was written without the key."""
    row = _unchanged(tx, email)
    return bool(row and _write(tx, email, row["role"], password_hash))


def set_role(tx: Tx, email: str, role: str) -> bool:
    """Change what an admin may do; False when there is no such admin. Invalid as for `set_password`."""
    row = _unchanged(tx, email)
    return bool(row and _write(tx, email, role, row["password_hash"]))


def _write(tx: Tx, email: str, role: str, password_hash: str) -> int:
    return tx.run(
        "UPDATE admins SET role = :role, password_hash = :password_hash, mac = :mac WHERE email = :email",
        email=keyed(tx, email),
        role=role,
        password_hash=password_hash,
        mac=row_macs.of_admin(row_macs.key(tx), email, role, password_hash),
    )


def _unchanged(tx: Tx, email: str) -> Row | None:
    """Role and password of an admin. A MAC is made for no value that somebody else has written: Invalid."""
    row = _secrets(tx, email)
    if row and not row["is_bound"]:
        raise errors.Invalid(CHANGED)
    return row


def _secrets(tx: Tx, email: str) -> Row | None:
    """role, password_hash and is_bound (does the MAC fit both?) of an admin."""
    row = tx.one("SELECT role, password_hash, mac FROM admins WHERE email = :email", email=keyed(tx, email))
    return row and row | {"is_bound": _is_bound(tx, email, row["role"], row["password_hash"], row.pop("mac"))}


def _is_bound(tx: Tx, email: str, role: str, password_hash: str, mac: bytes | None) -> bool:
    return row_macs.holds("admins", mac, row_macs.of_admin(row_macs.key(tx), email, role, password_hash))


def remove(tx: Tx, email: str) -> bool:
    """Delete an admin and the admin's sessions; False when there is no such admin."""
    return bool(tx.run("DELETE FROM admins WHERE email = :email", email=keyed(tx, email)))


def any_(tx: Tx) -> bool:
    """Is there an admin?"""
    return bool(tx.tuples("SELECT 1 FROM admins LIMIT 1"))


def all_(tx: Tx) -> list[Row]:
    """Every admin by e-mail: email, role, created_at and last_used_at (of the open session used last, else None)."""
    rows = tx.all(
        "SELECT a.email, a.sealed, a.role, a.created_at, MAX(s.last_used_at) AS last_used_at FROM admins AS a"
        " LEFT JOIN admin_sessions AS s ON s.email = a.email GROUP BY a.email, a.sealed, a.role, a.created_at"
    )
    return sorted((opened(tx, row) for row in rows), key=lambda row: str(row["email"]))


def owners(tx: Tx) -> int:
    """How many admins are owners."""
    return int(tx.tuples("SELECT count(*) FROM admins WHERE role = 'owner'")[0][0])


def role_of(tx: Tx, email: str) -> str | None:
    """The role of an admin; None when there is no such admin."""
    row = tx.one("SELECT role FROM admins WHERE email = :email", email=keyed(tx, email))
    return row["role"] if row else None


def password_of(tx: Tx, email: str) -> str | None:
    """The hash of an admin's password; None when there is no such admin, or the row was written without the key."""
    row = _secrets(tx, email)
    return row["password_hash"] if row and row["is_bound"] else None


def open_session(
    tx: Tx, token_hash: bytes, email: str, now: int, expires_at: int, *, address: str = "", browser: str = ""
) -> None:
    """Add a session of an admin."""
    tx.run(
        "INSERT INTO admin_sessions (token_hash, email, address, browser, created_at, last_used_at, expires_at, mac)"
        " VALUES (:token_hash, :email, :address, :browser, :now, :now, :expires_at, :mac)",
        token_hash=token_hash,
        email=keyed(tx, email),
        address=address,
        browser=browser,
        now=now,
        expires_at=expires_at,
        mac=row_macs.of_admin_session(row_macs.key(tx), token_hash, email, now),
    )


def by_token(tx: Tx, token_hash: bytes, now: int) -> Row | None:
    """A session that has not expired: email, role, created_at, last_used_at and expires_at.

    None when the session or its admin was written without the key.
    """
    row = tx.one(
        "SELECT a.email, a.sealed, a.role, a.password_hash, a.mac AS admin_mac, s.mac, s.created_at, s.last_used_at,"
        " s.expires_at FROM admin_sessions AS s"
        " JOIN admins AS a ON a.email = s.email WHERE s.token_hash = :token_hash AND s.expires_at > :now",
        token_hash=token_hash,
        now=now,
    )
    if row is None:
        return None
    row = opened(tx, row)
    right = row_macs.of_admin_session(row_macs.key(tx), token_hash, row["email"], row["created_at"])
    if not row_macs.holds("admin_sessions", row.pop("mac"), right):
        return None
    admin = row["email"], row["role"], row.pop("password_hash"), row.pop("admin_mac")
    return row if _is_bound(tx, *admin) else None


def touch(tx: Tx, token_hash: bytes, now: int, expires_at: int) -> None:
    """Record that a session was used."""
    tx.run(
        "UPDATE admin_sessions SET last_used_at = :now, expires_at = :expires_at WHERE token_hash = :token_hash",
        token_hash=token_hash,
        now=now,
        expires_at=expires_at,
    )


def sessions_of(tx: Tx, email: str, now: int) -> list[Row]:
    """The open sessions of an admin, the one used last first."""
    return tx.all(
        "SELECT token_hash, address, browser, created_at, last_used_at FROM admin_sessions WHERE email = :email"
        " AND expires_at > :now ORDER BY last_used_at DESC, token_hash",
        email=keyed(tx, email),
        now=now,
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


# ── invitations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def invite(tx: Tx, token_hash: bytes, email: str, role: str, now: int, expires_at: int) -> None:
    """Add an invitation. The e-mail is sealed."""
    tx.run(
        "INSERT INTO admin_invitations (token_hash, sealed, role, created_at, expires_at, mac)"
        " VALUES (:token_hash, :sealed, :role, :now, :expires_at, :mac)",
        token_hash=token_hash,
        sealed=admin_answers.sealed(tx, INVITATIONS, token_hash, email),
        role=role,
        now=now,
        expires_at=expires_at,
        mac=row_macs.of_invitation(row_macs.key(tx), token_hash, email, role, expires_at),
    )


def invitations(tx: Tx, now: int) -> list[Row]:
    """The invitations that nobody has accepted and that have not expired, by e-mail."""
    rows = tx.all(
        "SELECT token_hash, sealed, role, created_at, expires_at FROM admin_invitations WHERE expires_at > :now",
        now=now,
    )
    return sorted((_with_email(tx, row) for row in rows), key=lambda row: str(row["email"]))


def invited(tx: Tx, token_hash: bytes, now: int) -> Row | None:
    """An open invitation: email and role. None when there is none, or it was written without the key."""
    row = tx.one(
        "SELECT token_hash, sealed, role, expires_at, mac FROM admin_invitations"
        " WHERE token_hash = :token_hash AND expires_at > :now",
        token_hash=token_hash,
        now=now,
    )
    if row is None:
        return None
    row = _with_email(tx, row)
    right = row_macs.of_invitation(row_macs.key(tx), token_hash, row["email"], row["role"], row["expires_at"])
    return row if row_macs.holds(INVITATIONS, row.pop("mac"), right) else None


def withdraw(tx: Tx, token_hash: bytes) -> Row | None:
    """Delete an invitation. Returns its email and role; None when there is none."""
    row = tx.one(
        "DELETE FROM admin_invitations WHERE token_hash = :token_hash RETURNING token_hash, sealed, role",
        token_hash=token_hash,
    )
    return _with_email(tx, row) if row else None


def _with_email(tx: Tx, row: Row) -> Row:
    return row | {"email": admin_answers.opened(tx, INVITATIONS, row["token_hash"], row.pop("sealed"))}


def sweep_invitations(tx: Tx, now: int, limit: int) -> int:
    """Delete up to `limit` expired invitations; return how many."""
    return tx.run(
        "DELETE FROM admin_invitations WHERE token_hash IN"
        " (SELECT token_hash FROM admin_invitations WHERE expires_at <= :now LIMIT :limit)",
        now=now,
        limit=limit,
    )
