"""What a thief takes: the files of a database and of what stands beside it, and copies that operators make.

sqlite(file), postgresql(folder)   the content of the files, by name
dumps(url)                         `pg_dump` in both formats, without compression
Known                              pages that were there before the first secret
"""

import hashlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from servers import postgresql_client

PAGE = 8192


def sqlite(file: Path) -> dict[str, bytes]:
    """The database file, its write-ahead log and its index, whichever are there."""
    files = {"database": file, "-wal": Path(f"{file}-wal"), "-shm": Path(f"{file}-shm")}
    return {name: one.read_bytes() for name, one in files.items() if one.exists()}


def dumps(url: str) -> dict[str, bytes]:
    """`pg_dump` as SQL, and in its own format without compression."""
    made = {"pg_dump": ("--format=plain",), "pg_dump of its own format": ("--format=custom", "--compress=0")}
    pg_dump = postgresql_client("pg_dump")
    return {
        name: subprocess.run([pg_dump, *options, url], check=True, capture_output=True).stdout
        for name, options in made.items()
    }


@dataclass
class Known:
    """The files of a PostgreSQL server before the first secret. Pages that stand there unchanged are not searched."""

    folder: Path
    pages: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        for content in self._files().values():
            self.pages.update(map(digest, pages(content)))

    def changed(self) -> dict[str, bytes]:
        """The pages that are new, in order, by the folders of the data directory."""
        found: dict[str, bytes] = {}
        for name, content in self._files().items():
            new = b"".join(page for page in pages(content) if digest(page) not in self.pages)
            folder = "/".join(name.split("/")[:2])
            found[folder] = found.get(folder, b"") + new
        return {folder: content for folder, content in found.items() if content}

    def _files(self) -> dict[str, bytes]:
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files(self.folder)}


def pages(content: bytes) -> Iterable[bytes]:
    return (content[start : start + PAGE] for start in range(0, len(content), PAGE))


def digest(page: bytes) -> bytes:
    return hashlib.blake2b(page, digest_size=16).digest()


def files(folder: Path) -> Iterable[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
