"""A field of the profile, and a setting of an application, are one declaration each.

The server and the commands here run on a copy of the package with one more field and one more setting. Nothing else
differs, but for the two columns of the field, which its migration would add.
"""

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from asking import Person, ask, open_session, person
from dashboard.visiting import Visitor, admin
from servers import Server, application, ended, environment, get, program, ringbook, serve

from ringbook.store import db as databases

ROOT = Path(__file__).parents[1]
MOTTO = """
    motto: Annotated[
        str,
        field("words to live by", max_characters=20, folded=True, unique=True, searchable=True, imported=True),
    ] | None
"""
COLUMNS = ("motto TEXT", "motto_folded TEXT")
GREETING = """
    greeting: Annotated[
        str,
        setting(
            "how a user is greeted; %s stands for the name",
            label="Greeting",
            card="development",
            check=push_template,
            quoted=True,
        ),
    ] = "Hello"
"""


def declare(file: Path, declaration: str, before: str) -> None:
    """Insert a declaration before a line of a file."""
    text = file.read_text("utf-8")
    assert text.count(before) == 1
    file.write_text(text.replace(before, f"{declaration.rstrip()}\n{before}"), "utf-8")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with a copy of the package that has the two declarations."""
    folder = tmp_path_factory.mktemp("package")
    copy = shutil.copytree(ROOT / "src/ringbook", folder / "ringbook", ignore=shutil.ignore_patterns("__pycache__"))
    declare(copy / "profile_fields.py", MOTTO, "\n\nclass Field(Struct")
    declare(copy / "app_settings.py", GREETING, "\n\nclass Setting(Struct")
    return folder


@pytest.fixture(scope="module")
def copied(databases, package, tmp_path_factory):
    """`ringbook serve` of the copy; commands that tests start are of the copy too."""
    with pytest.MonkeyPatch.context() as patched, databases.fresh("sqlite") as url:
        add_columns(url)
        patched.setenv("PYTHONPATH", os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]))
        with serve(url, tmp_path_factory.mktemp("copied")) as running:
            yield running


def add_columns(url: str) -> None:
    with contextlib.closing(databases.connect(url, pool=1)) as db, db.write() as tx:
        for column in COLUMNS:
            tx.run(f"ALTER TABLE users ADD COLUMN {column}")


# ── a field ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ann(copied: Server) -> Person:
    return person(copied)


def ids(who: Person, query: str) -> list[int]:
    answer = who.ask("GET", f"/users/v2?{query}")
    assert answer.status == 200, answer
    return [one["user"]["id"] if "user" in one else one["id"] for one in answer.json["items"]]


def test_an_account_has_the_field_from_the_start(copied):
    token = open_session(copied, copied.app).json["session"]["token"]
    user = {"login": "with-a-motto", "password": "correct-horse", "motto": "  Festina lente "}
    made = ask(copied, "POST", "/users", {"user": user}, headers={"CB-Token": token})
    assert made.status == 201 and made.json["user"]["motto"] == "Festina lente"


def test_the_field_is_checked_stored_and_removed(ann):
    path = f"/users/{ann.id}"
    assert ann.ask("GET", path).json["user"]["motto"] is None
    refused = ann.ask("PUT", path, {"user": {"motto": "x" * 21}})
    assert refused.status == 422 and refused.json["errors"] == {"motto": ["is too long (maximum is 20 characters)"]}
    assert ann.ask("PUT", path, {"user": {"motto": "Stay calm"}}).json["user"]["motto"] == "Stay calm"
    assert ann.ask("PUT", path, {"user": {"full_name": "Ann"}}).json["user"]["motto"] == "Stay calm"
    assert ann.ask("PUT", path, {"user": {"motto": ""}}).json["user"]["motto"] is None


def test_two_users_cannot_have_the_same_value_of_a_unique_field(copied):
    ann, bob = person(copied, motto="One of a kind"), person(copied)
    refused = bob.ask("PUT", f"/users/{bob.id}", {"user": {"motto": "ONE of a kind"}})
    assert refused.status == 422 and refused.json["errors"] == {"motto": ["has already been taken"]}
    assert ann.ask("PUT", f"/users/{ann.id}", {"user": {"motto": "One of a Kind"}}).status == 200


def test_users_are_searched_and_sorted_by_the_field(copied):
    ann, bob = person(copied, motto="Search: beta"), person(copied, motto="search: Alpha")
    assert ids(ann, "motto=SEARCH:%20BETA") == [ann.id]
    assert ids(ann, "motto[start_with]=search:&sort_asc=motto") == [bob.id, ann.id]


def test_the_field_is_imported_and_exported(copied, ann, tmp_path):
    file = tmp_path / "users.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([["id", "login", "motto"], ["900001", "brought", "As before"]])
    ringbook("users", "import", str(file), "--app", str(copied.app.application_id), database_url=copied.database_url)
    exported = ringbook("users", "export", "900001", database_url=copied.database_url).stdout
    assert json.loads(exported)["user"]["motto"] == "As before"
    assert ids(ann, "motto=as%20before") == [900001]
    assert "motto" in ringbook("users", "import", "--help", database_url=copied.database_url).stdout


def test_the_page_of_the_user_shows_the_field(copied):
    ann = person(copied, motto="On the page")
    page = admin(copied).get(f"/apps/{copied.app.application_id}/users/{ann.id}")
    assert "Motto On the page" in page.words


def test_the_description_of_the_api_has_the_field(copied):
    described = json.loads(get(f"{copied.url}/openapi.json"))
    schemas = described["components"]["schemas"]
    for schema in ("UserIn", "UserOut", "RegisteredOut"):
        rule = schemas[schema]["properties"]["motto"]["anyOf"][0]["description"]
        assert rule == "words to live by; at most 20 characters; unique in the application, in any case", schema
    assert "motto" in {one["name"] for one in described["paths"]["/users/v2"]["get"]["parameters"]}


# ── a setting ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def app(copied):
    return application(copied.database_url, "Greeting")


@pytest.fixture
def visitor(copied) -> Visitor:
    return admin(copied)


def test_the_command_line_reads_and_checks_the_setting(copied, app):
    set_ = ["app", "set", str(app.application_id), "greeting"]
    ringbook(*set_, "Hi, %s!", database_url=copied.database_url)
    shown = ringbook("app", "show", str(app.application_id), "--json", database_url=copied.database_url).stdout
    assert "Hi, %s!" in shown
    refused = ended([program(), *set_, "%s %s"], environment(copied.database_url))
    assert refused.returncode and "greeting" in refused.stderr and "once" in refused.stderr
    assert "greeting" in ringbook("app", "set", "--help", database_url=copied.database_url).stdout


def test_the_form_shows_checks_and_saves_the_setting(app, visitor):
    page = f"/apps/{app.application_id}/users/settings"
    shown = visitor.get(page)
    assert shown.value("greeting") == "Hello" and "Greeting" in shown.words
    refused = visitor.refused(visitor.post(f"{page}/development", greeting="100 %"))
    assert "single per cent sign" in refused.words
    visitor.follow(visitor.post(f"{page}/development", greeting="Moin %s"))
    assert visitor.get(page).value("greeting") == "Moin %s"


def test_the_audit_log_records_the_change_of_the_setting(copied, app, visitor):
    ringbook("app", "set", str(app.application_id), "greeting", "Servus", database_url=copied.database_url)
    page = visitor.get(f"/audit?app={app.application_id}").words
    assert "greeting" in page and "Servus" in page


# ── both ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_test_of_the_documents_shows_the_rows_to_add(package):
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-vv", "tests/test_documents.py"]
    names = ["-k", "every_field_of_a_profile or every_setting_of_an_application"]
    done = subprocess.run(
        [*command, *names], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(package)}, capture_output=True, text=True
    )
    assert done.returncode == 1 and "2 failed" in done.stdout, done
    for row in (
        "| `motto` | text | words to live by; at most 20 characters; unique in the application, in any case |",
        "| `greeting` | text | `Hello` | how a user is greeted; %s stands for the name |",
    ):
        assert row in done.stdout
