"""Cookies: the session's token, what the next page says once, and what an admin has chosen.

token, set_token            the session
flash, set_flash            said once after a form was sent; signed with the session, so that nobody else can say it
theme, set_theme            "light", "dark" or "" for what the system wishes
forget                      the end of one
"""

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from ..core.admins import Login
    from .endpoint import Call

PATH = "/dashboard"
TOKEN, FLASH, THEME, APP = "ringbook_admin", "ringbook_said", "ringbook_theme", "ringbook_app"
THEMES = ("light", "dark")
YEAR = 365 * 86_400
FLASH_SECONDS = 60
LONGEST = 600


class Flash(msgspec.Struct, frozen=True):
    """What a page says once: kind is ok or bad."""

    kind: str
    text: str


def token(request: Request) -> str:
    """The session's token, "" when there is none."""
    return request.cookies.get(TOKEN, "")


def set_token(call: "Call", answer: Response, value: str, max_age: int) -> None:
    """Log the browser in."""
    _set(call, answer, TOKEN, value, max_age)


def theme(request: Request) -> str:
    """What the browser's owner has chosen."""
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else ""


def set_theme(call: "Call", answer: Response, value: str) -> None:
    """Remember a choice; anything else forgets it."""
    if value in THEMES:
        _set(call, answer, THEME, value, YEAR)
    else:
        forget(answer, THEME)


def app(request: Request) -> str:
    """The id of the application that was looked at last, "" when none was."""
    return request.cookies.get(APP, "")


def set_app(call: "Call", answer: Response, app_id: int) -> None:
    """Remember it for the pages that belong to none."""
    _set(call, answer, APP, str(app_id), YEAR)


def flash(request: Request, login: "Login | None") -> Flash | None:
    """What is to be said."""
    body, _, signature = request.cookies.get(FLASH, "").partition(".")
    if not login or not login.is_signed(f"flash {body}", signature):
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(body), type=Flash)
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        return None


def set_flash(call: "Call", answer: Response, kind: str, text: str) -> None:
    """Have the next page say something."""
    if call.login:
        body = base64.urlsafe_b64encode(msgspec.json.encode(Flash(kind, text[:LONGEST]))).decode()
        _set(call, answer, FLASH, f"{body}.{call.login.signature(f'flash {body}')}", FLASH_SECONDS)


def forget(answer: Response, name: str) -> None:
    """Have the browser forget a cookie."""
    answer.delete_cookie(name, path=PATH)


def _set(call: "Call", answer: Response, name: str, value: str, max_age: int) -> None:
    answer.set_cookie(name, value, max_age=max_age, path=PATH, secure=call.is_secure, httponly=True, samesite="lax")
