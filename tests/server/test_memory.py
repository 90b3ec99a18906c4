"""Memory that a large upload needed is returned to the system."""

import subprocess
import sys

import pytest

# Sixty pieces of 2 MiB, all but every tenth of which are free again. A first round tells glibc that such pieces are
# usual: then it keeps them, unless it was told otherwise.
PROGRAM = """
from pathlib import Path
from ringbook.server import memory
print(memory.limit_malloc() if {limit_malloc} else None)
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
before = resident()
for _ in range(2):
    pieces = [bytearray(b"x") * (2 << 20) for _ in range(60)]
    kept = pieces[9::10]
    del pieces
print(resident() - before)
"""


def left(limit_malloc: bool) -> tuple[str, int]:
    """The output, and the MiB that the process keeps after freeing all but 12 of 120."""
    command = [sys.executable, "-c", PROGRAM.format(limit_malloc=limit_malloc)]
    said, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return said, int(mebibytes)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is on Linux")
def test_what_is_free_goes_back_to_the_system():
    said, mebibytes = left(limit_malloc=True)
    assert said == "True" and mebibytes < 30
    assert left(limit_malloc=False)[1] > mebibytes + 30
