"""Users: sign up, change and leave, and look each other up.

    sign_up, guest, add  a new account
    update                       a change of one's own
    leave, erase, erase_guests   the end of an account, and of everything about it
    reset_password               a one-time password, by an admin; spend_one_time ends it
    find, search                 other people, as far as `privacy` lets the caller see them

What an app may say of a user, and the rules for each field, stand in `profile.py`. Nobody changes anybody else.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from .. import errors
from ..config import Limits
from ..model import GUEST_SECONDS, App, Caller, User
from ..store import books, proofs, pushes, sessions, user_search
from ..store import users as store
from ..store.db import FULL, Database, Row, Tx
from ..store.users import fold
from . import audit, ceiling, codes, erasures, joined, numbers, passwords, privacy, stats
from . import limits as rates
from .audit import Actor
from .profile import Fields, columns
from .user_search import Asked, Query, another_search, named, query, turn

ONE_TIME_SECONDS = 24 * 3600
SLOW_SEARCH = 10  # searches that one counts as which the database had to end
LAST_ID = 2**31 - 1  # SDKs keep ids in 32 bits (protocol §1.7)
# Values that say who somebody is: a guest is nobody, and a change of these would tell whether another one has them.
IDENTIFYING = ("login", "email", "phone")


# ── a new account ────────────────────────────────────────────────────────────────────────────────────────────────────


def sign_up(db: Database, limits: Limits, app: App, fields: Fields, address: str, now: int) -> User:
    """Make an account with a password; it counts for the address, also when a value turns out to be taken.

    Raises Invalid that names the field, Conflict when a unique value is taken, TooMany.
    """
    values = columns(fields)
    if not (values.get("login") or values.get("email")):
        raise errors.Invalid("login or email is required")
    password = fields.get("password")
    if not password:
        raise errors.Invalid("can't be blank", field="password")
    passwords.check(password)
    _count_account(db, limits, app, address, now, numbers=1 if values.get("phone") else 0)
    values["password_hash"] = passwords.hashed(password)
    with db.write() as tx:
        return add(tx, app, values, now)


def guest(db: Database, limits: Limits, app: App, full_name: str, address: str, now: int) -> User:
    """Make an account for a day, without a password or a number (protocol §2.1)."""
    values = columns({"login": f"guest_login_{secrets.token_hex(16)}", "full_name": full_name})
    _count_account(db, limits, app, address, now)
    with db.write() as tx:
        return add(tx, app, values | {"phone": "", "is_guest": 1, "guest_until": now + GUEST_SECONDS}, now)


def _count_account(db: Database, limits: Limits, app: App, address: str, now: int, *, numbers: int = 0) -> None:
    """An account counts for the address; so does its number, since who else has it can be asked for nothing then."""
    with db.write() as tx:
        charge_account(tx, limits, address, now)
        ceiling.charge_numbers(tx, limits, app, address, numbers, now)


def charge_account(tx: Tx, limits: Limits, address: str, now: int) -> None:
    """Charge a new account to its address and the networks of that; TooMany."""
    rates.charge_all(tx, [rates.Charge(bucket, 1) for bucket in rates.accounts(limits, address)], now)


def add(tx: Tx, app: App, values: dict[str, Any], now: int) -> User:
    """Make an account of these columns; Conflict when a unique value is taken."""
    user_id = store.insert(tx, app.id, values, now)
    if user_id is None:
        raise _conflict(store.taken(tx, app.id, values))
    if user_id > LAST_ID:  # PostgreSQL's sequence ends by itself
        raise errors.Unavailable(FULL)
    _write_beside(tx, app, user_id, values, now)
    if not values.get("is_guest"):
        stats.after(tx, app.id, "sign-ups", now)
    user = store.by_id(tx, app.id, user_id)
    assert user
    return user


def untaken(tx: Tx, app: App, fields: Fields) -> Fields:
    """What of these fields can be stored: without values that are wrong, or that somebody else has."""
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        with suppress(errors.Invalid):
            if not store.taken(tx, app.id, columns(cast(Fields, {name: value}))):
                kept[name] = value
    return cast(Fields, kept)


def _write_beside(tx: Tx, app: App, user_id: int, values: Mapping[str, Any], now: int) -> None:
    """Keep the tables of numbers and tags like the account; a number that is new to it is told to those who hold it."""
    if "phone" in values:
        number = privacy.number(values["phone"], app.settings.default_region)
        gained = store.set_number(tx, app.id, user_id, number)
        if gained and number is not None:
            joined.contact_joined(tx, app, user_id, number, verified=False, now=now)
    if "user_tags" in values:
        store.set_tags(tx, app.id, user_id, [fold(tag) for tag in (values["user_tags"] or "").split(",") if tag])


def _conflict(field: str | None) -> errors.Conflict:
    return errors.Conflict("has already been taken", field=field or "")


# ── a change of one's own ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Change:
    """What one transaction of `update` writes.

    values         by column
    session        the hash of the caller's token
    old_hash       of the password that was proven; "" when the password stays
    proven_phone   "" when no number was proven
    """

    values: Mapping[str, Any]
    session: bytes
    old_hash: str
    proven_phone: str


def update(
    db: Database,
    limits: Limits,
    caller: Caller,
    user_id: int,
    fields: Fields,
    *,
    session: bytes,
    now: int,
    proven_phone: str = "",
) -> User:
    """Change the caller's own account.

    session        the hash of the caller's token: a new password ends all other sessions
    proven_phone   a number that the caller has just proven: it is taken over, and the former one let go

    A new phone, e-mail or login of either kind costs a permit, whoever has it: else a change would be a free question.
    Of two changes of the password with the same old one, the second is refused, and so is one that an operator's reset
    or the end of the session overtakes. Raises Forbidden for somebody else's account, Invalid, Conflict, TooMany,
    SessionGone.
    """
    if proven_phone:
        fields = {**fields, "phone": proven_phone}
    values, password = columns(fields), fields.get("password")
    user = _own(db, caller, user_id)
    said = [name for name in IDENTIFYING if name in values]
    new = {name: values[name] for name in said if values[name] != (getattr(user, name) or None)}
    _check_change(user, values, new, password=password is not None)
    if "phone" not in new and not proven_phone:  # a proven one is written: somebody may take it before we do
        values.pop("phone", None)  # as it is: "" of a guest
    old_hash = ""
    if password is not None:
        passwords.check(password)
        old_hash = _prove(db, limits, caller, user, fields.get("old_password") or "", now)
        values |= {"password_hash": passwords.hashed(password), "one_time_until": None}
    asked = {name: value for name, value in new.items() if not (proven_phone and name == "phone")}
    privacy.charge(db, limits, caller, _told_by(asked, caller.app.settings.default_region), now)
    change = _Change(values, session, old_hash, proven_phone)
    try:
        user, former = numbers.settled(db, lambda tx: _write(tx, caller, change, now))
        numbers.tell(caller.app, proven_phone, user_id, former)
        return user
    except errors.Conflict as conflict:
        if conflict.field:
            raise
    with db.read() as tx:  # somebody else was first, between our look and our write
        _refuse_taken(tx, caller, values)
    raise errors.Busy


def _write(tx: Tx, caller: Caller, change: _Change, now: int) -> tuple[User, list[int]]:
    """Lock, look again, write: the user as changed, and who has lost the proven number to the user."""
    if change.proven_phone:
        number = numbers.read(caller.app, change.proven_phone)
        found = numbers.lock(tx, caller.app, number, caller.user_id)
    else:
        numbers.lock_user(tx, caller.user_id)
    _check_password_unchanged(tx, caller, change, now)
    _refuse_taken(tx, caller, change.values)
    if change.proven_phone:
        user = _changed(tx, caller, change, now)
        return user, numbers.take_over(tx, caller.app, caller.user_id, number, found, now)
    if "phone" in change.values:
        numbers.check_unproven(tx, caller.app, caller.user_id, change.values["phone"])
    return _changed(tx, caller, change, now), []


def _check_password_unchanged(tx: Tx, caller: Caller, change: _Change, now: int) -> None:
    """Refuse a new password when the session has ended, or the old one was replaced, since it was compared.

    The caller's user is locked: whoever changes or resets the password waits, and is seen here if it was first.
    """
    if not change.old_hash:
        return
    session = sessions.by_token(tx, change.session, now)
    if not session or session["user_id"] != caller.user_id:
        raise errors.SessionGone
    known = store.secrets(tx, caller.app.id, caller.user_id)
    if not known or known["password_hash"] != change.old_hash:
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
    if had and not has:  # who signs in by a proof needs neither
        raise errors.Invalid("login or email is required")


def _told_by(new: Mapping[str, Any], region: str) -> set[int | str]:
    """The values that would tell whether somebody else has them."""
    login, email, typed = new.get("login"), new.get("email"), new.get("phone")
    told = {privacy.key(login, region)} if login and privacy.is_private(login) else set()
    told |= {privacy.key(email, region)} if email else set()
    number = privacy.number(typed, region)
    return told if number is None else told | {number}


def _prove(db: Database, limits: Limits, caller: Caller, user: User, password: str, now: int) -> str:
    """The hash of the caller's password, if this is it.

    A try counts before it is looked at, and is given back when it was right. It counts for each name by which the user
    signs in: guessing here leaves no more tries there.
    """
    if not password:
        raise errors.Invalid("is required with a new password", field="old_password")
    names = [(user.login, ""), ("", user.email)]
    named = [name_tried(login or "", email or "") for login, email in names if login or email]
    tries = [rates.passwords(limits, caller.app.id, name, caller.address) for name in sorted(named)]
    with db.write() as tx:
        for bucket in tries:
            rates.charge(tx, bucket, 1, now)
        known = store.secrets(tx, caller.app.id, caller.user_id)
    if not known or not passwords.matches(known["password_hash"], password):
        raise errors.Invalid("is wrong", field="old_password")
    with db.write() as tx:
        for bucket in tries:
            rates.give_back(tx, bucket, 1, now)
    return str(known["password_hash"])


def name_tried(login: str, email: str) -> str:
    """What stands for an account while its password is tried: what was given, whether there is one or not."""
    return f"login {fold(login)}" if login else f"email {fold(email)}"


def _changed(tx: Tx, caller: Caller, change: _Change, now: int) -> User:
    if not store.change(tx, caller.app.id, caller.user_id, change.values, now):
        raise errors.SessionGone
    _write_beside(tx, caller.app, caller.user_id, change.values, now)
    if "password_hash" in change.values:
        note_last_use(tx, sessions.end_others(tx, caller.user_id, change.session))
    user = store.by_id(tx, caller.app.id, caller.user_id)
    assert user
    return user


# ── the end of an account ────────────────────────────────────────────────────────────────────────────────────────────


def leave(db: Database, caller: Caller, user_id: int) -> None:
    """Remove the caller's own account; Forbidden for somebody else's."""
    if user_id != caller.user_id:
        raise errors.Forbidden("You may only delete yourself")
    erase(db, user_id)


def erase(db: Database, user_id: int, *, by: Actor | None = None, again: bool = False) -> bool:
    """Remove a user and everything about the user; False when there is no such user.

    again   the journal of erasures has it already
    """
    with db.write() as tx:
        numbers.lock_user(tx, user_id)
        audit.of_user(tx, by, "user erased", user_id)
        # Uploads lock a book, then look at its user; whoever comes the other way round would meet them halfway.
        books.lock_all(tx, user_id)
        codes.forget_user(tx, user_id)  # as long as it is known which numbers were the user's
        pushes.drop_for(tx, user_id)
        # Then this, alone among its kind in the transaction: on a Citus cluster users are a reference table.
        app_id = store.delete(tx, user_id)
        books.delete_all(tx, user_id)
        rates.forget_user(tx, user_id)  # whoever sends a push holds its bucket, and so is done with it before
        pushes.drop_about(tx, user_id)
        if app_id and not again:
            erasures.note(db, tx, app_id, user_id)
    return app_id is not None


def erase_guests(db: Database, now: int, batch: int) -> int:
    """Remove up to `batch` guests whose day is over, one transaction each; how many that were."""
    with db.read() as tx:
        over = store.expired_guests(tx, now, batch)
    for user_id in over:
        erase(db, user_id)
    return len(over)


# ── one-time passwords ───────────────────────────────────────────────────────────────────────────────────────────────


def reset_password(db: Database, user_id: int, now: int, *, by: Actor | None = None) -> str:
    """Replace a user's password by one that opens one session within 24 hours, and end the sessions there are.

    The old password is of no use any more, not even for a change or a sign-in that has compared it already. NotFound
    for an id that nobody has, and for a guest's.
    """
    password = passwords.one_time()
    stored = passwords.hashed(password)
    with db.write() as tx:
        numbers.lock_user(tx, user_id)  # a change of the password that was compared before this is then refused
        if not store.set_password(tx, user_id, stored, now + ONE_TIME_SECONDS):
            raise errors.NotFound(f"there is no user {user_id} with a password")
        note_last_use(tx, sessions.end_others(tx, user_id, b""))
        audit.of_user(tx, by, "user's password reset", user_id)
    return password


def note_last_use(tx: Tx, ended: Sequence[Row]) -> None:
    """Write down when the users of ended sessions were last there."""
    last: dict[int, int] = {}
    for row in ended:
        if row["user_id"]:
            last[row["user_id"]] = max(last.get(row["user_id"], 0), row["last_used_at"])
    for user_id in sorted(last):
        store.mark_seen(tx, user_id, last[user_id])


def spend_one_time(db: Database, known: Row, now: int) -> None:
    """A right password was given: if it is a one-time one, end it, or raise Unauthorized when it has ended already.

    known   the row of `find_for_sign_in`
    """
    if known["one_time_until"] is None:
        return
    with db.write() as tx:
        spent = known["one_time_until"] > now and store.use_up(tx, known["id"], known["password_hash"])
        if spent:  # whoever it was given to has entered an imported account by another way than what was imported
            proofs.end_belief(tx, known["id"], verified=True)
    if not spent:
        raise errors.Unauthorized("Unauthorized")


# ── looking each other up ────────────────────────────────────────────────────────────────────────────────────────────


def search(db: Database, limits: Limits, caller: Caller, asked: Query, now: int) -> tuple[list[User], int]:
    """A page of the users who fit, as the caller may see them, and how many fit in all, up to `max_search_total`.

    Before anything is looked up it counts as a search, and what it names of phones and e-mails is paid for
    (`privacy.charge`). A user has one search at a time. Raises TooMany, and TooSlow for one that takes longer than
    `search_seconds`, which counts as SLOW_SEARCH of them.
    """
    values = named(caller.app, asked.conditions)
    buckets = rates.searches(limits, caller.user_id, caller.address)
    with turn(db, caller.user_id):
        with db.write() as tx:
            for bucket in buckets:
                rates.charge(tx, bucket, 1, now)
        privacy.charge(db, limits, caller, values, now)
        try:
            with db.read(seconds=limits.search_seconds) as tx:
                return _found_in_turn(tx, limits, caller, asked, values)
        except errors.TooSlow as slow:
            with db.write() as tx:
                for bucket in buckets:
                    rates.charge_all_there_is(tx, bucket, SLOW_SEARCH - 1, now)
            raise errors.TooSlow("this search takes too long: narrow it", limit="search_seconds") from slow


def _found_in_turn(
    tx: Tx, limits: Limits, caller: Caller, asked: Query, values: privacy.Named
) -> tuple[list[User], int]:
    if not tx.try_lock(f"search by {caller.user_id}"):
        raise another_search()
    found = _page(tx, caller, asked, values)
    total = user_search.count(
        tx,
        caller.app.id,
        asked.conditions,
        logins=privacy.is_open(caller),
        proven=caller.app.verified_only,
        most=limits.max_search_total,
    )
    return found, total


def _page(tx: Tx, caller: Caller, asked: Query, values: privacy.Named) -> list[User]:
    """The users on the page, as the caller may see them, who has named these values."""
    found = user_search.page(
        tx,
        caller.app.id,
        asked.conditions,
        sort=asked.sort,
        descending=asked.descending,
        offset=asked.offset,
        limit=asked.limit,
        logins=privacy.is_open(caller),
        proven=caller.app.verified_only,
    )
    return privacy.seen(tx, caller, found, values)


def find(db: Database, limits: Limits, caller: Caller, field: str, value: str | int, now: int) -> User:
    """The oldest user with this value in a field; NotFound. Such a field has an index, so this is no search."""
    one = query(caller.app, limits, [Asked(field, "in", (value,))], sort="id", descending=False, offset=0, limit=1)
    values = named(caller.app, one.conditions)
    privacy.charge(db, limits, caller, values, now)
    with db.read() as tx:
        found = _page(tx, caller, one, values)
    if not found:
        raise errors.NotFound("Not found")
    return found[0]
