"""Reads request bodies within bounds.

    InFlight     the bytes of bodies that this process holds, and the large uploads by user
    Held         the part of one request; a context manager that releases it
    Incoming     the body of one request
    has_body     whether a request carries a body
    at_hand      the next message, if it has arrived already

Everything here runs in the event loop, so no locks are needed.
"""

import io
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, cast

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from .. import errors
from ..config import Limits

BODY_SECONDS = 60
SMALL_BYTES = 256 * 1024  # larger bodies are uploads of address books
AT_HAND_BYTES = 64 * 1024  # uvicorn reads about as much ahead
SMALL_SHARE = 4  # one part in four of the bytes is reserved for small bodies: uploads must not block sign-ins
RETRY_SECONDS = 2


class InFlight:
    """The bodies that one process holds: their bytes, and the large uploads in progress by user."""

    def __init__(self, limits: Limits) -> None:
        self.bytes = 0
        self.uploads: Counter[int] = Counter()
        self.most_bytes = limits.max_bodies_in_flight_bytes
        self.most_large_bytes = self.most_bytes - self.most_bytes // SMALL_SHARE
        self.most_uploads = limits.large_uploads_per_user


class Held:
    """The bytes and the upload of one request, which are released at the end of the block."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._bytes = 0
        self._user_id: int | None = None

    def __enter__(self) -> "Held":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._in_flight.bytes -= self._bytes
        if self._user_id is not None:
            self._in_flight.uploads[self._user_id] -= 1
            if not self._in_flight.uploads[self._user_id]:
                del self._in_flight.uploads[self._user_id]

    def add(self, size: int) -> None:
        """Counts received bytes. Raises Unavailable when the process holds too many."""
        pool = self._in_flight
        most = pool.most_bytes if self._bytes + size <= SMALL_BYTES else pool.most_large_bytes
        if pool.bytes + size > most:
            raise errors.Unavailable(
                "Too many requests are being received just now. Try again.", limit="max_bodies_in_flight_bytes"
            )
        self._bytes += size
        pool.bytes += size

    def begin_upload(self, user_id: int) -> None:
        """Counts a large upload of the user. Raises TooMany when the allowed number is in progress."""
        pool = self._in_flight
        if pool.most_uploads and pool.uploads[user_id] >= pool.most_uploads:
            reason = "Another large upload of this user is in progress"
            raise errors.TooMany(reason, wait_seconds=RETRY_SECONDS, limit="large_uploads_per_user")
        self._user_id = user_id
        pool.uploads[user_id] += 1


class Incoming:
    """The body of one request.

    limit_bytes   the size of the largest accepted body
    on_large      called once, before more than SMALL_BYTES of the body are held; may refuse
    """

    def __init__(
        self, request: Request, held: Held, limit_bytes: int, on_large: Callable[[], None] | None = None
    ) -> None:
        self._receive = request.receive
        self._held = held
        self._limit_bytes = limit_bytes
        self._on_large = on_large
        self._buffer = (
            io.BytesIO()
        )  # grows in place and hands over its content without a copy; joining a list would need twice the memory
        self._size = 0
        self.is_complete = False
        self._declared = declared(request.headers.get("content-length"))
        self._waits = "expect" in request.headers

    def look(self) -> None:
        """Takes a small body if it has arrived already, without waiting."""
        if self._declared is None or self._declared > min(AT_HAND_BYTES, self._limit_bytes) or self._waits:
            return
        message = at_hand(self._receive)
        if message:
            self._take(message)

    async def read(self) -> bytes:
        """The whole body. Raises TooLarge, Malformed after BODY_SECONDS, and the refusals of `Held` and `on_large`."""
        if self._declared is not None:
            self._check(self._declared)
        with anyio.move_on_after(BODY_SECONDS) as scope:
            while not self.is_complete:
                self._take(await self._receive())
        if scope.cancelled_caught:
            raise errors.Malformed(f"The body did not arrive within {BODY_SECONDS} s", limit="body_seconds")
        return self._buffer.getvalue()

    def _take(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        self._check(self._size + len(chunk))
        self._held.add(len(chunk))
        self._size += len(chunk)
        self._buffer.write(chunk)
        self.is_complete = not message.get("more_body", False)

    def _check(self, size: int) -> None:
        """Refuses a body of this size, declared or received, if it is too large."""
        if size > self._limit_bytes:
            raise errors.TooLarge(f"The body is larger than {self._limit_bytes} bytes", limit="max_body_bytes")
        if size > SMALL_BYTES and self._on_large:
            self._on_large()
            self._on_large = None


def declared(length: str | None) -> int | None:
    """The declared length of a body; None without a valid one."""
    return int(length) if length and length.isdecimal() and len(length) < 20 else None


def has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Does the request carry a body? Source: RFC 9112, section 6.3."""
    return any((name == b"content-length" and value != b"0") or name == b"transfer-encoding" for name, value in headers)


def at_hand(receive: Receive) -> Message | None:
    """The next message if it has arrived already, else None."""
    receiving = cast(Coroutine[Any, Any, Message], receive())
    try:
        receiving.send(None)
    except StopIteration as arrived:
        message: Message = arrived.value
        return message
    receiving.close()
    return None
