"""Rows that open something get MACs under a secret that is sealed with the key of the database (docs/decisions/0033).

This revision needs the key (`attributes["seal"]`) where the database has one. What stands in the rows now is trusted.
One-time codes of the last ten minutes end: their hashes are bound to their number from now on.

A user may have several links to a new password: the table `resets` has a row for each link.
"""

from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from ringbook.seal import LOOKUP_BYTES, RowKey, Seal, halves
from ringbook.store import keys

revision = "1004"
down_revision = "1003"

COLUMNS = {
    "keys": "row_secret",
    "users": "password_mac",
    "sessions": "mac",
    "admins": "mac",
    "admin_sessions": "mac",
    "admin_invitations": "mac",
    "resets": "mac",
}
# The links that there are keep their rows. Their ids are those of their users; later ids are random and far larger.
LINKS = (
    "CREATE TEMPORARY TABLE former_resets AS SELECT * FROM resets",
    "DROP TABLE resets",
    "CREATE TABLE resets (id BIGINT PRIMARY KEY,"
    " user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE, app_id INTEGER NOT NULL,"
    " language TEXT NOT NULL, known INTEGER NOT NULL, token_hash {bytes}, created_at BIGINT NOT NULL, due_at BIGINT,"
    " expires_at BIGINT NOT NULL, attempts INTEGER NOT NULL, mac {bytes})",
    "INSERT INTO resets (id, user_id, app_id, language, known, token_hash, created_at, due_at, expires_at, attempts)"
    " SELECT user_id, user_id, app_id, language, 0, token_hash, created_at, due_at, expires_at, attempts"
    " FROM former_resets",
    "DROP TABLE former_resets",
    "CREATE INDEX resets_user ON resets (user_id)",
    "CREATE UNIQUE INDEX resets_token ON resets (token_hash)",
    "CREATE INDEX resets_due ON resets (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX resets_expiry ON resets (expires_at)",
)
PAGE = 5_000
NONE = -1
Parts = Callable[[Seal, Any], tuple[int | bytes, ...]]


def upgrade() -> None:
    kind = "BLOB" if op.get_bind().dialect.name == "sqlite" else "BYTEA"
    for table, column in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    for statement in LINKS:
        op.execute(statement.format(bytes=kind))
    op.execute("DELETE FROM codes")
    if seal := context.config.attributes.get("seal"):  # else the database is new, and has neither key nor rows
        secret = keys.new_secret()
        op.get_bind().execute(
            sa.text("UPDATE keys SET row_secret = :sealed WHERE fingerprint = :fingerprint"),
            {"sealed": keys.sealed_secret(seal, secret), "fingerprint": seal.fingerprint},
        )
        progress = context.config.attributes["progress"]
        done, total = 0, sum(_count(read) for _, _, read, _ in ROWS)
        for table, key, read, parts in ROWS:
            for count in _bound(seal, RowKey(secret), table, key, read, parts):
                done += count
                progress(done, total)
    op.execute("UPDATE schema_state SET revision = '1004', serves_from = '1004'")


def _or_none(value: int | None) -> int:
    return NONE if value is None else value


def _admin(seal: Seal, row: Any) -> bytes:
    return seal.open(row.sealed, "admins", "sealed", *halves(row.email)).encode()


def _invited(seal: Seal, row: Any) -> bytes:
    place = halves(row.token_hash[:LOOKUP_BYTES])
    return seal.open(row.sealed, "admin_invitations", "sealed", *place).encode()


# By table: its key, where the rows are read, and what the MAC of a row is made of.
ROWS: tuple[tuple[str, str, str, Parts], ...] = (
    (
        "users",
        "id",
        "SELECT t.id, t.app_id, t.password_hash, t.one_time_until FROM users AS t WHERE t.password_hash IS NOT NULL",
        lambda seal, row: (row.app_id, row.id, _or_none(row.one_time_until), row.password_hash.encode()),
    ),
    (
        "sessions",
        "token_hash",
        "SELECT t.token_hash, t.app_id, t.user_id, t.guest_until FROM sessions AS t WHERE 1 = 1",
        lambda seal, row: (row.token_hash, row.app_id, _or_none(row.user_id), _or_none(row.guest_until)),
    ),
    (
        "resets",
        "token_hash",
        "SELECT t.token_hash, t.app_id, t.user_id, t.expires_at FROM resets AS t WHERE t.token_hash IS NOT NULL",
        lambda seal, row: (row.token_hash, row.app_id, row.user_id, row.expires_at),
    ),
    (
        "admin_sessions",
        "token_hash",
        "SELECT t.token_hash, t.created_at, a.email, a.sealed FROM admin_sessions AS t"
        " JOIN admins AS a ON a.email = t.email WHERE 1 = 1",
        lambda seal, row: (row.token_hash, _admin(seal, row), row.created_at),
    ),
    (
        "admin_invitations",
        "token_hash",
        "SELECT t.token_hash, t.sealed, t.role, t.expires_at FROM admin_invitations AS t WHERE 1 = 1",
        lambda seal, row: (row.token_hash, _invited(seal, row), row.role.encode(), row.expires_at),
    ),
    (
        "admins",
        "email",
        "SELECT t.email, t.sealed, t.role, t.password_hash FROM admins AS t WHERE 1 = 1",
        lambda seal, row: (_admin(seal, row), row.role.encode(), row.password_hash.encode()),
    ),
)


def _count(read: str) -> int:
    found: int = op.get_bind().execute(sa.text(f"SELECT count(*) FROM ({read}) AS r")).scalar_one()
    return found


def _bound(seal: Seal, made: RowKey, table: str, key: str, read: str, parts: Parts) -> Iterator[int]:
    """Give every row of a table its MAC; the number of rows, page by page."""
    for rows in _pages(key, read):
        macs = [(getattr(row, key), made.mac(table, *parts(seal, row))) for row in rows]
        _write(table, key, COLUMNS[table], macs)
        yield len(macs)


def _pages(key: str, read: str) -> Iterator[list[Any]]:
    later = ""
    after: dict[str, Any] = {}
    while True:
        statement = sa.text(f"{read}{later} ORDER BY t.{key} LIMIT {PAGE}")
        rows = op.get_bind().execute(statement, after).fetchall()
        if not rows:
            return
        yield list(rows)
        later, after = f" AND t.{key} > :after", {"after": getattr(rows[-1], key)}


def _write(table: str, key: str, column: str, macs: list[tuple[Any, bytes]]) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.get_bind().execute(
            sa.text(f"UPDATE {table} SET {column} = :mac WHERE {key} = :key"),
            [{"key": value, "mac": mac} for value, mac in macs],
        )
        return
    kind = "bytea" if isinstance(macs[0][0], bytes) else "bigint"
    op.get_bind().execute(
        sa.text(
            f"UPDATE {table} SET {column} = r.mac FROM (SELECT unnest(CAST(:keys AS {kind}[])) AS key,"
            f" unnest(CAST(:macs AS bytea[])) AS mac) AS r WHERE {table}.{key} = r.key"
        ),
        {"keys": [value for value, _ in macs], "macs": [mac for _, mac in macs]},
    )
