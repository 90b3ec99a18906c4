"""What a small request costs: processor time in one process on SQLite, beside a bare JSON answer of Starlette.

    python bench/small.py              prints the microseconds of each request, the least of all rounds
    python bench/small.py --profile    also prints the functions in which GET /session spends the event loop's time

The requests go straight to the ASGI application: no socket and no HTTP parser. The least of the rounds is printed,
because other programs on the machine only add time.
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr
from itertools import count
from typing import Any

from journeys import World, build
from keyed import SEAL, migrate
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ringbook import logs
from ringbook.store import db as databases

ROUNDS = 9
REQUESTS = 400

Heads = list[tuple[bytes, bytes]]
Body = Callable[[], bytes]


async def answer(application: Any, method: str, path: str, heads: Heads, body: bytes) -> tuple[int, bytes]:
    """Sends one request to an ASGI application: the status and the body of its answer."""
    sent = iter([{"type": "http.request", "body": body, "more_body": False}])
    status, content = 0, b""

    async def receive() -> Any:
        return next(sent)

    async def send(message: Any) -> None:
        nonlocal status, content
        status = message.get("status", status)
        content += message.get("body", b"")

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 1234),
        "headers": [*heads, *([(b"content-length", str(len(body)).encode())] if body else [])],
    }
    await application(scope, receive, send)
    return status, content


def least(application: Any, method: str, path: str, heads: Heads, body: Body) -> float:
    """The processor time of one request in microseconds, the least of all rounds."""

    async def some(size: int) -> None:
        for _ in range(size):
            status, content = await answer(application, method, path, heads, body())
            assert status == 200, content
            await asyncio.sleep(0)  # in a server the next request comes with a later pass of the event loop

    async def rounds() -> float:
        await some(REQUESTS // 4)
        times = []
        for _ in range(ROUNDS):
            before = time.process_time()
            await some(REQUESTS)
            times.append((time.process_time() - before) / REQUESTS * 1e6)
        return min(times)

    return asyncio.run(rounds())


def uploads() -> Iterator[bytes]:
    """Bodies that each hold two contacts, which are always the same: from the second on nothing is written."""
    contacts = [{"name": f"N{number}", "phone": f"+1202555{number:04}"} for number in (100, 101)]
    for _ in count():
        yield json.dumps({"contacts": contacts}).encode()


async def bare(_request: Request) -> JSONResponse:
    """The smallest answer that Starlette gives."""
    return JSONResponse({"status": "alive"})


def profile(application: Any, heads: Heads) -> None:
    """Prints where the event loop's thread spends the time of GET /session."""
    profiler = cProfile.Profile()
    profiler.enable()
    least(application, "GET", "/session", heads, bytes)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(35)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description="Processor time of small requests.")
    parser.add_argument("--profile", action="store_true", help="also profile GET /session")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        logs.start("info")  # log lines are made and written, as in a server
        url = f"sqlite:///{folder}/small.db"
        migrate(url)
        with closing(databases.connect(url, seal=SEAL)) as db:
            world = World(db)
            token = world.session(world.client(), "ann")
            served = build(world.config, db)
            heads = [(b"host", b"localhost"), (b"cb-token", token.encode()), (b"content-type", b"application/json")]
            requests: dict[str, tuple[Any, str, str, Body]] = {
                "bare Starlette": (Starlette(routes=[Route("/", bare)]), "GET", "/", bytes),
                "GET /healthz": (served, "GET", "/healthz", bytes),
                "GET /session": (served, "GET", "/session", bytes),
                "upload of two known contacts": (served, "POST", "/address_book", uploads().__next__),
            }
            print("| request | µs |\n| :-- | --: |")
            for name, (application, method, path, body) in requests.items():
                print(f"| {name} | {least(application, method, path, heads, body):.0f} |", flush=True)
            if given.profile:
                profile(served, heads)


if __name__ == "__main__":
    main()
