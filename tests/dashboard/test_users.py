"""Users in the dashboard: find, show, export, erase."""

import contextlib
import json
import re
from urllib.parse import urlencode

import pytest
from asking import person
from dashboard.visiting import admin
from sealed import entries_behind
from servers import SEAL, application

from ringbook.core import applications, users
from ringbook.core.profile import columns
from ringbook.store import db as databases


@pytest.fixture(scope="module")
def app(server):
    return application(server.database_url, default_region="GB")


@pytest.fixture(scope="module")
def ann(server, app):
    """Ann, with a profile and an address book."""
    who = person(server, app, full_name="Ann <b>Bold</b> Lee", phone="+44 7700 900123", email="ann@example.com")
    who.upload([{"name": "Mum", "phone": "07700 900456"}, {"name": "<img src=x>", "phone": "+1 202 555 0142"}])
    return who


@pytest.fixture
def visitor(server):
    return admin(server)


def found(visitor, app, text):
    """The users that a search shows."""
    here = f"/apps/{app.application_id}/users"
    visitor.get(here)
    sent = visitor.post(here, q=text)
    page = visitor.follow(sent)
    assert page.value("q") == text.strip()
    assert listed(visitor.follow(sent), app) == listed(page, app)  # its address shows it again
    named = listed(visitor.get(f"{here}?{urlencode({'q': text})}"), app)
    assert listed(page, app) == named
    return named


def test_what_is_searched_for_stands_in_no_address(visitor, app):
    page = visitor.get(f"/apps/{app.application_id}/users")
    (form,) = re.findall(r"<form[^>]*role=\"search\"[^>]*>", page.html)
    assert 'method="post"' in form


@pytest.mark.parametrize("text", ["07700 900 123", "+44 (7700) 900123", "ann@example.com", "447700900123"])
def test_a_phone_or_an_e_mail_is_sealed_in_the_address_of_its_search(visitor, server, app, ann, text):
    path = f"/apps/{app.application_id}/users"
    sent = visitor.post(path, q=text, sort="name")
    assert "find=" in sent.goes_to and "q=" not in sent.goes_to
    assert not re.search(r"900|ann|example", sent.goes_to.partition("?")[2])
    assert listed(visitor.follow(sent), app) == listed(admin(server).follow(sent), app) == [ann.id]
    other = application(server.database_url, default_region="GB")
    moved = sent.goes_to.removeprefix("/dashboard").replace(path, f"/apps/{other.application_id}/users")
    assert "900" not in visitor.get(moved).words  # no other application opens it
    assert "cannot be read" in visitor.get(f"{path}?find=nonsense!").words


def listed(page, app):
    """The ids of the users on a page."""
    return [int(one) for one in re.findall(rf'href="/dashboard/apps/{app.application_id}/users/(\d+)"', page.html)]


def noted(server, action, user_id):
    """Is this action in the audit log?"""
    return entries_behind(server, action=action, subject=f"user {user_id}")


@pytest.mark.parametrize(
    "text",
    [
        "{id}",
        "#{id}",
        " {id} ",
        "{login}",
        "ANN@example.com",
        "+447700900123",
        "07700 900 123",
        "(0044) 7700-900123",
        "ann <b>",
    ],
)
def test_a_user_is_found_by_whatever_is_known(visitor, app, ann, text):
    assert ann.id in found(visitor, app, text.format(id=ann.id, login=ann.login))


def test_nobody_is_found_in_another_application_and_the_page_says_how_numbers_are_read(visitor, server, app, ann):
    other = application(server.database_url)
    assert found(visitor, other, "ann@example.com") == []
    assert "has no default region" in visitor.get(f"/apps/{other.application_id}/users?q=07700900123").words
    assert "numbers of GB" in visitor.get(f"/apps/{app.application_id}/users?q=nobody-is-called-this").words


def test_without_users_the_page_says_how_they_come(visitor, server):
    other = application(server.database_url)
    assert "No users yet" in visitor.get(f"/apps/{other.application_id}/users").words


def test_pages_follow_one_another_newest_first(visitor, server):
    other = application(server.database_url)
    with contextlib.closing(databases.connect(server.database_url, pool=1, seal=SEAL)) as db:
        app = applications.get(db, other.application_id)
        with db.write() as tx:
            ids = [users.add(tx, app, columns({"login": f"page-{n}"}), 1_800_000_000).id for n in range(120)]
    seen, path = [], f"/apps/{other.application_id}/users"
    while path:
        page = visitor.get(path)
        seen += listed(page, other)
        older = re.search(r'href="/dashboard([^"]*\?after=\d+)" rel="next"', page.html)
        path = older[1] if older else ""
    assert seen == sorted(ids, reverse=True)


def test_a_users_page_shows_the_profile_as_text(visitor, app, ann):
    page = visitor.get(f"/apps/{app.application_id}/users/{ann.id}")
    assert "<b>Bold</b>" not in page.html and "Ann <b>Bold</b> Lee" in page.words
    for words in ("ann@example.com", "447700900123", "not verified", "all devices 2", "No device yet"):
        assert words in page.words, words


def test_a_users_page_shows_who_is_told_and_when_pushes_wait(visitor, server, app):
    chosen = {"announce": "mutual", "quiet": {"from": "22:00", "to": "08:00"}, "time_zone": "Europe/Berlin"}
    user_id = person(server, app, contact_joined=chosen).id
    words = visitor.get(f"/apps/{app.application_id}/users/{user_id}").words
    assert (
        "Who is told those who have the number and whose number the user has, too Who finds everyone who has the number"
        in words
    )
    assert "Quiet hours 22:00 to 08:00, Europe/Berlin" in words


def test_another_applications_user_is_not_shown(visitor, server, ann):
    other = application(server.database_url)
    for path in ("", "/books/0", "/erase"):
        assert visitor.get(f"/apps/{other.application_id}/users/{ann.id}{path}").status == 404
    for path in ("/erase", "/export", "/sessions/end", "/books/0"):
        assert visitor.post(f"/apps/{other.application_id}/users/{ann.id}{path}", typed=ann.id).status == 404


def test_contacts_are_masked_until_one_is_revealed_which_is_written_down(visitor, server, app, ann):
    path = f"/apps/{app.application_id}/users/{ann.id}/books/0"
    page = visitor.get(path)
    for hidden in ("Mum", "900456", "0142", "src=x"):
        assert hidden not in page.html
    places = re.findall(r'name="place" value="(\d+)"', page.html)
    assert len(places) == 2 and "M…" in page.words
    before = len(entries_behind(server, action="contacts revealed"))
    sent = visitor.post(path, place=places[1])
    shown = visitor.follow(sent)
    assert shown.status == 200 and "+1 202 555 0142" in shown.words and "&lt;img src=x&gt;" in shown.html
    assert "Mum" not in shown.html
    log = entries_behind(server, action="contacts revealed")
    assert len(log) == before + 1 and log[0].subject == f"user {ann.id}" and "0142" not in log[0].detail
    assert "0142" in visitor.follow(sent).words  # reloading shows it again, and is not recorded again
    assert len(entries_behind(server, action="contacts revealed")) == before + 1
    assert "0142" not in admin(server).follow(sent).words  # it was not recorded for another session
    forged = sent.goes_to.removeprefix("/dashboard").replace(f"place={places[1]}", f"place={places[0]}")
    assert "Mum" not in visitor.get(forged).words
    assert visitor.post(path, place="1").status == 404
    assert visitor.get(path.replace("books/0", "books/7")).status == 404


def test_a_book_shows_the_contacts_that_were_added_in_front(visitor, server, app):
    bob = person(server, app)
    contacts = [{"phone": f"+1202555015{n}", "name": f"{'ABCDEF'[n]}x"} for n in range(6)]
    for first in (4, 3, 2, 1, 0):
        assert bob.upload(contacts[first:], force=1).status == 200
    path = f"/apps/{app.application_id}/users/{bob.id}/books/0"
    page = visitor.get(path)
    places = re.findall(r'name="place" value="(-?[0-9]+)"', page.html)
    assert "6 contacts" in page.words and len(places) == 6 and int(places[0]) < 0
    assert "+12025550150" in visitor.follow(visitor.post(path, place=places[0])).words
    before = f"{path}?after={places[1]}"
    assert visitor.get(before).html.count('name="place"') == 4
    assert f"after={places[1]}" in visitor.post(before, place=places[3]).goes_to


def test_an_export_is_a_file_and_in_the_audit_log(visitor, server, app, ann):
    file = visitor.post(f"/apps/{app.application_id}/users/{ann.id}/export")
    assert file.headers["Content-Disposition"] == f'attachment; filename="ringbook-user-{ann.id}.json"'
    assert json.loads(file.html)["user"]["email"] == "ann@example.com"
    assert file.headers["Cache-Control"] == "no-store"
    assert noted(server, "user exported", ann.id)


def test_sessions_are_ended(visitor, server, app):
    bob = person(server, app)
    page = visitor.follow(visitor.post(f"/apps/{app.application_id}/users/{bob.id}/sessions/end"))
    assert "1 session ended" in page.words and "No open session" in page.words
    assert bob.ask("GET", f"/users/{bob.id}").status == 401


def test_a_user_is_erased_only_once_the_id_was_typed(visitor, server, app):
    bob = person(server, app)
    path = f"/apps/{app.application_id}/users/{bob.id}"
    assert "permanently" in visitor.get(f"{path}/erase").words
    for typed in ("", "yes", str(bob.id + 1)):
        assert visitor.post(f"{path}/erase", typed=typed).is_refused
    assert visitor.get(path).status == 200
    assert f"User {bob.id} and all data" in visitor.follow(visitor.post(f"{path}/erase", typed=bob.id)).words
    assert visitor.get(path).status == 404
    assert noted(server, "user erased", bob.id)
