"""Splits an upload into requests.

    upload(entries, …)      additions and removals in parts; a whole address book with `force` in one request

A whole address book is never sent in parts: between two parts, the contacts of the later ones would be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

from . import calls, errors
from .calls import Call, Entry
from .model import Report

Progress = Callable[[int, int], None]
PART_SIZE = 1_000


def upload(
    entries: Sequence[Entry],
    *,
    force: bool = False,
    device: str | None = None,
    part: int = PART_SIZE,
    progress: Progress | None = None,
) -> Generator[Call[Report], Any, Report]:
    """The requests of one upload; returns the combined report.

    progress   called with the number of entries that are done, and of all entries; the first call is with 0

    If a part fails, its exception's `applied` is the report on the parts before it, and the later parts are not sent.
    """
    report_progress = progress or (lambda done, total: None)
    size = len(entries) if force else part
    done = Report()
    report_progress(0, len(entries))
    # An empty upload is still one request: with `force` it empties the address book.
    for start in range(0, len(entries), size) if entries else [0]:
        entries_of_part = entries[start : start + size]
        try:
            report = yield calls.upload_address_book(entries_of_part, force=force, device=device)
        except errors.RingbookError as error:
            error.applied = done if start else None
            raise
        done = combined(done, report, start)
        report_progress(start + len(entries_of_part), len(entries))
    return done


def combined(done: Report, part: Report, start: int) -> Report:
    """Add the report on a part, which begins at entry `start`, to the report on the parts before it."""
    rejected = tuple(replace(one, position=one.position + start) for one in part.rejected)
    return Report(
        created=done.created + part.created,
        updated=done.updated + part.updated,
        deleted=done.deleted + part.deleted,
        rejected=done.rejected + rejected,
    )
