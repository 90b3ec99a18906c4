"""Static files of pages: styles, scripts, icons. Each address has a hash, so that browsers cache the file for good."""

import hashlib
from functools import cached_property
from pathlib import Path

from starlette.responses import Response

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class Assets:
    """The files of a folder, served below `address`. They are read once, when the first one is needed."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = address

    def href(self, name: str) -> str:
        """The address of a file."""
        return f"{self._address}/{name}?{self._all[name][1]}"

    def response(self, name: str, query: str) -> Response | None:
        """The response with a file; None when there is no such file.

        query   of the request: a browser may cache the file for good when it is the file's hash
        """
        found = self._all.get(name)
        if not found:
            return None
        content, digest = found
        keep = "public, max-age=31536000, immutable" if query == digest else "no-cache"
        return Response(content, headers={"Cache-Control": keep, "Content-Type": KINDS[Path(name).suffix]})

    @cached_property
    def _all(self) -> dict[str, tuple[bytes, str]]:
        files = [file for file in self._folder.iterdir() if file.suffix in KINDS]
        return {file.name: (file.read_bytes(), hashlib.sha256(file.read_bytes()).hexdigest()[:12]) for file in files}
