"""Cookies of the dashboard: hostile headers are read like none, in bounded time, and not by the standard library."""

import http.cookies
from pathlib import Path

import pytest
from dashboard.visiting import Visitor
from servers import Server
from starlette.requests import Request

import ringbook
from ringbook.dashboard import cookies

HOSTILE = {
    "60 KB of backslashes": 'ringbook_theme="' + "\\" * 60_000 + '"',
    "8 KB of backslashes": 'ringbook_theme="' + "\\" * 8_000 + '"',
    "quoted": 'ringbook_admin="a\\073 b"; ringbook_app="\\061"',
    "many": "; ".join(f"c{number}=x" for number in range(700)),
    "too many": "; ".join(f"c{number}=x" for number in range(6_000)),
    "no name": ";;;=;=x;  ; ringbook_admin; ringbook_theme",
}


def requested(*headers: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", header.encode("latin-1")) for header in headers]})


@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_gets_the_answer_of_a_visitor_without_cookies(server: Server, header: str) -> None:
    without = Visitor(server).ask("GET", "/dashboard/login")
    page = Visitor(server).ask("GET", "/dashboard/login", cookie=header)
    assert (page.status, page.words) == (without.status, without.words)


def test_a_cookie_is_found_by_its_name_and_the_last_of_several_counts() -> None:
    assert cookies.token(requested("x=ringbook_admin=y; ringbook_admin=a=b;ringbook_app=7")) == "a=b"
    assert cookies.token(requested("ringbook_admin=a; ringbook_admin=b")) == "b"
    assert cookies.token(requested("ringbook_admin=a", "ringbook_admin=c")) == "c"
    assert cookies.token(requested()) == ""
    assert cookies.theme(requested('ringbook_theme="dark"')) == ""


def test_a_header_beyond_its_bound_is_read_as_if_it_had_no_cookies() -> None:
    padding = "x=" + "y" * (cookies.LONGEST_HEADER - len("x=; ringbook_app=7"))
    assert cookies.app(requested(f"{padding}; ringbook_app=7")) == "7"
    assert cookies.app(requested(f"{padding}y; ringbook_app=7")) == ""


def test_no_cookie_is_read_by_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def unquote(value: str) -> str:
        raise AssertionError(value)

    monkeypatch.setattr(http.cookies, "_unquote", unquote)
    request = requested(*HOSTILE.values())
    assert [read(request) for read in (cookies.token, cookies.theme, cookies.app)] == ["", "", ""]
    for file in Path(ringbook.__file__).parent.rglob("*.py"):
        assert "http.cookies import" not in file.read_text() and "request.cookies" not in file.read_text(), file
