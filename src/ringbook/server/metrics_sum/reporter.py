"""A child's side: reports when the parent asks, and answers /metrics, for a process without a parent as well.

report_to(connection)    from now on the parent is at the other end of this connection
run(measure), end()      report as often as the parent asks; report for the last time
exposition()             the text of /metrics: the sum over all processes, or this process's own metrics
"""

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
import prometheus_client

from ...logs import log
from .messages import Question, Report, Sum, from_parent
from .values import snapshot

ANSWER_SECONDS = 2


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
                message = from_parent.decode(line)
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
