"""A proxy between a client and a server, which injects faults of networks and servers.

proxying(server)   starts the proxy, as a context manager
Proxy              its address, the requests it received, and the faults of the next requests
Fault              another status, no answer, a closed connection, or a lost answer
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
    """The fault of one request.

    kind     without passing the request to the server: "" answers `status` and `body`; `silence` never answers; `cut`
             closes the connection; `stall` sends only the beginning of an answer
             after the server has carried out the request: `lose` never answers; `drop` closes the connection; `done`
             answers `status`; `pass` passes the server's answer on
    first    called before the request is passed to the server
    until    the answer is sent when this returns true
    """

    kind: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"errors":["made up"]}'
    first: Callable[[], Any] = lambda: None
    until: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Received:
    """A request that the proxy received, and the status of its answer; 0 if there was no answer."""

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
    """The requests received so far, and the faults of the next requests whose path begins with `at`, one for each."""

    url: str
    server: Server
    received: list[Received] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _faults: list[Fault] = field(default_factory=list)
    _at: str = "/"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, *faults: Fault, at: str = "/") -> None:
        """Set the faults of the next requests to `at`, and clear the list of received requests."""
        with self._lock:
            self._faults, self._at = list(faults), at
            self.received.clear()

    def clear(self) -> None:
        """Remove all faults, and clear the list of received requests."""
        self.fail()

    def requests(self, method: str, path: str) -> list[Received]:
        """The received requests with this method and path; SDKs append `.json` to paths."""
        return [
            one
            for one in self.received
            if (one.method, one.path.partition("?")[0].removesuffix(".json")) == (method, path)
        ]

    @property
    def uploads(self) -> list[Any]:
        """The bodies of the uploads received."""
        return [one.json for one in self.requests("POST", "/address_book")]

    def next_fault(self, path: str) -> Fault | None:
        with self._lock:
            return self._faults.pop(0) if self._faults and path.startswith(self._at) else None

    def add(self, received: Received) -> None:
        with self._lock:
            self.received.append(received)


@contextmanager
def proxying(server: Server) -> Iterator[Proxy]:
    """Run a proxy in front of a server."""
    listener = Listener(("127.0.0.1", 0), ProxyHandler)
    listener.proxy = proxy = Proxy(f"http://127.0.0.1:{listener.server_port}", server)
    with serving(listener):
        try:
            yield proxy
        finally:
            proxy.over.set()


class Listener(gateway.Listener):
    proxy: Proxy


class ProxyHandler(BaseHTTPRequestHandler):
    """Passes a request to the server, or injects its fault."""

    server: Listener
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        proxy, headers = self.server.proxy, {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        fault = proxy.next_fault(self.path)
        status, answer_headers, answer_body = 0, {}, b""
        if fault:
            fault.first()
        if fault is None or fault.kind in (LOSE, DROP, PASS, DONE):
            status, answer_headers, answer_body = self.answer_of_server(headers, body)
        if fault and fault.kind in ("", DONE):
            status, answer_headers, answer_body = fault.status, fault.headers, fault.body
        proxy.add(Received(self.command, self.path, headers, body, status))
        end = time.monotonic() + PATIENCE_SECONDS
        while fault and not fault.until() and time.monotonic() < end:
            time.sleep(0.01)
        if fault and fault.kind not in ("", PASS, DONE):
            self.fail(fault)
            return
        self.begin(status, answer_headers | {"Content-Length": str(len(answer_body))})
        self.wfile.write(answer_body)

    def answer_of_server(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The server's answer."""
        passed = {name: value for name, value in headers.items() if name not in {"host", "connection"}}
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.proxy.server.port, timeout=60)) as connection:
            connection.request(self.command, self.path, body, passed)
            answer = connection.getresponse()
            answer_body = answer.read()
        left_out = {"content-length", "connection", "transfer-encoding", "date", "server"}
        return answer.status, {n: v for n, v in answer.getheaders() if n.lower() not in left_out}, answer_body

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
        """Log nothing."""
