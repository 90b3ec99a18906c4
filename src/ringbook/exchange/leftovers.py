"""What happens to the body of a request that is answered before the body was read.

    most_dropped    the bound on that
    Leftover        receive and send of one request; the rest of its body is dropped, then the connection ends

A client that is still sending hears the answer first: it is sent at once, and what keeps arriving is read and dropped
for a while. Closing at once would reset the connection, and many clients would lose the answer. An answer that ends the
connection by itself (`Connection: close`) is passed on as it is, and a server that stops drops nothing more.
"""

import asyncio
from contextlib import suppress

import anyio
from starlette.types import Message, Receive, Scope, Send

from .bodies import at_hand

DRAIN_SECONDS = 30
DRAIN_TIMES = 8  # so many times the largest allowed body is dropped; after that the connection is closed
DRAIN_BYTES = 8 * 1024 * 1024  # and no less than this


def most_dropped(largest_bytes: int) -> int:
    """How much of an unread body is dropped, where the largest allowed body has so many bytes."""
    return max(DRAIN_BYTES, DRAIN_TIMES * largest_bytes)


class Leftover:
    """The two directions of a request that carries a body.

    most_bytes   so much is dropped at most
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, most_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._most_bytes = most_bytes
        # The client sends its body only when it is asked to. Source: RFC 9110, section 10.1.1.
        self._waits = any(name == b"expect" for name, _ in scope["headers"])
        self._is_read = False
        self._ends_anyway = False

    async def receive(self) -> Message:
        """Hands a part of the body on, and notes when that was the last one."""
        message = await self._receive()
        self._note(message)
        return message

    async def send(self, message: Message) -> None:
        """Sends the answer; where a part of the body was not read, drops it afterwards and ends the connection."""
        if message["type"] == "http.response.start":
            self._look()
            self._ends_anyway = any(name == b"connection" for name, _ in message.get("headers", ()))
        if self._is_read or self._ends_anyway:
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
        """A small body that has arrived as a whole costs nobody the connection."""
        if not self._is_read and not self._waits and (message := at_hand(self._receive)):
            self._note(message)

    async def _drop(self) -> None:
        received = 0
        with suppress(asyncio.CancelledError), anyio.move_on_after(DRAIN_SECONDS):
            while not self._is_read and received + self._scope.get("dropped", 0) <= self._most_bytes:
                message = await self._receive()
                received += len(message.get("body", b""))
                self._note(message)

    def _note(self, message: Message) -> None:
        self._is_read = message["type"] == "http.disconnect" or not message.get("more_body", False)
