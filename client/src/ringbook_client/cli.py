"""The command ringbook-contacts: logs in, syncs a file of contacts, and lists the contacts who are registered.

Exit status: 0 success, 1 failure, 2 wrong use, 130 interrupted by Ctrl+C. A failure prints one line to stderr.
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
    (errors.Unauthorized, "the login or the password is wrong"),
    (
        errors.UnknownApplication,
        "the server has no application with this id and auth key: check --app and --key of"
        f" {PROGRAM} login (on the server, `ringbook app show ID --secrets` shows both)",
    ),
    (errors.EmptyBook, "the file has no contacts; to empty the address book, add --allow-empty"),
)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command with the given arguments (default: those of the process), and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may be unable to show a character of a name
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
            # The reader of stdout has exited. Without this, Python would print another error when it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            print_error(f"{error.filename or 'a file'}: {error.strerror}", FAILED)
    except (KeyboardInterrupt, EOFError):
        print(file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


def message_for(error: errors.RingbookError) -> str:
    """The error message for the user of the command."""
    return next((text for kind, text in MESSAGES if isinstance(error, kind)), str(error))


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────────────


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise WrongUse(f"{message} (see {self.prog} --help)")


def parser() -> Parser:
    """The parser for all commands and options."""
    top = Parser(prog=PROGRAM, description="Sync contacts with a Ringbook server, and list those who are registered.")
    top.add_argument("--version", action="version", version=__version__)
    subparsers = top.add_subparsers(metavar="COMMAND", required=True)
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    common.add_argument("--show-numbers", action="store_true", help="show full phone numbers, not only the last digits")

    def command(name: str, run: Callable[..., None]) -> argparse.ArgumentParser:
        summary = (run.__doc__ or "").partition("\n")[0]
        subparser = subparsers.add_parser(name, parents=[common], help=summary, description=summary)
        subparser.set_defaults(run=run)
        return subparser

    login = command("login", commands.login)
    login.add_argument("--url", help="address of the server, such as https://book.example.com")
    login.add_argument("--app", type=commands.parse_app_id, metavar="ID", help="id of the application")
    login.add_argument("--key", metavar="KEY", help="auth key of the application")
    user = login.add_mutually_exclusive_group()
    user.add_argument("--login", metavar="NAME", help="log in with a login; an unknown login creates a user")
    user.add_argument("--email", metavar="ADDRESS", help="log in with an e-mail address")
    user.add_argument("--phone", metavar="NUMBER", help="log in with a code that is sent to this number")
    login.add_argument("--password-file", metavar="FILE", help="read the password from a file; - is standard input")
    login.add_argument("--forget-password", action="store_true", help="do not save the password on this machine")
    login.add_argument(
        "--device",
        metavar="NAME",
        help='the address book to sync; "" is the one that all devices share; default: one for this machine',
    )

    sync = command("sync", commands.sync)
    sync.add_argument("file", metavar="FILE", help="vCard (.vcf), or CSV with a column of names and one of numbers")
    sync.add_argument("--dry-run", action="store_true", help="show the changes without making them")
    sync.add_argument("--full", action="store_true", help="upload the whole address book, not only the changes")
    missing = sync.add_mutually_exclusive_group()
    missing.add_argument("--keep", action="store_true", help="do not remove contacts that are not in the file")
    missing.add_argument("--remove", action="store_true", help="remove them even if parts of the file cannot be read")
    sync.add_argument("--allow-empty", action="store_true", help="empty the address book if the file has no contacts")

    command("list", commands.list_contacts)
    command("registered", commands.registered)
    logout = command("logout", commands.logout)
    logout.add_argument("--keep-book", action="store_true", help="keep this machine's address book on the server")
    logout.add_argument("--local", action="store_true", help="only delete the files on this machine; use no server")
    return top
