"""Statistics of each application by day, and its refused requests by reason, for the dashboard.

    add            counts an event
    after          counts an event when the transaction is committed
    near           counts a charge that found a shared limit nearly reached
    refused        counts a refused request
    flush          writes the counts of this process to the database
    check_sign_ups   alarms the operator when unusually many users sign up
    sweep          deletes old refusals and old activity

Counting changes a dict in memory and needs no database. Each process writes its counts every EVERY_SECONDS and when it
ends (`worker/counters.py`). While the database cannot be reached, the counts wait. Each batch has a number: a batch
that may have been written already is sent again with its number, and counts once.

A process that is killed loses the counts since the last flush. That is good enough for charts.
"""

import re
import secrets
import threading
from collections import Counter
from functools import partial
from typing import Literal

from msgspec import Struct

from .. import errors, metrics
from ..config import Limits
from ..logs import log
from ..store import stats as store
from ..store.db import Database, Tx

EVERY_SECONDS = 10
DAY = 86_400
REFUSALS_KEPT_SECONDS = 7 * DAY
MOST_REFUSALS = 500  # kinds of refusals in a process's memory; further kinds are not counted until the next flush
LONGEST_REASON = 160
NEAR = "near "  # before the name of a limit
PROCESS_KEPT_SECONDS = 7 * DAY
# Also counted by half hours, so that a chart can show the days of the browser's time zone.
CHARTED = ("sign-ups", "matches", "joined")
SLOT_SECONDS = 1_800
USUAL_HOURS = 7 * 24
JUMP, LEAST_JUMP = 10, 100
ACTIVITY_KEPT_SECONDS = 190 * DAY  # two times the longest period of the chart

Name = Literal[
    "imported",
    "joined",
    "joined pushes accepted",
    "joined pushes printed",
    "joined pushes withheld",
    "matches",
    "pushes accepted",
    "pushes expired",
    "pushes gone",
    "pushes parked",
    "pushes printed",
    "sessions",
    "sign-ups",
    "uploads",
]
# Text that may be a phone number or an e-mail address.
PERSONAL = re.compile(r"\+?\d(?:[\s().-]{0,3}\d){6,}|\S*@\S*")


class Batch(Struct, frozen=True):
    """The counts that one process writes in one transaction."""

    number: int
    sums: list[tuple[int, int, str, int]]
    activity: list[tuple[int, int, str, int]]
    refusals: list[tuple[int, str, str, str, int, int, int]]


class Tally:
    """The counts of one process that are not written yet."""

    def __init__(self) -> None:
        self.process = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._sums: Counter[tuple[int, int, str]] = Counter()
        self._activity: Counter[tuple[int, int, str]] = Counter()
        self._refusals: dict[tuple[int, str, str, str], tuple[int, int, int]] = {}
        self._batch: Batch | None = None
        self._written = 0

    def add(self, app_id: int, day: int, name: str, count: int) -> None:
        with self._lock:
            self._sums[app_id, day, name] += count

    def add_charted(self, app_id: int, now: int, name: str, count: int) -> None:
        with self._lock:
            self._activity[app_id, now - now % SLOT_SECONDS, name] += count

    def refuse(self, app_id: int, request: str, cause: str, reason: str, now: int) -> None:
        key = app_id, request, cause, reason
        with self._lock:
            count, first, _ = self._refusals.get(key, (0, now, now))
            if count or len(self._refusals) < MOST_REFUSALS:
                self._refusals[key] = count + 1, first, now

    def flush(self, db: Database, now: int) -> int:
        """Write the counts. Returns how many rows were written. Counts that cannot be written are kept."""
        with self._writing:
            rows = self._write(db, now) if self._batch else 0  # a batch that failed and may have been written
            self._batch = self._taken()
            return rows + (self._write(db, now) if self._batch else 0)

    def _taken(self) -> Batch | None:
        with self._lock:
            sums, self._sums = self._sums, Counter()
            activity, self._activity = self._activity, Counter()
            refusals, self._refusals = self._refusals, {}
        if not sums and not refusals:
            return None
        days = Counter(sums)
        for (app_id, _, name), count in sums.items():
            days[app_id, store.EVER, name] += count
        return Batch(
            self._written + 1,
            sorted((*key, count) for key, count in days.items()),
            sorted((*key, count) for key, count in activity.items()),
            sorted((*key, *counts) for key, counts in refusals.items()),
        )

    def _write(self, db: Database, now: int) -> int:
        batch = self._batch
        assert batch
        with db.write() as tx:
            if store.first_time(tx, self.process, batch.number, now, now + PROCESS_KEPT_SECONDS):
                store.add(tx, batch.sums)
                store.add_activity(tx, batch.activity)
                store.add_refusals(tx, batch.refusals)
        self._batch, self._written = None, batch.number
        return len(batch.sums) + len(batch.refusals)


_tally = Tally()


def add(app_id: int, name: Name, now: int, count: int = 1) -> None:
    """Count an event `count` times."""
    if count:
        _tally.add(app_id, now // DAY, name, count)
        if name in CHARTED:
            _tally.add_charted(app_id, now, name, count)


def near(app_id: int, limit: str, now: int) -> None:
    """Count a charge that found a shared limit nearly reached; app_id is 0 for a limit of all applications."""
    _tally.add(app_id, now // DAY, NEAR + limit, 1)


def after(tx: Tx, app_id: int, name: Name, now: int, count: int = 1) -> None:
    """Count an event of this transaction when it is committed."""
    tx.on_commit(partial(add, app_id, name, now, count))


def refused(app_id: int, request: str, refused: errors.Refused, now: int) -> None:
    """Count a refused request by its cause and reason.

    app_id    0 when the application is not known
    request   the name of what was requested, one of a fixed set
    """
    _tally.refuse(app_id, request, refused.cause, plain(refused), now)


def plain(refused: errors.Refused) -> str:
    """The reason without any value that the caller sent."""
    reason = refused.told or (f"{refused.field}: {refused.reason}" if refused.field else refused.reason)
    read = reason[: 4 * LONGEST_REASON]  # PERSONAL takes quadratic time
    return PERSONAL.sub("…", read.replace("\0", " "))[:LONGEST_REASON]


def flush(db: Database, now: int) -> int:
    """Write the counts of this process. Raises Unavailable and keeps them when that fails."""
    return _tally.flush(db, now)


def check_sign_ups(db: Database, limits: Limits, now: int) -> int:
    """Alarm the operator of each application in which unusually many users have signed up in the latest hour.

    "Unusually many" is `sign_ups_alarm_per_hour`, or JUMP times as many as in an hour of the week before. Returns 0.
    """
    recent = now - now % SLOT_SECONDS - SLOT_SECONDS  # the half hour before this one, and this one
    with db.read() as tx:
        rows = store.sign_ups(tx, recent - USUAL_HOURS * 3_600, recent)
    for app_id, latest, before in rows:
        most = limits.sign_ups_alarm_per_hour
        if (most and latest >= most) or latest >= max(LEAST_JUMP, JUMP * before / USUAL_HOURS):
            metrics.limit_near("sign_ups_alarm_per_hour")
            near(app_id, "sign_ups_alarm_per_hour", now)
            log.warning("unusually many sign-ups", app=app_id, count=latest, usual=round(before / USUAL_HOURS))
    return 0


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Delete up to `batch` kinds of refusals that did not occur for a week, and old activity. Returns how many."""
    with db.write() as tx:
        swept = store.sweep(tx, now - REFUSALS_KEPT_SECONDS, batch)
        return swept + store.sweep_activity(tx, now - ACTIVITY_KEPT_SECONDS, batch)


def forget() -> None:
    """Discard all counts of this process."""
    global _tally
    _tally = Tally()
