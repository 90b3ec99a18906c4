"""The schema: one file per revision in `versions/`, executed by Alembic as plain SQL.

    migrate(url, key)   upgrade a database to this code's revision; simultaneous calls wait for each other
    state(db)       the revision of a database, and whether this code can use it
    watch(db)       refuse every transaction once the schema is too new for this code, or the key another one

Each revision is one transaction. The table `schema_state` says which revision the database has and the oldest code
revision that may serve on it, so that one process after the other can be upgraded.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import errors
from ...seal import Key, Seal
from .. import db, keys, placement
from ..db import causes, copies
from ..db.contract import AWAY
from ..db.postgres import ENCODING, check_address, connect_to_coordinator, encoding_trouble

HEAD = "1004"
NEEDS_KEY = "1004"  # the newest revision that needs the key of a database that has one
FIRST = "1001"  # databases of earlier revisions, made before the first release, cannot be upgraded
BEFORE, KEPT_COPIES = ".before-", 2
FAILED = (
    "cannot migrate from schema {before} to {head}; nothing is changed: go on with the version of Ringbook that you"
    " had, and report what stands here"
)
LACKS = "the database lacks tables of its schema ({tables}): restore a backup"
BEFORE_FIRST = (
    "the database has schema {revision}, made before the first release of Ringbook, and cannot be upgraded: keep it for"
    " the Ringbook that made it, and let this one begin with a new database (RINGBOOK_DATABASE)"
)
EMPTY = "the table {table} of the database is empty, which no version of Ringbook leaves behind: restore a backup"
SCRIPTS = "ringbook:store/migrations"
# An arbitrary constant. It is an advisory lock and not a row of `locks`, because before the first migration there is no
# such table. On a cluster only the coordinator migrates.
LOCK = 7_246_426

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class State:
    """The revision of a database ("" when empty), the oldest code that may serve on it, and the tables it lacks."""

    revision: str
    serves_from: str
    lacks: tuple[str, ...] = ()

    @property
    def current(self) -> bool:
        """Can this code use the database?"""
        return not self.lacks and (self.revision == HEAD or (self.revision > HEAD and self.serves_from <= HEAD))

    @property
    def trouble(self) -> str:
        """Why this code cannot use the database, and what to do; "" when it can."""
        if self.current:
            return ""
        if self.lacks:
            return LACKS.format(tables=", ".join(self.lacks))
        if "" < self.revision < FIRST:
            return BEFORE_FIRST.format(revision=self.revision)
        if self.revision > HEAD:
            return f"the database has schema {self.revision}, newer than this Ringbook ({HEAD}): install the newer one"
        found = f"schema {self.revision}" if self.revision else "no schema yet"
        return f"the database has {found} and this Ringbook needs {HEAD}: run `ringbook migrate`"


def state(database: db.Database) -> State:
    """Read the state; a database without our tables has revision "". Unavailable when it cannot be read."""
    tables = database.tables()
    if "schema_state" not in tables:
        # A database that lost only this table must not be treated as empty.
        return State("", "", ("schema_state",) if "users" in tables else ())
    with database.read() as tx:
        found = _state(tx)
    lacks = _lacking(tables, sqlite=database.file is not None) if found.revision >= HEAD else []
    return State(found.revision, found.serves_from, tuple(lacks))


def _lacking(tables: Iterable[str], *, sqlite: bool) -> list[str]:
    """The tables of this revision that are not among these."""
    return sorted(placement.of(sqlite=sqlite).keys() - set(tables))


def _state(tx: db.Tx) -> State:
    row = tx.one("SELECT revision, serves_from FROM schema_state")
    if not row:
        raise errors.Unavailable(AWAY, why=EMPTY.format(table="schema_state"))
    return State(row["revision"], row["serves_from"])


def watch(database: db.Database) -> None:
    """Check every two seconds whether this process may still use the database, and refuse transactions if not.

    A newer version may have migrated the database while this process runs; on its schema this code could break a
    promise, such as the journal of erasures. Or `ringbook key rotate` may have begun, or changed the key.
    """
    database.guard.watch(lambda tx: _state(tx).trouble or keys.trouble(keys.in_table(tx), database.seal.fingerprint))


def migrate(
    url: str, key: Key | None = None, *, keep_copy: bool = True, progress: Progress = lambda done, total: None
) -> str:
    """Upgrade the database to `HEAD` and return the revision that it had before; Unavailable if that fails.

    key         the key that the database is sealed with, if it has one
    keep_copy   copy a SQLite file that has a schema before it is changed: see `copy_of`
    progress    is told how many rows of how many a revision has rewritten

    Each revision that is carried out is so as a whole; one that fails leaves the database as it was before them all.
    """
    from alembic import command
    from alembic.config import Config

    with connection(url) as connected:
        config = Config()
        config.set_main_option("script_location", SCRIPTS)
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connected
        config.attributes["progress"] = progress
        before = revision(connected)
        if before > HEAD or "" < before < FIRST:
            raise errors.Unavailable(f"cannot migrate: {State(before, before).trouble}")
        _check_whole(connected, before)
        config.attributes["seal"] = _seal(connected, before, key)
        if keep_copy and "" < before < HEAD and db.is_sqlite(url):
            _keep_copy(db.sqlite_file(url))
        try:
            command.upgrade(config, "head")
        except Exception as error:
            if cause := _cause(url, getattr(error, "orig", None)):
                raise _refusal(cause) from error
            raise errors.Unavailable(FAILED.format(before=before or "empty", head=HEAD)) from error
    return before


def _check_whole(connected: Any, before: str) -> None:
    """Raise Unavailable for a database that lost tables, or whose key is being changed."""
    import sqlalchemy

    tables = set(sqlalchemy.inspect(connected).get_table_names())
    if before == HEAD:
        lacks = _lacking(tables, sqlite=connected.dialect.name == "sqlite")
    else:
        lacks = ["alembic_version"] if not before and "users" in tables else []
    if lacks:
        raise _refusal(LACKS.format(tables=", ".join(lacks)))
    if before and not connected.exec_driver_sql("SELECT 1 FROM schema_state").fetchone():
        raise _refusal(EMPTY.format(table="schema_state"))
    if before:
        found = keys.of_rows(dict(connected.exec_driver_sql("SELECT state, fingerprint FROM keys").fetchall()))
        if found.next:
            raise _refusal(keys.trouble(found, found.current))


def _seal(connected: Any, before: str, key: Key | None) -> Seal | None:
    """The seal that revisions use; None for a database that has no key yet. CannotMigrate without the right key."""
    if not "" < before < NEEDS_KEY:
        return None
    found = keys.of_rows(dict(connected.exec_driver_sql("SELECT state, fingerprint FROM keys").fetchall()))
    if not found.current:
        return None
    if key is None:
        raise _refusal(keys.NOT_SET_SEALED.format(current=found.current))
    if trouble := keys.trouble(found, key.fingerprint, f"the key in {key.file}"):
        raise _refusal(trouble)
    return Seal(key.secret)


class CannotMigrate(errors.Unavailable):
    """The schema cannot be changed; the reason names the cause and the next step."""


def _refusal(cause: str, doing: str = "migrate") -> CannotMigrate:
    reason = f"cannot {doing}: {cause}"
    return CannotMigrate(reason, why=reason)


def _cause(url: str, error: BaseException | None) -> str:
    if db.is_sqlite(url) and error:
        return causes.of_sqlite(db.sqlite_file(url), error)
    return causes.of_postgres(error, migrating=True)


def copy_of(file: Path, revision: str) -> Path:
    """The path of the copy made of a SQLite file before its upgrade to this revision."""
    return Path(f"{file.resolve()}{BEFORE}{revision}")


def copy_made(url: str, before: str) -> Path | None:
    """The copy that `migrate` made of a database that had the revision `before`; None where it made none."""
    if not db.is_sqlite(url) or not "" < before < HEAD:
        return None
    return copy_of(db.sqlite_file(url), HEAD)


def _keep_copy(file: Path) -> None:
    """Copy the file while we hold its lock, and delete older copies."""
    try:
        copies.check_room(file, file.resolve().parent, copies_=2)  # one, and as much for what the migration writes
        copies.copy(file, copy_of(file, HEAD))
        copies.owned_like(copy_of(file, HEAD), file)
    except (OSError, copies.NotOurs) as error:
        raise errors.Unavailable(f"cannot migrate: {file} could not be copied before, and is as it was") from error
    for old in copies.older(file, re.escape(BEFORE) + r"\d{4}")[:-KEPT_COPIES]:
        old.unlink(missing_ok=True)


def revision(connected: Any) -> str:
    """The revision that Alembic has stored; "" for an empty database."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connected).get_current_revision() or ""


@contextmanager
def connection(url: str, doing: str = "migrate") -> Iterator[Any]:
    """One SQLAlchemy connection in one transaction, for changes of the schema, one after the other.

    doing   what a refusal says that cannot be done
    """
    import sqlalchemy

    if db.is_sqlite(url):
        db.create(url)
        engine = sqlalchemy.create_engine("sqlite://", creator=lambda: db.open_sqlite(db.sqlite_file(url))[0])
        # The driver would commit before each CREATE TABLE. An explicit BEGIN makes each revision atomic.
        sqlalchemy.event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    else:
        check_address(url)
        connect = functools.partial(connect_to_coordinator, url)
        engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect)
    try:
        with engine.begin() as connected:
            if not db.is_sqlite(url):
                if trouble := encoding_trouble(connected.exec_driver_sql(ENCODING).scalar_one()):
                    raise errors.Unavailable(f"cannot {doing}: {trouble}")
                connected.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            yield connected
    except sqlalchemy.exc.DBAPIError as error:
        raise _refusal(_cause(url, error.orig) or str(error.orig), doing) from error
    except CannotMigrate:
        raise
    except errors.Unavailable as refused:
        raise (_refusal(refused.why, doing) if refused.why else refused) from refused.__cause__
    finally:
        engine.dispose()
