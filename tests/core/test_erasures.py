"""Erasures are in the journal before they are answered, and nothing else about the user is left in any file."""

import base64
import http.client
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from asking import PASSWORD, Person, guest, opened, person, rows
from core.joining import LIMITS, NOW, Play
from servers import SEAL, Databases, Server, application, ringbook, serve

from ringbook import errors
from ringbook.config import Config
from ringbook.core import backups, discovered, erasures, joined_lists, users
from ringbook.server import process
from ringbook.store import db as databases_
from ringbook.store import erasures as store
from ringbook.store.db import Database
from ringbook.store.placement import TABLES
from ringbook.worker import jobs

PHONE, NUMBER = "+1 (202) 555-0187", 12025550187
EMAIL, NAME, DEVICE, PUSH_TOKEN = "quentin@example.com", "Quentin Quux", "udid-of-quentin", "push-token-of-quentin"
FRIEND, FRIEND_NUMBER = "Zacharias Friend", 12025550199


@pytest.fixture
def play(db: Database, tmp_path: Path) -> Play:
    db.erasures = tmp_path / "erasures"
    return Play(db)


def journal(db: Database) -> list[tuple[int, int, int]]:
    """The count, application and user of each line."""
    with db.read() as tx:
        state = store.state(tx)
    assert db.erasures
    found = store.entries([db.erasures], state["database_id"])
    return [(one.count, one.app_id, one.user_id) for one in found if not one.undone]


# ── the journal ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_whoever_is_erased_stands_in_the_journal_and_whoever_was_not_there_does_not(play):
    ann, bob = play.person("ann"), play.person("bob")
    assert users.erase(play.db, bob.id)
    users.leave(play.db, play.caller(ann.id), ann.id)
    assert not users.erase(play.db, ann.id)
    assert journal(play.db) == [(1, play.app_id, bob.id), (2, play.app_id, ann.id)]


def test_guests_whose_day_is_over_stand_in_it_too(play):
    guest = users.guest(play.db, LIMITS, play.app, "Guest", "192.0.2.1", NOW)
    jobs.turn(play.db, jobs.parts(Config()), NOW + 2 * 86_400, threading.Event())
    assert journal(play.db) == [(1, play.app_id, guest.id)]


def test_its_files_are_their_owners_alone(play):
    users.erase(play.db, play.person("ann").id)
    assert play.db.erasures.stat().st_mode & 0o777 == 0o700
    (month,) = play.db.erasures.iterdir()
    assert month.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_journalled_is_not_erased(play):
    ann = play.person("ann")
    play.db.erasures.write_text("no folder")
    with pytest.raises(errors.Unavailable, match="cannot be journalled"):
        users.erase(play.db, ann.id)
    assert play.rows("SELECT id FROM users") == [{"id": ann.id}]
    play.db.erasures.unlink()
    assert users.erase(play.db, ann.id)
    assert journal(play.db) == [(1, play.app_id, ann.id)]


def test_many_at_once_are_all_in_it_in_the_order_of_their_counts(play):
    people = [play.person(f"user{n}").id for n in range(24)]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda user_id: users.erase(play.db, user_id), people))
    lines = journal(play.db)
    assert [count for count, _, _ in lines] == list(range(1, 25))
    assert {user_id for _, _, user_id in lines} == set(people)


def leave_at_once(people: list[Person], after: int, then: Callable[[], object]) -> set[int]:
    """All users delete their accounts, four at a time. An event happens after so many answers. Returns who got one."""
    answered: set[int] = set()
    enough = threading.Event()

    def leave(one: Person) -> None:
        with suppress(OSError, http.client.HTTPException):
            if one.ask("DELETE", f"/users/{one.id}").status == 200:
                answered.add(one.id)
                if len(answered) >= after:
                    enough.set()

    with ThreadPoolExecutor(4) as threads:
        for one in people:
            threads.submit(leave, one)
        assert enough.wait(60)
        then()
    return answered


@pytest.mark.parametrize("kind, options", [("sqlite", ()), ("postgresql", ("--workers", "2"))])
def test_servers_that_are_killed_forget_no_erasure_that_they_have_answered(
    databases: Databases, tmp_path, kind, options
):
    folder = tmp_path / "journal"
    with databases.fresh(kind) as url:
        with suppress(ProcessLookupError), serve(url, tmp_path, *options, erasures_folder=str(folder)) as server:
            people = [guest(server) for _ in range(24)]
            answered = leave_at_once(people, 8, server.process.kill)
            server.process.wait()
        db = databases_.connect(url, erasures=str(folder), seal=SEAL)
        counts, _, users_ = zip(*journal(db), strict=True)
        assert answered <= set(users_)
        assert list(counts) == list(range(1, len(counts) + 1))
        assert erasures.trouble(db) == ""  # one line too many stops nobody
        with db.read() as tx:
            assert not answered & {row[0] for row in tx.tuples("SELECT id FROM users")}
        db.close()


def test_a_line_whose_transaction_was_undone_is_left_out(play, monkeypatch):
    ann, bob = play.person("ann").id, play.person("bob").id
    append = store.append

    def then_crash(*given):
        append(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "append", then_crash)
    with pytest.raises(KeyboardInterrupt):
        users.erase(play.db, ann)
    monkeypatch.undo()
    users.erase(play.db, bob)
    assert journal(play.db) == [(1, play.app_id, bob)]
    assert play.rows("SELECT id FROM users") == [{"id": ann}]


def test_an_erasure_that_comes_to_nothing_is_journalled_as_that(play):
    """On SQLite, where a failed commit is certain. The next start must not erase a user whose erasure failed."""
    ann, bob = play.person("ann").id, play.person("bob").id
    with pytest.raises(ZeroDivisionError), play.db.write() as tx:
        erasures.note(play.db, tx, play.app_id, ann)
        raise ZeroDivisionError
    assert erasures.ahead(play.db) == 1
    assert journal(play.db) == ([] if play.db.file else [(1, play.app_id, ann)])
    if play.db.file:
        assert backups.finish(play.db) == 0
        assert {row["id"] for row in play.rows("SELECT id FROM users")} == {ann, bob}
    users.erase(play.db, bob)
    assert [user_id for _, _, user_id in journal(play.db)] == [bob]


def test_what_a_crash_has_cut_off_is_finished_by_the_next_start(play):
    """The crash comes after the line and before the commit. The request has not been answered."""
    ann, bob, cleo = (play.person(name).id for name in ("ann", "bob", "cleo"))
    users.erase(play.db, ann)
    with play.db.read() as tx:
        database_id = store.state(tx)["database_id"]
    store.append(play.db.erasures, database_id, 2, play.app_id, bob)
    process.check_journal(play.db)
    assert {row["id"] for row in play.rows("SELECT id FROM users")} == {cleo}
    assert erasures.ahead(play.db) == 0
    users.erase(play.db, cleo)
    assert [count for count, _, _ in journal(play.db)] == [1, 2, 3]


def test_a_line_that_a_full_disk_has_cut_off_does_not_take_the_next_one_along(play):
    people = [play.person(name).id for name in ("ann", "bob")]
    users.erase(play.db, people[0])
    (month,) = play.db.erasures.iterdir()
    whole = month.read_text()
    month.write_text(whole + whole[:-1])
    users.erase(play.db, people[1])
    assert [user_id for _, _, user_id in journal(play.db)] == people


def test_a_database_that_is_older_than_its_journal_is_not_served(play):
    for name in ("ann", "bob", "cleo"):
        users.erase(play.db, play.person(name).id)
    assert erasures.trouble(play.db) == ""
    for count, trouble in ((2, False), (1, True)):  # one line more may be of an erasure that a crash has undone
        with play.db.write() as tx:
            tx.run("UPDATE erasures SET count = :count", count=count)
        assert bool(erasures.trouble(play.db)) == trouble
    assert "by 2 users: run `ringbook erase-again`" in erasures.trouble(play.db)


def test_a_journal_that_cannot_be_written_is_found_out_before_the_first_erasure(play, tmp_path):
    play.db.erasures = tmp_path / "nowhere" / "erasures"
    assert "cannot be written: is there such a folder" in erasures.trouble(play.db)
    play.db.erasures.parent.mkdir()
    assert erasures.trouble(play.db) == ""
    play.db.erasures = None
    assert erasures.trouble(play.db) == ""


def test_another_databases_lines_are_nobodys_business(play):
    for name in ("ann", "bob", "cleo"):
        users.erase(play.db, play.person(name).id)
    with play.db.write() as tx:
        tx.run("UPDATE erasures SET count = 0, database_id = '0123456789abcdef'")
    assert erasures.trouble(play.db) == ""
    assert journal(play.db) == []


def test_a_clock_that_is_set_back_changes_nothing_of_the_order(play):
    ann, bob, cleo = (play.person(name).id for name in ("ann", "bob", "cleo"))
    users.erase(play.db, ann)
    (month,) = play.db.erasures.iterdir()
    ahead = month.rename(month.with_name("2035-09.txt"))  # the clock was years ahead
    ahead.write_text(month_line(play.db, 1, "2035-09-01", ann) + month_line(play.db, 2, "2035-09-01", bob))
    users.erase(play.db, cleo)  # while the erasure of bob came to nothing
    assert list(play.db.erasures.iterdir()) == [ahead]
    assert journal(play.db) == [(1, play.app_id, ann), (2, play.app_id, cleo)]
    with play.db.write() as tx:
        tx.run("UPDATE erasures SET count = 0")
    assert erasures.ahead(play.db) == 2


def month_line(db: Database, count: int, day: str, user_id: int, word: str = "") -> str:
    with db.read() as tx:
        return f"{day}T00:00:00Z {store.state(tx)['database_id']} {count} 1 {user_id}{word}\n"


def test_of_two_machines_none_takes_the_others_line_away(play, tmp_path):
    """A commit failed on one machine, and an erasure on the other, whose clock is behind, then got the same count."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, day, user_id, word in ((here, "2026-11-24", 7, " undone"), (there, "2026-11-23", 8, "")):
        folder.mkdir()
        (folder / "2026-11.txt").write_text(month_line(play.db, 1, day, user_id, word))
    with play.db.read() as tx:
        database_id = store.state(tx)["database_id"]
    for folders in ([here, there], [there, here]):
        assert [one.user_id for one in store.entries(folders, database_id) if not one.undone] == [8]


def test_a_month_without_our_lines_does_not_hide_that_a_backup_was_put_back(play):
    for name in ("ann", "bob"):
        users.erase(play.db, play.person(name).id)
    (play.db.erasures / "2030-01.txt").write_text("2030-01-01T00:00:00Z 0123456789abcdef 1 1 1\n")
    (play.db.erasures / "2030-02.txt").write_text("")  # no room for the first line
    with play.db.write() as tx:
        tx.run("UPDATE erasures SET count = 0")
    assert "by 2 users" in erasures.trouble(play.db)


def test_old_months_go(play):
    users.erase(play.db, play.person("ann").id)
    for month in ("2020-01", "2020-03"):
        (play.db.erasures / f"{month}.txt").write_text("")
    (play.db.erasures / "notes").write_text("mine")
    assert erasures.sweep(play.db, 1_583_366_400) == 1  # 2020-03-05
    assert sorted(file.name for file in play.db.erasures.iterdir())[:1] == ["2020-03.txt"]
    assert len(journal(play.db)) == 1


def test_after_a_restore_no_cursor_of_before_is_known(play):
    """Apps may have got what the backup does not have."""
    bob = play.person("bob").id
    play.holds(bob, (PHONE, "Quentin"))
    quentin = play.person("quentin", PHONE).id
    play.tell()
    caller = play.caller(bob)
    _, found = discovered.since(play.db, caller, "", "0", compact=True, now=NOW)
    listed = joined_lists.page(play.db, caller, limit=10, after=None, before=None, now=NOW).next
    assert backups.erase_again(play.db, [play.db.erasures]) == backups.Again(0, [], 0)
    again, following = discovered.since(play.db, caller, "", found, compact=True, now=NOW)
    assert [one.user_id for one in again] == [quentin] and following != found
    page = joined_lists.page(play.db, caller, limit=10, after=listed, before=None, now=NOW)
    assert [item.user.id for item in page.items] == [quentin] and page.next != listed


# ── nothing is left ──────────────────────────────────────────────────────────────────────────────────────────────────


def left(folder: Path, *needles: bytes) -> list[tuple[str, bytes]]:
    """The files of a folder that contain one of these values."""
    files = [(file.name, file.read_bytes()) for file in folder.rglob("*") if file.is_file()]
    assert files
    return [(name, needle) for name, data in files for needle in needles if needle in data]


def sealed_of(url: str, user_id: int) -> list[bytes]:
    """Every sealed value in the rows of a user, in whatever table."""
    with closing(databases_.connect(url, pool=1, seal=SEAL)) as db, db.read() as tx:
        rows = [
            row
            for name, table in TABLES.items()
            for column in ("id" if name == "users" else "", "user_id", "owner_id", "about_user_id")
            if column in table.columns
            for row in tx.all(f"SELECT * FROM {name} WHERE {column} = :id", id=user_id)
        ]
    return sorted({value for row in rows for value in row.values() if isinstance(value, bytes)})


def lives(one: Person, phone: str, name: str) -> list[bytes]:
    """A user uses every feature. Returns the values that would reveal the user."""
    profile = {"email": EMAIL, "full_name": name, "phone": phone, "custom_data": "likes quinces", "tag_list": "quinces"}
    assert one.ask("PUT", f"/users/{one.id}", {"user": profile}).status == 200
    friend = {"phone": str(FRIEND_NUMBER), "name": FRIEND}
    for udid in ("", DEVICE):
        assert one.upload([friend], **({"udid": udid} if udid else {})).status == 200
    gone = {"phone": str(FRIEND_NUMBER), "destroy": 1}
    assert one.upload([gone], udid=DEVICE).status == 200
    subscribe(one, DEVICE, PUSH_TOKEN)
    assert opened(one.server, one.app, {"login": one.login, "password": PASSWORD})["token"]
    words = [name, "Quux", "quinces", DEVICE, one.login]
    return [word.encode() for word in words]


def subscribe(one: Person, device: str, token: str) -> None:
    """Subscribe a user's phone."""
    subscription = {
        "notification_channel": "gcm",
        "device": {"udid": device, "platform": "android"},
        "push_token": {"environment": "production", "client_identification_sequence": token},
    }
    assert one.ask("POST", "/subscriptions", subscription).status == 201


def world(server: Server) -> tuple[Person, Person, list[bytes]]:
    """Quentin, with a waiting fact and a waiting push, another user, and the values that would reveal Quentin."""
    app = application(server.database_url, contact_joined_enabled="true")
    other, quentin = person(server, app, full_name="Olga Other"), person(server, app)
    needles = lives(quentin, PHONE, NAME)
    subscribe(other, "udid-of-olga", "push-token-of-olga")
    text = base64.b64encode(b'{"message": "from Quentin Quux"}').decode()
    event = {"message": text, "user": {"ids": [other.id]}, "notification_type": "push"}
    assert quentin.ask("POST", "/events", {"event": event | {"environment": "production"}}).status == 201
    assert rows(server, "SELECT COUNT(*) AS n FROM pushes WHERE about_user_id = :id", id=quentin.id) == [{"n": 1}]
    assert rows(server, "SELECT COUNT(*) AS n FROM joined WHERE user_id = :id", id=quentin.id) == [{"n": 1}]
    sealed = sealed_of(server.database_url, quentin.id)
    assert len(sealed) > 5
    return quentin, other, needles + sealed


def test_of_an_erased_user_no_file_holds_anything_but_the_id_in_the_journal(tmp_path):
    url = f"sqlite:///{tmp_path}/ringbook.db"
    with serve(url, tmp_path, "--no-worker") as server:
        quentin, other, needles = world(server)
        assert {needle for _, needle in left(tmp_path, *needles)} == set(needles)
        assert quentin.ask("DELETE", f"/users/{quentin.id}").status == 200
        take_a_turn(url)
        assert left(tmp_path, *needles) == []
        assert other.ask("GET", f"/users/{other.id}").json["user"]["full_name"] == "Olga Other"
    assert left(tmp_path, *needles) == []
    (month,) = (tmp_path / "ringbook.db-erasures").iterdir()
    assert month.read_text().endswith(f" 1 {quentin.app.application_id} {quentin.id}\n")


def test_the_command_cleans_up_behind_itself(tmp_path):
    url = f"sqlite:///{tmp_path}/ringbook.db"
    with serve(url, tmp_path, "--no-worker") as server:
        quentin, _, needles = world(server)
        ringbook("users", "erase", str(quentin.id), "--yes", database_url=url)
        ringbook("vacuum", database_url=url)
        assert left(tmp_path, *needles) == []


def take_a_turn(url: str) -> None:
    """Run the worker's periodic jobs once."""
    opened = databases_.connect(url, seal=SEAL)
    jobs.turn(opened, jobs.parts(Config()), int(time.time()), threading.Event())
    opened.close()


def test_not_even_what_the_database_left_behind_when_it_moved_rows(tmp_path):
    """Rows that SQLite moves between pages leave copies that a deletion does not overwrite."""
    from ringbook.store import migrations

    url = f"sqlite:///{tmp_path}/ringbook.db"
    migrations.migrate(url)
    db = databases_.connect(url, seal=SEAL)
    play, choose = Play(db), random.Random(1)
    people = [play.person(f"login-{n:03}-", f"+1{200 + n // 100}55501{n % 100:02}") for n in range(200)]
    for n, one in enumerate(people):
        numbers = choose.sample(range(1_000), choose.randrange(40))
        play.holds(one.id, *((f"+447700900{number:03}", f"held-by-{n:03}-{'y' * number}"[:90]) for number in numbers))
    erased = choose.sample(range(200), 100)
    for n in erased:
        users.erase(db, people[n].id)
    jobs.turn(db, jobs.parts(Config()), NOW, threading.Event())
    needles = [f"{what}-{n:03}-".encode() for n in erased for what in ("login", "held-by")]
    assert left(tmp_path, *needles) == []
    kept = [f"login-{n:03}-".encode() for n in range(200) if n not in erased]
    assert {needle for _, needle in left(tmp_path, *kept)} == set(kept)
    db.close()


def test_a_large_file_waits_for_an_operator(play, monkeypatch):
    monkeypatch.setattr(erasures, "SMALL_BYTES", 4096)
    users.erase(play.db, play.person("ann").id)
    assert (erasures.rewrite_small(play.db), erasures.traces(play.db)) == (0, 1 if play.db.file else 0)
    erasures.rewrite(play.db)
    assert erasures.traces(play.db) == 0


def test_a_long_reader_does_not_stop_the_writers(tmp_path):
    """Cleaning the log waits for readers, and writers wait for it, so it gives up soon."""
    from ringbook.store import migrations

    url = f"sqlite:///{tmp_path}/ringbook.db"
    migrations.migrate(url)
    db = databases_.connect(url, seal=SEAL)
    play = Play(db)
    with db.read() as tx:
        tx.run("BEGIN")
        tx.tuples("SELECT COUNT(*) FROM users")
        play.person("ann")
        assert not db.scrub()
        play.person("bob")
        tx.run("ROLLBACK")
    assert db.scrub()
    assert (tmp_path / "ringbook.db-wal").stat().st_size == 0
    db.close()


def test_on_postgresql_no_row_of_any_table_holds_anything_of_an_erased_user(databases: Databases, tmp_path):
    with databases.fresh("postgresql") as url, serve(url, tmp_path, "--no-worker") as server:
        quentin, _, found = world(server)
        needles = [needle.decode() if needle.isascii() else needle.hex() for needle in found]
        before = whole(url)
        assert [needle for needle in needles if needle not in before] == []
        assert quentin.ask("DELETE", f"/users/{quentin.id}").status == 200
        assert [needle for needle in needles if needle in whole(url)] == []
        assert left(tmp_path, *found) == []


def whole(url: str) -> str:
    """Every row of every table, as text."""
    opened = databases_.connect(url, pool=1, seal=SEAL)
    with opened.read() as tx:
        tables = [row[0] for row in tx.tuples("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        text = [row[0] for table in tables for row in tx.tuples(f"SELECT CAST(t AS text) FROM {table} AS t")]
    opened.close()
    return "\n".join(text)
