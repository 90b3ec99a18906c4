"""Everything that is stored about one user, without password hashes and session tokens.

user                                     the account
numbers, tags, sessions                  what stands beside it
preferences                              what the user has chosen about joined pushes
books, contacts                          the address books
subscriptions, codes, removed            where pushes go, codes under way, numbers removed lately
pushes, joined, announced                what was sent to the user and told about them, and of how many they were told
"""

from ..profile_fields import FIELDS
from . import numbers as _numbers
from . import preferences as _preferences
from . import profiles
from . import pushes as _pushes
from .codes import with_number
from .db import Row, Tx, ids
from .subscriptions import opened as _opened_subscription

EXPORTED = ", ".join(f"u.{name}" for name in profiles.READ if name not in FIELDS or FIELDS[name].exported)
PROFILE = (
    f"u.id, u.app_id, a.name AS application, {EXPORTED}, u.firebase_uid, u.cidp_uid,"
    " u.is_guest, u.created_at, u.updated_at,"
    " (SELECT s.last_request_at FROM seen AS s WHERE s.user_id = :id) AS last_request_at, u.imported_at, u.as_imported,"
    " CASE WHEN u.password_hash IS NULL THEN 0 ELSE 1 END AS has_password"
)


def user(tx: Tx, user_id: int) -> Row | None:
    """The account, with the application's name."""
    if not ids.possible([user_id]):
        return None
    row = tx.one(
        f"SELECT {PROFILE} FROM users AS u JOIN applications AS a ON a.id = u.app_id WHERE u.id = :id", id=user_id
    )
    return profiles.opened(tx, row) if row else None


def numbers(tx: Tx, user_id: int) -> list[Row]:
    """The user's numbers, and when they were verified."""
    rows = tx.tuples("SELECT app_id, number, digits, verified_at FROM numbers WHERE user_id = :id", id=user_id)
    found = [{"number": _numbers.opened(tx, "numbers", *row[:3]), "verified_at": row[3]} for row in rows]
    return sorted(found, key=lambda row: row["number"])


def tags(tx: Tx, user_id: int) -> list[str]:
    """The user's tags, folded."""
    return [row[0] for row in tx.tuples("SELECT tag FROM tags WHERE user_id = :id ORDER BY tag", id=user_id)]


def preferences(tx: Tx, user_id: int) -> Row | None:
    """What the user has chosen about joined pushes."""
    row = _preferences.of_user(tx, user_id)
    if not row:
        return None
    start, end = row.pop("quiet_from"), row.pop("quiet_to")
    return row | {
        "announce": _preferences.audience(row["announce"]),
        "discoverable": _preferences.audience(row["discoverable"]),
        "notify": bool(row["notify"]),
        "quiet": [start, end],
    }


def sessions(tx: Tx, user_id: int) -> list[Row]:
    """The open sessions."""
    return tx.all(
        "SELECT id, created_at, last_used_at, expires_at FROM sessions WHERE user_id = :id ORDER BY created_at, id",
        id=user_id,
    )


def books(tx: Tx, user_id: int) -> list[Row]:
    """The address books, the global one first."""
    return tx.all(
        "SELECT book, device, synced_at FROM books WHERE owner_id = :id AND synced_at > 0 ORDER BY book", id=user_id
    )


def contacts(tx: Tx, user_id: int, book: int) -> list[Row]:
    """The contacts of a book, in upload order."""
    rows = tx.tuples(
        "SELECT app_id, owner_id, book, number, sealed FROM contacts WHERE owner_id = :id AND book = :book"
        " ORDER BY seq, number",
        id=user_id,
        book=book,
    )
    opened = (tx.seal.open_contact(*row) for row in rows)
    return [{"number": number, "name": name, "typed": typed} for number, name, typed in opened]


def subscriptions(tx: Tx, user_id: int) -> list[Row]:
    """The push subscriptions, with their tokens and keys."""
    rows = tx.all(
        "SELECT id, app_id, user_id, device, platform, channel, environment, bundle, token, web_auth, web_p256dh,"
        " locale, created_at, updated_at FROM subscriptions WHERE user_id = :id ORDER BY created_at, id",
        id=user_id,
    )
    shown = [_opened_subscription(tx, row) for row in rows]
    return [{key: value for key, value in row.items() if key != "user_id"} for row in shown]


def codes(tx: Tx, user_id: int) -> list[Row]:
    """One-time codes for the user's verified numbers. An unverified number may belong to somebody else."""
    rows = tx.all(
        "SELECT c.app_id, c.number, c.digits, c.typed, c.created_at, c.expires_at, c.attempts, c.answered_at"
        " FROM numbers AS n JOIN codes AS c ON c.app_id = n.app_id AND c.number = n.number WHERE n.user_id = :id"
        " AND n.verified_at IS NOT NULL",
        id=user_id,
    )
    found = [with_number(tx, row) for row in rows]
    for row in found:
        del row["app_id"]
    return sorted(found, key=lambda row: row["number"])


def removed(tx: Tx, user_id: int) -> int:
    """The number of contacts removed in the last 30 days."""
    return int(tx.tuples("SELECT COUNT(*) FROM removed WHERE owner_id = :id", id=user_id)[0][0])


def pushes(tx: Tx, user_id: int, without: str) -> list[Row]:
    """Pushes to the user, sent or waiting; with their text only while they wait.

    A joined push has the keyed number of a contact in its place.

    without   the cause of pushes that are left out
    """
    rows = tx.all(
        "SELECT id, user_id, app_id, channel, environment, about_user_id, event_id, message, number, digest,"
        " created_at, attempts, outcome, reason, settled_at FROM pushes"
        " WHERE user_id = :id AND COALESCE(cause, '') <> :without ORDER BY created_at, id",
        id=user_id,
        without=without,
    )
    waiting = [row for row in rows if row["outcome"] in (None, _pushes.PARKED)]
    event_ids = sorted({row["event_id"] for row in waiting if row["event_id"] is not None})
    texts = _pushes.texts(tx, event_ids) if event_ids else {}
    for row in waiting:
        row["message"] = _pushes.message(tx, row) or texts.get(row["event_id"])
    return rows


def events(tx: Tx, user_id: int) -> list[Row]:
    """Events that the user has sent, as long as they are kept."""
    return tx.all(
        "SELECT id, environment, channel, created_at, expires_at FROM sent_events WHERE user_id = :id"
        " ORDER BY created_at, id",
        id=user_id,
    )


def joined(tx: Tx, user_id: int) -> list[Row]:
    """Joined pushes about the user to others, sent or waiting."""
    rows = tx.all(
        "SELECT id, app_id, number, digits, verified, created_at, done_at, result FROM joined WHERE user_id = :id"
        " ORDER BY created_at, id",
        id=user_id,
    )
    for row in rows:
        app_id, digits = row.pop("app_id"), row.pop("digits")
        if digits is not None:
            row["number"] = _numbers.opened(tx, "joined", app_id, row["number"], digits)
    return rows


def announced(tx: Tx, user_id: int) -> int:
    """The number of contacts of whose joining the user was notified."""
    return int(tx.tuples("SELECT COUNT(*) FROM announced WHERE owner_id = :id", id=user_id)[0][0])
