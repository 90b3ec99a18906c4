"""The totals of each application: kept current by the transactions that change them, and corrected if they drift.

    collect(db, now)    adds the changes that transactions have recorded to the totals
    recount(db, now)    counts the next slice of the users anew; corrects the totals at the end of each pass

Both are periodic jobs whose cost does not grow with the number of users. `store/app_totals.py` explains how the totals
stay exact while requests change them.
"""

from ..logs import log
from ..store import app_totals as store
from ..store.db import Database
from ..times import DAY

COLLECTED = 1_000  # recorded changes of one transaction
SLICE = 5_000  # users that are counted in one turn: 10,000,000 take 2,000 turns, a day and a half with one worker
REST_SECONDS = 3_600


def collect(db: Database, now: int, batch: int = COLLECTED) -> int:
    """Add up to `batch` recorded changes to the totals. Returns how many."""
    with db.write() as tx:
        done = store.collect(tx, now // DAY, batch)
        if done < batch:
            store.write_day(tx, now // DAY)
    return done


def recount(db: Database, now: int, batch: int = SLICE) -> int:
    """Count the next `batch` users anew, and log what was corrected. Returns 0: one slice is enough for a turn."""
    with db.write() as tx:
        corrected = store.recount(tx, now, REST_SECONDS, batch)
    for one in corrected:
        log.warning("totals corrected", app=one.app_id, before=one.before, after=one.after)
    return 0
