"""The audit log: which admin changed or revealed what, when, and from which address.

    Actor, ACTIONS   the admin who acts; all actions
    record, of_user  record an action in the transaction of its change, so that neither is stored without the other
    note             records an action that changes nothing, such as revealing a number, in its own transaction
    page             entries, the newest first
    sweep            deletes old entries

The dashboard and the commands pass the admin to core as `by=`. Requests of apps and periodic jobs pass no admin and
are not recorded. An entry contains ids, names of settings and masked numbers, but no secret, no whole number, and no
name from an address book.
"""

from typing import Literal, get_args

from msgspec import Struct

from ..store import audit as store
from ..store import users
from ..store.db import Database, Tx

COMMAND_LINE = "command line"
LONGEST_DETAIL = 500
NEWEST = 2**63 - 1

Action = Literal[
    "admin created",
    "admin invited",
    "admin removed",
    "admin's password reset",
    "admin's role changed",
    "application created",
    "application deleted",
    "application deletion began",
    "application renamed",
    "contacts revealed",
    "holders revealed",
    "import began",
    "invitation withdrawn",
    "key changed",
    "key forgotten",
    "keys rotated",
    "log-in refused",
    "logged in",
    "logged out",
    "number given",
    "number looked for",
    "number revealed",
    "password changed",
    "pushes retried",
    "secret shown",
    "sessions ended",
    "setting changed",
    "test push sent",
    "user erased",
    "user exported",
    "user's password reset",
    "users exported",
    "users imported",
]
ACTIONS: tuple[Action, ...] = get_args(Action)


class Actor(Struct, frozen=True):
    """An admin who acts.

    admin     the e-mail, or COMMAND_LINE
    address   the address of the request; "" for a command
    at        the time, in UTC seconds
    """

    admin: str
    address: str
    at: int


class Entry(Struct, frozen=True, kw_only=True):
    """An entry of the log. `app_id` is None when the action concerns no application."""

    id: int
    at: int
    app_id: int | None
    admin: str
    address: str
    action: str
    subject: str
    detail: str


def record(
    tx: Tx, by: Actor | None, action: Action, *, app_id: int | None = None, subject: str = "", detail: str = ""
) -> None:
    """Record an action in this transaction; nothing when `by` is None.

    subject   what the action is done to, such as "user 7"
    detail    a text, which is cut after LONGEST_DETAIL characters
    """
    if by:
        plain = "".join(sign if sign.isprintable() else " " for sign in detail)[:LONGEST_DETAIL]
        store.insert(tx, by.at, app_id, by.admin, by.address, action, subject, plain)


def of_user(tx: Tx, by: Actor | None, action: Action, user_id: int, detail: str = "") -> None:
    """Record an action on a user in this transaction; nothing when `by` is None or there is no such user.

    Call it before the user is erased: it reads the user's application.
    """
    app_id = users.app_of(tx, user_id) if by else None
    if app_id is not None:
        record(tx, by, action, app_id=app_id, subject=f"user {user_id}", detail=detail)


def note(
    db: Database, by: Actor | None, action: Action, *, app_id: int | None = None, subject: str = "", detail: str = ""
) -> None:
    """Record an action in a transaction of its own, before its result is shown; nothing when `by` is None."""
    if by:
        with db.write() as tx:
            record(tx, by, action, app_id=app_id, subject=subject, detail=detail)


def page(
    db: Database,
    limit: int,
    *,
    before: int = NEWEST,
    app_id: int | None = None,
    admin: str = "",
    action: str = "",
    subject: str = "",
) -> list[Entry]:
    """Up to `limit` entries older than the entry `before`, the newest first, filtered by the values that are given."""
    filters = {"app_id": app_id or "", "admin": admin, "action": action, "subject": subject}
    with db.read() as tx:
        rows = store.page(tx, before, limit, **{name: value for name, value in filters.items() if value})
    return [Entry(**row) for row in rows]


def sweep(db: Database, before: int, batch: int = 500) -> int:
    """Delete up to `batch` entries older than `before`. Returns how many."""
    with db.write() as tx:
        return store.sweep(tx, before, batch)
