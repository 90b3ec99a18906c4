"""Sentences about a command line that cannot be read: what is wrong, and where to look.

sentence(error)   one line for stderr
"""

import difflib
from collections.abc import Sequence
from typing import get_args

from cyclopts import CycloptsError, UnusedCliTokensError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    ValidationError,
)

KINDS: dict[object, str] = {int: "a whole number", float: "a number", bool: "nothing after it"}


def sentence(error: CycloptsError) -> str:
    """What is wrong with the command, and which help says how it is written."""
    command = " ".join(("ringbook", *(error.command_chain or ())))
    what, does = _what(error, f"`{command}`")
    return f"{what}{' ' if what.endswith('?') else '; '}`{command} --help` {does}"


def _what(error: CycloptsError, command: str) -> tuple[str, str]:
    """What is wrong, and what the help does about it."""
    name = error.argument.name if error.argument else ""
    match error:
        case UnknownCommandError():
            return _unknown_command(error, command)
        case UnknownOptionError():
            options = [name for one in error.argument_collection if one.parse for name in one.names if name[0] == "-"]
            return _no_option(command, error.token.keyword or error.token.value, options)
        case UnusedCliTokensError():
            unused = " ".join(error.unused_tokens or ())
            return f"too many arguments, from {unused!r} on: put text with spaces in quotes", "lists the arguments"
        case MissingArgumentError() if name in (error.unused_tokens or ()):
            return f"{name} needs a value after it", "describes it"
        case MissingArgumentError():
            return f"{command} needs {name}", "describes it"
        case CoercionError() if error.token and (takes := _takes(error.target_type)):
            return f"{name} takes {takes}, not {error.token.value!r}", "describes it"
        case ValidationError() if name:
            return f"{name} {error.exception_message.lower().rstrip('.')}", "describes it"
    return str(error).rstrip("."), "describes the arguments"


def _unknown_command(error: CycloptsError, command: str) -> tuple[str, str]:
    word = (error.unused_tokens or [""])[0]
    if word.startswith("-"):
        return _no_option(command, word, [])
    names = [name for name in error.app or () if not name.startswith("-")]
    return f"there is no command `{command.strip('`')} {word}`{_near(word, names)}", "lists the commands"


def _no_option(command: str, word: str, options: Sequence[str]) -> tuple[str, str]:
    return f"{command} has no option {word}{_near(word, options)}", "lists the options"


def _near(word: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, names, n=1)
    return f": did you mean `{near[0]}`?" if near else ""


def _takes(kind: object) -> str:
    return KINDS.get(kind) or " or ".join(map(str, get_args(kind)))
