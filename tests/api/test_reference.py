"""The API reference at /docs in a real browser, under its strict policy."""

import pytest
from asking import person
from dashboard.browsing import browser, faults, opened
from servers import Databases, eventually, free_port, serve

from ringbook.api import reference


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory):
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def page(chromium, server):
    with opened(chromium, server) as page:
        page.goto("/docs")
        page.locator("#operations-session-get_session").wait_for()
        yield page


def open_(page, operation):
    page.locator(f"#operations-{operation} .opblock-summary-control").click()
    return page.locator(f"#operations-{operation}")


def paths(page):
    return page.locator(".opblock-summary-path").evaluate_all("all => all.map(one => one.dataset.path)")


def test_the_search_finds_operations_by_path_method_and_words(page):
    everything = paths(page)
    page.get_by_label("Search the operations").fill("registered contacts")
    eventually(lambda: paths(page) == ["/address_book/registered_users"], "one operation")
    page.get_by_label("Search the operations").fill("post address")
    eventually(lambda: paths(page) == ["/address_book"], "one operation")
    assert len(everything) > 30


def test_a_request_is_tried_with_the_token_that_the_reader_enters(page, server):
    who = person(server)
    page.get_by_role("button", name="Authorize").first.click()
    field = page.locator(".auth-container", has_text="CB-Token")
    field.get_by_label("Value").fill(who.token)
    field.get_by_role("button", name="Apply credentials").click()
    field.get_by_role("button", name="Close").click()
    shown = open_(page, "session-get_session")
    shown.get_by_role("button", name="Try it out").click()
    shown.get_by_role("button", name="Execute").click()
    shown.locator(".live-responses-table").wait_for()
    assert f'"user_id": {who.id}' in shown.locator(".live-responses-table").inner_text()
    # The snippets use the same token, and this server's address.
    code = shown.locator(".snippets pre").inner_text()
    assert who.token in code and f"{server.url}/session" in code


def test_the_language_is_chosen_with_the_keyboard_and_remembered(page):
    shown = open_(page, "session-get_session")
    shown.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown.get_by_role("tab", name="Dart").get_attribute("aria-selected") == "true"
    assert "HttpClient" in shown.locator(".snippets pre").inner_text()
    page.reload()
    page.locator("#operations-login-delete_login").wait_for()
    assert "HttpClient" in open_(page, "login-delete_login").locator(".snippets pre").inner_text()


def test_each_way_to_sign_in_is_an_example_to_choose(page):
    shown = open_(page, "session-post_session")
    examples = shown.locator(".examples-select select")
    choices = examples.locator("option").all_inner_texts()
    assert len(choices) == 9 and "A code by SMS, first step" in choices
    examples.select_option("guest")
    assert '"guest": true' in shown.inner_text()


def test_our_own_parts_have_no_serious_fault(page):
    open_(page, "session-get_session")
    assert faults(page, "header", ".snippets") == []


@pytest.mark.parametrize("public_url", ["", "https://contacts.example.com"])
def test_at_the_admin_port_requests_go_to_the_public_port(databases, chromium, tmp_path, public_url):
    admin = free_port()
    with databases.fresh("sqlite") as url, serve(url, tmp_path, admin_port=str(admin), public_url=public_url) as server:
        context = chromium.new_context()
        page = context.new_page()
        answer = page.goto(f"http://127.0.0.1:{admin}/docs")
        page.locator("#operations-session-get_session").wait_for()
        target = public_url or f"http://127.0.0.1:{server.port}"
        assert f"connect-src 'self' {target};" in answer.headers["content-security-policy"]
        assert f"{target}/session" in open_(page, "session-get_session").locator(".snippets pre").inner_text()
        if not public_url:
            shown = page.locator("#operations-session-get_session")
            shown.get_by_role("button", name="Try it out").click()
            shown.get_by_role("button", name="Execute").click()
            page.get_by_text("Token is required").first.wait_for()
        context.close()


def test_the_policy_allows_nothing_inline_and_no_other_host():
    assert "unsafe" not in reference.policy("")
    assert "connect-src 'self';" in reference.policy("")
    assert reference.response("/docs/static/none.js", "", "") is None
    assert reference.response("/docs/static/../reference.py", "", "") is None
    assert reference.page().count("<script src=") == 2 and "<script>" not in reference.page()
