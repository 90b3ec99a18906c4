"""Plays a history through the server's own API and worker, with a clock that it moves.

play(db, config, app, history, …)   plays the events of a history up to a time
Clock                               a clock that stands until it is moved
Printed                             what the console channel and the console gateway have printed

The server runs in this process, as `ringbook serve` builds it (`server/front.py`), and so does its worker. They are
given the clock when they are made. Everything in the database is written by them: nothing is written by hand.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import re
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from history import DAY, HOUR, MINUTE, Event, History
from people import BOB

from ringbook.config import Config
from ringbook.core import stats
from ringbook.model import App
from ringbook.server import front
from ringbook.store.db import Database
from ringbook.worker import jobs
from ringbook.worker.courier import Courier

TICK = 30 * MINUTE  # between two looks of the worker when nothing happens
TURN = 6 * HOUR  # between two turns of the periodic jobs
PASSWORD = "bob-12345"
DELAY_SECONDS = 60  # from a sign-up to the pushes: meanwhile the app asks who may be told
CODE = re.compile(r"to …\d\d: (\d+) is your code")
SENT = ("name", "phone", "destroy")


class Clock:
    """A clock that stands until it is moved, and is never set back."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def move(self, to: int) -> None:
        """Move it forward; an earlier time changes nothing."""
        self.now = max(self.now, to)


class Unexpected(Exception):
    """The server answered otherwise than the history foresees."""


class Printed(io.TextIOBase):
    """Takes what is printed: pushes, and one-time codes."""

    def __init__(self) -> None:
        self.pushes: list[str] = []
        self.code = ""
        self._rest = sys.stderr

    def write(self, text: str) -> int:
        """Keep a push or a code; pass anything else on."""
        if text.startswith("DEVELOPMENT (push_console"):
            self.pushes.append(text.strip())
        elif found := CODE.search(text):
            self.code = found[1]
        elif text.strip():
            self._rest.write(text)
            self._rest.flush()
        return len(text)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take what is printed while the block lasts."""
        with contextlib.redirect_stdout(self), contextlib.redirect_stderr(self):
            yield


class Direct:
    """Sends requests to an ASGI application in this process."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str = "", address: str = "192.0.2.1"
    ) -> tuple[int, Any]:
        """The status and the body of the response."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        place, _, query = path.partition("?")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        scope = {
            "type": "http",
            "method": method,
            "path": place,
            "query_string": query.encode(),
            "headers": headers + ([(b"cb-token", token.encode())] if token else []),
            "client": (address, 40_000),
            "server": ("127.0.0.1", 8080),
            "scheme": "http",
            "http_version": "1.1",
        }
        messages = iter([{"type": "http.request", "body": content}])
        got: dict[str, Any] = {"body": b""}

        async def receive() -> dict[str, Any]:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: dict[str, Any]) -> None:
            got["status"] = message.get("status", got.get("status"))
            got["body"] += message.get("body", b"")

        await self._app(scope, receive, send)
        return got["status"], json.loads(got["body"] or "null")


def play(
    db: Database,
    config: Config,
    app: App,
    history: History,
    clock: Clock,
    until: int,
    progress: Callable[[int], None] = lambda _done: None,
) -> Player:
    """Play the events of a history until a time, UTC seconds; what was answered.

    clock      stands at the beginning of the first day
    progress   is called with the seconds of the history that are over
    """
    return asyncio.run(_played(db, config, app, history, clock, until, progress))


async def _played(
    db: Database,
    config: Config,
    app: App,
    history: History,
    clock: Clock,
    until: int,
    progress: Callable[[int], None],
) -> Player:
    printed, start = Printed(), clock.now
    async with Courier(db, config, threading.Event(), clock) as courier:
        player = Player(db, config, app, clock, Direct(front.build(config, db, clock)), courier, printed)
        with printed.taken():
            for event in history.events:
                await player.wait_until(start + event.at)
                await player.do(event)
                progress(event.at)
            await player.wait_until(until)
            player.finish()
    return player


class Player:
    """Plays events, and notes what the server answered.

    users       ids by person
    uploads     counts of what the uploads changed
    refused     how many entries of uploads were refused, by reason
    found       who has found whom, with the name in the finder's book
    """

    def __init__(
        self, db: Database, config: Config, app: App, clock: Clock, direct: Direct, courier: Courier, printed: Printed
    ) -> None:
        self._db = db
        self._app = app
        self._clock = clock
        self._direct = direct
        self._courier = courier
        self._parts = jobs.parts(config)
        self._turned_at = clock.now
        self._tokens: dict[int, str] = {}
        self._books: dict[int, list[dict[str, Any]]] = {}
        self._phones: dict[int, str] = {}
        self.printed = printed
        self.users: dict[int, int] = {}
        self.uploads: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.found: defaultdict[int, dict[int, str]] = defaultdict(dict)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def wait_until(self, at: int) -> None:
        """Let time pass: the worker sends what becomes due, and runs its jobs."""
        while self._clock.now - self._clock.now % TICK + TICK <= at:
            self._clock.move(self._clock.now - self._clock.now % TICK + TICK - 1)
            if self._clock.now - self._turned_at >= TURN - 1 or (self._clock.now + 1) % DAY == 0:
                self._turn()
            self._clock.move(self._clock.now + 1)
            await self._courier.drain()
        self._clock.move(at)

    def _turn(self) -> None:
        """A turn of the periodic jobs, and of the counters."""
        stats.flush(self._db, self._clock.now)
        jobs.turn(self._db, self._parts, self._clock.now, threading.Event())
        self._turned_at = self._clock.now

    def finish(self) -> None:
        """Write what this process still counts."""
        self._turn()

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def do(self, event: Event) -> None:
        """Play one event. Then the worker does what it caused, some of it after a delay."""
        await getattr(self, event.kind)(event.who, **event.with_)
        await self._courier.drain()
        if event.kind in ("join", "move"):
            self._clock.move(self._clock.now + DELAY_SECONDS + 1)
            await self._courier.drain()

    async def _ask(self, who: int, method: str, path: str, body: Any = None, expected: int = 200) -> Any:
        """The body of a response with the expected status. Each request takes a second."""
        self._clock.move(self._clock.now + 1)
        token = self._tokens.get(who, "")
        status, answer = await self._direct.ask(method, path, body, token=token, address=address_of(who))
        if status != expected:
            raise Unexpected(f"{method} {path} of person {who} was answered {status}, not {expected}: {answer}")
        return answer

    async def _code(self, who: int, phone: str) -> dict[str, Any]:
        """Ask for a one-time code, and read it as it was printed: the proof of the number.

        Somebody who has asked a moment ago, or too often, asks again after a while.
        """
        wanted = self._keys() | {"provider": "phone", "phone": {"number": phone}}
        while (answer := await self._direct.ask("POST", "/session", wanted, address=address_of(who)))[0] == 429:
            self._clock.move(self._clock.now + MINUTE)
        if answer[0] != 202:
            raise Unexpected(f"a code for person {who} was answered {answer}")
        given = {"request_id": answer[1]["verification"]["request_id"], "code": self.printed.code}
        return {"provider": "phone", "phone": given}

    def _keys(self) -> dict[str, Any]:
        return {"application_id": self._app.id, "auth_key": self._app.auth_key}

    async def _sign_in(self, who: int) -> None:
        """Open a session: Bob with his password, all others with a code."""
        if who == BOB and who in self.users:
            proof: dict[str, Any] = {"user": {"login": "bob", "password": PASSWORD}}
        else:
            proof = await self._code(who, self._phones[who])
        self._tokens.pop(who, None)
        session = (await self._ask(who, "POST", "/session", self._keys() | proof, 201))["session"]
        self._tokens[who], self.users[who] = session["token"], session["user_id"]

    # ── what people do ───────────────────────────────────────────────────────────────────────────────────────────────

    async def join(
        self,
        who: int,
        contacts: list[dict[str, Any]],
        phone: str,
        name: str,
        devices: list[str],
        wishes: dict[str, Any],
    ) -> None:
        """Sign up by phone number, enter a name, choose, register for pushes, upload the book, and see who is here."""
        self._phones[who], self._books[who] = phone, contacts
        if who == BOB:
            await self._bob_signs_up(phone)
        else:
            await self._sign_in(who)
        await self._ask(who, "PUT", f"/users/{self.users[who]}", {"user": {"full_name": name}})
        if wishes:
            await self._ask(who, "PUT", "/contact_joined/settings", wishes)
        for device in devices:
            await self._ask(who, "POST", "/subscriptions", subscription(who, device), 201)
        await self._upload(who, contacts, force=True)
        await self._look(who)

    async def _bob_signs_up(self, phone: str) -> None:
        """Bob has a login and a password as well, so that you can sign in as Bob."""
        session = await self._ask(
            BOB, "POST", "/session", self._keys() | {"user": {"login": "bob", "password": PASSWORD}}, 201
        )
        self._tokens[BOB], self.users[BOB] = session["session"]["token"], session["session"]["user_id"]
        await self._ask(BOB, "PUT", f"/users/{self.users[BOB]}", {"user": {}} | await self._code(BOB, phone))

    async def visit(self, who: int) -> None:
        """Sign in again, sync the whole book, see who is here, and read the list of who has joined."""
        await self._sign_in(who)
        await self._upload(who, self._books[who], force=True)
        await self._look(who)
        joined = (await self._ask(who, "GET", "/contact_joined?limit=20"))["items"]
        if joined and not joined[0]["seen"]:
            await self._ask(who, "POST", "/contact_joined/seen", {"up_to": joined[0]["id"]})

    async def change(self, who: int, contacts: list[dict[str, Any]]) -> None:
        """Upload what has changed in the book; the phone's own book changes, too."""
        await self._upload(who, contacts, force=False)
        self._books[who] = changed(self._books[who], contacts)

    async def write(self, who: int, text: str) -> None:
        """Send a push to the first friend; nothing when nobody is here."""
        if friends := sorted(self.found[who]):
            to = {"ids": friends[:1]}
            event = {"notification_type": "push", "environment": "production", "user": to, "message": encoded(text)}
            self._clock.move(self._clock.now + 1)
            await self._direct.ask(
                "POST", "/events", {"event": event}, token=self._tokens[who], address=address_of(who)
            )

    async def move(self, who: int, phone: str) -> None:
        """Get another number."""
        await self._sign_in(who)
        self._phones[who] = phone
        await self._ask(who, "PUT", f"/users/{self.users[who]}", {"user": {}} | await self._code(who, phone))

    async def leave(self, who: int) -> None:
        """Delete the account."""
        await self._sign_in(who)
        await self._ask(who, "DELETE", f"/users/{self.users[who]}")

    async def _upload(self, who: int, contacts: list[dict[str, Any]], *, force: bool) -> None:
        sent = [{name: entry[name] for name in SENT if name in entry} for entry in contacts]
        report = await self._ask(who, "POST", "/address_book", {"contacts": sent, "force": int(force)})
        self.uploads.update({name: report[name] for name in ("created", "updated", "deleted")}, sent=len(sent))
        for reasons in report["rejected"].values():
            self.refused.update(reasons)

    async def _look(self, who: int) -> None:
        answer = await self._ask(who, "GET", "/address_book/registered_users?" + urlencode({"compact": 1}))
        users = [item["user"] for item in answer["items"]]
        self.found[who] = {user["id"]: user["address_book_name"] for user in users if user["id"] != self.users[who]}

    # ── what apps do wrong ───────────────────────────────────────────────────────────────────────────────────────────

    async def wrong_code(self, who: int) -> None:
        """Mistype the code of a sign-in."""
        proof = await self._code(who, self._phones[who])
        proof["phone"]["code"] = f"{(int(proof['phone']['code']) + 1) % 1_000_000:06}"
        await self._ask(0, "POST", "/session", self._keys() | proof, 422)

    async def old_token(self, who: int) -> None:
        """Ask with the token of a session that has expired."""
        token = self._tokens.get(who)
        self._tokens[who] = "0" * 40
        await self._ask(who, "GET", "/address_book/registered_users", expected=401)
        self._tokens[who] = token

    async def broken_upload(self, who: int) -> None:
        """Upload something that is no list of contacts."""
        await self._sign_in(who)
        await self._ask(who, "POST", "/address_book", {"contacts": "all of them"}, 422)

    async def undefined(self, who: int) -> None:
        """Upload what an app with a bug makes of a book: every entry is refused."""
        await self._sign_in(who)
        bug = [{"name": "undefined", "phone": "[object Object]"} for _ in range(12)]
        await self._upload(who, bug, force=True)

    async def no_json(self, who: int) -> None:
        """Send half of a body."""
        await self._sign_in(who)
        await self._ask(who, "POST", "/address_book", b'{"contacts": [{"name": "Ann", "phone": "07700 9', 400)

    async def nobody_there(self, who: int) -> None:
        """Write to somebody who is not on the app."""
        await self._sign_in(who)
        event = {"notification_type": "push", "environment": "production", "user": {"ids": [999_999]}}
        await self._ask(who, "POST", "/events", {"event": event | {"message": encoded("Hello?")}}, 201)

    async def no_such_user(self, who: int) -> None:
        """Look up a user who has left."""
        await self._sign_in(who)
        await self._ask(who, "GET", "/users/999999", expected=404)

    async def foreign_number(self, who: int) -> None:
        """Ask for a code to a number in a country that the application sends none to."""
        phone = {"number": "+1 613 555 0142"}  # Canada
        await self._ask(0, "POST", "/session", self._keys() | {"provider": "phone", "phone": phone}, 422)


def address_of(who: int) -> str:
    """The address of a person, from the ranges that are reserved for documentation."""
    network, host = divmod(who, 250)
    return f"{('192.0.2', '198.51.100', '203.0.113')[network % 3]}.{host + 1}"


def subscription(who: int, device: str) -> dict[str, Any]:
    """A phone that takes pushes."""
    is_apple = device.startswith("iPhone")
    token = hashlib.sha256(f"{device} of {who}".encode()).hexdigest()
    return {
        "notification_channels": "apns" if is_apple else "gcm",
        "push_token": {"environment": "production", "client_identification_sequence": token},
        "device": {"udid": device, "platform": "ios" if is_apple else "android"},
    }


def encoded(text: str) -> str:
    """A message of an event."""
    return base64.b64encode(json.dumps({"message": text}).encode()).decode()


def changed(book: list[dict[str, Any]], changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The book on the phone after these changes."""
    gone = {entry["reads"] for entry in changes if entry.get("destroy")}
    news = {entry["reads"]: entry for entry in changes if not entry.get("destroy")}
    kept = [entry for entry in book if entry.get("reads") not in gone | news.keys()]
    return kept + list(news.values())
