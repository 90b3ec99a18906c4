"""Failures around a server: the database goes away and comes back, a pooler is in between, the power fails."""

import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import servers
from asking import PASSWORD, Answer, Person, ask, at_once, guest, line, lines, open_session, person, rows, write
from servers import DATABASES, Databases, Server, eventually, full_disk, serve

PATIENCE_SECONDS = 60


# ── PostgreSQL goes away and comes back ──────────────────────────────────────────────────────────────────────────────


def is_unavailable(answer: Answer) -> bool:
    assert answer.status == 503, answer
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json == {"errors": ["The database cannot be reached just now. Try again."]}
    return int(answer.headers["Retry-After"]) > 0


def test_a_database_that_goes_away_is_503_and_comes_back_by_itself(stoppable, tmp_path):
    with serve(stoppable.url, tmp_path) as server:
        who = person(server)
        who.upload(lines(0, 5))
        stoppable.stop()
        asked = [
            partial(who.ask, "GET", "/address_book"),
            partial(who.upload, lines(5, 5)),
            partial(open_session, server, server.app),
            partial(ask, server, "POST", "/users", {"user": {"login": "x"}}, headers={"CB-AuthKey": "unknown"}),
            partial(ask, server, "GET", "/readyz"),
            partial(ask, server, "GET", "/healthz"),
            partial(ask, server, "GET", "/no/such/path"),
        ]
        *refused, not_ready, alive, not_found = at_once(asked)
        assert all(is_unavailable(answer) for answer in refused)
        assert (not_ready.status, alive.status, not_found.status) == (503, 200, 404)
        stoppable.start()
        eventually(lambda: who.ask("GET", "/address_book").status == 200, "it never answered again")
        # The result of a probe is kept for two seconds.
        eventually(lambda: ask(server, "GET", "/readyz").status == 200, "it is never ready again")
        assert [who.ask("GET", "/address_book").status for _ in range(20)] == [200] * 20
        assert who.upload(lines(5, 5)).json["created"] == 5
        assert len(who.book()) == 10
        assert "Traceback" not in server.printed


def test_a_database_that_is_frozen_is_503_and_goes_on_by_itself(stoppable, tmp_path):
    with serve(stoppable.url, tmp_path, database_seconds="1") as server:
        who = person(server)
        who.upload(lines(0, 5))
        with stoppable.frozen():
            asked = [partial(who.ask, "GET", "/address_book"), partial(who.upload, lines(5, 5))] * 3
            assert all(is_unavailable(answer) for answer in at_once(asked))
            not_ready = ask(server, "GET", "/readyz")
            assert (not_ready.status, ask(server, "GET", "/healthz").status) == (503, 200)
        eventually(lambda: who.ask("GET", "/address_book").status == 200, "it never answered again")
        assert who.upload(lines(5, 5)).status == 200
        assert len(who.book()) == 10
        assert "Traceback" not in server.printed


def test_a_server_starts_only_once_its_database_is_there(stoppable, tmp_path):
    stoppable.stop()
    with pytest.raises(RuntimeError, match="nothing accepts connections"), serve(stoppable.url, tmp_path):
        pass
    stoppable.start()


# ── a pooler stands between ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def pooled(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind PgBouncer in transaction mode: each transaction may use another connection."""
    with databases.fresh("pgbouncer") as url, serve(url, tmp_path_factory.mktemp("pooled")) as running:
        yield running


def journey(server: Server, n: int) -> list[int]:
    """The first requests of an app, and their responses."""
    who = person(server, phone=line(n)["phone"], full_name=f"Person {n}")
    subscription = {
        "notification_channels": ["gcm"],
        "push_token": {"environment": "production", "client_identification_sequence": f"fcm-token-{n:04}"},
        "device": {"platform": "android", "udid": "phone"},
    }
    answers = [
        who.upload(lines(0, 40), force=1),
        who.upload(lines(20, 40), udid="phone"),
        who.upload([{**line(0), "destroy": 1}, line(50)]),
        who.ask("GET", "/address_book"),
        who.ask("GET", "/address_book/registered_users?compact=1"),
        who.ask("POST", "/subscriptions", subscription),
        who.ask("GET", "/subscriptions"),
        who.ask("GET", f"/users/v2?id[in][]={who.id}&sort_asc=login"),
        who.ask("GET", f"/users/phone?phone={line(n)['phone']}"),
        who.ask("PUT", f"/users/{who.id}", {"user": {"tag_list": "a,b"}}),
        who.signed_in_again().ask("DELETE", "/session/list"),
    ]
    assert len(answers[3].json) == 40
    assert len(answers[4].json["items"]) >= (n in range(1, 40))
    return [answer.status for answer in answers]


JOURNEY = [200, 200, 200, 200, 200, 201, 200, 200, 200, 200, 200]


def test_behind_a_pooler_everything_works_for_many_at_once(pooled):
    assert at_once([partial(journey, pooled, n) for n in range(1, 13)]) == [JOURNEY] * 12
    assert "Traceback" not in pooled.printed


def test_behind_a_pooler_uploads_to_one_book_take_turns(pooled):
    who = person(pooled)
    answers = at_once([partial(who.upload, lines(n * 5, 20)) for n in range(12)])
    assert {answer.status for answer in answers} == {200}
    assert len(who.book()) == 11 * 5 + 20


def test_behind_a_pooler_a_first_start_and_a_guests_day_work(databases, tmp_path):
    """Migration, the first application and the deletion of an account need no database session."""
    with databases.postgresql.database() as direct:
        url = urlsplit(direct)._replace(netloc=databases.pgbouncer).geturl()
        assert "schema" in servers.ringbook("migrate", database_url=url).stdout
        with serve(url, tmp_path) as server:
            assert [row["name"] for row in rows(server, "SELECT name FROM applications ORDER BY id")] == [
                "My app",
                "tests",
            ]
            who = guest(server)
            assert who.upload(lines(0, 5)).status == 200
            assert who.ask("DELETE", f"/users/{who.id}").status == 200
            assert rows(server, "SELECT * FROM contacts") == []


# ── the power goes ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", DATABASES)
def test_what_was_answered_survives_kill_9(databases, tmp_path, kind):
    with databases.fresh(kind) as url:
        with serve(url, tmp_path) as server:
            people = [person(server) for _ in range(3)]
            answered = upload_until_killed(server, people)
        with serve(url, tmp_path) as server:
            for who, promised in zip(people, answered, strict=True):
                there = Person(server, who.app, who.id, who.token).book()
                phones = [phone for phone, _ in there]
                assert set(promised) <= set(phones)
                assert len(phones) == len(set(phones)) <= len(promised) + 1
            sizes = rows(server, "SELECT size FROM books ORDER BY owner_id")
            assert [row["size"] for row in sizes] == [
                row["n"]
                for row in rows(server, "SELECT count(*) AS n FROM contacts GROUP BY owner_id ORDER BY owner_id")
            ]


def upload_until_killed(server: Server, people: list[Person]) -> list[list[str]]:
    """Upload contacts one after the other until the server is killed; the phones whose upload was answered."""
    enough = threading.Semaphore(0)

    def upload(who: Person) -> list[str]:
        answered: list[str] = []
        for n in range(1_000):
            try:
                assert who.upload([line(n)]).status == 200
            except (OSError, HTTPException):
                break
            answered.append(line(n)["phone"])
            enough.release()
        return answered

    with ThreadPoolExecutor(len(people)) as threads:
        uploads = [threads.submit(upload, who) for who in people]
        for _ in range(60):
            assert enough.acquire(timeout=PATIENCE_SECONDS)
        server.process.kill()
        server.process.wait()
        answered = [upload.result() for upload in uploads]
    assert sum(map(len, answered)) >= 60
    return answered


# ── the disk is full, the file is busy ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def on_sqlite(databases: Databases, tmp_path: Path) -> Iterator[Server]:
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as running:
        yield running


def test_a_value_that_does_not_open_is_503_and_the_log_says_where_it_is(on_sqlite):
    who, other = person(on_sqlite), person(on_sqlite)
    for one in (who, other):
        assert one.upload(lines(0, 3)).status == 200
    write(on_sqlite, "UPDATE contacts SET sealed = :broken WHERE owner_id = :id", broken=bytes(48), id=who.id)
    assert who.ask("GET", "/address_book").status == 503
    assert len(other.book()) == 3
    assert "a sealed value in contacts.sealed does not open" in on_sqlite.printed


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits can be changed on Linux only")
def test_a_full_disk_is_503_and_loses_nothing(on_sqlite):
    who = person(on_sqlite)
    assert who.upload(lines(0, 100)).status == 200
    with full_disk(on_sqlite):
        assert is_unavailable(who.upload(lines(100, 5_000)))
        assert len(who.book()) == 100
        assert ask(on_sqlite, "GET", "/healthz").status == 200
    assert who.upload(lines(100, 500)).json["created"] == 500
    assert len(who.book()) == 600
    with sqlite3.connect(on_sqlite.database_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_another_program_that_writes_for_a_while_is_waited_for(on_sqlite):
    who = person(on_sqlite)
    other = sqlite3.connect(on_sqlite.database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(who.upload, lines(0, 5))
        assert who.book() == []
        time.sleep(0.5)
        assert not waiting.done()
        other.execute("COMMIT")
        assert waiting.result().json["created"] == 5
    other.close()


def test_commands_beside_a_running_server_see_and_keep_what_it_writes(on_sqlite):
    """`ringbook app …` opens and closes the same file."""
    who = person(on_sqlite)
    at_once([partial(who.upload, lines(n, 1)) for n in range(8)])
    servers.ringbook("app", "set", str(who.app.application_id), "profiles", "open", database_url=on_sqlite.database_url)
    assert who.upload(lines(100, 5)).status == 200
    servers.ringbook("app", "list", database_url=on_sqlite.database_url)
    assert len(who.book()) == 13
    assert len(rows(on_sqlite, "SELECT * FROM contacts")) == 13
    assert open_session(on_sqlite, who.app, {"login": who.login, "password": PASSWORD}).status == 201
