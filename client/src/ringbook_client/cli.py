"""The command ringbook-contacts: log in, sync a file of contacts, see who is here.

It ends with 0 when it is done, 1 when it failed, 2 for wrong use, 130 after Ctrl+C; a failure is one line on stderr.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import commands, errors
from .account import PROGRAM
from .commands import WrongUse, print_error
from .display import Display
from .version import __version__

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
MESSAGES = (
    (errors.SessionExpired, f"the session has ended: run {PROGRAM} login again"),
    (errors.Unauthorized, "the server does not know this login with this password"),
    (errors.EmptyBook, "the file holds no contact; if the book is to be emptied, add --allow-empty"),
)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the process was started with, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a name shows something instead
            stream.reconfigure(errors="replace")
    try:
        args = parser().parse_args(words)
        code = args.run(args, Display(as_json=args.json, show_numbers=args.show_numbers)) or 0
    except WrongUse as error:
        code = print_error(error, WRONG_USE)
    except errors.RingbookError as error:
        code = print_error(message_for(error), FAILED)
    except OSError as error:
        code = FAILED
        if isinstance(error, BrokenPipeError):
            # Whoever read our answer has gone; python would complain once more while it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            print_error(f"{error.filename or 'a file'}: {error.strerror}", FAILED)
    except (KeyboardInterrupt, EOFError):
        print(file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


def message_for(error: errors.RingbookError) -> str:
    """What a failure means to whoever has called the command."""
    return next((text for kind, text in MESSAGES if isinstance(error, kind)), str(error))


# ── the words of the command line ────────────────────────────────────────────────────────────────────────────────────


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        raise WrongUse(f"{message} (see {self.prog} --help)")


def parser() -> Parser:
    """The commands and their options."""
    top = Parser(prog=PROGRAM, description="Sync contacts with a Ringbook server, and see who of them is registered.")
    top.add_argument("--version", action="version", version=__version__)
    below = top.add_subparsers(metavar="COMMAND", required=True)
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="answer in JSON")
    common.add_argument("--show-numbers", action="store_true", help="show whole numbers, not only how they end")

    def command(name: str, run: Callable[..., None]) -> argparse.ArgumentParser:
        summary = (run.__doc__ or "").partition("\n")[0]
        one = below.add_parser(name, parents=[common], help=summary, description=summary)
        one.set_defaults(run=run)
        return one

    logging_in = command("login", commands.login)
    logging_in.add_argument("--url", help="address of the server, such as https://book.example.com")
    logging_in.add_argument("--app", type=commands.parse_app_id, metavar="ID", help="id of the application")
    logging_in.add_argument("--key", metavar="KEY", help="its auth key")
    who = logging_in.add_mutually_exclusive_group()
    who.add_argument("--login", metavar="NAME", help="log in by login; an unknown one makes a new user")
    who.add_argument("--email", metavar="ADDRESS", help="log in by e-mail")
    who.add_argument("--phone", metavar="NUMBER", help="log in by a code that is sent to this number")
    logging_in.add_argument("--password-file", metavar="FILE", help="a file with the password; - for standard input")
    logging_in.add_argument("--forget-password", action="store_true", help="ask again when the session has ended")
    logging_in.add_argument(
        "--device", metavar="NAME", help='the book to sync; "" for the one that all devices share; else one of its own'
    )

    syncing = command("sync", commands.sync)
    syncing.add_argument("file", metavar="FILE", help="vCard (.vcf), or CSV with a column of names and one of numbers")
    syncing.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    syncing.add_argument("--full", action="store_true", help="upload the whole book, whatever was uploaded before")
    missing = syncing.add_mutually_exclusive_group()
    missing.add_argument("--keep", action="store_true", help="remove nobody who is missing in the file")
    missing.add_argument("--remove", action="store_true", help="remove them even if parts of the file cannot be read")
    syncing.add_argument("--allow-empty", action="store_true", help="a file without contacts empties the book")

    command("list", commands.list_contacts)
    command("registered", commands.registered)
    leaving = command("logout", commands.logout)
    leaving.add_argument("--keep-book", action="store_true", help="leave this device's book on the server")
    leaving.add_argument("--local", action="store_true", help="only forget it here: the server cannot be reached")
    return top
