"""Requests to push providers: many at a time on few connections, to allowed addresses only.

    Connections(…)            of one process; `async with` closes them
    Connections.post(…)       one request → Answer; Unreachable says why there is none
    Connections.to(…)         one provider's address, for many requests: each costs less than `post`
    Connections.is_online     whether another host on a stranger's word has answered lately

Each address has a client of its own, and with HTTP/2 one connection, for as long as its name leads there. The name is
looked up and checked before, and connected to as it was checked. Redirects are not followed, no proxy is asked.

Addresses from users and applications have look-ups and connections of their own, and a limit of requests at a time,
so that a slow name server or endpoint does not delay pushes to the providers.
"""

import asyncio
import errno
import math
import random
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError, PyreqwestError
from pyreqwest.http import Url

from ..config import Config
from ..outbound.networks import HTTPS_PORT
from ..outbound.requests import HTTPS_ONLY, Answer, Unreachable, check_addresses, check_port

TIMEOUT_SECONDS = 10.0  # of one attempt, from looking the name up to the end of the answer; a lease is longer
CONNECT_SECONDS = 5.0
OPENING_SECONDS = 2.0  # how long requests wait for the first one, which opens the connection that all will use
IDLE_SECONDS = 300
PING_SECONDS = 10
BELIEVED_SECONDS = 300  # how long a name is not looked up again
AGAIN_SECONDS = 60  # the same after a look-up that failed
SLOW_SECONDS = 2.0  # a look-up that takes longer is not waited for where an address is known from before
MOST_CLIENTS = 200
MOST_FAILED = 1_000  # names, remembered
FOREIGN_LOOKUPS = 16  # at once, of names on a user's or an application's word
LOOKUPS = 8
MOST_ORIGINS = 1_000
MOST_AT_ONCE = 100  # requests to one origin on a user's or an application's word
LEFT_ALONE_SECONDS = 30  # such an origin, when it has let a request time out
ONLINE_SECONDS = 600  # for so long an answer from another origin shows that our network works
OUR_ERRORS = (errno.ENETDOWN, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE)
LARGEST_BYTES = 16 * 1024  # of an answer: all of them are short


class _Client:
    """The HTTP client for one address; the name is looked up again after `until`."""

    def __init__(self, client: Client, address: str, until: float) -> None:
        self.client = client
        self.address = address
        self.until = until
        self.usable = True
        self.is_used = False
        self.has_answered = asyncio.Event()


class _Lookups:
    """Looks names up in threads of its own, because the system's resolver has no timeout and may hang."""

    def __init__(self, at_once: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, "names")
        self._running: dict[str, Future[list[Any]]] = {}
        self._failed: OrderedDict[str, float] = OrderedDict()

    async def addresses(self, name: str, host: str, port: int) -> list[str]:
        """The addresses of a host. One look-up for a name runs at a time; after a failure none runs for a while.

        name   under which it is remembered; no two may ask for the same at once
        """
        if time.monotonic() < self._failed.get(name, 0.0):
            raise socket.gaierror(socket.EAI_AGAIN, "its name could not be looked up a moment ago")
        lookup = self._running.get(name)
        if not lookup or lookup.done():
            lookup = self._threads.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            self._running[name] = lookup
            lookup.add_done_callback(lambda _: self._running.pop(name, None))
        try:
            return [str(one[4][0]) for one in await asyncio.wrap_future(lookup)]
        except BaseException:
            if not lookup.cancel():  # what waited for a thread has not failed
                self._failing(name)
            raise

    def _failing(self, name: str) -> None:
        self._failed[name] = time.monotonic() + AGAIN_SECONDS
        self._failed.move_to_end(name)
        if len(self._failed) > MOST_FAILED:
            self._failed.popitem(last=False)

    def close(self) -> None:
        """Stop without waiting for look-ups that hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Origin:
    """The limit of requests to one origin from a user or an application, and whether it answers."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._answered_at = -math.inf
        self._left_alone_until = 0.0

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait for a turn, and record whether the origin answers; Unreachable while it is left alone."""
        began_at = time.monotonic()
        self._refuse_while_left_alone(host)
        async with self._turns:
            self._refuse_while_left_alone(host)
            try:
                yield
            except (TimeoutError, asyncio.CancelledError):  # the second is how a timeout looks from within
                if self._answered_at < began_at:
                    self._left_alone_until = time.monotonic() + LEFT_ALONE_SECONDS
                raise
        self._answered_at, self._left_alone_until = time.monotonic(), 0.0

    def has_answered_lately(self) -> bool:
        """Has it answered within ONLINE_SECONDS?"""
        return time.monotonic() - self._answered_at < ONLINE_SECONDS

    def _refuse_while_left_alone(self, host: str) -> None:
        if time.monotonic() < self._left_alone_until:
            raise Unreachable(f"{host} did not answer a moment ago")


class Destination:
    """The address of a provider, checked once; see `Connections.to`."""

    def __init__(self, connections: "Connections", url: str, *, trusted: bool, only_http2: bool) -> None:
        self._connections = connections
        self._url = url
        self._trusted, self._only_http2 = trusted, only_http2
        self._name = ""

    async def post(self, path: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Make one request, as `Connections.post` does; `path` follows the address."""
        known = self._connections.open_client(self._name) if self._name else None
        if not known:
            return await self._first(path, headers, body)
        try:
            return await _exchange(known, self._url + path, headers, body)  # the client itself has the time limit
        except (OSError, ValueError, PyreqwestError) as error:
            raise _unreachable(Url(self._url).host_str, known, error) from error

    async def _first(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        how = {"trusted": self._trusted, "only_http2": self._only_http2}
        answer = await self._connections.post(self._url + path, headers=headers, body=body, **how)
        self._name = _name(Url(self._url), self._trusted, False, self._only_http2)
        return answer


class Connections:
    """Requests to providers. Private addresses, plain http and any port are allowed only with `allow_private`.

    ca_file           PEM; further certificate authorities
    timeout_seconds   for one attempt, from looking the name up to the end of the answer
    ports             allowed besides HTTPS_PORT when private addresses are not
    """

    def __init__(
        self,
        allow_private: bool = False,
        ca_file: str = "",
        timeout_seconds: float = TIMEOUT_SECONDS,
        ports: Collection[int] = (),
    ) -> None:
        self._allow_private = allow_private
        self._ports = ports
        self._authorities = Path(ca_file).read_bytes() if ca_file else b""
        self._timeout = timeout_seconds
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._origins: OrderedDict[str, _Origin] = OrderedDict()
        self._lookups = {False: _Lookups(LOOKUPS), True: _Lookups(FOREIGN_LOOKUPS)}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @classmethod
    def of(cls, config: Config) -> "Connections":
        """As the process is configured."""
        return cls(config.allow_private_addresses, config.ca_file, ports=config.outgoing_ports)

    async def __aenter__(self) -> "Connections":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lookups in self._lookups.values():
            lookups.close()
        while self._clients:
            await self._clients.popitem()[1].client.close()

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        trusted: bool = False,
        foreign: bool = False,
        only_http2: bool = False,
    ) -> Answer:
        """Make one request within the timeout. Raises Unreachable when there is no answer, for any reason.

        trusted      the operator chose this address: it may use plain http, and be on a private network
        foreign      a user or an application chose it: its failures must not delay other requests
        only_http2   the server speaks HTTP/2 only; otherwise https negotiates the version, and http is HTTP/1.1
        """
        target = self._checked(url, trusted)
        used = None
        try:
            async with asyncio.timeout(self._timeout), self._turn(target, foreign):
                used = await self._client(target, trusted, foreign, only_http2)
                return await _post(used, target, headers, body)
        except (OSError, ValueError, PyreqwestError) as error:  # a TimeoutError is an OSError
            raise _unreachable(target.host_str, used, error) from error

    def to(self, url: str, *, trusted: bool = False, only_http2: bool = False) -> Destination:
        """The beginning of the addresses of many requests, with at least the host; see `post`."""
        return Destination(self, url, trusted=trusted, only_http2=only_http2)

    def open_client(self, name: str) -> _Client | None:
        """The client that requests with this name use, if it has answered and its name need not be looked up."""
        known = self._usable(name)
        return known if known and known.has_answered.is_set() else None

    def is_online(self, url: str) -> bool:
        """Has another origin on a user's or an application's word answered lately? Then our network works."""
        own = Url(url).origin_ascii
        return any(name != own and origin.has_answered_lately() for name, origin in self._origins.items())

    def _checked(self, url: str, trusted: bool) -> Url:
        # The library's own reading of an address, so that what is checked is what it will connect to.
        try:
            target = Url(url)
        except ValueError:
            target = None
        if not target or not target.host_str or target.port == 0 or target.scheme not in ("http", "https"):
            raise Unreachable("the address is not an http or https one", allowed=False)
        if target.username or target.password:
            raise Unreachable("the address must not hold a user or password", allowed=False)
        if target.scheme == "http" and not (trusted or self._allow_private):
            raise Unreachable(HTTPS_ONLY, allowed=False)
        if not (trusted or self._allow_private):
            check_port(_port(target), self._ports)
        return target

    @asynccontextmanager
    async def _turn(self, target: Url, foreign: bool) -> AsyncIterator[None]:
        if not foreign:
            yield
            return
        name = target.origin_ascii
        origin = self._origins.setdefault(name, _Origin())
        self._origins.move_to_end(name)
        if len(self._origins) > MOST_ORIGINS:
            self._origins.popitem(last=False)
        async with origin.turn(target.host_str or ""):
            yield

    async def _client(self, target: Url, trusted: bool, foreign: bool, only_http2: bool) -> _Client:
        name = _name(target, trusted, foreign, only_http2)
        if known := self._usable(name):
            return known
        turn = self._turns.setdefault(name, asyncio.Lock())
        async with turn:
            if known := self._usable(name):
                return known
            before = self._clients.get(name)
            addresses, seconds = await self._addresses(name, target, trusted, foreign, before)
            until = time.monotonic() + seconds
            if before and before.usable and before.address in addresses:
                before.until = until
                return before
            address = chosen(addresses, before.address if before and not before.usable else "")
            made = self._clients[name] = _Client(self._built(target, address, only_http2), address, until)
            self._clients.move_to_end(name)
            if len(self._clients) > MOST_CLIENTS:
                self._clients.popitem(last=False)
            return made

    def _usable(self, name: str) -> _Client | None:
        known = self._clients.get(name)
        if not known or not known.usable or time.monotonic() > known.until:
            return None
        self._clients.move_to_end(name)
        return known

    async def _addresses(
        self, name: str, target: Url, trusted: bool, foreign: bool, before: _Client | None
    ) -> tuple[list[str], float]:
        """The addresses, and the seconds for which they are cached. Without an answer, the address of `before`."""
        host = _bare(target)
        try:
            async with asyncio.timeout(SLOW_SECONDS if before else None):
                addresses = await self._lookups[foreign].addresses(name, host, _port(target))
        except OSError:  # a TimeoutError is one
            if not before:
                raise
            return [before.address], AGAIN_SECONDS
        if not (trusted or self._allow_private):
            check_addresses(host, addresses)
        return addresses, BELIEVED_SECONDS

    def _built(self, target: Url, address: str, only_http2: bool) -> Client:
        builder = ClientBuilder().user_agent("Ringbook").no_proxy().follow_redirects(False)
        builder = builder.resolve(_bare(target), address, _port(target))
        builder = builder.connect_timeout(timedelta(seconds=CONNECT_SECONDS)).timeout(timedelta(seconds=self._timeout))
        builder = builder.pool_idle_timeout(timedelta(seconds=IDLE_SECONDS))
        # A connection that fell silent is found out by a ping, so that it does not swallow one request after the other.
        builder = builder.http2_keep_alive_interval(timedelta(seconds=PING_SECONDS))
        builder = builder.http2_keep_alive_timeout(timedelta(seconds=PING_SECONDS))
        builder = builder.http2_prior_knowledge() if only_http2 else builder.http2(True)
        return (builder.add_root_certificate_pem(self._authorities) if self._authorities else builder).build()


def chosen(addresses: Sequence[str], failed: str) -> str:
    """One of a name's addresses, of the kind (IPv6 or IPv4) that the system puts first.

    failed   the one that was used before and did not answer, or "": then rather one of the other kind

    Source: RFC 6724 §2, the order in which a resolver gives addresses.
    """
    others = [one for one in addresses if (":" in one) is not (":" in failed)] if failed else []
    first = (others or addresses)[0]
    return random.choice([one for one in addresses if (":" in one) is (":" in first)])


async def _post(used: _Client, target: Url, headers: Mapping[str, str], body: bytes) -> Answer:
    # Many at once would each open a connection, and only then learn that HTTP/2 needs but one.
    if used.is_used and not used.has_answered.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(used.has_answered.wait(), OPENING_SECONDS)
    used.is_used = True
    try:
        return await _exchange(used, target, headers, body)
    finally:
        used.has_answered.set()


async def _exchange(used: _Client, target: Url | str, headers: Mapping[str, str], body: bytes) -> Answer:
    """One request and its answer; the client ends it after the time limit."""
    async with used.client.post(target).headers(headers).body_bytes(body).build_streamed() as response:
        return await _read(response)


def _name(target: Url, trusted: bool, foreign: bool, only_http2: bool) -> str:
    """By which the client for an address is kept."""
    return f"{target.origin_ascii} {trusted} {foreign} {only_http2}"


def _unreachable(host: str | None, used: _Client | None, error: Exception) -> Unreachable:
    """Why there is no answer. What is in flight goes on; the next request looks the name up anew."""
    if used:
        used.usable = False
    return Unreachable(f"{host} does not answer ({_words(error)})", ours=_is_ours(error, looked_up=used is not None))


async def _read(response: Any) -> Answer:
    """The answer with the beginning of its body; the rest of a long body is not read."""
    body, reader = b"", response.body_reader
    while len(body) < LARGEST_BYTES and (chunk := await reader.read_chunk()):
        body += bytes(chunk)
    return Answer(response.status, body[:LARGEST_BYTES], _texts(response.headers))


def _texts(headers: Any) -> dict[str, str]:
    """The headers as text; headers that cannot be decoded are dropped."""
    found = {}
    for name in headers:
        with suppress(ValueError):
            found[name.lower()] = headers[name]
    return found


def _bare(target: Url) -> str:
    return (target.host_str or "").strip("[]")


def _port(target: Url) -> int:
    return target.port_or_known_default or HTTPS_PORT


def _is_ours(error: Exception, *, looked_up: bool) -> bool:
    """May the cause be this machine, its resolver or its network? A resolver's "no such name" is not such a cause.

    looked_up   the name was looked up before the error
    """
    if not looked_up:
        return not (isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME)
    causes = (error.details["causes"] or ()) if isinstance(error, ConnectError) else ()
    return any(f"(os error {code})" in cause["message"] for cause in causes for code in OUR_ERRORS)


def _words(error: Exception) -> str:
    """The error in a few words; the library's messages quote the address, which for Web Push is a secret."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectError):
        return _no_connection([cause["message"] for cause in error.details["causes"] or ()])
    if isinstance(error, PyreqwestError):
        return "the connection broke"
    if isinstance(error, ValueError):
        return "what came or was to be sent cannot be used"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def _no_connection(causes: list[str]) -> str:
    # The library's ConnectError is also what it says when a connection ends before an answer.
    if any(cause.startswith("invalid peer certificate") for cause in causes):
        return "its certificate is not believed"
    return "no connection" if any("(Connect)" in cause for cause in causes) else "the connection broke"
