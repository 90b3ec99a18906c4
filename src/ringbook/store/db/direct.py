"""Runs single statements on a connection of psycopg, without its cursors.

Statements(connection)   result(sql, params) → the driver's result; tuples(result), dicts(result) → its rows;
                         each(statements) runs several, without results

A cursor prepares for more than is used here: its own work and the descriptions of the columns took longer than the
statement of a small request. The connection's `wait` is the driver's, so Ctrl+C ends a statement that takes long.
Only `postgres.py` imports this module, and only when it connects: a server on SQLite never loads the driver.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, cast

import psycopg
from psycopg import generators
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from .arrays import Array
from .contract import Row

DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
PLACE = re.compile(r"%\((\w+)\)([sb])|%%")


class Statements:
    """Statements on one connection, one after the other."""

    __slots__ = ("_adapted", "_connection")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._adapted = Transformer(connection)

    def result(self, sql: str, params: dict[str, Any]) -> PGresult:
        """The result of a statement with `%(name)s` and `%(name)b` as psycopg has them. Raises psycopg.Error."""
        self._send(sql, params)
        return self._received()

    def each(self, statements: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Run statements one after the other. The next one is taken from the iterable while the last one runs."""
        is_running = False
        try:
            for sql, params in statements:
                if is_running:
                    is_running = False
                    self._received()
                self._send(sql, params)
                is_running = True
                self._connection.wait(generators.send(self._connection.pgconn))
        finally:
            # Also after an error of the iterable: the connection is of no use before it has the answer.
            if is_running:
                self._received()

    def _send(self, sql: str, params: dict[str, Any]) -> None:
        text, names, formats = numbered(sql)
        pgconn, adapted = self._connection.pgconn, self._adapted
        given = [params[name] for name in names]
        arrays = [(at, value) for at, value in enumerate(given) if value.__class__ is Array]
        for at, _ in arrays:
            given[at] = None
        values = list(adapted.dump_sequence(given, formats))
        types, written = list(adapted.types or ()), list(adapted.formats or ())
        for at, (oid, content) in arrays:
            values[at], types[at], written[at] = content, oid, Format.BINARY
        pgconn.send_query_params(text, values, types, written, Format.BINARY)

    def _received(self) -> PGresult:
        """The result of the statement that was sent."""
        result = cast(PGresult, self._connection.wait(generators.execute(self._connection.pgconn))[-1])
        if result.status not in DONE:
            raise psycopg.errors.error_from_result(result)
        return result

    def tuples(self, result: PGresult) -> list[tuple[Any, ...]]:
        """The rows of a result as tuples."""
        self._adapted.set_pgresult(result)
        return self._adapted.load_rows(0, result.ntuples, tuple)

    def dicts(self, result: PGresult) -> list[Row]:
        """The rows of a result by the names of its columns."""
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        return [dict(zip(names, row, strict=True)) for row in self.tuples(result)]


@lru_cache(maxsize=512)
def numbered(sql: str) -> tuple[bytes, tuple[str, ...], tuple[PyFormat, ...]]:
    """A statement with `$1`, `$2`, … as the server wants it; the names of its parameters, and their formats."""
    formats: dict[str, PyFormat] = {}

    def number(found: re.Match[str]) -> str:
        if not found[1]:
            return "%"
        formats[found[1]] = PyFormat.BINARY if found[2] == "b" else PyFormat.AUTO
        return f"${list(formats).index(found[1]) + 1}"

    text = PLACE.sub(number, sql)
    return text.encode(), tuple(formats), tuple(formats.values())
