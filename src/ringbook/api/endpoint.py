"""The API's side of an exchange (`exchange/run.py`).

    Who, Route    who may call, and a row of the table of routes
    Call          one request, as a handler gets it
    Answer        what a handler returns
    Api           sessions, bodies, JSON and errors
    of_browser    the headers for browsers

A handler is a plain function that runs in a thread.
"""

import gzip
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .. import errors, times
from ..config import Config
from ..core import applications, reports, sessions, stats
from ..exchange import request as common
from ..exchange.bodies import SMALL_BYTES, InFlight
from ..exchange.run import Edge
from ..exchange.turns import Asker
from ..exchange.visit import VISIT, CasedName
from ..model import App, Caller, Session, User
from ..store.db import Database
from ..times import Clock
from ..verify import Outside
from . import forms, wire
from .wire import Dialect

JSON = "application/json; charset=utf-8"  # without the charset, Flutter shows names as mojibake (protocol §11.5)
ANONYMOUS_BYTES = 4 * 1024  # the largest body on routes that anybody may call, unless the route says another size
COMPRESSED_BYTES = 1024  # smaller answers are not worth it
COMPRESSION = 5
JUST_NOW_SECONDS = 0.05
IN_LOOP_BYTES = 128 * 1024  # the largest body that the event loop hashes
# The Android SDKs read their header from a map by this spelling. Without it, they open a session before each request.
CB_EXPIRATION = CasedName(b"CB-Token-ExpirationDate")
QB_EXPIRATION = CasedName(b"QB-Token-ExpirationDate")
CONTENT_TYPE = (b"content-type", JSON.encode())
QUICKBLOX = (b"qb-", b"quickblox-")
VARIES = [(b"vary", b"Origin")]
SHARED = [
    *VARIES,
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"CB-Token-ExpirationDate, QB-Token-ExpirationDate, Retry-After"),
]


class Who(Enum):
    """Who may call."""

    ANYBODY = "anybody"
    APPLICATION = "an application session, a user session, or the CB-AuthKey header"
    SESSION = "any session"
    USER = "a user session"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a handler: a status, a value for JSON (None: an empty body), and the session that was opened."""

    body: Any = None
    status: int = 200
    session: Session | None = None


@dataclass(frozen=True, kw_only=True)
class Route(common.Route):
    """A row of the table of routes, with who may call it and what OpenAPI says about it."""

    handler: "Callable[[Call], Answer]"
    who: Who = Who.USER
    status: int = 200
    request: Any = None
    answer: Any = None
    also: dict[int, Any] = field(default_factory=dict)  # further answers that are not refusals
    query: dict[str, str] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    examples: dict[str, tuple[str, Any]] = field(default_factory=dict)  # of the body: a title and a value, by name
    large: bool = False  # the body may be as large as the setting `max_body_bytes` allows
    anonymous_bytes: int = ANONYMOUS_BYTES  # the largest body of a caller who is not known
    shows_user: bool = False  # the handler wants a user, who is read together with the session: see Call.user
    in_loop: "Callable[[Call], Answer | None] | None" = None  # a handler without statements; None: `handler` answers
    repeats: bool = False  # the handler wants the reports of the user's books, which are read with the session as well


@dataclass(kw_only=True)
class Call(common.Call):
    """One request.

    session   set once the caller has been identified
    user      only for routes that show it: the user with the id in the path, or the session's own where there is none
    held      only in the event loop: for `privacy.visible_if_held`
    books     the reports of the user's books, only for routes that want them
    digest    of an upload by this caller, once it was needed
    """

    route: Route
    outside: Outside
    session: Session | None = None
    identified_at: float = 0.0  # by time.monotonic()
    user: User | None = None
    held: int | None = None
    books: reports.Books | None = None
    digest: tuple[Caller, bytes] | None = None

    @common.Once
    def sent(self) -> dict[bytes, bytes]:
        """The request's headers by their names in lower case; of several with one name, the first."""
        return dict(reversed(self.request.scope["headers"]))

    @common.Once
    def headers(self) -> dict[str, str]:
        """The same as texts.

        There are several look-ups in a request, and Starlette's Headers would walk through the whole list for each.
        """
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.sent.items()}

    @common.Once
    def dialect(self) -> Dialect:
        """QuickBlox if any of its headers is there, else ConnectyCube (protocol §1.2)."""
        for name in self.sent:
            if name.startswith(QUICKBLOX):
                return Dialect.QUICKBLOX
        return Dialect.CONNECTYCUBE

    @common.Once
    def values(self) -> dict[str, Any]:
        """Query and body merged; on a GET the query wins, else the body (protocol §1.4)."""
        headers = self.headers
        body_wins = self.request.method not in ("GET", "DELETE")
        query = self.request.scope["query_string"].decode("utf-8", "replace")
        return forms.merged(query, self.body, headers.get("content-type", ""), body_wins=body_wins)

    @common.Once
    def token(self) -> str:
        """The session token; "" without one, because Flutter then sends an empty header."""
        sent = self.sent
        return (sent.get(b"cb-token") or sent.get(b"qb-token") or b"").decode("latin-1").strip()

    @property
    def app(self) -> App:
        """The application of the session, or of the key in the header."""
        if self.session:
            return applications.cached(self.db, self.session.app_id)
        return applications.by_auth_key(self.db, self.headers.get("cb-authkey", "").strip())

    @property
    def user_id(self) -> int:
        """The id of the session's user. Raises NeedUser for an application session."""
        if not self.session or not self.session.user_id:
            raise errors.NeedUser
        return self.session.user_id

    @property
    def caller(self) -> Caller:
        """The session's user, with the application and the address."""
        return self._caller(self.app)

    @property
    def caller_in_loop(self) -> Caller | None:
        """The same; None where the application would have to be read from the database."""
        assert self.session
        app = applications.in_cache(self.db, self.session.app_id)
        return self._caller(app) if app else None

    def _caller(self, app: App) -> Caller:
        guest = self.session is not None and self.session.guest_until is not None
        return Caller(app=app, user_id=self.user_id, is_guest=guest, address=self.address)


class Api(Edge[Call]):
    """The API's side of an exchange: sessions by token, JSON, errors in the documented shapes."""

    def __init__(self, db: Database, config: Config, in_flight: InFlight, clock: Clock = times.now) -> None:
        super().__init__(db, config, in_flight, clock)
        self.outside = Outside.of(config)

    def needs_caller(self, route: Route) -> bool:
        """Does the route need a session or a key?"""
        return route.who is not Who.ANYBODY

    def limit_bytes(self, route: Route, *, has_file: bool) -> int:
        """The setting for uploads of address books; less for other routes, least where the caller is not known."""
        largest = self.config.limits.max_body_bytes
        if route.large:
            return largest
        return min(route.anonymous_bytes if route.who is Who.ANYBODY else SMALL_BYTES, largest)

    def call(self, route: Route, request: Request, now: int) -> Call:
        """One request."""
        client = request.scope.get("client")
        address = client[0] if client else ""
        return Call(
            db=self.db,
            config=self.config,
            route=route,
            request=request,
            address=address,
            now=now,
            outside=self.outside,
        )

    def check_credentials(self, call: Call) -> None:
        """Raises Unauthorized for a request that has neither a token nor a key and needs one."""
        if call.route.who is not Who.ANYBODY and not call.token and not has_key(call):
            raise errors.Unauthorized("Token is required")

    def identify(self, call: Call) -> None:
        """Finds the session that the route needs. A call that needs none ignores the token (protocol §11.1)."""
        who = call.route.who
        if who is Who.ANYBODY:
            return
        call.identified_at = time.monotonic()
        if call.token and call.route.shows_user:
            call.session, call.user = sessions.current_with_user(call.db, call.token, call.now, wanted_user(call))
        elif call.token and call.route.repeats:
            call.session, call.books = sessions.current_with_reports(call.db, call.token, call.now)
        elif call.token:
            call.session = sessions.current(call.db, call.token, call.now)
        if not call.session:
            if not has_key(call):
                raise errors.SessionGone
            _ = call.app  # raises Unauthorized unless the key belongs to an application

    def asker(self, call: Call) -> Asker:
        """The user of the session, if it is known already, else the user of the token as far as it is remembered."""
        token = sessions.digest(call.token) if call.token else None
        return self.askers.of(call.address, token, call.session.user_id if call.session else None)

    def identified(self, call: Call) -> None:
        """Remembers the user of the token."""
        if call.token and call.session and call.session.user_id:
            self.askers.identified(sessions.digest(call.token), call.session.user_id)

    def answers_in_loop(self, route: Route) -> bool:
        """Does the route say how?"""
        return route.in_loop is not None

    async def respond_in_loop(self, call: Call) -> Response | None:
        """The answer for a caller whose session is read with what the route wants."""
        route = call.route
        if not call.token or not route.in_loop or len(call.body) > IN_LOOP_BYTES:
            return None
        if call.identified_at and not route.repeats:
            return None  # `identify`, which ran before a body was received, does not read `held`
        if time.monotonic() - call.identified_at > JUST_NOW_SECONDS:
            call.session = None
            await (self._with_reports if route.repeats else self._with_user)(call)
        if not call.session or (route.who is Who.USER and not call.session.user_id):
            return None
        answer = route.in_loop(call)
        return response(call, answer.status, answer.body) if answer else None

    async def _with_user(self, call: Call) -> None:
        if found := await sessions.current_with_user_in_loop(call.db, call.token, call.now, wanted_user(call)):
            call.session, call.user, call.held = found
            call.identified_at = time.monotonic()

    async def _with_reports(self, call: Call) -> None:
        if found := await sessions.current_with_reports_in_loop(call.db, call.token, call.now):
            call.session, call.books = found
            call.identified_at = time.monotonic()

    def uploader(self, call: Call) -> int:
        """The session's user."""
        return call.user_id

    def respond(self, call: Call) -> Response:
        """The handler's answer as JSON. A caller who was identified this very moment is not looked up again."""
        if time.monotonic() - call.identified_at > JUST_NOW_SECONDS:
            self.identify(call)
        check_user(call)
        answer = call.route.handler(call)
        call.session = answer.session or call.session
        return response(call, answer.status, answer.body)

    def refusal(self, call: Call, refused: errors.Refused) -> Response:
        """A refusal in the documented shape. Counts it for the application's page in the dashboard."""
        status = wire.status(refused, call.dialect)
        stats.refused(app_id(call), f"{call.route.method} {call.route.path}", refused, call.now)
        return response(call, status, wire.refusal(refused))

    def failure(self, call: Call) -> Response:
        """An internal error, without details."""
        return response(call, 500, wire.Errors(["Internal error"]))


def check_user(call: Call) -> None:
    """Raises NeedUser for a session without a user on a route that needs one, however the session was found."""
    if call.route.who is Who.USER:
        _ = call.user_id


def wanted_user(call: Call) -> int | None:
    """The id in the path, 0 if it is none; None where the path has no id."""
    if not call.request.path_params:
        return None
    try:
        return call.path_id()
    except errors.NotFound:
        return 0


def has_key(call: Call) -> bool:
    """Does the request carry an application's key, on a route that accepts one?"""
    return call.route.who is Who.APPLICATION and bool(call.headers.get("cb-authkey"))


def app_id(call: Call) -> int:
    """The application of a request, as far as that is known without a query; else 0."""
    if call.session:
        return call.session.app_id
    key = call.headers.get("cb-authkey", "").strip()
    if call.route.who is Who.ANYBODY and not key:
        with suppress(errors.Refused):
            key = call.values.get("auth_key", "")
    app = applications.from_cache(call.db, key) if isinstance(key, str) else None
    return app.id if app else 0


def response(call: Call, status: int, body: Any) -> Response:
    """A JSON response, with the expiration of the session in the headers of both dialects. Runs in a thread.

    Notes the application and the user for the log line.
    """
    session = call.session
    call.log_fields = {"app": session.app_id if session else None, "user": session.user_id if session else None}
    headers = list(SHARED if b"origin" in call.sent else VARIES)
    if session:
        ends = wire.expiration(session.expires_at).encode()
        headers += [(CB_EXPIRATION, ends), (QB_EXPIRATION, ends)]
    if body is None:
        return Ready(b"", status, headers)
    content = msgspec.json.encode(body)
    if len(content) >= COMPRESSED_BYTES:
        headers[0] = (b"vary", b"Accept-Encoding, Origin")
        if b"gzip" in call.sent.get(b"accept-encoding", b""):
            headers.append((b"content-encoding", b"gzip"))
            content = gzip.compress(content, COMPRESSION, mtime=0)
    headers.append(CONTENT_TYPE)
    return Ready(content, status, headers)


class Ready(Response):
    """A response whose headers are bytes already. Starlette's own converts them for each response.

    headers   none that every response has
    """

    def __init__(self, content: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.body = content
        self.status_code = status
        self.background = None
        self.raw_headers = [*headers, (b"content-length", b"%d" % len(content))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response: in one piece, if the server can."""
        if not scope[VISIT].send_whole(self.status_code, self.raw_headers, self.body):
            await super().__call__(scope, receive, send)


def of_browser(request_headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with which a browser lets a page of any origin read the response. Source: WHATWG, "Fetch", CORS."""
    headers = SHARED if "origin" in request_headers else VARIES
    return {name.decode(): value.decode() for name, value in headers}
