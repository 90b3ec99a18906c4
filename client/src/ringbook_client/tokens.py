"""Where a session's token is kept between two runs of a program.

TokenStore      what a client needs of one: any object with these two methods
FileTokens      in a file that only its owner may read
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from . import files


class TokenStore(Protocol):
    """Keeps one token. It is asked once, when the client is made, and told of every change."""

    def load(self) -> str | None:
        """The token of last time, None if there is none."""

    def save(self, token: str | None) -> None:
        """This is the token from now on; None: forget it."""


class FileTokens:
    """Keeps the token in a file of mode 0600."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def load(self) -> str | None:
        """The token in the file; None if there is no file, or none that can be read."""
        try:
            return (files.read(self.path) or "").strip() or None
        except UnicodeDecodeError:
            return None

    def save(self, token: str | None) -> None:
        """Write the token; None deletes the file."""
        if token:
            files.write(self.path, token + "\n")
        else:
            files.remove(self.path)
