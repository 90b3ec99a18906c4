"""The journal of erasures, kept outside the database: a restored backup must not bring erased users back.

note(db, tx, …)      writes the erasure of one user to the journal
begin                makes the journal's folder
trouble, ahead       whether the journal can be written, and whether the database is older than the journal
rewrite(db)          removes the traces of erased users from a SQLite file
rewrite_small(db)    the same for files that are rewritten quickly; `traces` counts the erasures in larger ones
sweep(db, before)    deletes old months of the journal
"""

from .. import errors
from ..store import erasures as store
from ..store.db import Database, Tx

SMALL_BYTES = 64 * 1024 * 1024  # a second or two; a writer waits for ten


def note(db: Database, tx: Tx, app_id: int, user_id: int) -> None:
    """Write an erasure to the journal. The last step of its transaction, because other erasures wait from here on.

    The line is on the disk before the commit, so no erasure that was answered with success is missing. A rollback
    writes a second line that takes the first one back. `backups.finish` handles a crash between line and commit.
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
    """Why this database must not be served, and what to do; "" when it may, or when `backups.finish` can repair it."""
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
    """Make the journal's folder beside a SQLite file, if it is not there.

    The folder also shows that there was a database here: see `store.db.lost`.
    """
    if db.file and db.erasures:
        try:
            store.make(db.erasures)
        except OSError as error:
            why = f"the journal of erasures {db.erasures} cannot be made: {error.strerror}"
            raise errors.Unavailable(why, why=why) from error


def ahead(db: Database) -> int:
    """How many erasures the journal has that the database has not counted. Raises OSError.

    One may come from a crash between line and commit. More mean that the database is a restored backup.
    """
    if not db.erasures:
        return 0
    with db.read() as tx:
        database_id = store.state(tx)["database_id"]
    highest = store.highest(db.erasures, database_id)
    with db.read() as tx:  # after the journal: other processes may be erasing
        return max(0, highest - int(store.state(tx)["count"]))


def rewrite(db: Database) -> int:
    """Rewrite the database's file. Returns how many users were erased since the last time.

    SQLite overwrites deleted rows at once, but not the copies that it leaves when it moves rows between pages: for
    about one in a hundred users a name stays in the file (decisions/0009).
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
    """How many users were erased since the last rewrite of a file that is too large for `rewrite_small`."""
    if db.size_bytes() <= SMALL_BYTES:
        return 0
    with db.read() as tx:
        state = store.state(tx)
    return int(state["count"] - state["rewritten"])


def rewrite_small(db: Database) -> int:
    """Rewrite a file that is small enough for writers to wait."""
    return rewrite(db) if 0 < db.size_bytes() <= SMALL_BYTES else 0


def sweep(db: Database, before: int) -> int:
    """Delete the months of the journal that ended before then. Returns how many."""
    return store.sweep(db.erasures, before) if db.erasures else 0
