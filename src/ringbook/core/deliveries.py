"""An application's pushes, for whoever looks after them: never a text, a name, a number or a token.

page      the latest, by outcome and channel
queue     what waits
parked    what is parked, by reason
"""

from msgspec import Struct

from ..store import pushes as store
from ..store.db import Database
from . import push_trace
from .push_trace import Push

NEWEST = 2**63 - 1
OUTCOMES = ("waiting", "accepted", "parked", "gone", "expired")
AMONG = 5_000  # looked at for one page: what is sought may be rare
MOST = 2_000  # counted; what is more is "or more"


class Page(Struct, frozen=True):
    """Pushes, the newest first, and where the next page begins; None on the last one."""

    pushes: list[Push]
    older: int | None


class Lane(Struct, frozen=True):
    """What waits of one channel; `late_seconds` is how long the first has been due."""

    channel: str
    waiting: int
    due: int
    late_seconds: int


class Parked(Struct, frozen=True):
    """What is parked of one channel, for one reason."""

    channel: str
    reason: str
    count: int
    last_at: int


def page(
    db: Database, app_id: int, now: int, limit: int, *, before: int = NEWEST, outcome: str = "", channel: str = ""
) -> Page:
    """Up to `limit` pushes older than the one with the id `before`; fewer, or none, when those sought are rare."""
    with db.read() as tx:
        rows, older = store.page(tx, app_id, before, outcome, channel, limit=limit, among=AMONG)
    return Page([push_trace.push(row, now) for row in rows], older)


def queue(db: Database, app_id: int, now: int) -> list[Lane]:
    """What waits of an application, by channel, among the first MOST that wait."""
    with db.read() as tx:
        rows = store.queue_of(tx, app_id, now, MOST)
    return [Lane(row["channel"], row["waiting"], int(row["due"]), max(0, now - row["first_due_at"])) for row in rows]


def parked(db: Database, app_id: int) -> list[Parked]:
    """The latest MOST that are parked of an application, by channel and reason."""
    with db.read() as tx:
        rows = store.parked_of(tx, app_id, MOST)
    return [Parked(**row) for row in rows]
