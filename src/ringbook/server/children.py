"""Several serving processes on PostgreSQL: one parent starts, replaces and ends its children.

supervise(config, sockets, db, …)    serve in `config.workers` processes until a signal; the exit code

Children end with their parent, also when the parent was killed. Each child reports its metrics to the parent over a
socket pair (`metrics_sum`).
"""

import functools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from .. import logs
from ..config import Config
from ..seal import Seal
from . import http, interpreter, memory, signals

if TYPE_CHECKING:
    from ..store.db import Database
    from .metrics_sum.collector import Reports


def supervise(
    config: Config, sockets: list[socket.socket], db: "Database", on_stop: Callable[[], object] = lambda: None
) -> int:
    """Serve in `config.workers` child processes until a signal; 1 if one of them failed to start or to stop.

    on_stop   called before the children are told to stop
    """
    from .. import metrics
    from .metrics_sum.collector import Reports

    reports = Reports(lambda: metrics.measure(db.gauges()))
    settings = http.server_config(config, functools.partial(_application, config, os.getpid(), db.seal), factory=True)
    supervisor = Supervisor(settings, sockets, reports, on_stop)
    supervisor.run()
    return 1 if supervisor.failed else 0


class Child(Process):
    """A process that serves, and writes its counters to the database before it ends.

    reports_to   the child's end of the connection over which it reports its metrics
    """

    def __init__(self, settings: http.ServerConfig, sockets: list[socket.socket], reports_to: socket.socket) -> None:
        super().__init__(settings, sockets)
        self.reports_to = reports_to
        self._settings = settings
        self._own: http.Server | None = None

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal. uvicorn raises the signal once more after it has stopped; that one is ignored."""
        from ..worker import counters
        from .metrics_sum import reporter

        signals.on_stop(lambda *_: setattr(self.server, "should_exit", True))
        signals.on_hangup(lambda *_: self.server.renew())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        reporter.report_to(self.reports_to)
        super().target(sockets)
        counters.end()
        reporter.end()

    @property
    def server(self) -> http.Server:
        """The server of this process, created on first use so that it is created in the child."""
        if not self._own:
            self._own = http.Server(self._settings)
        return self._own


class Supervisor(Multiprocess):
    """Keeps the configured number of children running, and receives their metrics."""

    failed = False

    def __init__(
        self,
        settings: http.ServerConfig,
        sockets: list[socket.socket],
        reports: "Reports",
        on_stop: Callable[[], object],
    ) -> None:
        super().__init__(settings, sockets)
        self._settings = settings
        self._reports = reports
        self._on_stop = on_stop

    def handle_hup(self) -> None:
        """Tell each child to reload the certificate; uvicorn would replace all children instead."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGHUP)

    def init_processes(self) -> None:
        """Start the first children."""
        for _ in range(self.processes_num):
            self.processes.append(self._start_child())

    def keep_subprocess_alive(self) -> None:
        """Replace children that died; stop all when a child could not start to serve.

        uvicorn would also kill children that are slow to answer its pings, and on a busy machine all of them are slow.
        """
        for place, process in enumerate(self.processes):
            if process.process.is_alive() or self.should_exit.is_set():
                continue
            if process.exitcode == STARTUP_FAILURE:
                self.failed = True
                self.should_exit.set()
            else:
                self.processes[place] = self._replace(process)

    def _replace(self, dead: Process) -> Process:
        logs.log.warning("a serving process died and is replaced", pid=dead.pid, code=dead.exitcode)
        return self._start_child()

    def _start_child(self) -> Process:
        ours, theirs = socket.socketpair()
        with theirs:
            process = Child(self._settings, self.sockets, theirs)
            # SIGHUP would end a new process before it has its handler; blocked, the signal waits until then.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
            process.start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        self._reports.add(ours)
        return process

    def terminate_all(self) -> None:
        """Tell the children to stop."""
        self._on_stop()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait for the children, and kill those that do not stop in time."""
        deadline = time.monotonic() + http.GRACE_SECONDS + http.LAST_SECONDS
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.process.exitcode is None:
                self.failed = True
                process.process.kill()
                process.process.join()


def _application(config: Config, parent: int, seal: Seal) -> Any:
    """Create the application that a child serves; called in the child."""
    from ..store import db as databases
    from ..store import migrations
    from ..worker import counters
    from . import front

    logs.start(config.log_level)
    memory.limit_malloc()
    interpreter.switch_often()
    db = databases.connect(
        config.database,
        seal=seal,
        pool=config.database_pool,
        erasures=config.erasures_folder,
        seconds=config.database_seconds,
    )
    migrations.watch(db)
    threading.Thread(target=_report_metrics, args=(db, parent), name="metrics", daemon=True).start()
    counters.begin(db)
    application = front.build(config, db)
    memory.collect_seldom()
    return application


def _report_metrics(db: "Database", parent: int) -> None:
    """Report metrics to the parent, and end this process when the parent is gone.

    The connection breaks when the parent ends. If it breaks for another reason, this process continues to serve.
    """
    from .. import metrics
    from .metrics_sum import reporter

    reporter.run(lambda: metrics.measure(db.gauges()))
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(http.GRACE_SECONDS + http.LAST_SECONDS)
    os._exit(1)
