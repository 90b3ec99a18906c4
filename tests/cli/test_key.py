"""`ringbook key rotate` and `ringbook key forget`, with servers that run meanwhile."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from asking import ask, lines, person
from noted import without_database
from servers import DATABASES, KEY, Databases, ended, environment, key_file, program, serve

from ringbook.seal import Key, Seal
from ringbook.store import db as databases_
from ringbook.store import keys


@dataclass
class Place:
    """A database with its key file."""

    url: str
    key_file: Path

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints, when it ends with this code."""
        done = ended([program(), *words], environment(self.url, key_file=str(self.key_file)))
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done
        return done.stdout + without_database(done.stderr)

    def recorded(self) -> keys.Recorded:
        with closing(databases_.connect(self.url, pool=1)) as db:
            return keys.recorded(db)


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Place]:
    with databases.fresh(request.param) as url:
        yield Place(url, Path(shutil.copy(key_file(), tmp_path / "the.key")))


def test_a_server_that_is_stopped_serves_the_same_under_the_new_key(place, tmp_path):
    with serve(place.url, tmp_path, key_file=str(place.key_file)) as server:
        ann = person(server)
        ann.upload(lines(0, 5))
        before = ann.ask("GET", "/address_book").json
    answer = json.loads(place.run("key", "rotate", "--json"))
    new = Key.read(place.key_file)
    assert answer["key"] == new.fingerprint != KEY.fingerprint == answer["former_key"]
    assert Key.read(Path(answer["former_file"])).fingerprint == KEY.fingerprint
    assert answer["unreadable"] == 0 and answer["rows"] >= 5
    with serve(place.url, tmp_path, key_file=str(place.key_file)) as again:
        assert replace(ann, server=again).ask("GET", "/address_book").json == before and len(before) == 5


def test_a_running_server_is_not_rotated_under(place, tmp_path):
    """SQLite refuses at once. On PostgreSQL the server refuses requests until it is restarted with the new key."""
    with serve(place.url, tmp_path, key_file=str(place.key_file)) as server:
        assert ask(server, "GET", "/readyz").status == 200
        if databases_.is_sqlite(place.url):
            assert "is in use: stop whatever has it open" in place.run("key", "rotate", code=1)
            assert place.recorded() == keys.Recorded(KEY.fingerprint, "")
            assert Key.read(place.key_file).fingerprint == KEY.fingerprint
            assert ask(server, "GET", "/readyz").status == 200
        else:
            place.run("key", "rotate")
            assert ask(server, "GET", "/readyz").status == 503
            assert place.recorded() == keys.Recorded(Key.read(place.key_file).fingerprint, "")


def test_while_the_key_is_changed_nothing_else_starts(place, tmp_path):
    with closing(databases_.connect(place.url, pool=1)) as db, db.write() as tx:
        key = Key.create(keys.next_file(place.key_file))
        keys.begin(tx, Seal(key.secret), keys.new_secret(), 1)
    for words in (["serve"], ["worker"], ["app", "list"], ["migrate"]):
        assert "finish that with `ringbook key rotate`" in place.run(*words, code=1)
    if databases_.is_sqlite(place.url):
        assert "finish that with `ringbook key rotate`" in place.run("backup", str(tmp_path / "b.db"), code=1)
    place.run("key", "rotate")
    assert place.recorded().next == ""


def test_a_lost_key_is_forgotten_only_when_that_is_confirmed(place, tmp_path):
    place.run("admin", "create", "ann@example.org")
    place.key_file.rename(tmp_path / "elsewhere.key")
    refused = place.run("key", "forget", code=2)
    assert "deletes all address books" in refused and refused.rstrip().endswith("add --yes")
    assert place.recorded().current == KEY.fingerprint and not place.key_file.exists()
    said = place.run("key", "forget", "--yes")
    assert "`ringbook admin create EMAIL` creates an admin" in said and "deleted_admins" in said
    assert place.recorded().current == Key.read(place.key_file).fingerprint
    assert "no admin yet" in place.run("admin", "list")
    assert "nothing is lost" in place.run("key", "forget", "--yes", code=2)


def test_a_key_beside_the_database_is_not_forgotten_because_another_file_is_named(databases, tmp_path):
    with databases.fresh("sqlite") as url:
        place = Place(url, tmp_path / "wrong.key")
        usual = keys.file_of(url, "")
        assert usual
        shutil.copy(key_file(), usual)
        said = place.run("key", "forget", "--yes", code=2)
        assert f"the key in {usual} opens the database, so nothing is lost" in said
        assert place.recorded().current == KEY.fingerprint and not place.key_file.exists()
