"""The list of who joined, over HTTP."""

from typing import Any

from .. import errors
from ..core import joined_lists
from .endpoint import Answer, Call, Route
from .shapes.joined_lists import JoinedPage, SeenOut, SeenRequest, page_out
from .wire import integer, text

QUERY = {
    "limit": f"items to show, 1 to {joined_lists.MOST_ITEMS}; by default {joined_lists.MOST_ITEMS}",
    "after": "a cursor: only what came since, the oldest first",
    "before": "an item's id: only older ones, the newest first",
}


def show(call: Call) -> Answer:
    """List who joined

    The caller's contacts who have joined, the newest first, with the name from the caller's own address book. Pass
    `next` as `after` to get what has come since, the oldest first, until there are no more items; a cursor that the
    server does not know acts as 0, the beginning. To page back, pass the id of the oldest item as `before`, and keep
    the `next` of the first page. A contact who is no longer in the book, or no longer wants to be seen, is left out.
    """
    values = call.values
    limit = _from_one(values.get("limit", joined_lists.MOST_ITEMS), "limit")
    if limit > joined_lists.MOST_ITEMS:
        raise errors.Invalid(f"must be at most {joined_lists.MOST_ITEMS}", field="limit")
    after, before = values.get("after"), values.get("before")
    if after is not None and before is not None:
        raise errors.Invalid("cannot be combined with after", field="before")
    page = joined_lists.page(
        call.db,
        call.caller,
        limit=limit,
        after=None if after is None else text(after, "after"),
        before=None if before is None else _from_one(before, "before"),
        now=call.now,
    )
    return Answer(page_out(page))


def mark_seen(call: Call) -> Answer:
    """Mark the list of who joined as seen

    All items up to this id are then seen. Returns how many are not, up to 100. A smaller id than before has no effect.
    """
    up_to = call.values.get("up_to")
    if up_to is None:
        raise errors.Invalid("is required", field="up_to")
    return Answer(SeenOut(joined_lists.mark_seen(call.db, call.caller, _from_one(up_to, "up_to"), call.now)))


def _from_one(value: Any, field: str) -> int:
    """An integer from 1."""
    number = integer(value, field)
    if number < 1:
        raise errors.Invalid("must be 1 or more", field=field)
    return number


ROUTES = [
    Route(
        method="GET",
        path="/contact_joined",
        handler=show,
        query=QUERY,
        answer=JoinedPage,
        refusals=(422,),
    ),
    Route(
        method="POST",
        path="/contact_joined/seen",
        handler=mark_seen,
        request=SeenRequest,
        answer=SeenOut,
        refusals=(422,),
    ),
]
