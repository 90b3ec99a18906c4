"""The dashboard in a real browser: from the settings to the push, by mouse, by keyboard, and without scripts."""

import re
import secrets
import struct
import time

import pytest
from asking import person, rows
from dashboard.browsing import OF_COLOURS, faults, log_in, opened
from dashboard.pictures import FIRST, WIDTHS, draw
from dashboard.visiting import make_admin
from dashboard.world import fill, paths
from servers import application, eventually, serve

from ringbook.core import applications

EVIL = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'


@pytest.fixture(scope="module")
def served(databases, tmp_path_factory):
    """A server that prints pushes on its standard output."""
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="module")
def someone(served):
    return make_admin(served)


@pytest.fixture
def app(served):
    return application(served.database_url, "Friends", push_console="on")


@pytest.fixture
def page(chromium, served, someone):
    with opened(chromium, served) as page:
        log_in(page, *someone)
        yield page


def of(app, rest=""):
    return f"/dashboard/apps/{app.application_id}{rest}"


def reads(page, words):
    """Wait until a page contains this text."""
    page.get_by_text(words).first.wait_for()


def subscribe(who):
    """Subscribe a phone of a user."""
    token = {"environment": "production", "client_identification_sequence": f"token-of-{who.login}"}
    wished = {"notification_channels": "gcm", "push_token": token, "device": {"udid": "u1", "platform": "android"}}
    assert who.ask("POST", "/subscriptions", wished).status == 201


def outcomes_of(server, who):
    """The outcomes of the pushes to a user."""
    found = rows(server, "SELECT outcome FROM pushes WHERE user_id = :id", id=who.id)
    return [row["outcome"] for row in found]


# ── the feature ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_card_is_switched_on_and_a_friend_who_then_signs_up_is_announced(page, served, app):
    bob = person(served, app, phone="+44 7700 900123")
    bob.upload([{"name": "Annie", "phone": "+1 202 555 0142"}])
    subscribe(bob)
    page.goto(of(app, "/users/settings"))
    page.get_by_label("Tell users when one of their contacts joins").check()
    page.get_by_label("Push notification template").fill("%s is here, say hello")
    reads(page, "Annie is here, say hello")  # the preview, while it is typed
    page.locator("#joined").get_by_role("button", name="Save").click()
    reads(page, "Saved: New contact joined")
    page.reload()
    assert page.get_by_label("Tell users when one of their contacts joins").is_checked()
    assert page.get_by_label("Push notification template").input_value() == "%s is here, say hello"
    time.sleep(applications.CACHE_SECONDS + 1)  # a change is noticed within 5 seconds
    page.clock.install()
    page.goto(of(app, "/push"))
    person(served, app, phone="+1 202 555 0142")
    eventually(lambda: outcomes_of(served, bob) == ["accepted"], "no push was sent")
    page.clock.run_for(11_000)  # by itself, every 10 seconds: nobody reloads
    page.locator("table .badge", has_text="printed").wait_for()  # the console is on: it is not delivered
    assert page.locator(".badge.ok").count() == 0


def test_a_template_that_is_refused_shows_why_while_it_is_typed_and_when_it_is_saved(page, app):
    page.goto(of(app, "/users/settings"))
    template = page.get_by_label("Push notification template")
    template.fill("%s and %s")
    reads(page, "The template may contain %s only once")
    page.locator("#joined").get_by_role("button", name="Save").click()
    wrong = page.locator("#contact_joined_template-error")
    assert "may contain %s only once" in wrong.inner_text()
    assert template.get_attribute("aria-invalid") == "true" and template.input_value() == "%s and %s"
    page.reload()


def test_a_card_that_is_refused_stands_where_it_was_sent(page, app):
    page.goto(of(app, "/users/settings"))
    page.get_by_label("Default region").fill("Atlantis")
    page.locator("#finding").get_by_role("button", name="Save").click()
    reads(page, "two-letter country code")
    where = page.locator("#default_region-error").bounding_box()
    assert where and 0 < where["y"] < 800


def test_a_test_arrives_and_the_page_tells_by_itself(page, served, app):
    bob = person(served, app)
    subscribe(bob)
    page.goto(of(app, "/users/settings"))
    page.get_by_label("User", exact=True).fill(bob.login)
    page.get_by_role("button", name="Send the test").click()
    page.locator("#test-result .badge", has_text="printed").wait_for(timeout=60_000)


def test_names_and_templates_of_others_are_text_wherever_they_are_shown(page, served, app):
    eve = person(served, app, full_name=EVIL, phone="+44 7700 900124")
    eve.upload([{"name": EVIL, "phone": "+1 202 555 0143"}])
    page.goto(of(app, "/users/settings"))
    page.get_by_label("Push notification template").fill(f"{EVIL} %s")
    page.locator("#preview").get_by_text("<script>").wait_for()
    page.locator("#joined").get_by_role("button", name="Save").click()
    for path in ("/users/settings", "/users", f"/users/{eve.id}", f"/users/{eve.id}/erase", "/push", ""):
        page.goto(of(app, path))
        assert page.title() != "owned" and "Ringbook" in page.title(), path
    page.goto(of(app, f"/users/{eve.id}/books/0"))
    page.get_by_role("button", name="Reveal contact 1").click()
    assert page.get_by_role("cell", name=EVIL).is_visible() and page.title() != "owned"


# ── forms that are sent again, and edits that are not saved ──────────────────────────────────────────────────────────


def test_reloading_the_page_of_a_secret_creates_nothing_and_shows_it_no_more(page, served):
    page.goto("/dashboard/apps")
    page.get_by_label("Name").fill("Only once")
    page.get_by_role("button", name="Create application").click()
    secret = page.get_by_label("Auth secret", exact=True).input_value()
    page.reload()
    reads(page, "The secret was shown already")
    assert secret not in page.content()
    assert len(rows(served, "SELECT id FROM applications WHERE name = 'Only once'")) == 1


def test_a_double_click_creates_one_application(page, served):
    page.goto("/dashboard/apps")
    page.get_by_label("Name").fill("Double click")
    page.get_by_role("button", name="Create application").dblclick()
    page.wait_for_url(re.compile("/secret/"))
    assert len(rows(served, "SELECT id FROM applications WHERE name = 'Double click'")) == 1


def test_saving_a_card_keeps_what_was_typed_in_the_others(page, app):
    page.goto(of(app, "/users/settings"))
    page.get_by_label("Push notification template").fill("Unsaved: %s")
    page.locator("#joined").get_by_text("Not saved yet.").wait_for()
    page.get_by_label("Days of inactivity").fill("77")
    page.locator("#sessions").get_by_role("button", name="Save").click()
    reads(page, "Saved: Accounts and sessions")
    assert page.get_by_label("Push notification template").input_value() == "Unsaved: %s"
    assert page.get_by_label("Days of inactivity").input_value() == "77"
    page.get_by_label("Default region").fill("Atlantis")
    page.locator("#finding").get_by_role("button", name="Save").click()
    page.locator("#default_region-error").wait_for()  # a refusal keeps it, too
    assert page.get_by_label("Push notification template").input_value() == "Unsaved: %s"
    page.locator("#joined").get_by_role("button", name="Save").click()
    reads(page, "Saved: New contact joined")
    page.get_by_label("Default region").fill("GB")
    page.locator("#finding").get_by_role("button", name="Save").click()
    reads(page, "Saved: Discovery")
    page.reload()  # nothing is left that could be lost
    assert page.get_by_label("Push notification template").input_value() == "Unsaved: %s"


def test_a_language_is_added_and_what_was_typed_elsewhere_stays(page, app):
    page.goto(of(app, "/users/settings"))
    page.get_by_label("Push notification template").fill("Hi %s!")
    page.get_by_role("tab", name="Add a language").click()
    page.get_by_label("Code of the language").fill("pl")
    page.get_by_role("button", name="Add the language").click()
    page.get_by_text("pl: enter the texts, and save.").wait_for()
    page.locator("#joined").get_by_text("Not saved yet.").wait_for()
    page.get_by_label("Push notification template, polski (pl)").fill("%s już tu jest")
    page.locator("#preview-pl").get_by_text("Annie już tu jest").wait_for()
    for label in ("1 other", "2, 3, 4 … others", "5, 6, 7 … others"):
        page.locator("#language-pl").get_by_label(f"Digest, with {label}").fill("%s + %d")
    page.get_by_label("Pushes in 24 hours before a digest").fill("7")
    page.get_by_label("Pushes in 24 hours before a digest").press("Enter")  # saves, and adds or removes nothing
    reads(page, "Saved: New contact joined")
    page.reload()
    assert page.get_by_label("Push notification template", exact=True).input_value() == "Hi %s!"
    assert page.get_by_label("Pushes in 24 hours before a digest").input_value() == "7"
    page.get_by_role("tab", name="polski (pl)").click()
    page.locator("#preview-pl").get_by_text("Annie, Bob + 5").wait_for()


def test_leaving_with_unsaved_edits_asks_first(page, app):
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.goto(of(app, "/users/settings"))
    page.get_by_label("Push notification template").fill("Unsaved: %s")
    page.get_by_role("link", name="Overview").click(no_wait_after=True)
    eventually(lambda: (page.wait_for_timeout(50), asked)[1] == ["beforeunload"], "nothing was asked")
    assert page.get_by_label("Push notification template").input_value() == "Unsaved: %s"
    page.get_by_label("Push notification template").fill("Your friend %s joined.")
    page.get_by_role("link", name="Overview").click()
    page.wait_for_url(lambda url: url.endswith(of(app)))
    assert asked == ["beforeunload"]


# ── the list of users ────────────────────────────────────────────────────────────────────────────────────────────────


def test_users_are_found_filtered_and_sorted_by_addresses(page, served, app):
    ann = person(served, app, full_name="Ann Archer", phone="+1 202 555 0142")
    person(served, app, full_name="Ben Archer")
    subscribe(ann)
    page.goto(of(app, "/users"))
    page.keyboard.press("/")
    page.keyboard.type("arch")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"q=arch"))
    reads(page, "2 matches")
    page.get_by_label("Device for pushes").check()
    page.wait_for_url(re.compile(r"q=arch&device=yes"))
    reads(page, "1 match")
    page.reload()
    assert page.locator("tbody tr").count() == 1 and page.get_by_role("link", name="Ann Archer").is_visible()
    page.get_by_role("link", name="Without filters").click()
    page.get_by_role("link", name="Name").click()
    page.wait_for_url(re.compile(r"sort=name"))
    assert page.locator("tbody .name").all_inner_texts() == ["Ann Archer", "Ben Archer"]


def test_the_export_shows_its_progress_and_becomes_a_file(page, served, app, tmp_path):
    for n in range(3):
        person(served, app, full_name=f"Person {n}")
    page.goto(of(app, "/users"))
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export as CSV").click()
    waiting.value.save_as(tmp_path / "users.csv")
    lines = (tmp_path / "users.csv").read_text().splitlines()
    assert lines[0].startswith("id,login,full_name") and len(lines) == 4
    reads(page, "3 users")


# ── without a mouse, without a script ────────────────────────────────────────────────────────────────────────────────


def test_the_keyboard_alone_logs_in_and_saves_the_card(chromium, served, someone, app):
    with opened(chromium, served) as page:
        page.goto(f"/dashboard/login?next={of(app, '/users/settings')}")
        page.keyboard.type(someone[0])  # the field has the focus
        page.keyboard.press("Tab")
        page.keyboard.type(someone[1])
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/login" not in url)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.evaluate("getComputedStyle(document.activeElement).left") != "-1584px"
        page.keyboard.press("Enter")
        until(page, "document.activeElement.id === 'contact_joined_enabled'")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Space")
        until(page, "document.activeElement.id === 'contact_joined_template'")  # after the tab of its language
        page.keyboard.press("Control+A")
        page.keyboard.type("Hello from %s")
        until(page, "document.activeElement.textContent.trim() === 'Save'")
        page.keyboard.press("Enter")
        reads(page, "Saved: New contact joined")
        assert page.get_by_label("Push notification template").input_value() == "Hello from %s"
        assert page.get_by_label("Tell users when one of their contacts joins").is_checked()
        page.keyboard.press("Escape")


def until(page, there, most=25):
    """Press Tab until this element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate(there):
            return
    raise AssertionError(f"Tab never comes to {there}, but to {page.evaluate('document.activeElement.outerHTML')}")


def test_without_javascript_the_card_is_saved_and_the_theme_is_chosen(chromium, served, someone, app):
    with opened(chromium, served, java_script_enabled=False) as page:
        log_in(page, *someone)
        page.goto(of(app, "/users/settings"))
        page.get_by_label("Tell users when one of their contacts joins").check()
        page.get_by_label("Push notification template").fill("%s, without a script")
        page.locator("#joined").get_by_role("button", name="Save").click()
        reads(page, "Saved: New contact joined")
        reads(page, "Annie, without a script")
        assert page.get_by_role("button", name=re.compile("Copy")).count() == 0
        page.get_by_role("button", name="Dark").click()
        assert page.locator("html").get_attribute("data-theme") == "dark"
        page.goto(of(app, "/users"))
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Export as CSV").click()
        assert waiting.value.suggested_filename == "ringbook-users.csv"
        page.goto(of(app, "/keys"))
        assert page.get_by_role("heading", name="QuickBlox").is_visible()
        page.goto(of(app))
        assert page.get_by_role("region", name="Activity by day").is_visible()
        page.get_by_text("Friends").first.click()  # the list of applications opens
        page.get_by_role("link", name="All applications").click()
        reads(page, "New application")


def test_the_sdks_are_tabs_for_the_mouse_and_the_keyboard(page, app):
    page.goto(of(app, "/keys#flutter"))
    assert page.get_by_role("tab", name="Flutter").get_attribute("aria-selected") == "true"
    assert page.get_by_role("tabpanel").count() == 1
    page.get_by_role("tab", name="iOS").click()
    page.get_by_role("tabpanel", name="iOS").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_role("tabpanel", name="QuickBlox").wait_for()
    assert page.evaluate("document.documentElement.scrollHeight") < 1_700


def test_a_copy_button_copies(chromium, served, someone, app):
    with opened(chromium, served, permissions=["clipboard-read", "clipboard-write"]) as page:
        log_in(page, *someone)
        page.goto(of(app, "/keys"))
        page.get_by_role("button", name="Copy Auth key").click()
        reads(page, "Copied")
        assert page.evaluate("navigator.clipboard.readText()") == app.auth_key


# ── every page ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def filled(databases, tmp_path_factory):
    """A server with data and without a worker, so that waiting pushes are not sent."""
    folder = tmp_path_factory.mktemp("filled")
    with databases.fresh("sqlite") as url, serve(url, folder, "--no-worker") as server:
        yield server, fill(server)


def test_no_page_shuts_anybody_out_or_is_wider_than_its_window(chromium, filled):
    """In both themes, wide and narrow. A page is loaded once, because that takes longer than to look at it again."""
    server, world = filled
    found = {}
    with opened(chromium, server) as page:
        for name in every_page(page, server, world):
            for width in (1280, 390):
                page.set_viewport_size({"width": width, "height": 800})
                page.emulate_media(color_scheme="light")
                found[name, width] = [*faults(page), *too_wide(page), *broken(page), *sticking_out(page)]
                page.emulate_media(color_scheme="dark")
                found[name, width, "dark"] = faults(page, only=OF_COLOURS)
    assert {place: wrong for place, wrong in found.items() if wrong} == {}


def every_page(page, server, world):
    """Shows every page, one after another; their names."""
    page.goto("/dashboard/login")
    yield "login"
    log_in(page, *make_admin(server))
    for name, path in paths(world).items():
        page.goto(f"/dashboard{path}")
        FIRST.get(name, lambda _: None)(page)
        yield name
    yield from after_forms(page, world)
    page.goto("/dashboard/nowhere")
    yield "nowhere"


def after_forms(page, world):
    """The pages to which only forms lead, one after another."""
    page.goto("/dashboard/admins")
    page.get_by_label("E-mail").fill(f"guest-{secrets.token_hex(4)}@example.com")
    page.get_by_role("button", name="Invite").click()
    link = page.get_by_label("Link", exact=True).input_value()
    yield "invited"
    page.goto(link)
    yield "invitation"
    page.goto("/dashboard/admins")
    page.get_by_text("Change…").first.click()
    yield "admins with an invitation"
    page.goto(f"/dashboard/apps/{world.app_id}/users/{world.user_id}")
    page.get_by_role("button", name="Reveal whose").click()
    page.get_by_role("heading", name="In whose address books").wait_for()
    yield "holders"
    page.goto(f"/dashboard/apps/{world.app_id}/users?q=a&device=yes")
    yield "search"
    page.goto(f"/dashboard/apps/{world.app_id}/users?q=nobody-is-called-this")
    yield "nobody"
    page.goto("/dashboard/apps")
    page.get_by_label("Name").fill("Another")
    page.get_by_role("button", name="Create application").click()
    yield "secret"
    page.goto(f"/dashboard/apps/{world.app_id}/users/settings")
    page.locator("#joined").get_by_role("button", name="Save").click()
    page.locator(".toast").wait_for()
    yield "saved"


BROKEN = """() => {
  const found = [], texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (text.parentElement.closest('pre, .unseen, [hidden]') || !text.parentElement.offsetParent) continue;
    for (const word of text.data.matchAll(/[\\p{L}\\d@._]{2,60}/gu)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((one) => Math.round(one.bottom)));
      if (lines.size > 1) found.push(`broken inside a word: ${word[0]}`);
    }
  }
  return found;
}"""


def broken(page):
    """The words that do not stand in one line."""
    return page.evaluate(BROKEN)


def too_wide(page):
    """The elements that make a page scroll sideways."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"{wide} pixels wider than the window"] if wide > 0 else []


STICKING_OUT = """() => {
  const found = [];
  for (const card of document.querySelectorAll('.card')) {
    const edge = card.getBoundingClientRect();
    for (const one of card.querySelectorAll('*')) {
      const box = one.getBoundingClientRect();
      if (!box.width || !one.checkVisibility() || one.closest('.unseen, .u-over')) continue;
      if (box.right > edge.right + 1 || box.left < edge.left - 1) {
        let clip = one.parentElement;
        while (clip !== card && !clip.matches('pre, .tabs')) clip = clip.parentElement;
        if (clip === card) found.push(`sticks out of its card: ${one.outerHTML.slice(0, 120)}`);
      }
    }
  }
  return found;
}"""


def sticking_out(page):
    """The elements that are wider than their card. Code and rows of tabs scroll."""
    return page.evaluate(STICKING_OUT)


def test_every_page_can_be_pictured_for_the_documentation(chromium, filled, tmp_path):
    server, world = filled
    some = {"overview", "users-settings"}
    made = draw(chromium, server, world, tmp_path, only=some)
    assert {file.name for file in made} == {f"{name}-{width}.png" for name in some for width in WIDTHS}
    for file in made:
        width = struct.unpack(">I", file.read_bytes()[16:20])[0]
        assert width == int(file.stem.rpartition("-")[2])


def test_a_fault_would_be_found(chromium, filled):
    with opened(chromium, filled[0]) as page:
        page.goto("/dashboard/login")
        page.evaluate("document.querySelector('label[for=email]').remove()")
        assert any("label" in fault for fault in faults(page))
        assert broken(page) == []
        page.evaluate("Object.assign(document.querySelector('h1').style, {width: '2ch', overflowWrap: 'anywhere'})")
        assert broken(page) != [] and too_wide(page) == [] and sticking_out(page) == []
        page.evaluate("Object.assign(document.querySelector('h1').style, {width: '9999px'})")
        assert sticking_out(page) != []
