"""Fill a database as after years of use: users, numbers, books with contacts, sessions.

load(url, world, app_id, …)     writes into the tables, which is much faster than HTTP
token(owner_id)                 the session token of an owner
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Protocol

import psycopg
from databases import file_of
from keyed import SEAL
from world import GAP, World, placed

from ringbook.model import Entry
from ringbook.phone import reading
from ringbook.seal import RowKey
from ringbook.store import db as databases
from ringbook.store import row_macs
from ringbook.store.numbers import DIGITS

BOOK = 1_000
SESSION_SECONDS = 12 * 3600
TABLES: dict[str, tuple[str, ...]] = {
    "users": (
        *("id", "app_id", "login", "login_folded", "login_keyed", "full_name", "full_name_folded", "phone"),
        *("password_hash", "is_guest", "created_at", "updated_at"),
    ),
    "numbers": ("app_id", "number", "user_id", "digits", "spelling"),
    "books": ("owner_id", "book", "app_id", "device", "size", "next_seq", "synced_at"),
    "contacts": ("owner_id", "book", "number", "app_id", "entry", "seq", "sealed"),
    "app_totals": (
        *("app_id", "users", "books", "contacts", "recounted_users", "recounted_books", "recounted_contacts"),
    ),
    "sessions": (
        *("token_hash", "id", "app_id", "user_id", "nonce", "ts", "created_at", "last_used_at", "expires_at"),
        "mac",
    ),
}
Fill = Callable[[str, Sequence[str], Iterable[tuple[Any, ...]]], None]
Advance = Callable[[str, int], None]


class Progress(Protocol):
    """A callback for progress: what is being done, and how much of it is done."""

    def __call__(self, what: str, done: int, of: int, /) -> None:
        """So much is done."""


def load(url: str, world: World, app_id: int, holders: Sequence[int], owners: Sequence[int], tell: Progress) -> None:
    """Load the world's users; `holders` have a book of 1,000 contacts, `owners` a session and no book."""
    now = int(time.time())
    amounts = {
        "users": (world.users, users(world, app_id, now)),
        "numbers": (world.users, numbers(world, app_id)),
        "books": (len(holders), books(app_id, holders, now)),
        "contacts": (len(holders) * BOOK, contacts(world, app_id, holders)),
        # By the number of its users, an application may take new numbers in a day.
        "app_totals": (1, iter([(app_id, world.users, len(holders), len(holders) * BOOK, 0, 0, 0)])),
        "sessions": (len(owners), sessions(row_key(url), app_id, owners, now)),
    }
    with filling(url) as fill:
        for table, (count, rows) in amounts.items():
            fill(table, TABLES[table], counted(rows, f"{table} loaded", count, tell))


def token(owner_id: int) -> str:
    """The session token of an owner; here it need not be a secret."""
    return f"{owner_id:040x}"


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def users(world: World, app_id: int, now: int) -> Iterator[tuple[Any, ...]]:
    """Write all users, with a login, a name, a phone, and a password hash that matches no password."""
    for user_id in range(1, world.users + 1):
        login, name = f"user{user_id}", f"Ann Example {user_id}"
        phone = SEAL.text(str(world.number_of(user_id)), "users", "phone", app_id, user_id)
        yield (
            user_id,
            app_id,
            login,
            login,
            keyed_login(app_id, login),
            name,
            name.lower(),
            phone,
            "-" * 97,
            0,
            now,
            now,
        )


def keyed_login(app_id: int, login: str) -> bytes:
    """By which a user is found."""
    return SEAL.lookup("users.login", app_id, login)


def numbers(world: World, app_id: int) -> Iterator[tuple[Any, ...]]:
    """Write the number of each user, in the order of the table."""
    everybody = ((SEAL.number(app_id, number), user_id, number) for user_id, number in _numbers(world))
    for keyed, user_id, number in sorted(everybody):
        yield app_id, keyed, user_id, SEAL.digits(number, "numbers", "digits", app_id, keyed), DIGITS


def _numbers(world: World) -> Iterator[tuple[int, int]]:
    return ((user_id, world.number_of(user_id)) for user_id in range(1, world.users + 1))


def books(app_id: int, holders: Sequence[int], now: int) -> Iterator[tuple[Any, ...]]:
    """Write a row for each book."""
    return ((holder, 0, app_id, "", BOOK, (BOOK + 1) * GAP, now) for holder in holders)


def contacts(world: World, app_id: int, holders: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Write the contacts of each book, in the order of the table."""
    for holder in holders:
        rows = placed(world.book(holder, BOOK))
        yield from sorted(contact(app_id, holder, *row) for row in rows)


def contact(app_id: int, owner_id: int, number: int, name: str, typed: str | None, seq: int) -> tuple[Any, ...]:
    """The row of a contact in the global book."""
    keyed = SEAL.number(app_id, number)
    (entry,) = SEAL.entries(reading(), app_id, owner_id, 0, [Entry(typed or str(number), name)])
    sealed = SEAL.contact(app_id, owner_id, 0, keyed, number, name, typed)
    return owner_id, 0, keyed, app_id, entry, seq, sealed


def row_key(url: str) -> RowKey:
    """Makes the MACs of rows of this database."""
    with closing(databases.connect(url, pool=1, seal=SEAL)) as db, db.read() as tx:
        return row_macs.key(tx)


def sessions(key: RowKey, app_id: int, owners: Sequence[int], now: int) -> Iterator[tuple[Any, ...]]:
    """Write a session for each owner."""
    for position, owner in enumerate(owners, 1):
        digest = hashlib.sha256(token(owner).encode()).digest()
        mac = row_macs.of_session(key, digest, app_id, owner, None)
        yield digest, position, app_id, owner, 0, now, now, now, now + SESSION_SECONDS, mac


def counted(rows: Iterable[tuple[Any, ...]], what: str, of: int, tell: Progress) -> Iterator[tuple[Any, ...]]:
    """The rows; reports from time to time how many have passed."""
    for done, row in enumerate(rows, 1):
        yield row
        if done % 5_000 == 0 or done == of:
            tell(what, done, of)


# ── the tables ───────────────────────────────────────────────────────────────────────────────────────────────────────


def filling(url: str) -> AbstractContextManager[Fill]:
    """The function that writes rows into the tables of this database."""
    return filling_sqlite(url) if url.startswith("sqlite") else filling_postgresql(url)


@contextmanager
def filling_sqlite(url: str) -> Iterator[Fill]:
    """One transaction without fsync; afterwards all data is in the file itself, not in the log."""
    with closing(sqlite3.connect(file_of(url), isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")

        def fill(table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
            places = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)

        connection.execute("BEGIN IMMEDIATE")
        yield fill
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def filling_postgresql(url: str) -> Iterator[Fill]:
    """COPY, then VACUUM and ANALYZE, which autovacuum would otherwise do during the measurement."""
    with psycopg.connect(url, autocommit=True) as connection:

        def fill(table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
            with connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

        with connection.transaction():
            yield fill
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
