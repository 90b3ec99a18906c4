"""One HTTP connection: uvicorn's protocol on httptools, with limits on the memory that a client can occupy.

    Protocol     one connection
    Shared       state that all connections of one process share
    refusal      an answer without the application

httptools keeps an incomplete head, trailer or chunk extension in memory, and copies it again at each read, which also
costs time. The limits:

    max_head_bytes              one head that is incomplete: 431
    head_seconds                from the first byte of a head to its last: 408; silence on a new connection: closed;
                                a body that goes on after its request was answered: closed
    max_unfinished_head_bytes   all incomplete heads of one process: 503 for those above SMALL_HEAD_BYTES
    answer_seconds              a client that takes nothing of its answer: closed
    max_unsent_bytes            all answers of one process that clients have not taken: the slowest are closed
    max_queued_requests         requests that wait behind another one on the same connection: closed after their answers

A request is refused if its version is neither HTTP/1.1 nor HTTP/1.0, or its Host header is missing or repeated: another
server could read it in another way. A refusal is sent after the answers of earlier requests. Then the connection drops
at most LINGER_BYTES, and ends.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import httptools
from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from .. import metrics
from ..config import Limits
from ..exchange.visit import WHOLE, lines_of
from ..logs import log
from .connections import Connection, Connections
from .reached import reached

SMALL_HEAD_BYTES = 4096
PROGRESS_BYTES = 16 * 1024  # within `answer_seconds` a client takes at least this much of what waits for it
PIECE_BYTES = 64 * 1024
LINGER_SECONDS = 2  # for the client to read a refusal while it still sends
LINGER_BYTES = 1024 * 1024
# The system also receives bytes that we have not read, by default up to 6 MiB. Linux doubles this number.
LINGER_BUFFER_BYTES = 64 * 1024
HOSTS = {
    "1.1": (1,),
    "1.0": (0, 1),
}  # how many Host headers a request of this version has. Source: RFC 9112, section 3.2


class Refused(Exception):
    """Stops the parser after a request was refused."""


class Shared:
    """State that all connections of one process share."""

    def __init__(self, limits: Limits, connections: Connections) -> None:
        self.limits = limits
        self.connections = connections
        self.unfinished_head_bytes = 0
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_lines = b""

    def lines_of(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """uvicorn's default headers as they are sent. It makes a new list once a second, for the date."""
        if default_headers is not self._default_headers:
            self._default_lines = lines_of(default_headers)
            self._default_headers = default_headers
        return self._default_lines


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self, config: Any, server_state: ServerState, shared: Shared, own: Connection, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._shared = shared
        self._own = own
        self._limit = shared.limits.max_head_bytes
        # Bytes since the parser last completed a head, a message, or a part of a body; and how many `shared` counts.
        self._held = 0
        self._counted = 0
        self._since = loop.time()
        self._has_sent = False
        self._arriving = False  # a request whose body is incomplete
        self._answered_at = 0.0
        self._deaf = False  # drop everything that arrives from now on
        self._dropped = 0
        self._running: tuple[RequestResponseCycle, asyncio.Task[None]] | None = None
        self._whole = self._send_whole
        self._unsent = 0
        self._unsent_since = 0.0

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Called by the transport once it is ready; over TLS after the handshake."""
        super().connection_made(transport)
        self.transport = Closing(transport, self.close_gently)  # type: ignore[assignment]  # it has what is used
        self._own.end = transport.abort

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport when the connection has ended."""
        self._shared.unfinished_head_bytes -= self._counted
        self._held = self._counted = 0
        self._arriving = False
        self._deaf = True
        self._shared.connections.leave(self._own)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the transport with what the client has sent."""
        self._unset_keepalive_if_required()
        if not self._held:
            self._since = self.loop.time()
        if self._held + len(data) <= self._limit and not self._deaf:
            self._feed(data)
        else:
            self._feed_in_parts(memoryview(data))

    def _feed_in_parts(self, data: memoryview) -> None:
        """Give the parser no more than a head may still take; after a refusal, nothing."""
        while data and not self._deaf:
            part = self._limit - self._held
            self._feed(data[:part])
            data = data[part:]
        if self._deaf:
            self._drop(len(data))

    def _feed(self, data: bytes | memoryview) -> None:
        self._has_sent = True
        self._held += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No protocol is offered to upgrade to: the request is answered as it is, and nothing may follow it.
            self._deaf = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(400, "Malformed request")
        if self._held != self._counted:
            self._hold()

    def _hold(self) -> None:
        """Account for a head that is incomplete, or has just become complete."""
        shared = self._shared
        shared.unfinished_head_bytes += self._held - self._counted
        self._counted = self._held
        if self._held >= self._limit:
            self._refuse(431, f"The request's head is larger than {self._limit} bytes", "max_head_bytes")
        elif (
            self._held > SMALL_HEAD_BYTES
            and shared.unfinished_head_bytes > shared.limits.max_unfinished_head_bytes
            and not self._deaf
        ):
            self._refuse(503, "Too many incomplete requests. Try again.", "max_unfinished_head_bytes")

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped <= LINGER_BYTES:
            return
        if self._is_due():
            self.flow.pause_reading()  # the answer to an earlier request goes first
        else:
            self._own.end()

    # ── the parser ───────────────────────────────────────────────────────────────────────────────────────────────────

    def on_headers_complete(self) -> None:
        """The head is complete: the request begins."""
        if len(self.pipeline) >= self._shared.limits.max_queued_requests:
            self._refuse(429, "Too many requests wait on this connection", "max_queued_requests")
            raise Refused
        if reason := self._fault():
            self._refuse(400, reason)
            raise Refused
        self._held = 0
        self._arriving = True
        self._shared.connections.works(self._own)
        cast(Scope, self.scope)[WHOLE] = self._whole
        super().on_headers_complete()
        self.headers = []  # trailers of a chunked body go here, not into the head that the application sees

    def _fault(self) -> str:
        """Why the request is refused for its version or its Host headers; "" if it is not."""
        allowed = HOSTS.get(self.parser.get_http_version())
        if not allowed:
            return "The version must be HTTP/1.1 or HTTP/1.0"
        count = sum(name == b"host" for name, _ in self.headers)
        return "" if count in allowed else "The request must have one Host header"

    def on_body(self, body: bytes) -> None:
        """A part of the body. After its answer has begun, the application no longer reads it: count and drop it.

        Otherwise each connection of a client that is refused while it sends would hold up to 320 KiB.
        `exchange.leftovers` decides how much is dropped, and for how long.
        """
        self._held = 0
        cycle = self.cycle
        if not cycle.response_started or cycle.response_complete:
            super().on_body(body)
            return
        scope = cast(Scope, cycle.scope)
        scope["dropped"] = scope.get("dropped", 0) + len(body)
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._held = 0
        self._arriving = False
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._running = (cycle, task)

    def on_response_complete(self) -> None:
        """Called when the application has answered."""
        if not self.pipeline:
            self._answered_at = self.loop.time()
            self._shared.connections.waits(self._own)
        super().on_response_complete()

    def _send_whole(self, scope: Scope, status: int, head: bytes, body: bytes) -> bool:
        """Send a whole response by one call of the system, as the cycle sends it by two; False: not this one.

        head   the lines of the headers, with `content-length` and without `connection`
        """
        cycle = self._running[0] if self._running else None
        if (
            cycle is None
            or cycle.scope is not scope
            or cycle.response_started
            or cycle.disconnected
            or not cycle.keep_alive
            or cycle.flow.write_paused
            or scope["method"] == "HEAD"
            or len(body) > PIECE_BYTES
        ):
            return False
        default = self._shared.lines_of(cycle.default_headers)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(b"".join((STATUS_LINE[status], default, head, b"\r\n", body)))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless the client is still reading the answer."""
        if self.transport.get_write_buffer_size():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def sweep(self, now: float) -> int:
        """Called about twice a second: enforce the time limits; return the number of unsent bytes."""
        limits = self._shared.limits
        if self._is_due() or self.flow.read_paused:
            self._since = self._answered_at = now
        elif not self._has_sent:
            if now - self._since > limits.head_seconds:
                reached("head_seconds")
                self._own.end()
        elif self._held and not self._deaf and now - self._since > limits.head_seconds:
            self._refuse(408, f"The request's head did not arrive within {limits.head_seconds} s", "head_seconds")
        elif self._arriving and now - self._answered_at > limits.head_seconds:
            reached("head_seconds")
            self._own.end()
        return self._sweep_unsent(now)

    def _sweep_unsent(self, now: float) -> int:
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent > self._unsent or unsent <= self._unsent - PROGRESS_BYTES:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > self._shared.limits.answer_seconds:
            self.drop_answer("answer_seconds")
        return unsent

    @property
    def stalled_since(self) -> float:
        """When the client last read some of its answers."""
        return self._unsent_since

    def drop_answer(self, limit: str) -> None:
        """Close a connection whose client does not read its answer."""
        reached(limit)
        self._own.end()

    def _is_due(self) -> bool:
        """Is an answer still due on this connection?"""
        return self.cycle is not None and not self.cycle.response_complete

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def stop_arriving(self) -> None:
        """The server stops: cancel a request whose body is incomplete.

        `front.Front` answers it with 503. Where it has been answered, `exchange.leftovers` stops dropping the rest.
        """
        if self._arriving and self._running:
            cycle, task = self._running
            if cycle is self.cycle:
                task.cancel()

    def _refuse(self, status: int, reason: str, limit: str = "") -> None:
        """Answer without the application and close; drop everything that arrives from now on."""
        if self._deaf:
            return
        self._deaf = True
        if limit:
            reached(limit)
        if self._is_due() and not self._arriving:
            self.cycle.keep_alive = False  # its answer goes first, and closes the connection
            return
        if self._is_due():
            # The request that is refused is under way. Has its answer begun, or is another one due before it?
            if self.cycle.response_started or self.pipeline:
                self._own.end()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        metrics.answered("other", "none", status, 0)
        log.info("request", method="other", route="none", status=status, ms=0)
        self.transport.write(refusal(status, reason, self.server_state.default_headers))
        self.transport.close()

    def close_gently(self, transport: asyncio.Transport) -> None:
        """Close so that a client that is still sending can read the answer.

        A socket that is closed while data is unread tells the client so at once, and the answer may be lost.
        """
        if not self._arriving and not self._held:
            transport.close()
            return
        self._deaf = True
        self._unset_keepalive_if_required()
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LINGER_BUFFER_BYTES)
        self._linger(transport)
        transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()

    def _linger(self, transport: asyncio.Transport) -> None:
        """Close the connection some seconds after its answer was sent. `answer_seconds` covers slow readers."""

        def end() -> None:
            if transport.get_write_buffer_size():
                self._linger(transport)
            else:
                transport.abort()

        self.loop.call_later(LINGER_SECONDS, end)


class Closing:
    """A transport whose `close` is the protocol's, and whose unsent bytes can be seen also over TLS."""

    __slots__ = ("_close", "_closed", "_transport", "get_extra_info", "get_write_buffer_size", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[asyncio.Transport], None]) -> None:
        self._transport = transport
        self._close = close
        self._closed = False
        self.get_extra_info = transport.get_extra_info
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.write = self._write_in_pieces if transport.get_extra_info("sslcontext") else transport.write

    def _write_in_pieces(self, data: bytes) -> None:
        """Send. Over TLS only what waits in the layer above can be seen, so large answers go there in pieces."""
        if len(data) <= PIECE_BYTES:
            self._transport.write(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            self._transport.write(view[start : start + PIECE_BYTES])

    def is_closing(self) -> bool:
        """Has the connection ended, or been told to?"""
        return self._closed or self._transport.is_closing()

    def close(self) -> None:
        """End once everything has been sent."""
        if not self._closed:
            self._closed = True
            self._close(self._transport)


def refusal(status: int, reason: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A complete answer in the documented format that closes the connection."""
    body = json.dumps({"errors": [reason]}).encode()
    own = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *([(b"retry-after", b"1")] if status == 503 else []),
    ]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in [*headers, *own])
    return STATUS_LINE[status] + lines + b"\r\n" + body
