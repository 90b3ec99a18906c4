"""Backups are consistent and complete, also during writes. A restore erases the users who were erased since."""

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from asking import Person, guest, line, lines, person
from core.joining import Play
from noted import without_database
from sealed import contacts
from servers import KEY, SEAL, Databases, ended, environment, key_file, migrate, postgresql_client, program, serve
from store.older import next_version, people

from ringbook import errors
from ringbook.core import backups, erasures, users
from ringbook.seal import Key
from ringbook.store import db as databases_
from ringbook.store import migrations
from ringbook.store.db import checksum, copies

FIRST = 3_000


def run(*words: str, database_url: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator does; it must end with this exit code."""
    done = ended([program(), *words], environment(database_url, **settings))
    assert done.returncode == code, done
    return done


def whole(url: str) -> dict[str, list[Any]]:
    """Every row of every table, except the last used ids."""
    catalogue = "sqlite_schema WHERE type = 'table'" if databases_.is_sqlite(url) else "pg_tables"
    column = "name" if databases_.is_sqlite(url) else "tablename"
    with closing(databases_.connect(url, pool=1, seal=SEAL)) as opened, opened.read() as tx:
        if not databases_.is_sqlite(url):
            catalogue += " WHERE schemaname = 'public'"
        tables = {row[0] for row in tx.tuples(f"SELECT {column} FROM {catalogue}")} - {"sequences"}
        return {table: sorted(map(repr, tx.tuples(f"SELECT * FROM {table}"))) for table in tables}


@contextmanager
def writing(who: Person) -> Iterator[Callable[[], int]]:
    """A client uploads one contact after the other; the number of uploads that have succeeded so far."""
    answered, stop = [FIRST], threading.Event()

    def write() -> None:
        while not stop.is_set():
            assert who.upload([line(answered[0])]).status == 200
            answered[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: answered[0]
    finally:
        stop.set()
        thread.join()


def back_up(url: str, target: Path) -> None:
    """Do what the command does, without the second that a new process needs."""
    backups.back_up(databases_.sqlite_file(url), target, lambda done, total: None)


def wait_for(answered: Callable[[], int], more: int) -> int:
    """Wait until so many more uploads have succeeded; the number of all successes."""
    goal, beat = answered() + more, threading.Event()
    while answered() < goal:
        beat.wait(0.01)
    return answered()


def held(url: str, who: Person) -> int:
    """The number of contacts in a user's book, which must be the first ones without a gap."""
    with closing(databases_.connect(url, pool=1, seal=SEAL)) as opened, opened.read() as tx:
        ((size,),) = tx.tuples("SELECT size FROM books WHERE owner_id = :id", id=who.id)
        numbers = [one.number for owner_id, _, one in contacts(tx) if owner_id == who.id]
    assert [str(number) for number in numbers] == [line(n)["phone"] for n in range(size)]
    return int(size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def url(folder: Path) -> str:
    return f"sqlite:///{folder}/ringbook.db"


def test_a_backup_made_while_others_write_is_of_one_moment_and_comes_back_as_it_was(url, folder):
    backup, restored = folder / "backup.db", f"sqlite:///{folder}/restored.db"
    with serve(url, folder) as server:
        ann = person(server)
        assert ann.upload(lines(0, FIRST)).status == 200
        with writing(ann) as answered:
            before = wait_for(answered, 20)
            said = json.loads(run("backup", str(backup), "--json", database_url=url).stdout)
            after = answered()
            wait_for(answered, 20)
        assert held(url, ann) == answered()
    contacts = said["contacts"]
    assert before <= contacts <= after + 1
    assert (said["schema"], said["users"]) == (migrations.HEAD, 1)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in folder.iterdir() if "backup" in file.name] == ["backup.db"]
    run("restore", str(backup), "--yes", database_url=restored)
    assert held(restored, ann) == contacts
    assert whole(restored) == whole(f"sqlite:///{shutil.copy(backup, folder / 'looked-at.db')}")
    with serve(restored, folder) as server:
        assert len(Person(server, ann.app, ann.id, ann.token).book()) == contacts


def erased_after(db_url: str, folder: Path, make_backup: Callable[[], object], **settings: str) -> dict[str, int]:
    """Five users: one erased before the backup, two after it, one created and erased after it, one who stays."""
    with serve(db_url, folder, **settings) as server:
        people = {name: guest(server) for name in ("before", "after", "later", "stays")}
        leaves(people["before"])
        make_backup()
        leaves(people["after"])
        people["new"] = guest(server)
        leaves(people["new"])
        leaves(people["later"])
    return {name: one.id for name, one in people.items()}


def leaves(one: Person) -> None:
    assert one.ask("DELETE", f"/users/{one.id}").status == 200


def there(url: str) -> set[int]:
    with closing(databases_.connect(url, pool=1, seal=SEAL)) as opened, opened.read() as tx:
        return {row[0] for row in tx.tuples("SELECT id FROM users")}


def next_id(url: str) -> int:
    """The id that the next new user gets."""
    with closing(databases_.connect(url, seal=SEAL)) as db:
        return Play(db).person("newcomer").id


def test_whoever_was_erased_after_the_backup_is_erased_again_and_ids_go_on_after_a_gap(url, folder):
    backup = folder / "backup.db"
    ids = erased_after(url, folder, lambda: back_up(url, backup))
    former = whole(url)
    done = run("restore", str(backup), "--yes", "--json", database_url=url)
    said = json.loads(done.stdout)
    assert (said["erased_again"], said["left_alone"], without_database(done.stderr)) == (2, 0, "")
    assert there(url) == {ids["stays"]}
    kept = Path(said["former_database"])
    assert kept.parent == folder and kept.stat().st_mode & 0o777 == 0o600
    assert whole(f"sqlite:///{kept}") == former
    assert next_id(url) > ids["new"] + backups.GAP


def test_a_database_that_was_copied_back_by_hand_is_not_served_until_its_journal_is_applied(url, folder):
    backup = folder / "backup.db"
    ids = erased_after(url, folder, lambda: back_up(url, backup))
    shutil.copy(backup, folder / "ringbook.db")
    assert "run `ringbook erase-again`" in run("serve", database_url=url, code=1).stderr
    assert "by 3 users: run `ringbook erase-again`" in run("check", database_url=url, code=1).stdout
    assert json.loads(run("erase-again", "--json", database_url=url).stdout)["erased_again"] == 2
    assert there(url) == {ids["stays"]}
    with closing(databases_.connect(url, seal=SEAL)) as db:
        assert erasures.trouble(db) == ""
        assert backups.erase_again(db, [folder / "ringbook.db-erasures"]) == backups.Again(0, [], 0)


def test_who_has_come_after_an_erasure_is_not_erased_for_having_the_same_id(db, tmp_path):
    """A restored backup was served without `ringbook restore`, so an id was used twice."""
    play = Play(db)
    db.erasures = tmp_path / "journal"
    ann, bob = play.person("ann").id, play.person("bob").id
    for one in (ann, bob):
        users.erase(db, one)
    play.now = 4_000_000_000
    with db.write() as tx:
        tx.run("UPDATE erasures SET count = 0")
        for user_id, at in ((ann, 1_000), (bob, play.now)):
            tx.run(
                "INSERT INTO users (id, app_id, is_guest, created_at, updated_at) VALUES (:id, :app_id, 0, :at, :at)",
                id=user_id,
                app_id=play.app_id,
                at=at,
            )
    assert backups.erase_again(db, [db.erasures]) == backups.Again(erased=1, newer=[bob], missing=0)
    assert play.rows("SELECT id FROM users") == [{"id": bob}]


def test_every_machine_has_a_journal_and_one_that_is_left_out_is_missed(db, tmp_path):
    play, here, there_ = Play(db, now=1_700_000_000), tmp_path / "here", tmp_path / "there"
    people = [play.person(f"user{n}").id for n in range(4)]
    for user_id, folder in zip(people[:3], (here, there_, here), strict=True):
        db.erasures = folder
        users.erase(db, user_id)
    with db.write() as tx:  # a backup of before them all
        tx.run("UPDATE erasures SET count = 0")
        for user_id in people[:3]:
            tx.run(
                "INSERT INTO users (id, app_id, is_guest, created_at, updated_at) VALUES (:id, :app_id, 0, 1, 1)",
                id=user_id,
                app_id=play.app_id,
            )
    with pytest.raises(errors.Invalid, match="lack 1 of the erasures since the backup: name the folders of all"):
        backups.erase_again(db, [here])
    assert len(play.rows("SELECT id FROM users")) == 4
    assert backups.erase_again(db, [there_, here]) == backups.Again(3, [], 0)
    assert play.rows("SELECT id FROM users") == [{"id": people[3]}]


def test_nothing_is_restored_while_a_server_has_the_database_open(url, folder):
    backup = folder / "backup.db"
    with serve(url, folder) as server:
        ann = person(server)
        back_up(url, backup)
        said = run("restore", str(backup), "--yes", database_url=url, code=1).stderr
        assert "is in use: stop whatever has it open" in said
        assert ann.upload(lines(0, 5)).status == 200
        assert len(ann.book()) == 5


OPENS = """
import sys
from ringbook.store import db
print("opening", flush=True)
with db.connect(sys.argv[1]).read() as tx:
    print(tx.tuples("SELECT COUNT(*) FROM users")[0][0], flush=True)
"""


def test_who_comes_while_a_restore_is_under_way_opens_the_new_database_not_the_one_put_aside(url, made, folder):
    file = folder / "ringbook.db"
    with closing(databases_.connect(url, seal=SEAL)) as db:
        Play(db).person("bob")
    with copies.lock(file):
        comes = subprocess.Popen([sys.executable, "-c", OPENS, url], stdout=subprocess.PIPE, text=True)
        assert comes.stdout and comes.stdout.readline() == "opening\n"
        threading.Event().wait(0.5)  # by now it has the old file open, and is not let in
        assert comes.poll() is None
        copies.put_in_place(made, file, folder / "ringbook.db.before-restore-1")
    assert comes.communicate(timeout=60)[0] == "1\n"


def test_a_server_that_was_killed_has_nothing_open_and_its_log_is_kept(url, folder):
    backup = folder / "backup.db"
    process: Any = None
    with pytest.raises(ProcessLookupError), serve(url, folder) as server:
        ann = person(server)
        back_up(url, backup)
        bob = person(server)
        process = server.process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (folder / "ringbook.db-wal").stat().st_size
        said = json.loads(run("restore", str(backup), "--yes", "--json", database_url=url).stdout)
        assert there(url) == {ann.id}
        assert there(f"sqlite:///{said['former_database']}") == {ann.id, bob.id}
        raise ProcessLookupError
    assert process.returncode


@pytest.fixture
def made(url: str, folder: Path) -> Path:
    """A small database and its backup."""
    migrate(url)
    with closing(databases_.connect(url, seal=SEAL)) as db:
        Play(db).person("ann")
    back_up(url, folder / "backup.db")
    return folder / "backup.db"


def test_a_backup_of_a_database_that_is_lost_says_what_to_do(url, made):
    file = databases_.sqlite_file(url)
    file.unlink()
    file.with_name(f"{file.name}-erasures").mkdir(exist_ok=True)
    said = run("backup", str(made.parent / "another.db"), database_url=url, code=1).stderr
    assert "put the file back" in said and "ringbook restore BACKUP" in said


def test_a_backup_never_replaces_a_file_without_being_told(url, made):
    before = made.read_bytes()
    assert "--overwrite replaces it" in run("backup", str(made), database_url=url, code=2).stderr
    assert made.read_bytes() == before
    run("backup", str(made), "--overwrite", database_url=url)
    file = databases_.sqlite_file(url)
    with pytest.raises(errors.Invalid, match="is a folder: name a file in it"):
        backups.back_up(file, made.parent, lambda done, total: None, overwrite=True)
    for itself in (file, *copies.companions(file)):  # whether there is a log just now or not
        with pytest.raises(errors.Invalid, match="is the database itself"):
            backups.back_up(file, itself, lambda done, total: None, overwrite=True)


def test_a_backup_never_replaces_a_file_that_is_no_backup(url, made):
    key = Path(shutil.copy(key_file(), made.with_name("ringbook.key")))
    said = run("backup", str(key), "--overwrite", database_url=url, code=2).stderr
    assert "is not a backup, so it is not replaced" in said
    assert key.read_bytes() == key_file().read_bytes()
    empty = made.with_name("empty")
    empty.touch()
    run("backup", str(empty), "--overwrite", database_url=url)


def test_a_backup_never_takes_the_place_of_what_is_no_file(url, made):
    pipe = made.with_name("pipe")  # as a device would be: a copy in the place of /dev/null stops a whole machine
    os.mkfifo(pipe)
    assert "is no file" in run("backup", str(pipe), "--overwrite", database_url=url, code=2).stderr
    assert pipe.is_fifo()


def broken(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(4096 * 3)
        opened.write(os.urandom(4096 * 4))


def broken_before_it_was_sealed(file: Path) -> None:
    broken(file)
    checksum.seal(file)


def without_checksum(file: Path) -> None:
    os.truncate(file, file.stat().st_size - checksum.SEAL_BYTES)


def no_database(file: Path) -> None:
    file.write_text("Dear Ann, " * 1000)
    checksum.seal(file)


def not_ours(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    checksum.seal(file)


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as opened, opened:
        opened.execute("UPDATE schema_state SET revision = '9001'")
    checksum.seal(file)


def with_a_log(file: Path) -> None:
    Path(f"{file}-wal").write_bytes(b"x" * 100)


@pytest.mark.parametrize(
    "change, said",
    [
        (broken, "is damaged: its content does not match the checksum"),
        (broken_before_it_was_sealed, "is broken"),
        (no_database, "is no SQLite database"),
        (not_ours, "is no database of Ringbook's"),
        (newer, "has schema 9001, newer than this Ringbook"),
        (without_checksum, "carries no checksum.*ringbook restore --without-checksum"),
        (with_a_log, "has a -wal beside it"),
        (Path.unlink, "there is no file"),
    ],
)
def test_what_cannot_be_restored_is_said_and_nothing_is_changed(url, made, folder, change, said):
    before = whole(url)
    change(made)
    file = databases_.sqlite_file(url)
    with pytest.raises(errors.Invalid, match=said):
        backups.check_backup(made)
    with pytest.raises((errors.Invalid, errors.Unavailable)):
        backups.restore(made, file, folder / "journal", KEY, lambda done, total: None)
    assert whole(url) == before
    assert [file.name for file in folder.iterdir() if "restor" in file.name] == []


def flipped(file: Path, bit: int) -> Path:
    """A copy of a file with one bit changed."""
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    changed = file.with_name("flipped.db")
    changed.write_bytes(content)
    return changed


def test_one_flipped_bit_anywhere_is_found(made):
    """In the header, in empty pages, in the last page, and in each byte of the checksum itself."""
    bits = made.stat().st_size * 8
    seal = range(bits - checksum.SEAL_BYTES * 8, bits, 8)
    for bit in [0, 7, 18 * 8, 24 * 8, 28 * 8, bits - 1, *range(5, bits, bits // 400), *seal]:
        with pytest.raises(errors.Invalid, match="flipped.db (is damaged|carries no checksum)"):
            backups.check_backup(flipped(made, bit))


def test_each_byte_of_a_small_file_counts(tmp_path):
    file = tmp_path / "small"
    file.write_bytes(os.urandom(512))
    checksum.seal(file)
    checksum.check(file)
    for byte in range(file.stat().st_size):
        with pytest.raises((checksum.Damaged, checksum.Unsealed)):
            checksum.check(flipped(file, byte * 8 + byte % 8))
    for size in range(file.stat().st_size):
        os.truncate(flipped(file, 0), size)
        with pytest.raises((checksum.Damaged, checksum.Unsealed)):
            checksum.check(file.with_name("flipped.db"))


def test_the_commands_refuse_a_flipped_bit_and_say_so(url, made, folder):
    before = whole(url)
    changed = flipped(made, made.stat().st_size * 4)
    for words in (("backup", "--verify", str(changed)), ("restore", str(changed), "--yes")):
        assert "its content does not match the checksum that it carries" in run(*words, database_url=url, code=2).stderr
    words = ("restore", str(changed), "--yes", "--without-checksum")  # which is not about a wrong one
    assert "its content does not match" in run(*words, database_url=url, code=2).stderr
    assert whole(url) == before
    verified = run("backup", "--verify", str(made), "--json", database_url="postgresql://nobody@127.0.0.1:1/none")
    said = json.loads(verified.stdout)
    assert (said["whole"], said["schema"], said["users"]) == (str(made), migrations.HEAD, 1)


def test_a_backup_with_its_checksum_is_still_a_sqlite_file_that_can_be_served(url, made, folder):
    """A copy made by hand grows, its log is written back, and it stays intact."""
    copied = folder / "copied.db"
    shutil.copy(made, copied)
    with closing(databases_.connect(f"sqlite:///{copied}", seal=SEAL)) as db:
        play = Play(db)
        for n in range(200):
            play.person(f"user{n}")
        assert db.scrub()
    with closing(sqlite3.connect(copied)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert opened.execute("SELECT count(*) FROM users").fetchone() == (201,)


def test_a_database_that_was_put_aside_is_restored_when_one_says_that_it_has_no_checksum(url, made, folder):
    former = whole(url)
    done = json.loads(run("restore", str(made), "--yes", "--json", database_url=url).stdout)
    assert done["database"] == str(folder / "ringbook.db")
    aside = done["former_database"]
    assert "restore --without-checksum" in run("restore", aside, "--yes", database_url=url, code=2).stderr
    run("restore", aside, "--without-checksum", "--yes", database_url=url)
    assert whole(url)["users"] == former["users"]


def test_two_restores_in_one_second_put_two_files_aside(url, made, folder, monkeypatch):
    monkeypatch.setattr(backups.time, "strftime", lambda *_: "20261126T092706")
    whole(url)
    for _ in range(2):
        backups.restore(made, folder / "ringbook.db", folder / "journal", KEY, lambda done, total: None)
    kept = sorted(
        file.name for file in folder.glob("ringbook.db.before-restore-*") if file.name[-4:] not in ("-wal", "-shm")
    )
    assert kept == ["ringbook.db.before-restore-20261126T092706", "ringbook.db.before-restore-20261126T092706-2"]


def test_a_restore_names_its_database_and_wants_one_named_where_there_is_none(made, folder):
    settings = {name: value for name, value in environment("").items() if name != "RINGBOOK_DATABASE"}
    somewhere = folder / "somewhere"
    somewhere.mkdir()
    words = [program(), "restore", str(made), "--yes"]
    done = subprocess.run(words, env=settings, cwd=somewhere, capture_output=True, text=True)
    assert (done.returncode, list(somewhere.iterdir())) == (2, [])
    assert f"RINGBOOK_DATABASE=sqlite:////FOLDER/ringbook.db or --config FILE: there is no {somewhere}" in done.stderr
    (somewhere / "ringbook.db-erasures").mkdir()  # here was one
    done = subprocess.run(words, env=settings, cwd=somewhere, capture_output=True, text=True)
    assert done.returncode == 0 and str(somewhere / "ringbook.db") in done.stdout


def test_a_restore_asks_first(url, made):
    assert "replaces the database" in run("restore", str(made), database_url=url, code=2).stderr


def test_a_restore_under_a_former_key_says_that_the_server_needs_it(url, made, folder):
    """The key that took its place lies where the server looks for it."""
    beside = Key.create(folder / "ringbook.key")
    done = run("restore", str(made), "--yes", database_url=url)
    assert f"{beside.file} holds another one: start the server with RINGBOOK_KEY_FILE={key_file()}" in done.stderr
    beside.file.write_bytes(key_file().read_bytes())
    assert "holds another one" not in run("restore", str(made), "--yes", database_url=url).stderr


def test_a_restore_that_is_broken_off_changes_nothing(url, made, folder, monkeypatch):
    before = whole(url)
    monkeypatch.setattr(backups, "erase_again", lambda *given, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backups.restore(made, folder / "ringbook.db", folder / "journal", KEY, lambda done, total: None)
    assert whole(url) == before
    assert [file.name for file in folder.iterdir() if "restor" in file.name] == []
    with copies.lock(folder / "ringbook.db"):
        pass


def test_what_a_killed_restore_has_left_does_not_come_to_the_next_one(url, made, folder):
    with closing(sqlite3.connect(folder / "ringbook.db.restoring", isolation_level=None)) as killed:
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("CREATE TABLE half_done (n INTEGER)")
        log = (folder / "ringbook.db.restoring-wal").read_bytes()
    (folder / "ringbook.db.restoring-wal").write_bytes(log)
    before = whole(url)
    backups.restore(made, folder / "ringbook.db", folder / "journal", KEY, lambda done, total: None)
    assert whole(url) == before
    assert [file.name for file in folder.iterdir() if ".restoring" in file.name] == []


def test_a_database_behind_a_link_is_replaced_where_it_is(url, made, folder):
    (folder / "data").mkdir()
    (folder / "ringbook.db").rename(folder / "data" / "ringbook.db")
    (folder / "ringbook.db").symlink_to(folder / "data" / "ringbook.db")
    before = whole(url)
    done = backups.restore(made, folder / "ringbook.db", folder / "journal", KEY, lambda done, total: None)
    assert (folder / "ringbook.db").is_symlink() and done.kept and done.kept.parent == folder / "data"
    assert whole(url) == before


def test_a_backup_of_an_older_version_comes_back_with_todays_schema_and_its_erasures(
    url, folder, monkeypatch, tmp_path_factory
):
    migrate(url)
    ann, bob = people(url, "ann", "bob")
    back_up(url, folder / "older.db")
    schema = next_version(monkeypatch, tmp_path_factory.mktemp("next"))
    migrations.migrate(url)
    with closing(databases_.connect(url, seal=SEAL)) as db:
        users.erase(db, ann)
    run("restore", str(folder / "older.db"), "--yes", database_url=url)
    with closing(databases_.connect(url, seal=SEAL)) as db:
        assert migrations.state(db).revision == schema
    assert there(url) == {bob}


def test_a_copy_that_does_not_hold_what_the_database_held_counts_for_nothing(url, made, folder, monkeypatch):
    file = databases_.sqlite_file(url)
    monkeypatch.setattr(copies, "contents", lambda file: copies.Contents("0001", {}))
    with pytest.raises(errors.Unavailable, match="does not hold what the database held"):
        backups.back_up(file, folder / "b.db", lambda done, total: None)
    assert [one.name for one in folder.iterdir() if "b.db" in one.name and one not in (made, file)] == []


def test_somebody_who_watches_sees_how_far_it_is(url, made, folder):
    words = [str(program()), "backup", str(folder / "watched.db")]
    reading, writing = pty.openpty()
    done = subprocess.run(words, env=environment(url) | {"TERM": "xterm"}, stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    shown = os.read(reading, 65_536).decode()
    os.close(reading)
    assert done.returncode == 0
    assert "copied" in shown and "100%" in shown


def test_a_full_disk_is_found_out_before(url, made, folder, monkeypatch):
    monkeypatch.setattr(copies, "MARGIN_BYTES", 2**60)
    with pytest.raises(Exception, match="has no room for a copy of ringbook.db: .* MiB are missing"):
        backups.back_up(folder / "ringbook.db", folder / "b.db", lambda done, total: None)
    assert not (folder / "b.db").exists()


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


def dump(url: str, file: Path) -> None:
    subprocess.run([postgresql_client("pg_dump"), "--format=custom", f"--file={file}", url], check=True)


def undump(file: Path, url: str) -> None:
    subprocess.run([postgresql_client("pg_restore"), "--no-owner", f"--dbname={url}", file], check=True)


def test_a_dump_of_postgresql_made_while_others_write_comes_back_as_it_was(databases: Databases, folder):
    file = folder / "ringbook.dump"
    with databases.fresh("postgresql") as url, databases.postgresql.database() as restored:
        with serve(url, folder) as server:
            ann = person(server)
            assert ann.upload(lines(0, FIRST)).status == 200
            with writing(ann) as answered:
                before = wait_for(answered, 20)
                dump(url, file)
                after = answered()
                wait_for(answered, 20)
        undump(file, restored)
        assert before <= held(restored, ann) <= after + 1
        with serve(restored, folder) as server:
            assert before <= len(Person(server, ann.app, ann.id, ann.token).book()) <= after + 1


def test_on_postgresql_erase_again_erases_whoever_was_erased_after_the_dump(databases: Databases, folder):
    file, journal = folder / "ringbook.dump", folder / "journal"
    with databases.fresh("postgresql") as url, databases.postgresql.database() as restored:
        ids = erased_after(url, folder, lambda: dump(url, file), erasures_folder=str(journal))
        undump(file, restored)
        said = run("worker", database_url=restored, code=1, erasures_folder=str(journal)).stderr
        assert "run `ringbook erase-again`" in said
        done = json.loads(run("erase-again", str(journal), "--json", database_url=restored).stdout)
        assert done == {"erased_again": 2, "left_alone": 0}
        assert there(restored) == {ids["stays"]}
        assert next_id(restored) > ids["new"] + backups.GAP
        with closing(databases_.connect(restored, erasures=str(journal), seal=SEAL)) as db:
            assert erasures.trouble(db) == ""


@pytest.mark.parametrize("command, words", [("backup", "pg_dump --format=custom"), ("restore", "pg_restore --dbname")])
def test_on_postgresql_its_own_programs_are_named(command, words):
    assert words in run(command, "file", database_url="postgresql://nobody@127.0.0.1:1/none", code=2).stderr


def test_without_a_journal_erase_again_asks_for_one(databases: Databases, folder):
    with databases.fresh("postgresql") as url:
        assert "RINGBOOK_ERASURES_FOLDER" in run("erase-again", database_url=url, code=2).stderr
        nowhere = run("erase-again", str(folder / "none"), database_url=url, code=1).stderr
        assert "there is no journal of erasures" in nowhere
