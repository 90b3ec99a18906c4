"""Times as Ringbook writes them for people and programs; `api/wire.py` holds the formats that apps use.

MINUTE, HOUR, DAY    in seconds
now()                the time of this machine
Clock                what tells the time: `now`, or a clock of a test or of the demo
iso(seconds)         UTC seconds since 1970 → `2026-11-24T19:23:14Z`

The rules get the time as a parameter. The edges and the worker, which read it, are given a `Clock` by the code that
makes them. No setting and no variable of the environment replaces it, so a server always runs on the machine's time.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3_600, 86_400
Clock = Callable[[], int]


def now() -> int:
    """The time of this machine, in UTC seconds."""
    return int(time.time())


def iso(seconds: int) -> str:
    """ISO 8601, to the second, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
