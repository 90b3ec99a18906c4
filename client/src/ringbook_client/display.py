"""Prints the results of the command: tables and progress for people, JSON for programs. Phone numbers are masked.

Display(…)                prints results to stdout and progress to stderr
ProgressLine(…)           a line on a terminal that moves while the server is at work
masked(number)            the last two digits of a number
display_width(text)       the columns that a text takes on a terminal
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from . import changes
from .model import Contact, Registered, Rejected
from .reading import Problem
from .sync import Plan, Synced
from .wire import printable

MAX_LINES = 20  # contacts of one kind that are listed; then only their number is given
BAR_WIDTH = 30
PROGRESS_WIDTH = 80  # each progress text overwrites the one before it
TICK_SECONDS = 0.25
SPINNER = "|/-\\"
NUMBER = re.compile(r"[+(]?\d[\d\s().\-/\u00a0\u2010-\u2015]{4,}\d")


def masked(number: str) -> str:
    """The last two digits of a number, after an ellipsis."""
    digits = re.sub(r"\D", "", number)
    return f"…{digits[-2:]}" if len(digits) > 3 else "…"


class ProgressLine:
    """A line on a terminal that is written over until it ends.

    A whole address book is one request, whose progress nobody knows. So a thread moves a mark and counts the seconds.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._lock = threading.Lock()
        self._text = ""
        self._ended: threading.Event | None = None

    def show(self, text: str) -> None:
        """Replace the text of the line; the first text begins it."""
        with self._lock:
            self._text = text
            self._write(text)
        if self._ended is None:
            self._ended = threading.Event()
            threading.Thread(target=self._move, args=(self._ended,), daemon=True).start()

    def end(self, text: str = "") -> None:
        """End the line, with a last text if there is one. Nothing happens if it has not begun."""
        with self._lock:
            ended, self._ended = self._ended, None
            if ended:
                ended.set()
            if text:
                self._write(text)
            if ended or text:
                print(file=self._terminal, flush=True)

    def _move(self, ended: threading.Event) -> None:
        began, mark = time.monotonic(), 0
        while not ended.wait(TICK_SECONDS):
            with self._lock:
                if ended.is_set():
                    return
                mark += 1
                self._write(f"{SPINNER[mark % len(SPINNER)]} {self._text} {time.monotonic() - began:.0f} s")

    def _write(self, text: str) -> None:
        print(f"\r{text:<{PROGRESS_WIDTH}}", end="", file=self._terminal, flush=True)


class Display:
    """Prints results to stdout and progress to stderr.

    as_json        print JSON for programs
    show_numbers   show full phone numbers
    """

    def __init__(self, *, as_json: bool, show_numbers: bool) -> None:
        self.as_json = as_json
        self.show_numbers = show_numbers
        # sys.stderr is None if the process was started with stderr closed.
        shows_progress = not as_json and sys.stderr is not None and sys.stderr.isatty()
        self._progress = ProgressLine(sys.stderr) if shows_progress else None

    def phone(self, phone: str | None) -> str:
        if not phone:
            return ""
        return printable(phone) if self.show_numbers else masked(phone)

    def name(self, name: str) -> str:
        """A name to show. Phone numbers inside names are masked too."""
        shown = printable(name)
        return shown if self.show_numbers else NUMBER.sub(lambda found: masked(found[0]), shown)

    def print_line(self, text: str = "") -> None:
        """Print a line for people."""
        if not self.as_json:
            print("\n".join(map(printable, text.split("\n"))), flush=True)

    def print_json(self, value: Any) -> None:
        """Print a value for programs."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False, indent=2), flush=True)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; each column is as wide as its widest cell."""
        lines = [head, *rows]
        widths = [max(map(display_width, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell + " " * (width - display_width(cell)) for cell, width in zip(line, widths, strict=True))
            self.print_line("  ".join(cells).rstrip())

    # ── progress ─────────────────────────────────────────────────────────────────────────────────────────────────

    def progress(self, done: int, total: int) -> None:
        """Show the progress of an upload. There is no bar before the first part is done: most uploads have one part."""
        if not self._progress or not total:
            return
        if done == total:
            self._progress.end(f"Uploaded {total:,} contacts.")
        elif done:
            filled = BAR_WIDTH * done // total
            self._progress.show(f"Uploading [{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done:,} of {total:,}")
        else:
            self._progress.show(f"Uploading {total:,} contacts ...")

    def end_progress(self) -> None:
        """End the progress line of an upload that failed, so that the error message gets a line of its own."""
        if self._progress:
            self._progress.end()

    # ── results ──────────────────────────────────────────────────────────────────────────────────────────────────

    def contacts(self, contacts: Sequence[Contact]) -> None:
        """Print an address book."""
        shown = [self.contact(contact) for contact in contacts]
        self.print_json(shown)
        if shown:
            self.table(("name", "number"), [(contact["name"], contact["phone"]) for contact in shown])

    def registered(self, friends: Sequence[Registered]) -> None:
        """Print the contacts who are registered users."""
        shown = [
            {"id": friend.id, "name": self.name(friend.name), "phone": self.phone(friend.phone)} for friend in friends
        ]
        self.print_json(shown)
        if shown:
            self.table(("user", "name in your book", "number"), [list(map(str, friend.values())) for friend in shown])

    def contact(self, contact: Contact) -> dict[str, str]:
        return {"name": self.name(contact.name), "phone": self.phone(contact.phone)}

    def plan(self, plan: Plan, problems: Sequence[Problem]) -> None:
        """Print what a sync would do."""
        change, respelled = changes.without_respelled(plan.difference)
        kinds = {"added": change.added, "renamed": change.renamed, "removed": change.removed}
        lists: dict[str, Any] = {kind: [self.contact(one) for one in contacts] for kind, contacts in kinds.items()}
        lists["respelled"] = [self.contact(after) | {"before": self.phone(before.phone)} for before, after in respelled]
        self.print_json({"full": plan.full, **lists, "problems": problems_json(problems)})
        if plan.full:
            self.print_line(f"The whole address book would be uploaded: {plan.full}.")
        for sign, contacts in (("+", change.added), ("~", change.renamed), ("-", change.removed)):
            self.print_some([f"{sign} {self.line(contact)}" for contact in contacts])
        self.print_some([f"~ {self.line(contact)}  (number spelled differently)" for _, contact in respelled])
        if not plan.difference:
            self.print_line("Nothing has changed.")
        self.problems(problems)

    def line(self, contact: Contact) -> str:
        return f"{self.name(contact.name)}  {self.phone(contact.phone)}"

    def synced(self, synced: Synced, problems: Sequence[Problem]) -> None:
        """Print what a sync did."""
        counts = {kind: getattr(synced, kind) for kind in ("added", "renamed", "respelled", "removed", "unchanged")}
        rejected = [self.rejected(rejection) for rejection in synced.rejected]
        self.print_json({"full": synced.full, **counts, "rejected": rejected, "problems": problems_json(problems)})
        if synced.full:
            self.print_line(f"The whole address book was uploaded: {synced.full}.")
        rows = {**counts, "rejected": len(rejected)}
        self.table(("contacts", ""), [(kind, f"{count:,}") for kind, count in rows.items()])
        if rejected:
            self.print_line("\nThe server rejected:")
            self.print_some([f"  {one['name']}  {one['phone']}  {'; '.join(one['reasons'])}" for one in rejected])
        self.problems(problems)

    def rejected(self, rejection: Rejected) -> dict[str, Any]:
        name = self.name(rejection.entry.name) if isinstance(rejection.entry, Contact) else ""
        return {"name": name, "phone": self.phone(rejection.entry.phone), "reasons": list(rejection.reasons)}

    def problems(self, problems: Sequence[Problem]) -> None:
        """Print the parts of the file that could not be read."""
        if problems:
            self.print_line("\nThese parts of the file could not be read:")
            self.print_some([f"  line {problem.line}: {printable(problem.reason)}" for problem in problems])

    def print_some(self, lines: Sequence[str]) -> None:
        """Print the first lines, and the number of the others."""
        for line in lines[:MAX_LINES]:
            self.print_line(line)
        if len(lines) > MAX_LINES:
            self.print_line(f"  … and {len(lines) - MAX_LINES:,} more (--json shows all)")


def problems_json(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [{"line": problem.line, "reason": printable(problem.reason)} for problem in problems]


def display_width(text: str) -> int:
    """The columns that a text takes on a terminal: two for a wide East Asian character, none for a combining accent."""
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)
