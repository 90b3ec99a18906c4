"""The page of an application's keys and SDK snippets; rotating keys, renaming and deleting the application."""

from starlette.responses import Response

from .. import errors
from ..core import applications
from .applications import to_secret
from .endpoint import ROOT, Call, Route, Who
from .snippets import endpoint_of, snippets

MOST_USERS = 1_000  # a larger application is deleted by a command, which shows the progress


def show(call: Call) -> Response:
    """The keys and the snippets."""
    return _page(call)


def _page(call: Call, status: int = 200, *, name: str | None = None, error: str = "") -> Response:
    endpoint, wrong = endpoint_of(call.query("endpoint"), call.endpoint_url)
    return call.page(
        "keys.html",
        status,
        app=call.app,
        endpoint=endpoint,
        typed=call.query("endpoint") if wrong else endpoint,
        wrong=wrong,
        snippets=snippets(call.app, endpoint),
        name=call.app.name if name is None else name,
        name_error=error,
    )


def rename(call: Call) -> Response:
    """Renames the application."""
    try:
        applications.rename(call.db, call.app.id, call.text("name"), by=call.by)
    except errors.Invalid as refused:
        return _page(call, 422, name=call.text("name"), error=refused.reason)
    return call.redirect(f"{ROOT}/apps/{call.app.id}/keys", "The application was renamed.")


def ask_rotate(call: Call) -> Response:
    """The form that confirms the rotation of keys."""
    return call.page("rotate.html", app=call.app, error="")


def rotate(call: Call) -> Response:
    """Creates new keys after the name was typed. Only the page that follows shows the secret, once."""
    if call.text("typed").strip() != call.app.name:
        return call.page(
            "rotate.html", 422, app=call.app, error="is not the name of the application; the keys were not changed"
        )
    app = applications.rotate_keys(call.db, call.app.id, by=call.by)
    return to_secret(call, app, "New keys")


def ask_delete(call: Call) -> Response:
    """The form that confirms the deletion."""
    return call.page("delete.html", app=call.app, few=_has_few(call), error="", most=MOST_USERS)


def delete(call: Call) -> Response:
    """Deletes the application with all its users after its name was typed."""
    few = _has_few(call)
    if not few or call.text("typed").strip() != call.app.name:
        error = "is not the name of the application; nothing was deleted" if few else ""
        return call.page("delete.html", 422, app=call.app, few=few, error=error, most=MOST_USERS)
    count = applications.delete(call.db, call.app.id, by=call.by)
    return call.redirect(
        f"{ROOT}/apps",
        f"The application {call.app.name} was deleted, with {count} {'user' if count == 1 else 'users'}.",
    )


def _has_few(call: Call) -> bool:
    return not applications.has_more_users(call.db, call.app.id, MOST_USERS)


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/keys", handler=show),
    Route(method="POST", path="/apps/{app_id}/keys/name", handler=rename, who=Who.OWNER),
    Route(method="GET", path="/apps/{app_id}/keys/rotate", handler=ask_rotate, who=Who.OWNER),
    Route(method="POST", path="/apps/{app_id}/keys/rotate", handler=rotate, who=Who.OWNER),
    Route(method="GET", path="/apps/{app_id}/delete", handler=ask_delete, who=Who.OWNER),
    Route(method="POST", path="/apps/{app_id}/delete", handler=delete, who=Who.OWNER, slow=True),
]
