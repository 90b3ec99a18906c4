"""Which registered contacts of a book were answered to requests with a cursor, one row for each book that has any.

Discovered     the row: the contacts, each with the generation in which it was added
of_book        the row of a book
put            stores it, unless another request has changed it
of_owner       all of an owner, for an export
opened, sealed its contacts
forget_all     deletes all rows: every cursor is then unknown
"""

from contextlib import suppress

import msgspec
from msgspec import Struct

from .. import errors
from .db import Row, Tx

# By generation: by the user's id, the number that the contact was found by.
Generations = dict[int, dict[int, int]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Generations).decode


class Discovered(Struct, frozen=True, kw_only=True):
    """What was answered from a book; of a book that was never asked so, `incarnation` is None.

    generations   the contacts; empty where the row does not open
    readable      does it?
    """

    book: int
    incarnation: int | None = None
    generation: int = 0
    generations: Generations = {}
    readable: bool = True


def of_book(tx: Tx, owner_id: int, device: str) -> Discovered | None:
    """What was answered from the book of a device; None where there is no such book."""
    row = tx.one(
        "SELECT b.book, b.app_id, d.incarnation, d.generation, d.sealed FROM books AS b LEFT JOIN discovered AS d"
        " ON d.owner_id = b.owner_id AND d.book = b.book WHERE b.owner_id = :owner_id AND b.device = :device",
        owner_id=owner_id,
        device=device,
    )
    if not row:
        return None
    if row["incarnation"] is None:
        return Discovered(book=row["book"])
    known = Discovered(book=row["book"], incarnation=row["incarnation"], generation=row["generation"])
    try:
        return msgspec.structs.replace(known, generations=opened(tx, row | {"owner_id": owner_id}))
    except errors.Unreadable:
        return msgspec.structs.replace(known, readable=False)


def put(tx: Tx, app_id: int, owner_id: int, known: Discovered, new: Discovered) -> bool:
    """Store what was answered from a book; False when the book is gone, or when it is no longer as it was known.

    The book is locked: otherwise a row could remain of a book that is deleted at this moment.
    """
    locked = tx.run(
        "UPDATE books SET synced_at = synced_at WHERE owner_id = :owner_id AND book = :book",
        owner_id=owner_id,
        book=new.book,
    )
    values = {
        "owner_id": owner_id,
        "book": new.book,
        "incarnation": new.incarnation,
        "generation": new.generation,
        "sealed": sealed(tx, app_id, owner_id, new.book, new.generations),
    }
    if known.incarnation is None:
        return (
            locked
            == 1
            == tx.run(
                "INSERT INTO discovered (owner_id, book, app_id, incarnation, generation, sealed)"
                " VALUES (:owner_id, :book, :app_id, :incarnation, :generation, :sealed)"
                " ON CONFLICT (owner_id, book) DO NOTHING",
                app_id=app_id,
                **values,
            )
        )
    return (
        locked
        == 1
        == tx.run(
            "UPDATE discovered SET incarnation = :incarnation, generation = :generation, sealed = :sealed"
            " WHERE owner_id = :owner_id AND book = :book"
            " AND incarnation = :known_incarnation AND generation = :known_generation",
            known_incarnation=known.incarnation,
            known_generation=known.generation,
            **values,
        )
    )


def of_owner(tx: Tx, owner_id: int) -> dict[int, dict[int, int]]:
    """By book: the contacts that were answered, with their numbers. Without rows that do not open."""
    rows = tx.all("SELECT owner_id, book, app_id, sealed FROM discovered WHERE owner_id = :owner_id", owner_id=owner_id)
    found: dict[int, dict[int, int]] = {}
    for row in rows:
        with suppress(errors.Unreadable):
            found[row["book"]] = {key: number for one in opened(tx, row).values() for key, number in one.items()}
    return found


def sealed(tx: Tx, app_id: int, owner_id: int, book: int, generations: Generations) -> bytes:
    """The contacts as the row holds them."""
    return tx.seal.content(_encode(generations), "discovered", "sealed", app_id, owner_id, book)


def opened(tx: Tx, row: Row) -> Generations:
    """The contacts in a row with app_id, owner_id, book and sealed; errors.Unreadable."""
    place = row["app_id"], row["owner_id"], row["book"]
    return _decode(tx.seal.open_content(row["sealed"], "discovered", "sealed", *place))


def forget_all(tx: Tx) -> None:
    """Delete all rows."""
    tx.run("DELETE FROM discovered")
