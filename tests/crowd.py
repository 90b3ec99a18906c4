"""Clients that upload continuously during failures, and record which uploads were acknowledged.

crowd(server, count)      so many clients during a block
Crowd.counted             the number of acknowledged contacts that are lost
Crowd.meanwhile           the responses that were not successes, with their counts
knocking(port, count)     so many clients at the same time, each on its own connection
"""

import asyncio
import json
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from asking import Answer, Person, line, open_session, person
from sealed import contacts_behind
from servers import Server, eventually

NO_ANSWER = "no answer"
PAUSE_SECONDS = 0.02  # between uploads, so that the people leave processor time to the rest


@dataclass
class Crowd:
    """`promised`: the phones whose upload was answered with 200, by user; `lost`: the number of missing ones."""

    server: Server
    people: list[Person]
    promised: dict[int, list[str]] = field(default_factory=dict)
    meanwhile: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)
    lost: int = -1

    @property
    def answered(self) -> int:
        """The number of uploads that have succeeded so far."""
        return sum(map(len, self.promised.values()))

    def counted(self) -> "Crowd":
        """Count the acknowledged contacts that are not in the database, which must be reachable."""
        there = contacts_behind(self.server)
        promised = ((owner, int(phone)) for owner, phones in self.promised.items() for phone in phones)
        self.lost = sum(one not in there for one in promised)
        return self

    def goes_on(self, more: int = 20) -> None:
        """Wait until so many more uploads have succeeded."""
        wanted = self.answered + more
        self._until(lambda: self.answered >= wanted, "nobody is answered any more")

    def sees(self, what: str) -> None:
        """Wait until a client gets this response instead of a success."""
        before = self.meanwhile[what]
        self._until(lambda: self.meanwhile[what] > before, f"nobody gets {what}")

    def _until(self, true: Callable[[], bool], trouble: str) -> None:
        try:
            eventually(lambda: bool(self.failed) or true(), trouble)
        except AssertionError:
            raise AssertionError(f"{trouble}, but {self.meanwhile}") from None
        assert not self.failed, self.failed

    def upload(self, who: Person) -> None:
        """Upload one contact after the other, each until it succeeds."""
        promised = self.promised[who.id]
        while not self.over.is_set():
            contact = line(len(promised))
            try:
                answer = who.upload([contact])
                if answer.status == 401:
                    who = self.back(who)
            except (OSError, HTTPException):
                self.meanwhile[NO_ANSWER] += 1
            else:
                if answer.status == 200:
                    promised.append(contact["phone"])
                else:
                    self.meanwhile[words(answer)] += 1
            time.sleep(PAUSE_SECONDS)

    def back(self, who: Person) -> Person:
        """Sign in again, as an app does when its session has ended."""
        user = {"login": who.login, "password": "correct-horse"}
        answer = open_session(self.server, who.app, user)
        if answer.status == 201:
            return Person(self.server, who.app, who.id, answer.json["session"]["token"], who.login)
        self.meanwhile[words(answer)] += 1
        return who

    @property
    def told(self) -> str:
        """Print the results, for readers of the tests' output."""
        return f"{self.answered} answered with success, {self.lost} of them lost; meanwhile {dict(self.meanwhile)}"


def words(answer: Answer) -> str:
    """A status and its reason; a 503 must have Retry-After."""
    assert answer.status != 503 or int(answer.headers["Retry-After"]) > 0
    return f"{answer.status} {reason(answer.json)}"


def reason(body: Any) -> str:
    """The first error in a response."""
    errors = body["errors"]
    return str(errors[0] if isinstance(errors, list) else next(iter(errors.values()))[0])


@contextmanager
def crowd(server: Server, count: int) -> Iterator[Crowd]:
    """So many clients upload during a block; none may get a response that no app expects."""
    made = Crowd(server, [person(server) for _ in range(count)])
    made.promised = {who.id: [] for who in made.people}

    def go_on(who: Person) -> None:
        try:
            made.upload(who)
        except BaseException as error:
            made.failed.append(error)

    threads = [threading.Thread(target=go_on, args=(who,)) for who in made.people]
    for thread in threads:
        thread.start()
    try:
        made.goes_on()
        yield made
    finally:
        made.over.set()
        for thread in threads:
            thread.join()
    assert not made.failed, made.failed


# ── many at the same moment ──────────────────────────────────────────────────────────────────────────────────────────


def knocking(server: Server, count: int) -> list[tuple[int, list[str], Counter[str]]]:
    """Many guests upload at once: the acknowledged phones by user id, and the other responses."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * count + 1_000), hard))

    async def all_() -> list[tuple[int, list[str], Counter[str]]]:
        doors = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", server.port) for _ in range(count)))
        return list(await asyncio.gather(*(_guest(server, n, *door) for n, door in enumerate(doors))))

    return asyncio.run(all_())


async def _guest(
    server: Server, n: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, list[str], Counter[str]]:
    other: Counter[str] = Counter()

    async def ask(path: str, body: Any, token: str = "") -> Any:
        while True:
            status, answer = await _exchange(reader, writer, path, body, token)
            if status in (200, 201):
                return answer
            other[f"{status} {reason(answer)}"] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    keys = {"application_id": server.app.application_id, "auth_key": server.app.auth_key}
    session = (await ask("/session", keys | {"user": {"guest": "1", "full_name": f"Guest {n}"}}))["session"]
    contacts = [line(n), line(n + 1)]
    await ask("/address_book", {"contacts": contacts}, session["token"])
    writer.close()
    return session["user_id"], [contact["phone"] for contact in contacts], other


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: Any, token: str
) -> tuple[int, Any]:
    sent = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(sent)}\r\n" + (f"CB-Token: {token}\r\n" if token else "")
    writer.write(head.encode() + b"\r\n" + sent)
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    length = 0
    while (field_ := await reader.readline()).strip():
        name, _, value = field_.decode().partition(":")
        length = int(value) if name.lower() == "content-length" else length
    return status, json.loads(await reader.readexactly(length))
