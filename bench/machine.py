"""Facts about the machine for the results, without its name and paths.

facts()                the machine by name, for the head of the results
anonymous(pid)         the memory that a process has for itself, in bytes; Linux only
Highest(pid)           its highest value, during a block
resident(pid)          the memory of a process now and at its peak, in bytes; Linux only
cpu_seconds(pid)       the processor time of a process, all threads; Linux only
sync_seconds(folder)   the time to write a page durably to the disk of a folder
"""

import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ringbook import phone

MEBIBYTE = 2**20
LOOK_SECONDS = 0.05
UPLOADS = ("msgspec", "starlette", "uvicorn", "psycopg")  # what an upload passes through


def facts(libraries: Sequence[str] = UPLOADS) -> dict[str, str]:
    """Processor, memory, system, Python, and these libraries."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "memory": f"{memory / 2**30:.0f} GiB",
        # What comes after the dash may name whoever built the kernel.
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "numbers": phone.library(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
    }


def processor() -> str:
    """The processor's model."""
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def resident(pid: int) -> tuple[int, int] | None:
    """The memory of a process in bytes, now and at its peak."""
    if sys.platform != "linux":
        return None
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, highest = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, highest


def anonymous(pid: int) -> int:
    """The anonymous memory of a process in bytes: all but the pages of files; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


class Highest:
    """The highest anonymous memory of a process during a block, as seen twenty times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Highest":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.bytes = max(self.bytes, anonymous(self._pid))


def cpu_seconds(pid: int) -> float:
    """The processor time of a process in seconds; nan if the system does not report nanoseconds."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        return float("nan")


def sync_seconds(folder: Path, tries: int = 30) -> float:
    """The median time to write 4 KiB with fsync."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return statistics.median(one_sync(file.fileno()) for _ in range(tries))


def one_sync(file: int) -> float:
    started = time.perf_counter()
    os.write(file, bytes(4096))
    os.fsync(file)
    return time.perf_counter() - started
