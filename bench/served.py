"""The HTTP side: one `ringbook serve` process and one connection to it, kept alive.

    serve(url, folder, …)           the server on a database, during a block
    Served.upload, retrieve, …      the operations of `raw`, over HTTP; each returns its cost
    Served.session, user, one_row   small requests
    Served.sign_up                  signs up a new user
    ringbook, environment           other commands, and their environment

The limits are the default ones. The bench stands in for the reverse proxy in front of the server: each owner has an
address of its own, as phones have. A response is parsed and compared after its time was measured.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from keyed import key_file
from loading import token
from processes import free_port, running, wait_until
from raw import Cost, expect
from timed_http import Client
from world import Contact, Upload

NO_LIMITS = {
    "PERMITS": "0",
    "ADDRESS_PERMITS_PER_DAY": "0",
    "NETWORK_PERMITS_PER_DAY": "0",
    "APP_PERMITS_PER_DAY": "1000000000000",
    "NEW_ACCOUNTS_PER_HOUR": "0",
    "NETWORK_ACCOUNTS_PER_HOUR": "0",
    "CONTACT_CHANGES_PER_DAY": "0",
    "PASSWORD_CHECKS_PER_HOUR": "0",
    "ADDRESS_PASSWORD_CHECKS_PER_HOUR": "0",
}
PASSWORD = "correct-horse"
REGISTERED = "/address_book/registered_users"


class Served(Client):
    """The HTTP side that is measured."""

    ready_seconds = 0.0

    def upload(self, owner_id: int, upload: Upload) -> Cost:
        """Upload with POST /address_book."""
        cost, answer = self._ask("POST", "/address_book", owner_id, upload.body)
        expect(answer, upload.answer, "answer to an upload")
        return cost

    def uploads(self, owner_id: int, upload: Upload, times: int) -> Cost:
        """Upload the same so many times."""
        headers = headers_of(owner_id) | {"Content-Type": "application/json"}
        cost, answer = self.repeated("POST", "/address_book", headers, upload.body, times)
        expect(json.loads(answer), upload.answer, "answer to a repeated upload")
        return cost

    def retrieve(self, owner_id: int, book: Sequence[Contact]) -> Cost:
        """Read the book back with GET /address_book."""
        cost, answer = self._ask("GET", "/address_book", owner_id)
        expect([one["phone"] for one in answer], [contact.typed for contact in book], "phones in a book")
        return cost

    def registered(self, owner_id: int, book: Sequence[Contact], *, compact: bool) -> Cost:
        """Get the registered contacts with GET /address_book/registered_users."""
        cost, answer = self._ask("GET", f"{REGISTERED}?compact={int(compact)}", owner_id)
        expect_registered(answer, book)
        return cost

    def registered_again(self, owner_id: int, book: Sequence[Contact], times: int) -> Cost:
        """The same with `compact=1`, so many times."""
        cost, answer = self.repeated("GET", f"{REGISTERED}?compact=1", headers_of(owner_id), None, times)
        expect_registered(json.loads(answer), book)
        return cost

    def session(self, owner_id: int, times: int) -> Cost:
        """GET /session, so many times."""
        return self.repeated("GET", "/session", headers_of(owner_id), None, times)[0]

    def user(self, owner_id: int, times: int) -> Cost:
        """GET /users/ID, so many times."""
        return self.repeated("GET", f"/users/{owner_id}", headers_of(owner_id), None, times)[0]

    def one_row(self, owner_id: int) -> Cost:
        """PUT /users/ID with new custom data: a request that commits one changed row."""
        user = {"user": {"custom_data": str(time.time_ns())}}
        return self._ask("PUT", f"/users/{owner_id}", owner_id, json.dumps(user).encode())[0]

    def sign_up(self, app: dict[str, Any], login: str, phone: str) -> tuple[Cost, int]:
        """POST /users, in a session without a user: its cost, and the id of the new user."""
        keys = {"application_id": app["application_id"], "auth_key": app["auth_key"]}
        _, opened = self._send("POST", "/session", {}, json.dumps(keys).encode(), status=201)
        user = {"user": {"login": login, "password": PASSWORD, "phone": phone}}
        headers = {"CB-Token": opened["session"]["token"]}
        cost, made = self._send("POST", "/users", headers, json.dumps(user).encode(), status=201)
        return cost, made["user"]["id"]

    def another(self) -> "Served":
        """A further connection to the same server."""
        return Served(self.port, self.pid)

    def _ask(self, method: str, path: str, owner_id: int, body: bytes | None = None) -> tuple[Cost, Any]:
        return self._send(method, path, headers_of(owner_id), body)

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None, *, status: int = 200
    ) -> tuple[Cost, Any]:
        headers |= {"Content-Type": "application/json"} if body else {}
        cost, answer = self.sent(method, path, headers, body, status=status)
        return cost, json.loads(answer)


def expect_registered(answer: Any, book: Sequence[Contact]) -> None:
    """End the benchmark if an answer does not have the registered contacts of a book."""
    names = [item["user"]["address_book_name"] for item in answer["items"]]
    expect(names, [contact.name for contact in book if contact.is_user], "names of registered contacts")


def headers_of(owner_id: int) -> dict[str, str]:
    """The session of an owner, and an address in a network of the owner's own: limits count by both."""
    return {"CB-Token": token(owner_id), "X-Forwarded-For": f"198.18.{owner_id % 250}.{owner_id // 250 % 250 + 1}"}


@contextmanager
def serve(url: str, folder: Path, *options: str, **settings: str) -> Iterator[Served]:
    """`ringbook serve` on a free port; `settings` are those of the environment, without RINGBOOK_."""
    port, log = free_port(), folder / "serve.log"
    command = [Path(sys.executable).with_name("ringbook"), "serve", "--port", port, *options]
    settings = {"TRUSTED_PROXIES": "127.0.0.1"} | settings
    started = time.perf_counter()
    with running(command, log, environment=environment(url, **settings)) as process:
        ready = f"http://127.0.0.1:{port}/readyz"
        wait_until(lambda: urllib.request.urlopen(ready, timeout=5).read(), OSError, process, log)
        with closing(Served(port, process.pid)) as served:
            served.ready_seconds = time.perf_counter() - started
            yield served


def ringbook(url: str, *words: str) -> str:
    """The output of a `ringbook` command; a failure ends the benchmark."""
    command = (Path(sys.executable).with_name("ringbook"), *words)
    done = subprocess.run(command, env=environment(url), capture_output=True, text=True)
    expect(done.returncode, 0, f"ringbook {words[0]} wrote {done.stderr}; its exit code")
    return done.stdout


def environment(url: str, **settings: str) -> dict[str, str]:
    """The environment of this process, with only these settings of Ringbook and the key."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("RINGBOOK_")}
    ours = {"DATABASE": url, "KEY_FILE": str(key_file())} | settings
    return others | {f"RINGBOOK_{name}": value for name, value in ours.items()}
