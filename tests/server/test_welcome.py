"""What is printed on a terminal when the server starts."""

from pathlib import Path

import pytest

from ringbook.app_settings import AppSettings
from ringbook.config import load
from ringbook.model import App
from ringbook.server import welcome

APP = App(
    id=7,
    name="My app",
    auth_key="the-key",
    auth_secret="the-secret",
    hash_key=b"",
    vapid_public_key="",
    settings=AppSettings(),
    created_at=0,
)
KEY_FILE = Path("/srv/ringbook.key")
ADMIN = ("admin@localhost", "the-password")
URL = "http://127.0.0.1:8081"


@pytest.mark.parametrize(
    "environ, url",
    [
        ({}, "http://127.0.0.1:8081"),
        ({"RINGBOOK_HOST": "0.0.0.0"}, "http://127.0.0.1:8081"),
        ({"RINGBOOK_HOST": "::"}, "http://[::1]:8081"),
        ({"RINGBOOK_HOST": "::1"}, "http://[::1]:8081"),
        ({"RINGBOOK_HOST": "192.0.2.7"}, "http://192.0.2.7:8081"),
        ({"RINGBOOK_TLS_CERT": "cert.pem", "RINGBOOK_TLS_KEY": "key.pem"}, "https://127.0.0.1:8081"),
    ],
)
def test_the_address_that_is_shown_can_be_reached_from_this_machine(environ, url):
    assert welcome.url(load(environ), 8081) == url


def first():
    return welcome.first_start(APP, URL, "/srv/ringbook.db", KEY_FILE, f"{URL}/dashboard", ADMIN)


def test_the_first_start_fits_a_terminal_of_80_columns_and_24_lines():
    lines = welcome.plain(first()).splitlines()
    assert len(lines) <= 23  # with the line of the shell
    assert max(map(len, lines)) <= 80


def test_the_first_start_shows_what_is_needed_and_names_the_commands_for_the_rest():
    text = welcome.plain(first())
    for needed in (
        f"running at {URL} ",
        f"Dashboard       {URL}/dashboard\n    e-mail        admin@localhost\n    password      the-password ",
        f"API reference   {URL}/docs\n",
        f"Guide           {URL}/guide\n",
        "Database        /srv/ringbook.db\n  Its key         /srv/ringbook.key\n",
        "application id  7\n  auth key        the-key\n  auth secret     the-secret\n",
        "ringbook app connect 7 ",
        "ringbook app show 7 --secrets ",
    ):
        assert needed in text


def test_a_later_start_shows_the_addresses_and_no_key():
    text = welcome.plain(welcome.start(URL, "/srv/ringbook.db", f"{URL}/dashboard"))
    assert f"Dashboard       {URL}/dashboard\n  API reference   {URL}/docs\n" in text
    assert "auth" not in text and "password" not in text


def test_without_an_admin_there_is_no_password():
    assert "password" not in welcome.first_start(APP, URL, "x", KEY_FILE, f"{URL}/dashboard", None)


def test_the_dashboard_is_at_the_admin_port_if_there_is_one():
    assert welcome.dashboard(load({}), URL) == "http://127.0.0.1:8081/dashboard"
    assert welcome.dashboard(load({"RINGBOOK_ADMIN_PORT": "9000"}), URL) == "http://127.0.0.1:9000/dashboard"
    assert welcome.dashboard(load({}), "http://[::1]:8081") == "http://[::1]:8081/dashboard"


def test_a_long_path_stays_in_one_line(capsys):
    path = "/srv/" + "very-long-folder/" * 12 + "ringbook.db"
    welcome.print_on_terminal(welcome.start(URL, path, f"{URL}/dashboard"))
    assert f"Database        {path}\n" in capsys.readouterr().out
