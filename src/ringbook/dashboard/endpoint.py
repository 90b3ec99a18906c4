"""One way from a request to a page: know who asks, read, call, answer.

    Who, Route       who may call, and a row of the table of pages
    Call             one request, as a handler gets it, and the answers that it can give
    endpoint(…)      a row of the table → what the toolkit calls

A handler is a plain function that runs in a thread. Nothing is changed by a GET. A form that changes something carries
`csrf`, which only a page of the same session holds, and comes from a page of this server.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Message

from .. import errors, metrics
from ..config import Config
from ..core import admins, applications
from ..core.admins import Login
from ..core.audit import Actor
from ..exchange.bodies import BODY_SECONDS, Held, InFlight
from ..logs import log
from ..model import App
from ..store.db import Database
from . import cookies, templates

R = TypeVar("R")
ROOT = "/dashboard"
LARGEST_BYTES = 1024 * 1024  # with a file
LARGEST_TEXT_BYTES = 64 * 1024  # without one: reading such a form takes the time of all who wait for this process
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Not "no-referrer": browsers then say "Origin: null" of our own forms, which over plain http is all they say.
    # Source: WHATWG, "Fetch", append a request `Origin` header.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
STATUS: dict[type[errors.Refused], int] = {
    errors.Malformed: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.TooLarge: 413,
    errors.Invalid: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}
TITLES = {404: "Not found", 429: "Too often", 500: "An error", 503: "Not just now"}
FOREIGN = "This form was sent from another page than ours, or is from an earlier log-in. Load the page again."


class Who(Enum):
    """Who may call."""

    UNASKED = "anybody, who is not even asked who it is: a file, which must be there when the database is not"
    ANYBODY = "anybody"
    ADMIN = "a logged-in admin"


@dataclass(frozen=True, kw_only=True)
class Route:
    """A row of the table: what is called where, and by whom."""

    method: str
    path: str  # below /dashboard
    handler: "Callable[[Call], Response]"
    who: Who = Who.ADMIN
    slow: bool = False  # may hash a password: waits in a line of its own, so that nobody else does
    live: bool = False  # a part of a page that asks by itself: it does not keep a session alive


@dataclass
class Call:
    """One request. `form` is what was sent with it; `login` is set once it is known who asks."""

    db: Database
    config: Config
    route: Route
    request: Request
    now: int
    form: FormData = field(default_factory=FormData)
    login: Login | None = None

    # ── who asks, and for what ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def admin(self) -> str:
        """The e-mail of the admin who asks."""
        assert self.login
        return self.login.email

    @property
    def by(self) -> Actor:
        """The admin who asks, for the audit log."""
        return Actor(self.admin, self.address, self.now)

    @property
    def address(self) -> str:
        """Where the request came from; behind a trusted proxy, what that says."""
        return self.request.client.host if self.request.client else ""

    @property
    def is_secure(self) -> bool:
        """Does the browser speak TLS, to us or to a trusted proxy?"""
        return self.request.url.scheme == "https"

    @property
    def endpoint_url(self) -> str:
        """Where apps reach the API, as far as this request can tell: its own address, at the port of the API."""
        url = self.request.url
        port = self.config.port if self.config.admin_port else url.port
        name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        return f"{url.scheme}://{name}" + (f":{port}" if port else "")

    @cached_property
    def apps(self) -> list[App]:
        """Every application."""
        return applications.all_(self.db)

    @cached_property
    def app(self) -> App:
        """The application that the path names; NotFound."""
        app_id = self.path_id("app_id")
        found = next((app for app in self.apps if app.id == app_id), None)
        if not found:
            raise errors.NotFound(f"There is no application {app_id}.")
        return found

    @property
    def current(self) -> App | None:
        """The application that the navigation leads to: the path's, else the one looked at last, else the first."""
        named = self.request.path_params.get("app_id") or cookies.app(self.request)
        return next((app for app in self.apps if str(app.id) == named), self.apps[0] if self.apps else None)

    def path_id(self, name: str) -> int:
        """An id in the path; what cannot be one is not found."""
        text = self.request.path_params[name]
        if not (text.isascii() and text.isdigit() and len(text) < 11 and 0 < int(text) < 2**31):
            raise errors.NotFound("There is no such page.")
        return int(text)

    def query(self, name: str) -> str:
        """A value of the address; "" when it is not there."""
        return self.request.query_params.get(name, "").strip()

    def text(self, name: str) -> str:
        """A text of the form; "" when it is not there. Lines end as they do here."""
        value = self.form.get(name, "")
        return "" if isinstance(value, UploadFile) else value.replace("\r\n", "\n")

    def texts(self) -> dict[str, str]:
        """Every text of the form, the last of each name."""
        return {name: self.text(name) for name, value in self.form.multi_items() if isinstance(value, str)}

    def file(self, name: str) -> bytes | None:
        """The content of an uploaded file; None when none was chosen."""
        value = self.form.get(name)
        if not isinstance(value, UploadFile) or not value.filename:
            return None
        value.file.seek(0)
        return value.file.read()

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page, with everything its frame needs beside these values."""
        said = cookies.flash(self.request, self.login)
        html = templates.render(template, call=self, flash=said, **values)
        answer = HTMLResponse(html, status)
        if said:
            cookies.forget(answer, cookies.FLASH)
        if self.login and self.current and str(self.current.id) != cookies.app(self.request):
            cookies.set_app(self, answer, self.current.id)
        return answer

    def part(self, template: str, **values: Any) -> Response:
        """A part of a page, for a script that puts it where it belongs."""
        return HTMLResponse(templates.render(template, call=self, flash=None, **values))

    def redirect(self, path: str, said: str = "", *, kind: str = "ok") -> Response:
        """On to another page, which shows once what is said; kind is ok or bad."""
        answer = RedirectResponse(path, 303)
        if said:
            cookies.set_flash(self, answer, kind, said)
        return answer


def endpoint(db: Database, config: Config, route: Route, lane: anyio.CapacityLimiter, in_flight: InFlight) -> Any:
    """What the toolkit calls for a row of the table; `lane` bounds how many run at once."""

    async def call(request: Request) -> Response:
        started = time.perf_counter()
        this = Call(db=db, config=config, route=route, request=request, now=int(time.time()))
        with Held(in_flight) as held:
            response = await answered(this, held, lane)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        tell(this, response.status_code, time.perf_counter() - started)
        return response

    return call


async def answered(call: Call, held: Held, lane: anyio.CapacityLimiter) -> Response:
    """The answer to a request. Who asks is found out before a form is read, and once more when it has arrived."""
    try:
        if call.route.method == "POST":
            if refused := await anyio.to_thread.run_sync(not_for, call, limiter=lane):
                return refused
            with anyio.fail_after(BODY_SECONDS):
                call.form = await read_form(call, held)
        return await anyio.to_thread.run_sync(carry_out, call, limiter=lane)
    except errors.Refused as refusal:
        return await anyio.to_thread.run_sync(refused_page, call, refusal, limiter=lane)
    except TimeoutError:
        return Response("The form did not arrive in time.", 408)
    except ClientDisconnect:
        return Response(status_code=400)
    finally:
        await call.form.close()


async def read_form(call: Call, held: Held) -> FormData:
    """What the form holds: one file, 200 fields, and as many bytes as its kind may have. TooLarge, Malformed."""
    request = call.request
    with_file = request.headers.get("content-type", "").startswith("multipart/form-data")
    most = LARGEST_BYTES if with_file and call.route.who is Who.ADMIN else LARGEST_TEXT_BYTES
    received = 0
    receive = request.receive

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        size = len(message.get("body", b""))
        received += size
        if received > most:
            raise errors.TooLarge(f"This is larger than {most // 1024} KiB.")
        held.add(size)
        return message

    limited = Request(request.scope, counted)
    try:
        return await limited.form(max_files=1, max_fields=200, max_part_size=LARGEST_BYTES)
    except errors.Refused:
        raise
    except Exception as error:  # the toolkit's own kind, and decoding errors
        if type(error).__name__ not in ("HTTPException", "MultiPartException", "UnicodeDecodeError"):
            raise
        raise errors.Malformed("The form cannot be read.") from None


def not_for(call: Call) -> Response | None:
    """The refusal of a form before it is read: nobody is logged in, or another site sent it; None when it may come."""
    return safely(call, identify)


def carry_out(call: Call) -> Response:
    """Everything that happens in the thread: who asks, whether the form is ours, what they get."""

    def work(call: Call) -> Response:
        identify(call)
        check_csrf(call)
        reject_nul(call)
        return call.route.handler(call)

    return safely(call, work)


def safely(call: Call, work: Callable[[Call], R]) -> R | Response:
    """What the work gives, or the page that says why it gave nothing."""
    try:
        return work(call)
    except errors.Refused as refused:
        return refused_page(call, refused)
    except Exception:
        log.exception("request failed", route=call.route.path)
        return refused_page(call, None)


def identify(call: Call) -> None:
    """Find out who asks, and refuse a form that another site's page has sent. Raises Unauthorized, Forbidden."""
    if call.route.who is Who.UNASKED:
        return
    token = cookies.token(call.request)
    if token:
        call.login = admins.session(call.db, token, call.now, touch=not call.route.live)
    if call.route.method == "POST" and not is_ours(call.request.headers):
        raise errors.Forbidden(FOREIGN)
    if call.route.who is Who.ANYBODY:
        return
    if not call.login:
        raise errors.Unauthorized("Log in first.")


def check_csrf(call: Call) -> None:
    """Refuse a form that changes something and is not from a page of the same session. Raises Forbidden."""
    if call.route.method != "POST" or call.route.who is not Who.ADMIN:
        return
    if not call.login or not call.login.is_csrf(call.text("csrf")):
        raise errors.Forbidden(FOREIGN)


def reject_nul(call: Call) -> None:
    """Refuse what no database takes for a text, before anybody looks for it. Raises Malformed."""
    sent = [*call.request.query_params.multi_items(), *call.form.multi_items()]
    if any("\0" in value for _, value in sent if isinstance(value, str)):
        raise errors.Malformed("What was sent holds a sign that cannot be stored.")


def is_ours(headers: Mapping[str, str]) -> bool:
    """Was a form sent by a page of this server, as far as the browser says?

    Sec-Fetch-Site is only sent where the browser trusts the connection, Origin with every POST.
    Source: W3C, "Fetch Metadata Request Headers"; WHATWG, "Fetch", Origin header.
    """
    site = headers.get("sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        return False


def refused_page(call: Call, refused: errors.Refused | None) -> Response:
    """A refusal as a page; whoever is not logged in is sent to do so, and comes back."""
    is_part = "hx-request" in call.request.headers
    if isinstance(refused, errors.Unauthorized) and call.route.who is Who.ADMIN:
        if is_part:
            return Response(status_code=401, headers={"HX-Refresh": "true"})
        back = call.request.url.path + (f"?{call.request.url.query}" if call.request.url.query else "")
        after = f"?next={quote(back)}" if call.route.method == "GET" and back != ROOT else ""
        return RedirectResponse(f"{ROOT}/login{after}", 303)
    status = next((STATUS[kind] for kind in type(refused).__mro__ if kind in STATUS), 500) if refused else 500
    reason = refused.reason if refused else "Something went wrong here. The server's log says what."
    if refused and refused.limit:
        metrics.limit_reached(refused.limit)
    if isinstance(refused, errors.Unavailable):
        log.warning("unavailable", route=call.route.path, reason=reason)
    try:
        wait = getattr(refused, "wait_seconds", None)
        answer = call.page("error.html", status, reason=reason, wait=wait, title=TITLES.get(status, "Not accepted"))
    except errors.Refused:  # the frame asks the database, which may be what is away
        answer = HTMLResponse(templates.render("away.html", call=call, reason=reason), status)
    if isinstance(refused, errors.TooMany):
        answer.headers["Retry-After"] = str(refused.wait_seconds)
    elif isinstance(refused, errors.Unavailable):
        answer.headers["Retry-After"] = "1"
    return answer


def tell(call: Call, status: int, seconds: float) -> None:
    """One log line and one count for one request; the path's template stands for the path."""
    path = ROOT + call.route.path
    metrics.answered(call.route.method, path, status, seconds)
    log.info("request", method=call.route.method, route=path, status=status, ms=round(seconds * 1000, 1))
