"""The messages about a database that cannot be used: the cause and the next step, without a traceback.

Each case is checked with `ringbook check`, /readyz, `ringbook migrate` and the start of `ringbook serve`. Anybody can
read /readyz, so no sentence names a host, a user, a PostgreSQL database or a password.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from broken import small_disk
from servers import SEAL, Stoppable, ended, environment, free_port, key_file, private_folder, program

from ringbook import errors
from ringbook.config import Config
from ringbook.server import checks
from ringbook.server.front import trouble_of
from ringbook.store import db as databases
from ringbook.store import erasures, migrations
from ringbook.store.db import causes, identity, postgres

PASSWORD = "example-password"
AWAY = "The database cannot be reached just now. Try again."


def checked(url: str) -> str:
    """The error that `ringbook check` reports for the database."""
    found = list(checks.readiness(Config(key_file=str(key_file()), database=url)))
    return "; ".join(one.seen for one in found if not one.ok)


def ready(url: str) -> str:
    """The reason that /readyz reports."""
    with closing(databases.connect(url, pool=1, seal=SEAL)) as db:
        return trouble_of(db)


def migrated(url: str) -> str:
    """The error that `ringbook migrate` reports."""
    with pytest.raises(errors.Unavailable) as refused:
        migrations.migrate(url)
    return refused.value.explained()


def command(url: str, *words: str) -> str:
    """The one line with which a command ends."""
    done = ended([program(), *words], environment(url))
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    return done.stderr.splitlines()[-1]


def started(url: str) -> str:
    return command(url, "serve", "--port", str(free_port()))


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with some data, in one file."""
    file = tmp_path_factory.mktemp("whole") / "ringbook.db"
    migrations.migrate(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as opened, opened:
        opened.execute("CREATE TABLE filler (text TEXT)")
        opened.executemany("INSERT INTO filler VALUES (?)", [(f"line {n}",) for n in range(20_000)])
    return file


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "ringbook.db"))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def scrambled(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(os.urandom(file.stat().st_size - 100))


def no_database(file: Path) -> None:
    file.write_text("Dear Ann, " * 1_000)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGED = "the database file {file} is damaged or incomplete: restore a backup (`ringbook restore BACKUP`)"
NOT_SQLITE = (
    "{file} is not a SQLite database, or its beginning is damaged: check RINGBOOK_DATABASE, or restore a backup"
)
IS_FOLDER = "{file} is a folder: RINGBOOK_DATABASE must name a file, such as sqlite:///{file}/ringbook.db"


@pytest.mark.parametrize(
    "change, said",
    [(cut, DAMAGED), (scrambled, DAMAGED), (no_database, NOT_SQLITE), (folder, IS_FOLDER)],
)
def test_a_file_that_cannot_be_used(file, change, said):
    change(file)
    url, said = f"sqlite:///{file}", said.format(file=file)
    assert checked(url).startswith(said)
    assert ready(url).startswith(said)
    assert migrated(url).startswith(f"cannot migrate: {said}")
    assert started(url).startswith(f"ringbook: {said}")
    assert command(url, "app", "list").startswith(f"ringbook: {said}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A separate disk that can be filled and made read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, 8) as mounted:
        if not mounted:
            pytest.skip("only root can mount a disk; `make test` in CI is root")
        yield place


def test_a_disk_without_a_free_byte_at_the_start(disk, whole):
    url = f"sqlite:///{shutil.copy(whole, disk / 'ringbook.db')}"
    said = f"the disk of {disk}/ringbook.db is full: make room"
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (65_536, 512):
            try:
                while filler.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
        assert checked(url).startswith(said)
        assert ready(url) == said
        assert migrated(url) == f"cannot migrate: {said}"
        assert started(url) == f"ringbook: {said}"


def test_a_read_only_disk(disk, whole):
    url = f"sqlite:///{shutil.copy(whole, disk / 'ringbook.db')}"
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    said = f"{disk}/ringbook.db, its folder or its disk is read-only for this user: give both to the user who runs"
    assert checked(url).startswith(said)
    assert ready(url).startswith(said)
    assert migrated(url).startswith(f"cannot migrate: {said}")
    assert started(url).startswith(f"ringbook: {said}")


@pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")
def test_a_file_of_another_user(file):
    file.chmod(0o600)
    assert checked(f"sqlite:///{file}") == ""  # and all that it needs is loaded
    for parent in (file.parent, *file.parent.parents[:3]):
        parent.chmod(0o755)
    assert f"this user may not read {file}: give the file to the user who runs Ringbook (chown)" in as_nobody(
        lambda: checked(f"sqlite:///{file}")
    )


def as_nobody(work: Callable[[], str]) -> str:
    """Call a function as another user, in its own process; its result."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.setuid(65534)
        try:
            os.write(writing, work().encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as opened:
        return opened.read()


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Roles:
    """A PostgreSQL server with passwords, a migrated database, and roles with few rights."""

    url: str
    owner: str

    def of(self, role: str, name: str = "", password: str = PASSWORD, host: str = "") -> str:
        address = urlsplit(self.url)
        host = host or f"127.0.0.1:{address.port}"
        return address._replace(netloc=f"{role}:{password}@{host}", path=f"/{name or address.path[1:]}").geturl()

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.owner, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture(scope="module")
def roles() -> Iterator[Roles]:
    with private_folder() as folder, ExitStack() as stack:
        server = Stoppable(folder)
        stack.callback(server.stop)
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text(
            "host all outsider 127.0.0.1/32 reject\n"
            "host all postgres 127.0.0.1/32 trust\n"
            "host all all 127.0.0.1/32 scram-sha-256\n"
        )
        server.start()
        made = Roles(server.url, server.url)
        login = f"LOGIN PASSWORD '{PASSWORD}'"
        made.run(
            *(f"CREATE ROLE {name} {login}" for name in ("poor", "outsider", "limited", "newcomer", "owner_")),
            f"CREATE ROLE nologin PASSWORD '{PASSWORD}'",
            "CREATE DATABASE closed CONNECTION LIMIT 0",
            "CREATE DATABASE untouched",
            "CREATE DATABASE guarded",
            "REVOKE CONNECT ON DATABASE guarded FROM public",
            "ALTER ROLE limited CONNECTION LIMIT 0",
        )
        migrations.migrate(server.url)
        yield made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait for a database connection."""
    monkeypatch.setattr(postgres, "WAIT_SECONDS", 2)


def told(url: str) -> list[str]:
    """The messages of check, /readyz and migrate, after a check that they name no user and no host."""
    address = urlsplit(url)
    shown = ready(url)
    for secret in (PASSWORD, address.username, address.hostname, address.path[1:], "wrong-password"):
        assert secret and secret not in shown.replace("postgresql://", "")
    return [checked(url), shown, migrated(url).removeprefix("cannot migrate: ")]


WRONG = "PostgreSQL refuses the user or the password: correct them in RINGBOOK_DATABASE"
CASES: dict[str, tuple[Callable[[Roles], str], str]] = {
    "wrong password": (lambda roles: roles.of("poor", "postgres", "wrong-password"), WRONG),
    "unknown role": (lambda roles: roles.of("stranger", "postgres"), WRONG),
    "a role that may not log in": (lambda roles: roles.of("nologin"), "PostgreSQL does not let this user log in"),
    "no entry in pg_hba.conf": (lambda roles: roles.of("outsider"), "pg_hba.conf"),
    "wrong database name": (lambda roles: roles.of("poor", "mistyped"), "PostgreSQL has no database of this name"),
    "connection limit 0 of a role": (lambda roles: roles.of("limited"), "the connection limit of this database user"),
    "connection limit 0 of a database": (
        lambda roles: roles.of("poor", "closed"),
        "the connection limit of this database is reached: raise it (ALTER DATABASE … CONNECTION LIMIT -1)",
    ),
    "a role that may not connect": (
        lambda roles: roles.of("poor", "guarded"),
        "the database user may not connect to this database: GRANT CONNECT",
    ),
    "unknown host": (
        lambda roles: roles.of("poor", "mistyped", host="no-such-host.invalid"),
        "the host in RINGBOOK_DATABASE is not known",
    ),
    "closed port": (
        lambda roles: roles.of("poor", "mistyped", host=f"127.0.0.1:{free_port()}"),
        "nothing accepts connections at the address in RINGBOOK_DATABASE: start PostgreSQL",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_server_that_lets_nobody_in(roles, case):
    url, said = CASES[case]
    assert all(said in one for one in told(url(roles))), told(url(roles))


@pytest.mark.parametrize("case", ["wrong password", "connection limit 0 of a role"])
def test_a_start_on_a_server_that_lets_nobody_in(roles, case):
    url, said = CASES[case]
    assert said in started(url(roles))
    assert said in command(url(roles), "migrate")


RIGHTS = "the database user has no rights on Ringbook's tables: connect as the role that ran `ringbook migrate`, or let"
MAY_NOT = "the database user may not create or change tables: migrate as the role that owns Ringbook's tables, or for a"


def test_a_role_without_rights_on_the_tables(roles):
    url = roles.of("poor", "postgres")
    assert checked(url).startswith(RIGHTS)
    assert ready(url).startswith(RIGHTS)
    assert started(url).startswith(f"ringbook: {RIGHTS}")
    assert migrated(url).startswith(f"cannot migrate: {MAY_NOT}")
    assert command(url, "migrate").startswith(f"ringbook: cannot migrate: {MAY_NOT}")


def test_a_role_that_may_read_only(roles):
    roles.run(
        "CREATE ROLE reader LOGIN PASSWORD 'example-password'", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
    )
    url = roles.of("reader", "postgres")
    assert RIGHTS in checked(url)
    assert ready(url).startswith(RIGHTS)


def test_a_role_that_does_not_see_the_schema(roles):
    roles.run("REVOKE USAGE ON SCHEMA public FROM public")
    try:
        url = roles.of("poor", "postgres")
        assert "tables are in a schema that this user does not see: GRANT USAGE ON SCHEMA" in checked(url)
        assert "GRANT USAGE ON SCHEMA" in ready(url)
    finally:
        roles.run("GRANT USAGE ON SCHEMA public TO public")


def test_a_role_that_may_not_make_tables_in_a_new_database(roles):
    url = roles.of("newcomer", "untouched")
    assert migrated(url).startswith(f"cannot migrate: {MAY_NOT}")
    assert "no schema yet and this Ringbook needs" in checked(url)


# ── both ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", ["erasures", "schema_state"])
def test_a_table_that_must_have_a_row_and_is_empty(database_url, table):
    with closing(databases.connect(database_url, seal=SEAL)) as db, db.write() as tx:
        tx.run(f"DELETE FROM {table}")
    said = f"the table {table} of the database is empty, which no version of Ringbook leaves behind: restore a backup"
    assert checked(database_url) == said
    assert started(database_url) == f"ringbook: {said}"
    if table == "schema_state":
        assert ready(database_url) == said
        assert migrated(database_url) == f"cannot migrate: {said}"


def test_a_missing_table_is_found_by_check(database_url):
    with closing(databases.connect(database_url, seal=SEAL)) as db, db.write() as tx:
        tx.run("DROP TABLE buckets")
    said = "the database lacks tables of its schema (buckets): restore a backup"
    assert checked(database_url) == ready(database_url) == said
    assert migrated(database_url) == f"cannot migrate: {said}"


SENTENCES = [
    sentence
    for module in (causes, identity, migrations, erasures, postgres)
    for name, sentence in vars(module).items()
    if name.isupper() and isinstance(sentence, str) and ": " in sentence and name not in ("FAILED", "TABLES", "SLOW")
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_sentence_is_in_the_table_of_the_documentation(sentence):
    documented = Path(__file__).parent.parent / "docs" / "operations.md"
    names = {"file": "FILE", "log": "FILE-wal", "trace": "TRACE", "what": "database user", "table": "erasures"}
    begins = (
        sentence.removeprefix("{silent} of {nodes} ")
        .split(":")[0]
        .split(", which")[0]
        .split(", and ")[0]
        .split("/ringbook.db")[0]
        .replace("{revision}", "…")
    )
    for name, word in names.items():
        begins = begins.replace(f"{{{name}}}", word)
    assert begins.split(" ({")[0] in documented.read_text("utf-8")


def test_requests_are_told_nothing_of_all_this(tmp_path):
    with (
        closing(databases.connect(f"sqlite:///{tmp_path}/none.db", seal=SEAL)) as db,
        pytest.raises(errors.Unavailable) as refused,
        db.read(),
    ):
        pass
    assert refused.value.reason == AWAY and str(tmp_path) in refused.value.why
