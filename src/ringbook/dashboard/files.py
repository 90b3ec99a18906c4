"""Serves the files that pages need."""

from starlette.responses import Response

from .. import errors
from .assets import FILES
from .endpoint import Call, Route, Who


def file(call: Call) -> Response:
    """One file. A browser may cache it for good when the address has the file's hash."""
    found = FILES.response(call.request.path_params["name"], call.request.url.query)
    if not found:
        raise errors.NotFound("There is no such file.")
    return found


ROUTES = [Route(method="GET", path="/static/{name}", handler=file, who=Who.PUBLIC)]
