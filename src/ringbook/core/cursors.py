"""Cursors: opaque texts with which an app asks for what has come since its last answer.

    written(incarnation, place)      the cursor of a place
    place(cursor, incarnation, last) the place of a cursor

An incarnation is a random number of the list that the places belong to. A list that begins anew, or that was restored
from a backup, has another one: there the same places may stand for something else.
"""

import re

CURSOR = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16})")
BEGINNING = "0"  # the cursor of a list that does not exist yet


def written(incarnation: int, place: int) -> str:
    """The cursor of a place."""
    return f"{incarnation:x}-{place:x}"


def place(cursor: str, incarnation: int, last: int) -> int:
    """The place of a cursor; 0 for any text that is no cursor of this list up to its last place."""
    found = CURSOR.fullmatch(cursor)
    if not found or int(found[1], 16) != incarnation:
        return 0
    known = int(found[2], 16)
    return known if known <= last else 0
