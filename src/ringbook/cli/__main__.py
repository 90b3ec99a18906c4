"""The commands, and how they end: 0 done, 1 it failed, 2 wrong use; a failure is one line on stderr.

    serve, worker           the processes
    migrate, check          the database, and everything else a server needs
    openapi                 the API, described for programs
    app, admin, users       what an operator decides
    push, why               what became of pushes; why somebody is not found
    backup, restore         a copy elsewhere, and back; erase-again, vacuum: what is erased stays so

`--config FILE` goes with each of them, `--json` with those whose answer a program may read.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from .. import __version__, config, errors, logs
from . import admin, app, backup, common, diagnosis, push, users
from .common import Failed, File, Json, WrongUse

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

cli = cyclopts.App(name="ringbook", help="Self-hosted address books and contact discovery.", version=__version__)
for group in (app.app, admin.admin, users.users, push.push):
    cli.command(group)
for one in (diagnosis.why, backup.backup, backup.restore, backup.erase_again):
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
        code = _complain(Failed(error.explained()), FAILED)
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
    from ..server import process

    given = {"host": host, "port": port, "database": database, "workers": workers}
    settings = common.settings(file, given, long=True)
    try:
        return process.run(settings, keep_time=worker)
    except process.CannotServe as error:
        raise Failed(str(error)) from None


@cli.command
def worker(*, file: File) -> None:
    """Do what is due, every minute, until Ctrl+C or SIGTERM; any number of these may run."""
    import threading

    from ..server import memory, process
    from ..worker import counters, jobs

    memory.limit_malloc()
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    settings = common.settings(file, long=True)
    try:
        with common.database(settings) as db, process.watched(settings, db):
            process.check_journal(db)
            logs.log.info("working")
            counters.begin(db)
            jobs.run(db, settings, stop)
            counters.end()
    except process.CannotServe as error:
        raise Failed(str(error)) from None


@cli.command
def migrate(*, file: File) -> None:
    """Bring the database to the schema that this version needs."""
    from ..store import db as databases
    from ..store import migrations

    settings = common.settings(file)
    url = settings.database
    common.make_file(settings)
    before = migrations.migrate(url)
    already = " (it was there already)" if before == migrations.HEAD else ""
    common.say(f"schema {migrations.HEAD}{already}")
    if databases.is_sqlite(url) and "" < before < migrations.HEAD:
        copy = migrations.copy_of(databases.sqlite_file(url), migrations.HEAD)
        common.say(f"the database as it was before, with schema {before}, is {copy}")


@cli.command
def vacuum(*, as_json: Json = False, file: File) -> None:
    """Rewrite a SQLite file, so that no trace of erased users is left in it; others who write wait meanwhile."""
    from ..core import erasures

    with common.database(common.settings(file)) as db:
        if not db.size_bytes():
            raise WrongUse("PostgreSQL does that itself (autovacuum); by hand: VACUUM, in psql")
        before = db.size_bytes()
        erased = erasures.rewrite(db)
        common.answer({"erased": erased, "bytes_before": before, "bytes": db.size_bytes()}, as_json)


@cli.command
def check(*, as_json: Json = False, file: File) -> int:
    """Look whether everything is there that serving needs."""
    from ..server import checks

    found = list(checks.readiness(common.settings(file), config.secret_files(os.environ, file)))
    if as_json:
        common.say_json(found)
    else:
        common.say("\n".join(f"{'ok  ' if one.ok else 'NO  '} {one.what}: {one.seen}" for one in found))
    return 0 if all(one.ok for one in found) else FAILED


@cli.command
def openapi() -> None:
    """Print the API's description (OpenAPI 3.1, JSON)."""
    from ..api import openapi

    common.say_json(openapi.document())


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _complain(error: Exception, code: int) -> int:
    text = f"{error.field}: {error}" if isinstance(error, errors.Refused) and error.field else str(error)
    print("ringbook: " + " ".join(text.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
