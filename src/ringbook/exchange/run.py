"""From a request to its response, the same way for the API and the dashboard.

    Lane        the threads that some routes share
    Edge        what the API and the dashboard do differently: sessions, handlers' answers, the look of errors
    as_route    a row of a table of routes → a route of the web framework

The steps: check the credentials that cost no query, read the body within its bounds, then in a thread: identify the
caller and call the handler. A refusal or a failure at any step becomes a response. Each request is counted and logged
once. Handlers are plain functions; the event loop only reads sockets.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
import starlette.routing
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .. import errors, metrics
from ..config import Config
from ..logs import log
from ..store.db import Database
from .bodies import Held, Incoming, InFlight, has_body
from .record import record
from .request import Call, Route

C = TypeVar("C", bound=Call)
RETRY_SECONDS = "1"  # after an Unavailable


@dataclass(frozen=True, slots=True)
class Lane:
    """The threads that some routes share.

    most_waiting      further requests are refused, with `full`; None: any number may wait
    limit             the setting that bounds the threads, for the metric
    refused_seconds   a 429 is delayed by this time. A refusal costs so little that a client which repeats its request
                      at once would keep the process busy
    """

    threads: anyio.CapacityLimiter
    most_waiting: int | None = None
    full: str = "Too many requests wait already. Try again."
    limit: str = ""
    refused_seconds: float = 0

    def check(self) -> None:
        """Raises Unavailable when too many requests wait for a thread."""
        if self.most_waiting is not None and self.threads.statistics().tasks_waiting >= self.most_waiting:
            raise errors.Unavailable(self.full, limit=self.limit)


class Edge(ABC, Generic[C]):
    """What differs between the API and the dashboard."""

    root = ""  # the path that all routes are below
    errors_need_thread = False  # do the responses to refusals and failures read the database?

    def __init__(self, db: Database, config: Config, in_flight: InFlight) -> None:
        self.db = db
        self.config = config
        self.in_flight = in_flight

    @abstractmethod
    def call(self, route: Any, request: Request, now: int) -> C:
        """The request as this edge's handlers get it."""

    def check_credentials(self, call: C) -> None:
        """Refuses a request without the credentials that its route needs. Runs in the event loop: no query."""

    @abstractmethod
    def needs_caller(self, call: C) -> bool:
        """Does `identify` refuse some requests, so that it is worth to run it before a body is received?"""

    @abstractmethod
    def identify(self, call: C) -> None:
        """Finds the session of the caller, or refuses the request. Runs in a thread."""

    @abstractmethod
    def limit_bytes(self, call: C) -> int:
        """The size of the largest body that the route reads."""

    def uploader(self, _call: C) -> int | None:
        """The user who is charged for a large upload; None: large bodies are not counted by user."""
        return None

    async def decode(self, call: C) -> None:
        """Decodes the body where that must happen in the event loop."""

    @abstractmethod
    def respond(self, call: C) -> Response:
        """Calls the handler. Runs in a thread."""

    @abstractmethod
    def refusal(self, call: C, refused: errors.Refused) -> Response:
        """The response to a refused request, without Retry-After."""

    @abstractmethod
    def failure(self, call: C) -> Response:
        """The response to a request that failed by a mistake of ours."""

    def finish(self, call: C, response: Response) -> None:
        """Adds this edge's headers; closes what the request has opened."""

    def log_fields(self, _call: C) -> dict[str, Any]:
        """Further fields for the request's log line."""
        return {}


def as_route(edge: Edge[Any], route: Route, lane: Lane) -> starlette.routing.Route:
    """A row of a table of routes, for the web framework."""
    return starlette.routing.Route(edge.root + route.path, endpoint(edge, route, lane), methods=[route.method])


def endpoint(edge: Edge[Any], route: Route, lane: Lane) -> Callable[[Request], Any]:
    """What the framework calls for a row of a table of routes."""
    path = edge.root + route.path

    async def serve(request: Request) -> Response:
        started = time.perf_counter()
        call = edge.call(route, request, int(time.time()))
        with Held(edge.in_flight) as held:
            response = await answer(edge, call, held, lane)
        edge.finish(call, response)
        seconds = time.perf_counter() - started
        record(request.scope, route.method, path, response.status_code, seconds, **edge.log_fields(call))
        if lane.refused_seconds and response.status_code == 429:
            await anyio.sleep(lane.refused_seconds)
        return response

    return serve


async def answer(edge: Edge[C], call: C, held: Held, lane: Lane) -> Response:
    """The response to a request, whatever happens on the way."""
    try:
        edge.check_credentials(call)
        if has_body(call.request.scope["headers"]):
            call.body = await read_body(edge, call, held, lane)
            await edge.decode(call)
        lane.check()
        return await anyio.to_thread.run_sync(carry_out, edge, call, limiter=lane.threads)
    except errors.Refused as refused:
        if edge.errors_need_thread:
            return await anyio.to_thread.run_sync(refuse, edge, call, refused, limiter=lane.threads)
        return refuse(edge, call, refused)
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception:
        log.exception("request failed", route=edge.root + call.route.path)
        if edge.errors_need_thread:
            return await anyio.to_thread.run_sync(edge.failure, call, limiter=lane.threads)
        return edge.failure(call)


async def read_body(edge: Edge[C], call: C, held: Held, lane: Lane) -> bytes:
    """The body. Where the route needs a caller, the caller is identified before the body is received.

    A small body that arrived together with the head is already here: nothing would be saved, and `carry_out` identifies
    the caller without a second hop through a thread.
    """

    def charge() -> None:
        user_id = edge.uploader(call)
        if user_id is not None:
            held.begin_upload(user_id)

    incoming = Incoming(call.request, held, edge.limit_bytes(call), charge)
    if edge.needs_caller(call):
        incoming.look()
        if not incoming.is_complete:
            await anyio.to_thread.run_sync(edge.identify, call, limiter=lane.threads)
    return await incoming.read()


def carry_out(edge: Edge[C], call: C) -> Response:
    """Everything that happens in the thread.

    A caller who was identified before the body was received is identified again: the session may have ended since.
    """
    try:
        edge.identify(call)
        return edge.respond(call)
    except errors.Refused as refused:
        return refuse(edge, call, refused)
    except Exception:
        log.exception("request failed", route=edge.root + call.route.path)
        return edge.failure(call)


def refuse(edge: Edge[C], call: C, refused: errors.Refused) -> Response:
    """The response to a refused request. Counts the limit that was reached."""
    if refused.limit:
        metrics.limit_reached(refused.limit)
    response = edge.refusal(call, refused)
    if isinstance(refused, errors.TooMany):
        response.headers["Retry-After"] = str(refused.wait_seconds)
    elif isinstance(refused, errors.Unavailable):
        response.headers["Retry-After"] = RETRY_SECONDS
        cause = type(refused.__cause__).__name__ if refused.__cause__ else None
        log.warning("unavailable", route=edge.root + call.route.path, reason=refused.reason, why=cause)
    return response


def status_of(refused: errors.Refused, statuses: dict[type[errors.Refused], int]) -> int:
    """The status for a refusal: that of its class, or of the nearest base class in the table."""
    return next(statuses[kind] for kind in type(refused).__mro__ if kind in statuses)
