"""What a session of an admin is answered once.

    begun, finished, cancelled    a form that carries a nonce is carried out once; sent again, it leads to the same page
    keep, shown                   a text that the next page shows, such as a secret: its row is deleted when it is shown

A row is found by a hash of the session's token and the nonce, so that no other session can ask for it. The text in it
is sealed.
"""

import hashlib
import secrets

from ..store import admin_answers as store
from ..store.db import Database
from .admins import Login

FORM_SECONDS = 86_400
SECRET_SECONDS = 600
UNFINISHED = ""


def begun(db: Database, login: Login, nonce: str, now: int) -> bool:
    """Record that a form is carried out. False when it was sent already."""
    with db.write() as tx:
        return store.insert(tx, _name(login, "form", nonce), UNFINISHED, now + FORM_SECONDS)


def finished(db: Database, login: Login, nonce: str, goes_to: str) -> None:
    """Record the page to which a form led."""
    with db.write() as tx:
        store.change(tx, _name(login, "form", nonce), goes_to)


def cancelled(db: Database, login: Login, nonce: str, now: int) -> None:
    """Forget a form that changed nothing: it may be sent again."""
    with db.write() as tx:
        store.take(tx, _name(login, "form", nonce), now)


def led_to(db: Database, login: Login, nonce: str, now: int) -> str | None:
    """The page to which a form led; UNFINISHED while it is carried out, and when its process has died.

    None when it was not sent, or was cancelled.
    """
    with db.read() as tx:
        return store.read(tx, _name(login, "form", nonce), now)


def keep(db: Database, login: Login, text: str, now: int, *, kind: str = "secret") -> str:
    """Keep a text for a page of this session. Returns the nonce by which `shown` finds it, for the same kind."""
    nonce = secrets.token_urlsafe(16)
    with db.write() as tx:
        store.insert(tx, _name(login, kind, nonce), text, now + SECRET_SECONDS)
    return nonce


def shown(db: Database, login: Login, nonce: str, now: int, *, kind: str = "secret") -> str | None:
    """The text, which is deleted; None when it was shown, has expired, or belongs to another session."""
    with db.write() as tx:
        return store.take(tx, _name(login, kind, nonce), now)


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Delete up to `batch` expired answers. Returns how many."""
    with db.write() as tx:
        return store.sweep(tx, now, batch)


def _name(login: Login, kind: str, nonce: str) -> bytes:
    text = f"{kind} {login.token} {nonce}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
