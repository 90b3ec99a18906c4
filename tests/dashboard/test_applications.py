"""Applications in the dashboard: create, show, rotate keys, delete."""

import contextlib
import html
import re
import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asking import open_session, person, rows
from dashboard.visiting import admin
from sealed import application_behind
from servers import SEAL, application, serve

from ringbook.core import applications
from ringbook.dashboard.snippets import SNIPPETS, endpoint_of
from ringbook.store import db as store

NAME = "Friends & <b>co</b>"
SDK = Path(__file__).parent.parent / "e2e"


@pytest.fixture
def app(server):
    return application(server.database_url, NAME)


@pytest.fixture
def visitor(server):
    return admin(server)


def keys_of(server, app_id):
    found = application_behind(server, app_id)
    return {"auth_key": found.auth_key, "auth_secret": found.auth_secret}


def test_an_application_is_made_and_its_secret_is_shown_once(visitor, server):
    page = visitor.follow(visitor.post("/apps", name="New <i>one</i>"))
    app_id = int(page.value("application-id"))
    kept = keys_of(server, app_id)
    assert (page.value("auth-key"), page.value("auth-secret")) == (kept["auth_key"], kept["auth_secret"])
    assert page.headers["Cache-Control"] == "no-store"
    for path in (f"/apps/{app_id}/keys", "/apps", f"/apps/{app_id}/users/settings"):
        later = visitor.get(path)
        assert kept["auth_secret"] not in later.html and "<i>one" not in later.html
    assert "New <i>one</i>" in visitor.get("/apps").words


def test_a_page_that_shows_a_secret_shows_it_once_and_only_to_its_session(visitor, server):
    sent = visitor.post("/apps", name="Once")
    path = sent.goes_to.removeprefix("/dashboard")
    stranger = admin(server).get(path)
    assert stranger.status == 410 and "was shown already" in stranger.words
    page = visitor.get(path)
    secret = page.value("auth-secret")
    assert secret and secret not in sent.html + str(sent.headers)
    again = visitor.get(path)
    assert again.status == 410 and secret not in again.html and "ringbook app show" in again.words
    left = rows(server, "SELECT sealed FROM admin_answers")
    assert all(secret.encode() not in bytes(row["sealed"]) for row in left)


def test_reloading_makes_no_second_application_and_rotates_no_keys_twice(visitor, server, app):
    """A form that is sent again leads to the same page, and is carried out once."""
    for path, values in (("/apps", {"name": "Twice"}), (f"/apps/{app.application_id}/keys/rotate", {"typed": NAME})):
        nonce = secrets.token_urlsafe(12)
        first = visitor.post(path, nonce=nonce, **values)
        kept = keys_of(server, app.application_id)
        assert visitor.post(path, nonce=nonce, **values).goes_to == first.goes_to
        assert keys_of(server, app.application_id) == kept
    assert len(rows(server, "SELECT id FROM applications WHERE name = 'Twice'")) == 1


def test_a_form_that_was_refused_may_be_sent_again(visitor, server):
    nonce = secrets.token_urlsafe(12)
    assert visitor.post("/apps", nonce=nonce, name="x" * 101).is_refused
    assert "/secret/" in visitor.post("/apps", nonce=nonce, name="Mended").goes_to
    assert len(rows(server, "SELECT id FROM applications WHERE name = 'Mended'")) == 1


def test_two_refused_forms_at_the_same_moment_are_both_refused(visitor):
    """Neither waits for the other one, and neither is told that a form is still being carried out."""
    nonce = secrets.token_urlsafe(12)
    with ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(lambda _: visitor.post("/apps", nonce=nonce, name="x" * 101), range(4)))
    assert all(page.is_refused for page in sent)


def test_two_forms_at_the_same_moment_are_carried_out_once(visitor, server):
    nonce = secrets.token_urlsafe(12)
    with ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(lambda _: visitor.post("/apps", nonce=nonce, name="At once"), range(4)))
    assert len({page.goes_to for page in sent}) == 1
    assert len(rows(server, "SELECT id FROM applications WHERE name = 'At once'")) == 1


def test_a_name_that_is_refused_says_why(visitor):
    page = visitor.refused(visitor.post("/apps", name="x" * 101))
    assert "must have 1 to 100 characters" in page.words and page.value("name") == "x" * 101


def test_every_sdk_has_its_lines_with_the_endpoint_and_the_keys(visitor, server, app):
    page = visitor.get(f"/apps/{app.application_id}/keys")
    assert [one.title for one in SNIPPETS] == ["JavaScript", "React Native", "Flutter", "Android", "iOS", "QuickBlox"]
    codes = dict(re.findall(r'<code id="([a-z-]+)-code">(.*?)</code>', page.html, re.DOTALL))
    assert codes.keys() == {one.id for one in SNIPPETS}
    for code in codes.values():
        assert app.auth_key in code and f"127.0.0.1:{server.port}" in code
    assert app.auth_secret not in page.html
    moved = visitor.get(f"/apps/{app.application_id}/keys?endpoint=https%3A%2F%2Fbook.example%2F")
    assert "https://book.example&#34; } }" in moved.html and f"127.0.0.1:{server.port}" not in moved.html


def test_the_javascript_that_is_shown_runs_as_it_stands(visitor, server, app):
    person(server, app, full_name="Bob", phone="+1 202 555 0142")
    page = visitor.get(f"/apps/{app.application_id}/keys")
    code = re.search(r'<code id="javascript-code">(.*?)</code>', page.html, re.DOTALL)[1]
    program = html.unescape(code) + "\nconsole.log(here.items.map((item) => item.user.full_name).join());"
    ran = subprocess.run(
        ["node", "--input-type=module", "-"], input=program, cwd=SDK, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0 and ran.stdout.strip().endswith("Bob"), ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "typed, good",
    [
        ("https://book.example", True),
        ("http://10.0.2.2:8080/", True),
        ("book.example", False),
        ("javascript:alert(1)", False),
        ('https://x" } }); steal(', False),
        ("https://a:99999", False),
        ("https://user:pass@host", False),
    ],
)
def test_an_endpoint_is_an_address_and_nothing_else(typed, good):
    endpoint, wrong = endpoint_of(typed, "http://here")
    assert (endpoint == typed.rstrip("/"), wrong == "") == (good, good)
    assert good or endpoint == "http://here"


def test_keys_are_rotated_only_once_the_name_was_typed(visitor, server, app):
    path = f"/apps/{app.application_id}/keys/rotate"
    before = keys_of(server, app.application_id)
    assert "stop working" in visitor.get(path).words
    assert visitor.post(path, typed="friends").is_refused
    assert keys_of(server, app.application_id) == before
    page = visitor.follow(visitor.post(path, typed=NAME))
    after = keys_of(server, app.application_id)
    assert page.value("auth-secret") == after["auth_secret"] != before["auth_secret"]
    noted = rows(server, "SELECT action FROM audit WHERE app_id = :app", app=app.application_id)
    assert [row["action"] for row in noted] == ["keys rotated"]


def test_an_application_is_renamed(visitor, app):
    path = f"/apps/{app.application_id}/keys/name"
    assert "was renamed" in visitor.follow(visitor.post(path, name="Family")).words
    assert "Family" in visitor.get("/apps").words
    assert visitor.post(path, name=" ").is_refused


def test_an_application_is_deleted_only_once_its_name_was_typed(visitor, server, app):
    person(server, app)
    path = f"/apps/{app.application_id}/delete"
    assert visitor.post(path, typed="").is_refused
    assert open_session(server, app).status == 201
    gone = visitor.follow(visitor.post(path, typed="Friends & <b>co</b>"))
    assert "was deleted, with 1 user." in gone.words
    assert visitor.get(f"/apps/{app.application_id}/keys").status == 404


def test_without_an_application_the_page_says_how_to_make_one(databases, tmp_path):
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as server:
        visitor = admin(server)
        with contextlib.closing(store.connect(url, seal=SEAL)) as db:
            for app in applications.all_(db):
                applications.delete(db, app.id)
        assert visitor.get("").goes_to == "/dashboard/apps"
        page = visitor.get("/apps")
        assert "No application yet" in page.words and "Users" not in page.words
