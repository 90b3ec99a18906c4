"""Joined pushes that leave no more, because the joined user has changed who is told after they were added.

    unwanted(db, tx, rows)      those of claimed pushes of which the joined user does not want the recipient to be told
    withdraw(db, rows, now)     settles them, and lets the recipients be notified when the joined user wants it again
    left_out(db, tx, rows)      users who are left out of claimed digests for the same reason
    withdraw_left_out(db, …)    lets the recipients be notified when these users want it again

A recipient who got the push on another device counts as notified.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from .. import errors
from ..model import App
from ..push.transport import Cause
from ..store import joined as store
from ..store import pushes
from ..store.db import Database, Row, Tx
from . import applications, joined, preferences, stats

REASON = "the contact no longer wants this user to be told"


class LeftOut(NamedTuple):
    """A user of whom a digest does not tell; `pushes` are the ids of the digest that are sent now."""

    app_id: int
    user_id: int
    joined_id: int
    recipient_id: int
    digest: int
    pushes: tuple[int, ...]


def unwanted(db: Database, tx: Tx, rows: Sequence[Row]) -> set[int]:
    """The ids of those of these pushes of which the joined user does not want the recipient to be told any more.

    rows   of joined pushes: id, app_id, user_id, about_user_id
    """
    found: set[int] = set()
    for app_id in {row["app_id"] for row in rows}:
        try:
            app = applications.cached_within(db, tx, app_id)
        except (errors.Unreadable, errors.NotFound):  # such a push is not sent
            continue
        pairs = {(row["about_user_id"], row["user_id"]) for row in rows if row["app_id"] == app_id}
        told = telling(tx, app, pairs)
        found |= {
            row["id"] for row in rows if row["app_id"] == app_id and (row["about_user_id"], row["user_id"]) not in told
        }
    return found


def telling(tx: Tx, app: App, pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of these pairs (joined user, holder of the number) in which the user wants the holder to be told."""
    wishes = preferences.of_many(tx, app, sorted({user_id for user_id, _ in pairs}))
    told = {pair for pair in pairs if wishes[pair[0]].told == "everyone"}
    asked = sorted(pair for pair in pairs if wishes[pair[0]].told == "mutual")
    return told | (store.mutual_pairs(tx, asked, verified_only=app.verified_only) if asked else set())


def withdraw(db: Database, rows: Sequence[Row], now: int) -> set[int]:
    """Settle claimed pushes that `unwanted` has returned. Returns the ids of those that are settled.

    For each joined user in a transaction that no change of the preference overtakes: pushes that are wanted again are
    due again. Where this process ends before that, they are claimed again when their lease is over.
    """
    of_user: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        of_user[row["app_id"], row["about_user_id"]].append(row)
    settled: set[int] = set()
    for (app_id, user_id), theirs in sorted(of_user.items()):
        with db.write() as tx:
            joined.lock(tx, user_id)
            withheld = unwanted(db, tx, theirs)
            pushes.settle(tx, sorted(_hidden(row) for row in theirs if row["id"] in withheld), now)
            pushes.postpone(tx, sorted(_due_again(row, now) for row in theirs if row["id"] not in withheld))
            _withdraw(tx, applications.cached_within(db, tx, app_id), [r for r in theirs if r["id"] in withheld], now)
        settled |= withheld
    return settled


def _hidden(row: Row) -> tuple[int, int, int, str, str, str]:
    return row["user_id"], row["id"], row["attempts"], "gone", Cause.CONTACT_HIDES.value, REASON


def _due_again(row: Row, now: int) -> tuple[int, int, int, int, str, str]:
    return row["user_id"], row["id"], row["attempts"], now, Cause.OTHER.value, ""


def _withdraw(tx: Tx, app: App, rows: Sequence[Row], now: int) -> None:
    """The recipients of these settled pushes, all about one user, are notified only if another device got the push."""
    of_fact: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        of_fact[row["joined_id"]].add(row["user_id"])
    for joined_id, recipients in sorted(of_fact.items()):
        more = pushes.withhold_others(tx, joined_id, sorted(recipients), Cause.CONTACT_HIDES.value, REASON, now)
        stats.after(tx, app.id, "pushes gone", now, more)
        stats.after(tx, app.id, "joined pushes withheld", now, more)
        if left := recipients - pushes.attempted(tx, joined_id, sorted(recipients)):
            store.withdraw(tx, joined_id, sorted(left))
            if preferences.of(tx, app, rows[0]["about_user_id"]).told == "mutual":
                joined.withdrawn(tx, app, rows[0]["about_user_id"], now)


# ── digests ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def left_out(db: Database, tx: Tx, rows: Sequence[Row]) -> list[LeftOut]:
    """Of whom these digests do not tell, because the joined user does not want the recipient to be told any more.

    rows   of pushes that are sent now; a digest that was attempted before may have told of the user
    """
    ids: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in rows:
        if row["digest"] is not None:
            ids[row["user_id"], row["digest"]].append(row["id"])
    again = {(row["user_id"], row["digest"]) for row in rows if row["attempts"] > 1}
    found = store.digests(tx, sorted(ids.keys() - again)) if ids.keys() - again else []
    untold: list[LeftOut] = []
    for app_id in {row[2] for row in found}:
        try:
            app = applications.cached_within(db, tx, app_id)
        except (errors.Unreadable, errors.NotFound):
            continue
        told = telling(tx, app, {(row[4], row[0]) for row in found if row[2] == app_id})
        untold += [
            LeftOut(app_id, user_id, joined_id, owner_id, digest, tuple(ids[owner_id, digest]))
            for owner_id, digest, of, _, user_id, joined_id in found
            if of == app_id and (user_id, owner_id) not in told
        ]
    return untold


def withdraw_left_out(db: Database, items: Sequence[LeftOut], now: int) -> None:
    """The recipients of these digests were not notified of these users, unless another device got the digest."""
    of_user: dict[tuple[int, int], list[LeftOut]] = defaultdict(list)
    for item in items:
        of_user[item.app_id, item.user_id].append(item)
    for (app_id, user_id), theirs in sorted(of_user.items()):
        with db.write() as tx:
            joined.lock(tx, user_id)
            untold = [one for one in theirs if not pushes.attempted(tx, -one.digest, [one.recipient_id], one.pushes)]
            for one in sorted(untold):
                store.withdraw(tx, one.joined_id, [one.recipient_id])
            app = applications.cached_within(db, tx, app_id)
            if untold and preferences.of(tx, app, user_id).told != "nobody":
                joined.withdrawn(tx, app, user_id, now)
