"""Applications: those there are, their keys, and what an app needs to be built with them."""

from starlette.responses import Response

from .. import errors
from ..core import applications
from .endpoint import ROOT, Call, Route


def start(call: Call) -> Response:
    """To the application that the navigation leads to; to the list where there is none."""
    return call.redirect(f"{ROOT}/apps/{call.current.id}" if call.current else f"{ROOT}/apps")


def all_(call: Call) -> Response:
    """Every application, and the form for one more."""
    return call.page("applications.html", errors={}, name="")


def create(call: Call) -> Response:
    """A new application; its secret is shown on the page that answers, and not again."""
    name = call.text("name")
    try:
        app = applications.create(call.db, name, call.now, by=call.by)
    except errors.Invalid as refused:
        return call.page("applications.html", 422, errors={refused.field: refused.reason}, name=name)
    return call.page("secret.html", app=app, title="The application is made")


ROUTES = [
    Route(method="GET", path="", handler=start),
    Route(method="GET", path="/", handler=start),
    Route(method="GET", path="/apps", handler=all_),
    Route(method="POST", path="/apps", handler=create),
]
