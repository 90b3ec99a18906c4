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
from typing import Any

from ..profile_fields import FIELDS, Field, fold
from ..seal import Place
from .db import Row, Tx

VALUES: dict[str, type] = {name: kind for field in FIELDS.values() for name, kind in field.values.items()}
COLUMNS: dict[str, type] = {name: kind for field in FIELDS.values() for name, kind in field.columns.items()}
READ = list(dict.fromkeys(name for key, field in FIELDS.items() for name in (key, field.sealed_column) if name))
UNIQUE = {key: field for key, field in FIELDS.items() if field.unique}
SEALED = [field for field in FIELDS.values() if field.sealed]


def sealed(tx: Tx, app_id: int, user_id: int, values: Mapping[str, Any]) -> Row:
    """The columns to write for values of a user; names that are of no sealed field stay as they are.

    values   by name; a sealed field comes with its folded form and its flag (`Field.values`)
    """
    row = dict(values)
    for field in SEALED:
        if field.key in row:
            _seal(tx, app_id, user_id, field, row)
    return row


def _seal(tx: Tx, app_id: int, user_id: int, field: Field, row: Row) -> None:
    text, folded = row[field.key], row.pop(field.folded_key, None)
    private = row.pop(field.private_key, 0)
    if field.keyed_column:
        row[field.keyed_column] = None if folded is None else found_by(tx, app_id, field, folded)
    hides = text is not None and (private or field.sealed == "always")
    if field.sealed == "if private":
        row[field.key] = None if hides else text
        row[field.folded_key] = None if hides else folded
    row[field.sealed_column] = tx.seal.text(text, *_place(field, app_id, user_id)) if hides else None


def opened(tx: Tx, row: Row) -> Row:
    """A row of a user, changed: clear values in place of sealed columns. errors.Unreadable.

    row   id, app_id, and for each sealed field that is asked for the columns of `READ`
    """
    for field in SEALED:
        column = field.sealed_column
        content = row[column] if column == field.key else row.pop(column)
        if content is not None:
            row[field.key] = tx.seal.open(content, *_place(field, row["app_id"], row["id"]))
    return row


def opened_values(tx: Tx, row: Row) -> Row:
    """The same with all `Field.values`: also the folded forms and the flags."""
    flags = {field.private_key: int(row[field.sealed_column] is not None) for field in SEALED if field.private_key}
    row = opened(tx, row) | flags
    for field in SEALED:
        if field.folded_key:
            row[field.folded_key] = row[field.key] and fold(row[field.key])
    return row


def found_by(tx: Tx, app_id: int, field: Field, value: Any) -> Any:
    """A value, in the form in which the field is compared, as `Field.found_column` holds it."""
    return tx.seal.lookup(f"users.{field.key}", app_id, value) if field.keyed_column else value


def _place(field: Field, app_id: int, user_id: int) -> tuple[Place, ...]:
    return "users", field.sealed_column, app_id, user_id
