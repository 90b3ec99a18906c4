"""Rules for all pages: who may see them, which forms are accepted, which headers browsers get."""

import re
from urllib.parse import urlencode

import pytest
from asking import write
from dashboard.visiting import FORM, Visitor, admin
from servers import application, free_port, full_disk, serve

from ringbook.dashboard.endpoint import is_ours
from ringbook.dashboard.routes import BACK, ROUTES

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
PLAIN = [route for route in ROUTES if route.needs_login]


def fields(route):
    return set(re.findall(r"\{([a-z_]+)", route.path))


def path_of(route, app_id=1):
    return re.sub(r"\{[a-z_]+(:[a-z]+)?\}", "1", route.path.replace("{app_id}", str(app_id)))


def test_no_page_is_for_anybody_who_is_not_logged_in(server):
    for route in PLAIN:
        answer = Visitor(server).ask(route.method, f"/dashboard{path_of(route)}")
        assert answer.goes_to.startswith("/dashboard/login"), route.path


def test_no_form_is_believed_without_the_sign_of_its_session(server):
    one, other = admin(server), admin(server)
    for route in [one for one in PLAIN if one.method == "POST"]:
        for csrf in ("", "0" * 64, other.csrf):
            answer = one.post(path_of(route, server.app.application_id), csrf=csrf)
            assert (answer.status, "another site" in answer.words) == (403, True), route.path
    assert one.get("/account").status == 200  # and nothing was changed


def test_no_form_of_another_site_is_believed_whatever_it_carries(server):
    visitor = admin(server)
    for header in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
    ):
        assert visitor.post("/apps", header, name="Evil").status == 403
        assert Visitor(server).post("/login", header, email="a@example.com", password="x").status == 403
    assert "Evil" not in visitor.get("/apps").words


@pytest.mark.parametrize(
    "headers, ours",
    [
        ({"sec-fetch-site": "same-origin", "origin": "null", "host": "a"}, True),
        ({"sec-fetch-site": "none", "host": "a"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "https://a", "host": "a"}, False),
        ({"origin": "http://a:8080", "host": "a:8080"}, True),
        ({"origin": "http://a:8081", "host": "a:8080"}, False),
        ({"origin": "null", "host": "a:8080"}, False),
        ({"origin": "http://[", "host": "["}, False),
        ({"host": "a:8080"}, True),
    ],
)
def test_where_a_form_was_sent_from(headers, ours):
    assert is_ours(headers) is ours


def test_every_page_tells_browsers_to_load_nothing_from_elsewhere(server):
    visitor = admin(server)
    for page in (visitor.get("/login"), visitor.get("/apps"), visitor.get("/nowhere"), Visitor(server).get("/login")):
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith(POLICY) and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        # With "no-referrer" a browser says "Origin: null" of our own forms, and over plain http nothing else.
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Cache-Control"] == "no-store"


def test_what_is_asked_for_in_no_way_that_there_is_says_so_with_the_same_headers(server):
    for method in ("PUT", "OPTIONS", "DELETE"):
        answer = Visitor(server).ask(method, "/dashboard/apps")
        assert answer.status == 404
        assert answer.headers["Content-Security-Policy"].startswith(POLICY)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_address_of_a_form_leads_back_to_its_page(server):
    """Somebody may ask for it by GET: from a history, or after a log-in."""
    visitor = admin(server)
    app = server.app.application_id
    for form, page in (
        (f"/apps/{app}/users/settings/joined", f"/apps/{app}/users/settings"),
        (f"/apps/{app}/users/settings/test", f"/apps/{app}/users/settings"),
        (f"/apps/{app}/keys/name", f"/apps/{app}/keys"),
        (f"/apps/{app}/push/providers/fcm", f"/apps/{app}/push/providers"),
        ("/admins/invite", "/admins"),
        ("/account/password", "/account"),
        ("/logout", ""),
    ):
        assert visitor.get(form).goes_to == f"/dashboard{page}"
    for route in BACK:
        assert Visitor(server).get(path_of(route, app)).goes_to.startswith("/dashboard/login"), route.path


def test_the_start_page_with_and_without_a_slash_leads_to_an_application_or_to_the_list(server):
    visitor = admin(server)
    assert visitor.get("/").goes_to == visitor.get("").goes_to
    assert re.fullmatch(r"/dashboard/apps(/\d+)?", visitor.get("/").goes_to)


def test_no_page_names_another_host_or_has_a_script_or_a_style_of_its_own(server):
    visitor = admin(server)
    app = server.app.application_id
    for route in [one for one in PLAIN if one.method == "GET" and not {"user_id", "nonce"} & fields(one)]:
        page = visitor.get(path_of(route, app))
        assert page.status in (200, 303), route.path
        loaded = re.findall(r'<(?:script|link|img|iframe|source|use)\b[^>]*(?:src|href)="([^"]*)"', page.html)
        assert all(address.startswith("/dashboard/static/") for address in loaded), loaded
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page.html), route.path


def test_files_are_kept_for_good_by_their_hash(server):
    page = Visitor(server).get("/login")
    files = set(re.findall(r'"(/dashboard/static/[^"]+)"', page.html))
    assert {name.partition("?")[0].rpartition(".")[2] for name in files} == {"css", "js", "svg"}
    for name in files:
        file = Visitor(server).ask("GET", name)
        assert (file.status, "immutable" in file.headers["Cache-Control"]) == (200, True)
        stale = Visitor(server).ask("GET", name.partition("?")[0] + "?old")
        assert stale.headers["Cache-Control"] == "no-cache"
    for name in ("nothing.css", "..%2fendpoint.py", "__init__.py", "%2e%2e"):
        assert Visitor(server).get(f"/static/{name}").status in (303, 404)


def test_what_is_not_there_is_a_page_that_leads_back(server):
    visitor = admin(server)
    for path in ("/nowhere", "/apps/999999", "/apps/x/keys", "/apps/99999999999999999999/keys", "/apps/0"):
        page = visitor.get(path)
        assert (page.status, "Not found" in page.words) == (404, True), path
    assert visitor.ask("PUT", "/dashboard/apps").status == 404


def test_a_form_that_is_too_large_or_cannot_be_read_changes_nothing(server):
    visitor = admin(server)
    large = f"csrf={visitor.csrf}&name=".encode() + b"x" * 2_000_000
    assert visitor.ask("POST", "/dashboard/apps", large, content_type=FORM).status == 413
    assert visitor.ask("POST", "/dashboard/apps", b"&" * 70_000, content_type=FORM).status == 413
    many = f"csrf={visitor.csrf}&".encode() + b"&".join(b"a%d=1" % n for n in range(500))
    assert visitor.ask("POST", "/dashboard/apps", many, content_type=FORM).status == 400
    broken = b"--x\r\nContent-Disposition: form-data"
    kind = "multipart/form-data; boundary=x"
    assert visitor.ask("POST", "/dashboard/apps", broken, content_type=kind).status in (400, 403)


def test_a_sign_that_no_database_keeps_is_refused_before_anybody_looks_for_it(server):
    visitor = admin(server)
    here = f"/apps/{server.app.application_id}"
    answers = [
        visitor.get(f"{here}/users?q=a%00b"),
        visitor.get("/audit?admin=%00"),
        visitor.post(f"{here}/why", user="\0", number="\0"),
        visitor.post(f"{here}/push/retry", channel="gcm", reason="\0"),
        visitor.post(f"{here}/users/settings/test", test="\0"),
        visitor.post(f"{here}/users/settings/joined", contact_joined_template="\0"),
        Visitor(server).post("/login", email="\0@example.com", password="x"),
    ]
    for answer in answers:
        assert (answer.status, "cannot be stored" in answer.words) == (400, True), answer.words


def test_an_address_that_is_none_leads_to_the_start(server):
    visitor = admin(server)
    foreign = ("//evil.example", "http://evil.example/dashboard/", "/dashboard/\\\\evil.example")
    for nowhere in ("//[", "/metrics", *foreign):
        assert visitor.get(f"/login?{urlencode({'next': nowhere})}").goes_to == "/dashboard"
        assert visitor.post("/theme", theme="dark", back=nowhere).goes_to == "/dashboard"


def test_the_page_that_says_the_database_is_away_has_its_look(tmp_path, stoppable):
    with serve(stoppable.url, tmp_path) as server:
        visitor = admin(server)
        stoppable.stop()
        page = visitor.get("/apps")
        assert (page.status, "Temporarily unavailable" in page.words) == (503, True)
        for name in re.findall(r'"(/dashboard/static/[^"]+)"', page.html):
            assert visitor.ask("GET", name).status == 200
        stoppable.start()


def test_a_page_can_be_read_where_nothing_can_be_written(databases, tmp_path):
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as server:
        visitor = admin(server)
        write(server, "UPDATE admin_sessions SET last_used_at = last_used_at - 3600")
        with full_disk(server, room=0):
            assert visitor.get("/apps").status == 200


def test_light_or_dark_is_remembered_without_a_script(server):
    visitor = Visitor(server)
    assert "data-theme" not in visitor.get("/login").html
    assert visitor.post("/theme", theme="dark", back="/dashboard/login").is_done
    assert 'data-theme="dark"' in visitor.get("/login").html
    visitor.post("/theme", theme="")
    assert "data-theme" not in visitor.get("/login").html
    visitor.cookies["ringbook_theme"] = 'x" onload="'
    assert "data-theme" not in visitor.get("/login").html


def test_nobody_else_makes_a_page_say_something(server):
    visitor = admin(server)
    visitor.cookies["ringbook_said"] = "eyJraW5kIjoib2siLCJ0ZXh0IjoiU2VuZCB1cyBtb25leSJ9." + "0" * 64
    assert "Send us money" not in visitor.get("/apps").words


def test_with_an_admin_port_pages_are_there_and_apps_are_told_the_public_one(databases, tmp_path):
    port = free_port()
    with databases.fresh("sqlite") as url, serve(url, tmp_path, admin_port=str(port)) as server:
        assert Visitor(server).get("/login").status == 404
        visitor = admin(server, port=port)
        page = visitor.get(f"/apps/{server.app.application_id}/keys")
        assert page.value("endpoint") == f"http://127.0.0.1:{server.port}"


def test_each_page_is_counted_and_logged_once_by_its_template(databases, tmp_path):
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as server:
        visitor = admin(server)
        visitor.get(f"/apps/{server.app.application_id}/keys")
        visitor.get("/nowhere")
        assert server.printed.count('"route":"/dashboard/apps/{app_id}/keys"') == 1
        assert server.printed.count('"route":"/dashboard/{anything:path}"') == 1


def test_pages_of_the_server_keep_the_application_that_was_looked_at(server):
    visitor = admin(server)
    other = application(server.database_url, "Second one")
    visitor.get(f"/apps/{other.application_id}/users")
    assert "Application: Second one" in visitor.get("/audit").words
    assert visitor.get("").goes_to == f"/dashboard/apps/{other.application_id}"
    visitor.cookies["ringbook_app"] = "no such"
    assert visitor.get("/audit").status == 200
