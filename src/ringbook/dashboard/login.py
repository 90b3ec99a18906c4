"""Logging in and out, invitations, and an admin's own account.

An unknown e-mail gets the same answer after the same time as a wrong password (`core/admins.py`).
"""

from starlette.responses import Response

from .. import errors, metrics
from ..core import admins
from . import browsers, cookies
from .endpoint import ROOT, Call, Route, Who


def show(call: Call) -> Response:
    """The log-in form; an admin who is logged in is redirected."""
    return call.redirect(_after(call.query("next"))) if call.login else _form(call)


def _form(call: Call, status: int = 200, *, trouble: str = "", email: str = "", after: str = "") -> Response:
    after = after or call.query("next")
    return call.page("login.html", status, trouble=trouble, email=email, after=after, any_admin=admins.any_(call.db))


def log_in(call: Call) -> Response:
    """Opens a session, and redirects to the page that the admin asked for."""
    email, after = call.text("email"), call.text("next")
    try:
        login = admins.sign_in(
            call.db,
            call.config.limits,
            email,
            call.text("password"),
            call.address,
            call.now,
            browser=browser(call),
        )
    except errors.Unauthorized as refused:
        return _form(call, 401, trouble=refused.reason, email=email, after=after)
    except errors.TooMany as refused:
        metrics.limit_reached(refused.limit)
        answer = _form(call, 429, trouble=f"{refused.reason}. Wait {refused.wait_seconds} s.", email=email, after=after)
        answer.headers["Retry-After"] = str(refused.wait_seconds)
        return answer
    return _logged_in(call, login, _after(after))


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
    return _invited(call, {})


def _invited(call: Call, wrong: dict[str, str], status: int = 200) -> Response:
    found = admins.invited(call.db, call.request.path_params["token"], call.now)
    return call.page("invitation.html", status, invitation=found, errors=wrong)


def accept(call: Call) -> Response:
    """Makes the invited admin, and opens a session."""
    new = call.text("new")
    try:
        if new != call.text("again"):
            raise errors.Invalid("differs from the password", field="again")
        login = admins.accept(
            call.db, call.request.path_params["token"], new, call.address, call.now, browser=browser(call)
        )
    except errors.Invalid as refused:
        return _invited(call, {refused.field: refused.reason}, 422)
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
    return _account(call, {})


def _account(call: Call, wrong: dict[str, str], status: int = 200) -> Response:
    sessions = admins.sessions_of(call.db, call.admin, call.now)
    return call.page("account.html", status, errors=wrong, sessions=sessions)


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
        return _account(call, {refused.field: refused.reason}, 422)
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
