"""Limits that many users share, over HTTP: the refusal, the alarm, and a stop that returns what was drawn."""

from asking import ask, lines, person, rows
from dashboard.visiting import admin
from servers import serve

from ringbook import metrics
from ringbook.dashboard import overview


def test_beyond_the_limit_of_a_network_the_answer_says_when_and_the_operator_is_told(databases, tmp_path):
    settings = {"network_permits_per_day": "20", "metrics_token": "open-sesame"}
    with databases.fresh("sqlite") as url:
        with serve(url, tmp_path, **settings) as server:
            person(server).upload(lines(0, 9))
            refused = person(server).upload(lines(20, 9))
            assert (refused.status, refused.headers["Retry-After"]) == (429, str(8 * 8640))
            assert refused.json == {"errors": ["Too many new numbers from this network"]}
            text = ask(server, "GET", "/metrics", headers={"Authorization": "Bearer open-sesame"}).raw.decode()
            assert 'ringbook_limits_near_total{limit="network_permits_per_day"} 2.0' in text
            assert 'ringbook_limits_reached_total{limit="network_permits_per_day"} 1.0' in text
        # A server that ends has written down everything that it counted: tests/worker/test_counters.py.
        app_id = server.app.application_id
        with serve(url, tmp_path) as server:
            page = admin(server).get(f"/apps/{app_id}")
    words = "new numbers from one /48 or /24 network used 80 % of RINGBOOK_NETWORK_PERMITS_PER_DAY or more"
    assert words in page.words and "seen 2 times" in page.words
    assert "and RINGBOOK_APP_PERMITS_PER_DAY: one network gets at most a quarter of it" in page.words


def test_the_overview_has_words_for_every_shared_limit():
    assert set(overview.NEAR) == set(metrics.SHARED_LIMITS)


def test_a_server_that_stops_returns_what_it_has_drawn(databases, tmp_path):
    shared = "SELECT used FROM buckets WHERE name LIKE 'permits of app %'"
    with databases.fresh("sqlite") as url:
        with serve(url, tmp_path) as server:
            person(server).upload(lines(0, 10))
            during = [row["used"] for row in rows(server, shared)]
        after = [row["used"] for row in rows(server, shared)]
    assert len(during) == 3 and min(during) > 1_000
    # What comes back in the meantime is not returned: a few each second.
    assert len(after) == 3 and max(after) < min(during) / 2
