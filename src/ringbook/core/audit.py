"""The audit log: who changed or revealed what, when, and from where.

    Actor, ACTIONS   who does it; all that is ever recorded
    record, of_user  in the transaction of the change: there is no change without its entry, and no entry without it
    note             what changes nothing in the database, such as a log-in or a reveal; before it is answered
    page             the newest first
    sweep            forget old entries

What an admin does, in the dashboard or by a command, is handed to core with `by=`; what people and time do of
themselves has nobody there, and is not recorded. An entry holds ids, names of settings and masked numbers: never a
secret, a number, or a name from a book.
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
    "admin removed",
    "admin's password reset",
    "application created",
    "application deleted",
    "application deletion began",
    "application renamed",
    "contacts revealed",
    "import began",
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
    "users imported",
]
ACTIONS: tuple[Action, ...] = get_args(Action)


class Actor(Struct, frozen=True):
    """Somebody who looks after the server.

    admin     the e-mail, or COMMAND_LINE
    address   where the request came from; "" for a command
    at        when, in UTC seconds
    """

    admin: str
    address: str
    at: int


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the log; `app_id` is None for what belongs to no application."""

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
    """Write down what somebody does in this transaction; nothing when nobody is named.

    subject   what it is done to, such as "user 7"
    detail    in words; what is longer than LONGEST_DETAIL characters is cut
    """
    if by:
        plain = "".join(sign if sign.isprintable() else " " for sign in detail)[:LONGEST_DETAIL]
        store.insert(tx, by.at, app_id, by.admin, by.address, action, subject, plain)


def of_user(tx: Tx, by: Actor | None, action: Action, user_id: int, detail: str = "") -> None:
    """Write down what somebody does to a user in this transaction, before the user is erased; nothing without one."""
    app_id = users.app_of(tx, user_id) if by else None
    if app_id is not None:
        record(tx, by, action, app_id=app_id, subject=f"user {user_id}", detail=detail)


def note(
    db: Database, by: Actor | None, action: Action, *, app_id: int | None = None, subject: str = "", detail: str = ""
) -> None:
    """Write down what somebody is about to be shown, or has done elsewhere; nothing when nobody is named."""
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
    """Up to `limit` entries older than the one with the id `before`, the newest first; what is given must be equal."""
    wanted = {"app_id": app_id or "", "admin": admin, "action": action, "subject": subject}
    with db.read() as tx:
        rows = store.page(tx, before, limit, **{name: value for name, value in wanted.items() if value})
    return [Entry(**row) for row in rows]


def sweep(db: Database, before: int, batch: int = 500) -> int:
    """Forget up to `batch` entries from before then; how many that were."""
    with db.write() as tx:
        return store.sweep(tx, before, batch)
