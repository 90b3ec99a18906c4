"""Queries for users: their rules, and the e-mails and phones that they name. Pure, except for `as_found`.

    Filter      a condition as an app has sent it
    query       checks filters, order and page, and returns a Query
    Query       what `users.search` looks up
    is_lookup   whether a query is a look-up by whole values, which is no search
    named       the e-mails and phones in the conditions, each of which costs a permit
    as_found    the conditions as they are true for the caller, whom some users do not let find them
    AnotherSearch   refuses a search while another one of the user runs

Sources: docs/wire.md §3.3; ConnectyCube, Server API, Users, "Retrieve Users V2" for `stands_alone`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .. import errors, profile_fields
from ..config import Limits
from ..model import App, Caller
from ..profile_fields import LONGEST_QUERY
from ..store.db import Tx
from ..store.user_search import FIELDS as FIELDS
from ..store.user_search import SORTABLE, Condition
from ..store.user_search import Operator as Operator
from ..store.users import fold
from . import discoverable, privacy

DATES = {"last_request_at", "created_at", "updated_at"}
NUMBERS = {"id", *(key for key, field in profile_fields.FIELDS.items() if field.searchable and field.type is int)}
TEXTS = FIELDS.keys() - DATES - NUMBERS
# Only found by whole values: always sealed.
SEALED = FIELDS.keys() - SORTABLE.keys()
COMPARING = {"gt", "gte", "lt", "lte"}
# A user has one value of each of these fields, and an index finds the users with a value.
LOOKUP_FIELDS = {"id", "login", "email", "phone", "external_id", "external_user_id", "facebook_id", "twitter_id"}
MOST_LOOKUP_VALUES = 100
MOST_PER_PAGE = 100
MOST_CONDITIONS = 20
PREFIX_CHARACTERS, PREFIX_USERS = 4, 5
# Folded before they are compared. Other texts are only stripped, as they were when they were stored.
FOLDED = [key for key, field in profile_fields.FIELDS.items() if field.folded]
COMPARED_AS: dict[str, Callable[[str], str]] = dict.fromkeys([*FOLDED, "user_tags"], fold)


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition as sent: texts unchanged; numbers and times (in seconds) as integers."""

    field: str
    operator: Operator
    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions, order and page of a search."""

    conditions: tuple[Condition, ...]
    sort: str = "id"
    descending: bool = False
    offset: int = 0
    limit: int = MOST_PER_PAGE


def query(
    app: App, limits: Limits, filters: Sequence[Filter], *, sort: str, descending: bool, offset: int, limit: int
) -> Query:
    """The query, checked by all rules that both versions of the API share. Raises Invalid.

    limit   at most 100; with `start_with` it is always 5 (protocol §3.3)
    """
    if sort not in SORTABLE:
        raise errors.Invalid(f"users cannot be sorted by {sort}", told="users cannot be sorted by this field")
    if offset < 0 or limit < 1:
        raise errors.Invalid("the page must begin at 0 or later and hold 1 user or more")
    _check_size(limits, filters, offset)
    for one in filters:
        _check(one)
    prefixed = any(one.operator == "start_with" for one in filters)
    conditions = tuple(_condition(one, app.settings.default_region) for one in filters)
    return Query(conditions, sort, descending, offset, PREFIX_USERS if prefixed else min(limit, MOST_PER_PAGE))


def is_lookup(request: Query) -> bool:
    """Whether the query is a look-up by at most 100 whole values, such as ids or phones, and is therefore no search.

    SDKs look up each user this way, several at the same time. Indexes find the users, and only these few are sorted; an
    order by another field than the id makes it a search, because the database may then read all users in that order.
    """
    return (
        len(request.conditions) > 0
        and request.sort == "id"
        and all(one.operator == "in" and one.field in LOOKUP_FIELDS for one in request.conditions)
        and sum(len(one.values) for one in request.conditions) <= MOST_LOOKUP_VALUES
    )


def stands_alone(filter_: Filter) -> bool:
    """Whether this may be the only filter of a V2 query."""
    return filter_.field not in DATES and filter_.operator in ("in", "start_with")


def named(app: App, conditions: Sequence[Condition]) -> privacy.Named:
    """The private values in the conditions. The answer shows whether a user has them."""
    region = app.settings.default_region
    values: set[int | str] = set()
    for condition in conditions:
        if condition.operator == "start_with":
            continue  # names no whole value, and no sealed login is found by its beginning
        if condition.field in SEALED:
            values.update(condition.values)
        elif condition.field == "login":
            texts = map(str, condition.values)
            values.update(privacy.canonical(text, region) for text in texts if privacy.is_private(text))
    return frozenset(values)


def as_found(tx: Tx, caller: Caller, conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions for the caller: a phone, or a login that is one, of a user who hides from the caller is nobody's.

    The caller has paid for the values that are named.
    """
    return [
        _without_hidden_numbers(tx, caller, one)
        if one.field == "phone" and one.values
        else _without_hidden_logins(tx, caller, one)
        if one.field == "login" and one.operator in ("in", "nin")
        else one
        for one in conditions
    ]


def _without_hidden_numbers(tx: Tx, caller: Caller, condition: Condition) -> Condition:
    numbers = [int(value) for value in condition.values]
    hidden = discoverable.hidden_by_number(tx, caller.app, caller.user_id, numbers)
    return replace(condition, without=tuple(sorted(hidden)))


def _without_hidden_logins(tx: Tx, caller: Caller, condition: Condition) -> Condition:
    phones = [str(value) for value in condition.values if privacy.is_phone(str(value))]
    hidden = discoverable.hidden_logins(tx, caller.app, caller.user_id, phones) if phones else set()
    return replace(condition, values=tuple(value for value in condition.values if value not in hidden))


class AnotherSearch(errors.TooMany):
    """Another search of the user runs. It may be over soon, so the exchange tries again for some seconds."""

    def __init__(self) -> None:
        reason = "Another search of this user is still running"
        super().__init__(reason, wait_seconds=1, limit="search_turn_seconds")


def _check_size(limits: Limits, filters: Sequence[Filter], offset: int) -> None:
    if len(filters) > MOST_CONDITIONS:
        raise errors.Invalid(f"the query has more than {MOST_CONDITIONS} conditions")
    if sum(len(value) for one in filters for value in one.values if isinstance(value, str)) > LONGEST_QUERY:
        raise errors.Invalid(f"the texts of the query have more than {LONGEST_QUERY:,} characters")
    most = limits.max_search_values
    if sum(len(one.values) for one in filters) > most:
        raise errors.Invalid(f"the query has more than {most} values", limit="max_search_values")
    excluded = limits.max_search_excluded
    if sum(len(one.values) for one in filters if one.operator == "nin") > excluded:
        raise errors.Invalid(f"the query excludes more than {excluded} values", limit="max_search_excluded")
    if offset > limits.max_search_offset:
        reason = f"the page must begin at {limits.max_search_offset} or before: narrow the query instead"
        raise errors.Invalid(reason, limit="max_search_offset")


def _check(filter_: Filter) -> None:
    field, operator, values = filter_.field, filter_.operator, filter_.values
    if operator in COMPARING and field in TEXTS:
        raise errors.Invalid(f"cannot be compared with {operator}", field=field)
    if operator != "start_with":
        return
    if field not in TEXTS or field in SEALED:
        raise errors.Invalid("cannot be searched with start_with", field=field)
    if len(str(values[0]).strip()) < PREFIX_CHARACTERS:
        raise errors.Invalid(f"start_with needs at least {PREFIX_CHARACTERS} characters", field=field)


def _condition(filter_: Filter, region: str) -> Condition:
    values = filter_.values
    if filter_.field == "phone":
        # A text that is not a phone number matches no user.
        numbers = {privacy.number(str(value), region) for value in values}
        values = tuple(sorted(number for number in numbers if number is not None))
    elif filter_.field in TEXTS:
        compared_as = COMPARED_AS.get(filter_.field, str.strip)
        values = tuple(sorted({compared_as(str(value)) for value in values}))
    return Condition(filter_.field, filter_.operator, values)
