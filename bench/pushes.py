"""A user joins whom 100,000 users have as a contact: time from sign-up to last push, and the rate of pushes.

    run(kind, size, tell)    measures one database; returns a Result

A server without a worker serves the sign-up, a separate `ringbook worker` sends the pushes, and sink.cjs receives them.
The benchmark ends with an error unless the worker, the sink and the queue report the same number of pushes.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
from databases import Place, place
from holders import TEXTS, Group, groups, load
from keyed import SEAL, migrate
from loading import Progress
from processes import running, wait_until
from raw import Cost, expect
from served import Served, environment, ringbook, serve
from sinks import Bare, Sink, bare, sinking

from ringbook import __version__
from ringbook.core import applications
from ringbook.store import db as store
from ringbook.worker import courier

LIBRARIES = ("pyreqwest", "uvloop", "msgspec", "cryptography", "psycopg")
NOBODYS = 12_025_550_199
LOOK_SECONDS, PATIENCE_SECONDS = 0.1, 900
NO_LIMITS = {
    "NEW_ACCOUNTS_PER_HOUR": "0",
    "NETWORK_ACCOUNTS_PER_HOUR": "0",
    "NEW_SESSIONS_PER_HOUR": "0",
    "NETWORK_SESSIONS_PER_HOUR": "0",
}


@dataclass(frozen=True)
class Size:
    """The size of the measurement."""

    many: int
    few: int
    rounds: int
    sign_ups: int
    alone: int


FULL = Size(many=100_000, few=10_000, rounds=2, sign_ups=40, alone=20_000)
QUICK = Size(many=5_000, few=1_000, rounds=1, sign_ups=8, alone=5_000)


@dataclass(frozen=True)
class Delivery:
    """The result of one sign-up. Times are seconds from its response.

    They are the times until the first push arrived, all pushes were queued, the last push arrived, and all receipts
    were recorded. `cpu` and `sink_cpu` are the processor seconds of the worker and of the sink. `sent` is how many
    pushes did not wait for quiet hours or for a digest.
    """

    first: float
    stored: float
    last: float
    recorded: float
    cpu: float
    sink_cpu: float
    repeated: int
    sent: int


@dataclass
class Result:
    """The results of one database. `sign_ups` are pairs: a number that nobody holds, and one that very many hold."""

    kind: str
    date: str
    facts: dict[str, str]
    groups: list[Group]
    alone: list[Bare] = field(default_factory=list)
    sign_ups: list[tuple[Cost, Cost]] = field(default_factory=list)
    deliveries: dict[str, list[Delivery]] = field(default_factory=dict)
    memory: dict[str, list[tuple[int, int] | None]] = field(default_factory=dict)

    def median(self, name: str, of: Callable[[Delivery], float]) -> float:
        """The median of a group."""
        return statistics.median(of(one) for one in self.deliveries[name])


def run(kind: str, size: Size, tell: Progress) -> Result:
    """Load the database, measure and compare."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringbook-bench-")))
        where = stack.enter_context(place(kind, folder))
        sink = stack.enter_context(sinking(folder))
        made = groups(size.many, size.few)
        url = where.empty()
        app = loaded(url, made, sink, tell)
        first, *others = where.copies(url, size.rounds + 1)
        result = Result(kind, time.strftime("%Y-%m-%d", time.gmtime()), {}, made)
        with serve(first, folder, "--no-worker", **NO_LIMITS) as served:
            result.sign_ups = signed_up(served, app, made[0], size.sign_ups, tell)
        for done, other in enumerate(others):
            result.alone.append(bare(sink, size.alone))
            one_round(result, other, app, sink, folder, tell, done)
        result.facts = facts(size, where, folder)
    return result


def loaded(url: str, made: list[Group], sink: Sink, tell: Progress) -> dict[str, Any]:
    """A loaded database, and its application with joined pushes switched on."""
    migrate(url)
    app: dict[str, Any] = json.loads(ringbook(url, "app", "create", "bench", "--json"))
    with closing(store.connect(url, pool=1, seal=SEAL)) as db:
        texts = {"contact_joined_templates": json.dumps(TEXTS)}
        for key, value in {"contact_joined_enabled": "true", **texts, **sink.credentials}.items():
            applications.change(db, app["application_id"], key, value)
    load(url, app["application_id"], made, sink.url, tell)
    return app


# ── signing up ───────────────────────────────────────────────────────────────────────────────────────────────────────


def signed_up(served: Served, app: dict[str, Any], group: Group, count: int, tell: Progress) -> list[tuple[Cost, Cost]]:
    """Pairs of alternating sign-ups without a worker: a number that nobody holds, and one that very many hold."""
    pairs = []
    for turn in range(-2, count):
        numbers = (NOBODYS, group.number) if turn % 2 else (group.number, NOBODYS)
        costs = {number: served.sign_up(app, f"joiner{turn}-{number}", str(number))[0] for number in numbers}
        if turn >= 0:
            pairs.append((costs[NOBODYS], costs[group.number]))
        tell("pairs of sign-ups", turn + 3, count + 2)
    return pairs


# ── delivering ───────────────────────────────────────────────────────────────────────────────────────────────────────


def one_round(
    result: Result, url: str, app: dict[str, Any], sink: Sink, folder: Path, tell: Progress, done: int
) -> None:
    """Notify each group once, with the same worker."""
    with (
        serve(url, folder, "--no-worker", **NO_LIMITS) as served,
        working(url, folder, sink) as worker,
        closing(store.connect(url, pool=1, seal=SEAL)) as db,
    ):
        result.memory.setdefault("the start", []).append(machine.resident(worker))
        for group in result.groups:
            sink.empty(group.wait_seconds)
            one = delivered(served, app, group, db, sink, worker, tell, f"round {done + 1}: {group.name}")
            result.deliveries.setdefault(group.name, []).append(one)
            after = f"{group.holders:,} to {group.name}"
            result.memory.setdefault(after, []).append(machine.resident(worker))


@contextmanager
def working(url: str, folder: Path, sink: Sink) -> Iterator[int]:
    """A `ringbook worker` that has found no work; its process id."""
    log = folder / f"worker-{time.monotonic_ns()}.log"
    command = [Path(sys.executable).with_name("ringbook"), "worker"]
    with running(command, log, environment=environment(url, **sink.settings)) as process:
        wait_until(lambda: began(log), LookupError, process, log)
        time.sleep(1)
        yield process.pid


def began(log: Path) -> None:
    """Raises LookupError until the worker logs that it works."""
    if "working" not in log.read_text():
        raise LookupError


def delivered(
    served: Served,
    app: dict[str, Any],
    group: Group,
    db: store.Database,
    sink: Sink,
    worker: int,
    tell: Progress,
    what: str,
) -> Delivery:
    """A user joins, and all holders are notified."""
    before, sink_before = machine.cpu_seconds(worker), machine.cpu_seconds(sink.pid)
    user = served.sign_up(app, f"joiner-{group.number}", str(group.number))[1]
    began_at = time.time()
    until(lambda: told(db, user))
    stored = time.time() - began_at
    leave = "SELECT COUNT(*) AS n FROM pushes WHERE about_user_id = :user AND waits IS NULL"
    expected = one_of(db, leave, user=user)["n"] if group.chosen else group.holders

    def sent() -> bool:
        count = sink.counts().pushes
        tell(what, min(count, expected), expected)
        return count >= expected

    until(sent)
    until(lambda: not one_of(db, "SELECT 1 AS found FROM pushes WHERE outcome IS NULL AND waits IS NULL LIMIT 1"))
    recorded = time.time() - began_at
    cpu, sink_cpu = machine.cpu_seconds(worker) - before, machine.cpu_seconds(sink.pid) - sink_before
    outcomes = (
        "SELECT outcome, COUNT(*) AS n FROM pushes WHERE about_user_id = :user AND waits IS NULL GROUP BY outcome"
    )
    with db.read() as tx:
        expect(tx.all(outcomes, user=user), [{"outcome": "accepted", "n": expected}], "what became of the pushes")
    counts = sink.counts()
    first, last = counts.first - began_at, counts.last - began_at
    return Delivery(first, stored, last, recorded, cpu, sink_cpu, counts.pushes - expected, expected)


def told(db: store.Database, user: int) -> bool:
    """Are the pushes about this user to all holders in the queue?"""
    return bool(one_of(db, "SELECT 1 AS found FROM joined WHERE user_id = :user AND result = 'told'", user=user))


def one_of(db: store.Database, sql: str, **params: Any) -> Any:
    """The first row."""
    with db.read() as tx:
        return tx.one(sql, **params)


def until(done: Callable[[], bool]) -> None:
    """Check a condition until it holds, with pauses so that the checks cost nothing."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        expect(time.monotonic() < deadline, True, "the worker comes to an end in time")
        time.sleep(LOOK_SECONDS)


# ── on what ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def facts(size: Size, where: Place, folder: Path) -> dict[str, str]:
    """The head of the results: what was measured, and on which machine."""
    measured = f"a server without a worker, and one worker; {size.rounds} rounds"
    return {
        "measured": f"Ringbook {__version__}, {measured}; {courier.PLACES // 2} requests in flight for one channel",
        "tables": f"{2 * size.many + 3 * size.few:,} users, each with a book of one contact and one production device",
        "providers": "sink.cjs on the same machine: HTTP/2 over TLS, one thread, answers at once and looks at nothing",
        "database": where.described(),
        **machine.facts(LIBRARIES),
        "disk": f"{machine.sync_seconds(folder) * 1e3:.2f} ms to keep a page of 4 KiB (fsync)",
        "load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included",
    }
