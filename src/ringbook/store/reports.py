"""Reports of uploads, by which the same upload is answered again without reading it; they are in the row of their book.

of_owner   the reports of each book, as far as they hold
of_rows    the same from rows that were read already
hold       whether a locked book has reports that hold
put        stores the reports of a book
synced     records that a book was uploaded again
forget     deletes the reports of an owner
forget_all deletes all reports

A book's reports hold for one version of it, and go with it.
"""

from collections.abc import Sequence
from typing import Any

from .db import Row, Tx

Books = list[tuple[int, int, bytes | None]]  # book, synced_at, reports
COLUMNS = "b.book, b.synced_at, b.reports, b.version, b.reported_version"


def of_owner(tx: Tx, owner_id: int) -> Books:
    """(book, synced_at, reports) of each book of an owner; reports that hold no longer are None.

    One statement, so that all of a book was true at one moment.
    """
    return of_rows(tx.tuples(f"SELECT {COLUMNS} FROM books AS b WHERE b.owner_id = :owner_id", owner_id=owner_id))


def of_rows(rows: Sequence[Sequence[Any]]) -> Books:
    """The same from rows of COLUMNS, in which a user without books is a row of NULLs."""
    return [(row[0], row[1], row[2] if row[3] == row[4] else None) for row in rows if row[0] is not None]


def hold(locked: Row) -> bool:
    """Does a book that `books.lock_book` has returned have reports that hold?"""
    return locked["reports"] is not None and locked["reported_version"] == locked["version"]


def put(tx: Tx, owner_id: int, locked: Row, alone: bytes, together: bytes) -> None:
    """Store the reports of a book. Nothing is stored for a book that is deleted already.

    locked     the book, as `books.lock_book` has returned it
    alone      the reports if the book has changed since then
    together   the reports if it has not
    """
    tx.run(
        "UPDATE books SET reports = CASE WHEN version = :version THEN :together ELSE :alone END,"
        " reported_version = version WHERE owner_id = :owner_id AND book = :book",
        owner_id=owner_id,
        book=locked["book"],
        version=locked["version"],
        alone=alone,
        together=together,
    )


def synced(tx: Tx, owner_id: int, book: int, now: int) -> None:
    """Record that the book was uploaded now."""
    tx.run(
        "UPDATE books SET synced_at = :now WHERE owner_id = :owner_id AND book = :book AND synced_at < :now",
        owner_id=owner_id,
        book=book,
        now=now,
    )


def forget(tx: Tx, owner_id: int) -> None:
    """Delete the owner's reports: each upload is read again."""
    tx.run("UPDATE books SET reports = NULL WHERE owner_id = :owner_id", owner_id=owner_id)


def forget_all(tx: Tx) -> None:
    """Delete all reports."""
    tx.run("UPDATE books SET reports = NULL WHERE reports IS NOT NULL")
