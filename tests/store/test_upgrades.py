"""An upgrade: a copy first, then all of it or nothing; and the version before goes on meanwhile.

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
from alembic import command
from asking import ask
from core.joining import Play
from servers import DATABASES, Databases
from store.test_migrations import FOLDER, config, state, tables

from ringbook import errors
from ringbook.store import db as databases_
from ringbook.store import migrations
from ringbook.store.db import Database, Rows, copies

BEFORE = "0004"
RECORDED = Path(__file__).parent / "statements"
KINDS = {"int": int, "str": str}
WITHOUT_STATEMENT = ("next_id", "reserve_ids")


def brought_to(url: str, revision: str) -> str:
    """A database as an older version made it."""
    with migrations.connection(url) as connected:
        found = config()
        found.attributes["connection"] = connected
        command.upgrade(found, revision)
    return url


@pytest.fixture
def older(tmp_path: Path) -> str:
    """A SQLite file of the version before, with a user in it."""
    url = brought_to(f"sqlite:///{tmp_path}/ringbook.db", BEFORE)
    with closing(databases_.connect(url)) as db:
        Play(db).person("ann")
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
    for revision in ("0001", "0002", "0003"):
        (tmp_path / f"ringbook.db.before-{revision}").write_text("")
    (tmp_path / "ringbook.db.before-restore-1").write_text("")
    migrations.migrate(older)
    kept = sorted(file.name for file in tmp_path.iterdir() if ".before-0" in file.name)
    assert kept == ["ringbook.db.before-0003", f"ringbook.db.before-{migrations.HEAD}"]
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
        with closing(databases_.connect(url)) as db:
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
    assert (tables(full), state(full)) == (before, migrations.State(now, "0001"))
    with closing(databases_.connect(full)) as db, db.read() as tx:
        assert tx.tuples("SELECT login FROM users") == [("ann",)]
    with servers.serve(full, tmp_path) as server:  # the version before goes on
        assert ask(server, "GET", "/readyz").status == 200


# ── one process after the other ──────────────────────────────────────────────────────────────────────────────────────


class Undo(Exception):
    """Ends a transaction that must leave nothing."""


def recorded(what: str) -> Any:
    """What the version before asks of a database."""
    return json.loads((RECORDED / f"{BEFORE}.json").read_text("utf-8"))[what]


def test_what_is_recorded_is_of_the_version_before():
    """When this fails: scripts/record_statements.py with the code of the version before, and its revision here."""
    revisions = sorted(file.name[:4] for file in (FOLDER / "versions").glob("0*.py"))
    assert revisions[-2:] == [BEFORE, migrations.HEAD]
    assert len(recorded("statements")) > 150


def test_every_transaction_of_the_version_before_does_the_same_on_todays_schema(db):
    statements = recorded("statements")
    for name, tape in recorded("tapes").items():
        with pytest.raises(Undo), db.write() as tx:
            for steps in tape:
                for step in steps:
                    assert replayed(tx, statements, step) == step["count"], (name, step)
            raise Undo
        restart_sequences(db)


def test_every_other_statement_of_the_version_before_still_has_a_meaning(db):
    for sql, params in recorded("others").items():
        with db.read() as tx:
            tx.tuples(f"EXPLAIN {sql}", **{key: read(value) for key, value in params.items()})


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
    """On PostgreSQL an undone transaction has used up ids."""
    if db.file:
        return
    with db.read() as tx:
        for (name,) in tx.tuples("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"):
            tx.tuples(f"SELECT setval('{name}', 1, false)")
