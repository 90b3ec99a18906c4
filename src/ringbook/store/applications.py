"""Applications. Their secrets, and the settings that may hold one, are sealed. Rows are returned with them opened.

insert, all_, by_id, by_auth_key      one row each
vapid_private_key                     what only the sender of Web Push reads
set_keys, set_settings, delete        changes
sealed, opened, sealed_settings, …    what is sealed in a row
stored_settings, start_over           new secrets after the key was lost
holds_numbers                         has anything been read by the application's region yet?
some_users, end_sessions, forget      what deleting an application takes along
"""

import base64
from typing import Any

import msgspec

from .. import errors
from ..app_settings import SETTINGS
from . import app_totals
from .db import Row, Tx

COLUMNS = "id, name, auth_key, auth_secret, hash_key, vapid_public_key, settings, created_at, verified_since"
# Secrets, and texts that the audit log does not quote because they may contain one, such as a key in an address.
SEALED_SETTINGS = [key for key, one in SETTINGS.items() if one.secret or (one.type is str and not one.quoted)]


def insert(
    tx: Tx,
    *,
    name: str,
    auth_key: str,
    auth_secret: str,
    hash_key: bytes,
    vapid: tuple[str, str],
    settings: str,
    now: int,
) -> int:
    """Add an application; `vapid` is its public and its private key for Web Push. Returns its id."""
    app_id = tx.next_id("application_ids")
    tx.run(
        "INSERT INTO applications (id, name, auth_key, auth_secret, hash_key, vapid_public_key, vapid_private_key,"
        " settings, created_at)"
        " VALUES (:id, :name, :auth_key, :auth_secret, :hash_key, :vapid_public_key, :vapid_private_key, :settings,"
        " :now)",
        id=app_id,
        name=name,
        auth_key=auth_key,
        auth_secret=sealed(tx, app_id, "auth_secret", auth_secret),
        hash_key=sealed(tx, app_id, "hash_key", hash_key.hex()),
        vapid_public_key=vapid[0],
        vapid_private_key=sealed(tx, app_id, "vapid_private_key", vapid[1]),
        settings=sealed_settings(tx, app_id, settings),
        now=now,
    )
    return app_id


def all_(tx: Tx) -> list[Row]:
    """Every application, oldest first."""
    return [_opened(tx, row) for row in tx.all(f"SELECT {COLUMNS} FROM applications ORDER BY created_at, id")]


def by_id(tx: Tx, app_id: int) -> Row | None:
    """One application."""
    row = tx.one(f"SELECT {COLUMNS} FROM applications WHERE id = :app_id", app_id=app_id)
    return _opened(tx, row) if row else None


def by_auth_key(tx: Tx, auth_key: str) -> Row | None:
    """The application with this authorization key."""
    row = tx.one(f"SELECT {COLUMNS} FROM applications WHERE auth_key = :auth_key", auth_key=auth_key)
    return _opened(tx, row) if row else None


def _opened(tx: Tx, row: Row) -> Row:
    """The row with its secrets and settings opened; errors.Unreadable."""
    app_id = row["id"]
    return row | {
        "auth_secret": opened(tx, app_id, "auth_secret", row["auth_secret"]),
        "hash_key": bytes.fromhex(opened(tx, app_id, "hash_key", row["hash_key"])),
        "settings": opened_settings(tx, app_id, row["settings"]),
    }


def sealed(tx: Tx, app_id: int, column: str, text: str) -> bytes:
    """A secret, sealed for a column."""
    return tx.seal.text(text, "applications", column, app_id)


def opened(tx: Tx, app_id: int, column: str, sealed: bytes) -> str:
    """The secret in a column; errors.Unreadable."""
    return tx.seal.open(sealed, "applications", column, app_id)


def sealed_settings(tx: Tx, app_id: int, settings: str) -> str:
    """The settings, a JSON object, with each text of SEALED_SETTINGS sealed by itself, as base64."""
    values: dict[str, Any] = msgspec.json.decode(settings)
    for key in SEALED_SETTINGS:
        if values.get(key):
            sealed = tx.seal.text(values[key], "applications", "settings", app_id, key)
            values[key] = base64.b64encode(sealed).decode()
    return msgspec.json.encode(values).decode()


def opened_settings(tx: Tx, app_id: int, settings: str) -> str:
    """The settings with their sealed texts opened; errors.Unreadable."""
    values: dict[str, Any] = msgspec.json.decode(settings)
    for key in SEALED_SETTINGS:
        if values.get(key):
            try:
                sealed = base64.b64decode(values[key], validate=True)
            except ValueError:
                raise errors.Unreadable("applications.settings") from None
            values[key] = tx.seal.open(sealed, "applications", "settings", app_id, key)
    return msgspec.json.encode(values).decode()


def regions(tx: Tx) -> dict[int, str]:
    """By application: the country whose national numbers its uploads may have; "" for none."""
    rows = tx.tuples("SELECT id, settings FROM applications")
    return {app_id: msgspec.json.decode(settings).get("default_region", "") for app_id, settings in rows}


def vapid_private_key(tx: Tx, app_id: int) -> str:
    """The private key for Web Push; "" when there is no such application."""
    row = tx.one("SELECT vapid_private_key FROM applications WHERE id = :app_id", app_id=app_id)
    return opened(tx, app_id, "vapid_private_key", row["vapid_private_key"]) if row else ""


def set_keys(tx: Tx, app_id: int, auth_key: str, auth_secret: str) -> int:
    """Replace both keys; return the number of applications changed."""
    return tx.run(
        "UPDATE applications SET auth_key = :auth_key, auth_secret = :auth_secret WHERE id = :app_id",
        app_id=app_id,
        auth_key=auth_key,
        auth_secret=sealed(tx, app_id, "auth_secret", auth_secret),
    )


def start_over(
    tx: Tx, app_id: int, settings: str, *, auth_secret: str, hash_key: bytes, vapid: tuple[str, str]
) -> None:
    """Replace all secrets, because the former ones cannot be opened; settings that are not sealed stay.

    settings   as they are stored
    """
    values: dict[str, Any] = msgspec.json.decode(settings)
    plain = {key: value for key, value in values.items() if key not in SEALED_SETTINGS}
    tx.run(
        "UPDATE applications SET auth_secret = :auth_secret, hash_key = :hash_key,"
        " vapid_public_key = :vapid_public_key, vapid_private_key = :vapid_private_key, settings = :settings"
        " WHERE id = :id",
        id=app_id,
        auth_secret=sealed(tx, app_id, "auth_secret", auth_secret),
        hash_key=sealed(tx, app_id, "hash_key", hash_key.hex()),
        vapid_public_key=vapid[0],
        vapid_private_key=sealed(tx, app_id, "vapid_private_key", vapid[1]),
        settings=msgspec.json.encode(plain).decode(),
    )


def stored_settings(tx: Tx) -> dict[int, str]:
    """The settings of every application as they are stored, by its id."""
    return dict(tx.tuples("SELECT id, settings FROM applications ORDER BY id"))


def set_name(tx: Tx, app_id: int, name: str) -> None:
    """Replace the name."""
    tx.run("UPDATE applications SET name = :name WHERE id = :app_id", name=name, app_id=app_id)


def set_settings(tx: Tx, app_id: int, settings: str) -> None:
    """Replace the settings."""
    sealed = sealed_settings(tx, app_id, settings)
    tx.run("UPDATE applications SET settings = :settings WHERE id = :app_id", app_id=app_id, settings=sealed)


def set_verified(tx: Tx, app_id: int, now: int) -> None:
    """Record when the application got its first verified number."""
    unset = "WHERE id = :app_id AND verified_since IS NULL"
    if tx.tuples(f"SELECT 1 FROM applications {unset}", app_id=app_id):
        tx.run(f"UPDATE applications SET verified_since = :now {unset}", app_id=app_id, now=now)


def holds_numbers(tx: Tx, app_id: int) -> bool:
    """Does the application have a phone number or a contact?"""
    found = tx.tuples("SELECT 1 FROM numbers WHERE app_id = :app_id LIMIT 1", app_id=app_id)
    return bool(found or tx.tuples("SELECT 1 FROM contacts WHERE app_id = :app_id LIMIT 1", app_id=app_id))


def some_users(tx: Tx, app_id: int, limit: int) -> list[int]:
    """Up to `limit` of the application's user ids."""
    rows = tx.tuples("SELECT id FROM users WHERE app_id = :app_id ORDER BY id LIMIT :limit", app_id=app_id, limit=limit)
    return [row[0] for row in rows]


def end_sessions(tx: Tx, app_id: int) -> None:
    """End every session of the application and of its users."""
    tx.run("DELETE FROM sessions WHERE app_id = :app_id", app_id=app_id)


def forget(tx: Tx, app_id: int) -> None:
    """Delete the application's sessions, signatures, statistics and totals, and the application."""
    end_sessions(tx, app_id)
    app_totals.forget(tx, app_id)
    for table in ("nonces", "codes", "daily", "activity", "refusals"):
        tx.run(f"DELETE FROM {table} WHERE app_id = :app_id", app_id=app_id)
    tx.run("DELETE FROM applications WHERE id = :app_id", app_id=app_id)
