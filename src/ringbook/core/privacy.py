"""Privacy between users: which fields of another user a caller sees, and what a caller pays for naming values.

    is_private, is_phone      say whether a login reveals an e-mail or a phone number, or a phone number
    canonical                 an e-mail or a phone, in any spelling, as one value
    Named, charge             the e-mails and phones that a query names; each costs a permit unless the caller holds it
    pay                       charges permits for values that are new to the caller
    removed_lately            numbers that the caller has removed a short while ago
    visible, fully_visible    users as the caller may see them; visible_if_held: one user, without a statement

A *private value* is a phone, an e-mail, or a login that is one of these. The caller sees a private value of another
user when the caller's book contains the user's number, when the query named the value (and so paid for it), or when
the application's setting `profiles` is `open`. A value costs the same whether a user has it or not, so that an answer
reveals no more than was paid for. This keeps users from reading out the user base.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

from .. import errors, phone
from ..config import Limits
from ..model import Caller, User
from ..profile_fields import FOLDED_CHARACTERS
from ..store import books, buckets, numbers, users
from ..store.db import Database, Row, Tx
from ..times import DAY
from . import ceiling, charging, discoverable, rate_limits

# Without blanks before it: reading a number skips them, and a pattern that begins with them takes quadratic time.
URI = re.compile(r"(tel|sms|callto):", re.IGNORECASE)
SHORTEST = 7  # digits of a national number without its area code
NO_BOOK = -1
FEW = 64  # numbers that are looked up in the time of one more statement

Named = frozenset[int | str]
NOTHING: Named = frozenset()


def is_private(login: str) -> bool:
    """Whether this login is an e-mail, or has enough digits for a phone number of some country, also behind `tel:`.

    A text that is too long for a login or another name is not read, and counts as private.
    """
    if len(login) > FOLDED_CHARACTERS:
        return True
    login = unicodedata.normalize("NFKC", login)  # signs of double width are read as the usual ones
    if "@" in login:
        return True
    try:
        phone.read(URI.sub("", login))
    except phone.Unreadable:
        return False
    except phone.WrongLength:
        return sum(character.isdecimal() for character in login) >= SHORTEST
    return True


def is_phone(login: str) -> bool:
    """Whether this login is private, and no e-mail."""
    return is_private(login) and "@" not in unicodedata.normalize("NFKC", login)


def number(typed: str | None, region: str) -> int | None:
    """The number that was typed; None if it is not a phone number."""
    try:
        return phone.read(typed or "", region)
    except (phone.Unreadable, phone.WrongLength):
        return None


def canonical(text: str, region: str) -> int | str:
    """One value for all spellings of an e-mail, a phone or a login: its number if it is one, else the folded text."""
    found = number(text, region)
    return users.fold(text) if found is None else found


def is_open(caller: Caller) -> bool:
    """Whether all users of the application see each other's phones and e-mails (setting `profiles`)."""
    return caller.app.settings.profiles == "open"


# ── permits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def charge(
    db: Database,
    limits: Limits,
    caller: Caller,
    named: Iterable[int | str],
    now: int,
    *,
    free: charging.Bucket | None = None,
) -> None:
    """Charge a permit for each value that the caller does not hold. Raises TooMany, and SessionGone after an erasure.

    free   as in `pay`

    The charge is committed before any user is read, so that it is paid even if the request fails after that.
    """
    values = set(named)
    if not values:
        return
    with db.read() as tx:
        cost = len(values - _held(tx, caller, values, now))
    if cost:
        with db.write() as tx:
            users.lock(tx, caller.user_id)  # otherwise a concurrent erasure would leave a new bucket behind
            pay(tx, limits, caller, cost, now, free=free)


def _held(tx: Tx, caller: Caller, values: set[int | str], now: int) -> set[int | str]:
    """The values that are the caller's own, or numbers that are in the caller's books or were there lately.

    An own number that is not verified costs a permit: otherwise each new account could ask for a number for nothing.
    """
    keyed = numbers.keyed_all(tx, caller.app.id, (value for value in values if isinstance(value, int)))
    held: set[int | str] = {row["number"] for row in users.identities(tx, caller.app.id, caller.user_id)} - {None}
    if keyed:
        found = books.elsewhere(tx, caller.app.id, caller.user_id, NO_BOOK, list(keyed))
        found |= removed_lately(tx, caller, list(keyed), now)
        held |= {keyed[one] for one in found}
    own = users.by_id(tx, caller.app.id, caller.user_id)
    region = caller.app.settings.default_region
    return held | {canonical(text, region) for text in (own and own.login, own and own.email) if text}


def pay(tx: Tx, limits: Limits, caller: Caller, cost: int, now: int, *, free: charging.Bucket | None = None) -> None:
    """Charge `cost` new values to the caller, then to the address, its networks and the application.

    free   while this bucket has room for them, it is charged in place of the address, the networks and the application

    Values cost the same whether they are registered or not. The caller's verified number and providers' ids are charged
    besides the account, since they outlive it. The few new numbers of a small address book are charged to nobody else
    if the caller's number is verified. The caller's row must be locked. Raises TooMany, and SessionGone; both must undo
    the transaction.
    """
    if not cost:
        return
    # First, because this locks the user's permits: see `rate_limits.lock_permits`.
    charging.charge(tx, rate_limits.permits(limits, caller), cost, now)
    identities = users.identities(tx, caller.app.id, caller.user_id)
    if not identities:
        raise errors.SessionGone
    for bucket in rate_limits.identity_permits(limits, caller.app, identities):
        charging.charge(tx, bucket, cost, now)
    few = [*([free] if free else []), *rate_limits.small_books(limits, caller.app, identities)]
    if not any(charging.has_charged(tx, bucket, cost, now) for bucket in few):
        is_known = _is_known(identities, now - DAY)
        ceiling.charge_numbers(tx, limits, caller.app, caller.user_id, caller.address, cost, now, is_known=is_known)


def _is_known(identities: Sequence[Row], before: int) -> bool:
    """Whether a number of the user was verified by then, or the account, with a provider's id, existed by then."""
    return any(
        (row["verified_at"] is not None and row["verified_at"] <= before)
        or ((row["firebase_uid"] or row["cidp_uid"]) and row["since"] <= before)
        for row in identities
    )


def removed_lately(tx: Tx, caller: Caller, keyed: Sequence[int], now: int) -> set[int]:
    """The keyed numbers among these that the caller has removed from a book within REMEMBERED_SECONDS."""
    if len(keyed) > FEW and not buckets.has_removed(tx, caller.user_id):
        return set()
    return buckets.removed_among(tx, caller.user_id, keyed, now - rate_limits.REMEMBERED_SECONDS)


# ── visibility ───────────────────────────────────────────────────────────────────────────────────────────────────────


def visible(tx: Tx, caller: Caller, found: Sequence[User], named: Named = NOTHING) -> list[User]:
    """The users as the caller may see them after naming these values."""
    if not found:
        return []
    ids = [user.id for user in found]
    if is_open(caller):
        hidden = discoverable.hidden(tx, caller.app, caller.user_id, ids)
        return [_without_phone(user) if user.id in hidden else user for user in found]
    full, region = fully_visible(tx, caller, ids), caller.app.settings.default_region
    named_of = _named_of(tx, caller, [user_id for user_id in ids if user_id not in full], named)
    return [user if user.id in full else _without_private(user, named_of[user.id], region) for user in found]


def visible_if_held(caller: Caller, user: User, held: int | None) -> User | None:
    """Another user as the caller may see it, without having named a value; None where `visible` must look.

    held   what `store/books.py` calls HELD_NUMBER, of the caller and this user
    """
    full = None if is_open(caller) else books.holds_of(held, discoverable.rules(caller.app))
    if full is None:
        return None
    return user if full else _without_private(user, NOTHING, caller.app.settings.default_region)


def _named_of(tx: Tx, caller: Caller, user_ids: Sequence[int], named: Named) -> dict[int, Named]:
    """By user: the named values that show. The number of a user whom the caller does not find by it does not."""
    emails = frozenset(value for value in named if isinstance(value, str) and "@" in value)
    hidden = discoverable.hidden(tx, caller.app, caller.user_id, user_ids) if user_ids and named != emails else set()
    return {user_id: emails if user_id in hidden else named for user_id in user_ids}


def _without_phone(user: User) -> User:
    """The user without the phone, and without a login that is one."""
    return msgspec.structs.replace(user, phone=None, login=None if user.login and is_phone(user.login) else user.login)


def _without_private(user: User, named: Named, region: str) -> User:
    """The user without private values, except those that were named."""
    private = user.login is not None and is_private(user.login)
    return msgspec.structs.replace(
        user,
        phone=_if_named(user.phone, named, region),
        email=_if_named(user.email, named, region),
        login=_if_named(user.login, named, region) if private else user.login,
    )


def _if_named(text: str | None, named: Named, region: str) -> str | None:
    return text if text and named and canonical(text, region) in named else None


def fully_visible(tx: Tx, caller: Caller, user_ids: Sequence[int]) -> set[int]:
    """The users among these whose private values the caller may see as a contact of theirs; and the caller."""
    return books.holds(tx, caller.user_id, user_ids, discoverable.rules(caller.app)) | {caller.user_id}
