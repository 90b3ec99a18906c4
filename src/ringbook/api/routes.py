"""The API as one table, and the application that serves it.

ROUTES        every route, in the order in which they are tried
api(config, db, in_flight)
"""

import anyio
import starlette.routing
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..config import Config
from ..exchange.bodies import InFlight
from ..store.db import Database
from ..verify import Outside
from . import address_book, events, sessions, subscriptions, users
from .endpoint import Route, Shared, endpoint

ROUTES: list[Route] = [
    *sessions.ROUTES,
    *users.ROUTES,
    *address_book.ROUTES,
    *subscriptions.ROUTES,
    *events.ROUTES,
]
SLOW_AT_ONCE = 16  # of which `passwords` lets as many hash as there are cores
EXPOSED = ["CB-Token-ExpirationDate", "QB-Token-ExpirationDate", "Retry-After"]


def api(config: Config, db: Database, in_flight: InFlight) -> ASGIApp:
    """The API of one process. Searches have a line of their own, as have requests that may hash or ask outside."""
    lanes = {
        "usual": anyio.CapacityLimiter(config.threads),
        "search": anyio.CapacityLimiter(config.search_threads),
        "slow": anyio.CapacityLimiter(SLOW_AT_ONCE),
    }
    shared = Shared(db, config, Outside.of(config), in_flight)
    served = Starlette(
        routes=[as_route(shared, route, lanes[kind(route)]) for route in ROUTES],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["*"],
                expose_headers=EXPOSED,
                max_age=7200,
            ),
            Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5),
            Middleware(Spelling),
        ],
        exception_handlers={404: nothing, 405: nothing},
    )
    served.router.redirect_slashes = False  # SDKs take a redirection for a failure without a body (protocol §1.5)
    return served


def kind(route: Route) -> str:
    """Which line a request waits in."""
    return "search" if route.search else "slow" if route.slow else "usual"


def as_route(shared: Shared, route: Route, lane: anyio.CapacityLimiter) -> starlette.routing.Route:
    """A row of the table, as the toolkit wants it."""
    called = endpoint(shared, route, lane)
    return starlette.routing.Route(route.path, called, methods=[route.method])


async def nothing(_request: Request, _error: Exception) -> Response:
    """No such path, or not with this method; SDKs lose the body of a 405 (protocol §1.5)."""
    return Response('{"errors":["Not found"]}', 404, media_type="application/json; charset=utf-8")


class Spelling:
    """Paths end in `.json` or do not; a POST may ask to be taken as another method (protocol §1.1)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # An SDK whose endpoint ends in a slash asks for //session.json.
            scope["path"] = "/" + scope["path"].lstrip("/").removesuffix(".json")
            wished = dict(scope["headers"]).get(b"x-http-method-override", b"").decode("latin-1").upper()
            if scope["method"] == "POST" and wished in ("PUT", "PATCH", "DELETE"):
                scope["method"] = wished
        await self.app(scope, receive, send)
