"""The page of all users: search, filters, order, and the export as CSV.

Everything that the page shows has an address of its own. A search is sent by POST and leads to its address. There a
phone or an e-mail is sealed (`core/sealed_links.py`), because addresses stay in histories and logs of proxies. Only
owners search by a phone or an e-mail: the result would say to a viewer whether somebody is a user, and who.
"""

from datetime import UTC, datetime
from urllib.parse import urlencode

from msgspec import structs
from starlette.responses import Response, StreamingResponse

from ..core import masked_users, overview, privacy, sealed_links, user_list
from ..core.user_list import BEST, FILTERS, SORTS, SORTS_OF_SEARCH, Wanted
from .endpoint import ROOT, Call, Route, Who
from .users import number

TITLES = {
    BEST: "Best match",
    "newest": "Newest first",
    "oldest": "Oldest first",
    "name": "Name, A to Z",
    "-name": "Name, Z to A",
    "seen": "Last seen",
}
LABELS = {"verified": "Verified number", "book": "Address book", "device": "Device for pushes"}
FILE = "ringbook-users.csv"
PURPOSE = "users"


def list_(call: Call) -> Response:
    """The users of an address."""
    wanted, after = wanted_of(call), number(call.query("after"), 0)
    is_withheld = not call.may_change and privacy.is_private(wanted.text)
    if is_withheld:  # also from an address that an owner has sent: the field of the search would show it
        wanted = structs.replace(wanted, text="", sort="")
    page = user_list.page(call.db, call.app, wanted, after)
    if not call.may_change:
        page = structs.replace(page, users=[masked_users.user(one) for one in page.users])
    chosen = values_of(call, wanted)
    sorts = SORTS_OF_SEARCH if wanted.text else SORTS
    return call.page(
        "users.html",
        app=call.app,
        wanted=wanted,
        page=page,
        counts=overview.counts(call.db, call.app),
        since=_day(wanted.since),
        filters=[(name, LABELS[name], name in wanted.only) for name in FILTERS],
        is_filtered=bool(wanted.since or wanted.only),
        sorts=[(name, TITLES[name]) for name in sorts],
        sort=wanted.sort or sorts[0],
        by_name=address(call, chosen | {"sort": "-name" if wanted.sort == "name" else "name"}),
        by_sign_up=address(call, chosen | {"sort": "oldest" if wanted.sort in ("", "newest") else "newest"}),
        values=chosen,
        cleared=address(call, {name: value for name, value in chosen.items() if name in ("q", "find")}),
        newest=address(call, chosen) if after else "",
        older=address(call, chosen | {"after": str(page.after)}) if page.after is not None else "",
        region=call.app.settings.default_region,
        most=user_list.MOST_FOUND,
        is_withheld=is_withheld,
        is_stale=bool(call.query("find")) and not wanted.text,
    )


def find(call: Call) -> Response:
    """Leads to the address of a search."""
    return call.redirect(address(call, values_of(call, wanted_of(call, typed=True))))


def export(call: Call) -> Response:
    """The users of an address, as a CSV file. A script that asks for it counts the lines to show the progress."""
    content = user_list.csv_rows(call.db, call.app, wanted_of(call), call.by)
    headers = {"Content-Disposition": f'attachment; filename="{FILE}"'}
    return StreamingResponse(content, media_type="text/csv; charset=utf-8", headers=headers)


def wanted_of(call: Call, *, typed: bool = False) -> Wanted:
    """What the address asks for, or the form. A value that is not valid is left out."""
    value = (lambda name: call.text(name).strip()) if typed else call.query
    text = value("q")
    if not text and not typed and (part := value("find")):
        text = sealed_links.opened(call.db, PURPOSE, call.app.id, part) or ""
    sort = value("sort")
    return Wanted(
        text=text,
        since=_time(value("since")),
        only=tuple(name for name in FILTERS if value(name)),
        sort=sort if sort in (SORTS_OF_SEARCH if text else SORTS) else "",
    )


def values_of(call: Call, wanted: Wanted) -> dict[str, str]:
    """What an address says of it."""
    text = wanted.text
    if privacy.is_private(text):
        named = {"find": sealed_links.sealed(call.db, PURPOSE, call.app.id, text)}
    else:
        named = {"q": text}
    named |= {"since": _day(wanted.since), **dict.fromkeys(wanted.only, "yes"), "sort": wanted.sort}
    return {name: value for name, value in named.items() if value}


def address(call: Call, values: dict[str, str]) -> str:
    """The address of the page with these values."""
    return f"{ROOT}/apps/{call.app.id}/users" + (f"?{urlencode(values)}" if values else "")


def _time(day: str) -> int:
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        return 0


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") if at else ""


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/users", handler=list_),
    Route(method="POST", path="/apps/{app_id}/users", handler=find, repeats=True),
    Route(method="POST", path="/apps/{app_id}/users/export", handler=export, who=Who.OWNER, repeats=True),
]
