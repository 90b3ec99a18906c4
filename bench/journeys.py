"""How many files a request passes through: a profile of three journeys, in one process on SQLite.

    python bench/journeys.py            prints one line for each journey
    python bench/journeys.py --files    also prints the files, in the order in which they are first entered

A call is the start of a Python function of src/ringbook. It crosses into another file if the nearest caller in
src/ringbook on the same thread is in another file. Each journey runs once before it is counted, so that imports and
caches are not included.
"""

import argparse
import hashlib
import re
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from keyed import SEAL, migrate
from starlette.testclient import TestClient

import ringbook
from ringbook import logs
from ringbook.config import Config
from ringbook.core import admins, announcing, applications
from ringbook.model import App
from ringbook.store import admins as stored_admins
from ringbook.store import db as databases
from ringbook.store.db import Database

SOURCE = str(Path(ringbook.__file__).parent)
PASSWORD = "correct-horse"


@dataclass
class Profile:
    """The calls of one journey."""

    files: dict[str, None] = field(default_factory=dict)
    calls: int = 0
    crossings: int = 0
    is_on: bool = False

    def see(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Called by the interpreter for each call and return."""
        if not self.is_on:
            return
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(SOURCE) or frame.f_code.co_name.startswith("<"):
            return
        self.files.setdefault(file[len(SOURCE) + 1 :])
        self.calls += 1
        self.crossings += file != caller_of(frame)


def caller_of(frame: FrameType) -> str:
    """The file of the nearest function of src/ringbook among the callers; "" if there is none."""
    below = frame.f_back
    while below and not below.f_code.co_filename.startswith(SOURCE):
        below = below.f_back
    return below.f_code.co_filename if below else ""


@contextmanager
def profiling() -> Iterator[Profile]:
    """A profile of all threads that begin within the block. It counts while `is_on`."""
    profile = Profile()
    threading.setprofile(profile.see)
    sys.setprofile(profile.see)
    try:
        yield profile
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


class World:
    """A server in this process, with an application and users."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.config = Config(database="sqlite:///unused")
        self.app: App = applications.create(db, "journeys", int(time.time()))
        applications.change(db, self.app.id, "contact_joined_enabled", "true")

    def client(self) -> TestClient:
        """A client of this process's application."""
        return TestClient(build(self.config, self.db), base_url="http://localhost:8080")

    def session(self, client: TestClient, login: str = "") -> str:
        """The token of a session; of a new user, if a login is given."""
        keys = {"application_id": self.app.id, "auth_key": self.app.auth_key}
        user = {"user": {"login": login, "password": PASSWORD}} if login else {}
        answer = client.post("/session", json=keys | user)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["session"]["token"])


def build(config: Config, db: Database) -> Any:
    """The ASGI application of one process; its place differs between versions."""
    try:
        from ringbook.server import front
    except ImportError:
        from ringbook import app as front
    return front.build(config, db)


def upload(world: World) -> Callable[[], None]:
    """A user uploads two contacts."""
    client = world.client()
    token = world.session(client, "ann")
    numbers = iter(range(100, 200, 2))

    def go() -> None:
        first = next(numbers)
        body = {"contacts": [{"name": f"N{n}", "phone": f"+1202555{n:04}"} for n in (first, first + 1)]}
        answer = client.post("/address_book", json=body, headers={"CB-Token": token})
        assert answer.status_code == 200, answer.text

    return go


def joined(world: World) -> Callable[[], None]:
    """A user signs up with a number that another user has in the address book, and the worker announces it."""
    client = world.client()
    holder, numbers = world.session(client, "holder"), [f"+1202555{n:04}" for n in (150, 151)]
    body = {"contacts": [{"name": "Joiner", "phone": number} for number in numbers]}
    assert client.post("/address_book", json=body, headers={"CB-Token": holder}).status_code == 200
    session, left = world.session(client), iter(numbers)

    def go() -> None:
        number = next(left)
        user = {"user": {"login": f"joiner{number[-2:]}", "password": PASSWORD, "phone": number}}
        answer = client.post("/users", json=user, headers={"CB-Token": session})
        assert answer.status_code == 201, answer.text
        announcing.expand(world.db, int(time.time()))

    return go


def card(world: World) -> Callable[[], None]:
    """An admin saves the card of the joined push."""
    client = world.client()
    admins.create(world.db, email := "admin@example.com", now := int(time.time()))
    with world.db.write() as tx:
        digest = hashlib.sha256((token := secrets.token_urlsafe(32)).encode()).digest()
        stored_admins.open_session(tx, digest, email, now, now + 3600)
    client.cookies.set("ringbook_admin", token)
    page = client.get(f"/dashboard/apps/{world.app.id}/users/settings")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf, page.text[:500]
    texts = iter(["%s joined.", "%s is here.", "%s is new."])

    def go() -> None:
        form = {"csrf": csrf[1], "contact_joined_enabled": "on", "contact_joined_template": next(texts)}
        path = f"/dashboard/apps/{world.app.id}/users/settings/joined"
        answer = client.post(path, data=form, headers={"Origin": "http://localhost:8080"}, follow_redirects=False)
        assert answer.status_code == 303, answer.text

    return go


JOURNEYS = {
    "an upload of two contacts": upload,
    "a friend gains a number": joined,
    "the joined card is saved": card,
}


def measured(begin: Callable[[World], Callable[[], None]]) -> Profile:
    """The profile of the second run of a journey."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/journeys.db"
        migrate(url)
        with closing(databases.connect(url, seal=SEAL)) as db, profiling() as profile:
            go = begin(World(db))
            go()
            profile.is_on = True
            go()
            profile.is_on = False
    return profile


def main() -> None:
    """Prints the figures."""
    logs.start("error")
    parser = argparse.ArgumentParser(description="Counts files and calls of three journeys.")
    parser.add_argument("--files", action="store_true", help="also print the files of each journey")
    given = parser.parse_args()
    print("| journey | files | calls | into another file |\n| :-- | --: | --: | --: |")
    for name, begin in JOURNEYS.items():
        profile = measured(begin)
        print(f"| {name} | {len(profile.files)} | {profile.calls} | {profile.crossings} |")
        if given.files:
            print("  " + ", ".join(profile.files))


if __name__ == "__main__":
    main()
