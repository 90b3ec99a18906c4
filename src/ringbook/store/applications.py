"""Applications.

insert, all_, by_id, by_auth_key      one row each
vapid_private_key                     what only the sender of Web Push reads
set_keys, set_settings, delete        changes
holds_numbers                         has anything been read by the application's region yet?
some_users, end_sessions, forget      what deleting an application takes along
"""

from . import app_totals
from .db import Row, Tx

COLUMNS = "id, name, auth_key, auth_secret, hash_key, vapid_public_key, settings, created_at, verified_since"


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
        auth_secret=auth_secret,
        hash_key=hash_key,
        vapid_public_key=vapid[0],
        vapid_private_key=vapid[1],
        settings=settings,
        now=now,
    )
    return app_id


def all_(tx: Tx) -> list[Row]:
    """Every application, oldest first."""
    return tx.all(f"SELECT {COLUMNS} FROM applications ORDER BY created_at, id")


def by_id(tx: Tx, app_id: int) -> Row | None:
    """One application."""
    return tx.one(f"SELECT {COLUMNS} FROM applications WHERE id = :app_id", app_id=app_id)


def by_auth_key(tx: Tx, auth_key: str) -> Row | None:
    """The application with this authorization key."""
    return tx.one(f"SELECT {COLUMNS} FROM applications WHERE auth_key = :auth_key", auth_key=auth_key)


def vapid_private_key(tx: Tx, app_id: int) -> str:
    """The private key for Web Push; "" when there is no such application."""
    row = tx.one("SELECT vapid_private_key FROM applications WHERE id = :app_id", app_id=app_id)
    return row["vapid_private_key"] if row else ""


def set_keys(tx: Tx, app_id: int, auth_key: str, auth_secret: str) -> int:
    """Replace both keys; return the number of applications changed."""
    return tx.run(
        "UPDATE applications SET auth_key = :auth_key, auth_secret = :auth_secret WHERE id = :app_id",
        app_id=app_id,
        auth_key=auth_key,
        auth_secret=auth_secret,
    )


def set_name(tx: Tx, app_id: int, name: str) -> None:
    """Replace the name."""
    tx.run("UPDATE applications SET name = :name WHERE id = :app_id", name=name, app_id=app_id)


def set_settings(tx: Tx, app_id: int, settings: str) -> None:
    """Replace the settings."""
    tx.run("UPDATE applications SET settings = :settings WHERE id = :app_id", app_id=app_id, settings=settings)


def set_verified(tx: Tx, app_id: int, now: int) -> None:
    """Record when the application got its first verified number."""
    tx.run(
        "UPDATE applications SET verified_since = :now WHERE id = :app_id AND verified_since IS NULL",
        app_id=app_id,
        now=now,
    )


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
    for table in ("nonces", "codes", "daily", "refusals"):
        tx.run(f"DELETE FROM {table} WHERE app_id = :app_id", app_id=app_id)
    tx.run("DELETE FROM applications WHERE id = :app_id", app_id=app_id)
