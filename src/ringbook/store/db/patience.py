"""The driver's connections with a deadline: no statement waits longer than so many seconds for its answer.

patient(seconds, note)   a class of connections like the driver's
GivenUp                  the error of a statement that waited too long
Mixed                    the error of a statement that had more than one answer

A frozen server keeps its TCP connections alive, so no time-out of the network ends the wait. A time-out that the server
itself keeps is of no use either: it is frozen, or it is a node that waits for a frozen node of its cluster.

Only `postgres.py` imports this module, and only when it connects: a server on SQLite never loads the driver.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from .causes import NO_ANSWER_WITHIN

CANCEL_SECONDS = 1.0  # for asking the server to end a statement that is only slow


class GivenUp(psycopg.OperationalError):
    """A statement had no answer in time; its connection is closed."""


class Mixed(psycopg.OperationalError):
    """A statement had several answers; its connection is closed.

    PgBouncer passes on the last words of a server that stops, and adds that the server's connection is lost.
    """


def patient(seconds: float, note: Callable[[BaseException | None], None]) -> type[psycopg.Connection[Any]]:
    """The driver's class of connections, whose statements wait at most so many seconds; 0 = without end.

    note   is told why a connection could not be made, or None when one was made
    """

    class Patient(psycopg.Connection[Any]):
        made_at = 0.0  # by time.monotonic(), when it was begun

        @classmethod
        def connect(cls, *given: Any, **more: Any) -> Any:
            began = time.monotonic()
            try:
                made = super().connect(*given, **more)
            except Exception as error:
                note(error)
                raise
            note(None)
            made.made_at = began
            return made

        def wait(self, *given: Any, **more: Any) -> Any:
            try:
                return super().wait(*given, **(limit | more))
            except psycopg.InternalError as error:
                if error.sqlstate:
                    raise  # the server says so, in answer to the statement
                self.pgconn.finish()
                raise Mixed(str(error)) from error
            except psycopg.OperationalError:
                if not seconds or self.pgconn.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                    raise  # the connection is lost already
            give_up(self)
            raise GivenUp(f"{NO_ANSWER_WITHIN} {seconds} seconds")

    limit: dict[str, Any] = {"timeout": seconds} if seconds else {}
    return Patient


def give_up(connection: "psycopg.Connection[Any]") -> None:
    """Ask the server, if it hears, to end the statement of a connection, and close the connection."""
    with suppress(Exception):
        connection.cancel_safe(timeout=CANCEL_SECONDS)
    connection.pgconn.finish()
