"""The text of the first start. tests/server/test_process.py runs the JavaScript that it contains."""

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


def test_every_sdk_has_its_code():
    text = welcome.welcome(APP, URL, "/srv/ringbook.db", KEY_FILE, f"{URL}/dashboard", ADMIN)
    assert (
        'ConnectyCube.init({ appId: 7, authKey: "the-key" },'
        ' { endpoints: { api_url: "http://127.0.0.1:8081" }, debug: { mode: 0 } });' in text
    )
    assert text.count('setEndpoints("http://10.0.2.2:8081", "chat.invalid");') == 2
    assert 'init("7", "the-key");' in text
    assert 'init("7", "the-key", "the-secret");' in text
    assert "adb reverse tcp:8081 tcp:8081" in text
    assert "--host 0.0.0.0" in text
    assert "ringbook app show 7 --secrets" in text
    assert "Database: /srv/ringbook.db\nIts key:  /srv/ringbook.key " in text


def test_the_javascript_to_connect_is_three_lines():
    text = welcome.welcome(APP, URL, "/srv/ringbook.db", KEY_FILE, f"{URL}/dashboard", ADMIN)
    connect = text.split("is signed up:\n\n")[1].split("\n\n")[0].splitlines()
    assert len(connect) == 3


def test_the_dashboard_is_shown_with_an_admin_if_one_was_created():
    assert welcome.dashboard(load({}), URL) == "http://127.0.0.1:8081/dashboard"
    assert welcome.dashboard(load({"RINGBOOK_ADMIN_PORT": "9000"}), URL) == "http://127.0.0.1:9000/dashboard"
    assert welcome.dashboard(load({}), "http://[::1]:8081") == "http://[::1]:8081/dashboard"
    text = welcome.welcome(APP, URL, "/srv/ringbook.db", KEY_FILE, f"{URL}/dashboard", ADMIN)
    assert f"{URL}/dashboard\n\n    e-mail            admin@localhost\n    password          the-password\n" in text
    assert "e-mail" not in welcome.welcome(APP, URL, "/srv/ringbook.db", KEY_FILE, f"{URL}/dashboard", None)
