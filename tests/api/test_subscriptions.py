"""Push subscriptions over HTTP, many at once. What one request is answered stands in tests/wire/5.*."""

from functools import partial
from typing import Any

import pytest
from asking import Answer, Person, at_once, guest, person, rows


def device(udid: str, token: str) -> dict[str, Any]:
    return {
        "notification_channel": "gcm",
        "push_token": {"environment": "production", "client_identification_sequence": token},
        "device": {"platform": "android", "udid": udid},
    }


def subscribe(who: Person, udid: str, token: str) -> Answer:
    return who.ask("POST", "/subscriptions", device(udid, token))


def ids(who: Person) -> list[int]:
    return [one["subscription"]["id"] for one in who.ask("GET", "/subscriptions").json]


def test_one_device_many_times_at_once_is_one_subscription(server):
    who = person(server)
    answers = at_once([partial(subscribe, who, "phone", "fcm-token-0001")] * 8)
    assert {answer.status for answer in answers} == {201}
    assert {answer.json[0]["subscription"]["id"] for answer in answers} == set(ids(who))
    assert len(ids(who)) == 1


def test_one_token_by_many_people_at_once_is_one_subscription(server):
    people = [person(server) for _ in range(6)]
    answers = at_once([partial(subscribe, who, "phone", "fcm-token-0002") for who in people])
    assert {answer.status for answer in answers} == {201}
    assert sum(len(ids(who)) for who in people) == 1


def test_an_eleventh_device_takes_the_place_of_the_first(server):
    who = person(server)
    for n in range(11):
        assert subscribe(who, f"device-{n}", f"fcm-token-1-{n}").status == 201
    udids = [one["subscription"]["device"]["udid"] for one in who.ask("GET", "/subscriptions").json]
    assert udids == [f"device-{n}" for n in range(1, 11)]


def test_the_id_of_a_subscription_that_ended_does_not_come_back(server):
    who = person(server)
    first = subscribe(who, "phone", "fcm-token-0003").json[0]["subscription"]["id"]
    assert who.ask("DELETE", f"/subscriptions/{first}").status == 200
    assert subscribe(who, "phone", "fcm-token-0003").json[0]["subscription"]["id"] > first


def test_no_answer_holds_a_push_token(server):
    who = person(server)
    given = subscribe(who, "phone", "fcm-token-very-secret")
    assert b"fcm-token-very-secret" not in given.raw + who.ask("GET", "/subscriptions").raw
    assert "fcm-token-very-secret" not in server.printed


def test_a_guests_subscriptions_go_with_the_guest(server):
    who = guest(server)
    assert subscribe(who, "phone", "fcm-token-0004").status == 201
    assert who.ask("DELETE", f"/users/{who.id}").status == 200
    assert rows(server, "SELECT id FROM subscriptions WHERE user_id = :id", id=who.id) == []


def test_subscribing_while_being_deleted_leaves_nothing(server):
    for n in range(3):
        who = person(server)
        calls = [partial(subscribe, who, f"device-{m}", f"fcm-token-2-{n}-{m}") for m in range(6)]
        *late, left = at_once([*calls, partial(who.ask, "DELETE", f"/users/{who.id}")])
        assert left.status == 200
        assert {answer.status for answer in late} <= {201, 401}
        assert rows(server, "SELECT id FROM subscriptions WHERE user_id = :id", id=who.id) == []


@pytest.mark.parametrize(
    "field, given",
    [
        ("notification_channel", {"notification_channel": "email"}),
        ("udid", {"device": {"platform": "android"}}),
        ("bundle_identifier", {"device": {"platform": "android", "udid": "1", "bundle_identifier": "x" * 256}}),
        ("client_identification_sequence", {"push_token": {"environment": "production"}}),
        ("web_endpoint", {"notification_channel": "web"}),
    ],
)
def test_a_refusal_names_the_field_as_the_request_does(server, field, given):
    refused = person(server).ask("POST", "/subscriptions", device("1", "token-of-a-device") | given)
    assert refused.status == 422 and list(refused.json["errors"]) == [field]
