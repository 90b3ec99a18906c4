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


def asked(visitor, **values):
    """The page of the result."""
    return visitor.follow(visitor.post(visitor.base, **values))


def test_both_sides_are_asked(server, app, visitor):
    """Whom does Bob not find? Who does not find Ann?"""
    bob, ann = person(server, app), person(server, app, phone=ANN)
    bob.upload([{"phone": ANN, "name": "Annie"}])
    page = visitor.get(f"/apps/{app.application_id}/users/{ann.id}")
    assert f'href="/dashboard{visitor.base}?contact={ann.id}"' in page.html
    assert visitor.get(f"{visitor.base}?contact={ann.id}").value("contact") == str(ann.id)
    page = asked(visitor, user=bob.id, contact=ann.login)
    assert f"Found: the app of user {bob.id} is shown user {ann.id}" in page.words
    assert f"?user={ann.id}&amp;contact={bob.id}" in page.html  # the other way round
    page = visitor.refused(visitor.post(visitor.base, user=ann.id, contact=bob.id))
    assert f"User {bob.id} has no number, so nobody finds this user." in page.words


def test_who_is_found_raises_no_alarm(server, app, visitor):
    bob = person(server, app)
    person(server, app, phone=ANN)
    bob.upload([{"phone": ANN, "name": "Annie"}])
    page = asked(visitor, user=bob.id, contact=ANN)
    assert "The push about it" in page.words and "failed" not in page.words
    assert "note" in page.words.partition("The push about it")[2]


def test_the_way_is_told_step_by_step(server, app, visitor):
    bob, ann = person(server, app), person(server, app)
    bob.upload([{"phone": ANN, "name": "Annie <i>"}])
    page = asked(visitor, user=bob.login, contact="+1 202 555 0101")
    assert "Not found: no user of this application has the number." in page.words
    assert "Registered : failed" in page.words and "the contact has to sign up" in page.words
    ann.ask("PUT", f"/users/{ann.id}", {"user": {"phone": ANN}})
    page = asked(visitor, user=bob.id, contact=ANN)
    assert f"Found: the app of user {bob.id} is shown user {ann.id}" in page.words


def test_the_name_shows_after_a_reveal_and_stays_text(server, app, visitor):
    bob = person(server, app)
    bob.upload([{"phone": ANN, "name": "Annie <i>"}])
    page = asked(visitor, user=bob.id, contact=ANN)
    assert "Annie" not in page.html and "Reveal the name" in page.words
    revealed = {"action": "contacts revealed", "app_id": app.application_id}
    assert entries_behind(server, **revealed) == []
    sent = visitor.post(visitor.base, user=bob.id, contact=ANN, names="on")
    page = visitor.follow(sent)
    assert "as “Annie &lt;i&gt;”" in page.html and "Reveal the name" not in page.words
    (entry,) = entries_behind(server, **revealed)
    assert (entry.subject, entry.detail, entry.address) == (f"user {bob.id}", "…01", "127.0.0.1")
    assert "Annie" in visitor.follow(sent).html  # its address shows it again, without another entry
    assert len(entries_behind(server, **revealed)) == 1
    elsewhere = admin(server).follow(sent)
    assert "Annie" not in elsewhere.html and elsewhere.value("contact") == ANN
    assert ANN.removeprefix("+") not in sent.goes_to


def test_what_is_wrong_is_said_beside_it(server, app, visitor):
    empty = visitor.refused(visitor.post(visitor.base, user="", contact=""))
    assert empty.words.count("Enter a value.") == 2
    sent = visitor.post(visitor.base, user="nobody@example.com", contact=ANN)
    assert "nobody" not in sent.goes_to and ANN[1:] not in sent.goes_to
    page = visitor.refused(sent)
    assert "Nobody has this id, login, e-mail or phone." in page.words
    assert page.value("contact") == ANN
    elsewhere = person(server)
    page = visitor.refused(visitor.post(visitor.base, user=elsewhere.id, contact=ANN))
    assert "Nobody has this id, login, e-mail or phone." in page.words
    page = asked(visitor, user=person(server, app).id, contact="12 34 56 7")
    assert "fewer than 10" in page.words and "Found by the app" not in page.words


def test_a_user_may_be_named_in_the_address_but_no_number(visitor):
    page = visitor.get(visitor.base + "?user=7&contact=12025550101")
    assert page.value("user") == "7" and page.value("contact") == ""
