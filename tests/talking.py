"""A program of another language that is told what to do line by line: JSON goes in, JSON comes out.

talking(command)   the program, as a context; it is killed afterwards, and when an answer takes too long
Talk.ask(…)        one line, and the line that it answers
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
    """A program that listens."""

    process: subprocess.Popen[str]

    def ask(self, **asked: Any) -> Any:
        """What it answers to one line."""
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
    """The program; what it writes to its standard error is shown with a test that fails."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, text=True, preexec_fn=die_with_parent, **pipes) as process:
        try:
            yield Talk(process)
        finally:
            process.kill()
