"""Queries for users: the limits that keep a small request cheap."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from servers import SEAL

from ringbook import errors
from ringbook.app_settings import AppSettings
from ringbook.config import Limits
from ringbook.core import applications, users
from ringbook.core.user_search import LOOKUP_FIELDS, MOST_CONDITIONS, NUMBERS, Filter, Query, is_lookup, query
from ringbook.model import App, Caller, User
from ringbook.profile_fields import FOLDED_CHARACTERS, fold
from ringbook.store import user_search as store
from ringbook.store.db import Database, Tx, connect

APP = App(
    id=1,
    name="test",
    auth_key="k",
    auth_secret="s",
    hash_key=b"",
    vapid_public_key="",
    settings=AppSettings(),
    created_at=0,
)


def test_a_query_has_so_many_conditions_and_no_more():
    one = Filter("id", "in", (1,))
    options = {"sort": "id", "descending": False, "offset": 0, "limit": 10}
    assert len(query(APP, Limits(), [one] * MOST_CONDITIONS, **options).conditions) == MOST_CONDITIONS
    with pytest.raises(errors.Invalid, match="conditions"):
        query(APP, Limits(), [one] * (MOST_CONDITIONS + 1), **options)


@pytest.mark.parametrize(
    "asked, offset, limit, words",
    [
        ([("login", "in", 11)], 0, "max_search_values", "more than 10 values"),
        ([("login", "in", 6), ("id", "in", 5)], 0, "max_search_values", "more than 10 values"),
        ([("login", "in", 1), ("id", "nin", 4)], 0, "max_search_excluded", "excludes more than 3 values"),
        ([("login", "in", 1), ("id", "nin", 2), ("email", "nin", 2)], 0, "max_search_excluded", "excludes more than 3"),
        ([("login", "in", 1)], 101, "max_search_offset", "at 100 or before"),
    ],
)
def test_lists_and_offsets_have_limits(asked: list[tuple[str, Any, int]], offset: int, limit: str, words: str) -> None:
    limits = Limits(max_search_values=10, max_search_excluded=3, max_search_offset=100)
    conditions = [Filter(field, operator, tuple(map(str, range(many)))) for field, operator, many in asked]
    with pytest.raises(errors.Invalid, match=words) as refused:
        query(APP, limits, conditions, sort="id", descending=False, offset=offset, limit=10)
    assert refused.value.limit == limit


def test_up_to_the_limits_lists_and_offsets_are_taken() -> None:
    limits = Limits(max_search_values=10, max_search_excluded=3, max_search_offset=100)
    conditions = [Filter("id", "in", tuple(range(7))), Filter("id", "nin", tuple(range(3)))]
    assert query(APP, limits, conditions, sort="id", descending=False, offset=100, limit=10).offset == 100


# ── look-ups by whole values ─────────────────────────────────────────────────────────────────────────────────────────


def a_query(*filters: Filter, sort: str = "id") -> Query:
    """Of an operator who allows more values than a look-up has."""
    return query(APP, Limits(max_search_values=200), filters, sort=sort, descending=False, offset=0, limit=10)


@pytest.mark.parametrize("field", sorted(LOOKUP_FIELDS))
def test_up_to_100_whole_values_of_a_field_are_a_look_up(field: str) -> None:
    values: list[Any] = [number if field in NUMBERS else f"{12025550000 + number}" for number in range(101)]
    assert is_lookup(a_query(Filter(field, "in", tuple(values[:1]))))
    assert is_lookup(a_query(Filter(field, "in", tuple(values[:100]))))
    assert not is_lookup(a_query(Filter(field, "in", tuple(values))))


def test_the_values_of_all_fields_together_are_counted() -> None:
    ids = Filter("id", "in", tuple(range(60)))
    assert is_lookup(a_query(ids, Filter("external_user_id", "in", tuple(range(40)))))
    assert not is_lookup(a_query(ids, Filter("external_user_id", "in", tuple(range(41)))))


@pytest.mark.parametrize(
    "more, sort",
    [
        ([Filter("id", "nin", (7,))], "id"),
        ([Filter("login", "start_with", ("user",))], "id"),
        ([Filter("full_name", "in", ("Ann",))], "id"),
        ([Filter("user_tags", "in", ("vip",))], "id"),
        ([Filter("created_at", "gt", (7,))], "id"),
        ([], "created_at"),
        ([], "last_request_at"),
    ],
)
def test_every_other_query_is_a_search(more: list[Filter], sort: str) -> None:
    assert not is_lookup(a_query(Filter("login", "in", ("ann",)), *more, sort=sort))


def test_a_list_of_users_without_a_condition_is_a_search() -> None:
    assert not is_lookup(a_query())


# ── searching ────────────────────────────────────────────────────────────────────────────────────────────────────────

NOW = 1_800_000_000
HERE = "192.0.2.1"
# Takes until it is ended; the same on both databases.
ENDLESS = (
    "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i > 0) SELECT max(i) FROM n"
)


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "test", NOW)


def signed_up(db: Database, app: App, login: str) -> Caller:
    user = users.sign_up(db, Limits(), app, {"login": login, "password": "correct-horse"}, HERE, NOW)
    return Caller(app=app, user_id=user.id, is_guest=False, address=HERE)


def everybody(caller: Caller, limits: Limits) -> Query:
    wanted = [Filter("login", "start_with", ("user",))]
    return query(caller.app, limits, wanted, sort="id", descending=False, offset=0, limit=10)


def search(
    db: Database, caller: Caller, limits: Limits | None = None, now: int = NOW, address: str = HERE
) -> tuple[list[User], int]:
    limits = limits or Limits()
    asking = Caller(app=caller.app, user_id=caller.user_id, is_guest=False, address=address)
    return users.search(db, limits, asking, everybody(caller, limits), now)


def refused(work: Callable[[], object]) -> str:
    """The limit that was reached; "" when none was."""
    try:
        work()
    except errors.Refused as why:
        return why.limit
    return ""


def test_no_more_are_counted_than_the_setting_says(db: Database, app: App) -> None:
    callers = [signed_up(db, app, f"user-{n}") for n in range(4)]
    assert search(db, callers[0])[1] == 4
    found, total = search(db, callers[0], Limits(max_search_total=3))
    assert (len(found), total) == (4, 3)


def test_searches_are_counted_for_the_user_and_for_the_address(db: Database, app: App) -> None:
    ann, bob = signed_up(db, app, "user-ann"), signed_up(db, app, "user-bob")
    limits = Limits(searches_per_minute=2, address_searches_per_minute=3)

    def searched(who: Caller, **how: Any) -> str:
        return refused(lambda: search(db, who, limits, **how))

    assert [searched(ann) for _ in range(3)] == ["", "", "searches_per_minute"]
    assert [searched(bob) for _ in range(2)] == ["", "address_searches_per_minute"]
    assert searched(bob, address="192.0.2.2") == ""
    assert searched(ann, now=NOW + 30, address="192.0.2.2") == ""


def test_looking_one_user_up_is_no_search(db: Database, app: App) -> None:
    ann = signed_up(db, app, "user-ann")
    limits = Limits(searches_per_minute=1)
    for _ in range(3):
        assert users.find(db, limits, ann, "id", ann.user_id, NOW).login == "user-ann"
    assert search(db, ann, limits)


def looked_up(db: Database, caller: Caller, limits: Limits, *filters: Filter) -> list[int]:
    wanted = query(caller.app, limits, filters, sort="id", descending=False, offset=0, limit=10)
    return [user.id for user in users.search(db, limits, caller, wanted, NOW)[0]]


def test_a_look_up_is_not_counted_as_a_search_and_waits_for_none(databases: Any) -> None:
    limits = Limits(searches_per_minute=1, address_searches_per_minute=1)
    with databases.fresh("plain") as url, closing(connect(url, seal=SEAL)) as db:
        ann = signed_up(db, applications.create(db, "test", NOW), "user-ann")
        assert search(db, ann, limits)[1] == 1
        assert refused(lambda: search(db, ann, limits)) == "searches_per_minute"
        with db.read(seconds=60) as tx:
            assert tx.try_lock(f"search by {ann.user_id}")
            for _ in range(3):
                assert looked_up(db, ann, limits, Filter("id", "in", (ann.user_id, 7))) == [ann.user_id]


@pytest.mark.parametrize("field, value", [("phone", "+1 202 555 0142"), ("email", "bob@example.com")])
def test_a_look_up_costs_a_permit_for_each_phone_and_each_e_mail(
    db: Database, app: App, field: str, value: str
) -> None:
    ann = signed_up(db, app, "user-ann")
    limits = Limits(permits=2, permits_per_hour=0)
    named = [Filter(field, "in", (value.replace("bob", f"bob{one}").replace("42", f"4{one}"),)) for one in range(3)]
    assert [refused(lambda one=one: looked_up(db, ann, limits, one)) for one in named] == ["", "", "permits"]


def test_a_look_up_that_takes_too_long_is_ended(db: Database, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = signed_up(db, app, "user-ann")
    monkeypatch.setattr(store, "count", lambda tx, *_, **__: len(tx.tuples(ENDLESS)))
    with pytest.raises(errors.TooSlow, match="Ask for less"):
        looked_up(db, ann, Limits(search_seconds=1), Filter("id", "in", (ann.user_id,)))


def test_a_search_that_takes_too_long_is_ended_and_counts_as_ten(
    db: Database, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = signed_up(db, app, "user-ann")
    limits = Limits(searches_per_minute=12, search_seconds=1)

    def endless(tx: Tx, *_: Any, **__: Any) -> int:
        return len(tx.tuples(ENDLESS))

    monkeypatch.setattr(store, "count", endless)
    with pytest.raises(errors.TooSlow, match="narrow it") as slow:
        search(db, ann, limits)
    assert slow.value.limit == "search_seconds"
    monkeypatch.undo()
    assert [refused(lambda: search(db, ann, limits)) for _ in range(3)] == ["", "", "searches_per_minute"]


def test_a_user_has_one_search_at_a_time_in_all_processes(databases: Any) -> None:
    with (
        databases.fresh("plain") as url,  # on a cluster, the limit holds for each node
        closing(connect(url, seal=SEAL)) as here,
        closing(connect(url, seal=SEAL)) as elsewhere,
    ):
        ann = signed_up(here, applications.create(here, "test", NOW), "user-ann")
        with elsewhere.read(seconds=60) as tx:
            assert tx.try_lock(f"search by {ann.user_id}")
            with pytest.raises(errors.TooMany, match="still running"):
                search(here, ann)
        assert search(here, ann)[1] == 1


def test_a_search_can_follow_a_refused_one(db: Database, app: App) -> None:
    ann = signed_up(db, app, "user-ann")
    limits = Limits(searches_per_minute=1)
    assert [refused(lambda: search(db, ann, limits)) for _ in range(3)] == ["", *2 * ["searches_per_minute"]]
    assert search(db, ann)[1] == 1


def test_no_more_of_a_text_is_folded_than_could_be_stored():
    marks = "\u0315\u0300"
    assert len(fold("a" + marks * 100_000)) <= FOLDED_CHARACTERS
    assert fold("A" * 255) == "a" * 255
