"""SQLite: one file, one writer at a time, as many readers as there are threads."""

import os
import re
import shutil
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from itertools import accumulate, chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ... import errors
from ...seal import Seal
from . import causes, copies, ids
from .contract import AWAY, PARAMETER, PROBE, SLOW, WITHOUT_KEY, Guard, Nodes, Probe, Row, Rows, Tx
from .identity import Identity, Which

WRITE_WAIT_SECONDS = 10
BUSY_TIMEOUT = f"PRAGMA busy_timeout = {WRITE_WAIT_SECONDS * 1000}"
MOST_IN_MEMORY = 64 * 1024 * 1024
AT_ONCE = 50  # rows in one statement: with more of them it takes no less time for each
_integers = msgspec.json.Decoder(set[int]).decode
# A statement in the event loop that takes longer waits for the disk. Then threads read for a hundred times as long, so
# that the loop stands still for no more than a hundredth of its time.
SLOW_IN_LOOP_SECONDS, PAUSE_AFTER_SLOW = 0.01, 100
CHECKED_IN_LOOP_SECONDS = 0.001  # a file that was removed may be read from for so long
STEPS = 20_000  # steps of SQLite's virtual machine between two checks of the clock: about a millisecond
SCRUB_TIMEOUT = "PRAGMA busy_timeout = 250"
PRAGMAS = (
    BUSY_TIMEOUT,
    # Only a new file takes it, and only before WAL. A new contact changes a page of its own in the index by number, so
    # larger pages make an upload slower (decisions/0026).
    "PRAGMA page_size = 4096",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # committed data survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # deleted data is overwritten (decisions/0009)
    "PRAGMA temp_store = MEMORY",
    "PRAGMA mmap_size = 0",  # a mapped file that is cut ends the process (decisions/0026)
    "PRAGMA cache_size = -4096",
)
SHARE_OF_MEMORY, LEAST_CACHE, MOST_CACHE = 128, 8 * 1024 * 1024, 16 * 1024 * 1024
LOG_BYTES = 64 * 1024 * 1024  # the commit that makes the log this large copies it into the file
SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
SQLITE_AWAY = SQLITE_BUSY | {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}


def open_sqlite(file: Path) -> tuple[sqlite3.Connection, Which | None]:
    """Open an existing file with our settings; return the connection and the file's identity, or raise Unavailable."""
    with sqlite_errors(file):
        connection, found = copies.opened_in_place(file, lambda: _connect(file))
        try:
            for pragma in PRAGMAS:
                connection.execute(pragma)
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // page_bytes}")
        except BaseException:
            connection.close()
            raise
        return connection, found


def _connect(file: Path) -> sqlite3.Connection:
    """Connect without creating a file: an empty file in place of a removed database would look like the database."""
    address = f"file:{urllib.parse.quote(str(file.absolute()))}?mode=rw"
    return sqlite3.connect(
        address, uri=True, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
    )


class Sqlite:
    """One writing connection behind a lock, and as many reading ones as there are threads that read."""

    def __init__(
        self, file: Path, erasures: Path | None = None, seal: Seal = WITHOUT_KEY, cache_bytes: int = 0
    ) -> None:
        self.file = file
        self.cache_bytes = cache_bytes or usual_cache(physical_memory())
        self.seal = seal
        self.erasures = erasures
        self.memory: dict[Any, Any] = {}
        self.ids = ids.Blocks()
        self._idle: list[sqlite3.Connection] = []
        self._idle_in_loop: list[sqlite3.Connection] = []
        self._not_in_loop_before = self._check_in_loop_at = 0.0
        self._all: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._turn = threading.Lock()
        self._waiting = 0
        self._identity = Identity(file)
        self._probe = Probe(self._attempt)
        self.guard = Guard()

    def read(self, *, seconds: float = 0, snapshot: bool = False) -> AbstractContextManager[Tx]:
        return _Read(self, seconds, snapshot)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        done: list[Callable[[], None]] = []
        undone: list[Callable[[], None]] = []
        with self._lock() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                tx = SqliteTx(connection, self, done, undone)
                self.guard.check(tx)
                yield tx
                connection.execute("COMMIT")
            except BaseException as error:
                if trouble := unwritable(self.file, error):
                    self._probe.failed(trouble)
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                for work in undone:
                    work()
                raise
        # What went into a file that was removed meanwhile must not be answered with success. It may be there again when
        # the file comes back, so it is not undone either: Unavailable leaves that open.
        self._identity.check()
        for work in done:
            work()

    async def query_in_loop(self, sql: str, **params: Any) -> list[tuple[Any, ...]] | None:
        if not self.guard.allows() or (started := time.monotonic()) < self._not_in_loop_before:
            return None
        if started >= self._check_in_loop_at:
            self._identity.check()
            self._check_in_loop_at = started + CHECKED_IN_LOOP_SECONDS
        if not (connection := self._taken_for_loop()):
            return None
        try:
            return connection.execute(sql, params).fetchall()
        except sqlite3.Error:
            return None
        finally:
            self._idle_in_loop.append(connection)
            if (seconds := time.monotonic() - started) > SLOW_IN_LOOP_SECONDS:
                self._not_in_loop_before = started + seconds * PAUSE_AFTER_SLOW

    def probe(self) -> None:
        self._probe.ask()

    def disk(self) -> tuple[int, int] | None:
        try:
            disk = shutil.disk_usage(self.file.parent)
        except OSError:
            return None
        return disk.free, disk.total

    def clock(self) -> float:
        return time.time()

    def others_since(self, at: float) -> int:
        return 0  # a second writer waits, or does not get its turn

    def gauges(self) -> dict[str, int]:
        idle = len(self._idle) + len(self._idle_in_loop) + (self._writer is not None and not self._turn.locked())
        return {"open": len(self._all), "idle": idle, "waiting": self._waiting}

    def nodes(self) -> Nodes:
        return Nodes()

    def tables(self) -> frozenset[str]:
        with self.read() as tx:
            return frozenset(row[0] for row in tx.tuples("SELECT name FROM sqlite_schema WHERE type = 'table'"))

    def version(self) -> tuple[str, str]:
        product = f"SQLite {sqlite3.sqlite_version}"
        return product, "" if sqlite3.sqlite_version_info >= (3, 38) else f"{product} is too old"

    def scrub(self) -> bool:
        # The checkpoint waits for readers while it holds the writers' lock, so the wait is short.
        with self._lock() as connection:
            connection.execute(SCRUB_TIMEOUT)
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.execute(BUSY_TIMEOUT)
        return not busy

    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.file, Path(f"{self.file}-wal")) if file.exists())

    def rewrite(self) -> None:
        with self._lock() as connection:
            if self.size_bytes() > MOST_IN_MEMORY:
                connection.execute("PRAGMA temp_store = FILE")  # not every service can write to that folder
            connection.execute("VACUUM")
            connection.execute("PRAGMA temp_store = MEMORY")
        self.scrub()

    def close(self) -> None:
        self._writer = None
        while self._all:
            self._all.pop().close()

    def _attempt(self) -> str:
        """Why writes fail; "" also while another write runs."""
        if not self._turn.acquire(blocking=False):
            return ""
        try:
            with self._at_once() as connection:
                connection.execute(PROBE)
        except errors.Unavailable as refused:
            return refused.why
        except sqlite3.DatabaseError as error:
            return unwritable(self.file, error)
        finally:
            self._turn.release()
        return ""

    @contextmanager
    def _at_once(self) -> Iterator[sqlite3.Connection]:
        """A connection that does not wait for locks of other programs."""
        connection = self._writing()
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            yield connection
        finally:
            connection.execute(BUSY_TIMEOUT)

    def take(self) -> sqlite3.Connection:
        """An idle connection, or a new one; Unavailable when the file is not the one that was opened."""
        self._identity.check()
        try:
            return self._idle.pop()
        except IndexError:
            return self._opened()

    def _taken_for_loop(self) -> sqlite3.Connection | None:
        """A connection that waits for no lock; None as long as no thread has opened one."""
        try:
            return self._idle_in_loop.pop()
        except IndexError:
            pass
        try:
            connection = self._idle.pop()
        except IndexError:
            return None
        connection.execute("PRAGMA busy_timeout = 0")
        return connection

    def give_back(self, connection: sqlite3.Connection) -> None:
        """The connection is idle, and the first to be taken again: what it has cached is the freshest."""
        self._idle.append(connection)

    def _writing(self) -> sqlite3.Connection:
        """The connection that writes, for the thread whose turn it is.

        It is always the same one: SQLite drops the cached pages of a connection when another one has written.
        """
        self._identity.check()
        if not self._writer:
            self._writer = self._opened()
            self._writer.execute(f"PRAGMA cache_size = -{self.cache_bytes // 1024}")
        return self._writer

    def _opened(self) -> sqlite3.Connection:
        connection, found = open_sqlite(self.file)
        try:
            self._identity.opened(found)
        except errors.Unavailable:
            connection.close()
            raise
        self._all.append(connection)
        return connection

    @contextmanager
    def _lock(self) -> Iterator[sqlite3.Connection]:
        """A connection without a transaction, while no other thread of this process writes."""
        with self._my_turn(), sqlite_errors(self.file):
            yield self._writing()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        self._waiting += 1
        mine = self._turn.acquire(timeout=WRITE_WAIT_SECONDS)
        self._waiting -= 1
        if not mine:
            raise errors.Busy
        try:
            yield
        finally:
            self._turn.release()


def usual_cache(memory_bytes: int) -> int:
    """The writing connection's cache: a share of the machine's memory, within bounds."""
    return min(max(memory_bytes // SHARE_OF_MEMORY, LEAST_CACHE), MOST_CACHE)


def physical_memory() -> int:
    """The memory of this machine in bytes; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


class _Read:
    """A read. It is a class because a generator takes twice as long, and each request reads at least once.

    seconds    interrupt the statement that runs at this time limit; 0 = no limit. By a progress handler, not by
               `interrupt()` from a timer: that could hit the next one to use the connection
    snapshot   all statements are one transaction
    """

    __slots__ = ("_connection", "_database", "_seconds", "_snapshot")

    def __init__(self, database: Sqlite, seconds: float, snapshot: bool) -> None:
        self._database = database
        self._seconds = seconds
        self._snapshot = snapshot

    def __enter__(self) -> Tx:
        self._connection = self._database.take()
        if self._seconds:
            until = time.monotonic() + self._seconds
            self._connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
        try:
            if self._snapshot:
                self._connection.execute("BEGIN")
            tx = SqliteTx(self._connection, self._database)
            self._database.guard.check(tx)
            return tx
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._seconds:
            self._connection.set_progress_handler(None, STEPS)
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._database.give_back(self._connection)
        if isinstance(error, sqlite3.DatabaseError) and (known := refusal(self._database.file, error)):
            raise known from error


class SqliteTx:
    """A transaction on SQLite."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        database: Sqlite,
        done: list[Callable[[], None]] | None = None,
        undone: list[Callable[[], None]] | None = None,
    ) -> None:
        self._connection = connection
        self.memory = database.memory
        self.seal = database.seal
        self.is_distributed = False
        self._ids = database.ids
        self._done = done
        self._undone = undone

    def all(self, sql: str, **params: Any) -> list[Row]:
        cursor = self._execute(sql, params)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def one(self, sql: str, **params: Any) -> Row | None:
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def tuples(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        return self._execute(sql, params).fetchall()

    def integers(self, sql: str, **params: Any) -> set[int]:
        # One text is read in two thirds of the time of a thousand rows.
        ((text,),) = self._execute(f"SELECT json_group_array(f.value) FROM ({sql}) AS f", params)
        return _integers(text)

    def run(self, sql: str, **params: Any) -> int:
        lists = [(name, rows) for name, rows in params.items() if isinstance(rows, Rows)]
        if len(lists) == 1:
            ((name, rows),) = lists
            if each := for_each_row(sql, name, tuple(rows.columns)):
                return self._run_each(each, rows.rows, tuple([params[other] for other in each.others]))
        return self._execute(sql, params).rowcount

    def run_each(self, sql: str, name: str, lists: Iterable[Rows], **params: Any) -> None:
        for rows in lists:
            self.run(sql, **params, **{name: rows})

    def next_id(self, sequence: str, *, fresh: bool = False) -> int:
        if fresh:
            self._ids.discard(sequence)
        return self.next_ids(sequence, 1)[0]

    def next_ids(self, sequence: str, count: int) -> list[int]:
        found = self._ids.take(sequence, count)
        while missing := count - len(found):
            # Nobody else takes from the block before the commit, because there is only one writer.
            self.on_rollback(lambda: self._ids.discard(sequence))
            block = ids.draw(self, sequence, max(missing, ids.SEQUENCES[sequence].block))
            found += block[:missing]
            self._ids.add(sequence, block[missing:])
        return found

    def reserve_ids(self, sequence: str, last: int) -> None:
        ids.reserve(self, sequence, last)
        self._ids.discard(sequence, last)

    def last_id(self, sequence: str) -> int:
        return ids.last(self, sequence)

    def lock(self, what: str) -> None:
        pass  # BEGIN IMMEDIATE already holds the only write lock

    def try_lock(self, what: str) -> bool:
        return True

    def prefer_indexes(self) -> AbstractContextManager[None]:
        return nullcontext()

    def on_commit(self, work: Callable[[], None]) -> None:
        assert self._done is not None, "nothing is committed where nothing is written"
        self._done.append(work)

    def on_rollback(self, work: Callable[[], None]) -> None:
        assert self._undone is not None, "nothing is undone where nothing is written"
        self._undone.append(work)

    def _run_each(self, each: "ForEachRow", rows: Sequence[tuple[Any, ...]], others: tuple[Any, ...]) -> int:
        run, done = self._connection.execute, 0
        whole = len(rows) - len(rows) % AT_ONCE if each.at_once else 0
        for start in range(0, whole, AT_ONCE):
            done += run(each.at_once, others + tuple(chain.from_iterable(rows[start : start + AT_ONCE]))).rowcount
        if rest := rows[whole:]:
            done += self._connection.executemany(each.one, [row + others for row in rest]).rowcount
        return done

    def _execute(self, sql: str, params: dict[str, Any]) -> sqlite3.Cursor:
        lists = {name: rows for name, rows in params.items() if isinstance(rows, Rows)}
        if not lists:
            return self._connection.execute(sql, params)
        sql = sqlite_statement(sql, tuple((name, tuple(rows.columns.items())) for name, rows in lists.items()))
        for name, rows in lists.items():
            params |= in_json(name, rows)
        return self._connection.execute(sql, params)


def unwritable(file: Path, error: BaseException) -> str:
    """The problem with the disk or its permissions that an error means; "" for other errors."""
    why = causes.of_sqlite(file, error)
    return why and f"the database cannot be written to: {why}"


@lru_cache(maxsize=512)
def sqlite_statement(sql: str, lists: tuple[tuple[str, tuple[tuple[str, type], ...]], ...]) -> str:
    """Replace each list parameter by a table expression over `json_each`; see `in_json`."""
    for name, columns in lists:
        table = f"(SELECT {', '.join(_fields(name, columns))} FROM json_each(:{name}))"
        sql = re.sub(rf"(?<![:\w]):{name}\b", table, sql)
    return sql


# An insert of rows as they are, and an update of rows that are found by their key.
INSERT = re.compile(r"(INSERT INTO \w+ \([^()]*\)) SELECT (.*) FROM :(\w+) AS r WHERE 1 = 1((?: ON CONFLICT .*)?)")
UPDATE = re.compile(r"(UPDATE \w+ SET .*) FROM :(\w+) AS r( WHERE .*)")
MORE = re.compile(r"\b(SELECT|FROM|JOIN|RETURNING|ORDER BY)\b|[?]")


class ForEachRow(NamedTuple):
    """A statement for each row of a list instead of the whole list.

    one       takes the values of a row, then those of the other parameters
    at_once   the same for AT_ONCE rows: the other parameters come first; "" for an update
    others    the names of the other parameters
    """

    one: str
    at_once: str
    others: tuple[str, ...]


@lru_cache(maxsize=512)
def for_each_row(sql: str, name: str, columns: tuple[str, ...]) -> ForEachRow | None:
    """The statement for a row of the list `name`; None if there is none.

    It takes half the time of reading the rows from JSON, and SQLite always finds a row to update by its key.
    """
    if found := INSERT.fullmatch(sql):
        into, values, of, conflict = found.groups()
        # A row that cannot be stored ends the transaction. If it ended only the statement, SQLite would copy each page
        # before the statement changes it.
        into = into if conflict else into.replace("INSERT", "INSERT OR ROLLBACK", 1)
        head, each, tail = f"{into} VALUES ", f"({values})", conflict
    elif found := UPDATE.fullmatch(sql):
        update, of, where = found.groups()
        head, each, tail = "", update + where, ""
    else:
        return None
    if of != name or MORE.search(head + each + tail):
        return None
    others = tuple(dict.fromkeys(PARAMETER.findall(each + tail)))
    one = _numbered(head + each + tail, columns, 1, others, len(columns) + 1)
    firsts = range(len(others) + 1, len(others) + 1 + AT_ONCE * len(columns), len(columns))
    rows = ", ".join(_numbered(each, columns, first, others, 1) for first in firsts)
    return ForEachRow(one, head + rows + _numbered(tail, columns, 1, others, 1) if head else "", others)


def _numbered(sql: str, columns: tuple[str, ...], row: int, others: tuple[str, ...], other: int) -> str:
    """Number the parameters: those of the row begin at `row`, the others at `other`."""
    sql = re.sub(r"\br\.(\w+)", lambda found: f"?{row + columns.index(found[1])}", sql)
    return PARAMETER.sub(lambda found: f"?{other + others.index(found[1])}", sql)


def _fields(name: str, columns: tuple[tuple[str, type], ...]) -> Iterator[str]:
    if len(columns) == 1 and columns[0][1] is not bytes:
        yield f"value AS {columns[0][0]}"
        return
    position = 0
    for column, kind in columns:
        if kind is bytes:
            yield f"substr(:{name}_bytes, value ->> {position}, value ->> {position + 1}) AS {column}"
        else:
            yield f"value ->> {position} AS {column}"
        position += 1 + (kind is bytes)


def in_json(name: str, rows: Rows) -> dict[str, Any]:
    """The parameters for rows: one JSON array, and for `bytes`, which JSON cannot hold, their concatenation.

    In the array stand the place and the length of each value of `bytes`; NULL has no place. One column is an array of
    its values, which takes a third of the time of an array of rows.
    """
    if len(rows.columns) == 1 and bytes not in rows.columns.values():
        return {name: msgspec.json.encode([value for (value,) in rows.rows]).decode()}
    if bytes not in rows.columns.values():
        return {name: msgspec.json.encode(rows.rows).decode()}
    columns: list[Iterable[Any]] = []
    content: list[bytes] = []
    start = 1
    # Column by column: an upload has a thousand rows, and a loop over their values took more time than the statement.
    by_column = zip(*rows.rows, strict=True) if rows.rows else repeat((), len(rows.columns))
    for kind, values in zip(rows.columns.values(), by_column, strict=True):
        if kind is not bytes:
            columns.append(values)
            continue
        lengths = [0 if value is None else len(value) for value in values]
        starts = list(accumulate(lengths, initial=start))
        start = starts.pop()
        if None in values:
            columns.append([None if value is None else at for value, at in zip(values, starts, strict=True)])
        else:
            columns.append(starts)
        columns.append(lengths)
        content.append(b"".join([value for value in values if value is not None]))
    return {name: msgspec.json.encode(list(zip(*columns, strict=True))).decode(), f"{name}_bytes": b"".join(content)}


@contextmanager
def sqlite_errors(file: Path) -> Iterator[None]:
    """Convert the driver's errors into refusals."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if known := refusal(file, error):
            raise known from error
        raise


def refusal(file: Path, error: sqlite3.DatabaseError) -> errors.Refused | None:
    """The refusal that an error of the driver means; None for a mistake of ours."""
    if isinstance(error, sqlite3.IntegrityError):
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:  # the user, or the application, is gone
            return errors.SessionGone()
        return errors.Conflict(errors.BUSY)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return errors.TooSlow(SLOW)
    if code in SQLITE_AWAY:
        return errors.Unavailable(AWAY, why=causes.of_sqlite(file, error))
    return None
