"""Facts for the joined push: a user has gained a number that others may hold. And who was notified of which number.

may_be_announced, lately, put, verify     writing a fact down
is_open                                   does a fact of a user's number wait?
oldest, waiting, put_off                  the next fact to tell; one that fails lets the others go first
move, finish, forget                      a fact's way: a batch of holders further, done, forgotten
arm, disarm, await_uploads                a fact waits until the joined user's contacts are uploaded, or not any more
look_again, look_at_all_again             such facts are due again
renew, restart                            another id for a fact that goes through the holders once more
holders, mutual_holders, names            who holds a number; what holders call the numbers that they hold
Holders, devices, REACHED                 a batch of holders and their devices, for whole statements
have_chosen, chosen_by, for_digest        what holders of a batch have chosen, and who got the fact for a digest
Choices, NOT_APART                        those who get no push now; the devices of all others, for whole statements
OF_LISTED, listed, devices_of             the devices of some, for whole statements, and how many
announce, withdraw                        note who is told; those who know already are left out. Undo that
drop_announced                            what a user was told goes with the user
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
AT_ONCE, REST_SECONDS = 20, 60  # uploads of a user that are looked at at once, and how long the others wait
COLUMNS = "id, app_id, user_id, number, digits, verified, created_at, told_up_to, armed"


def may_be_announced(tx: Tx, user_id: int) -> bool:
    """Is the user neither a guest nor imported?"""
    return bool(
        tx.tuples("SELECT 1 FROM users WHERE id = :id AND is_guest = 0 AND imported_at IS NULL LIMIT 1", id=user_id)
    )


def lately(tx: Tx, user_id: int, since: int, most: int) -> list[int]:
    """When the latest facts about a user since a time were recorded, up to `most`, the latest first.

    Only of the two days after that time: what a clock recorded that was far ahead does not count.
    """
    found = tx.tuples(
        "SELECT created_at FROM joined WHERE user_id = :id AND created_at > :since AND created_at < :ahead"
        " ORDER BY created_at DESC LIMIT :most",
        id=user_id,
        since=since,
        ahead=since + 2 * DAY,
        most=most,
    )
    return [row[0] for row in found]


def is_open(tx: Tx, app_id: int, user_id: int, number: int) -> bool:
    """Is a fact about this number of the user not done?"""
    return bool(
        tx.tuples(
            "SELECT 1 FROM joined WHERE user_id = :user_id AND number = :keyed AND done_at IS NULL LIMIT 1",
            user_id=user_id,
            keyed=numbers.keyed(tx, app_id, number),
        )
    )


def put(tx: Tx, app_id: int, user_id: int, number: int, *, verified: bool, now: int, due_at: int) -> None:
    """Record that the user has gained this number, which is announced when it is due."""
    keyed = numbers.keyed(tx, app_id, number)
    tx.run(
        "INSERT INTO joined (id, app_id, user_id, number, digits, verified, created_at, due_at, told_up_to)"
        " VALUES (:id, :app_id, :user_id, :keyed, :digits, :verified, :now, :due_at, 0)",
        id=tx.next_id("joined_ids"),
        app_id=app_id,
        user_id=user_id,
        keyed=keyed,
        digits=numbers.digits(tx, "joined", app_id, keyed, number),
        verified=int(verified),
        now=now,
        due_at=due_at,
    )


def verify(tx: Tx, app_id: int, user_id: int, number: int, now: int) -> bool:
    """Mark a fact of which nobody has been notified as one of a verified number; False when there is none.

    Of a fact that waits for mutual contacts, some were notified. It is due now, so that they are notified once more.
    """
    rows = tx.run(
        "UPDATE joined SET verified = 1, armed = armed + 1, due_at = CASE WHEN armed IS NULL THEN due_at ELSE :now END,"
        " told_up_to = 0 WHERE user_id = :user_id AND number = :keyed AND done_at IS NULL"
        " AND (told_up_to = 0 OR armed IS NOT NULL)",
        user_id=user_id,
        keyed=numbers.keyed(tx, app_id, number),
        now=now,
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


def move(tx: Tx, fact: Row, up_to: int) -> bool:
    """Record that holders with ids up to `up_to` are notified; False when the fact is gone or changed."""
    return _step(tx, fact, "told_up_to = :up_to", up_to=up_to)


def _step(tx: Tx, fact: Row, change: str, **values: int | None) -> bool:
    """Change a fact that is as it was read, which nobody has made due again meanwhile."""
    rows = tx.run(
        f"UPDATE joined SET {change} WHERE id = :id AND told_up_to = :told_up_to AND done_at IS NULL"
        " AND COALESCE(armed, -1) = :was_armed",
        id=fact["id"],
        told_up_to=fact["told_up_to"],
        was_armed=-1 if fact["armed"] is None else fact["armed"],
        **values,
    )
    return rows == 1


# ── waiting for the joined user's contacts ───────────────────────────────────────────────────────────────────────────

# The column `armed` counts how often such a fact was made due again, so that whoever reads contacts notices that more
# came meanwhile. It is NULL while a fact does not wait for contacts.


def arm(tx: Tx, fact: Row, until: int) -> bool:
    """Make uploads of the joined user announce the fact again, until a time; False when the fact has changed.

    An upload that is under way is committed before this returns, and one that begins later notices the fact. So
    whoever reads the contacts after this misses none.
    """
    tx.run(
        "INSERT INTO totals (owner_id, app_id, contacts, bytes, announce_until)"
        " VALUES (:owner_id, :app_id, 0, 0, :until) ON CONFLICT (owner_id) DO UPDATE SET announce_until ="
        " CASE WHEN totals.announce_until > excluded.announce_until THEN totals.announce_until"
        " ELSE excluded.announce_until END",
        owner_id=fact["user_id"],
        app_id=fact["app_id"],
        until=until,
    )
    return _step(tx, fact, "armed = 0")


def disarm(tx: Tx, fact: Row) -> bool:
    """Uploads do not announce the fact any more; False when it has changed."""
    return _step(tx, fact, "armed = NULL")


def await_uploads(tx: Tx, fact: Row, until: int) -> bool:
    """All mutual contacts are notified: let the fact wait for uploads until a time; False when it has changed."""
    return _step(tx, fact, "told_up_to = 0, due_at = :until", until=until)


def look_again(tx: Tx, user_id: int, now: int) -> int:
    """Make the facts due that wait for contacts of this user; return how many.

    A fact that was made due AT_ONCE times is due after REST_SECONDS: each time, all contacts of the user are read.
    """
    return tx.run(
        "UPDATE joined SET armed = armed + 1, told_up_to = 0,"
        " due_at = CASE WHEN armed < :at_once THEN :now WHEN due_at < :later THEN due_at ELSE :later END"
        " WHERE user_id = :user_id AND done_at IS NULL AND armed IS NOT NULL",
        user_id=user_id,
        now=now,
        later=now + REST_SECONDS,
        at_once=AT_ONCE,
    )


def look_at_all_again(tx: Tx, app_id: int) -> None:
    """The same for all users of an application."""
    tx.run(
        "UPDATE joined SET armed = armed + 1, told_up_to = 0, due_at = created_at"
        " WHERE app_id = :app_id AND done_at IS NULL AND armed IS NOT NULL",
        app_id=app_id,
    )


def renew(tx: Tx, fact: Row) -> Row | None:
    """The fact under another id; None when it has changed.

    A fact that goes through the holders once more gets one, because its pushes and notes are found by the id.
    """
    new_id = tx.next_id("joined_ids")
    return {**fact, "id": new_id} if _step(tx, fact, "id = :new_id", new_id=new_id) else None


def restart(tx: Tx, user_id: int) -> None:
    """Let the facts about a user that are on their way go through the holders from the beginning."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM joined WHERE user_id = :user_id AND done_at IS NULL AND told_up_to > 0 ORDER BY id",
        user_id=user_id,
    )
    for fact in rows:
        _step(tx, fact, "id = :new_id, told_up_to = 0", new_id=tx.next_id("joined_ids"))


# ── holders ──────────────────────────────────────────────────────────────────────────────────────────────────────────


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


def mutual_holders(
    tx: Tx, app_id: int, number: int, joined_user_id: int, after: int, limit: int, *, verified_only: bool
) -> list[int]:
    """The next up to `limit` users who hold the number, and of whom the joined user holds a number, by id.

    verified_only   only if that is verified
    """
    known = tx.tuples(
        "SELECT DISTINCT n.user_id FROM contacts AS c CROSS JOIN numbers AS n WHERE c.owner_id = :joined_user_id"
        " AND n.app_id = c.app_id AND n.number = c.number AND n.user_id > :after AND n.user_id <> :joined_user_id"
        " AND (n.verified_at IS NOT NULL OR :verified_only = 0)",
        joined_user_id=joined_user_id,
        after=after,
        verified_only=int(verified_only),
    )
    if not known:
        return []
    rows = tx.tuples(
        "SELECT DISTINCT owner_id FROM contacts WHERE app_id = :app_id AND number = :keyed AND owner_id IN :known"
        " ORDER BY owner_id LIMIT :limit",
        app_id=app_id,
        keyed=numbers.keyed(tx, app_id, number),
        known=Rows.of("id", [row[0] for row in known]),
        limit=limit,
    )
    return [row[0] for row in rows]


def mutual_pairs(tx: Tx, pairs: Sequence[tuple[int, int]], *, verified_only: bool) -> set[tuple[int, int]]:
    """Those of these pairs (joined user, holder) in which the joined user holds a number of the holder."""
    rows = tx.tuples(
        "SELECT DISTINCT p.joined_user_id, p.holder_id"
        " FROM :pairs AS p CROSS JOIN numbers AS n CROSS JOIN contacts AS c"
        " WHERE n.user_id = p.holder_id AND (n.verified_at IS NOT NULL OR :verified_only = 0)"
        " AND c.app_id = n.app_id AND c.number = n.number AND c.owner_id = p.joined_user_id",
        pairs=Rows({"joined_user_id": int, "holder_id": int}, pairs),
        verified_only=int(verified_only),
    )
    return {(joined_user_id, holder_id) for joined_user_id, holder_id in rows}


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
        """The parameters of statements with REACHED."""
        return {
            "app_id": self.app_id,
            "joined_id": self.joined_id,
            "keyed": numbers.keyed(tx, self.app_id, self.number),
            "after": self.after,
            "up_to": self.up_to,
            "environments": Rows.of("environment", self.environments),
            "without": Rows.of("channel", self.without),
        }


# Each statement reads the contacts of the batch first, and finds all else by their owners. PostgreSQL would begin with
# a table of which its statistics are old, and read all of it, because it takes its rows, or those that it needs, for
# few. It does not where the table is joined by LEFT JOIN, and the condition is one that might hold without a row.
_HOLDERS = (
    "(SELECT owner_id FROM contacts WHERE app_id = :app_id AND number = :keyed AND owner_id > :after"
    " AND owner_id <= :up_to GROUP BY owner_id) AS h"
)
_DEVICES = "LEFT JOIN subscriptions AS s ON s.user_id = h.owner_id"
_OF_DEVICES = "CASE WHEN s.environment IN :environments AND NOT (s.channel IN :without) THEN 1 ELSE 0 END = 1"
# Those holders who were notified of this very fact. On a cluster the tables are joined on each node.
_TOLD = "LEFT JOIN announced AS a ON a.owner_id = h.owner_id AND a.number = :keyed"
_WERE_TOLD = "CASE WHEN a.joined_id = :joined_id THEN 1 ELSE 0 END = 1"
REACHED = f"FROM {_HOLDERS} {_TOLD} {_DEVICES} WHERE {_WERE_TOLD} AND {_OF_DEVICES}"  # each device `s` of theirs
Chosen = tuple[int, int, str | None, int | None, int | None]  # owner_id, notify, time_zone, quiet_from, quiet_to
Listed = Sequence[tuple[int, int | None]]  # owner_id, and when the quiet hours are over


class Choices(Struct, frozen=True):
    """The holders of a batch who get no push now.

    waiting   those who are in quiet hours, or got the fact for a digest
    silent    owner_id of those who want no pushes
    """

    waiting: Listed
    silent: Sequence[int]

    @property
    def apart(self) -> Rows:
        """All of them, for NOT_APART."""
        return Rows.of("id", sorted([*self.silent, *(owner_id for owner_id, _ in self.waiting)]))


# The same devices of some holders, and of all others. PostgreSQL compares with a list of numbers one after the other,
# unless all have the same type.
OF_LISTED = f"FROM :listed AS h {_TOLD} {_DEVICES} WHERE {_WERE_TOLD} AND {_OF_DEVICES}"
NOT_APART = f"{REACHED} AND NOT (CAST(h.owner_id AS BIGINT) IN :apart)"


def listed(tx: Tx, holders: Holders, those: Listed) -> dict[str, Any]:
    """The parameters of statements with OF_LISTED."""
    params = holders.params(tx)
    del params["after"], params["up_to"]
    return params | {"listed": Rows({"owner_id": int, "over_at": int}, those)}


def devices(tx: Tx, holders: Holders, *, announced: bool) -> dict[str, int]:
    """How many devices these holders have, by lane.

    announced   only of those holders who were notified of this very fact
    """
    params = holders.params(tx)
    if not announced:
        del params["joined_id"]
    reached = REACHED if announced else f"FROM {_HOLDERS} {_DEVICES} WHERE {_OF_DEVICES}"
    rows = tx.tuples(f"SELECT {subscriptions.LANE}, COUNT(*) {reached} GROUP BY 1", **params)
    return {lane: int(count) for lane, count in rows}


def devices_of(tx: Tx, holders: Holders, those: Listed) -> dict[str, int]:
    """The same of some of the holders who were notified of this very fact."""
    rows = tx.tuples(f"SELECT {subscriptions.LANE}, COUNT(*) {OF_LISTED} GROUP BY 1", **listed(tx, holders, those))
    return {lane: int(count) for lane, count in rows}


def have_chosen(tx: Tx, after: int, up_to: int) -> bool:
    """Has any user with an id above `after` and up to `up_to` chosen anything? Reads one row."""
    return bool(
        tx.tuples(
            "SELECT 1 FROM preferences WHERE user_id > :after AND user_id <= :up_to LIMIT 1", after=after, up_to=up_to
        )
    )


def chosen_by(tx: Tx, holders: Holders, *, quiet_by_default: bool) -> list[Chosen]:
    """What those of these holders have chosen who want no pushes, or have a time zone and may have quiet hours.

    quiet_by_default   do those have quiet hours who have chosen none?
    """
    params = holders.params(tx)
    return tx.tuples(
        "SELECT h.owner_id, p.notify, p.time_zone, p.quiet_from, p.quiet_to"
        f" FROM {_HOLDERS} LEFT JOIN preferences AS p ON p.user_id = h.owner_id WHERE CASE WHEN p.notify = 0"
        # -1 stands for none
        " OR (p.time_zone IS NOT NULL AND COALESCE(p.quiet_from, :quiet_from) >= 0) THEN 1 ELSE 0 END = 1",
        quiet_from=0 if quiet_by_default else -1,
        **{name: params[name] for name in ("app_id", "keyed", "after", "up_to")},
    )


def for_digest(tx: Tx, holders: Holders) -> list[int]:
    """The holders of the batch who got this fact for a digest. Reads an index of those alone."""
    rows = tx.tuples(
        "SELECT owner_id FROM announced WHERE joined_id = :joined_id AND digest IS NOT NULL"
        " AND owner_id > :after AND owner_id <= :up_to",
        joined_id=holders.joined_id,
        after=holders.after,
        up_to=holders.up_to,
    )
    return [row[0] for row in rows]


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
        f" FROM {_HOLDERS} LEFT JOIN joined_lists AS l ON l.owner_id = h.owner_id{choices}"
        # Who holds the number only since the places were taken has none: the last place is that of another note.
        " WHERE h.owner_id <> :joined_user_id AND CASE WHEN l.joined_id = :joined_id THEN 1 ELSE 0 END = 1"
        " ON CONFLICT (owner_id, number) DO UPDATE SET verified = 1, at = excluded.at, joined_id = excluded.joined_id,"
        " joined_user_id = excluded.joined_user_id, place = excluded.place, digest = excluded.digest"
        " WHERE announced.verified = 0 AND excluded.verified = 1",
        digest=digest,
        **params,
    )


def withdraw(tx: Tx, joined_id: int, owner_ids: Sequence[int]) -> None:
    """These holders were not notified of the fact after all.

    Where the number was verified, what remains is that they may have been notified of it before that, so that nobody is
    notified twice.
    """
    for owner_id in owner_ids:  # a cluster locks the whole table where a statement names several owners
        fact = {"owner_id": owner_id, "joined_id": joined_id}
        tx.run("DELETE FROM announced WHERE owner_id = :owner_id AND joined_id = :joined_id AND verified = 0", **fact)
        tx.run(
            "UPDATE announced SET verified = 0, joined_id = 0, digest = NULL"
            " WHERE owner_id = :owner_id AND joined_id = :joined_id",
            **fact,
        )


def drop_announced(tx: Tx, owner_id: int) -> None:
    """Forget what a user was notified of, after the user was deleted: no foreign key binds `announced`.

    Whoever notifies the user holds the row of the user's list until the commit (`_take_places`), and the deletion of
    the user waits for it, because a foreign key binds the lists. So all notes are committed when this looks for them.
    """
    tx.run("DELETE FROM announced WHERE owner_id = :owner_id", owner_id=owner_id)


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
    keys = ("app_id", "keyed", "after", "up_to", "joined_id", "joined_user_id", "verified", "now")
    tx.run(
        "INSERT INTO joined_lists"
        " (owner_id, app_id, incarnation, last_place, joined_id, seen_up_to, window_at, window_count)"
        f" SELECT h.owner_id, :app_id, :incarnation, 1, :joined_id, 0, :now, 1 FROM {_HOLDERS}"
        f" LEFT JOIN users AS u ON u.id = h.owner_id {_TOLD}"
        # Contacts may outlive their owner for a moment; a list may not.
        " WHERE CASE WHEN u.id IS NULL THEN 0 ELSE 1 END = 1"
        " AND h.owner_id <> :joined_user_id AND (a.verified IS NULL OR (a.verified = 0 AND :verified = 1))"
        # Two facts with the same holders lock their lists in the same order.
        " ORDER BY h.owner_id"
        " ON CONFLICT (owner_id) DO UPDATE SET last_place = joined_lists.last_place + 1,"
        " joined_id = excluded.joined_id,"
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


def digests(tx: Tx, windows: Sequence[tuple[int, int]]) -> list[tuple[int, int, int, int, int, int]]:
    """What belongs to digests, in the order of the lists.

    owner_id, digest, app_id, number, joined_user_id and joined_id
    """
    return tx.tuples(
        "SELECT a.owner_id, a.digest, a.app_id, a.number, a.joined_user_id, a.joined_id"
        " FROM :windows AS w JOIN announced AS a ON a.owner_id = w.owner_id AND a.digest = w.window_at"
        " ORDER BY a.owner_id, a.place",
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
        "SELECT id, verified, created_at, due_at, armed, done_at, result FROM joined"
        " WHERE user_id = :id ORDER BY created_at DESC, id DESC LIMIT :limit",
        id=user_id,
        limit=limit,
    )
