"""A viewer of the dashboard who wants phones and e-mails of users, and tests numbers, on a real server (A21).

The viewer reads the list of users and the page of each user, searches for phones and e-mails, and asks "Why not found?"
for each user and each number. An owner reads the same pages, so that the figures show that the values are there.
"""

import http.client
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from urllib.parse import urlencode

from accounts import HERE, OLD, Server, running
from attack import Attack, Figure
from served import ringbook

USERS = 20
SAME_SITE = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}


class Admin:
    """An admin's browser: it keeps cookies, and sends the `csrf` of the latest page with forms."""

    def __init__(self, server: Server, email: str, password: str) -> None:
        self.port, self.csrf, self.cookies = server.port, "", dict[str, str]()
        status, _ = self.post("/login", email=email, password=password)
        if status != 303:
            raise RuntimeError(f"the log-in of {email} got {status}")

    def get(self, path: str) -> tuple[int, str]:
        """The status and the page."""
        status, page, _ = self._ask("GET", path, None, {})
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        self.csrf = found[1] if found else self.csrf
        return status, page

    def post(self, path: str, **values: str) -> tuple[int, str]:
        """The status of a form, and the page to which it leads."""
        status, page, place = self._ask("POST", path, urlencode({"csrf": self.csrf} | values), SAME_SITE)
        return status, self.get(place.removeprefix("/dashboard").partition("#")[0])[1] if status == 303 else page

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, str, str]:
        headers = headers | {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        with closing(http.client.HTTPConnection(HERE, self.port, timeout=60)) as connection:
            connection.request(method, f"/dashboard{path}", body, headers)
            answer = connection.getresponse()
            page = answer.read().decode()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, page, answer.headers.get("Location", "")


@contextmanager
def filled() -> Iterator[tuple[Server, list[int]]]:
    """A server with USERS users, each with a phone and an e-mail; the first one's book has the numbers of all."""
    with running() as server:
        ids = []
        for at in range(USERS):
            user = {"login": f"user-{at}", "password": OLD, "phone": phone(at), "email": email(at)}
            ids.append(server.ask("POST", "/users", {"user": user})[1]["user"]["id"])
        book = [{"name": f"Contact {at}", "phone": phone(at)} for at in range(1, USERS)]
        server.ask("POST", "/address_book", {"contacts": book}, server.session("user-0", OLD))
        yield server, ids


def phone(at: int) -> str:
    """The phone of a user."""
    return f"+12025550{100 + at}"


def email(at: int) -> str:
    """The e-mail of a user."""
    return f"user-{at}@example.org"


def made(server: Server, role: str) -> Admin:
    """A logged-in admin."""
    name = f"{role}@example.com"
    password = json.loads(ringbook(server.url, "admin", "create", name, "--role", role, "--json"))["password"]
    return Admin(server, name, password)


def read_out() -> list[Figure]:
    """Read every page of users as a viewer and as an owner, then search and test as the viewer."""
    with filled() as (server, ids):
        viewer, owner = made(server, "viewer"), made(server, "owner")
        base = f"/apps/{server.app['application_id']}"
        paths = [f"{base}/users", *(f"{base}/users/{one}" for one in ids)]
        seen, there = (sum(values_in(admin.get(path)[1]) for path in paths) for admin in (viewer, owner))
        told = {text: differing(viewer, base, ids, text) for text in (phone(3), email(3))}
        answered = sum(viewer.post(f"{base}/why", user=str(ids[0]), contact=phone(at))[0] != 403 for at in range(USERS))
        opened = viewer.get(f"{base}/why?user={ids[0]}")[0]
    return [
        Figure("phones and e-mails on these pages for an owner", str(there), f"≥ {2 * USERS}", there >= 2 * USERS),
        Figure("the same for a viewer", str(seen), "0", seen == 0),
        Figure("searches that find whose a value is", str(sum(told.values())), "0", not any(told.values())),
        Figure(f"of {USERS} tests of numbers, those answered", str(answered), "0", answered == 0),
        Figure("the page that tests, status", str(opened), "403", opened == 403),
    ]


def values_in(page: str) -> int:
    """How many whole phones and e-mails of users a page has, each once."""
    return sum(phone(at)[1:] in page for at in range(USERS)) + sum(email(at) in page for at in range(USERS))


def differing(viewer: Admin, base: str, ids: Sequence[int], text: str) -> bool:
    """Does a search for a value list other users than one for a value that nobody has?"""
    nobody = "nobody@example.org" if "@" in text else "+12025550199"
    pages = (viewer.post(f"{base}/users", q=one)[1] for one in (text, nobody))
    one, other = ([user_id for user_id in ids if f'{base}/users/{user_id}"' in page] for page in pages)
    return one != other


ATTACKS = (Attack("a viewer of the dashboard reads out and tests phones (A21)", read_out),)
