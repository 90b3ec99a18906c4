"""An application's pushes page by page, by outcome and channel, whatever else the table holds."""

import pytest
from core.joining import NOW, Play

from ringbook.core import push_trace
from ringbook.store.db import Rows


@pytest.fixture
def play(db):
    """Pushes 1 to 30: every third is parked, every fifth by apns, number 30 of another application."""
    play = Play(db)
    play.bob = play.person("bob").id
    columns = {"n": int, "app": int, "channel": str, "outcome": str, "reason": str}
    rows = [
        (n, play.app_id + (n == 30), "apns" if n % 5 == 0 else "gcm", "parked" if n % 3 == 0 else None, f"why {n % 2}")
        for n in range(1, 31)
    ]
    with db.write() as tx:
        tx.run(
            "INSERT INTO pushes (user_id, id, app_id, subscription_id, event_id, about_user_id, channel, environment,"
            " created_at, due_at, expires_at, attempts, outcome, reason, settled_at)"
            " SELECT :user, r.n, r.app, 1, r.n, 0, r.channel, 'production', :now, :now + r.n, :now + 99, 1, r.outcome,"
            " CASE WHEN r.outcome IS NULL THEN NULL ELSE r.reason END,"
            " CASE WHEN r.outcome IS NULL THEN NULL ELSE :now + r.n END FROM :rows AS r WHERE 1 = 1",
            user=play.bob,
            now=NOW,
            rows=Rows(columns, rows),
        )
    return play


def all_pages(play: Play, limit: int, **asked) -> list[list[int]]:
    pages, before = [], push_trace.NEWEST
    while before:
        found = push_trace.page(play.db, play.app_id, NOW, limit, before=before, **asked)
        pages.append([push.id for push in found.pushes])
        before = found.older
    return pages


def test_pages_go_back_to_the_first(play):
    assert all_pages(play, 10) == [list(range(29, 19, -1)), list(range(19, 9, -1)), list(range(9, 0, -1))]


@pytest.mark.parametrize(
    "asked, ids",
    [
        ({"outcome": "parked"}, [27, 24, 21, 18, 15, 12, 9, 6, 3]),
        ({"outcome": "parked", "channel": "apns"}, [15]),
        ({"outcome": "waiting", "channel": "apns"}, [25, 20, 10, 5]),
        ({"channel": "apns"}, [25, 20, 15, 10, 5]),
        ({"outcome": "accepted"}, []),
        ({"outcome": "gone"}, []),
    ],
)
@pytest.mark.parametrize("among", [4, 5_000])
def test_what_is_rare_is_found_however_few_are_looked_at_for_a_page(play, monkeypatch, asked, ids, among):
    monkeypatch.setattr(push_trace, "MOST_SEARCHED", among)
    pages = all_pages(play, 3, **asked)
    assert [one for page in pages for one in page] == ids
    assert all(len(page) <= 3 for page in pages)


def test_the_queue_is_the_application_s_own(play):
    lanes = push_trace.queue(play.db, play.app_id, NOW + 10)
    assert [(lane.channel, lane.waiting, lane.due, lane.late_seconds) for lane in lanes] == [
        ("apns", 4, 2, 5),
        ("gcm", 16, 5, 9),
    ]


def test_what_is_parked_is_counted_by_channel_and_reason(play):
    found = push_trace.parked(play.db, play.app_id)
    assert [(one.channel, one.reason, one.count, one.last_at[-4:]) for one in found] == [
        ("gcm", "why 0", 4, ":24Z"),
        ("gcm", "why 1", 4, ":27Z"),
        ("apns", "why 1", 1, ":15Z"),
    ]
