"""Time arrives: what is due is done, every minute, by any number of workers at once.

    run(db, stop)          until told to stop
    turn(db, now, stop)    everything that is due now

A part that fails is logged, does not keep the others from their turn, and gets its own next turn a minute later.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .core import codes, limits, sessions
from .logs import log

if TYPE_CHECKING:
    from .store.db import Database

EVERY_SECONDS = 60
MOST_BATCHES = 1_000  # in a turn: no part starves the others

# Each does one batch of what is due and says how much that was.
PARTS: dict[str, "Callable[[Database, int], int]"] = {
    "sessions and guests": sessions.sweep,
    "limits": limits.sweep,
    "one-time codes": codes.sweep,
}


def run(db: "Database", stop: threading.Event) -> None:
    """Take a turn about every minute; not on the dot, so that several workers come apart."""
    while not stop.wait(EVERY_SECONDS * random.uniform(0.5, 1.5)):
        turn(db, int(time.time()), stop)


def turn(db: "Database", now: int, stop: threading.Event) -> None:
    """Give every part its turn."""
    for name, part in PARTS.items():
        try:
            _drain(name, part, db, now, stop)
        except Exception:  # the database may be away; the next turn finds it again
            log.exception("work failed", part=name)


def _drain(name: str, part: "Callable[[Database, int], int]", db: "Database", now: int, stop: threading.Event) -> None:
    """Batch after batch, until one finds nothing."""
    done = 0
    for _ in range(MOST_BATCHES):
        batch = 0 if stop.is_set() else part(db, now)
        done += batch
        if not batch:
            break
    if done:
        log.info("work done", part=name, count=done)
