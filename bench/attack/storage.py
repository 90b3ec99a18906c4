"""Attacks on storage: one account makes the database as large as it can, with long names, fragments and other data.

The size of a SQLite file is measured after a checkpoint, the size of a PostgreSQL database with pg_database_size after
a checkpoint and a VACUUM. No pushes are sent: PUSHES bytes of the bound are reserved for the pushes that the limits
allow one account.
"""

import http.client
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import databases
import psycopg
import served
from attack import Attack, Figure

MIB = 1024 * 1024
BOUND, PUSHES = 64 * MIB, 8 * MIB
LOGIN, PASSWORD = "storage", "correct-horse"
BOOKS, PER_UPLOAD, PER_BOOK = 20, 6_000, 50_000
FIRST = 999_100_000_000  # 999 is a country code that nobody has
EMOJI = "\U0001f600"
REMOVED, SESSIONS = 49_000, 110
Answer = tuple[int, Any]


class Account:
    """An account of an attacker who wants to fill the disk."""

    def __init__(self, port: int, keys: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._keys = {"application_id": keys["application_id"], "auth_key": keys["auth_key"]}
        user = {"login": LOGIN, "password": PASSWORD}
        opened = self.ask("POST", "/session", self._keys | {"user": user})[1]["session"]
        self.token, self.id = opened["token"], opened["user_id"]

    def ask(self, method: str, path: str, body: Any) -> Answer:
        """Send one request, with the token if there is one."""
        headers = {"Content-Type": "application/json", "CB-Token": getattr(self, "token", "")}
        self._connection.request(method, path, json.dumps(body, ensure_ascii=False).encode(), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.strip() else None

    def add(self, book: int, numbers: range, name: str) -> bool:
        """Add contacts to a book until ten more are refused; were all of them accepted?"""
        start, step = 0, min(PER_UPLOAD, 7 * MIB // (len(name.encode()) + 60))
        while start < len(numbers) and step > 10:
            part = numbers[start : start + step]
            status = self._upload(book, [{"phone": str(n), "name": name} for n in part])
            if status == 422:
                step //= 2  # what is left of the room
            else:
                expect(status, 200)
                start += step
        return start >= len(numbers)

    def remove(self, book: int, numbers: list[int]) -> None:
        """Remove contacts."""
        for start in range(0, len(numbers), PER_BOOK):
            part = [{"phone": str(n), "destroy": 1} for n in numbers[start : start + PER_BOOK]]
            expect(self._upload(book, part), 200)

    def _upload(self, book: int, contacts: list[dict[str, Any]]) -> int:
        status, _ = self.ask("POST", "/address_book", {"udid": f"{book:02d}" * 32, "contacts": contacts})
        return status

    def fill_everything_else(self) -> None:
        """Store subscriptions, the profile and sessions of the largest size."""
        for n in range(12):
            device = {"platform": "android", "udid": f"{n:02d}" + EMOJI * 253}
            token = {"environment": "production", "bundle_identifier": EMOJI * 255}
            token["client_identification_sequence"] = f"{n:02d}" + "x" * 4094
            made = {"notification_channel": "gcm", "device": device, "push_token": token}
            expect(self.ask("POST", "/subscriptions", made)[0], 201)
        user = {"custom_data": EMOJI * 20_000, "full_name": EMOJI * 255, "website": "http://" + EMOJI * 1_993}
        user |= {"twitter_id": EMOJI * 255, "external_id": EMOJI * 255, "avatar": EMOJI * 2_000}
        user["tag_list"] = ",".join(f"{n}" + EMOJI * 63 for n in range(5))
        expect(self.ask("PUT", f"/users/{self.id}", {"user": user})[0], 200)
        for _ in range(SESSIONS):
            signed_in = self._keys | {"user": {"login": LOGIN, "password": PASSWORD}}
            expect(self.ask("POST", "/session", signed_in)[0], 201)


def expect(seen: int, wanted: int) -> None:
    """Stop the benchmark unless the status is the expected one."""
    if seen != wanted:
        raise RuntimeError(f"an answer has status {seen}, not {wanted}")


# ── the attacks ──────────────────────────────────────────────────────────────────────────────────────────────────────


def long_names() -> list[Figure]:
    """Store names of 255 emoji in as many books as the limit allows."""
    return attacked(EMOJI * 255)


def many_names() -> list[Figure]:
    """Store as many contacts as the limit allows, and as many bytes."""
    return attacked("n" * 155)


def long_names_postgresql() -> list[Figure]:
    """The same on PostgreSQL."""
    return attacked(EMOJI * 255, kind="postgresql")


def many_names_postgresql() -> list[Figure]:
    """The same on PostgreSQL."""
    return attacked("n" * 155, kind="postgresql")


def fragments() -> list[Figure]:
    """Remove four of seven neighbouring contacts and add others elsewhere, so that SQLite does not merge the pages."""
    return attacked(EMOJI * 255, rounds=4, keep=3 / 7)


def many_fragments() -> list[Figure]:
    """The same with short rows, of which more fit into a page."""
    return attacked("n" * 155, rounds=4, keep=5 / 14)


def attacked(name: str, *, kind: str = "sqlite", rounds: int = 0, keep: float = 1) -> list[Figure]:
    """Run the attack; the size of the database. In each round, the share `keep` of the contacts remains."""
    with account(kind) as (attacker, size):
        before = size()
        numbers = range(FIRST, FIRST + PER_BOOK)
        attacker.add(0, numbers[:REMOVED], "x")  # what is removed is remembered
        attacker.remove(0, list(numbers[:REMOVED]))
        book = 1
        while attacker.add(book, numbers, name) and book < BOOKS - 1:
            book += 1
        for _ in range(rounds):
            book = thin_and_fill(attacker, book, numbers, name, keep)
        attacker.fill_everything_else()
        grown = size() - before
    bound = BOUND - PUSHES
    return [Figure("the database grew by, MiB", f"{grown / MIB:.1f}", f"{bound / MIB:.0f}", grown <= bound)]


def thin_and_fill(attacker: Account, book: int, numbers: range, name: str, keep: float) -> int:
    """Remove most contacts of the filled books, then fill the next books; the last filled book."""
    for one in range(1, book + 1):
        attacker.remove(one, [n for n in numbers if int(n * keep) == int((n - 1) * keep)])
    while book < BOOKS - 1:
        book += 1
        if not attacker.add(book, numbers, name):
            break
    return book


@contextmanager
def account(kind: str) -> Iterator[tuple[Account, Callable[[], int]]]:
    """A server on an empty database with one account, and the size of the database after a checkpoint."""
    with tempfile.TemporaryDirectory() as name, databases.place(kind, Path(name)) as place:
        url = place.empty()
        served.ringbook(url, "migrate")
        keys = json.loads(served.ringbook(url, "app", "create", "attack", "--json"))
        with served.serve(url, Path(name)) as server:
            yield Account(server.port, keys), lambda: SIZE[kind](url)


def size_of_file(url: str) -> int:
    """The size of the file after a checkpoint."""
    file = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, timeout=30)) as opened:
        for _ in range(50):
            if not opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                break
            time.sleep(0.1)
    return sum(Path(f"{file}{end}").stat().st_size for end in ("", "-wal"))


def size_on_postgresql(url: str) -> int:
    """The size that PostgreSQL reports after a checkpoint and a VACUUM."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM")
        connection.execute("CHECKPOINT")
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(size)


SIZE = {"sqlite": size_of_file, "postgresql": size_on_postgresql}
ATTACKS = (
    Attack("one account: names of 255 emoji", long_names),
    Attack("one account: 100,000 contacts", many_names),
    Attack("one account: names of 255 emoji, pages left half empty", fragments),
    Attack("one account: 100,000 contacts, pages left half empty", many_fragments),
    Attack("one account: names of 255 emoji, PostgreSQL", long_names_postgresql),
    Attack("one account: 100,000 contacts, PostgreSQL", many_names_postgresql),
)
