"""`make demo`: thirty days of an app, and a server that shows them.

    python demo [--port PORT] [--host HOST] [--new] [--make-only]

The first run makes the demo in demo/data and starts a server. A later run starts the server again, or says that it
runs. `--new` makes the demo anew.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from history import History
from place import ADMIN, DATA, PUSHES, Found, Place, Progress, Refused, State
from player import PASSWORD, Unexpected
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ringbook import config, errors, logs, times
from ringbook.server import welcome

PORTS = range(8080, 8090)
MAKING = "Making 30 days of an app with invented people, in {database}. This takes less than a minute."
RUNNING = "The demo's server runs already at {url}.\nStop it with Ctrl+C in its terminal{why}."
TEXT = """
{app}: 30 days of an app with {users} invented users.

  Log in at   {dashboard}
              e-mail {admin}, password {password}
  Look first  {month:{width}}  the month
              {push:{width}}  each push
              {bob:{width}}  Bob and his book
              {jonas:{width}}  Jonas: quiet now
  As Bob      {docs} with application {id},
              auth key {key}, login bob, password {bobs}
{kept}  Delete      {delete}
"""
KEPT = "  Pushes      {file}: in English and German\n"
STARTING = """
`make demo` starts it again, `make demo NEW=1` makes it anew."""
ANEW = "`make demo NEW=1` makes the demo anew."
NO_PASSWORD = "unknown\n              new one: .venv/bin/ringbook admin reset-password {admin}"
DELETE = ".venv/bin/ringbook app delete"


def main() -> int:
    """Read the arguments, make the demo if need be, and become its server. Reports errors in words."""
    arguments = read()
    logs.start("error")
    try:
        place = Place.of(os.environ, arguments.folder)
        prepared(place, arguments)
        if arguments.make_only:
            return 0
        found, port = place.found(), arguments.port
        if url := running(found, port):
            print(RUNNING.format(url=url, why="") + shown(place, found, url))
            return 0
        serve(place, found, arguments.host, port or free_port())
    except (Refused, Unexpected, config.ConfigError, errors.Refused) as refused:
        print(refused.explained() if isinstance(refused, errors.Unavailable) else refused, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: the next `make demo` makes the demo anew.", file=sys.stderr)
        return 130
    return 0


def read() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(prog="demo", description="Make thirty days of an app, and show them.")
    parser.add_argument("--port", type=int, default=0, help="of the server (the first free one from 8080 on)")
    parser.add_argument("--host", default="127.0.0.1", help="that the server listens on (%(default)s)")
    parser.add_argument("--new", action="store_true", help="make the demo anew")
    parser.add_argument("--make-only", action="store_true", help="start no server")
    parser.add_argument("--folder", type=Path, default=DATA, help=argparse.SUPPRESS)
    parser.add_argument("--joining", type=int, default=340, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepared(place: Place, arguments: argparse.Namespace) -> None:
    """Make the demo unless it is there and is to stay."""
    state = state_of(place, new=arguments.new)
    if state is State.READY and not arguments.new:
        return
    if state is State.READY and (url := running(place.found(), arguments.port)):
        raise Refused(RUNNING.format(url=url, why=", then run this again"))
    if state is not State.NOTHING:
        place.remove()
    print(MAKING.format(database=place.name), file=sys.stderr)
    now = times.now()
    with bar() as progress:
        place.make(now, progress, history=History(now, count=3 * arguments.joining, joining=arguments.joining))


def state_of(place: Place, *, new: bool) -> State:
    """What is in the database. The demo's own one is deleted with `new` also if this version cannot open it."""
    try:
        return place.state()
    except errors.Unavailable as unreadable:
        if not place.folder:
            raise
        if not new:
            raise Refused(f"{unreadable.explained()}\n{ANEW}") from None
        return State.UNFINISHED


@contextmanager
def bar() -> Iterator[Progress]:
    """A progress bar with the simulated day, on stderr as it is now: the player takes what is printed later.

    Ctrl+C ends the history between two events, when no thread uses the database.
    """
    stopped: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: stopped.append(number))
    columns = (TextColumn("day {task.fields[day]:2} of 30"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task("", day=1)

        def show(done: int, total: int) -> None:
            if stopped:
                raise KeyboardInterrupt
            progress.update(task, completed=done, total=total, day=min(30, done // times.DAY + 1))

        try:
            yield show
        finally:
            signal.signal(signal.SIGINT, before)


def running(found: Found, port: int) -> str:
    """The address of a server that knows the demo's application; "" when there is none."""
    for one in [port] if port else PORTS:
        url = f"http://127.0.0.1:{one}"
        if is_open(one) and knows(url, found):
            return url
    return ""


def is_open(port: int) -> bool:
    """Does anything listen at this port?"""
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex(("127.0.0.1", port)) == 0


def knows(url: str, found: Found) -> bool:
    """Does the server open a session of the demo's application?"""
    body = json.dumps({"application_id": found.app.id, "auth_key": found.app.auth_key}).encode()
    request = urllib.request.Request(f"{url}/session", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.status == 201)
    except OSError:
        return False


def free_port() -> int:
    """The first port from 8080 on at which nothing listens."""
    for port in PORTS:
        if not is_open(port):
            return port
    raise Refused(f"The ports {PORTS[0]} to {PORTS[-1]} are all in use: name another one, make demo PORT=9000")


def serve(place: Place, found: Found, host: str, port: int) -> None:
    """Say what to look at, and become `ringbook serve`."""
    if is_open(port):
        raise Refused(f"Port {port} is in use: name another one, make demo PORT={port + 1}")
    print(shown(place, found, f"http://127.0.0.1:{port}") + STARTING, flush=True)
    program = Path(sys.executable).with_name("ringbook")
    os.execve(program, [program, "serve", "--host", host, "--port", str(port)], place.environment)


def shown(place: Place, found: Found, url: str) -> str:
    """What there is to see, and how to delete it."""
    dashboard = welcome.dashboard(place.config, url)
    page = f"{dashboard}/apps/{found.app.id}"
    return TEXT.format(
        app=found.app.name,
        users=found.users,
        dashboard=dashboard,
        admin=ADMIN,
        password=found.password or NO_PASSWORD.format(admin=ADMIN),
        month=page,
        push=f"{page}/push",
        bob=f"{page}/users/{found.bob}",
        jonas=f"{page}/users/{found.jonas}",
        docs=dashboard.removesuffix("dashboard") + "docs",
        width=len(f"{page}/users/{max(found.bob, found.jonas)}"),
        id=found.app.id,
        key=found.app.auth_key,
        bobs=PASSWORD,
        kept=KEPT.format(file=nearest(place.folder) / PUSHES) if place.folder else "",
        delete=f"rm -r {nearest(place.folder)}" if place.folder else f"{DELETE} {found.app.id}",
    )


def nearest(folder: Path) -> Path:
    """The folder, relative to this one if it is below it."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


if __name__ == "__main__":
    sys.exit(main())
