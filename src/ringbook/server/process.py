"""The process that serves: sockets, signals, children, and an orderly end.

    run(config)           listen, make the database ready, greet, serve until a signal; the exit code
    listen(host, port)    a listening socket, or CannotServe with what to do
    watched(config, db)   for a process that serves nothing else: /metrics and its health, at a port of their own

One process serves on SQLite. On PostgreSQL there may be several: this one then supervises, runs the periodic jobs
(`worker.jobs`) and holds the listening sockets that its children share. Children end with their parent, however it
ended. Each child reports its metrics to this process over a socket pair (`metrics_sum`).
"""

import errno
import functools
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from .. import __version__, logs
from ..config import PREFIX, Config
from . import http, machine, memory, welcome

if TYPE_CHECKING:
    from ..model import App
    from ..store.db import Database
    from . import metrics_sum

GRACE_SECONDS = 10
LAST_SECONDS = 1
BACKLOG = 2048
MOST_FILES = 65_536
ONE_WRITER = "SQLite has one writer, so one process serves; for more, set RINGBOOK_DATABASE=postgresql://…"


UNSIGNED = (
    "RINGBOOK_FIREBASE_AUTH_EMULATOR_HOST is set: Firebase ID tokens are believed WITHOUT A SIGNATURE,"
    " so anybody can sign in as anybody. For development only"
)


class CannotServe(Exception):
    """Why serving cannot begin, in one line that says what to do."""


def run(config: Config, *, keep_time: bool = True) -> int:
    """Serve until SIGTERM or SIGINT, then finish what is in flight within 10 s; return the exit code.

    keep_time    also run the periodic jobs (`worker.jobs`)

    SIGHUP loads the TLS certificate anew. It never ends the process, also without TLS.
    """
    _at_signals(lambda *_: sys.exit(0))
    _at_hangup(lambda *_: None)
    _many_files()
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
            return _many(config, sockets, db) if config.workers > 1 else _one(config, sockets, db)


@contextmanager
def watched(config: Config, db: "Database") -> "Iterator[None]":
    """Answer in a thread how this process is, if RINGBOOK_WORKER_METRICS_PORT says where; or CannotServe.

    SIGHUP loads the TLS certificate anew. It never ends the process.
    """
    _at_hangup(lambda *_: None)
    if not config.worker_metrics_port:
        yield
        return
    from . import front

    sockets = [listen(config.host, config.worker_metrics_port, setting="RINGBOOK_WORKER_METRICS_PORT")]
    if trouble := machine.tls_trouble(config):
        raise CannotServe(trouble)
    server = http.Server(_settings(config, front.beside(config, db)))
    _at_hangup(lambda *_: server.renew())
    thread = threading.Thread(target=server.run, args=(sockets,), name="watched", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(LAST_SECONDS)


def listen(host: str, port: int, *, setting: str = "") -> socket.socket:
    """A socket that listens, so that connections wait from now on; CannotServe if it cannot.

    setting   the one that the port comes from, if it is not the port of all
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise CannotServe(_why_not(host, port, error, setting)) from None
    return listener


def _many_files() -> None:
    """As many open connections as the system lets us have: what shells give by default ends at 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with suppress(OSError, ValueError):  # macOS has a limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard))


def _at_signals(do: Callable[..., None]) -> None:
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, do)


def _at_hangup(do: Callable[..., None]) -> None:
    signal.signal(signal.SIGHUP, do)


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


def _why_not(host: str, port: int, error: OSError, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else port - 1
        if setting:
            return f"port {port} is in use: {setting}={other}"
        return f"port {port} is in use: make serve PORT={other} (or ringbook serve --port {other})"
    if error.errno == errno.EACCES:
        return f"port {port} is for the system: take one from 1024 up (ringbook serve --port 8080)"
    return f"cannot listen on {host}: {error.strerror} (RINGBOOK_HOST takes an address of this machine)"


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
            _migrate(config.database)
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


def _migrate(url: str) -> None:
    """In a process of its own: what migrating needs would stay in memory for as long as we serve, 40 MiB of it."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [sys.executable, "-m", "ringbook.cli", "migrate"]
    done = subprocess.run(command, env=others | {f"{PREFIX}DATABASE": url}, capture_output=True, text=True)
    if done.returncode:
        raise CannotServe(done.stderr.strip().rpartition("\n")[2].removeprefix("ringbook: "))
    logs.log.info("migrated", said="; ".join(done.stdout.splitlines()))


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
            thread.join(GRACE_SECONDS)


def _one(config: Config, sockets: list[socket.socket], db: "Database") -> int:
    from . import front

    server = Server(_settings(config, front.build(config, db)))
    # For a signal before the server listens for them itself, and for the one that it raises again when it has ended.
    _at_signals(lambda *_: setattr(server, "should_exit", True))
    _at_hangup(lambda *_: server.renew())
    server.run(sockets)
    return 0


class Server(http.Server):
    """Ends in time also when a request hangs where nothing reaches it, such as in a database that is silent."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, and end for good a little after the grace that requests have."""
        super().handle_exit(sig, frame)
        last = threading.Timer(GRACE_SECONDS + LAST_SECONDS, os._exit, (1,))
        last.daemon = True
        last.start()


def _many(config: Config, sockets: list[socket.socket], db: "Database") -> int:
    from .. import metrics
    from . import metrics_sum

    reports = metrics_sum.Reports(lambda: metrics.measure(db.gauges()))
    settings = _settings(config, functools.partial(_child, config, os.getpid()), factory=True)
    supervisor = Supervisor(settings, sockets, reports)
    supervisor.run()
    return 1 if supervisor.failed else 0


class Child(Process):
    """A process that serves, and writes down what it has counted before it ends.

    reports_to   its end of the connection over which it reports its metrics
    """

    def __init__(self, settings: http.ServerConfig, sockets: list[socket.socket], reports_to: socket.socket) -> None:
        super().__init__(settings, sockets)
        self.reports_to = reports_to
        self._settings = settings
        self._own: Server | None = None

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal: the server raises it once more when it has ended, and by then it means nothing."""
        from ..worker import counters
        from . import metrics_sum

        _at_signals(lambda *_: setattr(self.server, "should_exit", True))
        _at_hangup(lambda *_: self.server.renew())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        metrics_sum.report_to(self.reports_to)
        super().target(sockets)
        counters.end()
        metrics_sum.end()

    @property
    def server(self) -> Server:
        """What this process serves with, made in the child."""
        if not self._own:
            self._own = Server(self._settings)
        return self._own


class Supervisor(Multiprocess):
    """Keeps as many children as asked for, and listens to their reports."""

    failed = False

    def __init__(
        self, settings: http.ServerConfig, sockets: list[socket.socket], reports: "metrics_sum.Reports"
    ) -> None:
        super().__init__(settings, sockets)
        self._settings = settings
        self._reports = reports

    def handle_hup(self) -> None:
        """Have each child load the certificate anew; the library would start new children in place of all."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGHUP)

    def init_processes(self) -> None:
        """Start the first ones."""
        for _ in range(self.processes_num):
            self.processes.append(self._started())

    def keep_subprocess_alive(self) -> None:
        """Replace children that died; one that could not begin to serve ends them all.

        The library would also kill children that are slow to answer it, and on a busy machine all of them are.
        """
        for place, process in enumerate(self.processes):
            if process.process.is_alive() or self.should_exit.is_set():
                continue
            if process.exitcode == STARTUP_FAILURE:
                self.failed = True
                self.should_exit.set()
            else:
                self.processes[place] = self._replacement(process)

    def _replacement(self, dead: Process) -> Process:
        logs.log.warning("a serving process died and is replaced", pid=dead.pid, code=dead.exitcode)
        return self._started()

    def _started(self) -> Process:
        ours, theirs = socket.socketpair()
        with theirs:
            process = Child(self._settings, self.sockets, theirs)
            # A new process dies of SIGHUP until it has said what to do; blocked, the signal waits until then.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
            process.start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        self._reports.add(ours)
        return process

    def join_all(self) -> None:
        """Wait for the children, and end those for good that hang."""
        deadline = time.monotonic() + GRACE_SECONDS + LAST_SECONDS
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.process.exitcode is None:
                self.failed = True
                process.process.kill()
                process.process.join()


def _child(config: Config, parent: int) -> Any:
    """What a child serves; called in the child."""
    from ..store import db as databases
    from ..store import migrations
    from ..worker import counters
    from . import front

    logs.start(config.log_level)
    memory.limit_malloc()
    db = databases.connect(config.database, pool=config.database_pool, erasures=config.erasures_folder)
    migrations.watch(db)
    threading.Thread(target=_report, args=(db, parent), name="metrics", daemon=True).start()
    counters.begin(db)
    return front.build(config, db)


def _report(db: "Database", parent: int) -> None:
    """Report metrics to the parent, and end when the parent is gone.

    The connection ends at that moment. Should it end for another reason, this process serves on.
    """
    from .. import metrics
    from . import metrics_sum

    metrics_sum.run(lambda: metrics.measure(db.gauges()))
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS + LAST_SECONDS)
    os._exit(1)


def _settings(config: Config, application: Any, *, factory: bool = False) -> http.ServerConfig:
    return http.ServerConfig(
        config,
        application,
        factory=factory,
        interface="asgi3",
        lifespan="off",
        loop="auto",
        ws="none",
        workers=config.workers,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `front` reads them, and remembers who connected
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
