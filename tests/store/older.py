"""Databases as older versions made them, with users who are inserted by hand: today's code needs today's schema.

brought_to(url, revision)           empty, of that revision
people(url, *logins)                users of a new application; their ids
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config

from ringbook.store import db as databases
from ringbook.store import migrations

FOLDER = Path(migrations.__file__).parent


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


def people(url: str, *logins: str, now: int = 1_700_000_000) -> list[int]:
    """Users in a SQLite file of any revision from 0001 on."""
    with closing(sqlite3.connect(databases.sqlite_file(url))) as connection, connection:
        app = connection.execute(
            "INSERT INTO applications (name, auth_key, auth_secret, hash_key, vapid_public_key, vapid_private_key,"
            " settings, created_at) VALUES ('Friends', 'key', 'secret', x'00', '', '', '{}', ?) RETURNING id",
            (now,),
        ).fetchone()[0]
        return [
            connection.execute(
                "INSERT INTO users (app_id, login, login_folded, is_guest, created_at, updated_at)"
                " VALUES (?, ?, ?, 0, ?, ?) RETURNING id",
                (app, login, login, now, now),
            ).fetchone()[0]
            for login in logins
        ]
