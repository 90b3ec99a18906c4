"""Connections and transactions: the same promises kept by both databases."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import SEAL, is_cluster

from ringbook import errors
from ringbook.store import db as databases
from ringbook.store.db import Database, Rows, connect, copies
from ringbook.store.db.postgres import check_address, options
from ringbook.store.db.sqlite import usual_cache

TEXTS = ["", "a'b\"c", "100%", "%s :name ::text", "é😀\u200f", "\n\t\\", "null", "[1]", " x "]
NUMBERS = [0, 1, -1, 2**31, 2**63 - 1, -(2**63)]


@pytest.fixture
def table(database_url: str) -> Iterator[Database]:
    """A database with a table of its own; on a cluster, it lies on the coordinator."""
    url = databases.at_coordinator(database_url) if is_cluster(database_url) else database_url
    with closing(databases.connect(url, seal=SEAL)) as db:
        with db.write() as tx:
            tx.run("CREATE TABLE things (n BIGINT PRIMARY KEY, t TEXT)")
        yield db


def put(db: Database, *rows: tuple[int, str | None]) -> int:
    with db.write() as tx:
        return tx.run(
            "INSERT INTO things (n, t) SELECT r.n, r.t FROM :rows AS r WHERE 1 = 1",
            rows=Rows({"n": int, "t": str}, list(rows)),
        )


def held(db: Database) -> list[tuple[int, str | None]]:
    with db.read() as tx:
        return [(n, t) for n, t in tx.tuples("SELECT n, t FROM things ORDER BY n")]


# ── statements ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_four_ways_of_asking(table):
    put(table, (1, "a"), (2, None))
    with table.write() as tx:
        assert tx.all("SELECT n, t FROM things ORDER BY n") == [{"n": 1, "t": "a"}, {"n": 2, "t": None}]
        assert tx.one("SELECT t FROM things WHERE n = :n", n=1) == {"t": "a"}
        assert tx.one("SELECT t FROM things WHERE n = :n", n=3) is None
        assert tx.tuples("SELECT n FROM things WHERE n > :n", n=2) == []
        assert tx.run("UPDATE things SET t = :t", t="b") == 2
        assert tx.run("DELETE FROM things WHERE n = :n", n=3) == 0
        assert tx.all("DELETE FROM things WHERE n = 2 RETURNING t") == [{"t": "b"}]


@pytest.mark.parametrize("value", [*TEXTS, None])
def test_texts_come_back_as_they_were_given(table, value):
    put(table, (1, value))
    with table.write() as tx:
        tx.run("INSERT INTO things VALUES (2, :t)", t=value)
    assert held(table) == [(1, value), (2, value)]


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_come_back_as_they_were_given(table, value):
    put(table, (value, None))
    with table.read() as tx:
        assert tx.tuples("SELECT n FROM things WHERE n = :n", n=value) == [(value,)]
        assert tx.tuples("SELECT n.n FROM :ns AS n", ns=Rows.of("n", [value])) == [(value,)]


def test_a_parameter_may_stand_more_than_once_and_be_a_prefix_of_another(table):
    with table.read() as tx:
        row = tx.one(
            "SELECT CAST(:a AS BIGINT) AS x, CAST(:a AS BIGINT) + CAST(:ab AS BIGINT) AS y"
            " FROM :a_rows AS r WHERE r.n = :ab",
            a=1,
            ab=2,
            a_rows=Rows.of("n", [2]),
        )
    assert row == {"x": 1, "y": 3}


def test_rows_keep_their_order_and_their_doubles(table):
    with table.read() as tx:
        asked = [3, 1, 2, 1]
        assert [n for (n,) in tx.tuples("SELECT r.n FROM :rows AS r", rows=Rows.of("n", asked))] == asked


def test_no_rows_are_none(table):
    assert put(table) == 0
    with table.read() as tx:
        assert tx.tuples("SELECT r.n FROM :rows AS r", rows=Rows.of("n", [])) == []


def test_a_column_of_whole_numbers(table):
    with table.write() as tx:
        assert tx.integers("SELECT n AS value FROM things") == set()
    put(table, *((n, None) for n in NUMBERS))
    with table.read() as tx:
        assert tx.integers("SELECT n AS value FROM things") == set(NUMBERS)
        assert tx.integers("SELECT n % 7 AS value FROM things WHERE n = :n", n=8) == set()
        asked = Rows.of("n", [1, 0])
        assert tx.integers("SELECT n % 7 AS value FROM things WHERE n IN :ns", ns=asked) == {0, 1}


def test_a_list_may_say_which_values_are_meant(table):
    put(table, (1, "a"), (2, "b"), (3, None))
    with table.write() as tx:
        assert tx.tuples("SELECT n FROM things WHERE n IN :ns ORDER BY n", ns=Rows.of("n", [3, 1, 1, 9])) == [
            (1,),
            (3,),
        ]
        assert tx.tuples("SELECT n FROM things WHERE t IN :ts", ts=Rows.of("t", ["b", "z"])) == [(2,)]
        assert tx.tuples("SELECT n FROM things WHERE n IN :ns", ns=Rows.of("n", [])) == []
        assert tx.run("DELETE FROM things WHERE n IN :ns", ns=Rows.of("n", [1, 2])) == 2
    assert held(table) == [(3, None)]


def test_two_lists_in_one_statement(table):
    with table.read() as tx:
        found = tx.tuples(
            "SELECT a.n, b.t FROM :a AS a CROSS JOIN :b AS b ORDER BY a.n, b.t",
            a=Rows.of("n", [1, 2]),
            b=Rows.of("t", ["x", "y"]),
        )
    assert found == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_fifty_thousand_rows_are_one_parameter(table):
    assert put(table, *((n, f"name {n}") for n in range(50_000))) == 50_000
    assert held(table)[-1] == (49_999, "name 49999")


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 130])
def test_rows_are_inserted_and_updated_however_many_they_are(table, count):
    """SQLite runs such statements for some rows at a time."""
    upsert = (
        "INSERT INTO things (n, t) SELECT r.n + :more, r.t FROM :rows AS r WHERE 1 = 1"
        " ON CONFLICT (n) DO UPDATE SET t = excluded.t || :end"
    )
    update = "UPDATE things SET t = r.t || :end FROM :rows AS r WHERE things.n = r.n + :more AND things.n <> :other"
    rows = Rows({"n": int, "t": str}, [(n, f"a{n}") for n in range(count)])
    with table.write() as tx:
        assert [tx.run(upsert, rows=rows, more=1, end=" :end") for _ in range(2)] == [count, count]
    assert held(table) == [(n + 1, f"a{n} :end") for n in range(count)]
    with table.write() as tx:
        assert tx.run(update, rows=rows, more=1, end="!", other=2) == count - (count > 1)
    assert held(table) == [(n + 1, f"a{n} :end" if n == 1 else f"a{n}!") for n in range(count)]


INSERT = "INSERT INTO things (n, t) SELECT r.n, r.t FROM :rows AS r WHERE 1 = 1"


def lists(*sizes: int) -> Iterator[Rows]:
    """Lists of so many rows each, with numbers from 0."""
    place = 0
    for size in sizes:
        yield Rows({"n": int, "t": str}, [(n, f"a{n}") for n in range(place, place + size)])
        place += size


@pytest.mark.parametrize("sizes", [(), (1,), (3, 2_000, 1), (50, 0, 51)])
def test_a_statement_is_executed_with_each_list(table, sizes):
    with table.write() as tx:
        tx.run_each(INSERT, "rows", lists(*sizes))
        assert tx.tuples("SELECT COUNT(*) FROM things") == [(sum(sizes),)]
    assert held(table) == [(n, f"a{n}") for n in range(sum(sizes))]


def test_a_list_that_cannot_be_made_undoes_what_was_stored(table):
    def broken() -> Iterator[Rows]:
        yield from lists(3, 3)
        raise Oops

    with pytest.raises(Oops), table.write() as tx:
        tx.run_each(INSERT, "rows", broken())
    with pytest.raises(Oops), table.write() as tx:
        with suppress(Oops):
            tx.run_each(INSERT, "rows", broken())
        assert tx.tuples("SELECT COUNT(*) FROM things") == [(6,)]  # the transaction still works
        raise Oops
    assert held(table) == []
    assert put(table, (1, "x")) == 1


@pytest.mark.parametrize("there", [1, 60, 119])
def test_a_list_that_is_refused_undoes_all_lists(table, there):
    put(table, (there, "there"))
    with pytest.raises(errors.Conflict), table.write() as tx:
        tx.run_each(INSERT, "rows", lists(55, 55, 10, 500))
    assert held(table) == [(there, "there")]
    assert put(table, (1_000, "x")) == 1


def test_an_insert_that_is_refused_for_one_row_undoes_all_rows(table):
    put(table, (70, "there"))
    with pytest.raises(errors.Conflict):
        put(table, *((n, "x") for n in range(100)))
    assert held(table) == [(70, "there")]


def test_bytes_come_back_as_they_were_given(db):
    everything, app = bytes(range(256)), app_id(db)
    with db.write() as tx:
        tx.run("INSERT INTO sessions VALUES (:h, 1, :a, NULL, 0, 0, 0, 0, 0, NULL, NULL)", h=everything, a=app)
        assert tx.tuples("SELECT token_hash FROM sessions WHERE token_hash = :h", h=everything) == [(everything,)]


def app_id(db: Database) -> int:
    with db.write() as tx:
        row = tx.one(
            "INSERT INTO applications (id, name, auth_key, auth_secret, hash_key, vapid_public_key, vapid_private_key,"
            " settings, created_at) VALUES (:id, '', '', '', :key, '', '', '{}', 0) RETURNING id",
            id=tx.next_id("application_ids"),
            key=b"",
        )
    assert row
    return int(row["id"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), max_size=8))
def test_folded_texts_have_one_order_on_both(db, texts):
    """By code points, whatever the database's own collation is."""
    texts = sorted(set(texts))
    with db.write() as tx:
        tx.run("DELETE FROM tags")
        tx.run("DELETE FROM users")
        app = tx.one("SELECT max(id) AS id FROM applications") or {}
    app_ = app.get("id") or app_id(db)
    with db.write() as tx:
        user = tx.one(
            "INSERT INTO users (id, app_id, is_guest, created_at, updated_at) VALUES (:id, :a, 0, 0, 0) RETURNING id",
            id=tx.next_id("user_ids"),
            a=app_,
        )
        assert user
        tx.run(
            "INSERT INTO tags (app_id, tag, user_id) SELECT 1, t.tag, :u FROM :tags AS t WHERE 1 = 1",
            u=user["id"],
            tags=Rows.of("tag", texts[::-1]),
        )
        assert [tag for (tag,) in tx.tuples("SELECT tag FROM tags ORDER BY tag")] == texts


# ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Oops(Exception):
    pass


def test_an_exception_undoes_all_of_it(table):
    with pytest.raises(Oops), table.write() as tx:
        tx.run("INSERT INTO things VALUES (1, 'a')")
        raise Oops
    assert held(table) == []
    put(table, (1, "b"))
    assert held(table) == [(1, "b")]


def test_a_refused_statement_undoes_all_of_it(table):
    with pytest.raises(errors.Conflict), table.write() as tx:
        tx.run("INSERT INTO things VALUES (1, 'a')")
        tx.run("INSERT INTO things VALUES (1, 'b')")
    assert held(table) == []


def test_nobody_sees_what_is_not_committed(table):
    with table.write() as tx:
        tx.run("INSERT INTO things VALUES (1, 'a')")
        assert held(table) == []
    assert held(table) == [(1, "a")]


def test_reading_does_not_wait_for_writing(table):
    put(table, (1, "a"))
    with table.write() as tx, ThreadPoolExecutor(1) as other:
        tx.run("UPDATE things SET t = 'b'")
        assert other.submit(held, table).result(5) == [(1, "a")]


def test_changes_at_once_are_all_kept(table):
    put(table, (1, ""))

    def add(_: int) -> None:
        with table.write() as tx:
            tx.run("UPDATE things SET t = t || 'x' WHERE n = 1")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(100)))
    assert held(table) == [(1, "x" * 100)]


def test_one_alone_keeps_the_others_out(table):
    """Whoever looks before it leaps must be alone with it."""

    def add_once(n: int) -> None:
        with table.write() as tx:
            tx.lock("the first thing")
            if not tx.one("SELECT n FROM things"):
                tx.run("INSERT INTO things VALUES (:n, NULL)", n=n)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_once, range(16)))
    assert len(held(table)) == 1


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reference_to_a_user_who_is_gone_is_a_session_that_is_gone(db):
    with pytest.raises(errors.SessionGone), db.write() as tx:
        tx.run(
            "INSERT INTO books (owner_id, book, app_id, device, size, next_seq, synced_at)"
            " VALUES (4711, 0, 1, '', 0, 0, 0)"
        )


def test_a_bug_stays_what_it_is(db):
    with pytest.raises(Exception, match="nothing") as raised, db.write() as tx:
        tx.run("SELECT * FROM nothing")
    assert not isinstance(raised.value, errors.Refused)
    with db.read() as tx:
        assert tx.tuples("SELECT 1") == [(1,)]


@pytest.mark.parametrize("url", ["mysql://x", "sqlite:relative.db", "sqlite://", "sqlite:///", "ringbook.db"])
def test_what_is_no_database_is_said_to_be_none(url):
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        databases.connect(url, seal=SEAL)


def test_gauges_say_how_many_connections_there_are(db):
    with db.write() as tx:
        tx.tuples("SELECT 1")
        gauges = db.gauges()
    assert gauges.keys() == {"open", "idle", "waiting"}
    assert gauges["open"] >= 1
    assert gauges["waiting"] == 0


def test_the_version_is_known_and_new_enough(db):
    product, trouble = db.version()
    assert product.split(" ")[0] in ("SQLite", "PostgreSQL")
    assert trouble == ""


@pytest.mark.parametrize(
    "url, name",
    [
        ("sqlite:////srv/ringbook.db", "/srv/ringbook.db"),
        ("postgresql://ann:s3cret@db.example.com/ringbook", "postgresql://db.example.com/ringbook"),
        ("postgres://db.example.com:6432/book?user=ann&password=s3cret", "postgresql://db.example.com:6432/book"),
        ("postgresql:///ringbook", "postgresql:///ringbook"),
        ("postgresql://ann:s3cret@[2001:db8::1]:5432/book", "postgresql://[2001:db8::1]:5432/book"),
        ("postgresql://ann:s3cret@one:1,two:2/book?target_session_attrs=any", "postgresql://one:1,two:2/book"),
        ("postgresql://ann:s3cret@one,[2001:db8::2]:2/book", "postgresql://one,[2001:db8::2]:2/book"),
        ("postgresql:///book?host=one,two&port=6432&password=s3cret", "postgresql://one:6432,two:6432/book"),
    ],
)
def test_a_database_is_named_without_user_and_password(url, name):
    assert databases.named(url) == name


def test_as_many_ports_as_hosts_or_one():
    with pytest.raises(errors.Invalid, match="one port for each host") as refused:
        databases.connect("postgresql:///book?host=one,two&port=1,2,3&password=s3cret", seal=SEAL)
    assert "s3cret" not in refused.value.reason


@pytest.mark.parametrize("wanted", ["standby", "read-only", "prefer-standby", "primaryy"])
def test_an_address_that_leads_to_a_standby_is_refused(wanted):
    with pytest.raises(errors.Invalid, match="read-write, primary or any"):
        check_address(f"postgresql://ann@one,two/book?target_session_attrs={wanted}")
    check_address("postgresql://ann@one,two/book?target_session_attrs=primary")


def test_with_several_hosts_the_primary_is_looked_for_unless_the_address_says_otherwise():
    one = options("postgresql://ann@one/book")
    assert "target_session_attrs" not in one and one["connect_timeout"] == 5
    several = options("postgresql://ann@one,two/book?connect_timeout=9")
    assert several["target_session_attrs"] == "read-write" and "connect_timeout" not in several
    assert "target_session_attrs" not in options("postgresql://ann@one,two/book?target_session_attrs=any")


def test_connections_to_a_server_that_takes_no_writes_any_more_are_replaced(postgres_url):
    """Sessions that began read-only stand for those that a demoted primary keeps; new ones lead to the new primary."""
    with closing(psycopg.connect(postgres_url, autocommit=True)) as admin:
        name = admin.info.dbname
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with closing(databases.connect(postgres_url, pool=3, seal=SEAL)) as db:
            with ThreadPoolExecutor(3) as threads:
                assert list(threads.map(read_slowly, [db] * 3)) == ["on"] * 3
            admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
            with pytest.raises(errors.Unavailable, match="cannot be reached just now"), db.write() as tx:
                tx.run("UPDATE schema_state SET revision = revision")
            with ThreadPoolExecutor(3) as threads:
                assert list(threads.map(read_slowly, [db] * 3)) == ["off"] * 3
            with db.write() as tx:
                assert tx.run("UPDATE schema_state SET revision = revision") == 1


def read_slowly(db: Database) -> str:
    """Whether a session is read-only; slow, so that three at once are three sessions."""
    with db.read() as tx:
        tx.tuples("SELECT pg_sleep(0.5)")
        return str(tx.tuples("SELECT current_setting('default_transaction_read_only')")[0][0])


def test_a_file_is_named_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert databases.named("sqlite:///ringbook.db") == str(tmp_path / "ringbook.db")


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    databases.create(f"sqlite:///{tmp_path}/new.db")
    opened = databases.connect(f"sqlite:///{tmp_path}/new.db", seal=SEAL)
    with opened.write() as tx:
        tx.run("CREATE TABLE things (n BIGINT PRIMARY KEY, t TEXT)")
    yield opened
    opened.close()


@pytest.mark.parametrize("page_bytes, pages", [(8192, 8192), (4096, 16384)])
def test_the_log_of_any_page_size_has_the_same_bound(tmp_path, page_bytes, pages):
    file = tmp_path / "sized.db"
    with closing(sqlite3.connect(file)) as made:
        made.execute(f"PRAGMA page_size = {page_bytes}")
        made.execute("CREATE TABLE things (n BIGINT PRIMARY KEY, t TEXT)")
    with closing(databases.connect(f"sqlite:///{file}", seal=SEAL)) as opened, opened.read() as tx:
        assert tx.tuples("PRAGMA page_size") == [(page_bytes,)]
        assert tx.tuples("PRAGMA wal_autocheckpoint") == [(pages,)]


@pytest.mark.parametrize(
    "memory, cache",
    [(0, 8 * 2**20), (2**30, 8 * 2**20), (2**31, 16 * 2**20), (2**40, 16 * 2**20)],
)
def test_the_cache_of_the_writer_is_a_share_of_the_memory(memory, cache):
    assert usual_cache(memory) == cache


def test_only_the_connection_that_writes_has_the_large_cache_and_it_stays_the_same(sqlite):
    with closing(databases.connect(f"sqlite:///{sqlite.file}", seal=SEAL, cache_bytes=20 * 2**20)) as opened:
        with opened.write() as tx, opened.read() as reading, opened.read() as another:
            assert tx.tuples("PRAGMA cache_size") == [(-20 * 1024,)]
            assert [one.tuples("PRAGMA cache_size") for one in (reading, another)] == [[(-4096,)]] * 2
            tx.run("CREATE TEMPORARY TABLE mine (n INTEGER)")
        with opened.write() as tx:
            assert tx.tuples("SELECT count(*) FROM mine") == [(0,)]
        assert opened.gauges() == {"open": 3, "idle": 3, "waiting": 0}


def test_a_file_that_is_cut_while_it_is_open_is_unavailable(sqlite):
    put(sqlite, *((n, "x" * 500) for n in range(1_000)))
    with sqlite.read(), sqlite.read():  # two connections, of which none has read these rows
        pass
    assert sqlite.scrub()
    os.truncate(sqlite.file, 3 * 4096)
    with pytest.raises(errors.Unavailable):
        held(sqlite)


def test_no_connection_maps_the_file_into_memory(sqlite):
    """A mapped file that is cut ends the process (decisions/0026)."""
    with sqlite.write() as writing, sqlite.read() as reading:
        assert [tx.tuples("PRAGMA mmap_size") for tx in (writing, reading)] == [[(0,)]] * 2


def test_its_files_are_their_owners_alone(sqlite, tmp_path):
    put(sqlite, (1, "a"))
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {"new.db": 0o600, "new.db-wal": 0o600, "new.db-shm": 0o600}


def test_what_was_answered_is_on_the_disk_and_references_hold(sqlite):
    with sqlite.write() as tx:
        settings_ = {
            name: tx.tuples(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings_ == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


ELSEWHERE = """
import sys
from ringbook.store import db
other = db.connect(sys.argv[1])
with other.read() as tx:
    print(tx.tuples("SELECT count(*) FROM things")[0][0])
other.close()
"""


def seen_elsewhere(url: str) -> int:
    """How many things another program sees that opens the database and leaves it again."""
    ran = subprocess.run([sys.executable, "-c", ELSEWHERE, url], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def test_a_new_file_has_pages_of_4_kib_and_so_has_its_copy(sqlite, tmp_path):
    with sqlite.write() as tx:
        tx.run("CREATE TABLE schema_state (revision TEXT)")
        tx.run("INSERT INTO schema_state VALUES ('0001')")
    copies.copy(sqlite.file, tmp_path / "copy.db")
    for file in (sqlite.file, tmp_path / "copy.db"):
        with closing(sqlite3.connect(file)) as opened:
            assert opened.execute("PRAGMA page_size").fetchone() == (4096,)


def test_another_program_that_comes_and_goes_takes_nothing_along(sqlite, tmp_path):
    """Opening a second connection once dropped the locks of the first: whoever left then deleted the log in use."""
    url = f"sqlite:///{tmp_path}/new.db"
    with sqlite.read(), sqlite.read():
        pass
    assert seen_elsewhere(url) == 0
    put(sqlite, (1, "a"))
    assert seen_elsewhere(url) == 1
    put(sqlite, (2, "b"))
    assert seen_elsewhere(url) == 2


def test_a_folder_that_is_not_there_is_unavailable(tmp_path):
    nowhere = databases.connect(f"sqlite:///{tmp_path}/none/x.db", seal=SEAL)
    with pytest.raises(errors.Unavailable) as refused, nowhere.read():
        pass
    assert refused.value.why.startswith(f"there is no database {tmp_path}/none/x.db")
    with pytest.raises(errors.Unavailable, match="cannot be made: No such file or directory"):
        databases.create(f"sqlite:///{tmp_path}/none/x.db")


def test_a_file_that_is_no_database_is_unavailable_and_stays_as_it_is(tmp_path):
    file = tmp_path / "letter.txt"
    file.write_text("Dear Ann, " * 100)
    with pytest.raises(errors.Unavailable), databases.connect(f"sqlite:///{file}", seal=SEAL).read() as tx:
        tx.tuples("SELECT 1")
    assert file.read_text() == "Dear Ann, " * 100


def test_a_full_disk_is_unavailable_and_what_was_there_stays(sqlite):
    put(sqlite, (1, "a"))
    with sqlite.write() as tx:
        (pages,) = tx.tuples("PRAGMA page_count")[0]
        tx.run(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(errors.Unavailable):
        put(sqlite, *((n, "x" * 200) for n in range(2, 1_000)))
    assert held(sqlite) == [(1, "a")]


def test_writers_wait_for_their_turn_and_give_up_after_a_while(sqlite, monkeypatch):
    monkeypatch.setattr("ringbook.store.db.sqlite.WRITE_WAIT_SECONDS", 0.05)
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with sqlite.write():
            inside.set()
            done.wait(10)

    with ThreadPoolExecutor(1) as other:
        holding = other.submit(hold)
        assert inside.wait(10)
        with pytest.raises(errors.Unavailable, match="Another request"), sqlite.write():
            pass
        assert sqlite.gauges()["waiting"] == 0
        done.set()
        holding.result()
    put(sqlite, (1, "a"))


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with request.getfixturevalue("databases").fresh("plain") as url:
        yield url


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    opened = databases.connect(postgres_url, pool=3, seal=SEAL)
    yield opened
    opened.close()


def test_connections_that_were_cut_are_replaced(postgres, postgres_url):
    with postgres.read() as one, postgres.read() as two:
        one.tuples("SELECT 1")
        two.tuples("SELECT 1")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    said = [attempt(postgres) for _ in range(20)]
    assert said[-10:] == ["answered"] * 10
    assert set(said) <= {"answered", "unavailable"}


def attempt(db: Database) -> str:
    try:
        with db.read() as tx:
            tx.tuples("SELECT 1")
    except errors.Unavailable:
        return "unavailable"
    return "answered"


def test_a_server_that_is_not_there_is_unavailable(monkeypatch):
    monkeypatch.setattr("ringbook.store.db.postgres.WAIT_SECONDS", 0.5)
    nowhere = databases.connect("postgresql://nobody@127.0.0.1:1/none", pool=1, seal=SEAL)
    with pytest.raises(errors.Unavailable), nowhere.read() as tx:
        tx.tuples("SELECT 1")
    nowhere.close()


def test_two_who_block_each_other_are_told_to_try_again(postgres):
    with postgres.write() as tx:
        tx.run("CREATE TABLE things (n BIGINT PRIMARY KEY, t TEXT)")
    put(postgres, (1, ""), (2, ""))
    together = threading.Barrier(2)

    def change(first: int, second: int) -> str:
        try:
            with postgres.write() as tx:
                tx.run("UPDATE things SET t = 'x' WHERE n = :n", n=first)
                together.wait(10)
                tx.run("UPDATE things SET t = 'x' WHERE n = :n", n=second)
        except errors.Unavailable as refused:
            return refused.reason
        return "done"

    with ThreadPoolExecutor(2) as threads:
        said = list(threads.map(change, (1, 2), (2, 1)))
    assert sorted(said) == ["Another request is changing the same thing. Try again.", "done"]


def test_a_database_that_is_slow_is_not_away(postgres_url, monkeypatch, capsys):
    """All connections in use: who waits too long is told so, and the next may still wait for one."""
    monkeypatch.setattr("ringbook.store.db.postgres.WAIT_SECONDS", 1.5)
    with closing(databases.connect(postgres_url, pool=1, seal=SEAL)) as one, ThreadPoolExecutor(2) as threads:
        with one.read() as tx:
            tx.tuples("SELECT 1")
            assert attempt(one) == "unavailable"
            waiting = threads.submit(attempt, one)
            assert not wait([waiting], timeout=0.5).done
        assert waiting.result() == "answered"
    assert "database away" not in capsys.readouterr().err


def test_more_requests_than_connections_wait_for_one(postgres):
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(lambda _: attempt(postgres), range(60))) == ["answered"] * 60


def test_what_comes_after_a_commit_comes_after_it_and_only_then(db):
    done = []
    with db.write() as tx:
        tx.run("UPDATE schema_state SET serves_from = serves_from")
        tx.on_commit(lambda: done.append(1))
        tx.on_commit(lambda: done.append(2))
        assert done == []
    assert done == [1, 2]
    with pytest.raises(ZeroDivisionError), db.write() as tx:
        tx.on_commit(lambda: done.append(3))
        raise ZeroDivisionError
    assert done == [1, 2]
    with db.read() as tx, pytest.raises(AssertionError, match="nothing is committed"):
        tx.on_commit(lambda: done.append(4))


# ── limited reads ────────────────────────────────────────────────────────────────────────────────────────────────────

COUNTING = (
    "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < :most)"
    " SELECT max(i) FROM n"
)
FOR_EVER, HALF_A_SECOND = 10**12, 1_000_000


def count_to(tx, most):
    return tx.tuples(COUNTING, most=most)[0][0]


def test_a_read_that_takes_longer_than_it_was_given_is_ended(db):
    with pytest.raises(errors.TooSlow, match="Ask for less"), db.read(seconds=0.2) as tx:
        count_to(tx, FOR_EVER)
    with db.read() as tx:  # the same connection: no limit is left on it
        assert count_to(tx, HALF_A_SECOND) == HALF_A_SECOND


def test_the_time_is_that_of_all_statements_together(db):
    with pytest.raises(errors.TooSlow), db.read(seconds=0.5) as tx:
        while True:
            count_to(tx, 100_000)


def test_what_is_done_in_time_is_answered(db):
    with db.read(seconds=60) as tx:
        assert count_to(tx, 1_000) == 1_000
        assert count_to(tx, 2_000) == 2_000


def test_behind_a_pooler_a_limit_holds_for_its_own_read_alone(request):
    fresh = request.getfixturevalue("databases").fresh("pgbouncer")
    with fresh as url, closing(databases.connect(url, pool=1, seal=SEAL)) as pooled:
        for _ in range(2):
            with pytest.raises(errors.TooSlow), pooled.read(seconds=0.2) as tx:
                count_to(tx, FOR_EVER)
        with pooled.read() as tx:
            assert tx.tuples("SHOW statement_timeout") == [("0",)]


def test_one_does_what_another_process_is_not_doing(postgres, postgres_url):
    with closing(databases.connect(postgres_url, seal=SEAL)) as other:
        with postgres.read(seconds=10) as tx:
            assert tx.try_lock("a search")
            with other.read(seconds=10) as tx_of_other:
                assert not tx_of_other.try_lock("a search")
                assert tx_of_other.try_lock("another search")
        with other.read(seconds=10) as tx:
            assert tx.try_lock("a search")


@pytest.mark.parametrize("rows", [[], [(1, b"a", "x", None)], [(1, b"", "y", b"\0\xff"), (2, None, "z", b"b" * 300)]])
def test_rows_may_hold_bytes_in_several_columns_and_none(db, rows):
    columns = {"n": int, "first": bytes, "word": str, "second": bytes}
    with db.read() as tx:
        sql = "SELECT r.n, r.first, r.word, r.second FROM :rows AS r ORDER BY r.n"
        found = tx.tuples(sql, rows=Rows(columns, rows))
    assert found == rows


VALUES = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, max_size=60))
def test_rows_arrive_as_they_are(db, rows):
    with db.read() as tx:
        found = tx.tuples("SELECT r.n, r.word FROM :rows AS r", rows=Rows({"n": int, "word": str}, rows))
    assert found == rows


def test_a_parameter_may_stand_twice_and_a_percent_sign_is_one(db):
    with db.read() as tx:
        sql = "SELECT CAST(:first AS bigint) AS one, CAST(:second AS text) AS two, CAST(:first AS bigint) + 1 AS three"
        row = tx.one(
            f"{sql}, CASE WHEN 'a%b' LIKE '%\\%%' ESCAPE '\\' THEN 7 % 4 ELSE 0 END AS four", first=5, second="%s"
        )
    assert row == {"one": 5, "two": "%s", "three": 6, "four": 3}


def test_a_read_gives_its_connection_back_also_when_it_fails(db):
    def in_use() -> int:
        gauges = db.gauges()
        return gauges["open"] - gauges["idle"]

    for _ in range(5):
        with pytest.raises(ZeroDivisionError), db.read() as tx:
            tx.tuples("SELECT 1")
            raise ZeroDivisionError
    until = time.monotonic() + 10
    while in_use() and time.monotonic() < until:  # the pool counts a connection that it is opening
        time.sleep(0.01)
    assert in_use() == 0


def test_a_table_that_looks_small_is_read_through_its_index_where_that_is_preferred(databases):
    with databases.fresh("plain") as url, closing(connect(url, seal=SEAL)) as db, db.write() as tx:
        tx.run("INSERT INTO locks (name) VALUES (:name)", name=b"some")
        plan = "EXPLAIN SELECT name FROM locks WHERE name = :name"

        def scans() -> bool:
            return any("Seq Scan" in row[0] for row in tx.tuples(plan, name=b"some"))

        tx.run("ANALYZE locks")
        before = scans()
        with tx.prefer_indexes():
            preferred = scans()
        assert (before, preferred, scans()) == (True, False, True)
