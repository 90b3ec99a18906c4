"""The number of established users of each application, which a job counts slice by slice.

    count(tx, …)    counts the next slice, and at the end of a pass stores the new numbers

The numbers stand among the sums of `daily`, under the name COUNTED and the day EVER.
"""

from . import stats, sweeps
from .db import Tx
from .stats import EVER

SWEEP = "established users"
COUNTED = "established users"
SO_FAR = "established users of this pass"


def count(tx: Tx, verified_before: int, now: int, limit: int) -> tuple[int, bool]:
    """Count the established users among the next `limit` users. Returns how many were looked at, and if that was all.

    verified_before   only numbers that were verified before this time count
    """
    place, _ = sweeps.place(tx, SWEEP)
    rows = tx.tuples("SELECT id FROM users WHERE id > :place ORDER BY id LIMIT :limit", place=place, limit=limit)
    last = rows[-1][0] if len(rows) == limit else sweeps.LAST_ID
    stats.add(tx, [(app_id, EVER, SO_FAR, users) for app_id, users in _counted(tx, place, last, verified_before)])
    sweeps.move(tx, SWEEP, last, now)
    if last != sweeps.LAST_ID:
        return len(rows), False
    of_each_app = "app_id IN (SELECT id FROM applications) AND day = :ever"  # by the index of the key
    tx.run(f"DELETE FROM daily WHERE {of_each_app} AND name = :counted", ever=EVER, counted=COUNTED)
    tx.run(
        f"UPDATE daily SET name = :counted WHERE {of_each_app} AND name = :so_far",
        ever=EVER,
        counted=COUNTED,
        so_far=SO_FAR,
    )
    return len(rows), True


def _counted(tx: Tx, after: int, last: int, verified_before: int) -> list[tuple[int, int]]:
    """By application: the users of the slice with a number that was verified early enough and that another user has."""
    return tx.tuples(
        "SELECT f.app_id, COUNT(*) FROM (SELECT DISTINCT n.app_id, n.user_id FROM numbers AS n"
        " JOIN contacts AS c ON c.app_id = n.app_id AND c.number = n.number AND c.owner_id <> n.user_id"
        " WHERE n.user_id > :after AND n.user_id <= :last AND n.verified_at <= :before) AS f GROUP BY f.app_id",
        after=after,
        last=last,
        before=verified_before,
    )
