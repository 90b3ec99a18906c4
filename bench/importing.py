"""Measure `ringbook users import`: import users with ids, logins and phones, then import the same file again.

    python bench/importing.py                                       1,000,000 users, both; writes bench/results/
    python bench/importing.py --users 400000 --database postgresql  fewer of them, on one
    python bench/importing.py --users 20000 --quick                 writes nothing

The command runs in its own process with a CSV file, as an operator runs it. Its report and the final content of the
database are compared with the expected ones.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import machine
from databases import KINDS, place
from keyed import SEAL, migrate
from raw import expect
from report import MEBIBYTE, pipes
from served import environment, ringbook
from world import World

from ringbook import __version__
from ringbook.store import db as databases

RESULTS = Path(__file__).with_name("results")
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
HEAD = ("work", "s", "users/s", "CPU s", "highest MiB")
# What getrusage counts the memory in: bytes on macOS, KiB elsewhere.
MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Run:
    """The cost of one run of the command; processor time without the processes of PostgreSQL."""

    work: str
    seconds: float
    cpu_seconds: float
    highest_bytes: int

    def line(self, users: int) -> list[str]:
        """A row of `HEAD`."""
        rate = f"{users / self.seconds:,.0f}"
        return [
            self.work,
            f"{self.seconds:.1f}",
            rate,
            f"{self.cpu_seconds:.1f}",
            f"{self.highest_bytes / MEBIBYTE:.0f}",
        ]


def main() -> int:
    arguments = parsed()
    for kind in arguments.database or KINDS:
        text = measured(kind, arguments.users)
        print(text)
        if not arguments.quick:
            file = RESULTS / f"import-{kind}.md"
            file.write_text(text)
            print(f"written to bench/results/{file.name}", file=sys.stderr)
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure `ringbook users import`.")
    parser.add_argument("--users", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument("--quick", action="store_true", help="write no file")
    return parser.parse_args()


def measured(kind: str, users: int) -> str:
    """Measure; the file for results/."""
    with tempfile.TemporaryDirectory(prefix="ringbook-bench-") as name, place(kind, Path(name)) as where:
        url, table, before = where.empty(), Path(name) / "users.csv", os.getloadavg()[0]
        migrate(url)
        ringbook(url, "app", "create", "bench")
        write(table, users)
        runs = [
            brought("every user is new", url, table, {"added": users}),
            brought("the same file again", url, table, {"unchanged": users}),
        ]
        expect(held(url), (users, users), "users and numbers in the database")
        facts = {
            "measured": f"Ringbook {__version__}, `ringbook users import`, once each",
            "file": f"CSV of {users:,} lines: id, login, phone; {table.stat().st_size / MEBIBYTE:.0f} MiB",
            "database": where.described(),
            **machine.facts(),
            "disk": f"{machine.sync_seconds(Path(name)) * 1e3:.2f} ms to keep a page of 4 KiB (fsync)",
            "load": f"{before:.1f} processes on average in the minute before, {os.getloadavg()[0]:.1f} in the last one",
        }
    return markdown(kind, facts, runs, users)


def markdown(kind: str, facts: dict[str, str], runs: Sequence[Run], users: int) -> str:
    parts = [
        f"# Importing users on {NAMES[kind]}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        pipes(("", ""), [[key, value] for key, value in facts.items()]),
        pipes(HEAD, [run.line(users) for run in runs]),
        "The import reads the file twice and writes 1,000 users in a transaction, on one connection. "
        "How to measure again: [bench/README.md](../README.md).",
    ]
    return "\n\n".join(parts) + "\n"


def write(table: Path, users: int) -> None:
    """Write the users of the benchmark's world as a CSV file."""
    world = World(users)
    with table.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("id", "login", "phone"))
        writer.writerows((user_id, f"user-{user_id}", f"+{world.number_of(user_id)}") for user_id in ids(users))


def ids(users: int) -> range:
    """Ids like those of another service, which do not start at 1."""
    return range(1_001, users + 1_001)


def brought(work: str, url: str, table: Path, counts: dict[str, int]) -> Run:
    """Run the import, and check its report."""
    command = (Path(sys.executable).with_name("ringbook"), "users", "import", table, "--app", "1", "--json")
    started = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], env=environment(url), stdout=subprocess.PIPE)
    assert process.stdout
    report = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    expect(process.returncode, 0, "exit code of the import")
    nothing = {"dry_run": False, "added": 0, "changed": 0, "unchanged": 0, "without_number": 0, "refused": []}
    expect(report, nothing | counts, "report of the import")
    return Run(work, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * MEMORY_UNIT)


def held(url: str) -> tuple[int, int]:
    """The number of users, and of numbers."""
    with closing(databases.connect(url, seal=SEAL)) as db, db.read() as tx:
        users, numbers = tx.tuples("SELECT (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM numbers)")[0]
    return int(users), int(numbers)


if __name__ == "__main__":
    sys.exit(main())
