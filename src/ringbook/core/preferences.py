"""What users decide about joined pushes: who hears of them, and how they hear of others.

    get, change        the caller's own
    of_user            a user's, for the dashboard
    checked            the values of a request, as they will be stored; of several bad ones, all are refused
    write              store them, in the transaction of a sign-up or of a change
    of, of_many        what holds for users, of whom any process may have changed it
    rows_of, effective   the same in two steps, for many users of whom few have chosen; `quiet` is a part of it

What a user has not chosen is the application's choice, also when that changes later.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import errors
from .. import preferences as fields
from ..model import App, Caller
from ..preferences import Preferences, Quiet
from ..store import preferences as store
from ..store import pushes, users
from ..store.db import Database, Row, Tx
from . import joined, waking

NOT_YOURS = "is decided by the application"
NEEDS_ZONE = "needs a time_zone"
NO_QUIET = Quiet(-1, -1)  # is stored for a user who wants no quiet hours, though the application may have some
WAITED_FOR = frozenset({"quiet_from", "quiet_to", "time_zone"})
READERS: dict[str, Callable[[Any, str], Any]] = {
    "time_zone": fields.time_zone,
    "locale": fields.locale,
    "digest": fields.digest,
}

# As a request gives them, by name; `quiet` is None or two times of day.
Given = Mapping[str, Any]
Chosen = dict[str, Any]  # by column


def get(db: Database, caller: Caller) -> Preferences:
    """The caller's preferences."""
    return of_user(db, caller.app, caller.user_id)


def of_user(db: Database, app: App, user_id: int) -> Preferences:
    """What holds for a user of the application."""
    with db.read() as tx:
        return of(tx, app, user_id)


def change(db: Database, caller: Caller, given: Given, *, now: int, faults: errors.Faults | None = None) -> Preferences:
    """Change what is given. Returns all preferences.

    faults   refusals of values that could not be read and are not in `given`

    Raises Invalid with every bad value, and SessionGone.
    """
    chosen = checked(caller.app, given, faults=faults)
    with db.write() as tx:
        if chosen:
            users.lock(tx, caller.user_id)
            if not users.by_id(tx, caller.app.id, caller.user_id):
                raise errors.SessionGone
            write(tx, caller.app, caller.user_id, chosen, now)
        return of(tx, caller.app, caller.user_id)


def checked(app: App, given: Given, *, faults: errors.Faults | None = None) -> Chosen:
    """What is to be stored for the values of a request. Raises Invalid with every bad value, and those of `faults`."""
    chosen: Chosen = {}
    faults = faults or errors.Faults()
    for name, value in given.items():
        with faults.collected():
            chosen |= _column(app, name, value)
    faults.refuse()
    return chosen


def _column(app: App, name: str, value: Any) -> Chosen:
    if name in ("announce", "discoverable"):
        return _audience(app, name, value)
    if name == "quiet":
        found = NO_QUIET if value is None else fields.quiet_hours(value[0], value[1], name)
        return {"quiet_from": found.start, "quiet_to": found.end}
    if value is None:
        if name in ("time_zone", "locale"):
            return {name: None}
        raise errors.Invalid("must not be null", field=name)
    if name == "notify":
        return {name: int(value)}
    return {name: READERS[name](value, name)}


def _audience(app: App, name: str, value: Any) -> Chosen:
    found = fields.audience(value, name)
    if app.settings.contact_joined_choice:
        return {name: store.code(found)}
    if found != getattr(app.settings, f"contact_joined_{name}"):
        raise errors.Invalid(NOT_YOURS, field=name)
    return {}


def write(tx: Tx, app: App, user_id: int, chosen: Chosen, now: int) -> None:
    """Store what was chosen. The user must be locked, or new. Invalid for quiet hours without a time zone."""
    if not chosen:
        return
    before = of(tx, app, user_id)
    store.put(tx, app.id, user_id, chosen)
    row = store.of_user(tx, user_id)
    assert row
    if row["quiet_from"] not in (None, NO_QUIET.start) and row["time_zone"] is None:
        raise errors.Invalid(NEEDS_ZONE, field="quiet")
    store.spread(tx, user_id, row["discoverable"])
    joined.preference_changed(tx, app, user_id, before, effective(app, row), now)
    _look_again(tx, user_id, chosen)


def _look_again(tx: Tx, user_id: int, chosen: Chosen) -> None:
    """Make due what waits for the user. The next claim sends it, withholds it, or postpones it again."""
    is_silent = chosen.get("notify") == 0
    if (is_silent or not WAITED_FOR.isdisjoint(chosen)) and pushes.end_wait(tx, user_id, digests=is_silent):
        waking.pushes_added(tx)


def of(tx: Tx, app: App, user_id: int) -> Preferences:
    """What holds for a user."""
    return effective(app, store.of_user(tx, user_id))


def of_many(tx: Tx, app: App, user_ids: Sequence[int]) -> dict[int, Preferences]:
    """What holds for these users, by id."""
    rows = store.of_many(tx, user_ids) if user_ids else {}
    return {user_id: effective(app, rows.get(user_id)) for user_id in user_ids}


def rows_of(tx: Tx, user_ids: Sequence[int]) -> dict[int, Row]:
    """What those of these users have chosen who have chosen anything, for `effective`."""
    return store.of_many(tx, user_ids) if user_ids else {}


def effective(app: App, row: Row | None) -> Preferences:
    """What holds for a user who has chosen this; None has chosen nothing."""
    own, settings = row or {}, app.settings
    chosen = own if settings.contact_joined_choice else {}  # else a choice of before does not count
    zone, digest = own.get("time_zone"), own.get("digest")
    return Preferences(
        announce=store.audience(chosen.get("announce", 0)) or settings.contact_joined_announce,
        discoverable=store.audience(chosen.get("discoverable", 0)) or settings.contact_joined_discoverable,
        notify=bool(own.get("notify", 1)),
        quiet=quiet(app, own["quiet_from"], own["quiet_to"]) if zone else None,
        time_zone=zone,
        digest=settings.contact_joined_digest if digest is None else digest,
        locale=own.get("locale"),
    )


def quiet(app: App, start: int | None, end: int | None) -> Quiet | None:
    """The quiet hours of a user with a time zone who has chosen this."""
    if start is None or end is None:
        return fields.quiet(app.settings.contact_joined_quiet, "")
    chosen = Quiet(start, end)
    return None if chosen == NO_QUIET else chosen
