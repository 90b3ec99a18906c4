"""The picture of the product in README.md: an address book, the push that comes from it, and the dashboard.

A user signs up and uploads an address book, and then one of the contacts signs up. The picture shows the address book
that the server returns, the text of the push that its worker prints, and a screenshot of its dashboard. `make pictures`
writes docs/images/product-light.png and product-dark.png; this file by itself writes only these.

printing(url, folder)                   a server with content, whose worker prints pushes
draw(browser, server, world, folder)    writes the two pictures; their files
"""

import base64
import contextlib
import html
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from asking import Person, person  # noqa: E402  after the path is set, when it is run by itself
from dashboard.browsing import browser, log_in, opened  # noqa: E402
from dashboard.pictures import smaller  # noqa: E402
from dashboard.visiting import make_admin  # noqa: E402
from dashboard.world import OPERATOR, World, fill, phone  # noqa: E402
from playwright.sync_api import Browser  # noqa: E402
from servers import SEAL, Application, Databases, Server, eventually, serve  # noqa: E402

from ringbook.core import applications  # noqa: E402
from ringbook.store import db as databases  # noqa: E402

FOLDER = Path(__file__).parent.parent.parent / "docs" / "images"
PAGE = Path(__file__).with_name("product.html")
SIZE = {"width": 1600, "height": 760}
DASHBOARD = {"width": 1200, "height": 1000}
ANNIE = "07700 900118"
BOOK = {
    "Annie": ANNIE,
    "Ben (climbing)": phone(1),
    "Chloé": phone(2),
    "Dentist": "07700 900131",
    "George": phone(7),
    "Hana": phone(8),
    "Mum": "07700 900132",
    "Priya from work": phone(15),
}
PUSH = re.compile(r'nothing is sent\): (\S+) \w+ \S+ ("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class Shown:
    """What the server returned and printed."""

    app: str
    book: list[dict[str, Any]]
    registered: set[str]
    text: str
    at: datetime


def draw(running: Browser, server: Server, world: World, folder: Path) -> list[Path]:
    """Take the picture in light and dark. The pictures differ between runs only by the time."""
    shown = play(server, world)
    login = make_admin(server, OPERATOR)
    return [_picture(running, server, world, shown, login, folder, scheme) for scheme in ("light", "dark")]


def play(server: Server, world: World) -> Shown:
    """Sign up Bob with an address book and a phone, and then Annie; wait until the worker has printed the push."""
    with contextlib.closing(databases.connect(server.database_url, seal=SEAL)) as db:
        app = applications.get(db, world.app_id)
    keys = Application(app.id, app.auth_key, app.auth_secret)
    bob = person(server, keys, full_name="Bob Baker", phone="07700 900119")
    assert bob.upload([{"name": name, "phone": number} for name, number in BOOK.items()]).status == 200
    subscribe(bob)
    person(server, keys, full_name="Anna Ashby", phone=ANNIE)
    eventually(lambda: bool(pushes(server)), "the push is printed")
    at, text = pushes(server)[-1]
    found = bob.ask("GET", "/address_book/registered_users?compact=1").json["items"]
    book = bob.ask("GET", "/address_book").json
    return Shown(app.name, book, {one["user"]["phone"] for one in found}, text, at)


def subscribe(bob: Person) -> None:
    """Register a phone for pushes."""
    token = {"environment": "production", "client_identification_sequence": "token-of-bob"}
    wished = {"notification_channels": "gcm", "push_token": token, "device": {"udid": "pixel", "platform": "android"}}
    assert bob.ask("POST", "/subscriptions", wished).status == 201


def pushes(server: Server) -> list[tuple[datetime, str]]:
    """When each push about Annie was printed, and its text."""
    printed = [(datetime.fromisoformat(at), json.loads(text)) for at, text in PUSH.findall(server.printed)]
    return [(at, text) for at, text in printed if "Annie" in text]


def _picture(
    running: Browser, server: Server, world: World, shown: Shown, login: tuple[str, str], folder: Path, scheme: str
) -> Path:
    """Take the screenshot of the dashboard, put it on the page, and take the picture of the page."""
    file = folder / f"product-{scheme}.png"
    with opened(running, server, color_scheme=scheme, viewport=DASHBOARD, device_scale_factor=1.5) as page:
        log_in(page, *login)
        page.goto(f"/dashboard/apps/{world.app_id}")
        page.evaluate("document.activeElement && document.activeElement.blur()")
        dashboard = page.screenshot()
    with opened(running, server, color_scheme=scheme, viewport=SIZE) as page:
        page.set_content(filled(shown, dashboard))
        page.screenshot(path=file)
    return smaller(file, 128)


def filled(shown: Shown, dashboard: bytes) -> str:
    """The page with what the server returned and printed."""
    values = {
        "owner": "Bob",
        "app": html.escape(shown.app),
        "letter": html.escape(shown.app[:1]),
        "rows": "".join(_row(shown, one) for one in shown.book),
        "clock": f"{shown.at:%H:%M}",
        "day": f"{shown.at:%A} {shown.at.day} {shown.at:%B}",
        "text": html.escape(shown.text),
        "dashboard": "data:image/png;base64," + base64.b64encode(dashboard).decode(),
    }
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], PAGE.read_text("utf-8"))


def _row(shown: Shown, contact: dict[str, Any]) -> str:
    """One contact, with a badge if it is registered."""
    name, number = html.escape(contact["name"]), html.escape(contact["phone"])
    joined = contact["name"] in shown.text
    said = "joined" if joined else "registered" if contact["phone"] in shown.registered else ""
    badge = f'<span class="badge">{said}</span>' if said else ""
    words = f'<div class="who"><div class="name">{name}</div><div class="number">{number}</div></div>'
    return f'<div class="row{" new" if joined else ""}">{words}{badge}</div>'


@contextlib.contextmanager
def printing(url: str, folder: Path) -> Iterator[tuple[Server, World]]:
    """A server with content on an empty database, whose worker prints pushes."""
    with serve(url, folder, "--no-worker") as server:
        world = fill(server)
    with contextlib.closing(databases.connect(url, seal=SEAL)) as db:
        applications.change(db, world.app_id, "push_console", "on")
    with serve(url, folder) as server:
        yield server, world


def main() -> None:
    """Write the pictures."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(Databases(folder, stack).fresh("sqlite"))
        server, world = stack.enter_context(printing(url, folder))
        for file in draw(stack.enter_context(browser()), server, world, FOLDER):
            print(file.relative_to(FOLDER.parents[1]))


if __name__ == "__main__":
    main()
