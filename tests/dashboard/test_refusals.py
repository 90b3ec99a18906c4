"""Refused forms lead to a page that shows why and what was typed, once, and contains no secret."""

import base64
from contextlib import closing

import pytest
from asking import rows, write
from dashboard.visiting import Visitor, admin, make_admin
from sealed import answers_behind
from servers import SEAL, application

from ringbook.core import admin_answers
from ringbook.dashboard import refusals
from ringbook.store import db as databases


@pytest.fixture
def app(server):
    return application(server.database_url, "Friends")


@pytest.fixture
def visitor(server):
    return admin(server)


def kept(server):
    """The names of the rows that are kept for the next page of a session."""
    return {bytes(row["name"]) for row in rows(server, "SELECT name FROM admin_answers")}


def test_reloading_the_page_of_a_refused_form_sends_nothing_and_forgets_what_was_typed(server, visitor):
    before = kept(server)
    sent = visitor.post("/apps", name="x" * 101)
    assert len(kept(server) - before) == 1
    assert visitor.refused(sent).value("name") == "x" * 101
    again = visitor.follow(sent)
    assert again.status == 200 and again.value("name") == "" and "must have" not in again.words
    assert kept(server) <= before


def test_another_session_sees_nothing_of_a_refused_form(server, visitor):
    sent = visitor.post("/apps", name="y" * 101)
    assert "yyy" not in admin(server).follow(sent).html
    assert visitor.refused(sent).value("name") == "y" * 101


def test_a_refusal_that_nobody_looks_at_expires(server, visitor):
    sent = visitor.post("/apps", name="z" * 101)
    write(server, "UPDATE admin_answers SET expires_at = 1")
    assert "zzz" not in visitor.follow(sent).html


def test_no_secret_that_was_typed_is_kept(server, visitor, app):
    """Not even sealed, until the page is shown."""
    card = f"/apps/{app.application_id}/users/settings"
    visitor.post(f"{card}/codes", sms_twilio_auth_token="typed-secret-1", sms_daily_cap="many")
    visitor.post(f"/apps/{app.application_id}/push/providers/webhook", webhook_secret="typed-secret-2", webhook_url="x")
    visitor.post("/account/password", old="typed-secret-3", new="typed-secret-4", again="typed-secret-5")
    found = [one for one in answers_behind(server) if "wrong" in one]
    assert len(found) >= 3 and any('"sms_daily_cap":"many"' in one for one in found)
    assert "typed-secret" not in "".join(found)


def test_a_text_that_is_too_long_to_be_kept_is_left_out(visitor, app):
    path = f"/apps/{app.application_id}/users/settings/joined"
    page = visitor.refused(visitor.post(path, contact_joined_template="x" * 20_000))
    assert "xxx" not in page.html and 'aria-invalid="true"' in page.html


def test_nothing_is_kept_of_a_log_in_and_its_address_says_nothing_in_clear(server):
    email, _ = make_admin(server)
    before = kept(server)
    sent = Visitor(server).post("/login", email=email, password="typed-secret")
    assert kept(server) == before
    part = sent.goes_to.partition("refused=")[2]
    assert email.encode() not in base64.urlsafe_b64decode(part + "==")
    assert Visitor(server).refused(sent).value("email") == email
    for wrong in ("x", part[:-4], "A" * 40, "%00"):
        page = Visitor(server).get(f"/login?refused={wrong}")
        assert page.status in (200, 400) and email not in page.html


def test_a_refused_log_in_is_forgotten_after_ten_minutes(server):
    with closing(databases.connect(server.database_url, pool=1, seal=SEAL)) as db:
        part = refusals.keep(db, None, refusals.Refusal(wrong={"password": "is wrong"}, at=1_000), 1_000)
        assert refusals.find(db, None, part, 1_000 + admin_answers.SECRET_SECONDS - 1).wrong
        assert refusals.find(db, None, part, 1_000 + admin_answers.SECRET_SECONDS) == refusals.NONE


def test_an_admin_who_is_logged_in_sees_a_refused_log_in_too(visitor, server):
    email, _ = make_admin(server)
    assert "is wrong" in visitor.refused(visitor.post("/login", email=email, password="wrong")).words
