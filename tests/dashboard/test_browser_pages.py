"""The overview, pushes and "Why not found?" in a real browser, which shows for example whether a chart is drawn."""

import time

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
    pushes = page.locator(".chart-card", has_text="by outcome").locator("tbody tr").last.locator("td")
    assert abs(height(pushes.nth(0)) / height(pushes.nth(1)) - 3) < 0.4


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
