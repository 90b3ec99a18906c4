"""Erasures: a journal outside the database, so that a restored backup does not bring erased users back.

    count, state, move_on       in the database: which one it is, and how many there were
    made_at                     since when an id has been this user's
    rewritten                   up to which of them no trace is left in it
    append                      a line for an erasure that is about to be committed
    writable, make              could one be? make the folder for it
    entries, highest            what the journal says
    sweep                       old months go

The journal is a folder with a file for each month, a line for each user: time, database, how many were erased so far,
application, user. The count is written in the transaction of the erasure, so that a backup tells by itself which lines
are younger. Whoever counts waits for the others until the commit: lines come in the order of their counts.
"""

import calendar
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from .. import errors
from .db import Row, Tx, copies
from .db.contract import AWAY

# Not anchored to the start of a line: a line that a full disk cut off must not hide the next one.
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([0-9a-f]{16}) (\d{1,18}) (\d{1,18}) (\d{1,18})( undone)?\n")
UNDONE = " undone"
EMPTY = "the table erasures of the database is empty, which no version of Ringbook leaves behind: restore a backup"
MONTH = re.compile(r"\d{4}-\d\d\.txt")
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Entry(Struct, frozen=True):
    """One line: the `count`-th erasure of a database."""

    at: str
    database_id: str
    count: int
    app_id: int
    user_id: int
    undone: bool

    @property
    def seconds(self) -> int:
        """When that was, in UTC seconds."""
        return calendar.timegm(time.strptime(self.at, TIME))


# ── in the database ──────────────────────────────────────────────────────────────────────────────────────────────────


def count(tx: Tx) -> Row:
    """Count one more erasure; return database_id and count. Others wait until the transaction ends."""
    return _only(tx.one("UPDATE erasures SET count = count + 1 RETURNING database_id, count"))


def state(tx: Tx) -> Row:
    """The database_id, the count, and the count when the database was last rewritten."""
    return _only(tx.one("SELECT database_id, count, rewritten FROM erasures"))


def _only(row: Row | None) -> Row:
    """The one row of the table; Unavailable when somebody has deleted it."""
    if not row:
        raise errors.Unavailable(AWAY, why=EMPTY)
    return row


def move_on(tx: Tx, count: int) -> None:
    """Continue counting from this count, unless the count is larger already."""
    tx.run("UPDATE erasures SET count = :count WHERE count < :count", count=count)


def made_at(tx: Tx, app_id: int, user_id: int) -> int | None:
    """When the user with this id was created, by the server's clock; None when there is no such user."""
    row = tx.one(
        "SELECT COALESCE(imported_at, created_at) AS at FROM users WHERE id = :id AND app_id = :app_id",
        id=user_id,
        app_id=app_id,
    )
    return row["at"] if row else None


def rewritten(tx: Tx, count: int) -> None:
    """Record that the database was rewritten after that erasure."""
    tx.run("UPDATE erasures SET rewritten = :count WHERE rewritten < :count", count=count)


# ── in the journal ───────────────────────────────────────────────────────────────────────────────────────────────────


def append(folder: Path, database_id: str, count: int, app_id: int, user_id: int, *, undone: bool = False) -> None:
    """Append a line and flush it to the disk; OSError. Several processes may do so at once.

    undone   the erasure of the same line before has come to nothing

    Lines stand in the order in which they were written also when the clock is set back: the last month goes on then.
    """
    now = time.gmtime()
    word = UNDONE if undone else ""
    line = f"{time.strftime(TIME, now)} {database_id} {count} {app_id} {user_id}{word}\n".encode()
    made = _made(folder)
    file = max([folder / time.strftime("%Y-%m.txt", now), *_months(folder)[-1:]])
    new = not file.exists()
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if new:
            copies.owned_like(file, folder)
        if os.write(opened, line) != len(line):
            raise OSError(28, "No space left on device")
        os.fsync(opened)
    finally:
        os.close(opened)
    for written in ([folder] if new else []) + ([folder.parent] if made else []):
        copies.sync(written)


def writable(folder: Path) -> bool:
    """Can a line be written there, or the folder be created?"""
    place = folder if folder.exists() else folder.absolute().parent
    return place.is_dir() and os.access(place, os.W_OK)


def entries(folders: Iterable[Path], database_id: str) -> list[Entry]:
    """The erasures of a database in the order of their counts; OSError. An erasure may be marked as undone.

    Of one count it is the last line of each folder: what came before it has come to nothing, and the count was free
    again. Of two machines, whose clocks may differ, nobody knows which line was the last: it is both.
    """
    last = [{one.count: one for one in _read(folder, database_id)} for folder in folders]
    return sorted((one for lines in last for one in lines.values()), key=lambda one: one.count)


def highest(folder: Path, database_id: str) -> int:
    """The largest count in the last month that has lines of this database; 0 when there are none."""
    for month in reversed(_months(folder)):
        if lines := list(_parsed(month.read_text("ascii", "replace"), database_id)):
            return max(one.count for one in lines)
    return 0


def sweep(folder: Path, before: int) -> int:
    """Delete the months that ended before a time; return how many."""
    limit = time.strftime("%Y-%m.txt", time.gmtime(before))
    old = [month for month in _months(folder) if month.name < limit]
    for month in old:
        month.unlink(missing_ok=True)
    return len(old)


def _read(folder: Path, database_id: str) -> Iterator[Entry]:
    for month in _months(folder):
        yield from _parsed(month.read_text("ascii", "replace"), database_id)


def _parsed(text: str, database_id: str) -> Iterator[Entry]:
    for at, of, count, app_id, user_id, undone in LINE.findall(text):
        if of == database_id:
            yield Entry(at, of, int(count), int(app_id), int(user_id), bool(undone))


def _months(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if MONTH.fullmatch(file.name)) if folder.is_dir() else []


def make(folder: Path) -> None:
    """Create the folder of a journal, which also shows that there is a database; OSError."""
    if _made(folder):
        copies.sync(folder.parent)


def _made(folder: Path) -> bool:
    """Create the folder; True if it did not exist."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    copies.owned_like(folder, folder.absolute().parent)
    return True
