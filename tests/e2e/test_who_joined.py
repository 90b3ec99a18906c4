"""The code of docs/how-to/who-joined.md works: the Dart on a VM, and the curl commands."""

import base64
import json
import re
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asking import PASSWORD, Person, person
from client.vm import compiled, dart
from servers import Application, Databases, Server, application, eventually, serve
from talking import Talk, talking

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = (ROOT / "docs" / "how-to" / "who-joined.md").read_text("utf-8")
ANN, BOB, OWN = (f"+1 202-555-{n:04}" for n in range(170, 173))


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def app(server: Server) -> Application:
    return application(server.database_url, "who joined", contact_joined_enabled="true")


def code_in(language: str) -> list[str]:
    """Each block of code of the page in one language, in page order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


# ── Dart ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def flutter(owner: Person, folder: Path) -> Iterator[Talk]:
    """The page's Dart code with stand-ins for the app and its plugins."""
    code = re.sub(r"^import .*\n", "", "\n".join(code_in("dart")), flags=re.MULTILINE)
    source, program = folder / "phone.dart", folder / "phone.dill"
    source.write_text((HERE / "who_joined.dart").read_text("utf-8").replace("// THE PAGE", code), "utf-8")
    shutil.copy(ROOT / "client" / "dart" / "ringbook_contacts.dart", folder)
    settings = {
        "folder": str(folder),
        "server": owner.server.url,
        "application_id": owner.app.application_id,
        "auth_key": owner.app.auth_key,
        "login": owner.login,
        "password": PASSWORD,
    }
    compiled(source, program, f"-Dgiven={base64.b64encode(json.dumps(settings).encode()).decode()}")
    with talking([dart(), program]) as talk:
        yield talk


def test_the_dart_code_shows_the_whole_flow(server: Server, app: Application, tmp_path: Path) -> None:
    owner = person(server, app, phone=OWN)
    with flutter(owner, tmp_path) as phone:
        assert phone.ask(call="sign up")["answer"] == ["mutual", "mutual", "Europe/Berlin", "de"]
        both = [["Annie", ANN], ["Bobby", BOB]]
        assert phone.ask(call="new friends", contacts=both)["answer"] == []
        person(server, app, phone=ANN)
        eventually(lambda: len(listed(owner)) == 1, "nobody is listed")
        assert phone.ask(call="new friends", contacts=both)["answer"] == ["Annie"]
        assert phone.ask(call="joined since")["answer"] == ["Annie"]
        person(server, app, phone=BOB)
        eventually(lambda: len(listed(owner)) == 2, "one is missing")
        assert phone.ask(call="new friends", contacts=both)["answer"] == ["Bobby"]
        assert phone.ask(call="joined since")["answer"] == ["Bobby"]
        assert phone.ask(call="joined since")["answer"] == []
        assert phone.ask(call="pages")["answer"] == [[["Bobby", "Annie"], 2], [[], 2], 0]
        assert phone.ask(call="settings")["answer"] == ["22:00", "08:00", False, False]


def listed(who: Person) -> list[str]:
    return [item["address_book_name"] for item in who.ask("GET", "/contact_joined").json["items"]]


# ── curl ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def commands() -> list[str]:
    """The curl commands of the page, in page order."""
    return [one for block in code_in("sh") for one in re.split(r"\n\n", block.strip()) if one.startswith("curl ")]


def test_the_curl_commands_are_answered_in_the_order_of_the_page(server: Server, app: Application) -> None:
    owner = person(server, app, phone=f"+1 202-555-{uuid.uuid4().int % 10**4:04}")
    values = {
        "https://your.host": server.url,
        "'CB-AuthKey: KEY'": f"'CB-AuthKey: {app.auth_key}'",
        "TOKEN": owner.token,
        "CURSOR": "0",
    }
    assert len(commands()) == 10
    for command in commands():
        sent = command.replace("\\\n", " ")
        for on_page, actual in values.items():
            sent = sent.replace(on_page, actual)
        done = subprocess.run([*shlex.split(sent), "-s", "-w", "\n%{http_code}"], capture_output=True, text=True)
        body, _, status = done.stdout.rpartition("\n")
        assert status in ("200", "201"), (command, body)
    settings = owner.ask("GET", "/contact_joined/settings").json
    assert (settings["announce"], settings["quiet"], settings["digest"]) == (
        "mutual",
        {"from": "22:00", "to": "08:00"},
        3,
    )
