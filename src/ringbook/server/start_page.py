"""What a browser sees at / and at unknown paths: a small page with links. Apps get JSON at the same paths.

wants_page(scope)                 does a browser ask for a page?
response(status, is_for_admins)   the page
without_guide()                   the page at /guide where the guide is not built
favicon()                         the icon of all pages
template(name), policy(html)      for other pages that look like it
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

import jinja2
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from .. import __version__
from ..dashboard.assets import FILES

FOLDER = Path(__file__).parent / "templates"


def wants_page(scope: Scope) -> bool:
    """Whether the request is a browser's for a page. An app that sends a session's token is no browser."""
    headers = Headers(scope=scope)
    is_app = "cb-token" in headers or "qb-token" in headers
    return scope["method"] in {"GET", "HEAD"} and "text/html" in headers.get("accept", "") and not is_app


def response(status: int, *, is_for_admins: bool) -> Response:
    """The page.

    status          200 at /, 404 at an unknown path
    is_for_admins   whether the dashboard and the documents are served at the port of the request
    """
    html = page(status, is_for_admins)
    return HTMLResponse(html, status, {"content-security-policy": policy(html), "vary": "Accept"})


def without_guide() -> Response:
    """The page that says how to build the guide; 404."""
    html = page(404, True, has_guide=False)
    return HTMLResponse(html, 404, {"content-security-policy": policy(html)})


@cache
def page(status: int, is_for_admins: bool, *, has_guide: bool = True) -> str:
    """The page, as HTML."""
    values = {"status": status, "is_for_admins": is_for_admins, "has_guide": has_guide, "version": __version__}
    return template("start.html").render(values)


def template(name: str) -> jinja2.Template:
    """A template of this package."""
    return jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), autoescape=True).get_template(name)


@cache
def policy(html: str, forms: str = "'none'") -> str:
    """The Content-Security-Policy of the page: its own styles, by hash, and the icon.

    forms   where its forms may be sent
    """
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in styles)
    return (
        f"default-src 'none'; style-src {allowed}; img-src 'self'; base-uri 'none'; form-action {forms};"
        " frame-ancestors 'none'"
    )


def favicon() -> Response:
    """The icon."""
    found = FILES.response("mark.svg", "")
    assert found
    return found
