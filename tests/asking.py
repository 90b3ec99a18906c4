"""HTTP requests of the tests, byte for byte, and their responses.

ask(server, …)       one request on its own connection → Answer
person(server, …)    a signed-in user, who sends requests with a token
guest(server, …)     a signed-in guest
line(n)              a contact for an upload, with a number reserved for fiction
rows, write          read and change the database of a server
at_once(calls)       many calls at the same time
"""

import contextlib
import http.client
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any, TypeVar

from servers import SEAL, Application, Server

from ringbook.store import db as databases

PASSWORD = "correct-horse"
JSON = "application/json"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """A status, headers with case-insensitive names, and the raw body."""

    status: int
    headers: Message
    raw: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.raw)


def ask(
    server: Server,
    method: str,
    path: str,
    value: Any = None,
    *,
    body: bytes | Iterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request, with `value` as JSON or with `body` unchanged; an iterator is sent in chunks."""
    headers = dict(headers or {})
    if value is not None:
        body = json.dumps(value).encode()
        headers.setdefault("Content-Type", JSON)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes | None))
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


@dataclass(frozen=True)
class Person:
    """A user with a session."""

    server: Server
    app: Application
    id: int
    token: str
    login: str = ""
    address: str = ""

    def ask(self, method: str, path: str, value: Any = None, **more: Any) -> Answer:
        """Send a request with this user's token, from this user's address."""
        headers = {"CB-Token": self.token} | came_from(self.address) | more.pop("headers", {})
        return ask(self.server, method, path, value, headers=headers, **more)

    def upload(self, contacts: list[Any], **options: Any) -> Answer:
        """Upload contacts, with `force` or `udid`."""
        return self.ask("POST", "/address_book", {"contacts": contacts} | options)

    def book(self, udid: str | None = None) -> list[tuple[str, str]]:
        """The (phone, name) of each contact in a book."""
        answer = self.ask("GET", "/address_book" + (f"?udid={udid}" if udid else ""))
        assert answer.status == 200, answer
        return [(contact["phone"], contact["name"]) for contact in answer.json]

    def signed_in_again(self) -> "Person":
        """The same user with a further session."""
        given = {"login": self.login, "password": PASSWORD}
        return replace(self, token=opened(self.server, self.app, given, self.address)["token"])


def came_from(address: str) -> dict[str, str]:
    """The header with which a proxy reports the client's address."""
    return {"X-Forwarded-For": address} if address else {}


def open_session(server: Server, app: Application, user: dict[str, Any] | None = None, address: str = "") -> Answer:
    """`POST /session`; without a login, a session without a user."""
    keys = {"application_id": app.application_id, "auth_key": app.auth_key}
    return ask(server, "POST", "/session", keys | ({"user": user} if user else {}), headers=came_from(address))


def opened(server: Server, app: Application, user: dict[str, Any] | None = None, address: str = "") -> Any:
    """Open a session; the session in the response."""
    answer = open_session(server, app, user, address)
    assert answer.status == 201, answer
    return answer.json["session"]


def person(server: Server, app: Application | None = None, address: str = "", **profile: Any) -> Person:
    """A new user who has signed in; `profile` as for `PUT /users/{id}`."""
    app = app or server.app
    login = f"user-{uuid.uuid4().hex}"
    session = opened(server, app, {"login": login, "password": PASSWORD}, address)
    who = Person(server, app, session["user_id"], session["token"], login, address)
    if profile:
        changed = who.ask("PUT", f"/users/{who.id}", {"user": profile})
        assert changed.status == 200, changed
    return who


def guest(server: Server, app: Application | None = None, address: str = "") -> Person:
    """A new guest."""
    app = app or server.app
    session = opened(server, app, {"guest": "1", "full_name": "Guest"}, address)
    return Person(server, app, session["user_id"], session["token"], address=address)


def rows(server: Server, sql: str, **params: Any) -> list[dict[str, Any]]:
    """The rows of a query on the server's database."""
    database = databases.connect(server.database_url, pool=1, seal=SEAL)
    try:
        with database.read() as tx:
            return tx.all(sql, **params)
    finally:
        database.close()


def write(server: Server, sql: str, **params: Any) -> int:
    """Change the server's database directly; the number of changed rows."""
    database = databases.connect(server.database_url, pool=1, seal=SEAL)
    try:
        with database.write() as tx:
            return tx.run(sql, **params)
    finally:
        database.close()


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Make all calls at the same time, each in its own thread; their results in order."""
    together = threading.Barrier(len(calls))

    def call(one: Callable[[], Result]) -> Result:
        together.wait()
        return one()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, calls))


def line(n: int, name: str = "x") -> dict[str, str]:
    """The n-th of 10,000 contacts: 555-01xx in a hundred area codes."""
    return {"phone": f"1{200 + n // 100:03}55501{n % 100:02}", "name": name}


def lines(first: int, count: int, name: str = "x") -> list[dict[str, str]]:
    """`count` contacts from the first on."""
    return [line(n, name) for n in range(first, first + count)]
