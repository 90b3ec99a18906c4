"""Nobody reads out the user base: what a user may see of another one, and what asking costs.

    is_private     would this login tell an e-mail or a phone number?
    key            an e-mail or a phone, in any spelling, as one value
    Named, charge  the e-mails and phones that a query names; each that the caller does not hold already costs a permit
    pay            what a value that is new to the caller costs
    removed_lately, hashed    numbers that the caller has had a short while ago, and how they are remembered
    seen, known_to users as the caller may see them

Another user's phone and e-mail, and a login that is one of these, show to a caller who holds the user's number in a
book, who has named the very value (and so has paid for it), or when the application's setting `profiles` is `open`.
A value costs the same whether somebody has it or not, so that an answer tells no more than was paid for.
"""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from .. import errors, phone
from ..config import Limits
from ..model import App, Caller, User
from ..store import books, buckets, users
from ..store.db import Database, Row, Tx
from ..times import DAY
from . import ceiling, rate_limits

SHORTEST = 7  # digits of a national number, without its area
NO_BOOK = -1

Named = frozenset[int | str]
NOTHING: Named = frozenset()


def is_private(login: str) -> bool:
    """Is this login an e-mail, or digits and formatting enough for a phone number of any country?"""
    if "@" in login:
        return True
    try:
        phone.read(login)
    except phone.Unreadable:
        return False
    except phone.WrongLength:
        return sum(character.isdecimal() for character in login) >= SHORTEST
    return True


def number(typed: str | None, region: str) -> int | None:
    """The number that was typed, None if it is none."""
    try:
        return phone.read(typed or "", region)
    except (phone.Unreadable, phone.WrongLength):
        return None


def key(text: str, region: str) -> int | str:
    """An e-mail, a phone or a login of either kind: its number if it is one, else folded."""
    found = number(text, region)
    return users.fold(text) if found is None else found


def is_open(caller: Caller) -> bool:
    """Has the application's owner decided that everybody sees phones and e-mails?"""
    return caller.app.settings.profiles == "open"


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def charge(db: Database, limits: Limits, caller: Caller, named: Iterable[int | str], now: int) -> None:
    """Take a permit for each value that the caller does not hold; TooMany, SessionGone for a caller who is gone.

    Committed before anything is looked up: what is then answered, or refused, has been paid for.
    """
    values = set(named)
    if not values:
        return
    with db.read() as tx:
        cost = len(values - _held(tx, caller, values, now))
    if cost:
        with db.write() as tx:
            users.lock(tx, caller.user_id)  # an erasure would leave the bucket that we make behind
            pay(tx, limits, caller, cost, now)


def _held(tx: Tx, caller: Caller, values: set[int | str], now: int) -> set[int | str]:
    """Those of the values that are the caller's own, or numbers that a book of the caller's has or had lately."""
    numbers = [value for value in values if isinstance(value, int)]
    held: set[int | str] = set(users.numbers_of(tx, caller.user_id))
    if numbers:
        held |= books.elsewhere(tx, caller.app.id, caller.user_id, NO_BOOK, numbers)
        held |= removed_lately(tx, caller, numbers, now)
    own = users.by_id(tx, caller.app.id, caller.user_id)
    region = caller.app.settings.default_region
    return held | {key(text, region) for text in (own and own.login, own and own.email) if text}


def pay(tx: Tx, limits: Limits, caller: Caller, cost: int, now: int) -> None:
    """Charge the caller, then the address, its networks and the application, for asking about values.

    Registered or not, they cost the same. The caller's verified number and providers' ids are charged beside the
    account, since they outlive it. Nobody erases the caller meanwhile. Raises TooMany, and SessionGone.
    """
    if not cost:
        return
    of_account = rate_limits.permits(limits, caller)
    if of_account.capacity:
        rate_limits.lock_permits(tx, caller.user_id, now)
    identities = users.identities(tx, caller.app.id, caller.user_id)
    if not identities:
        raise errors.SessionGone
    own = [of_account, *rate_limits.identity_permits(limits, caller.app, identities)]
    established = _established(identities, now - DAY)
    ceiling.charge_numbers(tx, limits, caller.app, caller.address, cost, now, own=own, established=established)


def _established(identities: Sequence[Row], before: int) -> bool:
    """Was something of the user proven by then? Of a provider's id the age of the account tells."""
    return any(
        (row["verified_at"] is not None and row["verified_at"] <= before)
        or ((row["firebase_uid"] or row["cidp_uid"]) and row["since"] <= before)
        for row in identities
    )


def removed_lately(tx: Tx, caller: Caller, numbers: Sequence[int], now: int) -> set[int]:
    """Those of these numbers that the caller has removed from a book a short while ago."""
    if not buckets.has_removed(tx, caller.user_id):
        return set()
    hashes = {hashed(caller.app, number): number for number in numbers}
    known = buckets.removed_among(tx, caller.user_id, list(hashes), now - rate_limits.REMEMBERED_SECONDS)
    return {hashes[found] for found in known}


def hashed(app: App, number: int) -> int:
    """A keyed hash, as a signed 64-bit integer: what need not be known as a number is not stored as one."""
    return int.from_bytes(hashlib.blake2b(number.to_bytes(8), key=app.hash_key, digest_size=8).digest(), signed=True)


# ── seeing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def seen(tx: Tx, caller: Caller, found: Sequence[User], named: Named = NOTHING) -> list[User]:
    """The users as the caller may see them, who has named these values."""
    if is_open(caller) or not found:
        return list(found)
    known = known_to(tx, caller, [user.id for user in found])
    region = caller.app.settings.default_region
    return [user if user.id in known else veiled(user, named, region) for user in found]


def veiled(user: User, named: Named, region: str) -> User:
    """A user without phone and e-mail, and without a login that is one of these, save what was named."""
    private = user.login is not None and is_private(user.login)
    return msgspec.structs.replace(
        user,
        phone=_if_named(user.phone, named, region),
        email=_if_named(user.email, named, region),
        login=_if_named(user.login, named, region) if private else user.login,
    )


def _if_named(text: str | None, named: Named, region: str) -> str | None:
    return text if text and key(text, region) in named else None


def known_to(tx: Tx, caller: Caller, user_ids: Sequence[int]) -> set[int]:
    """Those of these users whose phone and e-mail the caller may see: contacts of the caller's, and the caller."""
    if caller.app.settings.profiles == "open":
        return set(user_ids)
    return books.holds(tx, caller.user_id, user_ids, proven=caller.app.verified_only) | {caller.user_id}
