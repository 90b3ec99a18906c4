"""`ringbook key`: the key that a database is sealed with."""

from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter

from .. import terminal
from ..config import Config
from . import common
from .common import Failed, File, Json, Yes

NEXT_STEP = (
    "Set RINGBOOK_KEY_FILE={file} for every process of the database. Keep a copy apart from the database and its"
    " backups: without this file nobody can read the numbers, names and secrets in them."
)

ROTATED = (
    "The new key is in {file}: every process of the database needs this file, and you need a copy of it apart from the"
    " database. The former key is in {former_file}: it opens the backups made before, and whoever deletes it makes them"
    " unreadable."
)
FORGET = (
    "this deletes all address books, users' phones and e-mails, devices, pushes, codes, secrets of applications, admins"
    " and the audit log of {database}, which only the lost key {current} could open"
)
FORGOTTEN = (
    "The database has the key in {file}: keep a copy apart from the database. `ringbook admin create EMAIL` creates an"
    " admin. Phones upload their address books again. Users with a login in clear go on with their password, and open"
    " sessions go on; users who signed in with a phone or an e-mail address, and all admins, must sign in anew."
)

key = cyclopts.App(name="key", help="The key that the database is sealed with.")
KeyFile = Annotated[Path, Parameter(name="FILE", help="file of the new key; one that exists is never overwritten")]


@key.command
def create(path: KeyFile, /, *, as_json: Json = False, file: File) -> None:
    """Make a new key in a file that only its owner can read."""
    from ..seal import Key

    made = Key.create(path.absolute())
    common.answer({"file": str(made.file), "fingerprint": made.fingerprint}, as_json)
    if not as_json:
        common.print_line(NEXT_STEP.format(file=made.file))


@key.command
def show(*, as_json: Json = False, file: File) -> int:
    """Show the fingerprint of the key, where it is, and whether the database is sealed with it."""
    from ..server import opening

    settings = common.settings(file)
    common.note_database(settings.database)
    found = opening.look(settings)
    common.answer(msgspec.to_builtins(found), as_json)
    return 1 if found.trouble else 0


@key.command
def rotate(*, as_json: Json = False, file: File) -> None:
    """Seal the database anew under a new key, while no server runs; an interrupted run goes on where it stopped."""
    from ..core import key_changes
    from ..server import opening

    with opening.alone(_existing(file)) as (db, key_file), terminal.progress("sealed anew") as progress:
        done = key_changes.rotate(db, key_file, progress, common.now(), by=common.actor())
    common.answer(
        {
            "key": done.fingerprint,
            "file": str(done.file),
            "former_key": done.former,
            "former_file": str(done.former_file),
            "rows": done.rows,
            "unreadable": sum(done.unreadable.values()),
        },
        as_json,
    )
    for table, count in done.unreadable.items():
        common.warn(f"{table}: {count} rows open under neither key, and are left as they are")
    if not as_json:
        common.print_line(ROTATED.format(file=done.file, former_file=done.former_file))


@key.command
def forget(*, yes: Yes = False, as_json: Json = False, file: File) -> None:
    """Start over after the key was lost: delete whatever only that key could open, and give the database a new key."""
    from ..core import key_changes
    from ..server import opening
    from ..store import db as databases
    from ..store import keys

    settings = _existing(file)
    with opening.alone(settings) as (db, key_file):
        usual = keys.file_of(settings.database, "") if settings.key_file else None
        lost = key_changes.check_lost(db, key_file, usual=usual).current
        named = databases.named(settings.database)
        common.confirm(FORGET.format(database=named, current=lost), "the lost key", lost, yes=yes)
        done = key_changes.forget(db, key_file, common.now(), by=common.actor())
    answer = {"key": done.fingerprint, "file": str(done.file), "former_key": lost}
    common.answer(answer | {f"deleted_{table}": count for table, count in done.deleted.items()}, as_json)
    if not as_json:
        common.print_line(FORGOTTEN.format(file=done.file))


def _existing(file: Path | None) -> Config:
    """The settings, if the database exists."""
    from ..server import checks

    settings = common.settings(file)
    if absent := checks.missing(settings):
        raise Failed(absent)
    common.note_database(settings.database)
    return settings
