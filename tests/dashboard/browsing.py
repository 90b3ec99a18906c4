"""A real browser, headless: Debian's Chromium, driven by Playwright.

browser()        a browser, during a context
opened(…)        a window, with the errors in it
logged_in(…)     a window of a logged-in admin
faults(page)     the faults that axe-core finds
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
OF_COLOURS = ("color-contrast", "link-in-text-block")  # the rules of axe-core whose results depend on the theme


@contextmanager
def browser() -> Iterator[Browser]:
    """The Chromium that is installed on this machine."""
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
    """A window with its own profile. The test fails if a page violates the security policy or a script fails."""
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
    """Is this browser message an error of the page, and not an expected status?"""
    return "Content Security Policy" in said or "Refused to" in said or "TypeError" in said


def is_elsewhere(url: str, server: Server) -> bool:
    """Does a page send a request to another host?"""
    return not url.startswith((server.url, "data:", "about:", "blob:"))


def log_in(page: Page, email: str, password: str) -> None:
    """Log in with the form."""
    page.goto("/dashboard/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "/login" not in url)


@cache
def axe() -> str:
    """The script of axe-core."""
    if not AXE.exists():
        raise RuntimeError(NEED_AXE)
    return AXE.read_text("utf-8")


def faults(page: Page, *parts: str, only: Sequence[str] = ()) -> Sequence[str]:
    """The accessibility faults of a page, or of the parts with these selectors, with their places.

    only   the rules to apply; all by default
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe())
    where = {"include": [[part] for part in parts]} if parts else None
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(only)} if only else {})
    found = page.evaluate(LOOK, [where, options])
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


# Colours change slowly where a theme changes: axe-core must see the last ones. An endless animation cannot be finished.
LOOK = """async ([where, options]) => {
  for (const one of document.getAnimations()) if (one.effect.getComputedTiming().endTime < Infinity) one.finish();
  return axe.run(where || document, options);
}"""
