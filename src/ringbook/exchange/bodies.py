"""Reads request bodies within bounds.

    InFlight     the bytes of bodies that this process holds, and the large uploads by user
    Body         the body of one request
    at_hand      the next message, if it has arrived already

Everything here runs in the event loop, so no locks are needed.
"""

import asyncio
import io
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from typing import Any, cast

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from .. import errors
from ..config import Limits
from .turns import Asker

BODY_SECONDS = 60
GRACE_SECONDS = 10  # before a body must arrive at the least rate
SMALL_BYTES = 256 * 1024  # larger bodies are uploads of address books
IDLE_TURNS = 2  # of the event loop without a part of a body: the rest is not there yet
SMALL_SHARE = 4  # one part in four of the bytes is reserved for small bodies: uploads must not block sign-ins
# Callers without a known user have at most one part in eight of the bytes at one address, and half of them together.
# The rest is reserved for known users.
STRANGERS_SHARE, ALL_STRANGERS_SHARE = 8, 2
SMALL_BODIES = 4  # that a user may send besides a large upload
RETRY_SECONDS = 2
STRANGERS = ("strangers",)
UNKNOWN = Asker("", "")


class InFlight:
    """The bodies that one process holds: their bytes, by who sends them, and the large uploads in progress by user."""

    def __init__(self, limits: Limits) -> None:
        self.bytes = 0
        self.uploads: Counter[int] = Counter()
        self.most_bytes = limits.max_bodies_in_flight_bytes
        self.most_large_bytes = self.most_bytes - self.most_bytes // SMALL_SHARE
        self.most_uploads = limits.large_uploads_per_user
        self.least_rate = limits.least_body_bytes_per_second
        self._user_bytes = limits.max_body_bytes + SMALL_BODIES * SMALL_BYTES
        self._of: Counter[Hashable] = Counter()

    def shares(self, asker: Asker) -> dict[Hashable, int]:
        """The shares of which a body takes bytes, and their sizes. A caller without a known user is a stranger."""
        address, user = asker
        if user != address or isinstance(user, int):
            return {("user", user): self._user_bytes, ("address", address): self.most_large_bytes}
        return {
            ("strangers", address): max(self.most_bytes // STRANGERS_SHARE, 2 * SMALL_BYTES),
            ("address", address): self.most_large_bytes,
            STRANGERS: self.most_bytes // ALL_STRANGERS_SHARE,
        }

    def has_room(self, shares: Mapping[Hashable, int], size: int) -> bool:
        """Do so many more bytes fit in each of the shares?"""
        return all(self._of[share] + size <= most for share, most in shares.items())

    def add(self, shares: Mapping[Hashable, int], size: int) -> None:
        """Counts bytes in each of the shares; a negative size releases them."""
        self.bytes += size
        for share in shares:
            self._of[share] += size
            if not self._of[share]:
                del self._of[share]


class Body:
    """The body of one request. `release` must be called once the request needs it no longer.

    limit_bytes   the size of the largest accepted body
    asker         who sends it, as far as that is known now
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
        asker: Callable[[], Asker] = lambda: UNKNOWN,
    ) -> None:
        self._in_flight = in_flight
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._on_large = on_large
        self._asker = asker
        self._shares: dict[Hashable, int] = {}
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

        Raises TooLarge, Late when it arrives too slowly, Unavailable and TooMany (`_hold`, `_begin_upload`).
        """
        if self._may_be_at_hand():
            await self._receive_at_hand()
        if not self.is_read:
            await self._receive_rest(before_waiting)
        return self._only_part or self._buffer.getvalue()

    def release(self) -> None:
        """Releases the bytes, and the place of a large upload."""
        pool = self._in_flight
        pool.add(self._shares, -self._size)
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
        began, rate = time.monotonic(), self._in_flight.least_rate
        while not self.is_read:
            seconds = min(BODY_SECONDS, GRACE_SECONDS + self._size / rate) if rate else BODY_SECONDS
            with anyio.move_on_after(seconds - (time.monotonic() - began)) as scope:
                message = await self._receive()
            if scope.cancelled_caught:
                self._refuse_late(seconds)
            self._take(message)

    def _refuse_late(self, seconds: float) -> None:
        if seconds == BODY_SECONDS:
            raise errors.Late(f"The body did not arrive within {BODY_SECONDS} s", limit="body_seconds")
        reason = f"The body did not arrive at {self._in_flight.least_rate} bytes a second"
        raise errors.Late(reason, limit="least_body_bytes_per_second")

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
        """Counts received bytes. Raises Unavailable when the process, the user or the address holds too many."""
        pool = self._in_flight
        shares = pool.shares(self._asker())
        if shares != self._shares:  # the caller has become known
            pool.add(self._shares, -self._size)
            pool.add(shares, self._size)
            self._shares = shares
        most = pool.most_bytes if self._size + size <= SMALL_BYTES else pool.most_large_bytes
        if pool.bytes + size > most or not pool.has_room(shares, size):
            raise errors.Unavailable(
                "Too many requests are being received just now. Try again.", limit="max_bodies_in_flight_bytes"
            )
        self._size += size
        pool.add(shares, size)

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
