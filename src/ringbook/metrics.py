"""Metrics for Prometheus: requests, contacts, limits, pushes, and the state of this process and of the database.

    answered, uploaded, matched     count one request, one upload, one query of registered contacts
    limit_reached                   counts refusals that come from a limit
    limit_near                      counts charges to a limit of many users that is nearly reached
    pushed                          counts an attempt to send a push
    reached(up, disk)               sets whether the database answers, and the space on its disk
    nodes(answering, silent)        sets the number of nodes of the database cluster
    waits(change)                   counts the requests that wait for a turn
    measure(gauges)                 sets the other gauges of this process
    queued                          sets the gauges of the queue, which all processes share
    measured_at(name)               when this process last set a gauge of the database

`server.metrics_sum` turns them into the text of /metrics, for one process or for several.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Callable
from functools import cache

# If one of these variables is set, the library stores every metric in a file.
for _variable in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(_variable, None)

from prometheus_client import Counter, Gauge, Histogram  # noqa: E402  (the library reads the environment on import)

from .model import Report  # noqa: E402

REQUESTS = Counter("ringbook_requests", "Requests that were answered.", ["method", "route", "status"])
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
SECONDS = Histogram("ringbook_request_seconds", "Time to answer a request.", ["route"], buckets=BOUNDS)
CONTACTS = Counter("ringbook_contacts", "Contacts in uploads, by what the upload did with them.", ["outcome"])
# Looking a series up takes longer than counting.
OUTCOMES = [CONTACTS.labels(outcome) for outcome in ("created", "updated", "deleted", "rejected")]
LIMITS = Counter("ringbook_limits_reached", "Refusals by a limit; the label is the setting of the limit.", ["limit"])
NEAR = Counter("ringbook_limits_near", "Charges to a limit of many users that was used to 80 % or more.", ["limit"])
MATCHED = Counter("ringbook_contacts_matched", "Registered users that were returned as contacts of a user.")
ROWS = Counter("ringbook_rows_refused", "Rows that were refused because their MAC is wrong.", ["table"])
PUSHES = Counter("ringbook_pushes", "Attempts to send a push, by outcome.", ["channel", "outcome"])
FAILURES = Counter(
    "ringbook_push_failures", "Attempts that no provider accepted, by cause.", ["channel", "outcome", "cause"]
)
STATE = Gauge("ringbook_now", "Database connections, and requests that wait for one or for a turn.", ["what"])
WAITING = STATE.labels("turns")
QUEUED = Gauge("ringbook_pushes_waiting", "Waiting pushes; not counted beyond 10000.")
QUEUE_SECONDS = Gauge("ringbook_push_queue_seconds", "How long the oldest waiting push has been due.")
DATABASE = Gauge("ringbook_database_up", "1 if the database answers, else 0.")
NODES = Gauge("ringbook_database_nodes", "Nodes of the database cluster, by state: answering or silent.", ["state"])
DISK = Gauge("ringbook_disk_bytes", "Free and total space of the disk with the SQLite database.", ["what"])
_measured: dict[str, float] = {}
SHARED_LIMITS = (
    "address_permits_per_day",
    "app_permits_per_day",
    "network_accounts_per_hour",
    "network_codes_per_hour",
    "network_permits_per_day",
    "network_resets_per_hour",
    "network_sessions_per_hour",
    "network_wrong_sign_ins_per_hour",
    "new_accounts_per_hour",
    "sign_ups_alarm_per_hour",
    "sms_daily_cap",
    "subnet_accounts_per_hour",
    "subnet_codes_per_hour",
    "subnet_permits_per_day",
    "subnet_resets_per_hour",
    "subnet_sessions_per_hour",
    "subnet_wrong_sign_ins_per_hour",
    "wrong_passwords",
)
for _limit in SHARED_LIMITS:
    NEAR.labels(_limit)  # starts at 0, because Prometheus sees no increase in a series that begins with 1


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Counts a request. `route` is the template of the path, never the path itself."""
    count, total, buckets = _of_requests(method, route, status)
    count(1)
    total(seconds)
    buckets[bisect_left(BOUNDS, seconds)](1)


Increase = Callable[[float], None]


@cache
def _of_requests(method: str, route: str, status: int) -> tuple[Increase, Increase, list[Increase]]:
    """What counts such a request: `REQUESTS.labels(…).inc` and `SECONDS.labels(…).observe`, but for their checks.

    Looking up the series and the library's checks take several times as long as counting.
    """
    duration = SECONDS.labels(route)
    buckets = [bucket.inc for bucket in duration._buckets]
    return REQUESTS.labels(method, route, str(status))._value.inc, duration._sum.inc, buckets


def limit_reached(limit: str, count: int = 1) -> None:
    """Counts refusals that come from a limit.

    limit   the name of the setting, in lower case and without RINGBOOK_
    """
    LIMITS.labels(limit).inc(count)


def limit_near(limit: str) -> None:
    """Counts a charge to a limit that many users share and that is nearly reached.

    limit   as in `limit_reached`
    """
    NEAR.labels(limit).inc()


def row_refused(table: str) -> None:
    """Count a row that was written without the key of the database."""
    ROWS.labels(table).inc()


def uploaded(report: Report) -> None:
    """Counts the contacts of an upload by what was done with them."""
    counts = (report.created, report.updated, report.deleted, len(report.rejected))
    for outcome, count in zip(OUTCOMES, counts, strict=True):
        if count:
            outcome.inc(count)


def matched(count: int) -> None:
    """Counts registered users that were returned as somebody's contacts."""
    MATCHED.inc(count)


def pushed(channel: str, outcome: str, cause: str, count: int = 1) -> None:
    """Counts attempts to send a push.

    cause   a value of `push.transport.Cause`
    """
    PUSHES.labels(channel, outcome).inc(count)
    if outcome != "accepted":
        FAILURES.labels(channel, outcome, cause).inc(count)


def reached(up: bool, disk: tuple[int, int] | None) -> None:
    """Sets whether the database answers, and the free and total bytes of its disk where they are known."""
    DATABASE.set(up)
    _now_measured(DATABASE)
    if disk:
        for what, value in zip(("free", "size"), disk, strict=True):
            DISK.labels(what).set(value)
        _now_measured(DISK)


def nodes(answering: int, silent: int) -> None:
    """Sets how many nodes of the database cluster answer, and how many do not."""
    for state, count in (("answering", answering), ("silent", silent)):
        NODES.labels(state).set(count)
    _now_measured(NODES)


def waits(change: int) -> None:
    """Counts a request that begins (1) or ceases (-1) to wait for a turn."""
    WAITING.inc(change)


def measure(gauges: dict[str, int]) -> None:
    """Sets the other gauges of this process."""
    for what, value in gauges.items():
        STATE.labels(what).set(value)


def queued(count: int, seconds: int) -> None:
    """Sets how many pushes wait, and how many seconds the oldest has been due."""
    QUEUED.set(count)
    QUEUE_SECONDS.set(seconds)
    _now_measured(QUEUED, QUEUE_SECONDS)


def measured_at(name: str) -> float:
    """When this process last set a gauge that describes the database, by the machine's monotonic clock; 0 = never."""
    return _measured.get(name, 0.0)


def _now_measured(*gauges: Gauge) -> None:
    _measured.update({family.name: time.monotonic() for gauge in gauges for family in gauge.describe()})
