"""Failures under load, longer than in the tests: several rounds of each failure, and the requests lost in all of them.

    .venv/bin/python bench/breaking.py [--rounds 10]     writes results/breaking.md; about five minutes

It does what tests/e2e/test_broken.py does (tests/broken.py), and needs what the tests need.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import machine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import broken
from crowd import Crowd
from servers import Databases, Stoppable, migrate, private_folder

RESULTS = Path(__file__).parent / "results"
HEAD = ("what breaks", "times", "answered with success", "lost", "meanwhile", "seconds")
Row = tuple[str, int, int, int, str, float]


def main() -> None:
    """Run all scenarios, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="how often each thing breaks")
    rounds = parser.parse_args().rounds
    rows = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        for row in breaking(Databases(Path(name), stack), Path(name), rounds):
            rows.append(row)
            print(line(row), flush=True)
    file = RESULTS / "breaking.md"
    file.write_text(page(rows), "utf-8")
    print(f"written to {file.relative_to(RESULTS.parent.parent)}")
    sys.exit(any(row[3] for row in rows))


def breaking(databases: Databases, folder: Path, rounds: int) -> Iterator[Row]:
    """Run the scenarios one after the other."""

    def timed(what: str, times: int, people: Crowd, began: float) -> Row:
        return what, times, people.answered, people.lost, said(people.meanwhile), time.monotonic() - began

    yield timed("kill -9 of one of two serving processes", rounds, *ran(broken.serving_processes, databases, rounds))
    with private_folder() as place:
        server = Stoppable(place)
        server.start()
        migrate(server.url)
        yield timed("kill -9 of PostgreSQL", rounds, *ran(broken.postgresql, server, rounds))
        server.stop()
    (people, told), began = ran(broken.worker, databases, rounds)
    yield timed(f"kill -9 of the worker ({len(told)} people told of once each)", rounds, people, began)
    assert len(told) == rounds + 1 and set(told.values()) == {1}
    yield timed("a full disk (SQLite)", rounds, *ran(broken.disk, databases, rounds))
    (people, sent), began = ran(broken.provider, databases, 60 * rounds)
    yield timed(f"a provider that takes 2.5 s ({len(sent)} pushes once each)", 1, people, began)
    assert len(sent) == 60 * rounds and set(sent.values()) == {1}
    jumps = ("+3h", "-3h", "+0", "+2d", "-2d") * rounds
    yield timed("a clock that jumps (SQLite)", len(jumps), *ran(broken.jumping, databases, jumps))
    for kind in ("sqlite", "postgresql"):
        yield thousand(databases, folder, kind, rounds)


def ran(scenario: Callable[..., Any], what: Databases | Stoppable, *values: Any) -> tuple[Any, float]:
    """Run a scenario in its own folder; its result, and the time when it began."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        return scenario(what, Path(folder), *values), began


def thousand(databases: Databases, folder: Path, kind: str, rounds: int) -> Row:
    """Run a thousand clients at once, several times."""
    began, promised, lost, meanwhile = time.monotonic(), 0, 0, Counter[str]()
    for _ in range(rounds):
        more, missing, other = broken.thousand(databases, folder, kind)
        promised, lost, meanwhile = promised + more, lost + missing, meanwhile + other
    return f"1,000 clients at once ({kind})", rounds, promised, lost, said(meanwhile), time.monotonic() - began


def said(meanwhile: Counter[str]) -> str:
    """The responses that were not successes, with their counts."""
    return ", ".join(f"{count:,} × {what}" for what, count in meanwhile.most_common() if count) or "nothing else"


def line(row: Row) -> str:
    """A row of the table."""
    what, times, answered, lost, meanwhile, seconds = row
    return f"| {what} | {times} | {answered:,} | {lost} | {meanwhile} | {seconds:.0f} |"


def page(rows: list[Row]) -> str:
    """The file in results/."""
    facts = machine.facts() | {"load": f"{os.getloadavg()[0]:.1f} processes in the last minute, the bench included"}
    head = [f"# What breaking things costs, {time.strftime('%Y-%m-%d')}", "", "|  |  |", "| :-- | :-- |"]
    head += [f"| {name} | {value} |" for name, value in facts.items()]
    lost = sum(row[3] for row in rows)
    told = f"{sum(row[2] for row in rows):,} uploads were answered with success; {lost} of them were lost."
    table = [f"| {' | '.join(HEAD)} |", "| :-- | --: | --: | --: | :-- | --: |", *map(line, rows)]
    return "\n".join([*head, "", told, "", *table, ""])


if __name__ == "__main__":
    main()
