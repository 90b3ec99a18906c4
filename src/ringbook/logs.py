"""Log lines: one event, one line, values as fields; JSON where a program reads stderr, words where a person does.

    start(level)     set up this process; call it once
    log              `log.info("work done", count=3)`

Numbers, names, tokens, queries and bodies never belong in a line. An exception is therefore logged as its type and
the places it passed through; what it says may quote data, so its words appear only at level debug.
"""

import logging
import sys
import traceback
from contextlib import suppress
from typing import Any

import msgspec
import structlog

Event = dict[str, Any]
log: Any = structlog.get_logger()


def start(level: str) -> None:
    """Every line of this process, ours and the libraries', goes to stderr from `level` up."""
    least = logging.getLevelNamesMapping()[level.upper()]
    people = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    line: Any = people if sys.stderr.isatty() else _json
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exceptions(in_words=level == "debug"),
            line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_Stderr,
    )
    logging.basicConfig(handlers=[_FromLibraries()], level=max(least, logging.WARNING), force=True)
    # It names hosts and users, several times a second while PostgreSQL is away. We say why ourselves: `database away`.
    logging.getLogger("psycopg.pool").setLevel(logging.NOTSET if level == "debug" else logging.ERROR)


class _Stderr:
    """Writes a line to whatever stderr is at that moment."""

    def __init__(self, *_args: Any) -> None:
        pass

    def msg(self, line: str) -> None:
        """One write, so that lines of several threads do not mix; a line that cannot be written fails nobody's request.

        The terminal may be closed, or the disk full that stderr goes to.
        """
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = log = msg


class _FromLibraries(logging.Handler):
    """Lets what libraries log through the standard library come out as our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _json(_logger: Any, _method: str, event: Event) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _exceptions(*, in_words: bool) -> Any:
    """A processor: `exc_info` becomes `exception` (types, innermost last) and `at`, or with words the whole text."""

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
