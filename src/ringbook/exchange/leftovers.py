"""Handles the rest of a body when a request is answered before its body was read.

    most_dropped    how many bytes are dropped at most
    Leftover        sends the response to such a request, drops the rest of the body, then closes the connection

The answer is sent at once. Then the rest of the body is read and dropped for a limited time. Closing the connection at
once would reset it, and many clients would lose the answer. An answer with `Connection: close` is passed on unchanged,
and a server that stops does not drop the rest.
"""

import asyncio
from contextlib import suppress

import anyio
from starlette.types import Message, Receive, Scope, Send

from .. import metrics
from .bodies import at_hand

DRAIN_SECONDS = 30
DRAIN_TIMES = 8  # times the size of the largest allowed body; after that the connection is closed
DRAIN_BYTES = 8 * 1024 * 1024  # the least value of the limit


def most_dropped(largest_bytes: int) -> int:
    """How many bytes of an unread body are dropped at most, by the size of the largest allowed body."""
    return max(DRAIN_BYTES, DRAIN_TIMES * largest_bytes)


class Leftover:
    """The response to a request whose body was not read to its end.

    most_bytes   how many bytes are dropped at most
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, most_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._most_bytes = most_bytes
        # The client sends its body only after a 100 Continue. Source: RFC 9110, section 10.1.1.
        self._waits = any(name == b"expect" for name, _ in scope["headers"])
        self._is_read = False
        self._closes_anyway = False

    async def send(self, message: Message) -> None:
        """Sends the answer. If a part of the body was not read, drops it afterwards and closes the connection."""
        if message["type"] == "http.response.start":
            self._look()
            self._closes_anyway = any(name == b"connection" for name, _ in message.get("headers", ()))
        if self._is_read or self._closes_anyway:
            await self._send(message)
        elif message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            await self._send({**message, "headers": headers})
        elif message.get("more_body"):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._drop()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _look(self) -> None:
        """Takes a small body that has arrived already, so that the connection can stay open."""
        if not self._waits and (message := at_hand(self._receive)):
            self._note(message)

    async def _drop(self) -> None:
        received = 0
        with suppress(asyncio.CancelledError), anyio.move_on_after(DRAIN_SECONDS) as scope:
            while not self._is_read and received + self._scope.get("dropped", 0) <= self._most_bytes:
                message = await self._receive()
                received += len(message.get("body", b""))
                self._note(message)
        if not self._is_read and (
            scope.cancelled_caught or received + self._scope.get("dropped", 0) > self._most_bytes
        ):
            metrics.limit_reached("unread_body")

    def _note(self, message: Message) -> None:
        self._is_read = message["type"] == "http.disconnect" or not message.get("more_body", False)
