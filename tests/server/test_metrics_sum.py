"""The metrics of several processes: their sum, also while one of the processes does not answer."""

import socket
import threading
import time

import msgspec
import pytest

from ringbook import metrics
from ringbook.server.metrics_sum import reporter
from ringbook.server.metrics_sum.collector import Reports
from ringbook.server.metrics_sum.messages import Question, Report, ReportRequest, Sum
from ringbook.server.metrics_sum.reporter import Reporter
from ringbook.server.metrics_sum.values import Family, Snapshot, merged, snapshot, text

LABELS = {"route": "/users"}


def counter(value: float, labels: dict[str, str] = LABELS) -> Family:
    return Family("made", "counter", "Made.", 0.0, [("made_total", labels, value)])


def gauge(name: str, value: float, measured_at: float = 0.0) -> Family:
    return Family(name, "gauge", "Now.", measured_at, [(name, {}, value)])


def values(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    return {(name, "".join(labels.values())): value for one in snapshot for name, labels, value in one.samples}


# ── how they add up ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_counters_add_up_label_by_label():
    sums = merged([[counter(2)], [counter(3)], [counter(5, {"route": "/session"})]])
    assert values(sums) == {("made_total", "/users"): 5, ("made_total", "/session"): 5}


def test_a_gauge_of_each_process_adds_up_and_one_of_the_database_is_the_latest():
    one = [gauge("ringbook_now", 2), gauge("queue", 7, measured_at=5.0), gauge("python", 1)]
    other = [gauge("ringbook_now", 3), gauge("queue", 4, measured_at=9.0), gauge("python", 2)]
    sums = merged([one, other])
    assert values(sums) == {("ringbook_now", ""): 5, ("queue", ""): 4, ("python", ""): 1}
    assert values(merged([other, one]))["queue", ""] == 4


def test_the_text_of_one_process_is_the_same_with_and_without_the_detour():
    metrics.answered("GET", "/test/{id}", 200, 0.02)
    metrics.queued(3, 12)
    metrics.reached(True, (1, 2))
    plain = [line for line in reporter.exposition()[0].decode().splitlines() if "_created" not in line]
    summed = text(merged([snapshot()])).splitlines()
    ours = [line for line in plain if "ringbook_" in line]
    assert len(ours) > 30 and [line for line in summed if "ringbook_" in line] == ours
    assert {line.split()[2] for line in plain if "# TYPE" in line} == {
        line.split()[2] for line in summed if "# TYPE" in line
    }


# ── parent and child ─────────────────────────────────────────────────────────────────────────────────────────────────


class Child:
    """A child in the same process, which reports what the test says."""

    def __init__(self, reports: Reports, families: list[Family]) -> None:
        ours, self._connection = socket.socketpair()
        self._families = families
        self._lines = self._connection.makefile("rb")
        reports.add(ours)

    def report(self) -> None:
        """Wait until the parent asks for a report, and send it."""
        assert msgspec.json.decode(self._lines.readline(), type=ReportRequest)
        self.send(Report(self._families))

    def asks(self) -> str:
        """Request the sum; this child reports for it, too."""
        self.send(Question())
        while isinstance(message := self._read(), ReportRequest):
            self.send(Report(self._families))
        return message.text

    def _read(self) -> ReportRequest | Sum:
        return msgspec.json.decode(self._lines.readline(), type=ReportRequest | Sum)

    def send(self, message: Report | Question) -> None:
        self._connection.sendall(msgspec.json.encode(message) + b"\n")

    def end(self) -> None:
        self._lines.close()
        self._connection.close()


@pytest.fixture
def reports() -> Reports:
    return Reports(lambda: None)


def test_the_sum_holds_a_child_that_is_silent_with_its_last_report(reports):
    silent, asking = Child(reports, [counter(2)]), Child(reports, [counter(40)])
    silent.report()
    assert 'made_total{route="/users"} 42.0' in asking.asks()
    assert 'made_total{route="/users"} 42.0' in asking.asks()


def test_a_child_that_ended_leaves_its_counters_and_takes_its_gauges(reports):
    ending, asking = Child(reports, [counter(2), gauge("ringbook_now", 9)]), Child(reports, [counter(40)])
    ending.report()
    assert "ringbook_now 9.0" in asking.asks()
    ending.end()
    deadline = time.monotonic() + 30
    while "ringbook_now 9.0" in (text := asking.asks()):
        assert time.monotonic() < deadline
    assert 'made_total{route="/users"} 42.0' in text


def test_a_child_that_sends_nonsense_is_left_out_and_the_others_are_heard(reports):
    broken, asking = Child(reports, []), Child(reports, [counter(40)])
    broken._connection.sendall(b"nonsense\n")
    assert broken._lines.readline() in (b"", b'{"type":"wanted"}\n')
    assert 'made_total{route="/users"} 40.0' in asking.asks()


def test_a_child_whose_parent_is_silent_or_gone_has_no_sum_and_waits_no_longer_than_it_may(monkeypatch):
    monkeypatch.setattr("ringbook.server.metrics_sum.reporter.ANSWER_SECONDS", 0.1)
    ours, theirs = socket.socketpair()
    reporter = Reporter(ours)
    assert reporter.total() is None
    assert reporter.total() is None
    assert theirs.recv(1000).count(b"\n") == 1, "a second question before the first has its answer"
    theirs.close()
    assert Reporter(ours).total() is None


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one():
    ours, theirs = socket.socketpair()
    reporter = Reporter(ours)
    running = threading.Thread(target=reporter.run, args=(lambda: None,))
    running.start()
    reporter._unanswered = True
    theirs.sendall(msgspec.json.encode(Sum("old")) + b"\n")

    def answer() -> None:
        assert theirs.makefile("rb").readline() == b'{"type":"question"}\n'
        theirs.sendall(msgspec.json.encode(Sum("new")) + b"\n")

    answering = threading.Thread(target=answer)
    answering.start()
    assert reporter.total() == "new"
    answering.join()
    theirs.shutdown(socket.SHUT_RDWR)
    running.join()


def test_a_gauge_that_cannot_be_measured_does_not_keep_a_report_back():
    ours, theirs = socket.socketpair()

    def fail() -> None:
        raise RuntimeError("no pool")

    running = threading.Thread(target=Reporter(ours).run, args=(fail,))
    running.start()
    theirs.sendall(msgspec.json.encode(ReportRequest()) + b"\n")
    report = msgspec.json.decode(theirs.makefile("rb").readline(), type=Report)
    assert "ringbook_requests" in {family.name for family in report.families}
    theirs.shutdown(socket.SHUT_RDWR)
    running.join()
