"""uvicorn's server with our own code for accepting and limiting connections.

    ServerConfig    uvicorn's settings and ours
    server_config   the settings of every serving process
    Server          accepts connections, checks them twice a second, reloads the certificate, stops in order
    Listener        one listening socket

uvicorn leaves accepting to the event loop. Connections in their TLS handshake would then escape our limits, a handshake
could take 60 seconds, and running out of file handles would stop the server from accepting anybody.
"""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn

from ..config import Config
from ..core.networks import LOOPBACK
from ..logs import log
from .connections import Connection, Connections, limits_of
from .handshakes import Handshakes
from .protocol import Protocol, Shared
from .reached import reached
from .sockets import BACKLOG
from .tls import Certificate

ACCEPTED_AT_ONCE = 8  # then other work and other processes get their turn
REST_SECONDS = 1
TICKS_BETWEEN_SWEEPS = 5  # of 0.1 s each
ARRIVAL_SECONDS = 5  # bodies that are still arriving get so much of the grace period when the server stops
GRACE_SECONDS = 10  # for requests that have begun, when the process is told to stop
LAST_SECONDS = 2  # for the counters; after that the process ends itself


class ServerConfig(uvicorn.Config):
    """uvicorn's settings, with ours as `ringbook`."""

    def __init__(self, config: Config, application: Any, **settings: Any) -> None:
        super().__init__(application, http=Protocol, **settings)
        self.ringbook = config


def server_config(config: Config, application: Any, *, factory: bool = False) -> ServerConfig:
    """The settings that every serving process has; with `factory`, `application` is called in each child."""
    return ServerConfig(
        config,
        application,
        factory=factory,
        interface="asgi3",
        lifespan="off",
        loop="auto",
        ws="none",
        workers=config.workers,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `front` reads them, and remembers who connected
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class Server(uvicorn.Server):
    """One serving process, or a thread of one.

    on_stop   called when the process is told to stop, at the beginning of the grace period
    """

    config: ServerConfig

    def __init__(self, config: ServerConfig, on_stop: Callable[[], object] = lambda: None) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        ours = config.ringbook
        per_address, last_handle = limits_of(ours.limits)
        self.connections = Connections(per_address, last_handle, [*LOOPBACK, *ours.trusted_proxies])
        self._shared = Shared(ours.limits, self.connections)
        limits = ours.limits
        self._handshakes = Handshakes(limits.handshakes_per_address_per_second, limits.handshake_seconds)
        self._certificate: Certificate | None = None
        self._renewal_wanted = False
        self._sockets: list[socket.socket] = []
        self._accepting: set[asyncio.Task[None]] = set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to stop, and end the process by force shortly after the grace period.

        A request may hang where cancelling does not reach it, such as in a database that does not answer.
        """
        super().handle_exit(sig, frame)
        last = threading.Timer(GRACE_SECONDS + LAST_SECONDS, os._exit, (1,))
        last.daemon = True
        last.start()

    def renew(self) -> None:
        """Reload the certificate within a tenth of a second. Signal handlers and other threads may call this."""
        self._renewal_wanted = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve on these sockets."""
        await super().startup(sockets=[])
        ours = self.config.ringbook
        self._certificate = Certificate(ours) if ours.tls_cert else None
        self._sockets = sockets or []
        self._listen()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; true when the server must stop."""
        if counter % TICKS_BETWEEN_SWEEPS == 0:
            self._sweep()
        if self._certificate:
            self._renew(self._certificate)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and give requests that have begun time to finish."""
        self._on_stop()
        for task in self._accepting:
            task.cancel()
        asyncio.get_running_loop().call_later(ARRIVAL_SECONDS, self._stop_arriving)
        await super().shutdown(sockets)

    def _listen(self) -> None:
        """Accept connections; with TLS only once a certificate is loaded.

        A replacement process may find a certificate file that broke after the other processes had loaded it.
        """
        if self._certificate and not self._certificate.context:
            return
        listeners: list[Any] = [Listener(one, self._accepted) for one in self._sockets]
        self.servers = listeners

    def _renew(self, certificate: Certificate) -> None:
        if self._renewal_wanted:
            self._renewal_wanted = False
            certificate.load()
        else:
            certificate.look(asyncio.get_running_loop().time())
        if not self.servers:
            self._listen()

    def _sweep(self) -> None:
        self.connections.relax()
        now = asyncio.get_running_loop().time()
        protocols: list[Any] = list(self.server_state.connections)
        unsent = [(one.sweep(now), one) for one in protocols]
        excess = sum(size for size, _ in unsent) - self.config.ringbook.limits.max_unsent_bytes
        if excess > 0:
            for size, one in sorted((pair for pair in unsent if pair[0]), key=lambda pair: pair[1].stalled_since):
                one.drop_answer("max_unsent_bytes")
                excess -= size
                if excess <= 0:
                    return

    def _stop_arriving(self) -> None:
        protocols: list[Any] = list(self.server_state.connections)
        for one in protocols:
            one.stop_arriving()

    def _accepted(self, sock: socket.socket, address: str) -> None:
        """Serve an accepted connection, or close it when a limit is reached."""
        loop = asyncio.get_running_loop()
        task: asyncio.Task[None] | None = None

        def end() -> None:
            if task:
                task.cancel()

        connection = self.connections.admit(address, sock.fileno(), end)
        if not connection:
            sock.close()
            return
        task = loop.create_task(self._connect(sock, connection, loop))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    async def _connect(self, sock: socket.socket, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        tls = self._certificate.context if self._certificate else None
        seconds = self.config.ringbook.limits.handshake_seconds if tls else None
        try:
            if tls:
                await self._handshake_turn(connection, loop)
            await loop.connect_accepted_socket(
                lambda: Protocol(self.config, self.server_state, self._shared, connection, loop),
                sock,
                ssl=tls,
                ssl_handshake_timeout=seconds,
            )
        except (OSError, asyncio.CancelledError) as error:
            self.connections.leave(connection)
            sock.close()
            if isinstance(error, ConnectionAbortedError) and not isinstance(error, ssl.SSLError):
                reached("handshake_seconds")

    async def _handshake_turn(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Waits until the connection's address may begin a handshake. Raises OSError when that takes too long."""
        wait = self._handshakes.wait(connection.group, loop.time())
        if wait is None:
            reached("handshakes_per_address_per_second")
            raise OSError("too many handshakes")
        if wait:
            await asyncio.sleep(wait)


class Listener:
    """A listening socket that passes its connections to `accepted`, with the interface of an event loop's server."""

    def __init__(self, sock: socket.socket, accepted: Callable[[socket.socket, str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._accepted = accepted
        self._closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Stop accepting."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket.fileno())

    async def wait_closed(self) -> None:
        """Do nothing: `close` takes effect at once."""

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(error)
                return
            sock.setblocking(False)
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(sock, address[0])

    def _rest(self, error: OSError) -> None:
        """Pause after the system ran out of file handles or memory; retrying at once would keep the processor busy."""
        log.debug("cannot accept", error=error.strerror)
        reached("reserved_handles")
        self._loop.remove_reader(self._socket.fileno())
        self._loop.call_later(REST_SECONDS, self._again)

    def _again(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket.fileno(), self._accept)
