"""From a request to its response, the same way for the API and the dashboard.

    Edge        what the API and the dashboard do differently: sessions, handlers' answers, the look of errors
    Refusals    which refusals get a log line
    Endpoint    one row of a table of routes, as an ASGI application
    Router      a table of routes, as an ASGI application

The steps: check the credentials that cost no query, read the body within its bounds, wait for a turn (`turns.py`), then
in a thread: identify the caller and call the handler. A refusal or a failure at any step becomes a response. Handlers
are plain functions. The event loop reads sockets; it answers by itself only where an edge can do so without waiting.
What depends on the route alone is made once, when the process starts.
"""

import asyncio
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import errors, metrics, times
from ..config import Config
from ..logs import log
from ..store.db import Database
from ..times import Clock
from .bodies import Body, InFlight
from .request import Call, Route
from .turns import REFUSED_SECONDS, Asker, Askers, Kind, NeedsTurn, Queue, Turns
from .visit import VISIT, Visit

C = TypeVar("C", bound=Call)
RETRY_SECONDS = "1"  # after an Unavailable
# The refusal of a body beyond a share is delayed: a client that repeats it at once would keep the event loop reading.
SHARES = ("max_bodies_in_flight_bytes", "large_uploads_per_user")
LOG_SECONDS = 10  # between two log lines about refusals by one limit
PAUSE_SECONDS = 0.1  # until a request is carried out again that waits for another process


class Refusals:
    """Decides which refusals get a log line: those by one limit one in LOG_SECONDS. An attack must not fill the log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged_at: dict[str, float] = {}
        self._since: Counter[str] = Counter()

    def log_now(self, limit: str, now: float) -> int:
        """How many refusals a line about this one stands for; 0 if it gets none now.

        limit   the setting that refuses; "" for a refusal by none, which always gets a line
        """
        if not limit:
            return 1
        with self._lock:
            self._since[limit] += 1
            if now < self._logged_at.get(limit, -LOG_SECONDS) + LOG_SECONDS:
                return 0
            self._logged_at[limit] = now
            return self._since.pop(limit)


class Edge(ABC, Generic[C]):
    """What differs between the API and the dashboard.

    root                 the path that all routes are below
    headers              headers that every response gets unless it has them
    decodes_in_loop      must `decode` be called?
    errors_need_thread   do the responses to refusals and failures read the database?
    """

    root: ClassVar[str] = ""
    headers: ClassVar[dict[str, str]] = {}
    decodes_in_loop: ClassVar[bool] = False
    errors_need_thread: ClassVar[bool] = False

    def __init__(self, db: Database, config: Config, in_flight: InFlight, clock: Clock = times.now) -> None:
        self.db = db
        self.config = config
        self.in_flight = in_flight
        self.clock = clock
        self.askers = Askers(config.trusted_proxies)
        self.refusals = Refusals()

    @abstractmethod
    def needs_caller(self, route: Any) -> bool:
        """Does `identify` refuse some requests to a route, so that it is worth to run it before a body is received?"""

    @abstractmethod
    def limit_bytes(self, route: Any, *, has_file: bool) -> int:
        """The size of the largest body that a route reads; `has_file`: in a form of the kind that can carry files."""

    @abstractmethod
    def call(self, route: Any, request: Request, now: int) -> C:
        """The request as this edge's handlers get it."""

    def asker(self, call: C) -> Asker:
        """Who asks, as far as that is known without a query."""
        return self.askers.of(call.address)

    def identified(self, call: C) -> None:
        """Called in the event loop after a session was looked for: remembers who asks."""

    def check_credentials(self, call: C) -> None:
        """Refuses a request without the credentials that its route needs. Runs in the event loop: no query."""

    @abstractmethod
    def identify(self, call: C) -> None:
        """Finds the session of the caller, or refuses the request. Runs in a thread."""

    def answers_in_loop(self, _route: Any) -> bool:
        """May `respond_in_loop` be asked first?"""
        return False

    async def respond_in_loop(self, _call: C) -> Response | None:
        """The response to a small request that reads by keys alone, without a thread; None: `respond` is called.

        Refusals are left to `respond`, but for Unavailable. It must not block the event loop.
        """
        return None

    def uploader(self, _call: C) -> int | None:
        """The user who is charged for a large upload; None: large bodies are not counted by user."""
        return None

    async def decode(self, call: C) -> None:
        """Decodes a body that must be decoded in the event loop."""

    @abstractmethod
    def respond(self, call: C) -> Response:
        """Identifies the caller and calls the handler. Runs in a thread.

        A caller who was identified before the body was received is identified again, unless that was just now: the
        session may have ended since.
        """

    @abstractmethod
    def refusal(self, call: C, refused: errors.Refused) -> Response:
        """The response to a refused request, without Retry-After."""

    @abstractmethod
    def failure(self, call: C) -> Response:
        """The response to a request that failed by a mistake of ours."""


class Endpoint(Generic[C]):
    """A row of a table of routes, as an ASGI application."""

    def __init__(self, edge: Edge[C], route: Route, turns: Turns) -> None:
        self._edge = edge
        self._route = route
        self._turns = turns
        self._kind, self._queue = route.kind, turns.of(route.kind)
        self._needs_caller = edge.needs_caller(route)
        self._answers_in_loop = edge.answers_in_loop(route)
        self._limit_bytes = edge.limit_bytes(route, has_file=False)
        self._limit_bytes_of_file = edge.limit_bytes(route, has_file=True)
        self.path = edge.root + route.path
        self.method = route.method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: Visit = scope[VISIT]
        edge = self._edge
        request = Request(scope, receive)
        call = edge.call(self._route, request, edge.clock())
        body = self._body(call) if visit.has_body else None
        delay = 0
        try:
            edge.check_credentials(call)
            if body:
                call.body = await body.read(partial(self._identify_early, call) if self._needs_caller else None)
                if edge.decodes_in_loop:
                    await edge.decode(call)
            response = await self._response(call)
        except errors.Refused as refused:
            response = await self._error(partial(self._refuse, call, refused))
            delay = REFUSED_SECONDS if refused.limit in SHARES else 0
        except ClientDisconnect:
            response = Response(status_code=400)
        except Exception:
            log.exception("request failed", route=self.path)
            response = await self._error(partial(edge.failure, call))
        finally:
            if body:
                body.release()
                visit.is_read = body.is_read
        for name, value in edge.headers.items():
            response.headers.setdefault(name, value)
        visit.method, visit.route, visit.fields = self.method, self.path, call.log_fields
        if delay:
            await asyncio.sleep(delay)
        await response(scope, receive, send)

    def _body(self, call: C) -> Body:
        headers = call.request.headers
        has_file = headers.get("content-type", "").startswith("multipart/form-data")
        limit = self._limit_bytes_of_file if has_file else self._limit_bytes
        edge = self._edge
        uploader, asker = partial(edge.uploader, call), partial(edge.asker, call)
        return Body(edge.in_flight, call.request.receive, headers, limit, uploader, asker)

    async def _response(self, call: C) -> Response:
        """The response, made in a turn. If the handler needs another kind of turn, it is called again in that one."""
        call.kind, queue, first, until = self._kind, self._queue, self._answers_in_loop, 0.0
        while True:
            work = partial(self._carry_out, call)
            outcome: Response | NeedsTurn = await self._in_turn(queue, call, work, in_loop=first)
            if not isinstance(outcome, NeedsTurn):
                return outcome
            if outcome.otherwise:
                now = time.monotonic()
                until = until or now + queue.places.wait_seconds
                if now > until:
                    return await self._error(partial(self._refuse, call, outcome.otherwise))
                await asyncio.sleep(PAUSE_SECONDS)
            call.kind, queue, first = outcome.kind, self._turns.of(outcome.kind), False

    async def _in_turn(self, queue: Queue, call: C, work: Callable[[], Any], *, in_loop: bool = False) -> Any:
        """Does a piece of work in a turn: in a thread, unless the event loop can answer by itself."""
        edge = self._edge
        asker = edge.asker(call)
        if not queue.take(asker):
            await queue.wait(asker)
        answered = None
        try:
            answered = await edge.respond_in_loop(call) if in_loop else None
            return answered or await self._turns.threads.run(work)
        finally:
            if answered:
                # Not at once: of the requests that have arrived at the same moment, no asker has more than its places.
                asyncio.get_running_loop().call_soon(queue.give_back, asker)
            else:
                queue.give_back(asker)
            edge.identified(call)

    async def _identify_early(self, call: C) -> None:
        """Identifies the caller before the body is received, where that takes time."""
        await self._in_turn(self._turns.of(Kind.SMALL), call, partial(self._edge.identify, call))

    def _carry_out(self, call: C) -> Response | NeedsTurn:
        """Everything that happens in the thread."""
        try:
            return self._edge.respond(call)
        except NeedsTurn as other:
            return other
        except errors.Refused as refused:
            return self._refuse(call, refused)
        except Exception:
            log.exception("request failed", route=self.path)
            return self._edge.failure(call)

    async def _error(self, make: Callable[[], Response]) -> Response:
        """The response to a request that went no further than the event loop."""
        if self._edge.errors_need_thread:
            response: Response = await self._turns.threads.run(make)
            return response
        return make()

    def _refuse(self, call: C, refused: errors.Refused) -> Response:
        """The response to a refused request. Counts the limit that was reached."""
        if refused.limit:
            metrics.limit_reached(refused.limit)
        response = self._edge.refusal(call, refused)
        if isinstance(refused, errors.TooMany):
            response.headers["Retry-After"] = str(refused.wait_seconds)
        elif isinstance(refused, errors.Unavailable):
            response.headers["Retry-After"] = RETRY_SECONDS
            why = refused.why or (type(refused.__cause__).__name__ if refused.__cause__ else None)
            if count := self._edge.refusals.log_now(refused.limit, time.monotonic()):
                log.warning("unavailable", route=self.path, reason=refused.reason, why=why, refused=count)
        return response


class Router:
    """A table of routes, as an ASGI application. The first row that matches a request serves it.

    not_found   serves requests that no row matches
    """

    def __init__(self, endpoints: Iterable[Endpoint[Any]], not_found: ASGIApp) -> None:
        self._not_found = not_found
        self._rows: dict[str, list[tuple[re.Pattern[str], Endpoint[Any]]]] = {}
        rows = [(compile_path(endpoint.path)[0], endpoint) for endpoint in endpoints]
        for pattern, endpoint in rows:
            self._rows.setdefault(endpoint.method, []).append((pattern, endpoint))
        self._rows["HEAD"] = self._rows.get("GET", [])
        # A path without parameters is always the same: its row is found now.
        self._plain = {
            (method, endpoint.path): self._search(method, endpoint.path)
            for method, of_method in self._rows.items()
            for _, endpoint in of_method
            if "{" not in endpoint.path
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        method, path = scope["method"], scope["path"]
        served, scope["path_params"] = self._plain.get((method, path)) or self._search(method, path)
        return served(scope, receive, send)

    def _search(self, method: str, path: str) -> tuple[ASGIApp, dict[str, str]]:
        """What serves a request, and the parameters in its path."""
        for pattern, endpoint in self._rows.get(method, ()):
            if match := pattern.match(path):
                return endpoint, match.groupdict()
        return self._not_found, {}
