"""The shape of an attack: what it does, the bound that must hold, and what was measured.

Attack    one attack, run against a fresh server
Figure    one measured value beside its bound
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    what    the quantity with its unit, such as "/healthz slower by, ms"
    seen    the measured value, as text
    bound   the most or least that it may be, as text
    held    is the value within the bound?
    """

    what: str
    seen: str
    bound: str
    held: bool


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `run` starts what it needs, attacks it, and returns the figures; it ends by itself."""

    name: str
    run: Callable[[], list[Figure]]
