"""Puts the house together, and stands at its door.

    build(config, db)    what one process serves
    beside(config, db)   what a process without the API tells of itself: /healthz, /readyz, /metrics

The door answers what belongs to no application (/healthz, /readyz, /metrics, /docs, /openapi.json), gives /dashboard to
the dashboard and everything else to the API. One log line and one count per request: `endpoint` of either writes them
for their routes, the door for all others.
"""

import asyncio
import gc
import hmac
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from .. import errors, metrics
from ..config import Config
from ..core import delivery
from ..exchange.bodies import InFlight, has_body
from ..exchange.leftovers import Leftover, most_dropped
from ..logs import log
from ..store import migrations
from ..store.db import Database
from . import metrics_sum

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
NOWHERE = "none"
STOPPING = "The server is stopping. Try again."
AT_A_STOP = {"Retry-After": "1", "Connection": "close"}  # without the second, what is left of the body would be awaited
# For every answer that does not say otherwise.
HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
# For as long as preload lists ask for. Source: RFC 6797, section 6.1.
HSTS = (b"strict-transport-security", b"max-age=31536000")
NO_TOKEN = (
    "Set RINGBOOK_METRICS_TOKEN and send it as Authorization: Bearer TOKEN, or set RINGBOOK_ADMIN_PORT and ask there"
)
WRONG_TOKEN = "Send RINGBOOK_METRICS_TOKEN as Authorization: Bearer TOKEN"
MOVED = ("/metrics", "/docs", "/openapi.json")  # with the dashboard, to the admin port, where there is one


def build(config: Config, db: Database) -> ASGIApp:
    """The application of one process; the database stays open until its owner closes it."""
    from ..api import routes as api
    from ..dashboard import routes as pages

    in_flight = InFlight(config.limits)
    front = Front(config, db, api.api(config, db, in_flight), pages.dashboard(config, db, in_flight))
    # What stays for ever need not be walked again each time an upload has made its thousands of objects.
    gc.collect()
    gc.freeze()
    return front


def beside(config: Config, db: Database) -> ASGIApp:
    """How a process is that serves no API."""
    own = {"/healthz", "/readyz", "/metrics"}
    return Front(msgspec.structs.replace(config, admin_port=0), db, nothing, nothing, own)


class Front:
    """Every request passes here first and last."""

    def __init__(
        self, config: Config, db: Database, api: ASGIApp, dashboard: ASGIApp, own: Collection[str] = ()
    ) -> None:
        self._config = config
        self._db = db
        self._most_dropped = most_dropped(config.limits.max_body_bytes)
        self._headers = [*HEADERS, HSTS] if config.tls_cert else HEADERS
        self._api = api
        self._dashboard = dashboard
        routes = [*getattr(api, "routes", ()), *getattr(dashboard, "routes", ())]
        self._methods: dict[Any, set[str]] = {route.endpoint: route.methods for route in routes}
        answers: dict[str, Callable[[Scope], Awaitable[Response]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/docs": self._docs,
            "/openapi.json": self._openapi,
        }
        self._is_beside = bool(own)
        self._own = {path: answer for path, answer in answers.items() if not own or path in own}
        # The library's type for an ASGI application is its own, and narrower.
        inside: Any = self._rooms
        self._inside: Any = (
            ProxyHeadersMiddleware(inside, list(config.trusted_proxies)) if config.trusted_proxies else inside
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if has_body(scope["headers"]):
            leftover = Leftover(scope, receive, send, self._most_dropped)
            receive, send = leftover.receive, leftover.send
        visit = Visit(scope, send, self._headers)
        scope["client"] = plain(scope.get("client"))
        try:
            await self._inside(scope, receive, visit.send)
        except asyncio.CancelledError:
            # The server stops, and the time for this request is over. A route of the API has not told of it.
            if not visit.status:
                await JSONResponse({"errors": [STOPPING]}, 503, AT_A_STOP)(scope, receive, visit.send)
            visit.tell(NOWHERE)
            return
        except Exception:
            log.exception("request failed")
            if not visit.status:
                await JSONResponse({"errors": ["Internal error"]}, 500)(scope, receive, visit.send)
        # Where a route of the API was found, and has this method, `api.endpoint` has told of it.
        if scope["method"] not in self._methods.get(scope.get("endpoint"), ()):
            visit.tell(scope["path"] if scope["path"] in self._own else NOWHERE)

    async def _rooms(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if not self._here(path, scope):
            await nothing(scope, receive, send)
        elif path in self._own and scope["method"] in {"GET", "HEAD"}:
            response = await self._own[path](scope)
            await response(scope, receive, send)
        elif is_of_dashboard(path):
            await self._dashboard(scope, receive, send)
        else:
            await self._api(scope, receive, send)

    def _here(self, path: str, scope: Scope) -> bool:
        """Is this path served at the port that was asked?"""
        if not self._config.admin_port:
            return True
        moved = path in MOVED or is_of_dashboard(path)
        at_admin_port = scope["server"][1] == self._config.admin_port
        return moved == at_admin_port or path in {"/healthz", "/readyz"}

    async def _healthz(self, _scope: Scope) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readyz(self, _scope: Scope) -> Response:
        trouble = await run_in_threadpool(trouble_of, self._db)
        return JSONResponse({"status": trouble or "ready"}, 503 if trouble else 200)

    async def _metrics(self, scope: Scope) -> Response:
        if refused := self._no_metrics(scope):
            return JSONResponse({"errors": [refused]}, 403)
        text, content_type = await run_in_threadpool(figures_of, self._db)
        return Response(text, headers={"content-type": content_type})

    def _no_metrics(self, scope: Scope) -> str:
        """Why /metrics is not for this request; "" when it is.

        With a token it takes the token. Without one it is served at the port for operators, and no port for apps.
        """
        token = self._config.metrics_token
        if token:
            return "" if has_token(scope, token) else WRONG_TOKEN
        return "" if self._config.admin_port or self._is_beside else NO_TOKEN

    async def _docs(self, _scope: Scope) -> Response:
        from ..api import openapi, page

        html = await run_in_threadpool(openapi.page)
        return HTMLResponse(html, headers={"content-security-policy": page.policy(html)})

    async def _openapi(self, _scope: Scope) -> Response:
        from ..api import openapi

        return JSONResponse(await run_in_threadpool(openapi.document))


class Visit:
    """A request that the door itself tells of."""

    def __init__(self, scope: Scope, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._started = time.perf_counter()
        self._method = scope["method"] if scope["method"] in METHODS else "other"
        self._send = send
        self._headers = headers
        self._seconds = 0.0
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass an answer on with the headers that all answers have, and remember its status."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._seconds = time.perf_counter() - self._started
            own = {name for name, _ in message["headers"]}
            message["headers"] += [header for header in self._headers if header[0] not in own]
        await self._send(message)

    def tell(self, route: str) -> None:
        """Count it and log it; status 0 says that nobody was there any more to be answered."""
        seconds = self._seconds or time.perf_counter() - self._started
        metrics.answered(self._method, route, self.status, seconds)
        log.info("request", method=self._method, route=route, status=self.status, ms=round(seconds * 1000, 1))


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """There is nothing here."""
    await JSONResponse({"errors": ["Not found"]}, 404)(scope, receive, send)


def is_of_dashboard(path: str) -> bool:
    """Is it the address of a page?"""
    return path == "/dashboard" or path.startswith("/dashboard/")


def trouble_of(db: Database) -> str:
    """Why this process cannot do its work just now; "" when it can."""
    try:
        trouble = migrations.state(db).trouble
        if not trouble:
            db.probe()
    except errors.Unavailable as away:
        return away.why or away.reason
    return trouble


def figures_of(db: Database) -> tuple[bytes, str]:
    """The text of /metrics; whatever cannot be measured just now is missing from it, and the rest is there."""
    try:
        metrics.measure(db.gauges())
        count, since = delivery.waiting(db)
        metrics.queued(count, max(0, int(time.time()) - since) if since is not None else 0)
        metrics.reached(True, db.disk())
    except Exception as error:
        if not isinstance(error, errors.Unavailable):
            log.exception("metrics failed")
        metrics.reached(False, db.disk())
    return metrics_sum.exposition()


def plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """An IPv4 client of a socket that listens to both kinds, as IPv4."""
    return (client[0].removeprefix("::ffff:"), client[1]) if client and "." in client[0] else client


def has_token(scope: Scope, token: str) -> bool:
    """Is the right bearer token there? An empty one is nobody's."""
    given = dict(scope["headers"]).get(b"authorization", b"")
    return bool(token) and hmac.compare_digest(given, b"Bearer " + token.encode())
