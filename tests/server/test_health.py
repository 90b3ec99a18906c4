"""/healthz and /readyz while a database is lost, its disk is full, or a migration runs."""

import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from asking import ask, at_once, lines, person
from servers import (
    SEAL,
    Databases,
    Server,
    ended,
    environment,
    eventually,
    free_port,
    full_disk,
    get,
    program,
    running,
    serve,
)

from ringbook.store import migrations
from ringbook.store.migrations import HEAD, LOCK

READY = (200, "ready")


def ready(server: Server) -> tuple[int, str]:
    answer = ask(server, "GET", "/readyz")
    return answer.status, answer.json["status"]


def figures(server: Server) -> str:
    return ask(server, "GET", "/metrics", headers={"Authorization": "Bearer open-sesame"}).raw.decode()


def alive(server: Server) -> bool:
    return ask(server, "GET", "/healthz").status == 200


@pytest.fixture
def on_sqlite(databases: Databases, tmp_path) -> Iterator[Server]:
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as running:
        yield running


@pytest.fixture
def on_postgresql(databases: Databases, tmp_path) -> Iterator[Server]:
    with databases.fresh("plain") as url, serve(url, tmp_path) as running:
        yield running


# ── the database is lost ─────────────────────────────────────────────────────────────────────────────────────────────


def test_while_the_database_is_away_everybody_is_told_so_at_once(stoppable, tmp_path):
    """If each request waited for seconds, so many requests would take longer than this test's time limit."""
    with serve(stoppable.url, tmp_path, metrics_token="open-sesame") as server:
        who = person(server)
        assert ready(server) == READY
        stoppable.stop()
        eventually(lambda: "database away" in server.printed, "it never noticed")
        answers = at_once([partial(who.ask, "GET", "/address_book") for _ in range(50)])
        answers += [who.upload(lines(0, 5)) for _ in range(150)]
        assert {answer.status for answer in answers} == {503}
        assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
        said = "nothing accepts connections at the address in RINGBOOK_DATABASE: start PostgreSQL"
        assert ready(server)[0] == 503 and ready(server)[1].startswith(said)
        assert alive(server)
        assert "ringbook_database_up 0.0" in figures(server)
        stoppable.start()
        eventually(lambda: ready(server) == READY, "it never was ready again")
        assert who.upload(lines(0, 5)).json["created"] == 5
        assert "ringbook_database_up 1.0" in figures(server)
        assert server.printed.count("database away") == server.printed.count("database back") == 1


def test_a_database_that_became_a_standby_is_not_ready(on_postgresql):
    name = on_postgresql.database_url.rpartition("/")[2]
    with psycopg.connect(on_postgresql.database_url, autocommit=True) as admin:
        who = person(on_postgresql)
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        cut(admin)
        said = "the database cannot be written to: it takes no writes, as a standby does"
        eventually(lambda: ready(on_postgresql) == (503, said), "it never noticed")
        eventually(lambda: who.ask("GET", "/address_book").status == 200, "it could not be read")
        assert who.upload(lines(0, 5)).status == 503
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
        cut(admin)
        eventually(lambda: ready(on_postgresql) == READY, "it never was ready again")
        assert who.upload(lines(0, 5)).status == 200


def cut(admin: psycopg.Connection) -> None:
    """End all other connections."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


# What Citus documents of its nodes, a table and a function that connects; Citus itself has to be built from source.
CLUSTER = """
CREATE TYPE noderole AS ENUM ('primary', 'secondary', 'unavailable');
CREATE TABLE pg_dist_node (nodename text, nodeport integer, isactive boolean, noderole noderole);
INSERT INTO pg_dist_node VALUES ('here', 1, true, 'primary'), ('there', 2, true, 'primary');
INSERT INTO pg_dist_node VALUES ('off', 3, false, 'primary');
CREATE TABLE answering (name text);
INSERT INTO answering VALUES ('here'), ('there');
CREATE FUNCTION citus_check_connection_to_node(nodename text, nodeport integer DEFAULT 5432) RETURNS boolean
    LANGUAGE sql AS 'SELECT EXISTS (SELECT 1 FROM answering WHERE name = nodename)';
"""


def test_a_node_of_a_cluster_that_does_not_answer_is_not_ready(on_postgresql):
    with psycopg.connect(on_postgresql.database_url, autocommit=True) as admin:
        admin.execute(CLUSTER)
        assert ready(on_postgresql) == READY
        admin.execute("DELETE FROM answering WHERE name = 'there'")
        said = "1 of 2 nodes of the database cluster do not answer (there:2), and requests that need them get 503"
        eventually(lambda: ready(on_postgresql)[0] == 503, "it never noticed")
        assert ready(on_postgresql)[1].startswith(said)
        assert alive(on_postgresql)
        admin.execute("INSERT INTO answering VALUES ('there')")
        eventually(lambda: ready(on_postgresql) == READY, "it never was ready again")


# ── the disk is full ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits can be changed on Linux only")
def test_a_full_disk_is_not_ready_and_alive_and_ready_again_when_there_is_room(on_sqlite):
    who = person(on_sqlite)
    who.upload(lines(0, 10))
    with full_disk(on_sqlite, room=0):
        assert who.upload(lines(10, 500)).status == 503
        eventually(lambda: ready(on_sqlite)[0] == 503, "it never noticed")
        assert ready(on_sqlite)[1].startswith("the database cannot be written to: ")
        assert alive(on_sqlite) and len(who.book()) == 10
    eventually(lambda: ready(on_sqlite) == READY, "it never was ready again")
    assert who.upload(lines(10, 500)).status == 200


def test_looking_often_whether_it_can_be_written_to_writes_seldom(on_sqlite):
    """Each write would add a page to the log."""
    log = Path(on_sqlite.database_url.removeprefix("sqlite:///") + "-wal")
    before = log.stat().st_size
    assert [ready(on_sqlite) for _ in range(100)] == [READY] * 100
    assert log.stat().st_size - before < 50 * 4096


# ── somebody migrates ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def migrating(url: str) -> Iterator[None]:
    """A migration that has begun and does not end."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE schema_state SET revision = '9999'")
            yield
            connection.execute("ROLLBACK")
        return
    with psycopg.connect(url) as connection:
        connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        connection.execute("UPDATE schema_state SET revision = '9999'")
        yield
        connection.rollback()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_while_somebody_migrates_it_is_ready_and_waits_for_nobody(kind, databases, tmp_path):
    with databases.fresh(kind) as url, serve(url, tmp_path) as server:
        who = person(server)
        with migrating(url):
            assert [ready(server) for _ in range(30)] == [READY] * 30
            assert alive(server)
            assert who.book() == []
        assert who.upload(lines(0, 5)).status == 200


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    "revision, serves_from, said",
    [
        ("0006", "0001", migrations.BEFORE_FIRST.format(revision="0006")),
        ("9999", "9999", f"the database has schema 9999, newer than this Ringbook ({HEAD}): install the newer one"),
        ("9999", HEAD, "ready"),
    ],
)
def test_a_schema_of_another_version_is_ready_only_if_it_may_be_served(
    kind, revision, serves_from, said, databases, tmp_path
):
    from ringbook.server.front import trouble_of
    from ringbook.store import db as store

    with databases.fresh(kind) as url, closing(store.connect(url, seal=SEAL)) as db:
        with db.write() as tx:
            tx.run(
                "UPDATE schema_state SET revision = :revision, serves_from = :serves_from",
                revision=revision,
                serves_from=serves_from,
            )
        assert (trouble_of(db) or "ready") == said


def test_while_one_migrates_another_waits_and_both_end_well(databases):
    with databases.postgresql.database() as url:
        done: list[str] = []
        with psycopg.connect(url) as first:
            first.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            second = threading.Thread(target=lambda: done.append(migrations.migrate(url)))
            second.start()
            second.join(1)
            assert second.is_alive() and done == []
            first.rollback()
        second.join(60)
        assert done == [""]


# ── a worker of its own ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_tells_how_it_is_at_a_port_of_its_own(databases, tmp_path):
    with databases.fresh("plain") as url:
        port = free_port()
        settings = environment(url, worker_metrics_port=str(port), admin_port=str(free_port()))
        with running([program(), "worker"], tmp_path / "log", environment=settings) as worker:
            eventually(lambda: "working" in (tmp_path / "log").read_text() or worker.poll() is not None, "no worker")
            asked = {
                path: get(f"http://127.0.0.1:{port}{path}").decode() for path in ("/healthz", "/readyz", "/metrics")
            }
            assert '"alive"' in asked["/healthz"] and '"ready"' in asked["/readyz"]
            assert "ringbook_push_queue_seconds" in asked["/metrics"]
            for path in ("/docs", "/address_book"):
                with pytest.raises(OSError, match="404"):
                    get(f"http://127.0.0.1:{port}{path}")


def test_a_worker_whose_port_is_taken_says_what_to_do(databases, tmp_path, on_sqlite):
    settings = environment(on_sqlite.database_url, worker_metrics_port=str(on_sqlite.port))
    done = ended([program(), "worker"], settings)
    assert done.returncode == 1
    assert (
        done.stderr == f"ringbook: port {on_sqlite.port} is in use: RINGBOOK_WORKER_METRICS_PORT={on_sqlite.port + 1}\n"
    )
