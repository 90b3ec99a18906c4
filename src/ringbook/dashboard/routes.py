"""The dashboard's table of routes, and the ASGI application that serves it.

ROUTES                              every page, in the order in which routes are matched
BACK                                a form's address leads back to its page, if it is asked for by GET
dashboard(config, db, in_flight)    the application for /dashboard
"""

from functools import partial

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import errors, times
from ..config import Config
from ..exchange.bodies import InFlight
from ..exchange.run import Endpoint, Router
from ..exchange.turns import Kind, Places, Turns
from ..store.db import Database
from ..times import Clock
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
from .endpoint import HEADERS, ROOT, Call, Dashboard, Route


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


def back_routes() -> list[Route]:
    """A GET for each address that only takes a form: it leads to the page above it."""
    pages = {one.path for one in ROUTES if one.method == "GET" and not one.live}
    forms = {one.path: one for one in ROUTES if one.method == "POST" and one.path not in pages}
    return [Route(method="GET", path=path, handler=partial(back, above(path, pages))) for path in forms]


def above(path: str, pages: set[str]) -> str:
    """The nearest page above an address."""
    while path not in pages:
        path = path.rpartition("/")[0]
    return path


def back(page: str, call: Call) -> Response:
    """A redirection to the page above an address that only takes a form."""
    return call.redirect(ROOT + page.format_map(call.request.path_params))


BACK = back_routes()
NO_PAGE = [Route(method=method, path="/{anything:path}", handler=no_such_page) for method in ("GET", "POST")]
AT_ONCE = 4  # admins are few
SLOW_AT_ONCE = 4


def dashboard(config: Config, db: Database, in_flight: InFlight, clock: Clock = times.now) -> ASGIApp:
    """The dashboard of one process. Its turns are its own: it works beside a crowd of apps."""
    edge = Dashboard(db, config, in_flight, clock)
    per_address = AT_ONCE // 2
    turns = Turns(
        {
            Kind.SMALL: Places(AT_ONCE, per_address, per_address, config.limits.turn_seconds),
            Kind.SLOW: Places(SLOW_AT_ONCE, per_address, per_address, config.limits.turn_seconds),
        },
    )
    return Router([Endpoint(edge, route, turns) for route in [*ROUTES, *BACK, *NO_PAGE]], no_such_method)


async def no_such_method(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a method other than GET and POST."""
    await Response("Not found", 404, HEADERS, media_type="text/plain")(scope, receive, send)
