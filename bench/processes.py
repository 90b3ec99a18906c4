"""Processes that the bench starts and stops.

running(command, log)         a process, during a block
wait_until(attempt, …)        waits until the process serves
free_port()                   a port that is not in use
"""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS, STOP_SECONDS = 60, 30


@contextmanager
def running(
    command: list[Any],
    log: Path,
    *,
    stop: signal.Signals = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes to `log`. At the end of the block it gets SIGTERM, and is killed if it does not stop."""
    words = [str(word) for word in command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, user=user
        )
    try:
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(
    attempt: Callable[[], object], trouble: type[Exception], process: subprocess.Popen[bytes], log: Path
) -> None:
    """Try until it succeeds. If the process ends or takes too long, the benchmark ends with its output."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            attempt()
            return
        except trouble:
            time.sleep(0.01)
    raise SystemExit(f"a server does not answer; it wrote:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    """A port on the loopback that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
