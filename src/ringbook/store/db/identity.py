"""Whether a SQLite database is still the file that was opened, and whether a missing one was there before.

create(file)               make an empty file at the first start
lost(file, journal)        the traces of a database that was there before; "" when there are none
Identity(file)             remembers which file was opened; trouble() says when its name leads elsewhere

SQLite itself does not notice: it goes on writing to a file that was removed, and makes an empty one for the next
connection (SQLite, "How To Corrupt An SQLite Database File", 4.4 and 4.5). See decisions/0015.
"""

import os
import threading
from pathlib import Path

from ... import errors
from ...logs import log
from .contract import AWAY

Which = tuple[int, int]

REMOVED = (
    "the database file {file} was removed or renamed while Ringbook runs: put that same file back, or stop Ringbook and"
    " restore a backup (`ringbook restore BACKUP`)"
)
REPLACED = (
    "the database file {file} was replaced while Ringbook runs: put the former file back, or restart Ringbook to use"
    " the new one"
)
LOGS = ("-wal", "-shm")  # the log and its index; SQLite keeps both beside the file
NO_LOG = (
    "the log {log} of the database was removed or replaced while Ringbook runs: stop Ringbook regularly (SIGTERM),"
    " which saves what the log holds, and start it again"
)
LOST = (
    "the database {file} is not there, but {trace} is, so there was one: put the file back, or bring a backup back"
    " (`ringbook restore BACKUP`). To begin anew, with new keys and without users, first move {trace} away"
)


def which(path: Path | str) -> Which | None:
    """The device and inode of the file with this name; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def create(file: Path) -> None:
    """Create an empty file that only its owner can read, unless the file exists; errors.Unavailable."""
    try:
        # Only a file that is not there yet. Closing one that is would drop this process's locks on it, as POSIX has it,
        # and the next program to leave the database would delete the log that we go on writing to
        # (SQLite, "How To Corrupt An SQLite Database File", 2.2).
        os.close(os.open(file.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        why = f"the database {file.absolute()} cannot be made: {error.strerror}"
        raise errors.Unavailable(why, why=why) from error


def lost(file: Path, journal: Path | None) -> str:
    """Why a new database must not be created here; "" when there never was one, or it still exists.

    A file of 0 bytes counts as none: older versions made one when the database was removed.
    """
    if file.exists() and (not file.is_file() or file.stat().st_size):
        return ""
    trace = next((one for one in _traces(file, journal) if one.exists()), None)
    return LOST.format(file=file.absolute(), trace=trace) if trace else ""


def _traces(file: Path, journal: Path | None) -> list[Path]:
    """The files that show that there was a database. A configured folder may exist before the first start."""
    beside = [Path(f"{file}-erasures"), Path(f"{file.resolve()}-wal"), Path(f"{file.resolve()}-shm")]
    return beside + (sorted(journal.glob("[0-9]*.txt"))[-1:] if journal else [])


class Identity:
    """The file that was opened. A check takes three calls of stat, about 15 microseconds (bench/attack/files.py)."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._name = str(file)
        self._opened: Which | None = None
        self._opened_logs: dict[str, Which | None] = {}
        self._noting = threading.Lock()
        self._told = ""

    def opened(self, found: Which | None) -> None:
        """Remember the file of the first connection; Unavailable when a later one opened another file."""
        with self._noting:
            if not self._opened:
                # SQLite keeps them beside the file that a link leads to.
                self._opened_logs = {f"{self._file.resolve()}{end}": None for end in LOGS}
                self._opened = found
        if found != self._opened:
            self.check()
            raise errors.Unavailable(AWAY)  # the file was back before this check

    def check(self) -> None:
        """Raise Unavailable while the name refers to another file than the one opened, or to none."""
        trouble = self.trouble()
        if trouble != self._told:
            with self._noting:
                self._tell(self.trouble())  # looked at again: another thread may have noted a later state
        if trouble:
            raise errors.Unavailable(AWAY, why=trouble)

    def trouble(self) -> str:
        """Why the database must not be used; "" also before the first connection."""
        if not self._opened:
            return ""
        now = which(self._name)
        if now != self._opened:
            return (REPLACED if now else REMOVED).format(file=self._file.absolute())
        for log_file, opened in self._opened_logs.items():
            log_now = which(log_file)
            if not opened:  # it exists from the first transaction until the last connection closes
                self._opened_logs[log_file] = log_now
            elif log_now != opened:
                return NO_LOG.format(log=log_file)
        return ""

    def _tell(self, trouble: str) -> None:
        if trouble != self._told and trouble:
            log.error("database file lost", why=trouble)
        elif trouble != self._told:
            log.warning("database file back")
        self._told = trouble
