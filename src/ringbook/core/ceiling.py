"""Charges new numbers to the user, the address, its networks, and the application with its ceiling.

    charge_numbers(tx, limits, app, …)     charges numbers that are new to a user
    ceiling(tx, limits, app_id, now)       the most new numbers of an application in any 24 hours
    automatic(users, new)                  the ceiling by the number of users, when no setting sets it
    return_blocks(db, now)                 returns permits that this process has charged in advance and does not use

A bucket for "any 24 hours" has half of the limit as its capacity, and drains the other half in a day. So the limit
holds for 24 hours that begin at any time.

Half of an application's ceiling is reserved for accounts that were verified more than a day ago. All other accounts
are charged to a second bucket of half the size as well.
"""

from collections.abc import Sequence
from functools import lru_cache, partial

from ..config import Limits
from ..model import App
from ..store import app_totals, buckets, stats
from ..store.db import Database, Tx
from ..times import DAY
from . import blocks, charging, networks, rate_limits
from .charging import Bucket, Charge

LEAST = 2_000_000
PER_USER, PER_NEW_USER, NEW_DAYS = 20, 1_000, 30
CACHE_SECONDS = 300
AT_ONCE = 2  # buckets that are charged one by one: to charge any number of them takes two statements
SMALLEST_BLOCK, LARGEST_BLOCK, BLOCK_SHARE = 1_000, 10_000, 100


def charge_numbers(
    tx: Tx,
    limits: Limits,
    app: App,
    address: str,
    cost: int,
    now: int,
    *,
    own: Sequence[Bucket] = (),
    established: bool = False,
) -> None:
    """Charge new numbers to the user's `own` buckets and to the shared ones, or raise TooMany.

    own           the user's buckets, or at sign-up those of new accounts, which are charged first
    established   the account was verified more than a day ago

    Call it last in a transaction: until the commit, all other users of a shared bucket wait. A refusal must undo the
    transaction, which may have charged some of the buckets.
    """
    if not cost:
        return
    exact = [Charge(bucket, cost) for bucket in (*own, rate_limits.address_permits(limits, address))]
    shared = _shared(limits, app, address, ceiling(tx, limits, app.id, now), established=established)
    held = blocks.of(tx.memory)
    taken = held.take_all([bucket.name for bucket in shared], cost, now)
    drawn = [Charge(one, cost - some, _block(one)) for one, some in zip(shared, taken, strict=True) if some < cost]
    try:
        granted = _charged(tx, exact, drawn, now)
    except BaseException:
        for bucket, some in zip(shared, taken, strict=True):
            held.put_back(bucket.name, some)
        raise
    for one, amount in zip(drawn, granted, strict=True):
        if amount:
            tx.on_commit(partial(held.add, one.bucket.name, one.bucket.per_second, amount, now))


def _charged(tx: Tx, exact: Sequence[Charge], drawn: Sequence[Charge], now: int) -> list[int]:
    """Charge the buckets in this order. Returns how much of each block of `drawn` was granted."""
    if drawn or len(exact) > AT_ONCE:
        return charging.charge_all(tx, [*exact, *drawn], now)[len(exact) :]
    for one in exact:
        charging.charge(tx, one.bucket, one.cost, now)
    return []


def _shared(limits: Limits, app: App, address: str, most: int, *, established: bool) -> Sequence[Bucket]:
    """The shared buckets. The last is shared by most users."""
    of_network = limits.network_permits_per_day and min(limits.network_permits_per_day, max(1, most // 4))
    return _buckets(app.id, address, limits.subnet_permits_per_day, of_network, most, established)


@lru_cache(maxsize=1024)
def _buckets(
    app_id: int,
    address: str,
    of_subnet: int,
    of_network: int,
    most: int,
    established: bool,  # noqa: FBT001
) -> Sequence[Bucket]:
    a_day = {"subnet": of_subnet, "network": of_network}
    found = [
        _in_24_hours(
            app_id, f"@{net}", a_day[kind], "Too many new numbers from this network", f"{kind}_permits_per_day"
        )
        for kind, net in networks.subnets(address)
        if a_day[kind]
    ]
    reason, limit = "Too many new numbers for this application", "app_permits_per_day"
    whole = _in_24_hours(app_id, "", most, reason, limit)
    strangers = [] if established else [_in_24_hours(app_id, " strangers", max(1, most // 2), reason, limit)]
    return (*found, *strangers, whole)


def _in_24_hours(app_id: int, who: str, most: int, reason: str, limit: str) -> Bucket:
    half = max(1, most // 2)
    return Bucket(f"permits of app {app_id}{who}", half, half / DAY, reason, limit, alarm=True, app_id=app_id)


def _block(bucket: Bucket) -> int:
    """The size of a block; 0 when a block would be more than a small share of the bucket."""
    block = min(LARGEST_BLOCK, bucket.capacity // BLOCK_SHARE)
    return block if block >= SMALLEST_BLOCK else 0


def ceiling(tx: Tx, limits: Limits, app_id: int, now: int) -> int:
    """The most new numbers of an application in any 24 hours. An automatic ceiling is cached for CACHE_SECONDS."""
    if limits.app_permits_per_day:
        return limits.app_permits_per_day
    at, most = tx.memory.get(("ceiling", app_id), (0, 0))
    if not most or not 0 <= now - at < CACHE_SECONDS:
        most = automatic(app_totals.users_of(tx, app_id), stats.new_users(tx, app_id, now // DAY - NEW_DAYS))
        tx.memory["ceiling", app_id] = now, most
    return int(most)


def automatic(users: int, new: int) -> int:
    """The ceiling by the number of users, and of users who joined or were imported in the last 30 days (`new`).

    New users upload whole books. Otherwise an app that moves here with 100,000 users would take weeks.
    """
    new = min(new, users)
    return max(LEAST, PER_USER * (users - new) + PER_NEW_USER * new)


def return_blocks(db: Database, now: int, *, all_: bool = False) -> int:
    """Return a batch of this process's idle blocks, or of all its blocks, to their buckets. Returns how many."""
    returned = blocks.of(db.memory).idle(now, all_=all_)
    for name, amount in returned:  # one transaction each, so that only one shared bucket is locked at a time
        with db.write() as tx:
            buckets.give_back(tx, name, amount)
    return len(returned)
