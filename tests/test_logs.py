"""Log lines name the event and the place, and never contain the message of an exception."""

import json
import logging
import sys
from datetime import datetime, timedelta

import pytest

from ringbook import logs


def fail() -> None:
    try:
        raise ValueError("bad number +1 202 555 0177")
    except ValueError as error:
        raise RuntimeError("Quentin Unique") from error


def logged(capsys: pytest.CaptureFixture[str], level: str) -> dict[str, str]:
    logs.start(level)
    try:
        fail()
    except RuntimeError:
        logs.log.exception("it failed", part="test")
    line: dict[str, str] = json.loads(capsys.readouterr().err)
    return line


def test_an_exception_is_its_types_and_the_places_it_passed(capsys):
    line = logged(capsys, "info")
    assert line["exception"] == "RuntimeError < ValueError"
    assert line["at"].endswith("fail")
    assert (line["event"], line["part"], line["level"]) == ("it failed", "test", "error")
    assert "555" not in str(line)
    assert "Quentin" not in str(line)


def test_at_level_debug_it_is_told_in_full(capsys):
    assert "Quentin" in logged(capsys, "debug")["exception"]


def test_lines_below_the_level_are_not_written(capsys):
    logs.start("warning")
    logs.log.info("quiet")
    logs.log.warning("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]


def test_what_a_library_logs_is_one_of_our_lines(capsys):
    logs.start("info")
    logging.getLogger("some.library").warning("it %s", "rains")
    logging.getLogger("some.library").info("small talk")
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["logger"], line["level"]) == ("it rains", "some.library", "warning")


def test_the_pool_of_connections_names_hosts_and_users_at_level_debug_only(capsys):
    for level, lines in (("info", 0), ("debug", 1)):
        logs.start(level)
        logging.getLogger("psycopg.pool").warning("connection to 10.0.0.1 failed for user ann")
        assert len(capsys.readouterr().err.splitlines()) == lines


def test_the_line_of_a_request_is_the_one_that_the_processors_would_make(capsys):
    fields = {"method": "GET", "route": "/session", "status": 200, "ms": 1.5, "app": 1, "user": None}
    logs.start("info")
    logs.log.info("request", **fields)
    logs.request(fields)
    slow, fast = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert list(slow) == list(fast)
    written = [datetime.strptime(line.pop("timestamp"), "%Y-%m-%dT%H:%M:%S.%fZ") for line in (slow, fast)]
    assert slow == fast
    assert timedelta(0) <= written[1] - written[0] < timedelta(minutes=1)


def test_requests_are_logged_at_level_info_and_below(capsys):
    for level, lines in (("debug", 1), ("info", 1), ("warning", 0)):
        logs.start(level)
        logs.request({"status": 200})
        assert len(capsys.readouterr().err.splitlines()) == lines


def test_on_a_terminal_a_request_is_plain_text(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logs.start("info")
    logs.request({"status": 200})
    written = capsys.readouterr().err
    assert "status" in written
    assert "{" not in written
