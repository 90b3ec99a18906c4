"""Log lines name the event and the place, and never contain the message of an exception."""

import json
import logging

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
