"""When a push may be sent, in any time zone and across changes of the clock."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringbook.core import quiet_hours
from ringbook.preferences import Quiet

NIGHT = Quiet(22 * 60, 8 * 60)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC")
BEGIN, END = 1_700_000_000, 1_900_000_000


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> int:
    """UTC seconds of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp())


@pytest.mark.parametrize(
    "quiet, now, over",
    [
        (NIGHT, "2026-11-26 21:59:59", None),
        (NIGHT, "2026-11-26 22:00", "2026-11-27 08:00"),
        (NIGHT, "2026-11-27 00:00", "2026-11-27 08:00"),
        (NIGHT, "2026-11-27 07:59:59", "2026-11-27 08:00"),
        (NIGHT, "2026-11-27 08:00", None),
        (Quiet(13 * 60, 15 * 60), "2026-11-27 12:59", None),
        (Quiet(13 * 60, 15 * 60), "2026-11-27 13:30:30", "2026-11-27 15:00"),
        (Quiet(0, 1), "2026-11-27 00:00:59", "2026-11-27 00:01"),
        (Quiet(1, 0), "2026-11-27 00:01", "2026-11-28 00:00"),
        (Quiet(0, 0), "2026-11-27 00:01", None),
        (Quiet(-1, -1), "2026-11-27 00:01", None),
        # The clock goes from 02:00 to 03:00 on 29 March 2026, and from 03:00 to 02:00 on 25 October.
        (NIGHT, "2026-03-28 23:00", "2026-03-29 08:00"),
        (NIGHT, "2026-10-24 23:00", "2026-10-25 08:00"),
        (Quiet(22 * 60, 150), "2026-03-29 01:59", "2026-03-29 03:00"),
        (Quiet(22 * 60, 180), "2026-03-29 01:59", "2026-03-29 03:00"),
        (Quiet(150, 160), "2026-03-29 01:59", None),
        (Quiet(22 * 60, 150), "2026-10-25 01:59", "2026-10-25 02:30"),
    ],
)
def test_quiet_hours_end_when_the_clock_shows_it(quiet, now, over):
    assert quiet_hours.ends("Europe/Berlin", quiet, at(now)) == (at(over) if over else None)


def test_a_clock_that_is_set_back_into_quiet_hours_is_quiet_again():
    quiet = Quiet(22 * 60, 150)
    assert quiet_hours.ends("Europe/Berlin", quiet, at("2026-10-25 02:45")) is None
    again = quiet_hours.ends("Europe/Berlin", quiet, at("2026-10-25 02:10", fold=1))
    assert again == at("2026-10-25 02:30", fold=1)


def test_a_day_that_a_time_zone_leaves_out_ends_quiet_hours():
    before = at("2011-12-29 23:00", "Pacific/Apia")  # Samoa had no 30 December 2011
    assert quiet_hours.ends("Pacific/Apia", NIGHT, before) == at("2011-12-31 08:00", "Pacific/Apia")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "\0"])
def test_a_time_zone_that_is_not_known_has_no_quiet_hours(zone):
    assert quiet_hours.ends(zone, NIGHT, at("2026-11-26 23:00")) is None


@given(
    st.sampled_from(ZONES),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.integers(BEGIN, END),
)
def test_the_end_is_the_first_moment_that_is_not_quiet(zone, start, end, now):
    quiet = Quiet(start, end)

    def is_quiet(moment: int) -> bool:
        local = datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(zone))
        minute = local.hour * 60 + local.minute
        return any((start <= minute < end, start > end and not end <= minute < start))

    over = quiet_hours.ends(zone, quiet, now)
    if over is None:
        assert not is_quiet(now)
        return
    assert now < over <= now + 25 * 3600 and not is_quiet(over)
    assert all(is_quiet(moment) for moment in [now, *range(now, over, 300), over - 1])
