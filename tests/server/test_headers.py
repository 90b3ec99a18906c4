"""Security headers: responses are not cached, not framed, and not sent over plain connections again."""

import http.client
import ssl
from contextlib import closing

import pytest
from asking import ask, person
from dashboard.visiting import admin
from servers import Server, serve


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
