"""A real browser, headless: Debian's Chromium, driven by Playwright.

browser()        one that lives as long as the context
opened(…)        a window of it, with what went wrong in it
logged_in(…)     the same, for an admin
faults(page)     what axe-core finds serious
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from servers import Server

AXE = Path(__file__).parent.parent / "e2e" / "node_modules" / "axe-core" / "axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome")
NEED_BROWSER = "The tests need Chromium: `make test` installs it on Debian as root; else name it in TEST_CHROMIUM"
NEED_AXE = "The tests need the npm package axe-core: make test installs it"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--font-render-hinting=none",
)
PATIENCE_MS = 30_000


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, as it is installed on this machine."""
    program = os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not program:
        raise RuntimeError(NEED_BROWSER)
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=list(QUIET))
        try:
            yield running
        finally:
            running.close()


@contextmanager
def opened(running: Browser, server: Server, **options: Any) -> Iterator[Page]:
    """A window with a profile of its own; it fails the test when a page breaks the policy or a script breaks down."""
    context = running.new_context(base_url=server.url, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda said: trouble.append(said.text) if is_trouble(said.text) else None)
    page.on("request", lambda asked: trouble.append(asked.url) if is_elsewhere(asked.url, server) else None)
    try:
        yield page
    finally:
        context.close()
    assert trouble == []


def is_trouble(said: str) -> bool:
    """Does the browser complain of the page, and not of a status that we wanted?"""
    return "Content Security Policy" in said or "Refused to" in said or "TypeError" in said


def is_elsewhere(url: str, server: Server) -> bool:
    """Does a page ask somebody else?"""
    return not url.startswith((server.url, "data:", "about:", "blob:"))


def log_in(page: Page, email: str, password: str) -> None:
    """By the form."""
    page.goto("/dashboard/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "/login" not in url)


@cache
def axe() -> str:
    """The script that looks for faults."""
    if not AXE.exists():
        raise RuntimeError(NEED_AXE)
    return AXE.read_text("utf-8")


def faults(page: Page) -> Sequence[str]:
    """What a page has of faults that shut somebody out: serious and critical ones, with where they are."""
    page.evaluate(axe())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
