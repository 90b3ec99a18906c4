"""Reads the lines of a file with users, without the database.

Lines      the lines of a CSV or JSONL file; each iteration reads the file again
parse      turns a line into the columns of an account, checked by the rules of `profile_fields.py`
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from .. import errors
from ..profile_fields import FIELDS, IMPORT_COLUMNS, Field
from . import privacy, profile

IMPORTED = [field for field in FIELDS.values() if field.imported]
SUFFIXES = (".csv", ".jsonl")
# SDKs keep ids in 32 bits (protocol §1.7). Users who sign up later get larger ids: 147 million are left for them.
LARGEST_ID = 2_000_000_000
EARLIEST = 10**8  # 1973; a smaller number is more likely a date such as 20181205
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF16 = ("\udcff\udcfe", "\udcfe\udcff")  # its byte order marks, read as UTF-8
UNCLOSED = 'were read as one, by a quote that is not closed; within quotes write " as ""'
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its number in the file, and its values by column, or why it cannot be read.

    more   how many further lines of the file belong to it, because a CSV cell in quotes has several lines
    """

    number: int
    values: Mapping[str, Any]
    error: str = ""
    more: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """The account in a line: columns of `users`, the number of its phone, and whether the number is verified.

    Columns that the file does not have are not in `columns`. `verified` is None when the file has no such column.
    """

    line: int
    id: int
    columns: dict[str, Any]
    number: int | None
    verified: bool | None
    more: int = 0


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Lines:
    """The lines of a file. Each iteration reads it again.

    Raises Invalid for a file that is not CSV or JSONL, and for a CSV header with an unknown or repeated column.
    """

    def __init__(self, file: Path) -> None:
        if file.suffix.lower() not in SUFFIXES:
            raise errors.Invalid(f"{file.name} must end with {' or '.join(SUFFIXES)}")
        self._file = file

    def __iter__(self) -> Iterator[Line]:
        return _csv(self._file) if self._file.suffix.lower() == ".csv" else _jsonl(self._file)


def _csv(file: Path) -> Iterator[Line]:
    # Bytes that are not UTF-8 are read as characters that `_text` refuses: one bad line must not stop the others.
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
        reader = csv.reader(opened, strict=True)
        header = _header(reader)
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                cells, reason = [], f"is not CSV: {error}"
            else:
                reason = _cell_error(cells, header)
            more = reader.line_num - number
            if more and (reason or _contains_lines(cells, header.index("id"))):
                yield Line(number, {}, UNCLOSED, more)
            elif reason:
                yield Line(number, {}, reason)
            elif cells:
                yield Line(number, dict(zip(header, cells, strict=True)), more=more)


def _cell_error(cells: list[str], header: list[str]) -> str:
    wrong = cells and len(cells) != len(header)
    return f"has {len(cells)} cells where the header has {len(header)}" if wrong else ""


def _contains_lines(cells: list[str], place: int) -> bool:
    """Whether a cell contains further lines of the table: lines with an id in the id column."""
    rows = [line.split(",") for cell in cells for line in cell.splitlines()[1:]]
    return any(1 < len(row) > place and row[place].strip().isdigit() for row in rows)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise errors.Invalid(f"the first line is not CSV: {error}") from None
    if header and (header[0].startswith(UTF16) or "\0" in header[0]):
        raise errors.Invalid("the file is not UTF-8: save it again as UTF-8")
    if other := next((sign for sign in (";", "\t") if len(header) == 1 and sign in header[0]), None):
        name = "tabs" if other == "\t" else f"“{other}”"
        raise errors.Invalid(f"the columns are separated by {name}: save it again with commas")
    if unknown := _unknown(header):
        raise errors.Invalid(unknown)
    if len(set(header)) < len(header) or "id" not in header:
        raise errors.Invalid("the first line must name each column once, and id among them")
    return header


def _unknown(names: "list[str] | dict[str, Any]") -> str:
    others = (name for name in names if name not in IMPORT_COLUMNS)
    unknown = ["".join(sign if sign.isprintable() else "?" for sign in name) for name in others]
    return f"unknown column {', '.join(unknown)}; there are {', '.join(IMPORT_COLUMNS)}" if unknown else ""


def _jsonl(file: Path) -> Iterator[Line]:
    with file.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            text = line.removeprefix(BYTE_ORDER_MARK).strip() if number == 1 else line.strip()
            if text:
                yield _object(number, text)


def _object(number: int, text: bytes) -> Line:
    try:
        values = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Line(number, {}, f"is not JSON: {error}")
    if not isinstance(values, dict):
        return Line(number, {}, "is not a JSON object")
    return Line(number, values, _unknown(values))


# ── parsing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def id_of(line: Line) -> int | None:
    """The line's id; None when it has no valid id."""
    try:
        return _id(line.values.get("id"))
    except errors.Invalid:
        return None


def parse(line: Line, region: str, now: int) -> Account:
    """The account in a line, checked. Raises Invalid with the reason.

    region   the application's default_region, with which the phone is read
    now      the time of the import; later times in the line are refused
    """
    if line.error:
        raise errors.Invalid(line.error)
    values = line.values
    given = {field.requested_as: _given(field, values[field.key]) for field in IMPORTED if field.key in values}
    columns = profile.columns(given)
    columns |= _times(values, now)
    number = privacy.number(columns.get("phone"), region)
    verified = _flag(values["verified"]) if "verified" in values else None
    if verified and number is None:
        raise errors.Invalid("needs a phone of 10 to 15 digits", field="verified")
    return Account(line.number, _id(values.get("id")), columns, number, verified, line.more)


def _id(value: Any) -> int:
    number = _or_none(_integer, value, "id")
    if number is None or not 1 <= number <= LARGEST_ID:
        reason = f"must be a whole number from 1 to {LARGEST_ID}, so that those who sign up later have ids, too"
        raise errors.Invalid(reason, field="id")
    return number


def _given(field: Field, value: Any) -> str | int | None:
    return _or_none(_integer, value, field.key) if field.type is int else _text(value, field.key)


def _text(value: Any, field: str) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str | None):
        raise errors.Invalid("must be a text", field=field)
    if value and ("\0" in value or not value.isascii() and _broken(value)):
        raise errors.Invalid("holds characters that cannot be stored, or is not UTF-8", field=field)
    return value


def _broken(text: str) -> bool:
    """Whether it contains lone surrogates. They are not valid Unicode, and no database stores them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _or_none(reader: Callable[[Any, str], int], value: Any, field: str) -> int | None:
    blank = value is None or (isinstance(value, str) and not value.strip())
    return None if blank else reader(value, field)


def _integer(value: Any, field: str) -> int:
    digits = value.strip() if isinstance(value, str) else value
    if isinstance(digits, str) and digits.isascii() and digits.removeprefix("-").isdigit() and len(digits) < 20:
        digits = int(digits)
    if isinstance(digits, bool) or not isinstance(digits, int) or abs(digits) >= 2**63:
        raise errors.Invalid("must be a whole number of at most 64 bits", field=field)
    return digits


def _times(values: Mapping[str, Any], now: int) -> dict[str, int | None]:
    times = {
        name: _or_none(_moment, values[name], name) for name in ("last_request_at", "created_at") if name in values
    }
    for name, at in times.items():
        if at is not None and at >= now:
            raise errors.Invalid("is in the future", field=name)
    if times.get("created_at", now) is None:
        del times["created_at"]
    return times


def _moment(value: Any, field: str) -> int:
    """A time in seconds since 1970 or in ISO 8601, also in the form of ConnectyCube: with a blank and `UTC`."""
    try:
        return _seconds(value, field)
    except (errors.Invalid, ValueError, OverflowError):
        reason = "must be a time after 1973, in ISO 8601 or in seconds since 1970"
        raise errors.Invalid(reason, field=field) from None


def _seconds(value: Any, field: str) -> int:
    if isinstance(value, str) and not value.strip().isdigit():
        when = datetime.fromisoformat(value.strip().replace(" UTC", "+00:00"))
        seconds = int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    else:
        seconds = _integer(value, field)
    if seconds < EARLIEST:
        raise ValueError
    return seconds


def _flag(value: Any) -> bool:
    spelled = "false" if value is None else str(value).strip().lower()
    if spelled and spelled not in FLAGS:
        raise errors.Invalid("must be true or false", field="verified")
    return FLAGS.get(spelled, False)
