"""What users have chosen about joined pushes. A user who has chosen nothing has no row.

    of_user, of_many     the rows
    put                  store what a user has chosen
    spread               copy who finds the user to the user's numbers, where discovery reads it

An audience is stored as its place in AUDIENCES, from 1; 0 stands for the application's choice, as NULL does elsewhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..preferences import AUDIENCES, Audience
from .db import Row, Rows, Tx

CHOSEN = ("announce", "discoverable", "notify", "quiet_from", "quiet_to", "time_zone", "digest", "locale")
_COLUMNS = ", ".join(CHOSEN)


def code(audience: Audience | None) -> int:
    """How an audience is stored."""
    return AUDIENCES.index(audience) + 1 if audience else 0


def audience(code: int) -> Audience | None:
    """The audience that is stored so; None for the application's choice."""
    return AUDIENCES[code - 1] if code else None


def of_user(tx: Tx, user_id: int) -> Row | None:
    """What a user has chosen."""
    return tx.one(f"SELECT {_COLUMNS} FROM preferences WHERE user_id = :user_id", user_id=user_id)


def of_many(tx: Tx, user_ids: Sequence[int]) -> dict[int, Row]:
    """What those of these users have chosen who have chosen anything."""
    rows = tx.all(f"SELECT user_id, {_COLUMNS} FROM preferences WHERE user_id IN :ids", ids=Rows.of("id", user_ids))
    return {row["user_id"]: row for row in rows}


def put(tx: Tx, app_id: int, user_id: int, values: Mapping[str, Any]) -> None:
    """Store these values, by column, beside what the user has chosen before."""
    names = [name for name in CHOSEN if name in values]
    tx.run(
        f"INSERT INTO preferences (user_id, app_id, {', '.join(names)})"
        f" VALUES (:user_id, :app_id, {', '.join(f':{name}' for name in names)})"
        f" ON CONFLICT (user_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names)}",
        user_id=user_id,
        app_id=app_id,
        **{name: values[name] for name in names},
    )


def spread(tx: Tx, user_id: int, discoverable: int) -> None:
    """Copy who finds the user to the user's numbers. Writes nothing where it is there already."""
    differs = "FROM numbers WHERE user_id = :user_id AND discoverable <> :discoverable"
    if tx.tuples(f"SELECT 1 {differs} LIMIT 1", user_id=user_id, discoverable=discoverable):
        tx.run(
            "UPDATE numbers SET discoverable = :discoverable WHERE user_id = :user_id",
            user_id=user_id,
            discoverable=discoverable,
        )
