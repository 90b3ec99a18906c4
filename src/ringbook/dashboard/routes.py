"""The dashboard's table of routes, and the ASGI application that serves it.

ROUTES                              every page, in the order in which routes are matched
dashboard(config, db, in_flight)    the application for /dashboard
"""

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from .. import errors
from ..config import Config
from ..exchange.bodies import InFlight
from ..exchange.run import Lane, as_route
from ..store.db import Database
from . import applications, audit, diagnosis, files, keys, login, overview, providers, pushes, settings, users
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
    *users.ROUTES,
    *overview.ROUTES,
    *diagnosis.ROUTES,
    *pushes.ROUTES,
    *providers.ROUTES,
    *audit.ROUTES,
]
NO_PAGE = [Route(method=method, path="/{anything:path}", handler=no_such_page) for method in ("GET", "POST")]
AT_ONCE = 4  # admins are few
SLOW_AT_ONCE = 4


def dashboard(config: Config, db: Database, in_flight: InFlight) -> Starlette:
    """The dashboard of one process. Requests that may hash a password run in threads of their own."""
    edge = Dashboard(db, config, in_flight)
    lanes = {False: Lane(anyio.CapacityLimiter(AT_ONCE)), True: Lane(anyio.CapacityLimiter(SLOW_AT_ONCE))}
    routes = [as_route(edge, route, lanes[route.slow]) for route in [*ROUTES, *NO_PAGE]]
    served = Starlette(routes=routes, exception_handlers={405: no_such_method})
    served.router.redirect_slashes = False
    return served


async def no_such_method(_request: Request, _error: Exception) -> Response:
    """The answer to a method other than GET and POST."""
    return Response("Not found", 404, HEADERS, media_type="text/plain")
