"""The dashboard as one table, and the application that serves it.

ROUTES                              every page, in the order in which they are tried
dashboard(config, db, in_flight)    what the door gives /dashboard to
"""

import anyio
import starlette.routing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from .. import errors
from ..config import Config
from ..exchange.bodies import InFlight
from ..store.db import Database
from . import applications, audit, diagnosis, files, keys, login, overview, providers, pushes, settings, users
from .endpoint import HEADERS, ROOT, Call, Route, endpoint


def nothing(_call: Call) -> Response:
    """Where there is no page."""
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
NOTHING = [Route(method=method, path="/{anything:path}", handler=nothing) for method in ("GET", "POST")]
AT_ONCE = 4  # admins are few
SLOW_AT_ONCE = 4


def dashboard(config: Config, db: Database, in_flight: InFlight) -> Starlette:
    """The dashboard of one process. Requests that may hash a password wait in a line of their own."""
    lanes = {False: anyio.CapacityLimiter(AT_ONCE), True: anyio.CapacityLimiter(SLOW_AT_ONCE)}

    def as_route(route: Route) -> starlette.routing.Route:
        called = endpoint(db, config, route, lanes[route.slow], in_flight)
        return starlette.routing.Route(ROOT + route.path, called, methods=[route.method])

    routes = [as_route(route) for route in [*ROUTES, *NOTHING]]
    served = Starlette(routes=routes, exception_handlers={405: no_such_method})
    served.router.redirect_slashes = False
    return served


async def no_such_method(_request: Request, _error: Exception) -> Response:
    """Pages are asked for by GET and POST."""
    return Response("Not found", 404, HEADERS, media_type="text/plain")
