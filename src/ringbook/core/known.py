"""Known networks: where an account or a number has signed in lately.

    remember(tx, who, address, now)     records a successful sign-in
    is_known(tx, who, address, now)     whether there was one

Strangers can use up what many share: the sign-ins of an address, the one-time codes of a number. Whoever has signed in
from the same network before has a part of its own. `who` is a hash, as in the names of other buckets.
"""

from ..store import buckets
from ..store.db import Tx
from ..times import DAY
from . import charging
from .charging import Bucket
from .networks import neighbourhood

KNOWN_SECONDS = 90 * DAY


def remember(tx: Tx, who: str, address: str, now: int) -> None:
    """Record a sign-in. It is written at most once a day."""
    row = buckets.read(tx, _name(who, address))
    if row is None or not 0 <= now - row["at"] < DAY:
        charging.fill(tx, Bucket(_name(who, address), 1, 0, "", ends_at=now + KNOWN_SECONDS), now)


def is_known(tx: Tx, who: str, address: str, now: int) -> bool:
    """Whether there was a sign-in from the network of this address within KNOWN_SECONDS."""
    row = buckets.read(tx, _name(who, address))
    return row is not None and now - row["at"] < KNOWN_SECONDS


def _name(who: str, address: str) -> str:
    return f"known:{who}@{neighbourhood(address)}"
