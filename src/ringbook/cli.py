"""The commands, and how they end: 0 done, 1 it failed, 2 wrong use; a failure is one line on stderr.

    serve, worker           the processes
    migrate, check          the database, and everything else a server needs
    openapi                 the API, described for programs
    app, admin, users       what an operator decides
    push, why               what became of pushes; why somebody is not found
    backup, restore         a copy elsewhere, and back; erase-again, vacuum: what is erased stays so

`--config FILE` goes with each of them, `--json` with those whose answer a program may read.
"""

import difflib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import cyclopts
import msgspec
from cyclopts import Parameter

from . import (
    __version__,
    commands,
    commands_backup,
    commands_push,
    commands_users,
    commands_why,
    config,
    errors,
    logs,
)
from .commands import Failed, File, Id, Json, WrongUse, Yes
from .model import AppSettings

if TYPE_CHECKING:
    from .model import App

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
MASK = "********"

Secrets = Annotated[bool, Parameter(negative="", help="show the auth secret, too")]
Value = Annotated[str, Parameter(allow_leading_hyphen=True)]

KEYS = "KEY is one of these:\n\n" + "\n".join(
    f"* `{field.name}`: {get_args(field.type)[1].description}" for field in msgspec.structs.fields(AppSettings)
)

cli = cyclopts.App(name="ringbook", help="Self-hosted address books and contact discovery.", version=__version__)
app = cyclopts.App(name="app", help="Applications: each has its own keys, users and settings.")
admin = cyclopts.App(name="admin", help="People who may use the dashboard.")
for group in (app, admin, commands_users.users, commands_push.push):
    cli.command(group)
for one in (commands_why.why, commands_backup.backup, commands_backup.restore, commands_backup.erase_again):
    cli.command(one)


def main() -> None:
    """Run the command that the process was started with, and exit."""
    try:
        code = cli.meta(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.UnusedCliTokensError as error:
        unused = " ".join(error.unused_tokens or ())
        code = _complain(WrongUse(f"too many words, from {unused!r} on: a text with blanks goes in quotes"), WRONG_USE)
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

    given = {"host": host, "port": port, "database": database, "workers": workers}
    settings = commands.settings(file, given, long=True)
    try:
        return serving.run(settings, keep_time=worker)
    except serving.CannotServe as error:
        raise Failed(str(error)) from None


@cli.command
def worker(*, file: File) -> None:
    """Do what is due, every minute, until Ctrl+C or SIGTERM; any number of these may run."""
    import threading

    from . import flushing, memory, serving, worker

    memory.thrifty()
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    settings = commands.settings(file, long=True)
    try:
        with commands.database(settings) as db, serving.watched(settings, db):
            serving.check_journal(db)
            logs.log.info("working")
            flushing.begin(db)
            worker.run(db, settings, stop)
            flushing.end()
    except serving.CannotServe as error:
        raise Failed(str(error)) from None


@cli.command
def migrate(*, file: File) -> None:
    """Bring the database to the schema that this version needs."""
    from .store import db as databases
    from .store import migrations

    url = commands.settings(file).database
    before = migrations.migrate(url)
    already = " (it was there already)" if before == migrations.HEAD else ""
    commands.say(f"schema {migrations.HEAD}{already}")
    if databases.is_sqlite(url) and "" < before < migrations.HEAD:
        copy = migrations.copy_of(databases.sqlite_file(url), migrations.HEAD)
        commands.say(f"the database as it was before, with schema {before}, is {copy}")


@cli.command
def vacuum(*, as_json: Json = False, file: File) -> None:
    """Rewrite a SQLite file, so that no trace of erased users is left in it; others who write wait meanwhile."""
    from .core import erasures

    with commands.database(commands.settings(file)) as db:
        if not db.size_bytes():
            raise WrongUse("PostgreSQL does that itself (autovacuum); by hand: VACUUM, in psql")
        before = db.size_bytes()
        erased = erasures.rewrite(db)
        commands.answer({"erased": erased, "bytes_before": before, "bytes": db.size_bytes()}, as_json)


@cli.command
def check(*, as_json: Json = False, file: File) -> int:
    """Look whether everything is there that serving needs."""
    from . import checks

    found = list(checks.readiness(commands.settings(file), config.secret_files(os.environ, file)))
    if as_json:
        commands.say_json(found)
    else:
        commands.say("\n".join(f"{'ok  ' if one.ok else 'NO  '} {one.what}: {one.seen}" for one in found))
    return 0 if all(one.ok for one in found) else FAILED


@cli.command
def openapi() -> None:
    """Print the API's description (OpenAPI 3.1, JSON)."""
    from .api import openapi

    commands.say_json(openapi.document())


# ── what an operator decides ─────────────────────────────────────────────────────────────────────────────────────────


@app.command(name="create")
def app_create(name: str, /, *, as_json: Json = False, file: File) -> None:
    """Make an application with keys of its own; on an empty SQLite file the schema, too."""
    from .core import applications

    with commands.database(commands.settings(file), make=True) as db:
        commands.answer(_keys(applications.create(db, name, commands.now(), by=commands.actor())), as_json)


@app.command(name="list")
def app_list(*, as_json: Json = False, file: File) -> None:
    """Every application."""
    from .core import applications

    with commands.database(commands.settings(file)) as db:
        found = [_listed(one) for one in applications.all_(db)]
    if as_json:
        commands.say_json(found)
    elif found:
        commands.table(found)
    else:
        commands.say("no application yet: `ringbook app create NAME` makes one")


@app.command(name="show")
def app_show(id: Id, /, *, as_json: Json = False, secrets: Secrets = False, file: File) -> None:
    """An application's keys and settings."""
    from .core import applications, audit

    with commands.database(commands.settings(file)) as db:
        one = applications.get(db, id)
        if secrets:
            audit.note(db, commands.actor(), "secret shown", app_id=id, subject="auth_secret")
        commands.answer(_shown(one, secrets=secrets), as_json)


@app.command(name="set", help_epilogue=KEYS)
def app_set(id: Id, key: str, value: Value, /, *, file: File) -> None:
    """Change a setting that `ringbook app show` lists; every running process knows within 5 seconds.

    VALUE is the setting's text, or @FILE for the text of a file without the newline at its end. A text that itself
    begins with @ is given as a file.
    """
    from .core import applications

    _check_key(key)
    with commands.database(commands.settings(file)) as db:
        applications.change(db, id, key, commands.content(value), by=commands.actor())
    commands.say(f"application {id}: {key} is set")


@app.command(name="rotate-keys")
def app_rotate_keys(id: Id, /, *, yes: Yes = False, as_json: Json = False, file: File) -> None:
    """Give an application a new auth key and secret; apps that carry the old ones can open no more sessions."""
    from .core import applications

    with commands.database(commands.settings(file)) as db:
        one = applications.get(db, id)
        warning = f"no installed app of application {id} ({one.name}) can open a session until it carries the new keys"
        commands.sure(warning, "its name", one.name, yes=yes)
        commands.answer(_keys(applications.rotate_keys(db, id, by=commands.actor())), as_json)


@app.command(name="delete")
def app_delete(id: Id, /, *, yes: Yes = False, file: File) -> None:
    """Delete an application with its users, their address books and everything else about them, for good."""
    from .core import applications

    with commands.database(commands.settings(file)) as db:
        one = applications.get(db, id)
        warning = f"this deletes application {id} ({one.name}) with all its users and address books, for good"
        commands.sure(warning, "its name", one.name, yes=yes)
        deleted = applications.delete(db, id, _counted, by=commands.actor())
    commands.say(f"application {id} is deleted, with {deleted} users")


@admin.command(name="create")
def admin_create(email: str, /, *, as_json: Json = False, file: File) -> None:
    """Let somebody use the dashboard; the password is shown this once."""
    from .core import admins

    with commands.database(commands.settings(file)) as db:
        password = admins.create(db, email, commands.now(), by=commands.actor())
        commands.answer({"email": email, "password": password}, as_json)


@admin.command(name="list")
def admin_list(*, as_json: Json = False, file: File) -> None:
    """Everybody who may log in at the dashboard."""
    from .core import admins

    with commands.database(commands.settings(file)) as db:
        found = admins.all_(db)
    nowhere = None if as_json else "logged in nowhere"
    rows = [
        {"email": one.email, "since": commands.when(one.created_at), "seen": commands.when(one.seen_at) or nowhere}
        for one in found
    ]
    if as_json:
        commands.say_json(rows)
    elif rows:
        commands.table(rows)
    else:
        commands.say("no admin yet: `ringbook admin create EMAIL` makes one")


@admin.command(name="delete")
def admin_delete(email: str, /, *, yes: Yes = False, file: File) -> None:
    """Let somebody into the dashboard no more; sessions end at once, and what was done stays in the audit log."""
    from .core import admins

    with commands.database(commands.settings(file)) as db:
        commands.sure(f"{email} can no longer log in at the dashboard", "the e-mail", email, yes=yes)
        admins.remove(db, email, by=commands.actor())
    commands.say(f"{email} is no admin any more")


@admin.command(name="reset-password")
def admin_reset_password(email: str, /, *, as_json: Json = False, file: File) -> None:
    """Give an admin a new password, shown this once."""
    from .core import admins

    with commands.database(commands.settings(file)) as db:
        password = admins.reset_password(db, email, by=commands.actor())
        commands.answer({"email": email, "password": password}, as_json)


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_key(key: str) -> None:
    """A name that is nearly one of a setting is answered with that, before all that there are."""
    known = list(AppSettings.__struct_fields__)
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise WrongUse(f"there is no setting {key}; {hint}")


def _listed(one: "App") -> dict[str, Any]:
    return {"application_id": one.id, "name": one.name, "auth_key": one.auth_key}


def _keys(one: "App") -> dict[str, Any]:
    return {"application_id": one.id, "auth_key": one.auth_key, "auth_secret": one.auth_secret}


def _shown(one: "App", *, secrets: bool) -> dict[str, Any]:
    keys = {"auth_secret": one.auth_secret if secrets else MASK, "vapid_public_key": one.vapid_public_key}
    fields = msgspec.structs.fields(type(one.settings))
    return _listed(one) | keys | {field.name: _masked(field, getattr(one.settings, field.name)) for field in fields}


def _masked(field: msgspec.structs.FieldInfo, value: Any) -> Any:
    """A setting's value; of one that is secret, only whether it is set."""
    meta = get_args(field.type)[1]
    secret = meta.extra and meta.extra.get("secret")
    return MASK if secret and value != field.default else value


def _counted(users: int) -> None:
    if users % 100 == 0 and sys.stderr.isatty():
        print(f"\r{users} users", end="\r", file=sys.stderr, flush=True)


def _complain(error: Exception, code: int) -> int:
    text = f"{error.field}: {error}" if isinstance(error, errors.Refused) and error.field else str(error)
    print("ringbook: " + " ".join(text.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
