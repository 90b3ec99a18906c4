"""What users decide about joined pushes, over HTTP: the shape, every spelling of a request, and refusals by field."""

from uuid import uuid4

from asking import Person, ask, opened, person

DEFAULTS = {
    "announce": "everyone",
    "discoverable": "everyone",
    "notify": True,
    "quiet": None,
    "time_zone": None,
    "digest": 5,
    "locale": None,
}
CHOSEN = {
    "announce": "mutual",
    "discoverable": "nobody",
    "notify": False,
    "quiet": {"from": "22:00", "to": "08:00"},
    "time_zone": "Europe/Berlin",
    "digest": 3,
    "locale": "de",
}
PATH = "/contact_joined/settings"
FORM = "application/x-www-form-urlencoded"


def put(who: Person, sent: dict) -> dict:
    answer = who.ask("PUT", PATH, sent)
    assert answer.status == 200
    return answer.json


def test_all_of_an_answer_can_be_sent_back(server):
    who = person(server)
    assert who.ask("GET", PATH).json == DEFAULTS
    assert put(who, CHOSEN) == CHOSEN == who.ask("GET", PATH).json == put(who, who.ask("GET", PATH).json)
    assert put(who, {}) == CHOSEN
    assert put(who, {"quiet": None, "time_zone": None, "locale": None}) == CHOSEN | {
        "quiet": None,
        "time_zone": None,
        "locale": None,
    }
    assert person(server).ask("GET", PATH).json == DEFAULTS


def test_a_form_says_the_same(server):
    who = person(server)
    form = "announce=mutual&discoverable=nobody&notify=0&quiet[from]=22:00&quiet[to]=8:00&time_zone=Europe/Berlin"
    answer = who.ask("PUT", PATH, body=f"{form}&digest=3&locale=de".encode(), headers={"Content-Type": FORM})
    assert (answer.status, answer.json) == (200, CHOSEN)


def test_every_bad_field_is_named_and_nothing_changes(server):
    who = person(server)
    sent = {
        "announce": "friends",
        "notify": "maybe",
        "quiet": "22-8",
        "time_zone": "Bonn",
        "digest": "x",
        "locale": "deutsch",
    }
    answer = who.ask("PUT", PATH, sent)
    assert answer.status == 422
    assert answer.json["errors"].keys() == {"announce", "notify", "quiet", "time_zone", "digest", "locale"}
    assert who.ask("PUT", PATH, {"quiet": {"from": "22:00"}, "time_zone": "UTC"}).json["errors"].keys() == {"quiet"}
    assert who.ask("GET", PATH).json == DEFAULTS


def test_a_sign_up_and_a_change_of_the_profile_take_them_too(server):
    user = {"login": f"ann-{uuid4().hex}", "password": "correct-horse", "contact_joined": CHOSEN}
    signed_up = ask(server, "POST", "/users", {"user": user}, headers={"CB-AuthKey": server.app.auth_key})
    assert signed_up.status == 201
    who = Person(server, server.app, signed_up.json["user"]["id"], opened(server, server.app, user)["token"])
    assert who.ask("GET", PATH).json == CHOSEN
    change = {"user": {"full_name": "Ann", "contact_joined": {"digest": 9}}}
    assert who.ask("PUT", f"/users/{who.id}", change).status == 200
    assert who.ask("GET", PATH).json == CHOSEN | {"digest": 9}
    refused = who.ask("PUT", f"/users/{who.id}", {"user": {"full_name": "Eve", "contact_joined": {"announce": "x"}}})
    assert refused.status == 422 and refused.json["errors"].keys() == {"announce"}
    assert who.ask("GET", f"/users/{who.id}").json["user"]["full_name"] == "Ann"


def test_it_takes_a_user(server):
    assert person(server).ask("GET", PATH, headers={"CB-Token": "unknown"}).status == 401
