"""Pushes: what waits, what became of each, and those that are parked."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from ..core import delivery, push_trace
from ..push import providers
from .endpoint import ROOT, Call, Route

PER_PAGE = 50


def show(call: Call) -> Response:
    """The queue, what is parked by reason, and the latest pushes, by outcome and channel."""
    return call.page(
        "pushes.html",
        outcomes=[("", "All")] + [(name, name) for name in push_trace.OUTCOMES],
        channels=[("", "All")] + [(name, name) for name in providers.channels()],
        **found(call),
        **state(call),
    )


def live(call: Call) -> Response:
    """The queue and what is parked, for a page that is looked at."""
    return call.part("_queue.html", app=call.app, **state(call))


def rows(call: Call) -> Response:
    """The latest pushes alone, for the same."""
    return call.part("_deliveries.html", **found(call))


def found(call: Call) -> dict[str, Any]:
    """The pushes that the address asks for, and where newer and older ones are."""
    outcome, channel, before = call.query("outcome"), call.query("channel"), call.query("before")
    outcome = outcome if outcome in push_trace.OUTCOMES else ""
    channel = channel if channel in providers.channels() else ""
    after = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else push_trace.NEWEST
    page = push_trace.page(call.db, call.app.id, call.now, PER_PAGE, before=after, outcome=outcome, channel=channel)
    wanted = {name: value for name, value in (("outcome", outcome), ("channel", channel)) if value}
    return {
        "app": call.app,
        "found": page,
        "outcome": outcome,
        "channel": channel,
        "rows": address(call, wanted, "/rows"),
        "newest": address(call, wanted) if before else "",
        "older": address(call, wanted | {"before": str(page.older)}) if page.older else "",
    }


def state(call: Call) -> dict[str, Any]:
    """What waits and what is parked."""
    return {
        "lanes": push_trace.queue(call.db, call.app.id, call.now),
        "parked": push_trace.parked(call.db, call.app.id),
        "most": push_trace.MOST_COUNTED,
    }


def retry(call: Call) -> Response:
    """Send parked pushes once more: one, or all of a channel and reason."""
    named = call.text("id")
    ids = [int(named)] if named.isascii() and named.isdigit() and len(named) < 19 else None
    channel = call.text("channel")
    if ids is None and channel not in providers.channels():
        return call.redirect(address(call, {}), "Nothing was named that could be sent again.", kind="bad")
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
        return call.redirect(address(call, {}), "Nothing of that is parked any more.", kind="bad")
    what = "One push is" if done == 1 else f"{done} pushes are"
    return call.redirect(address(call, {}), f"{what} in the queue again.")


def address(call: Call, values: dict[str, str], part: str = "") -> str:
    """The page's address, or that of a part of it, with these questions."""
    return f"{ROOT}/apps/{call.app.id}/push{part}" + (f"?{urlencode(values)}" if values else "")


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/push", handler=show),
    Route(method="GET", path="/apps/{app_id}/push/live", handler=live, live=True),
    Route(method="GET", path="/apps/{app_id}/push/rows", handler=rows, live=True),
    Route(method="POST", path="/apps/{app_id}/push/retry", handler=retry),
]
