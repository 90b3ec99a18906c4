"""Opens the database for a command or a serving process: its files, its schema, its key.

create_files(config)          on SQLite make the files of a new database, first the one of its key
opened(config, pool, …)       the open database, with the right schema and the right key
unlock(db, key)               let a database seal and open with a key, if it is the right one
alone(config)                 the open database without its key, for a change of the key
look(config)                  the key file beside the database, for `ringbook key show`
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from .. import errors, times
from ..config import Config
from ..seal import Key, Seal
from ..store import db as databases
from ..store import keys, migrations, row_macs
from ..store.db import Database, copies


def create_files(config: Config) -> Key | None:
    """Make the files of a new SQLite database; the key, if it was made. Unavailable if a former database is lost.

    The key file is on the disk before the database holds anything. A key file that is there already is used.
    """
    if not databases.is_sqlite(config.database):
        return None
    if gone := databases.lost(config.database, config.erasures_folder):
        raise refusal(gone)
    made = _key_made(config) if _is_empty(config) else None
    databases.create(config.database)
    return made


def _is_empty(config: Config) -> bool:
    """Has this SQLite database no file, or no tables? False for a file that cannot be read."""
    file = databases.sqlite_file(config.database)
    if not file.exists():
        return True
    with suppress(errors.Unavailable), closing(databases.connect(config.database)) as db:
        return not db.tables()
    return False


def _key_made(config: Config) -> Key | None:
    file = keys.file_of(config.database, config.key_file)
    assert file  # SQLite has one
    if keys.exists(file):
        return None
    try:
        return Key.create(file)
    except errors.Invalid:  # another process was faster
        return None


def opened(
    config: Config, *, pool: int, seconds: float = 0, upgrade: Callable[[migrations.State, Key], None] | None = None
) -> Database:
    """Open the database; Unavailable if its schema or its key is not the right one.

    seconds   the longest wait for PostgreSQL's answer to one statement; 0 = without end
    upgrade   called with state and key of a database whose schema is not the right one; it may change the schema
    """
    db = databases.connect(
        config.database,
        pool=pool,
        erasures=config.erasures_folder,
        cache_bytes=config.sqlite_cache_bytes,
        seconds=seconds,
    )
    try:
        state = migrations.state(db)
        if databases.is_sqlite(config.database) and not state.revision and not upgrade:
            raise refusal(state.trouble)  # whatever makes the schema makes the key file, too
        key = keys.read(db, config.database, config.key_file)
        if upgrade and not state.current:
            upgrade(state, key)
        if trouble := migrations.state(db).trouble:
            raise refusal(trouble)
        unlock(db, key)
        migrations.watch(db)
    except BaseException:
        db.close()
        raise
    return db


def unlock(db: Database, key: Key) -> None:
    """Let an open database seal and open with this key; Unavailable if it is not the right one."""
    found = keys.recorded(db)
    if not found.current:
        keys.record(db, key, times.now())
        found = keys.recorded(db)
    if trouble := keys.trouble(found, key.fingerprint, f"the key in {key.file}"):
        raise refusal(trouble)
    db.seal = Seal(key.secret)
    with db.read() as tx:
        row_macs.key(tx)


@contextmanager
def alone(config: Config) -> Iterator[tuple[Database, Path]]:
    """Open the database without its key, for a change of the key; also its key file.

    Unavailable while another process has a SQLite file open, or when the schema is not the right one.
    """
    file = keys.file_of(config.database, config.key_file)
    if not file:
        raise refusal(keys.NOT_SET)
    if databases.is_sqlite(config.database):
        with copies.lock(databases.sqlite_file(config.database)):
            pass
    with closing(databases.connect(config.database, pool=2, erasures=config.erasures_folder)) as db:
        if trouble := migrations.state(db).trouble:
            raise refusal(trouble)
        yield db, Path(os.path.realpath(file))


class Found(msgspec.Struct, frozen=True):
    """A key file and the database that it is for.

    fingerprint            of the key in the file; "" when there is none
    database_fingerprint   of the key that the database is sealed with; "" for a database that is not made yet
    fits                   are they the same, and is no rotation under way?
    trouble                why the database cannot be used with this key, and what to do
    """

    fingerprint: str
    file: str
    database: str
    database_fingerprint: str
    fits: bool
    trouble: str


def look(config: Config) -> Found:
    """Compare the key file with the database; nothing is changed, and no error is raised."""
    file = keys.file_of(config.database, config.key_file)
    recorded, fingerprint = keys.Recorded(), ""
    try:
        recorded = _recorded(config)
        if not file or not keys.exists(file):
            raise refusal(keys.missing(file, recorded))
        fingerprint = Key.read(file).fingerprint
        trouble = keys.trouble(recorded, fingerprint, f"the key in {file}") if recorded.current else ""
    except errors.Unavailable as refused:
        trouble = refused.explained()
    return Found(
        fingerprint=fingerprint,
        file=str(file or ""),
        database=databases.named(config.database),
        database_fingerprint=recorded.current,
        fits=bool(recorded.current) and not trouble,
        trouble=trouble,
    )


def _recorded(config: Config) -> keys.Recorded:
    if databases.is_sqlite(config.database) and not databases.sqlite_file(config.database).exists():
        return keys.Recorded()
    with closing(databases.connect(config.database, pool=1)) as db:
        return keys.recorded(db)


def refusal(why: str) -> errors.Unavailable:
    """The error that ends the start with this reason."""
    return errors.Unavailable(why, why=why)
