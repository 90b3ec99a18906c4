"""Outages of PostgreSQL: how long they last for clients of Ringbook, and what is lost.

a primary dies          the primary is killed with kill -9, its standby is promoted; Ringbook knows both hosts
a primary vanishes      the same, but nothing answers at its address any more; needs Linux, root, unshare and ip
PgBouncer               PostgreSQL restarts behind PgBouncer, with its defaults and with the settings of operations.md
a temporary folder      the folder is removed while two processes serve, and one of them is killed
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, create_connection, socket
from unittest import mock
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from asking import Person, ask, line, person
from attack import Attack, Figure
from crowd import crowd
from servers import (
    Databases,
    Pair,
    Postgresql,
    Server,
    Stoppable,
    eventually,
    migrate,
    pgbouncer,
    private_folder,
    serve,
    serving_children,
)

BOUND_SECONDS = 5
OUTAGE_SECONDS = 3
ADVICE = ("server_login_retry = 1", "server_connect_timeout = 2", "query_wait_timeout = 5", "tcp_user_timeout = 3000")
AWAY = "503 The database cannot be reached just now. Try again."
VANISHED = "10.99.0.1"  # in our own network namespace; first it is on the loopback, later nothing answers there
NAMESPACE = (
    "link set lo up",
    "link add v0 type veth peer name v1",
    "link set v0 up",
    "link set v1 up",
    "addr add 10.99.0.2/24 dev v0",
    f"addr add {VANISHED}/32 dev lo",
    f"route replace local {VANISHED} dev lo table local src 10.99.0.2",
)
GONE = (f"neigh add {VANISHED} lladdr 02:00:00:00:00:01 dev v0", f"route del local {VANISHED} table local")


# ── two servers ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def pair() -> Iterator[tuple[Pair, Path]]:
    with private_folder() as folder, tempfile.TemporaryDirectory() as name:
        made = Pair(folder)
        try:
            yield made, Path(name)
        finally:
            made.stop()


def primary_dies() -> list[Figure]:
    """The primary is killed with kill -9, then the standby is promoted."""
    with pair() as (two, folder), serve(two.url, folder) as server:
        return failover(server, two, two.primary.kill)


def failover(server: Server, two: Pair, end: Callable[[], None]) -> list[Figure]:
    """Clients upload while the primary ends and the standby takes over."""
    with crowd(server, 4) as people:
        end()
        ended = time.monotonic()
        people.sees(AWAY)
        promoted = two.promote()
        people.goes_on(1)
        success = time.monotonic()
        people.goes_on()
    first, lost = success - promoted, people.counted().lost
    return [
        Figure("first success after the promotion, s", f"{first:.1f}", f"≤ {BOUND_SECONDS}", first <= BOUND_SECONDS),
        Figure("outage, promoted after the first 503, s", f"{success - ended:.1f}", "–", True),
        Figure(f"lost of {people.answered} acknowledged", str(lost), "0", lost == 0),
    ]


# ── an address at which nothing answers ──────────────────────────────────────────────────────────────────────────────


def primary_vanishes() -> list[Figure]:
    """Runs in its own network namespace, so that the machine's network is not changed."""
    words = ["unshare", "--net", sys.executable, __file__]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr[-300:])
    return [Figure(*row.split("\t")[:3], row.endswith("yes")) for row in done.stdout.splitlines()]


def vanish() -> None:
    """Runs in the namespace, and prints the figures."""
    for words in NAMESPACE:
        subprocess.run(["ip", *words.split()], check=True)
    with pair() as (two, folder):
        relay = listening(two.primary.port)
        url = f"postgresql://postgres@{VANISHED}:{relay},127.0.0.1:{two.standby.port}/postgres"
        with serve(url, folder) as server:
            figures = failover(server, two, lambda: gone(two))
    for one in figures:
        print(one.what, one.seen, one.bound, "yes" if one.held else "no", sep="\t")


def gone(two: Pair) -> None:
    """Drop all packets to the primary's address, as if its machine had lost its power."""
    for words in GONE:
        subprocess.run(["ip", *words.split()], check=True)
    two.primary.kill()


def listening(port: int) -> int:
    """Start a relay at the address that will vanish, to a port of this machine; the relay's port."""
    listener = socket(AF_INET, SOCK_STREAM)
    listener.bind((VANISHED, 0))
    listener.listen()

    def accept() -> None:
        while True:
            theirs = listener.accept()[0]
            ours = create_connection(("127.0.0.1", port))
            for one, other in ((theirs, ours), (ours, theirs)):
                threading.Thread(target=pump, args=(one, other), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def pump(one: socket, other: socket) -> None:
    """Forward bytes from one socket to the other, but not the end of a connection: no packet would arrive."""
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass


# ── PgBouncer ────────────────────────────────────────────────────────────────────────────────────────────────────────


def behind_pgbouncer() -> list[Figure]:
    """PostgreSQL is stopped for 3 seconds while a client sends requests continuously."""
    settings = {"without PgBouncer": None, "PgBouncer's defaults": (), "PgBouncer as operations.md says": ADVICE}
    figures = []
    for name, lines in settings.items():
        seconds = restart(lines)
        held = not lines or seconds <= BOUND_SECONDS
        bound = "–" if lines == () else f"≤ {BOUND_SECONDS}"
        figures.append(Figure(f"{name}: first success after the restart, s", f"{seconds:.1f}", bound, held))
    return figures


def restart(lines: tuple[str, ...] | None) -> float:
    """Seconds from PostgreSQL's return until the first success."""
    with private_folder() as place, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = Stoppable(place)
        server.start()
        stack.callback(server.stop)
        migrate(server.url)
        url = server.url
        if lines is not None:
            front = stack.enter_context(pgbouncer(Postgresql(url), *lines))
            url = urlsplit(url)._replace(netloc=front).geturl()
        running = stack.enter_context(serve(url, Path(folder)))
        who = person(running)
        server.stop()
        # In a thread: PgBouncer may keep a statement for `query_wait_timeout`, which is 120 s by default.
        threading.Thread(target=ask_on, args=(who, OUTAGE_SECONDS), daemon=True).start()
        time.sleep(OUTAGE_SECONDS)
        server.start()
        back = time.monotonic()
        eventually(lambda: who.ask("GET", "/address_book").status == 200, "it never answers again")
        return time.monotonic() - back


def ask_on(who: Person, seconds: float) -> None:
    """Sends requests continuously, whatever the responses are."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            who.ask("GET", "/address_book")
        time.sleep(0.1)


# ── a temporary folder ───────────────────────────────────────────────────────────────────────────────────────────────


def temporary_folder() -> list[Figure]:
    """The temporary folder is removed while two processes serve; then one of them is killed and replaced."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place = Path(name, "tmp")
        place.mkdir()
        databases = Databases(Path(name), stack)
        url = stack.enter_context(databases.fresh("postgresql"))
        with mock.patch.dict(os.environ, {"TMPDIR": str(place)}):
            server = stack.enter_context(serve(url, Path(name), "--workers", "2", metrics_token="open-sesame"))
        shutil.rmtree(place)
        os.kill(serving_children(server)[0], signal.SIGKILL)
        eventually(lambda: "died and is replaced" in server.printed, "nobody takes its place")
        token = {"Authorization": "Bearer open-sesame"}
        statuses = [ask(server, "GET", path, headers=token).status for path in ["/healthz", "/metrics"] * 20]
        who = person(server)
        statuses += [who.upload([line(n)]).status for n in range(20)]
        good = statuses.count(200)
        return [Figure("requests answered with success", f"{good} of {len(statuses)}", "all", good == len(statuses))]


ATTACKS = (
    Attack("the primary of two PostgreSQL servers dies (kill -9)", primary_dies),
    Attack("the primary's machine vanishes", primary_vanishes),
    Attack("PostgreSQL restarts", behind_pgbouncer),
    Attack("the temporary folder is removed, --workers 2", temporary_folder),
)

if __name__ == "__main__":
    vanish()
