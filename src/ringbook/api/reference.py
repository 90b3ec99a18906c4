"""The API reference at /docs: Swagger UI, with the code that sends each request (decision 7).

response(path, query, public_url)    the response to a path below /docs; None for an unknown one

Swagger UI is vendored in static/. The page loads nothing from other hosts.
"""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import jinja2
from starlette.responses import HTMLResponse, Response

from ..exchange.assets import Assets

FOLDER = Path(__file__).parent
ADDRESS = "/docs"
FILES = Assets(FOLDER / "static", f"{ADDRESS}/static")


def response(path: str, query: str, public_url: str) -> Response | None:
    """The response to a path.

    public_url   where apps reach the API, when that is not where the page is served; "": at the same address
    """
    if path == ADDRESS:
        return HTMLResponse(page(), headers={"content-security-policy": policy(public_url)})
    return FILES.response(path.removeprefix(f"{ADDRESS}/static/"), query)


@cache
def page() -> str:
    """The page, as HTML."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER / "templates"), autoescape=True)
    return environment.get_template("reference.html").render(href=FILES.href)


def policy(public_url: str) -> str:
    """The Content-Security-Policy: own scripts and styles only; requests go to this server and to `public_url`."""
    api = urlsplit(public_url)
    to = f" {api.scheme}://{api.netloc}" if public_url else ""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{to};"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
