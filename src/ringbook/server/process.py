"""The process that serves: sockets, signals, children, and an orderly end.

    run(config)           listen, make the database ready, greet, serve until a signal; the exit code
    listen(host, port)    a listening socket, or CannotServe with what to do
    watched(config, db)   for a process that serves nothing else: /metrics and its health, at a port of their own

One process serves on SQLite. On PostgreSQL there may be several: this one then supervises, runs the periodic jobs
(`worker.jobs`) and holds the listening sockets that its children share. Children end with their parent, however it
ended. Each child reports its metrics to this process over a socket pair (`metrics_sum`).
"""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from .. import __version__, logs
from ..config import Config
from . import children, http, machine, memory, schema, signals, welcome
from .sockets import CannotServe, listen, raise_file_limit

if TYPE_CHECKING:
    from ..model import App
    from ..store.db import Database

ONE_WRITER = "SQLite has one writer, so one process serves; for more, set RINGBOOK_DATABASE=postgresql://…"


UNSIGNED = (
    "RINGBOOK_FIREBASE_AUTH_EMULATOR_HOST is set: Firebase ID tokens are believed WITHOUT A SIGNATURE,"
    " so anybody can sign in as anybody. For development only"
)


def run(config: Config, *, keep_time: bool = True) -> int:
    """Serve until SIGTERM or SIGINT, then finish what is in flight within 10 s; return the exit code.

    keep_time    also run the periodic jobs (`worker.jobs`)

    SIGHUP loads the TLS certificate anew. It never ends the process, also without TLS.
    """
    signals.on_stop(lambda *_: sys.exit(0))
    signals.on_hangup(lambda *_: None)
    raise_file_limit()
    memory.limit_malloc()
    config = _as_one_writer(config)
    sockets = [listen(config.host, config.port)]
    if config.admin_port:
        sockets.append(listen(config.host, config.admin_port, setting="RINGBOOK_ADMIN_PORT"))
    if trouble := machine.tls_trouble(config):
        raise CannotServe(trouble)
    with _ready(config) as (db, first):
        _greet(config, sockets[0].getsockname()[1], db, first)
        with _counting(db), _time_kept(db, config, keep_time):
            return children.supervise(config, sockets, db) if config.workers > 1 else _one(config, sockets, db)


@contextmanager
def watched(config: Config, db: "Database") -> "Iterator[None]":
    """Answer in a thread how this process is, if RINGBOOK_WORKER_METRICS_PORT says where; or CannotServe.

    SIGHUP loads the TLS certificate anew. It never ends the process.
    """
    signals.on_hangup(lambda *_: None)
    if not config.worker_metrics_port:
        yield
        return
    from . import front

    sockets = [listen(config.host, config.worker_metrics_port, setting="RINGBOOK_WORKER_METRICS_PORT")]
    if trouble := machine.tls_trouble(config):
        raise CannotServe(trouble)
    server = http.Server(http.server_config(config, front.beside(config, db)))
    signals.on_hangup(lambda *_: server.renew())
    thread = threading.Thread(target=server.run, args=(sockets,), name="watched", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(http.LAST_SECONDS)


def _as_one_writer(config: Config) -> Config:
    if config.workers == 1 or not config.database.startswith("sqlite"):
        return config
    logs.log.warning(ONE_WRITER)
    return msgspec.structs.replace(config, workers=1)


def _greet(config: Config, port: int, db: "Database", first: "App | None") -> None:
    """Say where we are; on the first start a terminal, and nobody else, is also shown the keys and an admin's password.

    Where nobody would see a password, no admin is made.
    """
    from ..core import admins
    from ..store import db as databases

    url, database = welcome.url(config, port), databases.named(config.database)
    if first and sys.stdout.isatty():
        admin = admins.first(db, int(time.time()))
        print(welcome.welcome(first, url, database, welcome.dashboard(config, url), admin), flush=True)
    elif first:
        logs.log.info(f"first start: `ringbook app show {first.id} --secrets` shows the keys of application {first.id}")
        logs.log.info("first start: `ringbook admin create EMAIL` makes an admin for the dashboard")
    logs.log.info("serving", url=url, database=database, version=__version__)
    if config.firebase_auth_emulator_host:
        logs.log.critical(UNSIGNED)  # at every level that can be set


@contextmanager
def _ready(config: Config) -> "Iterator[tuple[Database, App | None]]":
    """An open database with the right schema and an application; the application if it was made just now."""
    from ..core import applications, erasures
    from ..store import db as databases
    from ..store import migrations

    db = databases.connect(config.database, pool=config.database_pool, erasures=config.erasures_folder)
    try:
        if gone := databases.lost(config.database, config.erasures_folder):
            raise CannotServe(gone)
        databases.create(config.database)
        state = migrations.state(db)
        if databases.is_sqlite(config.database) and state.revision < migrations.HEAD and not state.lacks:
            schema.migrate(config.database)
        if trouble := migrations.state(db).trouble:
            raise CannotServe(trouble)
        migrations.watch(db)
        check_journal(db)
        erasures.begin(db)
        yield db, applications.first(db, int(time.time()))
    finally:
        db.close()


def check_journal(db: "Database") -> None:
    """Who was erased is erased: an erasure that a crash cut off is finished; CannotServe on a restored backup."""
    from ..core import backups, erasures

    if trouble := erasures.trouble(db):
        raise CannotServe(trouble)
    if backups.finish(db):
        logs.log.warning("erasure finished")


@contextmanager
def _counting(db: "Database") -> "Iterator[None]":
    """What this process counts goes into the database, the last of it when all else has ended."""
    from ..worker import counters

    counters.begin(db)
    try:
        yield
    finally:
        counters.end()


@contextmanager
def _time_kept(db: "Database", config: Config, wanted: bool) -> "Iterator[None]":
    from ..worker import jobs

    stop = threading.Event()
    thread = threading.Thread(target=jobs.run, args=(db, config, stop), name="worker", daemon=True)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if wanted:
            thread.join(http.GRACE_SECONDS)


def _one(config: Config, sockets: list[socket.socket], db: "Database") -> int:
    from . import front

    server = http.Server(http.server_config(config, front.build(config, db)))
    # For a signal before the server listens for them itself, and for the one that it raises again when it has ended.
    signals.on_stop(lambda *_: setattr(server, "should_exit", True))
    signals.on_hangup(lambda *_: server.renew())
    server.run(sockets)
    return 0
