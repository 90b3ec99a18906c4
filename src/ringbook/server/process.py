"""Starts and ends `ringbook serve`.

    run(config)                      open the sockets and the database, serve until a signal; the exit code
    monitoring_served(config, db)    /metrics and the health checks of `ringbook worker`, on a port of their own
    check_journal(db)                refuse a restored backup, and finish an erasure that a crash interrupted

With SQLite one process serves. With PostgreSQL there may be several: this process then starts the children that serve
(`children.py`), runs the periodic jobs (`worker.jobs`) and holds the listening sockets that the children share.
"""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from .. import __version__, logs, terminal, times
from ..config import Config
from . import children, http, interpreter, machine, memory, signals, welcome
from .sockets import CannotServe, listen, raise_file_limit

if TYPE_CHECKING:
    from ..model import App
    from ..seal import Key
    from ..store.db import Database

ONE_WRITER = "SQLite has one writer, so one process serves; for more, set RINGBOOK_DATABASE=postgresql://…"
KEY_ADVICE = (
    "without this file nobody can read the numbers, names and secrets in the database: keep a copy apart from the"
    " database and its backups"
)
UNSIGNED = (
    "RINGBOOK_FIREBASE_AUTH_EMULATOR_HOST is set: Firebase ID tokens are accepted WITHOUT A SIGNATURE,"
    " so anybody can sign in as anybody. For development only"
)


def run(config: Config, *, run_jobs: bool = True) -> int:
    """Serve until SIGTERM or SIGINT, then finish the requests that have begun within 10 s; return the exit code.

    run_jobs    also run the periodic jobs (`worker.jobs`)

    SIGHUP reloads the TLS certificate. It does not end the process, with or without TLS.
    """
    signals.on_stop(lambda *_: sys.exit(0))
    signals.on_hangup(lambda *_: None)
    raise_file_limit()
    memory.limit_malloc()
    interpreter.switch_often()
    config = _with_one_process_on_sqlite(config)
    sockets = [listen(config.host, config.port)]
    if config.admin_port:
        sockets.append(listen(config.host, config.admin_port, setting="RINGBOOK_ADMIN_PORT"))
    if trouble := machine.tls_trouble(config):
        raise CannotServe(trouble)
    with _farewell(), _database_opened(config) as (db, first):
        _announce(config, sockets[0].getsockname()[1], db, first)
        with _counters_running(db), _jobs_running(db, config, run_jobs) as stop_jobs:
            serve = children.supervise if config.workers > 1 else _serve_alone
            return serve(config, sockets, db, stop_jobs)


@contextmanager
def monitoring_served(config: Config, db: "Database") -> "Iterator[None]":
    """Serve /metrics and the health checks in a thread, if RINGBOOK_WORKER_METRICS_PORT is set.

    Raises CannotServe if the port cannot be opened. SIGHUP reloads the TLS certificate and does not end the process.
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
    thread = threading.Thread(target=server.run, args=(sockets,), name="monitoring", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(http.LAST_SECONDS)


@contextmanager
def _farewell() -> "Iterator[None]":
    """Say on a terminal that the server has stopped, when the block has ended as it should."""
    try:
        yield
    except SystemExit as ended:
        if not ended.code and sys.stdout.isatty():
            print(welcome.STOPPED, flush=True)
        raise
    if sys.stdout.isatty():
        print(welcome.STOPPED, flush=True)


def _with_one_process_on_sqlite(config: Config) -> Config:
    """The settings with `workers` = 1 for SQLite, which allows one writer."""
    if config.workers == 1 or not config.database.startswith("sqlite"):
        return config
    logs.log.warning(ONE_WRITER)
    return msgspec.structs.replace(config, workers=1)


def _announce(config: Config, port: int, db: "Database", first: "App | None") -> None:
    """Log the addresses, or print them on a terminal; there on the first start also the keys and a first password.

    Without a terminal the password could end up in a log file, so no admin is created.
    """
    from ..core import admins
    from ..store import db as databases
    from ..store import keys

    url, database = welcome.url(config, port), databases.named(config.database)
    pages = welcome.dashboard(config, url)
    if first and sys.stdout.isatty():
        admin = admins.first(db, times.now())
        key_file = keys.file_of(config.database, config.key_file)
        welcome.print_on_terminal(welcome.first_start(first, url, database, key_file, pages, admin))
    elif sys.stdout.isatty():
        welcome.print_on_terminal(welcome.start(url, database, pages))
    elif first:
        logs.log.info(f"first start: `ringbook app show {first.id} --secrets` shows the keys of application {first.id}")
        logs.log.info("first start: `ringbook admin create EMAIL` makes an admin for the dashboard")
    if advice := machine.python_advice(sys.version_info[:3]):
        logs.log.warning("old Python", advice=advice)
    logs.log.info("serving", url=url, database=database, version=__version__)
    if config.firebase_auth_emulator_host:
        logs.log.critical(UNSIGNED)  # shown at every log level


@contextmanager
def _database_opened(config: Config) -> "Iterator[tuple[Database, App | None]]":
    """Open the database with the right schema and an application; yield the application if it is new, else None."""
    from ..core import applications, erasures
    from ..store import db as databases
    from ..store import migrations
    from . import opening

    def upgrade(state: migrations.State, key: "Key") -> None:
        if databases.is_sqlite(config.database) and state.revision < migrations.HEAD and not state.lacks:
            with terminal.progress("rows rewritten") as progress:
                before = migrations.migrate(config.database, key, progress=progress)
            copy = migrations.copy_made(config.database, before)
            logs.log.info("migrated", before=before or None, schema=migrations.HEAD, copy=copy and str(copy))

    made = opening.create_files(config)
    if made and not sys.stdout.isatty():  # a terminal shows it in the text of the first start
        logs.log.warning("key made", file=str(made.file), fingerprint=made.fingerprint, advice=KEY_ADVICE)
    db = opening.opened(config, pool=config.database_pool, seconds=config.database_seconds, upgrade=upgrade)
    try:
        check_journal(db)
        erasures.begin(db)
        yield db, applications.first(db, times.now())
    finally:
        db.close()


def check_journal(db: "Database") -> None:
    """Finish an erasure that a crash interrupted; CannotServe for a restored backup that brings erased users back."""
    from ..core import backups, erasures

    if trouble := erasures.trouble(db):
        raise CannotServe(trouble)
    if backups.finish(db):
        logs.log.warning("erasure finished")


@contextmanager
def _counters_running(db: "Database") -> "Iterator[None]":
    """Writes the counters of this process to the database, for the last time when the block ends."""
    from ..worker import counters

    counters.begin(db)
    try:
        yield
    finally:
        counters.end()


@contextmanager
def _jobs_running(db: "Database", config: Config, enabled: bool) -> "Iterator[Callable[[], None]]":
    """Runs the periodic jobs in a thread, if `enabled`, until the yielded function is called or the block ends.

    The function is called when the process is told to stop. Pushes that are being sent then have as long as requests
    to finish, also when a request hangs until the end of the grace period.
    """
    from ..worker import jobs

    stop = threading.Event()
    thread = threading.Thread(target=jobs.run, args=(db, config, stop), name="worker", daemon=True)
    if enabled:
        thread.start()
    try:
        yield stop.set
    finally:
        stop.set()
        if enabled:
            thread.join(http.GRACE_SECONDS)


def _serve_alone(config: Config, sockets: list[socket.socket], db: "Database", on_stop: Callable[[], object]) -> int:
    """Serve in this process until a signal; `on_stop` is called when it arrives."""
    from . import front

    application = front.build(config, db)
    memory.collect_seldom()
    server = http.Server(http.server_config(config, application), on_stop)
    # uvicorn handles signals only while it runs, and raises the signal once more after it has stopped.
    signals.on_stop(lambda *_: setattr(server, "should_exit", True))
    signals.on_hangup(lambda *_: server.renew())
    server.run(sockets)
    return 0
