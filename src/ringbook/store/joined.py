"""Facts for the joined push: a user has gained a number that others may hold. And who was notified of which number.

may_be_announced, lately, put, verify     writing a fact down
oldest, waiting, put_off                  the next fact to tell; one that fails lets the others go first
move, finish, forget                      a fact's way: a batch of holders further, done, forgotten
holders, names                            who holds a number; what holders call the numbers that they hold
Holders, devices, REACHED                 a batch of holders and their devices, for whole statements
Choices, have_chosen, chosen_by, have_digests      what holders of a batch have chosen
CHOSEN, withheld                          the devices that get pushes then, for whole statements; and those that do not
announce                                  note who is told; those who know already are left out
digests, close_windows, in_digests        who has joined by digest, and how many heard in one
of_user                                   the facts about a user, for whoever looks after them
"""

import secrets
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ..times import DAY
from . import numbers, subscriptions
from .db import Row, Rows, Tx

WINDOW_SECONDS = DAY  # in which a holder's joined pushes are counted: see `joined_lists.window_at`
_OPEN = "joined_lists.window_at > :since AND joined_lists.window_at < :ahead"
COLUMNS = "id, app_id, user_id, number, digits, verified, created_at, told_up_to"


def may_be_announced(tx: Tx, user_id: int) -> bool:
    """Is the user neither a guest nor imported?"""
    return bool(
        tx.tuples("SELECT 1 FROM users WHERE id = :id AND is_guest = 0 AND imported_at IS NULL LIMIT 1", id=user_id)
    )


def lately(tx: Tx, user_id: int, since: int) -> int:
    """The number of facts about a user since a time."""
    found = tx.tuples(
        "SELECT COUNT(*) FROM joined WHERE user_id = :id AND created_at > :since", id=user_id, since=since
    )
    return int(found[0][0])


def put(tx: Tx, app_id: int, user_id: int, number: int, *, verified: bool, now: int) -> None:
    """Record that the user has gained this number."""
    keyed = numbers.keyed(tx, app_id, number)
    tx.run(
        "INSERT INTO joined (id, app_id, user_id, number, digits, verified, created_at, due_at, told_up_to)"
        " VALUES (:id, :app_id, :user_id, :keyed, :digits, :verified, :now, :now, 0)",
        id=tx.next_id("joined_ids"),
        app_id=app_id,
        user_id=user_id,
        keyed=keyed,
        digits=numbers.digits(tx, "joined", app_id, keyed, number),
        verified=int(verified),
        now=now,
    )


def verify(tx: Tx, app_id: int, user_id: int, number: int) -> bool:
    """Mark a fact of which nobody has been notified as one of a verified number; False when there is none."""
    rows = tx.run(
        "UPDATE joined SET verified = 1"
        " WHERE user_id = :user_id AND number = :keyed AND done_at IS NULL AND told_up_to = 0",
        user_id=user_id,
        keyed=numbers.keyed(tx, app_id, number),
    )
    return rows > 0


def oldest(tx: Tx, now: int) -> Row | None:
    """The id, app_id and user_id of the fact that has been due longest, without its number, which may not open.

    A postponed fact is due later, so this reads one row of an index.
    """
    return tx.one(
        "SELECT id, app_id, user_id FROM joined WHERE done_at IS NULL AND due_at <= :now ORDER BY due_at, id LIMIT 1",
        now=now,
    )


def put_off(tx: Tx, joined_id: int, until: int) -> None:
    """Postpone a fact until a time, so that others are processed first."""
    tx.run("UPDATE joined SET due_at = :until WHERE id = :id", id=joined_id, until=until)


def waiting(tx: Tx, joined_id: int) -> Row | None:
    """The fact with this id and its number, if it still waits; errors.Unreadable."""
    row = tx.one(f"SELECT {COLUMNS} FROM joined WHERE id = :id AND done_at IS NULL", id=joined_id)
    if not row:
        return None
    digits = row.pop("digits")
    return row | {"number": numbers.opened(tx, "joined", row["app_id"], row["number"], digits)}


def move(tx: Tx, joined_id: int, told_up_to: int, up_to: int) -> bool:
    """Record that holders with ids up to `up_to` are notified; False when the fact is gone or changed."""
    rows = tx.run(
        "UPDATE joined SET told_up_to = :up_to WHERE id = :id AND told_up_to = :told_up_to",
        id=joined_id,
        told_up_to=told_up_to,
        up_to=up_to,
    )
    return rows == 1


def finish(tx: Tx, joined_id: int, result: str, now: int) -> bool:
    """Close a fact with a `result` and delete its number; False when it is gone."""
    rows = tx.run(
        "UPDATE joined SET done_at = :now, result = :result, number = NULL, digits = NULL"
        " WHERE id = :id AND done_at IS NULL",
        id=joined_id,
        result=result,
        now=now,
    )
    return rows == 1


def forget(tx: Tx, before: int, limit: int) -> int:
    """Delete up to `limit` facts that were closed before a time; return how many."""
    return tx.run(
        "DELETE FROM joined WHERE id IN (SELECT id FROM joined WHERE done_at < :before LIMIT :limit)",
        before=before,
        limit=limit,
    )


def holders(tx: Tx, app_id: int, number: int, after: int, limit: int) -> tuple[int, int]:
    """The next up to `limit` users who hold the number: how many they are, and the largest of their ids.

    after   their ids are larger; it is also the answer where nobody is left
    """
    ((count, last),) = tx.tuples(
        "SELECT COUNT(*), MAX(owner_id) FROM (SELECT owner_id FROM contacts"
        " WHERE app_id = :app_id AND number = :keyed AND owner_id > :after"
        " GROUP BY owner_id ORDER BY owner_id LIMIT :limit) AS h",
        app_id=app_id,
        keyed=numbers.keyed(tx, app_id, number),
        after=after,
        limit=limit,
    )
    return count, last or after


class Holders(Struct, frozen=True, kw_only=True):
    """The users with ids above `after` and up to `up_to` who hold the number of a fact, and their devices that count.

    environments   of the devices
    without        channels of devices that do not count
    """

    app_id: int
    joined_id: int
    number: int
    after: int
    up_to: int
    environments: Sequence[str]
    without: Sequence[str]

    def params(self, tx: Tx) -> dict[str, Any]:
        """The parameters of statements with ANNOUNCED or REACHED."""
        return {
            "app_id": self.app_id,
            "joined_id": self.joined_id,
            "keyed": numbers.keyed(tx, self.app_id, self.number),
            "after": self.after,
            "up_to": self.up_to,
            "environments": Rows.of("environment", self.environments),
            "without": Rows.of("channel", self.without),
        }


_HOLDERS = (
    "(SELECT owner_id FROM contacts WHERE app_id = :app_id AND number = :keyed AND owner_id > :after"
    " AND owner_id <= :up_to GROUP BY owner_id) AS h"
)
_DEVICES = "JOIN subscriptions AS s ON s.user_id = h.owner_id"
# The + keeps SQLite from reading all subscriptions of the application through the index on tokens.
_OF_DEVICES = "WHERE +s.app_id = :app_id AND s.environment IN :environments AND NOT (s.channel IN :without)"
_ANNOUNCED = "JOIN announced AS a ON a.owner_id = h.owner_id AND a.number = :keyed AND a.joined_id = :joined_id"
# Each device `s` of those holders who were notified of this very fact. On a cluster the tables are joined on each node.
REACHED = f"FROM {_HOLDERS} {_ANNOUNCED} {_DEVICES} {_OF_DEVICES}"


Chosen = tuple[str | None, int | None, int | None, int]  # time_zone, quiet_from, quiet_to, notify
NOT_CHOSEN = -2  # stands for quiet hours that a user has not chosen, in `Choices`


class Choices(Struct, frozen=True):
    """What holders of a batch have chosen.

    quiet   time_zone, quiet_from and quiet_to of those who are in quiet hours, and when these are over
    """

    quiet: Sequence[tuple[str, int, int, int]]

    def params(self) -> dict[str, Any]:
        """The parameters of statements with CHOSEN."""
        columns = {"time_zone": str, "quiet_from": int, "quiet_to": int, "over_at": int}
        return {"quiet": Rows(columns, self.quiet)}


# The same devices where holders may have chosen: without those of holders who want no pushes. `h.over_at` is when the
# quiet hours are over. What is chosen is found before the other tables are joined: PostgreSQL expects one row of these
# before it has counted, and then compared each of the quiet hours with each holder.
_CHOOSING = (
    "(SELECT c.owner_id, MIN(p.notify) AS notify, MIN(q.over_at) AS over_at FROM contacts AS c"
    " LEFT JOIN preferences AS p ON p.user_id = c.owner_id LEFT JOIN :quiet AS q ON q.time_zone = p.time_zone"
    f" AND q.quiet_from = COALESCE(p.quiet_from, {NOT_CHOSEN}) AND q.quiet_to = COALESCE(p.quiet_to, {NOT_CHOSEN})"
    " WHERE c.app_id = :app_id AND c.number = :keyed AND c.owner_id > :after AND c.owner_id <= :up_to"
    " GROUP BY c.owner_id) AS h"
)
CHOSEN = f"FROM {_CHOOSING} {_ANNOUNCED} {_DEVICES} {_OF_DEVICES} AND COALESCE(h.notify, 1) = 1"


def devices(tx: Tx, holders: Holders, *, announced: bool) -> dict[str, int]:
    """How many devices these holders have, by lane.

    announced   only of those holders who were notified of this very fact
    """
    params = holders.params(tx)
    if not announced:
        del params["joined_id"]
    reached = REACHED if announced else f"FROM {_HOLDERS} {_DEVICES} {_OF_DEVICES}"
    rows = tx.tuples(f"SELECT {subscriptions.LANE}, COUNT(*) {reached} GROUP BY 1", **params)
    return {lane: int(count) for lane, count in rows}


def withheld(tx: Tx, holders: Holders) -> int:
    """How many devices get no push of this fact, because their holders want none."""
    ((count,),) = tx.tuples(
        f"SELECT COUNT(*) FROM {_HOLDERS} {_ANNOUNCED} {_DEVICES}"
        f" JOIN preferences AS p ON p.user_id = h.owner_id {_OF_DEVICES} AND p.notify = 0",
        **holders.params(tx),
    )
    return int(count)


def have_chosen(tx: Tx, after: int, up_to: int) -> bool:
    """Has any user with an id above `after` and up to `up_to` chosen anything? Reads one row."""
    return bool(
        tx.tuples(
            "SELECT 1 FROM preferences WHERE user_id > :after AND user_id <= :up_to LIMIT 1", after=after, up_to=up_to
        )
    )


def chosen_by(tx: Tx, holders: Holders) -> list[Chosen]:
    """What these holders have chosen, each combination once: time zone, quiet hours, and whether all get pushes."""
    params = holders.params(tx)
    return tx.tuples(
        f"SELECT p.time_zone, p.quiet_from, p.quiet_to, MIN(p.notify) FROM {_HOLDERS}"
        " JOIN preferences AS p ON p.user_id = h.owner_id GROUP BY p.time_zone, p.quiet_from, p.quiet_to",
        **{name: params[name] for name in ("app_id", "keyed", "after", "up_to")},
    )


def have_digests(tx: Tx, holders: Holders) -> bool:
    """Did any holder of the batch get this fact for a digest? Reads one row of an index of those alone."""
    return bool(
        tx.tuples(
            "SELECT 1 FROM announced WHERE joined_id = :joined_id AND digest IS NOT NULL"
            " AND owner_id > :after AND owner_id <= :up_to LIMIT 1",
            joined_id=holders.joined_id,
            after=holders.after,
            up_to=holders.up_to,
        )
    )


def names(tx: Tx, holders: Sequence[tuple[int, int, int]]) -> dict[tuple[int, int], str | None]:
    """By owner and keyed number: the name in the owner's books, from the global book, else from the book synced last.

    holders   owner_id, app_id and keyed number; those who do not hold the number are left out

    The name is None where the contact does not open.
    """
    # Over the books, because SQLite else reads all contacts of each owner.
    rows = tx.tuples(
        "SELECT c.app_id, c.owner_id, c.book, c.number, c.sealed"
        " FROM :holders AS h CROSS JOIN books AS b CROSS JOIN contacts AS c"
        " WHERE b.owner_id = h.owner_id AND c.owner_id = b.owner_id AND c.book = b.book AND c.number = h.number"
        " AND c.app_id = h.app_id"
        " ORDER BY CASE c.book WHEN 0 THEN 0 ELSE 1 END, b.synced_at DESC, c.book",
        holders=Rows({"owner_id": int, "app_id": int, "number": int}, holders),
    )
    first: dict[tuple[int, int], tuple[int, int, int, int, bytes]] = {}
    for row in rows:
        first.setdefault((row[1], row[3]), row)
    return dict(zip(first, tx.seal.names(first.values()), strict=True))


def announce(
    tx: Tx, holders: Holders, joined_user_id: int, *, verified: bool, now: int, digest: int, chosen: bool
) -> int:
    """Record which holders are notified of the number now; return how many. The joined user is not.

    digest   after how many in 24 hours the next ones belong to a digest
    chosen   may holders have chosen another number?

    A holder is notified once, and once more when the number was not verified the first time and is now. Each note gets
    the next place in the holder's list. The row of the list is locked until the commit, so that a reader who sees a
    place has seen all places before it.
    """
    params = _announcing(tx, holders, joined_user_id, verified=verified, now=now)
    _take_places(tx, params)
    most, choices = ":digest", ""
    if chosen:
        most, choices = "COALESCE(p.digest, :digest)", " LEFT JOIN preferences AS p ON p.user_id = h.owner_id"
    return tx.run(
        "INSERT INTO announced"
        " (owner_id, app_id, number, digits, verified, at, joined_id, joined_user_id, place, digest)"
        " SELECT h.owner_id, :app_id, :keyed, :digits, :verified, :now, :joined_id, :joined_user_id, l.last_place,"
        f" CASE WHEN l.window_count > {most} THEN l.window_at END"
        f" FROM {_HOLDERS} JOIN joined_lists AS l ON l.owner_id = h.owner_id{choices}"
        " WHERE h.owner_id <> :joined_user_id"
        " ON CONFLICT (owner_id, number) DO UPDATE SET verified = 1, at = excluded.at, joined_id = excluded.joined_id,"
        " joined_user_id = excluded.joined_user_id, place = excluded.place, digest = excluded.digest"
        " WHERE announced.verified = 0 AND excluded.verified = 1",
        digest=digest,
        **params,
    )


def _announcing(tx: Tx, holders: Holders, joined_user_id: int, *, verified: bool, now: int) -> dict[str, Any]:
    app_id, number = holders.app_id, holders.number
    keyed = numbers.keyed(tx, app_id, number)
    return {
        "app_id": app_id,
        "keyed": keyed,
        "after": holders.after,
        "up_to": holders.up_to,
        "joined_id": holders.joined_id,
        "joined_user_id": joined_user_id,
        "digits": numbers.digits(tx, "announced", app_id, keyed, number),
        "verified": int(verified),
        "now": now,
    }


def _take_places(tx: Tx, params: dict[str, Any]) -> None:
    """Take the next place in the list of each holder who is to be notified, and count it in the list's 24 hours.

    Those begin with the first one after the last 24 hours were over, or closed: `window_at` is then negative. They
    never begin at the same second as those before, because pushes of digests are named after it.
    """
    keys = ("app_id", "keyed", "after", "up_to", "joined_user_id", "verified", "now")
    tx.run(
        "INSERT INTO joined_lists (owner_id, app_id, incarnation, last_place, seen_up_to, window_at, window_count)"
        f" SELECT h.owner_id, :app_id, :incarnation, 1, 0, :now, 1 FROM {_HOLDERS}"
        # Contacts may outlive their owner for a moment; a list may not.
        " JOIN users AS u ON u.id = h.owner_id"
        " LEFT JOIN announced AS a ON a.owner_id = h.owner_id AND a.number = :keyed"
        " WHERE h.owner_id <> :joined_user_id AND (a.verified IS NULL OR (a.verified = 0 AND :verified = 1))"
        " ON CONFLICT (owner_id) DO UPDATE SET last_place = joined_lists.last_place + 1,"
        f" window_count = CASE WHEN {_OPEN} THEN joined_lists.window_count + 1 ELSE 1 END,"
        f" window_at = CASE WHEN {_OPEN} THEN joined_lists.window_at"
        " WHEN ABS(joined_lists.window_at) >= :now AND ABS(joined_lists.window_at) < :ahead"
        " THEN ABS(joined_lists.window_at) + 1 ELSE :now END",
        incarnation=secrets.randbits(62),
        since=params["now"] - WINDOW_SECONDS,
        ahead=params["now"] + WINDOW_SECONDS,
        **{key: params[key] for key in keys},
    )


def close_windows(tx: Tx, windows: Sequence[tuple[int, int]]) -> None:
    """Let what is announced from now on begin new 24 hours, and a new digest.

    windows   owner_id and window_at, in order; lists with another window are left as they are
    """
    tx.run(
        "UPDATE joined_lists SET window_at = -joined_lists.window_at, window_count = 0 FROM :windows AS w"
        " WHERE joined_lists.owner_id = w.owner_id AND joined_lists.window_at = w.window_at",
        windows=Rows({"owner_id": int, "window_at": int}, windows),
    )


def digests(tx: Tx, windows: Sequence[tuple[int, int]]) -> list[tuple[int, int, int, int, int]]:
    """What belongs to digests, in the order of the lists: owner_id, digest, app_id, number and the joined user's id."""
    return tx.tuples(
        "SELECT a.owner_id, a.digest, a.app_id, a.number, a.joined_user_id FROM :windows AS w JOIN announced AS a"
        " ON a.owner_id = w.owner_id AND a.digest = w.window_at ORDER BY a.owner_id, a.place",
        windows=Rows({"owner_id": int, "window_at": int}, windows),
    )


def in_digests(tx: Tx, joined_ids: Sequence[int]) -> list[tuple[int, int]]:
    """How many holders heard of these facts in a digest: joined_id and count."""
    return tx.tuples(
        "SELECT joined_id, COUNT(*) FROM announced WHERE joined_id IN :ids AND digest IS NOT NULL GROUP BY joined_id",
        ids=Rows.of("id", joined_ids),
    )


def of_user(tx: Tx, user_id: int, limit: int) -> list[Row]:
    """The latest facts about a user, the newest first, without their numbers."""
    return tx.all(
        "SELECT id, verified, created_at, done_at, result FROM joined"
        " WHERE user_id = :id ORDER BY created_at DESC, id DESC LIMIT :limit",
        id=user_id,
        limit=limit,
    )
