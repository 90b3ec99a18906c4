"""How much memory a process keeps that it does not need just now.

limit_malloc()    give large pieces back to the system as soon as they are free; call it once, before there are threads
"""

import ctypes
import sys
from contextlib import suppress

# By name in glibc's malloc.h. Once set, these no longer grow by themselves: glibc would take the largest piece that was
# ever freed, as in an upload of 50,000 contacts, for what is usual, and keep as much for ever, for each thread.
MOST_HEAPS, LARGE_BYTES, KEPT_BYTES = -8, -3, -1
SETTINGS = {MOST_HEAPS: 2, LARGE_BYTES: 512 * 1024, KEPT_BYTES: 1024 * 1024}


def limit_malloc() -> bool:
    """Is that so from now on? Only where the C library is glibc."""
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        return all(library.mallopt(name, value) == 1 for name, value in SETTINGS.items())
    return False
