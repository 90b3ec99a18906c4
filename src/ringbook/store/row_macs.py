"""MACs of rows that open something: passwords, sessions, admins, invitations and links to a new password.

    of_password, of_session, of_reset             the MAC of a row, of the values that belong together in it
    of_admin, of_admin_session, of_invitation     the same for rows of the dashboard
    key(tx)                                       makes MACs with the secret in the table `keys`
    holds(table, found, right)                    compares a MAC; a wrong one is counted and logged
    renew(tx)                                     new MACs for passwords and sessions, after the key was lost
    wrong(tx)                                     how many rows have a wrong MAC, by table, for `ringbook check`

Somebody who can write to the database, but does not have its key, cannot make a MAC. A row that such a person adds,
changes or copies from another row is refused like a wrong password or an unknown token (docs/decisions/0033).
"""

import hmac
from collections.abc import Callable, Iterator
from typing import Any

from .. import errors, metrics
from ..logs import log
from ..seal import RowKey, halves
from . import admin_answers, keys
from .db import Row, Rows, Tx

ROW_KEY = "row key"  # in the memory of the database
PAGE = 2_000
NONE = -1  # stands for NULL: no id and no time is negative
_logged: set[str] = set()


def key(tx: Tx) -> RowKey:
    """What makes the MACs of this database; Unavailable when its secret is missing or was changed."""
    found = tx.memory.get(ROW_KEY)
    if found is None:
        found = tx.memory[ROW_KEY] = RowKey(keys.row_secret(tx))
    return found


def forget(tx: Tx) -> None:
    """Read the secret anew when it is needed next."""
    tx.memory.pop(ROW_KEY, None)


def of_password(key: RowKey, app_id: int, user_id: int, password_hash: str, one_time_until: int | None) -> bytes:
    """A user's password, and until when it is a one-time password."""
    return key.mac("users", app_id, user_id, NONE if one_time_until is None else one_time_until, password_hash.encode())


def of_session(key: RowKey, token_hash: bytes, app_id: int, user_id: int | None, guest_until: int | None) -> bytes:
    """A session: its token, application and user, and when it ends if the user is a guest."""
    return key.mac(
        "sessions",
        token_hash,
        app_id,
        NONE if user_id is None else user_id,
        NONE if guest_until is None else guest_until,
    )


def of_reset(key: RowKey, token_hash: bytes, app_id: int, user_id: int, expires_at: int) -> bytes:
    """A link to a new password."""
    return key.mac("resets", token_hash, app_id, user_id, expires_at)


def of_admin(key: RowKey, email: str, role: str, password_hash: str) -> bytes:
    """An admin's role and password. The e-mail is in clear: its keyed value changes with the key of the database."""
    return key.mac("admins", email.encode(), role.encode(), password_hash.encode())


def of_admin_session(key: RowKey, token_hash: bytes, email: str, created_at: int) -> bytes:
    """An admin's session."""
    return key.mac("admin_sessions", token_hash, email.encode(), created_at)


def of_invitation(key: RowKey, token_hash: bytes, email: str, role: str, expires_at: int) -> bytes:
    """An invitation."""
    return key.mac("admin_invitations", token_hash, email.encode(), role.encode(), expires_at)


def same(found: bytes | None, right: bytes) -> bool:
    """Is this the right MAC?"""
    return found is not None and hmac.compare_digest(found, right)


def holds(table: str, found: bytes | None, right: bytes) -> bool:
    """The same. A wrong MAC is counted, and the first one of a table in this process is logged."""
    if same(found, right):
        return True
    metrics.row_refused(table)
    if table not in _logged:
        _logged.add(table)
        log.warning("row refused", table=table, advice="it was written without the key: see `ringbook check`")
    return False


# ── all rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _password_of(key: RowKey, row: Row) -> bytes:
    return of_password(key, row["app_id"], row["id"], row["password_hash"], row["one_time_until"])


def _session_of(key: RowKey, row: Row) -> bytes:
    return of_session(key, row["token_hash"], row["app_id"], row["user_id"], row["guest_until"])


PASSWORDS = (
    "SELECT id, app_id, password_hash, one_time_until, password_mac AS mac FROM users"
    " WHERE id > :after AND password_hash IS NOT NULL ORDER BY id LIMIT :limit"
)
SESSIONS = (
    "SELECT token_hash, app_id, user_id, guest_until, mac FROM sessions WHERE token_hash > :after"
    " ORDER BY token_hash LIMIT :limit"
)


def _pages(tx: Tx, sql: str, name: str, after: int | bytes) -> Iterator[list[Row]]:
    """All rows of a statement, a page at a time. It reads those after a value of the column `name`."""
    while rows := tx.all(sql, after=after, limit=PAGE):
        yield rows
        after = rows[-1][name]


def renew(tx: Tx) -> None:
    """Give every password and every session of a user a new MAC, whatever it says. Links to a new password end."""
    made = key(tx)
    tx.run("DELETE FROM resets")
    for rows in _pages(tx, PASSWORDS, "id", 0):
        macs = [(row["id"], _password_of(made, row)) for row in rows]
        tx.run(
            "UPDATE users SET password_mac = r.mac FROM :rows AS r WHERE users.id = r.id",
            rows=Rows({"id": int, "mac": bytes}, macs),
        )
    for rows in _pages(tx, SESSIONS, "token_hash", b""):
        tx.run(
            "UPDATE sessions SET mac = r.mac FROM :rows AS r WHERE sessions.token_hash = r.token_hash",
            rows=Rows(
                {"token_hash": bytes, "mac": bytes}, [(row["token_hash"], _session_of(made, row)) for row in rows]
            ),
        )


def wrong(tx: Tx) -> dict[str, int]:
    """How many rows have a wrong MAC, by table; tables without one are left out. Reads every password and session."""
    made = key(tx)

    def count(rows: list[Row], right: Callable[[RowKey, Row], bytes]) -> int:
        return sum(not _fits(made, row, right) for row in rows)

    found = {
        "users": sum(count(rows, _password_of) for rows in _pages(tx, PASSWORDS, "id", 0)),
        "sessions": sum(count(rows, _session_of) for rows in _pages(tx, SESSIONS, "token_hash", b"")),
        "resets": count(
            tx.all("SELECT token_hash, app_id, user_id, expires_at, mac FROM resets WHERE token_hash IS NOT NULL"),
            lambda key, row: of_reset(key, row["token_hash"], row["app_id"], row["user_id"], row["expires_at"]),
        ),
        "admins": count(
            tx.all("SELECT email, sealed, role, password_hash, mac FROM admins"),
            lambda key, row: of_admin(key, _email(tx, row), row["role"], row["password_hash"]),
        ),
        "admin_sessions": count(
            tx.all(
                "SELECT s.token_hash, s.created_at, s.mac, a.email, a.sealed FROM admin_sessions AS s"
                " JOIN admins AS a ON a.email = s.email"
            ),
            lambda key, row: of_admin_session(key, row["token_hash"], _email(tx, row), row["created_at"]),
        ),
        "admin_invitations": count(
            tx.all("SELECT token_hash, sealed, role, expires_at, mac FROM admin_invitations"),
            lambda key, row: of_invitation(key, row["token_hash"], _invited(tx, row), row["role"], row["expires_at"]),
        ),
    }
    return {table: number for table, number in found.items() if number}


def _fits(made: RowKey, row: Row, right: Callable[[RowKey, Row], bytes]) -> bool:
    try:
        return same(row["mac"], right(made, row))
    except errors.Unreadable:  # the sealed e-mail of another row
        return False


def _email(tx: Tx, row: Row) -> str:
    return tx.seal.open(row["sealed"], "admins", "sealed", *halves(row["email"]))


def _invited(tx: Tx, row: dict[str, Any]) -> str:
    return admin_answers.opened(tx, "admin_invitations", row["token_hash"], row["sealed"])
