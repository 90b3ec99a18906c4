"""Play a day of an app against a running Ringbook: users sign up, upload, change numbers and find each other.

    make demo                                       in a second terminal, beside `make serve`
    python demo/play.py --endpoint http://127.0.0.1:8081 [--json]

The people and their address books are in world.json. The demo creates its own application, so it does not touch other
data on the server. At the end it prints how to delete the application.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

WORLD = Path(__file__).with_name("world.json")
SENT = ("name", "phone", "destroy")
COUNTS = ("sent", "created", "updated", "deleted", "refused")
START = "Start the server in another terminal with `make serve`; if it names another port: make demo PORT=8081"
OTHER_DATABASE = "The server does not know the application that the demo has just made: it uses another database."
SAME_DATABASE = "Run the demo in the folder where the server was started, with the same RINGBOOK_DATABASE."


class Stop(Exception):
    """The demo cannot go on; the text says why and what to do."""


class Server:
    """A Ringbook over HTTP: one connection, JSON both ways."""

    def __init__(self, endpoint: str) -> None:
        try:
            parts = urlsplit(endpoint)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host = ""
        if not host or parts.scheme not in ("http", "https"):
            raise Stop(f"{endpoint} is not an address of a server; one looks like http://127.0.0.1:8080")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self.endpoint = endpoint.rstrip("/")
        self.prefix = parts.path.rstrip("/")
        self.connection = kind(host, port, timeout=30)

    def greet(self) -> None:
        """Stop unless a Ringbook answers."""
        try:
            alive = self.call("GET", "/healthz") == (200, {"status": "alive"})
        except (OSError, HTTPException) as trouble:
            raise Stop(f"No server answers at {self.endpoint} ({trouble}).\n{START}") from None
        finally:
            # Making the application takes longer than a server keeps an idle connection.
            self.connection.close()
        if not alive:
            raise Stop(f"What answers at {self.endpoint} is not Ringbook.\n{START}")

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer to a request that must succeed."""
        try:
            status, answer = self.call(method, path, body, **headers)
        except (OSError, HTTPException) as trouble:
            raise Stop(f"The server at {self.endpoint} went away ({trouble})") from None
        if status == 401:
            raise Stop(f"{OTHER_DATABASE}\n{SAME_DATABASE}")
        if status == 429:
            raise Stop(f"The server asks for patience: {answer}. Its limits are settings, see docs/configuration.md")
        if status not in (200, 201, 202):
            raise Stop(f"{method} {path} was answered {status}: {answer}")
        return answer

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = "application/json"
        self.connection.request(method, self.prefix + path, None if body is None else json.dumps(body), sent)
        response = self.connection.getresponse()
        text = response.read()
        try:
            return response.status, json.loads(text or "null")
        except ValueError:
            return response.status, text[:80]


class Application(NamedTuple):
    """The demo's own application."""

    id: int
    key: str

    @classmethod
    def made(cls) -> Application:
        """Create an application for users who write numbers as in Britain."""
        made = json.loads(command("app", "create", "demo", "--json"))
        command("app", "set", str(made["application_id"]), "default_region", "GB")
        return cls(made["application_id"], made["auth_key"])


class Day:
    """The events of the day and their results."""

    def __init__(self, server: Server, application: Application, world: dict[str, Any], progress: Progress) -> None:
        self.server = server
        self.application = application
        self.world = world
        self.progress = progress
        self.names = {person["id"]: person["name"] for person in world["people"]}
        self.tokens: dict[int, str] = {}
        self.ids: dict[int, int] = {}
        self.uploads: dict[str, Counter[str]] = defaultdict(Counter)
        self.refused: dict[str, list[str]] = defaultdict(list)
        self.found: dict[str, dict[tuple[int, int], str]] = {}
        self.stored = 0

    def play(self) -> None:
        """Play the events from 08:00 to 23:00."""
        self.sign_up("08:00 people sign up", "morning")
        self.upload_books("09:00 phones upload their books", "first upload", "morning")
        self.look("10:00 who is here?", "morning")
        self.upload_books("11:00 phones sync again", "the same again", "morning")
        self.live("12:00 people meet, fall out and move")
        self.look("19:00 who is here?", "afternoon")
        self.sign_up("20:00 newcomers sign up", "evening")
        self.upload_books("21:00 newcomers upload their books", "newcomers", "evening")
        self.look("22:00 who is here?", "evening")
        self.read_back("23:00 books are read back")

    def sign_up(self, title: str, when: str) -> None:
        for person in self.step(title, [each for each in self.world["people"] if each["joins"] == when]):
            user = {"login": f"person{person['id']}", "password": f"demo-{person['id']:08}"}
            profile = {**user, "full_name": person["name"], "phone": person["phone"]}
            self.server.ask("POST", "/users", {"user": profile}, CB_AuthKey=self.application.key)
            wanted = {"application_id": self.application.id, "auth_key": self.application.key, "user": user}
            session = self.server.ask("POST", "/session", wanted)["session"]
            self.tokens[person["id"]], self.ids[session["user_id"]] = session["token"], person["id"]

    def upload_books(self, title: str, kind: str, when: str) -> None:
        joining = {person["id"] for person in self.world["people"] if person["joins"] == when}
        for book in self.step(title, [each for each in self.world["books"] if each["owner"] in joining]):
            whole = {"force": 1, "udid": book["device"]} if book["device"] else {"force": 1}
            self.upload(kind, book["owner"], book["contacts"], whole)

    def upload(self, kind: str, owner: int, contacts: list[dict[str, Any]], how: dict[str, Any]) -> None:
        sent = [{name: entry[name] for name in SENT if name in entry} for entry in contacts]
        report = self.as_user(owner, "POST", "/address_book", {"contacts": sent, **how})
        self.uploads[kind].update({name: report[name] for name in ("created", "updated", "deleted")})
        self.uploads[kind].update(sent=len(sent), refused=len(report["rejected"]))
        for position, reasons in report["rejected"].items():
            for reason in reasons:
                self.refused[reason].append(shown(sent[int(position)]))

    def live(self, title: str) -> None:
        mine = {person: user for user, person in self.ids.items()}
        for event in self.step(title, self.world["day"]):
            if "contacts" in event:
                self.upload("changes", event["who"], event["contacts"], {"force": int(event["force"])})
            else:
                path = f"/users/{mine[event['who']]}"
                self.as_user(event["who"], "PUT", path, {"user": {"phone": event["phone"]}})

    def look(self, title: str, when: str) -> None:
        found = self.found.setdefault(when, {})
        for book in self.step(title, self.books()):
            path = "/address_book/registered_users?" + urlencode({"compact": 1, "udid": book["device"]})
            for item in self.as_user(book["owner"], "GET", path)["items"]:
                friend = self.ids[item["user"]["id"]]
                if friend != book["owner"]:
                    found.setdefault((book["owner"], friend), item["user"]["address_book_name"])

    def read_back(self, title: str) -> None:
        for book in self.step(title, self.books()):
            path = "/address_book?" + urlencode({"udid": book["device"]})
            self.stored += len(self.as_user(book["owner"], "GET", path))

    def books(self) -> list[dict[str, Any]]:
        """The address books of the users who have signed up so far."""
        return [book for book in self.world["books"] if book["owner"] in self.tokens]

    def as_user(self, person: int, method: str, path: str, body: Any = None) -> Any:
        return self.server.ask(method, path, body, CB_Token=self.tokens[person])

    def step(self, title: str, items: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        return self.progress.track(items, description=f"{title:34}")

    def newcomers(self) -> dict[int, list[str]]:
        """The users who joined in the evening, with their names in the books of users who found them."""
        came = [person["id"] for person in self.world["people"] if person["joins"] == "evening"]
        evening = self.found["evening"].items()
        return {who: [name for (_, friend), name in evening if friend == who] for who in came}

    def totals(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "application_id": self.application.id,
            "users": len(self.tokens),
            "books": len(self.books()),
            "stored": self.stored,
            "uploads": self.uploads,
            "refused": {reason: len(entries) for reason, entries in self.refused.items()},
            "found": {when: len(pairs) for when, pairs in self.found.items()},
            "newcomers": {who: len(names) for who, names in self.newcomers().items()},
        }


def report(day: Day, console: Console) -> None:
    """The report for people."""
    console.print(stored_table(day), refused_table(day), found_table(day), newcomers_table(day), sep="\n")
    finders = {finder for finder, _ in day.found["evening"]}
    morning, afternoon, evening = (len(day.found[when]) for when in ("morning", "afternoon", "evening"))
    console.print(
        f"{len(day.tokens)} people signed up; {day.stored} contacts are stored in {len(day.books())} address books. "
        f"Friends found: {morning} in the morning, {afternoon} after some had moved, {evening} with the newcomers. "
        f"{len(finders)} people found at least one.\n"
    )


def stored_table(day: Day) -> Table:
    table = Table(title="What was stored", title_justify="left")
    table.add_column("uploads")
    for name in COUNTS:
        table.add_column(name, justify="right")
    for kind, counts in day.uploads.items():
        table.add_row(kind, *(str(counts[name]) for name in COUNTS))
    return table


def refused_table(day: Day) -> Table:
    table = Table(title="What was refused, and why", title_justify="left")
    for name in ("reason", "times", "for example"):
        table.add_column(name, justify="right" if name == "times" else "left")
    for reason, entries in sorted(day.refused.items()):
        examples = "\n".join(sorted(set(entries))[:8])
        table.add_row(Text(reason), str(len(entries)), Text(examples))
    return table


def found_table(day: Day) -> Table:
    table = Table(title="Who found whom (some of them)", title_justify="left")
    for name in ("finder", "the name in the finder's book", "is on the app as"):
        table.add_column(name)
    nicknamed = [(pair, name) for pair, name in day.found["evening"].items() if name != day.names[pair[1]]]
    for (finder, friend), name in nicknamed[:: 1 + len(nicknamed) // 10]:
        table.add_row(*(Text(visible(each)) for each in (day.names[finder], name, day.names[friend])))
    return table


def newcomers_table(day: Day) -> Table:
    table = Table(title="Who came in the evening, and was found", title_justify="left")
    for name in ("newcomer", "found by", "who know them as"):
        table.add_column(name, justify="right" if name == "found by" else "left")
    for who, names in day.newcomers().items():
        known_as = " · ".join(sorted({visible(name).strip() for name in names}))
        table.add_row(Text(visible(day.names[who])), str(len(names)), Text(known_as))
    return table


def shown(entry: dict[str, Any]) -> str:
    """A refused entry for display: the last two digits of a number, the beginning of a long name."""
    phone = entry.get("phone") or "no number"
    digits = [place for place, each in enumerate(phone) if each.isdigit()][:-2]
    masked = "".join("•" if place in digits else each for place, each in enumerate(phone))
    name = entry.get("name")
    return visible(f"{'no name' if name is None else repr(name[:24])}: {masked}")


def visible(text: str) -> str:
    """Text without characters that confuse a terminal: invisible marks, control characters, halves of an emoji."""
    kept = "".join(each for each in text if unicodedata.category(each) != "Cf" or each == "\u200d")
    return "".join(each if each.isprintable() or each == "\u200d" else "\ufffd" for each in kept)


def command(*words: str) -> str:
    """The output of a `ringbook` command; the demo creates its application with one."""
    ringbook = Path(sys.executable).with_name("ringbook")
    done = subprocess.run([ringbook, *words], capture_output=True, text=True)
    if done.returncode:
        raise Stop(f"`ringbook {' '.join(words)}` failed: {done.stderr.strip()}\n{SAME_DATABASE}")
    return done.stdout


def play(endpoint: str, as_json: bool) -> None:
    console = Console(stderr=as_json)
    server = Server(endpoint)
    server.greet()
    application = Application.made()
    farewell = f"The demo's application has the number {application.id}. To delete it and all about it:\n"
    farewell += f"    .venv/bin/ringbook app delete {application.id}"
    try:
        with Progress(console=console) as progress:
            day = Day(server, application, json.loads(WORLD.read_text(encoding="utf-8")), progress)
            day.play()
    except (Stop, KeyboardInterrupt) as reason:
        raise Stop(f"{str(reason) or 'Interrupted.'}\n{farewell}") from None
    report(day, console)
    console.print(farewell, highlight=False)
    if as_json:
        print(json.dumps(day.totals()))


def main() -> int:
    """Read the arguments, play, and report errors in words."""
    parser = argparse.ArgumentParser(description="Play the day of an app against a running Ringbook.")
    parser.add_argument("--endpoint", default="http://127.0.0.1:8080", help="where it listens (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the totals as JSON, and all else as errors are")
    arguments = parser.parse_args()
    try:
        play(arguments.endpoint, arguments.json)
    except Stop as reason:
        print(reason, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
