"""The picture of the product in README.md, made from the demo: Bob's address book, the push that he got, the dashboard.

The demo is made, and a server is started on it. The picture shows Bob's address book as the server returns it, the text
of the last push to Bob as the worker printed it, and a screenshot of the dashboard. `make pictures` writes
docs/images/product-light.png and product-dark.png; this file by itself writes only these.

demonstrated(url, folder)       a server on the demo, and what is in it
shown(server, demo)             what the server returns to Bob, and what was printed
draw(browser, demo, folder)     writes the two pictures; their files
"""

import base64
import contextlib
import html
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "demo")]

from asking import ask  # noqa: E402  after the path is set, when it is run by itself
from asking import opened as session_of  # noqa: E402
from dashboard.browsing import browser, log_in, opened  # noqa: E402
from dashboard.pictures import smaller  # noqa: E402
from dashboard.visiting import make_admin  # noqa: E402
from history import History  # noqa: E402
from people import BOB_BOOK  # noqa: E402
from place import Found, Place  # noqa: E402
from player import PASSWORD  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402
from servers import Application, Databases, Server, key_file, serve  # noqa: E402

from ringbook import logs  # noqa: E402

FOLDER = ROOT / "docs" / "images"
PAGE = Path(__file__).with_name("product.html")
SIZE = {"width": 1600, "height": 760}
DASHBOARD = {"width": 1290, "height": 1075}
OPERATOR = "op@example.com"
PUSH = re.compile(r'nothing is sent\): (\S+) \w+ \S+ ("(?:[^"\\]|\\.)*")')
FRIEND = BOB_BOOK[0][0]


@dataclass(frozen=True)
class Demo:
    """The demo, a server on it, and the pushes that were printed in its history."""

    server: Server
    found: Found
    pushes: list[str]


@dataclass(frozen=True)
class Shown:
    """What the server returned and printed. `registered` are names in the book."""

    app: str
    book: list[dict[str, Any]]
    registered: set[str]
    text: str
    at: datetime


@contextlib.contextmanager
def demonstrated(url: str, folder: Path, joining: int = 340) -> Iterator[Demo]:
    """A server on the demo in an empty database. `joining`: how many people sign up in its history."""
    until = int(time.time())
    place = Place.of({"RINGBOOK_DATABASE": url, "RINGBOOK_KEY_FILE": str(key_file())}, folder)
    history = History(until, count=3 * joining, joining=joining)
    with ThreadPoolExecutor(1) as beside:  # Playwright's event loop runs in the thread of a test
        played = beside.submit(place.make, until, lambda done, total: None, history=history).result()
    with serve(url, folder) as server:
        yield Demo(server, place.found(), played.printed.pushes)


def shown(demo: Demo) -> Shown:
    """Sign in as Bob; his address book, who of it is registered, and the push about the friend who joined last."""
    app = demo.found.app
    keys = Application(app.id, app.auth_key, app.auth_secret)
    token = session_of(demo.server, keys, {"login": "bob", "password": PASSWORD})["token"]
    book, found = (
        ask(demo.server, "GET", f"/address_book{path}", headers={"CB-Token": token}).json
        for path in ("", "/registered_users?compact=1")
    )
    at, text = [found.groups() for found in map(PUSH.search, demo.pushes) if found and f" {FRIEND} " in found[2]][-1]
    registered = {one["user"]["address_book_name"] for one in found["items"]}
    return Shown(app.name.split(" (")[0], book, registered, json.loads(text), datetime.fromisoformat(at))


def draw(running: Browser, demo: Demo, folder: Path) -> list[Path]:
    """Take the picture in light and dark."""
    said, login = shown(demo), make_admin(demo.server, OPERATOR)
    return [_picture(running, demo, said, login, folder, scheme) for scheme in ("light", "dark")]


def _picture(running: Browser, demo: Demo, said: Shown, login: tuple[str, str], folder: Path, scheme: str) -> Path:
    """Take the screenshot of the dashboard, put it on the page, and take the picture of the page."""
    file = folder / f"product-{scheme}.png"
    with opened(running, demo.server, color_scheme=scheme, viewport=DASHBOARD, device_scale_factor=1.5) as page:
        log_in(page, *login)
        page.goto(f"/dashboard/apps/{demo.found.app.id}")
        dashboard = _activity(page)
    with opened(running, demo.server, color_scheme=scheme, viewport=SIZE) as page:
        page.set_content(filled(said, dashboard))
        page.screenshot(path=file)
    return smaller(file, 128)


def _activity(page: Page) -> bytes:
    """A screenshot that begins at the card with the activity of the month."""
    page.locator(".plot canvas").wait_for()
    card = page.get_by_role("heading", name="Activity").bounding_box()
    page.evaluate("top => { document.activeElement.blur(); window.scrollTo(0, top) }", card["y"] - 40)
    return page.screenshot()


def filled(said: Shown, dashboard: bytes) -> str:
    """The page with what the server returned and printed."""
    values = {
        "owner": "Bob",
        "app": html.escape(said.app),
        "letter": html.escape(said.app[:1]),
        "rows": "".join(_row(said, one) for one in said.book),
        "clock": f"{said.at:%H:%M}",
        "day": f"{said.at:%A} {said.at.day} {said.at:%B}",
        "text": html.escape(said.text),
        "dashboard": "data:image/png;base64," + base64.b64encode(dashboard).decode(),
    }
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], PAGE.read_text("utf-8"))


def _row(said: Shown, contact: dict[str, Any]) -> str:
    """One contact, with a badge if it is registered."""
    name, number = html.escape(contact["name"]), html.escape(contact["phone"])
    joined = contact["name"] in said.text
    word = "joined" if joined else "registered" if contact["name"] in said.registered else ""
    badge = f'<span class="badge">{word}</span>' if word else ""
    words = f'<div class="who"><div class="name">{name}</div><div class="number">{number}</div></div>'
    return f'<div class="row{" new" if joined else ""}">{words}{badge}</div>'


def main() -> None:
    """Write the pictures."""
    logs.start("error")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(Databases(folder, stack).fresh("sqlite"))
        demo = stack.enter_context(demonstrated(url, folder))
        for file in draw(stack.enter_context(browser()), demo, FOLDER):
            print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
