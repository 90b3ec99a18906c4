"""Reports of uploads, by which the same upload is answered again without reading it; they are in the row of their book.

of_owner   each book with its reports, as far as they hold
of_rows    the same from rows that were read already
hold       whether a locked book has reports that hold
put        stores the reports of a book
synced     records that a book was uploaded again
forget     deletes the reports of an owner
forget_all deletes all reports

A book's reports hold for one version of it, and go with it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .db import Row, Tx


class Book(NamedTuple):
    """A book of an owner. `reports` is None where they hold no longer."""

    book: int
    synced_at: int
    reports: bytes | None
    device: str
    size: int
    version: int


Books = list[Book]
COLUMNS = "b.book, b.synced_at, b.reports, b.device, b.size, b.version, b.reported_version"


def of_owner(tx: Tx, owner_id: int) -> Books:
    """The books of an owner with their reports. One statement, so that all of a book was true at one moment."""
    return of_rows(tx.tuples(f"SELECT {COLUMNS} FROM books AS b WHERE b.owner_id = :owner_id", owner_id=owner_id))


def of_rows(rows: Sequence[Sequence[Any]]) -> Books:
    """The same from rows of COLUMNS, in which a user without books is a row of NULLs."""
    return [
        Book(book, synced_at, reports if version == reported_version else None, device, size, version)
        for book, synced_at, reports, device, size, version, reported_version in rows
        if book is not None
    ]


def hold(locked: Row) -> bool:
    """Does a book that `books.lock_book` has returned have reports that hold?"""
    return locked["reports"] is not None and locked["reported_version"] == locked["version"]


def put(tx: Tx, owner_id: int, book: int, reports: bytes) -> None:
    """Store the reports of a book that does not change (`books.set_book`). The book must be locked."""
    tx.run(
        "UPDATE books SET reports = :reports, reported_version = version WHERE owner_id = :owner_id AND book = :book",
        owner_id=owner_id,
        book=book,
        reports=reports,
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
