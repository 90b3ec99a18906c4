"""Limits that are reached before a request exists: counts each refusal, and logs at most one line a minute.

reached(limit)   counts one refusal and logs it if the last line about this limit is a minute old
"""

import time

from .. import metrics
from ..logs import log

EVERY_SECONDS = 60
_logged_at: dict[str, float] = {}
_since_then: dict[str, int] = {}


def reached(limit: str) -> None:
    """Count one refusal; the log line contains the number since the previous line.

    limit   the name of the setting, in lower case and without RINGBOOK_
    """
    metrics.limit_reached(limit)
    _since_then[limit] = _since_then.get(limit, 0) + 1
    now = time.monotonic()
    if now - _logged_at.get(limit, -EVERY_SECONDS) >= EVERY_SECONDS:
        log.warning("limit reached", limit=limit, times=_since_then.pop(limit))
        _logged_at[limit] = now
