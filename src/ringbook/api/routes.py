"""The API's table of routes, and the ASGI application that serves it.

ROUTES                       every route, in the order in which routes are matched
api(config, db, in_flight)   the application
not_found                    the answer to an unknown path
"""

from collections.abc import Awaitable
from functools import partial
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import times
from ..config import Config
from ..core import reports
from ..core.user_search import AnotherSearch
from ..exchange.bodies import InFlight
from ..exchange.run import Endpoint, Router
from ..exchange.turns import Kind, Places, Turns
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
OVERRIDE = b"x-http-method-override"
OVERRIDES = (b"PUT", b"PATCH", b"DELETE")


def api(
    config: Config,
    db: Database,
    in_flight: InFlight,
    unknown: ASGIApp | None = None,
    clock: Clock = times.now,
) -> ASGIApp:
    """The API of one process.

    unknown   serves unknown paths and methods; by default `not_found`
    """
    turns = Turns(places(config))
    edge = Api(db, config, in_flight, clock)
    reports.code()  # read now: an update may replace the files while this process still runs the code that was in them
    return Normaliser(Router([Endpoint(edge, route, turns) for route in ROUTES], unknown or not_found))


def places(config: Config) -> dict[Kind, Places]:
    """The places of each kind of work in one process. One address never has all of them."""
    limits, slow = config.limits, SLOW_AT_ONCE
    per_address = limits.requests_at_once_per_address or share(config.threads)
    per_user = min(limits.requests_at_once_per_user, per_address)
    usual = partial(Places, wait_seconds=limits.turn_seconds, most_waiting=limits.max_waiting_requests)
    searches = partial(usual, wait_seconds=limits.search_turn_seconds, busy=AnotherSearch, limit="search_turn_seconds")
    return {
        Kind.SMALL: usual(config.threads, per_user, per_address),
        Kind.HEAVY: usual(config.heavy_threads, 1, share(config.heavy_threads)),
        Kind.SEARCH: searches(config.search_threads, 1, share(config.search_threads)),
        Kind.SLOW: usual(slow, slow // 4, slow // 4),
    }


def share(places: int) -> int:
    """The places of one address: half of them."""
    return max(1, places // 2)


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
