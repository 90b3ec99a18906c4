"""The dashboard's cookies: the session's token, a message for the next page, and what the browser's owner has chosen.

    token, set_token    the session
    flash, set_flash    a message that the next page shows once; signed with the session, so that nobody can forge it
    theme, set_theme    "light", "dark" or "" for the system's setting
    app, set_app        the application that was shown last
    forget              deletes a cookie

They are read here, and not by Starlette: that unquotes every cookie, which takes quadratic time before Python 3.11.10
and 3.12.6 (CVE-2024-7592). None of these needs quotes. A longer header than LONGEST_HEADER is read as if it had no
cookies.

`secure` says whether the browser uses TLS: then the cookie is for TLS only.
"""

import base64
import binascii

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..core.admins import Login

PATH = "/dashboard"
TOKEN, FLASH, THEME, APP = "ringbook_admin", "ringbook_said", "ringbook_theme", "ringbook_app"
THEMES = ("light", "dark")
YEAR = 365 * 86_400
FLASH_SECONDS = 60
LONGEST_FLASH = 600
LONGEST_HEADER = 8_192  # the longest of these cookies has some 3,500 bytes, the others some 100 together


class Flash(msgspec.Struct, frozen=True):
    """A message that a page shows once; kind is ok or bad."""

    kind: str
    text: str


_flash = msgspec.json.Decoder(Flash)


def token(request: Request) -> str:
    """The session's token, "" when there is none."""
    return _value(request, TOKEN)


def set_token(answer: Response, value: str, max_age: int, *, secure: bool) -> None:
    """Sets the token of a new session."""
    _set(answer, TOKEN, value, max_age, secure)


def theme(request: Request) -> str:
    """The theme that the browser's owner has chosen."""
    chosen = _value(request, THEME)
    return chosen if chosen in THEMES else ""


def set_theme(answer: Response, value: str, *, secure: bool) -> None:
    """Stores the chosen theme; a value that is no theme deletes the choice."""
    if value in THEMES:
        _set(answer, THEME, value, YEAR, secure)
    else:
        forget(answer, THEME)


def app(request: Request) -> str:
    """The id of the application that was shown last, "" when none was."""
    return _value(request, APP)


def set_app(answer: Response, app_id: int, *, secure: bool) -> None:
    """Stores the application for the pages that belong to no application."""
    _set(answer, APP, str(app_id), YEAR, secure)


def flash(request: Request, login: Login | None) -> Flash | None:
    """The message to show, None when there is none or it is not signed by this session."""
    body, _, signature = _value(request, FLASH).partition(".")
    if not login or not login.is_signed(f"flash {body}", signature):
        return None
    try:
        return _flash.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        return None


def set_flash(answer: Response, login: Login, message: Flash, *, secure: bool) -> None:
    """Stores a message for the next page; a long text is cut."""
    cut = Flash(message.kind, message.text[:LONGEST_FLASH])
    body = base64.urlsafe_b64encode(msgspec.json.encode(cut)).decode().rstrip("=")  # = would need quotes
    _set(answer, FLASH, f"{body}.{login.signature(f'flash {body}')}", FLASH_SECONDS, secure)


def forget(answer: Response, name: str) -> None:
    """Deletes a cookie in the browser."""
    answer.delete_cookie(name, path=PATH)


def _value(request: Request, name: str) -> str:
    """The value of a cookie as it was sent, "" when there is none. Of several with one name, the last counts."""
    headers = request.headers.getlist("cookie")
    if sum(map(len, headers)) > LONGEST_HEADER:
        return ""
    found = ""
    for header in headers:
        for cookie in header.split(";"):
            key, _, value = cookie.strip().partition("=")
            if key == name:
                found = value
    return found


def _set(answer: Response, name: str, value: str, max_age: int, secure: bool) -> None:
    answer.set_cookie(name, value, max_age=max_age, path=PATH, secure=secure, httponly=True, samesite="lax")
