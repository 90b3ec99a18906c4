"""Writes the counters of a process to the database every few seconds, and when the process ends.

begin, end    start to do so in a thread; stop, with what was counted until then
"""

import threading
from typing import TYPE_CHECKING

from .. import errors, times
from ..core import stats
from ..logs import log

if TYPE_CHECKING:
    from ..store.db import Database

LAST_SECONDS = 5

_running: list[tuple[threading.Thread, threading.Event]] = []


def begin(db: "Database", every: float = stats.EVERY_SECONDS) -> None:
    """Start to write every so many seconds."""
    stop = threading.Event()
    thread = threading.Thread(target=_flush, args=(db, stop, every), name="stats", daemon=True)
    _running.append((thread, stop))
    thread.start()


def end() -> None:
    """Write for the last time and stop; wait for a silent database at most LAST_SECONDS."""
    while _running:
        thread, stop = _running.pop()
        stop.set()
        thread.join(LAST_SECONDS)


def _flush(db: "Database", stop: threading.Event, every: float) -> None:
    last = False
    while not last:
        last = stop.wait(every)
        now = times.now()
        try:
            stats.flush(db, now)
        except errors.Unavailable as away:
            log.warning("stats wait", reason=away.reason)
        except Exception:
            log.exception("stats failed")
