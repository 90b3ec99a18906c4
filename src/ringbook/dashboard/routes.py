"""The dashboard's table of routes, and the ASGI application that serves it.

ROUTES                              every page, in the order in which routes are matched
dashboard(config, db, in_flight)    the application for /dashboard
"""

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import errors
from ..config import Config
from ..exchange.bodies import InFlight
from ..exchange.lane import Lane
from ..exchange.run import Endpoint, Router
from ..store.db import Database
from . import (
    admins,
    applications,
    audit,
    diagnosis,
    files,
    keys,
    login,
    overview,
    providers,
    pushes,
    settings,
    user_list,
    users,
)
from .endpoint import HEADERS, Call, Dashboard, Route


def no_such_page(_call: Call) -> Response:
    """The answer for a path without a page."""
    raise errors.NotFound("There is no such page.")


ROUTES: list[Route] = [
    *files.ROUTES,
    *login.ROUTES,
    *applications.ROUTES,
    *keys.ROUTES,
    *settings.ROUTES,
    *user_list.ROUTES,
    *users.ROUTES,
    *overview.ROUTES,
    *diagnosis.ROUTES,
    *pushes.ROUTES,
    *providers.ROUTES,
    *admins.ROUTES,
    *audit.ROUTES,
]
NO_PAGE = [Route(method=method, path="/{anything:path}", handler=no_such_page) for method in ("GET", "POST")]
AT_ONCE = 4  # admins are few
SLOW_AT_ONCE = 4


def dashboard(config: Config, db: Database, in_flight: InFlight) -> ASGIApp:
    """The dashboard of one process. Requests that may hash a password run in threads of their own."""
    edge = Dashboard(db, config, in_flight)
    lanes = {False: Lane(AT_ONCE), True: Lane(SLOW_AT_ONCE)}
    return Router([Endpoint(edge, route, lanes[route.slow]) for route in [*ROUTES, *NO_PAGE]], no_such_method)


async def no_such_method(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a method other than GET and POST."""
    await Response("Not found", 404, HEADERS, media_type="text/plain")(scope, receive, send)
