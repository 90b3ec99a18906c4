"""A database is opened with its key: where the key file comes from, and what a missing or wrong key leads to."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import servers
from asking import ask
from noted import without_database
from servers import KEY, SEAL, Databases, ended, environment, eventually, key_file, program, serve

from ringbook import errors
from ringbook.config import Config
from ringbook.core import applications
from ringbook.seal import Key, Seal
from ringbook.server import checks, opening
from ringbook.store import db as databases_
from ringbook.store import keys, migrations


@pytest.fixture
def other(tmp_path: Path) -> Key:
    """A key that belongs to no database."""
    return Key.create(tmp_path / "other.key")


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    with databases.fresh("postgresql") as url:
        yield url


def command(*words: str, url: str, code: int = 0, **settings: str) -> str:
    """What a command prints, when it ends with this code."""
    done = ended([program(), *words], environment(url, **settings))
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done
    return done.stdout + without_database(done.stderr)


def rotating(url: str) -> None:
    """Leave the database as a rotation does that has begun."""
    with closing(databases_.connect(url, pool=1)) as db, db.write() as tx:
        tx.run("INSERT INTO keys (fingerprint, state, created_at) VALUES ('00ff00ff00ff00ff', 'next', 1)")


# ── the first start ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url, setting, expected",
    [
        ("sqlite:////srv/ringbook.db", "", "/srv/ringbook.key"),
        ("sqlite:////srv/ringbook", "", "/srv/ringbook.key"),
        ("sqlite:////srv/a.key", "", "/srv/a.key.key"),
        ("sqlite:////srv/ringbook.db", "/etc/the.key", "/etc/the.key"),
        ("postgresql:///x", "/etc/the.key", "/etc/the.key"),
    ],
)
def test_the_key_file_is_beside_a_sqlite_file_or_where_the_setting_says(url, setting, expected):
    assert keys.file_of(url, setting) == Path(expected)


def test_postgresql_has_no_key_file_of_its_own():
    assert keys.file_of("postgresql:///x", "") is None


def test_the_first_start_on_sqlite_makes_the_key_and_says_what_it_is(tmp_path):
    url, file = f"sqlite:///{tmp_path}/ringbook.db", tmp_path / "ringbook.key"
    with serve(url, tmp_path, key_file="") as server:
        key = Key.read(file)
        assert file.stat().st_mode & 0o777 == 0o600
        assert "key made" in server.printed and key.fingerprint in server.printed
        assert "keep a copy apart from the database and its backups" in server.printed
        assert key.secret.hex() not in server.printed
    with closing(databases_.connect(url)) as db:
        assert keys.recorded(db) == keys.Recorded(key.fingerprint, "")
    with serve(url, tmp_path, key_file="") as server:
        assert ask(server, "GET", "/readyz").status == 200 and "key made" not in server.printed
    assert Key.read(file) == key


def test_a_key_file_that_is_there_is_used_for_a_new_database(tmp_path):
    key = Key.create(tmp_path / "ringbook.key")
    config = Config(database=f"sqlite:///{tmp_path}/ringbook.db")
    assert opening.create_files(config) is None
    migrations.migrate(config.database)
    with closing(opening.opened(config, pool=1)) as db:
        assert db.seal.number(1, 2) == Seal(key.secret).number(1, 2)
        with db.read() as tx:
            assert tx.seal is db.seal


def test_migrate_makes_the_key_and_says_where(tmp_path):
    said = command("migrate", url=f"sqlite:///{tmp_path}/ringbook.db", key_file="")
    assert f"the key of the database is in {tmp_path}/ringbook.key" in said
    assert Key.read(tmp_path / "ringbook.key").fingerprint in said


def test_two_first_starts_make_one_key(tmp_path):
    config = Config(database=f"sqlite:///{tmp_path}/ringbook.db")
    made = opening.create_files(config)
    assert made and opening.create_files(config) is None
    assert Key.read(tmp_path / "ringbook.key") == made


@pytest.mark.parametrize("words", [("migrate",), ("serve",), ("worker",), ("app", "list")])
def test_postgresql_without_a_key_says_how_to_make_one(databases, words):
    with databases.postgresql.database() as url:
        said = command(*words, url=url, code=1, key_file="")
    assert "`ringbook key create FILE` makes one" in said and "RINGBOOK_KEY_FILE" in said


def test_a_database_on_postgresql_gets_the_key_of_its_migration(databases, other):
    with databases.postgresql.database() as url:
        command("migrate", url=url, key_file=str(other.file))
        with closing(databases_.connect(url, pool=1)) as db:
            assert keys.recorded(db).current == other.fingerprint


# ── a key that does not fit ──────────────────────────────────────────────────────────────────────────────────────────

WORDS = [("serve",), ("worker",), ("migrate",), ("app", "list"), ("users", "export", "1")]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_wrong_key_is_refused_by_its_fingerprint(database_url, other, words):
    said = command(*words, url=database_url, code=1, key_file=str(other.file))
    assert f"the key in {other.file} is {other.fingerprint}" in said
    assert f"the database is sealed with the key {KEY.fingerprint}" in said and said.count("\n") == 1


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_missing_key_is_named_by_its_fingerprint(database_url, tmp_path, words):
    missing = tmp_path / "nowhere.key"
    said = command(*words, url=database_url, code=1, key_file=str(missing))
    assert f"the key file {missing} is not there" in said and KEY.fingerprint in said
    assert not missing.exists()


def test_a_key_that_others_can_read_is_refused(database_url, other):
    other.file.chmod(0o644)
    assert f"chmod 600 {other.file}" in command("app", "list", url=database_url, code=1, key_file=str(other.file))


def test_a_used_database_that_lost_its_fingerprint_takes_no_key(database_url):
    with closing(databases_.connect(database_url, seal=SEAL)) as db:
        applications.create(db, "Friends", 1)
        with db.write() as tx:
            tx.run("DELETE FROM keys")
        with pytest.raises(errors.Unavailable) as refused:
            opening.unlock(db, KEY)
        assert refused.value.why == keys.EMPTY
        assert keys.recorded(db) == keys.Recorded()


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_while_the_key_is_being_changed_nothing_else_starts(database_url, words):
    rotating(database_url)
    said = command(*words, url=database_url, code=1)
    assert f"being changed from {KEY.fingerprint} to 00ff00ff00ff00ff" in said and "`ringbook key rotate`" in said


def test_a_server_stops_to_answer_when_the_key_is_being_changed(database_url, tmp_path):
    with serve(database_url, tmp_path) as server:
        rotating(database_url)
        eventually(lambda: ask(server, "GET", "/readyz").status == 503, "it goes on with a key that is being changed")
        assert "being changed" in str(ask(server, "GET", "/readyz"))


def test_a_database_that_is_open_without_its_key_opens_nothing(database_url):
    with closing(databases_.connect(database_url)) as db, db.read() as tx, pytest.raises(RuntimeError, match="key"):
        tx.seal.number(1, 2)


def test_the_processes_of_one_server_have_the_same_key(postgres_url, tmp_path):
    with serve(postgres_url, tmp_path, "--workers", "2") as server:
        assert ask(server, "GET", "/readyz").status == 200


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_create_makes_a_key_and_says_what_to_do_with_it(tmp_path):
    file = tmp_path / "new.key"
    said = command("key", "create", str(file), url="sqlite:///none.db")
    assert Key.read(file).fingerprint in said and f"RINGBOOK_KEY_FILE={file}" in said
    assert Key.read(file).secret.hex() not in said
    before = file.read_bytes()
    assert "never overwritten" in command("key", "create", str(file), url="sqlite:///none.db", code=2)
    assert file.read_bytes() == before


def test_show_says_whether_the_key_fits(database_url, other, tmp_path):
    found = json.loads(command("key", "show", "--json", url=database_url))
    assert (found["fingerprint"], found["database_fingerprint"]) == (KEY.fingerprint, KEY.fingerprint)
    assert (found["file"], found["fits"], found["trouble"]) == (str(key_file()), True, "")
    found = json.loads(command("key", "show", "--json", url=database_url, code=1, key_file=str(other.file)))
    assert (found["fingerprint"], found["fits"]) == (other.fingerprint, False)
    assert KEY.fingerprint in found["trouble"]
    missing = json.loads(command("key", "show", "--json", url=database_url, code=1, key_file=f"{tmp_path}/none"))
    assert missing["fingerprint"] == "" and KEY.fingerprint in missing["trouble"]


def test_show_works_before_there_is_a_database(tmp_path):
    found = json.loads(command("key", "show", "--json", url=f"sqlite:///{tmp_path}/none.db"))
    assert (found["fingerprint"], found["database_fingerprint"], found["fits"]) == (KEY.fingerprint, "", False)
    assert not (tmp_path / "none.db").exists()


def checked(url: str, **settings: str) -> dict[str, checks.Check]:
    return {one.what: one for one in checks.readiness(Config(database=url, **settings))}


def test_check_tells_the_state_of_the_key(database_url, other):
    found = checked(database_url, key_file=str(key_file()))
    assert found["key"].ok and KEY.fingerprint in found["key"].seen
    found = checked(database_url, key_file=str(other.file))
    assert not found["key"].ok and KEY.fingerprint in found["key"].seen and other.fingerprint in found["key"].seen


@pytest.mark.parametrize("beside", ["PG_VERSION", "custom.dump", "plain.sql"])
def test_check_warns_of_a_key_beside_a_database_or_a_backup(postgres_url, tmp_path, beside):
    file = tmp_path / "ringbook.key"
    file.write_bytes(key_file().read_bytes())
    file.chmod(0o600)
    assert "key apart" not in checked(postgres_url, key_file=str(file))
    dumped = {"custom.dump": "custom", "plain.sql": "plain"}
    if beside in dumped:
        dump = servers.postgresql_client("pg_dump")
        servers.subprocess.run(
            [dump, f"--format={dumped[beside]}", f"--file={tmp_path / beside}", postgres_url], check=True
        )
    else:
        (tmp_path / beside).write_text("17\n")
    found = checked(postgres_url, key_file=str(file))["key apart"]
    assert not found.ok and str(file) in found.seen


# ── backups ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    with databases.fresh("sqlite") as url:
        yield url


def test_a_backup_names_its_key_and_is_restored_with_that_key_only(database, other, tmp_path):
    backup, restored = tmp_path / "backup.db", f"sqlite:///{tmp_path}/restored.db"
    assert json.loads(command("backup", str(backup), "--json", url=database))["key"] == KEY.fingerprint
    assert json.loads(command("backup", str(backup), "--verify", "--json", url=database))["key"] == KEY.fingerprint
    words = ("restore", str(backup), "--yes")
    said = command(*words, url=restored, code=1, key_file=str(other.file))
    assert f"needs the key {KEY.fingerprint}, but the key in {other.file} is {other.fingerprint}" in said
    said = command(*words, url=restored, code=1, key_file="")
    assert f"the key file {tmp_path}/restored.key is not there" in said and KEY.fingerprint in said
    assert not (tmp_path / "restored.db").exists()
    command(*words, url=restored)
    assert command("app", "list", url=restored)


def test_no_backup_is_made_while_the_key_is_being_changed(database, tmp_path):
    rotating(database)
    assert "`ringbook key rotate`" in command("backup", str(tmp_path / "backup.db"), url=database, code=1)
    assert not (tmp_path / "backup.db").exists()
