"""Measure the dashboard: the time of each page with 1,000,000 users and 5,000,000 contacts.

    python bench/pages.py                                   both databases, some ten minutes; writes bench/results/
    python bench/pages.py --users 50000 --database sqlite   fewer of them, on one
    python bench/pages.py --users 50000 --quick             writes nothing

An admin logs in and requests one page after the other. The times come from the server's log. The processor time is that
of the server's process, and of PostgreSQL's, for one request; it is the same on a busy machine. The aim is 50 ms of it.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import machine
import psycopg
from databases import KINDS, Place, place
from keyed import SEAL
from peopled import NOBODY, OWNER, fill, number_of, recount
from report import name, pipes
from served import ringbook, serve

from ringbook import __version__
from ringbook.store import db as databases

RESULTS = Path(__file__).with_name("results")
AIM_MS = 50
WARM, ROUNDS = 3, 20
HEAD = ("page", "processor ms", "median ms", "95th ms", "KiB")
APP = "/dashboard/apps/1"


@dataclass(frozen=True)
class Asked:
    """A page: its title, its address and the form that is sent to it."""

    title: str
    path: str
    form: dict[str, str] = field(default_factory=dict)


def pages(users: int) -> list[Asked]:
    """The pages that are measured."""
    owner, friend, stranger = str(OWNER), f"+{number_of(OWNER + 1)}", f"+{NOBODY}"
    return [
        Asked("applications", "/dashboard/apps"),
        Asked("overview", APP),
        Asked("overview, what is looked for every 15 s", f"{APP}/live"),
        Asked("users", f"{APP}/users"),
        Asked("users, by name", f"{APP}/users?sort=name"),
        Asked("users, with three filters", f"{APP}/users?verified=yes&book=yes&device=yes"),
        Asked("users, by a word that few have", f"{APP}/users?q=user{users // 7}"),
        Asked("users, by two words", f"{APP}/users?q=ann+user{users // 7}"),
        Asked("users, by a word that all have", f"{APP}/users?q=ann"),
        Asked("users, by a word that all have, sorted", f"{APP}/users?q=ann+exam&sort=name"),
        Asked("figures of 90 days", f"{APP}/activity?days=90"),
        Asked("users, by phone", f"{APP}/users?{urlencode({'q': friend})}"),
        Asked("users, by login", f"{APP}/users?q=user-{users // 2}"),
        Asked("users, by id", f"{APP}/users?q={users // 2}"),
        Asked("users, nobody found", f"{APP}/users?q=nobody@example.com"),
        Asked("a user with a book", f"{APP}/users/{owner}"),
        Asked("a user's book", f"{APP}/users/{owner}/books/0"),
        Asked("settings", f"{APP}/users/settings"),
        Asked("keys and SDKs", f"{APP}/keys"),
        Asked("why, found", f"{APP}/why", {"user": owner, "contact": friend}),
        Asked("why, nobody", f"{APP}/why", {"user": owner, "contact": stranger}),
        Asked("pushes", f"{APP}/push"),
        Asked("pushes, parked", f"{APP}/push?outcome=parked"),
        Asked("pushes, waiting", f"{APP}/push?outcome=waiting"),
        Asked("pushes, of a channel that is rare", f"{APP}/push?channel=web"),
        Asked("pushes, an old page", f"{APP}/push?outcome=accepted&before={users}"),
        Asked("push providers", f"{APP}/push/providers"),
        Asked("audit log", "/dashboard/audit"),
        Asked("audit log, one action", "/dashboard/audit?action=user+erased"),
        Asked("audit log, one application", "/dashboard/audit?app=1"),
        Asked("account", "/dashboard/account"),
    ]


class Admin:
    """A logged-in admin."""

    def __init__(self, port: int, email: str, password: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._cookie = self._location = ""
        self.csrf = ""
        self._send("POST", "/dashboard/login", {"email": email, "password": password}, 303)
        page = self._send("GET", "/dashboard/account", {}, 200)
        found = re.search(rb'name="csrf" value="([^"]+)"', page)
        assert found
        self.csrf = found[1].decode()

    def ask(self, asked: Asked) -> int:
        """Request one page, or send a form and request the page to which it leads; its size in bytes."""
        if asked.form:
            self._send("POST", asked.path, asked.form, 303)
        return len(self._send("GET", self._location if asked.form else asked.path, {}, 200))

    def _send(self, method: str, path: str, form: dict[str, str], status: int) -> bytes:
        headers = {"Cookie": self._cookie, "Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form | {"csrf": self.csrf}) if form else None
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._location = answer.headers.get("Location", "")
        if answer.status != status:
            raise SystemExit(f"{method} {path} answered {answer.status}: {content[:500].decode()}")
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            if cookie.startswith("ringbook_admin="):
                self._cookie = cookie.partition(";")[0]
        return content


def main() -> int:
    arguments = parsed()
    slow = False
    for kind in arguments.database or KINDS:
        text, late = measured(kind, arguments.users)
        slow = slow or bool(late)
        print(text)
        if not arguments.quick:
            file = RESULTS / f"pages-{kind}.md"
            file.write_text(text)
            print(f"written to bench/results/{file.name}", file=sys.stderr)
    return 1 if slow else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the pages of the dashboard.")
    parser.add_argument("--users", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--database", action="append", choices=KINDS, help="only this one (default: both)")
    parser.add_argument("--quick", action="store_true", help="write no file")
    return parser.parse_args()


def measured(kind: str, users: int) -> tuple[str, list[str]]:
    """Measure; the file for results/, and the pages that took longer than the aim."""
    with tempfile.TemporaryDirectory(prefix="ringbook-bench-") as folder, place(kind, Path(folder)) as where:
        url = where.empty()
        ringbook(url, "migrate")
        ringbook(url, "app", "create", "Friends")
        made = json.loads(ringbook(url, "admin", "create", "bench@example.com", "--json"))
        began = time.monotonic()
        counted = fill(url, users, lambda what: print(f"{kind}: {what}", file=sys.stderr))
        filled = time.monotonic() - began
        with closing(databases.connect(url, pool=2, seal=SEAL)) as db:
            counting = recount(db)
        log = Path(folder) / "serve.log"
        with serve(url, Path(folder), "--no-worker") as served:
            admin = Admin(served.port, made["email"], made["password"])
            asked = pages(users)
            seen = [asked_for(admin, one, lambda: [served.pid, *of_postgresql(url)]) for one in asked]
        times = of_pages(log)[-len(asked) * (WARM + ROUNDS) :]
        return report(kind, where, asked, seen, times, counted, counting, filled)


def asked_for(admin: Admin, page: Asked, processes: Callable[[], list[int]]) -> tuple[int, float]:
    """Request a page often; its size in bytes, and the processor time of one request in ms."""
    for _ in range(WARM):
        admin.ask(page)
    pids = processes()
    before = sum(map(machine.cpu_seconds, pids))
    for _ in range(ROUNDS):
        size = admin.ask(page)
    return size, 1000 * (sum(map(machine.cpu_seconds, pids)) - before) / ROUNDS


def of_postgresql(url: str) -> list[int]:
    """The processes of the connections to a PostgreSQL server."""
    if url.startswith("sqlite"):
        return []
    with psycopg.connect(url) as db:
        rows = db.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return [row[0] for row in rows]


def of_pages(log: Path) -> list[float]:
    """The milliseconds that the server logged for each page of the dashboard, in order."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return [
        line["ms"]
        for line in lines
        if str(line.get("route", "")).startswith("/dashboard") and line.get("method") == "GET"
    ]


def report(
    kind: str,
    where: Place,
    asked: list[Asked],
    seen: list[tuple[int, float]],
    times: list[float],
    counted: dict[str, int],
    counting: float,
    filled: float,
) -> tuple[str, list[str]]:
    """The results as text, and the pages that took too long."""
    lines, late = [], []
    for at, (one, (size, processor)) in enumerate(zip(asked, seen, strict=True)):
        own = sorted(times[at * (WARM + ROUNDS) :][WARM : WARM + ROUNDS])
        median = statistics.median(own)
        late += [one.title] if processor > AIM_MS else []
        lines.append(
            [
                one.title,
                f"{processor:.1f}",
                f"{median:.1f}",
                f"{own[round(0.95 * (ROUNDS - 1))]:.1f}",
                f"{size / 1024:.0f}",
            ]
        )
    facts = {
        "measured": f"Ringbook {__version__}, one process without a worker, one admin; {ROUNDS} times each",
        "tables": ", ".join(f"{count:,} {what}" for what, count in counted.items()),
        "filled in": f"{filled:.0f} s",
        "a pass that counts users, books and contacts anew": f"{counting:.1f} s",
        "database": where.described(),
        **machine.facts(("starlette", "uvicorn", "jinja2", "psycopg")),
        "load": f"{os.getloadavg()[0]:.1f} processes on average in the last minute, the bench included",
    }
    within = f"all but {', '.join(late)}" if late else "all"
    verdict = f"Pages within {AIM_MS} ms of processor time: {within}."
    parts = [
        f"# Pages of the dashboard on {name(kind)}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        pipes(("", ""), [[key, value] for key, value in facts.items()]),
        verdict,
        pipes(HEAD, lines),
        "What this is, and how to measure again: [bench/README.md](../README.md).",
    ]
    return "\n\n".join(parts) + "\n", late


if __name__ == "__main__":
    sys.exit(main())
