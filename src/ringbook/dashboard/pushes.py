"""The page of pushes: the queue, the outcome of each push, and parked pushes."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from ..core import delivery, push_trace
from ..push import providers
from .endpoint import ROOT, Call, Route, Who

PER_PAGE = 50


def show(call: Call) -> Response:
    """The queue, the parked pushes by reason, and the latest pushes filtered by outcome and channel."""
    return call.page(
        "pushes.html",
        outcomes=[("", "All")] + [(name, name) for name in push_trace.OUTCOMES],
        channels=[("", "All")] + [(name, name) for name in providers.channels()],
        **found(call),
        **state(call),
    )


def live(call: Call) -> Response:
    """The queue and the parked pushes, which are reloaded while the page is open."""
    return call.part("_queue.html", app=call.app, **state(call))


def rows(call: Call) -> Response:
    """The latest pushes, which are reloaded while the page is open."""
    return call.part("_deliveries.html", **found(call))


def found(call: Call) -> dict[str, Any]:
    """The pushes that match the filters in the address, and the addresses of newer and older pushes."""
    outcome, channel, before = call.query("outcome"), call.query("channel"), call.query("before")
    outcome = outcome if outcome in push_trace.OUTCOMES else ""
    channel = channel if channel in providers.channels() else ""
    after = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else push_trace.NEWEST
    page = push_trace.page(call.db, call.app.id, call.now, PER_PAGE, before=after, outcome=outcome, channel=channel)
    filters = {name: value for name, value in (("outcome", outcome), ("channel", channel)) if value}
    return {
        "app": call.app,
        "found": page,
        "outcome": outcome,
        "channel": channel,
        "rows": address(call, filters, "/rows"),
        "newest": address(call, filters) if before else "",
        "older": address(call, filters | {"before": str(page.older)}) if page.older else "",
    }


def state(call: Call) -> dict[str, Any]:
    """The queue and the parked pushes."""
    return {
        "lanes": push_trace.queue(call.db, call.app.id, call.now),
        "parked": push_trace.parked(call.db, call.app.id),
        "most": push_trace.MOST_COUNTED,
    }


def retry(call: Call) -> Response:
    """Sends parked pushes again: one, or all of a channel and reason."""
    named = call.text("id")
    ids = [int(named)] if named.isascii() and named.isdigit() and len(named) < 19 else None
    channel = call.text("channel")
    if ids is None and channel not in providers.channels():
        return call.redirect(address(call, {}), "No push was selected.", kind="bad")
    done = delivery.retry(
        call.db,
        call.app.id,
        ids,
        call.now,
        channel="" if ids else channel,
        reason=None if ids else call.text("reason"),
        by=call.by,
    )
    if not done:
        return call.redirect(address(call, {}), "These pushes are no longer parked.", kind="bad")
    what = "One push was" if done == 1 else f"{done} pushes were"
    return call.redirect(address(call, {}), f"{what} put into the queue again.")


def address(call: Call, values: dict[str, str], part: str = "") -> str:
    """The address of the page or of a part of it, with these filters."""
    return f"{ROOT}/apps/{call.app.id}/push{part}" + (f"?{urlencode(values)}" if values else "")


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/push", handler=show),
    Route(method="GET", path="/apps/{app_id}/push/live", handler=live, live=True),
    Route(method="GET", path="/apps/{app_id}/push/rows", handler=rows, live=True),
    Route(method="POST", path="/apps/{app_id}/push/retry", handler=retry, who=Who.OWNER),
]
