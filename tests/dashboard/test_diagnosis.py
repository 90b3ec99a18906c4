"""The page "Why not found?": the steps, and the name only after a reveal that the audit log records."""

import pytest
from asking import person
from dashboard.visiting import admin
from sealed import entries_behind
from servers import application

ANN = "+12025550101"


@pytest.fixture
def app(server):
    return application(server.database_url, "Why")


@pytest.fixture
def visitor(server, app):
    visitor = admin(server)
    visitor.base = f"/apps/{app.application_id}/why"
    visitor.get(visitor.base)
    return visitor


def test_the_way_is_told_step_by_step(server, app, visitor):
    bob, ann = person(server, app), person(server, app)
    bob.upload([{"phone": ANN, "name": "Annie <i>"}])
    page = visitor.post(visitor.base, user=bob.login, number="+1 202 555 0101")
    assert "Not found: no user of this application has the number." in page.words
    assert "Registered : failed" in page.words and "the contact has to sign up" in page.words
    ann.ask("PUT", f"/users/{ann.id}", {"user": {"phone": ANN}})
    page = visitor.post(visitor.base, user=bob.id, number=ANN)
    assert f"Found: the app of user {bob.id} is shown user {ann.id}" in page.words


def test_the_name_shows_after_a_reveal_and_stays_text(server, app, visitor):
    bob = person(server, app)
    bob.upload([{"phone": ANN, "name": "Annie <i>"}])
    page = visitor.post(visitor.base, user=bob.id, number=ANN)
    assert "Annie" not in page.html and "Reveal the name" in page.words
    revealed = {"action": "contacts revealed", "app_id": app.application_id}
    assert entries_behind(server, **revealed) == []
    page = visitor.post(visitor.base, user=bob.id, number=ANN, names="on")
    assert "as “Annie &lt;i&gt;”" in page.html and "Reveal the name" not in page.words
    (entry,) = entries_behind(server, **revealed)
    assert (entry.subject, entry.detail, entry.address) == (f"user {bob.id}", "…01", "127.0.0.1")


def test_what_is_wrong_is_said_beside_it(server, app, visitor):
    empty = visitor.post(visitor.base, user="", number="")
    assert empty.status == 422 and empty.words.count("Enter a value.") == 2
    page = visitor.post(visitor.base, user="nobody@example.com", number=ANN)
    assert page.status == 422 and "Nobody has this id, login, e-mail or phone." in page.words
    assert page.value("number") == ANN
    elsewhere = person(server)
    page = visitor.post(visitor.base, user=elsewhere.id, number=ANN)
    assert page.status == 422 and "Nobody has this id, login, e-mail or phone." in page.words
    page = visitor.post(visitor.base, user=person(server, app).id, number="12")
    assert "fewer than 10" in page.words and "Found by the app" not in page.words


def test_a_user_may_be_named_in_the_address_but_no_number(visitor):
    page = visitor.get(visitor.base + "?user=7&number=12025550101")
    assert page.value("user") == "7" and page.value("number") == ""
