"""Answers an upload that was applied before from a stored report, without reading its entries (decisions/0025).

    digest_of   names an upload: its body, and whatever else decides how it is read
    repeated    the report of an upload, if the book is still as that upload left it; …_in_loop: for the event loop
    kept        what is stored of an upload for the next time
    doubted     deletes the reports of a user when a contact turns out to be damaged

Most uploads are the whole address book again, at each start of an app. Applying a body a second time changes nothing:
the book is then as the body wants it. So the answer to every further upload of it is known when it is applied for the
first time. It differs from the first answer: what was created is then updated, what was deleted is not there.
"""

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

import msgspec

from .. import errors, metrics, phone
from ..config import Limits
from ..model import Caller, Reason, Report
from ..seal import Seal
from ..store import reports as store
from ..store.db import Database, Row
from . import stats
from .entries import Entries
from .prepared import Prepared

SYNC_SECONDS = 3600  # `books.synced_at` of a book that is only uploaded again is at most so much too early
MOST_BYTES = 1024  # of a book's reports; one of an upload with many rejected entries is longer, and is not stored
REJECTED_BYTES = 8  # or more, for each rejected entry
FEW = 100  # such an upload to a larger book is a change of some contacts, which is hardly sent twice

# As it is stored: digest, updated, created, deleted, and the names of the reasons by position.
Stored = tuple[bytes, int, int, int, dict[int, list[str]]]
Books = store.Books
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Stored]).decode


def digest_of(seal: Seal, limits: Limits, caller: Caller, body: bytes, content_type: str, query: bytes) -> bytes:
    """The keyed digest of an upload: of the body, and of what decides how it is read and by whom it is owned."""
    region = caller.app.settings.default_region
    read_with = (code(), caller.user_id, region, limits.max_upload_contacts, content_type, query)
    return seal.digest("report", _encode(read_with), body)


@cache
def code() -> str:
    """The code and the libraries that read uploads. Other code may read a body in another way, so it starts anew."""
    hashed = blake2b(digest_size=16)
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        hashed.update(file.read_bytes())
    hashed.update(f"{phone.library()} {msgspec.__version__} {sys.version} {unicodedata.unidata_version}".encode())
    return hashed.hexdigest()


def repeated(db: Database, caller: Caller, digest: bytes, now: int, books: Books | None = None) -> Report | None:
    """The report of an upload with this digest that would change nothing now; None if that is not known.

    books   what `sessions.current_with_reports` has found while the upload arrived; None: it is read now

    Counts the upload as `discovery.upload` does.
    """
    if books is None:
        with db.read() as tx:
            books = store.of_owner(tx, caller.user_id)
    book, report = _repeated(books, digest)
    if book and now - book.synced_at >= SYNC_SECONDS:
        with db.write() as tx:
            store.synced(tx, caller.user_id, book.book, now)
    return report and _counted(caller, report, now)


def repeated_in_loop(caller: Caller, digest: bytes, now: int, books: Books) -> Report | None:
    """The same without a statement; None also where it takes one to store that the book was uploaded."""
    book, report = _repeated(books, digest)
    return _counted(caller, report, now) if book and report and now - book.synced_at < SYNC_SECONDS else None


def _repeated(books: Books, digest: bytes) -> tuple[store.Book, Report] | tuple[None, None]:
    """The report of this digest, and the book that has it."""
    for one in books:
        if one.reports and digest in one.reports and (report := _found(one.reports, digest)):
            return one, report
    return None, None


def _counted(caller: Caller, report: Report, now: int) -> Report:
    metrics.uploaded(report)
    stats.add(caller.app.id, "uploads", now)
    return report


def kept(locked: Row, sent: Prepared, size: int, digest: bytes, *, new: int, changed: bool) -> bytes | None:
    """What the book's row keeps of this upload and of earlier ones, for the next time; None if it stays as it is.

    locked    the book, as the upload found it
    size      of the book, after the upload
    new       how many contacts the upload adds
    changed   does the upload change the book? Earlier reports hold no longer then
    """
    entries, rejected = len(sent.entries) + sent.held, sent.rejected
    if (entries < FEW and 2 * entries < size) or len(rejected) * REJECTED_BYTES > MOST_BYTES:
        return None
    reasons = {place: [one.name for one in why] for place, why in rejected.items()}
    # Where each entry has added a contact, no number is named twice and none is removed.
    updated, created, deleted = (new, 0, 0) if new == len(sent.entries) else second(sent.entries)
    report: Stored = (digest, updated + sent.held, created, deleted, reasons)
    alone = _encode([report])
    if len(alone) > MOST_BYTES:
        return None
    return _together(report, locked) if store.hold(locked) and not changed else alone


def _together(report: Stored, locked: Row) -> bytes:
    """The report before those of the book, without the oldest ones that have no room."""
    held: list[Stored] = []
    # Other code may have stored them in another form.
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        held = _decode(locked["reports"])
    reports = [report, *(one for one in held if one[0] != report[0])]
    while len(encoded := _encode(reports)) > MOST_BYTES:
        reports.pop()
    return encoded


def _found(stored: bytes, digest: bytes) -> Report | None:
    """The report with this digest among those of a book. None if the reports are damaged: the upload is read again."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        for name, updated, created, deleted, rejected in _decode(stored):
            if name == digest:
                reasons = {place: [Reason[one] for one in why] for place, why in rejected.items()}
                return Report(created, updated, deleted, reasons)
    return None


@contextmanager
def doubted(db: Database, owner_id: int) -> Iterator[None]:
    """When a contact does not open, the owner's next upload is read again, and replaces the contact."""
    try:
        yield
    except errors.Unreadable:
        with suppress(errors.Unavailable), db.write() as tx:
            store.forget(tx, owner_id)
        raise


def second(entries: Entries) -> tuple[int, int, int]:
    """How many contacts are updated, created and deleted when entries are applied again, right after they were.

    The book then contains each number whose last entry is no removal.
    """
    if entries.are_apart():
        return len(entries), 0, 0  # the common upload, which names no number twice and removes none
    is_held = {number: text is not None for number, _, text in entries}
    updated = created = deleted = 0
    for number, _, text in entries:
        after = text is not None
        before, is_held[number] = is_held[number], after
        updated += before and after
        created += after and not before
        deleted += before and not after
    return updated, created, deleted
