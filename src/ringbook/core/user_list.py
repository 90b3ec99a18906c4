"""The list of users in the dashboard: search, filters, order, pages, and the export as CSV.

    Wanted                     what an admin asked for
    page(db, app, wanted, …)   one page of it
    csv_rows(db, app, …)       all of it as rows of a CSV file, in batches
    SORTS                      the orders

A page without a search walks through the users in the wanted order, some hundreds at a time, until the page is full or
`MOST_LOOKED_AT` users were looked at. A search collects up to `MOST_FOUND` users first, and sorts them. So a page costs
the same in an application with a million users as in one with some thousands. The export holds every match.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from .. import times
from ..model import App, User
from ..store import user_list as store
from ..store import users, words
from ..store.db import Database, Row, Tx
from . import audit, user_lookup
from . import words as splitting
from .audit import Actor

BEST = "best"
SORTS = ("newest", "oldest", "name", "-name")
SORTS_OF_SEARCH = (BEST, *SORTS, "seen")
PER_PAGE = 50
AT_ONCE = 500
MOST_LOOKED_AT = 10_000
MOST_FOUND = 5_000
CSV_BATCH = 1_000
FILTERS = {"verified": store.verified, "book": store.with_book, "device": store.with_device}
# Where a formula would begin: at the start, or after what a spreadsheet may take for the end of a cell.
FORMULA = re.compile(r"""(?:^|[;,|\t\r\n])[\s"]*(?=[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r])""")
COLUMNS = (
    *("id", "login", "full_name", "email", "phone", "external_id", "external_user_id", "user_tags"),
    *("created_at", "last_request_at", "verified", "contacts", "has_device"),
)


class Wanted(Struct, frozen=True, kw_only=True):
    """What an admin asked for.

    text      whom to search for; "" for all users
    since     the earliest time of the sign-up
    only      names of `FILTERS` that must hold
    sort      one of SORTS, or of SORTS_OF_SEARCH with a text
    """

    text: str = ""
    since: int = 0
    only: tuple[str, ...] = ()
    sort: str = ""


class Page(Struct, frozen=True, kw_only=True):
    """One page.

    after      the place of the next page, None at the end
    matches    how many users there are in all; None when that is not known without looking at all of them
    is_cut     a search may have found more than `MOST_FOUND` users: so many of them are sorted and shown
    looked_at  how many users were looked at for this page; without a search
    verified, book, device    the users of the page of whom this is true
    """

    users: list[User]
    after: int | None = None
    matches: int | None = None
    is_cut: bool = False
    looked_at: int = 0
    verified: frozenset[int] = frozenset()
    book: frozenset[int] = frozenset()
    device: frozenset[int] = frozenset()


def page(db: Database, app: App, wanted: Wanted, after: int) -> Page:
    """The users after a place: a number that a page of the same `wanted` has named, or 0."""
    with db.read() as tx:
        if wanted.text:
            return _searched(tx, app, wanted, after)
        return _walked(tx, app, wanted, after)


def _searched(tx: Tx, app: App, wanted: Wanted, offset: int) -> Page:
    found, is_cut = _matches(tx, app, wanted.text)
    keys = {row["id"]: row for row in store.keys_of(tx, app.id, found)}
    kept = _kept(tx, wanted, [one for one in found if one in keys and keys[one]["created_at"] >= wanted.since])
    ordered = _ordered(kept, keys, wanted.sort or BEST)
    shown = ordered[offset : offset + PER_PAGE]
    end = offset + PER_PAGE
    return _made(tx, app, shown, after=end if len(ordered) > end else None, matches=len(ordered), is_cut=is_cut)


def _matches(tx: Tx, app: App, text: str) -> tuple[list[int], bool]:
    """Ids of the users whom a text may mean: those found by a whole value first. True when there may be more."""
    beginnings = splitting.of_query(text)
    by_word, is_cut = words.found(tx, app.id, beginnings, MOST_FOUND) if beginnings else ([], False)
    return list(dict.fromkeys([*_exact(tx, app, text), *by_word]))[:MOST_FOUND], is_cut


def _exact(tx: Tx, app: App, text: str) -> list[int]:
    found = [user.id for user in user_lookup.exactly(tx, app, text)]
    return found + store.by_external(tx, app.id, text.strip(), user_lookup.MOST)


def _ordered(found: Sequence[int], keys: dict[int, Row], sort: str) -> list[int]:
    if sort == BEST:
        return list(found)
    column = {"name": "full_name_folded", "-name": "full_name_folded", "seen": "last_request_at"}.get(
        sort, "created_at"
    )
    having = [one for one in found if keys[one][column] is not None]
    without = [one for one in found if keys[one][column] is None]
    having.sort(key=lambda one: (keys[one][column], one), reverse=sort in ("newest", "-name", "seen"))
    return having + sorted(without)


def _walked(tx: Tx, app: App, wanted: Wanted, after: int) -> Page:
    """Walk until one user more than the page holds is found, or the walk ends, or becomes too long."""
    shown: list[int] = []
    looked_at, ended = 0, False
    while len(shown) <= PER_PAGE and looked_at < MOST_LOOKED_AT and not ended:
        at_once = AT_ONCE if wanted.only else PER_PAGE + 1
        ids = store.walk(tx, app.id, wanted.sort or SORTS[0], after, wanted.since, at_once)
        shown += _kept(tx, wanted, ids)
        looked_at += len(ids)
        ended = len(ids) < at_once
        after = ids[-1] if ids else after
    if len(shown) > PER_PAGE:
        after, ended = shown[PER_PAGE - 1], False
    return _made(tx, app, shown[:PER_PAGE], after=None if ended else after, looked_at=looked_at)


def _kept(tx: Tx, wanted: Wanted, ids: list[int]) -> list[int]:
    """The users of whom all filters are true."""
    for name in wanted.only:
        among = FILTERS[name](tx, ids)
        ids = [one for one in ids if one in among]
    return ids


def _made(tx: Tx, app: App, ids: list[int], **values: Any) -> Page:
    found = users.by_ids(tx, app.id, ids) if ids else {}
    values |= {name: frozenset(among(tx, ids)) for name, among in FILTERS.items()}
    return Page(users=[found[one] for one in ids if one in found], **values)


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def csv_rows(db: Database, app: App, wanted: Wanted, by: Actor) -> Iterator[bytes]:
    """A CSV file of the users, a batch of them at a time. The audit log records it first."""
    audit.note(db, by, "users exported", app_id=app.id, detail=", ".join(wanted.only))
    return _batches(db, app, wanted)


def _batches(db: Database, app: App, wanted: Wanted) -> Iterator[bytes]:
    yield _csv([COLUMNS])
    if wanted.text:
        with db.read() as tx:
            found, is_cut = _matches(tx, app, wanted.text)
            if not is_cut:
                yield _csv(_rows(tx, app, wanted, _kept(tx, wanted, found)))
                return
    after, ids = 0, [0]
    while ids:
        with db.read() as tx:
            ids = store.walk(tx, app.id, "id", after, wanted.since, CSV_BATCH)
            rows = _rows(tx, app, wanted, _kept(tx, wanted, _meant(tx, app, wanted.text, ids)))
        after = ids[-1] if ids else after
        if rows:
            yield _csv(rows)


def _meant(tx: Tx, app: App, text: str, ids: list[int]) -> list[int]:
    """Those of these users whom a text may mean."""
    if not text:
        return ids
    among = {*_exact(tx, app, text), *words.having(tx, splitting.of_query(text), ids)}
    return [one for one in ids if one in among]


def _rows(tx: Tx, app: App, wanted: Wanted, ids: list[int]) -> list[tuple[Any, ...]]:
    if not ids:
        return []
    found = users.by_ids(tx, app.id, ids)
    verified, devices = store.verified(tx, ids), store.with_device(tx, ids)
    contacts = store.contacts_of(tx, ids)
    return [
        (
            *(_cell(getattr(found[one], name)) for name in COLUMNS[:8]),
            times.iso(found[one].created_at),
            _time(found[one].last_request_at),
            "yes" if one in verified else "no",
            contacts.get(one, 0),
            "yes" if one in devices else "no",
        )
        for one in ids
        if one in found and found[one].created_at >= wanted.since
    ]


def _time(at: int | None) -> str:
    return "" if at is None else times.iso(at)


def _cell(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula, whichever separator it reads. A number with + stays as it is."""
    if not isinstance(value, str):
        return "" if value is None else value
    if value[:1] == "+" and all(sign.isdigit() or sign in " ()-./" for sign in value[1:]):
        return value
    return FORMULA.sub(lambda found: f"{found[0]}'", value)


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()
