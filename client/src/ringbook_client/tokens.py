"""Stores that keep the session token between two runs of a program.

TokenStore      the interface: any object with these two methods
FileTokens      a store in a file that only its owner can read
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from . import files


class TokenStore(Protocol):
    """Keeps one token. The client calls `load` once, when it is created, and `save` after every change."""

    def load(self) -> str | None:
        """The token that was saved last; None if there is none."""

    def save(self, token: str | None) -> None:
        """Save the token; None deletes it."""


class FileTokens:
    """Keeps the token in a file of mode 0600."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def load(self) -> str | None:
        """The token in the file; None if the file is missing or is not UTF-8."""
        try:
            return (files.read(self.path) or "").strip() or None
        except UnicodeDecodeError:
            return None

    def save(self, token: str | None) -> None:
        """Write the token to the file; None deletes the file."""
        if token:
            files.write(self.path, token + "\n")
        else:
            files.remove(self.path)
