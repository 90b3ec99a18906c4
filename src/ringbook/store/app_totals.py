"""The totals of each application: its users, its address books that are not empty, and their contacts.

change, change_users          record how a transaction changes the totals
of_app, users_of              read the totals of an application
collect, collect_of           add recorded changes to the totals: any, or those of one user
recount                       count a slice of the users anew, and at the end of a pass correct the totals
write_day                     store the totals of all applications as the values of a day
forget                        delete the totals of an application

A transaction that changes a total records the change in `total_changes`, in a row of the user concerned. So requests of
different users never wait for each other, and on a cluster the row lies beside the user's books. A periodic job moves
the changes to `app_totals`. See docs/decisions/0022-totals-of-applications.md.

Every function that writes `app_totals` or deletes from `total_changes` holds the lock "totals".
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from . import sweeps
from .db import Rows, Tx
from .sweeps import LAST_ID

MOST_PENDING = 1_000  # of recorded changes that a page adds to the totals
NAMES = ("users", "books", "contacts")
RECORDED = "owner_id, app_id, users, books, contacts"
COUNTS: dict[str, type] = {"app_id": int, "users": int, "books": int, "contacts": int}
SWEEP = "totals"
DAY = "totals of the day"
# Skips applications that were deleted meanwhile.
THERE = "r.app_id IN (SELECT id FROM applications)"

Counts = tuple[int, int, int]  # users, books, contacts


class Drift(Struct, frozen=True):
    """Totals that a pass of `recount` has corrected: what they were, and what they are now."""

    app_id: int
    before: Counts
    after: Counts


# ── recording changes ────────────────────────────────────────────────────────────────────────────────────────────────


def change(tx: Tx, app_id: int, owner_id: int, *, users: int = 0, books: int = 0, contacts: int = 0) -> None:
    """Record how this transaction changes the totals. Call it while the user's books, if they change, are locked."""
    tx.run(
        "INSERT INTO total_changes (owner_id, app_id, users, books, contacts)"
        " VALUES (:owner_id, :app_id, :users, :books, :contacts) ON CONFLICT (owner_id) DO UPDATE SET"
        " users = total_changes.users + excluded.users, books = total_changes.books + excluded.books,"
        " contacts = total_changes.contacts + excluded.contacts",
        owner_id=owner_id,
        app_id=app_id,
        users=users,
        books=books,
        contacts=contacts,
    )


def change_users(tx: Tx, app_id: int, user_ids: Sequence[int]) -> None:
    """Record that this transaction adds these users."""
    tx.run(
        "INSERT INTO total_changes (owner_id, app_id, users, books, contacts)"
        " SELECT r.id, :app_id, 1, 0, 0 FROM :ids AS r WHERE 1 = 1"
        " ON CONFLICT (owner_id) DO UPDATE SET users = total_changes.users + 1",
        app_id=app_id,
        ids=Rows.of("id", user_ids),
    )


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_app(tx: Tx, app_id: int, pending: int = MOST_PENDING) -> Counts:
    """The users, books and contacts of an application.

    pending   how many recorded changes are added that are not collected yet; the others are missing

    One statement reads both tables, so that a change that is collected meanwhile counts once.
    """
    row = tx.tuples(
        "SELECT COALESCE(SUM(f.users), 0), COALESCE(SUM(f.books), 0), COALESCE(SUM(f.contacts), 0) FROM"
        " (SELECT users, books, contacts FROM app_totals WHERE app_id = :app_id UNION ALL"
        " SELECT p.users, p.books, p.contacts FROM (SELECT app_id, users, books, contacts FROM total_changes"
        " LIMIT :pending) AS p WHERE p.app_id = :app_id) AS f",
        app_id=app_id,
        pending=pending,
    )[0]
    users, books, contacts = (max(0, int(value)) for value in row)
    return users, books, contacts


def users_of(tx: Tx, app_id: int) -> int:
    """The users of an application, as they were when changes were collected last."""
    return of_app(tx, app_id, 0)[0]


# ── collecting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def collect(tx: Tx, day: int, limit: int) -> int:
    """Add up to `limit` recorded changes to the totals, and store the new totals as the values of a day.

    Returns the number of changes. Changes of users whom the pass of `recount` has passed already are added to its
    counts as well.
    """
    tx.lock("totals")
    rows = tx.tuples(
        "DELETE FROM total_changes WHERE owner_id IN (SELECT owner_id FROM total_changes LIMIT :limit)"
        f" RETURNING {RECORDED}",
        limit=limit,
    )
    _collected(tx, day, rows)
    return len(rows)


def collect_of(tx: Tx, day: int, owner_id: int) -> None:
    """Add the recorded changes of one user to the totals, as `collect` does."""
    tx.lock("totals")
    rows = tx.tuples(f"DELETE FROM total_changes WHERE owner_id = :owner_id RETURNING {RECORDED}", owner_id=owner_id)
    _collected(tx, day, rows)


def _collected(tx: Tx, day: int, rows: Sequence[tuple[int, ...]]) -> None:
    """Add rows that were deleted from the recorded changes."""
    place, _ = sweeps.place(tx, SWEEP)
    if rows:
        _add(tx, "", _sums(row[1:] for row in rows))
        _add(tx, "recounted_", _sums(row[1:] for row in rows if row[0] <= place))
        _write_values(tx, day, sorted({row[1] for row in rows}))


def _sums(rows: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Add up rows of app_id, users, books and contacts by application."""
    sums: dict[int, list[int]] = {}
    for app_id, *values in rows:
        sums[app_id] = [int(a) + int(b) for a, b in zip(sums.get(app_id, (0, 0, 0)), values, strict=True)]
    return [(app_id, *values) for app_id, values in sorted(sums.items())]


def _add(tx: Tx, prefix: str, rows: Sequence[tuple[int, ...]]) -> None:
    """Add to the totals, or with the prefix "recounted_" to the counts of the pass."""
    values = {f"{each}{name}": f"r.{name}" if each == prefix else "0" for each in ("", "recounted_") for name in NAMES}
    added = ", ".join(f"{prefix}{name} = app_totals.{prefix}{name} + excluded.{prefix}{name}" for name in NAMES)
    if rows:
        tx.run(
            f"INSERT INTO app_totals (app_id, {', '.join(values)})"
            f" SELECT r.app_id, {', '.join(values.values())} FROM :rows AS r WHERE {THERE}"
            f" ON CONFLICT (app_id) DO UPDATE SET {added}",
            rows=Rows(COUNTS, rows),
        )


# ── values of a day ──────────────────────────────────────────────────────────────────────────────────────────────────


def write_day(tx: Tx, day: int) -> None:
    """Store the totals of all applications as the values of a day, once a day: an application may have no changes."""
    tx.lock("totals")
    if sweeps.place(tx, DAY)[0] < day:
        _write_values(tx, day, None)
        sweeps.move(tx, DAY, day, 0)


def _write_values(tx: Tx, day: int, app_ids: Sequence[int] | None) -> None:
    """Store the totals of these applications, or of all, as the values of a day."""
    chosen = "1 = 1" if app_ids is None else "app_id IN :app_ids"
    values = (f"SELECT app_id, '{name}' AS name, {name} AS value FROM app_totals WHERE {chosen}" for name in NAMES)
    tx.run(
        "INSERT INTO daily (app_id, day, name, value)"
        f" SELECT t.app_id, :day, t.name, t.value FROM ({' UNION ALL '.join(values)}) AS t WHERE 1 = 1"
        " ON CONFLICT (app_id, day, name) DO UPDATE SET value = excluded.value",
        day=day,
        **({} if app_ids is None else {"app_ids": Rows.of("app_id", app_ids)}),
    )


# ── counting anew ────────────────────────────────────────────────────────────────────────────────────────────────────


def recount(tx: Tx, now: int, rest_seconds: int, limit: int) -> list[Drift]:
    """Count the next `limit` users, their books and their contacts; at the end of a pass correct the totals.

    rest_seconds   how long nothing is counted after the end of a pass

    Returns what was corrected. While a pass is under way, its counts are what the totals of the users up to its place
    should be without the changes that are not collected yet. So a slice counts its rows and subtracts these changes;
    `collect` adds them later. At the end the counts are the correct totals.
    """
    tx.lock("totals")
    if sweeps.is_resting(tx, SWEEP, now, rest_seconds):
        return []
    place, _ = sweeps.place(tx, SWEEP)
    last = _end_of_slice(tx, place, limit)
    _add(tx, "recounted_", _counted(tx, place, last))
    sweeps.move(tx, SWEEP, last, now)
    return _corrected(tx) if last == LAST_ID else []


def _end_of_slice(tx: Tx, place: int, limit: int) -> int:
    found = tx.tuples(
        "SELECT id FROM users WHERE id > :place ORDER BY id LIMIT 1 OFFSET :skipped", place=place, skipped=limit - 1
    )
    return int(found[0][0]) if found else LAST_ID


def _counted(tx: Tx, after: int, last: int) -> list[tuple[int, ...]]:
    """What the totals of the users with ids above `after` and up to `last` should be.

    A cluster reads the nodes one after the other. A user's books and changes lie on one node, so one statement reads
    them as they were at one moment. The table of users does not: nobody may sign up while it is counted.
    """
    tx.run("UPDATE users SET id = id WHERE id = 0")  # waits for sign-ups on all nodes, and keeps further ones out
    users = (
        "SELECT app_id, SUM(users), 0, 0 FROM (SELECT app_id, 1 AS users FROM users WHERE id > :after AND id <= :last"
        " UNION ALL SELECT app_id, -users FROM total_changes WHERE owner_id > :after AND owner_id <= :last) AS f"
        " GROUP BY app_id"
    )
    books = (
        "SELECT app_id, 0, SUM(books), SUM(contacts) FROM"
        " (SELECT owner_id, app_id, 1 AS books, size AS contacts FROM books"
        " WHERE owner_id > :after AND owner_id <= :last AND size > 0"
        " UNION ALL SELECT owner_id, app_id, -books, -contacts FROM total_changes"
        " WHERE owner_id > :after AND owner_id <= :last) AS f GROUP BY app_id"
    )
    return _sums(row for sql in (users, books) for row in tx.tuples(sql, after=after, last=last))


def _corrected(tx: Tx) -> list[Drift]:
    """End a pass: its counts become the totals."""
    stored, counted = ", ".join(NAMES), ", ".join(f"recounted_{name}" for name in NAMES)
    differs = " OR ".join(f"{name} <> recounted_{name}" for name in NAMES)
    rows = tx.tuples(f"SELECT app_id, {stored}, {counted} FROM app_totals WHERE {differs} ORDER BY app_id")
    tx.run(f"UPDATE app_totals SET {', '.join(f'{name} = recounted_{name}, recounted_{name} = 0' for name in NAMES)}")
    return [Drift(app_id, (a, b, c), (d, e, f)) for app_id, a, b, c, d, e, f in rows]


def forget(tx: Tx, app_id: int) -> None:
    """Delete the totals of an application, whose users are deleted already."""
    tx.lock("totals")
    for table in ("app_totals", "total_changes"):
        tx.run(f"DELETE FROM {table} WHERE app_id = :app_id", app_id=app_id)
