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
    endpoint, wrong = endpoint_of(call.query("endpoint"), call.endpoint_url)
    return call.page(
        "keys.html",
        app=call.app,
        endpoint=endpoint,
        typed=call.query("endpoint") if wrong else endpoint,
        wrong=wrong,
        snippets=snippets(call.app, endpoint),
        name=call.refused.typed.get("name", call.app.name),
        name_error=call.refused.wrong.get("name", ""),
    )


def rename(call: Call) -> Response:
    """Renames the application."""
    page = f"{ROOT}/apps/{call.app.id}/keys"
    try:
        applications.rename(call.db, call.app.id, call.text("name"), by=call.by)
    except errors.Invalid as refused:
        return call.refuse(f"{page}#rename", {"name": refused.reason}, typed=("name",))
    return call.redirect(page, "The application was renamed.")


def ask_rotate(call: Call) -> Response:
    """The form that confirms the rotation of keys."""
    return call.page("rotate.html", app=call.app, error=call.refused.wrong.get("typed", ""))


def rotate(call: Call) -> Response:
    """Creates new keys after the name was typed. Only the page that follows shows the secret, once."""
    if call.text("typed").strip() != call.app.name:
        wrong = "is not the name of the application; the keys were not changed"
        return call.refuse(f"{ROOT}/apps/{call.app.id}/keys/rotate", {"typed": wrong})
    app = applications.rotate_keys(call.db, call.app.id, by=call.by)
    return to_secret(call, app, "New keys")


def ask_delete(call: Call) -> Response:
    """The form that confirms the deletion."""
    error = call.refused.wrong.get("typed", "")
    return call.page("delete.html", app=call.app, few=_has_few(call), error=error, most=MOST_USERS)


def delete(call: Call) -> Response:
    """Deletes the application with all its users after its name was typed."""
    few = _has_few(call)
    if not few or call.text("typed").strip() != call.app.name:
        wrong = "is not the name of the application; nothing was deleted" if few else ""
        return call.refuse(f"{ROOT}/apps/{call.app.id}/delete", {"typed": wrong})
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
