"""Contacts of very many owners, in numbers up to a hundred million, made by the database itself.

    grow(url, app_id, have, want, tell)    fill `contacts` from `have` rows to `want`

Nobody reads these books, so what they hold is random bytes of the length of a sealed contact. The numbers are spread
evenly over all keyed numbers. Rows are inserted in the order of the primary key, and the index by number is built
afterwards, because that is much faster. A new index is packed, which an index after years of use is not: so it is built
over 70 % of the rows, and the others follow in the order of their numbers. Then its pages are about 70 % full.
"""

import re
import sqlite3
from contextlib import closing

import psycopg
from databases import file_of
from loading import TABLES, Progress

BOOK = 1_000
SEALED_BYTES = 64
STEP = 2**63 // BOOK  # one number from each thousandth of all numbers: random, and in order without sorting
SPREAD_PART, AT_ONCE = 0.7, 500
FIRST_OWNER = 20_000_001
INDEX = "contacts_number"

COLUMNS = TABLES["contacts"]
SPREAD_NUMBER, NUMBER_IN_ORDER = "i % 1000 * :step + {random}", "(:before + i) * :step + {random}"


def statement(number: str, rows: str, **values: str) -> str:
    """Inserts contacts for each `i` of some rows; the values are those that the databases write differently."""
    known = {"owner_id": ":owner + i / 1000", "book": "0", "app_id": ":app_id", "seq": "(i % 1000 + 1) << 20"}
    found = known | {"number": number.format(**values)} | values
    return f"INSERT INTO contacts ({', '.join(COLUMNS)}) {rows.format(', '.join(found[one] for one in COLUMNS))}"


def sqlite_statement(number: str) -> str:
    rows = (
        "WITH RECURSIVE counted (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM counted WHERE i + 1 < :count)"
        " SELECT {} FROM counted"
    )
    return statement(number, rows, random="abs(random() % :step)", sealed="randomblob(:bytes)", entry="random()")


def postgresql_statement(number: str) -> str:
    text = "decode(md5(random()::text) || md5(i::text) || md5(random()::text) || md5((-i)::text), 'hex')"
    entry = "floor((random() - 0.5) * 2::float8 ^ 63)::bigint"
    random = "floor(random() * :step)::bigint"
    rows = "SELECT {} FROM generate_series(0, :count - 1) AS i"
    sql = statement(number, rows, random=random, sealed=text, entry=entry)
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", sql.replace("%", "%%"))


def grow(url: str, app_id: int, have: int, want: int, tell: Progress) -> None:
    """Add books of 1,000 contacts until the table holds `want` rows of this kind; it holds `have`."""
    spread = max(0, int((want * SPREAD_PART - have) // BOOK))
    in_order = (want - have) // BOOK - spread
    owner = FIRST_OWNER + have // BOOK
    with closing(Sqlite(url) if url.startswith("sqlite") else Postgres(url)) as filling:
        index = filling.without_index()
        what = f"contacts up to {want:,}"
        for done in range(0, spread, AT_ONCE):
            filling.run(
                filling.spread, owner=owner + done, count=min(AT_ONCE, spread - done) * BOOK, step=STEP, app_id=app_id
            )
            tell(what, (done + AT_ONCE) * BOOK, want - have)
        filling.run(index)
        step = 2**63 // (in_order * BOOK)
        for done in range(0, in_order, AT_ONCE):
            count = min(AT_ONCE, in_order - done) * BOOK
            given = {"owner": owner + spread + done, "before": done * BOOK, "count": count, "step": step}
            filling.run(filling.in_order, app_id=app_id, **given)
            tell(what, min(want - have, (spread + done + AT_ONCE) * BOOK), want - have)
        filling.settle()


class Sqlite:
    """A file without a journal: a crash while it is filled loses it."""

    spread, in_order = sqlite_statement(SPREAD_NUMBER), sqlite_statement(NUMBER_IN_ORDER)

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(file_of(url), isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -131072", "temp_store = FILE"):
            self._connection.execute(f"PRAGMA {pragma}")

    def without_index(self) -> str:
        """Drop the index; returns the statement that creates it."""
        found = self._connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (INDEX,)).fetchone()
        self._connection.execute(f"DROP INDEX {INDEX}")
        return str(found[0])

    def run(self, sql: str, **given: int) -> None:
        """Run one statement, in a transaction of its own."""
        self._connection.execute(sql, given | ({"bytes": SEALED_BYTES} if ":bytes" in sql else {}))

    def settle(self) -> None:
        """Leave the file as the server expects it."""
        self._connection.execute("PRAGMA journal_mode = WAL")

    def close(self) -> None:
        self._connection.close()


class Postgres:
    """A server with its usual log of writes."""

    spread, in_order = postgresql_statement(SPREAD_NUMBER), postgresql_statement(NUMBER_IN_ORDER)

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        for setting in ("maintenance_work_mem = '512MB'", "synchronous_commit = off"):
            self._connection.execute(f"SET {setting}")

    def without_index(self) -> str:
        """Drop the index; returns the statement that creates it."""
        found = self._connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", (INDEX,)).fetchone()
        assert found is not None
        self._connection.execute(f"DROP INDEX {INDEX}")
        return str(found[0])

    def run(self, sql: str, **given: int) -> None:
        """Run one statement, in a transaction of its own."""
        self._connection.execute(sql, given or None)

    def settle(self) -> None:
        """Do what autovacuum would otherwise do during the measurement."""
        self._connection.execute("VACUUM (ANALYZE) contacts")
        self._connection.execute("CHECKPOINT")

    def close(self) -> None:
        self._connection.close()
