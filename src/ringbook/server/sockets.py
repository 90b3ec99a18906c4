"""Listening sockets, and how many files a process may open.

listen(host, port)    a listening socket, or CannotServe with the reason and the next step
raise_file_limit()    allow this process as many open connections as the system does
"""

import errno
import resource
import socket
from contextlib import suppress

BACKLOG = 2048
MOST_FILES = 65_536


class CannotServe(Exception):
    """The server cannot start; one line with the reason and the next step."""


def listen(host: str, port: int, *, setting: str = "") -> socket.socket:
    """Open a listening socket; CannotServe if that fails. Connections wait in its queue until they are accepted.

    setting   the setting that holds the port, if it is not RINGBOOK_PORT; the error names it
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise CannotServe(_reason(host, port, error, setting)) from None
    return listener


def raise_file_limit() -> None:
    """Raise the limit of open files as far as the system allows: most shells set it to 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with suppress(OSError, ValueError):  # macOS has a lower limit that it does not report
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard))


def _reason(host: str, port: int, error: OSError, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else port - 1
        if setting:
            return f"port {port} is in use: {setting}={other}"
        return f"port {port} is in use: make serve PORT={other} (or ringbook serve --port {other})"
    if error.errno == errno.EACCES:
        return f"port {port} is reserved for the system: use one from 1024 up (ringbook serve --port 8080)"
    return f"cannot listen on {host}: {error.strerror} (RINGBOOK_HOST takes an address of this machine)"
