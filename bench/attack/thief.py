"""Attacks by a thief of the database: one who can write to it, and one who reads it. Neither has the key.

The writer has an account, SQL on the database, and the requests of the API. The reader had uploaded the numbers of an
own list before, and compares keyed numbers. What the reader sees has no bound: see docs/privacy.md.
"""

import hashlib
import http.client
import json
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import databases
import served
from attack import Attack, Figure

PASSWORD, OWN = "correct-horse", "password-of-the-thief"
TOKEN = "f" * 40
PEOPLE, CONTACTS, KNOWN = 24, 100, 500
POOL = 2_000  # numbers from which address books are filled
FIRST = 999_200_000_000  # 999 is a country code that nobody has


class World:
    """A server on SQLite, and its file."""

    def __init__(self, port: int, keys: dict[str, Any], file: Path) -> None:
        self.port, self.file = port, file
        self._keys = {"application_id": keys["application_id"], "auth_key": keys["auth_key"]}

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        """Send one request."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            headers = {"Content-Type": "application/json", "CB-Token": token}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text.strip() else None

    def session(self, login: str, password: str) -> tuple[int, str, int]:
        """Sign in, or up: the status, the token and the id of the user."""
        status, answer = self.ask("POST", "/session", self._keys | {"user": {"login": login, "password": password}})
        found = (answer or {}).get("session", {})
        return status, found.get("token", ""), found.get("user_id", 0)

    def upload(self, token: str, numbers: list[int]) -> None:
        """Upload contacts."""
        contacts = [{"phone": str(number), "name": f"Contact {number}"} for number in numbers]
        status, _ = self.ask("POST", "/address_book", {"contacts": contacts}, token)
        assert status == 200, status

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """What a thief runs on the file."""
        with closing(sqlite3.connect(self.file, timeout=10)) as connection, connection:
            return connection.execute(statement, values).fetchall()


@contextmanager
def world() -> Iterator[World]:
    """A new server."""
    with tempfile.TemporaryDirectory() as folder, databases.place("sqlite", Path(folder)) as place:
        url = place.empty()
        served.ringbook(url, "migrate")
        keys = json.loads(served.ringbook(url, "app", "create", "attack", "--json"))
        with served.serve(url, Path(folder)) as server:
            yield World(server.port, keys, Path(url.removeprefix("sqlite:///")))


def writer() -> list[Figure]:
    """Invents a session, moves the own one to the victim, and copies the own password over the victim's."""
    with world() as found:
        _, victims, victim = found.session("victim", PASSWORD)
        _, token, own = found.session("thief", OWN)
        found.upload(victims, [FIRST + n for n in range(10)])
        columns = "id, app_id, user_id, nonce, ts, created_at, last_used_at, expires_at, guest_until, mac"
        digest = hashlib.sha256(TOKEN.encode()).digest()
        found.sql(
            f"INSERT INTO sessions (token_hash, {columns}) SELECT ?, {columns} FROM sessions WHERE user_id = ?",
            digest,
            victim,
        )
        read = {"an invented session": found.ask("GET", "/address_book", token=TOKEN)[0]}
        found.sql("UPDATE sessions SET user_id = ? WHERE user_id = ?", victim, own)
        read["the own session, with the victim's id"] = found.ask("GET", "/address_book", token=token)[0]
        for name in ("password_hash", "password_mac"):
            found.sql(f"UPDATE users SET {name} = (SELECT {name} FROM users WHERE id = ?) WHERE id = ?", own, victim)
        read["the own password, copied over the victim's"] = found.session("victim", OWN)[0]
    return [Figure(f"status with {what}", str(status), "401", status == 401) for what, status in read.items()]


def reader() -> list[Figure]:
    """Recognises numbers of an own list in the books of others, in the stolen file."""
    chance = random.Random(8)
    with world() as found:
        books = [chance.sample(range(POOL), CONTACTS) for _ in range(PEOPLE)]
        for n, book in enumerate(books):
            found.upload(found.session(f"user{n}", PASSWORD)[1], [FIRST + number for number in book])
        _, token, own = found.session("thief", OWN)
        found.upload(token, [FIRST + number for number in chance.sample(range(POOL), KNOWN)])
        seen = found.sql(
            "SELECT count(*) FROM contacts WHERE owner_id <> ? AND number IN"
            " (SELECT number FROM contacts WHERE owner_id = ?)",
            own,
            own,
        )[0][0]
        sizes = len(found.sql("SELECT DISTINCT length(sealed) FROM contacts"))
        ordered = found.sql("SELECT count(*) FROM contacts WHERE seq > 0")[0][0]
    total = PEOPLE * CONTACTS
    return [
        Figure(f"contacts of others recognised by {KNOWN} own numbers", f"{seen} of {total}", "–", True),
        Figure("contacts whose place in the book is readable", f"{ordered} of {total + KNOWN}", "–", True),
        Figure("different lengths of sealed contacts", str(sizes), "–", True),
    ]


ATTACKS = (
    Attack("a thief writes to the database", writer),
    Attack("a thief reads the database, and had uploaded numbers before", reader),
)
