"""The dashboard's side of an exchange (`exchange/run.py`).

    Who, Route    who may call, and a row of the table of pages
    Call          one request, as a handler gets it, and the answers that it can give
    Dashboard     sessions by cookie, forms, errors as pages

A handler is a plain function that runs in a thread. A GET changes nothing. A form that changes something carries
`csrf`, a value that only pages of the same session contain, and is sent by a page of this server. It leads to a page of
its own by a redirection, also when it is refused (`refusals.py`), so that reloading the page sends nothing again. It
also carries a nonce: a form that is sent twice is carried out once, and both answers lead to the same page.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Message

from .. import errors
from ..core import admin_answers, admins, applications
from ..core.admins import Login
from ..core.audit import Actor
from ..exchange import request as common
from ..exchange.run import Edge
from ..exchange.statuses import status_of
from ..exchange.turns import Asker
from ..model import App
from . import cookies, refusals, templates

ROOT = "/dashboard"
LARGEST_BYTES = 1024 * 1024  # of a form with a file
LARGEST_TEXT_BYTES = 64 * 1024  # of a form without: the event loop decodes it, and every other request waits meanwhile
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Not "no-referrer": browsers would then send "Origin: null" with our own forms, and over plain http nothing else.
    # Source: WHATWG, "Fetch", append a request `Origin` header.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
STATUS: dict[type[errors.Refused], int] = {
    errors.Malformed: 400,
    errors.Late: 408,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.TooLarge: 413,
    errors.Invalid: 422,
    errors.Unreached: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}
TITLES = {404: "Not found", 429: "Too many requests", 500: "Internal error", 503: "Temporarily unavailable"}
VIEWERS = "Your role is viewer: this is for owners. Ask an owner."
RUNNING = "This form was sent twice. The first one is still being carried out: load the page again to see the result."
RUNNING_SECONDS, LOOK_SECONDS = 3, 0.05
FOREIGN = "This form comes from another site or from an earlier session. Load the page again."


class Who(Enum):
    """Who may call."""

    PUBLIC = "anybody, and no session is looked up: for files, which must be served while the database is down"
    ANYBODY = "anybody"
    ADMIN = "a logged-in admin"
    OWNER = "a logged-in admin whose role is owner"


@dataclass(frozen=True, kw_only=True)
class Route(common.Route):
    """A row of the table of pages, with who may call it.

    live      a part of a page that the page itself reloads: it does not extend the session
    repeats   a form that changes nothing, or the admin's own session only: it may be sent any number of times
    """

    handler: "Callable[[Call], Response]"
    who: Who = Who.ADMIN
    live: bool = False
    repeats: bool = False

    @property
    def needs_login(self) -> bool:
        """Is it for admins only?"""
        return self.who in (Who.ADMIN, Who.OWNER)

    @property
    def is_once(self) -> bool:
        """Is it a form that is carried out once, even if it is sent twice?"""
        return self.method == "POST" and self.needs_login and not self.repeats


@dataclass(kw_only=True)
class Call(common.Call):
    """One request. `form` is the decoded body; `login` is set once the admin has been identified.

    is_refused   a form that has changed nothing: it may be sent again
    """

    route: Route
    form: FormData = field(default_factory=FormData)
    login: Login | None = None
    is_refused: bool = False
    not_found: ClassVar[str] = "There is no such page."

    # ── the admin and the request ────────────────────────────────────────────────────────────────────────────────────

    @property
    def admin(self) -> str:
        """The e-mail of the admin."""
        assert self.login
        return self.login.email

    @property
    def may_change(self) -> bool:
        """May the admin change something?"""
        return bool(self.login and self.login.is_owner)

    @property
    def nonce(self) -> str:
        """A new value for a form, by which it is recognised if it is sent twice."""
        return secrets.token_urlsafe(12)

    @property
    def by(self) -> Actor:
        """The admin, for the audit log."""
        return Actor(self.admin, self.address, self.now)

    @property
    def is_secure(self) -> bool:
        """Does the browser use TLS, to us or to a trusted proxy?"""
        return self.request.url.scheme == "https"

    @property
    def endpoint_url(self) -> str:
        """The address at which apps reach the API: this request's own address with the port of the API."""
        url = self.request.url
        port = self.config.port if self.config.admin_port else url.port
        name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        return f"{url.scheme}://{name}" + (f":{port}" if port else "")

    @common.Once
    def apps(self) -> list[App]:
        """Every application."""
        return applications.all_(self.db)

    @common.Once
    def app(self) -> App:
        """The application in the path. Raises NotFound."""
        app_id = self.path_id("app_id")
        found = next((app for app in self.apps if app.id == app_id), None)
        if not found:
            raise errors.NotFound(f"There is no application {app_id}.")
        return found

    @property
    def current(self) -> App | None:
        """The application of the navigation: the one in the path, else the one shown last, else the first."""
        named = self.request.path_params.get("app_id") or cookies.app(self.request)
        return next((app for app in self.apps if str(app.id) == named), self.apps[0] if self.apps else None)

    def label(self, app: App) -> str:
        """The name of an application, with its id where another one has the same name."""
        is_shared = sum(one.name == app.name for one in self.apps) > 1
        return f"{app.name} · {app.id}" if is_shared else app.name

    def query(self, name: str) -> str:
        """A parameter of the query; "" when it is missing."""
        return self.request.query_params.get(name, "").strip()

    def text(self, name: str) -> str:
        """A text field of the form, with LF line ends; "" when it is missing."""
        value = self.form.get(name, "")
        return "" if isinstance(value, UploadFile) else value.replace("\r\n", "\n")

    def texts(self) -> dict[str, str]:
        """Every text field of the form; the last one wins when a name repeats."""
        return {name: self.text(name) for name, value in self.form.multi_items() if isinstance(value, str)}

    def file(self, name: str) -> bytes | None:
        """The content of an uploaded file; None when no file was chosen."""
        value = self.form.get(name)
        if not isinstance(value, UploadFile) or not value.filename:
            return None
        value.file.seek(0)
        return value.file.read()

    @common.Once
    def refused(self) -> refusals.Refusal:
        """Why the form was refused that has led to this page; an empty refusal if none was."""
        part = self.query("refused")
        return refusals.find(self.db, self.login, part, self.now) if part else refusals.NONE

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page with these values and those of its frame."""
        flash = cookies.flash(self.request, self.login)
        answer = HTMLResponse(self.render(template, flash=flash, **values), status)
        if flash:
            cookies.forget(answer, cookies.FLASH)
        if self.login and self.current and str(self.current.id) != cookies.app(self.request):
            cookies.set_app(answer, self.current.id, secure=self.is_secure)
        return answer

    def part(self, template: str, **values: Any) -> Response:
        """A part of a page, which a script puts into the page."""
        return HTMLResponse(self.render(template, flash=None, **values))

    def render(self, template: str, **values: Any) -> str:
        """A template with these values, as HTML."""
        return templates.render(template, call=self, now=self.now, theme=cookies.theme(self.request), **values)

    def redirect(self, path: str, message: str = "", *, kind: str = "ok") -> Response:
        """A redirection to a page, which shows the message once; kind is ok or bad."""
        self.is_refused = self.is_refused or kind == "bad"
        answer = RedirectResponse(path, 303)
        if message and self.login:
            cookies.set_flash(answer, self.login, cookies.Flash(kind, message), secure=self.is_secure)
        return answer

    def refuse(
        self,
        page: str,
        wrong: Mapping[str, str],
        *,
        form: str = "",
        typed: Iterable[str] = (),
        instead: Mapping[str, str] | None = None,
    ) -> Response:
        """A redirection to the page of a refused form, which shows why, and what was typed in these fields.

        typed     the names of the fields: never those of passwords and other secrets
        instead   texts that stand for several fields, by name
        """
        self.is_refused = True
        texts = {name: self.text(name) for name in typed} | dict(instead or {})
        refusal = refusals.Refusal(form=form, wrong=dict(wrong), typed=texts, at=self.now)
        part = refusals.keep(self.db, self.login, refusal, self.now)
        address, anchor, place = page.partition("#")
        return self.redirect(f"{address}{'&' if '?' in address else '?'}refused={part}{anchor}{place}")


class Dashboard(Edge[Call]):
    """The dashboard's side of an exchange: sessions by cookie, forms, errors as pages."""

    root = ROOT
    headers = HEADERS
    decodes_in_loop = True
    errors_need_thread = True

    def needs_caller(self, route: Route) -> bool:
        """Does `identify` refuse forms of other sites, or those without a login?"""
        return route.who is not Who.PUBLIC

    def limit_bytes(self, route: Route, *, has_file: bool) -> int:
        """More for a form with a file than for one without."""
        return LARGEST_BYTES if has_file and route.needs_login else LARGEST_TEXT_BYTES

    def call(self, route: Route, request: Request, now: int) -> Call:
        """One request."""
        address = request.client.host if request.client else ""
        return Call(db=self.db, config=self.config, route=route, request=request, address=address, now=now)

    def asker(self, call: Call) -> Asker:
        """The admin, once a thread has identified one."""
        asker = super().asker(call)
        return Asker(asker.address, ("admin", call.login.email)) if call.login else asker

    def identify(self, call: Call) -> None:
        """Finds the admin's session, and refuses a form that another site has sent. Raises Unauthorized, Forbidden."""
        if call.route.who is Who.PUBLIC:
            return
        token = cookies.token(call.request)
        if token:
            call.login = admins.session(call.db, token, call.now, touch=not call.route.live)
        if call.route.method == "POST" and not is_ours(call.request.headers):
            raise errors.Forbidden(FOREIGN)
        if call.route.needs_login and not call.login:
            raise errors.Unauthorized("Log in first.")

    async def decode(self, call: Call) -> None:
        """Decodes the form, where the route takes one. Raises Malformed."""
        if call.route.method == "POST":
            call.form = await decoded_form(call.request, call.body)

    def respond(self, call: Call) -> Response:
        """The handler's answer, once the form has been checked."""
        self.identify(call)
        check_csrf(call)
        check_role(call)
        reject_nul(call)
        return once(call) if call.route.is_once and call.text("nonce") else call.route.handler(call)

    def refusal(self, call: Call, refused: errors.Refused) -> Response:
        """A refusal as a page; who is not logged in is redirected to the log-in page, and back afterwards."""
        if isinstance(refused, errors.Unauthorized) and call.route.needs_login:
            return log_in_first(call)
        return error_page(
            call, status_of(type(refused), STATUS), refused.reason, getattr(refused, "wait_seconds", None)
        )

    def failure(self, call: Call) -> Response:
        """An internal error as a page, without details."""
        return error_page(call, 500, "Something went wrong on the server. Its log has the details.")


async def decoded_form(request: Request, body: bytes) -> FormData:
    """The fields of a form: at most one file and 200 fields. Raises Malformed."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        return await Request(request.scope, receive).form(max_files=1, max_fields=200, max_part_size=LARGEST_BYTES)
    except (HTTPException, MultiPartException, UnicodeDecodeError):
        raise errors.Malformed("The form cannot be read.") from None


def check_csrf(call: Call) -> None:
    """Refuses a form that changes something and is not from a page of the same session. Raises Forbidden."""
    if call.route.method != "POST" or not call.route.needs_login:
        return
    if not call.login or not call.login.is_csrf(call.text("csrf")):
        raise errors.Forbidden(FOREIGN)


def check_role(call: Call) -> None:
    """Refuses what only owners may do. Raises Forbidden."""
    if call.route.who is Who.OWNER and not call.may_change:
        raise errors.Forbidden(VIEWERS)


def once(call: Call) -> Response:
    """Carries out a form, unless it was sent already: then a redirection to the page to which it led.

    A form that is refused, or that leads to no page, may be sent again.
    """
    assert call.login
    last = time.monotonic() + RUNNING_SECONDS
    while not admin_answers.begun(call.db, call.login, call.text("nonce"), call.now):
        if goes_to := led_to(call, last):
            return call.redirect(goes_to)
        if time.monotonic() > last:
            return call.redirect(ROOT, RUNNING, kind="bad")
    return carried_out(call)


def carried_out(call: Call) -> Response:
    """The answer of the handler. Records the page to which the form led, unless it was refused."""
    assert call.login
    goes_to = ""
    try:
        answer = call.route.handler(call)
        goes_to = "" if call.is_refused else answer.headers.get("location", "")
    finally:
        if goes_to:
            admin_answers.finished(call.db, call.login, call.text("nonce"), goes_to)
        else:
            admin_answers.cancelled(call.db, call.login, call.text("nonce"), call.now)
    return answer


def led_to(call: Call, last: float) -> str:
    """The page to which a form led that was sent already; "" if it was refused, or runs longer than until `last`."""
    assert call.login
    while (found := admin_answers.led_to(call.db, call.login, call.text("nonce"), call.now)) == "":
        if time.monotonic() > last:
            break
        time.sleep(LOOK_SECONDS)
    return found or ""


def reject_nul(call: Call) -> None:
    """Refuses text with NUL characters, which no database stores. Raises Malformed."""
    sent = [*call.request.query_params.multi_items(), *call.form.multi_items()]
    if any("\0" in value for _, value in sent if isinstance(value, str)):
        raise errors.Malformed("The input contains a NUL character, which cannot be stored.")


def is_ours(headers: Mapping[str, str]) -> bool:
    """Was a form sent by a page of this server, according to the browser?

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


def log_in_first(call: Call) -> Response:
    """A redirection to the log-in page, which leads back to a page that was asked for by GET."""
    if "hx-request" in call.request.headers:
        return Response(status_code=401, headers={"HX-Refresh": "true"})
    url = call.request.url
    back = url.path + (f"?{url.query}" if url.query else "")
    after = f"?next={quote(back)}" if call.route.method == "GET" and back != ROOT else ""
    return RedirectResponse(f"{ROOT}/login{after}", 303)


def error_page(call: Call, status: int, reason: str, wait: int | None = None) -> Response:
    """An error as a page; without navigation while the database is down, because the frame reads it."""
    title = TITLES.get(status, "Not accepted")
    try:
        return call.page("error.html", status, reason=reason, wait=wait, title=title)
    except errors.Refused:
        return HTMLResponse(call.render("away.html", flash=None, reason=reason), status)
