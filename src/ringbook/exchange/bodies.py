"""Reads request bodies within bounds.

    InFlight     the bytes of bodies that this process holds, and the large uploads by user
    Body         the body of one request
    at_hand      the next message, if it has arrived already

Everything here runs in the event loop, so no locks are needed.
"""

import asyncio
import io
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, cast

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from .. import errors
from ..config import Limits

BODY_SECONDS = 60
SMALL_BYTES = 256 * 1024  # larger bodies are uploads of address books
IDLE_TURNS = 2  # of the event loop without a part of a body: the rest is not there yet
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


class Body:
    """The body of one request. `release` must be called once the request needs it no longer.

    limit_bytes   the size of the largest accepted body
    on_large      called once, before more than SMALL_BYTES of the body are held; returns the user who is charged for a
                  large upload, or None
    """

    def __init__(
        self,
        in_flight: InFlight,
        receive: Receive,
        headers: Mapping[str, str],
        limit_bytes: int,
        on_large: Callable[[], int | None],
    ) -> None:
        self._in_flight = in_flight
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._on_large = on_large
        # Grows in place and hands over its content without a copy; joining a list would need twice the memory.
        self._buffer = io.BytesIO()
        self._only_part = b""  # a body that came as one part is not copied into the buffer
        self._size = 0
        self._declared = declared(headers.get("content-length"))
        self._waits = "expect" in headers
        self._is_large = False
        self._user_id: int | None = None
        self.is_read = False

    async def read(self, before_waiting: Callable[[], Awaitable[None]] | None = None) -> bytes:
        """The whole body.

        before_waiting   called before the body is waited for; not for a small body that arrived right behind the head

        Raises TooLarge, Malformed after BODY_SECONDS, Unavailable and TooMany (`_hold`, `_begin_upload`).
        """
        if self._may_be_at_hand():
            await self._receive_at_hand()
        if not self.is_read:
            await self._receive_rest(before_waiting)
        return self._only_part or self._buffer.getvalue()

    def release(self) -> None:
        """Releases the bytes, and the place of a large upload."""
        pool = self._in_flight
        pool.bytes -= self._size
        if self._user_id is not None:
            pool.uploads[self._user_id] -= 1
            if not pool.uploads[self._user_id]:
                del pool.uploads[self._user_id]

    def _may_be_at_hand(self) -> bool:
        """Is the body so small that it may be right behind the head?"""
        most = min(SMALL_BYTES, self._limit_bytes)
        return self._declared is not None and self._declared <= most and not self._waits

    async def _receive_at_hand(self) -> None:
        """Receive what is at the socket already: the event loop reads a part of it in each turn. Waits for nothing."""
        idle_turns = 0
        while not self.is_read and idle_turns <= IDLE_TURNS:
            if message := at_hand(self._receive):
                self._take(message)
                idle_turns = 0
            else:
                await asyncio.sleep(0)
                idle_turns += 1

    async def _receive_rest(self, before_waiting: Callable[[], Awaitable[None]] | None) -> None:
        if before_waiting:
            await before_waiting()
        if self._declared is not None:
            self._check(self._declared)
        with anyio.move_on_after(BODY_SECONDS) as scope:
            while not self.is_read:
                self._take(await self._receive())
        if scope.cancelled_caught:
            raise errors.Malformed(f"The body did not arrive within {BODY_SECONDS} s", limit="body_seconds")

    def _take(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.is_read = True
            raise ClientDisconnect
        # Noted first: when the last part is refused, no rest is waited for.
        self.is_read = not message.get("more_body", False)
        chunk = message.get("body", b"")
        self._check(self._size + len(chunk))
        self._hold(len(chunk))
        if self.is_read and self._size == len(chunk):
            self._only_part = chunk
        else:
            self._buffer.write(chunk)

    def _check(self, size: int) -> None:
        """Refuses a body of this size, declared or received, if it is too large."""
        if size > self._limit_bytes:
            raise errors.TooLarge(f"The body is larger than {self._limit_bytes} bytes", limit="max_body_bytes")
        if size > SMALL_BYTES and not self._is_large:
            user_id = self._on_large()
            if user_id is not None:
                self._begin_upload(user_id)
            self._is_large = True

    def _hold(self, size: int) -> None:
        """Counts received bytes. Raises Unavailable when the process holds too many."""
        pool = self._in_flight
        most = pool.most_bytes if self._size + size <= SMALL_BYTES else pool.most_large_bytes
        if pool.bytes + size > most:
            raise errors.Unavailable(
                "Too many requests are being received just now. Try again.", limit="max_bodies_in_flight_bytes"
            )
        self._size += size
        pool.bytes += size

    def _begin_upload(self, user_id: int) -> None:
        """Counts a large upload of the user. Raises TooMany when the allowed number is in progress."""
        pool = self._in_flight
        if pool.most_uploads and pool.uploads[user_id] >= pool.most_uploads:
            reason = "Another large upload of this user is in progress"
            raise errors.TooMany(reason, wait_seconds=RETRY_SECONDS, limit="large_uploads_per_user")
        self._user_id = user_id
        pool.uploads[user_id] += 1


def declared(length: str | None) -> int | None:
    """The declared length of a body; None without a valid one."""
    return int(length) if length and length.isdecimal() and len(length) < 20 else None


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
