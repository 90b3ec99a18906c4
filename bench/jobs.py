"""Measure what must not grow with the tables: the overview page's statements, and one turn of each periodic job.

    python bench/jobs.py                                     both databases with 1,000,000 users; writes bench/results/
    python bench/jobs.py --users 100000 --database sqlite    fewer of them, on one
    python bench/jobs.py --users 100000 --quick              writes nothing

The database is filled by SQL (`peopled.py`). The aim is 50 ms at the median for each line. A line that reads a slice or
a batch finds a full one each time.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import machine
from databases import KINDS, Place, place
from keyed import SEAL
from peopled import fill, recount
from report import name, pipes
from served import ringbook

from ringbook import __version__
from ringbook.config import Config
from ringbook.core import app_totals, applications, delivery, inactive, overview
from ringbook.store import db as databases
from ringbook.store import sweeps
from ringbook.store.db import Database
from ringbook.worker import jobs

RESULTS = Path(__file__).with_name("results")
AIM_MS, ROUNDS = 50, 15
DAY = 86_400
KEPT = Config(books_kept_days=90)
WARM = 2
HEAD = ("what", "median ms", "least ms", "within the aim")
# Rewriting a small file costs what its size costs, and clearing SQLite's log waits for the disk.
LEFT_OUT = ("traces of those who were erased", "what is left of deleted rows")


@dataclass(frozen=True)
class Line:
    """A line of the table: what is timed, and what comes before it each time."""

    title: str
    work: Callable[[Database, int], object]
    prepare: Callable[[Database], object] = lambda db: None


def main() -> int:
    """Measure; 1 if anything took longer than the aim."""
    parser = argparse.ArgumentParser(description="Measure the overview's statements and the periodic jobs.")
    parser.add_argument("--users", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument("--quick", action="store_true", help="write no file")
    arguments = parser.parse_args()
    late = False
    for kind in arguments.database or KINDS:
        text, rows = measured(kind, arguments.users)
        late |= any(row[-1] == "no" for row in rows)
        print(text)
        if not arguments.quick:
            file = RESULTS / f"jobs-{kind}.md"
            file.write_text(text)
            print(f"written to bench/results/{file.name}", file=sys.stderr)
    return int(late)


def measured(kind: str, users: int) -> tuple[str, list[list[str]]]:
    """The file for results/, and its table."""
    with tempfile.TemporaryDirectory(prefix="ringbook-bench-") as folder, place(kind, Path(folder)) as where:
        url = where.empty()
        ringbook(url, "migrate")
        ringbook(url, "app", "create", "Friends")
        counted = fill(url, users, lambda what: print(f"{kind}: {what}", file=sys.stderr))
        with closing(databases.connect(url, pool=2, seal=SEAL)) as db:
            seconds = recount(db)
            rows = [timed(line, db) for line in lines()]
        return report(kind, where, counted, seconds, rows), rows


def lines() -> list[Line]:
    """What is measured."""
    turns = jobs.parts(KEPT)
    return [
        Line("overview page", lambda db, now: overview.of(db, applications.get(db, 1), now)),
        Line("`/metrics`: waiting pushes", lambda db, now: delivery.waiting(db)),
        Line("totals: 1,000 changes are collected", app_totals.collect, a_batch_of_changes),
        Line("totals: 5,000 users are counted anew", app_totals.recount, begin_in_the_middle),
        Line("inactive users: the owners of 2,500 books", inactive_users, begin_in_the_middle),
        *(Line(f"job: {title}", part) for title, part in turns.items() if title not in LEFT_OUT),
    ]


def inactive_users(db: Database, now: int) -> None:
    """One slice. Nobody has been inactive for so long."""
    inactive.sweep(db, now, now - 9_000 * DAY)


def a_batch_of_changes(db: Database) -> None:
    """Record as many changes as one transaction collects."""
    with db.write() as tx:
        tx.run(
            "INSERT INTO total_changes (owner_id, app_id, users, books, contacts)"
            " SELECT id, 1, 0, 0, 1 FROM users ORDER BY id LIMIT 1000"
        )


def begin_in_the_middle(db: Database) -> None:
    """Let the sweeps go on where a full slice follows."""
    with db.write() as tx:
        for sweep in ("totals", "inactive"):
            half = tx.tuples("SELECT MAX(id) / 2 FROM users")[0][0]
            sweeps.move(tx, sweep, half, 0)


def timed(line: Line, db: Database) -> list[str]:
    """A row of the table. The clock moves on by two hours each time, so that no job rests."""
    samples = []
    for turn in range(WARM + ROUNDS):
        line.prepare(db)
        began = time.perf_counter()
        line.work(db, int(time.time()) + turn * 7_200)
        samples.append((time.perf_counter() - began) * 1000)
    median = statistics.median(samples[WARM:])
    print(f"{line.title}: {median:.1f} ms", file=sys.stderr)
    return [line.title, f"{median:.1f}", f"{min(samples[WARM:]):.1f}", "yes" if median <= AIM_MS else "no"]


def report(kind: str, where: Place, counted: dict[str, int], seconds: float, rows: list[list[str]]) -> str:
    """Everything as text."""
    facts = {
        "measured": f"Ringbook {__version__}, in one process; {ROUNDS} times each",
        "tables": ", ".join(f"{count:,} {what}" for what, count in counted.items()),
        "all slices of a recount, one after the other": f"{seconds:.1f} s",
        "database": where.described(),
        **machine.facts(("psycopg",)),
        "load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included",
    }
    parts = [
        f"# Periodic jobs and the overview on {name(kind)}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        pipes(("", ""), [[key, value] for key, value in facts.items()]),
        pipes(HEAD, rows),
        "What this is, and how to measure again: [bench/README.md](../README.md).",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
