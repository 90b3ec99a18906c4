"""Admins in the dashboard: roles, invitations by link, and sessions."""

import re
from urllib.parse import urlencode

import pytest
from asking import person, rows
from dashboard.test_endpoint import path_of
from dashboard.visiting import Visitor, admin, make_admin
from sealed import entries_behind
from servers import application

from ringbook.dashboard.browsers import named
from ringbook.dashboard.endpoint import Who
from ringbook.dashboard.routes import ROUTES

PASSWORD = "a password of mine"


@pytest.fixture
def owner(server):
    return admin(server)


def test_a_viewer_may_send_no_form_of_an_owner_and_open_no_page_of_one(server):
    viewer = admin(server, role="viewer")
    for route in (one for one in ROUTES if one.who is Who.OWNER):
        path = path_of(route, server.app.application_id)
        page = viewer.post(path) if route.method == "POST" else viewer.get(path)
        assert (page.status, "Your role is viewer" in page.words) == (403, True), route.path


def test_every_form_that_changes_something_needs_an_owner():
    """Whatever is not listed here changes nothing, or the admin's own session only."""
    own = {"/users/settings/preview", "/users", "/logout", "/account/session/end"}
    own |= {"/account/sessions/end", "/account/password"}
    posts = [one for one in ROUTES if one.method == "POST" and one.who is Who.ADMIN]
    assert {one.path.removeprefix("/apps/{app_id}") for one in posts} == own


def test_a_viewer_sees_pages_but_reveals_and_exports_nothing(server):
    viewer = admin(server, role="viewer")
    ann = person(server, phone="+1 202 555 0142", full_name="Ann")
    ann.upload([{"name": "Mum", "phone": "+1 202 555 0143"}])
    base = f"/apps/{server.app.application_id}"
    page = viewer.get(f"{base}/users/{ann.id}/books/0")
    assert page.status == 200 and "M…" in page.words and "Reveal contact" not in page.words
    assert "Export" not in viewer.get(f"{base}/users").words
    assert "Erase" not in viewer.get(f"{base}/users/{ann.id}").words
    settings = viewer.get(f"{base}/users/settings")
    assert "Only owners may change this" in settings.words and ">Save<" not in re.sub(r"\s", "", settings.html)
    for names in ("", "on"):
        assert viewer.post(f"{base}/why", user=ann.id, contact="+1 202 555 0143", names=names).status == 403
    assert viewer.get(f"{base}/why?user={ann.id}").status == 403
    assert all("Why not found" not in viewer.get(page).words for page in (base, f"{base}/users?q=nobody-at-all"))


PHONE, EMAIL = "+1 202 555 0142", "dora@example.org"
PRIVATE = ("202555", "5550142", "555 0142", "555-0142", "5550143", "dora@", "dora.b@", "@example.org")


def test_a_viewer_sees_no_phone_and_no_e_mail_in_any_field_on_any_page(server):
    viewer, owner = admin(server, role="viewer"), admin(server)
    app = application(server.database_url)
    fields = {"phone": PHONE, "email": EMAIL, "full_name": "Dora +1 (202) 555-0142", "login": "dora.b@example.org"}
    fields |= {"external_id": "12025550143", "external_user_id": 12025550143, "tag_list": "dora@example.org"}
    fields |= {"custom_data": '{"mail": "dora@example.org", "call": "1 202 555 0142"}', "facebook_id": "12025550143"}
    dora, nameless = person(server, app, **fields), person(server, app, login="+1 202 555 0143")
    dora.upload([{"name": "Mum", "phone": "+1 202 555 0143"}])
    base = f"/apps/{app.application_id}/users"
    for path in (base, f"{base}?sort=name", f"{base}/{dora.id}", f"{base}/{dora.id}/books/0", f"{base}/{nameless.id}"):
        page = viewer.get(path)
        assert page.status == 200 and [one for one in PRIVATE if one in page.html] == [], path
        assert page.words.count("…") or path.endswith("books/0"), path
    shown = viewer.get(f"{base}/{dora.id}").words
    assert "d…@…" in shown and "Dora …42" in shown and "…43" in shown
    seen = owner.get(f"{base}/{dora.id}").words
    assert all(text in seen for text in (PHONE, EMAIL, fields["full_name"], fields["custom_data"], "12025550142"))


@pytest.mark.parametrize("text", [PHONE, "12025550142", EMAIL, "DORA@example.org", "dora.b@example.org", "2025550142"])
def test_a_viewer_learns_from_no_search_whether_a_phone_or_an_e_mail_is_registered(server, text):
    viewer, owner = admin(server, role="viewer"), admin(server)
    app = application(server.database_url, default_region="US")
    dora = person(server, app, phone=PHONE, email=EMAIL, login="dora.b@example.org", full_name="Dora")
    other = person(server, app, full_name="Bob")
    base = f"/apps/{app.application_id}/users"
    link = owner.post(base, q=text).goes_to.removeprefix("/dashboard")
    assert f'href="/dashboard{base}/{dora.id}"' in owner.get(link).html
    sent = viewer.follow(viewer.post(base, q=text))
    for page in (sent, viewer.get(link), viewer.get(f"{base}?{urlencode({'q': text})}")):
        assert "Only owners search by phone or e-mail" in page.words and page.value("q") == ""
        assert [f'href="/dashboard{base}/{one.id}"' in page.html for one in (dora, other)] == [True, True]  # all users
    named = viewer.follow(viewer.post(base, q="dora")).html
    assert [f'href="/dashboard{base}/{one.id}"' in named for one in (dora, other)] == [True, False]
    assert f'href="/dashboard{base}/{dora.id}"' in viewer.follow(viewer.post(base, q=f"#{dora.id}")).html


def test_an_admin_is_invited_by_a_link_that_is_shown_once(server, owner):
    email = "guest-of-owner@example.com"
    owner.get("/admins")
    sent = owner.post("/admins/invite", email=email, role="viewer")
    link = owner.follow(sent).value("invitation-link")
    assert owner.follow(sent).status == 410
    token = link.rpartition("/")[2]
    assert link == f"http://127.0.0.1:{server.port}/dashboard/invitation/{token}"
    guest = Visitor(server)
    assert email in guest.get(f"/invitation/{token}").words
    for new, again, why in (("short", "short", "is too short"), (PASSWORD, "other", "differs from the password")):
        refused = guest.post(f"/invitation/{token}", new=new, again=again)
        assert why in guest.refused(refused).words and why not in guest.get(f"/invitation/{token}").words
    assert guest.post(f"/invitation/{token}", new=PASSWORD, again=PASSWORD).goes_to == "/dashboard"
    assert "Your role is viewer" in guest.get("/account").words
    again = Visitor(server)
    assert again.get(f"/invitation/{token}").status == 404
    assert again.post(f"/invitation/{token}", new=PASSWORD, again=PASSWORD).status == 404
    assert again.post("/login", email=email, password=PASSWORD).goes_to == "/dashboard"
    assert [one.detail for one in entries_behind(server, action="admin invited", subject=email)] == ["viewer"]
    assert all(token.encode() not in str(row).encode() for row in rows(server, "SELECT * FROM admin_invitations"))


def test_an_invitation_is_withdrawn(server, owner):
    owner.get("/admins")
    link = owner.follow(owner.post("/admins/invite", email="w@example.com", role="owner")).value("invitation-link")
    page = owner.get("/admins")
    (one,) = re.findall(r'name="invitation" value="(\w+)"', page.html)
    assert owner.post("/admins/withdraw", invitation=one).is_done
    assert Visitor(server).get(f"/invitation/{link.rpartition('/')[2]}").status == 404
    assert owner.post("/admins/withdraw", invitation=one).status == 404
    refused = owner.refused(owner.post("/admins/invite", email="not an e-mail", role="owner"))
    assert 'value="not an e-mail"' in refused.html and '<option value="owner" selected>' in refused.html
    assert owner.post("/admins/invite", email="x@example.com", role="king").status == 400


def test_a_role_is_changed_and_an_admin_removed(server, owner):
    email, password = make_admin(server)
    other = Visitor(server)
    other.post("/login", email=email, password=password)
    other.get("/account")
    owner.get("/admins")
    assert owner.post("/admins/role", email=email, role="viewer").is_done
    assert other.post("/apps", name="Nothing").status == 403  # from the next request on
    assert owner.post("/admins/remove", email=email).is_done
    assert other.get("/apps").goes_to.startswith("/dashboard/login")
    done = [one.action for one in entries_behind(server, subject=email)]
    assert done[:2] == ["admin removed", "admin's role changed"]


def test_sessions_are_listed_and_ended_by_their_admin_and_by_an_owner(server, owner):
    email, password = make_admin(server)
    firefox = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
    one, two, three = Visitor(server), Visitor(server), Visitor(server)
    for visitor in (one, two, three):
        visitor.post("/login", firefox, email=email, password=password)
    page = one.get("/account")
    assert page.words.count("Firefox on Linux") >= 3 and "127.0.0.1" in page.words
    others = re.findall(r'name="session" value="(\w+)"', page.html)
    assert len(others) == 2
    assert one.post("/account/session/end", session=others[0]).is_done
    assert [visitor.get("/account").status for visitor in (one, two, three)].count(303) == 1
    owner.get("/admins")
    assert owner.post("/admins/session/end", email=email, session=others[1]).is_done
    assert [visitor.get("/account").status for visitor in (one, two, three)].count(303) == 2
    assert one.get("/account").status == 200
    assert len(entries_behind(server, action="sessions ended", subject=email)) == 2


@pytest.mark.parametrize(
    "agent, name",
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
            "Chrome on Windows",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.0", "curl"),
        ("", ""),
        ("<script>", ""),
    ],
)
def test_browsers_are_named(agent, name):
    assert named(agent) == name
