"""Blocks: permits that a process has charged to a shared bucket in advance and keeps in memory.

    of(memory)                  the blocks of this process for one database
    Blocks.take, put_back       takes permits from a block; puts them back
    Blocks.add                  adds a block that was charged
    Blocks.idle                 removes the blocks that were not charged again for a while

The bucket of a large network or of a whole application is one row. If each upload locked that row, all uploads would
wait for each other. So a process charges a block of permits to the row at once, and then counts in memory. When a
process is killed, the permits in its blocks count as used until the bucket has drained.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

IDLE_SECONDS = 600  # an older block is returned; its bucket has drained meanwhile
BATCH = 100  # blocks returned at once, each in a transaction of its own
MOST = 10_000  # blocks of a process: requests may come from any number of networks


@dataclass(slots=True)
class Block:
    """`amount` permits are left. The bucket was last charged at `drawn_at`."""

    per_second: float
    amount: int
    drawn_at: int


class Blocks:
    """The blocks of one process, by the names of their buckets; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[str, Block] = {}

    def take(self, name: str, cost: int, now: int) -> int:
        """Take up to `cost` permits from a block. Returns how many."""
        with self._lock:
            block = self._blocks.get(name)
            if block is None or not block.drawn_at <= now < block.drawn_at + IDLE_SECONDS:
                return 0
            taken = min(cost, block.amount)
            block.amount -= taken
            return taken

    def take_all(self, names: Sequence[str], cost: int, now: int) -> list[int]:
        """Take up to `cost` from each of these blocks. Returns how much was taken from each."""
        return [self.take(name, cost, now) for name in names]

    def put_back(self, name: str, amount: int) -> None:
        """Put permits back that were taken and not used."""
        with self._lock:
            if block := self._blocks.get(name):
                block.amount += amount

    def add(self, name: str, per_second: float, amount: int, now: int) -> None:
        """Add a block that was charged. Beyond `MOST` blocks the oldest is dropped: its permits count as used."""
        with self._lock:
            left = self._blocks.pop(name, None)
            fresh = left is not None and left.drawn_at <= now < left.drawn_at + IDLE_SECONDS
            self._blocks[name] = Block(per_second, amount + (left.amount if left and fresh else 0), now)
            while len(self._blocks) > MOST:
                del self._blocks[next(iter(self._blocks))]

    def idle(self, now: int, *, all_: bool = False) -> list[tuple[str, int]]:
        """Remove up to `BATCH` blocks that are old, or any. Returns the buckets' names and the amounts to return.

        An amount is less than what the block holds, since its bucket has drained meanwhile.
        """
        returned: list[tuple[str, int]] = []
        with self._lock:
            for name, block in list(self._blocks.items()):
                age = now - block.drawn_at
                if len(returned) == BATCH or not (all_ or age < 0 or age >= IDLE_SECONDS):
                    continue
                del self._blocks[name]
                if (amount := block.amount - int(max(0, age) * block.per_second)) > 0:
                    returned.append((name, amount))
        return returned


def of(memory: dict[Any, Any]) -> Blocks:
    """The blocks of this process for the database with this memory."""
    found: Blocks | None = memory.get("blocks")
    return memory.setdefault("blocks", Blocks()) if found is None else found
