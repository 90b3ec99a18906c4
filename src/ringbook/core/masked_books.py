"""Address books as an admin sees them: sizes and masked contacts. Revealing a contact writes to the audit log.

books_of(db, user_id)   the books of a user
masked(db, …)           a page of masked contacts of a book
contact(db, …)          one contact, revealed, with an entry in the audit log
"""

from msgspec import Struct

from .. import errors, phone
from ..model import Contact
from ..store import books as store
from ..store.db import Database, Row
from . import audit
from .audit import Actor


class Shown(Struct, frozen=True, kw_only=True):
    """A contact. `place` identifies it within its book and reveals nothing; `is_whole` means that nothing is masked."""

    place: int
    phone: str
    name: str
    is_whole: bool = False


def books_of(db: Database, user_id: int) -> list[Row]:
    """The books of a user: book, device, size and synced_at."""
    with db.read() as tx:
        return store.of_owner(tx, user_id)


def masked(db: Database, user_id: int, book: int, after: int, limit: int) -> list[Shown]:
    """Up to `limit` masked contacts after a place, in upload order."""
    with db.read() as tx:
        return [_masked(one) for one in store.page(tx, user_id, book, after, limit)]


def contact(db: Database, user_id: int, book: int, place: int, by: Actor) -> Shown:
    """One contact, revealed, with an entry in the audit log; NotFound when the book no longer contains it."""
    with db.write() as tx:
        found = store.page(tx, user_id, book, place - 1, 1)
        if not found or found[0].seq != place:
            raise errors.NotFound("The book does not hold this contact any more: it has just been uploaded anew.")
        one = found[0]
        audit.of_user(tx, by, "contacts revealed", user_id, f"{phone.masked(one.number)} of book {book}")
    return Shown(place=place, phone=one.typed or phone.digits(one.number), name=one.name, is_whole=True)


def _masked(one: Contact) -> Shown:
    return Shown(place=one.seq, phone=phone.masked(one.number), name=initials(one.name))


def initials(name: str) -> str:
    """The first letters of a name: enough to tell rows apart, too few to identify a person."""
    return " ".join(f"{word[0]}…" for word in name.split()[:3])
