"""The list of who joined over HTTP: its shape, its refusals, and the examples of the documentation."""

import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from asking import Person, ask, guest, line, person
from servers import SEAL, Server, application

from ringbook.core import applications
from ringbook.store import db as databases

DOCS = Path(__file__).parents[2] / "docs"
HERS = line(4_201)["phone"]


@pytest.fixture(scope="module")
def app(server: Server):
    made = application(server.database_url, "who joined")
    database = databases.connect(server.database_url, pool=1, seal=SEAL)
    applications.change(database, made.application_id, "contact_joined_enabled", "true")
    database.close()
    return made


@pytest.fixture(scope="module")
def bob(server: Server, app) -> Person:
    """A user in whose list Ann is."""
    found = person(server, app)
    assert found.upload([{"phone": HERS, "name": "Annie"}]).status == 200
    person(server, app, phone=HERS, full_name="Ann Other")
    until = time.monotonic() + 60
    while not found.ask("GET", "/contact_joined").json["items"]:
        assert time.monotonic() < until, "the worker announces nobody"
        time.sleep(0.05)
    return found


def test_the_answer_has_exactly_the_documented_fields(bob):
    answer = bob.ask("GET", "/contact_joined?limit=100")
    assert answer.status == 200
    (item,) = answer.json["items"]
    assert answer.json == {"items": [item], "next": answer.json["next"], "unseen": item["seen"] is False}
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", answer.json["next"])
    user, date = item["user"], item["created_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", date)
    assert user == {"id": user["id"], "phone": HERS, "full_name": "Ann Other"}
    assert item == {
        "id": 1,
        "user": user,
        "address_book_name": "Annie",
        "created_at": date,
        "seen": item["seen"],
    }


def test_what_is_marked_as_seen_is_seen_in_the_next_answer(bob):
    assert bob.ask("POST", "/contact_joined/seen", {"up_to": "1"}).json == {"unseen": 0}
    answer = bob.ask("GET", "/contact_joined").json
    assert (answer["items"][0]["seen"], answer["unseen"]) == (True, 0)


def test_pages_are_asked_for_by_cursor_and_by_id(bob):
    whole = bob.ask("GET", "/contact_joined.json").json
    assert bob.ask("GET", f"/contact_joined?after={whole['next']}").json["items"] == []
    assert bob.ask("GET", "/contact_joined?after=0&limit=1").json["items"] == whole["items"]
    assert bob.ask("GET", "/contact_joined?after=unknown").json["items"] == whole["items"]
    assert bob.ask("GET", "/contact_joined?before=1").json["items"] == []
    assert bob.ask("GET", "/contact_joined?before=2&limit=1").json["items"] == whole["items"]


@pytest.mark.parametrize(
    "query, field",
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit[]=2", "limit"),
        ("before=0", "before"),
        ("before=x", "before"),
        ("before=9223372036854775808", "before"),
        ("after[]=1", "after"),
        ("after=0&before=1", "before"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(bob, query, field):
    answer = bob.ask("GET", f"/contact_joined?{query}")
    assert (answer.status, list(answer.json["errors"])) == (422, [field])


@pytest.mark.parametrize("body", [{}, {"up_to": None}, {"up_to": 0}, {"up_to": "x"}, {"up_to": [1]}, {"up_to": 2**63}])
def test_a_wrong_place_is_refused(bob, body):
    answer = bob.ask("POST", "/contact_joined/seen", body)
    assert (answer.status, list(answer.json["errors"])) == (422, ["up_to"])


def test_only_users_have_a_list(server, app, bob):
    token = ask(server, "POST", "/session", {"application_id": app.application_id, "auth_key": app.auth_key})
    headers = {"CB-Token": token.json["session"]["token"]}
    assert ask(server, "GET", "/contact_joined", headers=headers).status == 403
    assert ask(server, "POST", "/contact_joined/seen", {"up_to": 1}, headers=headers).status == 403
    assert ask(server, "GET", "/contact_joined").status == 401
    empty = {"items": [], "next": "0", "unseen": 0}
    assert guest(server, app).ask("GET", "/contact_joined").json == empty
    assert person(server, app).ask("POST", "/contact_joined/seen", {"up_to": 1}).json == {"unseen": 0}


def examples(section: str) -> list[str]:
    """The curl commands of a section of docs/api.md."""
    text = (DOCS / "api.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = [one for block in re.findall(r"```sh\n(.*?)```", text, re.S) for one in block.split("\n\n")]
    assert found, section
    return found


@pytest.mark.parametrize("command", examples("Who joined") + examples("Registered contacts"))
def test_the_examples_of_the_documentation_are_answered(server, bob, command):
    sent = command.replace("https://your.host", f"http://127.0.0.1:{server.port}").replace("TOKEN", bob.token)
    path = "/contact_joined" if "contact_joined" in command else "/address_book/registered_users?since=0"
    sent = sent.replace("CURSOR", bob.ask("GET", path).json["next"])
    words = shlex.split(sent.replace("\\\n", " "))
    done = subprocess.run([*words, "-s", "-o", "/dev/null", "-w", "%{http_code}"], capture_output=True, text=True)
    assert done.stdout == "200", command
