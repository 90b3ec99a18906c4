"""Admins who use the dashboard, over plain HTTP.

Visitor            a browser without scripts: stores cookies, reads forms
admin(server)      a logged-in admin
Page               a response, with its content
"""

import contextlib
import hashlib
import html
import http.client
import re
import secrets
import time
import uuid
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from typing import Any
from urllib.parse import urlencode

from servers import SEAL, Server

from ringbook.core import admins, audit
from ringbook.core.admins import Role
from ringbook.dashboard import cookies
from ringbook.store import admins as store
from ringbook.store import db as databases

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Page:
    """A status, headers with case-insensitive names, and the page."""

    status: int
    headers: Message
    html: str

    @property
    def words(self) -> str:
        """The visible text, in one line."""
        inside = re.sub(r"<(script|style).*?</\1>|<wbr>", lambda one: " " if one[1] else "", self.html, flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inside)).split())

    @property
    def csrf(self) -> str:
        """The csrf value of its forms."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.html)
        assert found, self
        return found[1]

    @property
    def goes_to(self) -> str:
        """The address to which it redirects."""
        assert self.status == 303, self
        return self.headers["Location"]

    @property
    def is_refused(self) -> bool:
        """Does it lead to a page that shows why a form was refused?"""
        return self.status == 303 and re.search(r"[?&]refused=[\w-]", self.goes_to) is not None

    @property
    def is_done(self) -> bool:
        """Does it redirect, and not because the form was refused?"""
        return self.status == 303 and not self.is_refused

    def value(self, id_: str) -> str:
        """The value of a form field."""
        found = re.search(rf'<input[^>]*\b(?:id|name)="{id_}"[^>]*>', self.html)
        if found:
            value = re.search(r'value="([^"]*)"', found[0])
            return html.unescape(value[1]) if value else ""
        found = re.search(rf'<textarea[^>]*\bid="{id_}"[^>]*>\n?(.*?)</textarea>', self.html, re.DOTALL)
        assert found, f"no {id_} in {self.html}"
        return html.unescape(found[1])


@dataclass
class Visitor:
    """A browser without scripts."""

    server: Server | None
    port: int = 0  # the server's, unless it is another one
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookies: list[str] = field(default_factory=list)
    csrf: str = ""

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Page:
        """Send one request with the cookies; `sec_fetch_site="same-origin"` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            named["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        port = self.port or (self.server.port if self.server else 0)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            page = Page(answer.status, answer.headers, answer.read().decode("utf-8", "replace"))
        self.set_cookies = answer.headers.get_all("Set-Cookie") or []
        for cookie in self.set_cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies.pop(name, None)
            if value.strip('"') and "Max-Age=0" not in cookie:
                self.cookies[name] = value
        return page

    def get(self, path: str, **headers: str) -> Page:
        """Get a page below /dashboard."""
        page = self.ask("GET", f"/dashboard{path}", **headers)
        if 'name="csrf"' in page.html:
            self.csrf = page.csrf
        return page

    def post(self, path: str, _headers: dict[str, str] | None = None, **values: Any) -> Page:
        """Send a form, with the csrf of the latest page unless `csrf` is given."""
        body = urlencode({"csrf": self.csrf} | values, doseq=True).encode()
        return self.ask("POST", f"/dashboard{path}", body, content_type=FORM, **(_headers or {}))

    def follow(self, page: Page) -> Page:
        """Follow the redirection of a response."""
        return self.get(page.goes_to.removeprefix("/dashboard").partition("#")[0])

    def refused(self, page: Page) -> Page:
        """The page to which a refused form leads."""
        assert page.is_refused, page
        shown = self.follow(page)
        assert shown.status == 200, shown
        return shown


def make_admin(server: Server, email: str = "") -> tuple[str, str]:
    """Create an admin; the e-mail and the password."""
    email = email or f"{uuid.uuid4().hex[:12]}@example.com"
    with contextlib.closing(databases.connect(server.database_url, pool=1, seal=SEAL)) as db:
        return email, admins.create(db, email, int(time.time()))


def admin(server: Server, role: Role = "owner", **options: Any) -> Visitor:
    """A logged-in admin with a new session. The form is not used, because hashing passwords is slow."""
    email, token, now = (
        visiting(server.database_url, server.process.pid, role),
        secrets.token_urlsafe(32),
        int(time.time()),
    )
    with contextlib.closing(databases.connect(server.database_url, pool=1, seal=SEAL)) as db, db.write() as tx:
        store.open_session(tx, hashlib.sha256(token.encode()).digest(), email, now, now + admins.LIFE_SECONDS)
        audit.record(tx, audit.Actor(email, "127.0.0.1", now), "logged in")
    visitor = Visitor(server, cookies={cookies.TOKEN: token}, **options)
    visitor.get("/account")
    assert visitor.csrf, visitor
    return visitor


@cache
def visiting(database_url: str, _pid: int, role: Role) -> str:
    """The e-mail of an admin without a known password, one for each server because databases are reused."""
    with contextlib.closing(databases.connect(database_url, pool=1, seal=SEAL)) as db:
        admins.create(db, email := f"{uuid.uuid4().hex[:12]}@example.com", int(time.time()), role=role)
    return email
