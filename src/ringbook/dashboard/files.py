"""Serves the files that pages need."""

from pathlib import Path

from starlette.responses import Response

from .. import errors
from . import assets
from .endpoint import Call, Route, Who


def file(call: Call) -> Response:
    """One file. A browser may cache it for good when the address has the file's hash."""
    name = call.request.path_params["name"]
    found = assets.read(name)
    if not found:
        raise errors.NotFound("There is no such file.")
    content, digest = found
    keep = "public, max-age=31536000, immutable" if call.request.url.query == digest else "no-cache"
    return Response(content, headers={"Cache-Control": keep, "Content-Type": assets.KINDS[Path(name).suffix]})


ROUTES = [Route(method="GET", path="/static/{name}", handler=file, who=Who.PUBLIC)]
