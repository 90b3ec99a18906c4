"""Databases of other versions: of one before the first release, and of this one when the next one comes to it.

config(folder)                       Alembic's configuration for the revisions in a folder
brought_to(url, revision, folder)    an empty database of that revision
of_before_the_first_release(url)     a SQLite file as such a version left it
with_columns_of_today(db)            today's code can write users into it
people(url, *logins)                 users of a new application in a SQLite file; their ids
next_version(monkeypatch, folder)    from now on this code, and the commands it starts, are the version after this one
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from core.joining import Play
from servers import SEAL

from ringbook.store import db as databases
from ringbook.store import migrations
from ringbook.store.db import Database

FOLDER = Path(migrations.__file__).parent
NEXT = str(int(migrations.HEAD) + 1)
NEXT_REVISION = """
from alembic import op
revision, down_revision = "{revision}", "{before}"

def upgrade():
    op.execute("ALTER TABLE users ADD COLUMN of_next_version INTEGER")
    op.execute("UPDATE schema_state SET revision = '{revision}', serves_from = '{serves_from}'")
"""


def config(folder: Path = FOLDER) -> Config:
    """Alembic's, for the revisions in a folder."""
    found = Config()
    found.set_main_option("script_location", str(folder))
    found.set_main_option("path_separator", "os")
    return found


def brought_to(url: str, revision: str, folder: Path = FOLDER) -> str:
    """A database of that revision."""
    with migrations.connection(url) as connected:
        found = config(folder)
        found.attributes["connection"] = connected
        command.upgrade(found, revision)
    return url


def of_before_the_first_release(url: str, revision: str = "0006") -> str:
    """A SQLite file with what such a version wrote down about its schema."""
    databases.create(url)
    with closing(sqlite3.connect(databases.sqlite_file(url))) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE schema_state (revision TEXT NOT NULL, serves_from TEXT NOT NULL)")
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        connection.execute("INSERT INTO schema_state VALUES (?, '0001')", (revision,))
    return url


def people(url: str, *logins: str) -> list[int]:
    """Users in a SQLite file of this version's schema, which gets an application with them."""
    with closing(databases.connect(url, seal=SEAL)) as db:
        play = Play(db, now=1_700_000_000)
        return [play.person(login).id for login in logins]


@contextmanager
def with_columns_of_today(db: Database) -> Iterator[None]:
    """Let today's code write users without a password into a database of an older schema."""
    with db.write() as tx:
        tx.run(f"ALTER TABLE users ADD COLUMN password_mac {'BLOB' if db.file else 'BYTEA'}")
    yield
    with db.write() as tx:
        tx.run("ALTER TABLE users DROP COLUMN password_mac")


def next_version(monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """Become the version after this one: its schema has one column more, and only its code may serve on it."""
    scripts = shutil.copytree(FOLDER, folder / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    revision = NEXT_REVISION.format(revision=NEXT, before=migrations.HEAD, serves_from=NEXT)
    (scripts / "versions" / f"{NEXT}_next.py").write_text(revision)
    path = os.pathsep.join([str(Path(__file__).with_name("next_version")), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("TEST_MIGRATIONS", str(scripts))
    monkeypatch.setattr(migrations, "SCRIPTS", str(scripts))
    monkeypatch.setattr(migrations, "HEAD", NEXT)
    return NEXT
