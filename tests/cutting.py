"""A proxy between a server and PostgreSQL that loses the response to a COMMIT, so that its outcome is unknown.

cutting(url)            the proxy, and the URL that leads through it
Cutting.cut(marker)     the next transaction that sends `marker` is committed, and its connection is then lost
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

BYTES = 65_536
COMMIT = b"COMMIT"


class Cutting:
    """Loses one connection at a time; connections of other transactions continue."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._database = parts.hostname or "127.0.0.1", parts.port or 5432
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
        self._marker = b""
        self._lock = threading.Lock()
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, marker: bytes) -> None:
        """The next transaction that sends this marker is committed, and its response is lost."""
        with self._lock:
            self._marker = marker

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                database = socket.create_connection(self._database)
                losing = threading.Event()
                threading.Thread(target=self._forth, args=(client, database, losing), daemon=True).start()
                threading.Thread(target=self._back, args=(client, database, losing), daemon=True).start()

    def _forth(self, client: socket.socket, database: socket.socket, losing: threading.Event) -> None:
        marked = False
        with suppress(OSError), closing(database):
            while data := client.recv(BYTES):
                with self._lock:
                    if self._marker and self._marker in data:
                        marked, self._marker = True, b""
                if marked and COMMIT in data:
                    losing.set()
                database.sendall(data)
            database.shutdown(socket.SHUT_RDWR)

    def _back(self, client: socket.socket, database: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError), closing(client):
            while data := database.recv(BYTES):
                if losing.is_set():  # it is the answer to the COMMIT: done, and never told
                    self.lost += 1
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting(url: str) -> Iterator[Cutting]:
    """A proxy in front of this database."""
    made = Cutting(url)
    try:
        yield made
    finally:
        made.close()
