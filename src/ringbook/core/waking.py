"""Wakes the courier when there is work, so that a push need not wait until the courier looks into the queue.

    facts_added, pushes_added    once the transaction is committed, wake the courier of this process
    on_work(db, wake)            registers what is to be called
    waiting(db, now)             what waits, also of what other processes have written

A courier in another process than the sign-up looks every tenth of a second: LISTEN and NOTIFY of PostgreSQL do not work
behind a pooler.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial

from ..store import joined, pushes
from ..store.db import Database, Tx

_KEY = "couriers"


class Work(Enum):
    """What waits for the courier."""

    FACTS = "facts"
    PUSHES = "pushes"


Wake = Callable[[Work], None]


def facts_added(tx: Tx) -> None:
    """A fact waits to be announced, once this transaction is committed."""
    _when_committed(tx, Work.FACTS)


def pushes_added(tx: Tx) -> None:
    """Pushes wait to be sent, once this transaction is committed."""
    _when_committed(tx, Work.PUSHES)


def _when_committed(tx: Tx, work: Work) -> None:
    for wake in tx.memory.get(_KEY, ()):
        tx.on_commit(partial(wake, work))


def on_work(db: Database, wake: Wake) -> Callable[[], None]:
    """Call `wake` for all that is added in this process from now on, in any thread. Returns how to end this."""
    db.memory[_KEY] = (*db.memory.get(_KEY, ()), wake)

    def end() -> None:
        db.memory[_KEY] = tuple(one for one in db.memory[_KEY] if one is not wake)

    return end


def waiting(db: Database, now: int) -> list[Work]:
    """What waits. Reads one row of an index for each."""
    with db.read() as tx:
        found = {Work.FACTS: joined.oldest(tx, now) is not None, Work.PUSHES: pushes.is_due(tx, now)}
    return [work for work, waits in found.items() if waits]
