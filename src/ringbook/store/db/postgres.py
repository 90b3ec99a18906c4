"""PostgreSQL: a pool of connections, nothing of which relies on the state of a database session."""

import functools
import math
import re
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ... import errors
from ...logs import log
from ...seal import Seal
from . import causes, citus, ids, locks
from .arrays import array
from .contract import AWAY, PARAMETER, PROBE, SLOW, WITHOUT_KEY, Guard, Nodes, Probe, Row, Rows, Tx
from .locks import Locks, Within

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

ARRAYS = {int: "bigint[]", str: "text[]", bytes: "bytea[]"}
UTF8 = "UTF8"
ENCODING = "SHOW server_encoding"
WAIT_SECONDS = 5
TABLES = (
    "SELECT relname::text, bool_or(pg_table_is_visible(oid)) FROM pg_class"
    " WHERE relkind IN ('r', 'p') AND relnamespace <> 'pg_catalog'::regnamespace GROUP BY relname"
)
HIDDEN = (
    "Ringbook's tables are in a schema that this user does not see: GRANT USAGE ON SCHEMA … to it, or set its"
    " search_path (ALTER ROLE … SET search_path)"
)
BACK_SECONDS = 0.5  # between two looks whether a database that was away is back
# A machine that vanished without a word is noticed within half a minute. What the address says of these wins.
VIGILANCE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
# With several hosts another one is there to take over: the primary is looked for, and a silent host soon given up.
FAILOVER = {
    "target_session_attrs": "read-write",
    "connect_timeout": 2,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "tcp_user_timeout": 3_000,
}
SERVERS_FOR_WRITES = ("read-write", "primary", "any")
NO_RIGHTS, INTERNAL = "42501", "XX000"
MOST_IN_LOOP, SHARE_IN_LOOP = 4, 4  # so many connections, and no more than one in so many, may be lent to the loop
DRAIN_SECONDS = 1  # between two times that all connections are replaced
OLDER = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend' AND extract(epoch FROM xact_start) < :at"
)
_OTHER_PLANS = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_material")
PREFER_INDEXES = "; ".join(f"SET LOCAL {name} = off" for name in _OTHER_PLANS)
AS_USUAL = "; ".join(f"SET LOCAL {name} TO DEFAULT" for name in _OTHER_PLANS)
PROBE_PATIENCE = "SET LOCAL lock_timeout = '500ms'; SET LOCAL statement_timeout = '3s'"


def check_address(url: str) -> None:
    """Raise Invalid, without quoting it, for an address that the driver cannot read."""
    import psycopg

    try:
        given = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        reason = "is no address that PostgreSQL understands; in a password, write @ / % and blanks as %40 %2F %25 %20"
        raise errors.Invalid(reason, field="RINGBOOK_DATABASE") from None
    hosts, ports = (str(given.get(part) or "").split(",") for part in ("host", "port"))
    if len(ports) not in (1, len(hosts)):
        raise errors.Invalid("must name one port for each host, or one for all", field="RINGBOOK_DATABASE")
    if given.get("target_session_attrs", "any") not in SERVERS_FOR_WRITES:
        reason = "must have read-write, primary or any as target_session_attrs: Ringbook writes to the server it finds"
        raise errors.Invalid(reason, field="RINGBOOK_DATABASE")


def has_several_hosts(url: str) -> bool:
    """Does the address name more than one server?"""
    import psycopg

    given = psycopg.conninfo.conninfo_to_dict(url)
    return "," in str(given.get("host") or given.get("hostaddr") or "")


def options(url: str) -> dict[str, Any]:
    """What each connection is opened with, besides what the address says itself."""
    import psycopg

    given = psycopg.conninfo.conninfo_to_dict(url)
    defaults: dict[str, Any] = {"connect_timeout": WAIT_SECONDS} | VIGILANCE
    defaults |= FAILOVER if has_several_hosts(url) else {}
    defaults = {name: value for name, value in defaults.items() if name not in given}
    return defaults | {"client_encoding": UTF8}  # whatever the environment or the role have set


def connect_to_coordinator(url: str) -> Any:
    """A connection of the driver: on a cluster to the coordinator, whichever node of the address would be chosen."""
    import psycopg

    given = psycopg.conninfo.conninfo_to_dict(url)
    return citus.on_coordinator(functools.partial(psycopg.connect, url, **options(url)), given)


def at_coordinator(url: str) -> str:
    """The address of the coordinator, where the address names nodes of a cluster; else the address as it is."""
    if not has_several_hosts(url):
        return url
    with connect_to_coordinator(url) as connection:
        if not citus.is_cluster(connection):
            return url
        found = urlencode({"host": connection.info.host, "port": connection.info.port})
    return f"{url}{'&' if '?' in url else '?'}{found}"  # what comes last counts


def without_login(url: str) -> str:
    """The address with its hosts, their ports and the name, as far as it says them."""
    import psycopg

    parts = psycopg.conninfo.conninfo_to_dict(url)
    hosts, ports = (str(parts.get(part) or "").split(",") for part in ("host", "port"))
    ports = ports * len(hosts) if len(ports) == 1 else ports
    bracketed = (f"[{host}]" if ":" in host else host for host in hosts)
    places = ",".join(host + (port and f":{port}") for host, port in zip(bracketed, ports, strict=False))
    return f"postgresql://{places}/{parts.get('dbname') or ''}"


def encoding_trouble(encoding: str) -> str:
    """Why a database with this encoding is of no use; "" when it can hold every name."""
    if encoding == UTF8:
        return ""
    return (
        f"the database's encoding is {encoding}, which cannot hold every name:"
        " make another one with CREATE DATABASE ringbook ENCODING 'UTF8' TEMPLATE template0"
    )


class Postgres:
    """A pool of connections; each write is one transaction at READ COMMITTED, each statement of a read its own.

    A read with a snapshot is one transaction at REPEATABLE READ.
    """

    def __init__(
        self, url: str, size: int, erasures: Path | None = None, seal: Seal = WITHOUT_KEY, seconds: float = 0
    ) -> None:
        """`seconds`: the longest wait for the answer to one statement; 0 = without end."""
        import psycopg
        import psycopg_pool

        from .direct import Statements
        from .in_loop import Lines
        from .patience import GivenUp, patient

        check_address(url)
        self.seal = seal
        self.erasures = erasures
        self.memory: dict[Any, Any] = {}
        self.ids = ids.Blocks()
        self.statements = Statements
        self.file: Path | None = None
        self._failure: BaseException | None = None
        pool = functools.partial(
            psycopg_pool.ConnectionPool,
            url,
            max_size=size,
            timeout=WAIT_SECONDS,
            # Its pauses between attempts double for so long, then begin anew: after an hour away, no hour of waiting.
            reconnect_timeout=1,
            # Prepared statements live in a database session, and behind a pooler there is none to rely on. `in_loop.py`
            # prepares a few, and can do without.
            kwargs={"autocommit": True, "prepare_threshold": None} | options(url),
            connection_class=patient(seconds, self._connecting),
            open=True,
        )
        self._pool = pool(min_size=1, name="ringbook")
        # Used on a cluster only. As many as there can be transactions, so that nobody who has one waits here.
        self._lock_pool = pool(min_size=0, name="locks")
        self._distributed: bool | None = None  # not known yet
        self.refusal = refusals(psycopg, self._look_after, self._replace_all, lambda: self._failure)
        self._lines = Lines(min(MOST_IN_LOOP, size // SHARE_IN_LOOP), seconds, self._pool.putconn, self.refusal)
        self._trouble = psycopg.Error
        self._none_free = psycopg_pool.PoolTimeout
        self._given_up = GivenUp
        self._others = has_several_hosts(url)
        self._canceled = psycopg.errors.QueryCanceled
        self._no_table = psycopg.errors.UndefinedTable
        self._why = {
            psycopg.errors.DiskFull: "its disk is full",
            psycopg.errors.ReadOnlySqlTransaction: "it takes no writes, as a standby does",
        }
        self._probe = Probe(self._attempt)
        self._nodes = Nodes()
        self.guard = Guard()
        self._closed = threading.Event()
        self._away = threading.Event()
        self._in_use: set[Any] = set()
        self._looking = threading.Lock()
        self._drawing = threading.Lock()
        self._replaced_at = 0.0

    def read(self, *, seconds: float = 0, snapshot: bool = False) -> AbstractContextManager[Tx]:
        if snapshot:
            return self._snapshot()
        return self._limited_read(seconds) if seconds else _Read(self)

    @contextmanager
    def _snapshot(self) -> Iterator[Tx]:
        with self._errors(), self._connected() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            tx = PostgresTx(connection, self)
            self.guard.check(tx)
            yield tx

    @contextmanager
    def _limited_read(self, seconds: float) -> Iterator[Tx]:
        with self._errors(), self._connected() as connection:
            try:
                with connection.transaction():
                    tx = PostgresTx(connection, self, until=time.monotonic() + seconds)
                    self.guard.check(tx)
                    yield tx
            except self._canceled as error:
                raise errors.TooSlow(SLOW) from error

    @contextmanager
    def write(self) -> Iterator[Tx]:
        done: list[Callable[[], None]] = []
        try:
            with self._errors():
                self._draw_ahead()
            with (
                self._errors(),
                self._connected() as connection,
                self._locks(connection) as held,
                connection.transaction(),
            ):
                tx = PostgresTx(connection, self, done, locks=held)
                self.guard.check(tx)
                yield tx
                held.release()
        except errors.Unavailable as refused:
            if trouble := self._unwritable(refused.__cause__):
                self._probe.failed(trouble)
            raise
        for work in done:
            work()

    async def query_in_loop(self, sql: str, **params: Any) -> list[tuple[Any, ...]] | None:
        if self._away.is_set() or self._distributed is not False or not self.guard.allows():
            return None
        if not (line := self._lines.free()):
            return None
        self._in_use.add(line.connection)
        try:
            return await line.ask(postgres_statement(sql, ()), params)
        except self._given_up as error:
            raise self.refusal(error) or error  # noqa: B904  (it has its cause)
        finally:
            self._in_use.discard(line.connection)

    def probe(self) -> None:
        self._probe.ask()

    def disk(self) -> tuple[int, int] | None:
        return None

    def clock(self) -> float:
        with self.read() as tx:
            return float(tx.tuples("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0])

    def others_since(self, at: float) -> int:
        with self.read() as tx:
            (on_cluster,) = tx.tuples(citus.IS_CLUSTER)[0]
            return int(tx.tuples(citus.OLDER if on_cluster else OLDER, at=at)[0][0])

    def gauges(self) -> dict[str, int]:
        stats = self._pool.get_stats()
        names = {"open": "pool_size", "idle": "pool_available", "waiting": "requests_waiting"}
        return {name: stats.get(key, 0) for name, key in names.items()}

    def nodes(self) -> Nodes:
        with suppress(errors.Unavailable):
            self._probe.ask()
        return self._nodes

    def tables(self) -> frozenset[str]:
        with self.read() as tx:
            seen = dict(tx.tuples(TABLES))
        if "schema_state" in seen and not any(seen.values()):
            raise errors.Unavailable(AWAY, why=HIDDEN)
        return frozenset(name for name, visible in seen.items() if visible)

    def version(self) -> tuple[str, str]:
        with self.read() as tx:
            number = int(tx.tuples("SELECT current_setting('server_version_num')")[0][0])
            trouble = encoding_trouble(tx.tuples(ENCODING)[0][0])
        product = f"PostgreSQL {number // 10000}.{number % 10000}"
        return product, f"{product} is too old" if number < 160000 else trouble

    def scrub(self) -> bool:
        return True  # its log is not ours to clean, and old rows are its vacuum's

    def size_bytes(self) -> int:
        return 0

    def rewrite(self) -> None:
        pass

    def close(self) -> None:
        self._closed.set()
        self._lines.close()
        self._pool.close()
        self._lock_pool.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the driver's errors into refusals."""
        try:
            yield
        except Exception as error:
            if refused := self.refusal(error):
                raise refused  # noqa: B904  (it has its cause)
            raise

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A connection of the pool, which is given back at the end of the block."""
        connection = self.take()
        try:
            with connection:
                yield connection
        finally:
            self.give_back(connection)

    def take(self) -> Any:
        """A connection of the pool; Unavailable, and at once, while it is known that there is none to be had."""
        if self._away.is_set():
            raise errors.Unavailable(AWAY, why=causes.of_postgres(self._failure)) from self._failure
        connection = self._pool.getconn()
        self._in_use.add(connection)
        return connection

    def give_back(self, connection: Any) -> None:
        """Give a connection back to the pool, which replaces it if it is lost or within a transaction; or lend it."""
        self._in_use.discard(connection)
        if not (self._lines.is_wanted and self._lines.offer(connection)):
            self._pool.putconn(connection)

    def _locks(self, connection: Any) -> AbstractContextManager[Locks]:
        """The named locks of the transaction that begins on this connection."""
        return (
            locks.beside(self._lock_pool.connection)
            if self.is_distributed(connection)
            else nullcontext(Within(connection))
        )

    def is_distributed(self, connection: Any) -> bool:
        """Do the tables lie on a cluster? The first transaction that needs to know it asks."""
        if self._distributed is None:
            self._distributed = citus.is_distributed(connection)
        return self._distributed

    def _draw_ahead(self) -> None:
        """Draw blocks of the sequences that have run out, before a transaction does, which locks them until its end."""
        if (empty := self.ids.empty()) and self._drawing.acquire(blocking=False):
            try:
                with suppress(errors.Unavailable), self._connected() as connection:  # whoever needs an id is told
                    for name in empty:
                        self.ids.add(name, ids.draw(PostgresTx(connection, self), name, ids.SEQUENCES[name].block))
            finally:
                self._drawing.release()

    def _attempt(self) -> str:
        try:
            with self._errors(), self._connected() as connection:
                self._nodes = citus.nodes(connection)  # first: the rest needs the coordinator
                if not self._nodes.silent:
                    with connection.transaction():
                        connection.execute(PROBE_PATIENCE)
                        connection.execute(PROBE)
                return self._nodes.trouble
        except (errors.Busy, self._no_table):  # a migration is running; without a schema, `migrations.state` says so
            return ""
        except errors.Unavailable as refused:
            return self._unwritable(refused.__cause__) or refused.why or refused.reason

    def _connecting(self, failure: BaseException | None) -> None:
        """Remember why there is no connection: the pool itself only says that it took too long."""
        self._failure = failure

    def _unwritable(self, error: BaseException | None) -> str:
        """What an error says of the disk or the server's part; "" when it is about something else."""
        why = next((words for kind, words in self._why.items() if isinstance(error, kind)), "")
        return why and f"the database cannot be written to: {why}"

    def _look_after(self, error: Exception) -> None:
        """After trouble with a connection, replace at once whatever else in the pool was lost with it.

        With several hosts, and after a statement without an answer, all connections are replaced: to find out which of
        them lead to a machine that is gone or frozen, each would have to be waited for.

        If that cannot be done the database is away: who asks for it need not wait until it is back. Where all
        connections are in use it is only slow, and whoever waits for one may get it.
        """
        of_node = getattr(error, "sqlstate", None) == causes.NODE_AWAY  # then our own connection is as good as before
        if not of_node and self._looking.acquire(blocking=False):
            gone = isinstance(error, self._given_up) or (self._others and not isinstance(error, self._none_free))
            renew = self._drain if gone else self._pool.check
            threading.Thread(target=self._until_back, args=(renew,), name="database", daemon=True).start()

    def _replace_all(self) -> None:
        """Replace every connection: they lead to a server that was the primary and is a standby now."""
        now = time.monotonic()
        if now >= self._replaced_at + DRAIN_SECONDS:
            self._replaced_at = now
            log.warning("database takes no writes")
            self._drain()

    def _drain(self) -> None:
        self._lines.drain()
        for pool in (self._pool, self._lock_pool):
            pool.drain()

    def _until_back(self, renew: Callable[[], None]) -> None:
        try:
            renew()
            while not self._answers():
                if self._closed.wait(BACK_SECONDS):
                    return
                if not self._in_use and not self._away.is_set():
                    log.warning("database away", why=causes.of_postgres(self._failure) or None)
                    self._away.set()
            if self._away.is_set():
                log.warning("database back")
            self._away.clear()
        finally:
            self._looking.release()

    def _answers(self) -> bool:
        try:
            with self._pool.connection(timeout=1) as connection:
                connection.execute("SELECT 1")
        except self._trouble:
            return False
        return True


class _Read:
    """A read whose statements are transactions of their own. A class takes half the time of generators."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Postgres) -> None:
        self._database = database

    def __enter__(self) -> Tx:
        try:
            self._connection = self._database.take()
        except Exception as error:
            if refused := self._database.refusal(error):
                raise refused  # noqa: B904  (it has its cause)
            raise
        try:
            tx = PostgresTx(self._connection, self._database)
            self._database.guard.check(tx)
            return tx
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._database.give_back(self._connection)
        if refused := self._database.refusal(error):
            raise refused


class PostgresTx:
    """A transaction on PostgreSQL.

    until   by time.monotonic(), when its statements must be done; None = any time
    """

    def __init__(
        self,
        connection: Any,
        database: Postgres,
        done: list[Callable[[], None]] | None = None,
        until: float | None = None,
        locks: Locks | None = None,
    ) -> None:
        self._connection = connection
        self._database = database
        self._statements = database.statements(connection)
        self.memory = database.memory
        self.seal = database.seal
        self._locks = locks
        self._done = done
        self._until = until
        self._ids = database.ids

    @property
    def is_distributed(self) -> bool:
        return self._database.is_distributed(self._connection)

    def all(self, sql: str, **params: Any) -> list[Row]:
        return self._statements.dicts(self._execute(sql, params))

    def one(self, sql: str, **params: Any) -> Row | None:
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def tuples(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        return self._statements.tuples(self._execute(sql, params))

    def integers(self, sql: str, **params: Any) -> set[int]:
        # One value of eight bytes for each is read in a fraction of the time of a thousand rows.
        joined = f"SELECT string_agg(int8send(f.value), ''::bytea) FROM ({sql}) AS f"
        content: bytes = self.tuples(joined, **params)[0][0] or b""
        return set(struct.unpack(f">{len(content) // 8}q", content))

    def run(self, sql: str, **params: Any) -> int:
        return self._execute(sql, params).command_tuples or 0

    def run_each(self, sql: str, name: str, lists: Iterable[Rows], **params: Any) -> None:
        statements = (self._prepared(sql, params | {name: rows}) for rows in lists)
        self._statements.each(statements)

    def next_id(self, sequence: str, *, fresh: bool = False) -> int:
        if fresh:
            self._ids.discard(sequence)
        return self.next_ids(sequence, 1)[0]

    def next_ids(self, sequence: str, count: int) -> list[int]:
        found = self._ids.take(sequence, count)
        while missing := count - len(found):
            block = ids.draw(self, sequence, max(missing, ids.SEQUENCES[sequence].block))
            found += block[:missing]
            if rest := block[missing:]:
                self.on_commit(functools.partial(self._ids.add, sequence, rest))
        return found

    def reserve_ids(self, sequence: str, last: int) -> None:
        ids.reserve(self, sequence, last)
        self._ids.discard(sequence, last)

    def last_id(self, sequence: str) -> int:
        return ids.last(self, sequence)

    def lock(self, what: str) -> None:
        assert self._locks is not None, "nothing is locked where nothing is written"
        self._locks.take(self.seal.lookup("lock", 0, what))  # it may contain a phone number

    def try_lock(self, what: str) -> bool:
        return bool(self.tuples("SELECT pg_try_advisory_xact_lock(hashtext(:what))", what=what)[0][0])

    @contextmanager
    def prefer_indexes(self) -> Iterator[None]:
        self._connection.execute(PREFER_INDEXES)
        yield
        self._connection.execute(AS_USUAL)  # an error ends the transaction, and the settings with it

    def on_commit(self, work: Callable[[], None]) -> None:
        assert self._done is not None, "nothing is committed where nothing is written"
        self._done.append(work)

    def on_rollback(self, work: Callable[[], None]) -> None:
        pass

    def _execute(self, sql: str, params: dict[str, Any]) -> "PGresult":
        sql, params = self._prepared(sql, params)
        if self._until is not None:
            # SET LOCAL ends with the transaction, so that it also holds behind a pooler. 0 would mean no limit.
            left = max(1, math.ceil((self._until - time.monotonic()) * 1000))
            self._connection.execute(f"SET LOCAL statement_timeout = {left}")
        return self._statements.result(sql, params)

    @staticmethod
    def _prepared(sql: str, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The statement and its parameters as the driver wants them."""
        lists = {name: rows for name, rows in params.items() if isinstance(rows, Rows)}
        sql = postgres_statement(sql, tuple((name, tuple(rows.columns.items())) for name, rows in lists.items()))
        for name, rows in lists.items():
            columns = list(zip(*rows.rows, strict=True)) or [()] * len(rows.columns)
            kinds = rows.columns.values()
            params |= {f"{name}_{at}": array(kind, columns[at]) for at, kind in enumerate(kinds)}
        return sql, params


@lru_cache(maxsize=512)
def postgres_statement(sql: str, lists: tuple[tuple[str, tuple[tuple[str, type], ...]], ...]) -> str:
    """Spell the parameters as psycopg does; a list becomes `unnest` over binary arrays, twice as fast as text ones.

    `IN :list` becomes `= ANY(array)`: that looks each value up in the index whatever the planner believes, while a join
    with 50,000 values walked them once per row as long as a new table had no statistics.
    """
    sql = sql.replace("%", "%%")
    for name, columns in lists:
        if len(columns) == 1:
            sql = re.sub(rf"\bIN :{name}\b", f"= ANY({postgres_array(name, 0, columns[0][1])})", sql)
    tables = {name: postgres_table(name, columns) for name, columns in lists}
    return PARAMETER.sub(lambda found: tables.get(found[1]) or f"%({found[1]})s", sql)


def postgres_array(name: str, position: int, kind: type) -> str:
    return f"%({name}_{position})b::{ARRAYS[kind]}"


def postgres_table(name: str, columns: tuple[tuple[str, type], ...]) -> str:
    arrays = ", ".join(postgres_array(name, position, kind) for position, (_, kind) in enumerate(columns))
    return f"(SELECT * FROM unnest({arrays}) AS _({', '.join(column for column, _ in columns)}))"


def _of_rows(found: Any, error: Any) -> errors.Refused | None:
    """The refusal for an error that other transactions' rows have caused. `found` is psycopg.errors."""
    if isinstance(error, found.ForeignKeyViolation):  # the user, or the application, was just deleted
        return errors.SessionGone()
    if isinstance(error, found.IntegrityError):
        return errors.Conflict(errors.BUSY)
    busy = (found.DeadlockDetected, found.SerializationFailure, found.LockNotAvailable)
    return errors.Busy() if isinstance(error, busy) else None


def refusals(
    psycopg: Any,
    lost: Callable[[Exception], None],
    read_only: Callable[[], None],
    failure: Callable[[], BaseException | None],
) -> Callable[[BaseException | None], errors.Refused | None]:
    """A function that gives the refusal which an error of the driver means, with its cause; None for other errors.

    lost        is called when a connection is lost, or none was to be had
    read_only   is called when a server refuses to write
    failure     why the last connection could not be made
    """

    def known(error: Any) -> tuple[errors.Refused, BaseException] | None:
        if refused := _of_rows(psycopg.errors, error):
            return refused, error
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):  # what was the primary is a standby now
            read_only()
            return errors.Unavailable(AWAY), error
        if why := _why_away(error):
            return errors.Unavailable(AWAY, why=why), error
        if isinstance(error, psycopg.OperationalError):
            lost(error)
            cause = error if error.sqlstate else failure() or error
            return errors.Unavailable(AWAY, why=causes.of_postgres(cause)), cause
        return None

    def refusal(error: BaseException | None) -> errors.Refused | None:
        if error is None or not (found := known(error)):
            return None
        refused, cause = found
        refused.__cause__ = cause
        return refused

    return refusal


def _why_away(error: Any) -> str:
    """Why an error means that the database cannot be used by us now; "" for most errors."""
    state = getattr(error, "sqlstate", None)
    if state == NO_RIGHTS:
        return causes.NO_RIGHTS
    return causes.NODE if state == INTERNAL and citus.NODE_LOST in str(error) else ""
