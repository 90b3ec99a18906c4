"""What this process does on a signal.

on_stop(do)      on SIGTERM and SIGINT
on_hangup(do)    on SIGHUP
"""

import signal
from collections.abc import Callable


def on_stop(do: Callable[..., None]) -> None:
    """Call `do` on SIGTERM and on SIGINT."""
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, do)


def on_hangup(do: Callable[..., None]) -> None:
    """Call `do` on SIGHUP."""
    signal.signal(signal.SIGHUP, do)
