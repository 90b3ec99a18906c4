"""What the large chart of the overview shows: sign-ups, users found, and users joined, in a period and the one before.

of(db, app, now, days)          sums by half hours, from which a browser makes days of its own time zone
by_day(db, app, now, days)      the same by days in UTC, for the table
"""

from msgspec import Struct

from ..model import App
from ..store import stats as store
from ..store.db import Database
from .stats import CHARTED, DAY, SLOT_SECONDS

PERIODS = (7, 30, 90)


class Activity(Struct, frozen=True, kw_only=True):
    """Sums by half hours; a time zone may begin its day up to a day before UTC does, so there is one day more.

    first    the time at which the first half hour begins
    values   by name, a value for each half hour up to now
    """

    days: int
    now: int
    first: int
    seconds: int = SLOT_SECONDS
    values: dict[str, list[int]]


class Days(Struct, frozen=True, kw_only=True):
    """Sums by days in UTC.

    days     days since 1970; the last one is today
    before   the sums of the period before
    """

    days: list[int]
    values: dict[str, list[int]]
    sums: dict[str, int]
    before: dict[str, int]


def of(db: Database, app: App, now: int, days: int) -> Activity:
    """The sums of two periods, the second of which ends now."""
    last = now - now % SLOT_SECONDS
    first = last - (2 * days + 1) * DAY
    values = {name: [0] * ((last - first) // SLOT_SECONDS + 1) for name in CHARTED}
    with db.read() as tx:
        rows = store.activity(tx, app.id, first)
    for at, name, value in rows:
        place = (at - first) // SLOT_SECONDS
        if name in values and place < len(values[name]):
            values[name][place] += value
    return Activity(days=days, now=now, first=first, values=values)


def by_day(db: Database, app: App, now: int, days: int) -> Days:
    """The sums of each day of the period that ends today."""
    today = now // DAY
    shown = list(range(today - days + 1, today + 1))
    with db.read() as tx:
        rows = store.days(tx, app.id, shown[0] - days, today)
    found = {(day, name): value for day, name, value in rows}
    values = {name: [found.get((day, name), 0) for day in shown] for name in CHARTED}
    before = {name: sum(found.get((day - days, name), 0) for day in shown) for name in CHARTED}
    return Days(days=shown, values=values, sums={name: sum(one) for name, one in values.items()}, before=before)
