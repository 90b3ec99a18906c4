"""Measure Ringbook over HTTP, compared with raw statements for the same work; and the delivery of pushes.

    make bench                                        both databases, a quarter of an hour; writes bench/results/
    python bench/run.py --quick --database sqlite     one minute, on smaller tables; writes nothing
    python bench/run.py --only pushes                 one part

bench/README.md describes what is measured and what the figures mean.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import machine
import push_report
import pushes
import reading
import report
from databases import KINDS, Place, place
from keyed import migrate
from loading import load
from raw import expect, open_raw
from report import DEFAULTS, UNLIMITED, Result
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rounds import BOOK, CASES, LARGE, LARGE_CASES, MIDDLE, MIDDLE_CASES, RAW, Case, Samples, Side, crowd, measure
from served import NO_LIMITS, ringbook, serve
from world import World

from ringbook import __version__

RESULTS = Path(__file__).with_name("results")
CROWD = 8
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Size:
    """The size of the measurement."""

    users: int
    holders: int
    rounds: int
    large: int
    warm_up: int = 3

    @property
    def usual(self) -> int:
        """Rounds with the warm-up."""
        return self.rounds + self.warm_up

    @property
    def owners(self) -> int:
        """The number of owners with an empty book that are needed."""
        return self.usual + 2 * self.large + CROWD


FULL = Size(users=1_000_000, holders=500, rounds=60, large=5)
QUICK = Size(users=100_000, holders=50, rounds=10, large=2)


class Bench:
    """The runs on one database."""

    def __init__(self, kind: str, size: Size, tell: Tell) -> None:
        self.kind = kind
        self.size = size
        self.tell = tell
        self.world = World(size.users)
        # The last users own the measured books. The owners of full books are spread over the other users.
        self.owners = list(range(size.users - size.owners + 1, size.users + 1))
        self.holders = list(range(1, size.users // 2, size.users // 2 // size.holders))[: size.holders]

    def run(self) -> Result:
        """Load the database, measure, and compare the content of the sides at the end."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringbook-bench-")))
            where = stack.enter_context(place(self.kind, folder))
            url, app_id = self.loaded(where)
            urls = dict(zip((DEFAULTS, UNLIMITED, RAW), where.copies(url, 3), strict=True))
            measured, memory = self.measured(urls, app_id, folder)
            self.compare(urls, app_id)
            facts = self.facts(where, folder)
        return Result(self.kind, time.strftime("%Y-%m-%d", time.gmtime()), facts, measured, memory, reading.figures())

    def loaded(self, where: Place) -> tuple[str, int]:
        """A database as after years of use, and its application."""
        url = where.empty()
        migrate(url)
        app_id = json.loads(ringbook(url, "app", "create", "bench", "--json"))["application_id"]
        load(url, self.world, app_id, self.holders, self.owners, self.tell)
        return url, app_id

    def measured(
        self, urls: dict[str, str], app_id: int, folder: Path
    ) -> tuple[list[tuple[Case, Samples]], dict[str, tuple[int, int] | None]]:
        """Measure the speed of the three sides, and the memory of the server with the default limits."""
        with (
            serve(urls[DEFAULTS], folder) as served,
            serve(urls[UNLIMITED], folder, **NO_LIMITS) as unlimited,
            closing(open_raw(urls[RAW], app_id)) as raw,
        ):
            sides: dict[str, Side] = {RAW: raw, DEFAULTS: served, UNLIMITED: unlimited}
            memory = {"the start": machine.resident(served.pid)}
            found = self.rounds(sides, self.owners[: self.size.usual], CASES, BOOK)
            memory[f"{self.size.usual} rounds"] = machine.resident(served.pid)
            crowd(served, self.world, self.owners[-CROWD:])
            memory[f"{CROWD} clients at once"] = machine.resident(served.pid)
            middle, large = self.few(0), self.few(1)
            found += self.rounds(sides, middle, MIDDLE_CASES, MIDDLE)
            found += self.rounds(sides, large, LARGE_CASES, LARGE)
            memory[f"{len(large)} uploads of {LARGE:,}"] = machine.resident(served.pid)
        return found, memory

    def few(self, turn: int) -> list[int]:
        """The number of owners for the large books."""
        start = self.size.usual + turn * self.size.large
        return self.owners[start : start + self.size.large]

    def rounds(
        self, sides: dict[str, Side], owners: list[int], cases: Sequence[Case], contacts: int
    ) -> list[tuple[Case, Samples]]:
        """Measure books of one size."""
        warm_up = self.size.warm_up if contacts == BOOK else 0
        found = measure(sides, self.world, owners, warm_up=warm_up, cases=cases, size=contacts, tell=self.tell)
        return [(case, found[case.name]) for case in cases]

    def compare(self, urls: dict[str, str], app_id: int) -> None:
        """End the benchmark unless all sides have the same contacts, because they then did different work."""
        with ExitStack() as stack:
            sides = [stack.enter_context(closing(open_raw(url, app_id))) for url in urls.values()]
            for owner in self.owners[:-CROWD]:
                first, *others = [side.contents(owner) for side in sides]
                for other in others:
                    expect(other == first, True, f"the sides hold the same contacts of owner {owner}")

    def facts(self, where: Place, folder: Path) -> dict[str, str]:
        """The head of the results: what was measured, and on which machine."""
        size = self.size
        return {
            "measured": f"Ringbook {__version__}, one process, one client; {size.rounds} rounds after {size.warm_up}",
            "tables": f"{size.users:,} users, {size.holders * 1_000:,} contacts before the first round",
            "database": where.described(),
            **machine.facts(),
            "disk": f"{machine.sync_seconds(folder) * 1e3:.2f} ms to keep a page of 4 KiB (fsync)",
            "load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included",
        }


@dataclass(frozen=True)
class Part:
    """One measurement on a database: its function, its full and its quick size, and its reports."""

    full: Callable[[str, Tell], Any]
    quick: Callable[[str, Tell], Any]
    shown: ModuleType
    file: str


PARTS = {
    "books": Part(
        full=lambda kind, tell: Bench(kind, FULL, tell).run(),
        quick=lambda kind, tell: Bench(kind, QUICK, tell).run(),
        shown=report,
        file="{date}-{kind}.md",
    ),
    "pushes": Part(
        full=lambda kind, tell: pushes.run(kind, pushes.FULL, tell),
        quick=lambda kind, tell: pushes.run(kind, pushes.QUICK, tell),
        shown=push_report,
        file="{date}-pushes-{kind}.md",
    ),
}


def main() -> int:
    arguments = parsed()
    results = []
    for kind in arguments.database or KINDS:
        for part in (PARTS[name] for name in arguments.only or PARTS):
            with told() as tell:
                result = (part.quick if arguments.quick else part.full)(kind, tell)
            results.append(part.shown.plain(result))
            if not arguments.json:
                Console(width=None if sys.stdout.isatty() else 160).print(part.shown.table(result))
            if not arguments.quick:
                keep(part, result)
    if arguments.json:
        print(json.dumps(results, indent=2))
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Ringbook: address books, and pushes.")
    parser.add_argument("--quick", action="store_true", help="a short run on smaller tables, which writes no file")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="only this part (default: both)")
    parser.add_argument("--json", action="store_true", help="print every sample as JSON instead of tables")
    return parser.parse_args()


def keep(part: Part, result: Any) -> None:
    """Write the file of the day."""
    file = RESULTS / part.file.format(date=result.date, kind=result.kind)
    file.write_text(part.shown.markdown(result))
    print(f"written to bench/results/{file.name}", file=sys.stderr)


@contextlib.contextmanager
def told() -> Iterator[Tell]:
    """Show a progress bar on stderr, and a line for each finished step."""
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*shown, console=Console(stderr=True)) as progress:
        lines: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in lines:
                lines[what] = progress.add_task(what, total=of)
            progress.update(lines[what], completed=done)

        yield tell


if __name__ == "__main__":
    sys.exit(main())
