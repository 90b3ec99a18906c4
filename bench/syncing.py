"""Measure `ringbook_client`: a phone's contacts synced the first time, again, and with a few changes.

    python bench/syncing.py                                     10,000 contacts, both databases; writes bench/results/
    python bench/syncing.py --contacts 1000 --database sqlite   fewer of them, on one
    python bench/syncing.py --quick                             two rounds, writes nothing

Each round has a new user. The time is that of the call in the app: reading the state file, the requests, and writing
the file. In a further round, a relay between client and server counts the bytes of the connection in both directions,
with headers and with compressed responses. After each sync, the book on the server is compared with the phone's.
"""

import argparse
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import machine
from databases import KINDS, place
from keyed import migrate
from raw import expect
from report import pipes
from ringbook_client import Client, Contact, Login
from served import NO_LIMITS, PASSWORD, ringbook, serve

from ringbook import __version__

RESULTS = Path(__file__).with_name("results")
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
HEAD = ("work", "ms", "least ms", "requests", "KiB sent", "KiB received")
ROUNDS = 9
NEW, RENAMED, GONE = 4, 2, 4


@dataclass
class Work:
    """One operation: its time in each round, and the bytes of one run on the connection."""

    name: str
    seconds: list[float] = field(default_factory=list)
    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def line(self) -> list[str]:
        """A row of `HEAD`."""
        times = [f"{pick(self.seconds) * 1e3:.0f}" for pick in (statistics.median, min)]
        kibibytes = [f"{count / 1024:,.1f}" for count in (self.sent_bytes, self.received_bytes)]
        return [self.name, *times, str(self.requests), *kibibytes]


class Counting(Client):
    """A client that counts its requests."""

    requests = 0

    def _send(self, step):  # type: ignore[no-untyped-def]  # as in Client
        self.requests += 1
        return super()._send(step)


def main() -> int:
    arguments = parsed()
    for kind in arguments.database or KINDS:
        text = measured(kind, arguments.contacts, 2 if arguments.quick else ROUNDS)
        print(text)
        if not arguments.quick:
            file = RESULTS / f"sync-{kind}.md"
            file.write_text(text)
            print(f"written to bench/results/{file.name}", file=sys.stderr)
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure syncs by ringbook_client.")
    parser.add_argument("--contacts", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument("--quick", action="store_true", help="two rounds, and write no file")
    return parser.parse_args()


def measured(kind: str, contacts: int, rounds: int) -> str:
    """Measure; the file for results/."""
    with tempfile.TemporaryDirectory(prefix="ringbook-bench-") as name, place(kind, Path(name)) as where:
        folder, url, before = Path(name), where.empty(), os.getloadavg()[0]
        migrate(url)
        made = ringbook(url, "app", "create", "bench", "--json")
        with serve(url, folder, **NO_LIMITS) as served:
            works = run(served.port, made, contacts, rounds, folder)
        facts = {
            "measured": f"Ringbook {__version__}, ringbook-client {version('ringbook-client')}, {rounds} rounds",
            "book": f"{contacts:,} contacts; then {NEW} new, {RENAMED} renamed and {GONE} gone",
            "database": where.described(),
            **machine.facts(),
            "HTTP library": f"httpx2 {version('httpx2')}",
            "disk": f"{machine.sync_seconds(folder) * 1e3:.2f} ms to keep a page of 4 KiB (fsync)",
            "load": f"{before:.1f} processes on average in the minute before, {os.getloadavg()[0]:.1f} in the last one",
        }
    return markdown(kind, facts, works)


def markdown(kind: str, facts: dict[str, str], works: Sequence[Work]) -> str:
    parts = [
        f"# Syncing contacts on {NAMES[kind]}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        pipes(("", ""), [[key, value] for key, value in facts.items()]),
        pipes(HEAD, [work.line() for work in works]),
        "Client and server share the machine. What the lines mean, and how to measure again: "
        "[bench/README.md](../README.md#syncs).",
    ]
    return "\n\n".join(parts) + "\n"


# ── the work ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(port: int, made: str, contacts: int, rounds: int, folder: Path) -> list[Work]:
    """Run all rounds, then one through the relay."""
    works: dict[str, Work] = {}
    for number in range(rounds + 1):
        counted = number == rounds
        with relay(port) as (near, bytes_so_far), client(near if counted else port, made) as one:
            a_round(one, contacts, folder / f"state-{number}.json", works, bytes_so_far if counted else None)
    return list(works.values())


def client(port: int, made: str) -> Counting:
    """A client of a new user who has signed in."""
    app = json.loads(made)
    one = Counting(f"http://127.0.0.1:{port}", app["application_id"], app["auth_key"], timeout=120)
    one.create_session(Login(f"user-{random.getrandbits(64):x}", PASSWORD))
    return one


def a_round(
    one: Counting, count: int, state: Path, works: dict[str, Work], counted: Callable[[], tuple[int, int]] | None
) -> None:
    """One round of a phone: first sync, no change, ten changes, no change; and for comparison full uploads."""
    book = contacts(count)
    changed = ten_changes(book)

    def do(name: str, work: Callable[[], object]) -> None:
        of = works.setdefault(name, Work(name))
        requests, (sent, received) = one.requests, counted() if counted else (0, 0)
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        if counted:
            now = counted()
            of.requests, of.sent_bytes, of.received_bytes = one.requests - requests, now[0] - sent, now[1] - received
        else:
            of.seconds.append(seconds)

    def sync(name: str, what: Sequence[Contact], **options: bool) -> None:
        do(name, lambda: one.sync_address_book(what, state, **options))
        held = {(contact.phone, contact.name) for contact in one.get_address_book()}
        expect(held, {(contact.phone, contact.name) for contact in what}, f"the book after: {name}")

    sync("first", book)
    sync("unchanged", book)
    sync("10 changes", changed)
    sync("unchanged, without a look at the server's book", changed, check=False)
    sync("10 changes, likewise", book, check=False)
    do("to compare: the whole book with force, unchanged", lambda: one.upload_address_book(book, force=True))
    do("to compare: reading the book", one.get_address_book)


def contacts(count: int) -> list[Contact]:
    """Contacts with numbers of an unassigned country code, in groups of digits, with varied endings."""
    digits = [f"{number:09}" for number in random.sample(range(10**9), count)]
    return [Contact(f"Contact {one[3:]}", f"+999 {one[:3]} {one[3:6]} {one[6:]}") for one in digits]


def ten_changes(book: Sequence[Contact]) -> list[Contact]:
    """The contacts of the same phone some days later."""
    renamed = [Contact(f"{one.name} (new)", one.phone) for one in book[:RENAMED]]
    return [*renamed, *book[RENAMED + GONE :], *contacts(NEW)]


# ── the relay ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def relay(port: int) -> Iterator[tuple[int, Callable[[], tuple[int, int]]]]:
    """A relay to another port; it counts the bytes in both directions."""
    counts = [0, 0]

    def pump(source: socket.socket, target: socket.socket, which: int) -> None:
        while part := source.recv(65536):
            counts[which] += len(part)
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)

    def serve_all(listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            for source, target, which in ((near, far, 0), (far, near, 1)):
                threading.Thread(target=pump, args=(source, target, which), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve_all, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1], lambda: (counts[0], counts[1])


if __name__ == "__main__":
    sys.exit(main())
