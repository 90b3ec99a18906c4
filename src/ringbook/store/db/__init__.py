"""Connections, transactions, and the two databases behind one set of statements.

    connect(url) → Database         read() and write() give a Tx; scrub() and close() clean up
    create(url), lost(url, folder)  make a SQLite file; was there one before?
    at_coordinator(url)             of a cluster, the address of its coordinator
    named(url)                      which database that is, for people: without user and password
    journal_of(url, folder)         where its journal of erasures is
    Tx.all, one, tuples, run        whole statements with `:name` parameters; Tx.next_id gives an id
    Tx.integers                     the same for the values of one column of whole numbers
    Tx.on_commit                         what is to be done once the transaction is committed
    Tx.memory, Database.memory      what the process keeps in memory for this database
    Tx.seal, Database.seal          seals and opens what the database stores, with its key
    Rows                            a list as **one** parameter: `… FROM :rows AS r`, or of one column `… IN :numbers`

A statement is the same text for SQLite (3.38 or newer) and PostgreSQL. `Rows` travels as a JSON array to the first and
as one array per column to the second. Nothing relies on the state of a database session, so a pooler that hands a
connection to another client after each transaction may stand between.

`contract.py` is what `store/` sees, `sqlite.py` and `postgres.py` are the two ways of keeping it. `ids.py` hands out
ids. `causes.py` says what their errors mean, `identity.py` whether a SQLite file is still the one that was opened, and
`patience.py` ends waits for a frozen server.

Driver errors become refusals here and nowhere else: a database that is away, locked or full is `errors.Unavailable`,
as is one that has no ids left; a broken constraint is `errors.Conflict`, a reference to a user or an application that
has just gone is `errors.SessionGone`; a read that takes longer than it was given is `errors.TooSlow`; anything else is
a bug and stays what it is.
"""

from pathlib import Path

from ...seal import Seal
from . import identity
from .contract import WITHOUT_KEY, Database, Row, Rows, Tx
from .postgres import Postgres, at_coordinator, without_login
from .sqlite import Sqlite, open_sqlite

__all__ = [
    "Database",
    "Row",
    "Rows",
    "Tx",
    "at_coordinator",
    "connect",
    "create",
    "is_sqlite",
    "journal_of",
    "lost",
    "named",
    "open_sqlite",
    "sqlite_file",
]


def connect(
    url: str,
    *,
    seal: Seal = WITHOUT_KEY,
    pool: int = 10,
    erasures: str = "",
    cache_bytes: int = 0,
    seconds: float = 0,
) -> Database:
    """Open `sqlite:///file` or `postgresql://…`.

    seal          made of the database's key (`store/keys.py`); without it, nothing sealed can be read or written
    pool          the most PostgreSQL connections of this process
    erasures      the folder of the journal of erasures; "" is one beside the SQLite file, and on PostgreSQL none
    cache_bytes   of the connection that writes to a SQLite file; 0 = a share of the machine's memory
    seconds       the longest wait for PostgreSQL's answer to one statement; 0 = without end
    """
    if is_sqlite(url):
        return Sqlite(sqlite_file(url), journal_of(url, erasures), seal, cache_bytes)
    if url.startswith(("postgresql://", "postgres://")):
        return Postgres(url, pool, journal_of(url, erasures), seal, seconds)
    raise ValueError("the database must be sqlite:///FILE or postgresql://USER@HOST/NAME")


def create(url: str) -> None:
    """Make the file of a SQLite database, empty, unless it is there; connecting never does."""
    if is_sqlite(url):
        identity.create(sqlite_file(url))


def lost(url: str, erasures: str) -> str:
    """Why a new SQLite database must not be made here: there was one before. "" when there was none, or it is there."""
    return identity.lost(sqlite_file(url), journal_of(url, erasures)) if is_sqlite(url) else ""


def named(url: str) -> str:
    """Which database it is: a file by its whole path, a server's database without user and password."""
    return str(sqlite_file(url).absolute()) if is_sqlite(url) else without_login(url)


def journal_of(url: str, erasures: str) -> Path | None:
    """The folder of the journal of erasures: as it was set, else beside a SQLite file."""
    if erasures:
        return Path(erasures)
    return Path(f"{sqlite_file(url)}-erasures") if is_sqlite(url) else None


def is_sqlite(url: str) -> bool:
    """Is it a file of ours, so that there is one writer?"""
    return url.startswith("sqlite://")


def sqlite_file(url: str) -> Path:
    """`sqlite:///ringbook.db` is in the working directory, `sqlite:////var/lib/…` is absolute."""
    name = url.removeprefix("sqlite:///")
    if name == url or not name:
        raise ValueError("a SQLite database is written sqlite:///FILE, with three slashes before the file")
    return Path(name)
