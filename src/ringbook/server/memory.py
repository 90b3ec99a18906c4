"""How a serving process handles memory.

limit_malloc()      make the C library return large blocks as soon as they are free; call it once, before threads start
collect_seldom()    let the garbage collector run less often; call it once, when the application has been built
"""

import ctypes
import gc
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


def collect_seldom() -> None:
    """Exempt all objects of the process from garbage collection for good, and collect later ones less often.

    The application and its modules live as long as the process. An upload of thousands of contacts makes as many
    tuples, and the collector would traverse all of these objects again and again, in vain.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
