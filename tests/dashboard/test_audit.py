"""The audit log in a browser: the newest first, filtered, page by page, as text."""

import re
import time

from dashboard.visiting import admin
from servers import SEAL, application

from ringbook.core import audit
from ringbook.core.audit import Actor
from ringbook.store import db as store


def write_down(server, app_id: int, count: int) -> None:
    db = store.connect(server.database_url, pool=1, seal=SEAL)
    for n in range(count):
        by = Actor("<b>eve@example.com", "192.0.2.7", int(time.time()))
        audit.note(db, by, "keys rotated", app_id=app_id, subject=f"key {n}", detail="<script>alert(1)</script>")
    db.close()


def keys(page) -> list[int]:
    return [int(one) for one in re.findall(r"key (\d+)", page.html)]


def test_entries_are_shown_page_by_page_and_as_text(server):
    app = application(server.database_url, "Audited & co")
    write_down(server, app.application_id, 60)
    visitor = admin(server)
    first = visitor.get(f"/audit?app={app.application_id}")
    assert keys(first) == list(range(59, 9, -1))
    assert "<script>alert" not in first.html and "&lt;script&gt;alert(1)" in first.html
    assert "&lt;b&gt;eve@example.com" in first.html and "Audited &amp; co" in first.html
    older = re.search(r'href="(/dashboard/audit\?[^"]*before=\d+)" rel="next"', first.html)
    second = visitor.get(older[1].replace("&amp;", "&").removeprefix("/dashboard"))
    assert keys(second) == list(range(9, -1, -1)) and 'rel="next"' not in second.html


def test_entries_are_found_by_action_and_admin(server):
    visitor = admin(server)
    page = visitor.get("/audit?action=logged+in")
    assert "logged in" in page.words and "keys rotated" not in page.html.split("<tbody>")[1]
    assert "No match" in visitor.get("/audit?admin=nobody@example.com").words
    assert visitor.get("/audit?app=x&before=99999999999999999999&action='").status == 200
