"""The overview of an application: the checklist, the activity, and refusals."""

import re

import pytest
from asking import ask, person, rows, write
from dashboard.visiting import admin
from servers import application, serve

from ringbook.dashboard import charts


@pytest.fixture
def app(server):
    """A new application for each test."""
    return application(server.database_url, "Friends <b>")


def test_an_empty_application_says_what_to_do_first(server, app):
    page = admin(server).get(f"/apps/{app.application_id}")
    assert page.status == 200
    assert "Friends &lt;b&gt;" in page.html
    for words in (
        "First call of an app : to do",
        "No refusals",
        "No data in the last 30 days",
        "No event has been counted",
    ):
        assert words in page.words


def test_what_happened_and_what_was_refused_is_shown(databases, tmp_path):
    with databases.fresh("sqlite") as url:
        with serve(url, tmp_path) as server:
            ann = person(server)
            ann.upload([{"phone": "+12025550101", "name": "Ann"}])
            ann.ask("GET", "/users/v2?nonsense=1")
            ask(server, "POST", "/session", {"application_id": 1, "auth_key": "wrong"})
        path = f"/apps/{server.app.application_id}"
        # A server that ends has written down everything that it counted: tests/worker/test_counters.py.
        with serve(url, tmp_path) as server:
            visitor = admin(server)
            page = visitor.get(path)
            part = visitor.get(path + "/live")
            of_server = visitor.get("/server")
    assert "The query needs a field that is no date" in page.words
    assert "First call of an app : done" in page.words and "First address book : done" in page.words
    assert "GET /users/v2" in page.words and "No application found" not in page.words
    assert "No application found" in of_server.words and "GET /users/v2" not in of_server.words
    assert re.search(r"Users 1\b", page.words) and re.search(r"Contacts 1\b", page.words)
    assert "Uploads on each of the last 30 days" in page.words
    assert part.status == 200 and "<html" not in part.html and "First call of an app" in part.words


def test_looking_on_keeps_no_session_alive(server, app):
    visitor = admin(server)
    write(server, "UPDATE admin_sessions SET last_used_at = last_used_at - 7200, expires_at = expires_at - 7200")
    before = rows(server, "SELECT MAX(expires_at) AS at FROM admin_sessions")[0]["at"]
    assert visitor.get(f"/apps/{app.application_id}/live").status == 200
    assert rows(server, "SELECT MAX(expires_at) AS at FROM admin_sessions")[0]["at"] == before


def test_applications_of_one_name_can_be_told_apart(server, app):
    other = application(server.database_url, "Friends <b>")
    page = admin(server).get(f"/apps/{app.application_id}")
    for one in (app, other):
        assert f"Friends <b> · {one.application_id}" in page.words
    alone = application(server.database_url, "Alone")
    assert f"Alone · {alone.application_id}" not in admin(server).get(f"/apps/{alone.application_id}").words


def test_the_figures_of_the_chart_are_numbers_only(server, app):
    visitor = admin(server)
    for days in (7, 30, 90):
        answer = visitor.get(f"/apps/{app.application_id}/activity?days={days}")
        assert answer.headers["Content-Type"] == "application/json" and f'"days":{days}' in answer.html
    assert '"days":30' in visitor.get(f"/apps/{app.application_id}/activity?days=4000").html


# ── charts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bars_are_as_high_as_their_share_and_never_too_low_to_be_seen():
    drawn = charts.chart("Uploads", [20_000, 20_001, 20_002, 20_003], [0, 1, 500, 1000], total=1501, text="")
    assert [bar.size for _, (bar,) in drawn.days] == ["s0", "s3", "s50", "s100"]
    assert [day for day, _ in drawn.days] == ["4 Oct", "5 Oct", "6 Oct", "7 Oct"]
    assert charts.chart("Uploads", [20_000], [0], total=0, text="").is_empty


def test_bars_on_top_of_each_other_share_the_height_of_the_highest_day():
    drawn = charts.stacked("Pushes", [20_000, 20_001], {"accepted": [3, 1], "parked": [1, 0]}, text="")
    assert (drawn.total, drawn.most, drawn.names) == (5, 4, ("accepted", "parked"))
    assert [[bar.size for bar in bars] for _, bars in drawn.days] == [["s75", "s25"], ["s25", "s0"]]
