"""Search for users by conditions that must all hold.

    Condition      what must be true of one field
    page, count    the users of whom all conditions are true: some of them in order, and how many there are
    newest         all, from one on

The statements are put together from the fragments in this file; whatever a caller names is a parameter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .. import profile_fields
from ..model import User
from . import numbers, profiles
from .db import Rows, Tx
from .users import COLUMNS, made

Operator = Literal["in", "nin", "start_with", "gt", "gte", "lt", "lte"]
LAST = "\U0010ffff"  # no character comes after it

SEARCHABLE = {key: field for key, field in profile_fields.FIELDS.items() if field.searchable}
TIMES = {"last_request_at": "s.last_request_at", "created_at": "u.created_at", "updated_at": "u.updated_at"}
# The column by which users are found by whole values: keyed where the field is sealed.
FIELDS = {"id": "u.id", **{key: f"u.{field.found_column}" for key, field in SEARCHABLE.items()}, **TIMES}
# The column by which they are sorted and compared: folded where case does not matter. Sealed logins are not in it.
SORTABLE = {
    "id": "u.id",
    **{key: f"u.{field.ordered_column}" for key, field in SEARCHABLE.items() if field.ordered_column},
    **TIMES,
}
# Fields that are found by keyed values: a phone by its number in the table `numbers`.
KEYED = {"phone", *(key for key, field in SEARCHABLE.items() if field.keyed_column)}
# A user may have several of these.
AMONG = {
    "phone": "SELECT n.user_id FROM {values} AS v CROSS JOIN numbers AS n"
    " WHERE n.app_id = :app_id AND n.number = v.value AND (n.verified_at IS NOT NULL OR :verified_only = 0)",
    "user_tags": "SELECT t.user_id FROM {values} AS v CROSS JOIN tags AS t"
    " WHERE t.app_id = :app_id AND t.tag = v.value",
}
SEEN = "last_request_at"
BY_ID = {"id", *AMONG}
TAG_PREFIX = "u.id IN (SELECT t.user_id FROM tags AS t WHERE t.app_id = :app_id AND t.tag >= {low} AND t.tag < {high})"
COMPARED = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a field of `FIELDS`; for other operators than `in` and `nin` on one of `SORTABLE`.

    values    any number for `in` and `nin`, else one; texts folded, times in seconds, a phone as its number. No value
              is in an empty list, and a user without a value is in none.
    without   of the field phone: users who count as without one
    """

    field: str
    operator: Operator
    values: tuple[str | int, ...]
    without: tuple[int, ...] = ()


def page(
    tx: Tx,
    app_id: int,
    conditions: Sequence[Condition],
    *,
    sort: str,
    descending: bool,
    offset: int,
    limit: int,
    verified_only: bool,
) -> list[User]:
    """Users in the order of a field, those without it last, equals by id. Users with a sealed login count as without.

    sort            a field of `SORTABLE`
    verified_only   only verified numbers are found
    """
    where, params = _where(_keyed(tx, app_id, conditions))
    rows = tx.tuples(
        f"SELECT {COLUMNS} FROM {_tables(conditions, sort)} WHERE {where}"
        f" ORDER BY {SORTABLE[sort]} {'DESC' if descending else 'ASC'} NULLS LAST, u.id LIMIT :limit OFFSET :offset",
        app_id=app_id,
        verified_only=int(verified_only),
        limit=limit,
        offset=offset,
        **params,
    )
    return made(tx, rows)


def newest(tx: Tx, app_id: int, before: int, limit: int) -> list[User]:
    """Up to `limit` users that are older than the user with the id `before`, the newest first; all if there is none."""
    last = tx.tuples(
        "SELECT created_at FROM users WHERE id = :before AND app_id = :app_id", before=before, app_id=app_id
    )
    older = " AND (u.created_at, u.id) < (:at, :before)" if last else ""
    rows = tx.tuples(
        f"SELECT {COLUMNS} FROM users AS u WHERE u.app_id = :app_id{older}"
        " ORDER BY u.created_at DESC, u.id DESC LIMIT :limit",
        app_id=app_id,
        limit=limit,
        **({"at": last[0][0], "before": before} if last else {}),
    )
    return made(tx, rows)


def count(tx: Tx, app_id: int, conditions: Sequence[Condition], *, verified_only: bool, most: int) -> int:
    """The number of users who meet all conditions, counted up to `most`."""
    where, params = _where(_keyed(tx, app_id, conditions))
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {_tables(conditions)} WHERE {where} LIMIT :most) AS found"
    return int(tx.tuples(sql, app_id=app_id, verified_only=int(verified_only), most=most, **params)[0][0])


def _keyed(tx: Tx, app_id: int, conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions with keyed values in place of numbers, e-mails and logins that are given whole."""
    return [
        replace(one, values=tuple(_found_by(tx, app_id, one.field, value) for value in one.values))
        if one.operator in ("in", "nin") and one.field in KEYED
        else one
        for one in conditions
    ]


def _found_by(tx: Tx, app_id: int, field: str, value: Any) -> Any:
    if field == "phone":
        return numbers.keyed(tx, app_id, int(value))
    return profiles.found_by(tx, app_id, SEARCHABLE[field], value)


def _tables(conditions: Sequence[Condition], sort: str = "") -> str:
    """The tables to read: `seen` only where its column is named, because on a cluster it is distributed."""
    if SEEN in (sort, *(condition.field for condition in conditions)):
        return "users AS u LEFT JOIN seen AS s ON s.user_id = u.id"
    return "users AS u"


def _where(conditions: Sequence[Condition]) -> tuple[str, dict[str, Any]]:
    # SQLite, which counts nothing beforehand, would walk the application's index where ids are given; "+" keeps it off.
    ids_given = any(condition.field in BY_ID and condition.operator != "nin" for condition in conditions)
    parts = ["+u.app_id = :app_id" if ids_given else "u.app_id = :app_id"]
    params: dict[str, Any] = {}
    for position, condition in enumerate(conditions):
        part, named = _part(condition, f"c{position}")
        parts.append(part)
        params |= named
    return " AND ".join(parts), params


def _part(condition: Condition, name: str) -> tuple[str, dict[str, Any]]:
    """One condition as a fragment, and its parameters, whose names begin with `name`."""
    field, operator, values = condition.field, condition.operator, condition.values
    if operator in ("in", "nin") and not values:
        return ("1 = 0" if operator == "in" else "1 = 1"), {}
    if operator in ("in", "nin"):
        part, params = _among(condition, name), {name: Rows.of("value", values)}
        if condition.without:
            params[f"{name}_without"] = Rows.of("id", condition.without)
        # `nin` is also true of a user who has no value, so that what is missing looks like what is not named.
        return (part if operator == "in" else f"({part}) IS NOT TRUE"), params
    if operator == "start_with":
        low = str(values[0])
        return _prefix(field, name), {f"{name}_low": low, f"{name}_high": low + LAST}
    return f"{SORTABLE[field]} {COMPARED[operator]} :{name}", {name: values[0]}


def _among(condition: Condition, name: str) -> str:
    if condition.field in AMONG:
        others = f" AND NOT (n.user_id IN :{name}_without)" if condition.without else ""
        return f"u.id IN ({AMONG[condition.field].format(values=':' + name)}{others})"
    return f"{FIELDS[condition.field]} IN (SELECT v.value FROM :{name} AS v)"


def _prefix(field: str, name: str) -> str:
    low, high = f":{name}_low", f":{name}_high"
    if field == "user_tags":
        return TAG_PREFIX.format(low=low, high=high)
    return f"{SORTABLE[field]} >= {low} AND {SORTABLE[field]} < {high}"
