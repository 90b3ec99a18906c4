"""Measure Ringbook: address books beside raw statements, Starlette and Sydent; and the delivery of joined pushes.

    make bench                                        both databases, about 20 minutes; writes bench/results/
    python bench/run.py --quick --database sqlite     one minute, on smaller tables; writes nothing
    python bench/run.py --only books                  one part

Exits 1, with the reason in the last line, if a must of `musts.py` is missed. bench/README.md describes what is measured
and what the figures mean.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import books
import figures
import latest
import musts
import push_report
import pushes
import report
from databases import KINDS
from pushes import Result as PushResult
from report import columns
from rich.console import Console
from showing import Tell, told

RESULTS = Path(__file__).with_name("results")


@dataclass
class Measured:
    """The parts of one database; None if a part was not asked for."""

    kind: str
    books: report.Result | None = None
    pushes: PushResult | None = None

    def rows(self) -> list[musts.Row]:
        """The rows of the table of musts; those of a part that was not measured are left out."""
        joined = push_report.joined(self.pushes) if self.pushes else {}
        found = report.found(self.books, joined) if self.books else musts.Found(self.kind, joined=joined)
        left_out = [name for name, part in (("books", self.books), ("pushes", self.pushes)) if part is None]
        return [row for row in musts.judged(found) if row.part not in left_out]


@dataclass(frozen=True)
class Part:
    """One measurement on a database: how it runs, and how its result is shown."""

    full: Callable[[str, Tell], Any]
    quick: Callable[[str, Tell], Any]
    shown: Any
    file: str


PARTS = {
    "books": Part(
        full=lambda kind, tell: books.Books(kind, books.FULL, tell).run(),
        quick=lambda kind, tell: books.Books(kind, books.QUICK, tell).run(),
        shown=report,
        file="books-{kind}.md",
    ),
    "pushes": Part(
        full=lambda kind, tell: pushes.run(kind, pushes.FULL, tell),
        quick=lambda kind, tell: pushes.run(kind, pushes.QUICK, tell),
        shown=push_report,
        file="pushes-{kind}.md",
    ),
}


def main() -> int:
    arguments = parsed()
    screen = Console(width=None if sys.stdout.isatty() else 160, stderr=arguments.json)
    runs = [measured(kind, arguments, screen) for kind in arguments.database or KINDS]
    if arguments.json:
        parts = [(PARTS[name], getattr(run, name)) for run in runs for name in PARTS]
        print(json.dumps([part.shown.plain(result) for part, result in parts if result], indent=2))
    if arguments.write:
        figures.write()
    return musts.verdict([row for run in runs for row in run.rows()], lambda line: screen.print(line, soft_wrap=True))


def measured(kind: str, arguments: argparse.Namespace, screen: Console) -> Measured:
    """All parts of one database."""
    run = Measured(kind)
    for name in arguments.only or PARTS:
        part = PARTS[name]
        with told() as tell:
            result = (part.quick if arguments.quick else part.full)(kind, tell)
        setattr(run, name, result)
        screen.print(part.shown.table(result))
        if arguments.write:
            file = RESULTS / part.file.format(kind=kind)
            file.write_text(part.shown.markdown(result))
    rows = run.rows()
    screen.print(columns(f"Musts on {report.name(kind)}", musts.HEAD, [musts.cells(row) for row in rows]))
    if arguments.write:
        keep(run, rows)
    return run


def keep(run: Measured, rows: list[musts.Row]) -> None:
    """Keep what `figures.py` shows."""
    for name, result in (("books", run.books), ("pushes", run.pushes)):
        if result:
            own = latest.plain([row for row in rows if row.part == name])
            more = report.summary(result) if isinstance(result, report.Result) else {}
            latest.keep(name, run.kind, {"date": result.date, "facts": result.facts, "musts": own, **more})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Ringbook: address books, and pushes.")
    parser.add_argument("--quick", action="store_true", help="a short run on smaller tables, which writes no file")
    parser.add_argument("--write", action="store_true", help="write the results of a short run, too")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="only this part (default: both)")
    parser.add_argument("--json", action="store_true", help="print every sample as JSON, and the tables on stderr")
    arguments = parser.parse_args()
    arguments.write |= not arguments.quick
    return arguments


if __name__ == "__main__":
    sys.exit(main())
