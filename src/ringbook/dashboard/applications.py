"""The list of applications, the form that creates one, and the page that shows a new secret once."""

import msgspec
from starlette.responses import Response

from .. import errors
from ..core import admin_answers, applications
from ..model import App
from .endpoint import ROOT, Call, Route, Who


def start(call: Call) -> Response:
    """Redirects to the current application, or to the list when there is none."""
    return call.redirect(f"{ROOT}/apps/{call.current.id}" if call.current else f"{ROOT}/apps")


def all_(call: Call) -> Response:
    """The list, and the form."""
    return call.page("applications.html", errors=call.refused.wrong, name=call.refused.typed.get("name", ""))


def create(call: Call) -> Response:
    """Creates an application. Only the page that follows shows its secret, once."""
    try:
        app = applications.create(call.db, call.text("name"), call.now, by=call.by)
    except errors.Invalid as refused:
        return call.refuse(f"{ROOT}/apps#new", {refused.field: refused.reason}, typed=("name",))
    return to_secret(call, app, "Application created")


def to_secret(call: Call, app: App, title: str) -> Response:
    """A redirection to the page that shows the secret of an application once."""
    assert call.login
    text = msgspec.json.encode([title, app.auth_key, app.auth_secret]).decode()
    nonce = admin_answers.keep(call.db, call.login, text, call.now)
    return call.redirect(f"{ROOT}/apps/{app.id}/secret/{nonce}")


def secret(call: Call) -> Response:
    """The secret of an application, which is deleted from the database when it is shown here."""
    assert call.login
    text = admin_answers.shown(call.db, call.login, call.request.path_params["nonce"], call.now)
    title, key, value = msgspec.json.decode(text, type=tuple[str, str, str]) if text else ("The secret", "", "")
    return call.page("secret.html", 200 if text else 410, app=call.app, title=title, key=key, secret=value)


ROUTES = [
    Route(method="GET", path="", handler=start),
    Route(method="GET", path="/", handler=start),
    Route(method="GET", path="/apps", handler=all_),
    Route(method="POST", path="/apps", handler=create, who=Who.OWNER),
    Route(method="GET", path="/apps/{app_id}/secret/{nonce}", handler=secret, who=Who.OWNER),
]
