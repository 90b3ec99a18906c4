"""`ringbook serve` and `ringbook worker`: the two processes that run until they are stopped."""

import signal
from typing import Annotated

from cyclopts import Parameter

from .. import logs
from . import common
from .common import Failed, File


def serve(
    *,
    host: Annotated[str | None, Parameter(help="address to listen on; 0.0.0.0 for every network")] = None,
    port: Annotated[int | None, Parameter(help="port to listen on; 0 for any free one")] = None,
    database: Annotated[str | None, Parameter(help="sqlite:///FILE or postgresql://…")] = None,
    workers: Annotated[int | None, Parameter(help="processes that serve (PostgreSQL only)")] = None,
    worker: Annotated[bool, Parameter(help="also do what is due, as `ringbook worker` does")] = True,
    file: File,
) -> int:
    """Serve the API until Ctrl+C or SIGTERM."""
    from ..server import process
    from ..server.sockets import CannotServe

    given = {"host": host, "port": port, "database": database, "workers": workers}
    settings = common.settings(file, given, long=True)
    try:
        return process.run(settings, keep_time=worker)
    except CannotServe as error:
        raise Failed(str(error)) from None


def worker(*, file: File) -> None:
    """Do what is due, every minute, until Ctrl+C or SIGTERM; any number of these may run."""
    import threading

    from ..server import memory, process
    from ..server.sockets import CannotServe
    from ..worker import counters, jobs

    memory.limit_malloc()
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    settings = common.settings(file, long=True)
    try:
        with common.database(settings) as db, process.watched(settings, db):
            process.check_journal(db)
            logs.log.info("working")
            counters.begin(db)
            jobs.run(db, settings, stop)
            counters.end()
    except CannotServe as error:
        raise Failed(str(error)) from None
