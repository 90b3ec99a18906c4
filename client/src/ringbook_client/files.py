"""Small files that only their owner may read: tokens, credentials, and what a sync remembers.

write(path, text)    whole or not at all, even if the machine stops in between
read(path)           the text, or None where there is no file
remove(path)         gone, if it was there
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace the file in one step; readers see the old one or the new one. Mode 0600, folders are made with 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600.
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
    """The text of a file; None if there is none."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


def remove(path: Path) -> None:
    """The file is gone."""
    path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """See that the new name survives a power cut, where the system lets a folder be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
