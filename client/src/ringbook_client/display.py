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

MOST = 20  # lines of one kind, then how many more there are
BAR = 30
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

    def say(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            print(text, flush=True)

    def answer(self, value: Any) -> None:
        """A value for programs."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False, indent=2), flush=True)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as they need to be."""
        lines = [head, *rows]
        widths = [max(map(columns, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True))
            self.say("  ".join(cells).rstrip())

    # ── progress ─────────────────────────────────────────────────────────────────────────────────────────────────

    def progress(self, done: int, total: int) -> None:
        """So much is uploaded."""
        if self._bar and total:
            filled = BAR * done // total
            print(f"\rUploading [{'#' * filled}{'.' * (BAR - filled)}] {done:,} of {total:,} ", end="", file=sys.stderr)
            if done == total:
                print("\r" + " " * (BAR + 40) + "\r", end="", file=sys.stderr)
            sys.stderr.flush()

    # ── what came of it ──────────────────────────────────────────────────────────────────────────────────────────

    def contacts(self, contacts: Sequence[Contact]) -> None:
        """A book."""
        shown = [self.contact(one) for one in contacts]
        self.answer(shown)
        if shown:
            self.table(("name", "number"), [(one["name"], one["phone"]) for one in shown])

    def registered(self, friends: Sequence[Registered]) -> None:
        """Contacts who are users."""
        shown = [{"id": one.id, "name": self.name(one.name), "phone": self.phone(one.phone)} for one in friends]
        self.answer(shown)
        if shown:
            self.table(("user", "name in your book", "number"), [list(map(str, one.values())) for one in shown])

    def contact(self, one: Contact) -> dict[str, str]:
        return {"name": self.name(one.name), "phone": self.phone(one.phone)}

    def plan(self, plan: Plan, problems: Sequence[Problem]) -> None:
        """What a sync would do."""
        change = plan.difference
        kinds = {"added": change.added, "renamed": change.renamed, "removed": change.removed}
        lists = {kind: [self.contact(one) for one in of] for kind, of in kinds.items()}
        self.answer({"full": plan.full, **lists, "problems": listed(problems)})
        if plan.full:
            self.say(f"The whole book would be uploaded: {plan.full}.")
        for sign, kind in (("+", "added"), ("~", "renamed"), ("-", "removed")):
            self.some([f"{sign} {one['name']}  {one['phone']}" for one in lists[kind]])
        if not change:
            self.say("Nothing has changed.")
        self.problems(problems)

    def synced(self, synced: Synced, problems: Sequence[Problem]) -> None:
        """What a sync has done."""
        counts = {kind: getattr(synced, kind) for kind in ("added", "renamed", "removed", "unchanged")}
        rejected = [self.rejected(one) for one in synced.rejected]
        self.answer({"full": synced.full, **counts, "rejected": rejected, "problems": listed(problems)})
        if synced.full:
            self.say(f"The whole book was uploaded: {synced.full}.")
        rows = {**counts, "not accepted": len(rejected)}
        self.table(("contacts", ""), [(kind, f"{count:,}") for kind, count in rows.items()])
        if rejected:
            self.say("\nThe server did not accept:")
            self.some([f"  {one['name']}  {one['phone']}  {'; '.join(one['reasons'])}" for one in rejected])
        self.problems(problems)

    def rejected(self, one: Rejected) -> dict[str, Any]:
        name = self.name(one.entry.name) if isinstance(one.entry, Contact) else ""
        return {"name": name, "phone": self.phone(one.entry.phone), "reasons": list(one.reasons)}

    def problems(self, problems: Sequence[Problem]) -> None:
        """What of the file could not be read."""
        if problems:
            self.say("\nCould not be read:")
            self.some([f"  line {one.line}: {one.reason}" for one in problems])

    def some(self, lines: Sequence[str]) -> None:
        """The first lines, and how many more there are."""
        for line in lines[:MOST]:
            self.say(line)
        if len(lines) > MOST:
            self.say(f"  … and {len(lines) - MOST:,} more (--json shows all)")


def listed(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [{"line": one.line, "reason": one.reason} for one in problems]


def columns(text: str) -> int:
    """How wide a text is on a terminal: signs of East Asia take two columns, accents none."""
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)
