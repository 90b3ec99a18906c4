"""The list of who joined, one for each user: the rows of `announced` that have the user's places.

of_owner       the list of a user: its incarnation, its last place, and up to which place the app has shown it
Part, items    a part of the list, and its items whose user still has the number
mark_seen      records up to which place the app has shown the list
forget         takes a user out of all lists
delete         deletes the list of a user who is erased
restart        makes every cursor unknown

A place is taken under the lock of the list's row, which is held until the commit (`joined.announce`). So places become
visible in their order: whoever has read `last_place` first, and the items after that, has read all items up to there.
"""

import secrets
from collections.abc import Sequence

from msgspec import Struct

from .db import Row, Tx

INCARNATIONS = 2**62


class Part(Struct, frozen=True, kw_only=True):
    """The places of a user's list above `after` and below `before`, of items that are younger than `since`."""

    owner_id: int
    after: int
    before: int
    since: int
    verified_only: bool


def of_owner(tx: Tx, owner_id: int) -> Row | None:
    """The incarnation, last_place and seen_up_to of a user's list; None where nobody has joined yet."""
    return tx.one(
        "SELECT incarnation, last_place, seen_up_to FROM joined_lists WHERE owner_id = :owner_id", owner_id=owner_id
    )


def items(tx: Tx, part: Part, *, newest_first: bool, limit: int) -> list[Row]:
    """Up to `limit` items of a part by their places: place, app_id, number (keyed), at, joined_user_id.

    Only of users who still have the number; with `verified_only`, verified.
    """
    return tx.all(
        "SELECT a.place, a.app_id, a.number, a.at, a.joined_user_id FROM announced AS a CROSS JOIN numbers AS n"
        " WHERE a.owner_id = :owner_id AND a.place > :after AND a.place < :before AND a.at > :since"
        " AND n.app_id = a.app_id AND n.number = a.number AND n.user_id = a.joined_user_id"
        " AND (n.verified_at IS NOT NULL OR :verified_only = 0)"
        f" ORDER BY a.place {'DESC' if newest_first else 'ASC'} LIMIT :limit",
        owner_id=part.owner_id,
        after=part.after,
        before=part.before,
        since=part.since,
        verified_only=int(part.verified_only),
        limit=limit,
    )


def mark_seen(tx: Tx, owner_id: int, up_to: int) -> None:
    """Record that the app has shown the list up to a place; never a smaller one than before, or one that is not taken.

    The list is locked until the transaction ends.
    """
    tx.run(
        "UPDATE joined_lists SET seen_up_to = CASE WHEN :up_to < last_place THEN :up_to ELSE last_place END"
        " WHERE owner_id = :owner_id AND seen_up_to < :up_to",
        owner_id=owner_id,
        up_to=up_to,
    )


def forget(tx: Tx, app_id: int, user_id: int, keyed: Sequence[int]) -> None:
    """Take a user, who had these numbers, out of the lists of all who hold one of them.

    The rows stay: they say who was told about the number, which may have another owner soon. Touches every shard of a
    cluster, and writes only where there is something to write, because that locks the table there.
    """
    for number in keyed:
        named = {"app_id": app_id, "number": number, "user_id": user_id}
        if not tx.tuples(
            "SELECT 1 FROM contacts AS c JOIN announced AS a ON a.owner_id = c.owner_id AND a.number = c.number"
            " WHERE c.app_id = :app_id AND c.number = :number AND a.joined_user_id = :user_id LIMIT 1",
            **named,
        ):
            continue
        tx.run(
            "UPDATE announced SET joined_user_id = 0 FROM contacts AS c"
            " WHERE c.app_id = :app_id AND c.number = :number AND announced.owner_id = c.owner_id"
            " AND announced.number = c.number AND announced.joined_user_id = :user_id",
            **named,
        )


def delete(tx: Tx, owner_id: int) -> None:
    """Delete a user's list, before the user: whoever notifies the user holds the list and may yet need the user's row.

    Waits for them. The items are deleted after the user (`joined.drop_announced`).
    """
    tx.run("DELETE FROM joined_lists WHERE owner_id = :owner_id", owner_id=owner_id)


def restart(tx: Tx) -> None:
    """Give each list another incarnation: no cursor of before is known any more."""
    tx.run(
        "UPDATE joined_lists SET incarnation = (incarnation + :more) % :all",
        more=1 + secrets.randbelow(INCARNATIONS - 1),
        all=INCARNATIONS,
    )
