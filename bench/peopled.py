"""A database like that of a busy server, filled by SQL: users, address books, devices, pushes, audit log.

    fill(url, users, tell)   every table; how many rows of each
    recount(db)              the totals of the applications
    number_of(user_id)       the number of a user; NOBODY is one that nobody has

The numbers belong to nobody: they begin with 999, an unassigned country code.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

import psycopg
from keyed import SEAL

from ringbook.core import app_totals
from ringbook.store import audit
from ringbook.store import db as databases
from ringbook.store.db import Rows

BOOK = 100  # contacts
EVERY = 20  # so many users to one with a book
OWNER = 20_000
FIRST, APART = 999_000_000_000, 37
NOBODY = FIRST + APART * 50 + 5
DAY = 86_400
# By table: how many rows for each user, and the statement; i counts them from 1.
TABLES = {
    "users": (
        1,
        "INSERT INTO users (id, app_id, login, login_folded, full_name, full_name_folded, is_guest, created_at,"
        " updated_at) {count} SELECT i, 1, 'user-' || i, 'user-' || i, 'Ann Example ' || i, 'ann example ' || i,"
        " 0, :now - (:count - i), :now FROM n",
    ),
    # four words of each user: two that all share, one of three users, and one of its own
    "words": (
        4,
        "INSERT INTO words (app_id, word, user_id) {count} SELECT 1, CASE i % 4 WHEN 0 THEN 'ann' WHEN 1 THEN 'example'"
        " WHEN 2 THEN 'user' || (i / 12) ELSE 'n' || (i / 4) END, 1 + (i - 1) / 4 FROM n",
    ),
    "numbers": (
        1,
        "INSERT INTO numbers (app_id, number, user_id, digits, verified_at)"
        " SELECT 1, r.number, r.user_id, r.digits, CASE WHEN r.user_id % 3 = 0 THEN :now END FROM :rows AS r",
    ),
    "books": (
        1 / EVERY,
        "INSERT INTO books (owner_id, book, app_id, device, size, next_seq, synced_at)"
        " {count} SELECT i * {every}, 0, 1, '', {book}, 1000000000, :now - i % 100000 FROM n",
    ),
    "contacts": (
        BOOK / EVERY,
        "INSERT INTO contacts (owner_id, book, number, app_id, entry, seq, sealed)"
        " SELECT r.owner_id, 0, r.number, 1, 0, r.seq, r.sealed FROM :rows AS r",
    ),
    "totals": (
        1 / EVERY,
        "INSERT INTO totals (owner_id, app_id, contacts, bytes) {count} SELECT i * {every}, 1, {book},"
        " (SELECT SUM(LENGTH(sealed)) FROM contacts WHERE owner_id = i * {every}) FROM n",
    ),
    "subscriptions": (
        0.5,
        "INSERT INTO subscriptions (user_id, id, app_id, device, platform, channel, environment, token, token_key,"
        " created_at, updated_at) SELECT r.id * 2, r.id, 1, r.device, 'android', 'gcm', 'production', r.token,"
        " :hash, :now, :now FROM :rows AS r",
    ),
    "pushes": (
        2,
        "INSERT INTO pushes (user_id, id, app_id, subscription_id, event_id, about_user_id, channel, environment,"
        " created_at, due_at, expires_at, attempts, outcome, reason, settled_at) {count} SELECT 1 + i % :users, i, 1,"
        " 1, i, 1 + i * 7 % :users, CASE WHEN i % 100000 = 1 THEN 'web' WHEN i % 4 = 0 THEN 'apns' ELSE 'gcm' END,"
        " 'production', :now - (:count - i) / 4, :now - (:count - i) / 4, :now + {day}, 1,"
        " CASE WHEN i > :count - 20000 THEN NULL WHEN i % 100 < 94 THEN 'accepted' WHEN i % 100 < 96 THEN 'gone'"
        " WHEN i % 100 = 97 THEN 'expired' ELSE 'parked' END,"
        " CASE WHEN i % 100 < 96 THEN '' WHEN i % 2 = 0 THEN 'apns_key is not set' ELSE 'payload too large' END,"
        " CASE WHEN i > :count - 20000 THEN NULL ELSE :now - (:count - i) / 4 END FROM n",
    ),
    "joined": (
        0.1,
        "INSERT INTO joined (id, app_id, user_id, verified, created_at, due_at, told_up_to, done_at, result)"
        " {count} SELECT i, 1, i, 1, :now - i, :now - i, 0, :now, 'told' FROM n",
    ),
    "audit": (
        0.1,
        "INSERT INTO audit (id, at, app_id, admin, address, action, subject, sealed)"
        " SELECT r.id, :now - r.id * 9, CASE WHEN r.id % 2 = 0 THEN 1 END, r.admin, '192.0.2.7',"
        " CASE WHEN r.id % 500 = 0 THEN 'user erased' ELSE 'logged in' END, r.subject, r.sealed FROM :rows AS r",
    ),
    "activity": (
        0,
        "INSERT INTO activity (app_id, at, name, value) {count} SELECT 1, :now - :now % 1800 - (i - 1) / 3 * 1800,"
        " CASE i % 3 WHEN 0 THEN 'sign-ups' WHEN 1 THEN 'matches' ELSE 'joined' END, i * 17 % 1000 FROM n",
    ),
    "daily": (
        0,
        "INSERT INTO daily (app_id, day, name, value) {count} SELECT 1, :now / {day} - (i - 1) / 12,"
        " CASE i % 12 WHEN 0 THEN 'sign-ups' WHEN 1 THEN 'uploads' WHEN 2 THEN 'matches' WHEN 3 THEN 'joined'"
        " WHEN 4 THEN 'pushes accepted' WHEN 5 THEN 'pushes parked' WHEN 6 THEN 'pushes gone'"
        " WHEN 7 THEN 'pushes expired' WHEN 8 THEN 'users' WHEN 9 THEN 'books' WHEN 10 THEN 'contacts'"
        " ELSE 'sessions' END, i * 17 % 1000 FROM n",
    ),
    "refusals": (
        0,
        "INSERT INTO refusals (app_id, request, cause, reason, count, first_at, last_at) {count} SELECT i % 2,"
        " 'GET /route/' || i % 20, 'invalid', 'reason ' || i, i, :now - 9000, :now - i FROM n",
    ),
}
SEQUENCES = {
    "users": "user_ids",
    "subscriptions": "subscription_ids",
    "pushes": "push_ids",
    "joined": "joined_ids",
    "audit": "audit_ids",
}
ROWS = {"daily": 12 * 365, "activity": 3 * 48 * 181, "refusals": 500}
WORDS = {"first": FIRST, "apart": APART, "every": EVERY, "book": BOOK, "day": DAY}
COUNT = "WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
# Made anew when its table is full: filling it row by row would take minutes.
INDEX = "CREATE INDEX contacts_number ON contacts (app_id, number, owner_id)"


def fill(url: str, users: int, tell: Callable[[str], None]) -> dict[str, int]:
    """Fill every table of application 1; the number of rows of each."""
    counts = {table: ROWS.get(table) or round(users * share) for table, (share, _) in TABLES.items()}
    values = {"now": int(time.time()), "users": users, "hash": bytes(32)}
    with closing(databases.connect(url, pool=1, seal=SEAL)) as db:
        with db.write() as tx:
            tx.run("DROP INDEX contacts_number")
            tx.run("DELETE FROM audit")  # what making the application has left
        for table, (_, statement) in TABLES.items():
            tell(f"{counts[table]:,} {table}")
            sql = statement.format(count=COUNT, **WORDS)
            named = {key: value for key, value in values.items() if f":{key}" in sql}
            if table in SEALED:
                columns, rows = SEALED[table]
                for chunk in chunks(rows(counts[table], users)):
                    with db.write() as tx:
                        tx.run(sql, rows=Rows(columns, chunk), **named)
                continue
            with db.write() as tx:
                tx.run(sql, count=counts[table], **named)
        with db.write() as tx:
            tx.run(INDEX)
            for table, sequence in SEQUENCES.items():
                tx.reserve_ids(sequence, counts[table])
    if not databases.is_sqlite(url):  # which autovacuum does by itself, in its own time
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
    return counts


def numbers(count: int, _: int) -> Iterator[tuple[int, int, bytes]]:
    """The number of each user, sealed."""
    for user_id in range(1, count + 1):
        keyed = SEAL.number(1, number_of(user_id))
        yield keyed, user_id, SEAL.digits(number_of(user_id), "numbers", "digits", 1, keyed)


def contacts(count: int, users: int) -> Iterator[tuple[int, int, bytes, int]]:
    """The contacts of each book, sealed; a fifth of them are users."""
    for i in range(count):
        owner, place = (i // BOOK + 1) * EVERY, i % BOOK
        number = number_of(1 + (owner + place * 104_729) % users) + (place % 5 > 0)
        keyed = SEAL.number(1, number)
        yield owner, keyed, SEAL.contact(1, owner, 0, keyed, number, f"Friend {place}", None), place * 1_048_576


def devices(count: int, _: int) -> Iterator[tuple[int, str, bytes]]:
    """A device for every other user, with a sealed push token."""
    for i in range(1, count + 1):
        device = f"device-{i}"
        yield i, device, SEAL.text("x" * 142, "subscriptions", "token", 1, i * 2, device, "gcm", "production")


def entries(count: int, _: int) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """The entries of the audit log, sealed."""
    for i in range(1, count + 1):
        made = audit.under(SEAL, i, "op@example.com", f"user {i}", "")
        yield i, made["admin"], made["subject"], made["sealed"]


SEALED: dict[str, tuple[dict[str, type], Callable[[int, int], Iterator[tuple[object, ...]]]]] = {
    "numbers": ({"number": int, "user_id": int, "digits": bytes}, numbers),
    "contacts": ({"owner_id": int, "number": int, "sealed": bytes, "seq": int}, contacts),
    "subscriptions": ({"id": int, "device": str, "token": bytes}, devices),
    "audit": ({"id": int, "admin": bytes, "subject": bytes, "sealed": bytes}, entries),
}


def chunks(rows: Iterator[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    """The rows, 20,000 at a time."""
    while chunk := list(islice(rows, 20_000)):
        yield chunk


def recount(db: databases.Database) -> float:
    """Make the totals of the applications, which `fill` leaves out; how many seconds the pass took."""
    began = time.monotonic()
    while True:
        app_totals.recount(db, int(time.time()))
        with db.read() as tx:
            if not tx.tuples("SELECT place FROM sweeps WHERE name = 'totals'")[0][0]:
                return time.monotonic() - began


def number_of(user_id: int) -> int:
    """The number of a user."""
    return FIRST + APART * user_id
