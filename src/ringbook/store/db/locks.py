"""Named locks on PostgreSQL: rows of `locks` that are never committed, so that nothing stays behind.

    Locks      what a transaction holds: take(name), and release() as its last statement before the commit
    Within     the row is inserted and deleted by the transaction itself
    Beside     the row is inserted on a connection of its own, and held until the transaction is over on all nodes

Another transaction that inserts the same name waits until the first one ends, also when the row is deleted by then.

A cluster commits a transaction on one node after the other. With the row within it, the next holder could read a node
where the commit has not arrived (measured: two of 40 transactions that counted rows under a lock got the same count).
So on a cluster the connection of the lock ends last. It never waits for a connection of the pool that transactions use,
and it gives up a lock after some seconds: no deadlock detector sees both connections as one.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

# DO UPDATE locks a row that somebody has left there; DO NOTHING would not.
LOCK = "INSERT INTO locks (name) VALUES (%(name)s) ON CONFLICT (name) DO UPDATE SET name = excluded.name"
UNLOCK = "DELETE FROM locks WHERE name = ANY(%(names)s)"
PATIENCE = "SET LOCAL lock_timeout = '5s'"


class Locks(Protocol):
    """The locks of one transaction."""

    def take(self, name: bytes) -> None:
        """Wait for a lock, unless it is held already."""

    def release(self) -> None:
        """The last statement before the commit."""


class Within:
    """Locks in the transaction itself."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._held: dict[bytes, None] = {}

    def take(self, name: bytes) -> None:
        if name not in self._held:
            self._connection.execute(LOCK, {"name": name})
            self._held[name] = None

    def release(self) -> None:
        if self._held:
            self._connection.execute(UNLOCK, {"names": list(self._held)})


class Beside:
    """Locks on a connection of their own, which is asked for with the first of them."""

    def __init__(self, connected: Callable[[], AbstractContextManager[Any]], until: ExitStack) -> None:
        self._connected = connected
        self._until = until
        self._held: dict[bytes, None] = {}
        self._connection: Any = None

    def take(self, name: bytes) -> None:
        if self._connection is None:
            self._connection = self._until.enter_context(self._connected())
            self._until.enter_context(self._connection.transaction(force_rollback=True))
            self._connection.execute(PATIENCE)
        if name not in self._held:
            self._connection.execute(LOCK, {"name": name})
            self._held[name] = None

    def release(self) -> None:
        pass


@contextmanager
def beside(connected: Callable[[], AbstractContextManager[Any]]) -> Iterator[Beside]:
    """Locks that are held until this context ends: around the transaction, so that they end after its commit."""
    with ExitStack() as until:
        yield Beside(connected, until)
