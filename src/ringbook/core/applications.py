"""Applications: their keys and settings.

first                                   application 1, made by the first start on an empty database
create, rename, rotate_keys, delete     one application
all_, get                               read from the database
cached, by_auth_key, known              read for a request, at most CACHE_SECONDS old
vapid_private_key                       what Web Push is signed with
change, change_all                      set one setting, or several; what each accepts stands in `settings.py`
has_more_users                          is the application too large to be deleted by a page?
has_settled_region                      may one of them not be changed any more?
"""

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .. import errors
from ..model import App, AppSettings
from ..store import applications as store
from ..store.db import Database, Row, Tx
from . import audit, settings, users
from .audit import Actor

CACHE_SECONDS = 3  # a change reaches every process within 5
BATCH = 100
UNKNOWN_APP = "No application found"

_cache: dict[tuple[int, object], tuple[float, App]] = {}


def first(db: Database, now: int) -> App | None:
    """Make application 1 unless there is an application; None when there is. Several processes may try at once."""
    keys = _keys()
    with db.write() as tx:
        tx.lock("first application")
        if store.all_(tx):
            return None
        app_id = store.insert(tx, name="My app", **keys, now=now)
    return get(db, app_id)


def create(db: Database, name: str, now: int, *, by: Actor | None = None) -> App:
    """Make an application with fresh keys."""
    _check_name(name)
    keys = _keys()
    with db.write() as tx:
        app_id = store.insert(tx, name=name.strip(), **keys, now=now)
        audit.record(tx, by, "application created", app_id=app_id, detail=name.strip())
    return get(db, app_id)


def all_(db: Database) -> list[App]:
    """Every application, oldest first."""
    with db.read() as tx:
        return [_app(row) for row in store.all_(tx)]


def get(db: Database, app_id: int) -> App:
    """One application; NotFound names the command that lists them."""
    with db.read() as tx:
        return _there(tx, app_id)


def cached(db: Database, app_id: int) -> App:
    """One application, for a request."""
    return _remembered(db, app_id, lambda: get(db, app_id))


def by_auth_key(db: Database, auth_key: str) -> App:
    """The application that a CB-AuthKey header names; Unauthorized when it names none."""

    def read() -> App:
        with db.read() as tx:
            row = store.by_auth_key(tx, auth_key)
        if not row:
            raise errors.Unauthorized("Unauthorized")
        return _app(row)

    return _remembered(db, auth_key, read)


def known(db: Database, auth_key: str) -> App | None:
    """The application that a key names, if this process has just read it; nothing is asked for it."""
    found = _cache.get((id(db), auth_key))
    return found[1] if found else None


def vapid_private_key(db: Database, app_id: int) -> str:
    """The application's private key for Web Push, as base64url."""
    with db.read() as tx:
        return store.vapid_private_key(tx, app_id)


def named(db: Database, app_id: int | None, auth_key: str | None) -> App:
    """The application that both its id and its key name, as opening a session asks for."""
    try:
        app = by_auth_key(db, auth_key or "")
    except errors.Unauthorized:
        raise errors.Invalid(UNKNOWN_APP) from None
    if app.id != app_id:
        raise errors.Invalid(UNKNOWN_APP)
    return app


def rename(db: Database, app_id: int, name: str, *, by: Actor | None = None) -> App:
    """Give the application another name, which only admins see."""
    _check_name(name)
    with db.write() as tx:
        before = _there(tx, app_id).name
        store.set_name(tx, app_id, name.strip())
        audit.record(tx, by, "application renamed", app_id=app_id, detail=f"{before} → {name.strip()}")
    return get(db, app_id)


def rotate_keys(db: Database, app_id: int, *, by: Actor | None = None) -> App:
    """Give the application new keys; the old ones stop working within CACHE_SECONDS."""
    keys = _keys()
    with db.write() as tx:
        store.set_keys(tx, app_id, keys["auth_key"], keys["auth_secret"])
        audit.record(tx, by, "keys rotated", app_id=app_id)
    return get(db, app_id)


def has_more_users(db: Database, app_id: int, count: int) -> bool:
    """Does the application have more users than `count`?"""
    with db.read() as tx:
        return len(store.some_users(tx, app_id, count + 1)) > count


def delete(
    db: Database, app_id: int, progress: Callable[[int], None] = lambda deleted: None, *, by: Actor | None = None
) -> int:
    """Remove the application and all its users, one transaction each; how many users that were.

    progress   called with the number of users deleted so far
    """
    name = rotate_keys(db, app_id).name
    with db.write() as tx:
        store.end_sessions(tx, app_id)  # nobody signs up any more
        audit.record(tx, by, "application deletion began", app_id=app_id, detail=name)
    deleted = 0
    while True:
        with db.read() as tx:
            ids = store.some_users(tx, app_id, BATCH)
        if not ids:
            break
        for user_id in ids:
            users.erase(db, user_id)
            deleted += 1
            progress(deleted)
    with db.write() as tx:
        store.forget(tx, app_id)
        audit.record(tx, by, "application deleted", app_id=app_id, detail=f"{name}, with {deleted} users")
    return deleted


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def change(db: Database, app_id: int, key: str, value: str, *, by: Actor | None = None) -> App:
    """Set one setting from its text; Invalid says what the setting accepts."""
    return change_all(db, app_id, {key: value}, by=by)


def change_all(db: Database, app_id: int, values: Mapping[str, str], *, by: Actor | None = None) -> App:
    """Set several settings from their texts, all or none; Invalid names the first that does not accept its text."""
    for key in values:
        if key not in AppSettings.__struct_fields__:
            known = ", ".join(AppSettings.__struct_fields__)
            raise errors.Invalid(f"there is no setting {key}; there are {known}", field=key)
    read = {key: settings.read(key, value) for key, value in values.items()}
    with db.write() as tx:
        tx.lock(f"settings {app_id}")  # two changes at once: the later one sees the earlier one
        before = _there(tx, app_id).settings
        wanted = msgspec.structs.replace(before, **read)
        if wanted.default_region != before.default_region and store.holds_numbers(tx, app_id):
            reason = "cannot change any more: the numbers of this application were read with the old one"
            raise errors.Invalid(reason, field="default_region")
        if wanted != before:
            store.set_settings(tx, app_id, msgspec.json.encode(wanted).decode())
        for key in sorted(read):
            if getattr(before, key) != read[key]:
                told = settings.told(key, getattr(before, key), read[key])
                audit.record(tx, by, "setting changed", app_id=app_id, subject=key, detail=told)
    return get(db, app_id)


def has_settled_region(db: Database, app_id: int) -> bool:
    """Can the default region not be changed any more?"""
    with db.read() as tx:
        return store.holds_numbers(tx, app_id)


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _remembered(db: Database, key: object, read: Callable[[], App]) -> App:
    known = _cache.get((id(db), key))
    if known and time.monotonic() - known[0] < CACHE_SECONDS:
        return known[1]
    app = read()
    _cache[id(db), key] = time.monotonic(), app
    return app


def _there(tx: Tx, app_id: int) -> App:
    row = store.by_id(tx, app_id)
    if not row:
        raise errors.NotFound(f"there is no application {app_id}; `ringbook app list` shows those there are")
    return _app(row)


def _app(row: Row) -> App:
    settings = msgspec.json.decode(row["settings"], type=AppSettings)
    return App(**{**row, "settings": settings, "hash_key": bytes(row["hash_key"])})


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise errors.Invalid("must have 1 to 100 characters, on one line", field="name")


def _keys() -> dict[str, Any]:
    return {
        "auth_key": secrets.token_hex(12),
        "auth_secret": secrets.token_hex(20),
        "hash_key": secrets.token_bytes(32),
        "vapid": _vapid_keys(),
        "settings": msgspec.json.encode(AppSettings()).decode(),
    }


def _vapid_keys() -> tuple[str, str]:
    """A P-256 key pair, public and private, as base64url without padding (RFC 8292 §3.2)."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    number = private.private_numbers().private_value.to_bytes(32)
    return _base64url(point), _base64url(number)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
