"""The pages of users: search, one user, export, erasure, address books.

Contacts are masked until an admin reveals one, which is recorded in the audit log (`core/masked_books.py`).
"""

from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from .. import errors
from ..core import masked_books, push_trace, sessions, user_lookup, user_record, users
from ..profile_fields import FIELDS
from .endpoint import ROOT, Call, Route

PER_PAGE = 50
PUSHES = 10
SHOWN = (*(key for key, field in FIELDS.items() if field.exported), "firebase_uid", "cidp_uid")


def list_(call: Call) -> Response:
    """The newest users, or the matches of a search.

    The search text is sent by POST: it may be a phone number, which must not appear in an address, a browser's history
    or a proxy's log. A link can contain a search too.
    """
    text = call.text("q").strip() or call.query("q")
    if text:
        found = user_lookup.matches(call.db, call.app, text)
        return call.page("users.html", app=call.app, q=text, users=found, older="", newest="", region=_region(call))
    before = _number(call.query("before"), user_lookup.LAST_ID)
    page = user_lookup.newest(call.db, call.app, before, PER_PAGE + 1)
    here = f"{ROOT}/apps/{call.app.id}/users"
    older = f"{here}?{urlencode({'before': page[PER_PAGE - 1].id})}" if len(page) > PER_PAGE else ""
    return call.page(
        "users.html",
        app=call.app,
        q="",
        users=page[:PER_PAGE],
        older=older,
        newest=here if call.query("before") else "",
        region=_region(call),
    )


def _region(call: Call) -> str:
    return call.app.settings.default_region


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else otherwise


def _user(call: Call) -> dict[str, Any]:
    """The row of the user in the path. Raises NotFound, also for a user of another application."""
    user_id = call.path_id("user_id")
    row = user_record.account(call.db, user_id)
    if not row or row["app_id"] != call.app.id:
        raise errors.NotFound(f"There is no user {user_id} in this application.")
    return row


def show(call: Call) -> Response:
    """One user."""
    return _page(call, _user(call))


def _page(call: Call, user: dict[str, Any], status: int = 200) -> Response:
    user_id = user["id"]
    details = user_record.details(call.db, user_id)
    trace = push_trace.of_user(call.db, user_id, call.now, PUSHES)
    return call.page(
        "user.html",
        status,
        app=call.app,
        user=user,
        facts=[(_label(name), user[name]) for name in SHOWN if user[name] not in (None, "")],
        numbers=details.numbers,
        tags=details.tags,
        sessions=details.sessions,
        subscriptions=details.subscriptions,
        books=masked_books.books_of(call.db, user_id),
        trace=trace,
    )


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize().replace(" id", " id").replace("Cidp", "Identity provider")


def book(call: Call) -> Response:
    """An address book, masked."""
    return _book(call, None)


def reveal_contact(call: Call) -> Response:
    """The same page with one contact unmasked. The audit log records it first."""
    user, place = _user(call), _number(call.text("place"), 0)
    return _book(call, masked_books.contact(call.db, user["id"], _book_number(call), place, call.by))


def _book_number(call: Call) -> int:
    return _number(call.request.path_params["book"], -1)


def _book(call: Call, whole: masked_books.Shown | None) -> Response:
    user, number = _user(call), _book_number(call)
    found = next((one for one in masked_books.books_of(call.db, user["id"]) if one["book"] == number), None)
    if not found:
        raise errors.NotFound("There is no such address book.")
    after = _number(call.query("after"), 0)
    page = masked_books.masked(call.db, user["id"], number, after, PER_PAGE + 1)
    shown = [whole if whole and one.place == whole.place else one for one in page[:PER_PAGE]]
    here = f"{ROOT}/apps/{call.app.id}/users/{user['id']}/books/{number}"
    older = f"{here}?{urlencode({'after': shown[-1].place})}" if len(page) > PER_PAGE else ""
    newest = here if after else ""
    return call.page(
        "book.html",
        app=call.app,
        user=user,
        book=found,
        contacts=shown,
        after=after,
        book_address=here,
        older=older,
        newest=newest,
    )


def end_sessions(call: Call) -> Response:
    """Ends all sessions of a user."""
    user = _user(call)
    count = sessions.end_all(call.db, user["id"], by=call.by)
    return call.redirect(
        _address(call, user), f"{_counted(count, 'session')} ended. The app may open a new one automatically."
    )


def export(call: Call) -> Response:
    """All data of a user, as a file."""
    user = _user(call)
    content = msgspec.json.format(msgspec.json.encode(user_record.everything(call.db, user["id"], by=call.by)))
    name = f"ringbook-user-{user['id']}.json"
    return Response(
        content, media_type="application/json", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def ask_erase(call: Call) -> Response:
    """The form that confirms an erasure."""
    return call.page("erase.html", app=call.app, user=_user(call), error="")


def erase(call: Call) -> Response:
    """Erases a user after the id was typed."""
    user = _user(call)
    if call.text("typed").strip() != str(user["id"]):
        return call.page(
            "erase.html", 422, app=call.app, user=user, error="is not the id of the user; nothing was erased"
        )
    users.erase(call.db, user["id"], by=call.by)
    return call.redirect(
        f"{ROOT}/apps/{call.app.id}/users", f"User {user['id']} and all data of this user were erased."
    )


def _address(call: Call, user: dict[str, Any]) -> str:
    return f"{ROOT}/apps/{call.app.id}/users/{user['id']}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/users", handler=list_),
    Route(method="POST", path="/apps/{app_id}/users", handler=list_),
    Route(method="GET", path="/apps/{app_id}/users/{user_id}", handler=show),
    Route(method="GET", path="/apps/{app_id}/users/{user_id}/books/{book}", handler=book),
    Route(method="POST", path="/apps/{app_id}/users/{user_id}/books/{book}", handler=reveal_contact),
    Route(method="POST", path="/apps/{app_id}/users/{user_id}/sessions/end", handler=end_sessions),
    Route(method="POST", path="/apps/{app_id}/users/{user_id}/export", handler=export),
    Route(method="GET", path="/apps/{app_id}/users/{user_id}/erase", handler=ask_erase),
    Route(method="POST", path="/apps/{app_id}/users/{user_id}/erase", handler=erase),
]
