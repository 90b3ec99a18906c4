"""The ASGI application of a process: routes each request, and adds the headers that every response has.

    build(config, db, …) for a process that serves apps and admins
    beside(config, db)   for a process without the API: /healthz, /readyz and /metrics only

`Front` answers /healthz, /readyz, /metrics, /docs and /openapi.json itself. It passes /dashboard to the dashboard,
/reset/… to the page for a new password, and every other path to the API. It counts and logs the requests that no route
of these has handled.
"""

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from .. import errors, metrics, times
from ..config import Config
from ..core import delivery, resets
from ..exchange.bodies import InFlight
from ..exchange.leftovers import most_dropped
from ..exchange.visit import NO_ROUTE, VISIT, Visit, lines_of
from ..logs import log
from ..store import migrations
from ..store.db import Database
from ..times import Clock
from .metrics_sum import reporter

NOT_FOUND = "Not found"
STOPPING = "The server is stopping. Try again."
# With "Connection: close" the rest of the body is not received.
STOPPING_HEADERS = {"Retry-After": "1", "Connection": "close"}
# Added to every response that does not have them.
HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
# One year, which preload lists require. Source: RFC 6797, section 6.1.
HSTS = (b"strict-transport-security", b"max-age=31536000")
NO_TOKEN = (
    "Set RINGBOOK_METRICS_TOKEN and send it as Authorization: Bearer TOKEN, or set RINGBOOK_ADMIN_PORT and ask there"
)
WRONG_TOKEN = "Send RINGBOOK_METRICS_TOKEN as Authorization: Bearer TOKEN"
# With the dashboard, at the admin port when there is one.
ADMIN_PATHS = ("/metrics", "/docs", "/guide", "/openapi.json")
EVERYWHERE = ("/", "/healthz", "/readyz", "/favicon.ico")
WITH_FILES = ("/docs/", "/guide/")
RESETS = resets.PATH
BESIDE_API = ("/dashboard", RESETS)


def build(config: Config, db: Database, clock: Clock = times.now) -> ASGIApp:
    """The application of one process; the database stays open until its owner closes it.

    clock   tells the time of each request; a server has the machine's, the demo's history one that it moves
    """
    from ..api import routes as api
    from ..core import kept_answers
    from ..dashboard import routes as pages
    from . import reset_page

    kept_answers.keep(db, config.registered_cache_bytes)
    in_flight = InFlight(config.limits)
    unknown = unknown_path(config, api.not_found)
    new_passwords = reset_page.pages(config, db, in_flight, unknown_path(config, not_found), clock)
    return Front(
        config,
        db,
        api.api(config, db, in_flight, unknown, clock),
        pages.dashboard(config, db, in_flight, clock),
        new_passwords,
    )


def beside(config: Config, db: Database) -> ASGIApp:
    """The application of a process without the API."""
    own = {"/healthz", "/readyz", "/metrics"}
    return Front(msgspec.structs.replace(config, admin_port=0), db, not_found, not_found, not_found, own)


class Front:
    """Routes each request, and finishes each response.

    own   the paths that a process without the API answers; empty: all
    """

    def __init__(
        self,
        config: Config,
        db: Database,
        api: ASGIApp,
        dashboard: ASGIApp,
        resets: ASGIApp,
        own: Collection[str] = (),
    ) -> None:
        self._config = config
        self._db = db
        self._most_dropped = most_dropped(config.limits.max_body_bytes)
        self._headers = [*HEADERS, HSTS] if config.tls_cert else HEADERS
        self._lines = lines_of(self._headers)
        self._api = api
        self._dashboard = dashboard
        self._resets = resets
        answers: dict[str, Callable[[Scope], Awaitable[Response]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/openapi.json": self._openapi,
            "/favicon.ico": self._favicon,
            "/docs": self._reference,
            "/guide": self._guide,
        }
        self._is_beside = bool(own)
        self._elsewhere = not_found if own else unknown_path(config, not_found)
        self._own = {path: answer for path, answer in answers.items() if not own or path in own}
        # Any: uvicorn has its own, narrower type for an ASGI application.
        inside: Any = self._dispatch
        self._inside: Any = (
            ProxyHeadersMiddleware(inside, list(config.trusted_proxies)) if config.trusted_proxies else inside
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        visit = Visit(scope, receive, send, self._headers, self._lines, self._most_dropped)
        if (path := root(scope["path"])) in self._own:
            visit.route = path
        scope["client"] = plain(scope.get("client"))
        try:
            await self._inside(scope, receive, visit.send)
        except asyncio.CancelledError:
            # The server stops, and the time for this request is over.
            if not visit.status:
                await JSONResponse({"errors": [STOPPING]}, 503, STOPPING_HEADERS)(scope, receive, visit.send)
        except Exception:
            log.exception("request failed")
            if not visit.status:
                await JSONResponse({"errors": ["Internal error"]}, 500)(scope, receive, visit.send)
        if not visit.is_recorded:
            visit.record(0)  # the client left before there was an answer
        del scope[VISIT]  # the two refer to each other, and would wait for the garbage collector

    def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """What serves the request. No coroutine of its own, so that nothing runs between the two for each message."""
        path = scope["path"]
        if self._config.admin_port and not self._is_here(path, scope):
            return self._elsewhere(scope, receive, send)
        if scope[VISIT].route != NO_ROUTE and scope["method"] in {"GET", "HEAD"}:
            return self._answer(scope, receive, send)
        if not path.startswith(BESIDE_API):
            return self._api(scope, receive, send)
        if is_of_dashboard(path):
            return self._dashboard(scope, receive, send)
        if path.startswith(RESETS):
            return self._resets(scope, receive, send)
        return self._api(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one of the paths that belong to neither the API nor the dashboard."""
        response = await self._own[root(scope["path"])](scope)
        await response(scope, receive, send)

    def _is_here(self, path: str, scope: Scope) -> bool:
        """With an admin port: is this path served at the port that the request came to?"""
        is_for_admins = root(path) in ADMIN_PATHS or is_of_dashboard(path)
        is_admin_port = scope["server"][1] == self._config.admin_port
        return is_for_admins == is_admin_port or path in EVERYWHERE

    async def _healthz(self, _scope: Scope) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readyz(self, _scope: Scope) -> Response:
        trouble = await run_in_threadpool(trouble_of, self._db)
        return JSONResponse({"status": trouble or "ready"}, 503 if trouble else 200)

    async def _metrics(self, scope: Scope) -> Response:
        if refusal := self._metrics_refusal(scope):
            return JSONResponse({"errors": [refusal]}, 403)
        text, content_type = await run_in_threadpool(exposition, self._db)
        return Response(text, headers={"content-type": content_type})

    def _metrics_refusal(self, scope: Scope) -> str:
        """Why the request may not read /metrics; "" when it may.

        When a token is set, the request must carry it. Without a token, /metrics is served at the admin port only.
        """
        token = self._config.metrics_token
        if token:
            return "" if has_token(scope, token) else WRONG_TOKEN
        return "" if self._config.admin_port or self._is_beside else NO_TOKEN

    async def _reference(self, scope: Scope) -> Response:
        from ..api import reference

        query = scope["query_string"].decode("latin-1")
        found = await run_in_threadpool(reference.response, scope["path"], query, self._url_of_api(scope))
        return found or JSONResponse({"errors": [NOT_FOUND]}, 404)

    async def _guide(self, scope: Scope) -> Response:
        from . import guide

        return await run_in_threadpool(guide.response, scope["path"]) or JSONResponse({"errors": [NOT_FOUND]}, 404)

    async def _openapi(self, scope: Scope) -> Response:
        from ..api import openapi

        return JSONResponse(await run_in_threadpool(openapi.served, self._url_of_api(scope)))

    async def _favicon(self, _scope: Scope) -> Response:
        from . import start_page

        return await run_in_threadpool(start_page.favicon)

    def _url_of_api(self, scope: Scope) -> str:
        """Where apps reach the API, when the reference is served at another port; "": at the same address."""
        if not self._config.admin_port:
            return ""
        host = re.sub(r":\d*$", "", Headers(scope=scope).get("host", ""))
        is_plain = re.fullmatch(r"[\w.-]+|\[[0-9A-Fa-f:]+\]", host)
        return self._config.public_url or (f"{scope['scheme']}://{host}:{self._config.port}" if is_plain else "")


def root(path: str) -> str:
    """The path that answers for this one: /docs and /guide for the files below them."""
    return path[: path.index("/", 1)] if path.startswith(WITH_FILES) else path


def unknown_path(config: Config, of_api: ASGIApp) -> ASGIApp:
    """Serves paths that the API does not have: a page for browsers, else the API's answer."""

    def serve(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        from . import start_page

        if not start_page.wants_page(scope):
            return of_api(scope, receive, send)
        status = 200 if scope["path"] == "/" else 404
        return start_page.response(status, is_for_admins=is_for_admins(config, scope))(scope, receive, send)

    return serve


def is_for_admins(config: Config, scope: Scope) -> bool:
    """Are the dashboard and the documents served at the port that the request came to?"""
    return not config.admin_port or scope["server"][1] == config.admin_port


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """The response for a path that this process does not serve."""
    await JSONResponse({"errors": [NOT_FOUND]}, 404)(scope, receive, send)


def is_of_dashboard(path: str) -> bool:
    """Is it a path of the dashboard?"""
    return path == "/dashboard" or path.startswith("/dashboard/")


def trouble_of(db: Database) -> str:
    """Why this process cannot serve requests now; "" when it can."""
    try:
        trouble = migrations.state(db).trouble
        if not trouble:
            db.probe()
    except errors.Unavailable as away:
        return db.nodes().trouble or away.why or away.reason
    return trouble


def exposition(db: Database) -> tuple[bytes, str]:
    """The text of /metrics and its content type. A metric that cannot be measured now is missing from it."""
    try:
        metrics.measure(db.gauges())
        if nodes := db.nodes():
            metrics.nodes(len(nodes.names) - len(nodes.silent), len(nodes.silent))
        count, since = delivery.waiting(db)
        metrics.queued(count, max(0, times.now() - since) if since is not None else 0)
        metrics.reached(True, db.disk())
    except Exception as error:
        if not isinstance(error, errors.Unavailable):
            log.exception("metrics failed")
        metrics.reached(False, db.disk())
    return reporter.exposition()


def plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """The client's address and port; an IPv4 address that a dual-stack socket reports as IPv6 becomes IPv4 again."""
    return (client[0].removeprefix("::ffff:"), client[1]) if client and "." in client[0] else client


def has_token(scope: Scope, token: str) -> bool:
    """Does the request carry this bearer token? An empty token never matches."""
    given = dict(scope["headers"]).get(b"authorization", b"")
    return bool(token) and hmac.compare_digest(given, b"Bearer " + token.encode())
