"""Answers an upload that was applied before from a stored report, without reading its entries (decisions/0025).

    digest_of   names an upload: its body, and whatever else decides how it is read
    repeated    the report of an upload, if the book is still as that upload left it
    keep        stores the report of an upload for the next time
    doubted     deletes the reports of a user when a contact turns out to be damaged

Most uploads are the whole address book again, at each start of an app. Applying a body a second time changes nothing:
the book is then as the body wants it. So the answer to every further upload of it is known when it is applied for the
first time. It differs from the first answer: what was created is then updated, what was deleted is not there.
"""

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

import msgspec
from msgspec import Struct

from .. import errors, metrics, phone
from ..config import Limits
from ..model import Caller, Reason, Report
from ..seal import Seal
from ..store import reports as store
from ..store.db import Database, Tx
from . import stats
from .diff import SealedEntry

SYNC_SECONDS = 3600  # `books.synced_at` of a book that is only uploaded again is at most so much too early
MOST_BYTES = 1024  # the report of an upload with many rejected entries is longer, and is not stored
FEW = 100  # such an upload to a larger book is a change of some contacts, which is hardly sent twice


class _Stored(Struct, array_like=True, frozen=True):
    """A report as it is stored: `rejected` has the names of the reasons."""

    updated: int
    created: int = 0
    deleted: int = 0
    rejected: dict[int, list[str]] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode
_header = msgspec.msgpack.Encoder().encode


def digest_of(seal: Seal, limits: Limits, caller: Caller, body: bytes, content_type: str, query: bytes) -> bytes:
    """The keyed digest of an upload: of the body, and of what decides how it is read and by whom it is owned."""
    region = caller.app.settings.default_region
    read_with = (code(), caller.user_id, region, limits.max_upload_contacts, content_type, query)
    return seal.digest("report", _header(read_with), body)


@cache
def code() -> str:
    """The code and the libraries that read uploads. Other code may read a body in another way, so it starts anew."""
    hashed = blake2b(digest_size=16)
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        hashed.update(file.read_bytes())
    hashed.update(f"{phone.library()} {msgspec.__version__} {sys.version} {unicodedata.unidata_version}".encode())
    return hashed.hexdigest()


def repeated(db: Database, caller: Caller, digest: bytes, now: int) -> Report | None:
    """The report of an upload with this digest that would change nothing now; None if that is not known.

    Counts the upload as `discovery.upload` does.
    """
    with db.read() as tx:
        found = store.find(tx, caller.user_id, digest)
    if not found:
        return None
    book, stored, synced_at = found
    if now - synced_at >= SYNC_SECONDS:
        with db.write() as tx:
            store.synced(tx, caller.user_id, book, now)
    report = _report(stored)
    metrics.uploaded(report)
    stats.add(caller.app.id, "uploads", now)
    return report


def keep(
    tx: Tx,
    owner_id: int,
    book: int,
    entries: Sequence[SealedEntry],
    size: int,
    *,
    digest: bytes,
    rejected: dict[int, list[Reason]],
) -> None:
    """Store the report of an upload for the next time, in the transaction that applies it.

    size   of the book, after the upload
    """
    if len(entries) < FEW and 2 * len(entries) < size:
        return
    updated, created, deleted = second(entries)
    names = {position: [reason.name for reason in reasons] for position, reasons in rejected.items()}
    stored = _encode(_Stored(updated, created, deleted, names))
    if len(stored) <= MOST_BYTES:
        store.put(tx, owner_id, book, digest, stored.decode())


@contextmanager
def doubted(db: Database, owner_id: int) -> Iterator[None]:
    """When a contact does not open, the owner's next upload is read again, and replaces the contact."""
    try:
        yield
    except errors.Unreadable:
        with suppress(errors.Unavailable), db.write() as tx:
            store.forget(tx, owner_id)
        raise


def second(entries: Sequence[SealedEntry]) -> tuple[int, int, int]:
    """How many contacts are updated, created and deleted when entries are applied again, right after they were.

    The book then contains each number whose last entry is no removal.
    """
    last = dict(entries)
    if len(last) == len(entries) and None not in last.values():
        return len(entries), 0, 0
    updated = created = deleted = 0
    held = {number: sealed is not None for number, sealed in last.items()}
    for number, sealed in entries:
        is_held, held[number] = held[number], sealed is not None
        updated += is_held and held[number]
        created += not is_held and held[number]
        deleted += is_held and not held[number]
    return updated, created, deleted


def _report(stored: str) -> Report:
    found = _decode(stored)
    rejected = {position: [Reason[name] for name in names] for position, names in found.rejected.items()}
    return Report(found.created, found.updated, found.deleted, rejected)
