"""One request, from its head to the end of its response: what every request has, whichever part of the server answers.

Visit       finishes the response, and counts and logs the request once
has_body    whether a request carries a body
lines_of    headers as they are sent
CasedName   the name of a header that is sent in this spelling
VISIT       where the Visit of a request is in its ASGI scope
WHOLE       where the server's function for whole responses is in it, if it has one
"""

import time
from collections.abc import Awaitable, Iterable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from .. import logs, metrics
from .leftovers import Leftover

VISIT = "ringbook.visit"
WHOLE = "ringbook.whole"
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
NO_ROUTE = "none"


class Visit:
    """One request.

    has_body       the request carries a body
    is_read        the body was read to its end, or there is none
    method, route  for the log and the metrics; the route is the template of a path, never the path itself: that would
                   make a metric per path
    fields         further fields of the log line
    status         of the response; 0 while there is none
    headers        that every response has unless it has others of these names; `lines` are the same as bytes
    is_recorded    the request has been counted and logged
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: list[tuple[bytes, bytes]],
        lines: bytes,
        most_dropped: int,
    ) -> None:
        self._started = time.perf_counter()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = headers
        self._lines = lines
        self._most_dropped = most_dropped
        self._leftover: Leftover | None = None
        self.has_body = has_body(scope["headers"])
        self.is_read = not self.has_body
        self.method = scope["method"] if scope["method"] in METHODS else "other"
        self.route = NO_ROUTE
        self.fields: dict[str, Any] = {}
        self.status = 0
        self.is_recorded = False
        scope[VISIT] = self

    def send(self, message: Message) -> Awaitable[None]:
        """Passes the response on, with the headers that every response has. Records the request when it begins."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.record(self.status)
            present = {name for name, _ in message["headers"]}
            message["headers"] += [header for header in self._headers if header[0] not in present]
            if not self.is_read:
                self._leftover = Leftover(self._scope, self._receive, self._send, self._most_dropped)
        return self._leftover.send(message) if self._leftover else self._send(message)

    def send_whole(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Sends a response in one piece, which takes half the time of two messages; False: it must be sent as messages.

        headers   without those that every response has; nothing that a client has sent is in them
        """
        whole = self._scope.get(WHOLE)
        if not whole or not self.is_read:
            return False
        self.status = status
        self.record(status)
        return bool(whole(self._scope, status, lines_of(headers) + self._lines, body))

    def record(self, status: int) -> None:
        """Counts and logs the request, unless that has happened.

        status   0 when the client left before there was an answer
        """
        if self.is_recorded:
            return
        self.is_recorded = True
        seconds = time.perf_counter() - self._started
        metrics.answered(self.method, self.route, status, seconds)
        ms = round(seconds * 1000, 1)
        logs.request({"method": self.method, "route": self.route, "status": status, "ms": ms, **self.fields})


class CasedName(bytes):
    """The name of a response header that is sent in exactly this spelling, for clients that look it up by case.

    uvicorn sends `name.lower()` of every name. HTTP does not distinguish case. Source: RFC 9110, section 5.1.
    """

    def lower(self) -> bytes:
        """The name itself."""
        return self


def lines_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are sent."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Does the request carry a body? Source: RFC 9112, section 6.3."""
    return any((name == b"content-length" and value != b"0") or name == b"transfer-encoding" for name, value in headers)
