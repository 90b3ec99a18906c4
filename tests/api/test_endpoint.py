"""The way from a request to its answer, whatever the request: browsers, sizes, bytes that nobody expects."""

import copy
import gzip
import json
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asking import JSON, Answer, Person, ask, lines, person
from servers import DATABASES, Databases, Server, serve

FORM = "application/x-www-form-urlencoded"
EXPOSED = {"CB-Token-ExpirationDate", "QB-Token-ExpirationDate", "Retry-After"}


@pytest.fixture(scope="module")
def ann(server: Server) -> Person:
    return person(server)


@pytest.fixture(scope="module")
def bob(server_on_sqlite: Server) -> Person:
    return person(server_on_sqlite)


@pytest.fixture(scope="module")
def small(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that reads no more than 4 KiB."""
    folder = tmp_path_factory.mktemp("small")
    with databases.fresh("sqlite") as url, serve(url, folder, max_body_bytes="4096") as running:
        yield running


@pytest.fixture(scope="module", params=DATABASES)
def searching(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Person]:
    """A user who may search as often as the user likes."""
    often = {"searches_per_minute": "0", "address_searches_per_minute": "0"}
    with (
        databases.fresh(request.param) as url,
        serve(url, tmp_path_factory.mktemp("searching"), **often) as running,
    ):
        yield person(running)


def raw(server: Server, request: bytes) -> bytes:
    """What comes back for these very bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def is_refusal(answer: Answer, *statuses: int) -> bool:
    """A refusal of the documented shape."""
    assert answer.status in statuses, answer
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    return isinstance(answer.json["errors"], list | dict) and bool(answer.json["errors"])


# ── browsers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/session.json", "/users/7", "/address_book", "/no/such/path"])
def test_a_browser_is_let_through_before_it_asks(server_on_sqlite, method, path):
    wished = "cb-token, cb-sdk, cb-authkey, qb-token, qb-sdk, connectycube-rest-api-version, content-type"
    headers = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": wished,
    }
    answer = ask(server_on_sqlite, "OPTIONS", path, headers=headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert {name.strip() for name in wished.split(",")} <= {
        name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")
    }


@pytest.mark.parametrize(
    "method, path, status",
    [("GET", "/session", 200), ("GET", "/nowhere", 404), ("POST", "/address_book", 422), ("GET", "/users/none", 404)],
)
def test_a_browser_sees_when_the_token_ends_also_on_refusals(bob, method, path, status):
    answer = bob.ask(method, path, headers={"Origin": "https://app.example"})
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")} >= EXPOSED


def test_a_browser_without_a_session_can_read_that_it_has_none(server_on_sqlite):
    answer = ask(server_on_sqlite, "GET", "/session", headers={"Origin": "null"})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, "*")


# ── compression ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_long_answers_are_compressed_when_asked_for(server_on_sqlite):
    who = person(server_on_sqlite)
    who.upload(lines(0, 100))
    plain = who.ask("GET", "/address_book")
    packed = who.ask("GET", "/address_book", headers={"Accept-Encoding": "gzip, deflate, br"})
    assert (plain.headers["Content-Encoding"], packed.headers["Content-Encoding"]) == (None, "gzip")
    assert gzip.decompress(packed.raw) == plain.raw
    assert len(packed.raw) < len(plain.raw) / 4
    assert packed.headers["Content-Type"] == "application/json; charset=utf-8"


def test_short_answers_are_not_compressed(bob):
    answer = bob.ask("GET", "/subscriptions", headers={"Accept-Encoding": "gzip"})
    assert (answer.headers["Content-Encoding"], answer.raw) == (None, b"[]")


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def padded(size: int) -> bytes:
    """An upload of one contact that is so many bytes long."""
    body = json.dumps({"contacts": [{"phone": "12025550199", "name": "Late"}]}).encode()
    return body[:-1] + b" " * (size - len(body)) + b"}"


def in_chunks(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), 1000):
        yield body[at : at + 1000]


@pytest.mark.parametrize("size, status", [(4096, 200), (4097, 400), (20_000, 400), (200_000, 400)])
@pytest.mark.parametrize("way", [bytes, in_chunks])
def test_a_body_that_is_too_large_is_refused_and_changes_nothing(small, size, status, way):
    who = person(small)
    answer = who.ask("POST", "/address_book", body=way(padded(size)), headers={"Content-Type": JSON})
    assert answer.status == status, answer
    if status == 400:
        assert answer.json == {"errors": ["The body is larger than 4096 bytes"]}
    assert len(who.book()) == (status == 200)


def test_the_default_takes_8_mib_and_not_a_byte_more(server_on_sqlite):
    who = person(server_on_sqlite)
    for size, status in [(8 * 2**20, 200), (8 * 2**20 + 1, 400)]:
        answer = who.ask("POST", "/address_book", body=padded(size), headers={"Content-Type": JSON})
        assert answer.status == status, answer


def test_a_body_that_is_too_large_is_refused_without_a_session_too(small):
    assert is_refusal(ask(small, "POST", "/session", body=padded(5000)), 400)


def test_a_client_that_goes_away_while_sending_leaves_the_server_well(small):
    with socket.create_connection(("127.0.0.1", small.port)) as connection:
        connection.sendall(b"POST /session HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert ask(small, "GET", "/healthz").status == 200


# ── methods and paths ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "TRACE", "PROPFIND"])
def test_a_method_that_is_not_served_is_not_found(server_on_sqlite, method):
    answer = ask(server_on_sqlite, method, "/session")
    assert answer.status == 404
    if method != "HEAD":
        assert answer.json == {"errors": ["Not found"]}


@pytest.mark.parametrize("override, status", [("put", 200), ("PUT", 200), ("GET", 404), ("nonsense", 404), ("", 404)])
def test_only_a_post_is_taken_as_another_method_and_only_as_some(bob, override, status):
    headers = {"X-HTTP-Method-Override": override}
    assert bob.ask("POST", f"/users/{bob.id}", {"user": {}}, headers=headers).status == status
    assert bob.ask("GET", "/session", headers={"X-HTTP-Method-Override": "DELETE"}).status == 200


ODD_IDS = [
    "0",
    "00",
    "-1",
    "+1",
    "1e3",
    "1.0",
    "0x1",
    "2147483648",
    "9" * 25,
    "9" * 5000,
    "%D9%A1",
    "%00",
    "%FF",
    "a b",
]


@pytest.mark.parametrize("odd", [*ODD_IDS, "", "%2F", "..", "1%2F2", "1.json.json", "list.json.json"])
def test_an_id_that_cannot_be_one_is_not_found(ann, odd):
    for method, path in [("GET", "/users/"), ("DELETE", "/subscriptions/"), ("DELETE", "/session/")]:
        answer = ann.ask(method, path + odd.replace(" ", "%20"))
        assert is_refusal(answer, 404, 422), (method, path, answer)


def test_external_ids_may_be_anything_that_a_path_can_hold(server):
    for external in ("a/b", "a b", "x.json", "..", "é", "😀", "%", "a?b#c", "1", "00"):
        who = person(server, external_id=external)
        found = who.ask("GET", "/users/external/" + quote(external, safe="") + ".json")
        assert (found.status, found.json.get("user", {}).get("id")) == (200, who.id), external


# ── bytes that nobody expects ────────────────────────────────────────────────────────────────────────────────────────

PERSON = {"login": "LOGIN", "email": "a@example.org", "password": "correct-horse", "full_name": "x", "phone": "1"}
MORE = {"external_id": "1", "external_user_id": 1, "facebook_id": "1", "twitter_id": "1", "website": "x", "avatar": "x"}
# A valid body for each route that reads one; each of their values is replaced in turn.
BODIES: list[tuple[str, str, dict[str, Any]]] = [
    (
        "POST",
        "/session",
        {"timestamp": 1, "nonce": 1, "signature": "0", "user": {"login": "LOGIN", "password": "correct-horse"}},
    ),
    ("POST", "/session", {"user": {"guest": "1", "full_name": "x"}}),
    ("POST", "/session", {"provider": "firebase_phone", "firebase_phone": {"project_id": "p", "access_token": "t"}}),
    ("POST", "/login", {"login": "LOGIN", "email": "LOGIN@example.org", "password": "correct-horse"}),
    ("POST", "/users", {"user": PERSON | MORE | {"custom_data": "x", "timezone": 1, "tag_list": "a,b"}}),
    ("PUT", "/users/{me}", {"user": MORE | {"full_name": "x", "phone": "1", "tag_list": ["a"], "custom_data": "x"}}),
    ("PUT", "/users/{me}", {"user": {"password": "correct-horse", "old_password": "x", "oldPassword": "x"}}),
    (
        "POST",
        "/address_book",
        {"contacts": [{"phone": "12025550101", "name": "x", "destroy": 0}], "force": 0, "udid": "x"},
    ),
    (
        "POST",
        "/subscriptions",
        {
            "notification_channel": "gcm",
            "push_token": {
                "environment": "production",
                "client_identification_sequence": "x" * 20,
                "bundle_identifier": "x",
            },
            "device": {"platform": "android", "udid": "x"},
        },
    ),
    (
        "POST",
        "/subscriptions",
        {
            "notification_channels": ["web"],
            "push_token": {
                "environment": "production",
                "web_endpoint": "https://x.example",
                "web_auth": "",
                "web_p256dh": "",
            },
            "device": {"platform": "web", "udid": "x"},
        },
    ),
    ("POST", "/users/password/reset", {"email": "x"}),
    ("POST", "/events", {"event": {"message": "x"}}),
]
# Written as JSON texts, since some of them no library would write.
ODD: dict[str, str] = {
    "NUL": '"a\\u0000b"',
    "half an emoji": '"a\\ud83d"',
    "the other half": '"\\ude00b"',
    "long": json.dumps("x" * 100_000),
    "huge": "1" + "0" * 30,
    "beyond 64 bits": str(2**63),
    "longer than Python reads": "1" * 5000,
    "negative": "-1",
    "float": "1.5",
    "exponent": "1e308",
    "true": "true",
    "null": "null",
    "empty": '""',
    "blank": '" "',
    "list": "[]",
    "list in list": '[["x"]]',
    "object": "{}",
    "object in object": '{"x": {"0": "y"}}',
    "deep list": "[" * 300 + "]" * 300,
    "deep object": '{"a":' * 300 + "1" + "}" * 300,
    "deeper": "[" * 900 + "]" * 900,
    "bottomless": "[" * 50_000 + "]" * 50_000,
    "Arabic digits": '"١٢"',
    "unassigned": '"\\uffff\\u0378"',
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands in a body, for each value at any depth."""
    yield path
    for key, inside in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inside, (*path, key))


def with_mark(body: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(body)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "MARK"
    return changed


@pytest.mark.parametrize("odd", ODD)
def test_no_odd_value_anywhere_in_a_body_is_an_internal_error(server, odd):
    who = person(server)
    keys = {"application_id": server.app.application_id, "auth_key": server.app.auth_key}
    for method, path, body in BODIES:
        body = keys | body if path == "/session" else body
        for place in places(body):
            if place:
                text = json.dumps(with_mark(body, place)).replace('"MARK"', ODD[odd]).replace("LOGIN", f"{odd}{place}")
                sent = who.ask(method, path.format(me=who.id), body=text.encode(), headers={"Content-Type": JSON})
                assert sent.status in (200, 201, 202) or is_refusal(sent, 400, 401, 422), (path, place, sent)
        if not alive(who):
            who = person(server)


def alive(who: Person) -> bool:
    return who.ask("GET", "/session").status == 200


def test_keys_too_may_be_odd(bob):
    for key in (
        '"a\\u0000"',
        '"\\ud83d"',
        '""',
        '"["',
        '"a[b"',
        '"user[a\\u0000]"',
        '"contacts[0][phone]"',
        '"' + "[a]" * 99 + '"',
    ):
        for path in ("/address_book", "/subscriptions", "/users", "/session"):
            answer = bob.ask("POST", path, body=f'{{{key}: "x"}}'.encode())
            assert answer.status == 200 or is_refusal(answer, 400, 422), (path, key, answer)


QUERIES = [
    "/address_book?udid=",
    "/address_book/registered_users?udid=",
    "/address_book/registered_users?compact=",
    "/users/by_login?login=",
    "/users/by_email?email=",
    "/users/phone?phone=",
    "/users/by_phone?phone=",
    "/users/by_full_name?full_name=",
    "/users/by_tags?tags=",
    "/users/by_facebook_id?facebook_id=",
    "/users/by_twitter_id?twitter_id=",
    "/users/external/",
    "/users?filter[]=",
    "/users?filter[]=number+id+in+1&order=",
    "/users?filter[]=number+id+in+1&page=",
    "/users?filter[]=number+id+in+1&per_page=",
    "/users/v2?id=1&limit=",
    "/users/v2?id=1&offset=",
    "/users/v2?id=1&sort_asc=",
    "/users/v2?id=1&sort_desc=",
    "/users/v2?id=1&created_at[gt]=",
    *[f"/users/v2?{field}=" for field in ("id", "login", "email", "full_name", "phone", "external_id", "user_tags")],
    *[f"/users/v2?{field}[in][]=" for field in ("id", "login", "email", "phone", "user_tags", "facebook_id")],
    *[f"/users/v2?{field}[start_with]=" for field in ("login", "email", "phone", "full_name", "user_tags")],
    "/users/v2?",
    "/users/v2?id[in][x]=",
    "/users/v2?id[x][y][z]=",
    "/users/password/reset?email=",
]
ODD_TEXTS = [
    "%00",
    "abcd%00e",
    "%FF",
    "%ED%A0%BD",
    "%F0%9F%98",
    "%",
    "%zz",
    "%EF%BF%BF%CD%B8",
    "%F4%8F%BF%BF",
    "x" * 20_000,
    "9" * 25,
    "9" * 5_000,
    "-1",
    "0",
    "1e9",
    "%D9%A1%D9%A2",
    "0001-01-01T00:00:00%2B23:59",
    "9999-12-31T23:59:59-23:59",
    "number+id+in+" + "9" * 30,
    "date+created_at+between+0001-01-01,9999-12-31T23:59:59-12:00",
    "string+login+in+%00",
    "asc+string+login",
    ",".join(["1"] * 2_000),
    "'%22;--",
    "%25%5F",
]


@pytest.mark.parametrize("odd", ODD_TEXTS, ids=lambda odd: odd[:30])
def test_no_odd_value_in_a_query_is_an_internal_error(searching, odd):
    for path in QUERIES:
        answer = searching.ask("GET", path + odd)
        assert answer.status == 200 or is_refusal(answer, 400, 404, 422), (path, answer)


@pytest.mark.parametrize(
    "body", [b"\xff", b'{"a": "\xff"}', b"a=\xff", b"user[login]=%ff", b"{", b"}", b"\xef\xbb\xbf{}", b"\0"]
)
def test_bytes_that_are_no_text_are_refused(bob, body):
    for path in ("/session", "/login", "/users", "/address_book", "/subscriptions"):
        for kind in (JSON, FORM, "text/plain", "\xe9"):
            answer = bob.ask("POST", path, body=body, headers={"Content-Type": kind})
            assert is_refusal(answer, 400, 422), (path, kind, answer)


@pytest.mark.parametrize(
    "target", [b"/address_book?udid=\xff", b"/address_book?udid=\xc3\xa9", b"/users/\xff", b"/\xf0\x9f\x98\x80"]
)
def test_bytes_in_the_path_that_should_have_been_escaped_are_no_internal_error(ann, target):
    head = (
        b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCB-Token: " + ann.token.encode() + b"\r\n\r\n"
    )
    status = raw(ann.server, head).split(b" ", 2)[1]
    assert status in (b"200", b"400", b"404")
    assert ann.ask("GET", "/session").status == 200


@pytest.mark.parametrize("value", ["\xe9", "\xff\xfe", "x" * 5000, "a b", "0" * 40, "None"])
@pytest.mark.parametrize("header", ["CB-Token", "QB-Token", "CB-AuthKey"])
def test_odd_values_in_headers_are_nobody(server_on_sqlite, header, value):
    answer = ask(server_on_sqlite, "POST", "/users", {"user": {"login": "x"}}, headers={header: value})
    assert is_refusal(answer, 401)


def test_both_tokens_at_once_are_one(bob):
    assert bob.ask("GET", "/session", headers={"QB-Token": ""}).status == 200


# ── an internal error ────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_internal_error_is_json_and_says_nothing(databases, tmp_path):
    """A table is gone: nothing that a caller could have done, and nothing to tell one."""
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as server:
        who = person(server, full_name="Ann Example")
        with sqlite3.connect(Path(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("DROP TABLE subscriptions")
        answer = who.ask("GET", "/subscriptions")
        assert (answer.status, answer.json) == (500, {"errors": ["Internal error"]})
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert who.ask("GET", "/session").status == 200
        assert "request failed" in server.printed
        assert "Ann Example" not in server.printed
        assert who.token not in server.printed
