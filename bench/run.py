"""Measure Ringbook: address books beside raw statements, Starlette and Sydent; and the delivery of joined pushes.

    make bench                                        both databases, about 20 minutes; writes bench/results/
    python bench/run.py --resume                      only what was not measured today
    python bench/run.py --quick --database sqlite     one minute, on smaller tables; writes nothing
    python bench/run.py --only books                  one part

A run has four slices: two parts on two databases. Each slice is written when it ends, so a run that is stopped goes on
with `--resume`. Exits 1, with the reason in the last line, if a must of `musts.py` is missed. bench/README.md describes
what is measured and what the figures mean.
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
FULL, QUICK = "full", "quick"  # the size of a run


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
    rows: list[musts.Row] = []
    samples: list[Any] = []
    for kind in arguments.database or KINDS:
        for name in arguments.only or PARTS:
            if arguments.resume and (found := latest.of_today(name, kind, FULL)):
                screen.print(f"{name} on {report.name(kind)}: measured today")
            else:
                result = measured(name, kind, arguments, screen)
                samples.append(PARTS[name].shown.plain(result) if arguments.json else None)
                found = rows_of(name, kind, result)
            rows += found
        own = [row for row in rows if row.kind == kind]
        screen.print(columns(f"Musts on {report.name(kind)}", musts.HEAD, [musts.cells(row) for row in own]))
    if arguments.json:
        print(json.dumps(samples, indent=2))
    return musts.verdict(rows, lambda line: screen.print(line, soft_wrap=True))


def measured(name: str, kind: str, arguments: argparse.Namespace, screen: Console) -> Any:
    """One part on one database: measured, shown, and written."""
    part = PARTS[name]
    with told() as tell:
        result = (part.quick if arguments.quick else part.full)(kind, tell)
    screen.print(part.shown.table(result))
    if arguments.write:
        (RESULTS / part.file.format(kind=kind)).write_text(part.shown.markdown(result))
        keep(name, kind, result, QUICK if arguments.quick else FULL)
        figures.write()
    return result


def rows_of(name: str, kind: str, result: Any) -> list[musts.Row]:
    """The rows of the table of musts that this part measures."""
    pushed = isinstance(result, PushResult)
    found = musts.Found(kind, joined=push_report.joined(result)) if pushed else report.found(result)
    return [row for row in musts.judged(found) if row.part == name]


def keep(name: str, kind: str, result: Any, size: str) -> None:
    """Keep what `figures.py` shows."""
    own = latest.plain(rows_of(name, kind, result))
    more = report.summary(result) if isinstance(result, report.Result) else {}
    latest.keep(name, kind, {"date": result.date, "size": size, "facts": result.facts, "musts": own, **more})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Ringbook: address books, and pushes.")
    parser.add_argument("--quick", action="store_true", help="a short run on smaller tables, which writes no file")
    parser.add_argument("--write", action="store_true", help="write the results of a short run, too")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="only this part (default: both)")
    parser.add_argument("--json", action="store_true", help="print every sample as JSON, and the tables on stderr")
    parser.add_argument("--resume", action="store_true", help="leave out what a full run has measured today")
    arguments = parser.parse_args()
    arguments.write |= not arguments.quick
    return arguments


if __name__ == "__main__":
    sys.exit(main())
