"""Users: sign-up, changes, erasure, and search.

    sign_up, guest, add          create an account
    update                       changes the caller's own account
    leave, erase, erase_guests   erase an account and everything stored about it
    reset_password               gives a user a one-time password; spend_one_time ends it
    find, search                 find other users; `privacy` decides which of their fields the caller sees
    as_seen                      a user who was found already, as the caller may see it

`profile_fields.py` declares the fields of a user. A user can change only their own account.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .. import errors, times
from ..config import Limits
from ..model import GUEST_SECONDS, App, Caller, User
from ..profile_fields import FIELDS
from ..store import app_totals, books, discoverable, joined_lists, proofs, pushes, resets, sessions, user_search
from ..store import joined as facts
from ..store import users as store
from ..store import words as words_store
from ..store.db import Database, Row, Tx
from ..store.users import fold
from ..times import DAY
from . import (
    audit,
    charging,
    codes,
    erasures,
    joined,
    numbers,
    passwords,
    preferences,
    privacy,
    rate_limits,
    stats,
    words,
)
from .audit import Actor
from .profile import Fields, columns
from .user_search import AnotherSearch, Filter, Query, as_found, is_lookup, named, query

ONE_TIME_SECONDS = 24 * 3600
NOT_A_NUMBER = "must be a phone number: 10 to 15 digits, best with + and the country code"
# Values that identify a user. A guest has none of them. A change is charged, because it shows whether a value is taken.
IDENTIFYING = tuple(key for key, field in FIELDS.items() if field.identifying)


# Fields of which the words are stored: see `words.py`.
WORDED = {"full_name", "login", "external_id"}


# ── a new account ────────────────────────────────────────────────────────────────────────────────────────────────────


def sign_up(
    db: Database,
    limits: Limits,
    app: App,
    fields: Fields,
    address: str,
    now: int,
    *,
    faults: errors.Faults | None = None,
) -> User:
    """Create an account with a password. It is charged to the address, even if a value is taken.

    faults   refusals of fields that could not be read and are not in `fields`

    Raises Invalid with the first of all refused fields and the others in `others`. If there is none, and unique values
    are taken, raises Conflict likewise. TooMany.
    """
    faults = faults or errors.Faults()
    chosen: preferences.Chosen = {}
    with faults.collected():
        chosen = preferences.checked(app, fields.get("preferences") or {})
    values = _checked(app, fields, faults)
    _count_account(db, limits, address, now)
    values["password_hash"] = passwords.hashed(fields["password"])
    with db.write() as tx:
        return add(tx, app, values, now, chosen=chosen)


def _checked(app: App, fields: Fields, faults: errors.Faults) -> dict[str, Any]:
    """The values to store for a new account. Raises Invalid with all refused fields."""
    values: dict[str, Any] = {}
    with faults.collected():
        values = columns(fields)
    with faults.collected():
        if not (faults.has("login", "email") or _given(fields, "login") or _given(fields, "email")):
            raise errors.Invalid("login or email is required")
    with faults.collected():
        if not faults.has("phone"):
            check_phone(app, fields.get("phone"))
    with faults.collected():
        if not faults.has("password"):
            _check_new_password(fields.get("password"))
    faults.refuse()
    return values


def _given(fields: Fields, name: str) -> bool:
    return bool((fields.get(name) or "").strip())


def _check_new_password(password: str | None) -> None:
    if not password:
        raise errors.Invalid("can't be blank", field="password")
    passwords.check(password)


def check_phone(app: App, typed: str | None) -> None:
    """Raises Invalid for a phone that cannot be a number, if the application's setting refuses such phones."""
    if app.settings.unreadable_phones == "refuse" and not has_number(app, typed):
        raise errors.Invalid(NOT_A_NUMBER, field="phone")


def has_number(app: App, typed: str | None) -> bool:
    """Can contacts be matched by this phone? True of none at all."""
    return not (typed or "").strip() or privacy.number(typed, app.settings.default_region) is not None


def guest(db: Database, limits: Limits, app: App, full_name: str, address: str, now: int) -> User:
    """Create an account that ends after a day, without a password or a number (protocol §2.1)."""
    values = columns({"login": f"guest_login_{secrets.token_hex(16)}", "full_name": full_name})
    _count_account(db, limits, address, now)
    with db.write() as tx:
        return add(tx, app, values | {"phone": "", "is_guest": 1, "guest_until": now + GUEST_SECONDS}, now)


def _count_account(db: Database, limits: Limits, address: str, now: int) -> None:
    with db.write() as tx:
        charge_account(tx, limits, address, now)


def charge_account(tx: Tx, limits: Limits, address: str, now: int) -> None:
    """Charge a new account to its address and the address's networks; TooMany."""
    charging.charge_all(tx, [charging.Charge(bucket, 1) for bucket in rate_limits.accounts(limits, address)], now)


def add(tx: Tx, app: App, values: dict[str, Any], now: int, *, chosen: preferences.Chosen | None = None) -> User:
    """Create an account with these values (`profile.columns`); Conflict when a unique value is taken.

    chosen   the user's preferences for joined pushes
    """
    user_id = store.insert(tx, app.id, values, now)
    if user_id is None:
        raise _conflict(*store.all_taken(tx, app.id, values))
    app_totals.change(tx, app.id, user_id, users=1)
    chosen = chosen or {}
    _write_beside(tx, app, user_id, values, now, found_by=chosen.get("discoverable", discoverable.NOT_CHOSEN))
    preferences.write(tx, app, user_id, chosen, now)
    if not values.get("is_guest"):
        stats.after(tx, app.id, "sign-ups", now)
    user = store.by_id(tx, app.id, user_id)
    assert user
    words_store.put(tx, app.id, user_id, _words(user))
    return user


def _words(user: User) -> list[str]:
    """The words by which admins find the user. A guest's login is made by us, and nobody searches for it."""
    return words.of_user(user.full_name, None if user.is_guest else user.login, user.external_id)


def untaken(tx: Tx, app: App, fields: Fields) -> Fields:
    """The fields that can be stored: without invalid values and values that another user has."""
    kept: Fields = {}
    for name, value in fields.items():
        with suppress(errors.Invalid):
            if not store.taken(tx, app.id, columns({name: value})):
                kept[name] = value
    return kept


def _write_beside(
    tx: Tx, app: App, user_id: int, values: Mapping[str, Any], now: int, *, found_by: int | None = None
) -> None:
    """Write the account's number and tags to their tables. Holders of a number that the user gained are notified.

    found_by   of a new user: the code of the chosen `discoverable`
    """
    if "phone" in values:
        number = privacy.number(values["phone"], app.settings.default_region)
        gained = store.set_number(tx, app.id, user_id, number, values["phone"], found_by=found_by)
        if gained and number is not None:
            joined.contact_joined(tx, app, user_id, number, verified=False, now=now)
    if "user_tags" in values:
        store.set_tags(tx, app.id, user_id, [fold(tag) for tag in (values["user_tags"] or "").split(",") if tag])


def _conflict(*fields: str) -> errors.Conflict:
    first, *others = (errors.Conflict("has already been taken", field=field) for field in fields or ("",))
    first.others = tuple(others)
    return first


# ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Change:
    """What one transaction of `update` writes.

    values           in clear, by name
    session          the hash of the caller's token
    old_hash         the hash of the current password, which was given and is right; "" when the password stays
    verified_phone   the phone that the request verifies; "" when it verifies none
    chosen           preferences for joined pushes
    """

    values: Mapping[str, Any]
    session: bytes
    old_hash: str
    verified_phone: str
    chosen: preferences.Chosen


def update(
    db: Database,
    limits: Limits,
    caller: Caller,
    user_id: int,
    fields: Fields,
    *,
    session: bytes,
    now: int,
    verified_phone: str = "",
) -> User:
    """Change the caller's own account.

    session          the hash of the caller's token: a new password ends all other sessions
    verified_phone   a phone that the request verifies: the caller gets its number and loses the former one

    A phone of another number that is not verified can be given `phone_changes_per_day` times a day.

    A new phone, e-mail, or login that looks like one costs a permit, whether it is taken or not: otherwise a change
    would show for nothing whether it is taken. `rate_limits.FREE_CHANGES` a day are charged to the user alone.

    A change of the password is refused if the old password was replaced or the session ended since the password was
    compared. Raises Forbidden for another user's account, Invalid, Conflict, TooMany, SessionGone.
    """
    if verified_phone:
        fields = {**fields, "phone": verified_phone}
    faults = errors.Faults()
    chosen: preferences.Chosen = {}
    values: dict[str, Any] = {}
    with faults.collected():
        chosen = preferences.checked(caller.app, fields.get("preferences") or {})
    with faults.collected():
        values = columns(fields)
    faults.refuse()
    password = fields.get("password")
    user = _own(db, caller, user_id)
    given = [name for name in IDENTIFYING if name in values]
    new = {name: values[name] for name in given if values[name] != (getattr(user, name) or None)}
    _check_change(user, values, new, password=password is not None)
    if "phone" in new and not verified_phone:
        check_phone(caller.app, new["phone"])
    if "phone" not in new and not verified_phone:  # a verified phone is always written: it may be taken meanwhile
        values.pop("phone", None)  # it does not change; a guest's is ""
    old_hash = ""
    if password is not None:
        passwords.check(password)
        old_hash = _check_old_password(db, limits, caller, user, fields.get("old_password") or "", now)
        values |= {"password_hash": passwords.hashed(password), "one_time_until": None}
    if new.get("phone") and not verified_phone:
        _count_phone_change(db, limits, caller, new["phone"], now)
    charged = {name: value for name, value in new.items() if not (verified_phone and name == "phone")}
    region = caller.app.settings.default_region
    named = _private_values(charged, region) - {privacy.number(user.phone, region)}
    privacy.charge(db, limits, caller, named, now, free=rate_limits.free_changes(caller.user_id))
    return _save(db, caller, _Change(values, session, old_hash, verified_phone, chosen), now)


def _save(db: Database, caller: Caller, change: _Change, now: int) -> User:
    """Write the change. Raises Conflict with the field whose value another user has taken meanwhile."""
    try:
        user, former = numbers.retried(db, lambda tx: _write(tx, caller, change, now))
        numbers.log_transfer(caller.app, change.verified_phone, caller.user_id, former)
        return user
    except errors.Conflict as conflict:
        if conflict.field:
            raise
    with db.read() as tx:  # another user took a value after it was checked and before it was written
        _refuse_taken(tx, caller, change.values)
    raise errors.Busy


def _write(tx: Tx, caller: Caller, change: _Change, now: int) -> tuple[User, list[int]]:
    """Lock the number and the user, check again, and write. Returns the user and the holders who lost the number."""
    if change.verified_phone:
        number = numbers.read(caller.app, change.verified_phone)
        found = numbers.lock(tx, caller.app, number, caller.user_id)
    else:
        numbers.lock_user(tx, caller.user_id)
    _check_password_unchanged(tx, caller, change, now)
    _refuse_taken(tx, caller, change.values)
    if change.verified_phone:
        user = _changed(tx, caller, change, now)
        return user, numbers.take_over(tx, caller.app, caller.user_id, number, found, now)
    if "phone" in change.values:
        numbers.check_verified_stays(tx, caller.app, caller.user_id, change.values["phone"])
    return _changed(tx, caller, change, now), []


def _check_password_unchanged(tx: Tx, caller: Caller, change: _Change, now: int) -> None:
    """Refuse a new password when the session has ended, or the old password was replaced, since it was compared.

    The user is locked: another change or reset of the password has either been committed, or waits.
    """
    if not change.old_hash:
        return
    session = sessions.by_token(tx, change.session, now)
    if not session or session["user_id"] != caller.user_id:
        raise errors.SessionGone
    stored = store.secrets(tx, caller.app.id, caller.user_id)
    if not stored or stored["password_hash"] != change.old_hash:
        raise errors.Invalid("is wrong", field="old_password")


def _refuse_taken(tx: Tx, caller: Caller, values: Mapping[str, Any]) -> None:
    if field := store.taken(tx, caller.app.id, values, except_id=caller.user_id):
        raise _conflict(field)


def _own(db: Database, caller: Caller, user_id: int) -> User:
    if user_id != caller.user_id:
        raise errors.Forbidden("You may only change yourself")
    with db.read() as tx:
        user = store.by_id(tx, caller.app.id, user_id)
    if not user:
        raise errors.SessionGone
    return user


def _check_change(user: User, values: Mapping[str, Any], new: Mapping[str, Any], *, password: bool) -> None:
    if user.is_guest and (new or password):
        raise errors.Invalid("cannot be changed by a guest", field=next(iter(new), "password"))
    had, has = user.login or user.email, values.get("login", user.login) or values.get("email", user.email)
    if had and not has:  # users without a password, who sign in with a proof of identity, need neither
        raise errors.Invalid("login or email is required")


def _count_phone_change(db: Database, limits: Limits, caller: Caller, typed: str, now: int) -> None:
    """Charge the change to a number that the user does not have yet; TooMany."""
    number = privacy.number(typed, caller.app.settings.default_region)
    with db.write() as tx:
        store.lock(tx, caller.user_id)  # otherwise a concurrent erasure would leave a new bucket behind
        if number is not None and number not in store.numbers_of(tx, caller.user_id):
            charging.charge(tx, rate_limits.phone_changes(limits, caller.user_id), 1, now)


def _private_values(new: Mapping[str, Any], region: str) -> set[int | str]:
    """The values that cost a permit: the answer shows whether another user has them."""
    login, email, typed = new.get("login"), new.get("email"), new.get("phone")
    found = {privacy.canonical(login, region)} if login and privacy.is_private(login) else set()
    found |= {privacy.canonical(email, region)} if email else set()
    number = privacy.number(typed, region)
    return found if number is None else found | {number}


def _check_old_password(db: Database, limits: Limits, caller: Caller, user: User, password: str, now: int) -> str:
    """The hash of the caller's password; Invalid if this is not the password.

    A guess is charged before the password is compared, and refunded if it was right. It is charged to each name with
    which the user can sign in, so that a change of the password and sign-ins share one limit of guesses.
    """
    if not password:
        raise errors.Invalid("is required with a new password", field="old_password")
    names = [(user.login, ""), ("", user.email)]
    buckets = [
        rate_limits.passwords(limits, caller.app.id, name, caller.address)
        for name in sorted(bucket_name(login or "", email or "") for login, email in names if login or email)
    ]
    with charging.charge_guess(db, buckets, now):
        with db.read() as tx:
            stored = store.secrets(tx, caller.app.id, caller.user_id)
        if not stored or not passwords.matches(stored["password_hash"], password):
            raise errors.Invalid("is wrong", field="old_password")
    return str(stored["password_hash"])


def bucket_name(login: str, email: str) -> str:
    """The name of an account in the buckets of wrong passwords, made of what was given; the account need not exist."""
    return f"login {fold(login)}" if login else f"email {fold(email)}"


def _changed(tx: Tx, caller: Caller, change: _Change, now: int) -> User:
    if not store.change(tx, caller.app.id, caller.user_id, change.values, now):
        raise errors.SessionGone
    _write_beside(tx, caller.app, caller.user_id, change.values, now)
    preferences.write(tx, caller.app, caller.user_id, change.chosen, now)
    if "password_hash" in change.values or "email" in change.values:
        resets.drop(tx, caller.user_id)  # a link in a mailbox that may be somebody else's now
    if "password_hash" in change.values:
        note_last_use(tx, sessions.end_others(tx, caller.user_id, change.session))
    user = store.by_id(tx, caller.app.id, caller.user_id)
    assert user
    if WORDED & change.values.keys():
        words_store.replace(tx, caller.app.id, user.id, _words(user))
    return user


# ── erasure ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def leave(db: Database, caller: Caller, user_id: int) -> None:
    """Erase the caller's own account; Forbidden for another user's."""
    if user_id != caller.user_id:
        raise errors.Forbidden("You may only delete yourself")
    erase(db, user_id)


def erase(db: Database, user_id: int, *, by: Actor | None = None, again: bool = False) -> bool:
    """Erase a user and everything stored about the user; False when there is no such user.

    again   this erasure is in the journal of erasures already
    """
    with db.write() as tx:
        numbers.lock_user(tx, user_id)
        audit.of_user(tx, by, "user erased", user_id)
        # Books before the user: an upload locks its book and then reads the user. The other order could deadlock.
        app_id = store.app_of(tx, user_id)
        if app_id is not None:
            books.lock_owner(tx, app_id, user_id)  # nobody adds a book after this
        books.lock_all(tx, user_id)
        keyed = store.keyed_numbers(tx, user_id)
        codes.forget_user(tx, user_id)  # before the user's numbers are deleted, by which the codes are found
        pushes.drop_for(tx, user_id)
        joined_lists.delete(tx, user_id)
        used, contacts = books.delete_books(tx, user_id)
        # On a Citus cluster `users` is a reference table. No other statement of an erasure writes to such a table.
        store.delete(tx, user_id)
        books.delete_all(tx, user_id)
        facts.drop_announced(tx, user_id)
        rate_limits.forget_user(
            tx, user_id
        )  # waits for transactions that send a push for the user: they lock the bucket
        pushes.drop_about(tx, user_id)
        if app_id is not None:
            joined_lists.forget(tx, app_id, user_id, keyed)
            app_totals.change(tx, app_id, user_id, users=-1, books=-used, contacts=-contacts)
        if app_id and not again:
            erasures.note(db, tx, app_id, user_id)
    if app_id is None:
        return False
    # Afterwards, because the lock of the totals is held by jobs that wait for locks of this transaction. If this
    # fails, the periodic job does it.
    with suppress(errors.Refused), db.write() as tx:
        app_totals.collect_of(tx, times.now() // DAY, user_id)
    return True


def erase_guests(db: Database, now: int, batch: int) -> int:
    """Erase up to `batch` guests whose day is over, each in a transaction of its own. Returns how many."""
    with db.read() as tx:
        over = store.expired_guests(tx, now, batch)
    for user_id in over:
        erase(db, user_id)
    return len(over)


# ── one-time passwords ───────────────────────────────────────────────────────────────────────────────────────────────


def reset_password(db: Database, user_id: int, now: int, *, by: Actor | None = None) -> str:
    """Replace a user's password by a random one that opens one session within 24 hours, and end the user's sessions.

    The old password ends at once: a change or a sign-in that has compared it already is refused. NotFound for an
    unknown id and for a guest's.
    """
    password = passwords.one_time()
    stored = passwords.hashed(password)
    with db.write() as tx:
        numbers.lock_user(tx, user_id)  # a concurrent change of the password waits, and is refused after this
        if not store.set_password(tx, user_id, stored, now + ONE_TIME_SECONDS):
            raise errors.NotFound(f"there is no user {user_id} with a password")
        resets.drop(tx, user_id)
        note_last_use(tx, sessions.end_others(tx, user_id, b""))
        audit.of_user(tx, by, "user's password reset", user_id)
    return password


def note_last_use(tx: Tx, ended: Sequence[Row]) -> None:
    """Store when the users of ended sessions last used them."""
    last: dict[int, int] = {}
    for row in ended:
        if row["user_id"]:
            last[row["user_id"]] = max(last.get(row["user_id"], 0), row["last_used_at"])
    if last:
        store.mark_seen(tx, last)


def spend_one_time(db: Database, account: Row, now: int) -> None:
    """End a one-time password that was given at sign-in; Unauthorized when it has ended already.

    account   the row of `find_for_sign_in`; nothing happens when its password is not a one-time password
    """
    if account["one_time_until"] is None:
        return
    with db.write() as tx:
        spent = account["one_time_until"] > now and store.use_up(
            tx, account["app_id"], account["id"], account["password_hash"]
        )
        if spent:  # an admin has given access to this account, so an imported number or e-mail no longer does
            proofs.end_import_trust(tx, account["id"], verified=True)
    if not spent:
        raise errors.Unauthorized("Unauthorized")


# ── search ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def search(db: Database, limits: Limits, caller: Caller, request: Query, now: int) -> tuple[list[User], int]:
    """A page of the matching users as the caller may see them, and the count of all matches up to `max_search_total`.

    A look-up by whole values (`user_search.is_lookup`) only pays for the phones and e-mails that it names
    (`privacy.charge`). A search is charged, too. Raises AnotherSearch, without a charge, while another search of the
    user runs; TooMany; and TooSlow for a query that takes longer than `search_seconds`: such a search is charged ten
    times.
    """
    if is_lookup(request):
        return _found(db, limits, caller, request, now)
    lock = f"search by {caller.user_id}"
    with db.read() as tx:
        if not tx.try_lock(lock):
            raise AnotherSearch
    with rate_limits.search(db, limits, caller, now):
        return _found(db, limits, caller, request, now, lock=lock)


def _found(
    db: Database, limits: Limits, caller: Caller, request: Query, now: int, *, lock: str = ""
) -> tuple[list[User], int]:
    """The result of a query, for which the caller pays before any user is read.

    lock   a lock that must be free, and is held while the query runs
    """
    values = named(caller.app, request.conditions)
    privacy.charge(db, limits, caller, values, now)
    with db.read(seconds=limits.search_seconds) as tx:
        if lock and not tx.try_lock(lock):
            raise AnotherSearch
        conditions = as_found(tx, caller, request.conditions)
        found = _page(tx, caller, request, conditions, values)
        most, verified_only = limits.max_search_total, caller.app.verified_only
        return found, user_search.count(tx, caller.app.id, conditions, verified_only=verified_only, most=most)


def _page(
    tx: Tx, caller: Caller, request: Query, conditions: Sequence[user_search.Condition], values: privacy.Named
) -> list[User]:
    """The users on the page, as the caller may see them after naming these values.

    conditions   those of the request, from `as_found`
    """
    found = user_search.page(
        tx,
        caller.app.id,
        conditions,
        sort=request.sort,
        descending=request.descending,
        offset=request.offset,
        limit=request.limit,
        verified_only=caller.app.verified_only,
    )
    return privacy.visible(tx, caller, found, values)


def find(db: Database, limits: Limits, caller: Caller, field: str, value: str | int, now: int) -> User:
    """The oldest user with this value in a field that has an index; NotFound. It is not charged as a search."""
    if field == "id":
        with db.read() as tx:
            found_by_id = store.by_id(tx, caller.app.id, int(value))
        return as_seen(db, caller, found_by_id)
    one = query(
        caller.app, limits, [Filter(field, "in", (value,))], sort="created_at", descending=False, offset=0, limit=1
    )
    values = named(caller.app, one.conditions)
    privacy.charge(db, limits, caller, values, now)
    with db.read() as tx:
        found = _page(tx, caller, one, as_found(tx, caller, one.conditions), values)
    if not found:
        raise errors.NotFound("Not found")
    return found[0]


def as_seen(db: Database, caller: Caller, user: User | None) -> User:
    """A user of the application, as the caller may see it. NotFound for None."""
    if user is None:
        raise errors.NotFound("Not found")
    if user.id == caller.user_id:
        return user
    with db.read() as tx:
        return privacy.visible(tx, caller, [user])[0]
