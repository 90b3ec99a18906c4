"""Registered contacts since a cursor: an app gets only those that it has not got yet (decisions/0028).

    since(db, caller, …)   the registered contacts who are new since a cursor, and the next cursor
    after(known, found)    what is stored when a book has these registered contacts

What was answered from a book is stored with it: each contact, as the user's id and the number, with a *generation*. A
request compares the whole answer of now with that. If they differ, the new contacts get the next generation, and those
who are gone are dropped. The answer has the contacts with a larger generation than the cursor's. So neither clocks nor
the order of ids and commits matter, and each device may have a cursor of its own.
"""

import secrets
from collections.abc import Sequence

from .. import errors
from ..model import Caller, Registered, RegisteredPhone
from ..store import discovered as store
from ..store.books import Found
from ..store.db import Database, Tx
from ..store.discovered import Discovered
from . import cursors, discovery

TRIES = 5
INCARNATION_BITS = 62


def since(
    db: Database, caller: Caller, device: str, cursor: str, *, compact: bool, now: int
) -> tuple[Sequence[Registered | RegisteredPhone], str]:
    """The registered contacts of a book who are new since the cursor, in the book's order, and the next cursor.

    compact   only with their phones

    A contact is new who has become registered, or may be found now, or has entered the book, or has another number. A
    cursor that the book does not know stands for the beginning: all contacts are new. Counts those in the answer.
    """
    for _ in range(TRIES):
        with discovery.reading(db, caller, device) as tx:
            known = store.of_book(tx, caller.user_id, device)
            if not known:
                return [], cursors.BEGINNING
            found = discovery.among_contacts(tx, caller, device).found
            current = after(known, {user_id: number for user_id, *_, number in found})
            new = _with_profiles(tx, caller, _newer(current, found, cursor), compact=compact)
        if current is known or _stored(db, caller, known, current):
            discovery.count_matches(caller, len(new), now)
            return new, _cursor(current)
    raise errors.Busy


def after(known: Discovered, found: dict[int, int]) -> Discovered:
    """What is stored when a book has these registered contacts, by id with their numbers; `known` itself if that is it.

    A row that does not open is replaced by one of another incarnation.
    """
    kept = {
        generation: {user_id: number for user_id, number in contacts.items() if found.get(user_id) == number}
        for generation, contacts in known.generations.items()
    }
    there = {user_id for contacts in kept.values() for user_id in contacts}
    new = {user_id: number for user_id, number in found.items() if user_id not in there}
    if not new and kept == known.generations and known.readable:
        return known
    generation = known.generation + 1
    contacts = {key: value for key, value in kept.items() if value} | ({generation: new} if new else {})
    incarnation = known.incarnation if known.readable else None
    return Discovered(
        book=known.book,
        incarnation=secrets.randbits(INCARNATION_BITS) if incarnation is None else incarnation,
        generation=generation,
        generations=contacts,
    )


def _newer(current: Discovered, found: Sequence[Found], cursor: str) -> list[Found]:
    """The contacts with a larger generation than the cursor's."""
    start = 0 if current.incarnation is None else cursors.place(cursor, current.incarnation, current.generation)
    newer = {key for generation, contacts in current.generations.items() if generation > start for key in contacts}
    return [one for one in found if one[0] in newer]


def _with_profiles(
    tx: Tx, caller: Caller, found: Sequence[Found], *, compact: bool
) -> Sequence[Registered | RegisteredPhone]:
    return discovery.with_phones(tx, caller, found) if compact else discovery.with_profiles(tx, caller, found)


def _stored(db: Database, caller: Caller, known: Discovered, current: Discovered) -> bool:
    with db.write() as tx:
        return store.put(tx, caller.app.id, caller.user_id, known, current)


def _cursor(current: Discovered) -> str:
    if current.incarnation is None:
        return cursors.BEGINNING
    return cursors.written(current.incarnation, current.generation)
