"""Failures while clients use the server, repeated as often as requested; each returns the results of the clients.

serving_processes, worker, postgresql    killed with kill -9
disk                                     full to its last byte
provider                                 slow
jumping                                  the clock is changed
thousand                                 many clients at the same time
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from unittest import mock

from asking import ask, line
from core.joining import Play
from crowd import Crowd, crowd, knocking
from push.providers import apns_token, fcm_token, providing
from sealed import contacts_behind
from servers import SEAL, Databases, Server, Stoppable, environment, eventually, full_disk, program, running, serve
from servers import serving_children as children

from ringbook.core import delivery
from ringbook.store import db as store

AWAY = "503 The database cannot be reached just now. Try again."
BUSY = "503 Another request is changing the same thing. Try again."
NO_TURN = "503 The server is busy just now. Try again."
SESSION_GONE = "401 Required session does not exist"
PEOPLE = 6
NEED_FAKETIME = "The tests need faketime: `make test` installs it on Debian as root, else apt or brew install it"
NO_LIMITS = {
    "new_accounts_per_hour": "0",
    "network_accounts_per_hour": "0",
    "new_sessions_per_hour": "0",
    "network_sessions_per_hour": "0",
    "address_permits_per_day": "0",
    "network_permits_per_day": "0",
    "app_permits_per_day": "1000000000000",
}


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def serving_processes(databases: Databases, folder: Path, times: int) -> Crowd:
    """One of two serving processes is killed, and another one when clients get responses again."""
    with databases.fresh("postgresql") as url, serve(url, folder, "--workers", "2") as server:
        with crowd(server, PEOPLE) as people:
            for n in range(1, times + 1):
                os.kill(children(server)[0], signal.SIGKILL)
                people.goes_on()
                eventually(lambda n=n: replaced(server) == n, "the dead are not replaced")
        return people.counted()


def replaced(server: Server) -> int:
    """The number of serving processes that the server has replaced, by its log."""
    return server.printed.count("a serving process died and is replaced")


def postgresql(server_: Stoppable, folder: Path, times: int) -> Crowd:
    """PostgreSQL is killed with all its processes and, after clients got errors, started again."""
    with serve(server_.url, folder) as server:
        with crowd(server, PEOPLE) as people:
            for _ in range(times):
                server_.kill()
                people.sees(AWAY)
                server_.start()
                people.goes_on()
        assert "Traceback" not in server.printed
        return people.counted()


def worker(databases: Databases, folder: Path, times: int) -> tuple[Crowd, Counter[int]]:
    """The worker is killed during a push, and another worker is started; how often each recipient got the push."""
    with (
        databases.fresh("postgresql") as url,
        providing(folder) as providers,
        serve(url, folder, "--no-worker") as server,
        closing(store.connect(url, seal=SEAL)) as db,
    ):
        play = Play(db, now=int(time.time()))
        play.set(**providers.settings)
        bob = play.person("bob")
        phones = [line(n)["phone"] for n in range(times + 1)]
        play.holds(bob.id, *((phone, "Ann") for phone in phones))
        play.device(bob.id, apns_token("slow-100"), channel="apns", platform="ios")
        settings = environment(url, **{name: str(value) for name, value in providers.config.items()})
        with crowd(server, 2) as people:
            for n, phone in enumerate(phones):
                begun = len(providers.asked()["asked"])
                play.person(f"ann{n}", phone)
                with running([program(), "worker"], folder / f"worker{n}.log", environment=settings) as one:
                    if n == times:
                        eventually(lambda: not (delivery.waiting(db)[0] or play.facts()), "pushes wait for ever")
                        break
                    eventually(lambda begun=begun: len(providers.asked()["asked"]) > begun, "no push is sent")
                    one.kill()
                    one.wait()
                with db.write() as tx:  # as if the lease of the dead were over
                    tx.run("UPDATE pushes SET due_at = 0 WHERE outcome IS NULL")
            people.goes_on()
        accepted = play.rows("SELECT about_user_id FROM pushes WHERE outcome = 'accepted'")
        return people.counted(), Counter(row["about_user_id"] for row in accepted)


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────────────────────────


def disk(databases: Databases, folder: Path, times: int) -> Crowd:
    """SQLite's disk is full until clients and /readyz report it; then there is space again."""
    place = folder / "disk"
    place.mkdir()
    with small_disk(place, 24) as mounted, databases.fresh("sqlite") as migrated:
        file = place / "ringbook.db"
        file.write_bytes(Path(migrated.removeprefix("sqlite:///")).read_bytes())
        file.chmod(0o600)
        with serve(f"sqlite:///{file}", folder) as server:
            with crowd(server, PEOPLE) as people:
                for _ in range(times):
                    with no_room(server, place, mounted):
                        people.sees(AWAY)
                        eventually(lambda: ask(server, "GET", "/readyz").status == 503, "/readyz does not notice")
                        assert ask(server, "GET", "/healthz").status == 200
                        assert people.people[0].ask("GET", "/address_book").status == 200
                    people.goes_on()
            with closing(sqlite3.connect(file)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return people.counted()


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[bool]:
    """Mount a small disk at the folder, if this user may; was it mounted?"""
    words = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def no_room(server: Server, folder: Path, mounted: bool) -> Iterator[None]:
    """Fill the disk to its last byte; if that is not possible, prevent files from growing."""
    if not mounted:
        with full_disk(server, room=0):
            yield
        return
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as opened:
        for size in (65_536, 512):
            try:
                while opened.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


# ── a slow provider ──────────────────────────────────────────────────────────────────────────────────────────────────


def provider(databases: Databases, folder: Path, holders: int) -> tuple[Crowd, Counter[str]]:
    """Two of three push tokens belong to a provider that takes 2.5 s; how often each got its push."""
    with databases.fresh("sqlite") as url, providing(folder) as providers:
        settings = {name: str(value) for name, value in providers.config.items()}
        with serve(url, folder, **settings) as server, closing(store.connect(url, seal=SEAL)) as db:
            play = Play(db, now=int(time.time()))
            play.set(**providers.settings)
            for n in range(holders):
                slow = n % 3
                holder = play.person(f"holder{n}")
                play.holds(holder.id, ("+12025550101", "Ann"))
                token = fcm_token("slow-2500", n) if slow else apns_token(serial=n)
                play.device(holder.id, token, **({} if slow else {"channel": "apns", "platform": "ios"}))

            def all_of(channel: str, count: int) -> bool:
                accepted = "SELECT count(*) AS n FROM pushes WHERE outcome = 'accepted' AND channel = :channel"
                return bool(play.rows(accepted, channel=channel)[0]["n"] == count)

            with crowd(server, PEOPLE) as people:
                play.person("ann", "+12025550101")
                eventually(lambda: all_of("apns", (holders + 2) // 3), "the quick ones wait")
                people.goes_on()
                eventually(lambda: all_of("gcm", holders - (holders + 2) // 3), "a push was lost")
            return people.counted(), Counter(one["token"] for one in providers.asked()["asked"])


# ── a clock that is set ──────────────────────────────────────────────────────────────────────────────────────────────


def jumping(databases: Databases, folder: Path, jumps: Sequence[str]) -> Crowd:
    """The server's clock is set to an offset from the right time (`+3h`), several times."""
    file = folder / "clock"
    with mock.patch.dict(os.environ, clock(file)), databases.fresh("sqlite") as url, serve(url, folder) as server:
        with crowd(server, 4) as people:
            for jump in jumps:
                set_clock(file, jump)
                people.goes_on()
        assert '"status":500' not in server.printed and "work failed" not in server.printed
        return people.counted()


def clock(file: Path) -> dict[str, str]:
    """The environment of a process that reads its clock's offset from a file."""
    set_clock(file, "+0")
    return {
        "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a clock that is set does not touch it
    }


def set_clock(file: Path, jump: str) -> None:
    """Write the offset atomically, because a process that reads half a line stops."""
    written = file.with_suffix(".new")
    written.write_text(jump)
    written.replace(file)


def faketime() -> Path:
    """The library that gives a process its own clock."""
    for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib"):
        for found in (*Path(folder).glob("faketime/libfaketime.*"), *Path(folder).glob("*/faketime/libfaketime.*")):
            return found
    raise RuntimeError(NEED_FAKETIME)


# ── many at the same moment ──────────────────────────────────────────────────────────────────────────────────────────


def thousand(databases: Databases, folder: Path, kind: str, count: int = 1_000) -> tuple[int, int, Counter[str]]:
    """Many guests upload at once; the acknowledged contacts, those of them that are lost, and the other responses."""
    with databases.fresh(kind) as url, serve(url, folder, **NO_LIMITS) as server:
        answers = knocking(server, count)
        there = contacts_behind(server)
        promised = {(user, int(phone)) for user, phones, _ in answers for phone in phones}
        assert len({user for user, _, _ in answers}) == count and there <= promised
        return len(promised), len(promised - there), sum((other for _, _, other in answers), Counter[str]())
