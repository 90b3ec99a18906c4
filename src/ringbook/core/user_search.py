"""Queries for users: what may be asked, and what of it names an e-mail or a phone. Pure, but for `turn`.

    Asked       a condition as an app has written it
    query       conditions, order and page → a Query, or Invalid with the reason
    Query       what `users.search` looks up
    named       the e-mails and phones in it, each of which costs a permit
    turn        one search of a user at a time

Sources: docs/wire.md §3.3; ConnectyCube, Server API, Users, "Retrieve Users V2" for what stands alone.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .. import errors
from ..config import Limits
from ..model import App
from ..store.db import Database
from ..store.user_search import FIELDS as FIELDS
from ..store.user_search import Condition
from ..store.user_search import Operator as Operator
from ..store.users import fold
from . import privacy

DATES = {"last_request_at", "created_at", "updated_at"}
NUMBERS = {"id", "external_user_id"}
TEXTS = FIELDS.keys() - DATES - NUMBERS
# Nobody searches these by beginning, order or range while profiles are `known`: step by step that spells them out.
GUARDED = {"phone", "email"}
COMPARING = {"gt", "gte", "lt", "lte"}
MOST_PER_PAGE = 100
MOST_CONDITIONS = 20
PREFIX_CHARACTERS, PREFIX_USERS = 4, 5
# Texts in which case counts lose their outer blanks, as they did when they were stored.
COMPARED_AS: dict[str, Callable[[str], str]] = dict.fromkeys(("login", "email", "full_name", "user_tags"), fold)


@dataclass(frozen=True, slots=True)
class Asked:
    """A condition as written: texts as they are, numbers and times (seconds) already read."""

    field: str
    operator: Operator
    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What to look up, in which order, and which page of it."""

    conditions: tuple[Condition, ...]
    sort: str = "id"
    descending: bool = False
    offset: int = 0
    limit: int = MOST_PER_PAGE


def query(
    app: App, limits: Limits, asked: Sequence[Asked], *, sort: str, descending: bool, offset: int, limit: int
) -> Query:
    """The query, with every rule checked that holds for both versions of the API.

    limit   at most 100; with `start_with` it is 5, whatever was asked (protocol §3.3)
    """
    is_open = app.settings.profiles == "open"
    if sort not in FIELDS or (sort in GUARDED and not is_open):
        raise errors.Invalid(f"users cannot be sorted by {sort}", told="users cannot be sorted by this field")
    if offset < 0 or limit < 1:
        raise errors.Invalid("the page must begin at 0 or later and hold 1 user or more")
    _check_size(limits, asked, offset)
    for one in asked:
        _check(one, is_open=is_open)
    prefixed = any(one.operator == "start_with" for one in asked)
    conditions = tuple(_condition(one, app.settings.default_region) for one in asked)
    return Query(conditions, sort, descending, offset, PREFIX_USERS if prefixed else min(limit, MOST_PER_PAGE))


def stands_alone(asked: Asked) -> bool:
    """May this condition be the only one of a V2 query?"""
    return asked.field not in DATES and asked.operator in ("in", "start_with")


def named(app: App, conditions: Sequence[Condition]) -> privacy.Named:
    """The values whose owner, or absence, the answer would tell: phones, e-mails, and logins that are either."""
    region = app.settings.default_region
    values: set[int | str] = set()
    for condition in conditions:
        if condition.operator == "start_with":
            continue  # finds no hidden value, or hides none
        if condition.field in GUARDED:
            values.update(condition.values)
        elif condition.field == "login":
            texts = map(str, condition.values)
            values.update(privacy.key(text, region) for text in texts if privacy.is_private(text))
    return frozenset(values)


_searching: set[tuple[int, int]] = set()
_searching_lock = threading.Lock()


@contextmanager
def turn(db: Database, user_id: int) -> Iterator[None]:
    """The user's only search in this process, or TooMany while there is another one."""
    mine = (id(db), user_id)
    with _searching_lock:
        if mine in _searching:
            raise another_search()
        _searching.add(mine)
    try:
        yield
    finally:
        _searching.discard(mine)


def another_search() -> errors.TooMany:
    """The refusal of a second search at the same time."""
    return errors.TooMany("Another search of this user is still running", wait_seconds=1, limit="searches_per_minute")


def _check_size(limits: Limits, asked: Sequence[Asked], offset: int) -> None:
    if len(asked) > MOST_CONDITIONS:
        raise errors.Invalid(f"the query has more than {MOST_CONDITIONS} conditions")
    most = limits.max_search_values
    if sum(len(one.values) for one in asked) > most:
        raise errors.Invalid(f"the query has more than {most} values", limit="max_search_values")
    excluded = limits.max_search_excluded
    if sum(len(one.values) for one in asked if one.operator == "nin") > excluded:
        raise errors.Invalid(f"the query excludes more than {excluded} values", limit="max_search_excluded")
    if offset > limits.max_search_offset:
        reason = f"the page must begin at {limits.max_search_offset} or before: narrow the query instead"
        raise errors.Invalid(reason, limit="max_search_offset")


def _check(asked: Asked, *, is_open: bool) -> None:
    field, operator, values = asked.field, asked.operator, asked.values
    if operator in COMPARING and field in TEXTS:
        raise errors.Invalid(f"cannot be compared with {operator}", field=field)
    if operator != "start_with":
        return
    if field not in TEXTS or (field in GUARDED and not is_open):
        raise errors.Invalid("cannot be searched with start_with", field=field)
    if len(str(values[0]).strip()) < PREFIX_CHARACTERS:
        raise errors.Invalid(f"start_with needs at least {PREFIX_CHARACTERS} characters", field=field)


def _condition(asked: Asked, region: str) -> Condition:
    values = asked.values
    if asked.field == "phone" and asked.operator != "start_with":
        # What is no number belongs to nobody, whatever it says.
        numbers = {privacy.number(str(value), region) for value in values}
        values = tuple(sorted(number for number in numbers if number is not None))
    elif asked.field in TEXTS:
        spelled = COMPARED_AS.get(asked.field, str.strip)
        values = tuple(sorted({spelled(str(value)) for value in values}))
    return Condition(asked.field, asked.operator, values)
