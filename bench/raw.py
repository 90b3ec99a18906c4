"""The raw side: the best statements for the same work, from Python on one connection.

    open_raw(url, app_id)      a Raw for SQLite or for PostgreSQL

An upload is one transaction: an upsert sorted by key that does not touch unchanged rows, and a DELETE if contacts are
removed. On PostgreSQL, if little has changed, a join first selects the rows that differ. The raw side has no HTTP, no
JSON, no reading of numbers, no counts, no sessions, no permits and no row in `books`. Its input from `world` is
prepared and sealed before the time is measured. What it reads is opened within that time: no answer can be given
without the texts.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import psycopg
from databases import file_of
from keyed import SEAL
from world import Contact, Row, Upload

from ringbook.model import Entry
from ringbook.phone import reading
from ringbook.seal import contact_texts
from ringbook.store.db.sqlite import PRAGMAS

WHOLE = (
    *("id", "app_id", "login", "email", "full_name", "external_id", "external_user_id", "facebook_id", "twitter_id"),
    *("website", "avatar", "custom_data", "timezone", "user_tags", "is_guest", "created_at", "updated_at"),
)
COLUMNS = "(owner_id, book, number, app_id, entry, seq, sealed)"
CONFLICT = """ON CONFLICT (owner_id, book, number) DO UPDATE SET entry = excluded.entry,
 sealed = excluded.sealed WHERE contacts.sealed <> excluded.sealed"""
BOOK = "SELECT number, sealed FROM contacts WHERE owner_id = {} AND book = 0 ORDER BY {order}"
FOUND = """SELECT n.user_id, n.spelling, {columns}c.number, c.sealed FROM contacts AS c CROSS JOIN numbers AS n{users}
 WHERE c.owner_id = {owner} AND c.book = 0 AND n.app_id = c.app_id AND n.number = c.number{joined} ORDER BY c.seq"""


def found(owner: str, *, compact: bool) -> str:
    """The statement that finds registered contacts, with all that the two forms of the API's response need."""
    if compact:
        return FOUND.format(columns="", users="", owner=owner, joined="")
    columns = "".join(f"u.{name}, " for name in WHOLE)
    return FOUND.format(columns=columns, users=" CROSS JOIN users AS u", owner=owner, joined=" AND u.id = n.user_id")


class Cost(NamedTuple):
    """Wall-clock seconds and processor seconds of an operation, and the bytes of the answer's body."""

    clock: float
    cpu: float
    size: int = 0


def timed(work: Callable[[], Any]) -> tuple[Cost, Any]:
    """Run a call in this thread; its cost and its result."""
    before, started = time.thread_time(), time.perf_counter()
    answer = work()
    clock = time.perf_counter() - started
    return Cost(clock, time.thread_time() - before), answer


def expect(seen: object, expected: object, what: str) -> None:
    """End the benchmark if a side returned a wrong result."""
    if seen != expected:
        raise SystemExit(f"{what}: {seen} instead of {expected}")


class Raw(Protocol):
    """A side that is measured. Each call checks its counts, and returns its cost."""

    def upload(self, owner_id: int, upload: Upload) -> Cost:
        """Write the changes of one upload."""

    def retrieve(self, owner_id: int, book: Sequence[Contact]) -> Cost:
        """Read a book in its order."""

    def registered(self, owner_id: int, book: Sequence[Contact], *, compact: bool) -> Cost:
        """Find the contacts of a book who are users."""

    def contents(self, owner_id: int) -> list[tuple[Any, ...]]:
        """The content of a book, to compare the sides."""

    def close(self) -> None:
        """Close the connection."""


def open_raw(url: str, app_id: int) -> Raw:
    """A new connection to one database."""
    return RawSqlite(url, app_id) if url.startswith("sqlite") else RawPostgres(url, app_id)


class Opener:
    """Opens the texts of what was read."""

    _app_id: int

    def _texts(self, owner_id: int, rows: list[Any]) -> list[Any]:
        """The numbers, names and spellings of contacts, which stand in the last two columns."""
        return SEAL.open_contacts(self._app_id, owner_id, 0, [row[-2:] for row in rows])


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class RawSqlite(Opener):
    """One connection with the server's settings."""

    def __init__(self, url: str, app_id: int) -> None:
        self._app_id = app_id
        self._connection = sqlite3.connect(file_of(url), isolation_level=None)
        for pragma in PRAGMAS:
            self._connection.execute(pragma)

    def upload(self, owner_id: int, upload: Upload) -> Cost:
        put = sealed(self._app_id, owner_id, upload.put)
        rows = [(owner_id, number, self._app_id, entry, seq, text) for number, entry, seq, text in put]
        drop = [SEAL.number(self._app_id, number) for number in upload.drop]
        numbers = json.dumps([row[0] for row in put] if upload.whole else drop)
        removing = bool(upload.whole or upload.drop)
        word = "NOT IN" if upload.whole else "IN"

        def work() -> int:
            run = self._connection.execute
            run("BEGIN IMMEDIATE")
            changes = self._connection.executemany(UPSERT, rows).rowcount
            changes += run(REMOVE.format(word), (owner_id, numbers)).rowcount if removing else 0
            run("COMMIT")
            return changes

        cost, changes = timed(work)
        expect(changes, upload.changes + upload.answer["deleted"], "rows changed by the raw statement")
        return cost

    def retrieve(self, owner_id: int, book: Sequence[Contact]) -> Cost:
        return self._read(BOOK.format("?", order="seq, number"), owner_id, len(book))

    def registered(self, owner_id: int, book: Sequence[Contact], *, compact: bool) -> Cost:
        users = sum(one.is_user for one in book)
        return self._read(found("?", compact=compact), owner_id, users)

    def contents(self, owner_id: int) -> list[tuple[Any, ...]]:
        return self._connection.execute(BOOK.format("?", order="number"), (owner_id,)).fetchall()

    def close(self) -> None:
        self._connection.close()

    def _read(self, sql: str, owner_id: int, expected: int) -> Cost:
        cost, rows = timed(lambda: self._texts(owner_id, self._connection.execute(sql, (owner_id,)).fetchall()))
        expect(len(rows), expected, "rows read by the raw statement")
        return cost


UPSERT = f"INSERT INTO contacts {COLUMNS} VALUES (?, 0, ?, ?, ?, ?, ?) {CONFLICT}"
REMOVE = "DELETE FROM contacts WHERE owner_id = ? AND book = 0 AND number {} (SELECT value FROM json_each(?))"


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


class RawPostgres(Opener):
    """One connection with prepared statements, binary arrays as parameters and binary results."""

    def __init__(self, url: str, app_id: int) -> None:
        self._app_id = app_id
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)

    def upload(self, owner_id: int, upload: Upload) -> Cost:
        put_rows = sealed(self._app_id, owner_id, upload.put)
        numbers, entries, seqs, texts = (list(column) for column in zip(*put_rows, strict=True))
        known = {"owner": owner_id, "app": self._app_id, "numbers": numbers, "texts": texts, "seqs": seqs}
        known["entries"] = entries
        drop = [SEAL.number(self._app_id, number) for number in upload.drop]
        # The join is faster if little has changed, and slower if everything is new.
        put = PG_UPSERT if upload.changes * 2 > len(upload.put) else PG_LOOK
        removing = PG_KEEP if upload.whole else PG_REMOVE if upload.drop else ""
        gone = {"owner": owner_id, "numbers": numbers if upload.whole else drop}

        def work() -> int:
            if not removing:
                return self._run(put, known).rowcount
            with self._connection.transaction():
                return self._run(put, known).rowcount + self._run(removing, gone).rowcount

        cost, changes = timed(work)
        expect(changes, upload.changes + upload.answer["deleted"], "rows changed by the raw statement")
        return cost

    def retrieve(self, owner_id: int, book: Sequence[Contact]) -> Cost:
        return self._read(BOOK.format("%(owner)s", order="seq, number"), owner_id, len(book))

    def registered(self, owner_id: int, book: Sequence[Contact], *, compact: bool) -> Cost:
        users = sum(one.is_user for one in book)
        return self._read(found("%(owner)s", compact=compact), owner_id, users)

    def contents(self, owner_id: int) -> list[tuple[Any, ...]]:
        return self._run(BOOK.format("%(owner)s", order="number"), {"owner": owner_id}).fetchall()

    def close(self) -> None:
        self._connection.close()

    def _read(self, sql: str, owner_id: int, expected: int) -> Cost:
        cost, rows = timed(lambda: self._texts(owner_id, self._run(sql, {"owner": owner_id}).fetchall()))
        expect(len(rows), expected, "rows read by the raw statement")
        return cost

    def _run(self, sql: str, params: dict[str, Any]) -> psycopg.Cursor[Any]:
        return self._connection.cursor(binary=True).execute(sql, params)


PG_ROWS = f"""INSERT INTO contacts {COLUMNS}
 SELECT %(owner)s, 0, r.number, %(app)s, r.entry, r.seq, r.sealed
 FROM unnest(%(numbers)b::bigint[], %(entries)b::bigint[], %(seqs)b::bigint[], %(texts)b::bytea[])
 AS r (number, entry, seq, sealed) """
PG_UPSERT = PG_ROWS + CONFLICT
PG_LOOK = f"""{PG_ROWS} LEFT JOIN contacts AS c
 ON c.owner_id = %(owner)s AND c.book = 0 AND c.number = r.number
 WHERE c.number IS NULL OR c.sealed <> r.sealed {CONFLICT}"""
PG_REMOVE = "DELETE FROM contacts WHERE owner_id = %(owner)s AND book = 0 AND number = ANY (%(numbers)b::bigint[])"
PG_KEEP = """DELETE FROM contacts AS c WHERE c.owner_id = %(owner)s AND c.book = 0
 AND NOT EXISTS (SELECT 1 FROM unnest(%(numbers)b::bigint[]) AS k (number) WHERE k.number = c.number)"""


def sealed(app_id: int, owner_id: int, put: Sequence[Row]) -> list[tuple[int, int, int, bytes]]:
    """The rows of an upload as they are stored, sorted by the keyed number: number, entry, seq, sealed."""
    keyed = SEAL.numbers(app_id, [row[0] for row in put])
    texts = [text or b"" for text in contact_texts(row[:3] for row in put)]
    found = SEAL.contacts(app_id, owner_id, 0, keyed, texts)
    sent = [Entry(typed or str(number), name) for number, name, typed, _ in put]
    entries = SEAL.entries(reading(), app_id, owner_id, 0, sent)
    return sorted(zip(keyed, entries, [row[3] for row in put], found, strict=True))
