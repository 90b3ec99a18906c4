"""Runs single statements on a connection of psycopg, without its cursors.

Statements(connection)   result(sql, params) → the driver's result; tuples(result), dicts(result) → its rows

A cursor prepares for more than is used here: its own work and the descriptions of the columns took longer than the
statement of a small request. The connection's `wait` is the driver's, so Ctrl+C ends a statement that takes long.
Only `postgres.py` imports this module, and only when it connects: a server on SQLite never loads the driver.
"""

import re
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
        result = cast(PGresult, self._connection.wait(generators.execute(pgconn))[-1])
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
