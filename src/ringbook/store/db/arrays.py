"""Arrays as PostgreSQL receives them, for lists that are parameters of a statement.

array(kind, values)   the values as one parameter

The driver writes arrays, too. It takes longer for one of four values than for the rest of a small statement, and two
and a half times as long for one of a thousand numbers. Source: PostgreSQL, array_recv in arrayfuncs.c and pg_type.dat.
"""

import struct
import sys
from array import array as words
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
    content = b"".join([NULL if one is None else written((one,)) for one in values]) if has_null else written(values)
    return Array(of_array, _head(1, has_null, of_value, len(values), 1) + content)


def _numbers(values: Sequence[int]) -> bytes:
    """Each number behind its length, which is 8: three words of 4 bytes."""
    halves = words("I", _big_endian(words("q", values)))
    written = words("I", bytes(12 * len(values)))
    written[0::3], written[1::3], written[2::3] = EIGHT * len(values), halves[0::2], halves[1::2]
    return written.tobytes()


def _contents(values: Sequence[bytes]) -> bytes:
    parts = [b""] * (2 * len(values))
    parts[0::2], parts[1::2] = map(_length, map(len, values)), values
    return b"".join(parts)


def _texts(values: Sequence[str]) -> bytes:
    return _contents([value.encode() for value in values])


def _big_endian(numbers: "words[int]") -> bytes:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()


EIGHT = words("I", _big_endian(words("i", [8])))


# By kind of value: the types of a value and of an array, and how values are written.
KINDS: dict[type, tuple[int, int, Callable[[Sequence[Any]], bytes]]] = {
    int: (20, 1016, _numbers),
    bytes: (17, 1001, _contents),
    str: (25, 1009, _texts),
}
