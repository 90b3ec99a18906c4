"""What the limits remember: buckets, and the numbers that somebody has removed a short while ago.

lock, set_used                          one bucket: how much of it is used, and since when
remember_removed, has_removed, removed_among         hashes of removed numbers
forget, forget_owner                    a bucket, and what an owner has removed
sweep                                   forget what no longer limits anybody
"""

from collections.abc import Sequence

from .db import Row, Rows, Tx


def lock(tx: Tx, name: str, now: int) -> Row:
    """Make the bucket if need be and lock it until the transaction ends; read used and at."""
    row = tx.one(
        "INSERT INTO buckets (name, used, at, expires_at) VALUES (:name, 0, :now, :now)"
        " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING used, at",
        name=name,
        now=now,
    )
    assert row
    return row


def set_used(tx: Tx, name: str, used: float, now: int, expires_at: int) -> None:
    """Write down what is used; from `expires_at` the bucket is empty again and may be forgotten."""
    tx.run(
        "UPDATE buckets SET used = :used, at = :now, expires_at = :expires_at WHERE name = :name",
        name=name,
        used=used,
        now=now,
        expires_at=expires_at,
    )


def remember_removed(tx: Tx, owner_id: int, hashes: Sequence[int], now: int) -> None:
    """Remember that the owner had these numbers until now."""
    tx.run(
        "INSERT INTO removed (owner_id, hash, at) SELECT :owner_id, r.hash, :now FROM :hashes AS r WHERE 1 = 1"
        " ON CONFLICT (owner_id, hash) DO UPDATE SET at = excluded.at",
        owner_id=owner_id,
        now=now,
        hashes=Rows.of("hash", hashes),
    )


def has_removed(tx: Tx, owner_id: int) -> bool:
    """Has the owner removed anything that is still remembered?"""
    return bool(tx.tuples("SELECT 1 FROM removed WHERE owner_id = :owner_id LIMIT 1", owner_id=owner_id))


def removed_among(tx: Tx, owner_id: int, hashes: Sequence[int], since: int) -> set[int]:
    """Those of these hashes that the owner has removed since then."""
    rows = tx.tuples(
        "SELECT hash FROM removed WHERE owner_id = :owner_id AND hash IN :hashes AND at >= :since",
        owner_id=owner_id,
        since=since,
        hashes=Rows.of("hash", hashes),
    )
    return {row[0] for row in rows}


def forget(tx: Tx, name: str) -> None:
    """Forget a bucket."""
    tx.run("DELETE FROM buckets WHERE name = :name", name=name)


def forget_owner(tx: Tx, owner_id: int) -> None:
    """Forget what an owner has removed."""
    tx.run("DELETE FROM removed WHERE owner_id = :owner_id", owner_id=owner_id)


def sweep(tx: Tx, now: int, removed_before: int, limit: int) -> int:
    """Forget up to `limit` buckets that are empty again and as many old removals; how many that were."""
    emptied = tx.run(
        "DELETE FROM buckets WHERE name IN (SELECT name FROM buckets WHERE expires_at < :now LIMIT :limit)"
        " AND expires_at < :now",
        now=now,
        limit=limit,
    )
    old = tx.tuples(
        "SELECT owner_id, hash FROM removed WHERE at < :before LIMIT :limit", before=removed_before, limit=limit
    )
    tx.run(
        "DELETE FROM removed WHERE at < :before AND (owner_id, hash) IN (SELECT r.owner_id, r.hash FROM :old AS r)",
        before=removed_before,
        old=Rows({"owner_id": int, "hash": int}, old),
    )
    return emptied + len(old)
