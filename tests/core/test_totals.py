"""The totals of a user over all books: every write updates them, and concurrent uploads respect their limit."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from core.joining import DAY, LIMITS, NOW, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import discovery, inactive, users
from ringbook.model import Entry, Report
from ringbook.store import books
from ringbook.store.db import Database, Tx

FREE = Limits(permits=0, address_permits_per_day=0)


@pytest.fixture
def play(db: Database) -> Play:
    return Play(db)


@pytest.fixture
def owner(play: Play) -> int:
    return play.person("owner").id


def phone(n: int) -> str:
    return f"+1202555{n:04d}"


def upload(play: Play, owner: int, *entries: Entry, limits: Limits = FREE, **options) -> Report:
    return discovery.upload(play.db, limits, play.caller(owner), list(entries), now=play.now, **options)


def totals(play: Play) -> dict[int, tuple[int, int]]:
    rows = play.rows("SELECT owner_id, contacts, bytes FROM totals WHERE contacts <> 0 OR bytes <> 0")
    return {row["owner_id"]: (row["contacts"], row["bytes"]) for row in rows}


def counted(play: Play) -> dict[int, tuple[int, int]]:
    """The totals, counted from the contacts."""
    found: dict[int, tuple[int, int]] = {}
    for row in play.rows("SELECT owner_id, LENGTH(sealed) AS bytes FROM contacts"):
        count, size = found.get(row["owner_id"], (0, 0))
        found[row["owner_id"]] = count + 1, size + row["bytes"] + (4096 if row["bytes"] > 944 else 0)
    return found


# ── kept by whoever writes contacts ──────────────────────────────────────────────────────────────────────────────────

phones = st.sampled_from([phone(n) for n in range(5)] + ["1 (202) 555-0001", "0012025550002"])
names = st.sampled_from(["a", "é", "😀" * 3, "Ann", "😀" * 255])
lines = st.lists(st.builds(Entry, phones, names, st.booleans()), max_size=6)
uploads = st.tuples(st.just("upload"), st.integers(0, 1), st.sampled_from(["", "a", "b"]), lines, st.booleans())
others = st.tuples(st.sampled_from(["idle", "erase", "refused"]), st.integers(0, 1))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(uploads | others, max_size=12))
def test_after_any_operations_the_totals_are_what_the_contacts_come_to(play, operations):
    owners = [play.person("").id for _ in range(2)]
    for what, who, *given_ in operations:
        if what == "upload":
            device, entries, force = given_
            with suppress(errors.SessionGone):
                upload(play, owners[who], *entries, device=device, force=force)
        elif what == "idle":
            inactive.sweep(play.db, NOW + 100 * DAY, NOW + 50 * DAY)
        elif what == "erase":
            users.erase(play.db, owners[who])
        else:
            with suppress(errors.Refused):
                upload(play, owners[who], Entry(phone(9), "x" * 255), limits=Limits(max_user_bytes=1024, permits=1))
        assert totals(play) == counted(play)


def test_who_lost_the_books_by_idleness_begins_at_nothing(play, owner):
    limits = Limits(max_user_contacts=2)
    upload(play, owner, Entry(phone(1), "a"), Entry(phone(2), "b"), limits=limits)
    assert inactive.sweep(play.db, NOW + 100 * DAY, NOW + 50 * DAY) == 1
    upload(play, owner, Entry(phone(3), "a"), Entry(phone(4), "b"), limits=limits)
    assert totals(play) == {owner: (2, 2 * sealed("a"))}


def sealed(name: str) -> int:
    """Bytes of a sealed contact spelled as its digits: a tag, and number and name padded to blocks of 16."""
    text = 8 + len(name.encode())
    size = 16 + 16 * (text // 16 + 1)
    return size + 4096 if size > 944 else size  # a page more


# ── the limits ───────────────────────────────────────────────────────────────────────────────────────────────────────


def refused(play: Play, owner: int, *entries: Entry, **options) -> errors.Invalid:
    before = stored(play)
    with pytest.raises(errors.Invalid) as found:
        upload(play, owner, *entries, **options)
    assert stored(play) == before
    return found.value


def stored(play: Play) -> list[list[str]]:
    """The rows of every table that an upload writes."""
    tables = ("books", "contacts", "totals", "removed", "buckets")
    return [sorted(str(row) for row in play.rows(f"SELECT * FROM {table}")) for table in tables]


def test_contacts_of_all_books_count_together(play, owner):
    limits = Limits(max_user_contacts=3)
    upload(play, owner, Entry(phone(1), "a"), Entry(phone(2), "b"), limits=limits)
    upload(play, owner, Entry(phone(1), "a"), device="phone", limits=limits)
    error = refused(play, owner, Entry(phone(2), "b"), device="phone", limits=limits)
    assert (error.field, error.limit) == ("contacts", "max_user_contacts")
    assert "3 contacts" in error.reason
    swapped = upload(play, owner, Entry(phone(1), destroy=True), Entry(phone(3), "c"), limits=limits)
    assert (swapped.created, swapped.deleted) == (1, 1)


def test_names_and_spellings_of_all_books_count_together(play, owner):
    large = sealed("😀" * 255)
    limits = Limits(max_user_bytes=large + sealed("1234"))
    upload(play, owner, Entry("12025550101", "😀" * 255), limits=limits)
    assert totals(play) == {owner: (1, large)}
    error = refused(play, owner, Entry("12025550102", "x" * 32), device="phone", limits=limits)
    assert (error.field, error.limit) == ("contacts", "max_user_bytes")
    limit = Limits(max_user_bytes=large)
    assert refused(play, owner, Entry("+1 202 555-01-01", "😀" * 255), limits=limit).limit == "max_user_bytes"
    upload(play, owner, Entry("12025550102", "1234"), device="phone", limits=limits)
    assert totals(play) == {owner: (2, limits.max_user_bytes)}


@pytest.mark.parametrize("name", ["x", "x" * 255, "😀" * 220, "😀" * 240, "😀" * 255])
def test_a_sqlite_file_grows_by_little_more_than_what_is_counted(play, owner, name):
    """A long name gets a page of its own, so it counts as one."""
    if "SQLite" not in play.db.version()[0]:
        pytest.skip("PostgreSQL keeps long texts elsewhere")
    before = pages(play)
    upload(play, owner, *(Entry(phone(n), name) for n in range(400)))
    beside_the_text = 400 * 70  # the row's other columns, and the indexes
    assert (pages(play) - before) * 4096 < 1.5 * (totals(play)[owner][1] + beside_the_text)


def pages(play: Play) -> int:
    return play.rows("PRAGMA page_count")[0]["page_count"]


def test_above_a_lowered_limit_only_growth_is_refused(play, owner):
    upload(play, owner, *(Entry(phone(n), "😀" * 255) for n in range(4)))
    low = Limits(max_user_contacts=2, max_user_bytes=1024, max_book_contacts=2)
    assert upload(play, owner, Entry(phone(0), "😀" * 255), limits=low).updated == 1
    assert upload(play, owner, Entry(phone(1), "😀" * 254 + "x"), limits=low).updated == 1
    assert upload(play, owner, Entry(phone(2), destroy=True), Entry(phone(5), "x"), limits=low).created == 1
    assert upload(play, owner, Entry(phone(3), destroy=True), limits=low).deleted == 1
    assert refused(play, owner, Entry(phone(5), "x" * 32), limits=low).limit == "max_user_bytes"
    assert refused(play, owner, Entry(phone(6), "x"), device="phone", limits=low).limit == "max_user_contacts"


def test_an_unchanged_upload_does_not_touch_the_totals(play, owner):
    entries = [Entry(phone(n), "a") for n in range(3)]
    upload(play, owner, *entries)
    with play.db.write() as tx:
        tx.run("DELETE FROM totals")
    assert upload(play, owner, *entries, force=True).updated == 3
    assert totals(play) == {}


@pytest.mark.parametrize("field", ["max_user_contacts", "max_user_bytes"])
def test_uploads_to_different_books_at_once_cannot_exceed_the_limit_together(play, owner, field):
    """Ten contacts are uploaded to each of twenty books at the same time; there is room for five uploads."""
    limits = {
        "max_user_contacts": Limits(max_user_contacts=50),
        "max_user_bytes": Limits(max_user_bytes=50 * sealed("x" * 38)),
    }[field]

    def fill(book: int) -> str:
        try:
            entries = [Entry(phone(n), "x" * 38) for n in range(10)]
            upload(play, owner, *entries, device=f"phone {book}" if book else "", limits=limits)
        except errors.Invalid as error:
            return error.limit
        return "taken"

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(fill, range(20)))
    assert sorted(answers) == [field] * 15 + ["taken"] * 5
    assert totals(play) == counted(play) == {owner: (50, 50 * sealed("x" * 38))}


def test_uploads_idle_sweeps_and_an_erasure_at_once_neither_meet_halfway_nor_leave_anything(play):
    """Locks are always taken in the same order, so that no two transactions wait for each other."""
    owners = [play.person(f"owner{n}").id for n in range(4)]

    def work(n: int) -> None:
        owner = owners[n % len(owners)]
        with suppress(errors.SessionGone):
            for turn in range(6):
                upload(play, owner, Entry(phone(n), "x" * turn + "y"), device=f"phone {turn % 3}", limits=LIMITS)
                upload(play, owner, device=f"phone {turn % 3}", force=True, limits=LIMITS)
                if n % 8 == 7:
                    inactive.sweep(play.db, NOW + 100 * DAY, NOW + 50 * DAY)
        if n == 12:
            users.erase(play.db, owner)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(16)))
    assert totals(play) == counted(play)
    assert owners[0] not in totals(play)


def test_who_locks_all_books_locks_the_global_one_first(play, owner):
    """An upload that adds a book locks the global book, then its own book: the other order deadlocks with it."""
    upload(play, owner, Entry(phone(1), "a"), device="phone")
    with play.db.write() as tx:
        books.lock_owner(tx, play.app_id, owner)  # PostgreSQL writes the row anew, behind that of the device
        tx.run("ANALYZE books")  # and then reads so small a table in the order of its rows, not by an index
    with ThreadPoolExecutor(1) as threads:
        with play.db.write() as tx:
            books.lock_owner(tx, play.app_id, owner)
            dropped = threads.submit(inactive.sweep, play.db, NOW + 100 * DAY, NOW + 50 * DAY)
            if not play.db.file:  # SQLite has one writer at a time
                wait_for_whom_we_block(tx, on_cluster=bool(play.db.nodes()))
            assert books.lock_book(tx, owner, "phone", NOW)
        assert dropped.result() == 1
    assert totals(play) == counted(play) == {}


def wait_for_whom_we_block(tx: Tx, *, on_cluster: bool) -> None:
    """Return when another transaction waits for a lock of this one."""
    waiting = "SELECT 1 FROM pg_locks AS l WHERE NOT l.granted AND pg_backend_pid() = ANY(pg_blocking_pids(l.pid))"
    if on_cluster:
        waiting = "SELECT 1 FROM citus_lock_waits WHERE blocking_gpid = citus_backend_gpid()"
    until = time.monotonic() + 60
    while not tx.tuples(waiting):
        assert time.monotonic() < until, "nobody waits"
        time.sleep(0.01)


# ── a new device's book ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_devices_book_does_not_move_the_time_of_the_shared_one(play, owner):
    upload(play, owner, Entry(phone(1), "a"))
    play.now += DAY
    upload(play, owner, Entry(phone(1), "a"), device="phone")
    rows = play.rows("SELECT device, synced_at FROM books ORDER BY book")
    assert [(row["device"], row["synced_at"]) for row in rows] == [("", NOW), ("phone", NOW + DAY)]
