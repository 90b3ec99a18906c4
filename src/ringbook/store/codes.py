"""One-time codes: the last one requested for each number of an application, as a hash.

live               the last code, if it is still valid for a while
put, drop          a code is asked for; it could not be sent
try_, accept       an answer is counted; it was right
drop_of_user       forget those that were sent to a user's own numbers
sweep              forget those whose time is over
"""

from . import numbers
from .db import Row, Tx


def live(tx: Tx, app_id: int, number: int, typed: str, until: int, attempts: int) -> Row | None:
    """The number's code, if it is valid until then and has fewer attempts: request_id, created_at, expires_at.

    typed   replaces the spelling of the number
    """
    keyed = numbers.keyed(tx, app_id, number)
    return tx.one(
        "UPDATE codes SET typed = :typed WHERE app_id = :app_id AND number = :keyed AND expires_at > :until"
        " AND attempts < :attempts AND answered_at IS NULL RETURNING request_id, created_at, expires_at",
        app_id=app_id,
        keyed=keyed,
        typed=tx.seal.text(typed, "codes", "typed", app_id, keyed),
        until=until,
        attempts=attempts,
    )


def put(
    tx: Tx,
    app_id: int,
    number: int,
    *,
    request_id: str,
    typed: str,
    code_hash: bytes,
    now: int,
    expires_at: int,
) -> None:
    """Replace the number's last code."""
    keyed = numbers.keyed(tx, app_id, number)
    tx.run(
        "INSERT INTO codes (app_id, number, digits, request_id, typed, code_hash, created_at, expires_at, attempts)"
        " VALUES (:app_id, :keyed, :digits, :request_id, :typed, :code_hash, :now, :expires_at, 0)"
        " ON CONFLICT (app_id, number) DO UPDATE SET request_id = excluded.request_id, typed = excluded.typed,"
        " code_hash = excluded.code_hash, created_at = excluded.created_at, expires_at = excluded.expires_at,"
        " attempts = 0, answered_at = NULL",
        app_id=app_id,
        keyed=keyed,
        digits=numbers.digits(tx, "codes", app_id, keyed, number),
        request_id=request_id,
        typed=tx.seal.text(typed, "codes", "typed", app_id, keyed),
        code_hash=code_hash,
        now=now,
        expires_at=expires_at,
    )


def drop(tx: Tx, app_id: int, request_id: str) -> None:
    """Delete a code."""
    tx.run(
        "DELETE FROM codes WHERE app_id = :app_id AND request_id = :request_id", app_id=app_id, request_id=request_id
    )


def drop_of_user(tx: Tx, user_id: int) -> None:
    """Delete the codes for the user's verified numbers. An unverified number may belong to somebody else."""
    tx.run(
        "DELETE FROM codes WHERE (app_id, number) IN"
        " (SELECT app_id, number FROM numbers WHERE user_id = :user_id AND verified_at IS NOT NULL)",
        user_id=user_id,
    )


def with_number(tx: Tx, row: Row) -> Row:
    """A row of app_id, number and digits with the number in place of both, and with `typed`, if it has it, opened."""
    keyed, digits = row["number"], row.pop("digits")
    if "typed" in row:
        row["typed"] = tx.seal.open(row["typed"], "codes", "typed", row["app_id"], keyed)
    return row | {"number": numbers.opened(tx, "codes", row["app_id"], keyed, digits)}


def try_(tx: Tx, app_id: int, request_id: str, now: int, answered_since: int) -> Row | None:
    """Count an attempt, and return what it is compared with; None when the code has expired or was used before.

    The row stays locked until the transaction ends, so that answers at the same time are counted one by one.
    """
    row = tx.one(
        "UPDATE codes SET attempts = attempts + 1 WHERE app_id = :app_id AND request_id = :request_id"
        " AND (answered_at >= :answered_since OR (answered_at IS NULL AND expires_at > :now))"
        " RETURNING app_id, number, digits, typed, code_hash, attempts, created_at",
        app_id=app_id,
        request_id=request_id,
        now=now,
        answered_since=answered_since,
    )
    return with_number(tx, row) if row else None


def accept(tx: Tx, app_id: int, request_id: str, now: int) -> None:
    """Record a right answer: it does not count as an attempt, and the time of the first one is stored."""
    tx.run(
        "UPDATE codes SET attempts = attempts - 1, answered_at = COALESCE(answered_at, :now)"
        " WHERE app_id = :app_id AND request_id = :request_id",
        app_id=app_id,
        request_id=request_id,
        now=now,
    )


def sweep(tx: Tx, expired_before: int, limit: int) -> int:
    """Delete up to `limit` codes that expired before a time; return how many."""
    return tx.run(
        "DELETE FROM codes WHERE expires_at < :before AND (app_id, number) IN"
        " (SELECT app_id, number FROM codes WHERE expires_at < :before LIMIT :limit)",
        before=expired_before,
        limit=limit,
    )
