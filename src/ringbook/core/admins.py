"""Admins: who may see and steer the server. There is one role.

create, reset_password    each gives a new random password back, which is stored only as a hash
"""

import secrets

from .. import errors
from ..store import admins as store
from ..store.db import Database
from . import audit, passwords
from .audit import Actor


def create(db: Database, email: str, now: int, *, by: Actor | None = None) -> str:
    """Add an admin; Conflict when there is one with this e-mail."""
    name, at, domain = email.strip().partition("@")
    if not (name and at and domain):
        raise errors.Invalid("must be an e-mail address", field="email")
    password = secrets.token_urlsafe(15)
    hash_ = passwords.hashed(password)
    with db.write() as tx:
        if not store.insert(tx, email.strip().lower(), hash_, now):
            raise errors.Conflict(f"{email} is an admin already", field="email")
        audit.record(tx, by, "admin created", subject=email.strip().lower())
    return password


def reset_password(db: Database, email: str, *, by: Actor | None = None) -> str:
    """Give an admin a new password."""
    password = secrets.token_urlsafe(15)
    hash_ = passwords.hashed(password)
    with db.write() as tx:
        if not store.set_password(tx, email.strip().lower(), hash_):
            raise errors.NotFound(f"there is no admin {email}")
        audit.record(tx, by, "admin's password reset", subject=email.strip().lower())
    return password
