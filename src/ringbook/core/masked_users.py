"""Users as an admin whose role is viewer sees them: without phones and e-mails, in whichever field they are.

text(value)    a text whose phones and e-mails are masked
row(row)       the same for a row of `user_record.account`
user(user)     the same for a user of a list
"""

import re

import msgspec

from ..model import User
from ..profile_fields import FIELDS
from ..store.db import Row
from . import privacy

ALWAYS = ("phone", "email")
MASKED = (*FIELDS, "firebase_uid", "cidp_uid")  # an identity provider may name users by their e-mail
NUMBER = re.compile(r"\+?\d(?:[^\w@]{0,3}\d){6,}")  # at least privacy.SHORTEST digits
# Of the part before the @ as many characters as it may have: without a bound, a long text would take quadratic time.
ADDRESS = re.compile(r"[^\s<>()\[\]{}\"',;:@\uff20\ufe6b]{0,64}[@\uff20\ufe6b][^\s<>()\[\]{}\"',;:]*")


def text(value: str) -> str:
    """A text whose phones become `…42` and whose e-mails become `a…@…`."""
    value = ADDRESS.sub(lambda found: f"{found[0][0].replace('@', '')}…@…", value)
    return NUMBER.sub(lambda found: _tail(found[0]), value)


def row(row: Row) -> Row:
    """A row of a user, with masked values."""
    return row | {name: _shown(name, row[name]) for name in MASKED if row.get(name) is not None}


def user(user: User) -> User:
    """A user with masked values."""
    return msgspec.structs.replace(user, **{name: _shown(name, getattr(user, name)) for name in FIELDS})


def _shown(name: str, value: object) -> object:
    """A value of a field. A whole number stays one unless it reads like a phone, as an app's own id may."""
    if value is None or isinstance(value, bool):
        return value
    written = str(value)
    if name in ALWAYS or privacy.is_private(written):
        shown = text(written)
        return shown if shown != written else _tail(written)
    return text(written) if isinstance(value, str) else value


def _tail(written: str) -> str:
    """The last two digits."""
    return "…" + "".join([sign for sign in written if sign.isdecimal()][-2:])
