"""What sealing costs: the same work with the code from before it and with today's, side by side, on both databases.

    git worktree add --detach /tmp/before 319e80a
    python bench/sealing.py --before /tmp/before                   writes bench/results/
    python bench/sealing.py --before /tmp/before --quick           fewer rounds, writes nothing

Two processes (sealing_side.py) do each step one after the other, and take turns in going first. Measured is the domain
(`core/`), without HTTP. The processor time is that of the process; it contains SQLite but not PostgreSQL's processes.
The results of the two sides are compared: each book, and each list of registered users. The benchmark ends with an
error when they differ.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import machine
from databases import KINDS, Place, file_of, place, run
from raw import expect
from report import pipes

RESULTS = Path(__file__).with_name("results")
HERE = Path(__file__).parents[1]
SIDES = ("before", "after")
BOOK = 1_000
FIRST_OWNER = 1
JOINED = (12_025_550_171, 12_025_550_172, 12_025_550_173)
STEPS = ("upload of 1,000 new contacts", "the same again", "retrieve", "registered")
CALLS = dict(zip(STEPS, ("upload", "upload", "retrieve", "registered"), strict=True))
AIM_US = 3.0
AIM_BYTES = {"sqlite": 120, "postgresql": 240}


class Side:
    """A process with one version of Ringbook."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def call(self, name: str, **given: Any) -> dict[str, Any]:
        """One call: cpu and clock in seconds, and the result."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"call": name, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a side ended within {name}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def side(source: Path, url: str) -> Iterator[Side]:
    """A side with the code of this folder."""
    command = [sys.executable, Path(__file__).with_name("sealing_side.py"), url]
    environment = os.environ | {"PYTHONPATH": str(source / "src"), "PYTHONHASHSEED": "0"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        try:
            yield Side(process)
        finally:
            process.terminate()


def main() -> int:
    """Measure; 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description="Measure what sealing costs.")
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the code from before the sealing")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--holders", type=int, default=100_000, help="who hold a number that joins")
    parser.add_argument("--books", type=int, default=200, help="books of 1,000 whose size is measured")
    parser.add_argument("--quick", action="store_true", help="write no file, with few rounds")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.holders, given.books = 10, 5_000, 20
    parts, missed = [], False
    for kind in given.database or KINDS:
        text, failed = measured(kind, given)
        print(text, flush=True)
        parts.append(text)
        missed |= failed
    if not given.quick:
        file = RESULTS / "sealing.md"
        file.write_text(head(given) + "\n".join(parts))
        print(f"written to bench/results/{file.name}", file=sys.stderr)
    return int(missed)


def measured(kind: str, given: argparse.Namespace) -> tuple[str, bool]:
    """The tables of one database, and whether it missed an aim."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringbook-bench-")))
        where = stack.enter_context(place(kind, folder))
        urls = {name: where.empty() for name in SIDES}
        sources = {"before": given.before, "after": HERE}
        sides = {name: stack.enter_context(side(sources[name], urls[name])) for name in SIDES}
        for one in sides.values():
            one.call("people")
        steps = rounds(sides, given.rounds)
        sizes = {name: bytes_per_contact(sides[name], urls[name], given) for name in SIDES}
        steps |= joined(sides, given.holders)
        return report(kind, where, steps, sizes, given)


def rounds(sides: dict[str, Side], count: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Samples by step and side."""
    samples: dict[str, dict[str, list[dict[str, Any]]]] = {step: defaultdict(list) for step in STEPS}
    for done in range(count + 2):
        for one in sides.values():
            one.call("prepare", owner=FIRST_OWNER + done)
        for step in STEPS:
            names = SIDES if done % 2 else SIDES[::-1]
            found = {name: sides[name].call(CALLS[step]) for name in names}
            expect(found["after"]["result"], found["before"]["result"], step)
            for name in SIDES if done >= 2 else ():
                samples[step][name].append(found[name])
        print(f"round {done + 1} of {count + 2}", end="\r", file=sys.stderr)
    return samples


def joined(sides: dict[str, Side], holders: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The same for the storing of the pushes to many holders."""
    samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in SIDES:
        sides[name].call("holders", count=holders, numbers=list(JOINED))
    for turn, number in enumerate(JOINED):
        for name in SIDES if turn % 2 else SIDES[::-1]:
            sides[name].call("join", number=number)
            found = sides[name].call("announce")
            expect(found["result"], holders * (turn + 1), "pushes stored")
            samples[name].append(found)
    return {f"{holders:,} joined pushes stored": samples}


def bytes_per_contact(one: Side, url: str, given: argparse.Namespace) -> float:
    """How much the database grows by each contact, its indexes included."""
    first = FIRST_OWNER + given.rounds + 2
    before = size(url)
    for owner in range(first, first + given.books):
        one.call("prepare", owner=owner)
        one.call("upload")
    return (size(url) - before) / (given.books * BOOK)


def size(url: str) -> int:
    """The size of the rewritten database, in bytes."""
    if url.startswith("sqlite"):
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(file_of(url), isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return file_of(url).stat().st_size
    run(url, "VACUUM FULL")
    run(url, "CHECKPOINT")
    return int(run(url, "SELECT pg_database_size(current_database())")[0][0])


# ── the report ───────────────────────────────────────────────────────────────────────────────────────────────────────


def report(
    kind: str,
    where: Place,
    steps: dict[str, dict[str, list[dict[str, Any]]]],
    sizes: dict[str, float],
    given: argparse.Namespace,
) -> tuple[str, bool]:
    """The tables as text, and whether an aim was missed."""
    rows, missed = [], False
    for step, samples in steps.items():
        contacts = given.holders if "joined" in step else BOOK
        cpu = {name: median(samples[name], "cpu") / contacts * 1e6 for name in SIDES}
        least = {name: min(one["cpu"] for one in samples[name]) / contacts * 1e6 for name in SIDES}
        clock = {name: median(samples[name], "clock") * 1e3 for name in SIDES}
        late = least["after"] - least["before"] > AIM_US
        missed |= late
        rows.append(
            [
                step,
                *(f"{clock[name]:,.1f}" for name in SIDES),
                *(f"{cpu[name]:.2f}" for name in SIDES),
                f"{cpu['after'] - cpu['before']:+.2f}",
                f"{least['after'] - least['before']:+.2f}",
                "no" if late else "yes",
            ]
        )
    names = ("step", "ms before", "ms after", "µs CPU before", "µs CPU after", "more", "more, least", "within the aim")
    large = sizes["after"] > AIM_BYTES[kind]
    table = [[f"bytes of a contact (aim: {AIM_BYTES[kind]})", *(f"{sizes[name]:.0f}" for name in SIDES)]]
    text = f"\n## {where.described()}\n\n{pipes(names, rows)}\n\n{pipes(('size', *SIDES), table)}\n"
    return text, missed or large


def median(samples: Sequence[dict[str, Any]], what: str) -> float:
    return statistics.median(one[what] for one in samples)


def head(given: argparse.Namespace) -> str:
    """What was measured, and where."""
    facts = machine.facts(("cryptography", "msgspec", "psycopg")) | {
        "load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included",
        "rounds": f"{given.rounds}, after 2 that do not count; {len(JOINED)} numbers joined",
        "size": f"of {given.books * BOOK:,} contacts, after the database was rewritten",
        "before": "the code before numbers and names were sealed, on the same databases, in the same run",
    }
    return (
        f"# What sealing costs, {time.strftime('%Y-%m-%d', time.gmtime())}\n\n"
        + pipes(("", ""), [[*row] for row in facts.items()])
        + "\n\nThe milliseconds are medians of a whole step. The microseconds of processor time are medians for one"
        " contact; PostgreSQL's own processes are not in them. “More, least” is the difference of the fastest rounds,"
        f" which other programs on the machine disturb least; the aim is at most {AIM_US:.0f} µs.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
