"""The figures of the large chart."""

import pytest
from core.joining import DAY, NOW, Play

from ringbook.core import activity, stats

TODAY = NOW // DAY


@pytest.fixture
def play(db):
    stats.forget()
    yield Play(db)
    stats.forget()


def counted(play, *events):
    for name, at, count in events:
        stats.add(play.app_id, name, at, count)
    stats.flush(play.db, NOW)


def test_half_hours_hold_what_happened_in_them(play):
    counted(play, ("sign-ups", NOW - 10, 2), ("sign-ups", NOW - DAY, 3), ("matches", NOW - 10, 5), ("uploads", NOW, 9))
    found = activity.of(play.db, play.app, NOW, 7)
    assert set(found.values) == set(stats.CHARTED)
    place = (NOW - 10 - found.first) // found.seconds
    assert found.values["sign-ups"][place] == 2 and found.values["matches"][place] == 5
    assert found.values["sign-ups"][(NOW - DAY - found.first) // found.seconds] == 3
    assert sum(found.values["sign-ups"]) == 5
    assert found.first % found.seconds == 0 and found.first <= NOW - 14 * DAY


def test_half_hours_and_days_agree(play):
    counted(play, *(("joined", NOW - n * 7_000, n) for n in range(150)))
    found, days = activity.of(play.db, play.app, NOW, 7), activity.by_day(play.db, play.app, NOW, 7)
    by_day: dict[int, int] = {}
    for place, value in enumerate(found.values["joined"]):
        day = (found.first + place * found.seconds) // DAY
        by_day[day] = by_day.get(day, 0) + value
    assert days.values["joined"] == [by_day[day] for day in days.days]
    assert days.before["joined"] == sum(by_day[day - 7] for day in days.days)
    assert days.sums["joined"] == sum(days.values["joined"]) and days.days[-1] == TODAY


def test_old_half_hours_are_swept_and_another_application_has_its_own(play):
    other = Play(play.db)
    counted(play, ("joined", NOW, 1), ("joined", NOW - stats.ACTIVITY_KEPT_SECONDS - DAY, 1))
    assert sum(activity.of(play.db, other.app, NOW, 90).values["joined"]) == 0
    assert stats.sweep(play.db, NOW) == 1
    assert sum(activity.of(play.db, play.app, NOW, 90).values["joined"]) == 1
