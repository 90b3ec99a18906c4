"""The snippets of the API reference run: with curl, node, the Dart VM and Python."""

import json
import shutil
import subprocess
import sys

import pytest
from asking import person
from client.vm import dart
from servers import Databases, Server, serve

from ringbook.api import snippets
from ringbook.api.openapi import document, plain_path
from ringbook.api.routes import ROUTES

AWKWARD = {"name": 'O\'Neill "Jo" $5 \\ ü', "list": [1, None, True], "udid": "$x"}


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory):
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


def route_of(method, path):
    return next(route for route in ROUTES if (route.method, route.path) == (method, path))


def run(label, source, folder):
    """Run a snippet; what it printed."""
    if label == "curl":
        command = ["sh", "-c", source]
    elif label == "JavaScript":
        (folder / "snippet.mjs").write_text(source)
        command = [shutil.which("node"), folder / "snippet.mjs"]
    elif label == "Dart":
        (folder / "snippet.dart").write_text(source)
        command = [dart(), folder / "snippet.dart"]
    else:
        command = [sys.executable, "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def written(route, server, token, body):
    for one in snippets.of(route, plain_path(route.path), body):
        source = one["source"].replace(snippets.HOST, f"http://127.0.0.1:{server.port}")
        yield one["label"], source.replace(snippets.TOKEN, token)


def test_every_operation_has_the_four_languages():
    operations = [one for methods in document()["paths"].values() for one in methods.values()]
    assert all(
        [sample["label"] for sample in one["x-codeSamples"]] == ["curl", "JavaScript", "Dart", "Python"]
        for one in operations
    )


def test_a_request_without_a_body_runs_in_each_language(server: Server, tmp_path):
    who = person(server)
    for label, source in written(route_of("GET", "/session"), server, who.token, None):
        printed = run(label, source, tmp_path)
        assert "200" in printed and f'"user_id":{who.id}' in printed, label


def test_a_request_with_awkward_texts_runs_in_each_language(server: Server, tmp_path):
    who = person(server)
    body = {"contacts": [{"name": AWKWARD["name"], "phone": "12025550142"}], "udid": AWKWARD["udid"]}
    for label, source in written(route_of("POST", "/address_book"), server, who.token, body):
        assert '"rejected":{}' in run(label, source, tmp_path), label
        stored = who.ask("GET", "/address_book?udid=%24x").json
        assert [one["name"] for one in stored] == [AWKWARD["name"]], label


def test_values_of_json_become_values_of_python():
    assert json.loads(json.dumps(eval(snippets._of_python(AWKWARD)))) == AWKWARD
