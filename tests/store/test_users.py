"""Users in both databases: what is unique, what goes with an account, and the same order everywhere."""

import random
from typing import Any

import pytest

from ringbook import errors
from ringbook.core import applications
from ringbook.core.profile import columns
from ringbook.model import App, User
from ringbook.store import books, sessions, user_search
from ringbook.store import users as store
from ringbook.store.db import Database
from ringbook.store.user_search import Condition

NOW = 1_800_000_000


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "test", NOW)


def added(db: Database, app: App, now: int = NOW, **fields: Any) -> int:
    values = columns(fields)  # type: ignore[arg-type]
    with db.write() as tx:
        user_id = store.insert(tx, app.id, values, now)
        assert user_id is not None
        store.set_tags(tx, app.id, user_id, [store.fold(tag) for tag in fields.get("tag_list", [])])
        if "phone" in fields:
            store.set_number(tx, app.id, user_id, int(fields["phone"]))
    return user_id


# ── an account ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "one, other",
    [("Ann", "aNN"), ("  ann ", "ann"), ("STRASSE", "straße"), ("Åse", "A\u030ase"), ("ΣΊΣΥΦΟΣ", "σίσυφος")],
)
def test_texts_that_are_compared_as_the_same(one: str, other: str) -> None:
    assert store.fold(one) == store.fold(other)


@pytest.mark.parametrize(
    "field, first, second",
    [
        ("login", "ann.example", "Ann.Example"),
        ("email", "ann@example.com", "ANN@example.com"),
        ("external_user_id", 7, 7),
        ("facebook_id", "fb7", "fb7"),
    ],
)
def test_a_taken_value_is_found_and_named(db: Database, app: App, field: str, first: object, second: object) -> None:
    ann = added(db, app, **{field: first})
    bob = added(db, app, login="bob")
    values = columns({field: second})  # type: ignore[misc]
    with db.write() as tx:
        assert store.insert(tx, app.id, values, NOW) is None
        assert store.taken(tx, app.id, values) == field
        assert store.taken(tx, app.id, values, except_id=bob) == field
        assert store.taken(tx, app.id, values, except_id=ann) is None


def test_what_is_taken_in_one_application_is_free_in_another(db: Database, app: App) -> None:
    elsewhere = applications.create(db, "other", NOW)
    ann = added(db, app, login="ann", email="ann@example.com")
    other = added(db, elsewhere, login="ann", email="ann@example.com")
    with db.read() as tx:
        assert store.by_ids(tx, app.id, [ann, other]).keys() == {ann}
        assert store.by_id(tx, app.id, other) is None
        assert [found.id for found in (store.by_login(tx, elsewhere.id, "ANN"),) if found] == [other]
        assert [found.id for found in (store.by_email(tx, app.id, "ANN@example.com"),) if found] == [ann]


LOGINS = "SELECT login, login_folded, login_sealed, login_keyed FROM users"
PRIVATE = {"phone": "12025550101", "email": "Ann@Example.com"}


@pytest.mark.parametrize("login", ["Ann@Example.com", "+1 (202) 555-0101", "2025550101"])
def test_phones_emails_and_private_logins_are_sealed_and_found_whole(db: Database, app: App, login: str) -> None:
    ann = added(db, app, **PRIVATE, login=login)
    with db.write() as tx:
        (row,) = tx.all("SELECT * FROM users")
        assert (row["login"], row["login_folded"]) == (None, None)
        for column in ("login_sealed", "email", "phone"):
            assert isinstance(row[column], bytes)
            assert len(row[column]) % 16 == 0, column
        assert len(row["login_keyed"]) == len(row["email_keyed"]) == 16
        for user in (store.by_id(tx, app.id, ann), store.by_login(tx, app.id, login.upper())):
            assert user
            assert (user.login, user.email, user.phone) == (login, PRIVATE["email"], PRIVATE["phone"])
        signing_in = store.find_for_sign_in(tx, app.id, login.upper(), None)
        assert signing_in
        assert signing_in["id"] == ann
        assert store.insert(tx, app.id, columns({"login": login.upper()}), NOW) is None


def test_other_logins_stay_in_clear_and_a_change_moves_them(db: Database, app: App) -> None:
    ann = added(db, app, login="Ann")
    with db.write() as tx:
        before = tx.one(LOGINS)
        assert before
        assert (before["login"], before["login_folded"], before["login_sealed"]) == ("Ann", "ann", None)
        store.change(tx, app.id, ann, columns({"login": "ann@example.com"}), NOW)
        private = tx.one(LOGINS)
        assert private
        assert (private["login"], private["login_folded"], bool(private["login_sealed"])) == (None, None, True)
        assert store.by_login(tx, app.id, "ann") is None
        assert store.by_login(tx, app.id, "ann@example.com")
        store.change(tx, app.id, ann, columns({"login": "Ann"}), NOW)
        assert tx.one(LOGINS) == before


def test_only_the_email_is_unique_and_its_keyed_value_differs_between_applications(db: Database, app: App) -> None:
    elsewhere = applications.create(db, "other", NOW)
    for where, fields in ((app, PRIVATE), (app, {"phone": PRIVATE["phone"]}), (elsewhere, PRIVATE)):
        added(db, where, **fields)
    with db.read() as tx:
        rows = tx.all("SELECT app_id, phone, email, email_keyed FROM users ORDER BY id")
    assert len({row["phone"] for row in rows}) == 3  # the same phone, bound to its user
    assert len({row["email_keyed"] for row in rows if row["email_keyed"]}) == 2


@pytest.mark.parametrize("column", ["phone", "email"])
def test_a_sealed_value_in_the_row_of_another_user_does_not_open(db: Database, app: App, column: str) -> None:
    ann, bob = added(db, app, **PRIVATE), added(db, app, login="bob")
    with db.write() as tx:
        tx.run(
            f"UPDATE users SET {column} = (SELECT {column} FROM users WHERE id = :ann) WHERE id = :bob",
            ann=ann,
            bob=bob,
        )
        with pytest.raises(errors.Unreadable) as refused:
            store.by_id(tx, app.id, bob)
    assert f"users.{column}" in str(refused.value.why)


def test_a_deleted_id_does_not_come_back(db: Database, app: App) -> None:
    last = added(db, app, login="ann")
    with db.write() as tx:
        assert store.delete(tx, last)
    assert added(db, app, login="bob") > last


def test_everything_that_refers_to_a_user_goes_with_the_user(db: Database, app: App) -> None:
    ann = added(db, app, login="ann", phone="12025550101", tag_list=["vip"])
    with db.write() as tx:
        books.lock_owner(tx, app.id, ann)
        sessions.insert(
            tx, b"hash", app_id=app.id, user_id=ann, nonce=0, ts=0, now=NOW, expires_at=NOW + 9, guest_until=None
        )
        assert store.delete(tx, ann)
        assert not store.delete(tx, ann)
        for table in ("numbers", "tags", "sessions"):
            assert tx.tuples(f"SELECT user_id FROM {table}") == []
        assert tx.tuples("SELECT owner_id FROM books") == []


def test_a_change_writes_what_is_given_and_nothing_else(db: Database, app: App) -> None:
    ann = added(db, app, login="ann", full_name="Ann", avatar="a.png")
    with db.write() as tx:
        assert store.change(tx, app.id, ann, {"full_name": "Ann B", "avatar": None, "id": 99}, NOW + 5)
        assert not store.change(tx, app.id + 1, ann, {"full_name": "Eve"}, NOW + 6)
        user = store.by_id(tx, app.id, ann)
    assert user
    assert (user.login, user.full_name, user.avatar, user.updated_at) == ("ann", "Ann B", None, NOW + 5)


def test_a_user_answers_to_one_number_and_an_unchanged_one_keeps_its_proof(db: Database, app: App) -> None:
    ann = added(db, app, login="ann", phone="12025550101")
    with db.write() as tx:
        tx.run("UPDATE numbers SET verified_at = :now", now=NOW)
        store.set_number(tx, app.id, ann, 12025550101)
        assert (store.numbers_of(tx, ann), tx.tuples("SELECT verified_at FROM numbers")) == ([12025550101], [(NOW,)])
        store.set_number(tx, app.id, ann, 12025550102)
        assert tx.tuples("SELECT verified_at FROM numbers") == [(None,)]
        assert store.numbers_of(tx, ann) == [12025550102]
        store.set_number(tx, app.id, ann, None)
        assert store.numbers_of(tx, ann) == []


def test_a_user_was_last_there_at_the_latest_time(db: Database, app: App) -> None:
    ann = added(db, app, login="ann")
    with db.write() as tx:
        for at in (NOW + 5, NOW + 9, NOW + 7):
            store.mark_seen(tx, {ann: at, 4711: at})  # there is no user 4711
        user = store.by_id(tx, app.id, ann)
    assert user and user.last_request_at == NOW + 9


def test_a_one_time_password_is_used_up_once(db: Database, app: App) -> None:
    ann = added(db, app, login="ann")
    with db.write() as tx:
        assert store.set_password(tx, ann, "hash", NOW + 9)
        assert not store.use_up(tx, app.id, ann, "another hash")
        assert [store.use_up(tx, app.id, ann, "hash") for _ in range(2)] == [True, False]
        known = store.find_for_sign_in(tx, app.id, "ANN", None)
    assert known == {"id": ann, "app_id": app.id, "password_hash": "hash", "one_time_until": 0, "is_guest": 0}


def test_a_guest_has_no_password_and_is_found_when_the_day_is_over(db: Database, app: App) -> None:
    with db.write() as tx:
        guest = store.insert(tx, app.id, {"login": "g", "is_guest": 1, "guest_until": NOW + 10}, NOW)
        assert guest and not store.set_password(tx, guest, "hash", None)
        assert store.expired_guests(tx, NOW + 9, 10) == []
        assert store.expired_guests(tx, NOW + 10, 10) == [guest]


# ── searching ────────────────────────────────────────────────────────────────────────────────────────────────────────

PEOPLE: list[dict[str, Any]] = [
    {"login": "Zoe", "full_name": "Zoë Ångström", "phone": "12025550101", "tag_list": ["VIP", "red"]},
    {"login": "ann", "full_name": "zoe Adams", "email": "ann@example.com", "phone": "12025550102", "tag_list": ["red"]},
    {"login": "_under", "full_name": "Éva", "phone": "12025550102", "facebook_id": "10"},
    {"login": "Ärger", "full_name": "Eva", "email": "Eva@example.com", "facebook_id": "9", "tag_list": ["redder"]},
    {"login": "12025550105", "full_name": "عمر", "external_id": "X-1", "external_user_id": 5},
    {"email": "nobody@example.com", "full_name": "張偉", "external_id": "x-1", "external_user_id": 50},
]


def found(db: Database, app: App, *conditions: Condition, sort: str = "id", descending: bool = False) -> list[User]:
    with db.read() as tx:
        page = user_search.page(
            tx,
            app.id,
            conditions,
            sort=sort,
            descending=descending,
            offset=0,
            limit=100,
            verified_only=False,
        )
        assert len(page) == user_search.count(tx, app.id, conditions, verified_only=False, most=1_000)
    return page


@pytest.fixture
def people(db: Database, app: App) -> list[int]:
    added(db, applications.create(db, "other", NOW), login="zoe", phone="12025550102", tag_list=["red"])
    return [added(db, app, NOW + number, **fields) for number, fields in enumerate(PEOPLE)]


@pytest.mark.parametrize(
    "condition, positions",
    [
        (Condition("login", "in", ("zoe", "ärger", "nobody")), [0, 3]),
        (Condition("login", "nin", ("zoe", "ärger")), [1, 2, 4, 5]),
        (Condition("email", "in", ("eva@example.com",)), [3]),
        (Condition("phone", "in", (12025550102, 12025550199)), [1, 2]),
        (Condition("phone", "nin", (12025550102,)), [0, 3, 4, 5]),
        (Condition("user_tags", "in", ("vip", "redder")), [0, 3]),
        (Condition("user_tags", "nin", ("red",)), [2, 3, 4, 5]),
        (Condition("user_tags", "start_with", ("red",)), [0, 1, 3]),
        (Condition("full_name", "start_with", ("zoe",)), [1]),
        (Condition("full_name", "start_with", ("zoë",)), [0]),
        (Condition("full_name", "start_with", ("張",)), [5]),
        (Condition("full_name", "start_with", ("%",)), []),
        (Condition("external_id", "in", ("X-1",)), [4]),
        (Condition("external_user_id", "gt", (5,)), [5]),
        (Condition("created_at", "gte", (NOW + 4,)), [4, 5]),
        (Condition("created_at", "lt", (NOW + 1,)), [0]),
        (Condition("last_request_at", "lte", (NOW,)), []),
        (Condition("id", "in", ()), []),
        (Condition("login", "nin", ()), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_conditions(db: Database, app: App, people: list[int], condition: Condition, positions: list[int]) -> None:
    assert [user.id for user in found(db, app, condition)] == [people[position] for position in positions]


def test_all_conditions_hold_at_once(db: Database, app: App, people: list[int]) -> None:
    red, either = Condition("user_tags", "in", ("red",)), Condition("phone", "in", (12025550102,))
    assert [user.id for user in found(db, app, red, either, Condition("id", "in", tuple(people)))] == [people[1]]


@pytest.mark.parametrize(
    "sort, ascending",
    [
        ("id", [0, 1, 2, 3, 4, 5]),
        ("login", [2, 1, 0, 3, 4, 5]),
        ("full_name", [3, 1, 0, 2, 4, 5]),
        ("facebook_id", [2, 3, 0, 1, 4, 5]),
        ("external_id", [4, 5, 0, 1, 2, 3]),
        ("created_at", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_both_databases_sort_alike_and_leave_what_is_missing_to_the_end(
    db: Database, app: App, people: list[int], sort: str, ascending: list[int]
) -> None:
    assert [people.index(user.id) for user in found(db, app, sort=sort)] == ascending
    missing = [number for number in ascending if not sorted_by(found(db, app)[number], sort)]
    present = ascending[: len(ascending) - len(missing)]
    assert [people.index(user.id) for user in found(db, app, sort=sort, descending=True)] == present[::-1] + missing


def sorted_by(user: User, field: str) -> object:
    """The value by which the user is sorted: a sealed login is none."""
    value = getattr(user, field)
    return None if field == "login" and value == PEOPLE[4]["login"] else value


def test_a_login_that_is_a_number_neither_sorts_nor_is_found_by_its_beginning(
    db: Database, app: App, people: list[int]
) -> None:
    assert found(db, app, Condition("login", "start_with", ("1202",))) == []
    assert [user.id for user in found(db, app, Condition("login", "in", ("12025550105",)))] == [people[4]]


@pytest.mark.parametrize("field", ["phone", "email"])
def test_sealed_fields_are_neither_sorted_nor_compared(field: str) -> None:
    assert field in user_search.FIELDS and field not in user_search.SORTABLE


def test_pages_do_not_overlap_and_cover_everybody(db: Database, app: App, people: list[int]) -> None:
    seen: list[int] = []
    for offset in range(0, 8, 2):
        with db.read() as tx:
            page = user_search.page(
                tx,
                app.id,
                (),
                sort="updated_at",
                descending=True,
                offset=offset,
                limit=2,
                verified_only=False,
            )
        seen += [user.id for user in page]
    assert seen == people[::-1]


def test_any_conditions_find_what_a_plain_loop_finds(db: Database, app: App, people: list[int]) -> None:
    users_by_id = {user.id: user for user in found(db, app)}
    choices = random.Random(4)
    for _ in range(60):
        conditions = [guessed(choices, people) for _ in range(choices.randint(1, 3))]
        expected = [user_id for user_id, user in users_by_id.items() if all(holds(user, one) for one in conditions)]
        assert [user.id for user in found(db, app, *conditions)] == expected, conditions


def guessed(choices: random.Random, people: list[int]) -> Condition:
    field = choices.choice(["id", "login", "full_name", "user_tags", "created_at"])
    pool: list[Any] = {
        "id": people,
        "login": [store.fold(person.get("login", "none")) for person in PEOPLE],
        "full_name": [store.fold(person["full_name"]) for person in PEOPLE],
        "user_tags": ["vip", "red", "redder", "blue"],
        "created_at": [NOW + number for number in range(7)],
    }[field]
    if field == "created_at" and choices.random() < 0.5:
        return Condition(field, choices.choice(["gt", "gte", "lt", "lte"]), (choices.choice(pool),))
    return Condition(field, choices.choice(["in", "nin"]), tuple(choices.sample(pool, choices.randint(0, 3))))


def holds(user: User, condition: Condition) -> bool:
    """The same in plain Python, of a user as given."""
    value: Any = getattr(user, condition.field)
    values = [store.fold(tag) for tag in value.split(",")] if condition.field == "user_tags" and value else [value]
    values = [store.fold(item) if isinstance(item, str) else item for item in values]
    named: Any = condition.values
    return {
        "in": lambda: any(item in named for item in values),
        "nin": lambda: all(item not in named for item in values),
        "gt": lambda: value > named[0],
        "gte": lambda: value >= named[0],
        "lt": lambda: value < named[0],
        "lte": lambda: value <= named[0],
    }[condition.operator]()
