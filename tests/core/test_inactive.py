"""Books of inactive users are deleted if the operator sets a time; active users keep them."""

import threading

import pytest
from core.joining import ANN, BOB, CLEO, DAY, LIMITS, NOW, Play
from sealed import entries
from servers import SEAL

from ringbook.config import Config
from ringbook.core import audit, backups, discovery, inactive, sessions
from ringbook.model import Entry
from ringbook.store import users
from ringbook.store.db import Database
from ringbook.worker import jobs

LATER = NOW + 100 * DAY
BEFORE = LATER - 90 * DAY


@pytest.fixture
def play(db: Database) -> Play:
    play = Play(db)
    for login, number in (("ann", BOB), ("bob", ANN)):
        one = play.person(login)
        play.holds(one.id, (number, "Friend"), (CLEO, "Cleo"))
        play.holds(one.id, (CLEO, "Cleo"), device="a phone")
    return play


def owners(play: Play) -> set[int]:
    """The users who have a book. They must be the users who have contacts."""
    books = {row["owner_id"] for row in play.rows("SELECT owner_id FROM books")}
    assert {row["owner_id"] for row in play.rows("SELECT owner_id FROM contacts")} == books
    return books


def session(play: Play, user_id: int, at: int) -> str:
    opened = sessions.open_verified(play.db, play.app, user_id, ts=0, nonce=0, now=at)
    return opened.token


def test_books_go_and_the_account_stays(play):
    assert inactive.sweep(play.db, LATER, BEFORE) == 2
    assert owners(play) == set()
    assert [row["login"] for row in play.rows("SELECT login FROM users ORDER BY id")] == ["ann", "bob"]
    assert inactive.sweep(play.db, LATER, BEFORE) == 0
    play.holds(1, (BOB, "Friend"))
    assert owners(play) == {1}


def test_with_the_book_goes_what_was_removed_from_it(play):
    destroyed = [Entry(phone=CLEO, destroy=True)]
    discovery.upload(play.db, LIMITS, play.caller(1), destroyed, device="a phone", now=NOW)
    assert play.rows("SELECT owner_id FROM removed") == [{"owner_id": 1}]
    inactive.sweep(play.db, LATER, BEFORE)
    assert play.rows("SELECT owner_id FROM removed") == []


@pytest.mark.parametrize("batch", [1, 500])
def test_a_batch_at_a_time(play, batch):
    done = []
    while not done or done[-1]:
        done.append(inactive.sweep(play.db, LATER, BEFORE, batch))
    assert sum(done) == 2 and max(done) <= batch


def test_a_slice_in_which_nobody_is_inactive_does_not_end_the_pass(play):
    play.now = BEFORE + 1
    play.holds(1, (CLEO, "Cleo"))
    assert [inactive.sweep(play.db, LATER, BEFORE, 1) for _ in range(2)] == [0, 1]
    assert owners(play) == {1}


def test_who_has_signed_in_lately_keeps_them(play):
    sessions.end(play.db, session(play, 2, BEFORE))
    assert inactive.sweep(play.db, LATER, BEFORE) == 1
    assert owners(play) == {2}


def test_an_open_session_counts_and_so_does_one_that_nobody_has_swept_yet(play):
    """The time of the last use is stored nowhere else."""
    token = session(play, 1, BEFORE - DAY)
    assert sessions.current(play.db, token, BEFORE - DAY + 3_600)
    with play.db.write() as tx:
        tx.run("UPDATE sessions SET last_used_at = :at", at=BEFORE + 1)
    session(play, 2, BEFORE - DAY)
    with play.db.write() as tx:
        tx.run("UPDATE sessions SET expires_at = :at WHERE user_id = 2", at=LATER + 1)
    assert inactive.sweep(play.db, LATER, BEFORE) == 0
    with play.db.write() as tx:
        tx.run("UPDATE sessions SET last_used_at = :at, expires_at = :at", at=BEFORE - DAY)
    assert inactive.sweep(play.db, LATER, BEFORE) == 2


def test_an_upload_counts(play):
    play.now = BEFORE + 1
    play.holds(1, (CLEO, "Cleo"))
    assert inactive.sweep(play.db, LATER, BEFORE) == 1
    assert owners(play) == {1}


def test_who_comes_back_between_the_look_and_the_deed_keeps_them(play, monkeypatch):
    lock_all = inactive.books.lock_all

    def and_then(tx, user_id):
        lock_all(tx, user_id)
        users.mark_seen(tx, {user_id: LATER})

    monkeypatch.setattr(inactive.books, "lock_all", and_then)
    assert inactive.sweep(play.db, LATER, BEFORE) == 0
    assert owners(play) == {1, 2}


# ── as the worker does it ────────────────────────────────────────────────────────────────────────────────────────────


def turn(play: Play, config: Config, now: int = LATER) -> None:
    jobs.turn(play.db, jobs.parts(config), now, threading.Event())


def test_by_default_nobodys_books_go(play):
    turn(play, Config())
    assert owners(play) == {1, 2}
    turn(play, Config(books_kept_days=90))
    assert owners(play) == set()


def test_after_everybody_was_looked_at_the_job_rests_for_an_hour(play):
    turn(play, Config(books_kept_days=90))
    play.holds(1, (CLEO, "Cleo"))
    turn(play, Config(books_kept_days=90), LATER + 3_599)
    assert owners(play) == {1}
    turn(play, Config(books_kept_days=90), LATER + 3_600)
    assert owners(play) == set()


def test_a_part_that_looks_at_everybody_rests_for_an_hour_whatever_the_clock_does():
    asked, found = [], [500, 3, 0, 7, 0, 0]

    def counted(db, now):
        asked.append(now)
        return found.pop(0)

    part = jobs.once_in(3_600, counted)
    for now in (9_000, 9_060, 12_599, 12_600, 100):
        jobs.turn(None, {"counted": part}, now, threading.Event())
    assert asked == [9_000, 9_000, 9_000, 12_600, 12_600, 100]


def test_old_entries_of_the_audit_log_go(play):
    for at in (LATER - 31 * DAY, LATER - 29 * DAY):
        with play.db.write() as tx:
            audit.record(tx, audit.Actor("a", "", at), "logged in")
    turn(play, Config(audit_kept_days=30))
    assert [entry.at for entry in entries(play.db, admin="a")] == [LATER - 29 * DAY]


def test_copies_of_a_sqlite_file_go_after_a_month(tmp_path):
    from ringbook.store import db as databases
    from ringbook.store import migrations

    url = f"sqlite:///{tmp_path}/ringbook.db"
    migrations.migrate(url)
    names = ("ringbook.db.before-0004", "ringbook.db.before-restore-1", "ringbook.db.before-restore-1-wal")
    for name in names:
        (tmp_path / name).write_text("")
    for name in ("ringbook.db.mine", "ringbook.db.before-christmas"):
        (tmp_path / name).write_text("")
    db = databases.connect(url, seal=SEAL)
    made = (tmp_path / names[0]).stat().st_ctime
    assert backups.sweep(db, int(made) - 60) == 0
    assert backups.sweep(db, int(made) + 60) == 2
    db.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "ringbook.db",
        "ringbook.db.before-christmas",
        "ringbook.db.mine",
    ]
