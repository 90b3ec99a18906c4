"""A program in another language that is controlled line by line: it reads and writes JSON.

talking(command)   the program, as a context; it is killed at the end, or when an answer takes too long
Talk.ask(…)        sends one line; the line of the answer
"""

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import die_with_parent

PATIENCE_SECONDS = 120


class Ended(AssertionError):
    """The program ended instead of answering."""


@dataclass(frozen=True)
class Talk:
    """A running program."""

    process: subprocess.Popen[str]

    def ask(self, **asked: Any) -> Any:
        """Send one line; the program's answer."""
        assert self.process.stdin and self.process.stdout
        patience = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        patience.start()
        try:
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            patience.cancel()
        if not line:
            raise Ended(f"the program ended, or hung and was killed, at {asked.get('call')}")
        return json.loads(line)


@contextmanager
def talking(command: Sequence[str | Path], folder: Path | None = None) -> Iterator[Talk]:
    """The program; if a test fails, its standard error is shown."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, text=True, preexec_fn=die_with_parent, **pipes) as process:
        try:
            yield Talk(process)
        finally:
            process.kill()
