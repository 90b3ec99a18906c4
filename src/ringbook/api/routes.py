"""The API's table of routes, and the ASGI application that serves it.

ROUTES                       every route, in the order in which routes are matched
api(config, db, in_flight)   the application
not_found                    the answer to an unknown path
"""

from collections.abc import Awaitable
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import times
from ..config import Config
from ..core import reports
from ..exchange.bodies import InFlight
from ..exchange.lane import Lane
from ..exchange.run import Endpoint, Router
from ..store.db import Database
from ..times import Clock
from . import address_book, contact_joined, elsewhere, events, joined_lists, sessions, subscriptions, users
from .endpoint import JSON, Api, Route, of_browser
from .wire import Errors

ROUTES: list[Route] = [
    *sessions.ROUTES,
    *users.ROUTES,
    *address_book.ROUTES,
    *joined_lists.ROUTES,
    *contact_joined.ROUTES,
    *subscriptions.ROUTES,
    *events.ROUTES,
]
SLOW_AT_ONCE = 16  # `passwords` lets only as many of them hash at once as there are cores
# A user's second concurrent search is refused at once. Without the delay a client that repeats it would keep us busy.
SEARCH_REFUSED_SECONDS = 1
MOST_SEARCHES_WAITING = 50  # in one process, for `search_threads`
OVERRIDE = b"x-http-method-override"
OVERRIDES = (b"PUT", b"PATCH", b"DELETE")


def api(
    config: Config,
    db: Database,
    in_flight: InFlight,
    unknown: ASGIApp | None = None,
    clock: Clock = times.now,
) -> ASGIApp:
    """The API of one process. Searches, and requests that may hash or call other servers, have threads of their own.

    unknown   serves unknown paths and methods; by default `not_found`
    """
    lanes = {
        "usual": Lane(config.threads),
        "search": Lane(
            config.search_threads,
            most_waiting=MOST_SEARCHES_WAITING,
            full="Too many searches wait already. Try again.",
            limit="search_threads",
            refused_seconds=SEARCH_REFUSED_SECONDS,
        ),
        "slow": Lane(SLOW_AT_ONCE),
    }
    edge = Api(db, config, in_flight, clock)
    reports.code()  # read now: an update may replace the files while this process still runs the code that was in them
    return Normaliser(Router([Endpoint(edge, route, lanes[lane_of(route)]) for route in ROUTES], unknown or not_found))


def lane_of(route: Route) -> str:
    """The name of the lane that serves a route."""
    return "search" if route.search else "slow" if route.slow else "usual"


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to an unknown path or method; 404 for both, because SDKs drop the body of a 405 (protocol §1.5).

    For a call of a vendor that Ringbook does not have, it says so.
    """
    what = elsewhere.missing(scope["path"])
    body = msgspec.json.encode(Errors([elsewhere.reason(what) if what else "Not found"]))
    await Response(body, 404, of_browser(Headers(scope=scope)), media_type=JSON)(scope, receive, send)


class Normaliser:
    """Normalises requests: removes `.json` from paths, and applies the override of the method (protocol §1.1).

    Answers a browser that asks whether it may send a request.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._preflight: Any = CORSMiddleware(
            router,
            allow_origins=["*"],
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            max_age=7200,
        )

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # An SDK whose endpoint ends in a slash requests //session.json.
        scope["path"] = "/" + scope["path"].lstrip("/").removesuffix(".json")
        if scope["method"] == "POST":
            override = next((value.upper() for name, value in scope["headers"] if name == OVERRIDE), b"")
            if override in OVERRIDES:
                scope["method"] = override.decode()
        elif scope["method"] == "OPTIONS" and is_preflight(scope):
            return self._preflight(scope, receive, send)  # type: ignore[no-any-return]
        return self._router(scope, receive, send)


def is_preflight(scope: Scope) -> bool:
    """Does a browser ask whether it may send a request? Source: WHATWG, "Fetch", CORS-preflight request."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
