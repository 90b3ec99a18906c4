"""The pages of users: one user, export, erasure, address books. `user_list.py` has the list.

Contacts are masked until an admin reveals one, which is recorded in the audit log (`core/masked_books.py`). The page
that follows shows it: its address is signed by the session for which it was recorded.
"""

from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from .. import errors
from ..app_settings import AUDIENCES
from ..core import masked_books, masked_users, preferences, push_trace, sessions, user_record, users
from ..core.masked_books import Shown
from ..preferences import Preferences, clock
from ..profile_fields import FIELDS
from .endpoint import ROOT, Call, Route, Who

PER_PAGE = 50
PUSHES = 10
SHOWN = (*(key for key, field in FIELDS.items() if field.exported), "firebase_uid", "cidp_uid")


def number(text: str, otherwise: int) -> int:
    """The number in an address, which may be negative; another one if there is none."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else otherwise


def _user(call: Call) -> dict[str, Any]:
    """The row of the user in the path, masked for viewers. Raises NotFound, also for a user of another application."""
    user_id = call.path_id("user_id")
    row = user_record.account(call.db, user_id)
    if not row or row["app_id"] != call.app.id:
        raise errors.NotFound(f"There is no user {user_id} in this application.")
    return row if call.may_change else masked_users.row(row)


def show(call: Call) -> Response:
    """One user."""
    user = _user(call)
    user_id = user["id"]
    details = user_record.details(call.db, user_id)
    trace = push_trace.of_user(call.db, user_id, call.now, PUSHES)
    return call.page(
        "user.html",
        app=call.app,
        user=user,
        facts=[(_label(name), user[name]) for name in SHOWN if user[name] not in (None, "")],
        numbers=details.numbers,
        tags=details.tags if call.may_change else [masked_users.text(tag) for tag in details.tags],
        sessions=details.sessions,
        subscriptions=details.subscriptions,
        books=masked_books.books_of(call.db, user_id),
        connected=user_record.connected(call.db, call.app, user_id),
        most_holders=user_record.MOST_HOLDERS,
        joined=_joined(preferences.of_user(call.db, call.app, user_id)),
        trace=trace,
    )


def _joined(chosen: Preferences) -> list[tuple[str, str]]:
    """What holds for the user's joined pushes, in words."""
    quiet = chosen.quiet
    hours = f"{clock(quiet.start)} to {clock(quiet.end)}, {chosen.time_zone}" if quiet else "none"
    return [
        ("Who is told", AUDIENCES[chosen.announce]),
        ("Who finds", AUDIENCES[chosen.discoverable]),
        ("Gets pushes", "yes" if chosen.notify else "no"),
        ("Quiet hours", hours),
        ("Digest", f"after {chosen.digest} pushes in 24 hours"),
        ("Language", chosen.locale or "as the device or the application says"),
    ]


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize().replace(" id", " id").replace("Cidp", "Identity provider")


# ── address books ────────────────────────────────────────────────────────────────────────────────────────────────────


def book(call: Call) -> Response:
    """An address book, masked but for the contact that was just revealed."""
    user, at = _user(call), _book_number(call)
    found = next((one for one in masked_books.books_of(call.db, user["id"]) if one["book"] == at), None)
    if not found:
        raise errors.NotFound("There is no such address book.")
    after = number(call.query("after"), masked_books.FIRST)
    page = masked_books.masked(call.db, user["id"], at, after, PER_PAGE + 1)
    whole = _revealed(call, user["id"], at)
    shown = [whole if whole and one.place == whole.place else one for one in page[:PER_PAGE]]
    here = f"{ROOT}/apps/{call.app.id}/users/{user['id']}/books/{at}"
    return call.page(
        "book.html",
        app=call.app,
        user=user,
        book=found,
        contacts=shown,
        registered=masked_books.registered(call.db, call.app, user["id"], at, after, PER_PAGE),
        form_address=here if after == masked_books.FIRST else f"{here}?{urlencode({'after': after})}",
        older=f"{here}?{urlencode({'after': shown[-1].place})}" if len(page) > PER_PAGE else "",
        newest="" if after == masked_books.FIRST else here,
    )


def reveal_contact(call: Call) -> Response:
    """Records in the audit log that a contact is revealed, and leads to the page that shows it."""
    assert call.login
    user, at = _user(call), _book_number(call)
    shown = masked_books.reveal(call.db, user["id"], at, number(call.text("place"), 0), call.by)
    values: dict[str, str | int] = {"place": shown.place, "seen": _seen(call, user["id"], at, shown)}
    if after := call.query("after"):
        values["after"] = number(after, masked_books.FIRST)
    return call.redirect(f"{ROOT}/apps/{call.app.id}/users/{user['id']}/books/{at}?{urlencode(values)}")


def _revealed(call: Call, user_id: int, at: int) -> Shown | None:
    """The contact in the address, if this session has revealed it and it has not changed since."""
    assert call.login
    if not call.query("place"):
        return None
    place = number(call.query("place"), 0)
    try:
        shown = masked_books.contact(call.db, user_id, at, place)
    except errors.NotFound:
        return None
    return shown if call.login.is_signed(_what(user_id, at, shown), call.query("seen")) else None


def _seen(call: Call, user_id: int, at: int, shown: Shown) -> str:
    assert call.login
    return call.login.signature(_what(user_id, at, shown))


def _what(user_id: int, at: int, shown: Shown) -> str:
    return msgspec.json.encode(["contact", user_id, at, shown.place, shown.phone, shown.name]).decode()


def _book_number(call: Call) -> int:
    return number(call.request.path_params["book"], -1)


# ── who has the user as a contact ────────────────────────────────────────────────────────────────────────────────────


def reveal_holders(call: Call) -> Response:
    """Records in the audit log that an admin sees in whose books a user is, and leads to the page that shows it."""
    assert call.login
    user = _user(call)
    user_record.note_holders(call.db, call.app, user["id"], call.by)
    seen = call.login.signature(f"holders {user['id']}")
    return call.redirect(f"{_address(call, user)}/holders?{urlencode({'seen': seen})}")


def holders(call: Call) -> Response:
    """The users in whose address books a user is, if this session has revealed them; else the user's page."""
    assert call.login
    user = _user(call)
    if not call.login.is_signed(f"holders {user['id']}", call.query("seen")):
        return call.redirect(_address(call, user))
    found = user_record.holders(call.db, call.app, user["id"])
    return call.page("holders.html", app=call.app, user=user, users=found, most=user_record.SHOWN_HOLDERS)


# ── sessions, export, erasure ────────────────────────────────────────────────────────────────────────────────────────


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
    return call.page("erase.html", app=call.app, user=_user(call), error=call.refused.wrong.get("typed", ""))


def erase(call: Call) -> Response:
    """Erases a user after the id was typed."""
    user = _user(call)
    if call.text("typed").strip() != str(user["id"]):
        return call.refuse(f"{_address(call, user)}/erase", {"typed": "is not the id of the user; nothing was erased"})
    users.erase(call.db, user["id"], by=call.by)
    return call.redirect(
        f"{ROOT}/apps/{call.app.id}/users", f"User {user['id']} and all data of this user were erased."
    )


def _address(call: Call, user: dict[str, Any]) -> str:
    return f"{ROOT}/apps/{call.app.id}/users/{user['id']}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


USER = "/apps/{app_id}/users/{user_id}"
ROUTES = [
    Route(method="GET", path=USER, handler=show),
    Route(method="GET", path=f"{USER}/books/{{book}}", handler=book),
    Route(method="POST", path=f"{USER}/books/{{book}}", handler=reveal_contact, who=Who.OWNER),
    Route(method="GET", path=f"{USER}/holders", handler=holders, who=Who.OWNER),
    Route(method="POST", path=f"{USER}/holders", handler=reveal_holders, who=Who.OWNER),
    Route(method="POST", path=f"{USER}/sessions/end", handler=end_sessions, who=Who.OWNER),
    Route(method="POST", path=f"{USER}/export", handler=export, who=Who.OWNER),
    Route(method="GET", path=f"{USER}/erase", handler=ask_erase, who=Who.OWNER),
    Route(method="POST", path=f"{USER}/erase", handler=erase, who=Who.OWNER),
]
