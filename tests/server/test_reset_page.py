"""The page for a new password, at a real server that sends a real mail over SMTP."""

import time
from urllib.parse import urlencode

import pytest
from asking import Answer, ask, open_session, person
from dashboard.browsing import browser, faults, opened
from servers import Databases, Server, serve
from smtp import Mailbox, listening

NEW = "battery-staple"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def mailbox():
    with listening() as found:
        yield found


@pytest.fixture(scope="module")
def server(databases: Databases, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("server")
    with databases.fresh("sqlite") as url, serve(url, folder, **mailbox.config) as running:
        yield running


def linked(server: Server, mailbox: Mailbox, email: str, **headers: str) -> str:
    """The path of the link that a new user with this e-mail gets."""
    ann = person(server)
    assert ann.ask("PUT", f"/users/{ann.id}", {"user": {"email": email}}).status == 200
    answer = ask(server, "GET", f"/users/password/reset?email={email}", headers={"CB-Token": ann.token, **headers})
    assert (answer.status, answer.raw) == (200, b"")
    deadline = time.monotonic() + 20
    while email not in mailbox.recipients:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return f"/reset/{mailbox.token()}"


def chosen(server: Server, path: str, password: str, again: str | None = None) -> Answer:
    form = urlencode({"password": password, "again": password if again is None else again})
    return ask(server, "POST", path, body=form.encode(), headers=FORM)


def test_the_link_of_a_mail_leads_to_a_new_password(server, mailbox):
    path = linked(server, mailbox, "ann@example.org", Host="evil.example")
    assert "https://contacts.example.com/reset/" in mailbox.text() and "evil" not in mailbox.text()
    for method in ("GET", "HEAD", "GET"):  # programs that scan mails follow links, too
        answer = ask(server, method, path)
        assert answer.status == 200
    assert chosen(server, path, NEW).status == 200
    user = {"email": "ann@example.org", "password": NEW}
    assert open_session(server, server.app, user).status == 201
    assert open_session(server, server.app, user | {"password": "correct-horse"}).status == 401
    assert ask(server, "GET", path).status == chosen(server, path, NEW).status == 404
    assert path.rpartition("/")[2] not in server.printed and "ann@" not in server.printed


def test_the_page_runs_nothing_and_tells_nobody_its_address(server, mailbox):
    answer = ask(server, "GET", linked(server, mailbox, "bob@example.org"))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "form-action 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "script-src" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_mistake_shows_the_form_again(server, mailbox):
    path = linked(server, mailbox, "cat@example.org")
    for password, again, why in (
        ("short", "short", b"too short"),
        (NEW, "other-words", b"different"),
        ("", "", b"short"),
    ):
        answer = chosen(server, path, password, again)
        assert (answer.status, why in answer.raw, b"<form" in answer.raw) == (422, True, True)
    assert ask(server, "POST", path, body=b"\xff", headers=FORM).status == 400
    assert ask(server, "POST", path, body=b"x" * 20_000, headers=FORM).status == 400
    assert chosen(server, path, NEW).status == 200


@pytest.mark.parametrize("path", ["/reset/x", "/reset/" + "x" * 43, "/reset/", "/reset/a/b"])
def test_what_is_no_link_leads_nowhere(server, path):
    assert ask(server, "GET", path).status == 404
    assert chosen(server, path, NEW).status == 404


def test_the_answer_is_the_same_for_an_e_mail_that_nobody_has(server):
    ann = person(server)
    for method, path, value in (
        ("GET", "/users/password/reset?email=nobody@example.org", None),
        ("POST", "/users/password/reset.json", {"email": "nobody@example.org"}),
    ):
        answer = ann.ask(method, path, value)
        assert (answer.status, answer.raw) == (200, b"")
    assert ann.ask("GET", "/users/password/reset").status == 422


def test_a_person_chooses_a_password_in_a_browser(server, mailbox):
    path = linked(server, mailbox, "dan@example.org")
    with browser() as chromium:
        for options in ({"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}):
            with opened(chromium, server, **options) as page:
                page.goto(path)
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
                assert faults(page) == []
        with opened(chromium, server) as page:
            page.goto(path)
            page.fill("input[name=password]", NEW)
            page.fill("input[name=again]", NEW)
            page.click("button")
            assert page.title() == "The password is changed"
            assert faults(page) == []
    assert open_session(server, server.app, {"email": "dan@example.org", "password": NEW}).status == 201
