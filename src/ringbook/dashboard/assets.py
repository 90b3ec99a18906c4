"""The static files of pages: styles, scripts, icon. Each address has a hash, so that browsers cache the file for good.

href(name)    the address of a file
read(name)    its content
"""

import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
ADDRESS = "/dashboard/static"


def read(name: str) -> tuple[bytes, str] | None:
    """The content of a file and its hash; None when there is no such file."""
    return _all().get(name)


def href(name: str) -> str:
    """The address of a file."""
    return f"{ADDRESS}/{name}?{_all()[name][1]}"


@cache
def _all() -> dict[str, tuple[bytes, str]]:
    files = [file for file in FOLDER.iterdir() if file.suffix in KINDS]
    return {file.name: (file.read_bytes(), hashlib.sha256(file.read_bytes()).hexdigest()[:12]) for file in files}
