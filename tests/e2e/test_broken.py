"""What breaks while people use it, and what that costs: nothing that was answered with success, and an answer that is
documented (docs/operations.md, "When something breaks"). `bench/breaking.py` does the same for longer.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asking import ask, line, rows
from core.joining import Play
from crowd import NO_ANSWER, crowd, knocking
from push.providers import apns_token, fcm_token, providing
from servers import Databases, Server, environment, eventually, full_disk, program, running, serve, serving_children

from ringbook.core import delivery
from ringbook.store import db as store

AWAY = "503 The database cannot be reached just now. Try again."
BUSY = "503 Another request is changing the same thing. Try again."
SESSION_GONE = "401 Required session does not exist"
PEOPLE = 6
NEED_FAKETIME = "The tests need faketime: `make test` installs it on Debian as root, else apt or brew install it"


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_kill_9_of_serving_processes_costs_only_what_was_in_flight(databases: Databases, tmp_path: Path):
    with databases.fresh("postgresql") as url, serve(url, tmp_path, "--workers", "2") as server:
        with crowd(server, PEOPLE) as people:
            for _ in range(2):
                os.kill(serving_children(server)[0], signal.SIGKILL)
                people.goes_on()
        print(people.told("kill -9 of a serving process, twice"))
        assert people.lost == 0
        assert set(people.meanwhile) <= {NO_ANSWER}
        assert server.printed.count("a serving process died and is replaced") == 2


def test_kill_9_of_postgresql_costs_nothing_that_was_answered(stoppable, tmp_path: Path):
    with serve(stoppable.url, tmp_path) as server:
        with crowd(server, PEOPLE) as people:
            stoppable.kill()
            people.sees(AWAY)
            stoppable.start()
            people.goes_on()
        print(people.told("kill -9 of PostgreSQL"))
        assert people.lost == 0
        assert set(people.meanwhile) <= {AWAY}
        assert "Traceback" not in server.printed


def test_kill_9_of_the_worker_costs_no_push_while_people_upload(databases: Databases, tmp_path: Path):
    """Each fact is told; what was acknowledged and recorded is not sent again (tests/test_killed_worker.py)."""
    with (
        databases.fresh("postgresql") as url,
        providing(tmp_path) as providers,
        serve(url, tmp_path, "--no-worker") as server,
    ):
        play = Play(store.connect(url), now=int(time.time()))
        play.set(**providers.settings)
        bob = play.person("bob")
        phones = [line(n)["phone"] for n in range(4)]
        play.holds(bob.id, *((phone, "Ann") for phone in phones))
        play.device(bob.id, apns_token("slow-100"), channel="apns", platform="ios")
        settings = environment(url, **{name: str(value) for name, value in providers.config.items()})
        with crowd(server, 2) as people:
            for n, phone in enumerate(phones):
                play.person(f"ann{n}", phone)
                with running([program(), "worker"], tmp_path / f"worker{n}.log", environment=settings) as worker:
                    begun = len(providers.asked()["asked"])
                    if n < len(phones) - 1:
                        eventually(lambda begun=begun: len(providers.asked()["asked"]) > begun, "no push")
                        worker.kill()
                        worker.wait()
                        with play.db.write() as tx:  # as if the lease of the dead were over
                            tx.run("UPDATE pushes SET due_at = 0 WHERE outcome IS NULL")
                    else:
                        eventually(
                            lambda: not delivery.waiting(play.db)[0] and not play.facts(), "pushes wait for ever"
                        )
            people.goes_on()
        told = Counter(row["about_user_id"] for row in play.rows("SELECT * FROM pushes WHERE outcome = 'accepted'"))
        play.db.close()
        print(people.told("kill -9 of the worker, three times"))
        assert len(told) == len(phones) and set(told.values()) == {1}
        assert people.lost == 0 and not people.meanwhile


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[bool]:
    """The folder is a disk of its own, if this user may mount one; is it?"""
    words = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def no_room(server: Server, folder: Path, mounted: bool) -> Iterator[None]:
    """Fill the disk to its last byte; or, where that is not possible, let no file grow."""
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


@pytest.mark.skipif(sys.platform != "linux", reason="disks are mounted, and other processes limited, on Linux only")
def test_a_full_disk_costs_nothing_that_was_answered(databases: Databases, tmp_path: Path):
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 24) as mounted, databases.fresh("sqlite") as migrated:
        file = folder / "ringbook.db"
        file.write_bytes(Path(migrated.removeprefix("sqlite:///")).read_bytes())
        file.chmod(0o600)
        with serve(f"sqlite:///{file}", tmp_path) as server:
            with crowd(server, PEOPLE) as people:
                with no_room(server, folder, mounted):
                    people.sees(AWAY)
                    eventually(lambda: ask(server, "GET", "/readyz").status == 503, "/readyz does not notice")
                    assert ask(server, "GET", "/healthz").status == 200
                    assert people.people[0].ask("GET", "/address_book").status == 200
                people.goes_on()
            print(people.told("a full disk" + ("" if mounted else ", by a limit")))
            assert people.lost == 0
            assert set(people.meanwhile) <= {AWAY}
            with sqlite3.connect(file) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# ── a slow provider ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slow_provider_keeps_nobody_waiting_and_loses_no_push(databases: Databases, tmp_path: Path):
    with databases.fresh("sqlite") as url, providing(tmp_path) as providers:
        settings = {name: str(value) for name, value in providers.config.items()}
        with serve(url, tmp_path, **settings) as server:
            play = Play(store.connect(url), now=int(time.time()))
            play.set(**providers.settings)
            for n in range(60):
                slow = n % 3
                token = fcm_token("slow-2500", n) if slow else apns_token(serial=n)
                holder = play.person(f"holder{n}")
                play.holds(holder.id, ("+12025550101", "Ann"))
                play.device(holder.id, token, **({} if slow else {"channel": "apns", "platform": "ios"}))
            with crowd(server, PEOPLE) as people:
                play.person("ann", "+12025550101")
                accepted = "SELECT count(*) AS n FROM pushes WHERE outcome = 'accepted' AND channel = :channel"
                eventually(lambda: play.rows(accepted, channel="apns")[0]["n"] == 20, "the quick ones wait")
                people.goes_on()
                eventually(lambda: play.rows(accepted, channel="gcm")[0]["n"] == 40, "a push was lost")
            sent = Counter(one["token"] for one in providers.asked()["asked"])
            play.db.close()
            print(people.told("a provider that takes 2.5 s"))
            assert len(sent) == 60 and set(sent.values()) == {1}
            assert people.lost == 0 and not people.meanwhile


# ── a clock that jumps ───────────────────────────────────────────────────────────────────────────────────────────────


def faketime() -> Path:
    """The library that gives a process a clock of its own."""
    for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib"):
        for found in sorted(Path(folder).glob("**/faketime/libfaketime.*")):
            return found
    raise RuntimeError(NEED_FAKETIME)


def clock(file: Path) -> dict[str, str]:
    """The environment of a process that goes by the clock that a file tells: `+3h` is three hours ahead."""
    set_clock(file, "+0")
    return {
        "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a clock that is set does not touch it
    }


def set_clock(file: Path, jump: str) -> None:
    """All at once: who reads half a line stops."""
    written = file.with_suffix(".new")
    written.write_text(jump)
    written.replace(file)


def test_a_clock_that_jumps_ends_sessions_and_nothing_else(databases: Databases, tmp_path: Path, monkeypatch):
    file = tmp_path / "clock"
    for name, value in clock(file).items():  # for the server; this process has begun with its own clock
        monkeypatch.setenv(name, value)
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as server, crowd(server, 4) as people:
        for jump in ("+3h", "-3h", "+0", "+2d", "+0"):
            set_clock(file, jump)
            people.goes_on()
    print(people.told("a clock that jumps 3 hours ahead, 6 back, 3 and 48 ahead, 48 back"))
    assert people.meanwhile[SESSION_GONE] >= 4
    assert set(people.meanwhile) <= {SESSION_GONE}
    assert people.lost == 0
    assert '"status":500' not in server.printed and "work failed" not in server.printed


# ── many at the same moment ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_thousand_clients_at_once_are_all_answered(kind: str, databases: Databases, tmp_path: Path):
    none = {"new_accounts_per_hour": "0", "new_sessions_per_hour": "0", "address_permits_per_day": "0"}
    with databases.fresh(kind) as url, serve(url, tmp_path, **none) as server:
        answers = knocking(server, 1_000)
        there = {(row["owner_id"], row["number"]) for row in rows(server, "SELECT owner_id, number FROM contacts")}
        other = sum((counted for _, _, counted in answers), Counter[str]())
        print(f"1,000 clients at once on {kind}: {len(there)} contacts, meanwhile {dict(other)}")
        assert len({user for user, _, _ in answers}) == 1_000
        assert {(user, int(phone)) for user, phones, _ in answers for phone in phones} == there
        assert set(other) <= {BUSY, AWAY}
