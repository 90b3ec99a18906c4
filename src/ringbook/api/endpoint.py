"""One way from a request to its answer: know who asks, read, decode, call, spell.

    Who, Route       who may call, and a row of the table of routes
    Call             one request, as a handler gets it
    Answer           what a handler gives back
    Shared           what all requests of one process share
    endpoint(…)      a row of the table → what the toolkit calls

A handler is a plain function that runs in a thread. The toolkit's loop only reads the socket.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .. import errors, metrics
from ..config import Config
from ..core import applications, sessions, stats
from ..exchange.bodies import SMALL_BYTES, Held, Incoming, InFlight, has_body
from ..logs import log
from ..model import App, Caller, Session
from ..store.db import Database
from ..verify import Outside
from . import forms, wire
from .wire import Dialect

JSON = "application/json; charset=utf-8"  # without the charset, Flutter shows names as mojibake (protocol §11.5)
STRANGER_BYTES = 64 * 1024  # of a body that is read before anybody knows who sends it
# A user's second search at a time is refused, and so cheap that a client which asks again at once would keep us busy.
SEARCH_REFUSED_SECONDS = 1
MOST_SEARCHES_WAITING = 50  # in one process, for `search_threads`


class Who(Enum):
    """Who may call."""

    ANYBODY = "anybody"
    APPLICATION = "an application session, a user session, or the CB-AuthKey header"
    SESSION = "any session"
    USER = "a user session"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back: a status, a value that becomes JSON (None: an empty body), and a session that was opened."""

    body: Any = None
    status: int = 200
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """What all requests of one process share."""

    db: Database
    config: Config
    outside: Outside
    in_flight: InFlight


@dataclass(frozen=True, kw_only=True)
class Route:
    """A row of the table: what is called where, by whom, and what OpenAPI says about it."""

    method: str
    path: str
    handler: "Callable[[Call], Answer]"
    who: Who = Who.USER
    status: int = 200
    request: Any = None
    answer: Any = None
    also: dict[int, Any] = field(default_factory=dict)  # other answers that are no refusals
    query: dict[str, str] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    large: bool = False  # its body may be as large as the setting allows
    search: bool = False  # for users: waits in a line of its own, too, and a 429 takes SEARCH_REFUSED_SECONDS
    slow: bool = False  # may hash a password, or ask outside: waits in a line of its own, so that nobody else does


@dataclass
class Call:
    """One request. `values` are its parameters, wherever they stood; `session` is set once it is known."""

    db: Database
    config: Config
    route: Route
    request: Request
    body: bytes
    now: int
    outside: Outside
    session: Session | None = None

    @cached_property
    def dialect(self) -> Dialect:
        """QuickBlox if any of its headers is there, else ConnectyCube (protocol §1.2)."""
        names = self.request.headers.keys()
        quickblox = any(name.startswith(("qb-", "quickblox-")) for name in names)
        return Dialect.QUICKBLOX if quickblox else Dialect.CONNECTYCUBE

    @cached_property
    def values(self) -> dict[str, Any]:
        """Query and body merged; on a GET the query wins, else the body (protocol §1.4)."""
        headers = self.request.headers
        body_wins = self.request.method not in ("GET", "DELETE")
        query = self.request.scope["query_string"].decode("utf-8", "replace")
        return forms.merged(query, self.body, headers.get("content-type", ""), body_wins=body_wins)

    @cached_property
    def address(self) -> str:
        """Where the request came from; behind a trusted proxy, what that says."""
        return self.request.client.host if self.request.client else ""

    @cached_property
    def token(self) -> str:
        """The session token, "" when there is none: Flutter sends an empty header then."""
        headers = self.request.headers
        return (headers.get("cb-token") or headers.get("qb-token") or "").strip()

    @property
    def app(self) -> App:
        """The application that the session, or the key of a sign-up, belongs to."""
        if self.session:
            return applications.cached(self.db, self.session.app_id)
        return applications.by_auth_key(self.db, self.request.headers.get("cb-authkey", "").strip())

    @property
    def user_id(self) -> int:
        """The user who asks; NeedUser when the session is the application's own."""
        if not self.session or not self.session.user_id:
            raise errors.NeedUser
        return self.session.user_id

    @property
    def caller(self) -> Caller:
        """The user who asks, with the application and the address."""
        guest = self.session is not None and self.session.guest_until is not None
        return Caller(app=self.app, user_id=self.user_id, is_guest=guest, address=self.address)

    def path_id(self, name: str = "id") -> int:
        """An id in the path; what cannot be one is not found."""
        text = self.request.path_params[name]
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
        if not 0 < number <= wire.LARGEST_ID:
            raise errors.NotFound("Not found")
        return number


def endpoint(shared: Shared, route: Route, lane: anyio.CapacityLimiter) -> Any:
    """What the toolkit calls for a row of the table; `lane` bounds how many run at once."""

    async def call(request: Request) -> Response:
        started = time.perf_counter()
        this = Call(
            db=shared.db,
            config=shared.config,
            route=route,
            request=request,
            body=b"",
            now=int(time.time()),
            outside=shared.outside,
        )
        with Held(shared.in_flight) as held:
            response = await answered(this, held, lane)
        tell(this, response.status_code, time.perf_counter() - started)
        if route.search and response.status_code == 429:
            await anyio.sleep(SEARCH_REFUSED_SECONDS)
        return response

    return call


async def answered(call: Call, held: Held, lane: anyio.CapacityLimiter) -> Response:
    """The answer to a request, whatever happens on the way."""
    try:
        check_credentials(call)
        if has_body(call.request.scope["headers"]):
            call.body = await read_body(call, held, lane)
        if call.route.search and lane.statistics().tasks_waiting >= MOST_SEARCHES_WAITING:
            raise errors.Unavailable("Too many searches wait already. Try again.", limit="search_threads")
        return await anyio.to_thread.run_sync(carry_out, call, limiter=lane)
    except errors.Refused as refused:
        return refused_response(call, refused)
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception:
        return failed(call)


async def read_body(call: Call, held: Held, lane: anyio.CapacityLimiter) -> bytes:
    """The body. Where the route asks who calls, that is found out before a byte of the body is asked for.

    A small body that came with the request's head is here already: then there is nothing to save, and `carry_out`
    finds out who calls without a second way through a thread.
    """
    incoming = Incoming(call.request, held, limit_bytes(call), lambda: held.begin_upload(call.user_id))
    if call.route.who is not Who.ANYBODY:
        incoming.look()
        if not incoming.is_complete:
            await anyio.to_thread.run_sync(identify, call, limiter=lane)
    return await incoming.read()


def limit_bytes(call: Call) -> int:
    """How large the body may be."""
    largest = call.config.limits.max_body_bytes
    if call.route.large:
        return largest
    return min(STRANGER_BYTES if call.route.who is Who.ANYBODY else SMALL_BYTES, largest)


def tell(call: Call, status: int, seconds: float) -> None:
    """One log line and one count for one request; the path's template stands for the path."""
    metrics.answered(call.route.method, call.route.path, status, seconds)
    session = call.session
    log.info(
        "request",
        method=call.route.method,
        route=call.route.path,
        status=status,
        ms=round(seconds * 1000, 1),
        app=session.app_id if session else None,
        user=session.user_id if session else None,
    )


def carry_out(call: Call) -> Response:
    """Everything that happens in the thread: who asks, what they get, how it is spelled.

    Who asks is found out here again if a body had to be waited for: the session may have ended since.
    """
    try:
        identify(call)
        answer = call.route.handler(call)
        call.session = answer.session or call.session
        return response(call, answer.status, answer.body)
    except errors.Refused as refused:
        return refused_response(call, refused)
    except Exception:
        return failed(call)


def failed(call: Call) -> Response:
    """The answer to a request that met a mistake of ours."""
    log.exception("request failed", route=call.route.path)
    return response(call, 500, wire.Errors(["Internal error"]))


def check_credentials(call: Call) -> None:
    """Refuse a request that carries nothing that the route asks for. Costs no look into the database."""
    if call.route.who is not Who.ANYBODY and not call.token and not has_key(call):
        raise errors.Unauthorized("Token is required")


def has_key(call: Call) -> bool:
    """Does the request carry an application's key, on a route that takes one?"""
    return call.route.who is Who.APPLICATION and bool(call.request.headers.get("cb-authkey"))


def identify(call: Call) -> None:
    """Find the session that the route asks for. A call that needs none never looks at the token (protocol §11.1)."""
    who = call.route.who
    if who is Who.ANYBODY:
        return
    call.session = sessions.current(call.db, call.token, call.now) if call.token else None
    if not call.session:
        if not has_key(call):
            raise errors.SessionGone
        _ = call.app  # the key is an application's
    elif who is Who.USER:
        _ = call.user_id


def refused_response(call: Call, refused: errors.Refused) -> Response:
    """A refusal, in the documented shape; with how long to wait where that is known."""
    status = wire.status(refused, call.dialect)
    answer = response(call, status, wire.refusal(refused))
    if refused.limit:
        metrics.limit_reached(refused.limit)
    stats.refused(app_id(call), f"{call.route.method} {call.route.path}", status, refused, call.now)
    if isinstance(refused, errors.TooMany):
        answer.headers["Retry-After"] = str(refused.wait_seconds)
    elif isinstance(refused, errors.Unavailable):
        answer.headers["Retry-After"] = "1"
        why = type(refused.__cause__).__name__ if refused.__cause__ else None
        log.warning("unavailable", route=call.route.path, reason=refused.reason, why=why)
    return answer


def app_id(call: Call) -> int:
    """The application that a request is about, as far as that is known without asking; else 0."""
    if call.session:
        return call.session.app_id
    key = call.request.headers.get("cb-authkey", "").strip()
    if call.route.who is Who.ANYBODY and not key:
        with suppress(errors.Refused):
            key = call.values.get("auth_key", "")
    found = applications.known(call.db, key) if isinstance(key, str) else None
    return found.id if found else 0


def response(call: Call, status: int, body: Any) -> Response:
    """JSON, and when there is a session, its end in both dialects' headers."""
    content = b"" if body is None else msgspec.json.encode(body)
    headers = {}
    if call.session:
        ends = wire.expiration(call.session.expires_at)
        headers = {"CB-Token-ExpirationDate": ends, "QB-Token-ExpirationDate": ends}
    return Response(content, status_code=status, headers=headers, media_type=None if body is None else JSON)
