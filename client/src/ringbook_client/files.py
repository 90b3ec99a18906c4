"""Reads and writes small private files: tokens, credentials and the state of a sync.

write(path, text)    replaces the file atomically
read(path)           the text, or None if the file does not exist
remove(path)         deletes the file if it exists
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace the file atomically: a reader sees the old text or the new one. Mode 0600; new folders get mode 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp creates the file with mode 0600.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _sync_folder(path.parent)


def read(path: Path) -> str | None:
    """The text of a file; None if the file does not exist."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


def remove(path: Path) -> None:
    """Delete the file if it exists."""
    path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush the folder to disk, so that the new file survives a power failure. Windows cannot open folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
