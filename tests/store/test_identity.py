"""A SQLite file that disappears or is replaced while Ringbook runs; and a start where a database has been."""

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import servers
from asking import Person, ask, at_once, line, lines, person
from core.joining import Play
from noted import without_database
from servers import SEAL, Databases, Server, ended, environment, eventually, free_port, program, running, serve

from ringbook import errors
from ringbook.store import db as databases_
from ringbook.store.db import Database

AWAY = ["The database cannot be reached just now. Try again."]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with a user in it."""
    servers.migrate(f"sqlite:///{tmp_path}/ringbook.db")
    with closing(databases_.connect(f"sqlite:///{tmp_path}/ringbook.db", seal=SEAL)) as db:
        Play(db).person("ann")
    return tmp_path / "ringbook.db"


@pytest.fixture
def db(file: Path) -> Iterator[Database]:
    """The same, open."""
    with closing(databases_.connect(f"sqlite:///{file}", seal=SEAL)) as opened:
        assert users(opened) == 1
        yield opened


def users(db: Database) -> int:
    with db.read() as tx:
        return int(tx.tuples("SELECT count(*) FROM users")[0][0])


def rename(db: Database, name: str, between: Callable[[], object] = lambda: None) -> None:
    """Write, with something that happens before the commit."""
    with db.write() as tx:
        tx.run("UPDATE users SET full_name = :name", name=name)
        between()


def trouble(work: Callable[[], object]) -> str:
    with pytest.raises(errors.Unavailable) as refused:
        work()
    assert [refused.value.reason] == AWAY
    return refused.value.why


# ── one process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_connection_never_makes_a_file(tmp_path):
    with closing(databases_.connect(f"sqlite:///{tmp_path}/none.db", seal=SEAL)) as db:
        assert trouble(partial(users, db)).startswith(f"there is no database {tmp_path}/none.db: ")
        assert trouble(partial(rename, db, "Ann")).startswith("there is no database")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_removed_is_noticed_by_the_next_transaction_and_not_made_anew(db, file):
    file.unlink()
    said = f"the database file {file} was removed or renamed while Ringbook runs: put that same file back"
    assert trouble(partial(users, db)).startswith(said)
    assert trouble(partial(rename, db, "Ann")).startswith(said)
    assert not file.exists()


def test_what_is_committed_to_a_removed_file_is_no_success(db, file):
    committed: list[str] = []

    def write() -> None:
        with db.write() as tx:
            tx.run("UPDATE users SET full_name = 'Ann'")
            tx.on_commit(lambda: committed.append("then"))
            file.unlink()

    assert "was removed or renamed" in trouble(write)
    assert committed == []


def test_the_same_file_comes_back_and_serving_goes_on_with_all_that_was_written(db, file, tmp_path):
    away = tmp_path / "away.db"
    assert "was removed" in trouble(partial(rename, db, "Ann", lambda: file.rename(away)))
    assert "was removed" in trouble(partial(users, db))
    away.rename(file)
    assert users(db) == 1
    with db.read() as tx:  # it had been committed: 503 leaves open whether a request was carried out
        assert tx.tuples("SELECT full_name FROM users") == [("Ann",)]
    rename(db, "Annie")


def test_a_file_in_its_place_is_not_taken_for_it(db, file, tmp_path):
    copy = Path(shutil.copy(file, tmp_path / "copy.db"))
    content = copy.read_bytes()
    os.replace(copy, file)
    assert f"{file} was replaced while Ringbook runs: put the former file back, or restart" in trouble(
        partial(users, db)
    )
    assert "was replaced" in trouble(partial(rename, db, "Ann"))
    assert file.read_bytes() == content


@pytest.mark.parametrize("log", ["-wal", "-shm"])
def test_a_log_that_is_removed_is_noticed_and_nothing_is_lost_when_the_server_is_stopped(db, file, log):
    rename(db, "Ann")
    Path(f"{file}{log}").unlink()
    assert f"the log {file}{log} of the database was removed" in trouble(partial(rename, db, "Annie"))
    db.close()
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("SELECT full_name FROM users").fetchall() == [("Ann",)]
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_index_of_the_log_that_is_replaced_is_noticed(db, file, tmp_path):
    """Another program would make an index of its own, and both would write to the same log."""
    rename(db, "Ann")
    index = Path(f"{file}-shm")
    os.replace(shutil.copy(index, tmp_path / "copy"), index)
    assert f"the log {index} of the database was removed or replaced" in trouble(partial(users, db))


def test_a_database_behind_a_link_is_watched_where_it_is(file, tmp_path):
    (tmp_path / "link.db").symlink_to(file)
    with closing(databases_.connect(f"sqlite:///{tmp_path}/link.db", seal=SEAL)) as db:
        rename(db, "Ann")
        file.rename(tmp_path / "away.db")
        assert "was removed" in trouble(partial(users, db))


def test_rewriting_the_file_keeps_it_the_same(db):
    db.rewrite()
    assert users(db) == 1
    rename(db, "Ann")


# ── a server ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server(databases: Databases, tmp_path: Path) -> Iterator[Server]:
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as running:
        yield running


def file_of(server: Server) -> Path:
    return databases_.sqlite_file(server.database_url)


class Uploads:
    """Clients who upload one contact after the other: when each began and how it was answered."""

    def __init__(self, people: list[Person]) -> None:
        self._stop = threading.Event()
        self.answers: list[tuple[int, Any]] = []
        self._begun = 0
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in people]

    def __enter__(self) -> "Uploads":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, who: Person) -> None:
        n = 0
        while not self._stop.is_set():
            begun = self._begun = self._begun + 1
            answer = who.upload([line(n)])
            self.answers.append((begun, answer))
            n += 1

    def wait_for(self, more: int) -> int:
        """So many more answers; the number of the last request that has begun by then."""
        goal = len(self.answers) + more
        eventually(lambda: len(self.answers) >= goal, "nobody is answered")
        return self._begun


def test_while_the_file_is_away_everybody_gets_503_and_readyz_names_it(server, tmp_path):
    file, away = file_of(server), tmp_path / "away.db"
    people = [person(server) for _ in range(4)]
    with Uploads(people) as uploads:
        uploads.wait_for(20)
        file.rename(away)
        gone = uploads.wait_for(1)
        uploads.wait_for(40)
        ready = ask(server, "GET", "/readyz")
        assert ready.status == 503 and f"{file} was removed or renamed" in ready.json["status"]
        assert ask(server, "GET", "/healthz").status == 200
        assert not file.exists()
        reads = at_once([partial(one.ask, "GET", "/address_book") for one in people])
        assert {(one.status, one.headers["Retry-After"]) for one in reads} == {(503, "1")}
        uploads.wait_for(4)
        before_return = len(uploads.answers)
        away.rename(file)
        eventually(lambda: ask(server, "GET", "/readyz").status == 200, "it never was ready again")
        uploads.wait_for(20)
    while_away = [answer for begun, answer in uploads.answers[:before_return] if begun > gone]
    assert while_away and {(one.status, tuple(one.json["errors"])) for one in while_away} == {(503, tuple(AWAY))}
    assert {answer.status for _, answer in uploads.answers} == {200, 503}
    assert [who.upload([line(0)]).status for who in people] == [200] * 4
    assert server.printed.count("database file lost") == server.printed.count("database file back") == 1
    assert "Traceback" not in server.printed


def test_a_file_that_is_gone_for_good_stays_503_until_the_end_and_the_next_start_refuses(databases, tmp_path):
    url = f"sqlite:///{tmp_path}/ringbook.db"
    with serve(url, tmp_path) as server:
        who = person(server)
        assert who.upload(lines(0, 5)).status == 200
        (tmp_path / "ringbook.db").unlink()
        assert [who.upload(lines(5, 5)).status for _ in range(3)] == [503] * 3
    assert server.process.returncode == 0 and "Traceback" not in server.printed
    assert not (tmp_path / "ringbook.db").exists()
    assert "ringbook.db-erasures is, so there was one" in command(f"serve --port {free_port()}", url).stderr
    assert not (tmp_path / "ringbook.db").exists()


# ── a start ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def command(words: str, url: str, code: int = 1, **settings: str) -> subprocess.CompletedProcess[str]:
    done = ended([program(), *words.split()], environment(url, **settings))
    assert done.returncode == code and "Traceback" not in done.stdout + done.stderr, done
    return done


def test_the_first_start_makes_the_file_and_the_journal_for_their_owner_alone(tmp_path):
    with serve(f"sqlite:///{tmp_path}/ringbook.db", tmp_path):
        modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.glob("ringbook.db*")}
    assert (modes["ringbook.db"], modes["ringbook.db-erasures"]) == (0o600, 0o700)


@pytest.mark.parametrize("trace", ["ringbook.db-erasures", "ringbook.db-wal", "ringbook.db-shm", "set/2026-11.txt"])
@pytest.mark.parametrize("empty", [False, True])
def test_where_a_database_has_been_none_is_made_until_its_trace_is_moved_away(tmp_path, trace, empty):
    url, left = f"sqlite:///{tmp_path}/ringbook.db", tmp_path / trace
    settings = {"erasures_folder": str(tmp_path / "set")} if trace.startswith("set") else {}
    left.parent.mkdir(exist_ok=True)
    left.mkdir() if trace.endswith("-erasures") else left.write_text("x")
    if empty:
        (tmp_path / "ringbook.db").touch()
    said = f"the database {tmp_path}/ringbook.db is not there, but {left} is, so there was one: put the file back, or"
    for words in (f"serve --port {free_port()}", "migrate", "app create Friends", "app list"):
        assert without_database(command(words, url, **settings).stderr).startswith(f"ringbook: {said}")
    assert f"NO   database: {said}" in command("check", url, **settings).stdout
    assert not (tmp_path / "ringbook.db").exists() or not (tmp_path / "ringbook.db").stat().st_size
    left.rename(tmp_path / "aside")
    assert "schema" in command("migrate", url, code=0, **settings).stdout


def test_an_empty_folder_that_a_setting_names_is_no_trace(tmp_path):
    (tmp_path / "journal").mkdir()
    command("migrate", f"sqlite:///{tmp_path}/ringbook.db", code=0, erasures_folder=str(tmp_path / "journal"))


def test_a_worker_whose_file_is_gone_goes_on_when_it_is_back(file, tmp_path):
    log = tmp_path / "log"
    with running([program(), "worker"], log, environment=environment(f"sqlite:///{file}")) as worker:
        eventually(lambda: "working" in log.read_text(), "no worker")
        file.rename(tmp_path / "away.db")
        eventually(lambda: "database file lost" in log.read_text(), "it never noticed")
        assert worker.poll() is None and not file.exists()
        (tmp_path / "away.db").rename(file)
        eventually(lambda: "database file back" in log.read_text(), "it never noticed its return")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
