"""Storage of the rate limits: buckets, and the numbers that an owner removed recently.

A bucket is found by the keyed value of its name. The name itself stands sealed beside it, for a change of the key.

keyed, sealed                           the keyed value of a bucket's name; the name, sealed

lock, read, set_used                    one bucket: how much of it is used, and since when
charge                                  use more of one bucket that drains, in one statement
lock_all, set_all                       several buckets, in one statement each on one server
carry                                   what was used of one bucket counts as used of another
remember_removed, has_removed, removed_among         numbers that an owner removed lately
forget, forget_owner                    a bucket, and what an owner has removed
sweep                                   forget what no longer limits anybody
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from ..seal import Seal, halves
from . import numbers
from .db import Row, Rows, Tx

# `used` as text, because `Rows` holds no fractions.
USED = {"name": bytes, "used": str, "expires_at": int}
NAMED = {"place": int, "name": bytes, "sealed": bytes}


def keyed(tx: Tx, name: str) -> bytes:
    """The keyed value by which the bucket of this name is found."""
    return _keyed(tx.seal, name)


def sealed(tx: Tx, key: bytes, name: str) -> bytes:
    """The name of a bucket, sealed for the row with this keyed value."""
    return _sealed(tx.seal, key, name)


# A charge needs both of them several times, and the next charge of the user or the address once more.
@lru_cache(maxsize=1024)
def _keyed(seal: Seal, name: str) -> bytes:
    return seal.lookup("bucket", 0, name)


@lru_cache(maxsize=1024)
def _sealed(seal: Seal, key: bytes, name: str) -> bytes:
    return seal.text(name, "buckets", "sealed", *halves(key))


def lock(tx: Tx, name: str, now: int) -> Row:
    """Create the bucket if it is missing and lock it until the transaction ends; return used and at."""
    key = keyed(tx, name)
    row = tx.one(
        "INSERT INTO buckets (name, sealed, used, at, expires_at) VALUES (:name, :sealed, 0, :now, :now)"
        " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING used, at",
        name=key,
        sealed=sealed(tx, key, name),
        now=now,
    )
    assert row
    return row


def read(tx: Tx, name: str) -> Row | None:
    """The values `used` and `at` of a bucket."""
    return tx.one("SELECT used, at FROM buckets WHERE name = :name", name=keyed(tx, name))


def set_used(tx: Tx, name: str, used: float, now: int, expires_at: int) -> None:
    """Store what is used. From `expires_at` the bucket is empty again and may be deleted."""
    tx.run(
        "UPDATE buckets SET used = :used, at = :now, expires_at = :expires_at WHERE name = :name",
        name=keyed(tx, name),
        used=used,
        now=now,
        expires_at=expires_at,
    )


# What is used of a bucket, after it has drained until now, with the cost; and when it is empty again, in whole seconds.
GONE = "(:now - buckets.at) * :per_second"
LEFT = (
    f"CASE WHEN buckets.at >= :now THEN buckets.used WHEN buckets.used > {GONE} THEN buckets.used - {GONE} ELSE 0 END"
)
USED_NOW = f"({LEFT} + :cost)"
WHOLE = f"CAST({USED_NOW} / :per_second AS BIGINT)"  # one database cuts fractions off, the other one rounds
EMPTY_AT = f":now + {WHOLE} + CASE WHEN {WHOLE} < {USED_NOW} / :per_second THEN 1 ELSE 0 END"


def charge(tx: Tx, name: str, cost: int, capacity: int, per_second: float, now: int, expires_at: int) -> float | None:
    """Let a bucket drain, use `cost` more of it, and return what is used then. It is locked as by `lock`.

    per_second   how fast it drains, more than 0
    expires_at   when it is empty again if it is empty now

    None, without a change, if that would be more than its capacity; `cost` alone must not be. `core/charging.py` has
    the same rule for buckets that are locked.
    """
    key = keyed(tx, name)
    rows = tx.tuples(
        "INSERT INTO buckets (name, sealed, used, at, expires_at) VALUES (:name, :sealed, :cost, :now, :expires_at)"
        f" ON CONFLICT (name) DO UPDATE SET used = {USED_NOW}, at = :now, expires_at = {EMPTY_AT}"
        f" WHERE {USED_NOW} <= :capacity RETURNING used",
        name=key,
        sealed=sealed(tx, key, name),
        cost=float(cost),
        capacity=capacity,
        per_second=per_second,
        now=now,
        expires_at=expires_at,
    )
    return float(rows[0][0]) if rows else None


def lock_all(tx: Tx, names: Sequence[str], now: int) -> dict[str, Row]:
    """Create missing buckets and lock all in this order until the transaction ends; return name, used and at."""
    if tx.is_distributed:  # a statement on several nodes locks in no order, so two transactions would deadlock
        return {name: lock(tx, name, now) for name in dict.fromkeys(names)}
    keys = {keyed(tx, name): name for name in names}
    rows = tx.all(
        "INSERT INTO buckets (name, sealed, used, at, expires_at)"
        " SELECT r.name, r.sealed, 0, :now, :now FROM :names AS r WHERE 1 = 1 ORDER BY r.place"
        " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING name, used, at",
        now=now,
        names=Rows(NAMED, [(place, key, sealed(tx, key, name)) for place, (key, name) in enumerate(keys.items())]),
    )
    return {keys[row["name"]]: row for row in rows}


def set_all(tx: Tx, rows: Sequence[tuple[str, float, int]], now: int) -> None:
    """Store what is used of locked buckets.

    rows   name, used, and from when on the bucket is empty again
    """
    if tx.is_distributed:  # an UPDATE of several rows would lock whole tables
        for name, used, expires_at in rows:
            set_used(tx, name, used, now, expires_at)
        return
    tx.run(
        "UPDATE buckets SET used = CAST(r.used AS DOUBLE PRECISION), at = :now, expires_at = r.expires_at"
        " FROM :rows AS r WHERE buckets.name = r.name",
        now=now,
        rows=Rows(USED, [(keyed(tx, name), repr(used), expires_at) for name, used, expires_at in rows]),
    )


def carry(tx: Tx, source: str, target: str) -> None:
    """Raise what is used of `target` to that of `source`. Both drain at one rate: the fuller is empty later.

    The bucket `source` stays as it is.
    """
    key = keyed(tx, target)
    tx.run(
        "INSERT INTO buckets (name, sealed, used, at, expires_at)"
        " SELECT :target, :sealed, b.used, b.at, b.expires_at FROM buckets AS b WHERE b.name = :source"
        " ON CONFLICT (name) DO UPDATE SET used = excluded.used, at = excluded.at, expires_at = excluded.expires_at"
        " WHERE excluded.expires_at > buckets.expires_at"
        " OR (excluded.expires_at = buckets.expires_at AND excluded.used > buckets.used)",
        source=keyed(tx, source),
        target=key,
        sealed=sealed(tx, key, target),
    )


def remember_removed(tx: Tx, app_id: int, owner_id: int, removed: Mapping[int, int], now: int) -> None:
    """Record that the owner has removed numbers, which are given by their keyed numbers."""
    tx.run(
        "INSERT INTO removed (owner_id, app_id, number, digits, at)"
        " SELECT :owner_id, :app_id, r.number, r.digits, :now FROM :rows AS r WHERE 1 = 1"
        " ON CONFLICT (owner_id, number) DO UPDATE SET at = excluded.at",
        owner_id=owner_id,
        app_id=app_id,
        now=now,
        rows=Rows({"number": int, "digits": bytes}, sorted(numbers.all_digits(tx, "removed", app_id, removed))),
    )


def has_removed(tx: Tx, owner_id: int) -> bool:
    """Is any removal of the owner recorded?"""
    return bool(tx.tuples("SELECT 1 FROM removed WHERE owner_id = :owner_id LIMIT 1", owner_id=owner_id))


def removed_among(tx: Tx, owner_id: int, keyed: Sequence[int], since: int) -> set[int]:
    """The keyed numbers among these that the owner has removed since a time."""
    rows = tx.tuples(
        "SELECT number FROM removed WHERE owner_id = :owner_id AND number IN :keyed AND at >= :since",
        owner_id=owner_id,
        since=since,
        keyed=Rows.of("number", keyed),
    )
    return {row[0] for row in rows}


def forget(tx: Tx, name: str) -> None:
    """Delete a bucket."""
    tx.run("DELETE FROM buckets WHERE name = :name", name=keyed(tx, name))


def forget_owner(tx: Tx, owner_id: int) -> None:
    """Delete the recorded removals of an owner."""
    tx.run("DELETE FROM removed WHERE owner_id = :owner_id", owner_id=owner_id)


def sweep(tx: Tx, now: int, removed_before: int, limit: int) -> int:
    """Delete up to `limit` empty buckets and as many old removals; return how many."""
    emptied = tx.run(
        "DELETE FROM buckets WHERE name IN (SELECT name FROM buckets WHERE expires_at < :now LIMIT :limit)"
        " AND expires_at < :now",
        now=now,
        limit=limit,
    )
    old = tx.tuples(
        "SELECT owner_id, number FROM removed WHERE at < :before LIMIT :limit", before=removed_before, limit=limit
    )
    tx.run(
        "DELETE FROM removed WHERE at < :before AND (owner_id, number) IN (SELECT r.owner_id, r.number FROM :old AS r)",
        before=removed_before,
        old=Rows({"owner_id": int, "number": int}, old),
    )
    return emptied + len(old)
