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
import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from .. import __version__, config, errors
from . import admin, app, backup, check, database, diagnosis, openapi, push, serve, users
from .common import Failed, WrongUse

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

cli = cyclopts.App(name="ringbook", help="Self-hosted address books and contact discovery.", version=__version__)
for group in (app.app, admin.admin, users.users, push.push):
    cli.command(group)
for command in (
    serve.serve,
    serve.worker,
    database.migrate,
    database.vacuum,
    check.check,
    openapi.openapi,
    diagnosis.why,
    backup.backup,
    backup.restore,
    backup.erase_again,
):
    cli.command(command)


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


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _complain(error: Exception, code: int) -> int:
    text = f"{error.field}: {error}" if isinstance(error, errors.Refused) and error.field else str(error)
    print("ringbook: " + " ".join(text.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
