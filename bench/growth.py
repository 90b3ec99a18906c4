"""Does it get slower as the tables grow? A new book, its diff and its registered contacts at 1, 10 and 100 million.

    python bench/growth.py --stop-at 10            1 and 10 million contacts, both databases; about 15 minutes
    python bench/growth.py                         also 100 million; about two hours, and 30 GB of disk
    python bench/growth.py --database sqlite       on one database
    python bench/growth.py --stop-at 10 --resume   only the database that was not measured today
    python bench/growth.py --keep DIR              leaves the databases, or measures those that are there: of SQLite in
                                                   DIR, of PostgreSQL on the server that TEST_POSTGRESQL_URL names
    python bench/growth.py --quick                 a minute, on small tables; writes nothing

There is a database of each size, with a server of its own, and they take turns, so that another program on the machine
slows all of them. Writes bench/results/ and exits 1, with the reason in the last line, if a must is missed. The books
of other users are filled with random bytes (`filler.py`), because nobody reads them. All requests go to a real server
over HTTP.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import figures
import latest
import machine
import musts
from cases import BOOK, GROWTH_CASES, RINGBOOK
from databases import KINDS, Place, place
from filler import grow
from keyed import SEAL, migrate
from loading import load
from report import columns, name
from rich.console import Console
from rounds import CLOCK, CPU, measure
from served import ringbook, serve
from showing import Tell, told
from world import World

from ringbook import __version__
from ringbook.store import db as databases

MILLION = 10**6
BYTES_PER_CONTACT = 300  # with what building the index needs for a while, and PostgreSQL's log
SIZES, QUICK = (1, 10, 100), (0.05, 0.2)
ROUNDS, WARM_UP = 40, 5
RUNS = 10  # so often the databases that are kept can be measured
Sizes = dict[int, dict[str, Any]]


def main() -> int:
    arguments = parsed()
    sizes = [int(size * MILLION) for size in (QUICK if arguments.quick else SIZES) if size <= arguments.stop_at]
    screen = Console(width=None if sys.stdout.isatty() else 160)
    rows = []
    for kind in arguments.database or KINDS:
        if arguments.resume and (known := latest.of_today("growth", kind, f"{arguments.stop_at:g}")):
            screen.print(f"growth on {name(kind)}: measured today")
            rows += known
            continue
        found, facts = grown(kind, sizes, arguments)
        judged = musts.growing(kind, found)
        screen.print(columns(f"Growth on {name(kind)}", musts.HEAD, [musts.cells(row) for row in judged]))
        screen.print(columns("Processor ms", HEAD, lines(found)))
        rows += judged
        if not arguments.quick:
            keep(kind, found, facts, judged, f"{arguments.stop_at:g}")
    return musts.verdict(rows, lambda line: screen.print(line, soft_wrap=True))


def grown(kind: str, sizes: list[int], arguments: argparse.Namespace) -> tuple[Sizes, dict[str, str]]:
    """Fill a database for each size, and measure all of them in turns."""
    rounds = 6 if arguments.quick else ROUNDS + WARM_UP
    world = World(100_000 if arguments.quick else MILLION)
    owners = list(range(world.users - rounds * RUNS + 1, world.users + 1))
    with folder_for(arguments.keep) as folder, place(kind, folder) as where, told() as tell:
        urls = {size: where.kept(named(size)) for size in sizes} if arguments.keep else {}
        if not (urls and all(urls.values())):
            check_room(folder, sizes)
            urls = filled(where, world, owners, sizes, tell, keep=bool(arguments.keep))
        where.warm(list(urls.values()))
        used = with_books(urls[sizes[0]])
        owners = [owner for owner in owners if owner not in used]
        return measured(urls, folder, world, owners[:rounds], tell), facts(where, folder)


def filled(
    where: Place, world: World, owners: list[int], sizes: list[int], tell: Tell, *, keep: bool
) -> dict[int, str]:
    """The URL of a new database for each size."""
    url = where.empty()
    migrate(url)
    app_id = json.loads(ringbook(url, "app", "create", "bench", "--json"))["application_id"]
    load(url, world, app_id, [], owners, tell)
    found: dict[int, str] = {}
    for size in sizes:
        grow(url, app_id, max(found, default=0), size, tell)
        found[size] = url if size == sizes[-1] else where.copies(url, 2)[1]
    return {size: where.keep(one, named(size)) for size, one in found.items()} if keep else found


def check_room(folder: Path, sizes: list[int]) -> None:
    """Say how much disk the databases need, and end if there is less."""
    needed, free = sizes[-1] * BYTES_PER_CONTACT, shutil.disk_usage(folder).free
    print(f"Needs {needed / 1e9:.0f} GB in {folder}; {free / 1e9:.0f} GB are free.")
    if free < needed:
        raise SystemExit("That is not enough. `--stop-at 10` needs 3 GB; TMPDIR names another folder.")


def named(size: int) -> str:
    """The name of a database that is kept."""
    return f"ringbook_growth_{size}"


def with_books(url: str) -> set[int]:
    """The owners who have a book from an earlier run."""
    with closing(databases.connect(url, pool=1, seal=SEAL)) as db, db.read() as tx:
        return {owner for (owner,) in tx.tuples("SELECT owner_id FROM books")}


def measured(urls: dict[int, str], folder: Path, world: World, owners: list[int], tell: Tell) -> Sizes:
    """By size: the medians of each case by clock, and the highest anonymous memory of the server."""
    warm_up = min(WARM_UP, len(owners) // 3)
    with ExitStack() as stack:
        sides = {str(size): stack.enter_context(serve(url, folder)) for size, url in urls.items()}
        highest = {name: stack.enter_context(machine.Highest(served.pid)) for name, served in sides.items()}
        cases = [replace(case, works=dict.fromkeys(sides, case.works[RINGBOOK])) for case in GROWTH_CASES]
        found = measure(sides, world, owners, warm_up=warm_up, cases=cases, size=BOOK, tell=tell)
    return {
        int(name): {key: {clock: one.median(name, clock) for clock in (CLOCK, CPU)} for key, one in found.items()}
        | {"anonymous": highest[name].bytes}
        for name in sides
    }


HEAD = ("contacts", *musts.GROWING.values(), "anonymous MiB")


def lines(found: Sizes) -> list[list[str]]:
    """The medians of each size, as text."""
    return [
        [
            f"{size:,}",
            *(f"{one[key][CPU] * 1e3:.2f} (wall {one[key][CLOCK] * 1e3:.1f})" for key in musts.GROWING),
            f"{one['anonymous'] / musts.MEBIBYTE:.0f}",
        ]
        for size, one in found.items()
    ]


def keep(kind: str, found: Sizes, facts: dict[str, str], rows: list[musts.Row], size: str) -> None:
    """Keep the figures and draw them."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    sizes = {str(size): one for size, one in found.items()}
    latest.keep(
        "growth", kind, {"date": date, "size": size, "facts": facts, "sizes": sizes, "musts": latest.plain(rows)}
    )
    figures.write()


@contextmanager
def folder_for(folder: Path | None) -> Iterator[Path]:
    """The folder of the databases: a temporary one, or one that stays."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="ringbook-bench-") as temporary:
        yield Path(temporary)


def facts(where: Place, folder: Path) -> dict[str, str]:
    """What was measured, and on which machine."""
    return {
        "measured": f"Ringbook {__version__}, one process, one client, default limits; {ROUNDS} rounds at each size, in"
        " turns; SQLite's files were read once before, so that the system holds them in memory",
        "database": where.described(),
        **machine.facts(),
        "disk": f"{machine.sync_seconds(folder) * 1e3:.2f} ms to keep a page of 4 KiB (fsync)",
        "load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included",
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how speed changes as the tables grow.")
    parser.add_argument("--stop-at", type=float, default=100, metavar="MILLION", help="1, 10 or 100 (default)")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="leave the databases, or measure these",
    )
    parser.add_argument("--resume", action="store_true", help="leave out a database that was measured today")
    parser.add_argument("--quick", action="store_true", help="small tables, few rounds; writes no file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
