"""What the same address book costs when it is uploaded again: processor time in one process, beside GET /session.

    python bench/repeats.py                        1,000 contacts on SQLite
    python bench/repeats.py --database postgresql  on PostgreSQL
    python bench/repeats.py --profile              also prints where an upload spends its time

The requests go straight to the ASGI application: no socket and no HTTP parser. All are sent in turns, and the medians
are printed. The last column is what the upload costs beyond GET /session, in parts of what a bare Starlette answer
costs that reads and hashes the body beyond one that does not. It must be at most 1.5.
"""

import argparse
import asyncio
import cProfile
import hashlib
import json
import os
import pstats
import tempfile
import time
from contextlib import closing, redirect_stderr
from pathlib import Path
from statistics import median
from typing import Any

import databases as places
from journeys import World, build
from keyed import SEAL, migrate
from small import answer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ringbook import logs
from ringbook.store import db as databases

ROUNDS = 300
KEY = bytes(32)


def book(size: int) -> bytes:
    """An upload of so many contacts, half of them spelled as phones show them."""
    spelled = ("+1202555{:04}{}", "+1 (202) 555-{:04}{}")
    contacts = [
        {"name": f"Contact {number}", "phone": spelled[number % 2].format(number % 10_000, number // 10_000 or "")}
        for number in range(size)
    ]
    return json.dumps({"contacts": contacts}).encode()


async def bare(_request: Request) -> JSONResponse:
    """The smallest answer that Starlette gives."""
    return JSONResponse({"status": "alive"})


async def hashed(request: Request) -> JSONResponse:
    """The same, after the body was read and hashed."""
    digest = hashlib.blake2b(await request.body(), key=KEY, digest_size=16).hexdigest()
    return JSONResponse({"status": digest})


async def measured(requests: dict[str, tuple[Any, ...]], rounds: int) -> dict[str, float]:
    """The median processor time of each request in microseconds, all in turns."""
    times: dict[str, list[float]] = {name: [] for name in requests}
    for turn in range(rounds + rounds // 10):
        for name, request in requests.items():
            before = time.process_time()
            status, content = await answer(*request)
            took = time.process_time() - before
            assert status == 200, content
            if turn >= rounds // 10:
                times[name].append(took * 1e6)
    return {name: median(taken) for name, taken in times.items()}


def run(db: databases.Database, size: int, rounds: int, *, profiled: bool) -> None:
    """Prints the figures of one database."""
    world = World(db)
    token = world.session(world.client(), "ann")
    served = build(world.config, db)
    heads = [(b"host", b"localhost"), (b"cb-token", token.encode()), (b"content-type", b"application/json")]
    body = book(size)
    peer = Starlette(routes=[Route("/", bare), Route("/hashed", hashed, methods=["POST"])])
    requests: dict[str, tuple[Any, ...]] = {
        "bare Starlette": (peer, "GET", "/", heads, b""),
        "the same, body read and hashed": (peer, "POST", "/hashed", heads, body),
        "GET /session": (served, "GET", "/session", heads, b""),
        "the same body again": (served, "POST", "/address_book", heads, body),
    }
    found = asyncio.run(measured(requests, rounds))
    print("| request | µs |\n| :-- | --: |")
    for name, took in found.items():
        print(f"| {name} | {took:.0f} |", flush=True)
    nothing, hashing, session, again = found.values()
    print(f"\n{len(body)} bytes; beyond GET /session: {(again - session) / (hashing - nothing):.2f} × read and hash")
    if profiled:
        profiler = cProfile.Profile()
        with profiler:
            asyncio.run(measured({"again": requests["the same body again"]}, rounds))
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description="Processor time of an upload that was uploaded before.")
    parser.add_argument("--database", choices=places.KINDS, default="sqlite")
    parser.add_argument("--contacts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, places.place(given.database, Path(folder)) as place:
        url = place.empty()
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            logs.start("info")  # log lines are made and written, as in a server
            migrate(url)
            with closing(databases.connect(url, seal=SEAL)) as db:
                run(db, given.contacts, given.rounds, profiled=given.profile)


if __name__ == "__main__":
    main()
