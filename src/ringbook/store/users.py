"""Users, their numbers and their tags.

    fold                                    how logins, e-mails, names and tags are compared
    by_id, by_ids, by_login, by_email       one user, or several by id; app_of: the application of one
user_of                                 the user in a row
    phones                                  only the phones of several
    find_for_sign_in, secrets               what a password is compared with
    set_password, use_up                    a new password, and the end of a one-time one
    insert, change, delete                  an account
    taken                                   which value of a new or changed account somebody else has
    set_number, numbers_of, set_tags        the numbers a user answers to, and the tags; keyed_numbers: still keyed
    tagged, tags_of                         users with tags, and the tags of users
    with_external_ids, …_user_ids           users by ids of the app's own
    mark_seen, expired_guests               what sweeps write and read

Finding users by conditions stands in `user_search.py`. Phones, e-mails and private logins are sealed: what callers
give and get is in clear, and `profiles.py` seals and opens it.

Case and order are the same on both databases: what is compared is folded, and folded columns order by code points.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..model import User
from ..profile_fields import fold as fold
from ..seal import Seal
from . import discoverable, numbers, profiles, row_macs
from .db import Row, Rows, Tx, ids

# The fields of a `User` in their order, but for last_request_at, the last one, which is in the table `seen`; then other
# columns of sealed fields. `made` makes users of such rows; `user_of` makes one of a row that has last_request_at, too.
STORED = len(User.__struct_fields__) - 1
READ = list(dict.fromkeys([*User.__struct_fields__[:STORED], *profiles.READ]))
COLUMNS = ", ".join(f"u.{name}" for name in READ)
# `id` is :id where a cluster may run the statement: it refuses a subquery that refers to `users` outside of it.
COLUMNS_AND_SEEN = COLUMNS + ", (SELECT s.last_request_at FROM seen AS s WHERE s.user_id = {id})"
ONE = COLUMNS_AND_SEEN.format(id=":id")
ID, PHONE, APP_ID, IS_GUEST = (READ.index(name) for name in ("id", "phone", "app_id", "is_guest"))
# Where a row may hold a sealed text, with the name of that column; and the field that it is the value of.
SEALED = [(READ.index(one.column), one.column, READ.index(one.key)) for one in profiles.SEALED]
# The columns that `change` writes. Its statement is built from these names only.
CHANGEABLE = (*profiles.COLUMNS, "password_hash", "one_time_until", "password_mac")
INSERTED = ("id", "app_id", *CHANGEABLE, "is_guest", "guest_until", "created_at", "updated_at")


# ── one user, or several by id ───────────────────────────────────────────────────────────────────────────────────────


def by_id(tx: Tx, app_id: int, user_id: int) -> User | None:
    """The user with this id."""
    if not ids.possible([user_id]):
        return None
    rows = tx.tuples(f"SELECT {ONE} FROM users AS u WHERE u.id = :id AND u.app_id = :app_id", id=user_id, app_id=app_id)
    return user_of(tx.seal, rows[0]) if rows else None


def user_of(seal: Seal, row: Sequence[Any]) -> User:
    """The user in a row of `COLUMNS_AND_SEEN`; errors.Unreadable."""
    return _user(seal, row, row[-1])


def app_of(tx: Tx, user_id: int) -> int | None:
    """The application that a user belongs to; None when there is no such user."""
    row = tx.one("SELECT app_id FROM users WHERE id = :user_id", user_id=user_id)
    return int(row["app_id"]) if row else None


def by_ids(
    tx: Tx, app_id: int, user_ids: Sequence[int], phones: Mapping[int, str | None] = MappingProxyType({})
) -> dict[int, User]:
    """The ids among these that belong to users of the application.

    phones   the phones of some of these users, which are not opened then
    """
    # "+" keeps SQLite, which has no statistics here, from using the index on the application.
    rows = tx.tuples(
        f"SELECT {COLUMNS} FROM users AS u WHERE u.id IN :ids AND +u.app_id = :app_id",
        ids=Rows.of("id", sorted(user_ids)),  # neighbours are in one page of the table
        app_id=app_id,
    )
    return {user.id: user for user in made(tx, rows, phones)}


def phones(tx: Tx, app_id: int, user_ids: Sequence[int]) -> dict[int, str | None]:
    """By id: the phone in the profile of these users. Users who do not exist are left out."""
    rows = tx.tuples("SELECT u.id, u.phone FROM users AS u WHERE u.id IN :ids", ids=Rows.of("id", user_ids))
    return {user_id: sealed and tx.seal.open(sealed, "users", "phone", app_id, user_id) for user_id, sealed in rows}


def by_login(tx: Tx, app_id: int, login: str) -> User | None:
    """The user with this login, in any case."""
    return _with(tx, app_id, "login", fold(login))


def by_email(tx: Tx, app_id: int, email: str) -> User | None:
    """The user with this e-mail, in any case."""
    return _with(tx, app_id, "email", fold(email))


def _with(tx: Tx, app_id: int, key: str, value: str | int) -> User | None:
    """The user with this value in a unique field."""
    return next(iter(made(tx, tx.tuples(_with_value(COLUMNS, key), **_found_by(tx, app_id, key, value)))), None)


def _with_value(columns: str, key: str) -> str:
    """The statement that reads columns of the user with a value in a unique field."""
    found_column = profiles.UNIQUE[key].found_column
    return f"SELECT {columns} FROM users AS u WHERE u.app_id = :app_id AND u.{found_column} = :value"


def _found_by(tx: Tx, app_id: int, key: str, value: str | int) -> dict[str, Any]:
    """Its parameters."""
    return {"app_id": app_id, "value": profiles.found_by(tx, app_id, profiles.UNIQUE[key], value)}


def _user(seal: Seal, row: Sequence[Any], last_request_at: int | None, phone: str | None = None) -> User:
    """The user in a row of `COLUMNS`; errors.Unreadable. Only what is there is opened, and no phone that is known."""
    values = [*row[:STORED], last_request_at]
    values[IS_GUEST] = bool(row[IS_GUEST])
    for place, column, field in SEALED:
        if (content := row[place]) is not None:
            known = phone if field == PHONE else None
            values[field] = known or seal.open(content, "users", column, row[APP_ID], row[ID])
    return User(*values)


def made(tx: Tx, rows: Sequence[Sequence[Any]], phones: Mapping[int, str | None] = MappingProxyType({})) -> list[User]:
    """The users in rows of `COLUMNS`; `phones` are known already."""
    last = seen(tx, [row[ID] for row in rows])
    return [_user(tx.seal, row, last.get(row[ID]), phones.get(row[ID])) for row in rows]


def seen(tx: Tx, user_ids: Sequence[int]) -> dict[int, int]:
    """When these users were last active, by id; without those who never were."""
    if not user_ids:
        return {}
    rows = tx.tuples("SELECT user_id, last_request_at FROM seen WHERE user_id IN :ids", ids=Rows.of("id", user_ids))
    return dict(rows)


def seen_since(tx: Tx, user_ids: Sequence[int], since: int) -> set[int]:
    """Those of these users who were active at this time or later."""
    rows = tx.tuples(
        "SELECT user_id FROM seen WHERE user_id IN :ids AND last_request_at >= :since",
        ids=Rows.of("id", user_ids),
        since=since,
    )
    return {row[0] for row in rows}


def identities(tx: Tx, app_id: int, user_id: int) -> list[Row]:
    """What is verified of the user: one row per verified number, or one row without a number; [] for no user.

    number, verified_at        of a verified number, else NULL
    firebase_uid, cidp_uid     the user's id at Firebase and at the application's identity provider
    since                      when the account was made or imported here
    """
    rows = tx.all(
        "SELECT n.number, n.digits, n.verified_at, u.firebase_uid, u.cidp_uid,"
        " COALESCE(u.imported_at, u.created_at) AS since"
        " FROM users AS u LEFT JOIN numbers AS n ON n.user_id = u.id AND n.verified_at IS NOT NULL"
        " WHERE u.id = :user_id AND u.app_id = :app_id",
        app_id=app_id,
        user_id=user_id,
    )
    for row in rows:
        digits = row.pop("digits")
        if digits is not None:
            row["number"] = numbers.opened(tx, "numbers", app_id, row["number"], digits)
    return rows


def lock(tx: Tx, user_id: int) -> None:
    """Lock the user against changes and erasure by others until the transaction ends."""
    tx.lock(f"user {user_id}")


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────────

SECRETS = "u.id, u.app_id, u.password_hash, u.one_time_until, u.is_guest, u.password_mac"


def find_for_sign_in(tx: Tx, app_id: int, login: str | None, email: str | None) -> Row | None:
    """id, app_id, password_hash, one_time_until and is_guest of the user with this login or else this e-mail.

    password_hash is None where its MAC is wrong: a password that was written without the key opens nothing.
    """
    key, value = ("login", login) if login else ("email", email or "")
    return _bound(tx, tx.one(_with_value(SECRETS, key), **_found_by(tx, app_id, key, fold(value))))


def secrets(tx: Tx, app_id: int, user_id: int) -> Row | None:
    """The same, by id."""
    return _bound(
        tx,
        tx.one(f"SELECT {SECRETS} FROM users AS u WHERE u.id = :id AND u.app_id = :app_id", id=user_id, app_id=app_id),
    )


def _bound(tx: Tx, row: Row | None) -> Row | None:
    """The row without the MAC, and without a password whose MAC is wrong."""
    if row is None:
        return None
    found, password_hash = row.pop("password_mac"), row["password_hash"]
    if password_hash is not None:
        right = _mac(tx, row["app_id"], row["id"], password_hash, row["one_time_until"])
        if not row_macs.holds("users", found, right):
            row["password_hash"] = None
    return row


def _mac(tx: Tx, app_id: int, user_id: int, password_hash: str, one_time_until: int | None) -> bytes:
    return row_macs.of_password(row_macs.key(tx), app_id, user_id, password_hash, one_time_until)


# ── an account ───────────────────────────────────────────────────────────────────────────────────────────────────────


def insert(tx: Tx, app_id: int, values: Mapping[str, Any], now: int) -> int | None:
    """Add a user and return the id; None, without a change, when another user has a unique value (see `taken`).

    values   in clear, by name: those that `change` takes, and `is_guest`, `guest_until`; what is missing is NULL
    """
    given = {"is_guest": 0, **values, "app_id": app_id, "created_at": now, "updated_at": now}
    for fresh in (False, True):  # an import may have taken ids of this process's block, but of no block drawn later
        user_id = tx.next_id("user_ids", fresh=fresh)
        written = _with_mac(tx, app_id, user_id, profiles.sealed(tx, app_id, user_id, given))
        row = tx.one(
            f"INSERT INTO users ({', '.join(INSERTED)}) VALUES ({', '.join(f':{name}' for name in INSERTED)})"
            " ON CONFLICT DO NOTHING RETURNING id",
            **{name: written.get(name) for name in INSERTED} | {"id": user_id},
        )
        if row:
            return int(row["id"])
        if taken(tx, app_id, values):
            break
    return None


def change(tx: Tx, app_id: int, user_id: int, values: Mapping[str, Any], now: int) -> bool:
    """Store these values and `updated_at`; False when there is no such user.

    values   in clear, by name: those of `profiles.VALUES`, `password_hash` and `one_time_until`
    An account that was imported is then no longer as it came. Whoever changes `phone` also calls `set_number`.
    """
    given = _with_mac(tx, app_id, user_id, profiles.sealed(tx, app_id, user_id, values))
    columns = {name: given[name] for name in CHANGEABLE if name in given}
    written = "".join(f", {name} = :{name}" for name in columns)
    rows = tx.run(
        f"UPDATE users SET updated_at = :now, as_imported = 0{written} WHERE id = :user_id AND app_id = :app_id",
        now=now,
        user_id=user_id,
        app_id=app_id,
        **columns,
    )
    if rows and "phone" in columns:  # until `set_number` is called, only the profile says how the number is spelled
        tx.run("UPDATE numbers SET spelling = 0 WHERE user_id = :user_id AND spelling <> 0", user_id=user_id)
    return rows == 1


def _with_mac(tx: Tx, app_id: int, user_id: int, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values to write, with the MAC of a password that is among them."""
    if not (password_hash := values.get("password_hash")):
        return values
    return {**values, "password_mac": _mac(tx, app_id, user_id, password_hash, values.get("one_time_until"))}


def set_password(tx: Tx, user_id: int, password_hash: str, one_time_until: int | None) -> bool:
    """Replace the password; False when there is no such user, or it is a guest.

    one_time_until   the password opens one session, until then; None: as many as are wanted
    """
    app_id = app_of(tx, user_id)
    if app_id is None:
        return False
    rows = tx.run(
        "UPDATE users SET password_hash = :password_hash, one_time_until = :until, password_mac = :mac"
        " WHERE id = :id AND is_guest = 0",
        password_hash=password_hash,
        until=one_time_until,
        mac=_mac(tx, app_id, user_id, password_hash, one_time_until),
        id=user_id,
    )
    return rows == 1


def use_up(tx: Tx, app_id: int, user_id: int, password_hash: str) -> bool:
    """Use up a one-time password; False when another sign-in has used it."""
    rows = tx.run(
        "UPDATE users SET one_time_until = 0, password_mac = :mac"
        " WHERE id = :id AND password_hash = :password_hash AND one_time_until > 0",
        id=user_id,
        password_hash=password_hash,
        mac=_mac(tx, app_id, user_id, password_hash, 0),
    )
    return rows == 1


def delete(tx: Tx, user_id: int) -> int | None:
    """Delete a user with numbers, tags, sessions, books and subscriptions, but not the contacts: no key binds them.

    Returns the id of the application that the user belonged to, None when there was no such user.
    """
    row = tx.one("DELETE FROM users WHERE id = :id RETURNING app_id", id=user_id)
    return row["app_id"] if row else None


def taken(tx: Tx, app_id: int, values: Mapping[str, Any], *, except_id: int = 0) -> str | None:
    """The first unique field whose value another user of the application has."""
    return next(_each_taken(tx, app_id, values, except_id), None)


def all_taken(tx: Tx, app_id: int, values: Mapping[str, Any]) -> list[str]:
    """All unique fields whose values other users of the application have."""
    return list(_each_taken(tx, app_id, values, 0))


def _each_taken(tx: Tx, app_id: int, values: Mapping[str, Any], except_id: int) -> Iterator[str]:
    for key, field in profiles.UNIQUE.items():
        value = values.get(field.compared_key)
        found = tx.tuples(_with_value("u.id", key), **_found_by(tx, app_id, key, value)) if value is not None else []
        if found and found[0][0] != except_id:
            yield key


# ── numbers and tags ─────────────────────────────────────────────────────────────────────────────────────────────────


def set_number(
    tx: Tx, app_id: int, user_id: int, number: int | None, typed: str | None = None, *, found_by: int | None = None
) -> bool:
    """Make this the user's only number; None removes all. A number that stays keeps its verification.

    typed      the phone in the user's profile
    found_by   of a user who was added in this transaction and has no number: the code of the chosen `discoverable`

    True when the user did not answer to the number before.
    """
    if number is None:
        tx.run("DELETE FROM numbers WHERE user_id = :user_id", user_id=user_id)
        return False
    keyed = numbers.keyed(tx, app_id, number)
    # On a cluster, a write that changes nothing costs as much as any other.
    others = "FROM numbers WHERE user_id = :user_id AND number <> :keyed"
    if found_by is None and tx.tuples(f"SELECT 1 {others}", user_id=user_id, keyed=keyed):
        tx.run(f"DELETE {others}", user_id=user_id, keyed=keyed)
    spelling = numbers.spelling(number, typed)
    added = tx.run(
        "INSERT INTO numbers (app_id, number, user_id, digits, spelling, discoverable)"
        " VALUES (:app_id, :keyed, :user_id, :digits, :spelling, :discoverable)"
        " ON CONFLICT (app_id, number, user_id) DO NOTHING",
        app_id=app_id,
        keyed=keyed,
        digits=numbers.digits(tx, "numbers", app_id, keyed, number),
        user_id=user_id,
        spelling=spelling,
        discoverable=discoverable.of_user(tx, user_id) if found_by is None else found_by,
    )
    if not added:
        tx.run("UPDATE numbers SET spelling = :spelling WHERE user_id = :user_id", spelling=spelling, user_id=user_id)
    return added == 1


def numbers_of(tx: Tx, user_id: int) -> list[int]:
    """The numbers of a user."""
    rows = tx.tuples("SELECT app_id, number, digits FROM numbers WHERE user_id = :user_id", user_id=user_id)
    return [numbers.opened(tx, "numbers", *row) for row in rows]


def keyed_numbers(tx: Tx, user_id: int) -> list[int]:
    """The keyed numbers of a user."""
    return [number for (number,) in tx.tuples("SELECT number FROM numbers WHERE user_id = :id", id=user_id)]


def set_tags(tx: Tx, app_id: int, user_id: int, tags: Sequence[str]) -> None:
    """Replace the user's tags by these, which must be folded."""
    tx.run("DELETE FROM tags WHERE user_id = :user_id", user_id=user_id)
    if tags:
        tx.run(
            "INSERT INTO tags (app_id, tag, user_id) SELECT :app_id, t.tag, :user_id FROM :tags AS t WHERE 1 = 1"
            " ON CONFLICT (app_id, tag, user_id) DO NOTHING",
            app_id=app_id,
            user_id=user_id,
            tags=Rows.of("tag", tags),
        )


def tagged(tx: Tx, app_id: int, tags: Sequence[str], most: int) -> list[int]:
    """Up to `most` ids of users with one of these tags, which must be folded; a user stands once for each tag."""
    rows = tx.tuples(
        "SELECT t.user_id FROM :tags AS v CROSS JOIN tags AS t WHERE t.app_id = :app_id AND t.tag = v.tag LIMIT :most",
        tags=Rows.of("tag", tags),
        app_id=app_id,
        most=most,
    )
    return [user_id for (user_id,) in rows]


def tags_of(tx: Tx, user_ids: Sequence[int]) -> list[tuple[int, str]]:
    """The folded tags of these users: (user_id, tag)."""
    rows = tx.tuples("SELECT t.user_id, t.tag FROM tags AS t WHERE t.user_id IN :ids", ids=Rows.of("id", user_ids))
    return [(user_id, tag) for user_id, tag in rows]


def with_external_ids(tx: Tx, app_id: int, names: Sequence[str], most: int) -> list[tuple[int, str]]:
    """Up to `most` users with one of these external ids: (id, external_id)."""
    rows = tx.tuples(
        "SELECT u.id, u.external_id FROM users AS u"
        " WHERE u.app_id = :app_id AND u.external_id IN :names AND u.external_id IS NOT NULL LIMIT :most",
        app_id=app_id,
        names=Rows.of("name", names),
        most=most,
    )
    return [(user_id, name) for user_id, name in rows]


def with_external_user_ids(tx: Tx, app_id: int, numbers_: Sequence[int]) -> list[int]:
    """The ids of the users with these external_user_ids, which are unique."""
    rows = tx.tuples(
        "SELECT u.id FROM users AS u WHERE u.app_id = :app_id AND u.external_user_id IN :numbers",
        app_id=app_id,
        numbers=Rows.of("number", numbers_),
    )
    return [user_id for (user_id,) in rows]


# ── for the periodic jobs ────────────────────────────────────────────────────────────────────────────────────────────


def mark_seen(tx: Tx, times: Mapping[int, int]) -> None:
    """Store when users were last active, by id, unless a later time is stored. Skips users who were deleted."""
    tx.run(
        "INSERT INTO seen (user_id, last_request_at) SELECT r.user_id, r.at FROM :rows AS r"
        " JOIN users AS u ON u.id = r.user_id WHERE 1 = 1 ORDER BY r.user_id"
        " ON CONFLICT (user_id) DO UPDATE SET last_request_at = excluded.last_request_at"
        " WHERE seen.last_request_at < excluded.last_request_at",
        rows=Rows({"user_id": int, "at": int}, sorted(times.items())),
    )


def expired_guests(tx: Tx, now: int, limit: int) -> list[int]:
    """Ids of up to `limit` guests whose account has expired."""
    rows = tx.tuples(
        "SELECT id FROM users WHERE guest_until <= :now ORDER BY guest_until LIMIT :limit", now=now, limit=limit
    )
    return [row[0] for row in rows]
