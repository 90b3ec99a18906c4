"""Registers the commands and turns errors into exit codes: 0 success, 1 failure, 2 wrong use; one line on stderr.

    serve, worker                  the processes (`serve.py`)
    migrate, vacuum                the database (`database.py`)
    distribute                     the tables over a Citus cluster (`distribute.py`)
    check, openapi                 checks of the installation; the description of the API
    app, admin, users              applications, admins of the dashboard, users
    key                            the key that the database is sealed with (`key.py`)
    push, why                      delivery of pushes; why a user does not see a contact
    backup, restore, erase-again   backups (`backup.py`)

Every command takes `--config FILE`; commands whose answer a program may read take `--json`.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from .. import __version__, config, errors, logs
from . import (
    admin,
    app,
    backup,
    check,
    common,
    database,
    diagnosis,
    distribute,
    key,
    openapi,
    push,
    serve,
    users,
    wrong_use,
)
from .common import Failed, WrongUse

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

cli = cyclopts.App(name="ringbook", help="Self-hosted address books and contact discovery.", version=__version__)
for group in (app.app, admin.admin, users.users, key.key, push.push):
    cli.command(group)
for command in (
    serve.serve,
    serve.worker,
    database.migrate,
    database.vacuum,
    distribute.distribute,
    check.check,
    openapi.openapi,
    diagnosis.why,
    backup.backup,
    backup.restore,
    backup.erase_again,
):
    cli.command(command)


def main() -> None:
    """Run the command from `sys.argv`, and exit."""
    try:
        code = cli.meta(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        code = _report(WrongUse(wrong_use.sentence(error)), WRONG_USE)
    except (config.ConfigError, WrongUse, errors.Invalid) as error:
        code = _report(error, WRONG_USE)
    except errors.Unavailable as error:
        code = _report(Failed(error.explained()), FAILED)
    except (Failed, errors.Refused) as error:
        code = _report(error, FAILED)
    except BrokenPipeError:
        # The reader of stdout has gone. Without this, Python would report the error once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except (KeyboardInterrupt, EOFError):
        code = INTERRUPTED
    logs.drop_unwritten()
    sys.exit(code)


@cli.meta.default
def run(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[Path | None, Parameter(help="TOML file with settings; RINGBOOK_* variables override it")] = None,
) -> int:
    """Pass `--config` to the command that was given."""
    command, given, unbound = cli.parse_args(tokens, exit_on_error=False, print_error=False)
    extra = {"file": config} if "file" in unbound else {}
    return command(*given.args, **given.kwargs, **extra) or 0


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _report(error: Exception, code: int) -> int:
    text = f"{error.field}: {error}" if isinstance(error, errors.Refused) and error.field else str(error)
    common.warn(" ".join(text.split()))
    return code


if __name__ == "__main__":
    main()
