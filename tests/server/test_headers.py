"""Response headers: the names that clients look up by case, and the security headers.

Responses are not cached, not framed, and not sent over plain connections again.
"""

import http.client
import socket
import ssl
from collections.abc import Callable
from contextlib import closing

import pytest
from asking import Person, ask, person
from connecting import certificate
from dashboard.visiting import admin
from servers import DATABASES, Server, serve

CASED = [b"CB-Token-ExpirationDate", b"QB-Token-ExpirationDate"]


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/session", 200),
        ("GET", "/address_book.json", 200),
        ("POST", "/address_book", 422),
        ("GET", "/users/none", 404),
        ("GET", "/nowhere", 404),
        ("PROPFIND", "/session", 404),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 403),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
    ],
)
def test_no_cache_keeps_an_answer_and_no_browser_guesses_what_it_is(server, method, path, status):
    for answer in (person(server).ask(method, path), ask(server, method, path)):
        assert answer.status in (status, 401)
        assert answer.headers.get_all("Cache-Control") == ["no-store"]
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers["Strict-Transport-Security"] is None


def test_a_refused_browser_and_a_compressed_answer_have_them_too(server):
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    packed = {"Accept-Encoding": "gzip"}
    for answer in (ask(server, "OPTIONS", "/session", headers=asked), ask(server, "GET", "/docs", headers=packed)):
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")


def test_every_page_has_a_policy(server):
    visitor = admin(server)
    for path in ("/login", "/apps", "/nowhere", "/static/nothing.css"):
        page = visitor.get(path)
        assert "default-src 'none'" in page.headers["Content-Security-Policy"], path
        assert page.headers.get_all("Cache-Control") == ["no-store"]


def test_where_ringbook_speaks_tls_itself_browsers_stay_with_it(databases, tmp_path):
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    files = {"tls_cert": str(tmp_path / "server.pem"), "tls_key": str(tmp_path / "server.pem")}
    with (
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, ca=tmp_path / "ca.pem", **files) as server,
    ):
        for path in ("/session", "/nowhere", "/healthz", "/docs", "/dashboard/login", "/dashboard/nowhere"):
            assert header_over_tls(server, path, tmp_path / "ca.pem") == "max-age=31536000", path


def header_over_tls(server: Server, path: str, authority: object) -> str | None:
    trusted = ssl.create_default_context(cafile=str(authority))
    with closing(http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=trusted)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.headers["Strict-Transport-Security"]


# ── names as they are spelled ────────────────────────────────────────────────────────────────────────────────────────


def raw(server: Server, request: bytes, trusted: ssl.SSLContext | None = None) -> bytes:
    """Send these bytes; everything that the server sends until it closes the connection."""
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    with closing(trusted.wrap_socket(plain, server_hostname="127.0.0.1") if trusted else plain) as one:
        one.sendall(request)
        return b"".join(iter(lambda: one.recv(65536), b""))


def names_of_expiration(answer: bytes) -> list[bytes]:
    """The names of the headers with the end of the session, as they are spelled."""
    head = answer.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    return [name for name in names if name.lower().endswith(b"-token-expirationdate")]


def last(method: str, path: str, body: str = "", *headers: str) -> Callable[[Person], bytes]:
    """A request after which the server closes the connection."""

    def made(who: Person) -> bytes:
        lines = [f"{method} {path.format(id=who.id)} HTTP/1.1", "Host: x", f"CB-Token: {who.token}", *headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*lines, "Connection: close", "", body]).encode()

    return made


def kept_and_last(path: str) -> Callable[[Person], bytes]:
    """A request that leaves the connection open, and one that closes it."""
    first = "GET {} HTTP/1.1\r\nHost: x\r\nQB-Token: {}\r\n\r\n"
    return lambda who: first.format(path.format(id=who.id), who.token).encode() + last("GET", "/nowhere")(who)


def with_large_body(who: Person) -> bytes:
    """An upload that is refused before its body has arrived."""
    return last("POST", "/address_book", "", "Content-Length: 900000000")(who)


def of_http_1_0(who: Person) -> bytes:
    return f"GET /session HTTP/1.0\r\nHost: x\r\nCB-Token: {who.token}\r\n\r\n".encode()


REQUESTS = [
    pytest.param(200, kept_and_last("/session"), id="event loop"),
    pytest.param(200, kept_and_last("/users/{id}"), id="event loop, with an id"),
    pytest.param(200, kept_and_last("/address_book"), id="thread"),
    pytest.param(404, kept_and_last("/users/0"), id="refusal"),
    pytest.param(200, last("GET", "/session"), id="last of a connection"),
    pytest.param(200, last("HEAD", "/session"), id="head without a body"),
    pytest.param(200, of_http_1_0, id="HTTP 1.0"),
    pytest.param(200, last("PUT", "/users/{id}", '{"user":{}}', "Content-Type: application/json"), id="with a body"),
    pytest.param(400, with_large_body, id="body that is not read"),
    pytest.param(200, last("GET", "/address_book", "", "Origin: https://app.example"), id="browser"),
]


@pytest.fixture(scope="module", params=DATABASES)
def user(request: pytest.FixtureRequest, databases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spelled")
    with databases.fresh(request.param) as url, serve(url, folder) as server:
        yield person(server)


@pytest.mark.parametrize("status, request_of", REQUESTS)
def test_the_names_of_the_expiration_are_spelled_as_the_vendors_document_them(user, status, request_of):
    answer = raw(user.server, request_of(user))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert names_of_expiration(answer) == CASED


def test_a_new_session_and_a_large_compressed_answer_spell_them_so_too(user):
    app = user.server.app
    form = f"application_id={app.application_id}&auth_key={app.auth_key}"
    opened = last("POST", "/session", form, "Content-Type: application/x-www-form-urlencoded")
    answer = raw(user.server, opened(user))
    assert (answer[:13], names_of_expiration(answer)) == (b"HTTP/1.1 201 ", CASED)
    user.upload([{"name": f"Contact {n} " + "x" * 80, "phone": f"1202555{n:04}"} for n in range(100, 200)])
    for more in ([], ["Accept-Encoding: gzip"]):
        answer = raw(user.server, last("GET", "/address_book", "", *more)(user))
        assert (b"content-encoding: gzip" in answer, names_of_expiration(answer)) == (bool(more), CASED)


def test_over_tls_they_are_spelled_so_too(databases, tmp_path):
    settings, trusted = certificate(tmp_path)
    with databases.fresh("sqlite") as url, serve(url, tmp_path, ca=tmp_path / "ca.pem", **settings) as server:
        app = server.app
        form = f"application_id={app.application_id}&auth_key={app.auth_key}&user[guest]=1&user[full_name]=Guest"
        head = f"POST /session HTTP/1.1\r\nHost: x\r\nContent-Length: {len(form)}\r\nConnection: close\r\n\r\n"
        answer = raw(server, (head + form).encode(), trusted)
        assert (answer[:13], names_of_expiration(answer)) == (b"HTTP/1.1 201 ", CASED)
