"""Registered contacts since a cursor over HTTP: the shape, the parameters, and the answer without it."""

import re

import pytest
from asking import ask, line, person

HERS, HIS = line(4_301), line(4_302)


@pytest.fixture(scope="module")
def bob(server):
    found = person(server)
    assert found.upload([HERS | {"name": "Annie"}, HIS]).status == 200
    assert found.upload([HIS], udid="tablet").status == 200
    person(server, phone=HERS["phone"], full_name="Ann Other")
    return found


def asked(who, query=""):
    answer = who.ask("GET", f"/address_book/registered_users{query}")
    assert answer.status == 200, answer.raw
    return answer.json


def test_only_an_answer_to_since_has_a_cursor(bob):
    usual = asked(bob)
    assert list(usual) == ["items"]
    found = asked(bob, "?since=0")
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", found.pop("next"))
    assert found == usual


def test_compact_answers_have_the_usual_fields(bob):
    found = asked(bob, "?compact=1&since=0")
    (item,) = found["items"]
    assert item == asked(bob, "?compact=1")["items"][0] and set(item["user"]) == {"id", "phone", "address_book_name"}
    assert asked(bob, f"?compact=1&since={found['next']}") == {"items": [], "next": found["next"]}


def test_the_cursor_belongs_to_the_book_that_is_named(bob, server):
    whole, tablet = asked(bob, "?since=0")["next"], asked(bob, "?since=0&udid=tablet")
    assert tablet == {"items": [], "next": "0"}
    person(server, phone=HIS["phone"])
    both = asked(bob, f"?since={whole}"), asked(bob, f"?since={tablet['next']}&udid=tablet")
    assert [[item["user"]["phone"] for item in one["items"]] for one in both] == [[HIS["phone"]]] * 2


@pytest.mark.parametrize("cursor", ["", "0", "unknown", "1-1"])
def test_any_text_that_is_no_cursor_of_the_book_is_the_beginning(bob, cursor):
    assert asked(bob, f"?since={cursor}")["items"] == asked(bob)["items"]


def test_a_cursor_may_be_sent_in_a_body_and_as_an_integer(bob):
    answer = bob.ask("GET", "/address_book/registered_users", {"since": 0})
    assert answer.json["items"] == asked(bob)["items"] and "next" in answer.json


@pytest.mark.parametrize("query", ["since[]=0", "since=%00"])
def test_what_is_no_text_is_no_cursor(bob, query):
    answer = bob.ask("GET", f"/address_book/registered_users?{query}")
    assert (answer.status, list(answer.json["errors"])) == (422, ["since"])


def test_without_a_session_nobody_asks(server):
    assert ask(server, "GET", "/address_book/registered_users?since=0").status == 401
