"""Buckets that fill by use and drain with time: the mechanism of all rate limits (`rate_limits.py`).

    Bucket                        a name, a capacity, and how fast it drains
    charge(tx, bucket, cost)      charges a bucket, or refuses and says how long to wait
    Charge, charge_all            charges several buckets in two statements, or refuses and charges none
    charge_all_there_is(…)        charges as much as is left, for work that is done already
    has_room, check_empty, fill   whether so much is left; refuses unless the bucket is empty; fills the bucket
    give_back(tx, bucket)         refunds a charge
    tried(db, buckets)            charges a try, and refunds it when it raises nothing
    refusals_charged(db, bucket)  charges what is refused inside

A bucket is a row of the database, so all processes share it. Its name never contains a number or a name.
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
    """`capacity` may be used at once, `per_second` of it comes back; capacity 0 means no limit.

    limit     the setting that says so; metrics count refusals by it
    ends_at   when a bucket that nothing comes back to is over; 0 = never
    alarm     many users share it: the operator hears of it when it is nearly used up
    app_id    the application whose bucket it is; 0 = all of them
    """

    name: str
    capacity: int
    per_second: float
    reason: str
    limit: str = ""
    ends_at: int = 0
    alarm: bool = False
    app_id: int = 0


def charge(tx: Tx, bucket: Bucket, cost: int, now: int) -> None:
    """Use `cost` of the bucket, or raise TooMany and leave it as it is."""
    if not bucket.capacity or not cost:
        return
    row = buckets.lock(tx, bucket.name, now)
    write(tx, bucket, _used(bucket, row, cost, now), now)


@dataclass(frozen=True, slots=True)
class Charge:
    """`cost` of a bucket, and up to `block` more that the process keeps for later."""

    bucket: Bucket
    cost: int
    block: int = 0


def charge_all(tx: Tx, charges: Sequence[Charge], now: int) -> list[int]:
    """Use some of several buckets, or raise TooMany of the first that has too little and leave all as they are.

    The buckets are locked in the order in which they are named: two that wait for each other would wait for ever.
    Returns how much of each block was to be had.
    """
    due = [one for one in charges if one.bucket.capacity and one.cost]
    if not due:
        return [0] * len(charges)
    rows = buckets.lock_all(tx, [one.bucket.name for one in due], now)
    used = {one.bucket.name: _used(one.bucket, rows[one.bucket.name], one.cost, now) for one in due}
    more = {one.bucket.name: max(0, min(one.block, int(one.bucket.capacity - used[one.bucket.name]))) for one in due}
    written = [(one.bucket, used[one.bucket.name] + more[one.bucket.name]) for one in due]
    buckets.set_all(tx, [(bucket.name, amount, _empty_at(bucket, amount, now)) for bucket, amount in written], now)
    return [more.get(one.bucket.name, 0) for one in charges]


def _used(bucket: Bucket, row: Row, cost: int, now: int) -> float:
    """What is used of a locked bucket with this cost; TooMany."""
    used = drained(row["used"], row["at"], bucket.per_second, now) + cost
    if bucket.alarm and used >= NEAR * bucket.capacity:
        _near(bucket, now)
    if used <= bucket.capacity:
        return used
    reason = bucket.reason if cost <= bucket.capacity else f"{bucket.reason}: at most {bucket.capacity} at once"
    seconds = bucket.ends_at - now if bucket.ends_at else wait(used - bucket.capacity, bucket.per_second)
    raise errors.TooMany(reason, wait_seconds=seconds, limit=bucket.limit)


_told_at: dict[tuple[int, str], int] = {}


def _near(bucket: Bucket, now: int) -> None:
    """Raises the alarm of a shared limit: metric, notice on the overview, and a log line every `NEAR_SECONDS`."""
    metrics.limit_near(bucket.limit)
    stats.near(bucket.app_id, bucket.limit, now)
    key = bucket.app_id, bucket.limit
    if not 0 <= now - _told_at.get(key, -NEAR_SECONDS) < NEAR_SECONDS:
        _told_at[key] = now
        log.warning("a shared limit is nearly reached", limit=bucket.limit, app=bucket.app_id, percent=int(NEAR * 100))


def check_empty(tx: Tx, bucket: Bucket, now: int) -> None:
    """Raise TooMany unless all of the bucket has come back; nothing is used."""
    if row := buckets.read(tx, bucket.name):
        _used(bucket, row, bucket.capacity, now)


def fill(tx: Tx, bucket: Bucket, now: int) -> None:
    """All of the bucket is used."""
    buckets.lock(tx, bucket.name, now)
    write(tx, bucket, bucket.capacity, now)


def charge_all_there_is(tx: Tx, bucket: Bucket, cost: int, now: int) -> None:
    """Use `cost` of the bucket, or what is left of it: for what has been done already."""
    if bucket.capacity:
        row = buckets.lock(tx, bucket.name, now)
        used = drained(row["used"], row["at"], bucket.per_second, now) + cost
        write(tx, bucket, min(used, bucket.capacity), now)


def has_room(tx: Tx, bucket: Bucket, cost: int, now: int) -> bool:
    """Is so much of the bucket left? It stays locked until the transaction ends; nothing is used."""
    if not bucket.capacity:
        return True
    row = buckets.lock(tx, bucket.name, now)
    return drained(row["used"], row["at"], bucket.per_second, now) + cost <= bucket.capacity


def give_back(tx: Tx, bucket: Bucket, cost: int, now: int) -> None:
    """Take a charge back."""
    if bucket.capacity:
        row = buckets.lock(tx, bucket.name, now)
        write(tx, bucket, max(0.0, drained(row["used"], row["at"], bucket.per_second, now) - cost), now)


@contextmanager
def tried(db: Database, tries: list[Bucket], now: int, *, charged: bool = False) -> Iterator[None]:
    """Charge a try before it is looked at, and give it back when that raises nothing.

    charged   it has been charged already
    """
    if not charged:
        with db.write() as tx:
            for bucket in tries:
                charge(tx, bucket, 1, now)
    yield
    with db.write() as tx:
        for bucket in tries:
            give_back(tx, bucket, 1, now)


@contextmanager
def refusals_charged(db: Database, bucket: Bucket, now: int) -> Iterator[None]:
    """Charge what is refused inside, and refuse at once while the bucket is used up; TooMany.

    What the server cannot do just now (Unavailable) costs nothing.
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
            charge_all_there_is(tx, bucket, 1, now)
        raise


def write(tx: Tx, bucket: Bucket, used: float, now: int) -> None:
    """Write down what is used, and when all of it will have come back."""
    buckets.set_used(tx, bucket.name, used, now, _empty_at(bucket, used, now))


def _empty_at(bucket: Bucket, used: float, now: int) -> int:
    return now + math.ceil(used / bucket.per_second) if bucket.per_second else bucket.ends_at or NEVER


def drained(used: float, at: int, per_second: float, now: int) -> float:
    """What is still used of a bucket some time later; a clock that went back drains nothing."""
    return max(0.0, used - max(0, now - at) * per_second)


def wait(amount: float, per_second: float) -> int:
    """Seconds until `amount` has come back; 30 days where it never does, or not sooner."""
    most = 30 * DAY
    return min(most, max(1, math.ceil(amount / per_second))) if per_second else most
