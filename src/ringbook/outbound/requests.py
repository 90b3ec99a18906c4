"""HTTP requests to addresses that an admin, an application or a provider has set.

    Outgoing                 the rules: time limit, allowed addresses and ports, certificate authority, turns
    Outgoing.of(config)      as the process is configured, for addresses on a user's or an application's word
    Outgoing.request(…)      one request → Answer; Unreachable says why there is none
    Turns                    limits how many requests wait for an answer at a time
    silence(outgoing, …)     why an address gives no answer
    check_port, check_addresses    refuse ports and addresses that users and applications may not choose

A name is looked up once, and the connection goes to the addresses that were checked, so that a second look-up cannot
lead to a private network. Redirects are not followed: a 3xx answer is returned. Proxies are not used.
"""

import http.client
import io
import queue
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .. import metrics
from ..config import Config
from .networks import HTTPS_PORT, is_public

LARGEST_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 5.0
HTTPS_ONLY = "the address must begin with https:// (RINGBOOK_ALLOW_PRIVATE_ADDRESSES allows http)"
Addresses = list[tuple[Any, ...]]


class Unreachable(Exception):
    """A request got no answer; the text says why, without the path and the query of the address.

    sent      part of the request was sent, so the server may have acted on it
    allowed   false when no request was made, because the address is not allowed
    ours      the cause may be this machine, its resolver or its network, so it says nothing about the host
    """

    def __init__(self, why: str, *, sent: bool = False, allowed: bool = True, ours: bool = False) -> None:
        super().__init__(why)
        self.sent = sent
        self.allowed = allowed
        self.ours = ours


class Turns:
    """At most `whole` requests wait at a time, and at most `each` of them for the same server."""

    def __init__(self, whole: int, each: int) -> None:
        self._whole, self._each = whole, each
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def at(self, server: str) -> Iterator[None]:
        """A turn, or Unreachable at once."""
        with self._lock:
            if self._waiting.total() >= self._whole or self._waiting[server] >= self._each:
                raise Unreachable("too many requests wait for an answer already")
            self._waiting[server] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= Counter([server])  # drops those that nobody waits for


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request; header names are lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Requests with these settings. Private addresses, plain http and any port are allowed only with `allow_private`.

    ca_file   PEM; further certificate authorities
    turns     how many of the requests may wait at once; None = any number
    ports     allowed besides HTTPS_PORT when private addresses are not
    """

    allow_private: bool = False
    ca_file: str = ""
    timeout_seconds: float = TIMEOUT_SECONDS
    turns: Turns | None = None
    ports: Collection[int] = ()

    @classmethod
    def of(cls, config: Config, turns: Turns | None = None) -> "Outgoing":
        """As the process is configured, for addresses that a user or an application has named."""
        return cls(config.allow_private_addresses, config.ca_file, turns=turns, ports=config.outgoing_ports)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Make one request; whatever happens, it takes little more than `timeout_seconds`."""
        parts = self._checked(url)
        with self.turns.at(parts.netloc.lower()) if self.turns else nullcontext():
            return self._send(parts, method, headers or {}, body)

    def _send(self, parts: SplitResult, method: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        until = time.monotonic() + self.timeout_seconds
        connection = Connection(parts.netloc)
        try:
            connection.sock = self._socket(parts, until)
            connection.sock.settimeout(_left(until))
            connection.request(method, target, body=body, headers={"User-Agent": "Ringbook", **headers})
            return _answer(connection.sock, method, until)
        except Unreachable:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = f"{parts.hostname} does not answer ({_words(error)})"
            raise Unreachable(why, sent=connection.sending) from error
        finally:
            connection.close()

    def _checked(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and parts.port != 0 and parts.scheme in ("http", "https")
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise Unreachable("the address is not an http or https one, in ASCII and without blanks", allowed=False)
        if "@" in parts.netloc:
            raise Unreachable("the address must not hold a user or password", allowed=False)
        if parts.scheme == "http" and not self.allow_private:
            raise Unreachable(HTTPS_ONLY, allowed=False)
        if not self.allow_private:
            check_port(parts.port or HTTPS_PORT, self.ports)
        return parts

    def _socket(self, parts: SplitResult, until: float) -> socket.socket:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        found = _looked_up(host, port, until)
        if not self.allow_private:
            check_addresses(host, [address[4][0] for address in found])
        plain = _connected(found, until)
        if parts.scheme == "http":
            return plain
        try:
            plain.settimeout(_left(until))
            return self._tls().wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.ca_file:
            context.load_verify_locations(self.ca_file)
        return context


class Connection(http.client.HTTPConnection):
    """A connection that remembers whether anything was sent on it."""

    sending = False

    def send(self, data: Any) -> None:
        """Send; the library calls this after it has checked the request."""
        self.sending = True
        super().send(data)


def check_port(port: int, ports: Collection[int]) -> None:
    """Raise Unreachable if this port is not allowed in an address that a user or an application chose."""
    if port != HTTPS_PORT and port not in ports:
        metrics.limit_reached("outgoing_ports")
        reason = f"the port is not allowed: {port} is neither {HTTPS_PORT} nor in RINGBOOK_OUTGOING_PORTS"
        raise Unreachable(reason, allowed=False)


def check_addresses(host: str, addresses: Iterable[str]) -> None:
    """Raise Unreachable if one of a host's addresses is not of the public internet."""
    if not all(map(is_public, addresses)):
        metrics.limit_reached("allow_private_addresses")
        reason = f"{host} is on a private network (RINGBOOK_ALLOW_PRIVATE_ADDRESSES allows it)"
        raise Unreachable(reason, allowed=False)


def _looked_up(host: str, port: int, until: float) -> Addresses:
    """The addresses of a name. The system's resolver has no timeout, so it runs in a thread that may be abandoned."""
    answers: queue.SimpleQueue[Addresses | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, ValueError) as error:
            answers.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        answer = answers.get(timeout=_left(until))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _connected(found: Addresses, until: float) -> socket.socket:
    """A connection to the first of the addresses that accepts one."""
    trouble: OSError = OSError("no address")
    for family, kind, protocol, _, address in found:
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(_left(until))
            plain.connect(address)
            return plain
        except OSError as error:
            plain.close()
            trouble = error
    raise trouble


def _answer(connected: socket.socket, method: str, until: float) -> Answer:
    patient: Any = Patient(connected, until)
    response = http.client.HTTPResponse(patient, method=method)
    try:
        response.begin()
        body = response.read(LARGEST_BYTES + 1)
    finally:
        response.close()
    if len(body) > LARGEST_BYTES:
        raise http.client.HTTPException("too much")
    if response.length:
        raise http.client.IncompleteRead(b"")
    return Answer(response.status, body, {name.lower(): value for name, value in response.getheaders()})


class Patient(io.RawIOBase):
    """Reads from a socket until a deadline, so that an answer sent byte by byte cannot exceed it."""

    def __init__(self, connected: socket.socket, until: float) -> None:
        self._socket = connected
        self._until = until

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What the library asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come, or wait for it."""
        self._socket.settimeout(_left(self._until))
        return self._socket.recv_into(buffer)


def _left(until: float) -> float:
    """The seconds that are left; TimeoutError when there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _words(error: Exception) -> str:
    """The error in a few words; the library's messages may quote the request."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def silence(outgoing: Outgoing, address: str) -> str:
    """Why an address does not answer; "" for any answer, and when the address is empty."""
    try:
        if address:
            outgoing.request("HEAD", address)
    except Unreachable as unreachable:
        return str(unreachable)
    return ""
