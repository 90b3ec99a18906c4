"""Admins: their passwords and their sessions in the dashboard. Over HTTP: tests/dashboard/test_login.py."""

import pytest

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import admins, audit, passwords
from ringbook.core.audit import Actor

NOW = 1_800_000_000
EMAIL, ADDRESS = "op@example.com", "192.0.2.1"
BY = Actor(EMAIL, ADDRESS, NOW)


@pytest.fixture
def password(db):
    return admins.create(db, EMAIL, NOW)


def sign_in(db, password, now=NOW):
    return admins.sign_in(db, Limits(), EMAIL, password, ADDRESS, now)


def test_the_first_admin_is_made_once(db):
    email, password = admins.first(db, NOW)
    assert admins.first(db, NOW) is None
    assert admins.sign_in(db, Limits(), email, password, ADDRESS, NOW).email == admins.FIRST


def test_a_session_is_known_by_its_token_until_it_is_over(db, password):
    login = sign_in(db, password)
    assert admins.session(db, login.token, NOW).email == EMAIL
    assert admins.session(db, login.token + "x", NOW) is None
    assert admins.session(db, login.token, NOW + admins.LIFE_SECONDS) is None
    assert admins.sweep(db, NOW + admins.LIFE_SECONDS - 1) == 0
    assert admins.sweep(db, NOW + admins.LIFE_SECONDS) == 1


def test_what_asks_by_itself_keeps_no_session_alive(db, password):
    login = sign_in(db, password)
    later = NOW + admins.LIFE_SECONDS - 10
    assert admins.session(db, login.token, later, touch=False)
    assert admins.session(db, login.token, later + 20) is None


def test_a_password_that_is_reset_while_it_is_looked_at_opens_nothing(db, password, monkeypatch):
    """The reset comes between the look at the hash and the session."""
    matches = passwords.matches

    def and_then_reset(stored, given):
        right = matches(stored, given)
        admins.reset_password(db, EMAIL)
        return right

    monkeypatch.setattr(passwords, "matches", and_then_reset)
    with pytest.raises(errors.Unauthorized):
        sign_in(db, password)
    with db.read() as tx:
        assert tx.all("SELECT email FROM admin_sessions") == []


def test_a_form_is_signed_by_its_session_alone(db, password):
    one, other = sign_in(db, password), sign_in(db, password)
    assert one.is_csrf(one.csrf) and not one.is_csrf(other.csrf) and not one.is_csrf("") and not one.is_csrf("\ud800")
    assert one.token not in one.csrf


def test_a_new_password_leaves_only_this_session(db, password):
    one, other = sign_in(db, password), sign_in(db, password)
    with pytest.raises(errors.Invalid, match="is wrong"):
        admins.change_password(db, Limits(), one, "wrong", "a-new-password", BY)
    admins.change_password(db, Limits(), one, password, "a-new-password", BY)
    assert admins.session(db, one.token, NOW) and not admins.session(db, other.token, NOW)
    assert sign_in(db, "a-new-password")


def test_an_admin_who_is_removed_is_logged_in_nowhere_and_cannot_come_back(db, password):
    login = sign_in(db, password)
    assert [(one.email, one.seen_at) for one in admins.all_(db)] == [(EMAIL, NOW)]
    admins.remove(db, EMAIL, by=BY)
    assert admins.all_(db) == [] and admins.session(db, login.token, NOW) is None
    with pytest.raises(errors.Unauthorized):
        sign_in(db, password)
    assert [one.action for one in audit.page(db, 2)] == ["log-in refused", "admin removed"]
    with pytest.raises(errors.NotFound):
        admins.remove(db, EMAIL)


def test_the_audit_log_notes_only_so_many_refused_log_ins(db):
    """Whoever guesses from many addresses must not fill the database with entries."""
    few = Limits(audited_refusals_per_hour=3)
    for n in range(6):
        with pytest.raises(errors.Unauthorized):
            admins.sign_in(db, few, f"eve{n}@example.com", "wrong", f"192.0.2.{n}", NOW)
    assert [one.action for one in audit.page(db, 10)].count("log-in refused") == 3
    with pytest.raises(errors.Unauthorized):
        admins.sign_in(db, few, "eve@example.com", "wrong", "192.0.2.9", NOW + 3600)
    assert [one.action for one in audit.page(db, 10)].count("log-in refused") == 4
