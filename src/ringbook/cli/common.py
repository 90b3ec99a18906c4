"""What every command needs: settings, the database, parameters, confirmation and output.

Id, User, File, Json, …            parameters that several commands have
settings, database                 the settings; an open database (create_files for a new SQLite file)
note_database                      says which database the command uses
content                            a value from the command line, or from a file
user_id                            the id of a user given by id, login or e-mail
confirm                            ask for confirmation
answer, table, print_json          output for people and for programs
print_line, print_lines            lines for people: everything that is printed goes through `terminal.safe`
note, warn                         a note; a warning
now, when, actor                   the time; a time as text; the author for the audit log
Failed, WrongUse                   errors that end a command with one line on stderr
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from .. import config, logs, times
from ..terminal import safe, safe_json

if TYPE_CHECKING:
    from ..core.audit import Actor
    from ..seal import Key
    from ..store.db import Database

Id = Annotated[int, Parameter(validator=Number(gte=1, lt=2**63))]
File = Annotated[Path | None, Parameter(parse=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", help="answer in JSON")]
AppOfLogin = Annotated[Id | None, Parameter(name="--app", help="application of a login, e-mail or phone given as USER")]
User = Annotated[str, Parameter(help="id of the user; with --app also a login, an e-mail or a phone")]
Yes = Annotated[bool, Parameter(negative="", help="do not ask for confirmation")]


LARGEST_VALUE = 1024 * 1024
KEY_MADE = (
    "the key of the database is in {file} (fingerprint {fingerprint}): without this file nobody can read the numbers,"
    " names and secrets in the database, so keep a copy apart from the database and its backups"
)


class Failed(Exception):
    """The command failed; one line for stderr."""


class WrongUse(Exception):
    """The command was used in a wrong way; one line for stderr."""


def settings(file: Path | None, given: dict[str, Any] | None = None, *, long: bool = False) -> config.Config:
    """Load the settings and set up logging: `long` running commands log, others log errors only unless at debug."""
    found = config.load(os.environ, file, given)
    logs.start(found.log_level if long or found.log_level == "debug" else "error")
    return found


@contextmanager
def database(found: config.Config, *, create: bool = False, noted: bool = True) -> "Iterator[Database]":
    """Open a database that has the right schema; with `create`, create a missing SQLite file and its schema.

    Unless `noted` is False, says on stderr which database it is, also when it cannot be opened.
    """
    from .. import errors
    from ..core import stats
    from ..server import checks, opening
    from ..store import db as databases
    from ..store import migrations

    def upgrade(state: migrations.State, key: "Key") -> None:
        if databases.is_sqlite(found.database) and not state.revision:
            migrations.migrate(found.database, key)

    absent = checks.missing(found)
    if absent and not create:
        raise Failed(absent)
    if noted:
        note_database(found.database)
    if create:
        create_files(found)
    db = opening.opened(found, pool=2, upgrade=upgrade if create else None)
    try:
        yield db
        with suppress(errors.Unavailable):  # the command itself has succeeded; only its statistics are lost
            stats.flush(db, now())
    finally:
        db.close()


def note_database(url: str) -> None:
    """Say on stderr which database the command uses, so that a wrong folder or setting is noticed."""
    from ..store import db as databases

    note(f"database: {databases.named(url)}")


def create_files(found: config.Config) -> None:
    """Create the files of a new SQLite database, and say what the key file is when there is a new one.

    Unavailable if there was a database before that is lost.
    """
    from ..server import opening

    if made := opening.create_files(found):
        note(KEY_MADE.format(file=made.file, fingerprint=made.fingerprint))


def content(value: str) -> str:
    """The value as given, or for `@FILE` the text of the file without its last newline."""
    if not value.startswith("@"):
        return value
    name = value.removeprefix("@")
    try:
        with open(name, "rb") as opened:
            read = opened.read(LARGEST_VALUE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is not a valid file name"
        raise Failed(f"{name or 'the file after @'} cannot be read: {why}") from None
    if len(read) > LARGEST_VALUE:
        raise WrongUse(f"{name} is larger than 1 MiB")
    try:
        return read.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise WrongUse(f"{name} is not UTF-8") from None


def user_id(db: "Database", user: str, app: int | None) -> int:
    """The user's id: as it was given, or in an application also by login, e-mail or phone."""
    from ..core import applications, user_lookup

    if app is not None:
        return user_lookup.one_user(db, applications.get(db, app), user).id
    if not (user.isascii() and user.isdigit() and len(user) <= 10 and int(user)):
        raise WrongUse("USER must be an id; a login, an e-mail or a phone needs --app ID")
    return int(user)


def confirm(warning: str, name: str, typed: str, *, yes: bool) -> None:
    """Show `warning` and have `typed` typed, which `name` describes; Failed for another answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUse(f"{warning}: add --yes")
    print_line(f"{warning}.")
    if input(f"Type {name} ({safe(typed)}) to go on: ").strip() != typed:
        raise Failed(f"that is not {name}; nothing was changed")


def answer(values: dict[str, Any], as_json: bool) -> None:
    """Print names with their values: one per line, or as one JSON object."""
    if as_json:
        print_json(values)
    else:
        width = max(map(len, values))
        for name, value in values.items():
            print_line(f"{name:{width}}  {_text(value)}")


def table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table. Values are never cut off, because people copy keys from it."""
    lines = [list(rows[0]), *([safe(_text(value)) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print_line("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    """A value as people read it; a dash for none."""
    if value is None or value == "":
        return "–"
    return str(value).lower() if isinstance(value, bool) else str(value)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(safe_json(msgspec.json.format(msgspec.json.encode(value)).decode()), flush=True)


def print_line(text: str) -> None:
    """Print one line at once."""
    print(safe(text), flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print several lines. A line break within one of them is made visible."""
    for line in lines:
        print_line(line)


def now() -> int:
    """The time, in UTC seconds."""
    return times.now()


def when(seconds: int | None) -> str | None:
    """A time in ISO 8601, UTC; None stays None."""
    return None if seconds is None else times.iso(seconds)


def actor() -> "Actor":
    """The author of a change made by a command, for the audit log."""
    from ..core.audit import COMMAND_LINE, Actor

    return Actor(COMMAND_LINE, "", now())


def note(text: str) -> None:
    """Print on stderr what is not part of the answer, so that programs do not read it."""
    print(safe(text), file=sys.stderr)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    note(f"ringbook: {text}")
