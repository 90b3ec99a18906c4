"""The list of applications, and the form that creates one."""

from starlette.responses import Response

from .. import errors
from ..core import applications
from .endpoint import ROOT, Call, Route


def start(call: Call) -> Response:
    """Redirects to the current application, or to the list when there is none."""
    return call.redirect(f"{ROOT}/apps/{call.current.id}" if call.current else f"{ROOT}/apps")


def all_(call: Call) -> Response:
    """The list, and the form."""
    return call.page("applications.html", errors={}, name="")


def create(call: Call) -> Response:
    """Creates an application. Only the page that follows shows its secret."""
    name = call.text("name")
    try:
        app = applications.create(call.db, name, call.now, by=call.by)
    except errors.Invalid as refused:
        return call.page("applications.html", 422, errors={refused.field: refused.reason}, name=name)
    return call.page("secret.html", app=app, title="Application created")


ROUTES = [
    Route(method="GET", path="", handler=start),
    Route(method="GET", path="/", handler=start),
    Route(method="GET", path="/apps", handler=all_),
    Route(method="POST", path="/apps", handler=create),
]
