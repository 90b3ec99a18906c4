"""The checksum after the last page of a backup, which detects any changed bit.

seal(file)     append it, or renew it
check(file)    Foreign, Damaged or Unsealed when the file is not as it was sealed

A SQLite file is a whole number of pages, and its header says how many (SQLite, "Database File Format" 1.3.7), so SQLite
does not look at what follows: a backup with its checksum opens in `sqlite3` and can be copied into place by hand.
"""

import hashlib
import os
from pathlib import Path

BEGINNING = b"SQLite format 3\0"
MARK = b"\nRingbook backup, SHA-256 of all before this line: "
SEAL_BYTES = len(MARK) + 64 + 1  # the digest in hex, and a newline
SMALLEST_PAGE = 512  # every page size of SQLite is a multiple of it
AT_ONCE = 1024 * 1024


class Damaged(Exception):
    """The content does not match the checksum."""


class Foreign(Damaged):
    """The file has neither the beginning of a SQLite file nor the mark of a backup."""


class Unsealed(Exception):
    """The file has no checksum."""


def seal(file: Path) -> None:
    """Append the checksum of the whole content; the caller syncs the file."""
    with file.open("r+b") as opened:
        size = os.fstat(opened.fileno()).st_size
        size -= size % SMALLEST_PAGE  # without the seal that it had
        opened.truncate(size)
        digest = _digest(opened.fileno(), size)
        os.pwrite(opened.fileno(), MARK + digest.encode() + b"\n", size)


def check(file: Path) -> None:
    """Read the file once from its beginning to its end. OSError."""
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        if size % SMALLEST_PAGE == 0:
            raise Unsealed
        end = os.pread(opened.fileno(), SEAL_BYTES, max(0, size - SEAL_BYTES))
        if opened.read(len(BEGINNING)) != BEGINNING and MARK not in end:
            raise Foreign
        content = size - SEAL_BYTES
        if content < SMALLEST_PAGE or content % SMALLEST_PAGE:
            raise Damaged
        found = os.pread(opened.fileno(), SEAL_BYTES, content)
        if found != MARK + _digest(opened.fileno(), content).encode() + b"\n":
            raise Damaged


def _digest(opened: int, size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size, AT_ONCE):
        digest.update(os.pread(opened, min(AT_ONCE, size - start), start))
    return digest.hexdigest()
