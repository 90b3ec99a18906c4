"""Blocks: parts of shared buckets that this process has drawn and keeps in memory.

    of(memory)                  the blocks of this process for one database
    Blocks.take, put_back       use some of a block; undo that
    Blocks.add                  a block has been drawn
    Blocks.idle                 take away the blocks that nobody has drawn on for a while

The bucket of a large network or of a whole application is one row. If each upload locked that row, all uploads would
wait for each other. So a process charges a block of permits to the row at once, and then counts in memory. What is in
a block when the process is killed counts as used until it has come back like everything else.
"""

import threading
from dataclasses import dataclass
from typing import Any

IDLE_SECONDS = 600  # a block that is older is returned; its bucket has drained meanwhile
BATCH = 100  # returned at once: each is a transaction
MOST = 10_000  # of a process: a stranger may come from any number of networks


@dataclass(slots=True)
class Block:
    """`amount` is left of what was drawn from the bucket, the last time at `drawn_at`."""

    per_second: float
    amount: int
    drawn_at: int


class Blocks:
    """The blocks of one process, by the names of their buckets; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[str, Block] = {}

    def take(self, name: str, cost: int, now: int) -> int:
        """Use up to `cost` of a block; how much there was."""
        with self._lock:
            block = self._blocks.get(name)
            if block is None or not block.drawn_at <= now < block.drawn_at + IDLE_SECONDS:
                return 0
            taken = min(cost, block.amount)
            block.amount -= taken
            return taken

    def put_back(self, name: str, amount: int) -> None:
        """What was taken was not used."""
        with self._lock:
            if block := self._blocks.get(name):
                block.amount += amount

    def add(self, name: str, per_second: float, amount: int, now: int) -> None:
        """A block was drawn. Beyond `MOST` the oldest one is dropped, so that what is left of it counts as used."""
        with self._lock:
            left = self._blocks.pop(name, None)
            fresh = left is not None and left.drawn_at <= now < left.drawn_at + IDLE_SECONDS
            self._blocks[name] = Block(per_second, amount + (left.amount if left and fresh else 0), now)
            while len(self._blocks) > MOST:
                del self._blocks[next(iter(self._blocks))]

    def idle(self, now: int, *, all_: bool = False) -> list[tuple[str, int]]:
        """Take away blocks that are old, or any, up to `BATCH`; name of the bucket and what can be returned to it.

        Of a block that is old a part has come back to the bucket already.
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
    found: Blocks = memory.setdefault("blocks", Blocks())
    return found
