"""Back up and restore: a SQLite file by a command of ours, PostgreSQL by its own programs.

back_up(file, target, …)          a copy while the server writes
looked_through(backup)            what a backup holds, when it is as it was made
restore(backup, file, …)          a copy in the place of the database, without those who were erased since it was made
erase_again(db, folders, …)       the same for a database that was restored by other means
finish(db)                        an erasure that a crash has cut off
sweep(db, before)                 copies that were kept beside the database go
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
from ..store import erasures, keys, migrations
from ..store.db import Database, copies
from ..store.db.copies import Contents, NotOurs, Progress
from . import erasures as erasing
from . import users

GAP = 100_000  # ids that are left out after a restore: more than were given since any backup worth restoring
SEQUENCES = (
    ("users", "user_ids"),
    ("subscriptions", "subscription_ids"),
    ("joined", "joined_ids"),
    ("pushes", "push_ids"),
)
MISSING = (
    "the journals lack {missing} of the erasures since the backup: name the folders of all machines; if there are no"
    " more, --incomplete goes on without"
)
RESTORED = ".before-restore-"
KEPT = r"\.before-(\d{4}|restore-[\dT]+)"  # by us: what others have named alike is theirs
UNDER_WAY = ".restoring"


class Again(Struct, frozen=True):
    """Who was erased again, whose ids somebody newer has by now (left alone), and how many lines were not there."""

    erased: int
    newer: list[int]
    missing: int


class Restored(Struct, frozen=True):
    """What a restore has put in place, who was erased again, and where the former database is."""

    contents: Contents
    again: Again
    kept: Path | None


def back_up(file: Path, target: Path, progress: Progress, *, overwrite: bool = False) -> Contents:
    """Copy the database to a file of its owner's alone; Invalid when that is there already, unless told to."""
    if target.resolve() in {one.resolve() for one in (file, *copies.companions(file))}:
        raise errors.Invalid(f"{target} is the database itself")
    if target.is_dir():
        raise errors.Invalid(f"{target} is a folder: name a file in it")
    if target.exists() and not target.is_file():  # a device, say: the copy would stand in its place
        raise errors.Invalid(f"{target} is no file: name one that is, or that is not there yet")
    if target.exists() and not overwrite:
        raise errors.Invalid(f"{target} is there already; --overwrite replaces it")
    try:
        return copies.copy(file, target, progress, accept=_not_rotating)
    except NotOurs as trouble:
        raise errors.Unavailable(f"{file} {trouble}") from None
    except OSError as error:
        raise errors.Unavailable(f"cannot write {target}: {error.strerror}") from error


def _not_rotating(found: Contents) -> None:
    """A database whose key is being changed holds values of two keys, so a copy of it would need both."""
    recorded = keys.of_rows(found.keys)
    if recorded.next:
        why = keys.trouble(recorded, recorded.current)
        raise errors.Unavailable(why, why=why)


def looked_through(backup: Path, *, without_checksum: bool = False) -> Contents:
    """What a backup holds; Invalid says why it cannot be restored.

    without_checksum   one that carries no checksum is taken, too; a wrong checksum is refused all the same
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
    """Put a backup in the place of the database, which stays beside it; nothing has happened when this raises.

    key   the one that the backup needs (`keys.for_backup`)

    Beforehand, in a copy: the schema is brought up to date, and who was erased after the backup is erased again.
    Raises Unavailable while anybody has the database open.
    """
    file = file.resolve()
    prepared = Path(f"{file}{UNDER_WAY}")
    with copies.lock(file):
        copies.remove(prepared)  # of a restore that was killed: its log must not come to this one
        try:
            found = _copied(backup, prepared, progress, without_checksum)
            migrations.migrate(f"sqlite:///{prepared}", keep_copy=False)
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
    """Erase everybody whom the journals know as erased after this database was backed up; ids then go on after a gap.

    incomplete   go on although lines are missing; else that is Invalid, and nothing is changed

    It may be broken off and begun again. Whoever has an erased id but came after that erasure is left alone, and told.
    """
    count, wanted = _since(db, folders)
    last_count = max((one.count for one in wanted), default=count)
    missing = last_count - count - len({one.count for one in wanted})
    if missing and not incomplete:
        raise errors.Invalid(MISSING.format(missing=missing))
    erased, newer = 0, []
    for one in (one for one in wanted if not one.undone):
        with db.read() as tx:
            made_at = erasures.made_at(tx, one.app_id, one.user_id)
        if made_at is not None and made_at > one.seconds:
            newer.append(one.user_id)
        elif made_at is not None:
            erased += users.erase(db, one.user_id, again=True)
            done(erased)
    with db.write() as tx:
        erasures.move_on(tx, last_count)
        for table, sequence in SEQUENCES:
            last = max([tx.last_id(table, sequence), *(one.user_id for one in wanted if table == "users")])
            if last + GAP < users.LAST_ID:
                tx.reserve_ids(table, sequence, last + GAP)
    db.scrub()
    return Again(erased, newer, missing)


def _since(db: Database, folders: Sequence[Path]) -> tuple[int, list[erasures.Entry]]:
    """How many erasures the database has counted, and what the journals have beyond."""
    with db.read() as tx:
        state = erasures.state(tx)
    found = erasures.entries(folders, state["database_id"])
    return state["count"], [one for one in found if one.count > state["count"]]


def finish(db: Database) -> int:
    """Erase whoever the journal has as erased last, if a crash came between the line and the commit; 0 or 1.

    Nobody has answered that person. It may also be that a backup was restored which is older by this one erasure. What
    is right for both is to erase.
    """
    if not db.erasures or erasing.ahead(db) != 1:
        return 0
    count, last = _since(db, [db.erasures])
    erased = sum(users.erase(db, one.user_id, again=True) for one in last if not one.undone)
    with db.write() as tx:
        erasures.move_on(tx, max((one.count for one in last), default=count))
    return erased


def sweep(db: Database, before: int) -> int:
    """Remove the copies from before then that a migration or a restore has left beside the database."""
    old = [one for one in copies.older(db.file, KEPT) if one.stat().st_ctime < before] if db.file else []
    for one in old:
        copies.remove(one)
    return len(old)
