"""`ringbook key`: the key that a database is sealed with."""

from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter

from . import common
from .common import File, Json

NEXT_STEP = (
    "Set RINGBOOK_KEY_FILE={file} for every process of the database. Keep a copy apart from the database and its"
    " backups: without this file nobody can read the numbers, names and secrets in them."
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

    found = opening.look(common.settings(file))
    common.answer(msgspec.to_builtins(found), as_json)
    return 1 if found.trouble else 0
