"""Sessions over HTTP: many at once, what time does to them, and who may try how often."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
from asking import PASSWORD, Answer, Person, ask, at_once, guest, open_session, opened, person, rows, write
from servers import DATABASES, Databases, Server, serve

from ringbook.core.sessions import digest

HOUR = 3600
GONE = b'{"errors":{"base":["Required session does not exist"]}}'
PROXY = "127.0.0.1"


@pytest.fixture(scope="module", params=DATABASES)
def strict(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server behind a proxy, so that each test has addresses of its own: 5 new accounts an hour from each."""
    folder = tmp_path_factory.mktemp("strict")
    few = {"trusted_proxies": PROXY, "new_accounts_per_hour": "5"}
    with databases.fresh(request.param) as url, serve(url, folder, **few) as running:
        yield running


def ends(answer: Answer) -> float:
    """When the answer says that the session ends, from now, in seconds."""
    says = datetime.strptime(answer.headers["CB-Token-ExpirationDate"], "%Y-%m-%d %H:%M:%S UTC")
    return says.replace(tzinfo=UTC).timestamp() - time.time()


def stored(who: Person) -> dict[str, object]:
    """The row of this person's session."""
    (row,) = rows(who.server, "SELECT * FROM sessions WHERE token_hash = :hash", hash=digest(who.token))
    return row


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_five_at_once_for_a_new_login_make_one_user_and_five_sessions(server):
    """Flutter restores a session in each of its parallel calls (protocol §11.2)."""
    for n in range(3):
        user = {"login": f"new-{n}", "password": PASSWORD}
        answers = at_once([partial(open_session, server, server.app, user)] * 5)
        assert [answer.status for answer in answers] == [201] * 5
        assert len({answer.json["session"]["user_id"] for answer in answers}) == 1
        assert len({answer.json["session"]["token"] for answer in answers}) == 5
        assert len({answer.json["session"]["id"] for answer in answers}) == 5


def test_two_sign_ups_at_once_for_one_login_make_one_user(server):
    token = opened(server, server.app)["token"]
    user = {"user": {"login": "wanted", "password": PASSWORD}}
    answers = at_once([partial(ask, server, "POST", "/users", user, headers={"CB-Token": token})] * 4)
    assert Counter(answer.status for answer in answers) == {201: 1, 422: 3}
    assert {answer.raw for answer in answers if answer.status == 422} == {
        b'{"errors":{"login":["has already been taken"]}}'
    }


def test_ending_a_session_many_times_at_once_is_no_error(server):
    who = person(server)
    answers = at_once([partial(who.ask, "DELETE", "/session")] * 6)
    assert {answer.status for answer in answers} <= {200, 401}
    assert who.ask("GET", "/session").raw == GONE


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_session_lives_two_hours_from_its_last_use(server):
    who = person(server)
    assert 2 * HOUR - 60 < ends(who.ask("GET", "/session")) <= 2 * HOUR
    an_hour_ago = int(time.time()) - HOUR
    write(
        server,
        "UPDATE sessions SET last_used_at = :at, expires_at = :ends WHERE token_hash = :hash",
        at=an_hour_ago,
        ends=an_hour_ago + 2 * HOUR,
        hash=digest(who.token),
    )
    assert 2 * HOUR - 60 < ends(who.ask("GET", "/address_book")) <= 2 * HOUR


def test_its_use_is_written_down_once_a_minute_at_most_and_never_to_the_user(server):
    who = person(server)
    profile = rows(server, "SELECT * FROM users WHERE id = :id", id=who.id)
    moment = int(time.time()) - 40
    at = "UPDATE sessions SET last_used_at = :at WHERE token_hash = :hash"
    write(server, at, at=moment, hash=digest(who.token))
    who.ask("GET", "/address_book")
    assert stored(who)["last_used_at"] == moment
    write(server, at, at=moment - 60, hash=digest(who.token))
    who.ask("GET", "/address_book")
    assert stored(who)["last_used_at"] > moment
    assert rows(server, "SELECT * FROM users WHERE id = :id", id=who.id) == profile


def test_an_expired_session_is_gone(server):
    who = person(server)
    now = int(time.time())
    write(server, "UPDATE sessions SET expires_at = :now WHERE token_hash = :hash", now=now, hash=digest(who.token))
    for method, path in [("GET", "/session"), ("POST", "/address_book"), ("DELETE", "/login"), ("POST", "/login")]:
        assert (who.ask(method, path).status, who.ask(method, path).raw) == (401, GONE)


def test_a_guest_stays_a_day_however_busy(server):
    who = guest(server)
    signed_up = stored(who)["created_at"]
    write(
        server,
        "UPDATE sessions SET last_used_at = last_used_at - 3600 WHERE token_hash = :hash",
        hash=digest(who.token),
    )
    assert 24 * HOUR - 60 < ends(who.ask("GET", "/address_book")) <= 24 * HOUR
    assert stored(who)["expires_at"] == signed_up + 24 * HOUR


def test_a_guest_who_signs_in_is_a_guest_no_more(server):
    who, ann = guest(server), person(server)
    answer = who.ask("POST", "/login", {"login": ann.login, "password": PASSWORD})
    assert (answer.status, answer.json["user"]["id"]) == (202, ann.id)
    assert 2 * HOUR - 60 < ends(answer) <= 2 * HOUR
    assert stored(who)["guest_until"] is None
    assert who.ask("GET", "/session").json["session"]["user"]["is_guest"] is False


def test_ending_a_session_notes_when_its_user_was_last_there(server):
    who = person(server)
    later = int(time.time()) + 30
    write(server, "UPDATE sessions SET last_used_at = :at WHERE token_hash = :hash", at=later, hash=digest(who.token))
    other = who.signed_in_again()
    assert other.ask("DELETE", "/session/list").status == 200
    (user,) = rows(server, "SELECT last_request_at FROM seen WHERE user_id = :id", id=who.id)
    assert user["last_request_at"] == later


def test_no_token_is_stored(server):
    who = person(server)
    everything = repr(rows(server, "SELECT * FROM sessions"))
    assert who.token not in everything
    assert repr(digest(who.token)) in everything


# ── how often ────────────────────────────────────────────────────────────────────────────────────────────────────────


def retry_after(answer: Answer) -> int:
    assert answer.status == 429, answer
    assert isinstance(answer.json["errors"], list)
    return int(answer.headers["Retry-After"])


def with_password(who: Person, password: str, address: str) -> Answer:
    return open_session(who.server, who.app, {"login": who.login, "password": password}, address)


def test_after_ten_wrong_passwords_even_the_right_one_waits(strict):
    who = person(strict, address="198.51.100.1")
    assert [with_password(who, f"wrong-horse-{n}", who.address).status for n in range(10)] == [401] * 10
    assert 1 <= retry_after(with_password(who, PASSWORD, who.address)) <= 90
    assert with_password(who, PASSWORD, "198.51.100.2").status == 201
    assert who.ask("GET", "/session").status == 200


def test_many_wrong_passwords_at_once_are_no_more_than_ten_tries(strict):
    who = person(strict, address="198.51.100.3")
    tries = [partial(with_password, who, f"wrong-horse-{n}", who.address) for n in range(30)]
    assert Counter(answer.status for answer in at_once(tries)) == {401: 10, 429: 20}


def test_a_right_password_among_wrong_ones_gives_its_try_back(strict):
    who = person(strict, address="198.51.100.4")
    for n in range(9):
        assert with_password(who, f"wrong-horse-{n}", who.address).status == 401
        assert with_password(who, PASSWORD, who.address).status == 201
    assert with_password(who, "wrong-horse", who.address).status == 401
    assert retry_after(with_password(who, PASSWORD, who.address))


def test_signing_in_counts_too_and_logins_that_nobody_has(strict):
    token = opened(strict, strict.app)["token"]
    headers = {"CB-Token": token, "X-Forwarded-For": "198.51.100.5"}
    who = person(strict, address="198.51.100.6")
    for login in (who.login, "nobody-has-this"):
        given = {"login": login, "password": "wrong-horse"}
        statuses = [ask(strict, "POST", "/login", given, headers=headers).status for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2


def test_a_64_of_ipv6_is_one_address_for_passwords(strict):
    who = person(strict, address="2001:db8:9::1")
    for n in range(10):
        assert with_password(who, "wrong-horse", f"2001:db8:1:2::{n}").status == 401
    assert retry_after(with_password(who, PASSWORD, "2001:db8:1:2:ffff::1"))
    assert with_password(who, PASSWORD, "2001:db8:1:3::1").status == 201


def test_new_accounts_are_limited_by_address_however_they_come(strict):
    here = "198.51.100.7"
    token = opened(strict, strict.app)["token"]
    for n in range(2):
        guest(strict, address=here)
        person(strict, address=here)
        if n == 0:
            sign_up(strict, token, "third", here, 201)
    before = rows(strict, "SELECT count(*) AS n FROM users")
    for refused in (
        open_session(strict, strict.app, {"guest": 1}, here),
        open_session(strict, strict.app, {"login": "nobody-yet", "password": PASSWORD}, here),
        sign_up(strict, token, "nobody-yet", here, 429),
    ):
        assert 1 <= retry_after(refused) <= HOUR / 5
    assert rows(strict, "SELECT count(*) AS n FROM users") == before
    assert opened(strict, strict.app, None, here)
    person(strict, address="198.51.100.8")


def sign_up(server: Server, token: str, login: str, address: str, status: int) -> Answer:
    headers = {"CB-Token": token, "X-Forwarded-For": address}
    answer = ask(server, "POST", "/users", {"user": {"login": login, "password": PASSWORD}}, headers=headers)
    assert answer.status == status, answer
    return answer


def test_a_64_of_ipv6_is_one_address_for_accounts(strict):
    for n in range(5):
        guest(strict, address=f"2001:db8:5::{n}")
    assert retry_after(open_session(strict, strict.app, {"guest": 1}, "2001:db8:5:0:ffff::1"))
    guest(strict, address="2001:db8:5:1::1")


def test_many_new_accounts_at_once_are_no_more_than_allowed(strict):
    calls = [partial(open_session, strict, strict.app, {"guest": 1}, "198.51.100.9")] * 12
    assert Counter(answer.status for answer in at_once(calls)) == {201: 5, 429: 7}


def test_an_application_session_costs_nothing(strict):
    for _ in range(30):
        opened(strict, strict.app, None, "198.51.100.10")
