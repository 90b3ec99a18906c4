"""A SQLite file is removed while 8 clients upload; and the cost of checking the file at each transaction."""

import http.client
import json
import os
import sqlite3
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

from attack import Attack, Figure
from served import NO_LIMITS, Served, ringbook, serve

CLIENTS = 8
BEFORE_SECONDS, AFTER_SECONDS = 2.0, 3.0
ALLOWED_SECONDS = 1.0
LOOKS = 20_000


class Client(threading.Thread):
    """Uploads contacts one by one; records the begin, the end and the status of each request."""

    def __init__(self, port: int, token: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port, self._token, self._stop_ = port, token, stop
        self.answers: list[tuple[float, float, int]] = []

    def run(self) -> None:
        """Upload until `stop` is set."""
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)) as connection:
            n = 0
            while not self._stop_.is_set():
                contacts = [{"name": f"Friend {n}", "phone": f"1202555{n % 10_000:04}"}]
                body = json.dumps({"contacts": contacts, "force": 0})
                begun = time.monotonic()
                connection.request(
                    "POST", "/address_book", body, {"CB-Token": self._token, "Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                answer.read()
                self.answers.append((begun, time.monotonic(), answer.status))
                n += 1


def removed() -> list[Figure]:
    """The file is removed during uploads."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "ringbook.db"
        url = f"sqlite:///{file}"
        app = json.loads(ringbook(url, "app", "create", "Attack", "--json"))
        with serve(url, folder, **NO_LIMITS) as served:
            stop = threading.Event()
            clients = [Client(served.port, signed_up(served, app, n), stop) for n in range(CLIENTS)]
            for client in clients:
                client.start()
            time.sleep(BEFORE_SECONDS)
            file.unlink()
            gone = time.monotonic()
            said, named = told(served.port, str(file))
            time.sleep(AFTER_SECONDS)
            stop.set()
            for client in clients:
                client.join(20)
            made = file.exists()
    answers = [answer for client in clients for answer in client.answers]
    return figures(answers, gone) + [
        Figure("/readyz names the file after, ms", f"{(said - gone) * 1000:.0f}" if named else "never", "1000", named),
        Figure("an empty file in its place", "yes" if made else "no", "no", not made),
    ]


def figures(answers: list[tuple[float, float, int]], gone: float) -> list[Figure]:
    """The figures of the clients before and after the removal."""
    before = sum(status == 200 for _, end, status in answers if end <= gone)
    lost = sum(status == 200 for begun, _, status in answers if begun > gone)
    others = sum(status not in (200, 503) for _, _, status in answers)
    refused = [end for _, end, status in answers if status == 503]
    last = max((end for _, end, status in answers if status == 200), default=gone)
    until = max(0.0, last - gone)
    return [
        Figure("uploads answered 200 before", str(before), "at least 1", before > 0),
        Figure("uploads begun after the removal and answered 200", str(lost), "0", lost == 0),
        Figure("answers other than 200 and 503", str(others), "0", others == 0),
        Figure("503s", str(len(refused)), f"at least {CLIENTS}", len(refused) >= CLIENTS),
        Figure(
            "last 200 after the removal (it was under way), ms", f"{until * 1000:.1f}", "1000", until < ALLOWED_SECONDS
        ),
    ]


def told(port: int, name: str) -> tuple[float, bool]:
    """The time at which /readyz answers 503 and names the file."""
    end = time.monotonic() + ALLOWED_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).read()
        except urllib.error.HTTPError as refused:
            return time.monotonic(), refused.code == 503 and name in refused.read().decode()
        time.sleep(0.01)
    return time.monotonic(), False


def signed_up(served: Served, app: dict[str, Any], n: int) -> str:
    """The token of a new user."""
    login = f"client{n}"
    served.sign_up(app, login, "")
    keys = {"application_id": app["application_id"], "auth_key": app["auth_key"]}
    body = json.dumps(keys | {"user": {"login": login, "password": "correct-horse"}})
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        connection.request("POST", "/session", body, {"Content-Type": "application/json"})
        return str(json.loads(connection.getresponse().read())["session"]["token"])


def looking() -> list[Figure]:
    """The cost of one check of the file."""
    from ringbook.store.db.identity import Identity, which

    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "ringbook.db"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE things (n INTEGER)")
            identity = Identity(file)
            identity.opened(which(file))
            assert os.path.exists(f"{file}-wal")
            begun = time.perf_counter()
            for _ in range(LOOKS):
                identity.check()
            each = (time.perf_counter() - begun) / LOOKS * 1e6
    return [Figure("one look at the file and its log, µs", f"{each:.1f}", "50", each < 50)]


ATTACKS = (
    Attack(f"the SQLite file is removed while {CLIENTS} clients upload", removed),
    Attack("what looking for the file costs", looking),
)
