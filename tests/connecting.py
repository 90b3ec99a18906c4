"""For tests of connections, and for bench/attack: where they come from, TLS, and a server with few file handles.

own_address()      an address of this machine that is not of the loopback
certificate(…)     the settings of a server that speaks TLS, and a context that trusts it
few_handles(…)     `ringbook serve` with so many file handles
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import servers
import trustme
from servers import Server


def own_address() -> str:
    """An address of this machine that is not of the loopback; "" if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("198.51.100.1", 9))  # sends nothing
            return str(one.getsockname()[0])
        except OSError:
            return ""


def certificate(folder: Path) -> tuple[dict[str, str], ssl.SSLContext]:
    """The settings of a server that speaks TLS, and a context that trusts it; the authority is in ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    trusted = ssl.create_default_context(cafile=folder / "ca.pem")
    return {"tls_cert": str(folder / "server.pem"), "tls_key": str(folder / "server.pem")}, trusted


@contextmanager
def few_handles(
    url: str, folder: Path, handles: int, trusted: ssl.SSLContext | None = None, **settings: str
) -> Iterator[Server]:
    """A server on a database that may have so many file handles, once it is ready.

    trusted   the context that trusts it, when the settings make it speak TLS
    """
    port, log = servers.free_port(), folder / "few.log"
    command = ["sh", "-c", f"ulimit -n {handles} && exec {servers.program()} serve --port {port}"]
    with servers.running(command, log, environment=servers.environment(url, **settings)) as process:
        at = f"{'https' if trusted else 'http'}://127.0.0.1:{port}"
        servers.wait_until(lambda: servers.get(f"{at}/readyz", trusted), OSError, process, log)
        yield Server(at, url, servers.application(url), log, process)
