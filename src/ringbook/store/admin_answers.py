"""What a session of an admin is answered once: where a form led that was sent already, and secrets that are shown once.

insert, change, take    one answer; `take` deletes it
sweep                   deletes expired answers
sealed, opened          a text that is bound to the hash of a token

An answer is found by a hash that only its session can compute (`core/admin_answers.py`).
"""

from ..seal import LOOKUP_BYTES, halves
from .db import Tx

TABLE = "admin_answers"


def insert(tx: Tx, name: bytes, text: str, expires_at: int) -> bool:
    """Add an answer; False when there is one of this name."""
    return bool(
        tx.run(
            "INSERT INTO admin_answers (name, sealed, expires_at) VALUES (:name, :sealed, :expires_at)"
            " ON CONFLICT (name) DO NOTHING",
            name=name,
            sealed=sealed(tx, TABLE, name, text),
            expires_at=expires_at,
        )
    )


def change(tx: Tx, name: bytes, text: str) -> None:
    """Replace the text of an answer."""
    tx.run(
        "UPDATE admin_answers SET sealed = :sealed WHERE name = :name",
        name=name,
        sealed=sealed(tx, TABLE, name, text),
    )


def read(tx: Tx, name: bytes, now: int) -> str | None:
    """The text of an answer that has not expired; None when there is none."""
    row = tx.one("SELECT sealed FROM admin_answers WHERE name = :name AND expires_at > :now", name=name, now=now)
    return opened(tx, TABLE, name, row["sealed"]) if row else None


def take(tx: Tx, name: bytes, now: int) -> str | None:
    """Delete an answer. Returns its text; None when there is none, or it has expired."""
    row = tx.one("DELETE FROM admin_answers WHERE name = :name RETURNING sealed, expires_at", name=name)
    return opened(tx, TABLE, name, row["sealed"]) if row and row["expires_at"] > now else None


def sweep(tx: Tx, now: int, limit: int) -> int:
    """Delete up to `limit` expired answers; return how many."""
    return tx.run(
        "DELETE FROM admin_answers WHERE name IN"
        " (SELECT name FROM admin_answers WHERE expires_at <= :now LIMIT :limit)",
        now=now,
        limit=limit,
    )


def sealed(tx: Tx, table: str, hashed: bytes, text: str) -> bytes:
    """A text for the row of this hash."""
    return tx.seal.text(text, table, "sealed", *halves(hashed[:LOOKUP_BYTES]))


def opened(tx: Tx, table: str, hashed: bytes, content: bytes) -> str:
    """The text in the row of this hash; errors.Unreadable."""
    return tx.seal.open(content, table, "sealed", *halves(hashed[:LOOKUP_BYTES]))
