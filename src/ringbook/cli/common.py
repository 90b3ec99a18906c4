"""What every command needs: its settings, the database, and ways to ask and to answer.

settings, database           what a command works with; make_file for a new one
content                      the text of a file that stands for a value
user_id                      the id of a user who was named by login or e-mail
sure                         somebody means it
answer, table, say, say_json on stdout, for people and for programs
now, when, actor             the time, and as it is written; who the audit log says it was
Failed, WrongUse             how a command ends when it cannot; one line on stderr
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from .. import config, logs, times

if TYPE_CHECKING:
    from ..core.audit import Actor
    from ..store.db import Database

Id = Annotated[int, Parameter(validator=Number(gte=1, lt=2**63))]
File = Annotated[Path | None, Parameter(parse=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", help="answer in JSON")]
Of = Annotated[Id | None, Parameter(name="--app", help="id of the application whose login or e-mail USER is")]
Yes = Annotated[bool, Parameter(negative="", help="do not ask")]


LARGEST_VALUE = 1024 * 1024


class Failed(Exception):
    """The command could not do what it should; one line for stderr."""


class WrongUse(Exception):
    """The command was not given what it needs; one line for stderr."""


def settings(file: Path | None, given: dict[str, Any] | None = None, *, long: bool = False) -> config.Config:
    """The settings; only commands that run `long` write log lines, the others say themselves what went wrong."""
    found = config.load(os.environ, file, given)
    logs.start(found.log_level if long or found.log_level == "debug" else "error")
    return found


@contextmanager
def database(found: config.Config, *, make: bool = False) -> "Iterator[Database]":
    """The database, if its schema is the right one; `make` makes one in a SQLite file that is empty or not there."""
    from .. import errors
    from ..core import stats
    from ..server import checks
    from ..store import db as databases
    from ..store import migrations

    absent = checks.missing(found)
    if absent and not make:
        raise Failed(absent)
    db = databases.connect(found.database, pool=2, erasures=found.erasures_folder)
    try:
        if make and databases.is_sqlite(found.database):
            make_file(found)
            if not migrations.state(db).revision:
                migrations.migrate(found.database)
        if trouble := migrations.state(db).trouble:
            raise Failed(trouble)
        migrations.watch(db)
        yield db
        with suppress(errors.Unavailable):  # what was done is done; only its figures wait no longer
            stats.flush(db, now())
    finally:
        db.close()


def make_file(found: config.Config) -> None:
    """Make the file of a new SQLite database and its journal of erasures; Failed when there was a database before."""
    from ..store import db as databases

    if gone := databases.lost(found.database, found.erasures_folder):
        raise Failed(gone)
    databases.create(found.database)


def content(value: str) -> str:
    """A value as it was given, or of `@FILE` the file's text without the newline at its end."""
    if not value.startswith("@"):
        return value
    name = value.removeprefix("@")
    try:
        with open(name, "rb") as opened:
            read = opened.read(LARGEST_VALUE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no name of a file"
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
    if not (user.isascii() and user.isdigit() and len(user) <= 10):
        raise WrongUse("USER must be an id; a login, an e-mail or a phone needs --app ID")
    return int(user)


def sure(warning: str, name: str, typed: str, *, yes: bool) -> None:
    """Have `typed` typed before something is done; `name` says what it is, `warning` what happens."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUse(f"{warning}: add --yes")
    print(f"{warning}.")
    if input(f"Type {name} ({typed}) to go on: ").strip() != typed:
        raise Failed(f"that is not {name}; nothing is changed")


def answer(values: dict[str, Any], as_json: bool) -> None:
    """Names with their values: a line each, or one JSON object."""
    if as_json:
        say_json(values)
    else:
        width = max(map(len, values))
        say("\n".join(f"{name:{width}}  {word(value)}" for name, value in values.items()))


def table(rows: list[dict[str, Any]]) -> None:
    """Columns as wide as they need to be: a key that is cut off is of no use."""
    lines = [list(rows[0]), *(list(map(word, row.values())) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def word(value: Any) -> str:
    """A value as people read it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def say_json(value: Any) -> None:
    """A value for programs."""
    say(msgspec.json.format(msgspec.json.encode(value)).decode())


def say(text: str) -> None:
    """A line for whoever reads our output."""
    print(text, flush=True)


def now() -> int:
    """The time, in UTC seconds."""
    return int(time.time())


def when(seconds: int | None) -> str | None:
    """A time in ISO 8601, UTC; None for none."""
    return None if seconds is None else times.iso(seconds)


def actor() -> "Actor":
    """Whoever carries out a command, for the audit log."""
    from ..core.audit import COMMAND_LINE, Actor

    return Actor(COMMAND_LINE, "", now())
