"""Copies a SQLite file while others write to it, checks copies, and restores them.

copy(source, target, …)     a copy of one moment, whole and on the disk, or none at all → Contents
opened_in_place(file, …)    a connection to the file of this name, not to one that was put aside meanwhile
check_seal(file)            a backup is as it was made, to the last bit; NotOurs when it is not
contents(file)              what a copy holds; NotOurs when it is broken, or no database of Ringbook's
lock(file)                  nobody else has the database open, nor opens it
put_in_place(new, file, …)  a new file where the database was, and the old one beside it
older(file, mark), remove   copies that were kept beside the database
"""

import os
import re
import shutil
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from ... import errors
from . import checksum
from .identity import Which, which

Progress = Callable[[int, int], None]

PAGES_AT_ONCE = 1_000
HEADER = b"SQLite format 3\0"  # the first bytes of every SQLite file with content
# The bytes on which SQLite's locks lie (SQLite, "Database File Format" 1.5 and "File Locking"): a process that
# has a database open in WAL mode holds shared locks on some of them.
LOCK_FROM, LOCK_BYTES = 0x40000000, 512
COUNTED = ("applications", "users", "numbers", "books", "contacts", "subscriptions", "joined", "pushes")
MARGIN_BYTES = 16 * 1024 * 1024
OPEN_WAIT_SECONDS, LOOK_AGAIN_SECONDS = 10, 0.02


NO_BACKUP = "is not a backup of Ringbook: `ringbook backup FILE` makes one"
DAMAGED = "is damaged: its content does not match the checksum that it carries. Take another backup"
UNSEALED = (
    "carries no checksum, so nobody can say whether it is as it was: `ringbook restore --without-checksum` takes it all"
    " the same, for files that `ringbook backup` did not make, such as a database that was put aside"
)


class NotOurs(Exception):
    """The file is not a complete Ringbook database; the message says what it is instead."""


class Contents(Struct, frozen=True):
    """The content of a database: its schema, and the number of rows of the main tables.

    keys   fingerprints of the keys that it is sealed with, by their state (`store/keys.py`)
    """

    revision: str
    rows: dict[str, int]
    keys: dict[str, str] = {}


def copy(
    source: Path,
    target: Path,
    progress: Progress = lambda done, total: None,
    *,
    still: bool = False,
    accept: Callable[[Contents], None] = lambda contents: None,
) -> Contents:
    """Copy a snapshot of the database to `target`, which is replaced in one step and only by a copy that is sound.

    progress   called with pages done and pages in all
    still      the source is a file that nobody changes, such as a backup, and the copy is to become a database
    accept     called with what the database holds before it is copied; it may raise an error

    A copy of a database carries a checksum (`checksum`). It belongs to its owner alone, and is on the disk when this
    returns. NotOurs, OSError, errors.Unavailable.
    """
    if still:
        _check_still(source)
    check_room(source, target.parent)
    # In the same folder, so that a rename is atomic. The next copy replaces what a killed attempt left behind.
    part = target.with_name(f".{target.name}.part")
    remove(part)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        expected = _copied(source, part, progress, accept, still=still)
        if not still:
            checksum.seal(part)
        sync(part)
        found = contents(part)
        if found != expected:
            raise NotOurs("the copy does not hold what the database held")
        os.replace(part, target)
        sync(target.parent)
    finally:
        remove(part)
    return found


def _copied(
    source: Path, part: Path, progress: Progress, accept: Callable[[Contents], None], *, still: bool
) -> Contents:
    def told(_status: int, remaining: int, total: int) -> None:
        progress(total - remaining, total)

    try:
        with closing(_opened(source, still=still)) as old, closing(sqlite3.connect(part)) as new:
            old.execute("BEGIN")  # the snapshot of the first read, however long the copy takes
            held = _held(old)
            accept(held)
            old.backup(new, pages=PAGES_AT_ONCE, progress=told)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, without companions
    except sqlite3.OperationalError as error:
        raise errors.Unavailable(f"cannot copy {source}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise NotOurs(f"is broken ({error})") from error
    return held


def check_seal(file: Path, *, required: bool = True) -> None:
    """Raise NotOurs for a file that is no backup or was changed, or that lacks a required checksum."""
    try:
        checksum.check(file)
    except checksum.Foreign:
        raise NotOurs(NO_BACKUP) from None
    except checksum.Damaged:
        raise NotOurs(DAMAGED) from None
    except checksum.Unsealed:
        if required:
            raise NotOurs(UNSEALED) from None


def contents(file: Path) -> Contents:
    """Check a whole file that nobody changes."""
    _check_still(file)
    try:
        with closing(_opened(file, still=True)) as opened:
            found = [row[0] for row in opened.execute("PRAGMA integrity_check(5)")]
            if found != ["ok"]:
                raise NotOurs(f"is broken ({found[0].splitlines()[-1]})")
            return _held(opened)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            raise NotOurs("is no SQLite database") from error
        raise NotOurs(f"is broken ({error})") from error


def _check_still(file: Path) -> None:
    if any(one.exists() and one.stat().st_size for one in companions(file)):
        raise NotOurs("has a -wal beside it: it was copied from a running server, and is not whole")


def _held(opened: sqlite3.Connection) -> Contents:
    names = {row[0] for row in opened.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if "schema_state" not in names:
        raise NotOurs("is no database of Ringbook's")
    (revision,) = opened.execute("SELECT revision FROM schema_state").fetchone()
    tables = [table for table in COUNTED if table in names]
    rows = {table: opened.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables}
    keys = dict(opened.execute("SELECT state, fingerprint FROM keys")) if "keys" in names else {}
    return Contents(revision, rows, keys)


def _opened(file: Path, *, still: bool) -> sqlite3.Connection:
    mode = "mode=ro&immutable=1" if still else "mode=rw"
    address = f"file:{urllib.parse.quote(str(file.absolute()))}?{mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, isolation_level=None, timeout=0)

    opened = connect() if still else opened_in_place(file, connect)[0]
    opened.execute("PRAGMA busy_timeout = 10000")
    return opened


def opened_in_place(file: Path, connect: Callable[[], sqlite3.Connection]) -> tuple[sqlite3.Connection, Which | None]:
    """A connection that holds a lock on the file of this name, and the file's identity.

    sqlite3.DatabaseError, after ten seconds when the file is locked.

    Whoever waits for the lock with the file open waits through a restore, gets the lock on the file that was put aside
    by then, and writes beside the new one: so each look opens the file anew, and none waits.
    """
    until = time.monotonic() + OPEN_WAIT_SECONDS
    while True:
        before = which(file)
        connection = connect()
        try:
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
            if which(file) == before:
                return connection, before
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                connection.close()
                raise
        except BaseException:
            connection.close()
            raise
        connection.close()
        time.sleep(LOOK_AGAIN_SECONDS)


def check_room(source: Path, folder: Path, copies_: int = 1) -> None:
    """Check that there is room for so many copies and for writes meanwhile; Unavailable says how much is missing."""
    needed = (
        copies_ * sum(file.stat().st_size for file in (source, *companions(source)) if file.exists()) + MARGIN_BYTES
    )
    free = shutil.disk_usage(folder).free
    if free < needed:
        missing = (needed - free) // 2**20 + 1
        raise errors.Unavailable(f"{folder} has no room for a copy of {source.name}: {missing} MiB are missing")


def is_replaceable(file: Path) -> bool:
    """Is the file empty, or a SQLite database such as an older backup? False for one that cannot be read."""
    with suppress(OSError), open(file, "rb") as opened:
        return opened.read(len(HEADER)) in (b"", HEADER)
    return False


@contextmanager
def lock(file: Path) -> Iterator[None]:
    """Keep other processes from opening the database; Unavailable when one has it open.

    SQLite's own locks are taken, not through SQLite: so it works on a broken file, too. Not for a process that has the
    database open itself, whose locks would be lost.
    """
    import fcntl

    if not file.exists():
        yield
        return
    _settle(file)
    opened = os.open(file, os.O_RDWR)
    try:
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCK_BYTES, LOCK_FROM)
        except OSError:
            raise errors.Unavailable(f"{file} is in use: stop whatever has it open, such as `ringbook serve`") from None
        yield
    finally:
        os.close(opened)


def _settle(file: Path) -> None:
    """Move the readable part of a database's log into its file."""
    with suppress(sqlite3.DatabaseError), closing(_opened(file, still=False)) as opened:
        opened.execute("PRAGMA busy_timeout = 0")
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def put_in_place(new: Path, file: Path, kept: Path) -> None:
    """Replace the database by `new`, and keep the old one with its log as `kept`. One of them is always in place."""
    if file.exists():
        os.link(file, kept)
        sync(kept.parent)
        for old, beside in zip(companions(file), companions(kept), strict=True):
            if old.exists():
                os.replace(old, beside)
    for old in companions(file):  # of a removed database
        old.unlink(missing_ok=True)
    os.replace(new, file)
    sync(file.parent)


def companions(file: Path) -> list[Path]:
    """The files of a database's log and of its index."""
    return [Path(f"{file}-wal"), Path(f"{file}-shm")]


def remove(file: Path) -> None:
    """Delete a database and its logs, if they exist."""
    for one in (file, *companions(file), Path(f"{file}-journal")):
        one.unlink(missing_ok=True)


def older(file: Path, mark: str) -> list[Path]:
    """The copies next to a database, with its name followed by `mark`, oldest first."""
    file = file.resolve()
    name = re.compile(re.escape(file.name) + mark)
    found = [one for one in file.parent.iterdir() if name.fullmatch(one.name)]
    # The time of its rename: its content may be much older.
    return sorted(found, key=lambda one: (one.stat().st_ctime_ns, one.name))


def owned_like(file: Path, other: Path) -> None:
    """Give a file that root created the owner of another file, so that the server can write to it."""
    if os.geteuid() == 0:
        like = other.stat()
        os.chown(file, like.st_uid, like.st_gid)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
