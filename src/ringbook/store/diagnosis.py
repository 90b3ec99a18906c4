"""Stored data about one user and one number, to explain why a contact is not found.

in_books, alike    the number in the user's books; other numbers there that end alike
synced             the user's books
told, removed      when the user was told of the number; whether the user has removed it lately
facts, pushes      what was to be told about other users; the user's pushes about them
"""

from collections.abc import Sequence

from . import buckets, numbers
from .db import Row, Rows, Tx
from .pushes import SHOWN

ALIKE = 10**7  # the last seven digits


def in_books(tx: Tx, app_id: int, owner_id: int, number: int) -> list[Row]:
    """The owner's books that contain the number: device, synced_at, name, typed."""
    keyed = numbers.keyed(tx, app_id, number)
    rows = tx.all(
        "SELECT b.book, b.device, b.synced_at, c.sealed FROM books AS b"
        " JOIN contacts AS c ON c.owner_id = b.owner_id AND c.book = b.book"
        " WHERE b.owner_id = :owner_id AND c.number = :keyed ORDER BY b.book",
        owner_id=owner_id,
        keyed=keyed,
    )
    for row in rows:
        opened = tx.seal.open_contact(app_id, owner_id, row.pop("book"), keyed, row.pop("sealed"))
        _, row["name"], row["typed"] = opened
    return rows


def alike(tx: Tx, app_id: int, owner_id: int, number: int, limit: int) -> list[int]:
    """Other numbers in the owner's books with the same last digits: perhaps the same, read otherwise.

    Opens every contact of the owner, of whom there are at most `max_user_contacts`.
    """
    rows = tx.tuples("SELECT book, number, sealed FROM contacts WHERE owner_id = :owner_id", owner_id=owner_id)
    found = {tx.seal.open_contact(app_id, owner_id, *row)[0] for row in rows}
    return sorted(one for one in found if one % ALIKE == number % ALIKE and one != number)[:limit]


def synced(tx: Tx, owner_id: int) -> list[Row]:
    """The owner's books: device, size, synced_at."""
    return tx.all(
        "SELECT device, size, synced_at FROM books WHERE owner_id = :owner_id ORDER BY book", owner_id=owner_id
    )


def told(tx: Tx, app_id: int, owner_id: int, number: int) -> Row | None:
    """When the owner was notified of the number, whether it was verified then, and the digest that it belongs to."""
    return tx.one(
        "SELECT at, verified, digest FROM announced WHERE owner_id = :owner_id AND number = :keyed",
        owner_id=owner_id,
        keyed=numbers.keyed(tx, app_id, number),
    )


def removed(tx: Tx, app_id: int, owner_id: int, number: int, since: int) -> bool:
    """Did the owner remove the number from a book since a time?"""
    return bool(buckets.removed_among(tx, owner_id, [numbers.keyed(tx, app_id, number)], since))


def holders(tx: Tx, app_id: int, number: int) -> list[Row]:
    """The users with this number: user_id, verified_at, created_at, imported_at."""
    return tx.all(
        "SELECT n.user_id, n.verified_at, u.created_at, u.imported_at FROM numbers AS n"
        " JOIN users AS u ON u.id = n.user_id WHERE n.app_id = :app_id AND n.number = :number ORDER BY n.user_id",
        app_id=app_id,
        number=numbers.keyed(tx, app_id, number),
    )


def facts(tx: Tx, user_ids: Sequence[int]) -> list[Row]:
    """The stored facts about these users, newest first; `result` is None while they wait."""
    return tx.all(
        "SELECT user_id, created_at, verified, due_at, armed, result FROM joined WHERE user_id IN :ids"
        " ORDER BY created_at DESC, id DESC",
        ids=Rows.of("id", user_ids),
    )


def pushes(tx: Tx, user_id: int, about: Sequence[int], digest: int | None, limit: int) -> list[Row]:
    """The user's stored joined pushes about these users, or of this digest, newest first."""
    return tx.all(
        f"SELECT {SHOWN} FROM pushes WHERE user_id = :user_id AND (about_user_id IN :about OR digest = :digest)"
        " AND joined_id IS NOT NULL AND subscription_id > 0 ORDER BY created_at DESC, id DESC LIMIT :limit",
        user_id=user_id,
        about=Rows.of("id", about),
        digest=digest or 0,
        limit=limit,
    )
