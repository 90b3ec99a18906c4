"""The page for browsers at / and at unknown paths."""

import pytest
from asking import ask
from dashboard.browsing import browser, faults, opened
from servers import Databases, free_port, serve

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory):
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.mark.parametrize("path, status", [("/", 200), ("/nowhere", 404), ("/index.html", 404), ("/users/1/x", 404)])
def test_a_browser_gets_a_page(server, path, status):
    answer = ask(server, "GET", path, headers=PAGE)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Accept" in answer.headers["Vary"]
    for link in ("/dashboard", "/docs", "/guide"):
        assert f'href="{link}"'.encode() in answer.raw


@pytest.mark.parametrize(
    "method, headers",
    [
        ("GET", {}),
        ("GET", {"Accept": "*/*"}),
        ("GET", {"Accept": "application/json"}),
        ("POST", PAGE),
        ("GET", PAGE | {"CB-Token": "x"}),
        ("GET", PAGE | {"QB-Token": "x"}),
    ],
)
def test_an_app_gets_json(server, method, headers):
    for path in ("/", "/nowhere"):
        answer = ask(server, method, path, headers=headers)
        assert (answer.status, answer.json) == (404, {"errors": ["Not found"]})


def test_paths_of_the_api_stay_json_for_a_browser(server):
    answer = ask(server, "GET", "/session", headers=PAGE)
    assert (answer.status, answer.headers["Content-Type"]) == (401, "application/json; charset=utf-8")


def test_there_is_a_favicon(server):
    answer = ask(server, "GET", "/favicon.ico")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/svg+xml")
    assert answer.raw.startswith(b"<svg")


def test_the_public_port_links_to_nothing_that_it_does_not_serve(databases, tmp_path):
    admin = free_port()
    with databases.fresh("sqlite") as url, serve(url, tmp_path, admin_port=str(admin)) as server:
        public = ask(server, "GET", "/", headers=PAGE)
        assert public.status == 200 and b'href="/dashboard"' not in public.raw
        assert b"address of their own" in public.raw
        hidden = ask(server, "GET", "/dashboard", headers=PAGE)
        assert hidden.status == 404 and b"/docs" not in hidden.raw


def test_the_page_looks_right_in_a_browser(server):
    with browser() as chromium:
        for options in ({"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}):
            with opened(chromium, server, **options) as page:
                page.goto("/")
                assert page.title() == "Ringbook"
                assert page.evaluate("getComputedStyle(document.querySelector('ul')).borderRadius") == "12px"
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
                assert faults(page) == []
