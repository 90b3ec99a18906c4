"""Logging in and out of the dashboard."""

import hashlib
from contextlib import closing

import pytest
from asking import came_from, rows, write
from dashboard.visiting import Visitor, admin, make_admin
from sealed import entries_behind
from servers import SEAL, serve

from ringbook.store import db as databases
from ringbook.store import row_macs

WRONG = "The e-mail or the password is wrong."


def refused_log_in(server, _headers=None, **values):
    """The page to which a refused log-in leads."""
    return Visitor(server).refused(Visitor(server).post("/login", _headers, **values))


def session_of(visitor):
    """The row of a visitor's session."""
    token_hash = hashlib.sha256(visitor.cookies["ringbook_admin"].encode()).digest()
    return rows(visitor.server, "SELECT * FROM admin_sessions WHERE token_hash = :hash", hash=token_hash)


def test_who_is_not_logged_in_is_sent_to_do_so_and_comes_back(server):
    email, password = make_admin(server)
    visitor = Visitor(server)
    assert visitor.get("/apps?x=1").goes_to == "/dashboard/login?next=/dashboard/apps%3Fx%3D1"
    form = visitor.get("/login?next=/dashboard/apps%3Fx%3D1")
    assert (form.status, "Log in" in form.words) == (200, True)
    came = visitor.post("/login", email=email.upper(), password=password, next="/dashboard/apps?x=1")
    assert came.goes_to == "/dashboard/apps?x=1"
    assert "Applications" in visitor.follow(came).words


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/dashboard/", "//evil.example", "/dashboard/\\evil", "/session", "javascript:x", ""]
)
def test_a_log_in_leads_nowhere_but_into_the_dashboard(server, wanted):
    email, password = make_admin(server)
    assert Visitor(server).post("/login", email=email, password=password, next=wanted).goes_to == "/dashboard"


def test_a_wrong_password_and_an_unknown_e_mail_get_the_same_words(server):
    email, _ = make_admin(server)
    sent = Visitor(server).post("/login", email=email, password="not-the-password", next="/dashboard/apps")
    wrong = Visitor(server).refused(sent)
    unknown = refused_log_in(server, email="nobody@example.com", password="not-the-password")
    assert "The e-mail or the password is wrong." in wrong.words
    assert wrong.words == unknown.words
    assert wrong.value("email") == email and "not-the-password" not in wrong.html
    assert 'name="next" value="/dashboard/apps"' in wrong.html
    assert "email" not in sent.goes_to and email.partition("@")[0] not in sent.goes_to


def test_the_cookie_is_for_us_alone_and_the_token_is_stored_as_a_hash(server):
    visitor = Visitor(server)
    email, password = make_admin(server)
    visitor.post("/login", email=email, password=password)
    (cookie,) = visitor.set_cookies
    assert {"HttpOnly", "Path=/dashboard", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    (row,) = session_of(visitor)
    assert row["email"] == SEAL.lookup("admin", 0, email) and visitor.cookies["ringbook_admin"] not in str(row)


def test_behind_a_proxy_with_tls_the_cookie_is_secure(databases, tmp_path):
    with databases.fresh("sqlite") as url, serve(url, tmp_path, trusted_proxies="127.0.0.1") as server:
        email, password = make_admin(server)
        visitor = Visitor(server)
        visitor.post("/login", {"X-Forwarded-Proto": "https"}, email=email, password=password)
        assert "Secure" in visitor.set_cookies[0]
        page = visitor.get(f"/apps/{server.app.application_id}/keys", x_forwarded_proto="https")
        assert page.value("endpoint") == f"https://127.0.0.1:{server.port}"


def test_tries_are_counted_by_e_mail_and_address_and_the_right_password_costs_none(databases, tmp_path):
    with (
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, trusted_proxies="127.0.0.1", wrong_passwords="3") as server,
    ):
        email, password = make_admin(server)
        here, there = came_from("192.0.2.1"), came_from("192.0.2.2")
        for _ in range(4):
            assert Visitor(server).post("/login", here, email=email, password=password).goes_to == "/dashboard"
        for _ in range(3):
            assert WRONG in refused_log_in(server, here, email=email, password="wrong").words
        late = Visitor(server).post("/login", here, email=email, password=password)
        assert "Too many wrong passwords" in Visitor(server).refused(late).words
        assert int(late.headers["Retry-After"]) > 0
        assert Visitor(server).post("/login", there, email=email, password=password).goes_to == "/dashboard"
        assert WRONG in refused_log_in(server, here, email="other@example.com", password="wrong").words


def test_tries_with_many_e_mails_from_one_address_come_to_an_end(databases, tmp_path):
    with databases.fresh("sqlite") as url, serve(url, tmp_path, wrong_sign_ins_per_hour="3") as server:
        said = [refused_log_in(server, email=f"{n}@example.com", password="wrong").words for n in range(5)]
        assert [WRONG in one for one in said] == [True, True, True, False, False]
        assert all("Wait " in one for one in said[3:])


@pytest.mark.parametrize("form", ["log in", "change the password"])
def test_a_form_that_meets_a_limit_is_counted_once(databases, tmp_path, form):
    limits = {"wrong_passwords": "1", "metrics_token": "open-sesame"}
    with databases.fresh("sqlite") as url, serve(url, tmp_path, **limits) as server:
        email, password = make_admin(server)
        visitor = Visitor(server)
        visitor.post("/login", email=email, password=password)
        visitor.get("/account")
        for _ in range(2):
            if form == "log in":
                last = Visitor(server).post("/login", email=email, password="wrong")
            else:
                last = visitor.post("/account/password", old="wrong", new="new-password", again="new-password")
        assert int(last.headers["Retry-After"]) > 0
        figures = Visitor(server).ask("GET", "/metrics", authorization="Bearer open-sesame").html
        assert 'ringbook_limits_reached_total{limit="wrong_passwords"} 1.0' in figures


def test_a_session_slides_with_its_use_and_ends_without(server):
    visitor = admin(server)
    write(server, "UPDATE admin_sessions SET last_used_at = last_used_at - 7200, expires_at = expires_at - 7200")
    before = session_of(visitor)[0]["expires_at"]
    assert visitor.get("/apps").status == 200
    assert session_of(visitor)[0]["expires_at"] > before
    write(server, "UPDATE admin_sessions SET expires_at = 1")
    assert visitor.get("/apps").goes_to.startswith("/dashboard/login")
    assert visitor.post("/apps", name="Late").goes_to == "/dashboard/login"


def test_a_session_ends_after_a_week_however_much_it_is_used(server):
    email, password = make_admin(server)
    visitor = Visitor(server)
    visitor.post("/login", email=email, password=password)
    week, row = 7 * 86_400, session_of(visitor)[0]
    created_at = row["created_at"] - week + 60
    with closing(databases.connect(server.database_url, pool=1, seal=SEAL)) as db, db.read() as tx:
        mac = row_macs.of_admin_session(row_macs.key(tx), row["token_hash"], email.lower(), created_at)
    sql = "UPDATE admin_sessions SET created_at = :t, last_used_at = last_used_at - 7200, mac = :mac"
    write(server, f"{sql} WHERE token_hash = :hash", t=created_at, mac=mac, hash=row["token_hash"])
    assert visitor.get("/apps").status == 200
    row = session_of(visitor)[0]
    assert row["expires_at"] == row["created_at"] + week


def test_logging_out_ends_this_session_and_no_other(server):
    email, password = make_admin(server)
    first, second = Visitor(server), Visitor(server)
    for visitor in (first, second):
        visitor.post("/login", email=email, password=password)
        visitor.get("/account")
    kept = first.cookies["ringbook_admin"]
    assert first.post("/logout").goes_to == "/dashboard/login"
    assert "ringbook_admin" not in first.cookies
    first.cookies["ringbook_admin"] = kept
    assert first.get("/apps").status == 303
    assert second.get("/apps").status == 200


def test_one_ends_all_of_ones_sessions(server):
    email, password = make_admin(server)
    first, second, other = Visitor(server), Visitor(server), admin(server)
    for visitor in (first, second):
        visitor.post("/login", email=email, password=password)
    first.get("/account")
    assert first.post("/account/sessions/end").goes_to == "/dashboard/login"
    assert second.get("/apps").status == 303
    assert other.get("/apps").status == 200


def test_a_new_password_needs_the_old_one_and_ends_the_other_sessions(server):
    email, password = make_admin(server)
    first, second = Visitor(server), Visitor(server)
    for visitor in (first, second):
        visitor.post("/login", email=email, password=password)
    first.get("/account")
    path = "/account/password"
    for old, new, again, why in (
        ("wrong", "new-password", "new-password", "is wrong"),
        (password, "short", "short", "is too short"),
        (password, "new-password", "other", "differs from the new password"),
    ):
        assert why in first.refused(first.post(path, old=old, new=new, again=again)).words
        assert why not in first.get("/account").words
    assert second.get("/apps").status == 200
    done = first.post(path, old=password, new="new-password", again="new-password")
    assert "Your password was changed" in first.follow(done).words
    assert "Your password was changed" not in first.get("/account").words
    assert second.get("/apps").status == 303
    assert Visitor(server).post("/login", email=email, password=password).is_refused
    assert Visitor(server).post("/login", email=email, password="new-password").goes_to == "/dashboard"


def test_a_password_that_is_reset_on_the_server_ends_the_sessions(server):
    from servers import ringbook

    email, password = make_admin(server)
    visitor = Visitor(server)
    visitor.post("/login", email=email, password=password)
    assert visitor.get("/apps").status == 200
    ringbook("admin", "reset-password", email, database_url=server.database_url)
    assert visitor.get("/apps").status == 303


def test_without_an_admin_the_form_says_how_to_make_one(databases, tmp_path):
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as server:
        assert "There is no admin yet" in Visitor(server).get("/login").words
        make_admin(server)
        assert "There is no admin yet" not in Visitor(server).get("/login").words


def test_log_ins_are_in_the_audit_log_without_what_was_typed(server):
    email, password = make_admin(server)
    Visitor(server).post("/login", email=email, password="wrong-one")
    Visitor(server).post("/login", email="my-secret-in-the-wrong-field", password="x")
    Visitor(server).post("/login", email=email, password=password)
    found = [entry for entry in entries_behind(server) if entry.admin in (email, "nobody known")][:3]
    assert [(entry.admin, entry.action) for entry in found] == [
        (email, "logged in"),
        ("nobody known", "log-in refused"),
        (email, "log-in refused"),
    ]
    assert "my-secret" not in str(found)
