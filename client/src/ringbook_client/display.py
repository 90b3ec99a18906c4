"""What the command shows: tables and progress for people, JSON for programs, and of numbers only the end.

Display(…)                what may be shown, and how
printable(text)           a name that does nothing to the terminal
masked(number)            the last two digits
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from .model import Contact, Registered, Rejected
from .reading import Problem
from .sync import Plan, Synced

MAX_LINES = 20  # lines of one kind, then how many more there are
BAR_WIDTH = 30
NUMBER = re.compile(r"[+(]?\d[\d\s().\-/\u00a0\u2010-\u2015]{4,}\d")


def printable(text: str) -> str:
    """A text on one line, without what could move the cursor or change colours."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def masked(number: str) -> str:
    """A number by its last two digits."""
    digits = re.sub(r"\D", "", number)
    return f"…{digits[-2:]}" if len(digits) > 3 else "…"


class Display:
    """Shows results on stdout and progress on stderr.

    as_json        for programs
    show_numbers   whole numbers
    """

    def __init__(self, *, as_json: bool, show_numbers: bool) -> None:
        self.as_json = as_json
        self.show_numbers = show_numbers
        self._bar = not as_json and sys.stderr is not None and sys.stderr.isatty()  # closed, it is None

    def phone(self, phone: str | None) -> str:
        if not phone:
            return ""
        return printable(phone) if self.show_numbers else masked(phone)

    def name(self, name: str) -> str:
        """A name; one that is nothing but a number, or holds one, is no way around the mask."""
        shown = printable(name)
        return shown if self.show_numbers else NUMBER.sub(lambda found: masked(found[0]), shown)

    def print_line(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            print(text, flush=True)

    def print_json(self, value: Any) -> None:
        """A value for programs."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False, indent=2), flush=True)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as they need to be."""
        lines = [head, *rows]
        widths = [max(map(display_width, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell + " " * (width - display_width(cell)) for cell, width in zip(line, widths, strict=True))
            self.print_line("  ".join(cells).rstrip())

    # ── progress ─────────────────────────────────────────────────────────────────────────────────────────────────

    def progress(self, done: int, total: int) -> None:
        """So much is uploaded."""
        if self._bar and total:
            filled = BAR_WIDTH * done // total
            print(
                f"\rUploading [{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done:,} of {total:,} ",
                end="",
                file=sys.stderr,
            )
            if done == total:
                print("\r" + " " * (BAR_WIDTH + 40) + "\r", end="", file=sys.stderr)
            sys.stderr.flush()

    # ── what came of it ──────────────────────────────────────────────────────────────────────────────────────────

    def contacts(self, contacts: Sequence[Contact]) -> None:
        """A book."""
        shown = [self.contact(contact) for contact in contacts]
        self.print_json(shown)
        if shown:
            self.table(("name", "number"), [(contact["name"], contact["phone"]) for contact in shown])

    def registered(self, friends: Sequence[Registered]) -> None:
        """Contacts who are users."""
        shown = [
            {"id": contact.id, "name": self.name(contact.name), "phone": self.phone(contact.phone)}
            for contact in friends
        ]
        self.print_json(shown)
        if shown:
            self.table(("user", "name in your book", "number"), [list(map(str, contact.values())) for contact in shown])

    def contact(self, contact: Contact) -> dict[str, str]:
        return {"name": self.name(contact.name), "phone": self.phone(contact.phone)}

    def plan(self, plan: Plan, problems: Sequence[Problem]) -> None:
        """What a sync would do."""
        change = plan.difference
        kinds = {"added": change.added, "renamed": change.renamed, "removed": change.removed}
        lists = {kind: [self.contact(contact) for contact in of] for kind, of in kinds.items()}
        self.print_json({"full": plan.full, **lists, "problems": problems_json(problems)})
        if plan.full:
            self.print_line(f"The whole book would be uploaded: {plan.full}.")
        for sign, kind in (("+", "added"), ("~", "renamed"), ("-", "removed")):
            self.print_some([f"{sign} {contact['name']}  {contact['phone']}" for contact in lists[kind]])
        if not change:
            self.print_line("Nothing has changed.")
        self.problems(problems)

    def synced(self, synced: Synced, problems: Sequence[Problem]) -> None:
        """What a sync has done."""
        counts = {kind: getattr(synced, kind) for kind in ("added", "renamed", "removed", "unchanged")}
        rejected = [self.rejected(contact) for contact in synced.rejected]
        self.print_json({"full": synced.full, **counts, "rejected": rejected, "problems": problems_json(problems)})
        if synced.full:
            self.print_line(f"The whole book was uploaded: {synced.full}.")
        rows = {**counts, "not accepted": len(rejected)}
        self.table(("contacts", ""), [(kind, f"{count:,}") for kind, count in rows.items()])
        if rejected:
            self.print_line("\nThe server did not accept:")
            self.print_some(
                [f"  {contact['name']}  {contact['phone']}  {'; '.join(contact['reasons'])}" for contact in rejected]
            )
        self.problems(problems)

    def rejected(self, contact: Rejected) -> dict[str, Any]:
        name = self.name(contact.entry.name) if isinstance(contact.entry, Contact) else ""
        return {"name": name, "phone": self.phone(contact.entry.phone), "reasons": list(contact.reasons)}

    def problems(self, problems: Sequence[Problem]) -> None:
        """What of the file could not be read."""
        if problems:
            self.print_line("\nCould not be read:")
            self.print_some([f"  line {contact.line}: {contact.reason}" for contact in problems])

    def print_some(self, lines: Sequence[str]) -> None:
        """The first lines, and how many more there are."""
        for line in lines[:MAX_LINES]:
            self.print_line(line)
        if len(lines) > MAX_LINES:
            self.print_line(f"  … and {len(lines) - MAX_LINES:,} more (--json shows all)")


def problems_json(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [{"line": contact.line, "reason": contact.reason} for contact in problems]


def display_width(text: str) -> int:
    """How wide a text is on a terminal: signs of East Asia take two columns, accents none."""
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)
