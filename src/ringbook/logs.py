"""Log lines on stderr: one line per event, with values as fields; JSON, or plain text on a terminal.

    start(level)     set up logging for this process; call it once
    drop_unwritten   before the process exits: drop what stderr has not taken
    log              `log.info("work done", count=3)`
    request          the line of a request

Never log phone numbers, names, tokens, queries or bodies. The message of an exception may quote such data, so an
exception is logged as its type and its stack; its message appears only at level debug.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import structlog

from .terminal import safe

Event = dict[str, Any]
log: Any = structlog.get_logger()

# This library logs a warning for each failed attempt, with hosts and users. Ringbook logs `database away` instead.
REPEATING = "psycopg.pool"


def start(level: str) -> None:
    """Write the log lines of this process and of its libraries to stderr, from `level` up.

    Libraries are logged from WARNING up. At level debug the connection pool's own warnings are logged, too.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    terminal = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    on_terminal: list[Any] = [_safe] if sys.stderr.isatty() else []
    line: Any = terminal if sys.stderr.isatty() else _json
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exceptions(in_words=level == "debug"),
            *on_terminal,
            line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_args: _STDERR,
    )
    global _request
    _request = _in_words if line is terminal else _request_line if least <= logging.INFO else _nothing
    logging.basicConfig(handlers=[_FromLibraries()], level=max(least, logging.WARNING), force=True)
    logging.getLogger(REPEATING).setLevel(logging.NOTSET if level == "debug" else logging.ERROR)


def request(fields: Event) -> None:
    """The same as `log.info("request", **fields)`. The processors of a line took a tenth of a small request's time.

    The fields belong to the line from then on.
    """
    _request(fields)


def drop_unwritten() -> None:
    """Drop lines that stderr does not take, such as on a full disk. Python would otherwise exit with status 120."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class _Stderr:
    """Writes lines to `sys.stderr` as it is at that moment, so that a test or a terminal may replace it."""

    def msg(self, line: str) -> None:
        """Write the line in one call, so that lines of several threads do not mix. Errors are ignored.

        The terminal may be closed or the disk full; no request should fail for that.
        """
        try:  # `suppress` would take as long as the write
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = log = msg


_STDERR = _Stderr()


class _FromLibraries(logging.Handler):
    """Turns what libraries log through the standard library into our log lines."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _safe(_logger: Any, _method: str, event: Event) -> Event:
    """Makes visible what a terminal would obey; the lines of an exception stay lines."""
    return {name: _shown(value) for name, value in event.items()}


def _shown(value: Any) -> Any:
    return "\n".join(map(safe, value.split("\n"))) if isinstance(value, str) else value


def _json(_logger: Any, _method: str, event: Event) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _request_line(fields: Event) -> None:
    """Writes a line as the processors of `start` make it from an event without an exception."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    fields["event"] = "request"
    fields["level"] = "info"
    fields["timestamp"] = f"{_second(seconds)}.{microseconds:06}Z"
    _STDERR.msg(msgspec.json.encode(fields, enc_hook=str).decode())


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _in_words(fields: Event) -> None:
    """Writes a line for a terminal."""
    log.info("request", **fields)


def _nothing(fields: Event) -> None:
    """For a level at which no requests are logged."""


_request: Callable[[Event], None] = _in_words  # `start` replaces it


def _exceptions(*, in_words: bool) -> Any:
    """A processor that replaces `exc_info` by `exception` (types, innermost last) and `at`, or by the whole text."""

    def described(_logger: Any, _method: str, event: Event) -> Event:
        error = _raised(event.pop("exc_info", None))
        if error is None:
            return event
        if in_words:
            return event | {"exception": "".join(traceback.format_exception(error))}
        return event | {"exception": " < ".join(_types(error)), "at": _places(error)}

    return described


def _raised(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]  # type: ignore[no-any-return]
    return sys.exc_info()[1] if exc_info else None


def _types(error: BaseException) -> list[str]:
    cause = error.__cause__ or error.__context__
    return [type(error).__qualname__, *(_types(cause) if cause else [])]


def _places(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[-12:])
