"""A crawl of the dashboard: no link, script, picture or form of any page is dead.

It begins at the start page and follows all links, on a server without an application, on one with a new application,
and on one where no page is empty. It follows links as a browser does and sends the forms that change nothing. Forms
that change something are sent with a wrong csrf, so that nothing is changed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from asking import person, rows
from dashboard.visiting import FORM, Page, Visitor, admin
from dashboard.world import fill
from servers import Databases, Server, ringbook, serve

from ringbook.dashboard.endpoint import Route, Who
from ringbook.dashboard.routes import ROUTES

START = "/dashboard"
# Everybody may send these, so no csrf guards them.
OPEN = {f"{START}/login", f"{START}/theme"}
POSTS = [re.compile(START + re.sub(r"\{\w+\}", "[^/]+", one.path)) for one in ROUTES if one.method == "POST"]
# What a page loads or leads to, by element.
ADDRESSES = {"a": "href", "link": "href", "script": "src", "img": "src"}
WRONG = "wrong-csrf"


@dataclass
class Form:
    """A form of a page, with its initial values."""

    method: str
    action: str
    values: dict[str, str] = field(default_factory=dict)


class Reader(HTMLParser):
    """Collects the links, files and forms of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.asked: list[str] = []  # by a script, for a part of the page
        self.posted: list[str] = []  # by a script, for a part of the page
        self.ids: set[str] = set()
        self.forms: list[Form] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if ADDRESSES.get(tag) in given:
            self.links.append(given[ADDRESSES[tag]])
        for name, found in (("hx-get", self.asked), ("data-figures", self.asked), ("hx-post", self.posted)):
            if name in given:
                found.append(given[name])
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "form":
            self.forms.append(Form(given.get("method", "get"), given.get("action", "")))
        elif self.forms and tag in ("input", "select", "button") and given.get("name"):
            self.forms[-1].values.setdefault(given["name"], given.get("value", ""))


@dataclass
class Crawl:
    """Follows all links from the start page. `wrong` lists the dead ones: the page, the link and the reason."""

    visitor: Visitor
    seen: dict[str, "Reader | None"] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    wrong: list[tuple[str, str, str]] = field(default_factory=list)

    def follow(self, start: str) -> "Crawl":
        """Follow everything that can be reached from a page."""
        waiting, named = [("", start)], {start}
        while waiting:
            source, target = waiting.pop()
            path, _, anchor = target.partition("#")
            new = path not in self.seen
            read = self._get(source, path)
            if anchor and read and anchor not in read.ids:
                self.wrong.append((source, target, "no such place on that page"))
            if read and new:
                found = set(self._leads(path, read)) - named
                named |= found
                waiting += [(path, one) for one in found]
                self._send(path, read)
        return self

    def _get(self, source: str, path: str) -> "Reader | None":
        """Fetch an address once; the links of the page, or None if it is not a page."""
        if path not in self.seen:
            answer = self.visitor.ask("GET", path)
            if answer.status == 303:
                answer = self.visitor.ask("GET", urljoin(path, answer.goes_to))
            if answer.status != 200:
                self.wrong.append((source, path, str(answer.status)))
            self.seen[path] = Reader(answer.html) if is_html(answer) else None
        return self.seen[path]

    def _leads(self, path: str, read: Reader) -> Iterator[str]:
        """The addresses on this server to which a page leads, by GET."""
        asking = [f"{form.action}?{urlencode(form.values)}" for form in read.forms if form.method == "get"]
        for target in [*read.links, *read.asked, *(without_early_anchor(one) for one in asking)]:
            if not urlsplit(target).netloc:
                yield urljoin(path, target)

    def _send(self, path: str, read: Reader) -> None:
        """Send each kind of form that changes something once, with a wrong csrf."""
        actions = [form.action for form in read.forms if form.method == "post"]
        for action in [*actions, *read.posted]:
            target = urljoin(path, action).partition("#")[0]
            if target in self.sent:
                continue
            self.sent.add(target)
            if not any(one.fullmatch(target.partition("?")[0]) for one in POSTS):
                self.wrong.append((path, target, "no form is taken there"))
            answer = self.visitor.ask("POST", target, urlencode({"csrf": WRONG}).encode(), content_type=FORM)
            if answer.status != 403 and target not in OPEN:
                self.wrong.append((path, target, f"{answer.status} to a wrong csrf"))


def without_early_anchor(target: str) -> str:
    """`/keys#sdks?endpoint=…` as a browser sends it: the fields come before the anchor."""
    address, anchor, rest = target.partition("#")
    name, _, fields = rest.partition("?")
    return f"{address}?{fields}#{name}" if anchor else target


def is_html(page: Page) -> bool:
    return page.status == 200 and "text/html" in page.headers.get("Content-Type", "")


# ── the servers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def nothing(server: Server) -> None:
    """A server without an application."""
    for app_id in (row["id"] for row in rows(server, "SELECT id FROM applications")):
        ringbook("app", "delete", str(app_id), "--yes", database_url=server.database_url)


def new(_server: Server) -> None:
    """A server with unused applications."""


def full(server: Server) -> None:
    """A server on which no page is empty."""
    fill(server)


@pytest.mark.parametrize("state, pages", [(nothing, 4), (new, 15), (full, 60)])
def test_every_link_and_every_form_leads_somewhere(
    databases: Databases, tmp_path: Path, state: Callable[[Server], None], pages: int
) -> None:
    with databases.fresh("sqlite") as url, serve(url, tmp_path, "--no-worker") as server:
        state(server)
        found = Crawl(admin(server)).follow(START)
    assert found.wrong == []
    assert len(found.seen) >= pages and len(found.sent) >= 3


def test_the_crawl_meets_every_page_and_every_form(databases: Databases, tmp_path: Path) -> None:
    """But for those that only a form or an invitation leads to, and the log-in."""
    with databases.fresh("sqlite") as url, serve(url, tmp_path, "--no-worker") as server:
        fill(server)
        person(server)
        admin(server, role="viewer")
        admin(server)
        owner = admin(server)
        owner.post("/admins/invite", email="guest@example.com", role="viewer")
        found = Crawl(owner).follow(START)
    assert found.wrong == []
    met = {"GET": set(found.seen), "POST": found.sent}
    missed = {one for one in ROUTES if not any(map(address_of(one).fullmatch, met[one.method]))}
    assert {(one.method, one.path) for one in missed} == ELSEWHERE


def address_of(route: Route) -> re.Pattern[str]:
    """The addresses of a page or a form, with their queries."""
    return re.compile(START + re.sub(r"\{\w+\}", "[^/?]+", route.path) + r"(\?.*)?")


ELSEWHERE = {
    ("GET", "/"),  # the start page has no slash at its end: test_endpoint
    ("GET", "/login"),  # test_login
    ("POST", "/login"),
    ("GET", "/admins/invited/{nonce}"),  # test_admins
    ("GET", "/invitation/{token}"),
    ("POST", "/invitation/{token}"),
    ("GET", "/apps/{app_id}/secret/{nonce}"),  # test_applications
    ("GET", "/apps/{app_id}/users/settings/test/result"),  # test_settings
    ("GET", "/apps/{app_id}/users/{user_id}/holders"),  # test_users
}


def test_a_viewer_is_led_to_nothing_that_is_for_owners(databases: Databases, tmp_path: Path) -> None:
    """No link leads to a refusal, and no page has a form that only owners may send."""
    with databases.fresh("sqlite") as url, serve(url, tmp_path, "--no-worker") as server:
        fill(server)
        found = Crawl(admin(server, role="viewer")).follow(START)
    assert found.wrong == []
    owners = [re.compile(START + re.sub(r"\{\w+\}", "[^/]+", one.path)) for one in ROUTES if one.who is Who.OWNER]
    locked = re.compile(r".*/users/settings/\w+|.*/push/providers/\w+")  # their fields are shown, and cannot be changed
    sent = [one for one in found.sent if any(each.fullmatch(one) for each in owners) and not locked.fullmatch(one)]
    assert sent == [] and len(found.seen) >= 50
