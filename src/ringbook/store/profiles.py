"""Profiles as the table `users` holds them: phones, e-mails and private logins are sealed.

    VALUES, COLUMNS          what `core/` reads and writes, in clear; the columns of `users` that hold it
    READ                     the columns from which `opened` makes a profile
    UNIQUE                   the fields that no two users of an application share
    sealed                   values → columns
    opened, opened_values    columns → values
    found_by                 a value as the column holds it by which users are found

A sealed text is bound to its column, the application and the user's id, so the id is drawn before the text is sealed.
Beside a unique field stands the keyed value of its folded text: by it users are found, and it is unique. Users are
found by their phones in the table `numbers`. `profile_fields.py` declares which fields are sealed.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..profile_fields import FIELDS, Field, fold
from .db import Row, Tx

VALUES: dict[str, type] = {name: kind for field in FIELDS.values() for name, kind in field.values.items()}
COLUMNS: dict[str, type] = {name: kind for field in FIELDS.values() for name, kind in field.columns.items()}
READ = list(dict.fromkeys(name for key, field in FIELDS.items() for name in (key, field.sealed_column) if name))
UNIQUE = {key: field for key, field in FIELDS.items() if field.unique}


class _Sealed(NamedTuple):
    """The names of a sealed field, computed once; `Field` explains them. `column` is `sealed_column`."""

    key: str
    column: str
    folded_key: str
    private_key: str
    keyed_column: str
    purpose: str


SEALED = [
    _Sealed(key, one.sealed_column, one.folded_key, one.private_key, one.keyed_column, f"users.{key}")
    for key, one in FIELDS.items()
    if one.sealed
]


def sealed(tx: Tx, app_id: int, user_id: int, values: Mapping[str, Any]) -> Row:
    """The columns to write for values of a user; names that are of no sealed field stay as they are.

    values   by name; a sealed field comes with its folded form and its flag (`Field.values`)
    """
    row = dict(values)
    for one in SEALED:
        if one.key in row:
            _seal(tx, app_id, user_id, one, row)
    return row


def _seal(tx: Tx, app_id: int, user_id: int, one: _Sealed, row: Row) -> None:
    text, folded = row[one.key], row.pop(one.folded_key, None)
    hides = text is not None and (not one.private_key or bool(row.get(one.private_key)))
    if one.keyed_column:
        row[one.keyed_column] = None if folded is None else tx.seal.lookup(one.purpose, app_id, folded)
    if one.private_key:
        row.pop(one.private_key, None)
        row[one.key], row[one.folded_key] = (None, None) if hides else (text, folded)
    row[one.column] = tx.seal.text(text, "users", one.column, app_id, user_id) if hides else None


def opened(tx: Tx, row: Row) -> Row:
    """A row of a user, changed: clear values in place of sealed columns. errors.Unreadable.

    row   id, app_id, and the columns of `READ` of all sealed fields
    """
    for one in SEALED:
        content = row[one.column] if one.column == one.key else row.pop(one.column)
        if content is not None:
            row[one.key] = tx.seal.open(content, "users", one.column, row["app_id"], row["id"])
    return row


def opened_values(tx: Tx, row: Row) -> Row:
    """The same with all `Field.values`: also the folded forms and the flags."""
    flags = {one.private_key: int(row[one.column] is not None) for one in SEALED if one.private_key}
    row = opened(tx, row) | flags
    for one in SEALED:
        if one.folded_key:
            row[one.folded_key] = row[one.key] and fold(row[one.key])
    return row


def found_by(tx: Tx, app_id: int, field: Field, value: Any) -> Any:
    """A value, in the form in which the field is compared, as `Field.found_column` holds it."""
    return tx.seal.lookup(f"users.{field.key}", app_id, value) if field.keyed_column else value
