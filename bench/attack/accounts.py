"""Attacks on passwords and one-time codes, over HTTP, against a real server on SQLite.

* two sessions change one password at the same time, with the same old password
* attackers guess an admin's password from many addresses
* attackers in many networks request all one-time codes of a day
* a sender tests by `POST /events` who exists and who has a device (A23)
"""

import base64
import json
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attack import Attack, Figure
from keyed import migrate
from served import Served, ringbook, serve

ROUNDS, OLD = 8, "correct-horse"
GUESSES, ADDRESSES = 240, 60
CAP, ASKED, KNOWN = 20, 40, "+12025550142"
HERE = "127.0.0.1"


class Server:
    """A server, its application, and requests with any client address (X-Forwarded-For)."""

    def __init__(self, url: str, served: Served, app: dict[str, Any], log: Path) -> None:
        self.url, self.app, self.log, self.port = url, app, log, served.port
        self._root = f"http://{HERE}:{served.port}"

    def ask(self, method: str, path: str, values: Any, token: str = "", address: str = HERE) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        headers = {"Content-Type": "application/json", "X-Forwarded-For": address, "CB-AuthKey": self.app["auth_key"]}
        headers |= {"CB-Token": token} if token else {}
        return self._sent(
            urllib.request.Request(self._root + path, json.dumps(values).encode(), headers, method=method)
        )

    def log_in(self, email: str, password: str, address: str) -> int:
        """The status of a log-in at the dashboard."""
        form = urllib.parse.urlencode({"email": email, "password": password, "next": ""}).encode()
        headers = {"X-Forwarded-For": address, "Sec-Fetch-Site": "same-origin"}
        return self._sent(urllib.request.Request(f"{self._root}/dashboard/login", form, headers))[0]

    def session(self, login: str, password: str) -> str:
        """The token of a new session."""
        keys = {"application_id": self.app["application_id"], "auth_key": self.app["auth_key"]}
        _, opened = self.ask("POST", "/session", keys | {"user": {"login": login, "password": password}})
        return str(opened["session"]["token"])

    def sent(self) -> int:
        """The messages that the console gateway has printed."""
        return self.log.read_text().count("DEVELOPMENT (sms_gateway")

    def _sent(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.build_opener(Still).open(request, timeout=60) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        return status, json.loads(body) if body.startswith((b"{", b"[")) else None


class Still(urllib.request.HTTPRedirectHandler):
    """Does not follow redirections, because a successful log-in is answered with one."""

    def redirect_request(self, *_: Any) -> None:
        """Return None, so that urllib follows no redirection."""


@contextmanager
def running(**settings: str) -> Iterator[Server]:
    """A new server that trusts the loopback as a proxy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'attacked.db'}"
        migrate(url)
        app = json.loads(ringbook(url, "app", "create", "attacked", "--json"))
        with serve(url, folder, "--no-worker", TRUSTED_PROXIES=HERE, **settings) as served:
            yield Server(url, served, app, folder / "serve.log")


def together(*work: Any) -> None:
    """Run these calls at the same time."""
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def both_change() -> list[Figure]:
    """A victim and an attacker change the same password at the same time, ROUNDS times."""
    with running() as server:
        both = 0
        for number in range(ROUNDS):
            login = f"victim-{number}"
            _, made = server.ask("POST", "/users", {"user": {"login": login, "password": OLD}})
            tokens = [server.session(login, OLD) for _ in range(2)]
            answers: list[int] = []

            def change(token: str, user_id: int, answers: list[int] = answers) -> None:
                new = {"user": {"password": f"new-{token}", "old_password": OLD}}
                answers.append(server.ask("PUT", f"/users/{user_id}", new, token)[0])

            user_id = made["user"]["id"]
            together(*(partial(change, token, user_id) for token in tokens))
            both += answers.count(200) != 1
    return [Figure(f"of {ROUNDS} rounds, those in which not exactly one changed it", str(both), "0", both == 0)]


def guessed() -> list[Figure]:
    """Guess an admin's password from ADDRESSES addresses; then the admin logs in from a known and a new address."""
    home = "198.51.100.7"
    with running() as server:
        password = json.loads(ringbook(server.url, "admin", "create", "op@example.com", "--json"))["password"]
        server.log_in("op@example.com", password, home)
        statuses = Counter(
            server.log_in("op@example.com", f"guess-{n}", f"203.0.113.{n % ADDRESSES}") for n in range(GUESSES)
        )
        let_in = server.log_in("op@example.com", password, home)
    looked_at = statuses[401]
    return [
        Figure(
            f"of {GUESSES} guesses from {ADDRESSES} addresses, those looked at",
            str(looked_at),
            "≤ 101",
            looked_at <= 101,
        ),
        Figure("the admin's log-in from an own address meanwhile", str(let_in), "303", let_in == 303),
    ]


def used_up() -> list[Figure]:
    """Attackers request ASKED codes with a daily limit of CAP; then a user who has signed in before requests one."""
    with running() as server:
        app_id = str(server.app["application_id"])
        for key, value in {"sms_gateway": "console", "sms_regions": "US", "sms_daily_cap": str(CAP)}.items():
            ringbook(server.url, "app", "set", app_id, key, value)
        _, made = server.ask("POST", "/users", {"user": {"login": "known", "password": OLD}})
        ringbook(server.url, "users", "give-number", str(made["user"]["id"]), KNOWN, "--app", app_id, "--yes")
        strangers = Counter(
            ask_for_code(server, f"+1202555{n:04}", f"2001:db8:{n:x}::1")[0] for n in range(100, 100 + ASKED)
        )
        before = server.sent()
        status, answer = ask_for_code(server, KNOWN, "2001:db8:ffff::1")
        threading.Event().wait(2)
        known = server.sent() - before
        unsent = ask_for_code(server, "+12025550199", "2001:db8:fffe::1")
    alike = (status, sorted(answer)) == (unsent[0], sorted(unsent[1]))
    return [
        Figure(
            f"of {ASKED} strangers in as many networks, answered 202",
            str(strangers[202]),
            str(ASKED),
            strangers[202] == ASKED,
        ),
        Figure(f"messages that they used up, of {CAP} a day", str(before), str(CAP // 2), before == CAP // 2),
        Figure("messages to the number that had signed in before", str(known), "1", known == 1),
        Figure("its answer and a stranger's are alike", str(alike), "True", alike),
    ]


def ask_for_code(server: Server, number: str, address: str) -> tuple[int, Any]:
    """Request a code: the first step of a sign-in by code."""
    keys = {"application_id": server.app["application_id"], "auth_key": server.app["auth_key"]}
    return server.ask("POST", "/session", keys | {"provider": "phone", "phone": {"number": number}}, address=address)


def tested_by_pushes() -> list[Figure]:
    """Send pushes to a user with a device, to one without, and to nobody, and compare all that the sender can read."""
    with running() as server:
        ids = {}
        for login in ("mallory", "ann", "bob"):
            _, made = server.ask("POST", "/users", {"user": {"login": login, "password": OLD}})
            ids[login] = made["user"]["id"]
        device = {"platform": "android", "udid": "phone"}
        push_token = {"environment": "production", "client_identification_sequence": "t" * 40}
        subscribed, _ = server.ask(
            "POST",
            "/subscriptions",
            {"notification_channel": "gcm", "device": device, "push_token": push_token},
            server.session("ann", OLD),
        )
        token = server.session("mallory", OLD)
        read = [told(server, token, str(one)) for one in (ids["ann"], ids["bob"], max(ids.values()) + 1_000)]
    kinds = len({json.dumps(one) for one in read})
    return [
        Figure("the device was registered", str(subscribed), "201", subscribed == 201),
        Figure(
            "answers to a push", ", ".join(str(one[0]) for one in read), "201 each", {one[0] for one in read} == {201}
        ),
        Figure("different readings of a device, no device and nobody", str(kinds), "1", kinds == 1),
    ]


def told(server: Server, token: str, recipient: str) -> list[Any]:
    """What a sender reads of a push: the answer, the event, its status, and the answer when it is deleted; no ids."""
    message = base64.b64encode(b"Hello!").decode()
    event = {"notification_type": "push", "environment": "production", "message": message, "user": {"ids": recipient}}
    status, sent = server.ask("POST", "/events", {"event": event}, token)
    path = f"/events/{sent[0]['event']['id']}"
    read = [server.ask("GET", path, None, token), server.ask("GET", f"{path}/status", None, token)]
    read.append(server.ask("DELETE", path, None, token))
    shown = json.loads(json.dumps([sent, *read]), object_hook=without_changing)
    return [status, shown]


def without_changing(values: dict[str, Any]) -> dict[str, Any]:
    """The fields that do not differ between any two events."""
    return {name: value for name, value in values.items() if name != "id" and not name.endswith("_at")}


ATTACKS = (
    Attack("victim and attacker change a password at once", both_change),
    Attack("an admin's password is guessed from many addresses", guessed),
    Attack("strangers use up the one-time codes of a day", used_up),
    Attack("a sender tests who has a device (A23)", tested_by_pushes),
)
