"""Everything that is stored about one user.

everything    the account and all data of the user, ready for JSON
account       the account alone, as it is stored
details       its numbers, tags, sessions and subscriptions, as they are stored
connected     in how many address books the user is, and how many registered contacts the user has
holders       the users in whose address books the user is; `note_holders` records that an admin sees them
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from .. import errors, phone, times
from ..model import App, User
from ..preferences import clock
from ..push.transport import Cause
from ..store import books, discovered, resets, users
from ..store import user_record as store
from ..store.db import Database, Row, Tx
from . import applications, audit, delivery, discoverable, joined_lists, joined_texts, preferences
from .audit import Actor

TIMES = {"created_at", "updated_at", "last_request_at", "last_used_at", "expires_at", "synced_at"}
TIMES |= {"imported_at", "verified_at", "answered_at", "settled_at", "done_at"}
HIDES = Cause.CONTACT_HIDES.value  # such a push would say which contact hides from the user


@dataclass(frozen=True, slots=True)
class Details:
    """What a user has beside the account; each a list of rows, tags a list of texts."""

    numbers: list[Row]
    tags: list[str]
    sessions: list[Row]
    subscriptions: list[Row]


def everything(db: Database, user_id: int, *, by: Actor | None = None) -> dict[str, Any]:
    """What is stored about a user: times in ISO 8601, numbers as digits, contacts as they were typed.

    Passwords, session tokens and codes are stored only as hashes, and are not in it; push tokens are. Of numbers that
    were removed from a book, and of those that the user was told about, only a count is left. Raises NotFound.
    """
    found = _everything(db, user_id)
    audit.note(db, by, "user exported", app_id=found["application"]["id"], subject=f"user {user_id}")
    return found


def account(db: Database, user_id: int) -> Row | None:
    """The row of a user, with the application's id; None when there is no such user."""
    with db.read() as tx:
        return store.user(tx, user_id)


def details(db: Database, user_id: int) -> Details:
    """What a user has beside the account."""
    with db.read() as tx:
        return Details(
            numbers=store.numbers(tx, user_id),
            tags=store.tags(tx, user_id),
            sessions=store.sessions(tx, user_id),
            subscriptions=store.subscriptions(tx, user_id),
        )


MOST_HOLDERS = 10_000  # are counted
SHOWN_HOLDERS = 100


@dataclass(frozen=True, slots=True)
class Connected:
    """How many users hold a number of the user, up to `MOST_HOLDERS`; how many users the user finds in the books."""

    holders: int
    contacts: int


def connected(db: Database, app: App, user_id: int) -> Connected:
    """How a user is connected to others. It names nobody."""
    with db.read() as tx:
        holders = books.holders_of(tx, user_id, MOST_HOLDERS)
        return Connected(len(holders), books.count_registered(tx, user_id, discoverable.rules(app)))


def note_holders(db: Database, app: App, user_id: int, by: Actor) -> None:
    """Record that an admin is about to see in whose address books a user is."""
    audit.note(db, by, "holders revealed", app_id=app.id, subject=f"user {user_id}")


def holders(db: Database, app: App, user_id: int) -> list[User]:
    """The first users in whose address books a user is. The caller checks that the audit log has recorded it."""
    with db.read() as tx:
        ids = books.holders_of(tx, user_id, SHOWN_HOLDERS)
        found = users.by_ids(tx, app.id, ids) if ids else {}
    return [found[one] for one in ids if one in found]


def _everything(db: Database, user_id: int) -> dict[str, Any]:
    with db.read() as tx:
        user = store.user(tx, user_id)
        if not user:
            raise errors.NotFound(f"there is no user {user_id}")
        application = {"id": user.pop("app_id"), "name": user.pop("application")}
        flags = {name: bool(user[name]) for name in ("is_guest", "has_password", "as_imported")}
        return {
            "application": application,
            "user": _shown(user) | flags,
            "numbers": [_shown(row) for row in store.numbers(tx, user_id)],
            "tags": store.tags(tx, user_id),
            "preferences": _preferences(tx, user_id),
            "sessions": [_shown(row) for row in store.sessions(tx, user_id)],
            "address_books": _books(tx, user_id),
            "subscriptions": [_shown(row) for row in store.subscriptions(tx, user_id)],
            "removed_contacts": store.removed(tx, user_id),
            "codes": [_shown(row) for row in store.codes(tx, user_id)],
            "password_resets": [_shown(row) for row in resets.of_user(tx, user_id)],
            "pushes": _pushes(db, tx, user_id),
            "events": [_shown(row) for row in store.events(tx, user_id)],
            "joined": [_shown(row) for row in store.joined(tx, user_id)],
            "announced_contacts": store.announced(tx, user_id),
            "contact_joined": _who_joined(db, tx, application["id"], user_id),
        }


def _preferences(tx: Tx, user_id: int) -> dict[str, Any] | None:
    """What the user has chosen about joined pushes, and null for what is left to the application."""
    row = store.preferences(tx, user_id)
    if not row:
        return None
    start, end = row.pop("quiet")
    quiet = None if start is None else "none" if start < 0 else f"{clock(start)}-{clock(end)}"
    return row | {"quiet": quiet}


def _who_joined(db: Database, tx: Tx, app_id: int, user_id: int) -> list[dict[str, Any]]:
    """The list of who joined, as the user sees it."""
    app = applications.cached_within(db, tx, app_id)
    return [
        {
            "id": item.place,
            "user_id": item.user.id,
            "phone": item.user.phone,
            "name": item.name,
            "created_at": times.iso(item.at),
            "seen": item.seen,
        }
        for item in joined_lists.everything(tx, app, user_id)
    ]


PUSH_FIELDS = (
    *("id", "channel", "environment", "about_user_id", "message", "created_at", "attempts", "outcome", "reason"),
    "settled_at",
)


def _pushes(db: Database, tx: Tx, user_id: int) -> list[dict[str, Any]]:
    """The pushes to the user. Joined pushes that wait have the text that would be sent now."""
    rows = store.pushes(tx, user_id, HIDES)
    locale = preferences.rows_of(tx, [user_id]).get(user_id, {}).get("locale")
    waiting = [row for row in rows if row["settled_at"] is None or row["outcome"] == delivery.PARKED]
    composed = joined_texts.compose(db, tx, waiting, {row["id"]: locale for row in waiting} if locale else {})
    for row in rows:
        if payload := composed.get(row["id"]):
            row["message"] = msgspec.json.encode(payload).decode()
    return [_shown({name: row[name] for name in PUSH_FIELDS}) for row in rows]


def _books(tx: Tx, user_id: int) -> list[dict[str, Any]]:
    answered = discovered.of_owner(tx, user_id)
    return [_book(tx, user_id, row, answered.get(row["book"], {})) for row in store.books(tx, user_id)]


def _book(tx: Tx, user_id: int, row: Row, answered: dict[int, int]) -> dict[str, Any]:
    """A book, and which of its contacts the app has got as registered.

    answered   by user id: the number that the contact was found by
    """
    contacts = [
        {"phone": contact["typed"] or phone.digits(contact["number"]), "name": contact["name"]}
        for contact in store.contacts(tx, user_id, row["book"])
    ]
    found = [{"user_id": key, "phone": phone.digits(number)} for key, number in answered.items()]
    return _shown({"device": row["device"], "synced_at": row["synced_at"]}) | {
        "contacts": contacts,
        "discovered": found,
    }


def _shown(row: Row) -> dict[str, Any]:
    """A row with its times and numbers as people read them."""
    return {name: _value(name, value) for name, value in row.items()}


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "number":
        return phone.digits(value)
    return times.iso(value) if name in TIMES else value
