"""Texts in addresses of the dashboard: a browser's history and a proxy's log must not show a phone or an e-mail.

sealed(db, purpose, app_id, text)    the text as a part of an address; the same text gives the same address
opened(db, purpose, app_id, part)    the text; None for a part that was not made here with the key in use
"""

import base64
import binascii

from .. import errors
from ..store.db import Database

LONGEST = 1_000  # characters of a text


def sealed(db: Database, purpose: str, app_id: int, text: str) -> str:
    """A text as a part of an address. A longer text is cut."""
    content = db.seal.text(text[:LONGEST], "address", purpose, app_id)
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def opened(db: Database, purpose: str, app_id: int, part: str) -> str | None:
    """The text in a part of an address."""
    try:
        content = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        return db.seal.open(content, "address", purpose, app_id)
    except (errors.Unreadable, binascii.Error, ValueError):
        return None
