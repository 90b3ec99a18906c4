"""Sessions, and the signatures that were used to open one.

Of a token, only its SHA-256 is stored. Each row has a MAC that binds the token to the user (`row_macs.py`): a session
whose MAC is wrong does not exist for the functions that find one by its token.

insert, by_token, touch, set_user     one session
by_token_with_user, …_in_loop         one session, and a user of its application
by_token_with_reports, …_in_loop      one session, and the reports of its user's books
of_user                               a user's sessions, without their tokens
end, end_by_id, end_others            end sessions; each says who used them last and when
drop_oldest                           end those beyond a user's limit
sweep                                 end expired ones
remember_signature, sweep_signatures  each signature opens one session
"""

from typing import Any

from ..model import User
from ..seal import RowKey, Seal
from . import books, reports, row_macs, users
from .db import Database, Row, Rows, Tx

COLUMNS = "id, app_id, user_id, nonce, ts, created_at, last_used_at, expires_at, guest_until, mac"
NAMES = COLUMNS.split(", ")
WITH_USER = (
    f"SELECT {', '.join(f's.{name}' for name in NAMES)}, {users.COLUMNS_AND_SEEN.format(id='u.id')}{{more}}"
    " FROM sessions AS s LEFT JOIN users AS u ON u.id = {user} AND u.app_id = s.app_id"
    " WHERE s.token_hash = :token_hash AND s.expires_at > :now"
)
WITH_REPORTS = (
    f"SELECT {', '.join(f's.{name}' for name in NAMES)}, {reports.COLUMNS} FROM sessions AS s"
    " LEFT JOIN books AS b ON b.owner_id = s.user_id"
    " WHERE s.token_hash = :token_hash AND s.expires_at > :now"
)
WITH_OWN_USER = WITH_USER.format(user="s.user_id", more="")
WITH_USER_OF_ID = WITH_USER.format(user=":user_id", more="")
_HELD = books.HELD_NUMBER.format(user_id=":user_id", owner_id="s.user_id")
WITH_HELD = WITH_USER.format(user=":user_id", more=f", {_HELD}")


def insert(
    tx: Tx,
    token_hash: bytes,
    *,
    app_id: int,
    user_id: int | None,
    nonce: int,
    ts: int,
    now: int,
    expires_at: int,
    guest_until: int | None,
) -> Row:
    """Add a session."""
    row = tx.one(
        "INSERT INTO sessions (token_hash, id, app_id, user_id, nonce, ts, created_at, last_used_at, expires_at,"
        " guest_until, mac)"
        " VALUES (:token_hash, :id, :app_id, :user_id, :nonce, :ts, :now, :now, :expires_at, :guest_until, :mac)"
        f" RETURNING {COLUMNS}",
        token_hash=token_hash,
        id=tx.next_id("session_ids"),
        app_id=app_id,
        user_id=user_id,
        nonce=nonce,
        ts=ts,
        now=now,
        expires_at=expires_at,
        guest_until=guest_until,
        mac=row_macs.of_session(row_macs.key(tx), token_hash, app_id, user_id, guest_until),
    )
    assert row
    return _without_mac(row)


def by_token(tx: Tx, token_hash: bytes, now: int) -> Row | None:
    """The session with this token, unless it has expired."""
    row = tx.one(
        f"SELECT {COLUMNS} FROM sessions WHERE token_hash = :token_hash AND expires_at > :now",
        token_hash=token_hash,
        now=now,
    )
    return row if _is_bound(tx, token_hash, row) else None


def _mac(key: RowKey, token_hash: bytes, row: Row) -> bytes:
    return row_macs.of_session(key, token_hash, row["app_id"], row["user_id"], row["guest_until"])


def by_token_with_user(
    tx: Tx, token_hash: bytes, now: int, user_id: int | None = None
) -> tuple[Row | None, User | None]:
    """The same, and the user with this id in the session's application; without an id, the session's own user.

    One statement, except on a cluster, where sessions and `seen` lie on different nodes.
    """
    if tx.is_distributed:
        session = by_token(tx, token_hash, now)
        wanted = user_id if user_id is not None else session and session["user_id"]
        return session, users.by_id(tx, session["app_id"], wanted) if session and wanted else None
    statement = WITH_OWN_USER if user_id is None else WITH_USER_OF_ID
    named: dict[str, Any] = {} if user_id is None else {"user_id": user_id}
    rows = tx.tuples(statement, token_hash=token_hash, now=now, **named)
    session, user = _session_and_user(tx.seal, rows[0]) if rows else (None, None)
    return (session, user) if _is_bound(tx, token_hash, session) else (None, None)


def _is_bound(tx: Tx, token_hash: bytes, row: Row | None) -> bool:
    """Is there a session, with the right MAC? The MAC is taken out of the row."""
    return row is not None and row_macs.holds("sessions", row.pop("mac"), _mac(row_macs.key(tx), token_hash, row))


def _is_bound_in_loop(db: Database, token_hash: bytes, row: Row) -> bool:
    """The same for the event loop. False also before a thread has read the secret of the MACs."""
    key, mac = db.memory.get(row_macs.ROW_KEY), row.pop("mac")
    return key is not None and row_macs.same(mac, _mac(key, token_hash, row))


async def by_token_with_user_in_loop(
    db: Database, token_hash: bytes, now: int, user_id: int | None = None
) -> tuple[Row, User | None, int | None] | None:
    """The same for the event loop; None where a thread must ask. With a user's id also the value of `HELD_NUMBER`."""
    if user_id is None:
        rows, held = await db.query_in_loop(WITH_OWN_USER, token_hash=token_hash, now=now), None
    elif rows := await db.query_in_loop(WITH_HELD, token_hash=token_hash, now=now, user_id=user_id):
        *row, held = rows[0]
        rows = [tuple(row)]
    if not rows:
        return None
    session, user = _session_and_user(db.seal, rows[0])
    return (session, user, held) if _is_bound_in_loop(db, token_hash, session) else None


def _session_and_user(seal: Seal, row: tuple[Any, ...]) -> tuple[Row, User | None]:
    user = row[len(NAMES) :]
    return dict(zip(NAMES, row, strict=False)), users.user_of(seal, user) if user[users.ID] is not None else None


def by_token_with_reports(tx: Tx, token_hash: bytes, now: int) -> tuple[Row | None, reports.Books]:
    """The session with this token, unless it has expired, and what `reports.of_owner` finds for its user.

    One statement, except on a cluster, where sessions and books lie on different nodes.
    """
    if tx.is_distributed:
        session = by_token(tx, token_hash, now)
        return session, reports.of_owner(tx, session["user_id"]) if session and session["user_id"] else []
    rows = tx.tuples(WITH_REPORTS, token_hash=token_hash, now=now)
    found, books = _session_and_reports(rows) if rows else (None, [])
    return (found, books) if _is_bound(tx, token_hash, found) else (None, [])


async def by_token_with_reports_in_loop(db: Database, token_hash: bytes, now: int) -> tuple[Row, reports.Books] | None:
    """The same for the event loop; None where a thread must ask."""
    rows = await db.query_in_loop(WITH_REPORTS, token_hash=token_hash, now=now)
    found = _session_and_reports(rows) if rows else None
    return found if found and _is_bound_in_loop(db, token_hash, found[0]) else None


def _session_and_reports(rows: list[tuple[Any, ...]]) -> tuple[Row, reports.Books]:
    return dict(zip(NAMES, rows[0], strict=False)), reports.of_rows([row[len(NAMES) :] for row in rows])


def touch(tx: Tx, token_hash: bytes, now: int, expires_at: int) -> None:
    """Record that the session was used."""
    tx.run(
        "UPDATE sessions SET last_used_at = :now, expires_at = :expires_at WHERE token_hash = :token_hash",
        token_hash=token_hash,
        now=now,
        expires_at=expires_at,
    )


def set_user(tx: Tx, token_hash: bytes, app_id: int, user_id: int | None, now: int, expires_at: int) -> Row | None:
    """Assign the session to another user of its application, or with None to the application."""
    row = tx.one(
        "UPDATE sessions SET user_id = :user_id, guest_until = NULL, last_used_at = :now, expires_at = :expires_at,"
        f" mac = :mac WHERE token_hash = :token_hash RETURNING {COLUMNS}",
        token_hash=token_hash,
        user_id=user_id,
        now=now,
        expires_at=expires_at,
        mac=row_macs.of_session(row_macs.key(tx), token_hash, app_id, user_id, None),
    )
    return _without_mac(row) if row else None


def _without_mac(row: Row) -> Row:
    del row["mac"]
    return row


def of_user(tx: Tx, user_id: int, now: int) -> list[Row]:
    """A user's sessions, the last used first, unless they have expired."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM sessions WHERE user_id = :user_id AND expires_at > :now"
        " ORDER BY last_used_at DESC, id DESC",
        user_id=user_id,
        now=now,
    )
    return [_without_mac(row) for row in rows]


def end(tx: Tx, token_hash: bytes) -> list[Row]:
    """End the session with this token."""
    return tx.all(
        "DELETE FROM sessions WHERE token_hash = :token_hash RETURNING user_id, last_used_at", token_hash=token_hash
    )


def end_by_id(tx: Tx, user_id: int, session_id: int) -> list[Row]:
    """End a user's session by its id."""
    return tx.all(
        "DELETE FROM sessions WHERE user_id = :user_id AND id = :session_id RETURNING user_id, last_used_at",
        user_id=user_id,
        session_id=session_id,
    )


def end_others(tx: Tx, user_id: int, keep: bytes) -> list[Row]:
    """End all sessions of a user except the one with this token hash; b"" keeps none."""
    return tx.all(
        "DELETE FROM sessions WHERE user_id = :user_id AND token_hash <> :keep RETURNING user_id, last_used_at",
        user_id=user_id,
        keep=keep,
    )


def drop_oldest(tx: Tx, user_id: int, token_hash: bytes, keep: int) -> int:
    """End all but `keep` sessions of the user: this token hash's and the last used stay. Return how many ended.

    Most have fewer. A DELETE that finds none would still lock the whole table on a cluster, until the sign-in is over.
    """
    found = tx.tuples(
        "SELECT token_hash FROM sessions WHERE user_id = :user_id AND token_hash <> :token_hash"
        " ORDER BY last_used_at DESC, created_at DESC, id DESC LIMIT 1000000 OFFSET :others",
        user_id=user_id,
        token_hash=token_hash,
        others=keep - 1,
    )
    if not found:
        return 0
    hashes = Rows.of("token_hash", [row[0] for row in found])
    return tx.run(
        "DELETE FROM sessions WHERE user_id = :user_id AND token_hash IN :hashes", user_id=user_id, hashes=hashes
    )


def sweep(tx: Tx, now: int, limit: int) -> list[Row]:
    """End up to `limit` expired sessions."""
    return tx.all(
        "DELETE FROM sessions WHERE expires_at <= :now"
        " AND token_hash IN (SELECT token_hash FROM sessions WHERE expires_at <= :now LIMIT :limit)"
        " RETURNING user_id, last_used_at",
        now=now,
        limit=limit,
    )


def remember_signature(tx: Tx, app_id: int, signature: str, expires_at: int) -> bool:
    """Record a signature; False when it was used before."""
    return bool(
        tx.run(
            "INSERT INTO nonces (app_id, signature, expires_at) VALUES (:app_id, :signature, :expires_at)"
            " ON CONFLICT (app_id, signature) DO NOTHING",
            app_id=app_id,
            signature=signature,
            expires_at=expires_at,
        )
    )


def sweep_signatures(tx: Tx, now: int, limit: int) -> int:
    """Delete up to `limit` signatures whose time window is over."""
    return tx.run(
        "DELETE FROM nonces WHERE expires_at < :now AND (app_id, signature) IN"
        " (SELECT app_id, signature FROM nonces WHERE expires_at < :now LIMIT :limit)",
        now=now,
        limit=limit,
    )
