"""The commands, and how they end: 0 done, 1 it failed, 2 wrong use; a failure is one line on stderr.

    serve, worker           the processes
    migrate, check          the database, and everything else a server needs
    openapi                 the API, described for programs
    app, admin, users       what an operator decides

`--config FILE` goes with each of them, `--json` with those whose answer a program may read.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
import msgspec
from cyclopts import Parameter

from . import __version__, config, errors, logs

if TYPE_CHECKING:
    from .model import App
    from .store.db import Database

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
MASK = "********"

File = Annotated[Path | None, Parameter(parse=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", help="answer in JSON")]
Secrets = Annotated[bool, Parameter(negative="", help="show the auth secret, too")]
Yes = Annotated[bool, Parameter(negative="", help="do not ask")]
Value = Annotated[str, Parameter(allow_leading_hyphen=True)]

cli = cyclopts.App(name="ringbook", help="Self-hosted address books and contact discovery.", version=__version__)
app = cyclopts.App(name="app", help="Applications: each has its own keys, users and settings.")
admin = cyclopts.App(name="admin", help="People who may use the dashboard.")
users = cyclopts.App(name="users", help="People's accounts.")
for group in (app, admin, users):
    cli.command(group)


class Failed(Exception):
    """The command could not do what it should; one line for stderr."""


class WrongUse(Exception):
    """The command was not given what it needs; one line for stderr."""


def main() -> None:
    """Run the command that the process was started with, and exit."""
    try:
        code = cli.meta(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except (cyclopts.CycloptsError, config.ConfigError, WrongUse, errors.Invalid) as error:
        code = _complain(error, WRONG_USE)
    except errors.Unavailable as error:
        # Here, where no stranger reads it, also why.
        why = str(error.__cause__ or "").partition("\n")[0]
        code = _complain(Failed(f"{error} ({why})" if why else str(error)), FAILED)
    except (Failed, errors.Refused) as error:
        code = _complain(error, FAILED)
    except BrokenPipeError:
        # Whoever read our answer has gone; python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except (KeyboardInterrupt, EOFError):
        code = INTERRUPTED
    sys.exit(code)


@cli.meta.default
def run(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[Path | None, Parameter(help="TOML file with settings (docs/configuration.md)")] = None,
) -> int:
    command, given, wanted = cli.parse_args(tokens, exit_on_error=False, print_error=False)
    extra = {"file": config} if "file" in wanted else {}
    return command(*given.args, **given.kwargs, **extra) or 0


# ── the processes ────────────────────────────────────────────────────────────────────────────────────────────────────


@cli.command
def serve(
    *,
    host: Annotated[str | None, Parameter(help="address to listen on; 0.0.0.0 for every network")] = None,
    port: Annotated[int | None, Parameter(help="port to listen on; 0 for any free one")] = None,
    database: Annotated[str | None, Parameter(help="sqlite:///FILE or postgresql://…")] = None,
    workers: Annotated[int | None, Parameter(help="processes that serve (PostgreSQL only)")] = None,
    worker: Annotated[bool, Parameter(help="also do what is due, as `ringbook worker` does")] = True,
    file: File,
) -> int:
    """Serve the API until Ctrl+C or SIGTERM."""
    from . import serving

    settings = _settings(file, {"host": host, "port": port, "database": database, "workers": workers}, long=True)
    try:
        return serving.run(settings, keep_time=worker)
    except serving.CannotServe as error:
        raise Failed(str(error)) from None


@cli.command
def worker(*, file: File) -> None:
    """Do what is due, every minute, until Ctrl+C or SIGTERM; any number of these may run."""
    import threading

    from . import worker

    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    with _database(_settings(file, long=True)) as db:
        logs.log.info("working")
        worker.run(db, stop)


@cli.command
def migrate(*, file: File) -> None:
    """Bring the database to the schema that this version needs."""
    from .store import migrations

    before = migrations.migrate(_settings(file).database)
    already = " (it was there already)" if before == migrations.HEAD else ""
    _say(f"schema {migrations.HEAD}{already}")


@cli.command
def check(*, as_json: Json = False, file: File) -> int:
    """Look whether everything is there that serving needs."""
    from . import checks

    found = list(checks.readiness(_settings(file)))
    if as_json:
        _say_json(found)
    else:
        _say("\n".join(f"{'ok  ' if one.ok else 'NO  '} {one.what}: {one.seen}" for one in found))
    return 0 if all(one.ok for one in found) else FAILED


@cli.command
def openapi() -> None:
    """Print the API's description (OpenAPI 3.1, JSON)."""
    from .api import openapi

    _say_json(openapi.document())


# ── what an operator decides ─────────────────────────────────────────────────────────────────────────────────────────


@app.command(name="create")
def app_create(name: str, /, *, as_json: Json = False, file: File) -> None:
    """Make an application with keys of its own; on an empty SQLite file the schema, too."""
    from .core import applications

    with _database(_settings(file), make=True) as db:
        _answer(_keys(applications.create(db, name, _now())), as_json)


@app.command(name="list")
def app_list(*, as_json: Json = False, file: File) -> None:
    """Every application."""
    from .core import applications

    with _database(_settings(file)) as db:
        found = [_listed(one) for one in applications.all_(db)]
    if as_json:
        _say_json(found)
    elif found:
        _table(found)
    else:
        _say("no application yet: `ringbook app create NAME` makes one")


@app.command(name="show")
def app_show(id: int, /, *, as_json: Json = False, secrets: Secrets = False, file: File) -> None:
    """An application's keys and settings."""
    from .core import applications

    with _database(_settings(file)) as db:
        _answer(_shown(applications.get(db, id), secrets=secrets), as_json)


@app.command(name="set")
def app_set(id: int, key: str, value: Value, /, *, file: File) -> None:
    """Change a setting; every running process knows within 5 seconds."""
    from .core import applications

    with _database(_settings(file)) as db:
        applications.change(db, id, key, value)
    _say(f"application {id}: {key} is set")


@app.command(name="rotate-keys")
def app_rotate_keys(id: int, /, *, as_json: Json = False, file: File) -> None:
    """Give an application a new auth key and secret; apps that carry the old ones can open no more sessions."""
    from .core import applications

    with _database(_settings(file)) as db:
        _answer(_keys(applications.rotate_keys(db, id)), as_json)


@app.command(name="delete")
def app_delete(id: int, /, *, yes: Yes = False, file: File) -> None:
    """Delete an application with its users, their address books and everything else about them, for good."""
    from .core import applications

    with _database(_settings(file)) as db:
        _sure(applications.get(db, id), yes=yes)
        deleted = applications.delete(db, id, _counted)
    _say(f"application {id} is deleted, with {deleted} users")


@admin.command(name="create")
def admin_create(email: str, /, *, as_json: Json = False, file: File) -> None:
    """Let somebody use the dashboard, which a later version brings; the password is shown this once."""
    from .core import admins

    with _database(_settings(file)) as db:
        _answer({"email": email, "password": admins.create(db, email, _now())}, as_json)


@admin.command(name="reset-password")
def admin_reset_password(email: str, /, *, as_json: Json = False, file: File) -> None:
    """Give an admin a new password, shown this once."""
    from .core import admins

    with _database(_settings(file)) as db:
        _answer({"email": email, "password": admins.reset_password(db, email)}, as_json)


@users.command(name="reset-password")
def users_reset_password(id: int, /, *, as_json: Json = False, file: File) -> None:
    """Give a user a one-time password, shown this once."""
    from .core import users

    with _database(_settings(file)) as db:
        _answer({"user_id": id, "password": users.reset_password(db, id, _now())}, as_json)


# ── around every command ─────────────────────────────────────────────────────────────────────────────────────────────


def _settings(file: Path | None, given: dict[str, Any] | None = None, *, long: bool = False) -> config.Config:
    """The settings; only commands that run `long` write log lines, the others say themselves what went wrong."""
    settings = config.load(os.environ, file, given)
    logs.start(settings.log_level if long or settings.log_level == "debug" else "error")
    return settings


@contextmanager
def _database(settings: config.Config, *, make: bool = False) -> "Iterator[Database]":
    """The database, if its schema is the right one; `make` makes one in a SQLite file that is empty or not there."""
    from . import checks
    from .store import db as databases
    from .store import migrations

    absent = checks.missing(settings)
    if absent and not make:
        raise Failed(absent)
    db = databases.connect(settings.database, pool=2)
    try:
        if make and databases.is_sqlite(settings.database) and not migrations.state(db).revision:
            migrations.migrate(settings.database)
        if trouble := migrations.state(db).trouble:
            raise Failed(trouble)
        yield db
    finally:
        db.close()


def _listed(one: "App") -> dict[str, Any]:
    return {"application_id": one.id, "name": one.name, "auth_key": one.auth_key}


def _keys(one: "App") -> dict[str, Any]:
    return {"application_id": one.id, "auth_key": one.auth_key, "auth_secret": one.auth_secret}


def _shown(one: "App", *, secrets: bool) -> dict[str, Any]:
    keys = {"auth_secret": one.auth_secret if secrets else MASK, "vapid_public_key": one.vapid_public_key}
    return _listed(one) | keys | msgspec.structs.asdict(one.settings)


def _sure(one: "App", *, yes: bool) -> None:
    """Have the name typed before something goes for good."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUse(f"this deletes application {one.id} ({one.name}) and all its users: add --yes")
    print(f"This deletes application {one.id} with all its users and address books, for good.")
    if input(f"Type its name ({one.name}) to go on: ").strip() != one.name:
        raise Failed("that is not its name; nothing is deleted")


def _counted(users: int) -> None:
    if users % 100 == 0 and sys.stderr.isatty():
        print(f"\r{users} users", end="\r", file=sys.stderr, flush=True)


def _answer(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _say_json(values)
    else:
        width = max(map(len, values))
        _say("\n".join(f"{name:{width}}  {_word(value)}" for name, value in values.items()))


def _table(rows: list[dict[str, Any]]) -> None:
    """Columns as wide as they need to be: a key that is cut off is of no use."""
    lines = [list(rows[0]), *(list(map(_word, row.values())) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        _say("  ".join(f"{word:{width}}" for word, width in zip(line, widths, strict=True)).rstrip())


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _say_json(value: Any) -> None:
    _say(msgspec.json.format(msgspec.json.encode(value)).decode())


def _say(text: str) -> None:
    print(text, flush=True)


def _complain(error: Exception, code: int) -> int:
    text = f"{error.field}: {error}" if isinstance(error, errors.Refused) and error.field else str(error)
    print("ringbook: " + " ".join(text.split()), file=sys.stderr)
    return code


def _now() -> int:
    return int(time.time())


if __name__ == "__main__":
    main()
