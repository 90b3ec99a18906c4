"""Backup and restore of a SQLite database, and erasures after any restore. PostgreSQL has its own backup programs.

back_up(file, target, …)          copies the database while the server writes to it
check_backup(backup)              checks a backup, and says what it contains
restore(backup, file, …)          replaces the database by a backup, and erases the users who were erased since
erase_again(db, folders, …)       erases these users in a database that was restored by other means
finish(db)                        finishes an erasure that a crash interrupted
sweep(db, before)                 deletes old copies beside the database
"""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from .. import errors
from ..seal import Key, Seal
from ..store import db as databases
from ..store import discovered, erasures, joined_lists, keys, migrations
from ..store.db import Database, copies, ids
from ..store.db.copies import Contents, NotOurs, Progress
from . import erasures as erasing
from . import users

GAP = 100_000  # ids that are skipped after a restore: more than were assigned since the backup
SEQUENCES = ("user_ids", "subscription_ids", "joined_ids", "push_ids")
MISSING = (
    "the journals lack {missing} of the erasures since the backup: name the folders of all machines; if there are no"
    " more, --incomplete goes on without"
)
RESTORED = ".before-restore-"
KEPT = r"\.before-(\d{4}|restore-[\dT]+)"  # names that only Ringbook gives; other files are left alone
UNDER_WAY = ".restoring"


class Again(Struct, frozen=True):
    """The result of `erase_again`.

    erased    how many users were erased
    newer     erased ids that belong to newer users by now, who were left alone
    missing   how many lines are missing in the journals
    """

    erased: int
    newer: list[int]
    missing: int


class Restored(Struct, frozen=True):
    """The result of a restore: what the backup contains, the erasures, and where the former database is."""

    contents: Contents
    again: Again
    kept: Path | None


def back_up(file: Path, target: Path, progress: Progress, *, overwrite: bool = False) -> Contents:
    """Copy the database to a file that only its owner can read.

    overwrite   replace an existing file; otherwise that is Invalid
    """
    if target.resolve() in {one.resolve() for one in (file, *copies.companions(file))}:
        raise errors.Invalid(f"{target} is the database itself")
    if not target.parent.is_dir():
        raise errors.Invalid(f"there is no folder {target.parent}: create it, or name another file")
    if target.is_dir():
        raise errors.Invalid(f"{target} is a folder: name a file in it")
    if target.exists() and not target.is_file():  # a device, say: the copy would stand in its place
        raise errors.Invalid(f"{target} is no file: name one that is, or that is not there yet")
    if target.exists() and not overwrite:
        raise errors.Invalid(f"{target} is there already; --overwrite replaces it")
    if target.exists() and not copies.is_replaceable(target):  # the key file, say, whose loss nobody could repair
        raise errors.Invalid(f"{target} is not a backup, so it is not replaced: name another file, or remove it first")
    try:
        return copies.copy(file, target, progress, accept=_not_rotating)
    except NotOurs as trouble:
        raise errors.Unavailable(f"{file} {trouble}") from None
    except OSError as error:
        why = f"cannot write {target}: {error.strerror}"
        raise errors.Unavailable(why, why=why) from error


def _not_rotating(found: Contents) -> None:
    """Refuse to copy a database whose key is being changed: it contains values of two keys, and needs both."""
    recorded = keys.of_rows(found.keys)
    if recorded.next:
        why = keys.trouble(recorded, recorded.current)
        raise errors.Unavailable(why, why=why)


def check_backup(backup: Path, *, without_checksum: bool = False) -> Contents:
    """What a backup contains. Raises Invalid with the reason why it cannot be restored.

    without_checksum   accept a backup without a checksum; a wrong checksum is refused anyway
    """
    if not backup.is_file():
        raise errors.Invalid(f"there is no file {backup}")
    try:
        copies.check_seal(backup, required=not without_checksum)
        found = copies.contents(backup)
    except NotOurs as trouble:
        raise errors.Invalid(f"{backup} {trouble}") from None
    except OSError as error:
        raise errors.Unavailable(f"cannot read {backup}: {error.strerror}") from error
    return _known(backup, found)


def _known(backup: Path, found: Contents) -> Contents:
    if found.revision > migrations.HEAD:
        newer = f"has schema {found.revision}, newer than this Ringbook ({migrations.HEAD}): install the newer one"
        raise errors.Invalid(f"{backup} {newer}")
    return found


def restore(
    backup: Path,
    file: Path,
    journal: Path,
    key: Key,
    progress: Progress,
    done: Callable[[int], None] = lambda erased: None,
    *,
    without_checksum: bool = False,
) -> Restored:
    """Replace the database by a backup. The former database is kept beside it. When this raises, nothing has changed.

    key   the key that the backup needs (`keys.for_backup`)

    The work is done in a copy before that: the schema is migrated, and users who were erased after the backup are
    erased again. Raises Unavailable while another process has the database open.
    """
    file = file.resolve()
    prepared = Path(f"{file}{UNDER_WAY}")
    with copies.lock(file):
        copies.remove(prepared)  # left by a restore that was killed; its log must not be applied to this copy
        try:
            found = _copied(backup, prepared, progress, without_checksum)
            migrations.migrate(f"sqlite:///{prepared}", key, keep_copy=False)
            opened = databases.connect(f"sqlite:///{prepared}", seal=Seal(key.secret), erasures=str(journal))
            with closing(opened) as db:
                again = erase_again(db, [journal], done, incomplete=True)
            copies.owned_like(prepared, file if file.exists() else file.absolute().parent)
            copies.sync(prepared)
            kept = _free_name(file) if file.exists() else None
            copies.put_in_place(prepared, file, kept or file)
        except OSError as error:
            raise errors.Unavailable(f"cannot restore {file}: {error.strerror}") from error
        finally:
            copies.remove(prepared)
    return Restored(found, again, kept)


def _free_name(file: Path) -> Path:
    """A name for the file that a restore puts aside. Two restores in one second need two names."""
    name = f"{file}{RESTORED}{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    return next(path for n in itertools.count(1) if not (path := Path(name if n == 1 else f"{name}-{n}")).exists())


def _copied(backup: Path, prepared: Path, progress: Progress, without_checksum: bool) -> Contents:
    try:
        copies.check_seal(backup, required=not without_checksum)
        return _known(backup, copies.copy(backup, prepared, progress, still=True))
    except NotOurs as trouble:
        raise errors.Invalid(f"{backup} {trouble}") from None


def erase_again(
    db: Database,
    folders: Sequence[Path],
    done: Callable[[int], None] = lambda erased: None,
    *,
    incomplete: bool = False,
) -> Again:
    """Erase all users who, by the journals, were erased after this database was backed up. New ids follow after a gap.

    incomplete   go on although lines are missing; otherwise that is Invalid, and nothing is changed

    It can be interrupted and started again. A newer user who has an erased id is left alone, and is in the result.
    """
    count, entries = _since(db, folders)
    last_count = max((one.count for one in entries), default=count)
    missing = last_count - count - len({one.count for one in entries})
    if missing and not incomplete:
        raise errors.Invalid(MISSING.format(missing=missing))
    erased, newer = 0, []
    for one in (one for one in entries if not one.undone):
        with db.read() as tx:
            made_at = erasures.made_at(tx, one.app_id, one.user_id)
        if made_at is not None and made_at > one.seconds:
            newer.append(one.user_id)
        elif made_at is not None:
            erased += users.erase(db, one.user_id, again=True)
            done(erased)
    with db.write() as tx:
        erasures.move_on(tx, last_count)
        # What apps have got after the backup is not in it, so no cursor of theirs may be known any more.
        joined_lists.restart(tx)
        discovered.forget_all(tx)
        for sequence in SEQUENCES:
            last = max([tx.last_id(sequence), *(one.user_id for one in entries if sequence == "user_ids")])
            if last + GAP < ids.SEQUENCES[sequence].last:
                tx.reserve_ids(sequence, last + GAP)
    db.scrub()
    return Again(erased, newer, missing)


def _since(db: Database, folders: Sequence[Path]) -> tuple[int, list[erasures.Entry]]:
    """How many erasures the database has counted, and the later entries of the journals."""
    with db.read() as tx:
        state = erasures.state(tx)
    found = erasures.entries(folders, state["database_id"])
    return state["count"], [one for one in found if one.count > state["count"]]


def finish(db: Database) -> int:
    """Finish the last erasure of the journal, if a crash came between its line and its commit. Returns 0 or 1.

    The same state follows from restoring a backup that is older by this one erasure. Erasing is right in both cases.
    """
    if not db.erasures or erasing.ahead(db) != 1:
        return 0
    count, last = _since(db, [db.erasures])
    erased = sum(users.erase(db, one.user_id, again=True) for one in last if not one.undone)
    with db.write() as tx:
        erasures.move_on(tx, max((one.count for one in last), default=count))
    return erased


def sweep(db: Database, before: int) -> int:
    """Delete copies that a migration or a restore left beside the database before then. Returns how many."""
    old = [one for one in copies.older(db.file, KEPT) if one.stat().st_ctime < before] if db.file else []
    for one in old:
        copies.remove(one)
    return len(old)
