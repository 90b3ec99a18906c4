"""Serves the guide at /guide: the site that scripts/guide.py builds from docs/, and that a wheel contains.

response(path)   the response to a path below /guide; None for an unknown one
"""

import base64
import hashlib
import mimetypes
import re
from functools import lru_cache
from pathlib import Path

from starlette.responses import RedirectResponse, Response

from . import start_page

ADDRESS = "/guide"
SITE = Path(__file__).parent / "site"


def response(path: str) -> Response | None:
    """The response to a path.

    Every page has a Content-Security-Policy that allows its own inline scripts by hash, and files of this server.
    """
    if not (SITE / "index.html").exists():
        return start_page.without_guide()
    if path == ADDRESS:
        return RedirectResponse(f"{ADDRESS}/")
    file = _file(path.removeprefix(f"{ADDRESS}/"))
    if not file:
        return None
    if file.is_dir():
        return RedirectResponse(f"{path}/")
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = {"content-type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind}
    content = file.read_bytes()
    if kind == "text/html":
        headers["content-security-policy"] = policy(content)
    return Response(content, headers=headers)


def _file(place: str) -> Path | None:
    """The file or folder at this place of the site; None outside of it and where there is nothing."""
    file = (SITE / place).resolve()
    if place.endswith("/") or not place:
        file /= "index.html"
    return file if file.is_relative_to(SITE.resolve()) and file.exists() else None


@lru_cache(maxsize=512)
def policy(page: bytes) -> str:
    """The Content-Security-Policy of a page. The search of the guide puts its styles into the page itself."""
    scripts = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in scripts)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " font-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
