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
    """The reset comes after the hash was compared and before the session is opened."""
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


def test_a_chosen_password_has_12_characters(db, password):
    login = sign_in(db, password)
    with pytest.raises(errors.Invalid, match="minimum is 12 characters") as refused:
        admins.change_password(db, Limits(), login, password, "elevenchars", BY)
    assert refused.value.field == "new"
    admins.change_password(db, Limits(), login, password, "twelve-chars", BY)
    assert sign_in(db, "twelve-chars")


def test_a_session_that_ends_while_the_password_is_compared_changes_nothing(db, password, monkeypatch):
    login = sign_in(db, password)
    matches = passwords.matches

    def and_then_end(stored, given):
        right = matches(stored, given)
        admins.end_sessions(db, login, BY)
        return right

    monkeypatch.setattr(passwords, "matches", and_then_end)
    with pytest.raises(errors.SessionGone):
        admins.change_password(db, Limits(), login, password, "a-new-password", BY)
    monkeypatch.undo()
    assert sign_in(db, password)


def wrong(db, limits, address, email=EMAIL, now=NOW):
    """The refusal of a wrong password."""
    try:
        admins.sign_in(db, limits, email, "wrong", address, now)
    except errors.TooMany as refused:
        return refused.limit
    except errors.Unauthorized:
        return "wrong"


def test_wrong_passwords_for_one_admin_are_limited_over_all_addresses(db, password):
    limits = Limits(wrong_admin_passwords_per_hour=5)
    guesses = [wrong(db, limits, f"198.51.100.{host}") for host in range(8)]
    assert guesses == ["wrong"] * 5 + ["wrong_admin_passwords_per_hour"] * 3
    with pytest.raises(errors.TooMany):
        admins.sign_in(db, limits, EMAIL, password, "203.0.113.1", NOW)
    # One that nobody has is limited alike, so that the limit does not tell who is an admin.
    unknown = [wrong(db, limits, f"198.51.100.{host}", "nobody@example.com") for host in range(8)]
    assert unknown == guesses
    assert wrong(db, limits, "198.51.100.9", "other@example.com") == "wrong"
    assert admins.sign_in(db, limits, EMAIL, password, "203.0.113.1", NOW + 3600)


def test_strangers_cannot_keep_an_admin_out_of_an_address_that_was_the_admins_lately(db, password):
    limits = Limits(wrong_admin_passwords_per_hour=3)
    home, same_64 = "2001:db8::1", "2001:db8::abcd"
    admins.sign_in(db, limits, EMAIL, password, home, NOW)
    for host in range(5):
        wrong(db, limits, f"198.51.100.{host}")
    assert admins.sign_in(db, limits, EMAIL, password, same_64, NOW)
    with pytest.raises(errors.TooMany):
        admins.sign_in(db, limits, EMAIL, password, "2001:db8:0:1::1", NOW)
    # Guesses from there are still limited for that address.
    guesses = [wrong(db, limits, home) for _ in range(12)]
    assert guesses == ["wrong"] * 10 + ["wrong_passwords"] * 2


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_no_admins_own_address(db, password, loopback):
    """Behind a proxy that is not trusted, all requests come from this address, also those of an attacker."""
    limits = Limits(wrong_admin_passwords_per_hour=3, wrong_passwords=0)
    admins.sign_in(db, limits, EMAIL, password, loopback, NOW)
    assert [wrong(db, limits, loopback) for _ in range(4)] == ["wrong"] * 3 + ["wrong_admin_passwords_per_hour"]


def test_an_address_is_the_admins_for_30_days(db, password):
    limits = Limits(wrong_admin_passwords_per_hour=3)
    admins.sign_in(db, limits, EMAIL, password, ADDRESS, NOW)
    later = NOW + admins.KNOWN_SECONDS + 1
    for host in range(3):
        wrong(db, limits, f"198.51.100.{host}", now=later)
    with pytest.raises(errors.TooMany):
        admins.sign_in(db, limits, EMAIL, password, ADDRESS, later)


def test_a_reset_lets_the_admin_in_at_once_whatever_strangers_have_tried(db, password):
    limits = Limits(wrong_admin_passwords_per_hour=3)
    for host in range(5):
        wrong(db, limits, f"198.51.100.{host}")
    new = admins.reset_password(db, EMAIL)
    assert admins.sign_in(db, limits, EMAIL, new, ADDRESS, NOW)


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
    """Guesses from many addresses must not fill the audit log."""
    few = Limits(audited_refusals_per_hour=3)
    for n in range(6):
        with pytest.raises(errors.Unauthorized):
            admins.sign_in(db, few, f"eve{n}@example.com", "wrong", f"192.0.2.{n}", NOW)
    assert [one.action for one in audit.page(db, 10)].count("log-in refused") == 3
    with pytest.raises(errors.Unauthorized):
        admins.sign_in(db, few, "eve@example.com", "wrong", "192.0.2.9", NOW + 3600)
    assert [one.action for one in audit.page(db, 10)].count("log-in refused") == 4


# ── roles, sessions, invitations ─────────────────────────────────────────────────────────────────────────────────────


def test_a_role_counts_from_the_next_request_on(db, password):
    login = sign_in(db, password)
    assert login.is_owner
    admins.create(db, "other@example.com", NOW)
    admins.set_role(db, EMAIL, "viewer", by=BY)
    assert not admins.session(db, login.token, NOW).is_owner
    assert {one.email: one.role for one in admins.all_(db)} == {EMAIL: "viewer", "other@example.com": "owner"}
    assert audit.page(db, 1)[0].detail == "owner → viewer"
    with pytest.raises(errors.NotFound):
        admins.set_role(db, "nobody@example.com", "owner")


def test_one_owner_always_stays(db, password):
    admins.create(db, "viewer@example.com", NOW, role="viewer")
    with pytest.raises(errors.Invalid):
        admins.set_role(db, EMAIL, "viewer")
    with pytest.raises(errors.Invalid):
        admins.remove(db, EMAIL, keep_owner=True)
    admins.remove(db, "viewer@example.com", keep_owner=True)
    assert [(one.email, one.role) for one in admins.all_(db)] == [(EMAIL, "owner")]


def test_sessions_are_listed_and_ended_one_by_one(db, password):
    first = sign_in(db, password)
    second = admins.sign_in(db, Limits(), EMAIL, password, "192.0.2.2", NOW + 5, browser="Firefox on Linux")
    found = admins.sessions_of(db, EMAIL, NOW + 5)
    assert [(one.id, one.address, one.browser) for one in found] == [
        (second.id, "192.0.2.2", "Firefox on Linux"),
        (first.id, ADDRESS, ""),
    ]
    assert admins.session(db, found[0].id, NOW) is None  # the id opens nothing
    admins.end_session(db, EMAIL, second.id, BY)
    assert admins.session(db, second.token, NOW + 6) is None and admins.session(db, first.token, NOW + 6)
    assert [one.action for one in audit.page(db, 9, action="sessions ended")] == ["sessions ended"]
    for other in (second.id, "nonsense", ""):
        with pytest.raises(errors.NotFound):
            admins.end_session(db, EMAIL, other, BY)
    admins.create(db, "other@example.com", NOW)
    with pytest.raises(errors.NotFound):
        admins.end_session(db, "other@example.com", first.id, BY)  # it is not the other one's


def test_an_invitation_makes_an_admin_once(db, password):
    token = admins.invite(db, " Guest@Example.com", "viewer", BY)
    (open_,) = admins.invitations(db, NOW)
    assert (open_.email, open_.role) == ("guest@example.com", "viewer") and token not in open_.id
    assert admins.invited(db, token, NOW).email == "guest@example.com"
    with pytest.raises(errors.Invalid):
        admins.accept(db, token, "short", ADDRESS, NOW)
    login = admins.accept(db, token, "a password of mine", ADDRESS, NOW)
    assert (login.email, login.role) == ("guest@example.com", "viewer")
    assert admins.session(db, login.token, NOW)
    assert admins.sign_in(db, Limits(), "guest@example.com", "a password of mine", ADDRESS, NOW)
    assert admins.invitations(db, NOW) == []
    with pytest.raises(errors.NotFound):
        admins.accept(db, token, "a password of mine", ADDRESS, NOW)
    assert {"admin invited", "admin created"} <= {one.action for one in audit.page(db, 10)}


def test_an_invitation_that_was_withdrawn_or_has_expired_makes_nobody(db, password):
    withdrawn, late = (admins.invite(db, f"{name}@example.com", "owner", BY) for name in ("a", "b"))
    admins.withdraw(db, admins.invitations(db, NOW)[0].id, BY)
    over = NOW + admins.INVITED_SECONDS
    for token, at in ((withdrawn, NOW), (late, over), ("nonsense", NOW), ("", NOW)):
        with pytest.raises(errors.NotFound):
            admins.accept(db, token, "a password of mine", ADDRESS, at)
    assert [one.email for one in admins.all_(db)] == [EMAIL]
    for id_ in ("", "zz", "00" * 32):
        with pytest.raises(errors.NotFound):
            admins.withdraw(db, id_, BY)
    assert admins.sweep(db, over) == 1
    with pytest.raises(errors.Conflict):
        admins.invite(db, EMAIL, "viewer", BY)
