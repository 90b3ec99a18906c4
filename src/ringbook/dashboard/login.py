"""Logging in and out, and what admins change of themselves.

The same answer, after the same time, for an e-mail that no admin has as for a wrong password (`core/admins.py`).
"""

from starlette.responses import Response

from .. import errors, metrics
from ..core import admins
from . import cookies
from .endpoint import ROOT, Call, Route, Who


def show(call: Call) -> Response:
    """The form; whoever is logged in is already there."""
    return call.redirect(_after(call.query("next"))) if call.login else _form(call)


def _form(call: Call, status: int = 200, *, trouble: str = "", email: str = "", after: str = "") -> Response:
    after = after or call.query("next")
    return call.page("login.html", status, trouble=trouble, email=email, after=after, any_admin=admins.any_(call.db))


def log_in(call: Call) -> Response:
    """Open a session, and go where the admin wanted to."""
    email, after = call.text("email"), call.text("next")
    try:
        login = admins.sign_in(call.db, call.config.limits, email, call.text("password"), call.address, call.now)
    except errors.Unauthorized as refused:
        return _form(call, 401, trouble=refused.reason, email=email, after=after)
    except errors.TooMany as refused:
        metrics.limit_reached(refused.limit)
        answer = _form(call, 429, trouble=f"{refused.reason}. Wait {refused.wait_seconds} s.", email=email, after=after)
        answer.headers["Retry-After"] = str(refused.wait_seconds)
        return answer
    if call.login:  # a session that nobody knows of any more would live on
        admins.sign_out(call.db, call.login, call.by)
    answer = call.redirect(_after(after))
    cookies.set_token(answer, login.token, admins.LONGEST_SECONDS, secure=call.is_secure)
    return answer


def _after(wanted: str) -> str:
    """Where to go: a page of ours, whatever the address says."""
    ours = wanted.startswith(f"{ROOT}/") and "\\" not in wanted and wanted.isprintable()
    return wanted if ours else ROOT


def log_out(call: Call) -> Response:
    """End this session."""
    assert call.login
    admins.sign_out(call.db, call.login, call.by)
    return _gone(call)


def end_all(call: Call) -> Response:
    """End all sessions of the admin."""
    assert call.login
    admins.end_sessions(call.db, call.login, call.by)
    return _gone(call)


def _gone(call: Call) -> Response:
    answer = call.redirect(f"{ROOT}/login")
    cookies.forget(answer, cookies.TOKEN)
    return answer


def account(call: Call) -> Response:
    """The admin's own page."""
    return call.page("account.html", errors={})


def change_password(call: Call) -> Response:
    """A new password of one's own."""
    assert call.login
    new = call.text("new")
    try:
        if new != call.text("again"):
            raise errors.Invalid("is not the same", field="again")
        admins.change_password(call.db, call.config.limits, call.login, call.text("old"), new, call.by)
    except errors.Invalid as refused:
        return call.page("account.html", 422, errors={refused.field: refused.reason})
    return call.redirect(f"{ROOT}/account", "Your password is changed; your other sessions are ended.")


def set_theme(call: Call) -> Response:
    """Light, dark, or as the system wishes."""
    answer = call.redirect(_after(call.text("back")))
    cookies.set_theme(answer, call.text("theme"), secure=call.is_secure)
    return answer


ROUTES = [
    Route(method="GET", path="/login", handler=show, who=Who.ANYBODY),
    Route(method="POST", path="/login", handler=log_in, who=Who.ANYBODY, slow=True),
    Route(method="POST", path="/theme", handler=set_theme, who=Who.ANYBODY),
    Route(method="POST", path="/logout", handler=log_out),
    Route(method="GET", path="/account", handler=account),
    Route(method="POST", path="/account/sessions/end", handler=end_all),
    Route(method="POST", path="/account/password", handler=change_password, slow=True),
]
