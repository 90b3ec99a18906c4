"""Statistics: sums by application and day, and the latest refusals.

first_time            has this batch of a process been written before?
add, add_refusals     sums into the tables
set_now               how many there are now, as the last look of a day found it
totals, days, since, size   sums for ever, of each day, and from when on
refusals, sweep       the latest refusals; old ones forgotten
are_few, users, books how many there are, by application
has_users, has_contacts   is there one?
"""

from collections.abc import Sequence

from .db import Row, Rows, Tx

EVER = 0  # in place of a day: the sum of all days
FIGURES = {"app_id": int, "day": int, "name": str, "value": int}
REFUSALS = {
    "app_id": int,
    "route": str,
    "status": int,
    "reason": str,
    "count": int,
    "first_at": int,
    "last_at": int,
}
# Skips applications that were deleted meanwhile; 0 stands for no application.
THERE = "(r.app_id = 0 OR r.app_id IN (SELECT id FROM applications))"


def first_time(tx: Tx, process: str, number: int, now: int, expires_at: int) -> bool:
    """Record that a process writes its batch with this number; False when it was written already."""
    tx.lock("figures")  # batches of several processes touch the same rows
    return bool(
        tx.tuples(
            "INSERT INTO buckets (name, used, at, expires_at) VALUES (:name, :number, :now, :expires_at)"
            " ON CONFLICT (name) DO UPDATE SET used = excluded.used, at = excluded.at,"
            " expires_at = excluded.expires_at WHERE buckets.used < excluded.used RETURNING name",
            name=f"figures {process}",
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


def set_now(tx: Tx, rows: Sequence[tuple[int, int, str, int]]) -> None:
    """Store a total; it replaces an earlier total of the same day."""
    tx.run(
        "INSERT INTO daily (app_id, day, name, value)"
        f" SELECT r.app_id, r.day, r.name, r.value FROM :rows AS r WHERE {THERE}"
        " ON CONFLICT (app_id, day, name) DO UPDATE SET value = excluded.value",
        rows=Rows(FIGURES, rows),
    )


def add_refusals(tx: Tx, rows: Sequence[tuple[int, str, int, str, int, int, int]]) -> None:
    """Add to the refusals.

    rows   app_id, route, status, reason, count, first_at, last_at
    """
    tx.run(
        "INSERT INTO refusals (app_id, route, status, reason, count, first_at, last_at)"
        " SELECT r.app_id, r.route, r.status, r.reason, r.count, r.first_at, r.last_at"
        f" FROM :rows AS r WHERE {THERE} ON CONFLICT (app_id, route, status, reason) DO UPDATE SET"
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


def size(tx: Tx, app_id: int, since: int) -> tuple[int, int]:
    """The users of an application when they were last counted, and how many joined or were imported since a day.

    since   the day, as a number of days since 1970
    """
    row = tx.one(
        "SELECT COALESCE(SUM(CASE WHEN day = :ever AND name = 'users' THEN value END), 0) AS users,"
        " COALESCE(SUM(CASE WHEN day >= :since AND name IN ('sign-ups', 'imported') THEN value END), 0) AS new"
        " FROM daily WHERE app_id = :app_id AND (day = :ever OR day >= :since)",
        app_id=app_id,
        ever=EVER,
        since=since,
    )
    return (int(row["users"]), int(row["new"])) if row else (0, 0)


def since(tx: Tx, app_id: int) -> int | None:
    """The first day with a sum."""
    found = tx.tuples("SELECT MIN(day) FROM daily WHERE app_id = :app_id AND day > :ever", app_id=app_id, ever=EVER)
    return int(found[0][0]) if found[0][0] is not None else None


def refusals(tx: Tx, app_id: int, limit: int) -> list[Row]:
    """The refusals of an application, the latest first."""
    return tx.all(
        "SELECT route, status, reason, count, first_at, last_at FROM refusals WHERE app_id = :app_id"
        " ORDER BY last_at DESC, route, reason LIMIT :limit",
        app_id=app_id,
        limit=limit,
    )


def sweep(tx: Tx, before: int) -> int:
    """Delete the refusals that last happened before a time; return how many rows."""
    return tx.run("DELETE FROM refusals WHERE last_at < :before", before=before)


# ── how many there are ───────────────────────────────────────────────────────────────────────────────────────────────


def are_few(tx: Tx, most: int) -> bool:
    """Are there at most so many users and books? Then counting them is cheap."""
    return all(
        tx.tuples(f"SELECT COUNT(*) FROM (SELECT 1 FROM {table} LIMIT :limit) AS few", limit=most + 1)[0][0] <= most
        for table in ("users", "books")
    )


def users(tx: Tx) -> dict[int, int]:
    """The number of users of each application. Reads every user."""
    return dict(tx.tuples("SELECT app_id, COUNT(*) FROM users GROUP BY app_id"))


def books(tx: Tx) -> dict[int, tuple[int, int]]:
    """The number of address books that are not empty and of contacts of each application. Reads every book."""
    rows = tx.tuples("SELECT app_id, COUNT(*), SUM(size) FROM books WHERE size > 0 GROUP BY app_id")
    return {app_id: (count, int(size)) for app_id, count, size in rows}


def has_users(tx: Tx, app_id: int) -> bool:
    """Does the application have a user?"""
    return bool(tx.tuples("SELECT 1 FROM users WHERE app_id = :app_id LIMIT 1", app_id=app_id))


def has_contacts(tx: Tx, app_id: int) -> bool:
    """Does a user of the application have a contact?"""
    return bool(tx.tuples("SELECT 1 FROM contacts WHERE app_id = :app_id LIMIT 1", app_id=app_id))
