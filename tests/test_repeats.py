"""A request that was answered with 503 may have been carried out. docs/api.md describes what a client then does.

PostgreSQL commits and its response is lost, so the server answers 503. Then each request is sent again, as the table in
docs/api.md says. The names of the tests contain the names of the rows.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator

import pytest
from asking import PASSWORD, Answer, Person, ask, line, lines, open_session, opened, person, rows, write
from cutting import Cutting, cutting
from servers import Databases, Server, one_host, serve

TOKEN = "fcm-token-" + "x" * 100


@pytest.fixture(scope="module")
def proxy(databases: Databases) -> Iterator[Cutting]:
    with databases.fresh("postgresql") as url, cutting(one_host(url)) as made:
        yield made


@pytest.fixture(scope="module")
def server(proxy: Cutting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(proxy.url, tmp_path_factory.mktemp("server"), "--no-worker") as running:
        yield running


@pytest.fixture
def lose(proxy: Cutting):
    """lose(marker, request): the request's transaction that sends `marker` is committed, the response is 503."""

    def lost(marker: bytes, request) -> None:
        before = proxy.lost
        proxy.cut(marker)
        answer = request()
        assert answer.status == 503, answer
        assert int(answer.headers["Retry-After"]) > 0
        assert proxy.lost == before + 1

    return lost


def again(request, status: int = 200) -> Answer:
    """Send the request again; the database may need a moment to be used again."""
    until = time.monotonic() + 30
    while (answer := request()).status == 503 and time.monotonic() < until:
        time.sleep(0.1)
    assert answer.status == status, answer
    return answer


def keys(server: Server) -> dict[str, object]:
    return {"application_id": server.app.application_id, "auth_key": server.app.auth_key}


def test_an_upload_is_sent_again_as_it_is(server, lose):
    who = person(server)
    who.upload(lines(0, 3))
    change = [line(0, "renamed"), line(5), {"phone": line(1)["phone"], "destroy": 1}]
    lose(b"INTO contacts", lambda: who.upload(change))
    book = [(line(0)["phone"], "renamed"), (line(2)["phone"], "x"), (line(5)["phone"], "x")]
    assert again(lambda: who.ask("GET", "/address_book")).json == [{"phone": p, "name": n} for p, n in book]
    report = again(lambda: who.upload(change)).json
    assert (report["created"], report["updated"], report["deleted"]) == (0, 2, 0)
    assert who.book() == book
    lose(b"INTO removed", lambda: who.upload([line(9)], force=1))
    assert again(lambda: who.upload([line(9)], force=1)).json["updated"] == 1
    assert who.book() == [(line(9)["phone"], "x")]


def test_a_sign_up_is_sent_again_and_when_the_login_is_taken_logs_in(server, lose):
    user = {"login": "nina", "password": PASSWORD}
    headers = {"CB-AuthKey": server.app.auth_key}

    def sign_up() -> Answer:
        return ask(server, "POST", "/users", {"user": user}, headers=headers)

    lose(b"INSERT INTO users", sign_up)
    assert again(sign_up, 422).json == {"errors": {"login": ["has already been taken"]}}
    session = again(lambda: open_session(server, server.app, user), 201).json["session"]
    assert rows(server, "SELECT id FROM users WHERE login = 'nina'") == [{"id": session["user_id"]}]


def test_a_session_is_opened_again_and_the_first_ends_by_itself(server, lose):
    who = person(server)
    given = {"login": who.login, "password": PASSWORD}
    lose(b"INSERT INTO sessions", lambda: open_session(server, server.app, given))
    session = again(lambda: open_session(server, server.app, given), 201).json["session"]
    assert session["user_id"] == who.id
    assert len(rows(server, "SELECT id FROM sessions WHERE user_id = :id", id=who.id)) == 3


def test_a_session_that_makes_its_user_is_opened_again_for_the_same_user(server, lose):
    given = {"login": "made-by-session", "password": PASSWORD}
    lose(b"INSERT INTO users", lambda: open_session(server, server.app, given))
    again(lambda: open_session(server, server.app, given), 201)
    assert len(rows(server, "SELECT id FROM users WHERE login = 'made-by-session'")) == 1


def test_a_signed_sign_in_is_signed_anew(server, lose):
    who = person(server)

    def signed(nonce: int) -> dict[str, object]:
        fields = keys(server) | {"nonce": nonce, "timestamp": int(time.time())}
        user = {"login": who.login, "password": PASSWORD}
        pairs = {**fields, **{f"user[{name}]": value for name, value in user.items()}}
        text = "&".join(f"{name}={pairs[name]}" for name in sorted(pairs))
        signature = hmac.new(server.app.auth_secret.encode(), text.encode(), hashlib.sha1).hexdigest()
        return fields | {"user": user, "signature": signature}

    request = signed(1)
    lose(b"INSERT INTO sessions", lambda: ask(server, "POST", "/session", request))
    assert again(lambda: ask(server, "POST", "/session", request), 422).json == {
        "errors": {"base": ["Unexpected signature"]}
    }
    again(lambda: ask(server, "POST", "/session", signed(2)), 201)


def test_a_guest_is_somebody_else_the_second_time(server, lose):
    before = len(rows(server, "SELECT id FROM users WHERE is_guest = 1"))
    request = {"guest": "1", "full_name": "Guest"}
    lose(b"INSERT INTO sessions", lambda: open_session(server, server.app, request))
    again(lambda: open_session(server, server.app, request), 201)
    assert len(rows(server, "SELECT id FROM users WHERE is_guest = 1")) == before + 2


def test_signing_in_and_out_on_a_session_is_sent_again(server, lose):
    who = person(server)
    blank = Person(server, server.app, 0, opened(server, server.app)["token"])
    given = {"login": who.login, "password": PASSWORD}
    lose(b"UPDATE sessions SET user_id", lambda: blank.ask("POST", "/login", given))
    assert again(lambda: blank.ask("POST", "/login", given), 202).json["user"]["id"] == who.id
    lose(b"UPDATE sessions SET user_id", lambda: blank.ask("DELETE", "/login"))
    again(lambda: blank.ask("DELETE", "/login"))
    assert blank.ask("GET", "/session").json["session"]["user_id"] is None


def test_ending_a_session_or_an_account_is_sent_again_until_401(server, lose):
    who = person(server)
    other = who.signed_in_again()
    lose(b"DELETE FROM sessions", lambda: other.ask("DELETE", "/session"))
    again(lambda: other.ask("DELETE", "/session"), 401)
    lose(b"DELETE FROM users", lambda: who.ask("DELETE", f"/users/{who.id}"))
    again(lambda: who.ask("DELETE", f"/users/{who.id}"), 401)
    assert rows(server, "SELECT id FROM users WHERE id = :id", id=who.id) == []


def test_ending_another_session_is_sent_again_until_404(server, lose):
    who = person(server)
    other = opened(server, server.app, {"login": who.login, "password": PASSWORD})
    lose(b"DELETE FROM sessions", lambda: who.ask("DELETE", f"/session/{other['id']}"))
    again(lambda: who.ask("DELETE", f"/session/{other['id']}"), 404)
    third = who.signed_in_again()
    lose(b"DELETE FROM sessions", lambda: who.ask("DELETE", "/session/list"))
    again(lambda: who.ask("DELETE", "/session/list"))
    assert third.ask("GET", "/session").status == 401


def test_a_change_of_the_profile_is_sent_again(server, lose):
    who = person(server)
    change = {"user": {"full_name": "Nina Example", "phone": "+12025550199"}}
    lose(b"UPDATE users", lambda: who.ask("PUT", f"/users/{who.id}", change))
    assert again(lambda: who.ask("PUT", f"/users/{who.id}", change)).json["user"]["full_name"] == "Nina Example"


def test_a_new_password_is_tried_by_logging_in_with_it(server, lose):
    who = person(server)
    change = {"user": {"old_password": PASSWORD, "password": "another-horse"}}
    lose(b"UPDATE users", lambda: who.ask("PUT", f"/users/{who.id}", change))
    assert again(lambda: who.ask("PUT", f"/users/{who.id}", change), 422).json["errors"]["old_password"]
    again(lambda: open_session(server, server.app, {"login": who.login, "password": "another-horse"}), 201)


def test_a_subscription_is_registered_again_and_ended_again_until_404(server, lose):
    who = person(server)
    push_token = {"environment": "production", "client_identification_sequence": TOKEN}
    device = {"platform": "android", "udid": "a phone"}
    wished = {"notification_channel": "gcm", "push_token": push_token, "device": device}
    lose(b"INSERT INTO subscriptions", lambda: who.ask("POST", "/subscriptions", wished))
    made = again(lambda: who.ask("POST", "/subscriptions", wished), 201).json[0]["subscription"]
    assert [row["id"] for row in rows(server, "SELECT id FROM subscriptions WHERE user_id = :id", id=who.id)] == [
        made["id"]
    ]
    lose(b"DELETE FROM subscriptions", lambda: who.ask("DELETE", f"/subscriptions/{made['id']}"))
    again(lambda: who.ask("DELETE", f"/subscriptions/{made['id']}"), 404)


def test_what_is_marked_as_seen_again_stays_seen(server, lose):
    who = person(server)
    write(
        server,
        "INSERT INTO joined_lists (owner_id, app_id, incarnation, last_place, seen_up_to, window_at, window_count)"
        " VALUES (:id, :app_id, 1, 5, 0, 0, 0)",
        id=who.id,
        app_id=int(who.app.application_id),
    )
    lose(b"UPDATE joined_lists", lambda: who.ask("POST", "/contact_joined/seen", {"up_to": 3}))
    assert again(lambda: who.ask("POST", "/contact_joined/seen", {"up_to": 3}), 200).json == {"unseen": 0}
    assert [
        row["seen_up_to"] for row in rows(server, "SELECT * FROM joined_lists WHERE owner_id = :id", id=who.id)
    ] == [3]


def test_an_event_that_is_sent_again_is_sent_twice(server, lose):
    who, friend = person(server), person(server)
    push_token = {"environment": "production", "client_identification_sequence": TOKEN + "2"}
    device = {"platform": "android", "udid": "a phone"}
    wished = {"notification_channel": "gcm", "push_token": push_token, "device": device}
    assert friend.ask("POST", "/subscriptions", wished).status == 201
    message = base64.b64encode(json.dumps({"message": "hi"}).encode()).decode()
    event = {"notification_type": "push", "environment": "production", "user": {"ids": [friend.id]}, "message": message}
    lose(b"INSERT INTO pushes", lambda: who.ask("POST", "/events", {"event": event}))
    again(lambda: who.ask("POST", "/events", {"event": event}), 201)
    assert len(rows(server, "SELECT id FROM pushes WHERE user_id = :id", id=friend.id)) == 2
