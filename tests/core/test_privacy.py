"""Privacy between users: what a user sees of others, what queries cost, and a crawl that tries to read all users."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sealed import bucket
from starlette.testclient import TestClient

from ringbook import errors, phone
from ringbook.config import Config, Limits
from ringbook.core import applications, discovery, privacy, sessions, user_search, users
from ringbook.core.profile import columns
from ringbook.core.user_search import Filter
from ringbook.model import App, Caller, Entry, User
from ringbook.server import front
from ringbook.store import users as store
from ringbook.store.db import Database

NOW = 1_800_000_000
HERE, PASSWORD = "192.0.2.1", "correct-horse"
FREE = Limits(permits_per_hour=0)


# ── pure ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "login",
    ["ann@example.com", "12025550101", "+1 (202) 555-0101", "07700 900123", "٠٧٧٠٠٩٠٠١٢٣", "5550101", "1" * 20]
    + ["tel:+12025550101", "TEL: 12025550101", "ann＠example.com"],
)
def test_a_login_that_tells_an_email_or_a_number(login: str) -> None:
    assert privacy.is_private(login)


@pytest.mark.parametrize("login", ["ann", "ann-2", "ann.12025550101", "555", "1999", "...", "x" * 70, "guest_login_00"])
def test_a_login_that_is_only_a_name(login: str) -> None:
    assert not privacy.is_private(login)


@pytest.mark.parametrize(
    "one, other, region",
    [
        ("+1 (202) 555-0101", "12025550101", ""),
        ("+44 (0)7700 900123", "07700 900123", "GB"),
        ("Ann@Example.com", " ann@example.com", ""),
    ],
)
def test_one_value_in_two_spellings(one: str, other: str, region: str) -> None:
    assert privacy.canonical(one, region) == privacy.canonical(other, region)


def test_what_looks_like_a_number_is_private() -> None:
    for login in ("2025550101", "447700900123", "00447700900123", "202.555.0101"):
        assert phone.looks_like_number(login)
        assert privacy.is_private(login)


# ── seeing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "test", NOW)


def signed_up(db: Database, app: App, login: str, **fields: Any) -> User:
    given: Any = {"login": login, "password": PASSWORD, **fields}
    return users.sign_up(db, FREE, app, given, HERE, NOW)


def caller(app: App, user: User) -> Caller:
    return Caller(app=app, user_id=user.id, is_guest=user.is_guest, address=HERE)


def found(db: Database, who: Caller, limits: Limits, *asked: Filter, sort: str = "id") -> list[User]:
    query = user_search.query(who.app, Limits(), asked, sort=sort, descending=False, offset=0, limit=100)
    page, total = users.search(db, limits, who, query, NOW)
    assert total == len(page)
    return page


def asked(field: str, *values: str | int, operator: Any = "in") -> Filter:
    return Filter(field, operator, values)


ANN: dict[str, Any] = {"phone": "+1 202 555 0101", "email": "ann@example.com", "full_name": "Ann"}


def test_a_stranger_sees_neither_phone_nor_email(db: Database, app: App) -> None:
    ann, bob = signed_up(db, app, "ann", **ANN), caller(app, signed_up(db, app, "bob"))
    seen = users.find(db, FREE, bob, "id", ann.id, NOW)
    assert (seen.phone, seen.email, seen.login, seen.full_name) == (None, None, "ann", "Ann")


@pytest.mark.parametrize("login", ["ann.b@example.com", "+1 202 555 0101"])
def test_a_stranger_does_not_see_a_login_that_is_an_email_or_a_number(db: Database, app: App, login: str) -> None:
    ann, bob = signed_up(db, app, login), caller(app, signed_up(db, app, "bob"))
    assert users.find(db, FREE, bob, "id", ann.id, NOW).login is None
    assert users.find(db, FREE, caller(app, ann), "id", ann.id, NOW).login == login
    assert users.find(db, FREE, bob, "login", login.upper(), NOW).login == login  # named, and paid for


def test_everybody_sees_everything_where_profiles_are_open(db: Database, app: App) -> None:
    ann, bob = signed_up(db, app, "ann@example.com", **ANN), signed_up(db, app, "bob")
    app = applications.change(db, app.id, "profiles", "open")
    assert users.find(db, FREE, caller(app, bob), "id", ann.id, NOW) == ann


@pytest.mark.parametrize("device", ["", "phone"])
def test_who_holds_the_number_in_any_book_sees_both(db: Database, app: App, device: str) -> None:
    ann, bob = signed_up(db, app, "ann", **ANN), caller(app, signed_up(db, app, "bob"))
    discovery.upload(db, FREE, bob, [Entry("1-202-555-0101", "Annie")], device=device, now=NOW)
    assert users.find(db, FREE, bob, "id", ann.id, NOW) == ann
    discovery.upload(db, FREE, bob, [Entry("12025550101", None, destroy=True)], device=device, now=NOW)
    assert users.find(db, FREE, bob, "id", ann.id, NOW).phone is None


@pytest.mark.parametrize(
    "field, value, shown",
    [
        ("phone", "1-202-555-0101", ("+1 202 555 0101", None)),
        ("email", "ANN@example.com", (None, "ann@example.com")),
        ("login", "ann", (None, None)),
    ],
)
def test_the_value_that_was_named_shows_and_no_other(
    db: Database, app: App, field: str, value: str, shown: tuple[str | None, str | None]
) -> None:
    signed_up(db, app, "ann", **ANN)
    bob = caller(app, signed_up(db, app, "bob"))
    (seen,) = found(db, bob, FREE, asked(field, value))
    assert (seen.phone, seen.email) == shown


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def left(db: Database, who: Caller, limits: Limits) -> int:
    """How many permits the caller has left."""
    with db.read() as tx:
        row = tx.one("SELECT used FROM buckets WHERE name = :name", name=bucket(f"permits:{who.user_id}"))
    return limits.permits - round(row["used"] if row else 0)


@pytest.mark.parametrize(
    "conditions, cost",
    [
        ([asked("phone", "+1 202 555 0101")], 1),
        ([asked("phone", "+1 202 555 0199")], 1),
        ([asked("phone", "+1 202 555 0101", "12025550101", "+1 202 555 0199")], 2),
        ([asked("email", "ann@example.com", "nobody@example.com")], 2),
        ([asked("id", 1), asked("phone", "12025550101", "12025550199", operator="nin")], 2),
        ([asked("id", 1), asked("email", "ann@example.com", operator="nin")], 1),
        ([asked("login", "12025550101", "ann@example.com", "ann")], 2),
        ([asked("id", 1), asked("login", "x@example.com", operator="nin")], 1),
        ([asked("phone", "12025550101"), asked("email", "ann@example.com")], 2),
        ([asked("phone", "12345", "by the stairs")], 0),
        ([asked("login", "ann"), asked("full_name", "Ann"), asked("id", 1, 2, 3)], 0),
        ([asked("login", "1202", operator="start_with")], 0),
        ([asked("phone", "+44 7700 900999"), asked("email", "BOB@example.com"), asked("login", "bob")], 1),
        ([asked("phone", "+44 7700 900456", "+44 7700 900457")], 1),
    ],
)
def test_what_a_query_costs(db: Database, app: App, conditions: list[Filter], cost: int) -> None:
    """Bob has typed the number 447700900999, and has bob@example.com; 447700900456 is in his book."""
    signed_up(db, app, "ann", **ANN)
    bob = caller(app, signed_up(db, app, "bob", phone="+44 7700 900999", email="bob@example.com"))
    discovery.upload(db, FREE, bob, [Entry("+44 7700 900456", "Cat")], device="phone", now=NOW)
    before = left(db, bob, FREE)
    found(db, bob, FREE, *conditions)
    assert before - left(db, bob, FREE) == cost


def test_a_hit_and_a_miss_are_paid_for_before_they_are_answered(db: Database, app: App) -> None:
    signed_up(db, app, "ann", **ANN)
    bob, limits = caller(app, signed_up(db, app, "bob")), Limits(permits=2, permits_per_hour=0)
    users.find(db, limits, bob, "email", "ann@example.com", NOW)
    with pytest.raises(errors.NotFound):
        users.find(db, limits, bob, "email", "nobody@example.com", NOW)
    for email in ("ann@example.com", "nobody@example.com"):
        with pytest.raises(errors.TooMany):
            users.find(db, limits, bob, "email", email, NOW)


def test_a_query_over_the_permits_is_refused_whole_and_costs_nothing(db: Database, app: App) -> None:
    bob, limits = caller(app, signed_up(db, app, "bob")), Limits(permits=3, permits_per_hour=0)
    with pytest.raises(errors.TooMany):
        found(db, bob, limits, asked("email", *(f"{number}@example.com" for number in range(4))))
    assert left(db, bob, limits) == 3


def test_a_refused_query_costs_nothing(db: Database, app: App) -> None:
    bob = caller(app, signed_up(db, app, "bob"))
    with pytest.raises(errors.Invalid):
        found(db, bob, FREE, asked("email", "ann@example.com"), sort="phone")
    assert left(db, bob, FREE) == FREE.permits


def test_guests_have_few_permits(db: Database, app: App) -> None:
    limits = Limits(guest_permits=2)
    guest = caller(app, users.guest(db, limits, app, "", HERE, NOW))
    with pytest.raises(errors.TooMany):
        found(db, guest, limits, asked("email", "a@example.com", "b@example.com", "c@example.com"))


def test_look_ups_also_draw_on_the_bucket_of_the_address(db: Database, app: App) -> None:
    limits = Limits(address_permits_per_day=3)
    for name in ("bob", "cat"):
        found(db, caller(app, signed_up(db, app, name)), limits, asked("email", f"{name}1@example.com"))
    with pytest.raises(errors.TooMany):
        found(db, caller(app, signed_up(db, app, "dan")), limits, asked("email", "a@example.com", "b@example.com"))


@pytest.mark.parametrize(
    "said, cost",
    [
        ({"email": "ann@example.com"}, 1),
        ({"email": "free@example.com"}, 1),
        ({"phone": "+1 202 555 0101", "email": "new@example.com"}, 2),
        ({"login": "12025550101"}, 1),
        ({"login": "bobby", "full_name": "Bob", "phone": "12345"}, 0),
        ({"phone": "+44 (0)7700 900999", "email": "bob@example.com"}, 0),
    ],
)
def test_taking_a_value_costs_what_asking_for_it_costs(db: Database, app: App, said: Any, cost: int) -> None:
    """Otherwise a change of the own account would show for nothing whether a value is taken, and make it free."""
    signed_up(db, app, "ann", **ANN)
    user = signed_up(db, app, "bob", phone="+44 7700 900999", email="bob@example.com")
    bob = caller(app, user)
    try:
        users.update(db, FREE, bob, user.id, said, session=b"", now=NOW)
    except errors.Conflict:
        assert said["email"] == "ann@example.com"
    assert FREE.permits - left(db, bob, FREE) == cost


# ── the crawl ────────────────────────────────────────────────────────────────────────────────────────────────────────

PEOPLE = 200
PERMITS = 12
NAMES = ("Ann", "Bob", "Cat", "Dan", "Eve")


def hidden(number: int, world: str) -> dict[str, str]:
    """The private values of a user in one of two worlds, which differ in nothing else."""
    secret = number if world == "one" else 999 - number
    phone_ = f"+1 202 555 {1000 + secret}" if number % 2 else f"+44 7700 900{secret:03}"
    email = f"{'a' if world == 'one' else 'z'}{secret}@example.com"
    return {"phone": phone_, "email": email, "login": login(number, phone_, email)}


def login(number: int, phone_: str, email: str) -> str:
    """A third of the logins are names, a third numbers, a third e-mails."""
    return (f"person{number}", phone.digits(phone.read(phone_)), email)[number % 3]


class Crawler:
    """A user who sends every query, and keeps every text of every answer."""

    def __init__(self, db: Database, client: TestClient, app: App) -> None:
        self.client = client
        self.texts: set[str] = set()
        self.user = users.sign_up(db, FREE, app, {"login": "crawler", "password": PASSWORD}, HERE, NOW)
        credentials = sessions.Credentials("crawler", "", PASSWORD)
        self.token = sessions.open_user(db, FREE, app, credentials, HERE, ts=NOW, nonce=0, now=int(2**31)).token

    def asks(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.client.request(method, path, json=body, headers={"CB-Token": self.token})
        assert answer.status_code < 500, (path, answer.text)
        found = answer.json() if answer.content else None
        self.texts |= set(texts_in(found))
        return answer.status_code, found


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield value


@pytest.fixture
def world(db: Database, app: App) -> list[int]:
    """The ids of 200 users with phones, e-mails, names and tags."""
    ids = []
    with db.write() as tx:
        for number in range(PEOPLE):
            said: Any = {"full_name": f"{NAMES[number % 5]} {number}", "tag_list": [f"team{number % 10}"]}
            user_id = store.insert(tx, app.id, columns(said | hidden(number, "one")), NOW)
            assert user_id
            ids.append(user_id)
            store.set_tags(tx, app.id, user_id, [f"team{number % 10}"])
    become(db, app, ids, "one")
    return ids


def become(db: Database, app: App, ids: list[int], world: str) -> None:
    """Give all users the phone, e-mail and login of this world."""
    with db.write() as tx:
        for number, user_id in enumerate(ids):
            secrets = hidden(number, world)
            assert store.change(tx, app.id, user_id, columns(secrets), NOW)  # type: ignore[arg-type]
            store.set_number(tx, app.id, user_id, phone.read(secrets["phone"]))


@pytest.fixture
def crawler(db: Database, app: App) -> Iterator[Crawler]:
    limits = Limits(permits=PERMITS, permits_per_hour=0, searches_per_minute=0, address_searches_per_minute=0)
    yield Crawler(db, TestClient(front.build(Config(limits=limits), db)), app)


def free_questions(ids: list[int]) -> Iterator[str]:
    """All queries that name no phone and no e-mail."""
    some = [ids[number] for number in range(0, PEOPLE, 20)]
    yield from (f"/users/{user_id}" for user_id in ids)
    for start in range(0, PEOPLE, 100):
        listed = ids[start : start + 100]
        yield "/users?per_page=100&filter[]=number id in " + ",".join(map(str, listed))
        query = "&".join(f"id[in][]={user_id}" for user_id in listed)
        for sort in user_search.FIELDS:
            yield f"/users/v2?{query}&sort_asc={sort}"
            yield f"/users/v2?{query}&sort_desc={sort}&limit=7"
            yield f"/users?filter[]=number id in {some[0]},{some[1]}&order=desc string {sort}"
    prefixes = ["%2B1202555", "120255510", "120255518", "4477009000", "4477009009", "a101", "z898", "a2@e", "person1"]
    for field in user_search.FIELDS:
        yield from (f"/users/v2?{field}[start_with]={prefix}" for prefix in prefixes)
        for operator in ("gt", "gte", "lt", "lte"):
            yield f"/users/v2?id={some[2]}&{field}[{operator}]=12025550500"
            yield f"/users?filter[]=number id in {some[2]}&filter[]=string {field} {operator[:2]} a500"
        yield f"/users?filter[]=string {field} between a,z&filter[]=number id in {some[3]}"
        yield f"/users?order=asc string {field}"
    yield from (f"/users/v2?user_tags=team{number}&sort_asc=login" for number in range(10))
    yield from (f"/users/v2?user_tags=team3&login[start_with]={prefix}&offset=1" for prefix in prefixes)
    yield from (f"/users/v2?full_name[start_with]={name} {digit}" for name in NAMES for digit in range(10))
    yield from (f"/users/by_full_name?full_name={name}" for name in NAMES)
    yield from ("/users/by_tags?tags=team1", "/users", "/users?per_page=100&page=2", "/users/by_login?login=person3")
    yield from (f"/users/external/{text}" for text in ("12025551001", "a1@example.com"))
    yield from (f"/users/by_{field}?{field}=a1@example.com" for field in ("facebook_id", "twitter_id"))
    yield from ("/address_book", "/address_book/registered_users", "/session", "/subscriptions")


def secrets_of(world: str) -> set[str]:
    """Every text that is hidden in this world."""
    people = [hidden(number, world) for number in range(PEOPLE)]
    return {person[field] for person in people for field in person if not person[field].startswith("person")}


def test_what_is_free_to_ask_says_nothing_of_what_is_hidden(
    db: Database, app: App, world: list[int], crawler: Crawler
) -> None:
    """Two worlds that differ only in private values give the same answers to all queries."""
    first = {question: crawler.asks("GET", question) for question in free_questions(world)}
    become(db, app, world, "two")
    for question, answer in first.items():
        assert crawler.asks("GET", question) == answer, question
    assert crawler.texts.isdisjoint(secrets_of("one") | secrets_of("two"))
    statuses = [status for status, _ in first.values()]
    assert statuses.count(200) > 300  # the crawl did see people
    assert {f"{NAMES[number % 5]} {number}" for number in range(PEOPLE)} < crawler.texts


QUESTIONS: list[Any] = [
    lambda number, p: ("GET", f"/users/by_phone?phone={p['phone'].replace('+', '%2B')}", None),
    lambda number, p: ("GET", f"/users/phone?phone={phone.digits(phone.read(p['phone']))}", None),
    lambda number, p: ("GET", f"/users/by_email?email={p['email'].upper()}", None),
    lambda number, p: ("GET", f"/users/by_login?login={p['email']}", None),
    lambda number, p: ("GET", f"/users/v2?email={p['email']}", None),
    lambda number, p: ("GET", f"/users/v2?phone[in][]=00{phone.digits(phone.read(p['phone']))}", None),
    lambda number, p: ("GET", f"/users/v2?user_tags=team{number % 10}&email[nin][]={p['email']}", None),
    lambda number, p: ("GET", f"/users?filter[]=number id gt 0&filter[]=string email eq {p['email']}", None),
    lambda number, p: ("GET", f"/users?filter[]=number id in {number}&filter[]=string phone ne {p['phone'][1:]}", None),
    lambda number, p: ("POST", "/address_book", {"contacts": [{"name": "x", "phone": p["phone"]}]}),
    lambda number, p: ("PUT", "/users/{me}", {"user": {"phone": p["phone"]}}),
    lambda number, p: ("PUT", "/users/{me}", {"user": {"email": p["email"]}}),
]


def test_a_crawler_catches_no_more_people_than_it_has_permits(db: Database, world: list[int], crawler: Crawler) -> None:
    """Every query for user after user, until long after the last permit; then all free queries again."""
    statuses: list[int] = []
    for number in range(60):
        question = QUESTIONS[number % len(QUESTIONS)]
        method, path, body = question(number, hidden(number, "one"))
        statuses.append(crawler.asks(method, path.replace("{me}", str(crawler.user.id)), body)[0])
    whole = {"contacts": [{"name": "x", "phone": hidden(number, "one")["phone"]} for number in range(PEOPLE)]}
    statuses.append(crawler.asks("POST", "/address_book", whole)[0])
    for question in list(free_questions(world))[::7]:
        crawler.asks("GET", question)

    paid = [status for status in statuses if status not in (422, 429)]
    assert 0 < len(paid) <= PERMITS
    assert statuses.count(429) > 30
    caught = {number for number in range(PEOPLE) if crawler.texts & secret(number)}
    assert 0 < len(caught) <= PERMITS


def secret(number: int) -> set[str]:
    person = hidden(number, "one")
    return {text for text in person.values() if not text.startswith("person")}


def test_what_a_crawler_holds_already_stays_free(db: Database, world: list[int], crawler: Crawler) -> None:
    person = hidden(1, "one")
    crawler.asks("POST", "/address_book", {"contacts": [{"name": "x", "phone": person["phone"]}]})
    for number in range(2, PERMITS + 1):
        assert crawler.asks("GET", f"/users/by_email?email={hidden(number, 'one')['email']}")[0] == 200
    assert crawler.asks("GET", f"/users/by_email?email={hidden(99, 'one')['email']}")[0] == 429
    for _ in range(3):
        status, answer = crawler.asks("GET", f"/users/by_phone?phone={phone.digits(phone.read(person['phone']))}")
        assert (status, answer["user"]["phone"], answer["user"]["email"]) == (200, person["phone"], person["email"])
    assert json.dumps(crawler.asks("GET", "/address_book/registered_users")[1]).count(person["email"]) >= 1
