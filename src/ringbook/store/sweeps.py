"""How far the sweeps are that read a table a slice at a time. Workers take turns, also after a restart.

place    where a sweep goes on, and when it got there
move     a slice is done
"""

from .db import Tx

LAST_ID = 2**31 - 1  # the end of a sweep by user


def place(tx: Tx, name: str) -> tuple[int, int]:
    """The place of a sweep, 0 before the first slice, and the time when it got there."""
    found = tx.tuples("SELECT place, at FROM sweeps WHERE name = :name", name=name)
    return (int(found[0][0]), int(found[0][1])) if found else (0, 0)


def move(tx: Tx, name: str, place: int, now: int) -> None:
    """Store the place of a sweep. After LAST_ID it starts again."""
    tx.run(
        "INSERT INTO sweeps (name, place, at) VALUES (:name, :place, :now)"
        " ON CONFLICT (name) DO UPDATE SET place = excluded.place, at = excluded.at",
        name=name,
        place=place if place < LAST_ID else 0,
        now=now,
    )


def is_resting(tx: Tx, name: str, now: int, seconds: int) -> bool:
    """Has the last pass of a sweep ended less than `seconds` ago? A clock that is set back ends the rest."""
    reached, at = place(tx, name)
    return reached == 0 and 0 <= now - at < seconds
