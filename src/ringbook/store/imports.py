"""Import of users: many at once, with the ids that they had in another system.

known, holders, verified        what is there already under these ids, with these values, of these numbers
reserve                       who signs up from now on gets a larger id
insert, update                accounts
forget_numbers, add_numbers   the numbers that they answer to

A user is *untouched* while nothing but imports has written the account: from the first sign-in, proof or number given
by an admin on it is the user's own.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from ..profile_fields import FIELDS
from . import discoverable, numbers, profiles
from .db import Row, Rows, Tx
from .users import seen

IMPORTED = [field for field in FIELDS.values() if field.imported]
# The values that an import stores, in clear, and the columns that hold them; in addition to those of every account.
WRITTEN = (*(name for field in IMPORTED for name in field.values), "created_at")
COLUMNS: dict[str, type] = {name: kind for field in IMPORTED for name, kind in field.columns.items()}
COLUMNS |= {"created_at": int}
# The columns from which the values are made.
READ = [name for name in profiles.READ if name in COLUMNS]
READ += [field.folded_key for field in IMPORTED if field.folded and not field.sealed]
SEEN = "last_request_at"  # written to the table `seen`
UNIQUE = {field.key: field.compared_key for field in IMPORTED if field.unique}
# All of it is in one row. Whoever signs in for the first time writes that row, so that an import that runs at the same
# time looks again.
UNTOUCHED = "u.as_imported = 1 AND u.password_hash IS NULL AND u.firebase_uid IS NULL AND u.cidp_uid IS NULL"


def known(tx: Tx, ids: Sequence[int]) -> dict[int, Row]:
    """By id: app_id, imported_at, untouched (0 or 1), number, verified_at, `WRITTEN` and `SEEN` of these users."""
    written = ", ".join(f"u.{name}" for name in (*READ, "created_at"))
    rows = tx.all(
        f"SELECT u.id, u.app_id, u.imported_at, CASE WHEN {UNTOUCHED} THEN 1 ELSE 0 END AS untouched,"
        f" n.number, n.digits, n.verified_at, {written}"
        " FROM :ids AS i CROSS JOIN users AS u"
        " LEFT JOIN numbers AS n ON n.user_id = u.id AND n.user_id BETWEEN :low AND :high"
        " WHERE u.id = i.id AND u.id BETWEEN :low AND :high",
        ids=Rows.of("id", ids),
        low=min(ids),
        high=max(ids),
    )
    for row in rows:
        digits = row.pop("digits")
        if digits is not None:
            row["number"] = numbers.opened(tx, "numbers", row["app_id"], row["number"], digits)
    last = seen(tx, ids)
    return {row["id"]: profiles.opened_values(tx, row) | {SEEN: last.get(row["id"])} for row in rows}


def holders(tx: Tx, app_id: int, key: str, values: Sequence[Any]) -> dict[Any, int]:
    """By value, as it is compared: the user of the application who has it in a unique field."""
    field = profiles.UNIQUE[key]
    given = {profiles.found_by(tx, app_id, field, value): value for value in values}
    # Reads the index once per value. Otherwise PostgreSQL would read the whole table for every batch.
    rows: Any = tx.tuples(
        "SELECT h.value, h.id FROM (SELECT v.value, (SELECT u.id FROM users AS u"
        f" WHERE u.app_id = :app_id AND u.{field.found_column} = v.value) AS id FROM :values AS v) AS h"
        " WHERE h.id IS NOT NULL",
        app_id=app_id,
        values=Rows.of("value", list(given)),
    )
    return {given[value]: user_id for value, user_id in rows}


def verified(tx: Tx, app_id: int, wanted: Sequence[int]) -> dict[int, int]:
    """By number: the user who has verified it here. A verification that was only imported does not count."""
    keyed = numbers.keyed_all(tx, app_id, wanted)
    rows: Any = tx.tuples(
        "SELECT p.number, p.user_id FROM (SELECT v.number, (SELECT MIN(n.user_id) FROM numbers AS n"
        " JOIN users AS u ON u.id = n.user_id WHERE n.app_id = :app_id AND n.number = v.number"
        f" AND n.verified_at IS NOT NULL AND NOT ({UNTOUCHED})) AS user_id FROM :numbers AS v) AS p"
        " WHERE p.user_id IS NOT NULL",
        app_id=app_id,
        numbers=Rows.of("number", sorted(keyed)),
    )
    return {keyed[one]: user_id for one, user_id in rows}


def reserve(tx: Tx, last: int) -> None:
    """Make all later ids of new users larger than this one."""
    tx.reserve_ids("user_ids", last)


def insert(tx: Tx, app_id: int, users: Sequence[Row], now: int) -> bool:
    """Add users with `id`, `WRITTEN` and `SEEN`; False when one of them conflicts with another request."""
    names = ", ".join(COLUMNS)
    given = ", ".join(f"r.{name}" for name in COLUMNS)
    # The rows are counted, because a cluster counts those that conflict, too.
    added = tx.tuples(
        f"INSERT INTO users (id, app_id, {names}, is_guest, updated_at, imported_at, as_imported)"
        f" SELECT r.id, :app_id, {given}, 0, :now, :now, 1 FROM :rows AS r WHERE 1 = 1"
        " ON CONFLICT DO NOTHING RETURNING id",
        app_id=app_id,
        now=now,
        rows=_rows(tx, app_id, users),
    )
    _set_seen(tx, users)
    return len(added) == len(users)


def update(tx: Tx, app_id: int, users: Sequence[Row], now: int) -> bool:
    """Update `WRITTEN` and `SEEN` of these untouched users; False when one of them is no longer untouched."""
    # First without the unique columns: two users may exchange their logins.
    emptied = ", ".join(f"{profiles.UNIQUE[key].found_column} = NULL" for key in UNIQUE)
    tx.run(
        f"UPDATE users SET {emptied} WHERE id IN (SELECT i.id FROM :ids AS i)",
        ids=Rows.of("id", [user["id"] for user in users]),
    )
    changed = tx.run(
        f"UPDATE users AS u SET {', '.join(f'{name} = r.{name}' for name in COLUMNS)},"
        f" updated_at = :now, imported_at = :now FROM :rows AS r WHERE u.id = r.id AND {UNTOUCHED}",
        now=now,
        rows=_rows(tx, app_id, users),
    )
    _set_seen(tx, users)
    return changed == len(users)


def _set_seen(tx: Tx, users: Sequence[Row]) -> None:
    """Store when these users were last active as the import says it."""
    tx.run("DELETE FROM seen WHERE user_id IN :ids", ids=Rows.of("id", [user["id"] for user in users]))
    tx.run(
        "INSERT INTO seen (user_id, last_request_at) SELECT r.id, r.at FROM :rows AS r JOIN users AS u ON u.id = r.id",
        rows=Rows({"id": int, "at": int}, [(user["id"], user[SEEN]) for user in users if user[SEEN] is not None]),
    )


def forget_numbers(tx: Tx, ids: Sequence[int]) -> None:
    """Remove the numbers of these users."""
    tx.run("DELETE FROM numbers WHERE user_id IN (SELECT i.id FROM :ids AS i)", ids=Rows.of("id", ids))


def add_numbers(tx: Tx, app_id: int, users: Sequence[Row]) -> None:
    """Give these users, who have no number, their `number` as `phone` spells it, verified if there is `verified_at`."""
    columns: dict[str, type] = {"number": int, "digits": bytes, "id": int, "verified_at": int, "spelling": int}
    columns["discoverable"] = int
    chosen = discoverable.chosen(tx, [user["id"] for user in users])
    answering = []
    for user in users:
        if (number := user["number"]) is not None:
            keyed = numbers.keyed(tx, app_id, number)
            digits = numbers.digits(tx, "numbers", app_id, keyed, number)
            spelling = numbers.spelling(number, user["phone"])
            found_by = chosen.get(user["id"], discoverable.NOT_CHOSEN)
            answering.append((keyed, digits, user["id"], user["verified_at"], spelling, found_by))
    tx.run(
        "INSERT INTO numbers (app_id, number, digits, user_id, verified_at, imported, spelling, discoverable)"
        " SELECT :app_id, r.number, r.digits, r.id, r.verified_at, 1, r.spelling, r.discoverable FROM :rows AS r",
        app_id=app_id,
        rows=Rows(columns, answering),
    )


def _rows(tx: Tx, app_id: int, users: Iterable[Row]) -> Rows:
    sealed = (profiles.sealed(tx, app_id, user["id"], user) for user in users)
    return Rows({"id": int, **COLUMNS}, [(user["id"], *(user[name] for name in COLUMNS)) for user in sealed])
