"""What both databases promise: connections, transactions, and rows as parameters."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ... import errors

Row = dict[str, Any]
PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")
AWAY = "The database cannot be reached just now. Try again."
SLOW = "This takes longer than the server allows. Ask for less."

FULL = "There are no ids left. Only the server's operator can help."
PROBE = "UPDATE schema_state SET revision = revision"  # writes, and changes nothing
GUARD_SECONDS = 2  # for so long an answer of the guard holds
PROBE_SECONDS = 2  # for so long what a probe found is believed
FAILED_SECONDS = 5  # for so long a write that failed speaks against the next: a small one may still find room


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as one parameter: `columns` maps each name to int or str, `rows` are tuples in that order."""

    columns: dict[str, type]
    rows: Sequence[tuple[Any, ...]]

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> "Rows":
        """One column of numbers, or of texts if the first value is one."""
        kind = str if values and isinstance(values[0], str) else int
        return cls({name: kind}, [(value,) for value in values])


class Tx(Protocol):
    """What a function in `store/` may ask of a transaction.

    memory   what this process keeps in memory for the database: the same in each of its transactions
    """

    memory: dict[Any, Any]

    def all(self, sql: str, **params: Any) -> list[Row]:
        """Every row, as dicts by column name."""

    def one(self, sql: str, **params: Any) -> Row | None:
        """The first row, or None."""

    def tuples(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Every row as a tuple: for thousands of rows."""

    def run(self, sql: str, **params: Any) -> int:
        """Carry out, and say how many rows it touched."""

    def next_id(self, sequence: str) -> int:
        """The next value of a sequence, below 2^31; after the last it starts again at 1."""

    def reserve_ids(self, table: str, sequence: str, last: int) -> None:
        """Whoever is added to this table from now on draws an id larger than `last`."""

    def last_id(self, table: str, sequence: str) -> int:
        """The largest id that was given so far, or may have been."""

    def lock(self, what: str) -> None:
        """Wait until no other transaction is doing `what`, and keep others out of it until this one ends."""

    def try_lock(self, what: str) -> bool:
        """Is no other transaction of any process doing `what`? True keeps others out until this one ends.

        It waits for nobody. On SQLite it is always True: one process serves, and holds its own off without asking.
        """

    def on_commit(self, work: Callable[[], None]) -> None:
        """Do this once the transaction is committed, and not at all if it is not."""

    def on_rollback(self, work: Callable[[], None]) -> None:
        """Do this if the transaction is undone, before anybody else writes; not where that is not certain.

        PostgreSQL may have committed what we have lost the connection over.
        """


class Probe:
    """A question that is put to a database seldom, however often it is asked."""

    def __init__(self, attempt: Callable[[], str]) -> None:
        """`attempt` says what is wrong, "" when nothing is."""
        self._attempt = attempt
        self._asking = threading.Lock()
        self._trouble = ""
        self._until = 0.0

    def ask(self) -> None:
        """Unavailable if the attempt failed, a moment ago at most."""
        with self._asking:
            if time.monotonic() > self._until:
                self._trouble = self._attempt()
                self._until = time.monotonic() + PROBE_SECONDS
        if self._trouble:
            raise errors.Unavailable(self._trouble)

    def failed(self, trouble: str) -> None:
        """Somebody's write found out."""
        self._trouble, self._until = trouble, time.monotonic() + FAILED_SECONDS


class Guard:
    """Asks every two seconds, in a transaction that is under way, whether this code may still use the database."""

    def __init__(self) -> None:
        self._ask: Callable[[Tx], str] | None = None
        self._asking = threading.Lock()
        self._trouble = ""
        self._until = 0.0

    def watch(self, ask: Callable[[Tx], str]) -> None:
        """From now on transactions are refused while `ask` says why; "" lets them go on."""
        self._ask = ask

    def check(self, tx: Tx) -> None:
        """Unavailable when the last answer was a refusal."""
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
    """

    erasures: Path | None
    memory: dict[Any, Any]
    guard: Guard

    @property
    def file(self) -> Path | None:
        """Where it is, if it is one file."""

    def read(self, *, seconds: float = 0) -> AbstractContextManager[Tx]:
        """For statements that change nothing.

        seconds   how long all of them together may run; TooSlow ends the one that takes longer. 0 = as long as it takes
        """

    def write(self) -> AbstractContextManager[Tx]:
        """One transaction: all of it, or, when an exception passes through, nothing."""

    def probe(self) -> None:
        """Write, and change nothing; Unavailable says in an operator's words why that cannot be done.

        It waits for nobody: whoever is writing just now shows that it can be done. Asked often, it writes seldom.
        """

    def disk(self) -> tuple[int, int] | None:
        """Bytes that are free on the database's disk, and how many there are; None where that cannot be seen."""

    def clock(self) -> float:
        """The database's, in UTC seconds."""

    def gauges(self) -> dict[str, int]:
        """The pool, for the metrics: connections open, idle, and requests that wait for one."""

    def tables(self) -> frozenset[str]:
        """The names of the tables that statements reach; Unavailable when ours are where this user cannot see them."""

    def version(self) -> tuple[str, str]:
        """The product with its version, and why it is of no use: "" when it is."""

    def scrub(self) -> bool:
        """Let nothing that was deleted stay in the log; False when somebody reads, so that it has to wait."""

    def size_bytes(self) -> int:
        """How large the file is; 0 where that is not ours to look at."""

    def rewrite(self) -> None:
        """Rewrite the whole file, so that nothing deleted is left in it; whoever writes waits for so long."""

    def close(self) -> None:
        """Let every connection go."""
