"""The metrics of several processes as one, without files: children report to their parent, which adds up the reports.

    exposition()             the text of /metrics: the sum over all processes, or this process's own metrics
    Reports(measure)         in the parent: keeps the last report of each child, and answers with the sum
    report_to(connection)    in a child: from now on its parent is at the other end of this connection
    run(measure), end()      report as often as the parent asks; report for the last time
    snapshot()               the metrics of this process as values
    merged(snapshots)        several of them as one
    text(families)           such values in the text format of Prometheus

Parent and child hold the two ends of a socket pair. The parent asks every child for a report once a second, so that
little is lost when a child is killed. A child whose /metrics is read asks for the sum; the parent then asks all
children for fresh reports and waits at most half a second twice. A child that does not answer counts with its last
report. A child that ended keeps its counters in the sum, and its gauges are dropped. A child whose parent does not
answer shows its own metrics. So a metric that fails never stops serving.
"""

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

import msgspec
import prometheus_client
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from .. import metrics
from ..logs import log

EVERY_SECONDS = 1
FRESH_SECONDS = 0.5
ANSWER_SECONDS = 2
MOST_BYTES = 16 * 1024 * 1024  # per message; a report has about 100 KiB
# For other gauges the latest measurement counts.
SUMMED_GAUGES = {
    "ringbook_now",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
}


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric with its samples: (name, labels, value)."""

    name: str
    kind: str
    help: str
    measured_at: float
    samples: list[tuple[str, dict[str, str], float]]


Snapshot = Sequence[Family]


class Wanted(msgspec.Struct, tag="wanted"):
    """Parent to child: send a report."""


class Report(msgspec.Struct, tag="report"):
    """Child to parent: its metrics."""

    families: list[Family]


class Question(msgspec.Struct, tag="question"):
    """Child to parent: request for the sum. A child sends the next one only after the answer."""


class Sum(msgspec.Struct, tag="sum"):
    """Parent to child: the text of /metrics, as the answer to a question."""

    text: str


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def snapshot() -> Snapshot:
    """The metrics of this process, without the creation times of counters, which cannot be added up."""
    return [
        Family(
            family.name,
            family.type,
            family.documentation,
            metrics.measured_at(family.name),
            [(one.name, one.labels, one.value) for one in family.samples if not one.name.endswith("_created")],
        )
        for family in prometheus_client.REGISTRY.collect()
    ]


def merged(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Add up counters and histograms. A gauge is a sum (`SUMMED_GAUGES`) or its latest value."""
    families: dict[str, list[Family]] = {}
    for family in chain.from_iterable(snapshots):
        families.setdefault(family.name, []).append(family)
    return [_merged(same) for same in families.values()]


def _merged(same: list[Family]) -> Family:
    if same[0].kind == "gauge" and same[0].name not in SUMMED_GAUGES:
        return max(same, key=lambda family: family.measured_at)
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for name, labels, value in chain.from_iterable(family.samples for family in same):
        key = name, tuple(labels.items())
        values[key] = values.get(key, 0.0) + value
    samples = [(name, dict(labels), value) for (name, labels), value in values.items()]
    return msgspec.structs.replace(same[0], samples=samples)


class _Values(Collector):
    """A snapshot as a collector, which the library can write."""

    def __init__(self, families: Snapshot) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


def text(families: Snapshot) -> str:
    """A snapshot in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Values(families))
    return prometheus_client.generate_latest(registry).decode()


# ── the parent ───────────────────────────────────────────────────────────────────────────────────────────────────────


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
                message = msgspec.json.decode(line, type=Report | Question)
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
            self.send(Wanted())
        return self._waiting

    def reported(self, families: Snapshot) -> None:
        """Store a report that has arrived."""
        self.last = families or self.last
        if self._waiting:
            self._waiting.set_result(None)
        self._waiting = None

    def send(self, message: Wanted | Sum) -> None:
        """Send without waiting: what a child does not read stays in memory, one message of each kind."""
        self._writer.write(msgspec.json.encode(message) + b"\n")


# ── a child ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Reporter:
    """A child's side."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._asking = threading.Lock()
        self._unanswered = False
        self._sums: queue.SimpleQueue[Sum] = queue.SimpleQueue()

    def run(self, measure: Callable[[], None]) -> None:
        """Report as often as the parent asks, until the connection to it ends."""
        try:
            for line in self._connection.makefile("rb"):
                message = msgspec.json.decode(line, type=Wanted | Sum)
                if isinstance(message, Sum):
                    self._sums.put(message)
                else:
                    with suppress(Exception):  # gauges that cannot be measured stay as they were
                        measure()
                    self.report()
        except OSError:
            pass
        except Exception:
            log.exception("metrics failed")

    def report(self) -> None:
        """Send the metrics as they are now."""
        self._send(Report(list(snapshot())))

    def total(self) -> str | None:
        """The text of /metrics for all processes; None when the parent does not answer in time."""
        deadline = time.monotonic() + ANSWER_SECONDS
        if not self._asking.acquire(timeout=ANSWER_SECONDS):
            return None
        try:
            if self._unanswered:  # an earlier question, whose answer is out of date
                self._answer(deadline)
            self._send(Question())
            self._unanswered = True
            return self._answer(deadline)
        except (OSError, queue.Empty):
            return None
        finally:
            self._asking.release()

    def _answer(self, deadline: float) -> str:
        answer = self._sums.get(timeout=max(0.0, deadline - time.monotonic()))
        self._unanswered = False
        return answer.text

    def _send(self, message: Report | Question) -> None:
        if not self._sending.acquire(timeout=ANSWER_SECONDS):  # the parent does not read
            raise TimeoutError
        try:
            self._connection.sendall(msgspec.json.encode(message) + b"\n")
        finally:
            self._sending.release()


_reporter: Reporter | None = None


def report_to(connection: socket.socket) -> None:
    """Name the connection over which this process reports to its parent."""
    global _reporter
    _reporter = Reporter(connection)


def run(measure: Callable[[], None]) -> None:
    """Report until the connection to the parent ends; at once where there is none.

    measure   sets the gauges of this process
    """
    if _reporter:
        _reporter.run(measure)


def end() -> None:
    """Report for the last time, before this process ends."""
    if _reporter:
        with suppress(OSError):
            _reporter.report()


def exposition() -> tuple[bytes, str]:
    """The text that Prometheus reads, and its content type."""
    total = _reporter.total() if _reporter else None
    shown = prometheus_client.generate_latest() if total is None else total.encode()
    return shown, prometheus_client.CONTENT_TYPE_LATEST
