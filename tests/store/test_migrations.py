"""The schema: one way up, one transaction at a time, and nobody serves on what they do not know."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import servers
from alembic.script import ScriptDirectory
from asking import ask
from core.joining import ANN, BOB, Play
from noted import without_database
from servers import DATABASES, SEAL, Databases, ended, environment, eventually, free_port, program
from store.older import FOLDER, brought_to, config, with_columns_of_today

from ringbook import errors
from ringbook.core import discovery, users
from ringbook.server.front import trouble_of
from ringbook.store import db as databases_
from ringbook.store import migrations, placement
from ringbook.store.migrations import HEAD

NEWER = "9001"


@pytest.fixture(params=DATABASES)
def empty(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/empty.db"
        databases_.create(url)
        yield url
    else:
        with databases.postgresql.database() as url:
            yield url


def state(url: str) -> migrations.State:
    database = databases_.connect(url, pool=1, seal=SEAL)
    try:
        return migrations.state(database)
    finally:
        database.close()


def tables(url: str) -> set[str]:
    """The names of all tables, by whatever catalogue the database keeps."""
    catalogue = "sqlite_schema" if databases_.is_sqlite(url) else "pg_tables WHERE schemaname = 'public'"
    name = "name" if databases_.is_sqlite(url) else "tablename"
    database = databases_.connect(url, pool=1, seal=SEAL)
    try:
        with database.read() as tx:
            return {row[0] for row in tx.tuples(f"SELECT {name} FROM {catalogue}")}
    finally:
        database.close()


def set_state(url: str, revision: str, serves_from: str) -> None:
    """What another release of Ringbook would have left."""
    database = databases_.connect(url, pool=1, seal=SEAL)
    with database.write() as tx:
        tx.run(
            "UPDATE schema_state SET revision = :revision, serves_from = :oldest", revision=revision, oldest=serves_from
        )
        tx.run("UPDATE alembic_version SET version_num = :revision", revision=revision)
    database.close()


# ── the revisions ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_code_and_its_revisions_agree_on_the_newest():
    assert ScriptDirectory.from_config(config()).get_heads() == [HEAD]


def test_revisions_follow_each_other_in_the_order_of_their_names():
    """`State` compares them as texts."""
    script = ScriptDirectory.from_config(config())
    names = [revision.revision for revision in script.walk_revisions()][::-1]
    assert names == sorted(names)
    assert {len(name) for name in names} == {4}


def test_the_tables_that_a_database_must_have_are_those_that_the_revisions_make(empty):
    """When this fails, add your table to store/placement.py."""
    migrations.migrate(empty)
    with closing(databases_.connect(empty, pool=1, seal=SEAL)) as database:
        assert database.tables() == placement.of(sqlite=database.file is not None).keys()


def test_a_database_of_0_2_0_keeps_its_users_who_can_be_found_and_erased(empty):
    brought_to(empty, "1001")
    with closing(databases_.connect(empty, seal=SEAL)) as database:
        with with_columns_of_today(database):
            play = Play(database, now=1_700_000_000)
            ann, bob = play.person("ann", ANN).id, play.person("bob", BOB).id
            play.holds(bob, (ANN, "Annie"))
        assert migrations.migrate(empty) == "1001"
        assert migrations.state(database).current
        found = discovery.registered_phones(database, play.caller(bob), now=play.now)
        assert [one.user_id for one in found] == [ann]
        users.erase(database, ann)
        assert discovery.registered_phones(database, play.caller(bob), now=play.now) == []


@pytest.mark.parametrize("table", ["buckets", "contacts", "schema_state", "alembic_version"])
def test_a_table_that_is_missing_is_named(database_url, table):
    with closing(databases_.connect(servers.one_host(database_url), pool=1, seal=SEAL)) as database:
        with database.write() as tx:
            tx.run(f"DROP TABLE {table} CASCADE" if not database.file else f"DROP TABLE {table}")
        said = migrations.state(database).trouble
        assert said == f"the database lacks tables of its schema ({table}): restore a backup"
        assert trouble_of(database) == said
    assert f"({table})" in refused_start(database_url)


def test_an_empty_database_comes_up_to_date_and_twice_is_harmless(empty):
    assert state(empty) == migrations.State("", "")
    assert migrations.migrate(empty) == ""
    before = tables(empty)
    assert {"users", "contacts", "sessions", "schema_state"} <= before
    assert migrations.migrate(empty) == HEAD
    assert tables(empty) == before
    assert state(empty).current
    assert state(empty).revision == HEAD


def test_two_at_once_wait_for_each_other(empty, tmp_path):
    command_, logs = [program(), "migrate"], [tmp_path / "one", tmp_path / "other"]
    with ExitStack() as stack:
        both = [stack.enter_context(servers.running(command_, log, environment=environment(empty))) for log in logs]
        assert [one.wait(60) for one in both] == [0, 0], [log.read_text() for log in logs]
    assert state(empty).current


BROKEN = """
from alembic import op
revision = "{revision}"
down_revision = "{before}"

def upgrade():
    op.execute("CREATE TABLE half_done (n INTEGER)")
    op.execute("INSERT INTO half_done VALUES (1)")
    op.execute("UPDATE schema_state SET revision = '{revision}'")
    op.execute("INSERT INTO no_such_table VALUES (1)")
"""


def with_broken_revision(folder: Path) -> Path:
    """A copy of the revisions with one more, that fails in its middle."""
    copy = Path(shutil.copytree(FOLDER, folder / "migrations", ignore=shutil.ignore_patterns("__pycache__")))
    (copy / "versions" / f"{NEWER}_broken.py").write_text(BROKEN.format(revision=NEWER, before=HEAD))
    return copy


def test_a_revision_that_fails_leaves_nothing(empty, tmp_path):
    migrations.migrate(empty)
    before = tables(empty)
    with pytest.raises(Exception, match="no_such_table"):
        brought_to(empty, "head", with_broken_revision(tmp_path))
    assert (tables(empty), state(empty).revision) == (before, HEAD)
    assert migrations.migrate(empty) == HEAD


def test_on_an_empty_database_too(empty, tmp_path):
    with pytest.raises(Exception, match="no_such_table"):
        brought_to(empty, "head", with_broken_revision(tmp_path))
    assert "half_done" not in tables(empty)
    assert state(empty).revision in ("", HEAD)
    migrations.migrate(empty)
    assert state(empty).current


def test_a_database_that_is_away_is_said_to_be():
    with pytest.raises(Exception, match="cannot migrate") as refused:
        migrations.migrate("postgresql://nobody@127.0.0.1:1/none")
    assert "Traceback" not in str(refused.value)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_name_is_refused_with_what_to_do(databases, encoding):
    with databases.postgresql.database(encoding=encoding) as url:
        with pytest.raises(errors.Unavailable, match=f"encoding is {encoding}.*CREATE DATABASE .* ENCODING 'UTF8'"):
            migrations.migrate(url)
        assert tables(url) == set()
        with closing(databases_.connect(url, pool=1, seal=SEAL)) as db:
            assert encoding in db.version()[1]


def test_names_are_kept_whatever_encoding_the_surroundings_ask_for(databases, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with databases.postgresql.database() as url:
        migrations.migrate(url)
        with closing(databases_.connect(url, pool=1, seal=SEAL)) as db, db.read() as tx:
            assert tx.tuples("SELECT :name", name="Łucja 😀") == [("Łucja 😀",)]


# ── who may serve ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "revision, serves_from, words",
    [
        (HEAD, HEAD, []),
        ("", "", ["no schema yet", "ringbook migrate"]),
        ("0006", "0001", ["schema 0006", "cannot be upgraded", "RINGBOOK_DATABASE"]),
        (NEWER, NEWER, [f"schema {NEWER}", "newer", "install"]),
        (NEWER, "9000", [f"schema {NEWER}", "newer", "install"]),
        (NEWER, HEAD, []),
        (NEWER, "0000", []),
    ],
)
def test_who_may_serve_on_which_schema(revision, serves_from, words):
    found = migrations.State(revision, serves_from)
    assert found.current == (not words)
    assert all(word in found.trouble for word in words)
    assert bool(found.trouble) == bool(words)


def refused_start(url: str, command: Sequence[str | Path] = (program(),)) -> str:
    ran = ended([*command, "serve", "--port", str(free_port())], environment(url))
    assert ran.returncode == 1
    return ran.stderr


def test_on_a_newer_schema_nobody_serves_without_its_permission(database_url):
    set_state(database_url, NEWER, NEWER)
    said = refused_start(database_url)
    assert f"newer than this Ringbook ({HEAD}): install the newer one" in said
    assert "Traceback" not in said


def test_on_a_newer_schema_that_permits_it_the_server_serves(database_url, tmp_path):
    """So processes are upgraded one after the other."""
    set_state(database_url, NEWER, HEAD)
    with servers.serve(database_url, tmp_path) as server:
        assert ask(server, "GET", "/readyz").status == 200


def test_a_server_whose_schema_moves_on_without_it_says_so(database_url, tmp_path):
    with servers.serve(database_url, tmp_path) as server:
        assert ask(server, "GET", "/readyz").status == 200
        set_state(database_url, NEWER, NEWER)
        answer: Any = ask(server, "GET", "/readyz")
        assert answer.status == 503
        assert "newer" in answer.json["status"]
        assert ask(server, "GET", "/healthz").status == 200
        eventually(
            lambda: ask(server, "GET", "/session", headers={"CB-Token": "x"}).status == 503, "it went on answering"
        )
        refused: Any = ask(server, "POST", "/session", {"application_id": 1})
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        set_state(database_url, NEWER, HEAD)
        eventually(
            lambda: ask(server, "GET", "/session", headers={"CB-Token": "x"}).status == 401, "it never came back"
        )


def test_migrating_a_newer_database_says_so_and_changes_nothing(database_url):
    set_state(database_url, NEWER, HEAD)
    ran = ended([program(), "migrate"], environment(database_url))
    assert (ran.returncode, without_database(ran.stderr).count("\n")) == (1, 1)
    assert "newer" in ran.stderr
    assert state(database_url) == migrations.State(NEWER, HEAD)
