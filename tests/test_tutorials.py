"""The first minutes: what the first start prints, the tutorial and the client's tutorial, in any order and twice."""

import re
import shlex
import subprocess
import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from history import History
from place import Place
from servers import Application, Databases, Server, application, environment, key_file, program, ringbook, serve

from client import tutorial as of_client
from ringbook.core import applications

ROOT = Path(__file__).parent.parent
SDK = ROOT / "tests" / "e2e"
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Commands that install or that `make` runs: tests/test_documents.py checks that they exist.
NOT_RUN = ("make serve", "mkdir first-app", "rm -r ringbook.db")


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory):
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


def node(code: str) -> str:
    """What a script prints that uses the SDK."""
    command = ["node", "--input-type=module", "-"]
    ran = subprocess.run(command, input=code, cwd=SDK, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def play_banner(server: Server) -> None:
    """Run the JavaScript of `ringbook app connect`."""
    answer = ringbook(
        "app", "connect", str(server.app.application_id), "--url", server.url, database_url=server.database_url
    )
    code = answer.stdout.split("node app.mjs\n\n")[1].split("\n\n── ")[0]
    assert '"address_book_name":"Emil (chess)"' in node(code)


def play_tutorial(server: Server, *, again: bool = False) -> tuple[int, int]:
    """Run the tutorial; how many commands ran, and how many outputs were as the page shows them."""
    values = {
        "http://127.0.0.1:8080": server.url,
        '"KEY"': f'"{server.app.auth_key}"',
        "=KEY": f"={server.app.auth_key}",
        "appId: 1": f"appId: {server.app.application_id}",
        "application_id=1": f"application_id={server.app.application_id}",
        "app show 1": f"app show {server.app.application_id}",
    }
    ran, shown, printed = 0, 0, ""
    blocks = BLOCK.findall(TUTORIAL)
    script = next(text for kind, text in blocks if kind == "js")
    for kind, block in blocks:
        text = replaced(block, values)
        if kind == "sh" and not text.startswith(NOT_RUN):
            is_script = text.startswith("node ")
            printed = node(replaced(script, values)) if is_script else shell(text, server, printed)
            ran += 1
        elif kind == "" and not text.startswith("Ringbook "):
            assert again or normalised(printed) == normalised(text)
            shown += 1
    return ran, shown


def replaced(text: str, values: dict[str, str]) -> str:
    """The text with the values of this server instead of those on the page."""
    for on_page, actual in values.items():
        text = text.replace(on_page, actual)
    return text


def shell(text: str, server: Server, before: str) -> str:
    """What commands print. TOKEN and ID are in what was printed before."""
    if token := re.search(r'"token":"(\w+)"', before):
        text = text.replace("TOKEN", token[1])
    lines = text.replace(".venv/bin/ringbook", shlex.quote(str(program()))).splitlines()
    printed = ""
    for line in lines:
        made = re.search(r"application_id +(\d+)", printed + before)
        filled = line.replace(" ID", f" {made[1]}") if made else line
        filled += " --yes" if " app delete " in filled else ""  # the test has no terminal
        done = subprocess.run(
            ["sh", "-c", filled],
            capture_output=True,
            text=True,
            env=environment(server.database_url, key_file=str(key_file())),
            timeout=60,
        )
        assert done.returncode == 0, (filled, done.stderr)
        printed += done.stdout
    return printed


def normalised(text: str) -> str:
    """The text without the numbers of users, which differ between servers."""
    return re.sub(r'(user |"id":)\d+', r"\1N", text).strip()


def test_the_tutorial_works_as_it_is_written(server):
    fresh = replace(server, app=application(server.database_url, "tutorial"))
    assert play_tutorial(fresh) == (6, 2)


@pytest.mark.parametrize("order", list(permutations(("banner", "tutorial", "client")))[::2])
def test_what_the_first_minutes_use_works_in_any_order_and_twice(server, order, tmp_path, monkeypatch, capsys):
    fresh = replace(server, app=application(server.database_url, "first minutes"))
    of_client.at_home(tmp_path, monkeypatch)
    for again in (False, True):
        for what in order:
            if what == "banner":
                play_banner(fresh)
            elif what == "tutorial":
                play_tutorial(fresh, again=again)
            else:
                of_client.play(fresh, monkeypatch, capsys, again=again)


def test_all_of_them_work_on_the_demos_database(databases, tmp_path, monkeypatch, capsys):
    with databases.fresh("sqlite") as url:
        place = Place.of({"RINGBOOK_DATABASE": url, "RINGBOOK_KEY_FILE": str(key_file())}, tmp_path)
        until = int(time.time())
        place.make(until, lambda done, total: None, history=History(until, days=4, count=200, joining=40))
        with place.opened() as db:
            first = applications.get(db, 1)
        with serve(url, tmp_path) as running:
            app = Application(first.id, first.auth_key, first.auth_secret)
            assert play_tutorial(replace(running, app=app)) == (6, 2)
            play_banner(replace(running, app=app))
            of_client.at_home(tmp_path, monkeypatch)
            of_client.play(replace(running, app=app), monkeypatch, capsys)
