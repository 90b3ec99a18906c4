"""The interface that SQLite and PostgreSQL both implement: connections, transactions, and rows as parameters."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ... import errors
from ...seal import Seal

Row = dict[str, Any]
PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")
AWAY = "The database cannot be reached just now. Try again."
SLOW = "This takes longer than the server allows. Ask for less."

SILENT = (
    "{silent} of {nodes} nodes of the database cluster do not answer ({names}), and requests that need them get 503:"
    " start PostgreSQL there, or make a standby the primary"
)

# A write that changes nothing, of a table that a cluster does not copy to every node.
PROBE = "UPDATE alembic_version SET version_num = version_num"
GUARD_SECONDS = 2  # the answer of the guard is kept for so long
PROBE_SECONDS = 2  # the result of a probe is kept for so long
FAILED_SECONDS = 5  # a failed write makes the database unwritable for so long: a smaller one may succeed


class WithoutKey(Seal):
    """Stands for the seal of a database that is opened without its key: nothing in it can be sealed or opened."""

    def __init__(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("the database is open without its key, so nothing can be sealed or opened")


WITHOUT_KEY = WithoutKey()


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as one parameter: `columns` maps each name to int, str or bytes, `rows` are tuples in that order."""

    columns: dict[str, type]
    rows: Sequence[tuple[Any, ...]]

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> "Rows":
        """One column of the kind of its first value; of numbers where there is none."""
        kind = type(values[0]) if values else int
        return cls({name: kind}, [(value,) for value in values])


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a database cluster, as host:port, and those that do not answer; none where there is no cluster."""

    names: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def trouble(self) -> str:
        """Which nodes do not answer, and what to do; "" when all do."""
        if not self.silent:
            return ""
        return SILENT.format(silent=len(self.silent), nodes=len(self.names), names=", ".join(self.silent))


class Tx(Protocol):
    """A transaction, as functions in `store/` use it.

    memory   what this process keeps in memory for the database: the same in each of its transactions
    seal     seals and opens values with the database's key
    is_distributed   do the tables lie on several nodes, where one statement locks rows in no order?
    """

    memory: dict[Any, Any]
    seal: Seal

    @property
    def is_distributed(self) -> bool:
        """See above."""

    def all(self, sql: str, **params: Any) -> list[Row]:
        """Every row, as dicts by column name."""

    def one(self, sql: str, **params: Any) -> Row | None:
        """The first row, or None."""

    def tuples(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Every row as a tuple, which is faster for thousands of rows."""

    def integers(self, sql: str, **params: Any) -> set[int]:
        """The values of the column `value`, which is never NULL: faster than tuples."""

    def run(self, sql: str, **params: Any) -> int:
        """Execute the statement; return the number of rows it changed."""

    def run_each(self, sql: str, name: str, lists: Iterable[Rows], **params: Any) -> None:
        """Execute the statement with each of the lists as parameter `name`.

        The next list may be computed while the database still works on the last one.
        """

    def next_id(self, sequence: str, *, fresh: bool = False) -> int:
        """An id of a sequence that nobody else gets: see `ids.SEQUENCES`. Unavailable when none is left.

        fresh   discard the rest of this process's block first
        """

    def next_ids(self, sequence: str, count: int) -> list[int]:
        """The same for several ids at once."""

    def reserve_ids(self, sequence: str, last: int) -> None:
        """Make all ids that are drawn later larger than `last`. Blocks of other processes may have smaller ones."""

    def last_id(self, sequence: str) -> int:
        """The largest id that may have been assigned so far."""

    def lock(self, what: str) -> None:
        """Wait for the lock named `what`, and hold it until this transaction ends.

        On PostgreSQL it is a row of the table `locks`, so that it also holds between the nodes of a cluster: see
        `locks.py`. Whoever takes several locks takes them in the order of decisions/0003, else two transactions could
        wait for each other: PostgreSQL ends one of them after a second, with Busy.
        """

    def try_lock(self, what: str) -> bool:
        """Take the lock named `what` without waiting and hold it until the transaction ends; False if it is taken.

        For limits of load only: on PostgreSQL it is an advisory lock, which on a cluster holds for one node. To try a
        row is not possible, because an insert waits. On SQLite it is always True, because one process serves.
        """

    def prefer_indexes(self) -> AbstractContextManager[None]:
        """Read through indexes during the block, also where a table looks small. Only where the transaction writes.

        For statements that look up some hundred rows in tables that grow by thousands a second: PostgreSQL plans with
        what it has last counted, and would read such a table as a whole. SQLite counts nothing.
        """

    def on_commit(self, work: Callable[[], None]) -> None:
        """Call `work` after the transaction is committed; never if it is not."""

    def on_rollback(self, work: Callable[[], None]) -> None:
        """Do this if the transaction is undone, before anybody else writes; not where that is not certain.

        PostgreSQL may have committed what we have lost the connection over.
        """


class Probe:
    """A check of a database that runs rarely, however often its result is needed."""

    def __init__(self, attempt: Callable[[], str]) -> None:
        """`attempt` returns what is wrong, or ""."""
        self._attempt = attempt
        self._asking = threading.Lock()
        self._trouble = ""
        self._until = 0.0

    def ask(self) -> None:
        """Raise Unavailable if the latest attempt failed."""
        with self._asking:
            if time.monotonic() > self._until:
                self._trouble = self._attempt()
                self._until = time.monotonic() + PROBE_SECONDS
        if self._trouble:
            raise errors.Unavailable(self._trouble)

    def failed(self, trouble: str) -> None:
        """Record that a write failed."""
        self._trouble, self._until = trouble, time.monotonic() + FAILED_SECONDS


class Guard:
    """Checks every two seconds, in an open transaction, whether this code may still use the database."""

    def __init__(self) -> None:
        self._ask: Callable[[Tx], str] | None = None
        self._asking = threading.Lock()
        self._trouble = ""
        self._until = 0.0

    def watch(self, ask: Callable[[Tx], str]) -> None:
        """Refuse transactions while `ask` returns a reason; "" allows them."""
        self._ask = ask

    def allows(self) -> bool:
        """Does the latest answer still count, and was it no reason?"""
        return not self._trouble and (not self._ask or time.monotonic() <= self._until)

    def check(self, tx: Tx) -> None:
        """Raise Unavailable if the latest answer was a reason."""
        if self._ask and time.monotonic() > self._until and self._asking.acquire(blocking=False):
            try:
                self._trouble = self._ask(tx)
                self._until = time.monotonic() + GUARD_SECONDS
            finally:
                self._asking.release()
        if self._trouble:
            raise errors.Unavailable(AWAY, why=self._trouble)


class Database(Protocol):
    """A pool of connections to one database; `erasures` is the folder of its journal of erasures, if there is one.

    memory   what this process keeps in memory for the database, and nobody misses after a restart
    seal     seals and opens values with the database's key
    """

    seal: Seal
    erasures: Path | None
    memory: dict[Any, Any]
    guard: Guard

    @property
    def file(self) -> Path | None:
        """The file of the database; None for PostgreSQL."""

    def read(self, *, seconds: float = 0, snapshot: bool = False) -> AbstractContextManager[Tx]:
        """Reads: each statement sees the database as it is at that moment.

        seconds    how long all statements together may run; TooSlow ends the one that takes longer. 0 = no limit
        snapshot   all statements see the database of one moment. Cannot be combined with `seconds`. On a cluster, the
                   tables of the other nodes are read as they are at that moment
        """

    def write(self) -> AbstractContextManager[Tx]:
        """One transaction, which an exception rolls back."""

    async def query_in_loop(self, sql: str, **params: Any) -> list[tuple[Any, ...]] | None:
        """The rows of one statement that reads by keys, for the event loop: it needs no thread, which takes less time.

        None where that cannot be had just now, for any reason: the caller asks in a thread, with `read`. Raises
        Unavailable after the wait that `read` allows. Never for what may read many rows: the loop must not stand still.
        """

    def probe(self) -> None:
        """Make a write that changes nothing; Unavailable has the reason in words for the operator.

        It waits for nobody: whoever is writing just now shows that it can be done. Asked often, it writes seldom.
        """

    def disk(self) -> tuple[int, int] | None:
        """Free and total bytes of the database's disk; None where that is unknown."""

    def clock(self) -> float:
        """The database server's clock, in UTC seconds."""

    def others_since(self, at: float) -> int:
        """How many transactions of other processes that began before a time of `clock()` are open; SQLite: 0."""

    def gauges(self) -> dict[str, int]:
        """The state of the pool for the metrics: open and idle connections, and requests that wait for one."""

    def nodes(self) -> Nodes:
        """The nodes of the cluster, asked every two seconds at most; none where the database is not on a cluster."""

    def tables(self) -> frozenset[str]:
        """The names of the visible tables; Unavailable when Ringbook's tables are in a schema that is not visible."""

    def version(self) -> tuple[str, str]:
        """The product with its version, and why it cannot be used, or ""."""

    def scrub(self) -> bool:
        """Clear deleted data from the log; False when a reader prevents that just now."""

    def size_bytes(self) -> int:
        """The size of the file; 0 for PostgreSQL."""

    def rewrite(self) -> None:
        """Rewrite the whole file without deleted data; other writes wait meanwhile."""

    def close(self) -> None:
        """Close every connection."""
