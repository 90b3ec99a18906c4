"""Statistics: sums by application and day, and the latest refusals.

first_time            has this batch of a process been written before?
add, add_refusals     sums into the tables
add_activity, activity, sweep_activity    the same by half hours, for some months
totals, days, since   sums for ever, of each day, and from when on
sign_ups              how many users each application got in the latest hour, and in the time before it
refusals, sweep       the latest refusals; old ones forgotten
"""

from collections.abc import Sequence

from . import buckets
from .db import Row, Rows, Tx

EVER = 0  # in place of a day: the sum of all days
FIGURES = {"app_id": int, "day": int, "name": str, "value": int}
REFUSALS = {
    "app_id": int,
    "request": str,
    "cause": str,
    "reason": str,
    "count": int,
    "first_at": int,
    "last_at": int,
}
# Skips applications that were deleted meanwhile; 0 stands for no application.
THERE = "(r.app_id = 0 OR r.app_id IN (SELECT id FROM applications))"


def first_time(tx: Tx, process: str, number: int, now: int, expires_at: int) -> bool:
    """Record that a process writes its batch with this number; False when it was written already."""
    name = f"stats {process}"
    key = buckets.keyed(tx, name)
    tx.lock("stats")  # batches of several processes touch the same rows
    return bool(
        tx.tuples(
            "INSERT INTO buckets (name, sealed, used, at, expires_at)"
            " VALUES (:name, :sealed, :number, :now, :expires_at)"
            " ON CONFLICT (name) DO UPDATE SET used = excluded.used, at = excluded.at,"
            " expires_at = excluded.expires_at WHERE buckets.used < excluded.used RETURNING name",
            name=key,
            sealed=buckets.sealed(tx, key, name),
            number=number,
            now=now,
            expires_at=expires_at,
        )
    )


def add(tx: Tx, rows: Sequence[tuple[int, int, str, int]]) -> None:
    """Add to the sums.

    rows   app_id, day, name, value
    """
    tx.run(
        "INSERT INTO daily (app_id, day, name, value)"
        f" SELECT r.app_id, r.day, r.name, r.value FROM :rows AS r WHERE {THERE}"
        " ON CONFLICT (app_id, day, name) DO UPDATE SET value = daily.value + excluded.value",
        rows=Rows(FIGURES, rows),
    )


def add_activity(tx: Tx, rows: Sequence[tuple[int, int, str, int]]) -> None:
    """Add to the sums of half hours.

    rows   app_id, the time at which the half hour begins, name, value
    """
    if rows:
        tx.run(
            "INSERT INTO activity (app_id, at, name, value)"
            f" SELECT r.app_id, r.at, r.name, r.value FROM :rows AS r WHERE {THERE}"
            " ON CONFLICT (app_id, at, name) DO UPDATE SET value = activity.value + excluded.value",
            rows=Rows({"app_id": int, "at": int, "name": str, "value": int}, rows),
        )


def activity(tx: Tx, app_id: int, since: int) -> list[tuple[int, str, int]]:
    """The sums of an application by half hours since a time: when each begins, name and value."""
    return tx.tuples(
        "SELECT at, name, value FROM activity WHERE app_id = :app_id AND at >= :since", app_id=app_id, since=since
    )


def sweep_activity(tx: Tx, before: int, limit: int) -> int:
    """Delete up to `limit` sums of half hours before a time; return how many."""
    return tx.run(
        "DELETE FROM activity WHERE at < :before AND (app_id, at, name) IN"
        " (SELECT app_id, at, name FROM activity WHERE at < :before LIMIT :limit)",
        before=before,
        limit=limit,
    )


def add_refusals(tx: Tx, rows: Sequence[tuple[int, str, str, str, int, int, int]]) -> None:
    """Add to the refusals.

    rows   app_id, request, cause, reason, count, first_at, last_at
    """
    tx.run(
        "INSERT INTO refusals (app_id, request, cause, reason, count, first_at, last_at)"
        " SELECT r.app_id, r.request, r.cause, r.reason, r.count, r.first_at, r.last_at"
        f" FROM :rows AS r WHERE {THERE} ON CONFLICT (app_id, request, cause, reason) DO UPDATE SET"
        " count = refusals.count + excluded.count,"
        " last_at = CASE WHEN refusals.last_at > excluded.last_at THEN refusals.last_at ELSE excluded.last_at END",
        rows=Rows(REFUSALS, rows),
    )


def totals(tx: Tx, app_id: int) -> dict[str, int]:
    """Every sum of an application over all days, by name."""
    rows = tx.tuples("SELECT name, value FROM daily WHERE app_id = :app_id AND day = :ever", app_id=app_id, ever=EVER)
    return dict(rows)


def days(tx: Tx, app_id: int, first: int, last: int) -> list[tuple[int, str, int]]:
    """The sums of an application from one day to another: day, name and value."""
    return tx.tuples(
        "SELECT day, name, value FROM daily WHERE app_id = :app_id AND day >= :first AND day <= :last",
        app_id=app_id,
        first=first,
        last=last,
    )


def sign_ups(tx: Tx, since: int, recent: int) -> list[tuple[int, int, int]]:
    """The sign-ups of each application, by half hours that begin at some time: app_id, since `recent`, before that.

    since   older half hours do not count
    """
    rows = tx.tuples(
        "SELECT app_id, SUM(CASE WHEN at >= :recent THEN value ELSE 0 END), SUM(value) FROM activity"
        " WHERE app_id IN (SELECT id FROM applications) AND name = 'sign-ups' AND at >= :since"
        " GROUP BY app_id ORDER BY app_id",
        since=since,
        recent=recent,
    )
    return [(app_id, int(latest), int(all_) - int(latest)) for app_id, latest, all_ in rows]


def since(tx: Tx, app_id: int) -> int | None:
    """The first day with a sum."""
    found = tx.tuples("SELECT MIN(day) FROM daily WHERE app_id = :app_id AND day > :ever", app_id=app_id, ever=EVER)
    return int(found[0][0]) if found[0][0] is not None else None


def refusals(tx: Tx, app_id: int, limit: int) -> list[Row]:
    """The refusals of an application, the latest first."""
    return tx.all(
        "SELECT request, cause, reason, count, first_at, last_at FROM refusals WHERE app_id = :app_id"
        " ORDER BY last_at DESC, request, reason LIMIT :limit",
        app_id=app_id,
        limit=limit,
    )


def sweep(tx: Tx, before: int, limit: int) -> int:
    """Delete up to `limit` rows of refusals that last happened before a time; return how many."""
    return tx.run(
        "DELETE FROM refusals WHERE last_at < :before AND (app_id, request, cause, reason) IN"
        " (SELECT app_id, request, cause, reason FROM refusals WHERE last_at < :before LIMIT :limit)",
        before=before,
        limit=limit,
    )
