"""Reports of uploads, by which the same upload is answered again without reading it.

find     the report of an upload, if its book is still as that upload left it
put      the report of an upload to a book
synced   that a book was uploaded again
forget   deletes the reports of an owner

A book has at most SLOTS reports: a report replaces another one of its slot. Each is valid for one version of its book.
A book that is deleted takes its reports with it (`books.py`), because a new book begins with version 0.
"""

from .db import Tx

SLOTS = 4


def find(tx: Tx, owner_id: int, digest: bytes) -> tuple[int, str, int] | None:
    """The book, the report and the book's `synced_at`. One statement, so that all of it was true at one moment."""
    rows = tx.tuples(
        "SELECT r.book, r.report, b.synced_at FROM reports AS r"
        " JOIN books AS b ON b.owner_id = r.owner_id AND b.book = r.book"
        " WHERE r.owner_id = :owner_id AND r.slot = :slot AND r.digest = :digest AND r.version = b.version",
        owner_id=owner_id,
        slot=digest[0] % SLOTS,
        digest=digest,
    )
    return rows[0] if rows else None


def put(tx: Tx, owner_id: int, book: int, digest: bytes, report: str) -> None:
    """Store a report for a book as it is now. Nothing is stored for a book that is deleted already.

    The book's row must be locked.
    """
    tx.run(
        "INSERT INTO reports (owner_id, slot, book, digest, version, report)"
        " SELECT b.owner_id, :slot, b.book, :digest, b.version, :report FROM books AS b"
        " WHERE b.owner_id = :owner_id AND b.book = :book"
        " ON CONFLICT (owner_id, slot, book)"
        " DO UPDATE SET digest = excluded.digest, version = excluded.version, report = excluded.report",
        owner_id=owner_id,
        slot=digest[0] % SLOTS,
        book=book,
        digest=digest,
        report=report,
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
    tx.run("DELETE FROM reports WHERE owner_id = :owner_id", owner_id=owner_id)
