"""How often the threads of a serving process take turns on the interpreter.

switch_often()   call it once, when the process starts
"""

import sys

SECONDS = 0.0005  # Python's own is 0.005


def switch_often() -> None:
    """Let a thread wait no longer than SECONDS for another one that does not stop by itself.

    A small request needs the interpreter about ten times, and beside a heavy one it waits so long each time.
    """
    sys.setswitchinterval(SECONDS)
