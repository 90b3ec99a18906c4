"""Applications: their keys and settings.

first                                   creates application 1 at the first start with an empty database
create, rename, rotate_keys, delete     change one application
all_, get                               read from the database
cached, cached_within, by_auth_key, by_id_and_key
                                        read for a request, at most CACHE_SECONDS old
from_cache, in_cache                    the same, without reading the database
vapid_private_key                       the key that signs Web Push requests
change, change_all, store_settings      change settings, from texts or from values
has_more_users                          says whether the application is too large to be deleted by a page
has_settled_region                      says whether default_region can no longer be changed
"""

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .. import errors
from ..app_settings import AppSettings
from ..model import App
from ..store import applications as store
from ..store.db import Database, Row, Tx
from . import audit, joined, settings, users
from .audit import Actor

CACHE_SECONDS = 3  # a change reaches every process within 5
BATCH = 100
UNKNOWN_APP = "No application found"

_settings = msgspec.json.Decoder(AppSettings)  # made at import, as tests/test_decoders.py explains
_cache: dict[tuple[int, object], tuple[float, App]] = {}


def first(db: Database, now: int) -> App | None:
    """Create application 1; None if there is an application already. Several processes may call it at once."""
    keys = _keys()
    with db.write() as tx:
        tx.lock("first application")
        if store.all_(tx):
            return None
        app_id = store.insert(tx, name="My app", **keys, now=now)
    return get(db, app_id)


def create(db: Database, name: str, now: int, *, by: Actor | None = None) -> App:
    """Create an application with new keys."""
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
    """One application; NotFound names the command that lists the applications."""
    with db.read() as tx:
        return _stored(tx, app_id)


def cached(db: Database, app_id: int) -> App:
    """One application, at most CACHE_SECONDS old."""
    return _cached(db, app_id, lambda: get(db, app_id))


def in_cache(db: Database, app_id: int) -> App | None:
    """The same, as long as the database need not be read for it; else None."""
    found = _cache.get((id(db), app_id))
    return found[1] if found and time.monotonic() - found[0] < CACHE_SECONDS else None


def cached_within(db: Database, tx: Tx, app_id: int) -> App:
    """The same, read in this transaction where it is not in the cache."""
    return _cached(db, app_id, lambda: _stored(tx, app_id))


def by_auth_key(db: Database, auth_key: str) -> App:
    """The application that has this auth key (header CB-AuthKey); Unauthorized if there is none."""

    def read() -> App:
        with db.read() as tx:
            row = store.by_auth_key(tx, auth_key)
        if not row:
            raise errors.Unauthorized("Unauthorized")
        return _app(row)

    return _cached(db, auth_key, read)


def from_cache(db: Database, auth_key: str) -> App | None:
    """The application that has this auth key, if it is in this process's cache; the database is not read."""
    found = _cache.get((id(db), auth_key))
    return found[1] if found else None


def vapid_private_key(db: Database, app_id: int) -> str:
    """The application's private key for Web Push, as base64url."""
    with db.read() as tx:
        return store.vapid_private_key(tx, app_id)


def by_id_and_key(db: Database, app_id: int | None, auth_key: str | None) -> App:
    """The application that has both this id and this auth key; Invalid if there is none. For opening a session."""
    try:
        app = by_auth_key(db, auth_key or "")
    except errors.Unauthorized:
        raise errors.Invalid(UNKNOWN_APP) from None
    if app.id != app_id:
        raise errors.Invalid(UNKNOWN_APP)
    return app


def rename(db: Database, app_id: int, name: str, *, by: Actor | None = None) -> App:
    """Rename an application. Only admins see the name."""
    _check_name(name)
    with db.write() as tx:
        before = _stored(tx, app_id).name
        store.set_name(tx, app_id, name.strip())
        audit.record(tx, by, "application renamed", app_id=app_id, detail=f"{before} → {name.strip()}")
    return get(db, app_id)


def rotate_keys(db: Database, app_id: int, *, by: Actor | None = None) -> App:
    """Replace the keys of an application; the old keys stop working within CACHE_SECONDS."""
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
    """Delete an application and its users, each in a transaction of its own. Returns the number of users.

    progress   called with the number of users deleted so far
    """
    name = rotate_keys(db, app_id).name
    with db.write() as tx:
        store.end_sessions(tx, app_id)  # so that no user can sign up any more
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


def change(db: Database, app_id: int, key: str, text: str, *, by: Actor | None = None) -> App:
    """Change one setting; Invalid says what the setting accepts."""
    return change_all(db, app_id, {key: text}, by=by)


def change_all(db: Database, app_id: int, texts: Mapping[str, str], *, by: Actor | None = None) -> App:
    """Change several settings, all or none; Invalid names the first one whose text is not accepted."""
    return store_settings(db, app_id, {key: settings.read(key, text) for key, text in texts.items()}, by=by)


def store_settings(db: Database, app_id: int, values: Mapping[str, Any], *, by: Actor | None = None) -> App:
    """Store values of settings that `settings.read` returned, and note each change in the audit log.

    Raises Invalid for `default_region` once the application has numbers.
    """
    with db.write() as tx:
        tx.lock(f"settings {app_id}")  # of two changes at the same time, the second one sees the first one's result
        app = _stored(tx, app_id)
        before = app.settings
        after = msgspec.structs.replace(before, **values)
        if after.default_region != before.default_region and store.holds_numbers(tx, app_id):
            reason = "cannot change any more: the numbers of this application were read with the old one"
            raise errors.Invalid(reason, field="default_region")
        if after != before:
            store.set_settings(tx, app_id, msgspec.json.encode(after).decode())
        if _announce(before) != _announce(after):
            joined.default_changed(tx, app_id)
        for key in sorted(values):
            if getattr(before, key) != values[key]:
                text = settings.change_text(key, getattr(before, key), values[key])
                audit.record(tx, by, "setting changed", app_id=app_id, subject=key, detail=text)
    return msgspec.structs.replace(app, settings=after)


def _announce(settings: AppSettings) -> tuple[str, str, bool]:
    """What decides who is told of users who have not chosen."""
    found = settings.contact_joined_announce, settings.contact_joined_discoverable
    return *found, settings.contact_joined_choice


def has_settled_region(db: Database, app_id: int) -> bool:
    """Has the application numbers, so that its default region can no longer be changed?"""
    with db.read() as tx:
        return store.holds_numbers(tx, app_id)


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cached(db: Database, key: object, read: Callable[[], App]) -> App:
    found = _cache.get((id(db), key))
    if found and time.monotonic() - found[0] < CACHE_SECONDS:
        return found[1]
    app = read()
    _cache[id(db), key] = time.monotonic(), app
    return app


def _stored(tx: Tx, app_id: int) -> App:
    row = store.by_id(tx, app_id)
    if not row:
        raise errors.NotFound(f"there is no application {app_id}; `ringbook app list` shows those there are")
    return _app(row)


def _app(row: Row) -> App:
    settings = _settings.decode(row["settings"])
    return App(**{**row, "settings": settings, "hash_key": bytes(row["hash_key"])})


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise errors.Invalid("must have 1 to 100 characters, on one line", field="name")


def start_over(tx: Tx) -> None:
    """Give every application new secrets, because the key that opened the former ones is lost.

    Its auth key stays, and so do the settings that hold no secret.
    """
    for app_id, stored in store.stored_settings(tx).items():
        keys = _keys()
        store.start_over(
            tx, app_id, stored, auth_secret=keys["auth_secret"], hash_key=keys["hash_key"], vapid=keys["vapid"]
        )


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
