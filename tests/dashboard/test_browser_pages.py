"""The overview, pushes and "Why not found?" in a real browser, which shows for example whether a chart is drawn."""

import calendar
import time
from contextlib import contextmanager

import pytest
from asking import person
from core.joining import ANN, Play
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dashboard.browsing import log_in, opened
from dashboard.visiting import make_admin
from servers import SEAL, serve

from ringbook.core import stats
from ringbook.store import db as databases_
from ringbook.store import stats as store

EVIL = "<img src=x onerror=\"document.title='owned'\">Annie"


@pytest.fixture(scope="module")
def served(databases, tmp_path_factory):
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("served"), "--no-worker") as server:
        yield server


@pytest.fixture
def page(chromium, served):
    with opened(chromium, served) as page:
        log_in(page, *make_admin(served))
        yield page


@pytest.fixture
def play(served):
    db = databases_.connect(served.database_url, seal=SEAL)
    yield Play(db)
    db.close()


def height(element) -> float:
    return element.bounding_box()["height"]


def test_bars_are_drawn_in_proportion_and_stay_in_their_chart(page, served, play):
    today = int(time.time()) // stats.DAY
    rows = [(play.app_id, today - 1, "uploads", 100), (play.app_id, today, "uploads", 50)]
    rows += [(play.app_id, today, "pushes accepted", 6), (play.app_id, today, "pushes parked", 2)]
    with play.db.write() as tx:
        store.add(tx, rows)
    page.goto(f"/dashboard/apps/{play.app_id}")
    uploads = page.locator(".chart-card", has_text="Uploads")
    bars = uploads.locator("tbody td")
    assert bars.count() == 30
    full, half, none = (height(bars.nth(at)) for at in (28, 29, 0))
    assert full > 40 and abs(half / full - 0.5) < 0.05 and none < 1
    card, chart = uploads.bounding_box(), uploads.locator("tbody").bounding_box()
    assert card["y"] < chart["y"] and chart["y"] + chart["height"] < card["y"] + card["height"]
    pushes = page.locator(".chart-card", has_text="printed").locator("tbody tr").last.locator("td")
    assert abs(height(pushes.nth(0)) / height(pushes.nth(2)) - 3) < 0.4


@contextmanager
def chart(chromium, served, play, path="", **options):
    """The overview with the large chart, in a window of its own."""
    with opened(chromium, served, **options) as page:
        log_in(page, *make_admin(served))
        page.goto(f"/dashboard/apps/{play.app_id}{path}")
        page.locator(".plot canvas").wait_for()
        yield page


def happened(play, *events):
    """Count sign-ups at some times."""
    stats.forget()
    for at, count in events:
        stats.add(play.app_id, "sign-ups", at, count)
    stats.flush(play.db, int(time.time()))
    stats.forget()


def test_the_chart_counts_by_days_of_the_browser_s_time_zone(chromium, served, play):
    """Two hours before midnight UTC it is the next day in Tokyo already."""
    midnight = int(time.time()) // stats.DAY * stats.DAY
    happened(play, (midnight - 2 * 3600, 5), (midnight - 2 * stats.DAY - 2 * 3600, 2))
    day = time.gmtime(midnight - 2 * 3600)
    for zone, moved in (("UTC", 0), ("Asia/Tokyo", 1)):
        with chart(chromium, served, play, timezone_id=zone, locale="en-GB") as page:
            assert page.locator("[data-zone-name]").text_content() == zone
            page.get_by_text("As a table").click()
            expected = time.strftime("%-d %b", time.gmtime(calendar.timegm(day) + moved * stats.DAY))
            row = page.locator("#activity tbody tr", has=page.get_by_text(expected, exact=True))
            assert row.locator("td").first.inner_text() == "5", (zone, expected)


def test_the_chart_shows_values_on_hover_and_touch_and_compares(chromium, served, play):
    now = int(time.time())
    happened(play, (now - 3 * stats.DAY, 6), (now - 3 * stats.DAY - 7 * stats.DAY, 4))
    with chart(chromium, served, play, "?days=7", viewport={"width": 390, "height": 800}, has_touch=True) as page:
        assert page.locator("[data-metric='sign-ups'] b").inner_text() == "6"
        assert page.locator("[data-metric='sign-ups'] [data-change]").inner_text() == "↑ 50 %"
        over, tip = page.locator(".u-over"), page.locator(".plot-tip")
        # The finger first: after a tap, a browser that also has a mouse reports that the mouse is elsewhere.
        over.tap(position={"x": 5, "y": 40})
        tip.wait_for()
        assert "Sign-ups00" in "".join(tip.inner_text().split())
        over.hover(position={"x": over.bounding_box()["width"] / 2, "y": 40})
        tip.get_by_text("6", exact=True).wait_for()
        assert "Sign-ups64" in "".join(tip.inner_text().split())
        page.mouse.move(5, 5)
        tip.wait_for(state="hidden")
        page.get_by_role("button", name="Found").click()
        assert page.get_by_role("button", name="Found").get_attribute("aria-pressed") == "true"


def test_the_chart_stays_when_the_page_renews_itself(chromium, served, play):
    with opened(chromium, served) as page:
        log_in(page, *make_admin(served))
        page.clock.install()
        page.goto(f"/dashboard/apps/{play.app_id}?days=90")
        page.locator(".plot canvas").wait_for()
        page.get_by_text("As a table").click()
        with page.expect_response(lambda one: "/live?days=90" in one.url):
            page.clock.run_for(16_000)
        page.wait_for_timeout(300)
        assert page.locator(".plot canvas").count() == 1
        assert page.locator("#activity tbody tr").count() == 90


def test_the_page_renews_itself_where_it_stands(page, play):
    page.clock.install()
    page.goto(f"/dashboard/apps/{play.app_id}/push")
    assert page.get_by_text("No push yet").count() == 1
    bob = play.person("bob").id
    play.device(bob, "fcm-token-of-bob")
    play.holds(bob, (ANN, "Annie"))
    play.person("ann", ANN)
    play.tell()
    page.clock.run_for(11_000)  # it asks every 10 seconds
    page.locator("#deliveries .badge", has_text="waiting").wait_for()
    page.locator("#queue", has_text="gcm").wait_for()


def test_a_key_is_uploaded_and_removed_after_a_second_thought(page, play, tmp_path):
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "AuthKey.p8"
    file.write_bytes(pem)
    page.goto(f"/dashboard/apps/{play.app_id}/push/providers")
    apns = page.locator("#apns")
    apns.get_by_label("Authentication key").set_input_files(file)
    apns.get_by_label("Key id").fill("ABCDE12345")
    apns.get_by_label("Team id").fill("TEAM123456")
    apns.get_by_role("button", name="Save").click()
    page.get_by_text("APNs: saved").wait_for()
    assert apns.locator(".badge").inner_text() == "set up"
    remove = apns.get_by_role("button", name="Remove for good")
    assert not remove.is_visible()
    apns.locator("summary").click()
    remove.click()
    page.get_by_text("APNs: removed").wait_for()
    assert apns.locator(".badge").inner_text() == "not set up"


def test_why_is_asked_with_the_keyboard_and_a_name_from_a_book_stays_text(page, served):
    bob = person(served)
    bob.upload([{"phone": ANN, "name": EVIL}])
    page.goto(f"/dashboard/apps/{served.app.application_id}/why")
    page.keyboard.type(str(bob.id))  # the first field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type("+1 202 555 0101")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Not found: no user of this application has the number.").wait_for()
    assert EVIL not in page.locator("main").inner_text()
    page.get_by_role("button", name="Reveal the name").click()
    page.get_by_text(EVIL).wait_for()
    assert page.title() != "owned" and "number" not in page.url
