"""An upgrade: a copy first, then all of it or nothing; and who may serve on which schema.

`statements/REVISION.json` is what the code of that revision asks of a database: scripts/record_statements.py writes it.
"""

import base64
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import servers
from asking import ask
from core.joining import Play
from servers import DATABASES, SEAL, Databases
from store.older import FOLDER, NEXT, next_version, of_before_the_first_release, people
from store.test_migrations import refused_start, state, tables

from ringbook import errors
from ringbook.store import db as databases_
from ringbook.store import migrations
from ringbook.store.db import Database, Rows, copies, ids

RECORDED = Path(__file__).parent / "statements"
KINDS = {"int": int, "str": str}
WITHOUT_STATEMENT = ("next_id", "next_ids", "reserve_ids")


BEFORE = migrations.HEAD


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite file of this version with a user in it, and then the next version comes."""
    url = f"sqlite:///{tmp_path}/ringbook.db"
    servers.migrate(url)
    people(url, "ann")
    next_version(monkeypatch, tmp_path_factory.mktemp("next"))
    return url


# ── SQLite: a copy first ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sqlite_file_is_copied_before_it_is_changed(older, tmp_path):
    assert migrations.migrate(older) == BEFORE
    copy = migrations.copy_of(tmp_path / "ringbook.db", migrations.HEAD)
    assert copy.name == f"ringbook.db.before-{migrations.HEAD}"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert state(f"sqlite:///{copy}").revision == BEFORE
    with closing(sqlite3.connect(copy)) as opened:
        assert opened.execute("SELECT login FROM users").fetchall() == [("ann",)]
    assert state(older).revision == migrations.HEAD


def test_nothing_is_copied_when_there_is_nothing_to_change(older, tmp_path):
    migrations.migrate(older)
    (tmp_path / f"ringbook.db.before-{migrations.HEAD}").unlink()
    migrations.migrate(older)
    migrations.migrate(f"sqlite:///{tmp_path}/new.db")
    assert [file.name for file in tmp_path.iterdir() if "before" in file.name] == []


def test_the_last_two_copies_stay(older, tmp_path):
    for revision in ("0998", "0999", "1000"):
        (tmp_path / f"ringbook.db.before-{revision}").write_text("")
    (tmp_path / "ringbook.db.before-restore-1").write_text("")
    migrations.migrate(older)
    kept = sorted(file.name for file in tmp_path.iterdir() if ".before-" in file.name and "restore" not in file.name)
    assert kept == ["ringbook.db.before-1000", f"ringbook.db.before-{migrations.HEAD}"]
    assert (tmp_path / "ringbook.db.before-restore-1").exists()


def test_without_room_for_a_copy_nothing_is_changed(older, tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "MARGIN_BYTES", 2**60)
    with pytest.raises(errors.Unavailable, match="has no room for a copy of ringbook.db"):
        migrations.migrate(older)
    assert state(older).revision == BEFORE
    assert [file.name for file in tmp_path.iterdir() if "before" in file.name] == []


def test_a_server_says_where_the_copy_is(older, tmp_path):
    with servers.serve(older, tmp_path) as server:
        assert ask(server, "GET", "/readyz").status == 200
        assert f"ringbook.db.before-{migrations.HEAD}" in server.printed


# ── all or nothing ───────────────────────────────────────────────────────────────────────────────────────────────────

BROKEN = """
from alembic import op
revision, down_revision = "{revision}", "{before}"

def upgrade():
    op.execute("ALTER TABLE users ADD COLUMN half_done INTEGER")
    op.execute("UPDATE schema_state SET revision = '{revision}'")
    op.execute("UPDATE no_such_table SET n = 1")
"""


@pytest.fixture(params=DATABASES)
def full(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """A database of today's schema, with a user in it."""
    with databases.fresh(request.param) as url:
        with closing(databases_.connect(url, seal=SEAL)) as db:
            Play(db).person("ann")
        yield url


def test_a_migration_that_fails_leaves_the_old_state_and_says_what_to_do(full, tmp_path, monkeypatch):
    scripts = Path(shutil.copytree(FOLDER, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__")))
    (scripts / "versions" / "9001_broken.py").write_text(BROKEN.format(revision="9001", before=migrations.HEAD))
    now, before = migrations.HEAD, tables(full)
    monkeypatch.setattr(migrations, "HEAD", "9001")
    monkeypatch.setattr(migrations, "SCRIPTS", str(scripts))
    with pytest.raises(errors.Unavailable) as refused:
        migrations.migrate(full)
    assert refused.value.reason.startswith(f"cannot migrate from schema {now} to 9001; nothing is changed: go on with")
    assert "no_such_table" in str(refused.value.__cause__)
    monkeypatch.undo()
    assert (tables(full), state(full)) == (before, migrations.State(now, SERVES_FROM))
    with closing(databases_.connect(full, seal=SEAL)) as db, db.read() as tx:
        assert tx.tuples("SELECT login FROM users") == [("ann",)]
    with servers.serve(full, tmp_path) as server:  # the version before goes on
        assert ask(server, "GET", "/readyz").status == 200


# ── who may serve on which schema ────────────────────────────────────────────────────────────────────────────────────

# What Ringbook promises since a later revision than the first, and the first revision whose code keeps it. Older code
# must not serve on today's schema.
PROMISES = {"a row that was written without the key opens nothing": "1004"}
SERVES_FROM = "1004"  # the oldest code that may serve on the newest schema


def serves_from(url: str) -> str:
    """The oldest code that may serve on a database."""
    return state(url).serves_from


def test_no_code_that_breaks_a_promise_may_serve(database_url):
    revisions = {file.name[:4] for file in (FOLDER / "versions").glob("[0-9]*.py")}
    assert set(PROMISES.values()) <= revisions
    assert serves_from(database_url) == SERVES_FROM >= max(PROMISES.values(), default=migrations.FIRST)


def test_this_version_refuses_the_next_schema_in_one_sentence(database_url, monkeypatch, tmp_path):
    said = f"the database has schema {NEXT}, newer than this Ringbook ({BEFORE}): install the newer one"
    with monkeypatch.context() as newer_code:
        assert next_version(newer_code, tmp_path) == NEXT
        migrations.migrate(database_url)
        assert state(database_url).current
    assert state(database_url).trouble == said
    assert refused_start(database_url) == f"ringbook: {said}\n"


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004", "0005", "0006"])
def test_a_database_from_before_the_first_release_is_refused_in_one_sentence_and_not_changed(tmp_path, revision):
    url = of_before_the_first_release(f"sqlite:///{tmp_path}/ringbook.db", revision)
    said = migrations.BEFORE_FIRST.format(revision=revision)
    before = databases_.sqlite_file(url).read_bytes()
    assert state(url).trouble == said
    with pytest.raises(errors.Unavailable) as refused:
        migrations.migrate(url)
    assert refused.value.explained() == f"cannot migrate: {said}"
    assert refused_start(url) == f"ringbook: cannot migrate: {said}\n"
    assert databases_.sqlite_file(url).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if "before" in file.name] == []


# ── one process after the other ──────────────────────────────────────────────────────────────────────────────────────


class Undo(Exception):
    """Ends a transaction that must leave nothing."""


def recorded() -> list[Path]:
    """The recordings of versions that may serve on the newest schema."""
    return sorted(file for file in RECORDED.glob("*.json") if SERVES_FROM <= file.stem < migrations.HEAD)


@pytest.fixture(params=DATABASES)
def newest(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Any]:
    """An empty database of the newest schema."""
    with databases.fresh(request.param) as url, closing(databases_.connect(url, seal=SEAL)) as db:
        yield db


def test_the_statements_of_each_version_that_may_serve_are_recorded():
    """When this fails: scripts/record_statements.py with the code of the version that is named."""
    revisions = [file.name[:4] for file in (FOLDER / "versions").glob("[0-9]*.py")]
    assert [file.stem for file in recorded()] == sorted(
        revision for revision in revisions if SERVES_FROM <= revision < migrations.HEAD
    )


def test_every_transaction_of_those_versions_does_the_same_on_the_newest_schema(newest):
    for file in recorded():
        replay(newest, json.loads(file.read_text("utf-8")))


def replay(db: Database, recording: dict[str, Any]) -> None:
    """Make every recorded transaction once more, and let the database prepare the statements of none."""
    for name, tape in recording["tapes"].items():
        with pytest.raises(Undo), db.write() as tx:
            for steps in tape:
                for step in steps:
                    assert replayed(tx, recording["statements"], step) == step["count"], (name, step)
            raise Undo
        restart_sequences(db)
    for sql, params in recording["others"].items():
        with db.read() as tx:
            tx.tuples(f"EXPLAIN {sql}", **{key: read(value) for key, value in params.items()})


def test_a_recording_that_no_longer_fits_is_noticed(newest):
    steps = [{"call": "run", "given": [0], "params": {"id": 1}, "count": 0}]
    recording = {"statements": ["DELETE FROM users WHERE id = :id"], "tapes": {"one": [steps]}, "others": {}}
    replay(newest, recording)
    steps[0]["count"] = 1
    with pytest.raises(AssertionError):
        replay(newest, recording)
    with pytest.raises(Exception, match="no_such_table"):
        replay(newest, {"statements": [], "tapes": {}, "others": {"SELECT 1 FROM no_such_table": {}}})


def replayed(tx: Any, statements: list[str], step: dict[str, Any]) -> int | None:
    """Make a call once more: how many rows it touched or answered, or what it answered."""
    given = step["given"] if step["call"] in WITHOUT_STATEMENT else [statements[step["given"][0]]]
    answer = getattr(tx, step["call"])(*given, **{key: read(value) for key, value in step["params"].items()})
    if step["call"] == "one":
        return int(answer is not None)
    return answer if isinstance(answer, int) else None if answer is None else len(answer)


def read(value: Any) -> Any:
    """A parameter as it was."""
    if isinstance(value, dict) and "bytes" in value:
        return base64.b64decode(value["bytes"])
    if isinstance(value, dict):
        return Rows({name: KINDS[kind] for name, kind in value["columns"].items()}, [tuple(r) for r in value["rows"]])
    return value


def restart_sequences(db: Database) -> None:
    """An undone transaction has used up ids."""
    with db.write() as tx:
        tx.run("UPDATE sequences SET value = 0")
        for name in ids.SEQUENCES:
            tx.reserve_ids(name, 0)  # and what is left of the process's block is discarded
