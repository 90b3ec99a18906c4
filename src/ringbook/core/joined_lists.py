"""The list of who joined, which an app shows: complete also where pushes are off, muted or lost.

    page(db, caller, …)        a part of the caller's list: the newest, those after a cursor, or those before an item
    mark_seen(db, caller, …)   records up to which item the app has shown the list
    everything(tx, app, …)     the whole list, for an export

An item's id is its place in this user's list. Whether an item is shown is decided at the time of reading: the contact
must be in one of the caller's books, the user must still have the number, and the user's preferences must allow it.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from ..model import App, Caller, JoinedContact, JoinedPage
from ..store import joined as facts
from ..store import joined_lists as store
from ..store import users
from ..store.db import Database, Row, Tx
from ..store.discoverable import mutual
from ..times import DAY
from . import cursors
from .preferences import of_many

MOST_ITEMS = 100  # of a page
MOST_UNSEEN = 100  # are counted
MOST_LISTED = 10_000  # the latest places of a list; older items are not shown
STEP = 1_000  # items that are looked at at once where the first ones did not fill the page


def page(db: Database, caller: Caller, *, limit: int, after: str | None, before: int | None, now: int) -> JoinedPage:
    """Up to `limit` items: the newest first; those after a cursor, the oldest first; or those before an item.

    A cursor that this list does not know stands for its beginning. The answer's cursor stands at the end of what this
    answer has looked at: no item after it was in the answer, and none before it can still come. With `before` it
    stands before these items, so that an app that keeps it misses nothing.
    """
    with db.read() as tx:
        list_ = store.of_owner(tx, caller.user_id)
        if not list_:
            return JoinedPage([], cursors.BEGINNING, 0)
        part = _part(_whole(caller.app, caller.user_id, list_["last_place"], now), list_, after, before)
        shown = _shown(tx, caller.app, part, limit, newest_first=after is None)
        rows = list(itertools.islice(shown, limit))
        end = rows[-1]["place"] if after is not None and len(rows) == limit else part.before - 1
        is_newest = after is None and before is None
        unseen = _count(itertools.chain(rows, shown), list_) if is_newest else _unseen(tx, caller, list_, now)
        items = _items(tx, caller.app, rows, list_["seen_up_to"])
        return JoinedPage(items, cursors.written(list_["incarnation"], max(end, 0)), unseen)


def _part(whole: store.Part, list_: Row, after: str | None, before: int | None) -> store.Part:
    """The places that a request asks for."""
    if after is not None:
        place = cursors.place(after, list_["incarnation"], list_["last_place"])
        return replace(whole, after=max(whole.after, place))
    return whole if before is None else replace(whole, before=min(whole.before, before))


def mark_seen(db: Database, caller: Caller, up_to: int, now: int) -> int:
    """Record that the app has shown the list up to an item. Returns how many shown items are not seen."""
    with db.write() as tx:
        store.mark_seen(tx, caller.user_id, up_to)
        list_ = store.of_owner(tx, caller.user_id)
        return _unseen(tx, caller, list_, now) if list_ else 0


def everything(tx: Tx, app: App, owner_id: int) -> Iterator[JoinedContact]:
    """The whole list of a user, the newest item first, also what is too old to be shown."""
    if list_ := store.of_owner(tx, owner_id):
        part = replace(_whole(app, owner_id, list_["last_place"], 0), after=0, since=-1)
        shown = _shown(tx, app, part, STEP, newest_first=True)
        while rows := list(itertools.islice(shown, STEP)):
            yield from _items(tx, app, rows, list_["seen_up_to"])


def _whole(app: App, owner_id: int, last: int, now: int) -> store.Part:
    """All places that were taken when `last` was read."""
    return store.Part(
        owner_id=owner_id,
        after=max(0, last - MOST_LISTED),
        before=last + 1,
        since=now - app.settings.contact_joined_list_days * DAY,
        verified_only=app.verified_only,
    )


def _unseen(tx: Tx, caller: Caller, list_: Row, now: int) -> int:
    part = _whole(caller.app, caller.user_id, list_["last_place"], now)
    part = replace(part, after=max(part.after, list_["seen_up_to"]))
    return _count(_shown(tx, caller.app, part, MOST_UNSEEN, newest_first=True), list_)


def _count(shown: Iterable[Row], list_: Row) -> int:
    """How many of these items, the newest first, are not seen."""
    new = itertools.takewhile(lambda row: row["place"] > list_["seen_up_to"], shown)
    return sum(1 for _ in itertools.islice(new, MOST_UNSEEN))


def _shown(tx: Tx, app: App, part: store.Part, step: int, *, newest_first: bool) -> Iterator[Row]:
    """The items of a part that the reader may see, each with `name`.

    step   how many are looked at first
    """
    while part.after + 1 < part.before:
        rows = store.items(tx, part, newest_first=newest_first, limit=step)
        yield from _visible(tx, app, part.owner_id, rows)
        if len(rows) < step:
            return
        end, step = rows[-1]["place"], STEP
        part = replace(part, before=end) if newest_first else replace(part, after=end)


def _visible(tx: Tx, app: App, reader_id: int, rows: Sequence[Row]) -> list[Row]:
    """Those of these items whose contact is in the reader's books, and whose user lets this reader know."""
    if not rows:
        return []
    names = facts.names(tx, [(reader_id, row["app_id"], row["number"]) for row in rows])
    telling = _telling(tx, app, reader_id, sorted({row["joined_user_id"] for row in rows}))
    return [
        row | {"name": names[reader_id, row["number"]]}
        for row in rows
        if (reader_id, row["number"]) in names and row["joined_user_id"] in telling
    ]


def _telling(tx: Tx, app: App, reader_id: int, user_ids: Sequence[int]) -> set[int]:
    """Those of these users who announce themselves to the reader, who holds their numbers, and are found by them."""
    told = {user_id: wishes.told for user_id, wishes in of_many(tx, app, user_ids).items()}
    telling = {user_id for user_id, audience in told.items() if audience == "everyone"}
    asking = [user_id for user_id, audience in told.items() if audience == "mutual"]
    if asking:
        telling |= mutual(tx, reader_id, asking, verified_only=app.verified_only)
    return telling


def _items(tx: Tx, app: App, rows: Sequence[Row], seen_up_to: int) -> list[JoinedContact]:
    found = users.by_ids(tx, app.id, sorted({row["joined_user_id"] for row in rows})) if rows else {}
    return [
        JoinedContact(
            place=row["place"],
            user=found[row["joined_user_id"]],
            name=row["name"],
            at=row["at"],
            seen=row["place"] <= seen_up_to,
        )
        for row in rows
        if row["joined_user_id"] in found
    ]
