"""Makes the C library return free memory to the system.

limit_malloc()    return large blocks as soon as they are free; call it once, before threads start
"""

import ctypes
import sys
from contextlib import suppress

# glibc's malloc.h names these M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD. glibc raises the thresholds to the
# largest block that was ever freed, as after an upload of 50,000 contacts, and then keeps as much for each thread.
# Thresholds that are set stay as they are.
MOST_HEAPS, LARGE_BYTES, KEPT_BYTES = -8, -3, -1
SETTINGS = {MOST_HEAPS: 2, LARGE_BYTES: 512 * 1024, KEPT_BYTES: 1024 * 1024}


def limit_malloc() -> bool:
    """Set the thresholds of malloc; False where the C library is not glibc."""
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        return all(library.mallopt(name, value) == 1 for name, value in SETTINGS.items())
    return False
