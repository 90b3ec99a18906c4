"""Several serving processes on PostgreSQL: one parent starts, replaces and ends its children.

supervise(config, sockets, db)    serve in `config.workers` processes until a signal; the exit code
"""

import functools
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from .. import logs
from ..config import Config
from . import http, memory, signals

if TYPE_CHECKING:
    from ..store.db import Database
    from . import metrics_sum


def supervise(config: Config, sockets: list[socket.socket], db: "Database") -> int:
    from .. import metrics
    from . import metrics_sum

    reports = metrics_sum.Reports(lambda: metrics.measure(db.gauges()))
    settings = http.server_config(config, functools.partial(_child, config, os.getpid()), factory=True)
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
        self._own: http.Server | None = None

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal: the server raises it once more when it has ended, and by then it means nothing."""
        from ..worker import counters
        from . import metrics_sum

        signals.on_stop(lambda *_: setattr(self.server, "should_exit", True))
        signals.on_hangup(lambda *_: self.server.renew())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        metrics_sum.report_to(self.reports_to)
        super().target(sockets)
        counters.end()
        metrics_sum.end()

    @property
    def server(self) -> http.Server:
        """What this process serves with, made in the child."""
        if not self._own:
            self._own = http.Server(self._settings)
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
        deadline = time.monotonic() + http.GRACE_SECONDS + http.LAST_SECONDS
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
    time.sleep(http.GRACE_SECONDS + http.LAST_SECONDS)
    os._exit(1)
