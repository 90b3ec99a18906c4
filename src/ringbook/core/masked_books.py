"""Address books as an admin sees them: sizes and masked contacts. Revealing a contact writes to the audit log.

books_of(db, user_id)   the books of a user
masked(db, …)           a page of masked contacts of a book
reveal(db, …)           one contact, revealed, with an entry in the audit log
contact(db, …)          the same contact again, for the page that follows
registered(db, …)       which contacts of a page are users
"""

from msgspec import Struct

from .. import errors, phone
from ..model import App, Contact
from ..store import books as store
from ..store.db import Database, Row, Tx
from . import audit
from .audit import Actor

FIRST = store.BEFORE_ALL


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
    """Up to `limit` masked contacts after a place, in upload order; from the first one after FIRST."""
    with db.read() as tx:
        return [_masked(one) for one in store.page(tx, user_id, book, after, limit)]


def reveal(db: Database, user_id: int, book: int, place: int, by: Actor) -> Shown:
    """One contact, revealed, with an entry in the audit log; NotFound when the book no longer contains it."""
    with db.write() as tx:
        one = _at(tx, user_id, book, place)
        audit.of_user(tx, by, "contacts revealed", user_id, f"{phone.masked(one.number)} of book {book}")
    return _whole(one)


def contact(db: Database, user_id: int, book: int, place: int) -> Shown:
    """One contact, revealed. The caller checks that the audit log has recorded it. Raises NotFound."""
    with db.read() as tx:
        return _whole(_at(tx, user_id, book, place))


def _at(tx: Tx, user_id: int, book: int, place: int) -> Contact:
    found = store.page(tx, user_id, book, place - 1, 1)
    if not found or found[0].seq != place:
        raise errors.NotFound("The book does not hold this contact any more: it has just been uploaded anew.")
    return found[0]


def _whole(one: Contact) -> Shown:
    return Shown(place=one.seq, phone=one.typed or phone.digits(one.number), name=one.name, is_whole=True)


def registered(db: Database, app: App, user_id: int, book: int, after: int, limit: int) -> dict[int, int]:
    """By place: a user who has the number of the contact, of up to `limit` contacts after a place."""
    with db.read() as tx:
        return store.registered_after(tx, user_id, book, after, limit, verified_only=app.verified_only)


def _masked(one: Contact) -> Shown:
    return Shown(place=one.seq, phone=phone.masked(one.number), name=initials(one.name))


def initials(name: str) -> str:
    """The first letters of a name: enough to tell rows apart, too few to identify a person."""
    return " ".join(f"{word[0]}…" for word in name.split()[:3])
