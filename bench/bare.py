"""The yardstick of small requests: Starlette alone, on the server class and the limits of Ringbook.

python bench/bare.py PORT      serves: GET / answers a small JSON, POST / reads the body and hashes it
serve_bare(folder)             the same in a process of its own, during a block
Bare.small, hashed             the operations; each returns its cost
"""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from processes import free_port, running, wait_until
from raw import Cost
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from timed_http import Client

KEY = bytes(32)


class Bare(Client):
    """One connection to the bare server."""

    def small(self, _owner_id: int, times: int) -> Cost:
        """GET /, so many times."""
        return self.repeated("GET", "/", {}, None, times)[0]

    def hashed(self, body: bytes, times: int) -> Cost:
        """POST / with a body."""
        return self.repeated("POST", "/", {"Content-Type": "application/json"}, body, times)[0]


@contextmanager
def serve_bare(folder: Path) -> Iterator[Bare]:
    """The bare server on a free port."""
    port, log = free_port(), folder / "bare.log"
    with running([sys.executable, __file__, port], log) as process, closing(Bare(port, process.pid)) as bare:
        wait_until(lambda: bare.small(0, 1), OSError, process, log)
        yield bare


async def small(_request: Request) -> JSONResponse:
    """The smallest answer that Starlette gives."""
    return JSONResponse({"status": "alive"})


async def hashed(request: Request) -> JSONResponse:
    """Reads the body and hashes it, which is the least work that recognises a body."""
    return JSONResponse({"hash": hashlib.blake2b(await request.body(), key=KEY, digest_size=16).hexdigest()})


def main() -> None:
    from ringbook.config import Config
    from ringbook.server import http
    from ringbook.server.sockets import listen

    routes = [Route("/", small, methods=["GET"]), Route("/", hashed, methods=["POST"])]
    server = http.Server(http.server_config(Config(), Starlette(routes=routes)))
    server.run(sockets=[listen("127.0.0.1", int(sys.argv[1]))])


if __name__ == "__main__":
    main()
