"""The API's table of routes, and the ASGI application that serves it.

ROUTES                       every route, in the order in which routes are matched
api(config, db, in_flight)   the application
"""

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..config import Config
from ..exchange.bodies import InFlight
from ..exchange.run import Lane, as_route
from ..store.db import Database
from . import address_book, events, sessions, subscriptions, users
from .endpoint import Api, Route

ROUTES: list[Route] = [
    *sessions.ROUTES,
    *users.ROUTES,
    *address_book.ROUTES,
    *subscriptions.ROUTES,
    *events.ROUTES,
]
SLOW_AT_ONCE = 16  # `passwords` lets only as many of them hash at once as there are cores
# A user's second concurrent search is refused at once. Without the delay a client that repeats it would keep us busy.
SEARCH_REFUSED_SECONDS = 1
MOST_SEARCHES_WAITING = 50  # in one process, for `search_threads`
EXPOSED = ["CB-Token-ExpirationDate", "QB-Token-ExpirationDate", "Retry-After"]


def api(config: Config, db: Database, in_flight: InFlight) -> ASGIApp:
    """The API of one process. Searches, and requests that may hash or call other servers, have threads of their own."""
    lanes = {
        "usual": Lane(anyio.CapacityLimiter(config.threads)),
        "search": Lane(
            anyio.CapacityLimiter(config.search_threads),
            most_waiting=MOST_SEARCHES_WAITING,
            full="Too many searches wait already. Try again.",
            limit="search_threads",
            refused_seconds=SEARCH_REFUSED_SECONDS,
        ),
        "slow": Lane(anyio.CapacityLimiter(SLOW_AT_ONCE)),
    }
    edge = Api(db, config, in_flight)
    served = Starlette(
        routes=[as_route(edge, route, lanes[lane_of(route)]) for route in ROUTES],
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
            Middleware(Normaliser),
        ],
        exception_handlers={404: not_found, 405: not_found},
    )
    served.router.redirect_slashes = False  # SDKs treat a redirection as a failure without a body (protocol §1.5)
    return served


def lane_of(route: Route) -> str:
    """The name of the lane that serves a route."""
    return "search" if route.search else "slow" if route.slow else "usual"


async def not_found(_request: Request, _error: Exception) -> Response:
    """The answer to an unknown path or method; 404 for both, because SDKs drop the body of a 405 (protocol §1.5)."""
    return Response('{"errors":["Not found"]}', 404, media_type="application/json; charset=utf-8")


class Normaliser:
    """Normalises requests: removes `.json` from paths, and applies the override of the method (protocol §1.1)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # An SDK whose endpoint ends in a slash requests //session.json.
            scope["path"] = "/" + scope["path"].lstrip("/").removesuffix(".json")
            override = dict(scope["headers"]).get(b"x-http-method-override", b"").decode("latin-1").upper()
            if scope["method"] == "POST" and override in ("PUT", "PATCH", "DELETE"):
                scope["method"] = override
        await self.app(scope, receive, send)
