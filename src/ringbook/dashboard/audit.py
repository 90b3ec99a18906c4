"""The page of the audit log."""

from urllib.parse import urlencode

from starlette.responses import Response

from ..core import audit
from .endpoint import ROOT, Call, Route

PER_PAGE = 50


def show(call: Call) -> Response:
    """A page of entries, the newest first, filtered by application, action and admin."""
    filters = {name: call.query(name) for name in ("app", "action", "admin")}
    before = call.query("before")
    found = audit.page(
        call.db,
        PER_PAGE + 1,
        before=int(before) if is_number(before) else audit.NEWEST,
        app_id=int(filters["app"]) if is_number(filters["app"]) else None,
        admin=filters["admin"],
        action=filters["action"],
    )
    chosen = {name: value for name, value in filters.items() if value}
    older = address(chosen | {"before": str(found[PER_PAGE - 1].id)}) if len(found) > PER_PAGE else ""
    return call.page(
        "audit.html",
        entries=found[:PER_PAGE],
        names={app.id: call.label(app) for app in call.apps},
        actions=[(action, action) for action in audit.ACTIONS],
        filters=filters,
        newest=address(chosen) if before else "",
        older=older,
    )


def is_number(text: str) -> bool:
    """Is the text a number that fits into 64 bits?"""
    return text.isascii() and text.isdigit() and len(text) < 19


def address(values: dict[str, str]) -> str:
    """The page's address with these filters."""
    return f"{ROOT}/audit" + (f"?{urlencode(values)}" if values else "")


ROUTES = [Route(method="GET", path="/audit", handler=show)]
