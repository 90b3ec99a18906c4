"""Limits that many users share, over HTTP: the refusal and the alarm."""

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


def test_sessions_without_a_user_from_all_of_a_network_are_bounded(databases, tmp_path):
    """Whoever has a /48 has 65,536 networks of /64; each used to have a limit of its own, and no other."""
    settings = {"trusted_proxies": "127.0.0.1", "network_sessions_per_hour": "3"}
    with databases.fresh("sqlite") as url, serve(url, tmp_path, **settings) as server:
        key = {"application_id": server.app.application_id, "auth_key": server.app.auth_key}

        def opened_from(address: str) -> int:
            return ask(server, "POST", "/session", key, headers={"X-Forwarded-For": address}).status

        assert [opened_from(f"2001:db8:0:{n:x}00::1") for n in range(6)] == [201] * 3 + [429] * 3
        assert opened_from("2001:db8:1::1") == 201
        assert rows(server, "SELECT COUNT(*) AS n FROM sessions") == [{"n": 4}]


def test_the_overview_has_words_for_every_shared_limit():
    assert set(overview.NEAR) == set(metrics.SHARED_LIMITS)
