"""The page on which a user chooses a new password, at the link of a mail: /reset/TOKEN.

pages(config, db, in_flight, unknown)   the ASGI application

A GET shows the form and changes nothing; only the POST of the form uses up the link. The page has no scripts, and
nothing from another server.
"""

from functools import cache
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from .. import errors, times
from ..config import Config
from ..core import resets
from ..exchange.bodies import InFlight
from ..exchange.request import Call, Route
from ..exchange.run import Edge, Endpoint, Router
from ..exchange.statuses import API, status_of
from ..exchange.turns import Kind, Places, Turns
from ..store.db import Database
from ..times import Clock
from .start_page import policy, template

LARGEST_BYTES = 16 * 1024
SLOW_AT_ONCE = 4
DIFFERENT = "The two passwords are different."
UNREADABLE = "The form cannot be read."
# The address of the page is a secret: no other server is told it.
HEADERS = {"referrer-policy": "no-referrer", "x-robots-tag": "noindex"}


def pages(config: Config, db: Database, in_flight: InFlight, unknown: ASGIApp, clock: Clock = times.now) -> ASGIApp:
    """The application that serves the page."""
    edge = ResetPage(db, config, in_flight, clock)
    places = Places(SLOW_AT_ONCE, SLOW_AT_ONCE // 2, SLOW_AT_ONCE // 2, config.limits.turn_seconds)
    turns = Turns({Kind.SMALL: places, Kind.SLOW: places})
    return Router([Endpoint(edge, route, turns) for route in ROUTES], unknown)


class ResetPage(Edge[Call]):
    """The page's side of an exchange: no session, a small form, errors as pages."""

    headers = HEADERS

    def needs_caller(self, _route: Route) -> bool:
        """The token in the address is the only credential, and the handler checks it."""
        return False

    def limit_bytes(self, _route: Route, *, has_file: bool) -> int:
        """A form with two passwords."""
        return LARGEST_BYTES

    def call(self, route: Route, request: Request, now: int) -> Call:
        """One request."""
        address = request.client.host if request.client else ""
        return Call(db=self.db, config=self.config, route=route, request=request, address=address, now=now)

    def identify(self, _call: Call) -> None:
        """Anybody may ask for the page."""

    def respond(self, call: Call) -> Response:
        """The handler's answer."""
        answer: Response = call.route.handler(call)
        return answer

    def refusal(self, _call: Call, refused: errors.Refused) -> Response:
        """A refusal as a page."""
        return page("over" if isinstance(refused, errors.NotFound) else "error", _sentence(refused), _status(refused))

    def failure(self, _call: Call) -> Response:
        """An internal error as a page, without details."""
        return page("error", "Something went wrong on the server. Try again.", 500)


def show(call: Call) -> Response:
    """The form, while the link is valid."""
    if not resets.is_valid(call.db, token(call), call.now):
        raise errors.NotFound(resets.OVER)
    return page("form")


def choose(call: Call) -> Response:
    """Sets the password. After a mistake the form is shown again, and the link stays valid."""
    password, again = passwords_of(call.body)
    try:
        if password != again:
            raise errors.Invalid(DIFFERENT)
        resets.use_up(call.db, token(call), password, call.now)
    except errors.Invalid as wrong:
        return page("form", _sentence(wrong), _status(wrong))
    return page("done")


def token(call: Call) -> str:
    """The token in the address."""
    return str(call.request.path_params["token"])


def passwords_of(body: bytes) -> tuple[str, str]:
    """The two fields of the form."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10, errors="strict")
    except ValueError:
        raise errors.Malformed(UNREADABLE) from None
    return fields.get("password", [""])[0], fields.get("again", [""])[0]


def _sentence(refused: errors.Refused) -> str:
    return f"The password {refused.reason}." if refused.field else refused.reason


def _status(refused: errors.Refused) -> int:
    return status_of(type(refused), API)


def page(state: str, wrong: str = "", status: int = 200) -> Response:
    """The page.

    state   form, done, over (the link is no longer valid) or error
    """
    html = _html(state, wrong)
    return HTMLResponse(html, status, {"content-security-policy": policy(html, forms="'self'")})


@cache
def _html(state: str, wrong: str) -> str:
    return template("reset.html").render(state=state, wrong=wrong)


ROUTES = [
    Route(method="GET", path=f"{resets.PATH}{{token}}", handler=show),
    Route(method="POST", path=f"{resets.PATH}{{token}}", handler=choose, slow=True),
]
