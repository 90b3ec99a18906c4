"""`ringbook serve` and `ringbook worker`: the two processes that run until they are stopped."""

import signal
from typing import Annotated

from cyclopts import Parameter

from .. import logs
from . import common
from .common import Failed, File


def serve(
    *,
    host: Annotated[str | None, Parameter(help="address to listen on; 0.0.0.0 for all networks")] = None,
    port: Annotated[int | None, Parameter(help="port to listen on; 0 for any free port")] = None,
    database: Annotated[str | None, Parameter(help="sqlite:///FILE or postgresql://…")] = None,
    workers: Annotated[int | None, Parameter(help="number of serving processes (PostgreSQL only)")] = None,
    worker: Annotated[bool, Parameter(help="run the jobs of `ringbook worker`, too")] = True,
    file: File,
) -> int:
    """Serve the API until Ctrl+C or SIGTERM."""
    from ..server import process
    from ..server.sockets import CannotServe

    given = {"host": host, "port": port, "database": database, "workers": workers}
    settings = common.settings(file, given, long=True)
    try:
        return process.run(settings, run_jobs=worker)
    except CannotServe as error:
        raise Failed(str(error)) from None


def worker(*, file: File) -> None:
    """Run the periodic jobs and send pushes until Ctrl+C or SIGTERM; several may run at once."""
    import threading

    from ..server import memory, process
    from ..server.sockets import CannotServe
    from ..store import db as databases
    from ..worker import counters, jobs

    memory.limit_malloc()
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    settings = common.settings(file, long=True)
    try:
        with common.database(settings, noted=False) as db, process.monitoring_served(settings, db):
            process.check_journal(db)
            logs.log.info("working", database=databases.named(settings.database))
            counters.begin(db)
            jobs.run(db, settings, stop)
            counters.end()
    except CannotServe as error:
        raise Failed(str(error)) from None
