"""What tests of the edge ask a server, byte for byte, and what it answers.

    ask(server, …)       one request on a connection of its own → Answer
    person(server, …)    somebody signed in, who asks with a token
    line(n)              a contact for an upload, with a number reserved for fiction
"""

import contextlib
import http.client
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any

from servers import Application, Server

PASSWORD = "correct-horse"
JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """A status, headers by any case of their names, and the body as it came."""

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
    """Send one request, with `value` as JSON or `body` as it stands; an iterator is sent in chunks."""
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

    def ask(self, method: str, path: str, value: Any = None, **more: Any) -> Answer:
        """Ask with this person's token."""
        headers = {"CB-Token": self.token} | more.pop("headers", {})
        return ask(self.server, method, path, value, headers=headers, **more)

    def upload(self, contacts: list[Any], **options: Any) -> Answer:
        """Upload contacts, with `force` or `udid`."""
        return self.ask("POST", "/address_book", {"contacts": contacts} | options)

    def book(self, udid: str | None = None) -> list[tuple[str, str]]:
        """(phone, name) of each contact in a book."""
        answer = self.ask("GET", "/address_book" + (f"?udid={udid}" if udid else ""))
        assert answer.status == 200, answer
        return [(contact["phone"], contact["name"]) for contact in answer.json]

    def signed_in_again(self) -> "Person":
        """The same person with one more session."""
        return replace(self, token=opened(self.server, self.app, {"login": self.login, "password": PASSWORD})["token"])


def opened(server: Server, app: Application, user: dict[str, Any] | None = None, **headers: str) -> Any:
    """The session that `POST /session` opens: the application's own without a user."""
    keys = {"application_id": app.application_id, "auth_key": app.auth_key}
    answer = ask(server, "POST", "/session", keys | ({"user": user} if user else {}), headers=headers)
    assert answer.status == 201, answer
    return answer.json["session"]


def person(server: Server, app: Application | None = None, **profile: Any) -> Person:
    """Somebody new, signed in; `profile` as `PUT /users/{id}` takes it."""
    app = app or server.app
    login = f"user-{uuid.uuid4().hex}"
    session = opened(server, app, {"login": login, "password": PASSWORD})
    who = Person(server, app, session["user_id"], session["token"], login)
    if profile:
        changed = who.ask("PUT", f"/users/{who.id}", {"user": profile})
        assert changed.status == 200, changed
    return who


def guest(server: Server, app: Application | None = None) -> Person:
    """Somebody new, for a day."""
    app = app or server.app
    session = opened(server, app, {"guest": "1", "full_name": "Guest"})
    return Person(server, app, session["user_id"], session["token"])


def line(n: int, name: str = "x") -> dict[str, str]:
    """The n-th contact of 10,000: 555-01xx in a hundred area codes."""
    return {"phone": f"1{200 + n // 100:03}55501{n % 100:02}", "name": name}


def lines(first: int, count: int, name: str = "x") -> list[dict[str, str]]:
    """`count` contacts from the first on."""
    return [line(n, name) for n in range(first, first + count)]
