"""Arrays as PostgreSQL receives them, for lists that are parameters of a statement.

array(kind, values)   the values as one parameter

The driver writes arrays, too. It takes longer for one of four values than for the rest of a small statement, and two
and a half times as long for one of a thousand numbers. Source: PostgreSQL, array_recv in arrayfuncs.c and pg_type.dat.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

_number = struct.Struct(">iq").pack  # of 8 bytes
_length = struct.Struct(">i").pack
_head = struct.Struct(">iiIii").pack  # dimensions, whether there are NULLs, the type of the values; how many, from 1
NULL = _length(-1)


class Array(NamedTuple):
    """An array: its type by PostgreSQL's number, and its content in binary form."""

    oid: int
    content: bytes


def array(kind: type, values: Sequence[Any]) -> Array:
    """The values, of which some may be None. kind: int, str or bytes."""
    of_value, of_array, written = KINDS[kind]
    if not values:
        return Array(of_array, _head(0, 0, of_value, 0, 0)[:12])
    has_null = None in values
    parts = [NULL if one is None else written((one,))[0] for one in values] if has_null else written(values)
    return Array(of_array, _head(1, has_null, of_value, len(values), 1) + b"".join(parts))


def _numbers(values: Iterable[int]) -> list[bytes]:
    return [_number(8, value) for value in values]


def _contents(values: Iterable[bytes]) -> list[bytes]:
    return [_length(len(value)) + value for value in values]


def _texts(values: Iterable[str]) -> list[bytes]:
    return _contents([value.encode() for value in values])


# By kind of value: the types of a value and of an array, and how values are written.
KINDS: dict[type, tuple[int, int, Callable[[Iterable[Any]], list[bytes]]]] = {
    int: (20, 1016, _numbers),
    bytes: (17, 1001, _contents),
    str: (25, 1009, _texts),
}
