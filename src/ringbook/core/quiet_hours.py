"""Quiet hours: when a push for a user may be sent.

    ends(zone, quiet, now)    when the quiet hours of this moment are over; None where there are none
    of(preferences, now)      the same for a user's preferences
    local(at, zone)           a time as a clock shows it, and the name of its time zone

The clock on the wall decides: a moment is quiet when the user's clock shows a time from `start` up to `end`. Where the
clock jumps over `end`, the quiet hours are over with the jump; where it shows `end` twice, they are over at the first,
and begin again when the clock is set back into them. A time zone that the system does not know has no quiet hours.
"""

import zoneinfo
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from ..preferences import Preferences, Quiet

DAY_MINUTES = 1440
MOST_CHANGES = 4  # changes of the clock that one search looks behind


def of(preferences: Preferences, now: int) -> int | None:
    """When the user's quiet hours of this moment are over; None when the moment is not in them."""
    if preferences.quiet is None or preferences.time_zone is None:
        return None
    return ends(preferences.time_zone, preferences.quiet, now)


def ends(zone: str, quiet: Quiet, now: int) -> int | None:
    """When the quiet hours that this moment is in are over, in UTC seconds; None when it is not in quiet hours."""
    known = _zone(zone)
    if known is None:
        return None
    at, local = now, datetime.fromtimestamp(now, known)
    for _ in range(MOST_CHANGES):
        if not _is_quiet(quiet, local):
            return at if at > now else None
        over = at + _seconds_to(quiet.end, local)
        if datetime.fromtimestamp(over, known).utcoffset() == local.utcoffset():
            return over
        at = _change(known, at, over)  # of the clock
        local = datetime.fromtimestamp(at, known)
    return over


def local(at: int, zone: str | None) -> tuple[datetime, str]:
    """A time as the clock shows it in a time zone, and the zone's name; in UTC where none is given or known."""
    known = _zone(zone) if zone else None
    return datetime.fromtimestamp(at, known or UTC), (zone or "") if known else "UTC"


@lru_cache(640)  # the world has some 600
def _zone(name: str) -> tzinfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _is_quiet(quiet: Quiet, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    if quiet.start < quiet.end:
        return quiet.start <= minute < quiet.end
    return (minute >= quiet.start or minute < quiet.end) and quiet.start != quiet.end


def _seconds_to(minute: int, local: datetime) -> int:
    """How long it takes until the clock shows this minute of the day, unless it is changed meanwhile."""
    return ((minute - local.hour * 60 - local.minute) % DAY_MINUTES or DAY_MINUTES) * 60 - local.second


def _change(zone: tzinfo, before: int, after: int) -> int:
    """The first second after `before` at which the clock goes differently."""
    same, differs, offset = before, after, datetime.fromtimestamp(before, zone).utcoffset()
    while differs - same > 1:
        middle = (same + differs) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            same = middle
        else:
            differs = middle
    return differs
