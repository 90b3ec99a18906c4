"""Logging in and out, invitations, and an admin's own account.

An unknown e-mail gets the same answer after the same time as a wrong password (`core/admins.py`).
"""

from urllib.parse import quote, urlencode

from starlette.responses import Response

from .. import errors, metrics
from ..core import admins
from . import browsers, cookies
from .endpoint import ROOT, Call, Route, Who


def show(call: Call) -> Response:
    """The log-in form; an admin who is logged in is redirected."""
    if call.login and not call.query("refused"):
        return call.redirect(_after(call.query("next")))
    return _form(call)


def _form(call: Call) -> Response:
    return call.page(
        "login.html",
        trouble=call.refused.wrong.get("password", ""),
        email=call.refused.typed.get("email", ""),
        after=call.query("next"),
        any_admin=admins.any_(call.db),
    )


def log_in(call: Call) -> Response:
    """Opens a session, and redirects to the page that the admin asked for."""
    try:
        login = admins.sign_in(
            call.db,
            call.config.limits,
            call.text("email"),
            call.text("password"),
            call.address,
            call.now,
            browser=browser(call),
        )
    except errors.Unauthorized as refused:
        return _refused(call, refused.reason)
    except errors.TooMany as refused:
        metrics.limit_reached(refused.limit)
        answer = _refused(call, f"{refused.reason}. Wait {refused.wait_seconds} s.")
        answer.headers["Retry-After"] = str(refused.wait_seconds)
        return answer
    return _logged_in(call, login, _after(call.text("next")))


def _refused(call: Call, reason: str) -> Response:
    after = call.text("next")
    page = f"{ROOT}/login" + (f"?{urlencode({'next': after})}" if after else "")
    return call.refuse(page, {"password": reason}, typed=("email",))


def _logged_in(call: Call, login: admins.Login, goes_to: str) -> Response:
    if call.login:  # otherwise the previous session would stay open, and its token would be lost
        admins.sign_out(call.db, call.login, call.by)
    answer = call.redirect(goes_to)
    cookies.set_token(answer, login.token, admins.LONGEST_SECONDS, secure=call.is_secure)
    return answer


def browser(call: Call) -> str:
    """The browser of the request, for the list of sessions."""
    return browsers.named(call.request.headers.get("user-agent", ""))


# ── invitations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def invited(call: Call) -> Response:
    """The form by which an invited admin chooses a password."""
    found = admins.invited(call.db, call.request.path_params["token"], call.now)
    return call.page("invitation.html", invitation=found, errors=call.refused.wrong)


def accept(call: Call) -> Response:
    """Makes the invited admin, and opens a session."""
    new, token = call.text("new"), call.request.path_params["token"]
    try:
        if new != call.text("again"):
            raise errors.Invalid("differs from the password", field="again")
        login = admins.accept(call.db, token, new, call.address, call.now, browser=browser(call))
    except errors.Invalid as refused:
        return call.refuse(f"{ROOT}/invitation/{quote(token, safe='')}", {refused.field: refused.reason})
    return _logged_in(call, login, ROOT)


# ── one's own account ────────────────────────────────────────────────────────────────────────────────────────────────


def _after(address: str) -> str:
    """The address if it is a page of the dashboard, else the start: no redirection to other sites."""
    is_ours = address.startswith(f"{ROOT}/") and "\\" not in address and address.isprintable()
    return address if is_ours else ROOT


def log_out(call: Call) -> Response:
    """Ends this session."""
    assert call.login
    admins.sign_out(call.db, call.login, call.by)
    return _logged_out(call)


def end_all(call: Call) -> Response:
    """Ends all sessions of the admin."""
    assert call.login
    admins.end_sessions(call.db, call.login, call.by)
    return _logged_out(call)


def _logged_out(call: Call) -> Response:
    answer = call.redirect(f"{ROOT}/login")
    cookies.forget(answer, cookies.TOKEN)
    return answer


def account(call: Call) -> Response:
    """The page of the admin's account."""
    sessions = admins.sessions_of(call.db, call.admin, call.now)
    return call.page("account.html", errors=call.refused.wrong, sessions=sessions)


def end_one(call: Call) -> Response:
    """Ends one session of the admin."""
    assert call.login
    session_id = call.text("session")
    admins.end_session(call.db, call.admin, session_id, call.by)
    if session_id == call.login.id:
        return _logged_out(call)
    return call.redirect(f"{ROOT}/account", "The session was ended.")


def change_password(call: Call) -> Response:
    """Changes the admin's password."""
    assert call.login
    new = call.text("new")
    try:
        if new != call.text("again"):
            raise errors.Invalid("differs from the new password", field="again")
        admins.change_password(call.db, call.config.limits, call.login, call.text("old"), new, call.by)
    except errors.Invalid as refused:
        return call.refuse(f"{ROOT}/account#password", {refused.field: refused.reason})
    return call.redirect(f"{ROOT}/account", "Your password was changed, and your other sessions were ended.")


def set_theme(call: Call) -> Response:
    """Stores the theme: light, dark, or the system's."""
    answer = call.redirect(_after(call.text("back")))
    cookies.set_theme(answer, call.text("theme"), secure=call.is_secure)
    return answer


ROUTES = [
    Route(method="GET", path="/login", handler=show, who=Who.ANYBODY),
    Route(method="POST", path="/login", handler=log_in, who=Who.ANYBODY, slow=True),
    Route(method="GET", path="/invitation/{token}", handler=invited, who=Who.ANYBODY),
    Route(method="POST", path="/invitation/{token}", handler=accept, who=Who.ANYBODY, slow=True),
    Route(method="POST", path="/theme", handler=set_theme, who=Who.ANYBODY),
    Route(method="POST", path="/logout", handler=log_out, repeats=True),
    Route(method="GET", path="/account", handler=account),
    Route(method="POST", path="/account/session/end", handler=end_one, repeats=True),
    Route(method="POST", path="/account/sessions/end", handler=end_all, repeats=True),
    Route(method="POST", path="/account/password", handler=change_password, slow=True),
]
