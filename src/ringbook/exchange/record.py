"""The one place that counts and logs a request.

record       counts and logs one request
is_recorded  whether that has happened
"""

from typing import Any

from starlette.types import Scope

from .. import metrics
from ..logs import log

RECORDED = "ringbook.recorded"


def record(scope: Scope, method: str, route: str, status: int, seconds: float, **fields: Any) -> None:
    """Counts and logs one request.

    route    the template of the path, never the path itself: that would make a metric per path
    status   0 when the client left before there was an answer
    fields   further fields of the log line
    """
    scope[RECORDED] = True
    metrics.answered(method, route, status, seconds)
    log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1), **fields)


def is_recorded(scope: Scope) -> bool:
    """Has the request been counted and logged?"""
    return RECORDED in scope
