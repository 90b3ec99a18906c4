"""Users over HTTP: every route, in the spellings that apps use. Both databases."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from servers import DATABASES, SEAL, Databases
from starlette.testclient import TestClient

from ringbook.config import Config, Limits
from ringbook.core import applications
from ringbook.model import App
from ringbook.server import front
from ringbook.store import user_search
from ringbook.store.db import Database, connect

PASSWORD = "correct-horse"
TAKEN = {"errors": {"login": ["has already been taken"]}}


class Apps:
    """Apps that talk to one server: `asks` as nobody, by key, or as somebody who has signed up."""

    def __init__(self, client: TestClient, app: App, db: Database) -> None:
        self.client, self.app, self.db = client, app, db
        self.key = {"CB-AuthKey": app.auth_key}
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, int] = {}

    def asks(self, who: str, method: str, path: str, **request: Any) -> Any:
        headers = {"CB-Token": self.tokens[who]} if who else self.key
        return self.client.request(method, path, headers={**headers, **request.pop("headers", {})}, **request)

    def sign_up(self, login: str, **fields: Any) -> dict[str, Any]:
        """Sign up and sign in."""
        answer = self.asks("", "POST", "/users", json={"user": {"login": login, "password": PASSWORD, **fields}})
        assert answer.status_code == 201, answer.text
        self.tokens[login] = self.session({"user": {"login": login, "password": PASSWORD}})
        user: dict[str, Any] = answer.json()["user"]
        self.ids[login] = user["id"]
        return user

    def session(self, more: dict[str, Any]) -> str:
        keys = {"application_id": self.app.id, "auth_key": self.app.auth_key}
        answer = self.client.post("/session", json=keys | more)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["session"]["token"])

    def set(self, key: str, value: str) -> None:
        applications.change(self.db, self.app.id, key, value)
        applications._cache.clear()  # what another process would see within 5 seconds


@contextmanager
def served(db: Database, limits: Limits) -> Iterator[Apps]:
    applications._cache.clear()
    app = applications.create(db, "test", 1_700_000_000)
    yield Apps(TestClient(front.build(Config(limits=limits), db)), app, db)


@pytest.fixture
def limits() -> Limits:
    return Limits(permits_per_hour=0)


@pytest.fixture
def apps(db: Database, limits: Limits) -> Iterator[Apps]:
    """An application without users."""
    with served(db, limits) as apps:
        yield apps


@pytest.fixture(scope="module", params=DATABASES)
def town(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Apps]:
    """An application with people whom many tests ask for and none changes."""
    with databases.fresh(request.param) as url:
        db = connect(url, seal=SEAL)
        with served(db, Limits()) as apps:
            settle(apps)
            yield apps
        db.close()


@pytest.fixture
def ids(town: Apps) -> dict[str, int]:
    """Their ids by login."""
    return town.ids


ANN: dict[str, Any] = {
    "email": "ann@example.com",
    "phone": "+1 202 555 0101",
    "full_name": "Ann Example ",
    "external_id": "a/1",
    "external_user_id": "51",
    "facebook_id": 91234409,
    "twitter_id": "tw1",
    "website": "example.com",
    "timezone": "180",
    "tag_list": "vip,Red",
}


def settle(apps: Apps) -> None:
    """Three to look up, and `eve` who asks."""
    apps.sign_up("ann", **ANN)
    apps.sign_up("hunter", full_name="Hunter, Bob", tag_list=["guest"])
    apps.sign_up("smith1", full_name="hunter cat", tag_list="guest,vip", phone="+447700900456")
    apps.sign_up("eve")


# ── one's own account ────────────────────────────────────────────────────────────────────────────────────────────────


def test_sign_up_answers_the_documented_user(apps: Apps) -> None:
    user = apps.sign_up("Ann", **ANN)
    assert isinstance(user.pop("id"), int)
    assert user.pop("created_at") == user.pop("updated_at")
    assert user == {
        "full_name": "Ann Example",
        "email": "ann@example.com",
        "login": "Ann",
        "phone": "+1 202 555 0101",
        "website": "http://example.com",
        "last_request_at": None,
        "external_user_id": 51,
        "external_id": "a/1",
        "facebook_id": "91234409",
        "twitter_id": "tw1",
        "blob_id": None,
        "custom_data": None,
        "avatar": None,
        "user_tags": "vip,Red",
        "timezone": 180,
        "is_guest": False,
    }


@pytest.mark.parametrize("tags", ["user[tag_list]=vip%2csmoke", "user[tag_list][]=vip&user[tag_list][]=smoke"])
def test_sign_up_as_a_form_with_an_application_session(apps: Apps, tags: str) -> None:
    apps.tokens["app"] = apps.session({})
    answer = apps.asks(
        "app",
        "POST",
        "/users.json",
        content=f"user[login]=ann&user[password]=correct-horse&user[full_name]=%C3%85se%20A&{tags}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 201
    assert (answer.json()["user"]["full_name"], answer.json()["user"]["user_tags"]) == ("Åse A", "vip,smoke")
    assert "CB-Token-ExpirationDate" in answer.headers


def test_the_whole_model_that_flutter_sends_is_understood(apps: Apps) -> None:
    model = {
        **{"id": 7, "login": "ann", "password": PASSWORD, "oldPassword": None, "guest": False, "is_guest": None},
        **{"external_user_id": None, "external_id": None, "user_tags": None, "tag_list": None, "created_at": None},
    }
    answer = apps.asks("", "POST", "/users", json={"user": model})
    assert (answer.status_code, answer.json()["user"]["is_guest"]) == (201, False)
    assert answer.json()["user"]["id"] != 7


@pytest.mark.parametrize(
    "body, errors",
    [
        ({}, {"user": ["is required"]}),
        ({"user": None}, {"user": ["is required"]}),
        ({"user": "ann"}, {"user": ["is required"]}),
        ({"user": {"login": "ann"}}, {"password": ["can't be blank"]}),
        ({"user": {"password": PASSWORD}}, {"base": ["login or email is required"]}),
        ({"user": {"login": "ann", "password": "short"}}, {"password": ["is too short (minimum is 8 characters)"]}),
        ({"user": {"login": ["ann"], "password": PASSWORD}}, {"login": ["must be a text"]}),
        ({"user": {"login": "ann", "password": PASSWORD, "timezone": "x"}}, {"timezone": ["must be an integer"]}),
    ],
)
def test_what_cannot_be_signed_up(town: Apps, body: Any, errors: Any) -> None:
    answer = town.asks("", "POST", "/users", json=body)
    assert (answer.status_code, answer.json()) == (422, {"errors": errors})


def test_sign_up_reports_every_bad_field(town: Apps) -> None:
    bad = {
        **{"login": "ab", "email": "nobody", "phone": "1" * 65, "full_name": ["Ann"], "timezone": "x"},
        **{"tag_list": ["a", "b", "c", "d", "e", "f"], "password": "short"},
    }
    answer = town.asks("", "POST", "/users", json={"user": bad})
    assert (answer.status_code, sorted(answer.json()["errors"])) == (422, sorted(bad))
    assert all(len(reasons) == 1 for reasons in answer.json()["errors"].values())
    answer = town.asks("", "POST", "/users", json={"user": {"timezone": "x"}})
    assert sorted(answer.json()["errors"]) == ["base", "password", "timezone"]
    answer = town.asks("", "POST", "/users", json={"user": {"login": 3 * "a", "full_name": 256 * "a", "password": []}})
    assert sorted(answer.json()["errors"]) == ["full_name", "password"]


def test_sign_up_reports_every_taken_value(apps: Apps) -> None:
    apps.sign_up("ann", **ANN)
    answer = apps.asks("", "POST", "/users", json={"user": {"login": "ANN", "password": PASSWORD, **ANN}})
    taken = dict.fromkeys(("login", "email", "external_user_id", "facebook_id"), ["has already been taken"])
    assert (answer.status_code, answer.json()) == (422, {"errors": taken})


def test_a_change_reports_every_bad_field(apps: Apps) -> None:
    ann = apps.sign_up("ann")
    for bad in ({"timezone": "x", "full_name": ["Ann"]}, {"website": "ftp://example.com", "email": "nobody"}):
        answer = apps.asks("ann", "PUT", f"/users/{ann['id']}", json={"user": bad})
        assert (answer.status_code, sorted(answer.json()["errors"])) == (422, sorted(bad))


@pytest.mark.parametrize("phone", ["hello", "12345", "+44 7700 900123 ext 4", "1" * 16])
def test_a_phone_that_cannot_be_a_number_is_accepted_with_a_hint(apps: Apps, phone: str) -> None:
    new = {"login": "ann", "password": PASSWORD, "phone": phone}
    answer = apps.asks("", "POST", "/users", json={"user": new})
    assert (answer.status_code, answer.json()["user"]["phone"]) == (201, phone)
    hints = {"phone": ["is stored, but is not a phone number: contacts do not find this user by it"]}
    assert answer.json()["hints"] == hints
    apps.tokens["ann"] = apps.session({"user": {"login": "ann", "password": PASSWORD}})
    path = f"/users/{answer.json()['user']['id']}"
    assert apps.asks("ann", "PUT", path, json={"user": {"phone": "x"}}).json()["hints"] == hints
    assert "hints" not in apps.asks("ann", "PUT", path, json={"user": {"full_name": "Ann"}}).json()
    assert "hints" not in apps.asks("ann", "PUT", path, json={"user": {"phone": "+447700900123"}}).json()
    assert "hints" not in apps.asks("ann", "PUT", path, json={"user": {"phone": " "}}).json()


def test_a_phone_that_cannot_be_a_number_is_refused_if_the_setting_says_so(apps: Apps) -> None:
    ann = apps.sign_up("ann", phone="hello")
    apps.set("unreadable_phones", "refuse")
    refused = {"phone": ["must be a phone number: 10 to 15 digits, best with + and the country code"]}
    answer = apps.asks("", "POST", "/users", json={"user": {"login": "bo", "password": PASSWORD, "phone": "12345"}})
    assert (answer.status_code, answer.json()["errors"]["phone"]) == (422, refused["phone"])
    assert sorted(answer.json()["errors"]) == ["login", "phone"]
    answer = apps.asks("ann", "PUT", f"/users/{ann['id']}", json={"user": {"phone": "12345"}})
    assert (answer.status_code, answer.json()) == (422, {"errors": refused})
    # SDKs send the whole user: a phone that was stored before the setting was changed stays.
    same = {"phone": "hello", "full_name": "Ann"}
    assert apps.asks("ann", "PUT", f"/users/{ann['id']}", json={"user": same}).status_code == 200
    for phone in ("+44 7700 900123", " ", None):
        assert apps.asks("ann", "PUT", f"/users/{ann['id']}", json={"user": {"phone": phone}}).status_code == 200


def test_the_body_that_the_quickblox_sdk_sends_with_a_get_is_none(town: Apps) -> None:
    headers = {"Content-Type": "application/json", "QB-Token": town.tokens["eve"], "CB-Token": ""}
    answer = town.asks("eve", "GET", "/users/by_login?login=ann", content='" "', headers=headers)
    assert (answer.status_code, answer.json()["user"]["login"]) == (200, "ann")


def test_a_taken_login_is_answered_as_documented(apps: Apps) -> None:
    apps.sign_up("ann")
    answer = apps.asks("", "POST", "/users", json={"user": {"login": "ANN", "password": PASSWORD}})
    assert (answer.status_code, answer.json()) == (422, TAKEN)


def test_sign_up_needs_a_key_or_a_session(apps: Apps) -> None:
    answer = apps.client.post("/users", json={"user": {"login": "ann", "password": PASSWORD}})
    assert (answer.status_code, answer.json()) == (401, {"errors": ["Token is required"]})
    answer = apps.client.post("/users", json={}, headers={"CB-AuthKey": "wrong", "CB-Token": ""})
    assert (answer.status_code, answer.json()) == (401, {"errors": ["Unauthorized"]})


@pytest.mark.parametrize("spelled", ["old_password", "oldPassword"])
def test_a_new_password_with_the_old_one_in_either_spelling(apps: Apps, spelled: str) -> None:
    ann = apps.sign_up("ann")
    new = {"user": {"password": "battery-staple", spelled: PASSWORD}}
    assert apps.asks("ann", "PUT", f"/users/{ann['id']}", json=new).status_code == 200
    assert apps.asks("ann", "GET", f"/users/{ann['id']}").status_code == 200  # this session stays
    assert apps.session({"user": {"login": "ann", "password": "battery-staple"}})


def test_a_change_answers_the_changed_user(apps: Apps) -> None:
    ann = apps.sign_up("ann", **ANN)
    answer = apps.asks("ann", "PUT", f"/users/{ann['id']}.json", json={"user": {"full_name": "Ann B", "phone": None}})
    assert answer.status_code == 200
    after = answer.json()["user"]
    changed = {"full_name": "Ann B", "phone": None, "updated_at": after["updated_at"]}
    assert {**ann, **changed, "last_request_at": after["last_request_at"]} == after


def test_nobody_changes_or_deletes_somebody_else(apps: Apps) -> None:
    apps.sign_up("ann", external_id="a")
    bob = apps.sign_up("bob", external_id="b")
    for method, path in [("PUT", f"/users/{bob['id']}"), ("DELETE", f"/users/{bob['id']}"), ("PUT", "/users/2000000")]:
        assert apps.asks("ann", method, path, json={"user": {"full_name": "Eve"}}).status_code == 403
    for name in ("b", "nobody", "None"):
        assert apps.asks("ann", "DELETE", f"/users/external/{name}").status_code == 403
    assert apps.asks("bob", "GET", f"/users/{bob['id']}").json()["user"]["full_name"] is None


@pytest.mark.parametrize("path", ["/users/{id}", "/users/external/a/1", "/users/external/51.json"])
def test_who_leaves_is_gone_with_the_session(apps: Apps, path: str) -> None:
    ann = apps.sign_up("ann", **ANN)
    apps.sign_up("bob")
    answer = apps.asks("ann", "DELETE", path.format(id=ann["id"]))
    assert (answer.status_code, answer.content) == (200, b"")
    assert apps.asks("ann", "GET", "/address_book").json() == {"errors": {"base": ["Required session does not exist"]}}
    assert apps.asks("bob", "GET", f"/users/{ann['id']}").status_code == 404


@pytest.mark.parametrize("method, body", [("GET", None), ("POST", {"email": "ann@example.com"})])
def test_a_reset_names_who_can(apps: Apps, method: str, body: Any) -> None:
    apps.tokens["app"] = apps.session({})
    answer = apps.asks("app", method, "/users/password/reset.json", json=body)
    assert answer.status_code == 422
    assert "ringbook users reset-password" in answer.json()["errors"]["password"][0]


# ── one user ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "/users/{id}.json?",
        "/users/by_login?login=ANN",
        "/users/by_login.json?login=%20ann%20",
        "/users/by_email?email=Ann@Example.com",
        "/users/phone?phone=12025550101",
        "/users/by_phone?phone=%2B1%20(202)%20555-0101",
        "/users/by_facebook_id?facebook_id=91234409",
        "/users/by_twitter_id?twitter_id=tw1",
        "/users/external/a/1",
        "/users/external/a%2F1",
        "/users/external/51.json",
    ],
)
def test_one_user_by_each_path(town: Apps, ids: dict[str, int], path: str) -> None:
    answer = town.asks("eve", "GET", path.format(id=ids["ann"]))
    assert (answer.status_code, answer.json()["user"]["id"]) == (200, ids["ann"])


@pytest.mark.parametrize(
    "path",
    [
        "/users/2000000",
        "/users/0",
        "/users/99999999999",
        "/users/by_login?login=nobody",
        "/users/by_email?email=nobody@example.com",
        "/users/phone?phone=12025550199",
        "/users/by_phone?phone=none",
        "/users/by_facebook_id?facebook_id=0",
        "/users/by_twitter_id?twitter_id=0",
        "/users/external/nobody",
        "/users/external/99999999999999999999",
        "/users/external/",
        "/users/nobody",
    ],
)
def test_nobody_by_each_path(town: Apps, path: str) -> None:
    answer = town.asks("eve", "GET", path)
    assert (answer.status_code, answer.json()) == (404, {"errors": ["Not found"]})


@pytest.mark.parametrize("path", ["by_login", "by_email", "phone", "by_phone", "by_facebook_id", "by_twitter_id"])
def test_a_look_up_needs_its_value(town: Apps, path: str) -> None:
    answer = town.asks("eve", "GET", f"/users/{path}?phone=undefined")
    assert (answer.status_code, list(answer.json()["errors"].values())) == (422, [["is required"]])


def test_external_id_goes_before_the_number_of_old_times(apps: Apps) -> None:
    apps.sign_up("ann", external_user_id=7)
    bob = apps.sign_up("bob", external_id="7")
    assert apps.asks("ann", "GET", "/users/external/7").json()["user"]["id"] == bob["id"]


def test_the_oldest_user_with_a_phone_is_found(apps: Apps) -> None:
    ann = apps.sign_up("ann", phone="12025550101")
    apps.sign_up("bob", phone="+1 202 555 0101")
    assert apps.asks("bob", "GET", "/users/phone?phone=12025550101").json()["user"]["id"] == ann["id"]


@pytest.mark.parametrize(
    "path", ["/users/1", "/users/v2?id=1", "/users?filter[]=number id in 1", "/users/phone?phone=1"]
)
def test_looking_up_needs_a_user(town: Apps, path: str) -> None:
    town.tokens["app"] = town.session({})
    answer = town.asks("app", "GET", path)
    assert (answer.status_code, answer.json()) == (403, {"errors": {"base": ["Forbidden. Need user."]}})
    assert town.asks("app", "GET", path, headers={"QB-Token": town.tokens["app"], "CB-Token": ""}).status_code == 422


def test_a_stranger_is_shown_without_phone_and_email(apps: Apps) -> None:
    ann = apps.sign_up("ann", **ANN)
    apps.sign_up("bob")
    path = f"/users/{ann['id']}"
    seen = apps.asks("bob", "GET", path).json()["user"]
    assert {name for name in ann if ann[name] != seen[name]} - {"last_request_at"} == {"phone", "email"}
    assert (seen["phone"], seen["email"]) == (None, None)
    apps.set("profiles", "open")
    assert apps.asks("bob", "GET", path).json()["user"]["phone"] == ann["phone"]


# ── V2 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "query, logins",
    [
        ("id={ann}", ["ann"]),
        ("id[in][]={ann}&id[in][]={smith1}&last_request_at[gt]=2018-12-06T09:21:41Z", ["ann", "smith1"]),
        ("id[in]={ann},{smith1}", ["ann", "smith1"]),
        ("id[]={ann}&id[]={hunter}", ["ann", "hunter"]),
        ("id%5Bin%5D%5B0%5D={hunter}", ["hunter"]),
        ("user_tags=guest", ["hunter", "smith1"]),
        ("user_tags[in][]=VIP&user_tags[in][]=guest", ["ann", "hunter", "smith1"]),
        ("user_tags=guest&created_at[lt]=1690886495", []),
        ("user_tags=guest&created_at[gte]=1690886495&created_at[lte]=2999-01-01", ["hunter", "smith1"]),
        ("login=smith1&phone=447700900456&user_tags[nin][]=vip", []),
        ("login=smith1&phone=447700900456&updated_at[gte]=2018-12-06T09:21:41Z", ["smith1"]),
        ("phone[in][]=%2B44%207700%20900456&phone[in][]=12025550199", ["smith1"]),
        ("email=ANN@example.com", ["ann"]),
        ("full_name[start_with]=hunt&id[nin][]={hunter}", ["smith1"]),
        ("full_name=Hunter, Bob", ["hunter"]),
        ("full_name[in][]=Hunter, Bob", ["hunter"]),
        ("external_id=a/1", ["ann"]),
        ("facebook_id=91234409&twitter_id=tw1", ["ann"]),
        ("login[start_with]=smit", ["smith1"]),
        ("id={ann}&login=undefined&phone=null", ["ann"]),
        ("id[in]=", []),
        ("login=nobody", []),
        ("id[in]={ann}&id[in]={smith1}", ["ann", "smith1"]),
        ("id[eq]={ann}", ["ann"]),
        ("full_name[eq]=Hunter, Bob", ["hunter"]),
        ("user_tags[eq]=guest&created_at[gte]=1690886495", ["hunter", "smith1"]),
        ("page=1&id[in][]={ann}", ["ann"]),
        ("id={ann}&password=x&token[in]=y&expand=1", ["ann"]),
    ],
)
def test_a_valid_query(town: Apps, ids: dict[str, int], query: str, logins: list[str]) -> None:
    answer = town.asks("eve", "GET", f"/users/v2?{query.format(**ids)}")
    assert answer.status_code == 200, answer.text
    assert [user["login"] for user in answer.json()["items"]] == logins
    assert answer.json()["total_entries"] == len(logins)


@pytest.mark.parametrize(
    "query, reason",
    [
        ("", "needs a field"),
        ("limit=5&sort_asc=id", "needs a field"),
        ("login[nin][]=admin19", "needs a field"),
        ("user_tags[nin][]=guest", "needs a field"),
        ("last_request_at=2017-07-06T11:21:41Z", "needs a field"),
        ("created_at[gte]=2019-11-06T09:21:41Z", "needs a field"),
        ("login[start_with]=vip", "at least 4"),
        ("login[start_with]=%20vip%20", "at least 4"),
        ("id[start_with]=1234", "start_with"),
        ("login=ann&id[gt]=5", "Only dates"),
        ("id=1&login[gt]=ann", "cannot be compared"),
        ("id=1&phone[gte]=1202", "cannot be compared"),
        ("phone[start_with]=1202555", "start_with"),
        ("email[start_with]=ann@", "start_with"),
        ("id=1&sort_asc=phone", "sorted by phone"),
        ("id=1&sort_desc=email", "sorted by email"),
        ("id=1&sort_asc=password_hash", "sorted by password_hash"),
        ("password=x", "needs a field"),
        ("id=1&page=0", "1 or more"),
        ("id=1&page=one", "integer"),
        ("id=1&page=102", "the page must begin at 10000 or before"),
        ("id[eq]=1,2", "integer"),
        ("id[eq][]=1", "integer"),
        ("id[like]=1", "operator"),
        ("id[in][][x]=1", "integer"),
        ("id=one", "integer"),
        ("id=99999999999999999999", "64 bits"),
        ("id=1&created_at[gt]=yesterday", "date"),
        ("login[in][][x]=1", "text"),
        ("login=%00", "characters"),
        ("id=1&limit=0", "page"),
        ("id=1&offset=-1", "page"),
        ("id=1&offset=10001", "the page must begin at 10000 or before"),
        ("id=1&offset=99999999999", "the page must begin at 10000 or before"),
        ("&".join(f"id[in][]={number}" for number in range(101)), "100 values"),
        ("id=1&" + "&".join(f"login[nin][]={number}" for number in range(100)), "100 values"),
        ("&".join(f"id[in][]={number}&login[in][]={number}" for number in range(51)), "100 values"),
    ],
)
def test_a_query_that_cannot_be_asked(town: Apps, ids: dict[str, int], query: str, reason: str) -> None:
    answer = town.asks("eve", "GET", f"/users/v2?{query}")
    assert answer.status_code == 422, answer.text
    assert reason in str(answer.json()["errors"])


def test_a_query_may_have_100_values_and_the_ids_are_found(town: Apps, ids: dict[str, int]) -> None:
    wanted = [ids["ann"], ids["hunter"], *range(10**6, 10**6 + 98)]
    listed = town.asks("eve", "GET", "/users/v2?" + "&".join(f"id[in][]={one}" for one in wanted))
    assert [user["id"] for user in listed.json()["items"]] == sorted([ids["ann"], ids["hunter"]])


def test_a_query_in_a_body_works_as_in_the_documentation(town: Apps, ids: dict[str, int]) -> None:
    form = f"id[in][]={ids['ann']}&id[in][]={ids['hunter']}&sort_desc=id&limit=10"
    as_form = {"headers": {"Content-Type": "application/x-www-form-urlencoded"}, "content": form}
    for request in (
        as_form,
        {"json": {"id": {"in": [ids["ann"], ids["hunter"]]}, "sort_desc": "id", "limit": 10}},
    ):
        answer = town.asks("eve", "GET", "/users/v2", **request).json()
        assert [user["id"] for user in answer["items"]] == [ids["hunter"], ids["ann"]]
        assert (answer["limit"], answer["skip"], answer["total_entries"]) == (10, 0, 2)


def test_pages_and_orders(town: Apps, ids: dict[str, int]) -> None:
    def page(more: str) -> tuple[list[str], int, int, int]:
        query = "&".join(f"id[in][]={ids[login]}" for login in ("ann", "hunter", "smith1"))
        answer = town.asks("eve", "GET", f"/users/v2?{query}&{more}").json()
        logins = [user["login"] for user in answer["items"]]
        return logins, answer["limit"], answer["skip"], answer["total_entries"]

    assert page("") == (["ann", "hunter", "smith1"], 100, 0, 3)
    assert page("limit=5000") == (["ann", "hunter", "smith1"], 100, 0, 3)
    assert page("limit=1&offset=1") == (["hunter"], 1, 1, 3)
    assert page("offset=3") == ([], 100, 3, 3)
    assert page("sort_desc=login&limit=2") == (["smith1", "hunter"], 2, 0, 3)
    assert page("sort_asc=full_name") == (["ann", "smith1", "hunter"], 100, 0, 3)
    assert page("page=1") == (["ann", "hunter", "smith1"], 100, 0, 3)
    assert page("page=2&per_page=2") == (["smith1"], 2, 2, 3)
    assert page("per_page=5000") == (["ann", "hunter", "smith1"], 100, 0, 3)
    assert page("page=2&limit=1") == (["hunter"], 1, 1, 3)
    assert page("page=2&per_page=2&offset=0&limit=1") == (["ann"], 1, 0, 3)


VALUES = {
    "id": ("{ann}", "{smith1}"),
    "login": ("ann", "smith1"),
    "email": ("ann@example.com", "smith1@example.com"),
    "phone": ("12025550101", "447700900456"),
    "full_name": ("Ann Example", "hunter cat"),
    "external_id": ("a/1", "a/2"),
    "external_user_id": ("51", "52"),
    "facebook_id": ("91234409", "91234410"),
    "twitter_id": ("tw1", "tw2"),
    "user_tags": ("red", "guest"),
}


@pytest.mark.parametrize("field", sorted(user_search.FIELDS.keys() - user_search.TIMES.keys()))
@pytest.mark.parametrize("sent_as", ["query", "form"])
@pytest.mark.parametrize("operator", ["in", "nin"])
def test_a_key_that_is_repeated_is_a_list(apps: Apps, operator: str, sent_as: str, field: str) -> None:
    """As Flutter from 2.6 on, Android 2 and iOS 2 write lists."""
    apps.sign_up("ann", **ANN)
    apps.sign_up("hunter")
    apps.sign_up(
        "smith1",
        email="smith1@example.com",
        phone="+447700900456",
        full_name="hunter cat",
        external_id="a/2",
        external_user_id=52,
        facebook_id="91234410",
        twitter_id="tw2",
        tag_list="guest",
    )
    first, second = (quote(value.format(**apps.ids)) for value in VALUES[field])
    everybody = "&".join(f"id[in][]={number}" for number in apps.ids.values())
    asked = f"{field}[{operator}]={first}&{field}[{operator}]={second}"
    if operator == "nin":
        asked = f"{asked}&{everybody if field != 'id' else 'login[in]=ann&login[in]=hunter&login[in]=smith1'}"
    form = {"content": asked, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    request: dict[str, Any] = {} if sent_as == "query" else form
    answer = apps.asks("hunter", "GET", f"/users/v2?{asked if sent_as == 'query' else ''}", **request)
    assert answer.status_code == 200, answer.text
    found = [user["login"] for user in answer.json()["items"]]
    assert found == (["ann", "smith1"] if operator == "in" else ["hunter"])


@pytest.mark.parametrize("path", ["/users/v2?full_name=eve", "/users?filter[]=number id gt 1", "/users/by_tags?tags=x"])
def test_searches_are_limited_and_a_refusal_says_when_to_come_again(db: Database, path: str) -> None:
    with served(db, Limits(searches_per_minute=1)) as apps:
        apps.sign_up("eve")
        apps.set("users_v1_list", "true")
        assert apps.asks("eve", "GET", path).status_code == 200
        refused = apps.asks("eve", "GET", path)
        assert (refused.status_code, refused.json()) == (429, {"errors": ["Too many searches by this user"]})
        assert int(refused.headers["Retry-After"]) > 0
        assert apps.asks("eve", "GET", f"/users/{apps.ids['eve']}").status_code == 200
        assert apps.asks("eve", "GET", "/users/by_login?login=eve").status_code == 200


def test_while_searches_take_their_time_other_requests_are_answered(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many searches as a process works on, of as many users, and one that waits for its turn."""
    begun, done, count = threading.Semaphore(0), threading.Event(), user_search.count

    def slowly(*given: Any, **named: Any) -> int:
        begun.release()
        assert done.wait(60)
        return count(*given, **named)

    with served(db, Limits(search_seconds=60)) as apps, ThreadPoolExecutor(3) as threads:
        for login in ("ann", "bob", "cat", "eve"):
            apps.sign_up(login)
        monkeypatch.setattr(user_search, "count", slowly)
        searches = [
            threads.submit(apps.asks, who, "GET", f"/users/v2?full_name={who}") for who in ("ann", "bob", "cat")
        ]
        assert begun.acquire(timeout=60) and begun.acquire(timeout=60)
        assert apps.asks("eve", "GET", f"/users/{apps.ids['ann']}").status_code == 200
        assert not begun.acquire(timeout=0.2)  # the third waits
        done.set()
        assert [search.result().status_code for search in searches] == [200] * 3


@pytest.fixture
def slow_searches(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Semaphore, threading.Event]:
    """Searches that tell when they run, and end when they are told to."""
    begun, done, count = threading.Semaphore(0), threading.Event(), user_search.count

    def slowly(*given: Any, **named: Any) -> int:
        begun.release()
        assert done.wait(60)
        return count(*given, **named)

    monkeypatch.setattr(user_search, "count", slowly)
    return begun, done


SEARCH = "/users/v2?full_name=Ann"


def test_several_searches_of_a_user_at_once_all_succeed_one_after_the_other(
    db: Database, slow_searches: tuple[threading.Semaphore, threading.Event]
) -> None:
    begun, done = slow_searches
    with served(db, Limits(search_seconds=60)) as apps, ThreadPoolExecutor(5) as threads:
        apps.sign_up("ann")
        searches = [threads.submit(apps.asks, "ann", "GET", SEARCH) for _ in range(5)]
        assert begun.acquire(timeout=60)
        assert not begun.acquire(timeout=0.2)
        done.set()
        assert [search.result().status_code for search in searches] == [200] * 5


def test_a_search_that_waits_too_long_for_another_one_of_its_user_is_refused(
    db: Database, slow_searches: tuple[threading.Semaphore, threading.Event]
) -> None:
    begun, done = slow_searches
    with served(db, Limits(search_seconds=60, search_turn_seconds=1)) as apps, ThreadPoolExecutor(1) as threads:
        apps.sign_up("ann")
        first = threads.submit(apps.asks, "ann", "GET", SEARCH)
        assert begun.acquire(timeout=60)
        refused = apps.asks("ann", "GET", SEARCH)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert refused.json() == {"errors": ["Another search of this user is still running"]}
        done.set()
        assert first.result().status_code == 200


def test_a_search_waits_for_one_of_its_user_in_another_process(databases: Any) -> None:
    with (
        databases.fresh("postgresql") as url,
        closing(connect(url, seal=SEAL)) as here,
        closing(connect(url, seal=SEAL)) as there,
        served(here, Limits(search_turn_seconds=1)) as apps,
        ThreadPoolExecutor(1) as threads,
    ):
        apps.sign_up("ann")
        with there.read(seconds=60) as tx:
            assert tx.try_lock(f"search by {apps.ids['ann']}")
            assert apps.asks("ann", "GET", SEARCH).status_code == 429
            waits = threads.submit(apps.asks, "ann", "GET", SEARCH)
            time.sleep(0.3)
        assert waits.result().status_code == 200


def test_a_beginning_shows_five_users_of_all_that_there_are(apps: Apps) -> None:
    for number in range(7):
        apps.sign_up(f"smith{number}")
    answer = apps.asks("smith0", "GET", "/users/v2?login[start_with]=smit&limit=100&offset=1").json()
    assert (len(answer["items"]), answer["limit"], answer["total_entries"]) == (5, 5, 7)


@pytest.mark.parametrize("profiles", ["known", "open"])
@pytest.mark.parametrize(
    "path, reason",
    [
        ("/users/v2?phone[start_with]=%2B4477", {"phone": ["cannot be searched with start_with"]}),
        ("/users/v2?email[start_with]=ann@", {"email": ["cannot be searched with start_with"]}),
        ("/users/v2?id=1&phone[gt]=1202", {"phone": ["cannot be compared with gt"]}),
        ("/users/v2?id=1&email[lte]=b", {"email": ["cannot be compared with lte"]}),
        ("/users/v2?id=1&sort_asc=phone", {"base": ["users cannot be sorted by phone"]}),
        ("/users/v2?id=1&sort_desc=email", {"base": ["users cannot be sorted by email"]}),
        ("/users?filter[]=number id in 1&order=desc string phone", {"base": ["users cannot be sorted by phone"]}),
        ("/users?filter[]=number id in 1&order=asc string email", {"base": ["users cannot be sorted by email"]}),
        ("/users?filter[]=number id in 1&filter[]=string phone gt 1202", {"phone": ["cannot be compared with gt"]}),
        (
            "/users?filter[]=number id in 1&filter[]=string email between a,b",
            {"email": ["cannot be compared with gte"]},
        ),
    ],
)
def test_phone_and_email_are_found_by_whole_values_only(
    town: Apps, profiles: str, path: str, reason: dict[str, list[str]]
) -> None:
    town.set("profiles", profiles)
    answer = town.asks("eve", "GET", path)
    assert (answer.status_code, answer.json()["errors"]) == (422, reason)


def test_open_profiles_are_found_by_whole_values_and_show_them(apps: Apps) -> None:
    settle(apps)
    apps.set("profiles", "open")
    found = apps.asks("eve", "GET", "/users/v2?phone=%2B44%207700%20900456").json()["items"]
    assert [user["phone"] for user in found] == ["+447700900456"]
    private = apps.sign_up("mail@example.com")["id"]
    assert apps.asks("eve", "GET", "/users/v2?login[start_with]=mail@").json()["items"] == []
    found = apps.asks("eve", "GET", f"/users/v2?id[in][]={private}&login=MAIL@example.com&sort_asc=login").json()
    assert [user["login"] for user in found["items"]] == ["mail@example.com"]


@pytest.mark.parametrize("limits", [Limits(permits=1, permits_per_hour=6)], ids=["one permit"])
def test_too_many_questions_say_when_to_come_back(apps: Apps) -> None:
    settle(apps)
    assert apps.asks("eve", "GET", "/users/v2?phone=12025550101").json()["total_entries"] == 1
    answer = apps.asks("eve", "GET", "/users/by_email?email=ann@example.com")
    assert answer.status_code == 429
    assert 500 < int(answer.headers["Retry-After"]) <= 600
    assert answer.json()["errors"] == ["Too many new numbers for this user"]


# ── V1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "query, logins",
    [
        ("filter[]=number id in {ann},{smith1}", ["ann", "smith1"]),
        ("filter%5B%5D=number%20id%20in%20{ann}", ["ann"]),
        ("filter[]=number+id+eq+{hunter}", ["hunter"]),
        ("filter=number id in {ann}", ["ann"]),
        ("filter[in]=number id in {ann},{hunter}", ["ann", "hunter"]),
        ("filter[in]=number id in {ann},{hunter}&filter[in]=string login in ann,smith1", ["ann"]),
        ("filter[]=number id in {ann},{hunter}&filter[]=string full_name eq Hunter, Bob", ["hunter"]),
        ("filter[]=number id in {ann},{hunter}&filter[]=string login ne ann", ["hunter"]),
        ("filter[]=number id in {ann},{hunter}&filter[]=number id gt {ann}", ["hunter"]),
        ("filter[]=number id in {ann},{smith1}&filter[]=date created_at ge 2018.12.05", ["ann", "smith1"]),
        ("filter[]=number id in {ann},{smith1}&filter[]=date created_at lt 2018-12-05", []),
        ("filter[]=number id in {ann},{smith1}&order=desc string login", ["smith1", "ann"]),
    ],
)
def test_the_old_list_with_ids_always_works(town: Apps, ids: dict[str, int], query: str, logins: list[str]) -> None:
    answer = town.asks("eve", "GET", f"/users.json?{query.format(**ids)}")
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert [item["user"]["login"] for item in page["items"]] == logins
    assert (page["current_page"], page["per_page"], page["total_entries"]) == (1, 10, len(logins))


@pytest.mark.parametrize(
    "path",
    [
        "/users",
        "/users?filter[]=number id gt 0",
        "/users?filter[]=number id ne 5",
        "/users?filter[]=number id between 1,9",
        "/users?filter[]=string login eq ann",
        "/users/by_full_name?full_name=hunter cat",
        "/users/by_tags?tags=vip",
    ],
)
def test_listing_people_stands_behind_its_setting(apps: Apps, path: str) -> None:
    settle(apps)
    answer = apps.asks("eve", "GET", path)
    assert answer.status_code == 422
    assert answer.json()["errors"]["base"][0].startswith("Users retrieving forbidden in admin panel")
    apps.set("users_v1_list", "true")
    answer = apps.asks("eve", "GET", path)
    assert (answer.status_code, answer.json()["total_entries"] > 0) == (200, True)


def test_the_old_list_has_pages(apps: Apps) -> None:
    settle(apps)
    apps.set("users_v1_list", "true")
    answer = apps.asks("eve", "GET", "/users?page=2&per_page=3&order=asc+string+login").json()
    assert [item["user"]["login"] for item in answer["items"]] == ["smith1"]
    assert (answer["current_page"], answer["per_page"], answer["total_entries"]) == (2, 3, 4)
    assert apps.asks("eve", "GET", "/users?per_page=1000").json()["per_page"] == 100
    for path in ("by_full_name", "by_tags"):
        assert "is required" in apps.asks("eve", "GET", f"/users/{path}").text
    tagged = apps.asks("eve", "GET", "/users/by_tags?tags=vip,nothing&per_page=1").json()
    assert (len(tagged["items"]), tagged["total_entries"]) == (1, 2)


@pytest.mark.parametrize(
    "query, reason",
    [
        ("filter[]=number id in {ann}&order=asc string phone", "sorted by phone"),
        ("filter[]=number id in {ann}&order=up string login", "asc or desc"),
        ("filter[]=number id in {ann}&order=login", "asc or desc"),
        ("filter[]=number id in {ann}&filter[]=string phone ge 1202", "cannot be compared"),
        ("filter[]=number id in {ann}&filter[]=string email between a,b", "cannot be compared"),
        ("filter[]=number id in {ann}&filter[]=number id between 5", "two values"),
        ("filter[]=number id", "a type, a field"),
        ("filter[]=number id in {ann}&filter[]=string secret eq x", "not a field"),
        ("filter[]=number id like {ann}", "operator"),
        ("filter[]=number id in x", "integer"),
        ("filter[]=number id in {ann}&page=0", "1 or more"),
        ("filter[]=number id in {ann}&per_page=x", "integer"),
    ],
)
def test_an_old_list_that_cannot_be_asked(town: Apps, ids: dict[str, int], query: str, reason: str) -> None:
    answer = town.asks("eve", "GET", f"/users?{query.format(**ids)}")
    assert answer.status_code == 422, answer.text
    assert reason in str(answer.json()["errors"])


# ── how often a phone changes ────────────────────────────────────────────────────────────────────────────────────────


def test_a_phone_that_is_not_verified_changes_at_most_three_times_a_day(apps: Apps) -> None:
    me = apps.sign_up("ann", phone="+12025550101")["id"]

    def changes(phone: str) -> Any:
        return apps.asks("ann", "PUT", f"/users/{me}", json={"user": {"phone": phone}})

    assert changes("+1 (202) 555-0101").status_code == 200  # the same number
    for phone in ("+12025550102", "", "+12025550103", "no number", "+12025550104"):
        assert changes(phone).status_code == 200, phone
    refused = changes("+12025550105")
    assert (refused.status_code, refused.json()) == (429, {"errors": ["Too many changes of this user's phone"]})
    assert 0 < int(refused.headers["Retry-After"]) <= 8 * 3600
    assert apps.asks("ann", "GET", f"/users/{me}").json()["user"]["phone"] == "+12025550104"
    assert changes("+1-202-555-0104").status_code == changes("").status_code == 200
    assert apps.asks("ann", "PUT", f"/users/{me}", json={"user": {"full_name": "Ann"}}).status_code == 200
