"""The parent's side: keeps the last report of each child, and answers with the sum.

Reports(measure)   collects the reports, in a thread of its own
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from ...logs import log
from .messages import Report, ReportRequest, Sum, from_child
from .values import Snapshot, merged, snapshot, text

EVERY_SECONDS = 1
FRESH_SECONDS = 0.5
MOST_BYTES = 16 * 1024 * 1024  # per message; a report has about 100 KiB


class Reports:
    """The parent's side, in a thread of its own. A child that does not answer delays no other.

    measure   sets the gauges of this process
    """

    def __init__(self, measure: Callable[[], None]) -> None:
        self._measure = measure
        self._children: list[_Child] = []
        self._ended: Snapshot = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def add(self, connection: socket.socket) -> None:
        """Receive the reports of one more child, until it ends."""
        asyncio.run_coroutine_threadsafe(self._listen(connection), self._loop)

    def _run(self) -> None:
        self._asking = self._loop.create_task(self._ask_regularly())
        self._loop.run_forever()

    async def _ask_regularly(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            for child in self._children:
                child.report()

    async def _listen(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=MOST_BYTES)
        child = _Child(writer)
        self._children.append(child)
        try:
            async for line in reader:
                message = from_child.decode(line)
                if isinstance(message, Report):
                    child.reported(message.families)
                else:
                    child.answering = asyncio.create_task(self._answer(child))
        except Exception as error:
            if not isinstance(error, OSError):
                log.exception("metrics failed")
        self._children.remove(child)
        child.reported(())  # end waiting for its report
        counters = [family for family in child.last if family.kind != "gauge"]
        self._ended = merged([self._ended, counters])
        writer.close()

    async def _answer(self, child: "_Child") -> None:
        for _ in range(2):  # the first report may have been under way before the question
            if waiting := [one.report() for one in self._children]:
                await asyncio.wait(waiting, timeout=FRESH_SECONDS)
        with suppress(Exception):  # the database's pool may be closed already
            self._measure()
        last = [one.last for one in self._children]
        child.send(Sum(text(merged([snapshot(), self._ended, *last]))))


class _Child:
    """The parent's state of one child."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: asyncio.Future[None] | None = None
        self.last: Snapshot = ()
        self.answering: asyncio.Task[None] | None = None

    def report(self) -> "asyncio.Future[None]":
        """Request a report, unless one is expected already; the future is done when it arrives."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
            self.send(ReportRequest())
        return self._waiting

    def reported(self, families: Snapshot) -> None:
        """Store a report that has arrived."""
        self.last = families or self.last
        if self._waiting:
            self._waiting.set_result(None)
        self._waiting = None

    def send(self, message: ReportRequest | Sum) -> None:
        """Send without waiting: what a child does not read stays in memory, one message of each kind."""
        self._writer.write(msgspec.json.encode(message) + b"\n")
