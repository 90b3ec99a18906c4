"""Forms that are sent twice, and secrets that are shown once."""

import pytest

from ringbook.config import Limits
from ringbook.core import admin_answers, admins

NOW = 1_800_000_000


@pytest.fixture
def login(db):
    password = admins.create(db, "op@example.com", NOW)
    return admins.sign_in(db, Limits(), "op@example.com", password, "192.0.2.1", NOW)


def test_a_form_begins_once_and_leads_to_the_same_page(db, login):
    assert admin_answers.begun(db, login, "n1", NOW)
    assert not admin_answers.begun(db, login, "n1", NOW)
    assert admin_answers.led_to(db, login, "n1", NOW) == admin_answers.UNFINISHED
    admin_answers.finished(db, login, "n1", "/dashboard/apps")
    assert admin_answers.led_to(db, login, "n1", NOW) == "/dashboard/apps"
    assert admin_answers.begun(db, login, "n2", NOW)


def test_a_form_that_changed_nothing_begins_again(db, login):
    assert admin_answers.begun(db, login, "n1", NOW)
    admin_answers.cancelled(db, login, "n1", NOW)
    assert admin_answers.begun(db, login, "n1", NOW)


def test_a_secret_is_shown_once_in_time_and_to_its_session_only(db, login):
    other = admins.Login(email="op@example.com", token="another", created_at=NOW, expires_at=NOW + 1)
    first, late = admin_answers.keep(db, login, "s3cret", NOW), admin_answers.keep(db, login, "late", NOW)
    assert admin_answers.shown(db, other, first, NOW) is None
    assert admin_answers.shown(db, login, first, NOW) == "s3cret"
    assert admin_answers.shown(db, login, first, NOW) is None
    assert admin_answers.shown(db, login, late, NOW + admin_answers.SECRET_SECONDS) is None
    with db.read() as tx:
        assert tx.all("SELECT name FROM admin_answers") == []


def test_a_text_of_one_kind_is_not_shown_as_another(db, login):
    nonce = admin_answers.keep(db, login, "typed", NOW, kind="refused")
    assert admin_answers.shown(db, login, nonce, NOW) is None
    assert admin_answers.shown(db, login, nonce, NOW, kind="refused") == "typed"


def test_what_has_expired_is_swept(db, login):
    admin_answers.begun(db, login, "n1", NOW)
    admin_answers.keep(db, login, "s3cret", NOW)
    assert admin_answers.sweep(db, NOW + admin_answers.SECRET_SECONDS) == 1
    assert admin_answers.sweep(db, NOW + admin_answers.FORM_SECONDS) == 1
