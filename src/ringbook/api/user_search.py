"""Queries for users over HTTP (protocol §3.3): V2, and the lists of V1.

This module parses queries. `core/user_search.py` and `core/privacy.py` say which are allowed and what they cost.
"""

from collections.abc import Callable
from typing import Any, get_args

from .. import errors
from ..core import users
from ..core.user_search import (
    COMPARING,
    DATES,
    FIELDS,
    MOST_PER_PAGE,
    NUMBERS,
    AnotherSearch,
    Filter,
    Operator,
    Query,
    is_lookup,
    query,
    stands_alone,
)
from ..exchange.turns import Kind, NeedsTurn
from ..model import User
from .endpoint import Answer, Call, Route
from .shapes.users import OldUserPage, OneUser, UserPage, user_out
from .wire import integer, moment, text, texts

PAGING = {
    "offset": "users to skip, at most 10,000",
    "limit": "users to show, at most 100",
    "page": "from 1, in place of `offset`",
    "per_page": "users on a page, in place of `limit`",
    "sort_asc": "a field",
    "sort_desc": "a field",
}
OPERATORS: dict[str, Operator] = {name: name for name in get_args(Operator)} | {"eq": "in"}
OLD_OPERATORS: dict[str, Operator] = {
    "eq": "in",
    "in": "in",
    "ne": "nin",
    "gt": "gt",
    "ge": "gte",
    "lt": "lt",
    "le": "lte",
}
OLD_PAGING = {"page": "from 1", "per_page": "users on a page, 10 or as many as this, at most 100"}
OLD_PER_PAGE = 10
NO_FIELD = "is not a field that users can be searched by"
LISTING_FORBIDDEN = "Users retrieving forbidden in admin panel: `ringbook app set {app} users_v1_list true` allows it"


def parameter(call: Call, name: str) -> str:
    """A required parameter. Raises Invalid."""
    value = call.values.get(name)
    if value is None or value == "":
        raise errors.Invalid("is required", field=name)
    return text(value, name)


# ── V2: a query ─────────────────────────────────────────────────────────────────────────────────────────────


def search(call: Call) -> Answer:
    """Look up users by a query

    `field=value`, `field[in][]=…`, `field[nin][]=…`, `field[start_with]=…` (4 characters or more, shows at most 5
    users), and for dates `field[gt|gte|lt|lte]=…` (ISO 8601 or Unix seconds). `field[eq]=…` is `field=…`, and a list
    may also be written as `field[in]=x&field[in]=y`. Parameters of other names are ignored. A user must match all
    conditions; at least one must be `=`, `in` or `start_with` on a field that is not a date. At most 20 conditions and
    100 values, and 8,192 characters of texts together;
    `total_entries` counts up to 10,000. The searches of a user run one after the
    other; one that waits longer than 5 seconds for its turn, or takes longer than 2 seconds, is refused. A query by
    ids, logins, phones, emails or external ids, with `=` or `in` and at most 100 values, sorted by id, is a look-up: it
    does not count as a search, and several may run at the same time. Each phone and email in a query costs one permit
    unless it is in the caller's address book, whether or not a user has it. Phone and email are stored encrypted: users
    are found by whole values of them only, and cannot be sorted by them (422); the same is true of a login that looks
    like one of them, which has no beginning to search by and comes last when users are sorted by login.
    """
    asked = query_of(call)
    page, total = found(call, asked)
    return Answer(UserPage(asked.limit, asked.offset, total, [user_out(user) for user in page]))


def found(call: Call, wanted: Query) -> tuple[list[User], int]:
    """The page of users and their total. A search, unlike a look-up, waits for the turn of its user."""
    if not is_lookup(wanted):
        call.needs(Kind.SEARCH)
    try:
        return users.search(call.db, call.config.limits, call.caller, wanted, call.now)
    except AnotherSearch as other:  # in another process
        raise NeedsTurn(Kind.SEARCH, otherwise=other) from None


def query_of(call: Call) -> Query:
    """The query in the request's parameters. Raises Invalid for an unsupported query."""
    values = {name: value for name, value in call.values.items() if value is not None}
    asked = [one for name in sorted(values.keys() & FIELDS.keys()) for one in asked_of(name, values[name])]
    if not any(stands_alone(one) for one in asked):
        raise errors.Invalid("The query needs a field that is no date with =, in or start_with")
    if any(one.operator in COMPARING and one.field in NUMBERS for one in asked):
        raise errors.Invalid("Only dates can be compared")
    offset, limit = page_of(call)
    return query(
        call.app,
        call.config.limits,
        asked,
        sort=text(values.get("sort_desc") or values.get("sort_asc") or "id", "sort"),
        descending=bool(values.get("sort_desc")),
        offset=offset,
        limit=limit,
    )


def page_of(call: Call) -> tuple[int, int]:
    """How many users to skip and to show: `offset` and `limit`, else `page` and `per_page` as in V1."""
    offset, limit = (call.values.get(name) for name in ("offset", "limit"))
    number, size = page_number(call, "page", 1), min(page_number(call, "per_page", MOST_PER_PAGE), MOST_PER_PAGE)
    if limit is not None:
        size = min(integer(limit, "limit"), MOST_PER_PAGE)
    skipped = (number - 1) * size if offset is None else integer(offset, "offset")
    return skipped, size


def asked_of(field: str, value: Any) -> list[Filter]:
    """The conditions on one field: `x`, `["x", "y"]` or `{"in": ["x", "y"], "gt": …}`."""
    if not isinstance(value, dict):
        listed = value if isinstance(value, list) else [value]
        return [Filter(field, "in", tuple(read(field, item) for item in listed))]
    return [Filter(field, operator(name, field), operands(field, name, inner)) for name, inner in value.items()]


def operator(name: str, field: str, known: dict[str, Operator] = OPERATORS) -> Operator:
    """The operator with this name. Raises Invalid."""
    if name not in known:
        raise errors.Invalid(f"has an operator that is not one of {', '.join(known)}", field=field)
    return known[name]


def operands(field: str, operator: str, value: Any) -> tuple[str | int, ...]:
    """The values of an operator; a list may also be a text with commas."""
    if operator not in ("in", "nin"):
        return (read(field, value),)
    listed = value if isinstance(value, list) else texts(value, field)
    return tuple(read(field, item) for item in listed)


def read(field: str, value: Any) -> str | int:
    """A value, converted to the type of its field."""
    if field not in FIELDS:
        raise errors.Invalid(NO_FIELD, field=field, told=f"a field {NO_FIELD}")
    return reader(field)(value, field)


def reader(field: str) -> Callable[[Any, str], str | int]:
    """The function that reads a field's values."""
    if field in NUMBERS:
        return integer
    return moment if field in DATES else text


# ── V1: lists ────────────────────────────────────────────────────────────────────────────────────────────────────────


def list_users(call: Call) -> Answer:
    """List users (V1)

    `filter[]=TYPE FIELD OPERATOR VALUE` with eq, ne, in, gt, ge, lt, le or between; `order=asc|desc TYPE FIELD`. A
    request with a filter `id in` or `id eq` is always allowed, others only if the application's setting
    `users_v1_list` is on. The rules of V2 about phones and emails apply here too.
    """
    asked = [one for filter_ in filters(call.values.get("filter")) for one in old_asked(filter_)]
    if not any(one.field == "id" and one.operator == "in" for one in asked):
        allow_listing(call)
    return old_page(call, asked)


def by_full_name(call: Call) -> Answer:
    """Look up users by full name (V1)

    Only if the application's setting `users_v1_list` is on.
    """
    allow_listing(call)
    return old_page(call, [Filter("full_name", "in", (parameter(call, "full_name"),))])


def by_tags(call: Call) -> Answer:
    """Look up users by tags (V1)

    Users with at least one of the tags. Only if the application's setting `users_v1_list` is on.
    """
    allow_listing(call)
    tags = texts(call.values.get("tags") or parameter(call, "tags"), "tags")
    return old_page(call, [Filter("user_tags", "in", tuple(tags))])


def allow_listing(call: Call) -> None:
    """Refuses lists of users unless the application's setting allows them (protocol §1.6)."""
    if not call.app.settings.users_v1_list:
        raise errors.Invalid(LISTING_FORBIDDEN.format(app=call.app.id))


def old_page(call: Call, asked: list[Filter]) -> Answer:
    """A page of users, each in an object of its own."""
    number, size = old_paging(call)
    sort, descending = order(call.values.get("order"))
    offset = (number - 1) * size
    wanted = query(call.app, call.config.limits, asked, sort=sort, descending=descending, offset=offset, limit=size)
    page, total = found(call, wanted)
    return Answer(OldUserPage(number, size, total, [OneUser(user_out(user)) for user in page]))


def old_paging(call: Call) -> tuple[int, int]:
    """The number of a page, from 1, and its size, as `OLD_PAGING` names them."""
    return page_number(call, "page", 1), min(page_number(call, "per_page", OLD_PER_PAGE), MOST_PER_PAGE)


def page_number(call: Call, name: str, default: int) -> int:
    """A parameter that counts from 1."""
    value = call.values.get(name)
    number = default if value is None or value == "" else integer(value, name)
    if number < 1:
        raise errors.Invalid("must be 1 or more", field=name)
    return number


def order(value: Any) -> tuple[str, bool]:
    """`desc date created_at` as the field and whether it descends; by id when there is none."""
    if not value:
        return "id", False
    words = text(value, "order").split()
    if len(words) != 3 or words[0] not in ("asc", "desc"):
        raise errors.Invalid("must be asc or desc, a type and a field", field="order")
    return words[2], words[0] == "desc"


def filters(value: Any) -> list[str]:
    """The filters in `filter[]=…`, `filter[gt]=…` (`filter[in]=…` any number of times) or `filter=…`."""
    listed = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
    flat = [one for item in listed for one in (item if isinstance(item, list) else [item])]
    return [text(item, "filter") for item in flat if item]


def old_asked(filter_: str) -> list[Filter]:
    """`number id in 1,2` as a condition; `between` as two."""
    words = filter_.split(maxsplit=3)
    if len(words) != 4:
        raise errors.Invalid("must be a type, a field, an operator and a value", field="filter")
    _, field, name, value = words
    if name == "between":
        low, comma, high = value.partition(",")
        if not comma:
            raise errors.Invalid("between needs two values with a comma", field="filter")
        return [Filter(field, "gte", (old_read(field, low),)), Filter(field, "lte", (old_read(field, high),))]
    listed = texts(value, field) if name == "in" else [value]
    values = tuple(old_read(field, item) for item in listed)
    return [Filter(field, operator(name, field, OLD_OPERATORS), values)]


def old_read(field: str, value: str) -> str | int:
    """A value as its field's kind; dates are also written 2018.12.05."""
    return read(field, value.replace(".", "-") if field in DATES else value)


QUERY = PAGING | dict.fromkeys(FIELDS, "a value, or with an operator in brackets")

ROUTES: list[Route] = [
    Route(
        method="GET",
        path="/users",
        handler=list_users,
        query=OLD_PAGING | {"filter[]": "TYPE FIELD OPERATOR VALUE, any number of times", "order": "asc TYPE FIELD"},
        answer=OldUserPage,
        refusals=(422, 429),
    ),
    Route(
        method="GET",
        path="/users/v2",
        handler=search,
        query=QUERY,
        answer=UserPage,
        refusals=(422, 429),
    ),
    Route(
        method="GET",
        path="/users/by_full_name",
        handler=by_full_name,
        query={"full_name": "the whole name, in any case", **OLD_PAGING},
        answer=OldUserPage,
        refusals=(422, 429),
    ),
    Route(
        method="GET",
        path="/users/by_tags",
        handler=by_tags,
        query={"tags": "with commas between", **OLD_PAGING},
        answer=OldUserPage,
        refusals=(422, 429),
    ),
]
