"""Changes of the key: for each table, how its sealed and keyed columns are read under one key and made under another.

    RESEALED                by table; a test fails for a sealed or keyed column that is not named here
    NEVER_STORED            tables with keyed columns of which no row is ever committed
    DROPPED                 keyed columns that are emptied by a change of the key
    reseal(tx, …)           seal the next rows of a table anew
    count(tx, table, …)     how many rows a table has, up to a place
    drop(tx)                empty the columns of DROPPED
    forget(tx, …)           delete whatever only a lost key could open

A keyed column is often a part of the primary key, so a row moves when it is sealed anew. Rows are read in the order of
the primary key, from a place that is stored with each batch. A row that has moved ahead of that place is met a second
time: it opens under the new key and is left as it is. So no row is left out, and a repeated batch changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .. import errors, phone
from ..model import Entry
from ..profile_fields import FIELDS
from ..seal import Seal, halves
from . import (
    admin_answers,
    applications,
    audit,
    discovered,
    numbers,
    placement,
    profiles,
    pushes,
    reports,
    subscriptions,
)
from .db import Row, Rows, Tx

Place = tuple[Any, ...]  # the primary key of a row
Values = dict[str, Any]


@dataclass(frozen=True)
class Resealed:
    """How the rows of one table are sealed anew.

    key      the columns of the primary key, in its order, with their types
    columns  the sealed and keyed columns, with their types
    read     other columns that the two functions need
    region   do they also need the application's `region`?
    open     what a row holds, in clear; None for a row that holds nothing sealed; errors.Unreadable
    seal     the sealed and keyed columns for that
    """

    key: dict[str, type]
    columns: dict[str, type]
    open: Callable[[Seal, Row], Any]
    seal: Callable[[Seal, Row, Any], Values]
    read: Sequence[str] = ()
    region: bool = False


@dataclass(frozen=True)
class Batch:
    """A batch of rows: its last row's key (None at the end of the table), how many, and how many no key opens."""

    last: Place | None
    rows: int
    unreadable: int


USERS = placement.TABLES["users"]


@dataclass(frozen=True)
class _Under:
    """Stands for a transaction where only its seal is used."""

    seal: Seal


def under(seal: Seal) -> Tx:
    """What functions of `store/` that only seal and open take as their transaction."""
    return cast(Tx, _Under(seal))


# ── tables whose rows are found by a keyed number ────────────────────────────────────────────────────────────────────


def _of_number(table: numbers.Table, **key: type) -> Resealed:
    """A table with a keyed number and its digits."""

    def opened(seal: Seal, row: Row) -> Any:
        if row["digits"] is None:  # of a settled row
            return None
        return numbers.opened(under(seal), table, row["app_id"], row["number"], row["digits"])

    def sealed(seal: Seal, row: Row, number: int) -> Values:
        keyed = seal.number(row["app_id"], number)
        return {"number": keyed, "digits": numbers.digits(under(seal), table, row["app_id"], keyed, number)}

    return Resealed(key, {"number": int, "digits": bytes}, opened, sealed, read=() if "app_id" in key else ("app_id",))


def _open_code(seal: Seal, row: Row) -> tuple[int, str]:
    app_id, keyed = row["app_id"], row["number"]
    number = numbers.opened(under(seal), "codes", app_id, keyed, row["digits"])
    return number, seal.open(row["typed"], "codes", "typed", app_id, keyed)


def _seal_code(seal: Seal, row: Row, found: tuple[int, str]) -> Values:
    number, typed = found
    keyed = seal.number(row["app_id"], number)
    return {
        "number": keyed,
        "digits": numbers.digits(under(seal), "codes", row["app_id"], keyed, number),
        "typed": seal.text(typed, "codes", "typed", row["app_id"], keyed),
    }


def _open_discovered(seal: Seal, row: Row) -> discovered.Generations:
    return discovered.opened(under(seal), row)


def _seal_discovered(seal: Seal, row: Row, found: discovered.Generations) -> Values:
    return {"sealed": discovered.sealed(under(seal), row["app_id"], row["owner_id"], row["book"], found)}


def _open_contact(seal: Seal, row: Row) -> tuple[int, str, str | None, bool]:
    """The contact, and whether numbers are still read as when it was uploaded."""
    place = row["app_id"], row["owner_id"], row["book"]
    number, name, typed = seal.open_contact(*place, row["number"], row["sealed"])
    return number, name, typed, row["entry"] == _entry(seal, row, number, name, typed)


def _seal_contact(seal: Seal, row: Row, found: tuple[int, str, str | None, bool]) -> Values:
    number, name, typed, current = found
    place, keyed = (row["app_id"], row["owner_id"], row["book"]), seal.number(row["app_id"], number)
    return {
        "number": keyed,
        "sealed": seal.contact(*place, keyed, number, name, typed),
        # The next upload compares the contact and stores the value that it then has.
        "entry": _entry(seal, row, number, name, typed) if current else 0,
    }


def _entry(seal: Seal, row: Row, number: int, name: str, typed: str | None) -> int:
    sent = Entry(typed or phone.digits(number), name)
    return seal.entries(phone.reading(row.get("region", "")), row["app_id"], row["owner_id"], row["book"], [sent])[0]


# ── admins, the audit log, limits ────────────────────────────────────────────────────────────────────────────────────


def _open_admin(seal: Seal, row: Row) -> str:
    return seal.open(row["sealed"], "admins", "sealed", *halves(row["email"]))


def _seal_admin(seal: Seal, row: Row, email: str) -> Values:
    keyed = seal.lookup("admin", 0, email)
    return {"email": keyed, "sealed": seal.text(email, "admins", "sealed", *halves(keyed))}


def _of_token(table: str, name: str) -> Resealed:
    """A table with a sealed text that is bound to the hash of a token."""

    def sealed(seal: Seal, row: Row, text: str) -> Values:
        return {"sealed": admin_answers.sealed(under(seal), table, row[name], text)}

    return Resealed(
        {name: bytes},
        {"sealed": bytes},
        lambda seal, row: admin_answers.opened(under(seal), table, row[name], row["sealed"]),
        sealed,
    )


def _open_bucket(seal: Seal, row: Row) -> str:
    return seal.open(row["sealed"], "buckets", "sealed", *halves(row["name"]))


def _seal_bucket(seal: Seal, row: Row, name: str) -> Values:
    keyed = seal.lookup("bucket", 0, name)
    return {"name": keyed, "sealed": seal.text(name, "buckets", "sealed", *halves(keyed))}


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────────

SEALED_FIELDS = [field for field in FIELDS.values() if field.sealed]
IN_PROFILES: dict[str, type] = {
    name: bytes for field in SEALED_FIELDS for name in (field.sealed_column, field.keyed_column) if name
}
CLEAR = [name for field in SEALED_FIELDS for name in (field.key, field.folded_key) if name in USERS.columns]


def _open_profile(seal: Seal, row: Row) -> Values:
    found = profiles.opened_values(under(seal), dict(row))
    return {name: found[name] for field in SEALED_FIELDS for name in field.values}


def _seal_profile(seal: Seal, row: Row, found: Values) -> Values:
    columns = profiles.sealed(under(seal), row["app_id"], row["id"], found)
    return {name: columns[name] for name in IN_PROFILES}


def _forget_profiles(tx: Tx) -> None:
    """Delete what is sealed of the users; values in clear are found under the key in use."""
    how, last = RESEALED["users"], None
    while rows := _page(tx, "users", how, last, FORGOTTEN_AT_ONCE):
        cleared = [row | dict.fromkeys(IN_PROFILES) | _keyed_again(tx, row) for row in rows]
        _update(tx, "users", how, [(row, row) for row in cleared])
        last = (rows[-1]["id"],)


def _keyed_again(tx: Tx, row: Row) -> Values:
    fields = [field for field in SEALED_FIELDS if field.keyed_column and row.get(field.folded_key) is not None]
    return {field.keyed_column: profiles.found_by(tx, row["app_id"], field, row[field.folded_key]) for field in fields}


# ── applications and devices ─────────────────────────────────────────────────────────────────────────────────────────

SECRETS = ("auth_secret", "hash_key", "vapid_private_key")


def _open_application(seal: Seal, row: Row) -> tuple[list[str], str]:
    tx = under(seal)
    secrets = [applications.opened(tx, row["id"], column, row[column]) for column in SECRETS]
    return secrets, applications.opened_settings(tx, row["id"], row["settings"])


def _seal_application(seal: Seal, row: Row, found: tuple[list[str], str]) -> Values:
    tx, (secrets, settings) = under(seal), found
    values = {
        column: applications.sealed(tx, row["id"], column, text) for column, text in zip(SECRETS, secrets, strict=True)
    }
    return values | {"settings": applications.sealed_settings(tx, row["id"], settings)}


def _open_subscription(seal: Seal, row: Row) -> tuple[str, str | None]:
    found = subscriptions.opened(under(seal), dict(row))
    return found["token"], found["web_auth"]


def _seal_subscription(seal: Seal, row: Row, found: tuple[str, str | None]) -> Values:
    return subscriptions.sealed(under(seal), tuple(row[name] for name in ("app_id", "user_id", *DEVICE)), *found)


DEVICE = ("device", "channel", "environment")


def _open_push(seal: Seal, row: Row) -> tuple[int | None, str | None] | None:
    """The contact's number, and the text; nothing of a settled push."""
    text, number = pushes.opened(under(seal), row), None
    if row["digits"] is not None:
        number = numbers.opened(under(seal), "pushes", row["app_id"], row["number"], row["digits"])
    return None if number is None and text is None else (number, text)


def _seal_push(seal: Seal, row: Row, found: tuple[int | None, str | None]) -> Values:
    tx, app_id, (number, text) = under(seal), row["app_id"], found
    keyed = None if number is None else seal.number(app_id, number)
    digits = None if number is None or keyed is None else numbers.digits(tx, "pushes", app_id, keyed, number)
    return {"number": keyed, "digits": digits, "message": pushes.sealed(tx, app_id, row["user_id"], row["id"], text)}


def _open_event(seal: Seal, row: Row) -> str:
    return pushes.opened_text(under(seal), row["user_id"], row["id"], row["message"])


def _seal_event(seal: Seal, row: Row, text: str) -> Values:
    return {"message": pushes.sealed_text(under(seal), row["user_id"], row["id"], text)}


RESEALED = {
    "users": Resealed({"id": int}, IN_PROFILES, _open_profile, _seal_profile, read=("app_id", *CLEAR)),
    "applications": Resealed(
        {"id": int},
        dict.fromkeys(SECRETS, bytes) | {"settings": str},
        _open_application,
        _seal_application,
    ),
    "subscriptions": Resealed(
        {"user_id": int, "id": int},
        {"token": bytes, "token_key": bytes, "web_auth": bytes},
        _open_subscription,
        _seal_subscription,
        read=("app_id", *DEVICE),
    ),
    "pushes": Resealed(
        {"user_id": int, "id": int},
        {"number": int, "digits": bytes, "message": bytes},
        _open_push,
        _seal_push,
        read=("app_id",),
    ),
    "events": Resealed({"id": int}, {"message": bytes}, _open_event, _seal_event, read=("user_id",)),
    "admins": Resealed({"email": bytes}, {"email": bytes, "sealed": bytes}, _open_admin, _seal_admin),
    "admin_invitations": _of_token("admin_invitations", "token_hash"),
    "admin_answers": _of_token("admin_answers", "name"),
    "audit": Resealed(
        {"id": int},
        {"admin": bytes, "subject": bytes, "sealed": bytes},
        lambda seal, row: audit.open_under(seal, row["id"], row["sealed"]),
        lambda seal, row, said: audit.under(seal, row["id"], *said),
    ),
    "buckets": Resealed({"name": bytes}, {"name": bytes, "sealed": bytes}, _open_bucket, _seal_bucket),
    "numbers": _of_number("numbers", app_id=int, number=int, user_id=int),
    "joined": _of_number("joined", id=int),
    "announced": _of_number("announced", owner_id=int, number=int),
    "discovered": Resealed(
        {"owner_id": int, "book": int},
        {"sealed": bytes},
        _open_discovered,
        _seal_discovered,
        read=("app_id",),
    ),
    "removed": _of_number("removed", owner_id=int, number=int),
    "codes": Resealed(
        {"app_id": int, "number": int},
        {"number": int, "digits": bytes, "typed": bytes},
        _open_code,
        _seal_code,
    ),
    "contacts": Resealed(
        {"owner_id": int, "book": int, "number": int},
        {"number": int, "sealed": bytes, "entry": int},
        _open_contact,
        _seal_contact,
        read=("app_id",),
        region=True,
    ),
}
# `admin_sessions.email` follows `admins.email`, by ON UPDATE CASCADE. The secret of the MACs of rows is sealed for the
# next key when the change of the key begins (`keys.begin`).
FOLLOWS = {"admin_sessions": {"email"}, "keys": {"row_secret"}}
# A lock's row is deleted before its transaction is committed.
NEVER_STORED = {"locks"}
# The uploads whose digests these are, are not stored. Without its report, an upload is read again.
DROPPED = {"books": {"reports"}}


# ── sealing anew ─────────────────────────────────────────────────────────────────────────────────────────────────────


def reseal(tx: Tx, table: str, after: Place | None, old: Seal, new: Seal, limit: int) -> Batch:
    """Seal up to `limit` rows after a place anew. Rows that are sealed anew already, or that no key opens, stay."""
    how = RESEALED[table]
    rows = _page(tx, table, how, after, limit)
    if how.region:
        regions = applications.regions(tx)
        rows = [row | {"region": regions.get(row["app_id"], "")} for row in rows]
    changed, unreadable = [], 0
    for row in rows:
        try:
            if (found := how.open(old, row)) is not None:
                changed.append((row, how.seal(new, row, found)))
        except errors.Unreadable:
            unreadable += not _opens(how, new, row)
    if changed:
        (_move if placement.TABLES[table].by in how.columns else _update)(tx, table, how, changed)
    last = tuple(rows[-1][name] for name in how.key) if len(rows) == limit else None
    return Batch(last, len(rows), unreadable)


def _page(tx: Tx, table: str, how: Resealed, after: Place | None, limit: int) -> list[Row]:
    key = ", ".join(how.key)
    columns = ", ".join(dict.fromkeys((*how.key, *how.columns, *how.read)))
    names = [f"after_{place}" for place in range(len(how.key))]
    later = f" WHERE ({key}) > ({', '.join(f':{name}' for name in names)})" if after else ""
    values = dict(zip(names, after, strict=True)) if after else {}
    return tx.all(f"SELECT {columns} FROM {table}{later} ORDER BY {key} LIMIT :limit", limit=limit, **values)


def _opens(how: Resealed, seal: Seal, row: Row) -> bool:
    try:
        how.open(seal, row)
    except errors.Unreadable:
        return False
    return True


def _update(tx: Tx, table: str, how: Resealed, changed: Sequence[tuple[Row, Values]]) -> None:
    """Write the new values into the rows."""
    sets = ", ".join(f"{name} = r.new_{name}" for name in how.columns)
    same = " AND ".join(f"{table}.{name} = r.{name}" for name in how.key)
    tx.run(f"UPDATE {table} SET {sets} FROM :rows AS r WHERE {same}", rows=_rows(how, changed))


def _move(tx: Tx, table: str, how: Resealed, changed: Sequence[tuple[Row, Values]]) -> None:
    """Replace the rows by new ones: a cluster does not change the column by which a table is distributed."""
    columns = list(placement.TABLES[table].columns)
    values = ", ".join(f"r.new_{name}" if name in how.columns else f"t.{name}" for name in columns)
    same = " AND ".join(f"t.{name} = r.{name}" for name in how.key)
    rows = _rows(how, changed)
    tx.run(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM :rows AS r JOIN {table} AS t ON {same}",
        rows=rows,
    )
    (key,) = how.key
    tx.run(f"DELETE FROM {table} WHERE {key} IN :gone", gone=Rows.of(key, [row[key] for row, _ in changed]))


def _rows(how: Resealed, changed: Sequence[tuple[Row, Values]]) -> Rows:
    kinds = how.key | {f"new_{name}": kind for name, kind in how.columns.items()}
    return Rows(
        kinds,
        [(*(row[name] for name in how.key), *(values[name] for name in how.columns)) for row, values in changed],
    )


def count(tx: Tx, table: str, up_to: Place | None = None) -> int:
    """How many rows a table has, in all or up to a place."""
    how = RESEALED[table]
    names = [f"last_{place}" for place in range(len(how.key))]
    chosen = f" WHERE ({', '.join(how.key)}) <= ({', '.join(f':{name}' for name in names)})" if up_to else ""
    values = dict(zip(names, up_to, strict=True)) if up_to else {}
    return int(tx.tuples(f"SELECT count(*) FROM {table}{chosen}", **values)[0][0])


def drop(tx: Tx) -> None:
    """Delete what cannot be found under another key, and is made anew by itself."""
    reports.forget_all(tx)


# ── a lost key ───────────────────────────────────────────────────────────────────────────────────────────────────────

# Tables of which the rows stay, without what was sealed in them.
KEPT = {"applications", "users"}
FORGOTTEN_AT_ONCE = 2_000
# Address books with what belongs to them. Phones upload them again.
BOOKS = ("books", "totals")
NO_BOOKS = (
    "UPDATE app_totals SET books = 0, contacts = 0, recounted_books = 0, recounted_contacts = 0",
    "UPDATE total_changes SET books = 0, contacts = 0",
)


def forget(tx: Tx) -> dict[str, int]:
    """Delete whatever only a lost key could open, and address books with it; return how many rows of each table."""
    gone = {table: tx.run(f"DELETE FROM {table}") for table in (*RESEALED, *BOOKS) if table not in KEPT}
    for statement in NO_BOOKS:
        tx.run(statement)
    _forget_profiles(tx)
    return gone
