"""Where JSON is malformed: the line and the column, for the developer of the app.

malformed(text, error, …)   the refusal of a JSON text that a decoder did not accept
place(text, byte)           the line and column of a byte
"""

import json
import re

from .. import errors

# msgspec tells the place only in the text of its error.
_AT_BYTE = re.compile(r"(?:JSON is malformed: )?(.*) \(byte (\d+)\)")
_HALF_A_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD]...)\\u[dD][c-fC-F]")


def malformed(text: bytes, error: Exception, *, what: str = "The body") -> errors.Malformed:
    """The refusal of a JSON text, with the cause and its line and column.

    error   what the decoder raised
    what    the subject of the sentence

    Columns count characters; line and column begin with 1. Statistics keep the reason without cause and place.
    """
    if isinstance(error, RecursionError):
        return errors.Malformed(f"{what} is nested too deeply")
    told = f"{what} is not valid JSON"
    cause, byte = _cause(text, error)
    return errors.Malformed(told + (f": {cause}" if cause else "") + place(text, byte), told=told)


def place(text: bytes, byte: int | None) -> str:
    """` (line 3, column 7)` for the position of a byte; "" for None."""
    if byte is None:
        return ""
    line_start = text.rfind(b"\n", 0, byte) + 1
    column = len(text[line_start:byte].decode("utf-8", "replace")) + 1
    line = text.count(b"\n", 0, byte) + 1
    return f" (line {line}, column {column})"


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cause(text: bytes, error: Exception) -> tuple[str, int | None]:
    """The cause and the position of its byte.

    Python's decoder states the place of every error of grammar. It accepts NaN and half a surrogate pair, which msgspec
    does not.
    """
    if isinstance(error, json.JSONDecodeError):
        return _as_python_says(error)
    if fault := _by_python(text):
        return fault
    if found := _AT_BYTE.fullmatch(str(error)):
        return found[1], int(found[2])
    if half := _HALF_A_PAIR.search(text):
        return "half a surrogate pair", half.start()
    return "a number is too large", None


def _by_python(text: bytes) -> tuple[str, int] | None:
    try:
        json.loads(text.decode())
    except json.JSONDecodeError as error:
        return _as_python_says(error)
    except UnicodeDecodeError as error:
        return "not UTF-8", error.start
    except (ValueError, RecursionError):  # a number of more digits than Python reads
        return None
    return None


def _as_python_says(error: json.JSONDecodeError) -> tuple[str, int]:
    cause = error.msg.removesuffix(" at").removesuffix(" starting")
    return cause[:1].lower() + cause[1:], len(error.doc[: error.pos].encode("utf-8", "surrogateescape"))
