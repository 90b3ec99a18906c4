"""Rate limits: the buckets that requests are charged to. `charging.py` charges them.

permits, identity_permits, address_permits     numbers that are new to a user, an identity, an address
small_books, free_changes                      the few of these that are charged to the user alone
lock_permits, carry_permits                    a number or id that a user gains takes over the user's used permits
passwords, sign_ins, log_in                    wrong passwords and refused sign-ins; all buckets of one log-in
admin_log_ins, audited_refusals                the same for the dashboard
sessions, charge_session, accounts             new sessions without a user, and new accounts
password_checks                                passwords that are compared, right ones as well
contact_changes                                contacts that uploads write
refused_uploads                                large uploads of a user that were refused
events…, pushes_of_day, further_devices_of_day   pushes that users send to each other
code_wait, codes_…                             one-time codes
resets_…                                       mails with a link to a new password
searches, search                               searches for users
phone_changes                                  changes of a phone that is not verified
forget_user, forget_admin_log_ins, sweep       delete buckets
"""

import dataclasses
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .. import errors
from ..config import Limits
from ..model import App, Caller
from ..store import buckets
from ..store.db import Database, Row, Tx
from ..times import DAY, HOUR, MINUTE
from .charging import Bucket, Charge, charge, charge_all, charge_up_to
from .networks import Subnet, neighbourhood, network, subnets

FREE_CHANGES = 2  # the login and the e-mail of one account, once a day
SLOW_SEARCH = 10  # a search that the database had to stop is charged like so many searches
KNOWN_TIMES = 10
REMEMBERED_SECONDS = 30 * DAY  # within this time a removed number can be added back without a permit


def permits(limits: Limits, caller: Caller) -> Bucket:
    """New numbers that one user may name: this limits how fast a user can find out who is registered."""
    capacity = limits.guest_permits if caller.is_guest else limits.permits
    rate = limits.permits_per_hour / HOUR
    return Bucket(_permits_name(caller.user_id), capacity, rate, "Too many new numbers for this user", "permits")


def _permits_name(user_id: int) -> str:
    return f"permits:{user_id}"


def identity_permits(limits: Limits, app: App, identities: Sequence[Row]) -> list[Bucket]:
    """The same for each verified number and each provider's id of a user. These buckets outlive the account.

    identities   rows of `store.users.identities`
    """
    found = {("number", str(row["number"])) for row in identities if row["number"] is not None}
    found |= {(kind, row[kind]) for row in identities for kind in ("firebase_uid", "cidp_uid") if row[kind]}
    rate, reason = limits.permits_per_hour / HOUR, "Too many new numbers for this user"
    names = sorted(_identity_name(app, kind, value) for kind, value in found)
    return [Bucket(name, limits.permits, rate, reason, "permits") for name in names]


def _identity_name(app: App, kind: str, value: str) -> str:
    """The name of an identity's bucket: a keyed hash, since it outlives the account and must not reveal the number."""
    who = hmac.new(app.hash_key, f"permits of {kind} {value}".encode(), "sha256").hexdigest()[:24]
    return f"permits of {app.id}:{who}"


def small_books(limits: Limits, app: App, identities: Sequence[Row]) -> list[Bucket]:
    """New numbers of a verified number in a day that count neither for an address nor for the application.

    So what strangers use up does not stop small address books. Empty when there is no verified number.
    """
    a_day, reason = limits.small_book_permits_per_day, "Too many new numbers for this user"
    numbers = sorted(row["number"] for row in identities if row["number"] is not None)
    names = [_identity_name(app, "number", str(number)) for number in numbers[:1] if a_day]
    return [Bucket(f"{name} small", a_day, a_day / DAY, reason, "small_book_permits_per_day") for name in names]


def free_changes(user_id: int) -> Bucket:
    """Changes of one user's login, e-mail and phone in a day that count neither for an address nor for the application.

    So what strangers use up does not stop the user who adds an e-mail address to the account.
    """
    reason = "Too many changes of this user's login or e-mail"
    return Bucket(_free_changes_name(user_id), FREE_CHANGES, FREE_CHANGES / DAY, reason, "permits")


def _free_changes_name(user_id: int) -> str:
    return f"free changes:{user_id}"


def lock_permits(tx: Tx, user_id: int, now: int) -> None:
    """Lock the user's permits until the transaction ends, as a charge of them does.

    A charge reads the user's verified numbers and ids after this lock. So a number that is verified at the same time
    is either charged as well, or takes over what was charged before (`carry_permits`).
    """
    buckets.lock(tx, _permits_name(user_id), now)


def carry_permits(tx: Tx, app: App, user_id: int, kind: str, value: str | int, now: int) -> None:
    """Charge an identity that the user has just gained with at least as many permits as the user has used.

    kind   number, firebase_uid or cidp_uid
    """
    lock_permits(tx, user_id, now)
    buckets.carry(tx, _permits_name(user_id), _identity_name(app, kind, str(value)))


def address_permits(limits: Limits, address: str) -> Bucket:
    """New numbers that all users at one address may name."""
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

    account   the login or e-mail that was given, whether such an account exists or not: otherwise the limit would show
    """
    who = account_name(app_id, account)
    seconds = limits.wrong_password_minutes * 60
    name = f"password:{who}@{network(address)}"
    return Bucket(
        name, limits.wrong_passwords, limits.wrong_passwords / seconds, "Too many wrong passwords", "wrong_passwords"
    )


def sign_ins(limits: Limits, address: str) -> list[Bucket]:
    """Refused sign-ins from one address and from its networks, the smallest first.

    They are limited because a refusal may show whether an account exists.
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


def log_in(limits: Limits, app_id: int, account: str, address: str, *, is_known: bool = False) -> list[Bucket]:
    """All buckets of one log-in. Their order is fixed, so that two transactions do not deadlock.

    is_known   the account has signed in from this network before: what strangers use up there does not refuse it, and
               it has KNOWN_TIMES as many wrong passwords
    """
    own = passwords(limits, app_id, account, address)
    if not is_known:
        return [own, *sign_ins(limits, address)]
    many = own.capacity * KNOWN_TIMES
    return [dataclasses.replace(own, capacity=many, per_second=own.per_second * KNOWN_TIMES, alarm=True, alarm_at=0.5)]


def account_name(app_id: int, account: str) -> str:
    """A hash of the login or e-mail of an account, in the names of buckets."""
    return hashlib.sha256(f"{app_id}:{account}".encode()).hexdigest()[:24]


def password_checks(limits: Limits, app_id: int, account: str, address: str) -> list[Bucket]:
    """Passwords that are compared, right ones as well: for one account from one address, and for all from one address.

    Each takes about 20 ms of a core. They are not refunded. A stranger elsewhere uses up neither.
    """
    who = account_name(app_id, account)
    own, all_ = limits.password_checks_per_hour, limits.address_password_checks_per_hour
    reason = "Too many sign-ins of this account from this address"
    return [
        Bucket(f"checks:{who}@{network(address)}", own, own / HOUR, reason, "password_checks_per_hour"),
        Bucket(
            f"checks@{network(address)}",
            all_,
            all_ / HOUR,
            "Too many sign-ins from this address",
            "address_password_checks_per_hour",
        ),
    ]


def contact_changes(limits: Limits, user_id: int) -> Bucket:
    """Contacts that one user's uploads write: create, change, move or delete. Renames cost no permit, but work."""
    a_day = limits.contact_changes_per_day
    reason = "Too many changes of contacts by this user"
    return Bucket(_contact_changes_name(user_id), a_day, a_day / DAY, reason, "contact_changes_per_day")


def _contact_changes_name(user_id: int) -> str:
    return f"contact-changes:{user_id}"


def charge_session(tx: Tx, limits: Limits, address: str, now: int) -> None:
    """Charge a signed sign-in or a session without a user, each of which stores a row; TooMany."""
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
    """Refused log-ins to the dashboard that the audit log records."""
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
    """Large uploads of one user that were refused. They cost no permit, but take time to read."""
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
    """Requests of one user that send pushes to others."""
    a_minute = limits.events_per_minute
    return Bucket(
        _events_name(user_id), a_minute, a_minute / MINUTE, "Too many events from this user", "events_per_minute"
    )


def _events_name(user_id: int) -> str:
    return f"events:{user_id}"


def code_wait(app: App, number: int, address: str, seconds: int) -> Bucket:
    """The wait between two codes to one number that are requested from one network."""
    name = f"{codes_name(app, number)} wait@{neighbourhood(address)}"
    return Bucket(name, seconds, 1.0, "A code has just been sent to this number", "code_resend_seconds")


def code_attempts(request_id: str, address: str, most: int, ends_at: int) -> Bucket:
    """Wrong answers to one request for a code from one network."""
    name = f"code attempts:{request_id}@{neighbourhood(address)}"
    return Bucket(name, most, 0, "Too many wrong codes: ask for a new one", ends_at=ends_at)


def codes_name(app: App, number: int) -> str:
    """The beginning of the names of a number's buckets. It contains a keyed hash, not the number."""
    who = hmac.new(app.hash_key, f"codes to {number}".encode(), "sha256").hexdigest()[:24]
    return f"codes:{app.id}:{who}"


def by_asker(name: str, an_hour: int, address: str, reason: str, limit: str, *, is_known: bool) -> list[Bucket]:
    """What strangers may request about one account or number: one network at most half of it, rounded up.

    is_known   the account or number has signed in from this network: it has as much again for itself
    """
    net = neighbourhood(address)
    parts = [(f" known@{net}", an_hour)] if is_known else [(f"@{net}", (an_hour + 1) // 2), ("", an_hour)]
    return [Bucket(f"{name}{part}", most, most / HOUR, reason, limit) for part, most in parts]


def events_from_address(limits: Limits, address: str) -> Bucket:
    """Requests from one address that send pushes to others."""
    a_minute = limits.events_per_address_per_minute
    return Bucket(
        f"pushes@{network(address)}",
        a_minute,
        a_minute / MINUTE,
        "Too many events from this address",
        "events_per_address_per_minute",
    )


def pushes_of_day(limits: Limits, user_id: int) -> Bucket:
    """Pushes that one user sends to others. Each is a row that is kept for a week after it was settled."""
    a_day = limits.pushes_per_sender_per_day
    return Bucket(
        _pushes_name(user_id), a_day, a_day / DAY, "Too many pushes from this user", "pushes_per_sender_per_day"
    )


def further_devices_of_day(limits: Limits, user_id: int) -> Bucket:
    """Devices that one user's events reach beside one for each recipient. A sender is never refused by it."""
    a_day = limits.pushes_per_sender_per_day
    more = max(1, a_day // 8) if a_day else 0
    return Bucket(_devices_name(user_id), more, more / DAY, "", "pushes_per_sender_per_day")


def _pushes_name(user_id: int) -> str:
    return f"pushes:{user_id}"


def _devices_name(user_id: int) -> str:
    return f"devices:{user_id}"


def codes_to_number(limits: Limits, app: App, number: int, address: str, *, is_known: bool) -> list[Bucket]:
    """One-time codes sent to one number of an application, as one asker may request them: see `by_asker`."""
    reason, limit = "Too many codes for this number", "codes_per_number_per_hour"
    name, an_hour = codes_name(app, number), limits.codes_per_number_per_hour
    return by_asker(name, an_hour, address, reason, limit, is_known=is_known)


def codes_for_address(limits: Limits, address: str) -> Bucket:
    """One-time codes requested from one address."""
    an_hour = limits.codes_per_address_per_hour
    return Bucket(
        f"codes@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many codes from this address",
        "codes_per_address_per_hour",
    )


def codes_for_subnets(limits: Limits, address: str) -> list[Bucket]:
    """One-time codes requested from the /56 and the /48 (IPv4: the /24) of an address, the smaller network first."""
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
    """One-time codes that an application sends in a day (UTC). It does not drain, so the cost of a day is bounded."""
    return _codes_of_day(app, now, "day", app.settings.sms_daily_cap)


def codes_to_new_numbers(app: App, now: int) -> Bucket:
    """One-time codes of a day to numbers that have never signed in here: half of the day's codes, rounded up."""
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


def resets_of_email(limits: Limits, app: App, folded: str, address: str, *, is_known: bool) -> list[Bucket]:
    """Mails with a link to one e-mail of an application, as one asker may request them: see `by_asker`.

    Strangers share a budget of the day, and all networks from which the account has signed in share another one. The
    names contain a keyed hash, not the e-mail.
    """
    who = hmac.new(app.hash_key, f"reset {folded}".encode(), "sha256").hexdigest()[:24]
    name, reason, a_day = f"resets:{app.id}:{who}", "Too many links for this e-mail", limits.resets_per_user_per_day
    of_day = Bucket(
        f"{name} known day" if is_known else f"{name} day", a_day, a_day / DAY, reason, "resets_per_user_per_day"
    )
    of_hour = limits.resets_per_user_per_hour, address, reason, "resets_per_user_per_hour"
    return [*by_asker(name, *of_hour, is_known=is_known), of_day]


def resets_from_address(limits: Limits, address: str) -> list[Bucket]:
    """Links to a new password that are asked for from one address and from its networks, the smallest first."""
    an_hour = limits.resets_per_address_per_hour
    of_address = Bucket(
        f"resets@{network(address)}",
        an_hour,
        an_hour / HOUR,
        "Too many requests for a new password from this address",
        "resets_per_address_per_hour",
    )
    larger: dict[Subnet, int] = {"subnet": limits.subnet_resets_per_hour, "network": limits.network_resets_per_hour}
    reason = "Too many requests for a new password from this network"
    return [of_address, *_for_subnets(address, "resets", larger, reason)]


def searches(limits: Limits, user_id: int, address: str) -> list[Bucket]:
    """Searches for users, by one user and from one address. All buckets of one search, in a fixed order."""
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


@contextmanager
def search(db: Database, limits: Limits, caller: Caller, now: int) -> Iterator[None]:
    """Charge a search. Raises TooMany, and TooSlow for one that the database had to stop: it is charged ten times."""
    buckets_ = searches(limits, caller.user_id, caller.address)
    with db.write() as tx:
        for bucket in buckets_:
            charge(tx, bucket, 1, now)
    try:
        yield
    except errors.TooSlow as slow:
        with db.write() as tx:
            for bucket in buckets_:
                charge_up_to(tx, bucket, SLOW_SEARCH - 1, now)
        raise errors.TooSlow("this search takes too long: narrow it", limit="search_seconds") from slow


def _searches_name(user_id: int) -> str:
    return f"searches:{user_id}"


def phone_changes(limits: Limits, user_id: int) -> Bucket:
    """Changes of one user's phone to numbers that are not verified.

    They are limited because a user who wants mutual contacts to find them reveals to whoever takes a number that this
    number is in an address book (docs/privacy.md).
    """
    a_day = limits.phone_changes_per_day
    reason = "Too many changes of this user's phone"
    return Bucket(_phone_changes_name(user_id), a_day, a_day / DAY, reason, "phone_changes_per_day")


def _phone_changes_name(user_id: int) -> str:
    return f"phone-changes:{user_id}"


def admin_log_ins(limits: Limits, email: str) -> Bucket:
    """Wrong passwords for one admin from all addresses together, except the admin's own."""
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


def forget_user(tx: Tx, user_id: int) -> None:
    """Delete the numbers that a user has removed, and the user's own buckets.

    The buckets of the user's verified numbers and providers' ids stay until they are empty. Otherwise a user could
    delete the account, verify the number again, and have new permits.
    """
    buckets.forget_owner(tx, user_id)
    buckets.forget(tx, _permits_name(user_id))
    buckets.forget(tx, _events_name(user_id))
    buckets.forget(tx, _pushes_name(user_id))
    buckets.forget(tx, _devices_name(user_id))
    buckets.forget(tx, _searches_name(user_id))
    buckets.forget(tx, _phone_changes_name(user_id))
    buckets.forget(tx, _free_changes_name(user_id))
    buckets.forget(tx, _refused_uploads_name(user_id))
    buckets.forget(tx, _contact_changes_name(user_id))


def forget_admin_log_ins(tx: Tx, email: str) -> None:
    """Delete the bucket of wrong passwords for an admin."""
    buckets.forget(tx, _admin_log_ins_name(email))


def sweep(db: Database, now: int, batch: int = 500) -> int:
    """Delete up to `batch` empty buckets and as many removed numbers that are too old. Returns how many."""
    with db.write() as tx:
        return buckets.sweep(tx, now, now - REMEMBERED_SECONDS, batch)
