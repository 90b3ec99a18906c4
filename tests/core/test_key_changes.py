"""Changes of the key: everything is sealed anew, also when that is killed, and a lost key. On both databases."""

import base64
import multiprocessing
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from core.joining import ANN, BOB, CLEO, LIMITS, NOW, Play
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sealed import buckets, contacts, entries
from servers import KEY, SEAL

from ringbook import errors, phone
from ringbook.core import (
    admin_answers,
    admins,
    applications,
    delivery,
    discovered,
    discovery,
    events,
    key_changes,
    test_push,
    users,
)
from ringbook.core.audit import Actor
from ringbook.core.profile import columns
from ringbook.model import Entry
from ringbook.seal import Key, Seal
from ringbook.store import codes, joined, keys, placement, resealing
from ringbook.store import db as databases
from ringbook.store import users as users_store
from ringbook.store.buckets import remember_removed
from ringbook.store.db import Database, Row, Tx
from ringbook.store.keys import Recorded
from ringbook.store.numbers import keyed_all

BY = Actor("command line", "", NOW)
WEBHOOK_SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
POINT = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
BROWSER = {
    "web_auth": base64.urlsafe_b64encode(bytes(16)).decode().rstrip("="),
    "web_p256dh": base64.urlsafe_b64encode(POINT).decode().rstrip("="),
}
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches, and no wait for other processes: there are none."""
    monkeypatch.setattr(key_changes, "BATCH", 3)
    monkeypatch.setattr(key_changes, "SETTLE_SECONDS", 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The key file of a test's database."""
    path = tmp_path / "ringbook.key"
    path.touch(0o600)
    path.write_text(KEY.secret.hex())
    return path


@contextmanager
def opened(url: str, seal: Seal = SEAL) -> Iterator[Database]:
    with closing(databases.connect(url, seal=seal, pool=2)) as db:
        yield db


def fill(db: Database) -> Play:
    """A world in which every table with something sealed has several rows."""
    play = Play(db)
    ann, bob = play.verified(ANN), play.verified(BOB)
    play.holds(ann, (BOB, "Bob the builder"), (CLEO, "Cleo"), ("+1 (202) 555-0142", "Mum"), *crowd(0, 9))
    play.holds(bob, (ANN, "Ann"), (CLEO, "Cleo, too"), *crowd(4, 12), device="phone")
    play.verified(CLEO)
    play.tell()
    add_users(play)
    for owner, book in ((ann, ""), (bob, "phone")):
        discovered.since(db, play.caller(owner), book, "0", compact=True, now=NOW)
    with db.write() as tx:
        for n in range(4):
            number = 12025550110 + n
            joined.put(tx, play.app_id, ann, number, verified=False, now=NOW, due_at=NOW)
            remember_removed(tx, play.app_id, bob, keyed_all(tx, play.app_id, [number]), NOW)
            put_code(tx, play.app_id, number)
    for n in range(3):
        play.device(ann, f"fcm-token-000{n}")
        play.device(bob, f"https://push.example.com/{n}", channel="web", platform="web", **BROWSER)
    add_pushes(play, ann, bob)
    applications.create(db, "Second", NOW, by=BY)
    applications.change(db, play.app_id, "webhook_secret", WEBHOOK_SECRET)
    for name in ("ann", "bob", "cleo", "dan"):
        password = admins.create(db, f"{name}@example.org", NOW, by=BY)
    login = admins.sign_in(db, LIMITS, "dan@example.org", password, "192.0.2.9", NOW)
    for n in range(2):
        admins.invite(db, f"guest{n}@example.org", "viewer", BY)
        admin_answers.keep(db, login, f"a secret {n}", NOW)
    return play


def add_pushes(play: Play, ann: int, bob: int) -> None:
    """Pushes that wait: about a contact, tests and events."""
    play.holds(bob, ("+12025550150", "Hal"))
    play.set(require_verified_number="off")
    play.person("hal", "+12025550150")
    play.tell()
    for who in (ann, bob):
        test_push.send(play.db, play.app, who, BY)
        events.send(
            play.db,
            LIMITS,
            play.caller(who),
            events.Event(payload={"message": "hi"}, to=events.Recipients(ids=[bob])),
            NOW,
        )


def add_users(play: Play) -> None:
    """Users with logins in clear, and with some that read like a number or an e-mail address."""
    for n, login in enumerate(("eve", "Fay", "gil@example.org", "+44 7700 900199")):
        fields = {"login": login, "email": f"mail{n}@example.org", "phone": f"+1 202 555 013{n}"}
        with play.db.write() as tx:
            users.add(tx, play.app, columns(fields), NOW)


def crowd(first: int, last: int) -> list[tuple[str, str]]:
    return [(f"+44 7700 900{n:03}", f"Friend {n}") for n in range(first, last)]


def put_code(tx: Tx, app_id: int, number: int) -> None:
    codes.put(
        tx,
        app_id,
        number,
        request_id=f"r{number}",
        typed=f"+{number}",
        code_hash=b"hash",
        now=NOW,
        expires_at=NOW + 600,
    )


def in_clear(db: Database, seal: Seal) -> dict[str, list[Any]]:
    """What all tables hold, opened under a key, without keyed and sealed values.

    Also checks that each row is sealed as its table's declaration says.
    """
    with db.read() as tx:
        return {table: sorted(map(repr, rows_in_clear(tx, table, seal))) for table in resealing.RESEALED}


def rows_in_clear(tx: Tx, table: str, seal: Seal) -> Iterator[tuple[Any, Row]]:
    how = resealing.RESEALED[table]
    for row in tx.all(f"SELECT * FROM {table}"):
        found = how.open(seal, row)
        if found is not None:
            assert {name: row[name] for name in how.columns} == how.seal(seal, row, found), table
        yield found, {name: value for name, value in row.items() if name not in how.columns}


# ── declarations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_sealed_or_keyed_column_is_sealed_anew():
    """When this fails, add your table or column to store/resealing.py."""
    for name, table in placement.TABLES.items():
        columns = {column for column, storage in table.columns.items() if storage in ("sealed", "keyed")}
        if name in resealing.NEVER_STORED:
            continue
        others = resealing.FOLLOWS.get(name) or resealing.DROPPED.get(name)
        declared = others or set(getattr(resealing.RESEALED.get(name), "columns", ()))
        assert declared - {"settings"} == columns, name


# ── a new key ────────────────────────────────────────────────────────────────────────────────────────────────────────


def rotated(db: Database, file: Path) -> key_changes.Rotated:
    return key_changes.rotate(db, file, lambda done, total: None, NOW, by=BY)


def test_everything_is_the_same_under_the_new_key(db, file):
    play = fill(db)
    before = in_clear(db, SEAL)
    counts = {name: len(rows) for name, rows in before.items()}
    assert min(counts.values()) >= 2, counts
    bars: list[tuple[int, int]] = []

    done = key_changes.rotate(db, file, lambda done, total: bars.append((done, total)), NOW, by=BY)

    new = Seal(Key.read(file).secret)
    assert (done.fingerprint, done.former, done.unreadable) == (new.fingerprint, KEY.fingerprint, {})
    assert keys.recorded(db) == Recorded(new.fingerprint, "")
    after = in_clear(db, new)
    check_same(before, after)
    assert bars[0][0] == 0 and bars[-1][0] == bars[-1][1] == bars[0][1] and bars == sorted(bars)
    assert [entry.action for entry in entries(db)][:1] == ["key changed"]
    assert {one.email for one in admins.all_(db)} == {f"{name}@example.org" for name in ("ann", "bob", "cleo", "dan")}
    assert [one.seen_at for one in admins.all_(db)] == [None, None, None, NOW]
    with db.read() as tx:
        for login in ("EVE", "fay", "gil@example.org", "+44 7700 900199"):
            assert (found := users_store.by_login(tx, play.app_id, login)) and found.email, login
        assert users_store.by_email(tx, play.app_id, "MAIL1@example.org")
    sent = {due.message.payload["message"] for due in delivery.claim(db, NOW, 100)}
    assert {"Your friend Hal joined.", "Your friend Annie joined.", "hi"} <= sent
    play.holds(1, (BOB, "Bob, renamed"))
    with db.read() as tx:
        assert "Bob, renamed" in [contact.name for _, _, contact in contacts(tx)]


def test_spent_permits_are_kept(db, file):
    fill(db)
    with db.read() as tx:
        before = buckets(tx)
    rotated(db, file)
    with db.read() as tx:
        assert buckets(tx) == before


def test_nothing_that_the_former_key_opens_is_left(db, file):
    fill(db)
    rotated(db, file)
    with db.read() as tx:
        for table, how in resealing.RESEALED.items():
            for row in tx.all(f"SELECT * FROM {table}"):
                try:
                    assert how.open(SEAL, row) is None, table
                except errors.Unreadable:
                    continue


def test_no_report_of_an_upload_outlives_its_key(db, file):
    play = fill(db)
    caller = play.caller(play.person("ida").id)
    discovery.upload(db, LIMITS, caller, [Entry(CLEO, "Cleo")], digest=b"d" * 16, now=NOW)
    assert play.rows("SELECT book FROM books WHERE reports IS NOT NULL") == [{"book": 0}]
    rotated(db, file)
    assert play.rows("SELECT book FROM books WHERE reports IS NOT NULL") == []


def test_what_an_upload_knows_of_a_book_outlives_the_key_also_with_a_region(db, file):
    play = Play(db)
    play.set(default_region="GB")
    ida = play.person("ida")
    play.holds(ida.id, ("07700 900123", "Bob"))
    new = Seal(Key.read(rotated(db, file).file).secret)
    (value,) = new.entries(phone.reading("GB"), play.app_id, ida.id, 0, [Entry("07700 900123", "Bob")])
    assert play.rows("SELECT entry FROM contacts") == [{"entry": value}]


def test_the_former_key_is_kept_for_old_backups_and_the_new_file_is_as_private(db, file):
    done = rotated(db, file)
    assert Key.read(done.former_file).secret == KEY.secret
    assert {one.name for one in file.parent.iterdir()} >= {"ringbook.key", f"ringbook.key.{KEY.fingerprint}"}
    assert not keys.next_file(file).exists() and file.stat().st_mode & 0o777 == 0o600


def test_what_no_key_opens_is_counted_and_left_as_it_is(db, file):
    fill(db)
    with db.write() as tx:
        tx.run("UPDATE contacts SET sealed = :broken WHERE owner_id = 1", broken=bytes(32))
        (damaged,) = tx.tuples("SELECT count(*) FROM contacts WHERE owner_id = 1")[0]
    assert rotated(db, file).unreadable == {"contacts": damaged}


def test_without_the_right_key_nothing_is_changed(db, file):
    fill(db)
    file.unlink()
    Key.create(file)
    before = file.read_text()
    with pytest.raises(errors.Unavailable, match=KEY.fingerprint):
        rotated(db, file)
    assert keys.recorded(db) == Recorded(KEY.fingerprint, "")
    assert file.read_text() == before and not keys.next_file(file).exists()


def test_a_second_rotation_follows_a_first(db, file):
    fill(db)
    first = rotated(db, file)
    second = rotated(db, file)
    assert second.former == first.fingerprint
    in_clear(db, Seal(Key.read(file).secret))


def test_a_transaction_of_another_process_is_waited_for(databases, file, monkeypatch):
    """It may have begun before its process knew that the key is being changed."""
    monkeypatch.setattr(key_changes, "OTHERS_SECONDS", 0.5)
    with databases.fresh("postgresql") as url, opened(url) as db:
        fill(db)
        with opened(url) as other, other.write() as tx:
            tx.run("UPDATE users SET full_name = 'still at work' WHERE id = 1")
            with pytest.raises(errors.Unavailable, match="has an open transaction"):
                rotated(db, file)
            assert {one.name for one in file.parent.iterdir()} == {"ringbook.key", "ringbook.key.next"}
        rotated(db, file)
        with db.read() as tx:
            assert tx.tuples("SELECT full_name FROM users WHERE id = 1") == [("still at work",)]
        in_clear(db, Seal(Key.read(file).secret))


# ── killed ───────────────────────────────────────────────────────────────────────────────────────────────────────────

STEPS: list[tuple[Any, str]] = [
    (key_changes.Key, "create"),
    (key_changes.keys, "begin"),
    (key_changes.keys, "set_place"),
    (key_changes.keys, "finish"),
    (key_changes.os, "link"),
    (key_changes.os, "replace"),
    (key_changes.copies, "sync"),
    (key_changes.resealing, "reseal"),
]


def killed_at(step: int, url: str, file: Path) -> bool:
    """Rotate in a child, which is killed before the step with this number; was it killed?"""
    child = FORK.Process(target=rotate_and_die, args=(url, file, step))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def rotate_and_die(url: str, file: Path, step: int) -> None:
    left = [step]

    def deadly(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return work(*args, **kwargs)

        return run

    for owner, name in STEPS:
        setattr(owner, name, deadly(name, getattr(owner, name)))
    with opened(url) as db:
        rotated(db, file)


def test_a_rotation_that_is_killed_before_any_step_is_finished_by_the_next(database_url, file):
    """Each child gets one step further, until one comes to the end."""
    with opened(database_url) as db:
        fill(db)
        before = in_clear(db, SEAL)
    step, kills = 0, 0
    while killed_at(step, database_url, file):
        kills += 1
        # A child that goes on has fewer steps before it: the same number reaches further. Few steps at the end.
        step = (step + 1) % 7
        assert kills < 500
    check_finished(database_url, file, before)
    assert kills > 20


def check_finished(url: str, file: Path, before: dict[str, list[Any]]) -> None:
    seal = Seal(Key.read(file).secret)
    assert seal.fingerprint != KEY.fingerprint
    with opened(url, seal) as db:
        assert keys.recorded(db) == Recorded(seal.fingerprint, "")
        after = in_clear(db, seal)
    check_same(before, after)


def check_same(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> None:
    """Nothing is changed but that the audit log has one entry more."""
    assert set(after["audit"]) > set(before["audit"]) and len(after["audit"]) == len(before["audit"]) + 1
    assert {**after, "audit": []} == {**before, "audit": []}


def test_a_rotation_that_is_killed_at_random_moments_is_finished_by_the_next(database_url, file):
    chance = random.Random(13)
    with opened(database_url) as db:
        fill(db)
        before = in_clear(db, SEAL)
    for _ in range(12):
        child = FORK.Process(target=rotate_and_die, args=(database_url, file, 10**9))
        child.start()
        time.sleep(chance.uniform(0, 0.15))
        child.kill()
        child.join(60)
        with opened(database_url) as db:
            found = keys.recorded(db)
        if not found.next and found.current != KEY.fingerprint:
            break
    else:
        with opened(database_url) as db:
            rotated(db, file)
    check_finished(database_url, file, before)


# ── a lost key ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_the_key_the_database_starts_over(db, file):
    play = fill(db)
    users_before = play.rows("SELECT id FROM users ORDER BY id")
    app_before = applications.get(db, play.app_id)
    file.unlink()

    done = key_changes.forget(db, file, NOW, by=BY)

    seal = Seal(Key.read(file).secret)
    assert keys.recorded(db) == Recorded(seal.fingerprint, "") and done.fingerprint == seal.fingerprint
    assert done.deleted["contacts"] > 0 and done.deleted["admins"] == 4
    assert {name: len(rows) for name, rows in in_clear(db, seal).items() if rows} == {
        "audit": 1,
        "applications": 2,
        "users": len(users_before),
    }
    with db.read() as tx:
        assert (eve := users_store.by_login(tx, play.app_id, "eve")) and (eve.email, eve.phone) == (None, None)
        assert users_store.by_login(tx, play.app_id, "gil@example.org") is None
    app = applications.get(db, play.app_id)
    assert (app.auth_key, app.name) == (app_before.auth_key, app_before.name)
    assert app_before.settings.webhook_secret == WEBHOOK_SECRET and app.settings.webhook_secret == ""
    for secret in ("auth_secret", "hash_key", "vapid_public_key"):
        assert getattr(app, secret) != getattr(app_before, secret)
    assert play.rows("SELECT id FROM users ORDER BY id") == users_before
    assert play.rows("SELECT 1 FROM books UNION ALL SELECT 1 FROM totals UNION ALL SELECT 1 FROM admin_sessions") == []
    play.holds(1, (BOB, "Bob"))
    assert admins.create(db, "ann@example.org", NOW, by=BY)


def test_a_key_that_fits_is_not_forgotten(db, file):
    fill(db)
    before = in_clear(db, SEAL)
    with pytest.raises(errors.Invalid, match="nothing is lost"):
        key_changes.forget(db, file, NOW, by=BY)
    assert in_clear(db, SEAL) == before


@pytest.mark.parametrize("step", [3, 15])
def test_a_key_that_was_moved_away_during_a_rotation_does_not_overwrite_the_other(databases, file, step):
    """Whoever follows the message puts the file where it says, and the rotation ends."""
    with databases.fresh("sqlite") as url:
        with opened(url) as db:
            fill(db)
            before = in_clear(db, SEAL)
        assert killed_at(step, url, file)
        missing = keys.kept_file(file, KEY.fingerprint) if step == 15 else keys.next_file(file)
        copy = missing.rename(file.with_name("moved away"))
        with opened(url) as db:
            assert keys.recorded(db).next
            with pytest.raises(errors.Unavailable) as refused:
                rotated(db, file)
            place = re.search(r"put a copy of its file at (.+?);", refused.value.reason)
            assert place
            copy.rename(place[1])
            rotated(db, file)
        check_finished(url, file, before)


def test_a_rotation_whose_former_key_is_lost_can_only_be_forgotten(database_url, file):
    with opened(database_url) as db:
        fill(db)
    assert killed_at(15, database_url, file)
    with opened(database_url) as db:
        found = keys.recorded(db)
        assert found.next
        keys.kept_file(file, KEY.fingerprint).unlink()
        with pytest.raises(errors.Unavailable, match="`ringbook key forget` starts over"):
            rotated(db, file)
        key_changes.forget(db, file, NOW, by=BY)
        assert keys.recorded(db) == Recorded(Key.read(file).fingerprint, "")
        in_clear(db, db.seal)


def test_two_changes_at_once_are_refused_and_one_that_has_ended_is_ended_once(database_url):
    with opened(database_url) as db:
        with db.write() as tx:
            keys.begin(tx, Seal(bytes(32)), keys.new_secret(), NOW)
        with pytest.raises(errors.Unavailable, match="has just begun"), db.write() as tx:
            keys.begin(tx, Seal(b"x" * 32), keys.new_secret(), NOW)
        with db.write() as tx:
            keys.finish(tx)
        with pytest.raises(errors.Unavailable, match="has ended this change"), db.write() as tx:
            keys.finish(tx)
        assert keys.recorded(db) == Recorded(Seal(bytes(32)).fingerprint, "")
