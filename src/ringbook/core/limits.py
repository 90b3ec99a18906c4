"""How often: buckets that fill by use and drain with time.

    Bucket                       a name, how much it holds, and how fast that comes back
    charge(tx, bucket, cost)     use some of it, or refuse with how long to wait
    give_back(tx, bucket)        undo a charge that turned out to be owed to nobody
    tried(db, buckets)           what is tried inside is charged before, and given back if it was right
    forget_user(tx, id)          forget what is remembered of a user who is gone
    sweep(db, now)               forget what no longer limits anybody
    permits, address_permits, passwords, sign_ins, sessions, accounts, events     the buckets there are,
    log_in                       all of one log-in,
    codes_to_number, codes_for_address, codes_for_subnets, codes_of_day  and those of one-time codes,
    network, subnets             what counts as one address, and the larger networks that it is in

A bucket lives in the database, so that every process draws on the same one. Its name never holds a number or a name.
"""

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from .. import errors
from ..config import Limits
from ..model import App, Caller
from ..store import buckets
from ..store.db import Database, Tx

MINUTE, HOUR, DAY = 60, 3600, 86400
NEVER = 2**40
REMEMBERED_SECONDS = 30 * DAY  # for so long a removed number can be added back for nothing
Subnet = Literal["subnet", "network"]


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


def permits(limits: Limits, caller: Caller) -> Bucket:
    """Numbers that one user may ask about: the limit on reading out who is registered."""
    capacity = limits.guest_permits if caller.is_guest else limits.permits
    rate = limits.permits_per_hour / HOUR
    return Bucket(_permits_name(caller.user_id), capacity, rate, "Too many new numbers for this user", "permits")


def _permits_name(user_id: int) -> str:
    return f"permits:{user_id}"


def address_permits(limits: Limits, address: str) -> Bucket:
    """The same for everybody behind one address."""
    a_day = limits.address_permits_per_day
    return Bucket(
        f"permits@{network(address)}",
        a_day,
        a_day / DAY,
        "Too many new numbers from this address",
        "address_permits_per_day",
    )


def passwords(limits: Limits, app_id: int, account: str, address: str) -> Bucket:
    """Wrong passwords for one account from one address.

    account   what was given for one, known or not: were known accounts told from others, so could whoever asks
    """
    who = hashlib.sha256(f"{app_id}:{account}".encode()).hexdigest()[:24]
    seconds = limits.wrong_password_minutes * 60
    name = f"password:{who}@{network(address)}"
    return Bucket(
        name, limits.wrong_passwords, limits.wrong_passwords / seconds, "Too many wrong passwords", "wrong_passwords"
    )


def sign_ins(limits: Limits, address: str) -> Bucket:
    """Refused sign-ins from one address: each tells whether there is such an account."""
    an_hour = limits.wrong_sign_ins_per_hour
    return Bucket(
        f"sign-ins@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many refused sign-ins from this address",
        "wrong_sign_ins_per_hour",
    )


def log_in(limits: Limits, app_id: int, account: str, address: str) -> list[Bucket]:
    """What one log-in is charged to, always in this order: two that wait for each other would wait for ever."""
    return [passwords(limits, app_id, account, address), sign_ins(limits, address)]


def sessions(limits: Limits, address: str) -> Bucket:
    """Sessions without a user from one address: each is a row."""
    an_hour = limits.new_sessions_per_hour
    return Bucket(
        f"sessions@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many new sessions from this address",
        "new_sessions_per_hour",
    )


def accounts(limits: Limits, address: str) -> Bucket:
    """New accounts from one address."""
    an_hour = limits.new_accounts_per_hour
    return Bucket(
        f"accounts@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many new accounts from this address",
        "new_accounts_per_hour",
    )


def events(limits: Limits, user_id: int) -> Bucket:
    """Calls by which one user sends pushes to others."""
    a_minute = limits.events_per_minute
    return Bucket(
        _events_name(user_id), a_minute, a_minute / MINUTE, "Too many events from this user", "events_per_minute"
    )


def _events_name(user_id: int) -> str:
    return f"events:{user_id}"


def codes_to_number(limits: Limits, app: App, number: int) -> Bucket:
    """One-time codes sent to one number of an application; the name is a keyed hash, not the number."""
    an_hour = limits.codes_per_number_per_hour
    who = hmac.new(app.hash_key, f"codes to {number}".encode(), "sha256").hexdigest()[:24]
    return Bucket(
        f"codes:{app.id}:{who}", an_hour, an_hour / HOUR, "Too many codes for this number", "codes_per_number_per_hour"
    )


def codes_for_address(limits: Limits, address: str) -> Bucket:
    """One-time codes asked for from one address."""
    an_hour = limits.codes_per_address_per_hour
    return Bucket(
        f"codes@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many codes from this address",
        "codes_per_address_per_hour",
    )


def codes_for_subnets(limits: Limits, address: str) -> list[Bucket]:
    """One-time codes asked for from the /56 and the /48 (IPv4: the /24) of an address, the smaller network first."""
    return _for_subnets(
        address,
        "codes",
        {"subnet": limits.subnet_codes_per_hour, "network": limits.network_codes_per_hour},
        "Too many codes from this network",
    )


def _for_subnets(address: str, what: str, an_hour: dict[Subnet, int], reason: str) -> list[Bucket]:
    return [
        Bucket(f"{what}@{subnet}", an_hour[kind], an_hour[kind] / HOUR, reason, f"{kind}_{what}_per_hour", alarm=True)
        for kind, subnet in subnets(address)
    ]


def codes_of_day(app: App, now: int) -> Bucket:
    """One-time codes that an application sends in a day (UTC). Whole: what it costs is bounded to the message."""
    day = now // DAY
    cap, reason = app.settings.sms_daily_cap, "Too many codes from this application today"
    return Bucket(f"codes:{app.id}:day {day}", cap, 0, reason, "sms_daily_cap", ends_at=(day + 1) * DAY)


def network(address: str) -> str:
    """What counts as one address: all of IPv4's, the first 64 bits of IPv6's."""
    ip = _ip(address)
    if ip is None:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def subnets(address: str) -> list[tuple[Subnet, str]]:
    """The larger networks that an address is in, the smaller one first; none for what is not an address.

    Each comes with the first word of its settings: `subnet` is a /56, `network` a /48 or, of IPv4, a /24.
    """
    ip = _ip(address)
    if ip is None:
        return []
    sizes: dict[Subnet, int] = {"network": 24} if ip.version == 4 else {"subnet": 56, "network": 48}
    return [(kind, str(ipaddress.ip_network((ip, size), strict=False))) for kind, size in sizes.items()]


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def charge(tx: Tx, bucket: Bucket, cost: int, now: int) -> None:
    """Use `cost` of the bucket, or raise TooMany and leave it as it is."""
    if not bucket.capacity or not cost:
        return
    row = buckets.lock(tx, bucket.name, now)
    used = drained(row["used"], row["at"], bucket.per_second, now) + cost
    if used > bucket.capacity:
        reason = bucket.reason if cost <= bucket.capacity else f"{bucket.reason}: at most {bucket.capacity} at once"
        seconds = bucket.ends_at - now if bucket.ends_at else wait(used - bucket.capacity, bucket.per_second)
        raise errors.TooMany(reason, wait_seconds=seconds, limit=bucket.limit)
    write(tx, bucket, used, now)


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


def write(tx: Tx, bucket: Bucket, used: float, now: int) -> None:
    """Write down what is used, and when all of it will have come back."""
    empty_at = now + math.ceil(used / bucket.per_second) if bucket.per_second else bucket.ends_at or NEVER
    buckets.set_used(tx, bucket.name, used, now, empty_at)


def drained(used: float, at: int, per_second: float, now: int) -> float:
    """What is still used of a bucket some time later; a clock that went back drains nothing."""
    return max(0.0, used - max(0, now - at) * per_second)


def wait(amount: float, per_second: float) -> int:
    """Seconds until `amount` has come back; 30 days where it never does, or not sooner."""
    most = 30 * DAY
    return min(most, max(1, math.ceil(amount / per_second))) if per_second else most


def forget_user(tx: Tx, user_id: int) -> None:
    """Forget the numbers that a user has removed, and what was used of the user's own buckets."""
    buckets.forget_owner(tx, user_id)
    buckets.forget(tx, _permits_name(user_id))
    buckets.forget(tx, _events_name(user_id))


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Forget up to `batch` empty buckets and as many removed numbers whose time is over; how many that were."""
    with db.write() as tx:
        return buckets.sweep(tx, now, now - REMEMBERED_SECONDS, batch)
