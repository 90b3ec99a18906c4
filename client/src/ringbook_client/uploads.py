"""An upload, as the requests that it takes.

    upload(entries, …)      additions and removals in parts, a whole book with `force` always in one request

A book that is replaced in parts would for a moment lack all that the next parts bring.
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
    """The requests of one upload; it returns the report on all of it.

    progress   is told how many entries are done, of how many; first 0

    When a part fails, its error's `applied` is the report on the parts before it, and nothing later is sent.
    """
    report_progress = progress or (lambda done, total: None)
    size = len(entries) if force else part
    done = Report()
    report_progress(0, len(entries))
    # An empty upload is still one request: with `force` it empties the book.
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
    """The report on everything up to here; positions count from the beginning of the whole."""
    rejected = tuple(replace(one, position=one.position + start) for one in part.rejected)
    return Report(
        created=done.created + part.created,
        updated=done.updated + part.updated,
        deleted=done.deleted + part.deleted,
        rejected=done.rejected + rejected,
    )
