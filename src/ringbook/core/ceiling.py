"""Charges new numbers to the limits that users share: those of an address, its networks and the application.

    charge_numbers(tx, limits, app, …)     charges numbers that are new to a user
    ceiling(tx, limits, app, now)          the most new numbers of an application in any 24 hours
    count_established(db, now)             counts the next slice of the established users, once a day

Known users are users who were verified more than a day ago; all others are strangers. Each of the two groups has half
of the application's ceiling, and in each network a share of this half. So neither group uses up what the other has.

A bucket for "any 24 hours" has half of the limit as its capacity, and drains the other half in a day. So the limit
holds for 24 hours that begin at any time.
"""

import datetime

from ..config import Limits
from ..logs import log
from ..model import App
from ..store import established, stats, sweeps
from ..store.db import Database, Tx
from ..times import DAY
from . import charging, networks, rate_limits
from .charging import Bucket, Charge

LEAST = 2_000_000
PER_USER = 20
CACHE_SECONDS = 300
ESTABLISHED_AFTER = 7 * DAY
COUNTED = 1_000  # users of one slice
KNOWN_PARTS, STRANGERS_PARTS = 2, 5  # a network has one of so many parts of what its group has
ALARM_AT = 0.5
# One row of a busy application would let uploads wait for each other, so a large bucket has several rows.
ROWS, LEAST_PER_ROW = 8, 50_000


def charge_numbers(
    tx: Tx, limits: Limits, app: App, user_id: int, address: str, cost: int, now: int, *, is_known: bool
) -> None:
    """Charge new numbers of a user to the address, its networks and the application, or raise TooMany.

    is_known   the user was verified more than a day ago

    Call it last in a transaction: until the commit, all other users of a shared bucket wait.
    """
    buckets = shared(limits, app, user_id, address, ceiling(tx, limits, app, now), is_known=is_known)
    charging.charge_all(tx, [Charge(bucket, cost) for bucket in buckets], now)


def shared(limits: Limits, app: App, user_id: int, address: str, most: int, *, is_known: bool) -> list[Bucket]:
    """The shared buckets of a user's new numbers, when the application's ceiling is `most`."""
    group, parts = ("known", KNOWN_PARTS) if is_known else ("strangers", STRANGERS_PARTS)
    name, of_group = f"permits of app {app.id} {group}", max(1, most // 2)
    setting = {"subnet": limits.subnet_permits_per_day, "network": limits.network_permits_per_day}
    of_networks = [
        _in_24_hours(
            app.id,
            f"{name}@{net}",
            min(setting[kind], max(1, of_group // parts)),
            "Too many new numbers from this network",
            f"{kind}_permits_per_day",
            charging.NEAR,
        )
        for kind, net in networks.subnets(address)
        if setting[kind]
    ]
    rows = ROWS if of_group // 2 >= ROWS * LEAST_PER_ROW else 1
    whole = _in_24_hours(
        app.id,
        f"{name} {user_id % rows}",
        of_group // rows,
        "Too many new numbers for this application",
        "app_permits_per_day",
        ALARM_AT,
    )
    return [rate_limits.address_permits(limits, address), *of_networks, whole]


def _in_24_hours(app_id: int, name: str, most: int, reason: str, limit: str, alarm_at: float) -> Bucket:
    half = max(1, most // 2)
    return Bucket(name, half, half / DAY, reason, limit, alarm=True, alarm_at=alarm_at, app_id=app_id)


# ── the ceiling ──────────────────────────────────────────────────────────────────────────────────────────────────────


def ceiling(tx: Tx, limits: Limits, app: App, now: int) -> int:
    """The most new numbers of an application in any 24 hours.

    The application's own setting counts until its last day, then the setting of the process, then the number of
    established users, which is cached for CACHE_SECONDS.
    """
    if own := app.settings.new_numbers_per_day:
        until = app.settings.new_numbers_until
        if not until or datetime.datetime.fromtimestamp(now, datetime.UTC).date().isoformat() <= until:
            return own
    if limits.app_permits_per_day:
        return limits.app_permits_per_day
    at, users = tx.memory.get(("established", app.id), (0, None))
    if users is None or not 0 <= now - at < CACHE_SECONDS:
        users = stats.totals(tx, app.id).get(established.COUNTED, 0)
        tx.memory["established", app.id] = now, users
    return automatic(users)


def automatic(users: int) -> int:
    """The ceiling of an application with so many established users."""
    return max(LEAST, PER_USER * users)


def count_established(db: Database, now: int, batch: int = COUNTED) -> int:
    """Count the established users among the next `batch` users; a pass over all users begins once a day.

    A user is established whose number was verified more than a week ago and is in an address book of another user. An
    attacker who makes accounts therefore does not raise the ceiling. Returns how many users were looked at.
    """
    with db.write() as tx:
        tx.lock(established.SWEEP)
        if sweeps.is_resting(tx, established.SWEEP, now, DAY):
            return 0
        looked_at, ended = established.count(tx, now - ESTABLISHED_AFTER, now, batch)
    if ended:
        log.info("established users counted")
    return looked_at
