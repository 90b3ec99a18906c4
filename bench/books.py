"""Address books over HTTP, beside raw statements, a bare server, and on SQLite beside Sydent.

Books(kind, size, tell).run()    measures one database; returns a Result
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import peers
import reading
from bare import serve_bare
from cases import BARE, BOOK, CASES, LARGE, LARGE_CASES, MIDDLE, MIDDLE_CASES, RAW, RINGBOOK, SYDENT, Case
from databases import Place, place
from keyed import migrate
from loading import load
from raw import expect, open_raw
from report import Result
from rounds import Samples, crowd, measure
from served import Served, ringbook, serve
from showing import Tell
from world import World

from ringbook import __version__

CROWD = 8
# Sydent as it is installed needs seconds for each question.
FEW = {peers.SHIPPED: 3, peers.ANALYSED: 10}


@dataclass(frozen=True)
class Size:
    """The size of the measurement."""

    users: int
    holders: int
    rounds: int
    middle: int
    large: int
    starts: int
    warm_up: int = 3

    @property
    def usual(self) -> int:
        """Rounds with the warm-up."""
        return self.rounds + self.warm_up

    @property
    def owners(self) -> int:
        """The number of owners with an empty book that are needed."""
        return self.usual + self.middle + self.large + CROWD


FULL = Size(users=1_000_000, holders=500, rounds=60, middle=40, large=40, starts=5)
QUICK = Size(users=100_000, holders=50, rounds=10, middle=2, large=2, starts=2)


class Books:
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
            urls = dict(zip((RINGBOOK, RAW), where.copies(url, 2), strict=True))
            ready = self.started(urls[RINGBOOK], folder)
            peer = self.peer(folder)
            beside = self.beside(peer) if peer else {}
            measured, memory = self.measured(urls, app_id, folder, peer)
            self.compare(urls, app_id)
            facts = self.facts(where, folder)
        date = time.strftime("%Y-%m-%d", time.gmtime())
        return Result(self.kind, date, facts, measured, memory, reading.figures(), ready, beside)

    def loaded(self, where: Place) -> tuple[str, int]:
        """A database as after years of use, and its application."""
        url = where.empty()
        migrate(url)
        app_id = json.loads(ringbook(url, "app", "create", "bench", "--json"))["application_id"]
        load(url, self.world, app_id, self.holders, self.owners, self.tell)
        return url, app_id

    def started(self, url: str, folder: Path) -> list[float]:
        """Seconds until the server is ready, for several starts."""
        seconds = []
        for done in range(self.size.starts):
            with serve(url, folder) as served:
                seconds.append(served.ready_seconds)
            self.tell("starts", done + 1, self.size.starts)
        return seconds

    def peer(self, folder: Path) -> peers.Peer | None:
        """Sydent, beside SQLite only, on which both run; None if it cannot be installed."""
        if self.kind != "sqlite":
            return None
        try:
            return peers.Peer(folder, self.world, self.tell)
        except peers.NotMeasured as trouble:
            print(trouble, file=sys.stderr)
            return None

    def beside(self, peer: peers.Peer) -> dict[str, dict[str, float]]:
        """Sydent as it is installed, and after ANALYZE: medians of a few questions."""
        found = {}
        for way, times in FEW.items():
            if way == peers.ANALYSED:
                peer.analyse()
            with peer.serve(way) as sydent:
                costs = [sydent.lookups(owner, self.world.book(owner, BOOK), 1) for owner in self.owners[:times]]
            found[way] = {name: statistics.median(getattr(cost, name) for cost in costs) for name in ("clock", "cpu")}
        return found

    def measured(
        self, urls: dict[str, str], app_id: int, folder: Path, peer: peers.Peer | None
    ) -> tuple[list[tuple[Case, Samples]], dict[str, int]]:
        """Measure the speed of all sides, and the memory of the server."""
        with ExitStack() as stack:
            served = stack.enter_context(serve(urls[RINGBOOK], folder))
            sides: dict[str, Any] = {
                RAW: stack.enter_context(closing(open_raw(urls[RAW], app_id))),
                RINGBOOK: served,
                BARE: stack.enter_context(serve_bare(folder)),
            }
            if peer:
                sides[SYDENT] = stack.enter_context(peer.serve(peers.TUNED))
            highest = stack.enter_context(machine.Highest(served.pid))
            return self.rounds(sides, served, highest)

    def rounds(
        self, sides: dict[str, Any], served: Served, highest: machine.Highest
    ) -> tuple[list[tuple[Case, Samples]], dict[str, int]]:
        """All rounds, from small books to large ones."""
        size, owners = self.size, iter(self.owners)
        memory = {"the start": machine.anonymous(served.pid)}

        def some(count: int, cases: Sequence[Case], contacts: int, warm_up: int = 0) -> list[tuple[Case, Samples]]:
            chosen = [next(owners) for _ in range(count)]
            found = measure(sides, self.world, chosen, warm_up=warm_up, cases=cases, size=contacts, tell=self.tell)
            memory[f"{count} rounds of {contacts:,}"] = highest.bytes
            return [(case, found[case.key]) for case in cases]

        found = some(size.usual, CASES, BOOK, size.warm_up)
        crowd(served, self.world, self.owners[-CROWD:])
        memory[f"{CROWD} clients at once"] = highest.bytes
        found += some(size.middle, MIDDLE_CASES, MIDDLE)
        return found + some(size.large, LARGE_CASES, LARGE), memory

    def compare(self, urls: dict[str, str], app_id: int) -> None:
        """End the benchmark unless both sides have the same contacts, because they then did different work."""
        with ExitStack() as stack:
            one, other = (stack.enter_context(closing(open_raw(url, app_id))) for url in urls.values())
            for owner in self.owners[:-CROWD]:
                same = one.contents(owner) == other.contents(owner)
                expect(same, True, f"the sides hold the same contacts of owner {owner}")

    def facts(self, where: Place, folder: Path) -> dict[str, str]:
        """The head of the results: what was measured, and on which machine."""
        size = self.size
        return {
            "measured": f"Ringbook {__version__}, one process, one client, default limits; {size.rounds} rounds after"
            f" {size.warm_up}, {size.middle} with 20,000 and {size.large} with 50,000 contacts",
            "tables": f"{size.users:,} users, {size.holders * 1_000:,} contacts before the first round",
            "database": where.described(),
            **machine.facts(),
            "disk": f"{machine.sync_seconds(folder) * 1e3:.2f} ms to keep a page of 4 KiB (fsync)",
            "load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included",
        }
