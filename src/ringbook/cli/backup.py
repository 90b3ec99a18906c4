"""`ringbook backup`, `restore` and `erase-again`: backups, restored without the users who were erased since.

PostgreSQL has its own programs for copying; only `erase-again` is for PostgreSQL, too.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from .. import terminal
from . import common
from .common import Failed, File, Json, WrongUse, Yes

if TYPE_CHECKING:
    from ..core.backups import Again
    from ..store.db.copies import Contents

PROGRAMS = {
    "backup": (
        "PostgreSQL has its own: pg_dump --format=custom --file={path} postgresql://…"
        " (Back up and restore, in the guide that a server shows at /guide)"
    ),
    "restore": (
        "PostgreSQL has its own: pg_restore --dbname=postgresql://… {path} into an empty database,"
        " then ringbook erase-again (Back up and restore, in the guide that a server shows at /guide)"
    ),
}

DATABASE_NOT_SET = (
    "name the database to restore, with RINGBOOK_DATABASE=sqlite:////FOLDER/ringbook.db or --config FILE:"
    " there is no {target}"
)

NO_JOURNAL = (
    "there is no journal of erasures {journal}: copy that folder from where the database was before, or"
    " name it; without a journal nobody can be erased again"
)
CHECKING = "copied, checking the copy"
Incomplete = Annotated[bool, Parameter(negative="", help="continue although lines of the journals are missing")]
Verify = Annotated[bool, Parameter(negative="", help="copy nothing; check that FILE is a complete, unchanged backup")]
WithoutChecksum = Annotated[bool, Parameter(negative="", help="also accept a file without a checksum")]
Folders = Annotated[Path, Parameter(help="journals of erasures, one per machine; default: the one in the settings")]
Backup = Annotated[Path, Parameter(name="FILE", help="file of the backup")]
Overwrite = Annotated[bool, Parameter(negative="", help="replace an existing FILE")]


def backup(
    path: Backup, /, *, overwrite: Overwrite = False, verify: Verify = False, as_json: Json = False, file: File
) -> None:
    """Copy the SQLite database to a file while the server runs, check the copy, and say which key it needs."""
    from ..core import backups
    from ..server import checks

    if verify:
        common.answer({"whole": str(path)} | _amounts(backups.check_backup(path)), as_json)
        return
    source = _database("backup", path, file)
    if absent := checks.missing(common.settings(file)):
        raise Failed(absent)
    common.note_database(common.settings(file).database)
    with terminal.progress("copied", CHECKING) as progress:
        found = backups.back_up(source, path, progress, overwrite=overwrite)
    common.answer({"backup": str(path)} | _amounts(found), as_json)


def restore(
    path: Backup,
    /,
    *,
    without_checksum: WithoutChecksum = False,
    yes: Yes = False,
    as_json: Json = False,
    file: File,
) -> None:
    """Replace the SQLite database by a backup, without the users who were erased since it was made.

    The server must be stopped, and the key that the backup needs in place. The former database is kept.
    """
    from ..core import backups
    from ..store import db as databases
    from ..store import keys

    target = _database("restore", path, file).absolute()
    journal = databases.journal_of(common.settings(file).database, common.settings(file).erasures_folder)
    assert journal  # SQLite has one
    if not target.exists() and not _database_is_set(file) and not databases.lost(f"sqlite:///{target}", str(journal)):
        raise WrongUse(DATABASE_NOT_SET.format(target=target))
    common.note_database(common.settings(file).database)
    found = backups.check_backup(path, without_checksum=without_checksum)
    key_file = keys.file_of(f"sqlite:///{target}", common.settings(file).key_file)
    assert key_file  # SQLite has one
    key = keys.for_backup(path, keys.of_rows(found.keys), key_file)
    common.confirm(
        f"this replaces the database {target} by a backup with {found.rows['users']} users",
        "the name of the database",
        target.name,
        yes=yes,
    )
    with terminal.progress("copied", CHECKING) as progress, _counted() as done:
        restored = backups.restore(path, target, journal, key, progress, done, without_checksum=without_checksum)
    if not journal.exists() or not any(journal.iterdir()):
        common.warn(f"there is no journal of erasures in {journal}: users who were erased after the backup are back")
    beside = keys.file_of(f"sqlite:///{target}", "")
    if beside and beside != key_file and keys.exists(beside) and not keys.holds(beside, key):
        common.warn(
            f"the restored database needs the key in {key_file}, and {beside} holds another one: start the server with"
            f" RINGBOOK_KEY_FILE={key_file}, or put that file in the place of {beside.name}"
        )
    result = {"restored": str(path), "database": str(target), "former_database": str(restored.kept or "")}
    result |= _amounts(restored.contents)
    common.answer(result | _again(restored.again), as_json)


def erase_again(*folders: Folders, incomplete: Incomplete = False, as_json: Json = False, file: File) -> None:
    """Erase again the users who were erased after the backup from which this database was restored."""
    from ..core import backups

    with common.database(common.settings(file)) as db:
        journals = list(folders) or ([db.erasures] if db.erasures else [])
        if not journals:
            raise WrongUse("name the folders of the journals of erasures, or set RINGBOOK_ERASURES_FOLDER")
        for journal in journals:
            if not journal.is_dir():
                raise Failed(NO_JOURNAL.format(journal=journal))
        with _counted() as done:
            again = backups.erase_again(db, journals, done, incomplete=incomplete)
    common.answer(_again(again), as_json)


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _database(command: str, path: Path, file: Path | None) -> Path:
    """The file of the SQLite database; for PostgreSQL, WrongUse with the program to use instead."""
    from ..store import db as databases

    url = common.settings(file).database
    if not databases.is_sqlite(url):
        raise WrongUse(PROGRAMS[command].format(path=path))
    return databases.sqlite_file(url)


def _database_is_set(file: Path | None) -> bool:
    """Is the database configured? If not, it is the default file in the working directory."""
    return file is not None or any(f"RINGBOOK_DATABASE{end}" in os.environ for end in ("", "_FILE"))


def _amounts(found: "Contents") -> dict[str, Any]:
    return {"schema": found.revision, "key": found.keys.get("current", "")} | found.rows


def _again(again: "Again") -> dict[str, Any]:
    if again.newer:
        ids = ", ".join(map(str, again.newer))
        common.warn(f"not erased, because these users are newer than the erasure of their id: {ids}")
    if again.missing:
        common.warn(f"the journal lacks {again.missing} of the erasures since the backup: those users are back")
    return {"erased_again": again.erased, "left_alone": len(again.newer)}


@contextmanager
def _counted() -> Iterator[Callable[[int], None]]:
    def shown(erased: int) -> None:
        if erased % 100 == 0 and sys.stderr.isatty():
            print(f"\r{erased} erased again", end="\r", file=sys.stderr, flush=True)

    yield shown
