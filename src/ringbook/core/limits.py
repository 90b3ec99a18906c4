"""How often: buckets that fill by use and drain with time.

    Bucket                       a name, how much it holds, and how fast that comes back
    charge(tx, bucket, cost)     use some of it, or refuse with how long to wait
    has_room                     is so much of it left?
    check_empty, fill            refuse unless all has come back; use all of it
    Charge, charge_all           use some of several in two statements, or refuse and use none
    charge_all_there_is(…)       use some of it for what has been done already
    give_back(tx, bucket)        undo a charge that turned out to be owed to nobody
    tried(db, buckets)           what is tried inside is charged before, and given back if it was right
    refusals_charged(db, bucket)  what is refused inside is charged
    forget_user(tx, id)          forget what is remembered of a user who is gone
    sweep(db, now)               forget what no longer limits anybody
    permits, identity_permits, address_permits, passwords, sign_ins, sessions, accounts, events     the buckets,
    charge_session(…)            a session without a user, or a signature, on all of its buckets
    lock_permits, carry_permits  what a user has used of permits counts for a number or id that is new to the user
    refused_uploads                                                               large ones of a user,
    events_from_address, pushes_of_day                                            those of events,
    log_in                       all of one log-in,
    code_wait, codes_to_number, codes_for_address, codes_for_subnets, codes_of_day, codes_to_new_numbers  of codes,
    network, subnets             what counts as one address, and the larger networks that it is in
    is_loopback                  whether an address is one of this machine

A bucket lives in the database, so that every process draws on the same one. Its name never holds a number or a name.
"""

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from .. import errors, metrics
from ..config import Limits
from ..logs import log
from ..model import App, Caller
from ..store import buckets
from ..store.db import Database, Row, Tx
from . import stats

MINUTE, HOUR, DAY = 60, 3600, 86400
NEVER = 2**40
REMEMBERED_SECONDS = 30 * DAY  # for so long a removed number can be added back for nothing
NEAR = 0.8  # of a shared bucket: the operator hears of it
NEAR_SECONDS = 600  # between two log lines about one limit
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


def identity_permits(limits: Limits, app: App, identities: Sequence[Row]) -> list[Bucket]:
    """The same for each verified number and each provider's id of a user, whichever account it belongs to in time.

    identities   of `store.users.identities`
    """
    found = {("number", str(row["number"])) for row in identities if row["number"] is not None}
    found |= {(kind, row[kind]) for row in identities for kind in ("firebase_uid", "cidp_uid") if row[kind]}
    rate, reason = limits.permits_per_hour / HOUR, "Too many new numbers for this user"
    names = sorted(_identity_name(app, kind, value) for kind, value in found)
    return [Bucket(name, limits.permits, rate, reason, "permits") for name in names]


def _identity_name(app: App, kind: str, value: str) -> str:
    """Keyed hash: the name outlives the account, and must not tell the number."""
    who = hmac.new(app.hash_key, f"permits of {kind} {value}".encode(), "sha256").hexdigest()[:24]
    return f"permits of {app.id}:{who}"


def lock_permits(tx: Tx, user_id: int, now: int) -> None:
    """Nobody else charges this user, or carries the user's permits, until the transaction ends.

    Who charges looks for the user's number and ids after this. So one that is proven at the same time is either charged
    as well, or gets what has been charged.
    """
    buckets.lock(tx, _permits_name(user_id), now)


def carry_permits(tx: Tx, app: App, user_id: int, kind: str, value: str | int, now: int) -> None:
    """A number or id is the user's from now on, and has used at least as many permits as the user.

    kind   number, firebase_uid or cidp_uid
    """
    lock_permits(tx, user_id, now)
    buckets.carry(tx, _permits_name(user_id), _identity_name(app, kind, str(value)))


def address_permits(limits: Limits, address: str) -> Bucket:
    """The same for everybody behind one address."""
    a_day = limits.address_permits_per_day
    return Bucket(
        f"permits@{network(address)}",
        a_day,
        a_day / DAY,
        "Too many new numbers from this address",
        "address_permits_per_day",
        alarm=True,
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


def sign_ins(limits: Limits, address: str) -> list[Bucket]:
    """Refused sign-ins from one address and from its networks, the smallest first.

    Each refusal tells whether there is such an account.
    """
    an_hour = limits.wrong_sign_ins_per_hour
    of_address = Bucket(
        f"sign-ins@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many refused sign-ins from this address",
        "wrong_sign_ins_per_hour",
    )
    larger: dict[Subnet, int] = {
        "subnet": limits.subnet_wrong_sign_ins_per_hour,
        "network": limits.network_wrong_sign_ins_per_hour,
    }
    reason = "Too many refused sign-ins from this network"
    return [of_address, *_for_subnets(address, "wrong_sign_ins", larger, reason)]


def log_in(limits: Limits, app_id: int, account: str, address: str) -> list[Bucket]:
    """What one log-in is charged to, always in this order: two that wait for each other would wait for ever."""
    return [passwords(limits, app_id, account, address), *sign_ins(limits, address)]


def charge_session(tx: Tx, limits: Limits, address: str, now: int) -> None:
    """Charge a signed sign-in or a session without a user, or raise TooMany: each is a row."""
    charge_all(tx, [Charge(bucket, 1) for bucket in sessions(limits, address)], now)


def sessions(limits: Limits, address: str) -> list[Bucket]:
    """Signed sign-ins, and sessions without a user, from one address and from its networks, the smallest first."""
    an_hour = limits.new_sessions_per_hour
    of_address = Bucket(
        f"sessions@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many new sessions from this address",
        "new_sessions_per_hour",
    )
    larger: dict[Subnet, int] = {"subnet": limits.subnet_sessions_per_hour, "network": limits.network_sessions_per_hour}
    return [of_address, *_for_subnets(address, "sessions", larger, "Too many new sessions from this network")]


def audited_refusals(limits: Limits) -> Bucket:
    """Refused log-ins to the dashboard that the audit log notes."""
    an_hour = limits.audited_refusals_per_hour
    return Bucket("audited refusals", an_hour, an_hour / HOUR, "Too many refused log-ins", "audited_refusals_per_hour")


def accounts(limits: Limits, address: str) -> list[Bucket]:
    """New accounts from one address and from its networks, the smallest first."""
    an_hour = limits.new_accounts_per_hour
    of_address = Bucket(
        f"accounts@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many new accounts from this address",
        "new_accounts_per_hour",
        alarm=True,
    )
    larger: dict[Subnet, int] = {"subnet": limits.subnet_accounts_per_hour, "network": limits.network_accounts_per_hour}
    return [of_address, *_for_subnets(address, "accounts", larger, "Too many new accounts from this network")]


def refused_uploads(limits: Limits, user_id: int) -> Bucket:
    """Large uploads of one user that were refused: they cost the time to read them, and no permit."""
    an_hour = limits.refused_uploads_per_hour
    return Bucket(
        _refused_uploads_name(user_id),
        an_hour,
        an_hour / HOUR,
        "Too many large uploads of this user were refused",
        "refused_uploads_per_hour",
    )


def _refused_uploads_name(user_id: int) -> str:
    return f"refused-uploads:{user_id}"


def events(limits: Limits, user_id: int) -> Bucket:
    """Calls by which one user sends pushes to others."""
    a_minute = limits.events_per_minute
    return Bucket(
        _events_name(user_id), a_minute, a_minute / MINUTE, "Too many events from this user", "events_per_minute"
    )


def _events_name(user_id: int) -> str:
    return f"events:{user_id}"


def code_wait(app_id: int, hash_key: bytes, number: int, seconds: int) -> Bucket:
    """The wait between two codes to one number, for as long as the code itself does not tell."""
    name = f"{_codes_name(app_id, hash_key, number)} wait"
    return Bucket(name, seconds, 1.0, "A code has just been sent to this number", "code_resend_seconds")


def _codes_name(app_id: int, hash_key: bytes, number: int) -> str:
    who = hmac.new(hash_key, f"codes to {number}".encode(), "sha256").hexdigest()[:24]
    return f"codes:{app_id}:{who}"


def events_from_address(limits: Limits, address: str) -> Bucket:
    """The same for everybody at one address."""
    a_minute = limits.events_per_address_per_minute
    return Bucket(
        f"pushes@{network(address)}",
        a_minute,
        a_minute / MINUTE,
        "Too many events from this address",
        "events_per_address_per_minute",
    )


def pushes_of_day(limits: Limits, user_id: int) -> Bucket:
    """Pushes that one user sends to others: each is a row that stays for a week after it was settled."""
    a_day = limits.pushes_per_sender_per_day
    return Bucket(
        _pushes_name(user_id), a_day, a_day / DAY, "Too many pushes from this user", "pushes_per_sender_per_day"
    )


def _pushes_name(user_id: int) -> str:
    return f"pushes:{user_id}"


def codes_to_number(limits: Limits, app: App, number: int) -> Bucket:
    """One-time codes sent to one number of an application; the name is a keyed hash, not the number."""
    an_hour = limits.codes_per_number_per_hour
    return Bucket(
        _codes_name(app.id, app.hash_key, number),
        an_hour,
        an_hour / HOUR,
        "Too many codes for this number",
        "codes_per_number_per_hour",
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
    return _codes_of_day(app, now, "day", app.settings.sms_daily_cap)


def codes_to_new_numbers(app: App, now: int) -> Bucket:
    """Those of the day that go to numbers which have never signed in here: half of them, rounded up."""
    cap = app.settings.sms_daily_cap
    return _codes_of_day(app, now, "new numbers", cap - cap // 2)


def _codes_of_day(app: App, now: int, what: str, cap: int) -> Bucket:
    day = now // DAY
    return Bucket(
        f"codes:{app.id}:{what} {day}",
        cap,
        0,
        "Too many codes from this application today",
        "sms_daily_cap",
        ends_at=(day + 1) * DAY,
        alarm=True,
        app_id=app.id,
    )


def searches(limits: Limits, user_id: int, address: str) -> list[Bucket]:
    """Searches for users, by one user and from one address; what one is charged to, always in this order."""
    own, all_ = limits.searches_per_minute, limits.address_searches_per_minute
    return [
        Bucket(_searches_name(user_id), own, own / MINUTE, "Too many searches by this user", "searches_per_minute"),
        Bucket(
            f"searches@{network(address)}",
            all_,
            all_ / MINUTE,
            "Too many searches from this address",
            "address_searches_per_minute",
        ),
    ]


def _searches_name(user_id: int) -> str:
    return f"searches:{user_id}"


def admin_log_ins(limits: Limits, email: str) -> Bucket:
    """Wrong passwords for one admin from all addresses together, but the admin's own."""
    an_hour = limits.wrong_admin_passwords_per_hour
    return Bucket(
        _admin_log_ins_name(email),
        an_hour,
        an_hour / HOUR,
        "Too many wrong passwords for this admin",
        "wrong_admin_passwords_per_hour",
    )


def _admin_log_ins_name(email: str) -> str:
    return f"admin-log-ins:{hashlib.sha256(email.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


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


def is_loopback(address: str) -> bool:
    """Is it an address of this machine, at which a proxy may stand for everybody?"""
    ip = _ip(address)
    return ip is not None and ip.is_loopback


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


def forget_user(tx: Tx, user_id: int) -> None:
    """Forget the numbers that a user has removed, and what was used of the user's own buckets.

    What the user's verified number and providers' ids have used stays under their keyed hashes until it has come back:
    otherwise, who deletes the account and proves the number again would have new permits.
    """
    buckets.forget_owner(tx, user_id)
    buckets.forget(tx, _permits_name(user_id))
    buckets.forget(tx, _events_name(user_id))
    buckets.forget(tx, _pushes_name(user_id))
    buckets.forget(tx, _searches_name(user_id))
    buckets.forget(tx, _refused_uploads_name(user_id))


def forget_admin_log_ins(tx: Tx, email: str) -> None:
    """Forget the wrong passwords that were tried for an admin."""
    buckets.forget(tx, _admin_log_ins_name(email))


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Forget up to `batch` empty buckets and as many removed numbers whose time is over; how many that were."""
    with db.write() as tx:
        return buckets.sweep(tx, now, now - REMEMBERED_SECONDS, batch)
