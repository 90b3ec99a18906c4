"""Address books as an admin sees them: sizes, and masked contacts. One is shown whole only with an entry in the log.

shelf(db, user_id)      a user's books
masked(db, …)           a page of one
contact(db, …)          one contact as it is, which is written down first
"""

from msgspec import Struct

from .. import errors, phone
from ..model import Contact
from ..store import books as store
from ..store.db import Database, Row
from . import audit
from .audit import Actor


class Shown(Struct, frozen=True, kw_only=True):
    """A contact. `place` names it within its book, and tells nothing of it; `is_whole`: nothing is masked."""

    place: int
    phone: str
    name: str
    is_whole: bool = False


def shelf(db: Database, user_id: int) -> list[Row]:
    """A user's books: book, device, size and synced_at."""
    with db.read() as tx:
        return store.of_owner(tx, user_id)


def masked(db: Database, user_id: int, book: int, after: int, limit: int) -> list[Shown]:
    """Up to `limit` contacts after a place, in upload order."""
    with db.read() as tx:
        return [_masked(one) for one in store.page(tx, user_id, book, after, limit)]


def contact(db: Database, user_id: int, book: int, place: int, by: Actor) -> Shown:
    """One contact as it is; NotFound when the book does not hold it any more."""
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
    """A name as its first letters: enough to tell rows apart, too little to know who it is."""
    return " ".join(f"{word[0]}…" for word in name.split()[:3])
