"""A proxy on the loopback between a client and its server, that a test can make fail as networks and servers do.

proxying(server)   the proxy, as a context
Proxy              where it is, what went through, and what becomes of the next requests
Fault              a status that is answered instead, silence, a cut connection, an answer that is lost
"""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from servers import Server
from verify import gateway
from verify.gateway import serving

PATIENCE_SECONDS = 60
SILENCE, CUT, STALL, LOSE, DROP, PASS, DONE = "silence", "cut", "stall", "lose", "drop", "pass", "done"


@dataclass(frozen=True)
class Fault:
    """What becomes of one request.

    kind     "" answers `status` and `body` without asking the server; `silence` never answers; `cut` closes the
             connection; `stall` begins an answer; `lose` lets the server answer and then keeps silent, `drop` does so
             and then closes the connection, `done` does so and then answers `status`, `pass` is none
    first    what happens before the server is asked
    until    the answer waits for this
    """

    kind: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"errors":["made up"]}'
    first: Callable[[], Any] = lambda: None
    until: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Seen:
    """A request that came, and the status it was answered with; 0 for none."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Proxy:
    """What it has seen, and what becomes of the next requests whose path begins with `at`, one fault for each."""

    url: str
    server: Server
    seen: list[Seen] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _faults: list[Fault] = field(default_factory=list)
    _at: str = "/"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, *faults: Fault, at: str = "/") -> None:
        """From now on the next requests to `at` meet these, and what was seen is forgotten."""
        with self._lock:
            self._faults, self._at = list(faults), at
            self.seen.clear()

    def forget(self) -> None:
        self.fail()

    def asked(self, method: str, path: str) -> list[Seen]:
        """The requests of one kind; SDKs write `.json` behind each path."""
        return [
            one for one in self.seen if (one.method, one.path.partition("?")[0].removesuffix(".json")) == (method, path)
        ]

    @property
    def uploads(self) -> list[Any]:
        """The bodies of the uploads that came."""
        return [one.json for one in self.asked("POST", "/address_book")]

    def next_fault(self, path: str) -> Fault | None:
        with self._lock:
            return self._faults.pop(0) if self._faults and path.startswith(self._at) else None

    def note(self, seen: Seen) -> None:
        with self._lock:
            self.seen.append(seen)


@contextmanager
def proxying(server: Server) -> Iterator[Proxy]:
    """The proxy in front of a server."""
    listener = Listener(("127.0.0.1", 0), Passing)
    listener.proxy = proxy = Proxy(f"http://127.0.0.1:{listener.server_port}", server)
    with serving(listener):
        try:
            yield proxy
        finally:
            proxy.over.set()


class Listener(gateway.Listener):
    proxy: Proxy


class Passing(BaseHTTPRequestHandler):
    """Hands a request on, or lets it fail."""

    server: Listener
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        proxy, headers = self.server.proxy, {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        fault = proxy.next_fault(self.path)
        status, kept, said = 0, {}, b""
        if fault:
            fault.first()
        if fault is None or fault.kind in (LOSE, DROP, PASS, DONE):
            status, kept, said = self.ask(headers, body)
        if fault and fault.kind in ("", DONE):
            status, kept, said = fault.status, fault.headers, fault.body
        proxy.note(Seen(self.command, self.path, headers, body, status))
        end = time.monotonic() + PATIENCE_SECONDS
        while fault and not fault.until() and time.monotonic() < end:
            time.sleep(0.01)
        if fault and fault.kind not in ("", PASS, DONE):
            self.fail(fault)
            return
        self.begin(status, kept | {"Content-Length": str(len(said))})
        self.wfile.write(said)

    def ask(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What the server answers."""
        passed = {name: value for name, value in headers.items() if name not in {"host", "connection"}}
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.proxy.server.port, timeout=60)) as connection:
            connection.request(self.command, self.path, body, passed)
            answer = connection.getresponse()
            said = answer.read()
        left_out = {"content-length", "connection", "transfer-encoding", "date", "server"}
        return answer.status, {n: v for n, v in answer.getheaders() if n.lower() not in left_out}, said

    def fail(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.kind == STALL:
            self.begin(200, {"Content-Type": "application/json", "Content-Length": "1000"})
            self.wfile.write(b'{"created":')
        if fault.kind not in (CUT, DROP):
            self.server.proxy.over.wait(PATIENCE_SECONDS)

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_words: Any) -> None:
        """A test's output is for the test."""
