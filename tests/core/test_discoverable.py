"""Who finds a user by a number: each route against a slow, plain definition. On both databases."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from api.test_users import Apps, served
from core.joining import NOW, Play
from sealed import buckets

from ringbook.config import Limits
from ringbook.core import applications, diagnosis, discovery, numbers, privacy, user_record, users
from ringbook.core.import_lines import Line
from ringbook.core.imports import import_users
from ringbook.model import Caller
from ringbook.store import books
from ringbook.store import users as store
from ringbook.store.db import Database, postgres, sqlite

ANN, BOB, NOBODYS = "+12025550101", "+447700900123", "+12025550199"
ANNS_LOGIN, NOBODYS_LOGIN = "+12025550142", "+12025550198"


@pytest.fixture
def apps(db: Database) -> Iterator[Apps]:
    """Ann, whose login is a phone, and Bob, who looks for her."""
    with served(db, Limits(new_accounts_per_hour=0, permits_per_hour=0)) as apps:
        apps.sign_up(ANNS_LOGIN, phone=ANN, email="ann@example.com", full_name="Ann")
        apps.sign_up("bob", phone=BOB)
        yield apps


def hide(apps: Apps, login: str, wish: str) -> None:
    """The user chooses who finds the user."""
    settings = {"discoverable": wish}
    assert apps.asks(login, "PUT", "/contact_joined/settings", json=settings).status_code == 200


def hold(apps: Apps, login: str, *numbers: str) -> None:
    contacts = [{"phone": number, "name": f"name of {number}"} for number in numbers]
    assert apps.asks(login, "POST", "/address_book", json={"contacts": contacts, "force": 1}).status_code == 200


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are run meanwhile."""
    statements: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for kind, name in itertools.product((sqlite.SqliteTx, postgres.PostgresTx), ("tuples", "run")):
            run = getattr(kind, name)

            def noted(tx: Any, sql: str, _run: Any = run, **params: Any) -> Any:
                statements.append(sql)
                return _run(tx, sql, **params)

            patch.setattr(kind, name, noted)
        yield statements


# ── the same answer as for a number that nobody has ──────────────────────────────────────────────────────────────────

# Requests of Bob: with a number or a login of Ann's, and with one that nobody has.
LOOKUPS = [
    ("GET /users/by_phone?phone={}", "phone"),
    ("GET /users/by_login?login={}", "login"),
    ("GET /users/v2?phone={}", "phone"),
    ("GET /users/v2?phone[in][]={}&phone[in][]=%2B447700900123&sort_asc=id", "phone"),
    ("GET /users/v2?login={}", "login"),
    ("GET /users/v2?login[in][]={}&login[in][]=bob", "login"),
    ("GET /users/v2?id[in]={ids}&phone[nin][]={}", "phone"),
    ("GET /users/v2?id[in]={ids}&login[nin][]={}", "login"),
    ("GET /users/v2?id[in]={ids}&phone={}", "phone"),
    ("GET /users/v2?email=ann@example.com&phone[nin][]={}", "phone"),
    ("GET /users?filter[]=string+phone+eq+{}", "phone"),
    ("GET /users?filter[]=string+login+in+{},bob", "login"),
    ("GET /users?filter[]=number+id+in+{ids}&filter[]=string+phone+ne+{}", "phone"),
]
VALUES = {"phone": (ANN, NOBODYS), "login": (ANNS_LOGIN, NOBODYS_LOGIN)}
HIDING = ["nobody", "mutual"]


def answer(apps: Apps, request: str) -> tuple[int, Any, float, int]:
    """Status, body, the permits that it cost, and how many statements it took."""
    method, path = request.split(" ")
    before = used(apps)
    with counted() as statements:
        got = apps.asks("bob", method, path)
    return got.status_code, got.json(), used(apps) - before, len(statements)


def used(apps: Apps) -> float:
    with apps.db.read() as tx:
        return buckets(tx).get(f"permits:{apps.ids['bob']}", 0)


@pytest.mark.parametrize("profiles", ["known", "open"])
@pytest.mark.parametrize("wish", HIDING)
@pytest.mark.parametrize("by_default", [False, True])
def test_a_look_up_of_a_hidden_user_is_one_of_a_value_that_nobody_has(apps, wish, by_default, profiles):
    apps.set("users_v1_list", "true")
    apps.set("profiles", profiles)
    if by_default:
        apps.set("contact_joined_discoverable", wish)
        hide(apps, "bob", "everyone")
    else:
        hide(apps, ANNS_LOGIN, wish)
    ids = f"{apps.ids[ANNS_LOGIN]},{apps.ids['bob']}"
    apps.asks("bob", "GET", "/users/by_phone?phone=12025550177")  # the first charge reads the size of the ceiling
    for request, kind in LOOKUPS:
        hers, nobodys = (request.replace("{ids}", ids).format(value.replace("+", "%2B")) for value in VALUES[kind])
        apps.asks("bob", "GET", "/users/v2?id=1")  # opens caches
        got, wanted = answer(apps, hers), answer(apps, nobodys)
        assert got[:3] == wanted[:3], request
        assert got[2] >= 1, request
        assert "v1" in request or wish == "mutual" or got[3] == wanted[3], request


@pytest.mark.parametrize("wish", HIDING)
def test_who_hides_has_no_phone_no_email_and_no_login_that_is_one_for_those_who_have_the_number(apps, wish):
    apps.sign_up("+12025550143", full_name="Ann")
    hold(apps, "bob", ANN, NOBODYS)
    ann, another = (f"GET /users/{apps.ids[login]}" for login in (ANNS_LOGIN, "+12025550143"))
    assert answer(apps, ann)[1]["user"]["phone"] == ANN
    hide(apps, ANNS_LOGIN, wish)
    (status, body, cost, _), without = answer(apps, ann), answer(apps, another)
    only_another = {"id", "created_at", "updated_at", "last_request_at"}
    assert {k: v for k, v in body["user"].items() if k not in only_another} == {
        k: v for k, v in without[1]["user"].items() if k not in only_another
    }
    assert (status, cost) == (without[0], without[2]) == (200, 0)


@pytest.mark.parametrize("compact", ["", "?compact=1"])
@pytest.mark.parametrize("wish", HIDING)
def test_registered_users_without_a_hidden_user_are_those_of_a_book_with_nobodys_number(apps, wish, compact):
    apps.sign_up("cleo", phone="+12025550103")
    hide(apps, ANNS_LOGIN, wish)
    request = f"GET /address_book/registered_users{compact}"
    hold(apps, "bob", "+12025550103")
    answer(apps, request)  # one is kept already, as later

    def asked_twice(number: str) -> list[tuple[int, Any, float, int]]:
        """The second answer may be one that is kept."""
        hold(apps, "bob", number, "+12025550103")
        return [answer(apps, request), answer(apps, request)]

    for got, wanted in zip(asked_twice(ANN), asked_twice(NOBODYS), strict=True):
        assert got[:3] == wanted[:3]
        assert len(wanted[1]["items"]) == 1
        assert got[3] - wanted[3] == (1 if wish == "mutual" else 0)


@pytest.mark.parametrize("wish", HIDING)
def test_a_value_that_is_named_does_not_show_with_a_hidden_user_who_is_found_otherwise(apps, wish):
    hide(apps, ANNS_LOGIN, wish)
    (status, body, *_) = answer(apps, "GET /users/v2?email=ann@example.com&phone[nin][]=%2B12025550101")
    (user,) = body["items"]
    assert (status, user["email"], user["phone"], user["login"]) == (200, "ann@example.com", None, None)


@pytest.mark.parametrize("profiles", ["known", "open"])
def test_everybody_finds_themselves(apps, profiles):
    apps.set("profiles", profiles)
    hide(apps, ANNS_LOGIN, "nobody")
    hold(apps, ANNS_LOGIN, ANN)
    me = apps.ids[ANNS_LOGIN]
    for path in (f"/users/{me}", "/users/by_phone?phone=%2B12025550101", "/users/by_login?login=%2B12025550142"):
        user = apps.asks(ANNS_LOGIN, "GET", path).json()["user"]
        assert (user["id"], user["phone"], user["login"]) == (me, ANN, ANNS_LOGIN)
    registered = apps.asks(ANNS_LOGIN, "GET", "/address_book/registered_users").json()["items"]
    assert [one["user"]["id"] for one in registered] == [me]


@pytest.mark.parametrize("wish", HIDING)
def test_a_choice_stays_with_every_number_that_the_user_gets(apps, wish):
    """The copy in `numbers` is written anew by a typed phone, a verified one, and a gift of an admin."""
    hold(apps, "bob", "+12025550103", "+12025550104", "+12025550105")
    hide(apps, ANNS_LOGIN, wish)
    ann = apps.ids[ANNS_LOGIN]
    app, limits = applications.get(apps.db, apps.app.id), Limits()
    caller = Caller(app=app, user_id=ann, is_guest=False, address="192.0.2.1")
    gained = [
        lambda: apps.asks(ANNS_LOGIN, "PUT", f"/users/{ann}", json={"user": {"phone": ""}}),
        lambda: apps.asks(ANNS_LOGIN, "PUT", f"/users/{ann}", json={"user": {"phone": "+12025550103"}}),
        lambda: users.update(apps.db, limits, caller, ann, {}, session=b"", now=NOW, verified_phone="+12025550104"),
        lambda: numbers.give(apps.db, app, ann, "+12025550105", NOW),
    ]
    for gain in gained:
        gain()
        assert apps.asks("bob", "GET", "/address_book/registered_users").json()["items"] == []
    hide(apps, ANNS_LOGIN, "everyone")
    (found,) = apps.asks("bob", "GET", "/address_book/registered_users").json()["items"]
    assert found["user"]["id"] == ann


# ── all combinations, against the plain definition ───────────────────────────────────────────────────────────────────


def finds(wish: str, *, has: bool, is_held: bool, verified_only: bool, verified: bool, own_verified: bool) -> bool:
    """Does Bob find Ann, of whom he has (`has`) the number, and who has (`is_held`) his?"""
    if verified_only and not verified:
        return False
    return wish == "everyone" or (wish == "mutual" and has and is_held and (own_verified or not verified_only))


@pytest.mark.parametrize("verified_only", [False, True])
@pytest.mark.parametrize("choice", [True, False])
@pytest.mark.parametrize("own", ["", "everyone", "mutual", "nobody"])
@pytest.mark.parametrize("default", ["everyone", "mutual", "nobody"])
def test_every_route_agrees_with_the_plain_definition(apps, own, choice, default, verified_only):
    apps.set("contact_joined_discoverable", default)
    apps.set("require_verified_number", "on" if verified_only else "off")
    if own:
        hide(apps, ANNS_LOGIN, own)
    if not choice:
        apps.set("contact_joined_choice", "false")  # what was chosen does not count
    for has, is_held in itertools.product([False, True], repeat=2):
        hold(apps, "bob", *([ANN] if has else [NOBODYS]))
        hold(apps, ANNS_LOGIN, *([BOB] if is_held else [NOBODYS]))
        for verified, own_verified in itertools.product([False, True], repeat=2):
            verify(apps, ANNS_LOGIN, verified)
            verify(apps, "bob", own_verified)
            wanted = finds(
                (own if choice else "") or default,
                has=has,
                is_held=is_held,
                verified_only=verified_only,
                verified=verified,
                own_verified=own_verified,
            )
            check(apps, has=has, wanted=wanted, why=(has, is_held, verified, own_verified))


def verify(apps: Apps, login: str, verified: bool) -> None:
    with apps.db.write() as tx:
        tx.run(
            "UPDATE numbers SET verified_at = :at WHERE user_id = :id",
            at=NOW if verified else None,
            id=apps.ids[login],
        )


def check(apps: Apps, *, has: bool, wanted: bool, why: object) -> None:
    """What each route says of Ann to Bob."""
    ann, bob = apps.ids[ANNS_LOGIN], apps.ids["bob"]
    caller = Caller(app=applications.get(apps.db, apps.app.id), user_id=bob, is_guest=False, address="192.0.2.1")
    registered = discovery.registered(apps.db, caller, now=NOW)
    phones = discovery.registered_phones(apps.db, caller, now=NOW)
    in_book = [ann] if has and wanted else []
    assert [one.user.id for one in registered] == [one.user_id for one in phones] == in_book, why
    assert user_record.connected(apps.db, caller.app, bob).contacts == len(in_book), why
    assert diagnosis.diagnose(apps.db, bob, ANN, NOW).found == bool(in_book), why
    seen = apps.asks("bob", "GET", f"/users/{ann}").json()["user"]
    assert (seen["phone"], seen["email"]) == ((ANN, "ann@example.com") if in_book else (None, None)), why
    with apps.db.read() as tx:
        user = store.by_id(tx, caller.app.id, ann)
        assert user
        held = tx.tuples(f"SELECT {books.HELD_NUMBER.format(user_id=':ann', owner_id=':bob')}", ann=ann, bob=bob)[0][0]
        assert privacy.visible_if_held(caller, user, held) in (None, *privacy.visible(tx, caller, [user])), why
    by_phone = apps.asks("bob", "GET", "/users/by_phone?phone=%2B12025550101")
    assert by_phone.status_code == (200 if wanted else 404), why
    searched = apps.asks("bob", "GET", "/users/v2?phone=%2B12025550101").json()
    assert [one["id"] for one in searched["items"]] == ([ann] if wanted else []), why
    assert searched["total_entries"] == int(wanted), why


def test_a_login_that_is_a_phone_finds_whom_the_number_finds(apps):
    """A login needs no verified number, so without a choice it is found as ever."""
    by_login = "/users/by_login?login=%2B12025550142"
    for wish, has, is_held in itertools.product(["everyone", "mutual", "nobody"], [False, True], [False, True]):
        hide(apps, ANNS_LOGIN, wish)
        hold(apps, "bob", *([ANN] if has else [NOBODYS]))
        hold(apps, ANNS_LOGIN, *([BOB] if is_held else [NOBODYS]))
        found = wish == "everyone" or (wish == "mutual" and has and is_held)
        assert apps.asks("bob", "GET", by_login).status_code == (200 if found else 404)


def test_other_logins_and_emails_find_who_hides(apps):
    apps.sign_up("cleo", phone="+12025550103", email="cleo@example.com")
    hide(apps, "cleo", "nobody")
    for path in ("by_login?login=cleo", "by_email?email=cleo@example.com"):
        assert apps.asks("bob", "GET", f"/users/{path}").json()["user"]["id"] == apps.ids["cleo"]


def test_an_upload_that_is_repeated_answers_as_before_whoever_hides(apps):
    book = {"contacts": [{"phone": ANN, "name": "Ann"}]}
    first = apps.asks("bob", "POST", "/address_book", json=book).json()
    again = apps.asks("bob", "POST", "/address_book", json=book).json()
    hide(apps, ANNS_LOGIN, "nobody")
    assert apps.asks("bob", "POST", "/address_book", json=book).json() == again
    assert (first["created"], again["updated"]) == (1, 1)
    assert apps.asks("bob", "GET", "/address_book/registered_users").json()["items"] == []


def test_an_import_that_brings_another_number_keeps_the_choice(db: Database) -> None:
    play = Play(db)
    for phone in (ANN, "+12025550103"):
        import_users(db, play.app, [Line(2, {"id": "700", "login": "ann", "phone": phone})], now=play.now)
        play.prefers(700, discoverable="nobody")
    assert play.rows("SELECT discoverable FROM numbers WHERE user_id = 700") == [{"discoverable": 3}]
    import_users(db, play.app, [Line(2, {"id": "700", "login": "ann", "phone": ANN})], now=play.now)
    (row,) = play.rows("SELECT number, discoverable FROM numbers WHERE user_id = 700")
    assert row == {"number": db.seal.number(play.app_id, 12025550101), "discoverable": 3}
