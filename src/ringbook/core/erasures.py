"""Erasures are journalled outside the database: a backup that is restored must not bring back who was erased since.

note(db, tx, …)      one user is erased, whatever happens afterwards
begin                its folder is there
trouble, ahead       can it be written, and is this database as old as it is?
rewrite(db)          leave no trace of those who were erased in a SQLite file
rewrite_small(db)    the same, while that takes no longer than others can wait; traces tells of larger ones
sweep(db, before)    old months of the journal go
"""

from .. import errors
from ..store import erasures as store
from ..store.db import Database, Tx

SMALL_BYTES = 64 * 1024 * 1024  # a second or two; a writer waits for ten


def note(db: Database, tx: Tx, app_id: int, user_id: int) -> None:
    """Journal an erasure; the last thing that is done in its transaction, since others who erase wait from here on.

    The line is on the disk before the commit is: an erasure that was answered with success is never forgotten. One that
    is undone is journalled, too; where a crash has come between, or a connection was lost, see `backups.finish`.
    """
    folder = db.erasures
    if not folder:
        return
    counted = store.count(tx)
    line = (folder, counted["database_id"], counted["count"], app_id, user_id)
    try:
        store.append(*line)
    except OSError as error:
        raise errors.Unavailable("The erasure cannot be journalled just now. Try again.") from error
    tx.on_rollback(lambda: store.append(*line, undone=True))


def trouble(db: Database) -> str:
    """Why nobody may serve on this database, and what to do; "" when all is well, or `backups.finish` can see to it."""
    if not db.erasures:
        with db.read() as tx:
            store.state(tx)  # Unavailable when the row is missing that the first erasure will need
        return ""
    if not store.writable(db.erasures):
        return (
            f"the journal of erasures {db.erasures} cannot be written: is there such a folder, and may we write to it?"
        )
    try:
        lines = ahead(db)
    except OSError as error:
        return f"the journal of erasures {db.erasures} cannot be read: {error.strerror}"
    if lines <= 1:
        return ""
    return f"the database is older than its journal of erasures, by {lines} users: run `ringbook erase-again`"


def begin(db: Database) -> None:
    """Make the folder of the journal beside a SQLite file, if it is not there.

    From then on it also tells that there is a database here: see `store.db.lost`.
    """
    if db.file and db.erasures:
        try:
            store.make(db.erasures)
        except OSError as error:
            why = f"the journal of erasures {db.erasures} cannot be made: {error.strerror}"
            raise errors.Unavailable(why, why=why) from error


def ahead(db: Database) -> int:
    """How many erasures the journal has that the database has not counted; OSError.

    One may be of an erasure that a crash has cut off; more, and this is a backup that was restored.
    """
    if not db.erasures:
        return 0
    with db.read() as tx:
        database_id = store.state(tx)["database_id"]
    highest = store.highest(db.erasures, database_id)
    with db.read() as tx:  # after the journal: other processes may be erasing
        return max(0, highest - int(store.state(tx)["count"]))


def rewrite(db: Database) -> int:
    """Rewrite the database's file; how many were erased since the last time.

    What is deleted is overwritten at once, but the copies that SQLite leaves behind when it moves rows between pages
    are not: of about one in a hundred users a name is left somewhere (decisions/0009).
    """
    with db.read() as tx:
        before = store.state(tx)
    if before["count"] == before["rewritten"]:
        return 0
    db.rewrite()
    with db.write() as tx:
        store.rewritten(tx, before["count"])
    return int(before["count"] - before["rewritten"])


def traces(db: Database) -> int:
    """How many were erased since a file was rewritten that is too large for that to happen by itself."""
    if db.size_bytes() <= SMALL_BYTES:
        return 0
    with db.read() as tx:
        state = store.state(tx)
    return int(state["count"] - state["rewritten"])


def rewrite_small(db: Database) -> int:
    """Rewrite a file that is small enough for others to wait meanwhile."""
    return rewrite(db) if 0 < db.size_bytes() <= SMALL_BYTES else 0


def sweep(db: Database, before: int) -> int:
    """Remove the months of the journal that ended before then; how many that were."""
    return store.sweep(db.erasures, before) if db.erasures else 0
