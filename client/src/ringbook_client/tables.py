"""Reads contacts from CSV: a column of names and one of numbers, or the exports of Google and Outlook.

    read_csv(raw)           the contacts of a file: one for each number of each row
    parse_rows(lines, …)    the rows of a file, each with the number of its first line

Columns are found by their headings or, in a file without headings, by their contents.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .errors import Unreadable
from .model import Contact
from .reading import Problem, Reading, decoded, deduplicated, without_extension

NO_COLUMN = (
    "the file has no column of phone numbers: its first line must name the columns, such as name,phone;"
    " or export the contacts as vCard (.vcf)"
)
NO_ROW = "the file has headings but no contacts: export the contacts again"
NO_READABLE_ROW = "no row of the file can be read: export the contacts again"
BROKEN = "a quotation mark is not closed"
NO_NUMBER = "the row has no phone number"
DELIMITERS = ",;\t|"
SAMPLE_ROWS = 20  # rows that are examined to find the delimiter and the columns

NUMBER = re.compile(r"(?i)(?:tel:)?[+\d\s().\-/\u00a0\u2010-\u2015]*")
WHOLE_NAME = ("name", "full name", "display name", "contact", "contact name", "file as")
NAME_PARTS = (
    ("name prefix",),
    ("first name", "given name", "firstname"),
    ("middle name", "additional name"),
    ("last name", "family name", "surname", "lastname"),
    ("name suffix", "suffix"),
)
OTHER_NAMES = ("organization name", "organization 1 - name", "company", "organization", "nickname")
# Google's "Phone 1 - Label", "Phone 1 - Type" and "Phonetic Name" are not phone numbers.
PHONE = re.compile(
    r"phone(?!tic).*|.*\bphone(?: \d)?|phone \d+ - value|tel|telephone.*|mobile.*|cell.*|(phone )?number"
)
NOT_PHONE = re.compile(r".* - (label|type)|.*\b(e-?mail|type|label|fax)\b.*")


@dataclass(frozen=True, slots=True)
class Columns:
    """The indexes of the columns.

    names    choices for the name; the columns of a choice are joined, and the first choice that is not empty is used
    phones   the columns of phone numbers
    """

    names: tuple[tuple[int, ...], ...]
    phones: tuple[int, ...]


def read_csv(raw: bytes) -> Reading:
    """The contacts of all rows; a row that cannot be read becomes a Problem. Unreadable if no column has numbers."""
    lines = [decoded(line) for line in re.split(rb"(?<=\n)|(?<=\r)(?!\n)", raw)]
    if lines[0].lower().startswith("sep="):  # a line that Excel writes to name the delimiter
        delimiter, skipped = lines[0].strip()[4:5] or ",", 1
    else:
        delimiter, skipped = _delimiter(lines), 0
    problems: list[Problem] = []
    rows = [row for row in parse_rows(lines, delimiter, problems, skipped) if any(cell.strip() for cell in row[1])]
    columns, has_headings = _columns([row for _, row in rows])
    if has_headings and len(rows) == 1 and not problems:
        raise Unreadable(NO_ROW)
    contacts: list[Contact] = []
    for line, row in rows[has_headings:]:
        contacts += _contacts(row, columns)
        if not has_headings and not _numbers(row, columns):
            problems.append(Problem(line, NO_NUMBER))
    problems.sort(key=lambda problem: problem.line)
    if problems and not contacts:
        raise Unreadable(f"{NO_READABLE_ROW} (line {problems[0].line}: {problems[0].reason})")
    return Reading(deduplicated(contacts), tuple(problems))


def _contacts(row: Sequence[str], columns: Columns) -> Iterator[Contact]:
    choices = (" ".join(" ".join(_cell(row, i) for i in choice).split()) for choice in columns.names)
    name = next((choice for choice in choices if choice), "")
    for number in _numbers(row, columns):
        yield Contact(name or number, number)


def _numbers(row: Sequence[str], columns: Columns) -> list[str]:
    """The numbers of a row. Google writes several into one cell, separated by ` ::: `."""
    values = (value for i in columns.phones for value in _cell(row, i).split(":::"))
    return [number for value in values if (number := " ".join(without_extension(value).split()))]


def _cell(row: Sequence[str], i: int) -> str:
    return row[i] if i < len(row) else ""


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _columns(rows: Sequence[Sequence[str]]) -> tuple[Columns, bool]:
    """The columns, and whether the first row contains headings."""
    if not rows:
        raise Unreadable(NO_COLUMN)
    headings = [" ".join(cell.lower().split()) for cell in rows[0]]
    phones = tuple(i for i, heading in enumerate(headings) if _is_phone_heading(heading))
    if not phones or any(map(_looks_like_number, rows[0])):
        return _columns_by_content(rows)
    whole = [(headings.index(name),) for name in WHOLE_NAME if name in headings]
    parts = tuple(i for names in NAME_PARTS for i, heading in enumerate(headings) if heading in names)
    others = [(headings.index(name),) for name in OTHER_NAMES if name in headings]
    return Columns((*whole[:1], parts, *whole[1:], *others), phones), True


def _is_phone_heading(heading: str) -> bool:
    return bool(PHONE.fullmatch(heading)) and not NOT_PHONE.fullmatch(heading)


def _columns_by_content(rows: Sequence[Sequence[str]]) -> tuple[Columns, bool]:
    """Find columns by contents: most cells of a number column look like numbers; the first other column has names."""
    sample = rows[:SAMPLE_ROWS]
    width = max(map(len, sample))
    counts = [sum(_looks_like_number(_cell(row, i)) for row in sample) for i in range(width)]
    phones = tuple(i for i, count in enumerate(counts) if count and count * 2 >= max(counts))
    if not phones:
        raise Unreadable(NO_COLUMN)
    name = next(((i,) for i in range(width) if i not in phones), ())
    # Headings in an unknown language: the first row has no number, the others have.
    has_headings = len(rows) > 1 and not any(map(_looks_like_number, rows[0]))
    return Columns((name,), phones), has_headings


def _looks_like_number(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell.strip())) and sum(sign.isdigit() for sign in cell) >= 5


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that yields the most number cells or headings; then the most rows as wide as the first."""

    def fits(delimiter: str) -> tuple[int, int, int]:
        rows = [row for _, row in parse_rows(lines[:SAMPLE_ROWS], delimiter, []) if row]
        width = len(rows[0]) if rows else 0
        numbers = sum(
            any(_looks_like_number(cell) or _is_phone_heading(cell.strip().lower()) for cell in row) for row in rows
        )
        return numbers, sum(len(row) == width for row in rows), width

    return max(DELIMITERS, key=fits)


def parse_rows(
    lines: Sequence[str], delimiter: str, problems: list[Problem], start: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """The rows from line `start` on, each with the number of its first line, from 1.

    A quoted cell may contain line breaks. If a quotation mark is not closed, its line becomes a Problem, and reading
    continues with the next line.
    """
    while start < len(lines):
        reader = csv.reader((lines[i] for i in range(start, len(lines))), delimiter=delimiter, strict=True)
        first = start
        try:
            for row in reader:
                yield first + 1, row
                first = start + reader.line_num
            return
        except csv.Error:
            row = [] if start + reader.line_num > first + 1 else _parse_leniently(lines[first], delimiter)
            if row:
                yield first + 1, row
            else:
                problems.append(Problem(first + 1, BROKEN))
            start = first + 1


def _parse_leniently(line: str, delimiter: str) -> list[str]:
    """Parse one line with misplaced quotation marks; an empty row if their number is odd."""
    if line.count('"') % 2:
        return []
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return []
