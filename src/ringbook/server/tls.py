"""The TLS certificate of the server, and its renewal while the server runs.

Certificate        the context for new connections; a connection keeps the one that it began with
Certificate.load   loads the files now
Certificate.look   loads the files once they have changed
"""

import ssl
from pathlib import Path

from ..config import Config
from ..logs import log
from . import machine

LOOK_SECONDS = 5


class Certificate:
    """The certificate chain and key of this process.

    context   for new connections; None while no usable certificate has been loaded
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._files = [Path(config.tls_cert), Path(config.tls_key)]
        self._loaded: object = None
        self._seen: object = None
        self._looked_at = float("-inf")
        self.context: ssl.SSLContext | None = None
        self.load()

    def load(self) -> None:
        """Load both files. If they cannot be used, keep the previous certificate and log the reason."""
        self._loaded = self._seen = self._state()
        if trouble := machine.tls_trouble(self._config):
            log.error("certificate not loaded", why=trouble, serving="the one from before" if self.context else "none")
            return
        renewed = self.context is not None
        self.context = context(self._config)
        if renewed:
            log.info("certificate loaded", file=self._config.tls_cert)

    def look(self, now: float) -> None:
        """Load the files if they have changed, at most every LOOK_SECONDS.

        Both must have stayed the same since the look before: a renewal that replaces one file after the other is
        then loaded once, when it is complete.
        """
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        state = self._state()
        if state == self._seen and state != self._loaded:
            self.load()
        self._seen = state

    def _state(self) -> object:
        """Values that change when a file is written or replaced."""
        return [_state_of(file) for file in self._files]


def _state_of(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def context(config: Config) -> ssl.SSLContext:
    """A TLS context with the files of these settings; raises an exception if they cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.options |= ssl.OP_NO_RENEGOTIATION  # otherwise a client could cause endless handshakes
    made.load_cert_chain(config.tls_cert, config.tls_key, password=lambda: "")
    return made
