"""A program on a terminal of its own."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from servers import PATIENCE_SECONDS

LINES, COLUMNS = 24, 80


class Terminal:
    """A program on a terminal of 80 columns and 24 lines. `shown` is what it has shown so far, without colours."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, words: str) -> str:
        """Wait until these words were shown; everything shown so far."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in self.shown:
            assert time.monotonic() < deadline, f"never showed {words!r}, only: {self.shown}"
            if select.select([self._ours], [], [], 0.1)[0]:
                text = self._read().decode().replace("\r\n", "\n")
                assert text, f"ended without {words!r}: {self.shown}"
                self.shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
        return self.shown

    def _read(self) -> bytes:
        """What is there; nothing when the program has ended."""
        with suppress(OSError):
            return os.read(self._ours, 65536)
        return b""

    def end(self) -> int:
        """End the program, if it still runs; its exit code."""
        self.process.terminate()
        code = self.process.wait(PATIENCE_SECONDS)
        os.close(self._ours)
        return code


@contextmanager
def terminal(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Iterator[Terminal]:
    """A program on a terminal, which ends without an error."""
    shown = Terminal(command, environment, folder)
    try:
        yield shown
    finally:
        assert shown.end() == 0
