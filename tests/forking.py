"""Starts the `ringbook` command by fork instead of exec, which saves its imports: a second of a core for each start.

    can_fork(...)     may this command be forked here, or must it be executed?
    Forked            a process that was forked; to be used as a subprocess.Popen
    die_with_parent   asks the kernel to end this process with its parent

A template process has imported everything that the command uses, and waits. It forks for each request. The child uses
the arguments, settings, folder and files of the request and runs the command to its end. It does not differ from a
process that was executed: it has its own process id, signals, sockets and files. The template has one thread and no
open database or connection.

Run as a program, this file is the template.
"""

import array
import atexit
import ctypes
import gc
import importlib
import importlib.metadata
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

PREFIX = "RINGBOOK_"
CONSTANTS = "PYTEST_CURRENT_TEST_CONSTANTS"  # JSON: shorter pauses for the forked process, by module and name
MOST_BYTES = 1 << 17
LINUX = sys.platform == "linux"
# What the command imports only once it runs.
LATER = ("uvicorn.loops.auto", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl", "uvloop")
# Libraries of migrations: many tests begin with a new database.
MIGRATING = ("alembic.command", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg")
# Alembic itself runs the revisions.
NEVER = ".migrations."


# ── in the tests ─────────────────────────────────────────────────────────────────────────────────────────────────────


def can_fork(environment: Mapping[str, str] | None) -> bool:
    """May this command be forked? Only on Linux, where a process can wait for the child of another process.

    Python reads the environment at its start. So it must be that of the template, except for the settings of Ringbook.
    """
    return LINUX and environment is not None and _others(environment) == _template().others


class Forked:
    """A `ringbook` command that was forked; it does not outlive the tests.

    words    the command line, with the program as its first word
    """

    def __init__(self, words: list[str], environment: Mapping[str, str], folder: Path | None, *files: IO[Any]) -> None:
        self.args = words
        self.returncode: int | None = None
        settings = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        constants = json.loads(environment.get(CONSTANTS, "{}"))
        request = {"words": words, "settings": settings, "constants": constants, "folder": str(folder or Path.cwd())}
        self.pid: int = _template().ask(request, files)
        self._ended = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._waited(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit code. Raises subprocess.TimeoutExpired."""
        code = self._waited(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _waited(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], seconds)[0]:
            os.close(self._ended)
            self.returncode = _template().ask({"ended": self.pid}, ())
        return self.returncode


class Template:
    """The template process of this test process."""

    def __init__(self) -> None:
        self.others = _others(os.environ)
        self._turn = threading.Lock()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            # It ends when our end of the line is closed. Ctrl+C does not reach it: its children are stopped in order.
            passed = {"pass_fds": [theirs.fileno()], "stdin": subprocess.DEVNULL, "start_new_session": True}
            self._process = subprocess.Popen(command, **passed)
        atexit.register(self._end)

    def ask(self, request: dict[str, Any], files: tuple[IO[Any], ...]) -> int:
        """Send a request with open files; the template's response."""
        with self._turn:
            told = [file.fileno() for file in files]
            carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", told))] if told else []
            self._line.sendmsg([json.dumps(request).encode()], carried)
            answer = self._line.recv(MOST_BYTES)
        if not answer:
            raise RuntimeError(f"the template process ended with {self._process.wait()}; what it wrote is above")
        return int(answer)

    def _end(self) -> None:
        self._line.close()
        self._process.wait()


@cache
def _template() -> Template:
    return Template()


def _others(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without Ringbook's settings and without pytest's variable for the current test."""
    return {name: value for name, value in environment.items() if not name.startswith((PREFIX, "PYTEST_CURRENT_TEST"))}


LIBC = ctypes.CDLL(None) if LINUX else None
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    assert LIBC is not None
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# ── in the template ──────────────────────────────────────────────────────────────────────────────────────────────────


def begin(line: socket.socket) -> Callable[[], Any]:
    """Fork for each request until the connection is closed. In each child, returns the function to run."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    command = imported()
    assert len(os.listdir("/proc/self/task")) == 1, "an import has started a thread, which a fork does not copy"
    gc.collect()
    gc.freeze()
    while True:
        said, files, _, _ = socket.recv_fds(line, MOST_BYTES, 3)
        if not said:
            sys.exit(0)
        request = json.loads(said)
        if "ended" in request:
            line.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(request["ended"], 0)[1]))
            continue
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            line.close()
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            become(request, files)
            return command
        for file in files:
            os.close(file)
        line.send(b"%d" % pid)


def imported() -> Callable[[], Any]:
    """The function that the `ringbook` command calls, after all its imports."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="ringbook")
    command: Callable[[], Any] = entry.load()
    package = importlib.import_module(entry.module.partition(".")[0])
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if NEVER not in found.name and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    for name in LATER + MIGRATING:
        importlib.import_module(name)
    importlib.import_module("hashing").make_cheap()
    return command


def become(request: dict[str, Any], files: list[int]) -> None:
    """Use the standard files, folder, settings and arguments of a request."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, max(files) + 1)
    streams: Any = standard(0, "r"), standard(1, "w"), standard(2, "w", "backslashreplace")
    sys.stdin, sys.stdout, sys.stderr = streams
    os.chdir(request["folder"])
    os.environ.update(request["settings"])
    for name, value in request["constants"].items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    sys.argv = request["words"]
    # Children of multiprocessing run the main file of their parent again: let them find none.
    sys.modules["__main__"] = types.ModuleType("__main__")


def standard(number: int, mode: str, errors: str = "strict") -> Any:
    """One of the standard streams, as Python creates it: PYTHONUNBUFFERED decides whether it is buffered."""
    own: Any = sys.__stdin__ if mode == "r" else sys.__stdout__
    at_once = own.write_through
    opened: Any = io.FileIO(number, mode, closefd=False)
    if mode == "r":
        opened = io.BufferedReader(opened)
    elif not at_once:
        opened = io.BufferedWriter(opened)
    by_line = not at_once and (number == 2 or os.isatty(number))
    return io.TextIOWrapper(opened, own.encoding, errors, line_buffering=by_line, write_through=at_once)


def run(command: Callable[[], Any]) -> None:
    """Run the command and end the process as Python does, but without taking its modules apart.

    That would write to all memory that is shared with the template, and so copy it: half of what a short command costs.
    """
    try:
        sys.exit(command())
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        threading._shutdown()  # waits for other threads
        atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            raise ended from None  # Python reports it
        os._exit(ended.code or 0)


if __name__ == "__main__":
    run(begin(socket.socket(fileno=int(sys.argv[1]))))
