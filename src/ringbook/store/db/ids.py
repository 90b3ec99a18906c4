"""Ids: each process draws blocks of them from the table `sequences` and hands them out one by one.

possible        the numbers that can be ids on the wire
SEQUENCES       every sequence: its largest id, the size of a block, and whether it starts again after the last id
Blocks          the ids that this process has drawn and not handed out yet
draw            a block from the table
reserve, last   no later block has ids up to a given one; the largest id that may have been drawn

A transaction takes ids from a block that was drawn before it began. If there are too few, it draws in its own
transaction, and the rest of that block is handed out to others after the commit; a rollback takes the block back. So
nobody needs a second connection, which might never come free.

Ids are unique and not dense, and a larger id is not a newer one, because two processes use blocks of their own at the
same time. The ids that are left in a block are lost when the process ends.
"""

import os
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ... import errors

FULL = "There are no ids left. Only the server's operator can help."
ON_WIRE = 2**31 - 1  # SDKs keep ids in 32 bits (protocol §1.7)
INTERNAL = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Sequence:
    """The rules of one sequence.

    last    the largest id
    block   how many ids a process draws at once
    wraps   start again at 1 after the last id; else the sequence is full
    """

    last: int
    block: int = 100
    wraps: bool = False


SEQUENCES = {
    "application_ids": Sequence(ON_WIRE, block=1),
    "user_ids": Sequence(ON_WIRE),
    "subscription_ids": Sequence(ON_WIRE),
    "session_ids": Sequence(ON_WIRE, wraps=True),
    "event_ids": Sequence(ON_WIRE, wraps=True),
    "joined_ids": Sequence(INTERNAL),
    "push_ids": Sequence(INTERNAL, block=10_000),
    "audit_ids": Sequence(INTERNAL),
}

_ENDS = "UPDATE sequences SET value = value + :size WHERE name = :name AND value <= :last - :size RETURNING value"
_WRAPS = (
    "UPDATE sequences SET value = CASE WHEN value <= :last - :size THEN value + :size ELSE :size END"
    " WHERE name = :name RETURNING value"
)


def possible(numbers: Iterable[int]) -> list[int]:
    """The numbers that can be ids on the wire.

    On a cluster it is an error to look for a larger number in the id by which a table is distributed.
    """
    return [number for number in numbers if 0 < number <= ON_WIRE]


class Statements(Protocol):
    """The two calls of a transaction that are needed here."""

    def tuples(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Every row."""

    def run(self, sql: str, **params: Any) -> int:
        """Execute the statement."""


class Blocks:
    """The ids that this process has drawn and not handed out yet. Safe with threads; a forked process begins anew."""

    def __init__(self) -> None:
        self.forget()
        _ALL.add(self)

    def forget(self) -> None:
        """Discard every block."""
        self._lock = threading.Lock()
        self._left: dict[str, list[range]] = {}

    def discard(self, name: str, up_to: int = INTERNAL) -> None:
        """Discard the ids of a sequence up to this one."""
        with self._lock:
            left = [range(max(block.start, min(up_to + 1, block.stop)), block.stop) for block in self._of(name)]
            self._left[name] = [block for block in left if block]

    def take(self, name: str, count: int) -> list[int]:
        """Take up to `count` ids, fewer when fewer are left."""
        taken: list[int] = []
        with self._lock:
            left = self._of(name)
            while left and len(taken) < count:
                block = left.pop(0)
                missing = count - len(taken)
                taken += block[:missing]
                if block[missing:]:
                    left.insert(0, block[missing:])
        return taken

    def add(self, name: str, block: range) -> None:
        """Add ids that were drawn, or drawn and not needed."""
        if block:
            with self._lock:
                self._of(name).append(block)

    def empty(self) -> list[str]:
        """The sequences that this process uses and of which no id is left."""
        with self._lock:
            return [name for name, left in self._left.items() if not left]

    def _of(self, name: str) -> list[range]:
        return self._left.setdefault(name, [])


_ALL: "weakref.WeakSet[Blocks]" = weakref.WeakSet()


def _forget_all() -> None:
    for blocks in list(_ALL):
        blocks.forget()


os.register_at_fork(after_in_child=_forget_all)


def draw(tx: Statements, name: str, size: int) -> range:
    """Draw a block of `size` ids, or of one id where fewer than `size` are left; Unavailable when none is left."""
    sequence = SEQUENCES[name]
    for part in (size, 1):
        sql = _WRAPS if sequence.wraps else _ENDS
        if rows := tx.tuples(sql, name=name, size=part, last=sequence.last):
            (value,) = rows[0]
            return range(value - part + 1, value + 1)
    raise errors.Unavailable(FULL)


def reserve(tx: Statements, name: str, last: int) -> None:
    """Make all ids that are drawn later larger than `last`."""
    tx.run("UPDATE sequences SET value = :last WHERE name = :name AND value < :last", name=name, last=last)


def last(tx: Statements, name: str) -> int:
    """The largest id that may have been drawn."""
    rows = tx.tuples("SELECT value FROM sequences WHERE name = :name", name=name)
    return int(rows[0][0]) if rows else 0
