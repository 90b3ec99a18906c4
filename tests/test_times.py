"""Where the time comes from: one place reads the machine's clock, and nothing outside the code can replace it."""

import asyncio
import json
import re
from pathlib import Path

import pytest

import ringbook
from ringbook import times
from ringbook.config import Config
from ringbook.core import applications
from ringbook.server import front

SOURCE = Path(ringbook.__file__).parent
READS = re.compile(r"\btime\.time\(\)|\bdatetime\.now\(|\butcnow\(|from time import")
# They compare the clocks of two machines, or read HTTP's caching times.
BESIDE = {
    "server/machine.py",
    "store/db/sqlite.py",
    "times.py",
    "verify/firebase.py",
}
LONG_AGO = 1_600_000_000


def places(pattern: re.Pattern[str]) -> set[str]:
    """The files whose code has the pattern."""
    files = SOURCE.rglob("*.py")
    return {file.relative_to(SOURCE).as_posix() for file in files if pattern.search(file.read_text("utf-8"))}


def test_one_place_reads_the_machines_clock():
    assert places(READS) == BESIDE


def test_nobody_but_a_caller_of_build_replaces_the_clock():
    given = places(re.compile(r"\bclock\s*=(?! times\.now| clock)"))
    assert given <= {"exchange/run.py", "worker/courier.py"}, given  # `self.clock = clock`
    assert not any("clock" in name for name in Config.__struct_fields__)


@pytest.mark.parametrize("clock, expected", [(lambda: LONG_AGO, LONG_AGO), (times.now, None)])
def test_a_request_has_the_time_of_the_clock_that_the_server_was_built_with(db, clock, expected):
    app = applications.create(db, "tests", LONG_AGO)
    answer = asyncio.run(opened(front.build(Config(), db, clock), app))
    assert (answer["session"]["ts"] == expected) == (expected is not None)
    assert abs(answer["session"]["ts"] - (expected or times.now())) < 60


async def opened(server, app):
    """The answer to a request for a session, without a socket."""
    body = json.dumps({"application_id": app.id, "auth_key": app.auth_key}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": "/session", "query_string": b"", "headers": headers}
    got = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        got.append(message)

    await server(scope | {"client": ("192.0.2.1", 1), "server": ("127.0.0.1", 80), "scheme": "http"}, receive, send)
    return json.loads(b"".join(message.get("body", b"") for message in got))
