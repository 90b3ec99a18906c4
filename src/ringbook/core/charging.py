"""Buckets that fill by use and drain with time: the mechanism of all rate limits (`rate_limits.py`).

    Bucket                        a name, a capacity, and how fast it drains
    charge(tx, bucket, cost)      charges a bucket, in one statement if it drains, or refuses and says how long to wait
    Charge, charge_all            charges several buckets in two statements, or refuses and charges none
    has_charged(…)                charges a bucket, or says that there is no room
    charge_up_to(…)               charges as much as there is room for, for work that is not refused
    has_room, check_empty, fill   says whether there is room; refuses unless the bucket is empty; fills the bucket
    refund(tx, bucket)            takes a charge back
    charge_guess(db, buckets)     charges a guess before it is checked, and refunds it when it was right
    charge_refusals(db, bucket)   charges a request only when it is refused

A bucket is a row of the database, so all processes share it. Its name never contains a number or a name, but it may
contain a hash of one, or an address: so tables hold only its keyed value, and the name sealed beside it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .. import errors, metrics
from ..logs import log
from ..store import buckets
from ..store.db import Database, Row, Tx
from ..times import DAY
from . import stats

NEVER = 2**40
NEAR = 0.8  # the share of a shared bucket at which the operator is alarmed
NEAR_SECONDS = 600  # between two log lines about one limit


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of `capacity` that drains by `per_second`. Capacity 0 means no limit.

    limit     the setting of the capacity; metrics count refusals by it
    ends_at   when a bucket that does not drain is deleted; 0 = never
    alarm     many users share the bucket, and the operator is alarmed when the share `alarm_at` of it is used
    app_id    the application whose bucket it is; 0 = all of them
    """

    name: str
    capacity: int
    per_second: float
    reason: str
    limit: str = ""
    ends_at: int = 0
    alarm: bool = False
    alarm_at: float = NEAR
    app_id: int = 0


def charge(tx: Tx, bucket: Bucket, cost: int, now: int) -> None:
    """Add `cost` to the bucket, or raise TooMany and leave it as it is. It stays locked until the transaction ends."""
    if not bucket.capacity or not cost:
        return
    used = _charged(tx, bucket, cost, now) if bucket.per_second and cost <= bucket.capacity else None
    if used is None:
        row = buckets.lock(tx, bucket.name, now)
        _write(tx, bucket, _used(bucket, row, cost, now), now)
    elif bucket.alarm and used >= bucket.alarm_at * bucket.capacity:
        _near(bucket, now)


def _charged(tx: Tx, bucket: Bucket, cost: int, now: int) -> float | None:
    """The same in one statement: what is used then, or None if there is no room."""
    expires_at = _empty_at(bucket, cost, now)
    return buckets.charge(tx, bucket.name, cost, bucket.capacity, bucket.per_second, now, expires_at)


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge of `cost` to a bucket."""

    bucket: Bucket
    cost: int


def charge_all(tx: Tx, charges: Sequence[Charge], now: int) -> None:
    """Charge several buckets, or raise TooMany for the first one without enough room and charge none.

    The buckets are locked in this order. It must be the same everywhere, so that two transactions do not deadlock.
    """
    due = [one for one in charges if one.bucket.capacity and one.cost]
    if not due:
        return
    rows = buckets.lock_all(tx, [one.bucket.name for one in due], now)
    used = {one.bucket.name: _used(one.bucket, rows[one.bucket.name], one.cost, now) for one in due}
    written = [(one.bucket, used[one.bucket.name]) for one in due]
    buckets.set_all(tx, [(bucket.name, amount, _empty_at(bucket, amount, now)) for bucket, amount in written], now)


def _used(bucket: Bucket, row: Row, cost: int, now: int) -> float:
    """The fill level of a locked bucket after this charge; TooMany if that is more than its capacity."""
    used = drained(row["used"], row["at"], bucket.per_second, now) + cost
    if bucket.alarm and used >= bucket.alarm_at * bucket.capacity:
        _near(bucket, now)
    if used <= bucket.capacity:
        return used
    reason = bucket.reason if cost <= bucket.capacity else f"{bucket.reason}: at most {bucket.capacity} at once"
    seconds = bucket.ends_at - now if bucket.ends_at else wait(used - bucket.capacity, bucket.per_second)
    raise errors.TooMany(reason, wait_seconds=seconds, limit=bucket.limit)


_logged_at: dict[tuple[int, str], int] = {}


def _near(bucket: Bucket, now: int) -> None:
    """Alarm the operator of a shared limit: a metric, a notice on the overview, a log line every `NEAR_SECONDS`."""
    metrics.limit_near(bucket.limit)
    stats.near(bucket.app_id, bucket.limit, now)
    key = bucket.app_id, bucket.limit
    if not 0 <= now - _logged_at.get(key, -NEAR_SECONDS) < NEAR_SECONDS:
        _logged_at[key] = now
        percent = round(bucket.alarm_at * 100)
        log.warning("a shared limit is nearly reached", limit=bucket.limit, app=bucket.app_id, percent=percent)


def check_empty(tx: Tx, bucket: Bucket, now: int) -> None:
    """Raise TooMany unless the bucket is empty. Charges nothing."""
    if row := buckets.read(tx, bucket.name):
        _used(bucket, row, bucket.capacity, now)


def fill(tx: Tx, bucket: Bucket, now: int) -> None:
    """Fill the bucket to its capacity."""
    buckets.lock(tx, bucket.name, now)
    _write(tx, bucket, bucket.capacity, now)


def has_charged(tx: Tx, bucket: Bucket, cost: int, now: int) -> bool:
    """Add `cost` to the bucket if there is room for it. Returns whether there was."""
    try:
        charge(tx, bucket, cost, now)
    except errors.TooMany:
        return False
    return True


def charge_up_to(tx: Tx, bucket: Bucket, cost: int, now: int) -> int:
    """Charge `cost`, or as much of it as there is room for, and return this: for work that is not refused."""
    if not bucket.capacity:
        return cost
    row = buckets.lock(tx, bucket.name, now)
    used = drained(row["used"], row["at"], bucket.per_second, now)
    _write(tx, bucket, min(used + cost, bucket.capacity), now)
    return min(cost, int(bucket.capacity - used))


def has_room(tx: Tx, bucket: Bucket, cost: int, now: int) -> bool:
    """Whether the bucket has room for `cost`. Charges nothing; the bucket stays locked until the transaction ends."""
    if not bucket.capacity:
        return True
    row = buckets.lock(tx, bucket.name, now)
    return drained(row["used"], row["at"], bucket.per_second, now) + cost <= bucket.capacity


def refund(tx: Tx, bucket: Bucket, cost: int, now: int) -> None:
    """Take a charge of `cost` back."""
    if bucket.capacity:
        row = buckets.lock(tx, bucket.name, now)
        _write(tx, bucket, max(0.0, drained(row["used"], row["at"], bucket.per_second, now) - cost), now)


@contextmanager
def charge_guess(db: Database, tries: list[Bucket], now: int, *, charged: bool = False) -> Iterator[None]:
    """Charge a guess, for one of a password, before it is checked; refund it when the check raises nothing.

    charged   the guess has been charged already
    """
    if not charged:
        with db.write() as tx:
            for bucket in tries:
                charge(tx, bucket, 1, now)
    yield
    with db.write() as tx:
        for bucket in tries:
            refund(tx, bucket, 1, now)


@contextmanager
def charge_refusals(db: Database, bucket: Bucket, now: int) -> Iterator[None]:
    """Charge a request when it is refused. Raises TooMany at once while the bucket is full.

    A request that the server cannot serve now (Unavailable) is not charged.
    """
    if bucket.capacity:
        with db.read() as tx:
            if row := buckets.read(tx, bucket.name):
                _used(bucket, row, 1, now)
    try:
        yield
    except errors.Unavailable:
        raise
    except errors.Refused:
        with db.write() as tx:
            charge_up_to(tx, bucket, 1, now)
        raise


def _write(tx: Tx, bucket: Bucket, used: float, now: int) -> None:
    """Store the fill level, and when the bucket will be empty."""
    buckets.set_used(tx, bucket.name, used, now, _empty_at(bucket, used, now))


def _empty_at(bucket: Bucket, used: float, now: int) -> int:
    return now + math.ceil(used / bucket.per_second) if bucket.per_second else bucket.ends_at or NEVER


def drained(used: float, at: int, per_second: float, now: int) -> float:
    """The fill level after some time. A clock that was set back drains nothing."""
    return max(0.0, used - max(0, now - at) * per_second)


def wait(amount: float, per_second: float) -> int:
    """Seconds until `amount` has drained, at most 30 days; 30 days also for a bucket that does not drain."""
    most = 30 * DAY
    return min(most, max(1, math.ceil(amount / per_second))) if per_second else most
