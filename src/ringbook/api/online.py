"""Contacts who are online, over HTTP (protocol §3.3)."""

from .. import errors
from ..core import online
from ..core.user_search import MOST_PER_PAGE
from ..exchange.turns import Kind
from .endpoint import Answer, Call, Route
from .shapes.users import OnlineUsers, user_out
from .wire import flag, integer

SWITCHED_OFF = "Not found: the setting `online_users` is off. `ringbook app set {app} online_users true` switches it on"


def show_online(call: Call) -> Answer:
    """Show which contacts are online

    The caller's contacts who have sent a request in the last five minutes, by id. Only users whom the caller finds by
    the own address books, and to whom the caller does not hide either (`discoverable`). Counts as a search. Only if the
    application's setting `online_users` is on.
    """
    db, limits, caller = call.db, call.config.limits, call.caller
    if not caller.app.settings.online_users:
        raise errors.NotFound(SWITCHED_OFF.format(app=caller.app.id))
    call.needs(Kind.SEARCH)
    if flag(call.values.get("count"), "count"):
        return Answer(OnlineUsers(count=online.count(db, limits, caller, call.now)))
    offset, limit = number(call, "offset", 0), number(call, "limit", MOST_PER_PAGE)
    if offset < 0 or limit < 1:
        raise errors.Invalid("the page must begin at 0 or later and hold 1 user or more")
    found = online.contacts(db, limits, caller, offset=offset, limit=min(limit, MOST_PER_PAGE), now=call.now)
    return Answer(OnlineUsers(users=[user_out(user) for user in found]))


def number(call: Call, name: str, default: int) -> int:
    """A parameter, or the default where it is not sent."""
    value = call.values.get(name)
    return default if value is None or value == "" else integer(value, name)


ROUTES: list[Route] = [
    Route(
        method="GET",
        path="/users/online",
        handler=show_online,
        query={
            "count": "1: only how many they are",
            "offset": "users to skip",
            "limit": "users to show, at most 100",
        },
        answer=OnlineUsers,
        refusals=(404, 422, 429),
    ),
]
