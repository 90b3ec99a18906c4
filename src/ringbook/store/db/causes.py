"""Explains errors of the database drivers: the cause and the next step, as one sentence for the operator.

of_sqlite(file, error)    of an error of sqlite3
of_postgres(error)        of an error of psycopg, also of a failed connection

Each returns "" when the error is not about the database's state. No sentence holds a password, a host, a user or a
database's name, because /readyz shows it to everybody. The path of a SQLite file is shown.
"""

import os
import shutil
import sqlite3
from pathlib import Path

LEAST_FREE_BYTES = 64 * 1024  # SQLite needs half of it for the index of its log before it can read anything

NO_FILE = (
    "there is no database {file}: if it was moved, put it back; if it is lost, `ringbook restore BACKUP` brings back a"
    " backup; `ringbook serve` and `ringbook migrate` make a new one (RINGBOOK_DATABASE says where)"
)
FOLDER = "{file} is a folder: RINGBOOK_DATABASE must name a file, such as sqlite:///{file}/ringbook.db"
NOT_SQLITE = (
    "{file} is not a SQLite database, or its beginning is damaged: check RINGBOOK_DATABASE, or restore a backup"
    " (`ringbook restore BACKUP`)"
)
DAMAGED = "the database file {file} is damaged or incomplete: restore a backup (`ringbook restore BACKUP`)"
UNREADABLE = "this user may not read {file}: give the file to the user who runs Ringbook (chown)"
FULL_DISK = "the disk of {file} is full: make room"
READ_ONLY = (
    "{file}, its folder or its disk is read-only for this user: give both to the user who runs Ringbook, or mount the"
    " disk for writing"
)
CANNOT_OPEN = "{file} cannot be opened: the user who runs Ringbook must be able to write to the file and to its folder"
BROKEN_DISK = "reading or writing {file} failed ({error}): is its disk full or broken? Look at the system's log"

DAMAGE = {sqlite3.SQLITE_CORRUPT: DAMAGED, sqlite3.SQLITE_NOTADB: NOT_SQLITE, sqlite3.SQLITE_FULL: FULL_DISK}
ACCESS = {sqlite3.SQLITE_READONLY: READ_ONLY, sqlite3.SQLITE_CANTOPEN: CANNOT_OPEN, sqlite3.SQLITE_IOERR: BROKEN_DISK}


def of_sqlite(file: Path, error: BaseException) -> str:
    """Check the error first, then the file and its disk: SQLite reports many problems as "disk I/O error"."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    words = DAMAGE.get(code) or ACCESS.get(code, "")
    if not words:
        return ""
    return (_of_file(file) or words if code in ACCESS else words).format(file=file.absolute(), error=error)


def _of_file(file: Path) -> str:
    """Why a file cannot be used, as far as the file and its disk show."""
    try:
        if not file.exists():
            return NO_FILE
        if file.is_dir():
            return FOLDER
        if not os.access(file, os.R_OK):
            return UNREADABLE
        if os.statvfs(file.parent).f_flag & os.ST_RDONLY or not os.access(file, os.W_OK):
            return READ_ONLY
        return FULL_DISK if shutil.disk_usage(file.parent).free < LEAST_FREE_BYTES else ""
    except OSError:
        return ""


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────

NO_RIGHTS = (
    "the database user has no rights on Ringbook's tables: connect as the role that ran `ringbook migrate`, or let that"
    " role GRANT ALL ON ALL TABLES IN SCHEMA public to this user"
)
MAY_NOT_MIGRATE = (
    "the database user may not create or change tables: migrate as the role that owns Ringbook's tables, or for a new"
    " database GRANT CREATE ON SCHEMA public to this user"
)
HELD = "another transaction holds a table for too long: run it again when that is over"
WRONG_PASSWORD = "PostgreSQL refuses the user or the password: correct them in RINGBOOK_DATABASE"
NO_ENTRY = "PostgreSQL does not let this user in from this machine: add a line to its pg_hba.conf"
NO_LOGIN = "PostgreSQL does not let this user log in: ALTER ROLE … LOGIN, or name another user in RINGBOOK_DATABASE"
NO_DATABASE = (
    "PostgreSQL has no database of this name: correct the name in RINGBOOK_DATABASE, or make one with"
    " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
)
NO_CONNECT = "the database user may not connect to this database: GRANT CONNECT ON DATABASE … to it"
LIMIT = (
    "the connection limit of this {what} is reached: raise it (ALTER {kind} … CONNECTION LIMIT -1), or lower"
    " RINGBOOK_DATABASE_POOL and the number of processes"
)
TOO_MANY = "PostgreSQL has no connection left: raise its max_connections, or lower RINGBOOK_DATABASE_POOL"
CLOSED = (
    "nothing accepts connections at the address in RINGBOOK_DATABASE: start PostgreSQL, or correct host and port there"
)
UNKNOWN_HOST = "the host in RINGBOOK_DATABASE is not known: correct its name, or look at this machine's name server"
NO_ANSWER = (
    "the host in RINGBOOK_DATABASE does not answer in time: is the host right, is the machine up, does a firewall drop"
    " the connection?"
)
FROZEN = (
    "PostgreSQL has not answered a statement within RINGBOOK_DATABASE_SECONDS: is the server, or a node of its cluster,"
    " frozen or overloaded?"
)
NO_ANSWER_WITHIN = "no answer within"  # of an error of ours
STARTING = "PostgreSQL is starting or stopping: wait, and look at its log if that lasts"
NO_PRIMARY = (
    "no host in RINGBOOK_DATABASE takes writes, and one is a standby: start the primary, or promote the standby"
)
NO_TLS = "PostgreSQL and Ringbook do not agree on TLS: check sslmode and sslrootcert in RINGBOOK_DATABASE"
NODE = "a node of the database cluster does not answer: start PostgreSQL there, or make a standby the primary"
FULL_SERVER = "the disk of PostgreSQL is full: make room on its machine"

# A failed connection has no SQLSTATE: libpq gives only a text (PostgreSQL, "libpq - C Library", PQerrorMessage).
# Servers with another lc_messages use their own language. Then AWAY is shown and, on the console, that text.
CONNECTING = (
    ("session is read-only", NO_PRIMARY),  # one of several hosts; takes precedence over the others' errors
    ("password authentication failed", WRONG_PASSWORD),
    ("no password supplied", WRONG_PASSWORD),
    ("pg_hba.conf", NO_ENTRY),
    ("is not permitted to log in", NO_LOGIN),
    ("permission denied for database", NO_CONNECT),
    ("too many connections for role", LIMIT.format(what="database user", kind="ROLE")),
    ("too many connections for database", LIMIT.format(what="database", kind="DATABASE")),
    ("too many clients", TOO_MANY),
    ("remaining connection slots", TOO_MANY),
    ("no more connections allowed", TOO_MANY),  # PgBouncer's max_client_conn
    ("the database system is", STARTING),
    ("failed to resolve host", UNKNOWN_HOST),
    ("could not translate host name", UNKNOWN_HOST),
    ("SSL", NO_TLS),
    ("Connection refused", CLOSED),
    ("No such file or directory", CLOSED),  # of a socket
    (NO_ANSWER_WITHIN, FROZEN),
    ("timeout expired", NO_ANSWER),
    ("timed out", NO_ANSWER),
    ("No route to host", NO_ANSWER),
    ("Network is unreachable", NO_ANSWER),
)
NODE_AWAY = "08006"  # said by a server, so it is about another one
SQLSTATES = {
    NODE_AWAY: NODE,
    "42501": NO_RIGHTS,
    "53100": FULL_SERVER,
    "53300": TOO_MANY,
    "57P01": STARTING,
    "57P03": STARTING,
}
MIGRATING = SQLSTATES | {"42501": MAY_NOT_MIGRATE, "55P03": HELD}


def of_postgres(error: BaseException | None, *, migrating: bool = False) -> str:
    """Find the cause by SQLSTATE, or for a failed connection by its text."""
    state = getattr(error, "sqlstate", None)
    if state:
        return (MIGRATING if migrating else SQLSTATES).get(state, "")
    text = str(error or "")
    if 'database "' in text and '" does not exist' in text:
        return NO_DATABASE
    if 'role "' in text and '" does not exist' in text:
        return WRONG_PASSWORD
    return next((words for part, words in CONNECTING if part in text), "")
