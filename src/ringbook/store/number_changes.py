"""The latest changes of the table `numbers`, by which a process sees that an answer it has kept is still right.

state      a book's version, and the place of the latest change
unchanged  whether neither the book nor a number in it has changed since a state

Only SQLite keeps changes: triggers store them, so no writer can forget them, and because one transaction writes at a
time, their places are in the order of the commits. They leave the latest 1,000. A change has only a part of the keyed
number: it remains for a while when a user is deleted.
"""

from typing import NamedTuple

from .db import Database, Tx
from .discoverable import Rules

MOST = 200  # changes that are compared with a book; after more of them it has changed, as far as we know
REST_BITS = 43  # a change has the first 20 of the 63 bits of a keyed number
OWN = (
    "COALESCE((SELECT group_concat(number || ' ' || COALESCE(verified_at, '') || ' ' || spelling)"
    " FROM numbers WHERE user_id = :owner_id), '')"
)


class State(NamedTuple):
    """A book at one moment.

    own     the numbers of its owner, who finds also them: one text
    place   of the latest change of any number
    """

    version: int
    own: str
    place: int


def kept(db: Database) -> bool:
    """Does this database keep changes?"""
    return db.file is not None


def state(tx: Tx, owner_id: int, device: str) -> State | None:
    """The state of the book of a device; None where there is none."""
    rows = tx.tuples(
        f"SELECT b.version, {OWN}, COALESCE((SELECT MAX(id) FROM number_changes), 0) FROM books AS b"
        " WHERE b.owner_id = :owner_id AND b.device = :device",
        owner_id=owner_id,
        device=device,
    )
    return State(*rows[0]) if rows else None


def unchanged(tx: Tx, owner_id: int, device: str, since: State, rules: Rules) -> State | None:
    """The state of a book, if neither the book nor a number that it holds has changed since another state; else None.

    One statement, so that all was true at one moment. Changes of users whom nobody finds do not count: the statement
    takes as long as if nobody had the number. Two numbers can share a part, so a change of a number that the book does
    not hold is sometimes taken for one that it holds: with 1,000 contacts, one change in a thousand.
    """
    rows = tx.tuples(
        f"SELECT b.version, {OWN}, MAX(c.id), COUNT(c.id), COUNT(k.number) FROM books AS b"
        " LEFT JOIN (SELECT * FROM number_changes WHERE id > :place ORDER BY id LIMIT :most) AS c ON 1 = 1"
        " LEFT JOIN contacts AS k ON k.owner_id = b.owner_id AND k.book = b.book"
        f" AND k.number BETWEEN c.part << {REST_BITS} AND (c.part << {REST_BITS}) + {2**REST_BITS - 1}"
        f" AND {rules.found('c')} WHERE b.owner_id = :owner_id AND b.device = :device GROUP BY b.version",
        owner_id=owner_id,
        device=device,
        place=since.place,
        most=MOST,
    )
    if not rows:
        return None
    version, own, place, changes, held = rows[0]
    if (version, own) != (since.version, since.own) or held or changes >= MOST:
        return None
    return State(version, own, place or since.place)
