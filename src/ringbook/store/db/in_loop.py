"""Statements that the event loop runs by itself on connections of the pool, without a thread.

Lines   connections that are lent to the loop: `free` gives one, `offer` lends one, `drain` and `close` end the lending
Line    one of them; `ask` runs one statement

A thread costs a small request two changes between threads, and the driver's own wait for the answer: together more than
the rest of the request. A connection stays lent while the loop uses it, because registering it takes time, too.

Only `postgres.py` imports this module, and only when it connects: a server on SQLite never loads the driver.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import DiagnosticField, Format, TransactionStatus
from psycopg.pq.abc import PGresult

from .causes import NO_ANSWER_WITHIN
from .direct import DONE, numbered
from .patience import GivenUp, give_up

TICK_SECONDS = 0.25  # a line that was idle for so long goes back; whoever waits in vain is told at most so much later
LENT_SECONDS = 30  # then the pool has the connection again, and may renew it
# PostgreSQL keeps the plans of prepared statements. One that it made while a table was small ends with the connection.
PLANNED_SECONDS = 300
UNKNOWN, KNOWN, OF_OTHER_COLUMNS = b"26000", b"42P05", b"0A000"  # what an error says of a prepared statement
BYTEA, BIGINT = 17, 20  # types by their numbers in every PostgreSQL
INTEGER = Struct(">q").pack
Found = list[tuple[Any, ...]]
Named = tuple[bytes, list[bytes]]  # a prepared statement's name, and the values of its parameters


class Line:
    """A connection that is lent to the event loop, for one statement at a time. Everything here runs in the loop."""

    def __init__(self, lines: "Lines", connection: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = connection
        self.lent_at = time.monotonic()
        self._lines = lines
        self._loop = loop
        self._pgconn = connection.pgconn
        self._readers: dict[bytes, Any] = {}  # Transformers
        self._running = b""
        self._prepared, self._planned_at = lines.prepared_on(connection)
        self._answer: asyncio.Future[Found | None] | None = None
        self._next: Named | None = None  # is sent once the statement is prepared
        self._result: PGresult | None = None  # has arrived, but the server is not yet ready for the next statement
        self._used_at = self.lent_at
        self._handle = self._pgconn.socket
        loop.add_reader(self._handle, self._arrived)
        self._timer = loop.call_later(TICK_SECONDS, self._tick)

    def ask(self, sql: str, params: Mapping[str, int | bytes]) -> "asyncio.Future[Found | None]":
        """The rows of a statement; None if it failed or the connection was lost; GivenUp after too long a wait."""
        self._used_at = time.monotonic()
        answer = self._answer = self._loop.create_future()
        try:
            self._send(sql, params)
            self._flush()
        except Exception as error:  # also of a parameter that does not fit: the thread that asks then raises it
            self._lost(error)
        return answer

    def end(self) -> None:
        """Leave the loop."""
        self._timer.cancel()
        self._loop.remove_reader(self._handle)
        if self._prepared and time.monotonic() - self._planned_at > PLANNED_SECONDS:
            self._pgconn.finish()  # the pool makes a new connection

    def _send(self, sql: str, params: Mapping[str, int | bytes]) -> None:
        """Begin to send a statement, prepared if possible: then the server need not plan it each time."""
        text, names, _ = numbered(sql)
        values, types = [], []
        for name in names:  # these two kinds are written here in a fifth of the time of the driver's adapters
            value = params[name]
            values.append(value if isinstance(value, bytes) else INTEGER(value))
            types.append(BYTEA if isinstance(value, bytes) else BIGINT)
        if not self._lines.prepares:
            self._pgconn.send_query_params(text, values, types, [Format.BINARY] * len(values), Format.BINARY)
            self._running = b""
        elif (named := prepared_name(text, tuple(types))) in self._prepared:
            self._run(named, values)
        else:
            self._pgconn.send_prepare(named, text, types)
            self._next = named, values

    def _run(self, name: bytes, values: list[bytes]) -> None:
        self._running = name
        self._pgconn.send_query_prepared(name, values, [Format.BINARY] * len(values), Format.BINARY)

    def _flush(self) -> None:
        if self._pgconn.flush():
            raise psycopg.OperationalError("the server reads nothing")

    def _arrived(self) -> None:
        """The server has sent something, or has closed the connection."""
        try:
            self._pgconn.consume_input()
            if not self._is_answered():
                return
            result, self._result = self._result, None
            if self._goes_on(result):
                return
            found = self._rows(result) if result and result.status in DONE else None
        except Exception as error:  # also of values that cannot be read: somebody waits for an answer
            self._lost(error)
        else:
            self._lines.is_free(self)
            self._finish(found)

    def _rows(self, result: PGresult) -> Found:
        """The rows of a result. Those of a prepared statement have the same types each time, else it is an error."""
        known = self._readers.get(self._running)
        reader = known or Transformer(self.connection)
        reader.set_pgresult(result, set_loaders=not known)
        if self._running:
            self._readers[self._running] = reader
        return reader.load_rows(0, result.ntuples, tuple)

    def _is_answered(self) -> bool:
        """Has the whole answer arrived, with the server's word that it is ready? `get_result` waits for what has not.

        Notes when prepared statements are of no use here.
        """
        while not self._pgconn.is_busy():
            if not (result := self._pgconn.get_result()):
                return True
            self._result = result
            if result.status not in DONE:
                state = result.error_field(DiagnosticField.SQLSTATE)
                self._lines.prepares = self._lines.prepares and state not in (UNKNOWN, OF_OTHER_COLUMNS)
        return False

    def _goes_on(self, result: PGresult | None) -> bool:
        """Run the statement that was to be prepared. False when there is none, or it could not be prepared."""
        named, self._next = self._next, None
        if not (named and result):
            return False
        if result.status not in DONE and result.error_field(DiagnosticField.SQLSTATE) != KNOWN:
            return False
        self._prepared.add(named[0])
        self._run(*named)
        self._flush()
        return True

    def _lost(self, error: Exception) -> None:
        self._lines.give_back(self)
        self._lines.failed(error)
        self._finish(None)

    def _finish(self, found: Found | None, error: Exception | None = None) -> None:
        """Tell whoever waits, unless the request was cancelled."""
        answer, self._answer = self._answer, None
        if answer and not answer.done():
            answer.set_exception(error) if error else answer.set_result(found)

    def _tick(self) -> None:
        now, seconds = time.monotonic(), self._lines.seconds
        if self._answer and seconds and now - self._used_at >= seconds:
            self._lines.abandon(self)
            self._finish(None, GivenUp(f"{NO_ANSWER_WITHIN} {seconds} seconds"))
        elif not self._answer and now - self._used_at > TICK_SECONDS:
            self._lines.give_back(self)
        else:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)


@lru_cache(maxsize=64)
def prepared_name(text: bytes, types: tuple[int, ...]) -> bytes:
    """The name of a prepared statement, made of its text.

    A pooler may run it on another connection than the one it was prepared on. If there is one with that name, it is the
    same statement; if there is none, that is an error.
    """
    return b"ringbook_" + sha256(text + repr(types).encode()).hexdigest()[:32].encode()


class Lines:
    """The connections of a pool that are lent to the event loop of the process.

    prepares    can statements be prepared? Not behind a pooler that does not follow them
    most        how many at the same time; 0 = none
    seconds     the longest wait for the answer to a statement; 0 = without end
    give_back   takes a connection back into the pool, which replaces it if it is lost
    failed      is told of the error with which a connection was lost
    """

    def __init__(
        self, most: int, seconds: float, give_back: Callable[[Any], None], failed: Callable[[Exception], object]
    ) -> None:
        self.seconds = seconds
        self.failed = failed
        self.is_wanted = False
        self.prepares = True
        self._most = most
        self._give_back = give_back
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lent: set[Line] = set()
        self._free: list[Line] = []
        self._offered: set[Any] = set()
        self._drained_at = 0.0
        self._offering = threading.Lock()
        self._prepared: WeakKeyDictionary[Any, tuple[set[bytes], float]] = WeakKeyDictionary()

    def free(self) -> Line | None:
        """A line for one statement. None if there is none: then the next connection that a thread has used is lent."""
        if asyncio.get_running_loop() is not self._loop and not self._moved():
            return None
        lent_after = time.monotonic() - LENT_SECONDS
        while self._free:
            line = self._free.pop()
            if line.lent_at > lent_after and self._is_current(line.connection):
                return line
            self.give_back(line)
        self.is_wanted = len(self._lent) < self._most
        return None

    def offer(self, connection: Any) -> bool:
        """Lend a connection, if one is wanted. A thread calls this when it no longer needs the connection."""
        if connection.pgconn.transaction_status != TransactionStatus.IDLE or not self._is_current(connection):
            return False
        with self._offering:
            loop, wanted, self.is_wanted = self._loop, self.is_wanted, False
        if not (wanted and loop):
            return False
        self._offered.add(connection)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._take, connection, loop)
            return True
        self._offered.discard(connection)
        return False

    def prepared_on(self, connection: Any) -> tuple[set[bytes], float]:
        """The names of the statements that were prepared on a connection, and when the first one may have been."""
        return self._prepared.setdefault(connection, (set(), time.monotonic()))

    def is_free(self, line: Line) -> None:
        """The statement of a line has its answer."""
        if line in self._lent and line not in self._free:
            self._free.append(line)

    def give_back(self, line: Line) -> None:
        """The connection of a line belongs to the pool again."""
        if self._leaves(line):
            self._give_back(line.connection)

    def abandon(self, line: Line) -> None:
        """The same for a connection whose statement had no answer in time. To end it takes time, so a thread does."""

        def end() -> None:
            give_up(line.connection)
            self._give_back(line.connection)

        if self._leaves(line):
            threading.Thread(target=end, name="database", daemon=True).start()

    def drain(self) -> None:
        """Use no connection any more that was made before now: a line is given back before its next statement."""
        self._drained_at = time.monotonic()

    def close(self) -> None:
        """Give all connections back, once the loop has ended."""
        while self._lent:
            self._give_back(self._lent.pop().connection)
        while self._offered:  # to a loop that ended before it took them
            self._give_back(self._offered.pop())

    def _is_current(self, connection: Any) -> bool:
        return bool(connection.made_at > self._drained_at)

    def _take(self, connection: Any, loop: asyncio.AbstractEventLoop) -> None:
        if connection not in self._offered:
            return
        self._offered.discard(connection)
        if loop is not self._loop or len(self._lent) >= self._most:
            self._give_back(connection)
            return
        line = Line(self, connection, loop)
        self._lent.add(line)
        self._free.append(line)

    def _leaves(self, line: Line) -> bool:
        if line not in self._lent:
            return False
        self._lent.discard(line)
        if line in self._free:
            self._free.remove(line)
        line.end()
        return True

    def _moved(self) -> bool:
        """Serve another loop from now on, if the former one has ended."""
        if self._loop and not self._loop.is_closed():
            return False
        self._free.clear()
        self.close()
        self._loop = asyncio.get_running_loop()
        return True
